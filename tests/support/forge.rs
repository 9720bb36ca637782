//! Stand-ins for GitHub, GitLab, Gitea and Forgejo: none of them runs on a machine without their
//! own packages. They keep state and refuse what the real ones refuse, as their sources and
//! documents have it. `person` is who sits before the browser: she is called ada.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::platform::{Reply, request};
use super::server::{Server, with_header};
use super::tls::Certificate;

mod gitea;
mod github;
pub mod github_app;
pub mod gitlab;

use gitea::gitea;
use github::github;
use gitlab::gitlab;

/// The client that a test registers.
pub const CLIENT: &str = "registered-by-ada";
/// Its secret, where a host wants one.
pub const CLIENT_SECRET: &str = "secret-of-adas-client";
/// The public client that Gitea and Forgejo have built in.
const BUILT_IN: &str = "a4792ccc-144e-407e-86c9-5e7d8d9c3269";
pub const PASSWORD: &str = "correct horse";
pub const ONE_TIME_CODE: &str = "123456";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Github,
    Gitlab,
    Gitea,
    Forgejo,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// Of OAuth; the number is that of the refresh token that came with it.
    Access,
    Refresh,
    /// Created by hand or by the API.
    Personal,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub sort: Sort,
    pub scopes: BTreeSet<String>,
    pub name: String,
    pub id: u64,
    /// Which sign-in it belongs to.
    family: u64,
    pub alive: bool,
}

#[derive(Default)]
pub struct State {
    pub tokens: BTreeMap<String, Token>,
    next: u64,
    /// Device codes: their user code, scopes, and what the person said.
    devices: BTreeMap<String, Device>,
    /// Authorization codes: challenge, redirect, scopes.
    codes: BTreeMap<String, (String, String, BTreeSet<String>)>,
    /// Whether the account has a second factor.
    pub second_factor: bool,
    /// Whether the app does not allow the device flow (GitHub), or the server has none (old GitLab).
    pub no_device_flow: bool,
    /// Whether the server takes all sign-ins for one, which any revocation ends (GitLab's stand-in).
    pub is_one_grant: bool,
    /// Whether polls are told to slow down once.
    pub slow_down: bool,
    /// Lifetime of access tokens in seconds.
    pub lifetime: u64,
    pub refreshes: usize,
    /// Seconds between polls, each once.
    pub pauses: Vec<f64>,
    pub gitlab: gitlab::Gitlab,
    pub gitea: gitea::More,
    /// Of GitHub.
    pub apps: github_app::Apps,
}

struct Device {
    user_code: String,
    scopes: BTreeSet<String>,
    said: Option<bool>,
    expired: bool,
    polled: Option<Instant>,
}

pub struct Forge {
    pub kind: Kind,
    pub url: String,
    pub server: Server,
    pub state: Arc<Mutex<State>>,
}

impl Forge {
    pub fn start(kind: Kind) -> Self {
        let state = Self::state();
        let shared = Arc::clone(&state);
        let server = Server::reading(move |head, body| answers(kind, &shared, head, body));
        Forge {
            kind,
            url: server.url.clone(),
            server,
            state,
        }
    }

    /// github.com and api.github.com in one, for a proxy to lead to.
    pub fn github_com(certificate: &Certificate) -> Self {
        let state = Self::state();
        let shared = Arc::clone(&state);
        let server = Server::reading_tls(certificate, move |head, body| {
            answers(Kind::Github, &shared, head, body)
        });
        Forge {
            kind: Kind::Github,
            url: "https://github.com".into(),
            server,
            state,
        }
    }

    fn state() -> Arc<Mutex<State>> {
        Arc::new(Mutex::new(State {
            lifetime: 7200,
            ..State::default()
        }))
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().expect("no panic in the server"))
    }

    /// What the person says to the newest device code.
    pub fn person_says(&self, user_code: &str, yes: bool) {
        self.with(|state| {
            let mut devices = state.devices.values_mut();
            let device = devices.find(|device| device.user_code == user_code);
            device.expect("a code that was given out").said = Some(yes);
        });
    }

    pub fn expire_codes(&self) {
        self.with(|state| {
            state
                .devices
                .values_mut()
                .for_each(|device| device.expired = true)
        });
    }

    /// What the person's browser does at an authorization address: where it is sent.
    pub fn person_opens(&self, address: &str) -> String {
        let path = address.strip_prefix(&self.url).expect("of this server");
        let reply: Reply = request(self.server.address(), "GET", path, &[], "");
        assert_eq!(reply.status, 302, "{}", reply.body);
        let mut lines = reply.raw_head.lines();
        let line = lines.find_map(|line| line.strip_prefix("Location: "));
        line.expect("a redirect").to_owned()
    }

    /// A token that the person created on the page.
    pub fn person_creates(&self, scopes: &[&str]) -> String {
        let prefix = match self.kind {
            Kind::Github => "ghp_",
            Kind::Gitlab => "glpat-",
            Kind::Gitea | Kind::Forgejo => "",
        };
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        self.with(|state| state.issue(prefix, Sort::Personal, scopes, 0, "by hand"))
    }

    /// The tokens that still work.
    pub fn alive(&self) -> Vec<Token> {
        let living = |state: &mut State| {
            let tokens = state.tokens.values().filter(|token| token.alive);
            tokens.cloned().collect()
        };
        self.with(living)
    }
}

impl State {
    fn issue(
        &mut self,
        prefix: &str,
        sort: Sort,
        scopes: BTreeSet<String>,
        family: u64,
        name: &str,
    ) -> String {
        self.next += 1;
        let digest = Sha256::digest(format!("{prefix}{}{:p}", self.next, self));
        let secret = format!("{prefix}{}", &hex::encode(digest)[..40]);
        let token = Token {
            sort,
            scopes,
            name: name.into(),
            id: self.next,
            family,
            alive: true,
        };
        self.tokens.insert(secret.clone(), token);
        secret
    }

    /// An access token and a refresh token.
    fn pair(&mut self, kind: Kind, scopes: &BTreeSet<String>, family: Option<u64>) -> Value {
        let family = family.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        let [access, refresh] = match kind {
            Kind::Github => ["ghu_", "ghr_"],
            _ => ["", ""],
        };
        let access = self.issue(access, Sort::Access, scopes.clone(), family, "");
        let refresh = self.issue(refresh, Sort::Refresh, scopes.clone(), family, "");
        let scope = scopes.iter().cloned().collect::<Vec<_>>();
        let mut pair = json!({
            "access_token": access, "token_type": "bearer", "expires_in": self.lifetime,
            "refresh_token": refresh,
        });
        match kind {
            Kind::Github => {
                pair["scope"] = scope.join(",").into();
                pair["refresh_token_expires_in"] = 15_811_200.into();
            }
            Kind::Gitlab => pair["created_at"] = 1_607_635_748.into(),
            Kind::Gitea | Kind::Forgejo => {}
        }
        pair
    }

    fn living(&self, secret: &str) -> Option<&Token> {
        let token = self.tokens.get(secret)?;
        (token.alive && token.sort != Sort::Refresh).then_some(token)
    }
}

fn reply(status: u16, body: Value) -> Option<String> {
    with_header(status, "Content-Type: application/json", &body.to_string())
}

fn form(body: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim()))
}

/// The username and password of Basic.
fn basic(head: &str) -> Option<(String, String)> {
    let value = header(head, "authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

fn bearer(head: &str) -> Option<&str> {
    let value = header(head, "authorization")?;
    value
        .strip_prefix("Bearer ")
        .or(value.strip_prefix("token "))
}

fn answers(kind: Kind, state: &Mutex<State>, head: &str, body: &str) -> Option<String> {
    let first = head.lines().next().unwrap_or_default();
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut state = state.lock().expect("no panic");
    if path.ends_with("/info/refs") {
        return git(kind, &state, path, head);
    }
    match kind {
        Kind::Github => github(&mut state, method, path, head, body),
        Kind::Gitlab => gitlab(&mut state, method, path, query, head, body),
        Kind::Gitea | Kind::Forgejo => gitea(kind, &mut state, method, path, query, head, body),
    }
}

/// An empty repository for whoever has a token that may read it.
fn git(kind: Kind, state: &State, path: &str, head: &str) -> Option<String> {
    let realm = match kind {
        Kind::Github => "GitHub",
        Kind::Gitlab => "GitLab",
        Kind::Gitea => "Gitea",
        Kind::Forgejo => "Forgejo",
    };
    let takes_bearer = matches!(kind, Kind::Gitea | Kind::Forgejo);
    let by_basic = basic(head).and_then(|(name, password)| {
        let token = state.living(&password)?;
        // With another name GitLab looks for a user's password.
        let is_named = kind != Kind::Gitlab || token.sort == Sort::Personal || name == "oauth2";
        is_named.then_some(token)
    });
    let by_bearer = bearer(head)
        .filter(|_| takes_bearer)
        .and_then(|token| state.living(token));
    let reads = |token: &&Token| {
        let any = match kind {
            Kind::Github => &["repo"][..],
            Kind::Gitlab => &["read_repository", "write_repository", "api"],
            Kind::Gitea | Kind::Forgejo => &["read:repository", "write:repository", "all"],
        };
        any.iter().any(|&scope| token.scopes.contains(scope))
    };
    let by_app = match kind {
        Kind::Github => state.apps.git(path, head),
        _ => None,
    };
    if !by_app.unwrap_or_else(|| by_basic.or(by_bearer).filter(reads).is_some()) {
        let challenge = format!("WWW-Authenticate: Basic realm=\"{realm}\"");
        return with_header(401, &challenge, "");
    }
    let line = format!(
        "{} capabilities^{{}}\0agent=stand-in object-format=sha1\n",
        "0".repeat(40)
    );
    let advertised = format!(
        "001e# service=git-upload-pack\n0000{:04x}{line}0000",
        line.len() + 4
    );
    let kind = "Content-Type: application/x-git-upload-pack-advertisement";
    with_header(200, kind, &advertised)
}

/// The device's poll, after RFC 8628 section 3.5. `status` is that of errors.
fn poll(
    kind: Kind,
    state: &mut State,
    form: &BTreeMap<String, String>,
    status: u16,
) -> Option<String> {
    let error = |error: &str| {
        reply(
            status,
            json!({ "error": error, "error_description": "said" }),
        )
    };
    let slow = std::mem::take(&mut state.slow_down);
    let Some(device) = form
        .get("device_code")
        .and_then(|code| state.devices.get_mut(code))
    else {
        return error(match kind {
            Kind::Github => "incorrect_device_code",
            _ => "invalid_grant",
        });
    };
    if let Some(before) = device.polled.replace(Instant::now()) {
        state.pauses.push(before.elapsed().as_secs_f64());
    }
    if slow {
        let mut told = json!({ "error": "slow_down", "error_description": "too fast" });
        if kind == Kind::Github {
            told["interval"] = 7.into();
        }
        return reply(status, told);
    }
    if device.expired {
        return error(match kind {
            Kind::Github => "token_expired",
            _ => "expired_token",
        });
    }
    let scopes = match device.said {
        None => return error("authorization_pending"),
        Some(false) => return error("access_denied"),
        Some(true) => device.scopes.clone(),
    };
    state
        .devices
        .retain(|code, _| Some(code) != form.get("device_code"));
    let pair = state.pair(kind, &scopes, None);
    reply(200, pair)
}

fn begin(
    kind: Kind,
    state: &mut State,
    form: &BTreeMap<String, String>,
    host: &str,
    page: &str,
) -> Option<String> {
    state.next += 1;
    let (code, user_code) = (
        format!("device-{}", state.next),
        format!("WDJB-{:04}", state.next),
    );
    let words = form.get("scope").cloned().unwrap_or_default();
    let known = |scope: &&str| kind != Kind::Github || **scope != *"offline_access";
    let device = Device {
        user_code: user_code.clone(),
        scopes: words.split(' ').filter(known).map(str::to_owned).collect(),
        said: None,
        expired: false,
        polled: None,
    };
    state.devices.insert(code.clone(), device);
    // The stand-in for github.com speaks TLS.
    let scheme = if host.starts_with("127.") {
        "http"
    } else {
        "https"
    };
    reply(
        200,
        json!({
            "device_code": code, "user_code": user_code, "expires_in": 300, "interval": 1,
            "verification_uri": format!("{scheme}://{host}{page}"),
        }),
    )
}

/// What a refresh token is given for, with the old pair dead where the host does that.
fn refreshed(
    kind: Kind,
    state: &mut State,
    form: &BTreeMap<String, String>,
    error: Value,
    status: u16,
) -> Option<String> {
    let secret = form.get("refresh_token").cloned().unwrap_or_default();
    let found = state
        .tokens
        .get(&secret)
        .filter(|token| token.sort == Sort::Refresh);
    let Some(found) = found.filter(|token| token.alive).cloned() else {
        return reply(status, error);
    };
    state.refreshes += 1;
    if kind != Kind::Gitea {
        let family = |token: &&mut Token| token.family == found.family;
        state
            .tokens
            .values_mut()
            .filter(family)
            .for_each(|token| token.alive = false);
    }
    let pair = state.pair(kind, &found.scopes, Some(found.family));
    reply(200, pair)
}

/// The page that asks the person, who says yes: where the browser is sent.
fn authorize(state: &mut State, query: &str, clients: &[&str]) -> Option<String> {
    let query = form(query);
    let text = |name: &str| query.get(name).cloned().unwrap_or_default();
    let redirect = text("redirect_uri");
    let is_loopback = redirect.starts_with("http://127.0.0.1:") && redirect.ends_with('/');
    let is_asked_well = clients.contains(&text("client_id").as_str())
        && is_loopback
        && text("response_type") == "code"
        && text("code_challenge_method") == "S256"
        && text("code_challenge").len() == 43;
    if !is_asked_well {
        return reply(400, json!({ "error": "invalid_request" }));
    }
    state.next += 1;
    let code = format!("code-{}", state.next);
    let scopes = text("scope").split(' ').map(str::to_owned).collect();
    state.codes.insert(
        code.clone(),
        (text("code_challenge"), redirect.clone(), scopes),
    );
    let sent = format!("Location: {redirect}?code={code}&state={}", text("state"));
    with_header(302, &sent, "")
}

/// A code's tokens, where the verifier is the challenge's.
fn exchanged(kind: Kind, state: &mut State, form: &BTreeMap<String, String>) -> Option<String> {
    let code = form.get("code").and_then(|code| state.codes.remove(code));
    let verifier = form.get("code_verifier").cloned().unwrap_or_default();
    let proved = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    match code {
        Some((challenge, redirect, scopes))
            if challenge == proved && form.get("redirect_uri") == Some(&redirect) =>
        {
            let pair = state.pair(kind, &scopes, None);
            reply(200, pair)
        }
        _ => reply(
            400,
            json!({ "error": "invalid_grant", "error_description": "said" }),
        ),
    }
}
