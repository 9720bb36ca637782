//! An end that the owner set holds, for the token and for what came of it by replacing itself.

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::support::done;
use crate::support::machine::Machine;
use crate::support::platform::{Reply, Server};
use crate::support::postgres::Postgres;

fn rotate(server: &Server, secret: &str) -> Reply {
    server.post("/api/tokens/self/rotate", secret, json!({}))
}

fn replaced(server: &Server, secret: &str) -> Value {
    let reply = rotate(server, secret);
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.json()
}

fn secret(token: &Value) -> &str {
    token["token"].as_str().expect("a secret")
}

fn lives(server: &Server, token: &Value) -> bool {
    (server.bearing("GET", "/api/v1/user", secret(token)).status) == 200
}

fn path(token: &Value) -> String {
    format!("/api/tokens/{}", token["id"].as_str().expect("an id"))
}

fn set_end(server: &Server, session: &str, token: &Value, ends_in: Duration) {
    let at = (OffsetDateTime::now_utc() + ends_in).format(&Rfc3339);
    let body = json!({ "expiresAt": at.expect("a time") }).to_string();
    let authorization = format!("Bearer {session}");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
    ];
    let reply = server.request("PATCH", &path(token), &headers, &body);
    assert_eq!(reply.status, 200, "{}", reply.body);
}

fn list(server: &Server, session: &str) -> Vec<Value> {
    let reply = server.bearing("GET", "/api/tokens", session);
    reply.json().as_array().expect("a list").clone()
}

fn an_end_that_was_set_is_not_outlived(server: &Server) {
    let session = server.sign_up("alice");
    // Sooner than the token's own end, and later.
    for ends_in in [Duration::hours(1), Duration::days(60)] {
        let first = server.token(&session, &["repo:read"]);
        let token = replaced(server, secret(&first));
        set_end(server, &session, &token, ends_in);
        let refused = rotate(server, secret(&token));
        assert_eq!(refused.status, 403, "{}", refused.body);
        assert_eq!(refused.json()["code"], "TOKEN_END_SET");
        assert!(lives(server, &token), "until the end that was set");
        // Of one that has been replaced, the rule stays as it was.
        set_end(server, &session, &first, ends_in);
        assert_eq!(
            rotate(server, secret(&first)).json()["code"],
            "TOKEN_REUSED"
        );
        assert_eq!(list(server, &session), Vec::<Value>::new());
    }
}

fn a_revocation_ends_what_came_of_it(server: &Server) {
    let session = server.sign_up("bob");
    let other = server.token(&session, &["repo:read"]);
    let first = server.token(&session, &["repo:read"]);
    let second = replaced(server, secret(&first));
    let third = replaced(server, secret(&second));
    let listed = list(server, &session);
    let replaced_by = |token: &Value| {
        let found = listed.iter().find(|one| one["id"] == token["id"]);
        found.expect("listed")["replacedBy"].clone()
    };
    assert_eq!(replaced_by(&first), second["id"]);
    assert_eq!(replaced_by(&second), third["id"]);
    assert_eq!(replaced_by(&third), Value::Null);

    // A stranger's revocation ends nothing.
    let stranger = server.sign_up("carol");
    assert_eq!(
        server.bearing("DELETE", &path(&first), &stranger).status,
        404
    );
    assert!(lives(server, &third));

    let reply = server.bearing("DELETE", &path(&first), &session);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let also = reply.json()["alsoRevoked"].clone();
    let ids: Vec<&Value> = (also.as_array().expect("a list").iter())
        .map(|token| &token["id"])
        .collect();
    // Tokens of one millisecond are in no order.
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&&second["id"]) && ids.contains(&&third["id"]));
    for token in [&first, &second, &third] {
        assert!(!lives(server, token));
    }
    assert!(lives(server, &other));
}

fn of_one_that_is_gone_the_successors_end(server: &Server) {
    let session = server.sign_up("dora");
    let first = server.token(&session, &["repo:read"]);
    let second = replaced(server, secret(&first));
    let alone = format!("{}?successors=keep", path(&first));
    assert_eq!(server.bearing("DELETE", &alone, &session).status, 200);
    assert!(!lives(server, &first) && lives(server, &second));
    assert_eq!(server.bearing("DELETE", &alone, &session).status, 404);
    assert!(lives(server, &second));
    assert_eq!(
        server.bearing("DELETE", &path(&first), &session).status,
        200
    );
    assert!(!lives(server, &second));
    assert_eq!(
        server.bearing("DELETE", &path(&first), &session).status,
        404
    );
}

fn a_rotation_under_way_does_not_escape(server: &Server) {
    let session = server.sign_up("eve");
    for round in 0..30 {
        let token = server.token(&session, &["repo:read"]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_micros(round * 150));
                let revoked = server.bearing("DELETE", &path(&token), &session);
                assert_eq!(revoked.status, 200, "{}", revoked.body);
            });
            scope.spawn(|| rotate(server, secret(&token)));
        });
        assert_eq!(list(server, &session), Vec::<Value>::new(), "round {round}");
    }
}

fn all_of_it(server: &Server) {
    an_end_that_was_set_is_not_outlived(server);
    a_revocation_ends_what_came_of_it(server);
    of_one_that_is_gone_the_successors_end(server);
    a_rotation_under_way_does_not_escape(server);
}

#[test]
fn ends_hold_for_what_came_of_a_token() {
    all_of_it(&Server::start());
}

#[test]
fn ends_hold_for_what_came_of_a_token_on_postgresql() {
    all_of_it(&Server::start_on(&Postgres::start()));
}

#[test]
fn the_command_line_and_the_page_say_what_else_ends() {
    let machine = Machine::logged_in();
    let created = machine.json(&["token", "create", "CI"]);
    let second = replaced(&machine.server, secret(&created));
    let visitor = machine.server.visit("ada");
    let question = format!("/settings{}/revoke", &path(&created)["/api".len()..]);
    let asked = (machine.server).request("GET", &question, &[("Cookie", &visitor.cookie)], "");
    let prefix = second["tokenPrefix"].as_str().expect("a prefix");
    assert!(
        asked.body.contains("Its replacements are revoked too"),
        "{}",
        asked.body
    );
    assert!(asked.body.contains(prefix), "{}", asked.body);
    let cookie = [("Cookie", visitor.cookie.as_str())];
    let listed = (machine.server).request("GET", "/settings/tokens", &cookie, "");
    assert!(listed.body.contains("Rotated into"), "{}", listed.body);

    let id = created["id"].as_str().expect("an id");
    let said = done(&machine.wit(&["token", "revoke", id]));
    assert!(said.contains("Revoked wit_"), "{said}");
    let also = format!("Also revoked {prefix}...  CI, which came of it\n");
    assert!(said.contains(&also), "{said}");
    assert_eq!(machine.list(), Vec::<Value>::new());
}

#[test]
fn pruning_what_was_replaced_leaves_what_replaced_it() {
    let machine = Machine::logged_in();
    let created = machine.json(&["token", "create", "CI"]);
    let second = replaced(&machine.server, secret(&created));
    let session = machine.server.post(
        "/api/auth/sign-in/username",
        "",
        json!({ "username": "ada", "password": crate::support::platform::PASSWORD }),
    );
    let session = session.json()["token"]
        .as_str()
        .expect("a session")
        .to_owned();
    set_end(&machine.server, &session, &created, -Duration::hours(1));
    done(&machine.wit(&["token", "prune", "--expired", "--yes"]));
    assert!(lives(&machine.server, &second));
    assert_eq!(machine.list().len(), 1);
}
