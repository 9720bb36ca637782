//! Gitea and Forgejo: OAuth, and access tokens by Basic authentication.

use super::*;

pub(super) fn gitea(
    kind: Kind,
    state: &mut State,
    method: &str,
    path: &str,
    query: &str,
    head: &str,
    body: &str,
) -> Option<String> {
    let form = form(body);
    let clients = [CLIENT, BUILT_IN];
    let is_client = form
        .get("client_id")
        .is_some_and(|id| clients.contains(&id.as_str()));
    let message =
        |status: u16, text: &str| reply(status, json!({ "message": text, "url": "/api/swagger" }));
    let known = bearer(head).and_then(|token| state.living(token)).cloned();
    let version = match kind {
        Kind::Forgejo => "16.0.0+gitea-1.22.0",
        _ => "1.26.4",
    };
    match (method, path) {
        ("GET", "/api/forgejo/v1/version") if kind == Kind::Forgejo => {
            reply(200, json!({ "version": version }))
        }
        ("GET", "/api/v1/version") => reply(200, json!({ "version": version })),
        ("GET", "/login/oauth/authorize") => authorize(state, query, &clients),
        ("POST", "/login/oauth/access_token") if !is_client => reply(
            400,
            json!({ "error": "invalid_client", "error_description": "cannot load client" }),
        ),
        ("POST", "/login/oauth/access_token") => match form.get("grant_type").map(String::as_str) {
            Some("authorization_code") => exchanged(kind, state, &form),
            Some("refresh_token") => {
                let bad = json!({ "error": "unauthorized_client", "error_description": "token was already used" });
                refreshed(kind, state, &form, bad, 400)
            }
            _ => reply(400, json!({ "error": "unsupported_grant_type" })),
        },
        ("GET", "/login/oauth/userinfo") => match known {
            Some(token) if token.sort == Sort::Access => {
                reply(200, json!({ "sub": "7", "preferred_username": "ada" }))
            }
            _ => with_header(
                401,
                "WWW-Authenticate: Bearer realm=\"Gitea OAuth2\"",
                "no valid authorization",
            ),
        },
        ("GET", "/api/v1/user") => match known {
            None => message(401, "invalid username, password or token"),
            Some(token)
                if ["read:user", "write:user", "all"]
                    .iter()
                    .any(|&scope| token.scopes.contains(scope)) =>
            {
                reply(
                    200,
                    json!({ "id": 7, "login": "ada", "email": "ada@example.com" }),
                )
            }
            Some(_) => message(
                403,
                "token does not have at least one of required scope(s): [read:user]",
            ),
        },
        _ => tokens(kind, state, method, path, head, body)
            .unwrap_or_else(|| message(404, "Not Found")),
    }
}

/// The calls below `/api/v1/users/ada/tokens`, which take Basic. A token's own secret as the
/// password is let in by Gitea, and not by Forgejo.
fn tokens(
    kind: Kind,
    state: &mut State,
    method: &str,
    path: &str,
    head: &str,
    body: &str,
) -> Option<Option<String>> {
    let message = |status: u16, text: &str| {
        Some(reply(
            status,
            json!({ "message": text, "url": "/api/swagger" }),
        ))
    };
    let rest = path.strip_prefix("/api/v1/users/ada/tokens")?;
    let Some((name, password)) = basic(head) else {
        return message(401, "auth required");
    };
    let code = header(
        head,
        match kind {
            Kind::Forgejo => "x-forgejo-otp",
            _ => "x-gitea-otp",
        },
    );
    if name != "ada" || password != PASSWORD {
        return message(401, "invalid username, password or token");
    }
    if state.second_factor && code != Some(ONE_TIME_CODE) {
        return message(401, "invalid provided OTP");
    }
    if method == "DELETE" {
        let id = rest.trim_start_matches('/');
        let found = state
            .tokens
            .values_mut()
            .find(|token| token.id.to_string() == id && token.alive);
        let Some(token) = found else {
            return message(404, "Not Found");
        };
        token.alive = false;
        return Some(with_header(204, "X-Gone: 1", ""));
    }
    let asked: Value = serde_json::from_str(body).ok()?;
    let name = asked["name"].as_str()?;
    let scopes: BTreeSet<String> = asked["scopes"]
        .as_array()?
        .iter()
        .filter_map(|scope| Some(scope.as_str()?.to_owned()))
        .collect();
    let known = |scope: &String| {
        scope.ends_with(":repository") || scope.ends_with(":user") || scope == "all"
    };
    if scopes.is_empty() || !scopes.iter().all(known) {
        return message(400, "invalid scope");
    }
    if state
        .tokens
        .values()
        .any(|token| token.alive && token.name == name)
    {
        return message(400, "access token name has been used already");
    }
    let secret = state.issue("", Sort::Personal, scopes.clone(), 0, name);
    let id = state.tokens[&secret].id;
    Some(reply(
        201,
        json!({
            "id": id, "name": name, "sha1": secret, "token_last_eight": &secret[32..], "scopes": scopes,
            "created_at": "0001-01-01T00:00:00Z", "last_used_at": "0001-01-01T00:00:00Z",
        }),
    ))
}
