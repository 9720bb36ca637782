//! A token that replaces itself: once, and never a second time.

#![cfg(all(unix, feature = "platform"))]

use crate::support::machine::Machine;
use crate::support::platform::{Reply, Server};
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::{self, answer};
use crate::support::tls::{Certificate, LOOPBACK};
use crate::support::{Home, WIT, done, refused, text};
use serde_json::{Value, json};

fn rotate(server: &Server, token: &str) -> Reply {
    server.post("/api/tokens/self/rotate", token, json!({}))
}

fn new_token(server: &Server, old: &str) -> String {
    let reply = rotate(server, old);
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.json()["token"].as_str().expect("a secret").to_owned()
}

fn lives(server: &Server, token: &str) -> bool {
    server.bearing("GET", "/api/v1/user", token).status == 200
}

fn list(server: &Server, session: &str) -> Vec<Value> {
    let reply = server.bearing("GET", "/api/tokens", session);
    reply.json().as_array().expect("a list").clone()
}

/// Has a token end at once, as time would have it.
fn end(server: &Server, session: &str, id: &Value) {
    let path = format!("/api/tokens/{}", id.as_str().expect("an id"));
    let authorization = format!("Bearer {session}");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
    ];
    let body = r#"{"expiresAt":"2020-01-01T00:00:00.000Z"}"#;
    let reply = server.request("PATCH", &path, &headers, body);
    assert_eq!(reply.status, 200, "{}", reply.body);
}

fn a_family_lives_and_dies(server: &Server) {
    let session = server.sign_up("ada");
    let other = server.secret(&session, &["repo:read"]);
    let first = server.secret(&session, &["repo:read", "user:read"]);
    let before = server.bearing("GET", "/api/tokens/self", &first).json();
    assert_eq!(before["replacedBy"], Value::Null);

    let reply = rotate(server, &first);
    assert_eq!(reply.status, 201, "{}", reply.body);
    let new = reply.json();
    let second = new["token"].as_str().expect("a secret");
    for same in ["name", "scopes"] {
        assert_eq!(new[same], before[same]);
    }
    assert!(
        lives(server, &first) && lives(server, second),
        "the overlap"
    );
    let old = server.bearing("GET", "/api/tokens/self", &first).json();
    assert_eq!(old["replacedBy"], new["id"]);
    assert_eq!(old["expiresAt"], new["oldExpiresAt"]);
    assert!(old["expiresAt"].as_str() < before["expiresAt"].as_str());
    assert!(new["expiresAt"].as_str() > before["expiresAt"].as_str());

    let third = new_token(server, second);
    end(server, &session, &before["id"]);
    assert!(!lives(server, &first), "the overlap is over");
    assert!(lives(server, second) && lives(server, &third));
    assert_eq!(list(server, &session).len(), 4);
    // What has ended makes room; that it was replaced is remembered for all that.
    let fourth = new_token(server, &third);
    assert_eq!(list(server, &session).len(), 4);

    let reply = rotate(server, &first);
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["code"], "TOKEN_REUSED");
    for token in [&first, second, &third, &fourth] {
        assert!(!lives(server, token));
    }
    assert!(lives(server, &other), "another family's");
    assert_eq!(list(server, &session).len(), 1);
    let events = server.bearing("GET", "/api/tokens/events", &session).json();
    let events = events.as_array().expect("a list").iter();
    let reused = events.filter(|event| event["action"] == "reused");
    assert_eq!(reused.count(), 3);
    let log = std::fs::read_to_string(server.data_dir().join("server.log")).expect("a log");
    assert!(log.contains("its family is revoked"), "{log}");
    assert_eq!(rotate(server, &fourth).status, 401);
}

#[test]
fn a_second_time_ends_the_whole_family() {
    a_family_lives_and_dies(&Server::start());
}

#[test]
fn so_it_does_on_postgresql() {
    let database = crate::support::postgres::Postgres::start();
    let server = Server::start_on(&database);
    a_family_lives_and_dies(&server);
    two_at_once_are_one_too_many(&server);
}

fn two_at_once_are_one_too_many(server: &Server) {
    let session = server.sign_up("eve");
    let token = server.secret(&session, &["repo:read"]);
    let replies: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| rotate(server, &token).status))
            .collect();
        let replies = all.into_iter().map(|one| one.join().expect("an answer"));
        replies.collect()
    });
    assert_eq!(replies.iter().filter(|status| **status == 201).count(), 1);
    assert_eq!(replies.iter().filter(|status| **status == 401).count(), 7);
    assert_eq!(list(server, &session), Vec::<Value>::new());
}

#[test]
fn of_many_at_once_one_is_the_first() {
    two_at_once_are_one_too_many(&Server::start());
}

#[test]
fn an_end_in_any_time_zone_is_the_same_end() {
    let server = Server::start();
    let session = server.sign_up("ada");
    let token = server.token(&session, &["repo:read"]);
    let secret = token["token"].as_str().expect("a secret");
    let shorten = |at: &str| {
        let path = format!("/api/tokens/{}", token["id"].as_str().expect("an id"));
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", &format!("Bearer {session}")),
        ];
        let body = serde_json::json!({ "expiresAt": at }).to_string();
        server.request("PATCH", &path, &headers, &body).status
    };
    assert_eq!(shorten("9999-12-31T23:59:59-14:00"), 400);
    assert_eq!(list(&server, &session).len(), 1);
    // An hour ago, as a clock far in the east shows it: later than now, as text.
    let ago = time::OffsetDateTime::now_utc() - time::Duration::hours(1);
    let east = ago.to_offset(time::UtcOffset::from_hms(14, 0, 0).expect("an offset"));
    let east = east.format(&time::format_description::well_known::Rfc3339);
    assert_eq!(shorten(&east.expect("a time")), 200);
    assert!(!lives(&server, secret));
    assert_eq!(rotate(&server, secret).status, 401);
}

#[test]
fn only_a_token_that_works_replaces_itself() {
    let server = Server::start();
    let session = server.sign_up("ada");
    let token = server.token(&session, &["repo:read"]);
    let secret = token["token"].as_str().expect("a secret");
    for nobody in ["", "wit_0123456789012345678901234567890123456789", &session] {
        assert_eq!(rotate(&server, nobody).status, 401);
        assert_eq!(
            server.bearing("GET", "/api/tokens/self", nobody).status,
            401
        );
    }
    for _ in 1..50 {
        server.token(&session, &["repo:read"]);
    }
    assert_eq!(rotate(&server, secret).status, 400, "no room for two");
    assert!(lives(&server, secret));
    end(&server, &session, &token["id"]);
    assert_eq!(rotate(&server, secret).status, 401);
}

/// A CI job: a home that nobody is logged in at, with a token for a server.
fn job(url: &str, token: &str) -> Home {
    let mut home = Home::new();
    home.set("WIT_URL", url);
    home.set("WIT_TOKEN", token);
    home
}

fn rotate_self(job: &Home, arguments: &[&str]) -> std::process::Output {
    job.run(
        WIT,
        &[&["token", "rotate", "--self"], arguments].concat(),
        "",
    )
}

/// What a receiver was given.
fn received(job: &Home, name: &str) -> String {
    std::fs::read_to_string(job.path().join(name)).expect("delivered")
}

fn is_idle(job: &Home) -> bool {
    let journals = std::fs::read_dir(job.path().join(".local/state/wit/rotations"));
    journals.map_or(0, |files| files.count()) == 0
}

fn server_with_token() -> (Server, String) {
    let server = Server::start();
    let session = server.sign_up("ada");
    let token = server.secret(&session, &["repo:read"]);
    (server, token)
}

#[test]
fn a_job_replaces_its_token_and_delivers_the_new_one() {
    let (server, token) = server_with_token();
    let job = job(&format!("http://{}", server.address), &token);
    refused(&rotate_self(&job, &[]), 2);
    let planned = done(&rotate_self(&job, &["--print", "--dry-run"]));
    assert!(planned.contains("expire by itself"), "{planned}");

    let spy = "cat >got; env >seen";
    let printed = done(&rotate_self(
        &job,
        &["--print", "--deliver", spy, "--deliver-file", "file"],
    ));
    let new = received(&job, "got");
    assert_eq!(printed, format!("{new}\n"));
    assert_eq!(received(&job, "file"), new);
    assert!(
        !received(&job, "seen").contains(&token),
        "in the environment"
    );
    assert!(lives(&server, &new) && lives(&server, &token));
    assert!(is_idle(&job));

    // The job did not take the new one: no second try, which would end both.
    let said = refused(&rotate_self(&job, &["--print"]), 3);
    assert!(said.contains("was replaced before"), "{said}");
    assert!(lives(&server, &new));
}

#[test]
fn only_the_receiver_that_failed_is_asked_again() {
    let (server, token) = server_with_token();
    let job = job(&format!("http://{}", server.address), &token);
    let bad = "cat >&2; test -e mended";
    let failed = rotate_self(&job, &["--deliver", "cat >>good", "--deliver", bad]);
    let said = text(&failed.stderr);
    assert_eq!(failed.status.code(), Some(5), "{said}");
    let new = received(&job, "good");
    assert!(!said.contains(&new) && said.contains("[token]"), "{said}");
    std::fs::write(job.path().join("mended"), "").expect("written");
    done(&rotate_self(&job, &[]));
    assert_eq!(received(&job, "good"), new);
    assert!(lives(&server, &new) && is_idle(&job));
}

#[test]
fn a_lost_answer_is_looked_after_and_never_asked_for_twice() {
    let (server, token) = server_with_token();
    let proxy = Proxy::to(&server.address);
    let job = job(&proxy.url, &token);
    let at_rotation = |fate| {
        move |first: &str| match first.starts_with("POST") {
            true => fate,
            false => Fate::Forwarded,
        }
    };
    let asked = |proxy: &Proxy| {
        let seen = proxy.take_seen();
        seen.iter()
            .filter(|first| first.starts_with("POST"))
            .count()
    };

    // Never carried out: the next run does it.
    for fate in [Fate::CutBefore, Fate::Refused(500), Fate::Refused(429)] {
        proxy.set(at_rotation(fate));
        let failed = rotate_self(&job, &["--deliver", "cat >new"]);
        assert!(!failed.status.success());
        assert_eq!(asked(&proxy), 1);
        assert!(lives(&server, &token));
    }
    // Carried out: it is seen, said and left at that.
    proxy.set(at_rotation(Fate::CutAfter));
    let said = refused(&rotate_self(&job, &["--deliver", "cat >new"]), 5);
    assert!(
        said.contains("was replaced, but the response with the new one was lost"),
        "{said}"
    );
    assert_eq!(asked(&proxy), 1);
    proxy.set(|_| Fate::Forwarded);
    refused(&rotate_self(&job, &["--deliver", "cat >new"]), 3);
    assert_eq!(asked(&proxy), 0);
    assert!(lives(&server, &token), "the overlap");
}

/// Run with: cargo test --features crash-points self_rotation::
#[cfg(feature = "crash-points")]
#[test]
fn a_crash_is_mended_where_the_new_token_was_kept() {
    let (server, mut token) = server_with_token();
    for (point, kept) in [
        ("journal-creating", true),
        ("pending", true),
        ("journal-verifying", true),
        ("journal-delivering", true),
        ("delivered", true),
        ("journal-revoking", true),
        ("tidied", true),
        ("created", false),
    ] {
        let mut job = job(&format!("http://{}", server.address), &token);
        job.set("WIT_CRASH_AT", point);
        let crashed = rotate_self(&job, &["--deliver", "cat >new"]);
        assert_eq!(crashed.status.code(), None, "{point}");
        assert!(lives(&server, &token), "{point}");
        job.set("WIT_CRASH_AT", "");
        let again = rotate_self(&job, &["--deliver", "cat >new"]);
        let code = if kept { Some(0) } else { Some(3) };
        assert_eq!(
            again.status.code(),
            code,
            "{point}: {}",
            text(&again.stderr)
        );
        assert_eq!(is_idle(&job), kept, "{point}");
        if kept {
            token = received(&job, "new");
        }
        assert!(lives(&server, &token), "{point}: nothing is revoked");
    }
}

#[test]
fn whoever_is_logged_in_mends_what_got_lost() {
    let machine = Machine::with_a_token();
    let proxy = Proxy::to(&machine.server.address);
    let made = machine.json(&["token", "create", "ci"]);
    let mut home = machine.home;
    home.set("WIT_TOKEN", made["token"].as_str().expect("a secret"));
    home.set("WIT_URL", proxy.url.clone());
    proxy.set(|first| match first.starts_with("POST") {
        true => Fate::CutAfter,
        false => Fate::Forwarded,
    });
    refused(&rotate_self(&home, &["--deliver", "cat >new"]), 5);
    proxy.set(|_| Fate::Forwarded);
    let login = ["login", &proxy.url, "--username", "ada", "--password-stdin"];
    let password = format!("{}\n", crate::support::platform::PASSWORD);
    done(&home.run(WIT, &login, &password));
    done(&home.run(WIT, &["token", "rotate", "--resume"], ""));
    assert!(lives(&machine.server, &received(&home, "new")));
    let list = done(&home.run(WIT, &["token", "list", "--json"], ""));
    let list: Vec<Value> = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list.iter().filter(|token| token["name"] == "ci").count(), 1);
    assert!(is_idle(&home));
}

#[test]
fn nothing_is_begun_where_only_what_is_unfinished_is_asked_for() {
    let (server, token) = server_with_token();
    let job = job(&format!("http://{}", server.address), &token);
    let said = done(&rotate_self(&job, &["--resume", "--print"]));
    assert_eq!(said, "No rotation is unfinished.\n");
    let this = server.bearing("GET", "/api/tokens/self", &token).json();
    assert_eq!(this["replacedBy"], Value::Null);
}

#[test]
fn what_was_not_delivered_is_not_taken_back_and_its_end_is_told() {
    let (server, token) = server_with_token();
    let url = format!("http://{}", server.address);
    let job = job(&url, &token);
    let failed = rotate_self(&job, &["--deliver", "cat >got; exit 1"]);
    let said = refused(&failed, 5);
    assert!(said.contains("ten minutes after it was replaced"), "{said}");
    let login = ["login", &url, "--username", "ada", "--password-stdin"];
    let password = format!("{}\n", crate::support::platform::PASSWORD);
    done(&job.run(WIT, &login, &password));
    let said = refused(&job.run(WIT, &["token", "rotate", "--abort"], ""), 5);
    assert!(said.contains("can only be finished"), "{said}");
    assert!(lives(&server, &received(&job, "got")));
}

#[test]
fn a_certificate_of_ones_own_is_trusted_here_too() {
    let mut home = Home::new();
    let certificate = Certificate::new(&home, "tls", LOOPBACK);
    let server = server::Server::tls(&certificate, |_, _| answer(401, "{}"));
    home.set("WIT_URL", &server.url);
    home.set("WIT_TOKEN", "wit_0123456789012345678901234567890123456789");
    let said = refused(&rotate_self(&home, &["--print"]), 1);
    assert!(said.contains("certificate"), "{said}");
    let trust = ["--print", "--ca-file", "tls.pem"];
    let said = refused(&rotate_self(&home, &trust), 4);
    assert!(said.contains("does not accept the token"), "{said}");
    let doctor = home.run(WIT, &["doctor", "--ca-file", "tls.pem"], "");
    let found = text(&doctor.stdout);
    assert!(
        found.contains("does not take the token in WIT_TOKEN"),
        "{found}"
    );
    let config = format!(
        r#"{{"servers":{{"{}":{{"ca_file":"{}"}}}}}}"#,
        server.url,
        certificate.path()
    );
    std::fs::create_dir_all(home.path().join(".config/wit")).expect("made");
    std::fs::write(home.path().join(".config/wit/config.json"), config).expect("written");
    refused(&rotate_self(&home, &["--print"]), 4);
}

#[test]
fn a_server_that_can_not_do_it_is_named_so() {
    let server = server::Server::new(|first, _| match first {
        "GET /api/v1/user HTTP/1.1" => answer(200, r#"{"id":"u","username":"ada"}"#),
        _ => answer(404, r#"{"error":"Not found"}"#),
    });
    let job = job(&server.url, "wit_0123456789012345678901234567890123456789");
    let said = refused(&rotate_self(&job, &["--print"]), 1);
    assert!(
        said.contains("this server can't replace a token by itself"),
        "{said}"
    );
    assert!(said.contains("hint: wit login "), "{said}");
    let sent = server.seen();
    assert!(
        sent.iter().all(|request| request.starts_with("GET ")),
        "{sent:?}"
    );
}

#[test]
fn the_token_goes_to_its_own_server_only() {
    let other = server::Server::new(|_, _| answer(200, "{}"));
    let job = job(
        "https://wit.example.com",
        "wit_0123456789012345678901234567890123456789",
    );
    let said = refused(&rotate_self(&job, &["--print", "--server", &other.url]), 2);
    assert!(
        said.contains("is for https://wit.example.com only"),
        "{said}"
    );
    assert_eq!(other.seen().len(), 0);
}
