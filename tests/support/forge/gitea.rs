//! Gitea and Forgejo: OAuth, and access tokens by Basic authentication.

use wit::expiry::{UnixTime, rfc3339};

use super::*;

/// What these two have beside the other hosts.
#[derive(Default)]
pub struct More {
    /// Whether a one-time code is accepted once only. `12345` and any digit is one.
    pub codes_once: bool,
    used_codes: BTreeSet<String>,
    /// Whether tokens can be bound to repositories (Forgejo 17); else the field is ignored.
    pub binds: bool,
    /// The repositories of the tokens that are bound, by their ids.
    pub bound: BTreeMap<u64, Vec<String>>,
    created: BTreeMap<u64, String>,
    /// Most tokens of a page; 0 for as many as are asked for.
    pub page: usize,
}

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
    let message = |status: u16, text: &str| {
        reply(
            status,
            json!({ "message": text, "url": "https://git.example/api/swagger" }),
        )
    };
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
            Some(token) if may(&token, "read:user") => reply(
                200,
                json!({ "id": 7, "login": "ada", "email": "ada@example.com" }),
            ),
            Some(_) => message(
                403,
                "token does not have at least one of required scope(s): [read:user]",
            ),
        },
        _ => tokens(kind, state, method, path, query, head, body)
            .unwrap_or_else(|| message(404, "Not Found")),
    }
}

/// Whether a token has a scope, or one that implies it.
fn may(token: &Token, scope: &str) -> bool {
    let held = |scope: &str| token.scopes.contains(scope);
    let writes = scope.replace("read:", "write:");
    held("all") || held(scope) || held(&writes)
}

/// The calls below `/api/v1/users/ada/tokens`, which take Basic. A token's own secret as the
/// password is let in by Gitea, where it has the scopes, and not by Forgejo.
fn tokens(
    kind: Kind,
    state: &mut State,
    method: &str,
    path: &str,
    query: &str,
    head: &str,
    body: &str,
) -> Option<Option<String>> {
    let message = |status: u16, text: &str| {
        Some(reply(
            status,
            json!({ "message": text, "url": "https://git.example/api/swagger" }),
        ))
    };
    let rest = path.strip_prefix("/api/v1/users/ada/tokens")?;
    let Some((name, password)) = basic(head) else {
        return message(401, "auth required");
    };
    let asks = state.living(&password).cloned();
    match &asks {
        Some(_) if kind == Kind::Forgejo => return message(401, "auth method not allowed"),
        Some(token) => {
            let needed = match method {
                "GET" => "read:user",
                _ => "write:user",
            };
            if !may(token, needed) {
                let text =
                    format!("token does not have at least one of required scope(s): [{needed}]");
                return message(403, &text);
            }
        }
        None if name != "ada" || password != PASSWORD => {
            return message(401, "invalid username, password or token");
        }
        None if state.second_factor => {
            let header_name = match kind {
                Kind::Forgejo => "x-forgejo-otp",
                _ => "x-gitea-otp",
            };
            let code = header(head, header_name).unwrap_or_default().to_owned();
            let is_code = code.len() == 6 && code.starts_with("12345");
            let is_new = state.gitea.used_codes.insert(code.clone());
            if !is_code || state.gitea.codes_once && !is_new {
                return message(401, "invalid provided OTP");
            }
        }
        None => {}
    }
    match method {
        "GET" => Some(list(kind, state, query)),
        "DELETE" => {
            let meant = rest.trim_start_matches('/');
            let found = state.tokens.values_mut().find(|token| {
                token.alive && (token.id.to_string() == meant || token.name == meant)
            });
            let Some(token) = found else {
                return message(404, "Not Found");
            };
            token.alive = false;
            Some(with_header(204, "X-Gone: 1", ""))
        }
        _ => create(kind, state, asks, body),
    }
}

/// A token as both list it; `secret` is there in the answer that creates it.
fn document(kind: Kind, state: &State, token: &Token, last: &str, secret: Option<&str>) -> Value {
    let created = match secret {
        Some(_) if kind == Kind::Gitea => "0001-01-01T00:00:00Z".to_owned(),
        _ => (state.gitea.created.get(&token.id).cloned())
            .unwrap_or_else(|| rfc3339(UnixTime::now())),
    };
    let mut document = json!({
        "id": token.id, "name": token.name, "sha1": secret.unwrap_or_default(),
        "token_last_eight": last, "scopes": token.scopes, "created_at": created,
    });
    match kind {
        Kind::Forgejo if state.gitea.binds => {
            let bound = state.gitea.bound.get(&token.id);
            document["repositories"] = match bound {
                None => Value::Null,
                Some(names) => (names.iter())
                    .map(|full| {
                        let (owner, name) = full.split_once('/').expect("a full name");
                        json!({ "id": 1, "owner": owner, "name": name, "full_name": full })
                    })
                    .collect(),
            };
        }
        Kind::Forgejo => {}
        _ => document["last_used_at"] = document["created_at"].clone(),
    }
    document
}

fn list(kind: Kind, state: &State, query: &str) -> Option<String> {
    let query = form(query);
    let number = |name: &str, default: usize| {
        let text = query.get(name).map(|text| text.parse().expect("a number"));
        text.unwrap_or(default)
    };
    let mut all: Vec<(&String, &Token)> = (state.tokens.iter())
        .filter(|(_, token)| token.alive && token.sort == Sort::Personal)
        .collect();
    all.sort_by_key(|(_, token)| std::cmp::Reverse(token.id));
    let mut size = number("limit", 30);
    if state.gitea.page > 0 {
        size = size.min(state.gitea.page);
    }
    let page = (all.iter()).skip((number("page", 1) - 1) * size).take(size);
    let page: Vec<Value> = page
        .map(|(secret, token)| document(kind, state, token, &secret[secret.len() - 8..], None))
        .collect();
    let headers = format!(
        "Content-Type: application/json\r\nX-Total-Count: {}",
        all.len()
    );
    with_header(200, &headers, &Value::from(page).to_string())
}

fn create(
    kind: Kind,
    state: &mut State,
    asks: Option<Token>,
    body: &str,
) -> Option<Option<String>> {
    let message = |status: u16, text: &str| {
        Some(reply(
            status,
            json!({ "message": text, "url": "https://git.example/api/swagger" }),
        ))
    };
    let asked: Value = serde_json::from_str(body).ok()?;
    let name = asked["name"].as_str()?;
    let scopes: BTreeSet<String> = asked["scopes"]
        .as_array()?
        .iter()
        .filter_map(|scope| Some(scope.as_str()?.to_owned()))
        .collect();
    let known = |scope: &String| {
        let words =
            "activitypub admin issue misc notification organization package repository user";
        let is_of = |word: &str| words.split(' ').any(|known| known == word);
        let (way, word) = scope.split_once(':').unwrap_or((scope, ""));
        matches!(way, "read" | "write") && is_of(word) || way == "all" || way == "public-only"
    };
    if scopes.is_empty() || !scopes.iter().all(known) {
        return message(400, "invalid scope");
    }
    if let Some(asks) = asks
        && !scopes.iter().all(|scope| may(&asks, scope))
    {
        return message(
            403,
            "a token can't create one with more scopes than its own",
        );
    }
    if state
        .tokens
        .values()
        .any(|token| token.alive && token.name == name)
    {
        return message(400, "access token name has been used already");
    }
    // What another scope implies is not listed.
    let implied = |scope: &String| match scope.strip_prefix("read:") {
        Some(word) => scopes.contains("all") || scopes.contains(&format!("write:{word}")),
        None => scopes.contains("all") && scope.starts_with("write:"),
    };
    let listed = scopes.iter().filter(|scope| !implied(scope)).cloned();
    let listed: BTreeSet<String> = listed.collect();
    let secret = state.issue("", Sort::Personal, listed, 0, name);
    let token = state.tokens[&secret].clone();
    let now = rfc3339(UnixTime::now());
    state.gitea.created.insert(token.id, now);
    let bound = asked["repositories"]
        .as_array()
        .filter(|all| !all.is_empty());
    if let Some(bound) = bound.filter(|_| kind == Kind::Forgejo && state.gitea.binds) {
        let full = |one: &Value| {
            Some(format!(
                "{}/{}",
                one["owner"].as_str()?,
                one["name"].as_str()?
            ))
        };
        let names: Option<Vec<String>> = bound.iter().map(full).collect();
        state.gitea.bound.insert(token.id, names?);
    }
    let answer = document(kind, state, &token, &secret[32..], Some(&secret));
    Some(reply(201, answer))
}
