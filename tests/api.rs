//! The token API's client against answers that a good server never gives, and those that the
//! running platform does give.

use std::rc::Rc;
use std::time::Duration;

use crate::support::server::{Server, answer, with_header};
use wit::api::http::Client;
use wit::api::rest::Rest;
use wit::api::server::ServerUrl;
use wit::api::trpc::Trpc;
use wit::api::{ApiError, NewToken, TokenApi, login};
use wit::expiry::UnixTime;
use wit::secret::Secret;

const SESSION: &str = "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu";
const MADE: &str = r#"{"id":"cf44cc33-e69e-4554-a79f-6e9a48029c82","name":"ci-token","token":"wit_84320813db95896baf7ab2a1ccdb0b6480e57b9d","tokenPrefix":"wit_8432","scopes":["repo:read","repo:write"],"expiresAt":"2026-12-23T23:51:22.022Z","createdAt":"2026-11-23T23:51:22.024Z","warning":"…"}"#;

fn client(server: &Server) -> Rc<Client> {
    let url = ServerUrl::parse(&server.url).expect("a URL");
    Rc::new(Client::new(&url, false).expect("a client"))
}

fn session() -> Secret {
    Secret::from(SESSION.to_owned())
}

fn rest(server: &Server) -> Rest {
    Rest::new(client(server), session())
}

fn trpc(server: &Server) -> Trpc {
    Trpc::new(client(server), session())
}

fn new() -> NewToken {
    NewToken {
        name: "ci-token".into(),
        scopes: vec!["repo:read".into(), "repo:write".into()],
        repositories: Vec::new(),
        expires_in_days: Some(30),
        request_id: None,
        replaces: None,
    }
}

fn trpc_error(status: u16, message: &str) -> Option<String> {
    let message = serde_json::Value::from(message);
    answer(
        status,
        &format!(r#"{{"error":{{"json":{{"message":{message},"code":-32600}}}}}}"#),
    )
}

#[test]
fn trpc_says_and_reads_what_the_platform_does() {
    let server = Server::new(|first, body| match first {
        "POST /trpc/tokens.create HTTP/1.1" => {
            let asked: serde_json::Value = serde_json::from_str(body).ok()?;
            let wanted = r#"{"json":{"name":"ci-token","scopes":["repo:read","repo:write"],"expiresInDays":30}}"#;
            assert_eq!(
                asked,
                serde_json::from_str::<serde_json::Value>(wanted).ok()?
            );
            answer(
                200,
                &format!(
                    r#"{{"result":{{"data":{{"json":{MADE},"meta":{{"values":{{"expiresAt":["Date"],"createdAt":["Date"]}},"v":1}}}}}}}}"#
                ),
            )
        }
        "GET /trpc/tokens.list HTTP/1.1" => answer(
            200,
            r#"{"result":{"data":{"json":[
            {"id":"1","name":"old","tokenPrefix":"wit_0000","scopes":[],"lastUsedAt":null,"expiresAt":null,"createdAt":"2025-01-01T00:00:00.000Z"},
            {"id":"2","name":"new","tokenPrefix":"wit_1111","scopes":[],"lastUsedAt":null,"expiresAt":null,"createdAt":"2026-01-01T00:00:00.000Z"}]}}}"#,
        ),
        "POST /trpc/tokens.delete HTTP/1.1" => {
            assert_eq!(body, r#"{"json":{"id":"x"}}"#);
            answer(200, r#"{"result":{"data":{"json":{"success":true}}}}"#)
        }
        "GET /trpc/tokens.scopes HTTP/1.1" => answer(
            200,
            r#"{"result":{"data":{"json":[{"name":"repo:read","description":"Clone"}]}}}"#,
        ),
        "GET /api/v1/user HTTP/1.1" => answer(200, r#"{"id":"u","username":"ada","email":"a@x"}"#),
        _ => answer(404, r#"{"error":"Not found"}"#),
    });
    let api = trpc(&server);
    let created = api.create(&new()).expect("a token");
    assert_eq!(created.secret.len(), 44);
    assert_eq!(created.token.prefix, "wit_8432");
    assert_eq!(
        created.token.expiry.expect("an expiry").0,
        UnixTime(1_798_069_882)
    );
    let names: Vec<String> = api
        .list()
        .expect("a list")
        .into_iter()
        .map(|t| t.name)
        .collect();
    assert_eq!(names, ["new", "old"]);
    api.revoke("x").expect("an end");
    assert_eq!(api.scopes().expect("scopes")[0].description, "Clone");
    let account = api.verify(&created.secret).expect("an account");
    assert_eq!(account.username.as_deref(), Some("ada"));
    let bearer = format!("authorization: Bearer {SESSION}\r\n");
    for request in &server.seen()[..4] {
        assert!(request.contains(&bearer), "{request}");
        assert!(
            !request.to_ascii_lowercase().contains("cookie"),
            "{request}"
        );
    }
}

#[test]
fn the_form_that_the_server_answers_in_is_found() {
    let platform = Server::new(|first, _| match first {
        "GET /trpc/tokens.list HTTP/1.1" => answer(200, r#"{"result":{"data":{"json":[]}}}"#),
        _ => answer(404, r#"{"error":"Not found"}"#),
    });
    let documented = Server::new(|first, _| match first {
        "GET /api/tokens HTTP/1.1" => answer(200, "[]"),
        _ => answer(404, "{}"),
    });
    for (server, form) in [(&platform, "trpc"), (&documented, "rest")] {
        let found = login::token_api(&client(server), &session(), None).expect("a form");
        assert_eq!(found.form().name(), form);
    }
}

#[test]
fn each_refusal_of_the_platform_has_its_meaning() {
    for (status, message, meant) in [
        (
            401,
            "Not authenticated",
            "the server does not accept this login",
        ),
        (404, "Token not found", "token not found"),
        (
            403,
            "You do not have access to this token",
            "You do not have access to this token",
        ),
        (
            400,
            "Maximum of 50 tokens allowed per user",
            "Maximum of 50 tokens allowed per user",
        ),
        (
            400,
            r#"[{"code":"too_small","message":"Too few","path":["scopes"]}]"#,
            "Too few",
        ),
        (
            500,
            "INSERT INTO personal_access_tokens",
            "the server failed with status 500",
        ),
    ] {
        let server = Server::new(move |_, _| trpc_error(status, message));
        let error = trpc(&server).create(&new()).expect_err("a refusal");
        assert_eq!(error.to_string(), meant);
        assert_eq!(server.seen().len(), 1, "a create is sent once");
    }
}

#[test]
fn a_create_whose_answer_is_lost_is_lost_and_sent_once() {
    let silent = Server::new(|_, _| None);
    let cut = Server::new(|_, _| {
        Some(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}",
            &MADE[..99]
        ))
    });
    for server in [silent, cut] {
        let error = rest(&server).create(&new()).expect_err("no answer");
        assert!(matches!(error, ApiError::Lost { .. }), "{error:?}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn a_closed_port_was_never_reached() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", port.local_addr().expect("an address"));
    drop(port);
    let url = ServerUrl::parse(&url).expect("a URL");
    let api = Rest::new(
        Rc::new(Client::new(&url, false).expect("a client")),
        session(),
    );
    let error = api.create(&new()).expect_err("nobody");
    assert!(matches!(error, ApiError::Unreachable { .. }), "{error:?}");
}

#[test]
fn a_redirect_takes_no_secret_elsewhere() {
    for status in [301, 302, 303, 307, 308] {
        let other = Server::new(|_, _| answer(200, "[]"));
        let location = format!("Location: {}/api/tokens", other.url);
        let server = Server::new(move |_, _| with_header(status, &location, ""));
        rest(&server).list().expect_err("a redirect");
        rest(&server).create(&new()).expect_err("a redirect");
        assert_eq!(other.seen().len(), 0);
    }
}

#[test]
fn answers_that_make_no_sense_are_refused() {
    let huge = format!("[{}1]", "1,".repeat(1 << 20));
    for body in [
        "",
        "null",
        "{",
        r#"{"tokens":7}"#,
        r#"[{"id":1}]"#,
        "<html>",
        &huge,
    ] {
        let body = body.to_owned();
        let server = Server::new(move |_, _| answer(200, &body));
        let error = rest(&server).list().expect_err("nonsense");
        assert!(matches!(error, ApiError::Malformed { .. }), "{error:?}");
    }
}

#[test]
fn what_a_server_says_is_escaped_and_holds_no_token() {
    let said = format!(
        r#"{{"message":"\u001b[2J{}"}}"#,
        "wit_84320813db95896baf7ab2a1ccdb0b6480e57b9d"
    );
    let server = Server::new(move |_, _| answer(400, &said));
    let error = rest(&server).create(&new()).expect_err("a refusal");
    assert_eq!(error.to_string(), "\\u{1b}[2Jwit_…");
}

#[test]
fn a_get_is_sent_again_but_not_forever() {
    let server = Server::new(|_, _| answer(503, "secret SQL"));
    let error = rest(&server).list().expect_err("a failure");
    assert_eq!(error.to_string(), "the server failed with status 503");
    assert_eq!(server.seen().len(), 3);
    let limited = Server::new(|_, _| with_header(429, "Retry-After: 3600", "{}"));
    let error = rest(&limited).list().expect_err("a limit");
    assert!(
        matches!(error, ApiError::Limited { retry_after: Some(wait), .. } if wait == Duration::from_secs(3600)),
        "{error:?}"
    );
    assert_eq!(limited.seen().len(), 1, "an hour is not waited for");
}

#[test]
fn a_server_that_says_when_to_try_again_has_created_nothing() {
    let busy = Server::new(|_, _| with_header(503, "Retry-After: 5", "{}"));
    let error = rest(&busy).create(&new()).expect_err("busy");
    assert!(!error.may_be_carried_out(), "{error:?}");
    let failed = Server::new(|_, _| answer(503, "{}"));
    let error = rest(&failed).create(&new()).expect_err("failed");
    assert!(error.may_be_carried_out(), "{error:?}");
}

#[test]
fn the_servers_clock_is_compared() {
    let server = Server::new(|_, _| with_header(200, "Date: Thu, 01 Jan 1970 00:00:00 GMT", "[]"));
    let api = rest(&server);
    assert_eq!(api.clock_skew(), None);
    api.list().expect("a list");
    assert!(api.clock_skew().expect("a clock") < -1_000_000_000);
}
