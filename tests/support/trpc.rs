//! The running platform as its facts describe it: tokens by tRPC, each refusal word for word.

use std::sync::Mutex;

use serde_json::{Value, json};
use uuid::Uuid;
use wit::expiry::{DAY, UnixTime, rfc3339};
use wit::names::SCOPES;

use super::server::{Server, answer, with_header};

/// A session of its one account, `ada`, that was begun elsewhere: nobody here has its cookie.
pub const SESSION: &str = "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu";
/// An id of a token of somebody else's.
pub const FOREIGN: &str = "00000000-0000-4000-8000-000000000000";

/// The sessions and tokens of its one account.
struct State {
    sessions: Vec<String>,
    tokens: Vec<Value>,
}

/// A server without tokens, on which [`SESSION`] works.
pub fn platform() -> Server {
    let state = Mutex::new(State {
        sessions: vec![SESSION.to_owned()],
        tokens: Vec::new(),
    });
    Server::reading(move |head, body| {
        let mut state = state.lock().expect("no panic in the server");
        answer_to(head, body, &mut state)
    })
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name))
}

fn answer_to(head: &str, body: &str, state: &mut State) -> Option<String> {
    let user = json!({"id": "u", "username": "ada", "name": "ada", "email": "ada@example.com"});
    let first = head.lines().next().unwrap_or_default();
    let bearer = header(head, "authorization: Bearer ").unwrap_or_default();
    let State { sessions, tokens } = state;
    let route = first.strip_suffix(" HTTP/1.1")?;
    match route {
        "POST /api/auth/sign-in/username" => {
            let session = Uuid::new_v4().simple().to_string();
            sessions.push(session.clone());
            let cookie = format!(
                "Set-Cookie: better-auth.session_token={session}.c2lnbmVk%3D; Max-Age=2592000; \
                 Path=/; HttpOnly; SameSite=Lax"
            );
            let signed_in = json!({"token": session, "user": user});
            return with_header(200, &cookie, &signed_in.to_string());
        }
        "POST /api/auth/sign-out" => return sign_out(head, sessions),
        "GET /api/v1/user" if tokens.iter().any(|token| token["token"] == bearer) => {
            return answer(200, &user.to_string());
        }
        "GET /api/v1/user" => return answer(401, r#"{"message":"Requires authentication"}"#),
        _ if !route.contains(" /trpc/") => return answer(404, r#"{"error":"Not found"}"#),
        _ if !sessions.iter().any(|session| session == bearer) => {
            return refusal(401, "Not authenticated");
        }
        _ => {}
    }
    let input: Value = serde_json::from_str(body).unwrap_or_default();
    let input = &input["json"];
    match route {
        "GET /trpc/auth.me" => result(user),
        "POST /trpc/tokens.create" => create(input, tokens),
        "GET /trpc/tokens.list" => {
            let mut listed = tokens.clone();
            for token in &mut listed {
                token.as_object_mut()?.remove("token");
            }
            result(json!(listed))
        }
        "POST /trpc/tokens.delete" => {
            let id = input["id"].as_str().unwrap_or_default();
            if Uuid::parse_str(id).is_err() {
                return refusal(
                    400,
                    r#"[{"code":"invalid","message":"Invalid UUID","path":["id"]}]"#,
                );
            }
            let before = tokens.len();
            tokens.retain(|token| token["id"] != id);
            match before == tokens.len() {
                true => refusal(404, "Token not found"),
                false => result(json!({"success": true})),
            }
        }
        "GET /trpc/tokens.scopes" => {
            let scopes = SCOPES.map(|(name, what)| json!({"name": name, "description": what}));
            result(json!(scopes))
        }
        _ => refusal(404, "No procedure found"),
    }
}

/// It goes by the signed cookie alone, and then asks where the request comes from. With a session
/// as Bearer it says that all is well, and does nothing.
fn sign_out(head: &str, sessions: &mut Vec<String>) -> Option<String> {
    let cookie = header(head, "cookie: better-auth.session_token=");
    let Some((session, _signature)) = cookie.and_then(|value| value.split_once(".c2lnbmVk%3D"))
    else {
        return answer(200, r#"{"success":true}"#);
    };
    let host = header(head, "host: ").unwrap_or_default();
    if header(head, "origin: ") != Some(&format!("http://{host}")) {
        return answer(
            403,
            r#"{"code":"INVALID_ORIGIN","message":"Invalid origin"}"#,
        );
    }
    sessions.retain(|known| known != session);
    answer(200, r#"{"success":true}"#)
}

fn create(input: &Value, tokens: &mut Vec<Value>) -> Option<String> {
    let name = input["name"].as_str().unwrap_or_default();
    let scopes: Vec<&str> = (input["scopes"].as_array()?.iter())
        .filter_map(Value::as_str)
        .collect();
    let days = input.get("expiresInDays").and_then(Value::as_i64);
    let known = |scope: &&str| SCOPES.iter().any(|(known, _)| known == scope);
    let wrong = match () {
        () if name.is_empty() || name.chars().count() > 100 => Some("name"),
        () if scopes.is_empty() || !scopes.iter().all(known) => Some("scopes"),
        () if days.is_some_and(|days| !(1..=365).contains(&days)) => Some("expiresInDays"),
        () => None,
    };
    if let Some(path) = wrong {
        let listed = json!([{"code": "custom", "message": format!("bad {path}"), "path": [path]}]);
        return refusal(400, &listed.to_string());
    }
    if name.contains(char::is_control) {
        return refusal(500, "INSERT INTO personal_access_tokens VALUES ('secret')");
    }
    if tokens.len() >= 50 {
        return refusal(400, "Maximum of 50 tokens allowed per user");
    }
    let random = Uuid::new_v4().simple().to_string() + &Uuid::new_v4().simple().to_string();
    let secret = format!("wit_{}", &random[..40]);
    let now = UnixTime::now();
    let time = |at: UnixTime| rfc3339(at).replace('Z', ".022Z");
    let token = json!({
        "id": Uuid::new_v4().to_string(),
        "name": name,
        "token": secret,
        "tokenPrefix": &secret[..8],
        "scopes": scopes,
        "lastUsedAt": null,
        "expiresAt": days.map(|days| time(now.plus(days * DAY))),
        "createdAt": time(now),
    });
    tokens.push(token.clone());
    result(token)
}

fn result(value: Value) -> Option<String> {
    let wrapped = json!({"result": {"data": {"json": value, "meta": {"values": {}, "v": 1}}}});
    answer(200, &wrapped.to_string())
}

fn refusal(status: u16, message: &str) -> Option<String> {
    let error = json!({"error": {"json": {"message": message, "code": -32600,
        "data": {"httpStatus": status}}}});
    answer(status, &error.to_string())
}
