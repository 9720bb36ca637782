//! Tokens of GitLab's projects and groups, by a personal token with `api`.

#![cfg(feature = "platform")]

use std::process::{Output, Stdio};
use std::time::Instant;

use crate::support::forge::{Forge, Kind};
use crate::support::machine::paths;
use crate::support::proxy::{Fate, Proxy};
use crate::support::{HELPER, Home, WIT, done, kill_within, refused, text, until};
use serde_json::{Value, json};
use wit::api::ApiError;
use wit::api::server::ServerUrl;
use wit::expiry::UnixTime;
use wit::hosts::tokens::{self, Person};
use wit::oauth::Reach;
use wit::rotation::journal;
use wit::secret::Secret;
use wit::sign_in::{ClientAuth, HostType, OAuthClient, SignIn, Upkeep};

const PROJECT: [&str; 2] = ["--project", "ada/hello"];

struct Setup {
    forge: Forge,
    proxy: Proxy,
    /// The URL that is signed in to: the proxy's.
    url: String,
    home: Home,
}

impl Setup {
    fn with(scopes: &[&str]) -> Self {
        let forge = Forge::start(Kind::Gitlab);
        let proxy = Proxy::to(forge.server.address());
        let url = proxy.url.clone();
        Self::at(forge, proxy, url, scopes)
    }

    /// Without the proxy, which brings a request also where its client is gone.
    fn directly() -> Self {
        let forge = Forge::start(Kind::Gitlab);
        let proxy = Proxy::to(forge.server.address());
        let url = forge.url.clone();
        Self::at(forge, proxy, url, &["api"])
    }

    fn at(forge: Forge, proxy: Proxy, url: String, scopes: &[&str]) -> Self {
        let home = Home::new();
        let token = forge.person_creates(scopes) + "\n";
        let login = ["login", &url, "--host-type", "gitlab", "--token-stdin"];
        done(&home.run(WIT, &login, &token));
        Setup {
            forge,
            proxy,
            url,
            home,
        }
    }

    fn maintainer() -> Self {
        Self::with(&["api"])
    }

    fn wit(&self, arguments: &[&str]) -> Output {
        self.home.run(WIT, arguments, "")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = done(&self.wit(&[arguments, &["--json"]].concat()));
        serde_json::from_str(&output).expect("JSON")
    }

    fn create(&self, name: &str, more: &[&str]) -> Value {
        self.json(&[&["token", "create", name][..], &PROJECT, more].concat())
    }

    fn list(&self) -> Vec<Value> {
        let listed = self.json(&[&["token", "list"][..], &PROJECT].concat());
        let mut all = listed.as_array().expect("a list").clone();
        all.retain(|token| token["id"].as_str().is_some_and(|id| id.contains('@')));
        all
    }

    /// The role of a token, and the days that it lives.
    fn facts(&self, token: &Value) -> (u64, i64) {
        let id = token["id"].as_str().expect("an id");
        let number: u64 = id
            .split('@')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        self.forge.with(|state| {
            let detail = &state.gitlab.details[&number];
            let end = detail.expires.expect("an end");
            (
                detail.access_level,
                (end - detail.created.date()).whole_days(),
            )
        })
    }

    fn given(&self) -> String {
        let (scheme, host) = self.url.split_once("://").expect("a URL");
        let request = format!("protocol={scheme}\nhost={host}\n\n");
        let answer = done(&self.home.run(HELPER, &["get"], &request));
        let mut lines = answer.lines();
        let password = lines.find_map(|line| line.strip_prefix("password="));
        password.expect("a password").to_owned()
    }

    fn lives(&self, secret: &str) -> bool {
        self.forge.with(|state| state.tokens[secret].alive)
    }

    /// How many tokens of the project live.
    fn living(&self) -> usize {
        let is_theirs = |place: &Option<String>| place.is_some();
        self.forge.with(|state| {
            let tokens = state.tokens.values().filter(|token| token.alive);
            let details = tokens.filter_map(|token| state.gitlab.details.get(&token.id));
            details.filter(|detail| is_theirs(&detail.place)).count()
        })
    }

    fn is_idle(&self) -> bool {
        let journals = self.home.path().join(".local/state/wit/rotations");
        std::fs::read_dir(journals).is_ok_and(|mut entries| entries.next().is_none())
    }
}

#[test]
fn a_token_is_created_with_the_least_listed_and_revoked() {
    let setup = Setup::maintainer();
    let read = setup.create("reads", &["-s", "read", "-e", "30"]);
    assert_eq!(read["scopes"], json!(["read_repository"]));
    assert!(
        read["id"]
            .as_str()
            .is_some_and(|id| id.ends_with("@ada/hello")),
        "{read}"
    );
    assert_eq!(setup.facts(&read), (20, 30));
    let write = setup.create("writes", &["-e", "30"]);
    assert_eq!(write["scopes"], json!(["write_repository"]));
    assert_eq!(setup.facts(&write), (30, 30));
    let high = setup.create("high", &["--access-level", "maintainer"]);
    assert_eq!(setup.facts(&high), (40, 30), "not as long as it can");
    let by_repo = setup.json(&["token", "create", "repo", "--repo", "ada/hello", "-e", "1"]);
    assert!(
        by_repo["id"]
            .as_str()
            .is_some_and(|id| id.ends_with("@ada/hello"))
    );
    let group = setup.json(&["token", "create", "g", "--group", "acme/tools", "-e", "7"]);
    assert!(
        group["id"]
            .as_str()
            .is_some_and(|id| id.ends_with("@group:acme/tools"))
    );
    let names: Vec<_> = setup
        .list()
        .iter()
        .map(|token| token["name"].clone())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    // One's own is listed without any place.
    let own = setup.json(&["token", "list"]);
    assert_eq!(own.as_array().map(Vec::len), Some(1), "{own}");

    let secret = read["token"].as_str().expect("a secret");
    done(&setup.wit(&["token", "revoke", read["id"].as_str().expect("an id")]));
    assert!(!setup.lives(secret));
    done(&setup.wit(&["token", "revoke", "--project", "ada/hello", "writes"]));
    let whole = ["token", "revoke", "--token-stdin", "--project", "ada/hello"];
    let secret = by_repo["token"].as_str().expect("a secret");
    done(&setup.home.run(WIT, &whole, secret));
    assert!(!setup.lives(secret));
    assert_eq!(setup.list().len(), 1);
    done(&setup.wit(&["token", "revoke", group["id"].as_str().expect("an id")]));
    assert_eq!(setup.living(), 1);
}

#[test]
fn a_list_is_read_to_its_last_page() {
    let setup = Setup::maintainer();
    for number in 0..5 {
        setup.create(&format!("t{number}"), &["-e", "1"]);
    }
    setup.forge.with(|state| state.gitlab.page = 2);
    assert_eq!(setup.list().len(), 5);
}

#[test]
fn git_uses_a_stored_one_and_its_rotation_overlaps() {
    let setup = Setup::maintainer();
    let store = ["--store", "--access-level", "maintainer", "-e", "30"];
    setup.create("laptop", &store);
    let first = setup.given();
    let rotate = ["token", "rotate", "--deliver", "cat >new", "--grace", "1h"];
    done(&setup.wit(&rotate));
    let second = setup.given();
    assert!(first != second && setup.lives(&first) && setup.lives(&second));
    let delivered = std::fs::read_to_string(setup.home.path().join("new"));
    assert_eq!(delivered.expect("delivered").trim(), second);
    done(&setup.wit(&["token", "rotate", "--due", "60"]));
    let third = setup.given();
    assert!(third != second && !setup.lives(&second) && setup.lives(&third));
    // As the first: its role and its lifetime.
    let list = setup.list();
    let here = list
        .iter()
        .find(|token| token["thisMachine"] == true && token["replacedUntil"].is_null());
    assert_eq!(setup.facts(here.expect("the stored one")), (40, 30));
}

#[test]
fn one_that_lies_elsewhere_is_delivered_and_can_be_taken_back() {
    let setup = Setup::maintainer();
    let made = setup.create("ci", &["-e", "30"]);
    let (id, old) = (
        made["id"].as_str().expect("an id"),
        made["token"].as_str().expect("a secret"),
    );
    let failed = setup.wit(&["token", "rotate", id, "--deliver", "false"]);
    assert_eq!(failed.status.code(), Some(5), "{}", text(&failed.stderr));
    assert_eq!(setup.living(), 2);
    done(&setup.wit(&["token", "rotate", id, "--abort"]));
    assert!(setup.lives(old) && setup.living() == 1 && setup.is_idle());
    let failed = setup.wit(&["token", "rotate", id, "--deliver", "false"]);
    assert_eq!(failed.status.code(), Some(5));
    done(&setup.wit(&["token", "rotate", id, "--resume", "--deliver", "cat >new"]));
    let new = std::fs::read_to_string(setup.home.path().join("new")).expect("delivered");
    assert!(setup.lives(new.trim()) && !setup.lives(old) && setup.living() == 1);
}

#[test]
fn audit_and_prune_see_the_tokens_of_a_project() {
    let setup = Setup::maintainer();
    let made = setup.create("old", &["-e", "30"]);
    let secret = made["token"].as_str().expect("a secret");
    setup.forge.with(|state| state.ages(secret, 40, -1));
    let audit = setup.wit(&["token", "audit", "--project", "ada/hello"]);
    assert_eq!(audit.status.code(), Some(3));
    assert!(
        text(&audit.stdout).contains("expired on"),
        "{}",
        text(&audit.stdout)
    );
    done(&setup.wit(&["token", "prune", "--expired", "--project", "ada/hello"]));
    assert!(!setup.lives(secret));
}

#[test]
fn a_lost_answer_is_found_by_the_request_that_its_description_names() {
    let setup = Setup::maintainer();
    setup.proxy.set(|first| match first.starts_with("POST ") {
        true => Fate::CutAfter,
        false => Fate::Forwarded,
    });
    let create = [
        "token",
        "create",
        "ci",
        "--project",
        "ada/hello",
        "-e",
        "30",
    ];
    let said = refused(&setup.wit(&create), 5);
    setup.proxy.set(|_| Fate::Forwarded);
    assert!(said.contains("its secret was lost"), "{said}");
    let hint = said
        .lines()
        .find_map(|line| line.strip_prefix("hint: "))
        .expect("a hint");
    let command = hint.split(',').next().expect("a command");
    done(&setup.home.run("sh", &["-c", command], ""));
    assert_eq!(setup.living(), 0);
}

#[test]
fn what_the_host_refuses_is_said() {
    let setup = Setup::maintainer();
    let create = |more: &[&str]| setup.wit(&[&["token", "create", "ci"][..], more].concat());
    let said = refused(&create(&["--project", "ada/hidden"]), 1);
    assert!(
        said.contains("has no project ada/hidden, or this sign-in may not see it"),
        "{said}"
    );
    let said = refused(&create(&[]), 1);
    assert!(said.contains("--project PATH or --group PATH"), "{said}");
    setup.forge.with(|state| state.gitlab.max_days = 30);
    let said = refused(&create(&["--project", "ada/hello", "-e", "90"]), 2);
    assert!(said.contains("lives for 30 days at most"), "{said}");
    done(&create(&["--project", "ada/hello", "-e", "30"]));
    setup.proxy.set(|_| Fate::Refused(429));
    let said = refused(&setup.wit(&["token", "list"]), 1);
    assert!(said.contains("too many requests"), "{said}");

    let setup = Setup::with(&["write_repository", "self_rotate"]);
    setup.proxy.take_seen();
    let create = ["token", "create", "ci", "--project", "ada/hello"];
    let said = refused(&setup.wit(&create), 1);
    assert!(
        said.contains("a personal token with the scope api"),
        "{said}"
    );
    assert_eq!(setup.proxy.take_seen(), Vec::<String>::new());
    let own = setup.json(&["token", "list"]);
    assert_eq!(own[0]["name"], "by hand");
    let id = own[0]["id"].as_str().expect("an id");
    let rotate = ["token", "rotate", id, "--grace", "1h"];
    let said = refused(&setup.wit(&rotate), 1);
    assert!(said.contains("grace"), "{said}");
    done(&setup.wit(&["token", "revoke", id]));
    assert!(setup.forge.alive().is_empty());
}

#[test]
fn an_oauth_sign_in_is_refused_before_anything_is_sent() {
    let forge = Forge::start(Kind::Gitlab);
    let login = tokens::Login {
        host: HostType::Gitlab,
        server: ServerUrl::parse(&forge.url).expect("a URL"),
        account: Some("ada".into()),
        token: Secret::from("access".to_owned()),
        sign_in: SignIn {
            server: forge.url.clone(),
            host: HostType::Gitlab,
            account: Some("ada".into()),
            git_username: "oauth2".into(),
            bearer: false,
            scopes: vec!["api".into()],
            issued: UnixTime(0),
            refresh_expiry: None,
            ended: false,
            upkeep: Upkeep::Refresh(OAuthClient {
                token_endpoint: format!("{}/oauth/token", forge.url),
                revocation_endpoint: None,
                client_id: "wit".into(),
                client_secret: None,
                client_auth: ClientAuth::Body,
            }),
        },
        reach: Reach {
            ca_file: None,
            limit: None,
        },
        person: Person::default(),
        places: Vec::new(),
        known_places: Vec::new(),
        access_level: None,
    };
    let api = tokens::open(login).expect("an API");
    let promises = api.promises();
    assert!(!promises.create && !promises.list && !promises.repositories);
    let ApiError::Forbidden { message } = api.refusal("create tokens") else {
        panic!("a reason");
    };
    assert!(message.contains("personal token with the scope api; this sign-in is by OAuth"));
    assert!(forge.server.seen().is_empty());
}

#[test]
fn each_request_failing_in_turn_leaves_one_token_that_works() {
    for fate in [
        Fate::Refused(500),
        Fate::Refused(401),
        Fate::Refused(403),
        Fate::Refused(429),
        Fate::CutBefore,
        Fate::CutAfter,
    ] {
        for number in 0.. {
            let setup = Setup::maintainer();
            setup.create("laptop", &["--store", "-e", "30"]);
            setup.proxy.take_seen();
            setup.proxy.spoil(number, fate);
            let spoilt = setup.wit(&["token", "rotate"]);
            let count = setup.proxy.take_seen().len();
            setup.proxy.set(|_| Fate::Forwarded);
            let what = format!("{fate:?} of request {number}: {}", text(&spoilt.stderr));
            assert!(setup.lives(&setup.given()), "{what}");
            if spoilt.status.success() && count <= number {
                break;
            }
            let again = setup.wit(&["token", "rotate"]);
            assert!(again.status.success(), "{what}\n{}", text(&again.stderr));
            assert!(setup.lives(&setup.given()), "{what}");
            assert_eq!(setup.living(), 1, "{what}");
            assert!(setup.is_idle(), "{what}");
        }
    }
}

#[test]
fn a_crash_at_each_step_leaves_one_token_that_works() {
    for point in [
        "journal-creating",
        "created",
        "journal-created",
        "pending",
        "journal-verifying",
        "journal-promoting",
        "promoted",
        "journal-delivering",
        "journal-revoking",
        "revoked",
        "tidied",
        "cleared",
    ] {
        let mut setup = Setup::maintainer();
        setup.create("laptop", &["--store", "-e", "30"]);
        setup.home.set("WIT_CRASH_AT", point);
        let crashed = setup.wit(&["token", "rotate"]);
        assert_eq!(crashed.status.code(), None, "{point}");
        setup.home.set("WIT_CRASH_AT", "");
        assert!(setup.lives(&setup.given()), "{point}");
        done(&setup.wit(&["token", "rotate", "--resume"]));
        assert!(setup.lives(&setup.given()), "{point}");
        assert_eq!(setup.living(), 1, "{point}");
        assert!(setup.is_idle(), "{point}");
    }
}

#[test]
fn status_shows_a_rotation_that_has_not_stored_anything_yet() {
    let mut setup = Setup::maintainer();
    setup.create("laptop", &["--store", "-e", "30"]);
    setup.home.set("WIT_CRASH_AT", "created");
    let crashed = setup.wit(&["token", "rotate"]);
    assert_eq!(crashed.status.code(), None);
    setup.home.set("WIT_CRASH_AT", "");
    let unfinished = || {
        let shown = setup.wit(&["status"]);
        let is_told = text(&shown.stdout).contains("A rotation is not finished");
        (shown.status.code(), is_told)
    };
    assert_eq!(unfinished(), (Some(3), true));
    done(&setup.wit(&["token", "rotate", "--resume"]));
    assert_eq!(unfinished(), (Some(0), false));
    refused(&setup.wit(&["token", "rotate", "--deliver", "exit 3"]), 5);
    assert_eq!(unfinished().0, Some(3));
}

#[test]
fn a_token_has_to_have_an_end() {
    let setup = Setup::maintainer();
    setup.proxy.take_seen();
    let create = ["token", "create", "x", "--expires", "never"];
    let said = refused(&setup.wit(&[&create[..], &PROJECT].concat()), 2);
    assert!(said.contains("have to expire"), "{said}");
    let seen = setup.proxy.take_seen();
    assert!(!seen.iter().any(|seen| seen.starts_with("POST ")));
}

#[test]
fn a_token_is_for_one_place() {
    let setup = Setup::maintainer();
    let create = [
        "token",
        "create",
        "x",
        "--repo",
        "ada/hello",
        "--repo",
        "ada/other",
        "-e",
        "1",
    ];
    setup.proxy.take_seen();
    let said = refused(&setup.wit(&create), 1);
    assert!(
        said.contains("one project or one group") || said.contains("has no project"),
        "{said}"
    );
    let posts = setup.proxy.take_seen();
    assert!(!posts.iter().any(|seen| seen.starts_with("POST ")));
}

#[test]
fn a_command_has_a_token_of_its_project_which_ends_with_it() {
    let setup = Setup::maintainer();
    let script = "printf %s \"$WIT_TOKEN\" >seen; git ls-remote \"$WIT_URL/ada/hello.git\"";
    let exec = [
        "token",
        "exec",
        "--repo",
        "ada/hello",
        "--",
        "sh",
        "-c",
        script,
    ];
    done(&setup.wit(&exec));
    let seen = std::fs::read_to_string(setup.home.path().join("seen")).expect("a token");
    assert!(seen.starts_with("glpat-") && !setup.lives(&seen));
    assert_eq!(setup.living(), 0);
}

/// The command was killed while GitLab was still to answer: nobody here knows the token's id.
#[test]
fn a_command_that_is_killed_before_the_answer_leaves_no_token() {
    for has_descriptions in [true, false] {
        let setup = Setup::maintainer();
        setup
            .forge
            .with(|state| state.gitlab.no_descriptions = !has_descriptions);
        setup.create("stays", &["-e", "1"]);
        setup.proxy.set(|first| match first.starts_with("POST ") {
            true => Fate::Silence,
            false => Fate::Forwarded,
        });
        let exec = [
            "token",
            "exec",
            "--project",
            "ada/hello",
            "--",
            "touch",
            "ran",
        ];
        let mut command = setup.home.command(WIT);
        let mut killed = command.args(exec).spawn().expect("started");
        until("the token is created", || setup.living() == 2);
        killed.kill().expect("killed");
        killed.wait().expect("an end");
        setup.proxy.set(|_| Fate::Forwarded);
        done(&setup.wit(&["status"]));
        let left: Vec<_> = setup
            .list()
            .iter()
            .map(|token| token["name"].clone())
            .collect();
        assert_eq!(left, ["stays"], "{has_descriptions}");
        assert!(!setup.home.path().join("ran").exists());
        let records = setup.home.path().join(".local/state/wit/execs");
        let records = std::fs::read_dir(records).expect("a directory");
        assert_eq!(records.count(), 0);
    }
}

#[test]
fn a_token_that_is_shown_ends_itself_whoever_is_signed_in() {
    let setup = Setup::with(&["write_repository"]);
    let other = setup.forge.person_creates(&["read_repository"]);
    let revoke = ["token", "revoke", "--token-stdin"];
    setup.proxy.take_seen();
    let said = done(&setup.home.run(WIT, &revoke, &format!("{other}\n")));
    assert_eq!(said, "Revoked the token.\n");
    assert!(!setup.lives(&other));
    let sent = ["DELETE /api/v4/personal_access_tokens/self HTTP/1.1"];
    assert_eq!(setup.proxy.take_seen(), sent);
    let said = refused(&setup.home.run(WIT, &revoke, &format!("{other}\n")), 1);
    assert!(said.contains("does not know this token"), "{said}");
    // The one of the sign-in goes from here, too.
    let own = setup.given();
    let said = done(&setup.home.run(WIT, &revoke, &format!("{own}\n")));
    assert!(said.contains("also removed from this machine"), "{said}");
    assert!(setup.forge.alive().is_empty());
    refused(&setup.wit(&["token", "list"]), 4);
}

#[test]
fn the_scope_that_a_token_replaces_itself_with_is_named() {
    let setup = Setup::with(&["write_repository"]);
    for words in [&["token", "rotate"][..], &["token", "rotate", "1"]] {
        let said = refused(&setup.wit(words), 1);
        assert!(said.contains("self_rotate"), "{said}");
    }
    // GitLab refuses by itself, and does not say which scope is missing.
    let setup = Setup::with(&["write_repository", "self_rotate"]);
    setup.proxy.set(|first| match first.starts_with("POST ") {
        true => Fate::Refused(403),
        false => Fate::Forwarded,
    });
    let said = refused(&setup.wit(&["token", "rotate"]), 1);
    assert!(said.contains("the scope self_rotate"), "{said}");
}

#[test]
fn a_token_of_gitlab_does_not_replace_itself_where_nobody_is_signed_in() {
    let forge = Forge::start(Kind::Gitlab);
    let mut home = Home::new();
    home.set("WIT_TOKEN", forge.person_creates(&["api", "self_rotate"]));
    home.set("WIT_URL", &forge.url);
    let rotate = ["token", "rotate", "--self", "--print"];
    let said = refused(&home.run(WIT, &rotate, ""), 1);
    assert!(
        said.contains("--self is for a wit server, and the token in WIT_TOKEN is of GitLab"),
        "{said}"
    );
    assert_eq!(forge.server.seen(), Vec::<String>::new());
}

/// Rounds of kills in the suite; `WIT_KILL_ROUNDS` asks for another number.
const KILL_ROUNDS: usize = 20;
const KILL_WORKERS: usize = 2;

/// Kills the rotations of one machine at random moments. Returns how many were killed before their end.
fn kill_at_random(number: usize, rounds: usize) -> usize {
    let setup = Setup::directly();
    setup.create("laptop", &["--store", "-e", "30"]);
    // Any sequence will do; this one differs by worker and repeats exactly.
    let mut random = fastrand::Rng::with_seed(number as u64);
    let rotate = ["token", "rotate"];
    let begun = Instant::now();
    done(&setup.wit(&rotate));
    let mut usual = begun.elapsed();
    let mut killed = 0;
    for round in 0..rounds {
        let what = format!("worker {number}, round {round}");
        let mut rotation = (setup.home.command(WIT).args(rotate))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        // Git may ask at any moment of it: what it is given works, or another does by then.
        let given = setup.given();
        let works = setup.lives(&given) || setup.lives(&setup.given());
        assert!(works, "{what}: nothing works while it runs");
        killed += usize::from(kill_within(&mut rotation, usual, &mut random));
        assert!(setup.lives(&setup.given()), "{what}: nothing works");
        let begun = Instant::now();
        let again = setup.wit(&rotate);
        usual = (usual * 3 + begun.elapsed()) / 4;
        assert!(again.status.success(), "{what}: {}", text(&again.stderr));
        assert!(
            setup.lives(&setup.given()),
            "{what}: the stored one does not work"
        );
        assert_eq!(setup.living(), 1, "{what}");
        let journals = journal::all(&paths(&setup.home)).expect("journals");
        assert_eq!(journals, [], "{what}");
    }
    killed
}

#[test]
fn rotations_that_are_killed_at_random_leave_one_token_that_works() {
    let rounds = std::env::var("WIT_KILL_ROUNDS").ok();
    let rounds = rounds.map_or(KILL_ROUNDS, |rounds| rounds.parse().expect("a number"));
    let killed: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..KILL_WORKERS)
            .map(|number| scope.spawn(move || kill_at_random(number, rounds / KILL_WORKERS)))
            .collect();
        let killed = workers
            .into_iter()
            .map(|worker| worker.join().expect("mended"));
        killed.sum()
    });
    assert!(killed > 0, "none of {rounds} was killed before its end");
    println!("{killed} of {rounds} were killed before their end");
}
