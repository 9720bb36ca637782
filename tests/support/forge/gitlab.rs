//! GitLab: OAuth, and personal access tokens by themselves.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};

use super::*;

/// What GitLab knows beyond the other hosts.
pub struct Gitlab {
    /// By the number of the token.
    pub details: BTreeMap<u64, Detail>,
    /// Longest lifetime in days.
    pub max_days: i64,
    /// What a rotation is refused with, whatever is asked for.
    pub refuses_rotation: Option<(u16, &'static str)>,
    /// The rotations that were carried out.
    pub rotations: usize,
    /// Requests for a rotation by a token that was revoked: each ends its family.
    pub reused: usize,
    /// Tokens of a page where the request names no number.
    pub page: usize,
    /// Whether tokens have no description, as before 17.7.
    pub no_descriptions: bool,
}

impl Default for Gitlab {
    fn default() -> Self {
        Gitlab {
            details: BTreeMap::new(),
            max_days: 365,
            refuses_rotation: None,
            rotations: 0,
            reused: 0,
            page: 20,
            no_descriptions: false,
        }
    }
}

#[derive(Clone)]
pub struct Detail {
    pub created: OffsetDateTime,
    pub expires: Option<Date>,
    /// Such as `/projects/ada/hello`; `None` for a personal one.
    pub place: Option<String>,
    pub access_level: u64,
    pub last_used: Option<OffsetDateTime>,
    pub description: Option<String>,
}

/// Where ada is Maintainer or Owner.
const PLACES: [&str; 2] = ["/projects/ada/hello", "/groups/acme/tools"];

struct Call<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    body: &'a str,
}

fn date(text: &str) -> Option<Date> {
    Date::parse(text, format_description!("[year]-[month]-[day]")).ok()
}

fn message(status: u16, text: &str) -> Option<String> {
    reply(status, json!({ "message": text }))
}

impl State {
    fn detail(&self, id: u64) -> Detail {
        let known = self.gitlab.details.get(&id).cloned();
        known.unwrap_or(Detail {
            created: OffsetDateTime::UNIX_EPOCH + Duration::days(20_500),
            expires: date("2099-08-15"),
            place: None,
            access_level: 0,
            last_used: None,
            description: None,
        })
    }

    /// A token is so many days old, and has so many left.
    pub fn ages(&mut self, secret: &str, old: i64, left: i64) {
        let now = OffsetDateTime::now_utc();
        let id = self.tokens[secret].id;
        let detail = self.detail(id);
        let detail = Detail {
            created: now - Duration::days(old),
            expires: Some((now + Duration::days(left)).date()),
            ..detail
        };
        self.gitlab.details.insert(id, detail);
    }

    fn is_expired(&self, token: &Token) -> bool {
        let today = OffsetDateTime::now_utc().date();
        self.detail(token.id)
            .expires
            .is_some_and(|end| end <= today)
    }

    fn described(&self, token: &Token, secret: Option<&str>) -> Value {
        let detail = self.detail(token.id);
        let time = |at: OffsetDateTime| at.format(&Rfc3339).expect("a time");
        let mut wire = json!({
            "id": token.id, "name": token.name, "revoked": !token.alive,
            "created_at": time(detail.created), "description": detail.description.clone().unwrap_or_default(),
            "scopes": token.scopes, "user_id": 7, "last_used_at": detail.last_used.map(time),
            "active": token.alive && !self.is_expired(token),
            "expires_at": detail.expires.map(|date| date.to_string()),
        });
        if self.gitlab.no_descriptions {
            wire.as_object_mut()
                .expect("an object")
                .remove("description");
        }
        if let Some(place) = &detail.place {
            let kind = if place.starts_with("/projects/") {
                "project"
            } else {
                "group"
            };
            wire["access_level"] = detail.access_level.into();
            wire["resource_type"] = kind.into();
            wire["resource_id"] = 5.into();
            wire["user_id"] = 166.into();
        }
        if let Some(secret) = secret {
            wire["token"] = secret.into();
        }
        wire
    }

    /// The end that is asked for, or the sentence that refuses it.
    fn end_asked(&self, body: &Value, usual: i64) -> Result<Date, String> {
        let today = OffsetDateTime::now_utc().date();
        let Some(asked) = body.get("expires_at") else {
            return Ok(today + Duration::days(usual));
        };
        let asked = asked.as_str().and_then(date);
        let asked = asked.ok_or("400 Bad request - expires_at is invalid")?;
        let last = today + Duration::days(self.gitlab.max_days);
        match asked {
            asked if asked <= today => {
                Err("400 Bad request - Expiration date is in the past".into())
            }
            asked if asked > last => Err(format!(
                "400 Bad request - Expiration date must be before {}",
                last + Duration::days(1)
            )),
            asked => Ok(asked),
        }
    }

    fn page_of(&self, all: Vec<Value>, query: &str) -> Option<String> {
        let query = form(query);
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
        let size = number("per_page").unwrap_or(20).min(self.gitlab.page);
        let page = number("page").unwrap_or(1).max(1);
        let some: Vec<Value> = all
            .iter()
            .skip((page - 1) * size)
            .take(size)
            .cloned()
            .collect();
        let next = match page * size < all.len() {
            true => (page + 1).to_string(),
            false => String::new(),
        };
        let headers = format!("Content-Type: application/json\r\nX-Next-Page: {next}");
        with_header(200, &headers, &Value::from(some).to_string())
    }

    /// Tokens about themselves and about each other.
    fn tokens_call(&mut self, secret: &str, call: &Call) -> Option<String> {
        let unauthorized = || message(401, "401 Unauthorized");
        let gone = || reply(404, json!({ "error": "404 Not Found" }));
        let Some(asker) = self.tokens.get(secret).cloned() else {
            return unauthorized();
        };
        let path = call.path.strip_prefix("/api/v4").unwrap_or_default();
        let body: Value = serde_json::from_str(call.body).unwrap_or_default();
        if (call.method, path) == ("POST", "/personal_access_tokens/self/rotate") && !asker.alive {
            let family = self.family(&asker);
            self.gitlab.reused += 1;
            let family_of: Vec<u64> = self
                .tokens
                .values()
                .map(|token| self.family(token))
                .collect();
            for (token, of) in self.tokens.values_mut().zip(family_of) {
                token.alive &= of != family;
            }
            return unauthorized();
        }
        if !asker.alive {
            return unauthorized();
        }
        if self.is_expired(&asker) && asker.sort == Sort::Personal {
            let why = "Token is expired. You can either do re-authorization or token refresh.";
            return reply(
                401,
                json!({ "error": "invalid_token", "error_description": why }),
            );
        }
        let may = |scopes: &[&str]| scopes.iter().any(|&scope| asker.scopes.contains(scope));
        let is_personal = asker.sort == Sort::Personal && self.detail(asker.id).place.is_none();
        match (call.method, path) {
            ("GET", "/personal_access_tokens/self") => match asker.sort {
                Sort::Personal => reply(200, self.described(&asker, None)),
                _ => message(400, "400 Bad request"),
            },
            ("DELETE", "/personal_access_tokens/self") => {
                self.end(asker.id);
                with_header(204, "X-Gone: 1", "")
            }
            ("POST", "/personal_access_tokens/self/rotate") => {
                if !may(&["api", "self_rotate"]) {
                    return insufficient("api self_rotate");
                }
                if !is_personal {
                    return message(405, "405 Method Not Allowed");
                }
                if let Some((status, why)) = self.gitlab.refuses_rotation {
                    return message(status, why);
                }
                let end = match self.end_asked(&body, 7) {
                    Ok(end) => end,
                    Err(why) => return message(400, &why),
                };
                let family = self.family(&asker);
                self.end(asker.id);
                self.gitlab.rotations += 1;
                let secret =
                    self.issue("glpat-", Sort::Personal, asker.scopes, family, &asker.name);
                let detail = Detail {
                    created: OffsetDateTime::now_utc(),
                    expires: Some(end),
                    ..self.detail(0)
                };
                let new = self.tokens[&secret].clone();
                self.gitlab.details.insert(new.id, detail);
                reply(200, self.described(&new, Some(&secret)))
            }
            ("GET", "/personal_access_tokens") => {
                if !may(&["api", "read_api"]) {
                    return insufficient("api read_api");
                }
                self.listed(None, call.query)
            }
            ("DELETE", _) if path.starts_with("/personal_access_tokens/") => {
                if !may(&["api"]) {
                    return insufficient("api");
                }
                let id = path.rsplit('/').next().and_then(|id| id.parse().ok());
                match id.filter(|id| self.is_of(*id, None)) {
                    Some(id) => {
                        self.end(id);
                        with_header(204, "X-Gone: 1", "")
                    }
                    None => gone(),
                }
            }
            _ => {
                let path = percent_encoding::percent_decode_str(path)
                    .decode_utf8_lossy()
                    .into_owned();
                let Some((place, rest)) = path.split_once("/access_tokens") else {
                    return gone();
                };
                // A path goes as one word.
                let is_one_word = call.path.split('/').nth(5) == Some("access_tokens");
                if !PLACES.contains(&place) || !is_one_word {
                    let kind = if place.starts_with("/projects/") {
                        "Project"
                    } else {
                        "Group"
                    };
                    return message(404, &format!("404 {kind} Not Found"));
                }
                if !is_personal || !may(&["api", "read_api"]) {
                    return insufficient("api");
                }
                self.place_call(place.to_owned(), rest, call, &body, may(&["api"]))
            }
        }
    }

    fn place_call(
        &mut self,
        place: String,
        rest: &str,
        call: &Call,
        body: &Value,
        writes: bool,
    ) -> Option<String> {
        match (call.method, rest) {
            ("GET", "") => self.listed(Some(&place), call.query),
            _ if !writes => insufficient("api"),
            ("POST", "") => {
                let name = body["name"].as_str().unwrap_or_default();
                let scopes: BTreeSet<String> = (body["scopes"].as_array().into_iter().flatten())
                    .filter_map(|scope| scope.as_str().map(str::to_owned))
                    .collect();
                let known = [
                    "api",
                    "read_api",
                    "read_repository",
                    "write_repository",
                    "self_rotate",
                ];
                if name.is_empty() || scopes.is_empty() {
                    return reply(
                        400,
                        json!({ "error": "name is missing, scopes is missing" }),
                    );
                }
                if !scopes.iter().all(|scope| known.contains(&scope.as_str())) {
                    return reply(
                        400,
                        json!({ "message": { "scopes": ["can only contain available scopes"] } }),
                    );
                }
                let end = match self.end_asked(body, self.gitlab.max_days) {
                    Ok(end) => end,
                    Err(why) => return message(400, &why),
                };
                let access_level = body["access_level"].as_u64().unwrap_or(40);
                if ![10, 15, 20, 30, 40, 50].contains(&access_level) {
                    return reply(
                        400,
                        json!({ "error": "access_level does not have a valid value" }),
                    );
                }
                let secret = self.issue("glpat-", Sort::Personal, scopes, 0, name);
                let new = self.tokens[&secret].clone();
                let detail = Detail {
                    created: OffsetDateTime::now_utc(),
                    expires: Some(end),
                    place: Some(place),
                    access_level,
                    last_used: None,
                    description: body["description"].as_str().map(str::to_owned),
                };
                self.gitlab.details.insert(new.id, detail);
                reply(201, self.described(&new, Some(&secret)))
            }
            _ => {
                let id = rest.trim_start_matches('/').parse().ok();
                let Some(id) = id.filter(|id| self.is_of(*id, Some(&place))) else {
                    return message(404, "404 Could not find project access token with token_id");
                };
                match call.method {
                    "GET" => {
                        let token = self.tokens.values().find(|token| token.id == id);
                        reply(200, self.described(token.expect("known"), None))
                    }
                    "DELETE" => {
                        self.end(id);
                        with_header(204, "X-Gone: 1", "")
                    }
                    _ => message(405, "405 Not Allowed"),
                }
            }
        }
    }

    fn family(&self, token: &Token) -> u64 {
        match token.family {
            0 => token.id,
            family => family,
        }
    }

    fn end(&mut self, id: u64) {
        let meant = self.tokens.values_mut().filter(|token| token.id == id);
        meant.for_each(|token| token.alive = false);
    }

    /// Whether it is alive, and of that place, or a personal one.
    fn is_of(&self, id: u64, place: Option<&str>) -> bool {
        let token = self.tokens.values().find(|token| token.id == id);
        let is_alive = token.is_some_and(|token| token.alive && token.sort == Sort::Personal);
        is_alive && self.detail(id).place.as_deref() == place
    }

    fn listed(&self, place: Option<&str>, query: &str) -> Option<String> {
        let with_revoked = !query.contains("revoked=false") && place.is_none();
        let is_meant = |token: &&Token| {
            token.sort == Sort::Personal
                && self.detail(token.id).place.as_deref() == place
                && (with_revoked || token.alive)
        };
        let mut all: Vec<&Token> = self.tokens.values().filter(is_meant).collect();
        all.sort_by_key(|token| token.id);
        let all = all
            .iter()
            .map(|token| self.described(token, None))
            .collect();
        self.page_of(all, query)
    }
}

pub(super) fn gitlab(
    state: &mut State,
    method: &str,
    path: &str,
    query: &str,
    head: &str,
    body: &str,
) -> Option<String> {
    let host = header(head, "host").unwrap_or_default();
    // One below a path.
    let path = path.strip_prefix("/gitlab").unwrap_or(path);
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
            let is_known = |token: &String| state.tokens.get(token).is_some_and(|one| one.alive);
            if state.is_one_grant && form.get("token").is_some_and(is_known) {
                state.tokens.values_mut().for_each(|one| one.alive = false);
            }
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
        _ if path.starts_with("/api/v4/") => {
            let call = Call {
                method,
                path,
                query,
                body,
            };
            state.tokens_call(token.as_deref().unwrap_or_default(), &call)
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
