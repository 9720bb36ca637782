//! What was done with a token is written down, and told to its owner only.

#![cfg(feature = "platform")]

use crate::support::platform::{PASSWORD, Server};
use crate::support::{Home, WIT, text};
use serde_json::{Value, json};

/// Action, name and address of each event, newest first.
fn events(server: &Server, session: &str) -> Vec<(String, String, Value)> {
    let reply = server.bearing("GET", "/api/tokens/events", session);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let list = reply.json();
    let word = |event: &Value, name: &str| event[name].as_str().expect("a text").to_owned();
    (list.as_array().expect("a list").iter())
        .map(|one| {
            (
                word(one, "action"),
                word(one, "tokenName"),
                one["address"].clone(),
            )
        })
        .collect()
}

fn a_life_is_written_down(server: &Server) {
    let session = server.sign_up("alice");
    let stranger = server.sign_up("bob");
    let token = server.token(&session, &["repo:read"]);
    let secret = token["token"].as_str().expect("the secret");
    for _ in 0..3 {
        assert_eq!(server.bearing("GET", "/api/v1/user", secret).status, 200);
    }
    let path = format!("/api/tokens/{}", token["id"].as_str().expect("an id"));
    assert_eq!(server.bearing("DELETE", &path, &stranger).status, 404);
    let used = || server.bearing("GET", &path, &session).json()["lastUsedAt"].clone();
    let first = used();
    assert!(first.is_string(), "{first}");
    // Within a minute nothing more is written.
    assert_eq!(server.bearing("GET", "/api/v1/user", secret).status, 200);
    assert_eq!(used(), first);
    assert_eq!(server.bearing("DELETE", &path, &session).status, 200);
    let told = events(server, &session);
    let expected = ["revoked", "used", "created"]
        .map(|action| (action.to_owned(), "test".to_owned(), json!("127.0.0.1")));
    assert_eq!(told, expected);
    assert_eq!(events(server, &stranger), []);
    assert_eq!(
        server.bearing("GET", "/api/tokens/events", secret).status,
        401
    );
}

#[test]
fn making_the_first_use_and_revoking_are_written_down_with_the_address() {
    a_life_is_written_down(&Server::start());
}

#[test]
fn so_it_is_on_postgresql() {
    let database = crate::support::postgres::Postgres::start();
    a_life_is_written_down(&Server::start_on(&database));
}

#[test]
fn wit_token_audit_shows_the_events_newest_first() {
    let server = Server::start();
    let url = format!("http://{}", server.address);
    let login = [
        "login",
        &url,
        "--sign-up",
        "--email",
        "ada@example.com",
        "--username",
        "ada",
        "--password-stdin",
    ];
    let done = server.home.run(WIT, &login, PASSWORD);
    assert!(done.status.success(), "{}", text(&done.stderr));
    for words in [
        &["token", "create", "CI", "--quiet", "-e", "1"][..],
        &["token", "revoke", "CI"],
    ] {
        let done = server.home.run(WIT, words, "");
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    let shown = server.home.run(WIT, &["token", "audit", "--events"], "");
    let shown = text(&shown.stdout);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    for (line, action) in lines.iter().zip(["revoked", "created"]) {
        assert!(line.contains(&format!("  {action}  wit_")), "{line}");
        assert!(line.ends_with("...  CI, from 127.0.0.1"), "{line}");
    }
}

#[test]
fn direct_mode_works_on_a_database_without_a_table_of_events() {
    let database = crate::support::postgres::Postgres::start();
    database.sql(crate::support::postgres::MADE_BY_THE_PLATFORM);
    let mut home = Home::new();
    home.set("DATABASE_URL", database.url());
    home.set("WIT_USER_ID", "theirs");
    let made = home.run(WIT, &["token", "create", "direct", "-q", "-e", "1"], "");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let revoked = home.run(WIT, &["token", "revoke", "direct"], "");
    assert!(revoked.status.success(), "{}", text(&revoked.stderr));
    let events = home.run(WIT, &["token", "audit", "--events"], "");
    assert!(events.status.success(), "{}", text(&events.stderr));
    assert_eq!(text(&events.stdout), "");
}
