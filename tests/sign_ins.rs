//! What a sign-in at a git host is proof against, and what is told of it afterwards.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::forge::{Forge, Kind};
use crate::support::machine::Machine;
use crate::support::oidc::{Login, Provider};
use crate::support::platform::request;
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::{Server, answer};
use crate::support::stored::{change, expire_in, get, item, put_opener};
use crate::support::terminal::Terminal;
use crate::support::{Home, WIT, done, refused, text, until};
use wit::expiry::{Expiry, UnixTime};
use wit::secret::Secret;
use wit::sign_in::{ClientAuth, OAuthClient, Upkeep};

/// The exit code of `wit status`, and what it shows.
fn status(home: &Home) -> (Option<i32>, String) {
    let output = home.run(WIT, &["status"], "");
    (output.status.code(), text(&output.stdout))
}

fn status_json(home: &Home) -> Value {
    let output = home.run(WIT, &["status", "--json"], "");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A home with a token that was pasted for a Gitea.
fn pasted(forge: &Forge) -> Home {
    let home = Home::new();
    let token = forge.person_creates(&["write:repository", "read:user"]) + "\n";
    done(&home.run(WIT, &["login", &forge.url, "--token-stdin"], &token));
    home
}

#[test]
fn status_asks_the_host_whether_it_takes_the_token() {
    let forge = Forge::start(Kind::Gitea);
    let home = pasted(&forge);
    let (code, shown) = status(&home);
    assert_eq!(code, Some(0), "{shown}");
    let server = &status_json(&home)["servers"][0];
    assert_eq!(server["checked"], true, "{server}");
    assert_eq!(server["signIns"][0]["accepted"], true, "{server}");
    forge.with(|state| {
        state
            .tokens
            .values_mut()
            .for_each(|token| token.alive = false)
    });
    let (code, shown) = status(&home);
    assert_eq!(code, Some(3), "{shown}");
    let says = format!("the server no longer accepts it: wit login {}", forge.url);
    assert!(shown.contains(&says), "{shown}");
    let server = &status_json(&home)["servers"][0];
    assert_eq!(server["signIns"][0]["accepted"], false, "{server}");
    let offline = home.run(WIT, &["status", "--offline"], "");
    assert!(done(&offline).contains("Logged in as ada"));
}

#[test]
fn a_host_that_is_gone_was_not_checked_and_doctor_says_that_it_is_gone() {
    let provider = Provider::start(&json!({}));
    let home = provider.signed_in_home();
    let url = provider.git.clone();
    // Connections are taken, and nothing comes.
    provider.hang();
    let (_, shown) = status(&home);
    assert!(shown.contains("  Not checked: no answer"), "{shown}");
    let told = |home: &Home| {
        let output = home.run(WIT, &["doctor"], "");
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
        text(&output.stdout)
    };
    let said = told(&home);
    assert!(said.contains(&format!("no answer from {url}")), "{said}");
    drop(provider);
    let (_, shown) = status(&home);
    assert!(
        shown.contains(&format!("  Not checked: can't reach {url}")),
        "{shown}"
    );
    let said = told(&home);
    assert!(said.contains(&format!("can't reach {url}")), "{said}");
}

#[test]
fn a_refresh_that_fails_needs_attention_and_status_tries_again_at_once() {
    let provider = Provider::start(&json!({}));
    let home = provider.signed_in_home();
    expire_in(&home, &provider.git, -60);
    provider.set("failing", 1);
    let asked = get(&home, &provider.git, "");
    assert!(asked.stdout.is_empty());
    let said = text(&asked.stderr);
    assert!(
        said.contains("status 500") && said.contains("; wit status tries again at once"),
        "{said}"
    );
    let (code, shown) = status(&home);
    assert_eq!(code, Some(3), "{shown}");
    assert!(
        shown.contains("expired and not renewed: the server failed with status 500"),
        "{shown}"
    );
    assert!(!shown.contains("renewed automatically"), "{shown}");
    let doctor = home.run(WIT, &["doctor"], "");
    let told = text(&doctor.stdout);
    assert!(
        told.contains("has expired: the server failed with status 500"),
        "{told}"
    );
    // It is back within the pause.
    provider.set("failing", 0);
    let (code, shown) = status(&home);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("renewed automatically"), "{shown}");
    assert!(done(&get(&home, &provider.git, "")).contains("password="));
    assert_eq!(provider.seen("refreshed"), 1);
}

#[test]
fn sign_ins_are_found_without_the_config_file() {
    let forge = Forge::start(Kind::Gitea);
    let home = pasted(&forge);
    fs::remove_file(home.path().join(".config/wit/config.json")).expect("removed");
    let (code, shown) = status(&home);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains(&forge.url) && shown.contains("Logged in as ada"),
        "{shown}"
    );
    let said = done(&home.run(WIT, &["logout"], ""));
    assert!(
        said.contains(&format!("Logged out of {}", forge.url)),
        "{said}"
    );
    assert!(get(&home, &forge.url, "").stdout.is_empty());

    let machine = Machine::with_a_token();
    fs::remove_file(machine.home.path().join(".config/wit/config.json")).expect("removed");
    let (code, shown) = status(&machine.home);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("Logged in as ada") && shown.contains("laptop"),
        "{shown}"
    );
    assert!(done(&machine.wit(&["token", "list"])).contains("laptop"));
    done(&machine.wit(&["logout"]));
}

#[test]
fn all_tokens_are_listed_without_the_config_file() {
    let forge = Forge::start(Kind::Gitea);
    let proxy = Proxy::to(forge.server.address());
    let mut home = Home::new();
    home.set("WIT_HTTP_TIMEOUT", "60");
    for url in [&forge.url, &proxy.url] {
        let token = forge.person_creates(&["write:repository", "write:user"]) + "\n";
        done(&home.run(WIT, &["login", url, "--token-stdin"], &token));
    }
    // The token that git gets comes before the sign-in, and does not say what its server is.
    let create = ["token", "create", "--server", &forge.url];
    done(&home.run(WIT, &create, ""));
    fs::remove_file(home.path().join(".config/wit/config.json")).expect("removed");
    let list = ["token", "list", "--all", "--json"];
    let listed: Value = serde_json::from_str(&done(&home.run(WIT, &list, ""))).expect("JSON");
    let all = listed.as_array().expect("a list");
    let of = |url: &str| all.iter().find(|one| one["server"] == url).expect("it");
    for url in [&forge.url, &proxy.url] {
        let one = of(url);
        assert_eq!(
            (&one["account"], &one["hostType"]),
            (&json!("ada"), &json!("gitea"))
        );
        assert_eq!(one["tokens"].as_array().map(Vec::len), Some(3), "{one}");
    }
    // One that takes the connection and says nothing is not waited for.
    proxy.set(|_| Fate::Silence);
    let listed = home.run(WIT, &["token", "list", "--all"], "");
    assert_eq!(listed.status.code(), Some(3), "{}", text(&listed.stderr));
    let shown = text(&listed.stdout);
    let line = format!("{} (ada): not listed: no answer within 10 s", proxy.url);
    assert_eq!(
        shown.lines().filter(|shown| **shown == line).count(),
        1,
        "{shown}"
    );
    assert!(
        shown
            .lines()
            .filter(|line| line.starts_with(&forge.url))
            .count()
            == 3,
        "{shown}"
    );
}

/// The program does not end with new tokens on their way: nobody else would ever have them.
#[test]
fn a_list_of_all_waits_for_a_refresh_however_late() {
    let server = Server::new(|first, _| match first {
        _ if first.starts_with("POST /oauth/token ") => {
            // Longer than the list waits for a server.
            std::thread::sleep(std::time::Duration::from_secs(11));
            let new = json!({
                "access_token": "onetwothree", "token_type": "bearer", "expires_in": 7200,
                "refresh_token": "fourfivesix",
            });
            answer(200, &new.to_string())
        }
        _ if first.starts_with("GET /api/v4/personal_access_tokens/self ") => answer(404, "{}"),
        _ => answer(200, r#"{"id":7,"username":"ada"}"#),
    });
    let home = Home::new();
    let login = [
        "login",
        &server.url,
        "--host-type",
        "gitlab",
        "--token-stdin",
    ];
    done(&home.run(WIT, &login, "0123456789abcdef\n"));
    // As a sign-in by OAuth would have left it.
    change(&home, &server.url, |entry| {
        entry.expiry = Some(Expiry(UnixTime::now()));
        entry.refresh_token = Some(Secret::from("old".to_owned()));
        let sign_in = entry.sign_in.as_mut().expect("a sign-in");
        sign_in.upkeep = Upkeep::Refresh(OAuthClient {
            token_endpoint: format!("{}/oauth/token", server.url),
            revocation_endpoint: None,
            client_id: "id".into(),
            client_secret: None,
            client_auth: ClientAuth::Body,
        });
    });
    let listed = home.run(WIT, &["token", "list", "--all"], "");
    let shown = text(&listed.stdout);
    assert!(shown.contains("no answer within 10 s"), "{shown}");
    let entry = &item(&home, &server.url).credentials.0[0];
    let refresh_token = entry.refresh_token.as_ref().expect("a token");
    assert_eq!(refresh_token.expose(), b"fourfivesix");
}

#[test]
fn status_counts_what_was_imported() {
    let home = Home::new();
    let file = home.path().join(".git-credentials");
    fs::write(
        file,
        "https://ada:pw@one.example\nhttps://bob:pw@one.example\n",
    )
    .expect("written");
    done(&home.run(WIT, &["import", "store"], ""));
    let (code, shown) = status(&home);
    assert_eq!(code, Some(0), "{shown}");
    for line in [
        "For git: 2 credentials for 1 site without a login; nothing renews them\n",
        "  https://one.example: bob, imported",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let told = status_json(&home);
    assert_eq!(told["otherCredentials"], 2);
    assert_eq!(told["others"][0]["source"], "imported");
    refused(&Home::new().run(WIT, &["status"], ""), 4);
}

/// A server that describes itself so, with its own address for `SELF`.
fn describing(description: &'static str) -> Server {
    Server::reading(move |head, _| {
        let host = head.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.or_else(|| head.lines().find_map(|line| line.strip_prefix("Host: ")));
        let own = format!("http://{}", host.unwrap_or_default());
        match head.starts_with("GET /.well-known/openid-configuration ") {
            true => answer(200, &description.replace("SELF", &own)),
            false if head.starts_with("POST /device ") => answer(
                200,
                r#"{"device_code":"d","user_code":"ABCD","expires_in":600,
                    "verification_uri":"javascript:alert(1)"}"#,
            ),
            false if head.starts_with("POST /broken ") => answer(500, "{}"),
            false => answer(404, "{}"),
        }
    })
}

#[test]
fn endpoints_of_another_server_are_not_mixed_with_the_servers_own() {
    let token = r#"{"issuer":"SELF","authorization_endpoint":"SELF/auth",
        "token_endpoint":"https://other.example/token"}"#;
    let authorization = r#"{"issuer":"SELF","token_endpoint":"SELF/token",
        "authorization_endpoint":"https://other.example/auth"}"#;
    let device = r#"{"issuer":"SELF","token_endpoint":"SELF/token",
        "device_authorization_endpoint":"https://other.example/device"}"#;
    let unnamed =
        r#"{"authorization_endpoint":"SELF/auth","token_endpoint":"https://other.example/token"}"#;
    let script = r#"{"issuer":"SELF","token_endpoint":"SELF/token","authorization_endpoint":"javascript:alert(1)"}"#;
    for description in [token, authorization, device, unnamed, script] {
        let server = describing(description);
        let login = ["login", &server.url, "--client-id", "x", "--no-browser"];
        for more in [&[][..], &["--host-type", "oauth"]] {
            let output = Home::new().run(WIT, &[&login[..], more].concat(), "");
            let said = text(&output.stderr);
            assert!(!output.status.success(), "{description}: {said}");
            assert!(
                said.contains("and it is another's"),
                "{description}: {said}"
            );
            assert!(!said.contains("Open"), "{description}: {said}");
        }
    }
}

fn by_device(server: &Server) -> Output {
    let client = ["--client-id", "x", "--device", "--host-type", "oauth"];
    let login = [&["login", &server.url][..], &client].concat();
    Home::new().run(WIT, &login, "")
}

#[test]
fn a_page_for_a_code_that_is_no_web_page_is_not_shown() {
    let server = describing(
        r#"{"issuer":"SELF","token_endpoint":"SELF/token","device_authorization_endpoint":"SELF/device"}"#,
    );
    let said = refused(&by_device(&server), 4);
    assert!(
        said.contains("the page for the code has to be https"),
        "{said}"
    );
    assert!(!said.contains("enter this code"), "{said}");
}

#[test]
fn an_error_is_told_once() {
    let server = describing(
        r#"{"issuer":"SELF","token_endpoint":"SELF/token","device_authorization_endpoint":"SELF/broken"}"#,
    );
    let said = refused(&by_device(&server), 1);
    assert_eq!(said.matches("status 500").count(), 1, "{said}");
}

#[test]
fn a_request_of_somebody_else_does_not_end_a_browsers_sign_in() {
    let provider = Provider::start(&json!({}));
    let home = Home::new();
    let words = [
        "login",
        &provider.issuer,
        "--client-id",
        "public",
        "--no-browser",
    ];
    let mut login = Login::start(&home, &words);
    let sent_to = provider.person_opens(&login.address());
    let ask = |address: &str| {
        let rest = address.strip_prefix("http://").expect("this machine");
        let (host, path) = rest.split_once('/').expect("a path");
        request(host, "GET", &format!("/{path}"), &[], "").status
    };
    assert_eq!(ask(&sent_to.replace("state=", "state=x")), 404);
    assert_eq!(
        ask(&sent_to.replace("code=", "error=access_denied&state=x&c=")),
        404
    );
    assert_eq!(ask(&sent_to), 200);
    let (code, said) = login.ends();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn one_minute_is_not_1_minutes() {
    let provider = Provider::start(&json!({"deviceCode": 62}));
    let words = [
        "login",
        &provider.issuer,
        "--client-id",
        "public",
        "--device",
        "--no-browser",
    ];
    let mut login = Login::start(&Home::new(), &words);
    login.code();
    until("the lifetime", || {
        login.said().contains("It expires in 1 minute.")
    });
}

#[test]
fn what_is_no_token_is_refused_before_anything_is_sent() {
    let forge = Forge::start(Kind::Gitea);
    let home = Home::new();
    let login = ["login", &forge.url, "--host-type", "gitea", "--token-stdin"];
    for (line, says) in [
        ("abc\0def\n", "NUL"),
        ("abc def\n", "no token"),
        ("\u{201c}abc\u{201d}\n", "no token"),
        ("a\u{1b}[2J\n", "no token"),
    ] {
        let said = refused(&home.run(WIT, &login, line), 2);
        assert!(said.contains(says), "{line:?}: {said}");
    }
    assert_eq!(forge.server.seen(), Vec::<String>::new());
}

#[test]
fn a_hosts_name_for_an_account_is_bounded() {
    let long = format!(r#"{{"login":"{}"}}"#, "a".repeat(5_000));
    let server = Server::new(move |first, _| match first {
        "GET /api/v1/user HTTP/1.1" => answer(200, &long),
        _ => answer(404, "{}"),
    });
    let home = Home::new();
    let login = [
        "login",
        &server.url,
        "--host-type",
        "gitea",
        "--token-stdin",
    ];
    let said = done(&home.run(WIT, &login, "0123456789abcdef\n"));
    assert!(said.contains("Logged in to ") && said.len() < 500, "{said}");
    assert_eq!(
        status_json(&home)["servers"][0]["signIns"][0]["account"],
        Value::Null
    );
}

#[test]
fn a_pasted_token_is_not_forgotten_before_it_is_said_that_it_lives_on() {
    let forge = Forge::start(Kind::Gitea);
    let home = pasted(&forge);
    let line = format!("wit logout {}", forge.url);
    for (answer, code) in [("n", 1), ("y", 0)] {
        let mut terminal = Terminal::run(&home, &line);
        terminal.shows("It still works; --revoke revokes it. [y/N] ");
        assert!(done(&get(&home, &forge.url, "")).contains("password="));
        terminal.types(answer);
        let (ended, screen) = terminal.ends();
        assert_eq!(ended, Some(code), "{screen}");
    }
    assert!(get(&home, &forge.url, "").stdout.is_empty());
}

#[test]
fn a_pasted_token_is_not_shown() {
    let forge = Forge::start(Kind::Gitea);
    let home = Home::new();
    let token = forge.person_creates(&["write:repository", "read:user"]);
    let line = format!("wit login {} --paste-token --no-browser", forge.url);
    let mut terminal = Terminal::run(&home, &line);
    terminal.shows("Token: ");
    terminal.hides();
    terminal.types(&token);
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(
        screen.contains("Logged in to ") && !screen.contains(&token),
        "{screen}"
    );
    assert!(done(&get(&home, &forge.url, "")).contains(&format!("password={token}\n")));
}

#[test]
fn git_signs_in_at_a_new_host_where_that_is_always_wanted() {
    let provider = Provider::start(&json!({}));
    let mut home = Home::new();
    provider.configure(&home);
    put_opener(&mut home);
    let git = |home: &Home| {
        let mut git = provider.ls_remote(home);
        git.env("GIT_TERMINAL_PROMPT", "1")
            .env("GIT_ASKPASS", "false");
        git.stdout(Stdio::null()).stderr(Stdio::piped());
        git.spawn().expect("git runs")
    };
    let opened = home.path().join("opened");
    // By default nobody is asked where nobody had signed in.
    assert!(!git(&home).wait().expect("an end").success());
    assert!(!opened.exists());
    let dir = home.path().join(".config/wit");
    fs::create_dir_all(&dir).expect("made");
    fs::write(dir.join("config.json"), r#"{"sign_in":"always"}"#).expect("written");
    // Nor where git is told to ask nothing.
    done(&home.run(
        "git",
        &["config", "--global", "credential.interactive", "false"],
        "",
    ));
    assert!(!git(&home).wait().expect("an end").success());
    assert!(!opened.exists(), "credential.interactive=false");
    done(&home.run(
        "git",
        &["config", "--global", "--unset", "credential.interactive"],
        "",
    ));
    let waiting = git(&home);
    until("the browser is opened", || opened.exists());
    let address = fs::read_to_string(&opened).expect("an address");
    let sent_to = provider.person_opens(address.trim());
    let rest = sent_to.strip_prefix("http://").expect("this machine");
    let (host, path) = rest.split_once('/').expect("a path");
    assert_eq!(
        request(host, "GET", &format!("/{path}"), &[], "").status,
        200
    );
    let ended = waiting.wait_with_output().expect("an end");
    assert!(ended.status.success(), "{}", text(&ended.stderr));
}

/// Tries to sign in with a token that nobody made.
fn paste_garbage(home: &Home, url: &str, kind: &str) -> String {
    let login = ["login", url, "--host-type", kind, "--token-stdin"];
    refused(&home.run(WIT, &login, "0123456789abcdef\n"), 1)
}

#[test]
fn a_token_that_could_not_be_checked_takes_the_place_of_none() {
    for (kind, name, scopes) in [
        (Kind::Github, "github", &["repo"][..]),
        (Kind::Gitlab, "gitlab", &["write_repository", "read_user"]),
        (Kind::Gitea, "gitea", &["write:repository", "read:user"]),
    ] {
        let forge = Forge::start(kind);
        let proxy = Proxy::to(forge.server.address());
        let home = Home::new();
        let token = forge.person_creates(scopes);
        let login = ["login", &proxy.url, "--host-type", name, "--token-stdin"];
        done(&home.run(WIT, &login, &format!("{token}\n")));
        for fate in [
            Fate::Refused(500),
            Fate::Refused(404),
            Fate::Refused(403),
            Fate::Refused(429),
            Fate::CutBefore,
        ] {
            proxy.set(move |_| fate);
            let said = paste_garbage(&home, &proxy.url, name);
            assert!(said.contains("not stored"), "{kind:?} {fate:?}: {said}");
            let fresh = Home::new();
            paste_garbage(&fresh, &proxy.url, name);
            proxy.set(|_| Fate::Forwarded);
            let given = done(&get(&home, &proxy.url, ""));
            assert!(given.contains(&format!("password={token}\n")), "{fate:?}");
            assert!(get(&fresh, &proxy.url, "").stdout.is_empty(), "{fate:?}");
        }
        let other = match kind {
            Kind::Gitea => "gitlab",
            _ => "gitea",
        };
        let said = paste_garbage(&home, &proxy.url, other);
        assert!(said.contains("--host-type"), "{said}");
        assert!(done(&get(&home, &proxy.url, "")).contains(&token));
    }
}

#[test]
fn a_server_that_can_not_be_asked_what_it_is_is_taken_for_nothing() {
    for status in [403, 429, 500, 503] {
        let server =
            Server::reading(move |_, _| answer(status, r#"{"message":"Request blocked"}"#));
        let home = Home::new();
        let said = refused(&home.run(WIT, &["login", &server.url], ""), 1);
        assert!(
            said.contains("could not be asked what it is") && said.contains("--host-type"),
            "{status}: {said}"
        );
        let config = fs::read_to_string(home.path().join(".config/wit/config.json"));
        assert!(!config.unwrap_or_default().contains(&server.url));
    }
}

#[test]
fn a_forgotten_token_is_not_said_to_be_ended_by_a_command_that_can_not_any_more() {
    for (kind, scope, page) in [
        (Kind::Github, "repo", "/settings/tokens\n"),
        (
            Kind::Gitlab,
            "read_repository",
            "/-/user_settings/personal_access_tokens\n",
        ),
    ] {
        let forge = Forge::start(kind);
        let home = Home::new();
        let token = forge.person_creates(&[scope]) + "\n";
        done(&home.run(WIT, &["login", &forge.url, "--token-stdin"], &token));
        let output = home.run(WIT, &["logout", &forge.url, "--yes"], "");
        done(&output);
        let said = text(&output.stderr);
        assert!(
            said.contains("still works") && said.contains(page),
            "{said}"
        );
        assert!(!said.contains("--revoke"), "{said}");
    }
}

#[test]
fn a_token_of_gitlab_that_git_can_not_use_is_not_taken_silently() {
    let forge = Forge::start(Kind::Gitlab);
    for (scopes, warns) in [
        (&["read_user"][..], true),
        (&["read_repository", "read_user"], false),
        (&["api"], false),
    ] {
        let token = forge.person_creates(scopes) + "\n";
        let login = ["login", &forge.url, "--token-stdin"];
        let output = Home::new().run(WIT, &login, &token);
        done(&output);
        let said = text(&output.stderr);
        assert_eq!(said.contains("git can't use"), warns, "{scopes:?}: {said}");
    }
}
