//! GitHub: the device flow and the code, users, and the revocation of credentials.

use super::*;

pub(super) fn github(
    state: &mut State,
    method: &str,
    path: &str,
    head: &str,
    body: &str,
) -> Option<String> {
    let host = header(head, "host").unwrap_or_default();
    let form = form(body);
    let is_client = form.get("client_id").is_some_and(|id| id == CLIENT);
    let wants_json = header(head, "accept").is_some_and(|kinds| kinds.contains("json"));
    let api = match host {
        "api.github.com" => Some(path),
        "github.com" => None,
        _ => path.strip_prefix("/api/v3"),
    };
    // A browser's.
    if let ("GET", None, "/login/oauth/authorize") = (method, api, path) {
        let first = head.lines().next().unwrap_or_default();
        let (_, query) = first.split(' ').nth(1)?.split_once('?')?;
        return authorize(state, query, &[CLIENT]);
    }
    if !wants_json {
        // As the real one, which then answers with a form.
        return with_header(200, "Content-Type: text/plain", "error=not_json");
    }
    if let Some(answer) = api.and_then(|path| state.apps.answer(method, path, head, body)) {
        return answer;
    }
    match (method, api, path) {
        ("POST", None, "/login/device/code") => match () {
            () if !is_client => reply(404, json!({ "error": "Not Found" })),
            () if state.no_device_flow => reply(
                200,
                json!({ "error": "device_flow_disabled", "error_description": "Device Flow must be explicitly enabled for this App" }),
            ),
            () => begin(Kind::Github, state, &form, host, "/login/device"),
        },
        ("POST", None, "/login/oauth/access_token") => {
            match form.get("grant_type").map(String::as_str) {
                _ if !is_client => reply(
                    200,
                    json!({ "error": "incorrect_client_credentials", "error_description": "said" }),
                ),
                Some("urn:ietf:params:oauth:grant-type:device_code") => {
                    poll(Kind::Github, state, &form, 200)
                }
                Some("authorization_code")
                    if form
                        .get("client_secret")
                        .is_none_or(|secret| secret != CLIENT_SECRET) =>
                {
                    reply(
                        200,
                        json!({ "error": "incorrect_client_credentials", "error_description": "said" }),
                    )
                }
                Some("authorization_code") => exchanged(Kind::Github, state, &form),
                Some("refresh_token") => {
                    let bad = json!({ "error": "bad_refresh_token", "error_description": "The refresh token passed is incorrect or expired." });
                    refreshed(Kind::Github, state, &form, bad, 200)
                }
                _ => reply(200, json!({ "error": "unsupported_grant_type" })),
            }
        }
        ("DELETE", Some(path), _) if path == format!("/applications/{CLIENT}/token") => {
            if basic(head) != Some((CLIENT.to_owned(), CLIENT_SECRET.to_owned())) {
                return reply(404, json!({ "message": "Not Found", "status": "404" }));
            }
            let told: Value = serde_json::from_str(body).ok()?;
            let family = state
                .living(told["access_token"].as_str()?)
                .map(|token| token.family);
            for token in state.tokens.values_mut() {
                token.alive &= Some(token.family) != family;
            }
            with_header(204, "X-GitHub-Request-Id: 1", "")
        }
        ("GET", Some("/meta"), _) => with_header(
            200,
            "X-GitHub-Request-Id: 1",
            r#"{"installed_version":"3.19.0"}"#,
        ),
        ("GET", Some("/user"), _) if bearer(head).is_some_and(|token| state.apps.knows(token)) => {
            reply(
                403,
                json!({ "message": "Resource not accessible by integration", "status": "403" }),
            )
        }
        ("GET", Some("/user"), _) => match bearer(head).and_then(|token| state.living(token)) {
            None => reply(
                401,
                json!({ "message": "Bad credentials", "status": "401" }),
            ),
            Some(token) => {
                let scopes: Vec<String> = token.scopes.iter().cloned().collect();
                let told = format!(
                    "Content-Type: application/json\r\nX-OAuth-Scopes: {}\r\nGitHub-Authentication-Token-Expiration: 2099-10-12 09:00:00 UTC",
                    scopes.join(", ")
                );
                with_header(200, &told, &github_user().to_string())
            }
        },
        ("POST", Some("/credentials/revoke"), _) if host == "api.github.com" => {
            if header(head, "authorization").is_some() {
                return reply(403, json!({ "message": "Forbidden" }));
            }
            let told: Value = serde_json::from_str(body).ok()?;
            for secret in told["credentials"].as_array()? {
                if let Some(token) = state.tokens.get_mut(secret.as_str()?) {
                    token.alive = false;
                }
            }
            reply(202, json!({}))
        }
        _ => reply(404, json!({ "message": "Not Found", "status": "404" })),
    }
}

/// As much of a user as GitHub's document demands.
fn github_user() -> Value {
    user("ada")
}

pub(super) fn user(login: &str) -> Value {
    let at = "2026-01-01T00:00:00Z";
    let mut user = json!({
        "login": login, "id": 7, "node_id": "x", "gravatar_id": "", "type": "User", "site_admin": false,
        "name": "Ada", "company": null, "blog": "", "location": null, "email": null, "hireable": null,
        "bio": null, "public_repos": 0, "public_gists": 0, "followers": 0, "following": 0,
        "created_at": at, "updated_at": at,
    });
    for name in [
        "avatar_url",
        "events_url",
        "followers_url",
        "following_url",
        "gists_url",
        "html_url",
        "organizations_url",
        "received_events_url",
        "repos_url",
        "starred_url",
        "subscriptions_url",
        "url",
    ] {
        user[name] = "https://github.com/ada".into();
    }
    user
}
