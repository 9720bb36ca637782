//! Git hosts that mean harm, or are broken: what they list has an end, is shown without effect on a
//! terminal, and is refused in one line.

#![cfg(all(unix, feature = "platform"))]

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::forge::github_app::{APP, Key};
use crate::support::server::{Server, answer, with_header};
use crate::support::{Home, WIT, done, text};

const SECRET: &str = "0123456789abcdef0123456789abcdef01234567";
/// A name that would clear a screen, set a title and turn what follows around.
const NAME: &str = "ci\u{1b}[2J\u{1b}]0;x\u{7}\u{202e}\u{9b}31m\nerror: forged";
/// Most requests of one command.
const MAX_REQUESTS: usize = 120;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gitea,
    Forgejo,
    Gitlab,
}

const KINDS: [Kind; 3] = [Kind::Gitea, Kind::Forgejo, Kind::Gitlab];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Gitea => "gitea",
            Kind::Forgejo => "forgejo",
            Kind::Gitlab => "gitlab",
        }
    }

    /// The path of the list.
    fn list(self) -> &'static str {
        match self {
            Kind::Gitea | Kind::Forgejo => "/api/v1/users/ada/tokens?",
            Kind::Gitlab => "/api/v4/personal_access_tokens?",
        }
    }

    fn token(self, id: i64, name: &str) -> Value {
        match self {
            Kind::Gitea | Kind::Forgejo => json!({
                "id": id, "name": name, "sha1": "", "token_last_eight": "cf7c2c80",
                "scopes": ["write:repository"], "created_at": "2020-01-01T00:00:00Z",
            }),
            Kind::Gitlab => json!({
                "id": id, "name": name, "revoked": false, "scopes": ["api"], "user_id": 7,
                "created_at": "2020-01-01T00:00:00Z", "expires_at": "2099-01-01",
            }),
        }
    }

    /// A page of a list that says that there are more.
    fn page(self, first: i64, next: &str) -> Option<String> {
        let count = if self == Kind::Gitlab { 100 } else { 50 };
        let all: Vec<Value> = (first..first + count)
            .map(|id| self.token(id, &format!("t{id}")))
            .collect();
        let header = match self {
            Kind::Gitlab => format!("X-Next-Page: {next}"),
            _ => "X-Total-Count: 1000000".to_owned(),
        };
        with_header(200, &header, &Value::from(all).to_string())
    }
}

/// The number of the page that a request asks for.
fn number(first: &str) -> i64 {
    let (_, query) = first.split_once('?').unwrap_or_default();
    let query = query.split(' ').next().unwrap_or_default();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let page = pairs.iter().find(|(name, _)| name == "page");
    page.and_then(|(_, number)| number.parse().ok())
        .unwrap_or(1)
}

/// A home that is signed in to a host which from then on lists what `list` answers.
fn signed_in(
    kind: Kind,
    list: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> (Server, Home) {
    let server = Server::new(move |first, _| match first {
        _ if first.contains(kind.list()) => list(first),
        _ if first.starts_with("GET /api/v4/personal_access_tokens/self ") => {
            answer(200, &Kind::Gitlab.token(1, "own").to_string())
        }
        _ if first.starts_with("GET /api/v") => {
            answer(200, r#"{"id":7,"login":"ada","username":"ada"}"#)
        }
        _ => answer(404, "{}"),
    });
    let home = Home::new();
    let login = ["login", &server.url, "--host-type", kind.name()];
    let login = [&login[..], &["--token-stdin", "--username", "ada"]].concat();
    done(&home.run(WIT, &login, &format!("{SECRET}\n")));
    (server, home)
}

const COMMANDS: [&[&str]; 7] = [
    &["token", "list"],
    &["token", "list", "--json"],
    &["token", "list", "--format", "tsv"],
    &["token", "audit"],
    &["token", "prune", "--unused", "1", "--dry-run"],
    &["token", "revoke", "2"],
    &["token", "rotate", "2", "--print"],
];

fn run(kind: Kind, home: &Home, command: &[&str]) -> Output {
    let mut words = command.to_vec();
    let is_asked = kind == Kind::Forgejo;
    if is_asked {
        words.insert(2, "--password-stdin");
    }
    home.run(WIT, &words, if is_asked { "pw\n" } else { "" })
}

/// Asserts that nothing acts on a terminal, and that no secret is shown.
fn assert_harmless(said: &str, what: &str) {
    for harm in ["\u{1b}", "\u{7}", "\u{202e}", "\u{9b}", SECRET] {
        assert!(!said.contains(harm), "{harm:?}: {what}");
    }
    let forged = said.lines().any(|line| line.starts_with("error: forged"));
    assert!(!forged, "{what}");
}

/// Asserts that each command ends with one line that says `why`.
fn assert_refused(kind: Kind, why: &str, server: &Server, home: &Home) {
    for command in COMMANDS {
        let before = server.seen().len();
        let output = run(kind, home, command);
        let said = text(&output.stdout) + &text(&output.stderr);
        let what = format!("{kind:?}, {command:?}: {said}");
        assert_eq!(output.status.code(), Some(1), "{what}");
        assert!(said.contains(why), "{what}");
        let errors = said.lines().filter(|line| line.contains("error"));
        assert_eq!(errors.count(), 1, "{what}");
        assert_harmless(&said, &what);
        let requests = server.seen().len() - before;
        assert!(requests <= MAX_REQUESTS, "{requests}: {what}");
    }
    if kind != Kind::Forgejo {
        let output = home.run(WIT, &["token", "list", "--all"], "");
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(3), "{said}");
        let lines = said.lines().filter(|line| line.contains("not listed: "));
        assert_eq!(lines.count(), 1, "{said}");
        assert_harmless(&said, &said);
    }
}

#[test]
fn pages_without_an_end_are_given_up() {
    let why = "a list of tokens without an end";
    for kind in KINDS {
        let (server, home) = signed_in(kind, move |first| {
            let page = number(first);
            kind.page(page * 100, &(page + 1).to_string())
        });
        assert_refused(kind, why, &server, &home);
    }
}

#[test]
fn a_page_that_comes_again_is_given_up_at_once() {
    let why = "a list of tokens without an end";
    for kind in KINDS {
        for next in ["1", "0", "-1", "x", "99999999999999999999"] {
            let (server, home) = signed_in(kind, move |_| kind.page(100, next));
            let before = server.seen().len();
            let output = run(kind, &home, &["token", "list"]);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{kind:?}: {said}");
            assert!(said.contains(why), "{kind:?}: {said}");
            assert!(server.seen().len() - before <= 5, "{kind:?}");
        }
    }
}

#[test]
fn a_list_that_is_elsewhere_is_not_followed() {
    for kind in KINDS {
        let other = Server::new(|_, _| answer(200, "[]"));
        let location = format!("Location: {}/api", other.url);
        let (server, home) = signed_in(kind, move |_| with_header(302, &location, ""));
        assert_refused(kind, "refusing to follow a redirect", &server, &home);
        assert_eq!(other.seen(), Vec::<String>::new(), "{kind:?}");
    }
}

#[test]
fn what_is_too_large_or_no_list_is_refused() {
    let deep = "[".repeat(100_000);
    let huge = format!("[{}]", " ".repeat(10 << 20));
    for (body, why) in [
        (huge, "larger than 1 MiB"),
        (deep, "not the JSON that was expected"),
        ("<html>".to_owned(), "not the JSON that was expected"),
        ("{}".to_owned(), "not the JSON that was expected"),
    ] {
        for kind in KINDS {
            let body = body.clone();
            let (server, home) = signed_in(kind, move |_| answer(200, &body));
            assert_refused(kind, why, &server, &home);
        }
    }
}

#[test]
fn values_that_can_not_be_are_refused() {
    let long = "n".repeat(10_000);
    let far = "99999-01-01T00:00:00Z";
    for (field, value, kinds) in [
        ("id", json!(-5), &KINDS[..]),
        ("id", json!(1e30), &KINDS),
        ("id", json!("../x"), &KINDS),
        ("name", json!(long), &KINDS),
        ("name", json!(7), &KINDS),
        ("scopes", json!(["x\u{1b}[2J"]), &KINDS),
        ("scopes", json!(["$(touch ~/x)"]), &KINDS),
        ("token_last_eight", json!("\u{1b}[2J"), &KINDS[..2]),
        ("created_at", json!(far), &KINDS[..2]),
        ("expires_at", json!("99999-01-01"), &KINDS[2..]),
        ("expires_at", json!(far), &KINDS[2..]),
        ("expires_at", json!("never\u{1b}[2J"), &KINDS[2..]),
    ] {
        for &kind in kinds {
            let mut token = kind.token(2, "ci");
            token[field] = value.clone();
            let body = json!([token]).to_string();
            let (server, home) = signed_in(kind, move |_| answer(200, &body));
            assert_refused(kind, "invalid response from the server", &server, &home);
        }
    }
}

#[test]
fn a_name_reaches_no_terminal_raw() {
    for kind in KINDS {
        let body = json!([kind.token(2, NAME)]).to_string();
        let (_server, home) = signed_in(kind, move |_| answer(200, &body));
        let all: &[&str] = &["token", "list", "--all"];
        for command in COMMANDS.into_iter().chain([all]) {
            let output = match command == all {
                true => home.run(WIT, command, ""),
                false => run(kind, &home, command),
            };
            let said = text(&output.stdout) + &text(&output.stderr);
            assert_harmless(&said, &format!("{kind:?}, {command:?}: {said}"));
        }
        let listed = done(&run(kind, &home, &["token", "list"]));
        assert!(listed.contains("ci\\u{1b}[2J"), "{listed}");
        // A program is told what it is.
        let listed = done(&run(kind, &home, &["token", "list", "--json"]));
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        assert_eq!(listed[0]["name"], NAME);
    }
}

/// The app's installations come page by page too.
#[test]
fn installations_of_an_app_without_an_end_are_given_up() {
    let home = Home::new();
    let key = Key::new(&home, "app");
    let is_same = Arc::new(AtomicBool::new(false));
    let repeats = Arc::clone(&is_same);
    let server = Server::new(move |first, _| match first {
        _ if first.contains("/app/installations?") => {
            let page = if repeats.load(Ordering::SeqCst) {
                1
            } else {
                number(first)
            };
            let one = |id: i64| {
                json!({
                    "id": id, "account": { "login": format!("o{id}") }, "app_slug": "builds",
                    "suspended_at": null, "permissions": { "contents": "write" },
                })
            };
            let all: Vec<Value> = (page * 100..page * 100 + 100).map(one).collect();
            answer(200, &Value::from(all).to_string())
        }
        _ if first.contains("/app ") => answer(200, r#"{"slug":"builds","name":"builds"}"#),
        _ => answer(404, "{}"),
    });
    let login = [
        "login",
        &server.url,
        "--host-type",
        "github",
        "--app-id",
        APP,
    ];
    let login = [&login[..], &["--private-key", key.path()]].concat();
    let refused = |why: &str| {
        let before = server.seen().len();
        let output = home.run(WIT, &login, "");
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
        assert!(said.len() < 2_000, "{said}");
        assert!(server.seen().len() - before <= MAX_REQUESTS);
    };
    refused("and 980 more");
    is_same.store(true, Ordering::SeqCst);
    refused("a list of installations that comes again");
}
