//! GitHub Apps: signing in by an app's key, and the tokens of an hour that git is given, as far as a
//! stand-in shows it that checks each signature.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::forge::github_app::{APP, Apps, CLIENT_ID, Key};
use crate::support::forge::{Forge, Kind};
use crate::support::http_proxy::HttpProxy;
use crate::support::proxy::{Fate, Proxy};
use crate::support::session::{self, Session};
use crate::support::stored::{change, expire_in, field, get, item, site};
use crate::support::terminal::Terminal;
use crate::support::tls::Certificate;
use crate::support::{HELPER, Home, WIT, done, files, kill_within, refused, text};
use wit::expiry::{Expiry, UnixTime};
use wit::item::Item;
use wit::store::lock::name_of;

/// Life of a token, in seconds.
const HOUR: i64 = 3_600;

/// A home, and a stand-in with the app installed at `octo`.
struct Desk {
    forge: Forge,
    home: Home,
    key: Key,
}

impl Desk {
    fn new() -> Self {
        let home = Home::new();
        let key = Key::new(&home, "app");
        let forge = Forge::start(Kind::Github);
        forge.with(|state| state.apps.install(&key));
        Desk { forge, home, key }
    }

    fn signed_in() -> Self {
        let desk = Desk::new();
        done(&desk.login(&[]));
        desk
    }

    fn apps<T>(&self, look: impl FnOnce(&mut Apps) -> T) -> T {
        self.forge.with(|state| look(&mut state.apps))
    }

    fn login(&self, more: &[&str]) -> Output {
        self.login_at(&self.forge.url, more)
    }

    fn login_at(&self, url: &str, more: &[&str]) -> Output {
        let words = ["login", url, "--host-type", "github", "--app-id", APP];
        let key = ["--private-key", self.key.path()];
        self.home.run(WIT, &[&words[..], &key, more].concat(), "")
    }

    fn get(&self, more: &str) -> Output {
        get(&self.home, &self.forge.url, more)
    }

    /// The token that git is given.
    fn token(&self) -> Option<String> {
        field(&text(&self.get("").stdout), "password")
    }

    fn ls_remote(&self, repository: &str) -> Output {
        let mut git = self.git(repository);
        git.output().expect("git runs")
    }

    fn git(&self, repository: &str) -> std::process::Command {
        let mut git = self.home.command("git");
        let helper = format!("credential.helper={HELPER}");
        let remote = format!("{}/{repository}.git", self.forge.url);
        git.args([
            "-c",
            "credential.helper=",
            "-c",
            &helper,
            "ls-remote",
            &remote,
        ]);
        git
    }

    fn wit(&self, words: &[&str]) -> Output {
        self.home.run(WIT, words, "")
    }

    fn item(&self) -> Item {
        item(&self.home, &self.forge.url)
    }

    fn expire_in(&self, seconds: i64) {
        expire_in(&self.home, &self.forge.url, seconds);
    }

    /// Ends the pause after a failure.
    fn end_pause(&self) {
        let name = format!("{}.refresh", name_of(&site(&self.forge.url)));
        let dir = self.home.path().join(".local/state/wit/renewals");
        std::fs::remove_file(dir.join(name)).expect("a pause");
    }

    fn status(&self) -> Value {
        let output = self.wit(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

fn lines_of_wit(said: &str) -> Vec<&str> {
    let is_own = |line: &&str| line.starts_with("error: ");
    said.lines().filter(is_own).collect()
}

#[test]
fn an_app_signs_in_and_git_is_given_a_token_of_an_hour() {
    let desk = Desk::new();
    let output = desk.login(&[]);
    let said = done(&output);
    assert!(
        said.contains("as octo by the app builds. Access is renewed automatically."),
        "{said}"
    );
    assert!(
        text(&output.stderr).contains("private key is kept in"),
        "{output:?}"
    );
    let answer = done(&desk.get("capability[]=authtype\n"));
    assert_eq!(
        field(&answer, "username").as_deref(),
        Some("x-access-token"),
        "{answer}"
    );
    assert_eq!(
        field(&answer, "ephemeral").as_deref(),
        Some("1"),
        "{answer}"
    );
    let expiry = field(&answer, "password_expiry_utc").expect("an expiry");
    let left = expiry.parse::<i64>().expect("a number") - UnixTime::now().0;
    assert!((HOUR - 300..=HOUR).contains(&left), "{left}");
    assert!(!done(&desk.get("")).contains("ephemeral"), "an older git");
    done(&desk.ls_remote("octo/hello"));
    done(&desk.ls_remote("octo/world"));
    // It is reused, and what git stores after that changes nothing.
    assert_eq!(desk.apps(|apps| apps.created()), 1);
    assert_eq!(desk.item().credentials.0.len(), 1);
    let token = desk
        .apps(|apps| apps.tokens.values().next().cloned())
        .expect("a token");
    assert_eq!(token.repositories, None);
    let permissions: Vec<_> = token.permissions.iter().collect();
    assert_eq!(permissions.len(), 2, "{permissions:?}");
    assert_eq!(token.permissions["contents"], "write");

    let status = desk.status();
    let sign_in = &status["servers"][0]["signIns"][0];
    assert_eq!(sign_in["upkeep"], "mint");
    assert_eq!(sign_in["renewed"], true);
    assert_eq!(sign_in["renewableUntil"], Value::Null);
    assert_eq!(sign_in["app"]["installation"], 7);
    assert_eq!(sign_in["app"]["owner"], "octo");
    assert_eq!(sign_in["app"].get("key"), None);
    // Between two gits the token runs out, which needs nobody.
    desk.expire_in(-1);
    desk.apps(|apps| apps.tokens.values_mut().for_each(|token| token.expiry = 0));
    let shown = done(&desk.wit(&["status"]));
    assert!(
        shown.contains("a new token each hour by the app builds (12345), installed at octo (7)"),
        "{shown}"
    );
    let doctor = text(&desk.wit(&["doctor"]).stdout);
    assert!(
        doctor.contains("as octo by the app builds (12345)"),
        "{doctor}"
    );
}

#[test]
fn a_key_is_taken_in_either_form_from_a_file_or_stdin_and_anything_else_refused() {
    let desk = Desk::new();
    let words = [
        "login",
        &desk.forge.url,
        "--host-type",
        "github",
        "--app-id",
        CLIENT_ID,
    ];
    let with = |file: &str, input: &str| {
        let words = [&words[..], &["--private-key", file]].concat();
        desk.home.run(WIT, &words, input)
    };
    let convert = [
        "pkcs8", "-topk8", "-nocrypt", "-in", "app.pem", "-out", "app8.pem",
    ];
    done(&desk.home.run("openssl", &convert, ""));
    done(&with("app8.pem", ""));
    done(&desk.ls_remote("octo/hello"));
    done(&with("-", &desk.key.pem()));
    done(&desk.ls_remote("octo/hello"));
    // Once it is stored it need not be given again.
    std::fs::remove_file(&desk.key.file).expect("removed");
    done(&desk.home.run(WIT, &words, ""));
    done(&desk.ls_remote("octo/hello"));
    // Each replaced the one before it, which lives on nowhere.
    assert_eq!(desk.item().credentials.0.len(), 1);
    assert_eq!(
        desk.apps(|apps| apps.alive()),
        [desk.token().expect("a token")]
    );

    let encrypt = [
        "pkcs8",
        "-topk8",
        "-in",
        "app8.pem",
        "-passout",
        "pass:x",
        "-out",
        "locked.pem",
    ];
    done(&desk.home.run("openssl", &encrypt, ""));
    let curve = [
        "ecparam",
        "-genkey",
        "-name",
        "prime256v1",
        "-noout",
        "-out",
        "ec.pem",
    ];
    done(&desk.home.run("openssl", &curve, ""));
    let small = ["genrsa", "-out", "small.pem", "1024"];
    done(&desk.home.run("openssl", &small, ""));
    std::fs::write(
        desk.home.path().join("large.pem"),
        "-----BEGIN ".repeat(20_000),
    )
    .expect("written");
    for (file, why) in [
        ("locked.pem", "the private key is encrypted"),
        ("ec.pem", "no RSA key of 2048 bits"),
        ("small.pem", "no RSA key of 2048 bits"),
        ("large.pem", "no private key"),
        ("app.public", "no private key"),
    ] {
        let said = refused(&with(file, ""), 2);
        assert!(said.contains(why), "{file}: {said}");
    }
    let said = refused(&with("gone.pem", ""), 1);
    assert!(
        said.contains("can't read the private key from gone.pem"),
        "{said}"
    );
    let elsewhere = [
        "login",
        &desk.forge.url,
        "--host-type",
        "github",
        "--app-id",
        "999",
    ];
    let said = refused(&desk.wit(&elsewhere), 2);
    assert!(said.contains("--private-key FILE"), "{said}");
}

#[test]
fn a_sign_in_is_narrowed_to_repositories_and_permissions() {
    let desk = Desk::new();
    let narrow = ["--repositories", "octo/hello", "--permissions", "read"];
    done(&desk.login(&narrow));
    done(&desk.ls_remote("octo/hello"));
    assert!(!desk.ls_remote("octo/world").status.success());
    // So is what is created an hour later.
    desk.expire_in(100);
    done(&desk.ls_remote("octo/hello"));
    let tokens = desk.apps(|apps| apps.tokens.clone());
    assert_eq!(tokens.len(), 2);
    for token in tokens.values() {
        assert_eq!(token.permissions["contents"], "read");
        assert_eq!(token.repositories, Some(["hello".to_owned()].into()));
    }
    let app = &desk.status()["servers"][0]["signIns"][0]["app"];
    assert_eq!(app["repositories"][0], "hello");
    assert_eq!(app["permissions"][0], "contents:read");
}

#[test]
fn what_the_installation_does_not_have_is_named() {
    let desk = Desk::new();
    for (more, lacks) in [
        (["--repositories", "hello,secret"], "does not have secret"),
        (
            ["--permissions", "issues:write,contents:read"],
            "does not have issues:write",
        ),
        (
            ["--permissions", "workflows:write"],
            "does not have workflows:write",
        ),
    ] {
        let said = refused(&desk.login(&more), 1);
        assert!(said.contains(lacks), "{said}");
        assert_eq!(lines_of_wit(&said).len(), 1, "{said}");
    }
    for more in [
        ["--repositories", "grace/hello"],
        ["--permissions", "contents:sometimes"],
    ] {
        refused(&desk.login(&more), 2);
    }
    let odd = [
        "login",
        &desk.forge.url,
        "--app-id",
        "an id",
        "--private-key",
        "app.pem",
    ];
    assert!(refused(&desk.wit(&odd), 2).contains("--app-id takes"));
    assert_eq!(desk.apps(|apps| apps.created()), 0);

    // A repository that is taken away later is named, too, and the sign-in stays.
    done(&desk.login(&["--repositories", "hello,world"]));
    desk.apps(|apps| apps.installations[0].repositories.remove("world"));
    desk.expire_in(-1);
    let said = text(&desk.get("").stderr);
    assert!(said.contains("does not have world"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    desk.apps(|apps| {
        apps.installations[0]
            .repositories
            .insert("world".to_owned())
    });
    desk.end_pause();
    done(&desk.ls_remote("octo/world"));
}

#[test]
fn thirty_two_gits_at_the_end_of_the_hour_make_one_token() {
    let desk = Desk::signed_in();
    desk.expire_in(-1);
    let gits: Vec<_> = (0..32)
        .map(|_| {
            let mut git = desk.git("octo/hello");
            git.stdout(Stdio::piped()).stderr(Stdio::piped());
            git.spawn().expect("git runs")
        })
        .collect();
    for git in gits {
        done(&git.wait_with_output().expect("an end"));
    }
    assert_eq!(desk.apps(|apps| apps.created()), 2);
}

#[test]
fn a_token_is_replaced_two_minutes_before_its_end_and_one_that_was_refused_at_once() {
    let desk = Desk::signed_in();
    let first = desk.token().expect("a token");
    desk.expire_in(130);
    assert_eq!(desk.token().as_ref(), Some(&first));
    desk.expire_in(110);
    let second = desk.token().expect("a token");
    assert_ne!(first, second);
    // An older git stores the first one now, and erases it.
    let host = site(&desk.forge.url).host().to_owned();
    let stored =
        format!("protocol=http\nhost={host}\nusername=x-access-token\npassword={first}\n\n");
    for operation in ["store", "erase"] {
        done(&desk.home.run(HELPER, &[operation], &stored));
        assert_eq!(desk.token().as_ref(), Some(&second), "{operation}");
    }
    // One that was revoked elsewhere: git erases it, and the next one gets another.
    desk.apps(|apps| {
        apps.tokens
            .values_mut()
            .for_each(|token| token.is_ended = true)
    });
    assert!(!desk.ls_remote("octo/hello").status.success());
    done(&desk.ls_remote("octo/hello"));
    assert_eq!(desk.apps(|apps| apps.created()), 3);
}

#[test]
fn a_logout_ends_the_token_and_forgets_the_key() {
    let desk = Desk::signed_in();
    assert_eq!(desk.apps(|apps| apps.alive().len()), 1);
    let output = desk.wit(&["logout", &desk.forge.url]);
    assert!(
        done(&output).contains("the sign-in was ended there"),
        "{output:?}"
    );
    let said = text(&output.stderr);
    assert!(
        said.contains("key is forgotten here. The app builds stays installed at octo."),
        "{said}"
    );
    assert_eq!(desk.apps(|apps| apps.alive()), [] as [String; 0]);
    assert!(desk.item().is_empty());
    assert_eq!(desk.token(), None);

    // One whose hour is over has nothing to end.
    done(&desk.login(&[]));
    desk.apps(|apps| apps.ahead = 2 * HOUR);
    let output = desk.wit(&["logout", &desk.forge.url]);
    assert!(done(&output).contains("ended there"), "{output:?}");
}

/// What git says once, and what `wit` says then, where a sign-in has ended.
fn assert_ended(desk: &Desk, why: &str) {
    desk.expire_in(-1);
    let login = format!(
        "wit login {} --app-id {APP} --installation 7",
        desk.forge.url
    );
    for _ in 0..2 {
        let output = desk.get("");
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
        let said = text(&output.stderr);
        assert!(
            said.contains("the sign-in to") && said.contains("as octo has ended"),
            "{said}"
        );
        assert!(
            said.ends_with(&format!("type: {login}\n")) && said.lines().count() == 1,
            "{said}"
        );
    }
    let status = desk.wit(&["status"]);
    assert_eq!(status.status.code(), Some(3));
    assert!(text(&status.stdout).contains(&login), "{status:?}");
    assert!(text(&desk.wit(&["doctor"]).stdout).contains(&login));
    let words = login.split(' ').skip(1).collect::<Vec<_>>();
    let said = refused(&desk.wit(&words), 4);
    assert!(said.contains(why), "{said}");
    assert_eq!(lines_of_wit(&said).len(), 1, "{said}");
}

#[test]
fn an_installation_that_is_suspended_ends_the_sign_in_until_it_is_back() {
    let desk = Desk::signed_in();
    desk.apps(|apps| apps.installations[0].is_suspended = true);
    assert_ended(
        &desk,
        "the installation of the app builds at octo is suspended",
    );
    // What was to be typed needs no key: it is in the store.
    desk.apps(|apps| apps.installations[0].is_suspended = false);
    done(&desk.wit(&[
        "login",
        &desk.forge.url,
        "--app-id",
        APP,
        "--installation",
        "7",
    ]));
    done(&desk.ls_remote("octo/hello"));
}

#[test]
fn an_installation_that_is_gone_ends_the_sign_in() {
    let desk = Desk::signed_in();
    desk.apps(|apps| apps.installations.clear());
    assert_ended(&desk, "the app builds is not installed");
}

#[test]
fn a_key_that_is_another_apps_or_was_deleted_is_refused() {
    let desk = Desk::signed_in();
    let other = Key::new(&desk.home, "other");
    let words = [
        "login",
        &desk.forge.url,
        "--app-id",
        APP,
        "--private-key",
        other.path(),
    ];
    let said = refused(&desk.wit(&words), 4);
    assert!(
        said.contains("GitHub does not accept the private key for the app 12345"),
        "{said}"
    );
    // The one before it is untouched.
    done(&desk.ls_remote("octo/hello"));
    let words = [
        "login",
        &desk.forge.url,
        "--app-id",
        "54321",
        "--private-key",
        desk.key.path(),
    ];
    refused(&desk.wit(&words), 4);
    // Another key takes its place on the app's page.
    desk.apps(|apps| {
        let installations = apps.installations.clone();
        apps.install(&other);
        apps.installations = installations;
    });
    assert_ended(&desk, "does not accept the private key");
    let renew = [
        "token",
        "renew",
        "--site",
        &site(&desk.forge.url).to_string(),
    ];
    assert_eq!(done(&desk.wit(&renew)), "", "an ended one is left alone");
}

#[test]
fn a_wrong_clock_costs_one_more_request() {
    for ahead in [700, -400, 20 * 24 * HOUR, -20 * 24 * HOUR] {
        let desk = Desk::new();
        desk.apps(|apps| apps.ahead = ahead);
        done(&desk.login(&[]));
        done(&desk.ls_remote("octo/hello"));
        // The hour is counted by this machine's clock, for this machine.
        let answer = done(&desk.get(""));
        let expiry = field(&answer, "password_expiry_utc").expect("an expiry");
        let left = expiry.parse::<i64>().expect("a number") - UnixTime::now().0;
        assert!((HOUR - 300..=HOUR + 1).contains(&left), "{ahead}: {left}");
        assert_eq!(desk.apps(|apps| apps.refusals.len()), 1, "{ahead}");
        desk.expire_in(60);
        done(&desk.ls_remote("octo/hello"));
        assert_eq!(desk.apps(|apps| apps.created()), 2, "{ahead}");
        assert_eq!(desk.apps(|apps| apps.refusals.len()), 2, "{ahead}");
    }
}

const FATES: [Fate; 7] = [
    Fate::Refused(500),
    Fate::Refused(401),
    Fate::Refused(403),
    Fate::Refused(404),
    Fate::Refused(429),
    Fate::CutBefore,
    Fate::CutAfter,
];

#[test]
fn each_request_of_a_login_fails_and_nothing_half_done_is_left() {
    let desk = Desk::new();
    let proxy = Proxy::to(desk.forge.server.address());
    let login = ["--owner", "octo"];
    done(&desk.login_at(&proxy.url, &login));
    let requests = proxy.take_seen();
    assert_eq!(requests.len(), 3, "{requests:?}");
    done(&desk.wit(&["logout", &proxy.url]));
    for (number, request) in requests.iter().enumerate() {
        for fate in FATES {
            let what = format!("{request:?} {fate:?}");
            proxy.spoil(number, fate);
            let before = desk.apps(|apps| apps.alive());
            let output = desk.login_at(&proxy.url, &login);
            let said = text(&output.stderr);
            assert!(
                matches!(output.status.code(), Some(1 | 4)),
                "{what}: {output:?}"
            );
            assert_eq!(lines_of_wit(&said).len(), 1, "{what}: {said}");
            assert!(item(&desk.home, &proxy.url).is_empty(), "{what}");
            // Only what was created and never came lives on, for its hour.
            let more = desk.apps(|apps| apps.alive()).len() - before.len();
            assert_eq!(
                more,
                usize::from((number, fate) == (2, Fate::CutAfter)),
                "{what}"
            );
        }
    }
}

#[test]
fn each_request_of_a_renewal_fails_and_the_token_is_used_to_its_end() {
    let desk = Desk::new();
    let proxy = Proxy::to(desk.forge.server.address());
    done(&desk.login_at(&proxy.url, &["--owner", "octo"]));
    let url = &proxy.url;
    let token = || field(&text(&get(&desk.home, url, "").stdout), "password");
    let end_pause = || {
        let name = format!("{}.refresh", name_of(&site(url)));
        let dir = desk.home.path().join(".local/state/wit/renewals");
        let _ = std::fs::remove_file(dir.join(name));
    };
    for fate in FATES {
        let before = token().expect("a token");
        expire_in(&desk.home, url, 60);
        proxy.set(move |first| match first.starts_with("POST ") {
            true => fate,
            false => Fate::Forwarded,
        });
        // 401 says that the key is refused: nothing else is tried, but the token has its last minute.
        assert_eq!(token().as_ref(), Some(&before), "{fate:?}");
        expire_in(&desk.home, url, -1);
        let output = get(&desk.home, url, "");
        let said = text(&output.stderr);
        assert!(output.stdout.is_empty(), "{fate:?}");
        assert_eq!(said.lines().count(), 1, "{fate:?}: {said}");
        assert!(!said.contains("ghs_"), "{said}");
        // The pause keeps it from the server.
        proxy.take_seen();
        get(&desk.home, url, "");
        assert_eq!(proxy.take_seen(), [] as [String; 0], "{fate:?}");
        proxy.set(|_| Fate::Forwarded);
        end_pause();
        if fate == Fate::Refused(401) {
            assert!(said.contains("has ended"), "{said}");
            done(&desk.login_at(url, &["--owner", "octo"]));
        } else {
            assert!(said.contains("was not renewed: "), "{fate:?}: {said}");
        }
        let after = token().expect("a token");
        assert!(desk.apps(|apps| apps.alive()).contains(&after), "{fate:?}");
        assert_ne!(before, after, "{fate:?}");
    }
}

#[test]
fn a_server_that_asks_for_time_is_given_it() {
    let desk = Desk::signed_in();
    desk.apps(|apps| apps.limited = Some(900));
    desk.expire_in(-1);
    let said = text(&desk.get("").stderr);
    assert!(said.contains("try again in 900 s"), "{said}");
    let name = format!("{}.refresh", name_of(&site(&desk.forge.url)));
    let file = desk
        .home
        .path()
        .join(".local/state/wit/renewals")
        .join(name);
    let pause = std::fs::read_to_string(&file).expect("a pause");
    let (times, reason) = pause.split_once('\n').expect("two lines");
    let (at, _) = times.split_once(' ').expect("two numbers");
    let at: i64 = at.parse().expect("a time");
    desk.apps(|apps| apps.limited = None);
    // After a quarter of an hour, and not before.
    let ago = |seconds: i64| {
        let text = format!("{} 900\n{reason}", at - seconds);
        std::fs::write(&file, text).expect("written");
    };
    ago(600);
    assert_eq!(desk.token(), None);
    ago(900);
    assert!(desk.token().is_some());
}

#[test]
fn a_renewal_is_killed_at_any_moment_and_git_has_a_token_that_works() {
    // More of them where somebody asks for that.
    let rounds = std::env::var("WIT_TEST_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let rounds: usize = rounds.unwrap_or(30);
    let desk = Desk::signed_in();
    let site = site(&desk.forge.url).to_string();
    let renew = ["token", "renew", "--site", &site];
    desk.expire_in(100);
    let begun = std::time::Instant::now();
    done(&desk.wit(&renew));
    let mut usual = begun.elapsed();
    let mut random = fastrand::Rng::with_seed(1);
    let mut killed = 0;
    for round in 0..rounds {
        // Some of the tokens have a moment left, others none.
        desk.expire_in(if round % 2 == 0 { 100 } else { -1 });
        let begun = std::time::Instant::now();
        let mut process = (desk.home.command(WIT).args(renew))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        match kill_within(&mut process, usual, &mut random) {
            false => usual = (usual * 3 + begun.elapsed()) / 4,
            true => killed += 1,
        }
        let item = desk.item();
        assert_eq!(item.credentials.0.len(), 1, "round {round}");
        assert!(item.credentials.0[0].is_refreshable(), "round {round}");
        let token = desk
            .token()
            .unwrap_or_else(|| panic!("round {round}: no token"));
        assert!(
            desk.apps(|apps| apps.alive()).contains(&token),
            "round {round}"
        );
    }
    println!("{rounds} renewals: {killed} killed before their end");
    assert!(
        killed > rounds / 4,
        "only {killed} were killed before their end"
    );
}

#[test]
fn a_key_and_its_tokens_are_seen_nowhere() {
    let mut desk = Desk::new();
    let trace = desk.home.path().join("trace");
    desk.home.set("WIT_TRACE", trace.display().to_string());
    let mut seen = Vec::new();
    let mut ran = |output: Output| seen.extend([output.stdout, output.stderr].concat());
    ran(desk.login(&["--json"]));
    let token = desk.apps(|apps| apps.alive().remove(0));
    ran(desk.wit(&["status", "--json"]));
    ran(desk.wit(&["status"]));
    ran(desk.wit(&["doctor", "--json"]));
    ran(desk.wit(&["store", "list", "--json"]));
    desk.expire_in(60);
    ran(desk.ls_remote("octo/hello"));
    let shown = format!("{:?}", desk.item());
    assert!(
        shown.contains("redacted") && !shown.contains("ghs_"),
        "{shown}"
    );
    let pem = desk.key.pem();
    std::fs::remove_file(&desk.key.file).expect("removed");
    ran(desk.wit(&[
        "login",
        &desk.forge.url,
        "--app-id",
        APP,
        "--private-key",
        "app.public",
    ]));
    ran(desk.wit(&["logout", &desk.forge.url, "--json"]));
    for file in files(desk.home.path()) {
        seen.extend(std::fs::read(desk.home.path().join(file)).expect("read"));
    }
    let seen = text(&seen);
    let second = pem.lines().nth(1).expect("a line of the key");
    let encoded = |part: &str| part[..32].to_owned();
    assert!(!seen.contains(&encoded(second)), "the key");
    assert!(!seen.contains(&token), "a token");
    assert!(!seen.contains("eyJhbGciOiJSUzI1NiI"), "a JWT");
    // It was all told, without that.
    let trace = std::fs::read_to_string(trace).expect("a trace");
    assert!(trace.contains("/access_tokens: 201"), "{trace}");
}

#[test]
fn several_installations_are_listed_and_one_is_chosen() {
    let desk = Desk::new();
    desk.apps(|apps| {
        let grace = apps.installation(8, "grace", false);
        apps.installations.push(grace);
    });
    let said = refused(&desk.login(&[]), 2);
    assert!(
        said.contains("the app builds is installed at octo, grace"),
        "{said}"
    );
    // The key that was given is kept nowhere yet.
    assert!(said.contains("--private-key FILE --owner octo"), "{said}");
    let said = refused(&desk.login(&["--owner", "nobody"]), 4);
    assert!(said.contains("is not installed at nobody"), "{said}");
    assert!(said.contains("--private-key FILE"), "{said}");
    refused(&desk.login(&["--installation", "9"]), 4);
    assert_eq!(desk.apps(|apps| apps.created()), 0);

    let line = format!(
        "{WIT} login {} --app-id {APP} --private-key app.pem",
        desk.forge.url
    );
    let mut terminal = Terminal::run(&desk.home, &line);
    terminal.shows("Which?");
    terminal.types("2");
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("as grace by the app builds"), "{screen}");
    done(&desk.ls_remote("grace/hello"));
    assert!(!desk.ls_remote("octo/hello").status.success());
}

#[test]
fn git_is_told_which_of_two_owners_to_be() {
    let desk = Desk::new();
    desk.apps(|apps| {
        let grace = apps.installation(8, "grace", false);
        apps.installations.push(grace);
    });
    done(&desk.login(&["--owner", "octo"]));
    let output = desk.login(&["--owner", "grace"]);
    done(&output);
    let key = format!("credential.{}/grace.username", desk.forge.url);
    let said = text(&output.stderr);
    assert!(
        said.contains(&format!("git config --global {key} grace")),
        "{said}"
    );
    for owner in ["octo", "grace"] {
        let key = format!("credential.{}/{owner}.username", desk.forge.url);
        done(
            &desk
                .home
                .run("git", &["config", "--global", &key, owner], ""),
        );
    }
    for _ in 0..2 {
        done(&desk.ls_remote("octo/hello"));
        done(&desk.ls_remote("grace/hello"));
        desk.expire_in(60);
    }
    // By the URL itself, too.
    assert_eq!(desk.item().credentials.0.len(), 2);
    for owner in ["octo", "grace"] {
        let token = field(&done(&desk.get(&format!("username={owner}\n"))), "password");
        let number = desk.apps(|apps| apps.tokens[&token.expect("a token")].installation);
        assert_eq!(number, if owner == "octo" { 7 } else { 8 });
    }
    done(&desk.wit(&["logout", &desk.forge.url, "--account", "octo"]));
    done(&desk.ls_remote("grace/hello"));
    assert!(!desk.ls_remote("octo/hello").status.success());
}

#[test]
fn an_app_and_a_person_of_one_name_are_two() {
    let desk = Desk::new();
    desk.apps(|apps| {
        let ada = apps.installation(9, "ada", false);
        apps.installations = vec![ada];
    });
    let pasted = desk.forge.person_creates(&["repo"]);
    let paste = ["login", &desk.forge.url, "--token-stdin"];
    done(&desk.home.run(WIT, &paste, &format!("{pasted}\n")));
    done(&desk.login(&[]));
    assert_eq!(desk.item().credentials.0.len(), 2);
    let token = desk.token().expect("a token");
    assert!(token.starts_with("ghs_"), "the newest");
    // An app that has lost its installation does not make git a person.
    desk.apps(|apps| apps.installations.clear());
    desk.expire_in(-1);
    assert_eq!(desk.token(), None);
    done(&desk.home.run(WIT, &paste, &format!("{pasted}\n")));
    assert_eq!(desk.token(), Some(pasted));
    assert_eq!(desk.item().credentials.0.len(), 2);
}

#[test]
fn github_com_is_asked_at_its_api() {
    let mut home = Home::new();
    let certificate = Certificate::new(&home, "tls", "DNS:github.com,DNS:api.github.com");
    let key = Key::new(&home, "app");
    let forge = Forge::github_com(&certificate);
    forge.with(|state| state.apps.install(&key));
    let proxy = HttpProxy::to(forge.server.address());
    home.set("HTTPS_PROXY", &proxy.url);
    let words = [
        "login",
        "https://github.com",
        "--app-id",
        APP,
        "--private-key",
        "app.pem",
    ];
    done(&home.run(
        WIT,
        &[&words[..], &["--ca-file", certificate.path()]].concat(),
        "",
    ));
    assert!(proxy.seen().contains("CONNECT api.github.com:443"));
    let answer = done(&get(&home, "https://github.com", ""));
    assert!(
        field(&answer, "password").is_some_and(|token| token.starts_with("ghs_")),
        "{answer}"
    );
    done(&home.run(WIT, &["logout", "https://github.com"], ""));
    assert_eq!(forge.with(|state| state.apps.alive()), [] as [String; 0]);
}

/// Signs in, and has an hour pass, with the store that the environment has.
fn lives_an_hour_in(store: &str, variables: &[(&str, String)]) {
    let mut desk = Desk::new();
    desk.home.set("WIT_STORE", store);
    for (name, value) in variables {
        desk.home.set(name, value.clone());
    }
    done(&desk.login(&[]));
    done(&desk.ls_remote("octo/hello"));
    // Two apps are two keys in one item.
    desk.apps(|apps| {
        let grace = apps.installation(8, "grace", false);
        apps.installations.push(grace);
    });
    done(&desk.login(&["--owner", "grace"]));
    desk.apps(|apps| {
        apps.tokens
            .values_mut()
            .for_each(|token| token.is_ended = true)
    });
    let remote = |owner: &str| {
        let words = ["-c", "credential.helper=", "-c"];
        let helper = format!("credential.helper={HELPER}");
        let user = format!("credential.username={owner}");
        let url = format!("{}/{owner}/hello.git", desk.forge.url);
        let more = [helper.as_str(), "-c", &user, "ls-remote", &url];
        desk.home.run("git", &[&words[..], &more].concat(), "")
    };
    for owner in ["octo", "grace"] {
        assert!(!remote(owner).status.success(), "{owner}");
        done(&remote(owner));
    }
    done(&desk.wit(&["logout", &desk.forge.url]));
    assert_eq!(desk.apps(|apps| apps.alive()), [] as [String; 0]);
}

#[test]
fn an_app_lives_in_the_kernels_keyring() {
    lives_an_hour_in("keyutils", &[]);
}

#[test]
fn an_app_lives_in_the_secret_service() {
    let name = "github_app::an_app_lives_in_the_secret_service";
    session::inside(name, Session::with_keyring, &[], || {
        let variable = |name: &'static str| {
            let value = std::env::var(name).unwrap_or_default();
            (name, value)
        };
        let bus = variable("DBUS_SESSION_BUS_ADDRESS");
        lives_an_hour_in(
            "keychain",
            &[
                bus,
                variable("XDG_RUNTIME_DIR"),
                variable("WIT_KEYCHAIN_TIMEOUT"),
            ],
        );
    });
}

#[test]
fn a_pasted_token_that_runs_out_is_announced_once_a_day() {
    let forge = Forge::start(Kind::Github);
    let home = Home::new();
    let token = forge.person_creates(&["repo"]);
    let login = ["login", &forge.url, "--token-stdin"];
    done(&home.run(WIT, &login, &format!("{token}\n")));
    // Its expiry is in the header of an answer.
    let far = done(&home.run(WIT, &["status", "--json"], ""));
    assert!(far.contains("2099-10-12T09:00:00Z"), "{far}");
    assert_eq!(text(&get(&home, &forge.url, "").stderr), "");
    change(&home, &forge.url, |entry| {
        entry.expiry = Some(Expiry(UnixTime::now().plus(5 * 24 * HOUR)));
    });
    let output = get(&home, &forge.url, "");
    assert!(done(&output).contains(&token));
    let said = text(&output.stderr);
    assert!(
        said.contains("expires in 119 hours") || said.contains("expires in 120 hours"),
        "{said}"
    );
    assert!(
        said.contains(&format!("type: wit login {}", forge.url)),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(text(&get(&home, &forge.url, "").stderr), "", "said today");
    assert_eq!(home.run(WIT, &["status"], "").status.code(), Some(3));
}

#[test]
fn a_token_is_created_as_narrow_as_asked_and_printed() {
    let desk = Desk::signed_in();
    let create = [
        "token",
        "create",
        "job",
        "--repo",
        "octo/hello",
        "--scopes",
        "read",
        "--json",
    ];
    let made: Value = serde_json::from_str(&done(&desk.wit(&create))).expect("JSON");
    let secret = made["token"].as_str().expect("a token").to_owned();
    assert_eq!(made["scopes"][0], "contents:read");
    let token = desk.apps(|apps| apps.tokens[&secret].clone());
    assert_eq!(token.repositories, Some(["hello".to_owned()].into()));
    assert_eq!(token.permissions["contents"], "read");
    assert_eq!(token.permissions.len(), 2);
    // Git goes on with its own.
    assert_ne!(desk.token(), Some(secret.clone()));
    let (_, shown) = create.split_last().expect("--json");
    let shown = done(&desk.wit(shown));
    let end = shown.lines().find(|line| line.starts_with("Expires: "));
    // The time of day.
    assert!(end.is_some_and(|end| end.contains('T')), "{shown}");
    let revoke = ["token", "revoke", "--token-stdin"];
    let said = done(&desk.home.run(WIT, &revoke, &format!("{secret}\n")));
    assert_eq!(said, "Revoked the token.\n");
    assert!(!desk.apps(|apps| apps.alive()).contains(&secret));
    done(&desk.home.run(WIT, &revoke, &format!("{secret}\n")));

    let scopes = done(&desk.wit(&["token", "scopes"]));
    assert!(
        scopes.contains("contents:write") && scopes.contains("issues:read"),
        "{scopes}"
    );
    assert!(!scopes.contains("issues:write"), "{scopes}");
}

#[test]
fn what_github_has_no_call_for_is_refused_before_anything_is_sent() {
    let desk = Desk::signed_in();
    let before = desk.forge.server.seen().len();
    for (words, why) in [
        (&["token", "create"][..], "keep a created token for git"),
        (
            &["token", "create", "job", "--store"],
            "keep a created token for git",
        ),
        (
            &["token", "create", "job", "--repo", "grace/hello"],
            "not a repository of octo",
        ),
        (
            &["token", "create", "job", "--expires", "30"],
            "lives for 1 day at most",
        ),
        (&["token", "list"], "can't list tokens"),
        (
            &["token", "revoke", "job"],
            "can't revoke tokens by their ids",
        ),
        (
            &["token", "rotate"],
            "a GitHub App can't rotate tokens for this sign-in",
        ),
        (&["token", "rotate", "job"], "can't rotate tokens"),
    ] {
        let said = refused(
            &desk.wit(words),
            desk.wit(words).status.code().expect("a code"),
        );
        assert!(said.contains(why), "{words:?}: {said}");
        assert_ne!(desk.wit(words).status.code(), Some(0), "{words:?}");
    }
    assert_eq!(desk.forge.server.seen().len(), before);
    assert_eq!(desk.apps(|apps| apps.created()), 1);
}

#[test]
fn a_command_has_a_token_of_its_own_that_ends_with_it() {
    let desk = Desk::signed_in();
    let own = desk.token().expect("a token");
    let script = format!(
        "printf %s \"$WIT_TOKEN\" >~/given; git ls-remote {}/octo/hello.git",
        desk.forge.url
    );
    let exec = [
        "token",
        "exec",
        "--repo",
        "octo/hello",
        "--",
        "sh",
        "-c",
        &script,
    ];
    done(&desk.wit(&exec));
    let given = std::fs::read_to_string(desk.home.path().join("given")).expect("a token");
    let token = desk.apps(|apps| apps.tokens[&given].clone());
    assert!(token.is_ended);
    assert_eq!(token.repositories, Some(["hello".to_owned()].into()));
    assert_eq!(token.permissions["contents"], "read");
    assert_eq!(desk.apps(|apps| apps.alive()), [own]);
}

#[test]
fn a_pasted_token_is_not_rotated_and_the_page_is_named() {
    let forge = Forge::start(Kind::Github);
    let home = Home::new();
    let token = forge.person_creates(&["repo"]);
    let login = ["login", &forge.url, "--token-stdin"];
    done(&home.run(WIT, &login, &format!("{token}\n")));
    for words in [&["token", "rotate"][..], &["token", "rotate", "laptop"]] {
        let output = home.run(WIT, words, "");
        let said = refused(&output, output.status.code().expect("a code"));
        assert_ne!(output.status.code(), Some(0));
        assert!(
            said.contains("GitHub can't rotate tokens for this sign-in"),
            "{said}"
        );
        assert!(
            said.contains(&format!("{}/settings/tokens", forge.url)),
            "{said}"
        );
    }
    assert_eq!(forge.alive().len(), 1);
}
