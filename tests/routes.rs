//! Every route with every credential, from one table; and a route that is in no row fails the test.

#![cfg(feature = "platform")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::done;
use crate::support::platform::{FORM, Reply, Server};

/// What a route answers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Anybody.
    Nothing,
    /// A session, and no token.
    Session,
    /// A session, or a token that has the scope.
    Scope(&'static str),
    /// Any token that is good, and no session.
    Token,
    /// The right to read the repository, by git's rules: a token with the scope.
    Git(&'static str),
    /// A browser's session, in its cookie.
    Visitor,
}
use Needs::{Git, Nothing, Scope, Session, Token, Visitor};

/// Each route, a request to it that changes nothing, and what it needs. `{me}` is the account's
/// repository, `{id}` an id that nobody has.
const TABLE: &[(&str, &str, Needs)] = &[
    ("GET", "/", Nothing),
    ("GET", "/account", Nothing),
    ("GET", "/health", Nothing),
    ("GET", "/metrics", Nothing),
    ("GET", "/login", Nothing),
    ("POST", "/login", Nothing),
    ("GET", "/login/sign-up", Nothing),
    ("POST", "/login/sign-up", Nothing),
    ("GET", "/login/invitation/{code}", Nothing),
    ("POST", "/login/invitation/{code}", Nothing),
    ("GET", "/settings", Nothing),
    ("GET", "/settings/page.css", Nothing),
    ("GET", "/settings/page.js", Nothing),
    ("GET", "/settings/icon.svg", Nothing),
    ("POST", "/logout", Visitor),
    ("GET", "/device", Visitor),
    ("POST", "/device", Visitor),
    ("POST", "/device/answer", Visitor),
    ("GET", "/settings/account", Visitor),
    ("POST", "/settings/account", Visitor),
    ("GET", "/settings/activity", Visitor),
    ("GET", "/settings/tokens", Visitor),
    ("GET", "/settings/tokens/new", Visitor),
    ("POST", "/settings/tokens/new", Visitor),
    ("GET", "/settings/tokens/{id}/edit", Visitor),
    ("POST", "/settings/tokens/{id}/edit", Visitor),
    ("GET", "/settings/tokens/{id}/rotate", Visitor),
    ("POST", "/settings/tokens/{id}/rotate", Visitor),
    ("GET", "/settings/tokens/{id}/revoke", Visitor),
    ("POST", "/settings/tokens/{id}/revoke", Visitor),
    ("GET", "/settings/tokens/{id}/shown", Visitor),
    ("GET", "/settings/repositories", Visitor),
    ("GET", "/settings/repositories/new", Visitor),
    ("POST", "/settings/repositories/new", Visitor),
    ("GET", "/settings/repositories/{name}", Visitor),
    ("POST", "/settings/repositories/{name}", Visitor),
    ("GET", "/settings/repository/{name}", Visitor),
    ("POST", "/settings/repository/{name}", Visitor),
    ("GET", "/{owner}/{repository}", Visitor),
    ("POST", "/api/auth/sign-up/email", Nothing),
    ("POST", "/api/auth/sign-in/email", Nothing),
    ("POST", "/api/auth/sign-in/username", Nothing),
    ("POST", "/api/auth/device/code", Nothing),
    ("POST", "/api/auth/device/token", Nothing),
    ("GET", "/api/tokens/scopes", Nothing),
    ("GET", "/api/tokens", Session),
    ("POST", "/api/tokens", Session),
    ("GET", "/api/tokens/events", Session),
    ("GET", "/api/tokens/{id}", Session),
    ("PATCH", "/api/tokens/{id}", Session),
    ("DELETE", "/api/tokens/{id}", Session),
    ("GET", "/api/account", Session),
    ("POST", "/api/account/password", Session),
    ("POST", "/api/account/email", Session),
    ("GET", "/api/account/events", Session),
    ("GET", "/api/account/sign-ins", Session),
    ("DELETE", "/api/account/sign-ins", Session),
    ("DELETE", "/api/account/sign-ins/{id}", Session),
    ("GET", "/api/tokens/self", Token),
    ("GET", "/api/v1/user", Token),
    ("GET", "/api/v1/profile", Scope("user:read")),
    ("PATCH", "/api/v1/profile", Scope("user:write")),
    ("GET", "/api/repos", Scope("repo:admin")),
    ("POST", "/api/repos", Scope("repo:admin")),
    ("PATCH", "/api/repos/{name}", Scope("repo:admin")),
    ("DELETE", "/api/repos/{name}", Scope("repo:admin")),
    ("GET", "/api/repos/{name}/{repository}", Scope("repo:read")),
    (
        "GET",
        "/api/repos/{name}/collaborators",
        Scope("repo:admin"),
    ),
    (
        "POST",
        "/api/repos/{name}/collaborators",
        Scope("repo:admin"),
    ),
    (
        "DELETE",
        "/api/repos/{name}/collaborators/{username}",
        Scope("repo:admin"),
    ),
    ("GET", "/{owner}/{repository}/info/refs", Git("repo:read")),
    (
        "POST",
        "/{owner}/{repository}/git-upload-pack",
        Git("repo:read"),
    ),
    (
        "POST",
        "/{owner}/{repository}/git-receive-pack",
        Git("repo:write"),
    ),
];

/// Routes that the table can't ask without changing something; tests of their own do.
const ELSEWHERE: &[(&str, &str)] = &[
    // It ends whatever session it is sent.
    ("POST", "/api/auth/sign-out"),
    // It replaces whatever token it is sent.
    ("POST", "/api/tokens/self/rotate"),
];

const SCOPES: [&str; 5] = [
    "repo:read",
    "repo:write",
    "repo:admin",
    "user:read",
    "user:write",
];

/// The source of the server.
fn sources() -> Vec<String> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => walk(&path, found),
                false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
                false => {}
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![src.join("platform.rs")];
    walk(&src.join("platform"), &mut found);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(path).expect("read");
        let code = text.split("#[cfg(test)]\nmod tests").next();
        code.unwrap_or_default().to_owned()
    };
    found.into_iter().map(read).collect()
}

/// The text up to the bracket that closes the one before it.
fn inside(text: &str) -> &str {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    panic!("no end: {text}");
}

/// The routes that the source adds to the router, with their methods.
fn routes() -> BTreeSet<(String, String)> {
    let sources = sources();
    let mut constants = BTreeMap::new();
    for line in sources.iter().flat_map(|text| text.lines()) {
        let line = line.trim().trim_start_matches("pub ");
        if let Some((name, rest)) =
            (line.strip_prefix("const ")).and_then(|line| line.split_once(": &str = \""))
        {
            let value = rest.trim_end_matches("\";");
            if value.starts_with('/') {
                constants.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    for text in &sources {
        for (at, start) in text.match_indices(".route(") {
            let arguments = inside(&text[at + start.len()..]);
            let (path, handlers) = arguments.split_once(',').expect("a path and a handler");
            let path = path.trim();
            let path = match path.strip_prefix('"') {
                Some(path) => path.trim_end_matches('"').to_owned(),
                None => {
                    let name = path.rsplit("::").next().expect("a name");
                    match constants.get(name) {
                        Some(path) => path.clone(),
                        // The files of the page, which are not in a constant.
                        None if name == "asset.route" => continue,
                        None => panic!("the route of {path}"),
                    }
                }
            };
            let mut methods = 0;
            for method in ["get", "post", "patch", "put", "delete", "any", "head"] {
                let is_word = |at: usize| {
                    let before = handlers[..at].chars().next_back();
                    before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
                };
                let call = format!("{method}(");
                if handlers.match_indices(&call).any(|(at, _)| is_word(at)) {
                    methods += 1;
                    found.insert((method.to_uppercase(), path.clone()));
                }
            }
            assert!(methods > 0, "no method: {arguments}");
        }
    }
    found
}

#[test]
fn each_route_has_its_row() {
    let rows = (TABLE.iter().map(|(method, path, _)| (*method, *path)))
        .chain(ELSEWHERE.iter().copied())
        .map(|(method, path)| (method.to_owned(), path.to_owned()));
    let mut rows: BTreeSet<(String, String)> = rows.collect();
    for asset in ["page.css", "page.js", "icon.svg"] {
        assert!(rows.remove(&("GET".to_owned(), format!("/settings/{asset}"))));
    }
    let routes = routes();
    assert!(routes.len() > 60, "{}", routes.len());
    let missing: Vec<_> = routes.difference(&rows).collect();
    let gone: Vec<_> = rows.difference(&routes).collect();
    assert!(missing.is_empty(), "add rows for {missing:?}");
    assert!(gone.is_empty(), "there are no such routes: {gone:?}");
}

/// A request of a row, to a place where it finds nothing and changes nothing, but for git's and the
/// pages' own.
fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let nobody = "00000000-0000-4000-8000-000000000000";
    let mut path = path
        .replace("{id}", nobody)
        .replace("{code}", "abcdef")
        .replace("{username}", "nobody");
    path = match path.starts_with("/api/repos/{name}/{repository}") {
        true => path
            .replace("{name}", "ada")
            .replace("{repository}", "secret"),
        false => path
            .replace("{owner}", "ada")
            .replace("{repository}", "secret"),
    };
    // Neither this name nor its settings are anybody's.
    path = path.replace("{name}", "nothing");
    if path.ends_with("/info/refs") {
        path += "?service=git-upload-pack";
    }
    if path == "/api/account/sign-ins" && method == "DELETE" {
        path += "?keep=nobody";
    }
    // What would be refused for itself, were the credential right.
    let body = match (method, path.as_str()) {
        ("PATCH", "/api/v1/profile") => "{}",
        ("PATCH", "/api/repos/nothing") => r#"{"private":true}"#,
        ("POST", "/api/repos") => r#"{"name":"..","private":true}"#,
        ("POST", "/api/repos/nothing/collaborators") => r#"{"username":"bob","role":"read"}"#,
        _ => "",
    };
    let json = ("Content-Type", "application/json");
    let is_json = headers.iter().any(|(name, _)| *name == "Content-Type");
    let more = (!body.is_empty() && !is_json).then_some(json);
    let headers: Vec<(&str, &str)> = headers.iter().copied().chain(more).collect();
    server.request(method, &path, &headers, body)
}

fn bearing(server: &Server, method: &str, path: &str, secret: &str) -> u16 {
    let authorization = format!("Bearer {secret}");
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", authorization.as_str()),
    ];
    ask(server, method, path, &headers).status
}

#[test]
fn each_route_asks_for_its_credential_and_takes_no_other() {
    let server = Server::start_with(crate::support::Home::new(), &["--metrics"]);
    let ada = server.sign_up("ada");
    server.repository(&ada, "secret", true);
    let bob = server.sign_up("bob");
    let revoked = server.token(&ada, &SCOPES);
    let revoke = format!("/api/tokens/{}", revoked["id"].as_str().expect("an id"));
    assert_eq!(server.bearing("DELETE", &revoke, &ada).status, 200);
    let expired = server.token(&ada, &SCOPES);
    let path = format!("/api/tokens/{}", expired["id"].as_str().expect("an id"));
    let authorization = format!("Bearer {ada}");
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", authorization.as_str()),
    ];
    let past = json!({ "expiresAt": "2020-01-01T00:00:00Z" }).to_string();
    assert_eq!(server.request("PATCH", &path, &headers, &past).status, 200);
    let secret = |token: &serde_json::Value| token["token"].as_str().expect("one").to_owned();
    let ended = server.sign_up("eve");
    server.bearing("POST", "/api/auth/sign-out", &ended);
    let wrong = [
        ("a wrong token", format!("wit_{}", "0".repeat(40))),
        ("a revoked token", secret(&revoked)),
        ("an expired token", secret(&expired)),
        ("a wrong session", "A".repeat(32)),
        ("an ended session", ended),
    ];
    let scoped = SCOPES.map(|scope| (scope, server.secret(&ada, &[scope])));
    let of_bob = server.secret(&bob, &SCOPES);
    let visitor = server.visit("ada");

    let mut faults = Vec::new();
    for (method, path, needs) in TABLE {
        let mut expect = |what: &str, status: u16, is_right: bool| {
            if !is_right {
                faults.push(format!("{method} {path}: {what}: {status}"));
            }
        };
        let none = ask(&server, method, path, &[("Accept", "text/html")]);
        let is_refused = |status: u16| status == 401;
        let is_let_in = |status: u16| status != 401 && status != 403 && status < 500;
        match needs {
            Nothing => {
                let is_answered = none.status < 500 && none.status != 401;
                expect("nothing", none.status, is_answered);
                if *method == "POST" {
                    for sign in [
                        ("Origin", "http://evil.example"),
                        ("Origin", "null"),
                        ("Sec-Fetch-Site", "cross-site"),
                    ] {
                        let path = path.replace("{code}", "abcdef");
                        let status = server.request(method, &path, &[FORM, sign], "").status;
                        expect("another site", status, status == 403);
                    }
                }
            }
            Visitor => {
                // To the sign-in; a stranger's POST is not even read.
                let leads = none.status == 303 && none.head.contains("location: /login");
                expect("nothing", none.status, leads);
                let cookie = [("Cookie", visitor.cookie.as_str()), ("Accept", "text/html")];
                if *method == "GET" {
                    let status = ask(&server, method, path, &cookie).status;
                    expect("its cookie", status, is_let_in(status));
                    let status = ask(
                        &server,
                        method,
                        path,
                        &[
                            ("Cookie", "wit_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
                            ("Accept", "text/html"),
                        ],
                    );
                    expect("a wrong cookie", status.status, status.status == 303);
                    // Neither a token nor a session in a header opens a page.
                    let authorization = format!("Bearer {ada}");
                    let headers = [
                        ("Authorization", authorization.as_str()),
                        ("Accept", "text/html"),
                    ];
                    let status = ask(&server, method, path, &headers).status;
                    expect("a session in a header", status, status == 303);
                    continue;
                }
                // Each form: without its token, from another site, from nowhere, and with another's.
                let origin = server.url("");
                let own = ("Origin", origin.as_str());
                for (what, origin) in [
                    ("no form token", own),
                    ("another site", ("Origin", "http://evil.example")),
                    ("no origin", ("X-Nothing", "here")),
                    ("another site's frame", ("Sec-Fetch-Site", "cross-site")),
                ] {
                    let body = match what {
                        "no form token" => String::new(),
                        _ => format!("form={}", visitor.form),
                    };
                    let path = path
                        .replace("{id}", "00000000-0000-4000-8000-000000000000")
                        .replace("{name}", "nothing");
                    let headers = [FORM, ("Cookie", visitor.cookie.as_str()), origin];
                    let status = server.request(method, &path, &headers, &body).status;
                    expect(what, status, status == 403);
                }
            }
            Session | Scope(_) | Token | Git(_) => {
                expect("nothing", none.status, is_refused(none.status));
                for (what, credential) in &wrong {
                    let status = bearing(&server, method, path, credential);
                    expect(what, status, is_refused(status));
                }
                let status = bearing(&server, method, path, &ada);
                match needs {
                    Session | Scope(_) => expect("its session", status, is_let_in(status)),
                    _ => expect("a session", status, is_refused(status)),
                }
                for (scope, token) in &scoped {
                    let status = bearing(&server, method, path, token);
                    let what = format!("a token with {scope}");
                    match needs {
                        Session => expect(&what, status, is_refused(status)),
                        Token => expect(&what, status, is_let_in(status)),
                        Scope(needed) | Git(needed) if needed == scope => {
                            expect(&what, status, is_let_in(status));
                        }
                        _ => expect(&what, status, status == 403),
                    }
                }
                // Somebody else finds nothing of ada's, whatever scopes he has.
                if path.contains("{repository}") {
                    let status = bearing(&server, method, path, &of_bob);
                    expect("a stranger's token", status, status == 404);
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // Nothing was changed by all of that.
    let repositories = server.bearing("GET", "/api/repos", &ada).json();
    assert_eq!(repositories.as_array().map(Vec::len), Some(1));
}

#[test]
fn a_collaborator_has_what_the_role_says_and_no_more() {
    let server = Server::start();
    let ada = server.sign_up("ada");
    server.repository(&ada, "secret", true);
    let bob = server.sign_up("bob");
    let token = server.secret(&bob, &SCOPES);
    let status = |method: &str, path: &str| bearing(&server, method, path, &token);
    let probe = |service: &str| {
        let path = format!("/ada/secret/info/refs?service={service}");
        server.bearing("GET", &path, &token).status
    };
    let share = |role: &str| {
        let body = json!({ "username": "bob", "role": role });
        server
            .post("/api/repos/secret/collaborators", &ada, body)
            .status
    };
    for (role, reads, pushes) in [("", 404, 404), ("read", 200, 403), ("write", 200, 200)] {
        if !role.is_empty() {
            assert_eq!(share(role), 200);
        }
        assert_eq!(
            server
                .bearing("GET", "/api/repos/ada/secret", &token)
                .status,
            reads,
            "{role}"
        );
        assert_eq!(probe("git-upload-pack"), reads, "{role}");
        assert_eq!(probe("git-receive-pack"), pushes, "{role}");
        // Its owner alone administers it.
        assert_eq!(
            status("GET", "/api/repos/{name}/collaborators"),
            404,
            "{role}"
        );
        assert_eq!(
            server.bearing("DELETE", "/api/repos/secret", &token).status,
            404,
            "{role}"
        );
    }
}

#[test]
fn two_browsers_at_once_change_one_thing_once() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let visitors = [server.visit("alice"), server.visit("alice")];
    let token = server.token(&session, &["repo:read"]);
    let id = token["id"].as_str().expect("an id");
    let send = |path: &str, body: &str| -> Vec<u16> {
        std::thread::scope(|scope| {
            let tries = visitors
                .each_ref()
                .map(|one| scope.spawn(|| one.post(path, body).status));
            tries
                .into_iter()
                .map(|one| one.join().expect("answered"))
                .collect()
        })
    };
    let mut rotated = send(
        &format!("/settings/tokens/{id}/rotate"),
        "grace=0&expires=30",
    );
    rotated.sort_unstable();
    assert_eq!(rotated, [303, 404]);
    let new = uuid::Uuid::new_v4();
    let body = format!("name=x&scope=repo:read&expires=30&id={new}");
    assert_eq!(send("/settings/tokens/new", &body), [303, 303]);
    let tokens = server.bearing("GET", "/api/tokens", &session).json();
    assert_eq!(tokens.as_array().map(Vec::len), Some(2), "{tokens}");
    let mut changed = send(
        "/settings/account",
        "action=password&current=correct+horse&password=another+horse&repeated=another+horse",
    );
    changed.sort_unstable();
    // One of them ends the other, which is then sent to the sign-in or told that the password is wrong.
    assert_eq!(changed[0], 303, "{changed:?}");
    let body = json!({ "username": "alice", "password": "another horse" });
    assert_eq!(
        server.post("/api/auth/sign-in/username", "", body).status,
        200
    );
    done(&server.home.run(crate::support::WIT, &["user", "list"], ""));
}
