//! GitLab: OAuth, and personal access tokens by themselves.

use super::*;

pub(super) fn gitlab(
    state: &mut State,
    method: &str,
    path: &str,
    query: &str,
    head: &str,
    body: &str,
) -> Option<String> {
    let host = header(head, "host").unwrap_or_default();
    let form = form(body);
    let is_client = form.get("client_id").is_some_and(|id| id == CLIENT);
    let unauthorized = || reply(401, json!({ "message": "401 Unauthorized" }));
    let token = header(head, "private-token")
        .or(bearer(head))
        .map(str::to_owned);
    let known = token
        .as_deref()
        .and_then(|token| state.living(token))
        .cloned();
    let no_client = || {
        reply(
            401,
            json!({ "error": "invalid_client", "error_description": "Client authentication failed" }),
        )
    };
    match (method, path) {
        ("GET", "/.well-known/openid-configuration") => {
            let at = |path: &str| format!("http://{host}{path}");
            reply(
                200,
                json!({
                    "issuer": at(""), "authorization_endpoint": at("/oauth/authorize"), "token_endpoint": at("/oauth/token"),
                    "revocation_endpoint": at("/oauth/revoke"), "userinfo_endpoint": at("/oauth/userinfo"),
                }),
            )
        }
        ("GET", "/api/v4/version") if known.is_none() => unauthorized(),
        ("POST", "/oauth/authorize_device") => match () {
            () if state.no_device_flow => reply(404, json!({ "error": "404 Not Found" })),
            () if !is_client => no_client(),
            () => begin(Kind::Gitlab, state, &form, host, "/oauth/device"),
        },
        ("GET", "/oauth/authorize") => authorize(state, query, &[CLIENT]),
        ("POST", "/oauth/token" | "/oauth/revoke") if !is_client => no_client(),
        ("POST", "/oauth/token") => match form.get("grant_type").map(String::as_str) {
            Some("urn:ietf:params:oauth:grant-type:device_code") => {
                poll(Kind::Gitlab, state, &form, 400)
            }
            Some("authorization_code") => exchanged(Kind::Gitlab, state, &form),
            Some("refresh_token") => {
                let bad = json!({ "error": "invalid_grant", "error_description": "The provided authorization grant is invalid" });
                refreshed(Kind::Gitlab, state, &form, bad, 400)
            }
            _ => reply(400, json!({ "error": "unsupported_grant_type" })),
        },
        ("POST", "/oauth/revoke") => {
            if let Some(token) = form
                .get("token")
                .and_then(|token| state.tokens.get_mut(token))
            {
                token.alive = false;
            }
            reply(200, json!({}))
        }
        ("GET", "/oauth/userinfo") => match known {
            Some(token) if token.scopes.contains("openid") => {
                reply(200, json!({ "sub": "7", "nickname": "ada" }))
            }
            Some(_) => insufficient("openid"),
            None => unauthorized(),
        },
        ("GET", "/api/v4/user") => match known {
            Some(token)
                if ["api", "read_user", "read_api"]
                    .iter()
                    .any(|&scope| token.scopes.contains(scope)) =>
            {
                reply(200, json!({ "id": 7, "username": "ada" }))
            }
            Some(_) => insufficient("read_user api"),
            None => unauthorized(),
        },
        ("GET", "/api/v4/personal_access_tokens/self") => match known {
            Some(token) if token.sort == Sort::Personal => reply(
                200,
                json!({
                    "id": token.id, "name": token.name, "revoked": false, "created_at": "2026-08-01T15:00:00.000Z",
                    "scopes": token.scopes, "user_id": 7, "active": true, "expires_at": "2099-08-15",
                }),
            ),
            Some(_) => reply(400, json!({ "message": "400 Bad request" })),
            None => unauthorized(),
        },
        ("DELETE", "/api/v4/personal_access_tokens/self") => {
            let Some(token) = token
                .and_then(|token| state.tokens.get_mut(&token))
                .filter(|token| token.alive)
            else {
                return unauthorized();
            };
            token.alive = false;
            with_header(204, "X-Gone: 1", "")
        }
        _ => reply(404, json!({ "error": "404 Not Found" })),
    }
}

fn insufficient(scope: &str) -> Option<String> {
    let why = "The request requires higher privileges than provided by the access token.";
    reply(
        403,
        json!({ "error": "insufficient_scope", "error_description": why, "scope": scope }),
    )
}
