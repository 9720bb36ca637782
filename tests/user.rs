//! `wit user`: what the operator of a server does with its accounts holds from the next request on.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::machine::Machine;
use crate::support::platform::{PASSWORD, Server};
use crate::support::postgres::Postgres;
use crate::support::{Home, WIT, done, refused, text};

fn wit(server: &Server, arguments: &[&str]) -> Output {
    server.home.run(WIT, arguments, "")
}

fn sign_in(server: &Server, password: &str) -> u16 {
    let body = json!({ "username": "alice", "password": password });
    server.post("/api/auth/sign-in/username", "", body).status
}

fn by_session(server: &Server, session: &str) -> u16 {
    server.bearing("GET", "/api/tokens", session).status
}

fn by_token(server: &Server, token: &str) -> u16 {
    server.bearing("GET", "/api/v1/user", token).status
}

fn accounts_are_operated(server: &Server) {
    let session = server.sign_up("alice");
    let other = server.sign_up("bob");
    let token = server.secret(&session, &["repo:read", "repo:write"]);
    server.repository(&session, "demo", true);

    let said = done(&wit(
        server,
        &["user", "suspend", "alice@example.com", "--reason", "lost"],
    ));
    assert!(
        said.contains("wit user restore alice@example.com"),
        "{said}"
    );
    assert_eq!(by_session(server, &session), 401);
    assert_eq!(by_token(server, &token), 401);
    assert_eq!(sign_in(server, PASSWORD), 403);
    let remote = server.remote("alice", &token, "/alice/demo.git");
    assert!(!server.git(&["ls-remote", &remote]).status.success());
    assert_eq!(by_session(server, &other), 200, "another account");
    let listed = done(&wit(server, &["user", "list"]));
    assert!(
        listed.contains("alice  alice@example.com  [SUSPENDED: lost]\n"),
        "{listed}"
    );

    done(&wit(server, &["user", "restore", "alice"]));
    assert_eq!(by_session(server, &session), 200);
    assert_eq!(by_token(server, &token), 200);
    done(&server.git(&["ls-remote", &remote]));

    let new = "another horse\n";
    let reset = ["user", "reset-password", "alice", "--password-stdin"];
    done(&server.home.run(WIT, &reset, new));
    assert_eq!(
        by_session(server, &session),
        401,
        "a session before the change"
    );
    assert_eq!(by_token(server, &token), 200, "tokens stay valid");
    assert_eq!(sign_in(server, PASSWORD), 401);
    assert_eq!(sign_in(server, new.trim()), 200);
    let made = wit(server, &["user", "reset-password", "alice", "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    assert_eq!(
        sign_in(server, made["password"].as_str().expect("one")),
        200
    );
    refused(&server.home.run(WIT, &reset, "short\n"), 1);

    let listed: Value =
        serde_json::from_slice(&wit(server, &["user", "list", "--json"]).stdout).expect("JSON");
    let names: Vec<&Value> = (listed.as_array().expect("a list").iter())
        .map(|one| &one["username"])
        .collect();
    assert_eq!(names, ["alice", "bob"]);
    assert_eq!(
        (&listed[0]["tokens"], &listed[0]["suspended"]),
        (&json!(1), &json!(false))
    );

    let repository = server.only_repository();
    let said = refused(&wit(server, &["user", "delete", "alice"]), 2);
    assert!(said.contains("hint: wit user delete alice --yes"), "{said}");
    assert!(repository.exists());
    done(&wit(server, &["user", "delete", "alice", "--yes"]));
    assert_eq!(by_token(server, &token), 401);
    assert!(!repository.exists(), "it is still on the disk");
    let said = refused(&wit(server, &["user", "delete", "alice", "--yes"]), 1);
    assert!(said.contains("hint: wit user list"), "{said}");
    assert_eq!(by_session(server, &other), 200);
}

#[test]
fn an_invitation_names_the_public_url_and_nobody_who_has_an_account() {
    let url = ["--public-url", "https://git.example.com"];
    let server = Server::start_with(Home::new(), &url);
    server.sign_up("alice");
    let said = done(&wit(&server, &["user", "invite"]));
    let link = "https://git.example.com/login/invitation/";
    assert!(said.contains(link), "{said}");
    let again = ["user", "invite", "--email", "Alice@example.com"];
    let said = refused(&wit(&server, &again), 1);
    assert!(said.contains("has an account: alice"), "{said}");
}

#[test]
fn an_operator_suspends_restores_and_deletes_accounts_and_resets_passwords() {
    accounts_are_operated(&Server::start());
}

#[test]
fn so_does_one_on_postgresql() {
    accounts_are_operated(&Server::start_on(&Postgres::start()));
}

#[test]
fn where_no_server_has_data_that_is_said() {
    let home = crate::support::Home::new();
    let output = home.run(WIT, &["user", "list"], "");
    let said = refused(&output, 1);
    assert!(said.contains("there is no server data in"), "{said}");
    assert!(text(&output.stdout).is_empty());
}

#[test]
fn a_stored_token_survives_the_suspension_of_its_account() {
    let machine = Machine::with_a_token();
    done(&machine.git());
    done(&wit(&machine.server, &["user", "suspend", "ada"]));
    let output = machine.git();
    let said = text(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("this account is suspended"), "{said}");
    // A push asks in another way.
    let push = machine.server.request(
        "GET",
        "/ada/work.git/info/refs?service=git-receive-pack",
        &[(
            "Authorization",
            "Bearer wit_0123456789012345678901234567890123456789",
        )],
        "",
    );
    assert_eq!(push.status, 401, "an unknown token");
    done(&wit(&machine.server, &["user", "restore", "ada"]));
    done(&machine.git());
}
