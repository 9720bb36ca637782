//! A client's own id of a request for a token: by it the client finds its token again after a lost
//! response, and no second one is ever created.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::platform::Server;
use crate::support::postgres::{MADE_BY_THE_PLATFORM, Postgres};
use wit::api::database::Direct;
use wit::api::{ApiError, NewToken, TokenApi};

fn create(server: &Server, session: &str, id: &str) -> (u16, Value) {
    let body = json!({ "name": "CI", "scopes": ["repo:read"], "requestId": id });
    let reply = server.post("/api/tokens", session, body);
    (reply.status, reply.json())
}

fn request_ids(server: &Server, session: &str) -> Vec<String> {
    let listed = server.bearing("GET", "/api/tokens", session).json();
    let all = listed.as_array().expect("a list").iter();
    all.map(|token| token["requestId"].as_str().expect("an id").to_owned())
        .collect()
}

fn is_one_token_for_good(server: &Server) {
    let session = server.sign_up("alice");
    let id = Uuid::new_v4().to_string();
    let (status, created) = create(server, &session, &id);
    assert_eq!(
        (status, &created["requestId"]),
        (201, &json!(id)),
        "{created}"
    );
    // Another of the same name, of another machine.
    server.token(&session, &["repo:read"]);
    assert_eq!(request_ids(server, &session).len(), 2);

    let (status, refused) = create(server, &session, &id);
    assert_eq!(
        (status, &refused["code"]),
        (422, &json!("TOKEN_EXISTS")),
        "{refused}"
    );
    let ids = request_ids(server, &session);
    assert_eq!(ids.iter().filter(|one| **one == id).count(), 1, "{ids:?}");

    let path = format!("/api/tokens/{}", created["id"].as_str().expect("an id"));
    assert_eq!(server.bearing("DELETE", &path, &session).status, 200);
    let (status, refused) = create(server, &session, &id);
    assert_eq!(
        (status, &refused["code"]),
        (422, &json!("TOKEN_EXISTS")),
        "after its end"
    );
    assert_eq!(request_ids(server, &session).len(), 1);
}

#[test]
fn a_request_with_the_same_id_never_creates_a_second_token() {
    is_one_token_for_good(&Server::start());
}

#[test]
fn a_request_with_the_same_id_never_creates_a_second_token_on_postgresql() {
    is_one_token_for_good(&Server::start_on(&Postgres::start()));
}

#[test]
fn a_token_that_replaces_itself_takes_no_id_that_is_known() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let token = server.token(&session, &["repo:read"]);
    let secret = token["token"].as_str().expect("a secret");
    let body = json!({ "requestId": token["id"] });
    let refused = server.post("/api/tokens/self/rotate", secret, body);
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert_eq!(request_ids(&server, &session).len(), 1);
    let body = json!({ "requestId": Uuid::new_v4() });
    assert_eq!(
        server.post("/api/tokens/self/rotate", secret, body).status,
        201
    );
}

#[test]
fn an_id_that_is_not_random_is_refused() {
    let server = Server::start();
    let session = server.sign_up("alice");
    for bad in [
        "00000000-0000-0000-0000-000000000000",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "abc",
    ] {
        assert_eq!(create(&server, &session, bad).0, 400, "{bad}");
    }
}

#[test]
fn direct_mode_knows_ids_on_a_database_that_only_the_platform_has_worked_on() {
    let postgres = Postgres::start();
    postgres.sql(MADE_BY_THE_PLATFORM);
    let direct = Direct::open(&postgres.url(), "theirs").expect("open");
    let id = Uuid::new_v4();
    let new = NewToken {
        name: "CI".to_owned(),
        scopes: vec!["repo:read".to_owned()],
        repositories: Vec::new(),
        expires_in_days: None,
        request_id: Some(id),
        replaces: None,
    };
    let created = direct.create(&new).expect("created");
    assert_eq!(created.token.request_id, Some(id));
    assert!(matches!(direct.create(&new), Err(ApiError::Refused { .. })));
    let listed = direct.list().expect("a list");
    assert_eq!(
        listed
            .iter()
            .filter(|token| token.request_id == Some(id))
            .count(),
        1
    );
}
