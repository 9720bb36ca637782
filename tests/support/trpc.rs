//! The running platform as its facts describe it: tokens by tRPC, each refusal word for word.

use std::sync::Mutex;

use serde_json::{Value, json};
use uuid::Uuid;
use wit::database::tokens::SCOPES;
use wit::expiry::{DAY, UnixTime, rfc3339};

use super::server::{Server, answer};

/// The session of its one account, `ada`.
pub const SESSION: &str = "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu";
/// An id of a token of somebody else's.
pub const FOREIGN: &str = "00000000-0000-4000-8000-000000000000";

/// A server without tokens.
pub fn platform() -> Server {
    let tokens = Mutex::new(Vec::new());
    Server::reading(move |head, body| {
        let first = head.lines().next().unwrap_or_default();
        let mut tokens = tokens.lock().expect("no panic in the server");
        answer_to(first, bearer(head), body, &mut tokens)
    })
}

fn bearer(head: &str) -> &str {
    head.lines()
        .find_map(|line| line.strip_prefix("authorization: Bearer "))
        .unwrap_or_default()
}

fn answer_to(first: &str, bearer: &str, body: &str, tokens: &mut Vec<Value>) -> Option<String> {
    let user = json!({"id": "u", "username": "ada", "name": "ada", "email": "ada@example.com"});
    let route = first.strip_suffix(" HTTP/1.1")?;
    match route {
        "POST /api/auth/sign-in/username" => {
            let signed_in = json!({"token": SESSION, "user": user});
            return answer(200, &signed_in.to_string());
        }
        "GET /api/v1/user" if tokens.iter().any(|token| token["token"] == bearer) => {
            return answer(200, &user.to_string());
        }
        "GET /api/v1/user" => return answer(401, r#"{"message":"Requires authentication"}"#),
        _ if !route.contains(" /trpc/") => return answer(404, r#"{"error":"Not found"}"#),
        _ if bearer != SESSION => return refusal(401, "Not authenticated"),
        _ => {}
    }
    let input: Value = serde_json::from_str(body).unwrap_or_default();
    let input = &input["json"];
    match route {
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
