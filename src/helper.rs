//! Being a git credential helper: what each operation does, given a store.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Write};

use crate::config::Paths;
use crate::credential::{AuthData, Credential, Credentials, Description, Site, use_http_path};
use crate::expiry::UnixTime;
use crate::secret::Secret;
use crate::sign_in::{self, SignIn, Upkeep};
use crate::store::{self, Store, StoreError};
use crate::trace::{self, Outcome};

pub mod asking;
pub mod refresh;
pub mod renewal;
pub mod state;
pub mod wire;

/// Operation that git asks of a helper (git-credential(1), gitcredentials(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Answer with a credential.
    Get,
    /// Keep one that was accepted.
    Store,
    /// Forget those that were refused.
    Erase,
    /// Say what the helper understands beyond the oldest form of the protocol (git 2.46).
    Capability,
}

impl Operation {
    /// `None` for a word of a future git, which is to be ignored (gitcredentials(7)).
    pub fn parse(word: &OsStr) -> Option<Self> {
        match word.to_str()? {
            "get" => Some(Operation::Get),
            "store" => Some(Operation::Store),
            "erase" => Some(Operation::Erase),
            "capability" => Some(Operation::Capability),
            _ => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Get => "get",
            Operation::Store => "store",
            Operation::Erase => "erase",
            Operation::Capability => "capability",
        })
    }
}

/// A token from `WIT_TOKEN`, bound to the one site of `WIT_URL`.
#[derive(Debug)]
pub struct EnvironmentToken {
    site: Site,
    token: Secret,
}

impl EnvironmentToken {
    /// `None` where there is no token, or where `url` has no origin that one may be sent to: https,
    /// or http on loopback.
    pub fn new(url: &str, token: Secret) -> Option<Self> {
        let site = Site::of_url(url)?;
        let is_safe = site.protocol() == "https" || site.is_http_on_loopback();
        (is_safe && !token.is_empty()).then_some(EnvironmentToken { site, token })
    }
}

/// Environment of the operations.
pub struct Env<'a> {
    /// By the clock of this machine.
    pub now: UnixTime,
    /// Directories of locks and of the key of `state[]`.
    pub paths: &'a Paths,
    /// Answers its site before any store does.
    pub environment_token: Option<EnvironmentToken>,
    /// Opens the store. Called only where it is really needed.
    pub open: &'a dyn Fn() -> Result<Box<dyn Store>, StoreError>,
    /// Has a token renewed that runs out soon, or says so; whether the store is worth reading again.
    pub renew: &'a dyn Fn(&Site, &Credential) -> bool,
    /// Has the person sign in, where that is wanted; whether the store is worth reading again.
    pub sign_in: &'a dyn Fn(&Site) -> bool,
}

/// Why an operation failed. What stdout got by then is nothing.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The request was not understood.
    #[error("{0}")]
    Wire(#[from] wire::WireError),
    /// The store did not do its part.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The answer can't be written.
    #[error("can't answer git: {0}")]
    Output(#[source] io::Error),
    /// The token of the environment is no value for git's protocol.
    #[error("WIT_TOKEN can't be given to git: it has several lines, or is too long")]
    EnvironmentToken,
}

impl HelperError {
    /// Command that fixes it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            HelperError::Store(error) => error.hint(),
            HelperError::Wire(_) | HelperError::Output(_) | HelperError::EnvironmentToken => None,
        }
    }
}

/// Carries out one operation. A miss is silence.
///
/// ```
/// use wit::config::Paths;
/// use wit::expiry::UnixTime;
/// use wit::helper::{Operation, Env, run};
/// use wit::store::StoreKind;
///
/// let dir = tempfile::tempdir()?;
/// let paths = Paths::below(dir.path());
/// let env = Env {
///     now: UnixTime::now(),
///     paths: &paths,
///     environment_token: None,
///     open: &|| StoreKind::File.open(&paths),
///     renew: &|_, _| false,
///     sign_in: &|_| false,
/// };
/// let credential = b"protocol=https\nhost=git.example.org\nusername=ada\npassword=a-token\n\n";
/// run(Operation::Store, &credential[..], Vec::new(), &env)?;
///
/// let mut answer = Vec::new();
/// run(Operation::Get, &b"protocol=https\nhost=git.example.org\n\n"[..], &mut answer, &env)?;
/// assert!(String::from_utf8(answer)?.contains("password=a-token\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run(
    operation: Operation,
    input: impl Read,
    mut output: impl Write,
    env: &Env,
) -> Result<(), HelperError> {
    if operation == Operation::Capability {
        return output
            .write_all(b"version 0\ncapability authtype\ncapability state\n")
            .map_err(HelperError::Output);
    }
    let request = wire::read(input)?;
    // Without a site nothing is answered and, above all, nothing is erased (CVE-2020-11008).
    let Some(site) = request.site() else {
        return Ok(());
    };
    let step = trace::begin();
    let done = match operation {
        Operation::Get => get(&site, &request, env)
            .and_then(|answer| answer.write(&mut output).map_err(HelperError::Output)),
        Operation::Store => keep(&site, &request, env),
        Operation::Erase => erase(&site, &request, env),
        Operation::Capability => Ok(()),
    };
    step.end(format_args!("{operation} {site}: {}", Outcome(&done)));
    done
}

fn get(site: &Site, request: &Description, env: &Env) -> Result<wire::Answer, HelperError> {
    let mut answer = wire::Answer::default();
    if let Some(environment) = env.environment_token.as_ref().filter(|e| e.site == *site) {
        trace::note(format_args!("{site} is answered with WIT_TOKEN"));
        // The platform takes any username that is the owner's, or `token`; GitHub documents one of its
        // own for tokens of installations.
        let is_installations = environment.token.expose().starts_with(b"ghs_");
        let usual: &[u8] = match is_installations {
            true => b"x-access-token",
            false => b"token",
        };
        let username = request.username.as_deref().unwrap_or(usual);
        answer.line("username", username);
        answer.line("password", environment.token.expose());
        if answer.is_refused() {
            return Err(HelperError::EnvironmentToken);
        }
        return Ok(answer);
    }
    let store = (env.open)()?;
    let mut credentials = usable(store.as_ref(), site)?;
    let is_due = |entry: &Credential| {
        entry.needs_refresh(env.now)
            || renewal::may_be_due(entry, env.now)
            || renewal::runs_out(entry, env.now)
    };
    if let Some(entry) = credentials.find(request, env.now)
        && is_due(entry)
        && (env.renew)(site, entry)
        && let Ok(renewed) = usable(store.as_ref(), site)
    {
        credentials = renewed;
    }
    // What answers in a sign-in's place keeps it from being refreshed in use.
    if let Some(idle) = credentials.0.iter().find(|entry| entry.lapses(env.now))
        && (env.renew)(site, idle)
        && let Ok(renewed) = usable(store.as_ref(), site)
    {
        credentials = renewed;
    }
    // An access token that could not be refreshed may have its last two minutes yet.
    let answers = |credentials: &Credentials| {
        let entry = credentials.find(request, env.now)?;
        (!entry.is_expired(env.now)).then(|| entry.clone())
    };
    let found = answers(&credentials).or_else(|| {
        let waits = credentials.find(request, env.now).is_some();
        // What only waits for its server to come back needs nobody.
        if waits || !(env.sign_in)(site) {
            return None;
        }
        credentials = usable(store.as_ref(), site).ok()?;
        answers(&credentials)
    });
    match found {
        Some(entry) => write_entry(&mut answer, site, request, &entry, env),
        None => {
            if let Some((entry, ended)) = credentials.ended_sign_in(request) {
                let SignIn {
                    server, account, ..
                } = ended;
                let words = ended.login_words();
                let login = words.join(" ");
                match entry.token.as_ref().filter(|_| entry.was_lost()) {
                    Some(token) => {
                        let name = token.name.replace(|c: char| c.is_control(), " ");
                        let lost = sign_in::lost(server, &name);
                        let next = sign_in::after_lost(server, &name);
                        trace::tell(format_args!("{lost}; {next}"));
                    }
                    None => {
                        let ended = sign_in::ended(server, account.as_deref());
                        trace::tell(format_args!("{ended}; type: wit login {login}"));
                    }
                }
            }
            let of_organization = |entry: &Credential| entry.path.is_some();
            if request.lacks_organization() && credentials.0.iter().any(of_organization) {
                trace::tell(format_args!(
                    "git does not say which organization of {site} it asks for; type: {}",
                    use_http_path(site)
                ));
            }
            trace::note(format_args!("nothing that fits is stored for {site}"));
        }
    }
    Ok(answer)
}

/// The entries that may be sent to the site.
fn usable(store: &dyn Store, site: &Site) -> Result<Credentials, StoreError> {
    let mut credentials = store::load(store, site)?.credentials;
    if !site.takes_tokens() {
        // What a person stored for plain http is that person's choice; a token of ours is not.
        credentials
            .0
            .retain(|entry| entry.token.is_none() && entry.sign_in.is_none());
    }
    Ok(credentials)
}

fn write_entry(
    answer: &mut wire::Answer,
    site: &Site,
    request: &Description,
    entry: &Credential,
    env: &Env,
) {
    if let (Some(sign_in), AuthData::Password(token)) = (&entry.sign_in, &entry.auth) {
        return write_sign_in(answer, request, entry, sign_in, token);
    }
    // Git brings it back as it was given.
    let entry = &Credential {
        expiry: entry.expiry_for_git(),
        ..entry.clone()
    };
    let state = request
        .takes_state
        .then(|| state::of(env.paths, site, entry))
        .flatten();
    if matches!(entry.auth, AuthData::Header { .. }) {
        answer.line("capability[]", b"authtype");
    }
    if state.is_some() {
        answer.line("capability[]", b"state");
    }
    if let Some(username) = &entry.username {
        answer.line("username", username);
    }
    match &entry.auth {
        AuthData::Password(password) => answer.line("password", password.expose()),
        AuthData::Header {
            authtype,
            credential,
        } => {
            answer.line("authtype", authtype);
            answer.line("credential", credential.expose());
        }
    }
    if let Some(expiry) = entry.expiry {
        answer.line("password_expiry_utc", expiry.0.0.to_string().as_bytes());
    }
    if let Some(refresh_token) = &entry.refresh_token {
        answer.line("oauth_refresh_token", refresh_token.expose());
    }
    if let Some(state) = state {
        answer.line("state[]", state.as_bytes());
    }
}

/// The token of a sign-in, in the form that its host takes. The refresh token stays here: who else
/// used it would end the sign-in.
fn write_sign_in(
    answer: &mut wire::Answer,
    request: &Description,
    entry: &Credential,
    sign_in: &SignIn,
    token: &Secret,
) {
    let wants_bearer = sign_in.bearer || request.offers_bearer && !request.offers_basic;
    if request.takes_authtype {
        answer.line("capability[]", b"authtype");
    }
    if request.takes_authtype && wants_bearer {
        answer.line("authtype", b"Bearer");
        answer.line("credential", token.expose());
    } else {
        answer.line("username", sign_in.git_username.as_bytes());
        answer.line("password", token.expose());
    }
    // A helper further on that kept it would give out what has expired.
    let is_short_lived = matches!(sign_in.upkeep, Upkeep::Refresh(_) | Upkeep::Mint(_));
    if request.takes_authtype && is_short_lived {
        answer.line("ephemeral", b"1");
    }
    if let Some(expiry) = entry.expiry {
        answer.line("password_expiry_utc", expiry.0.0.to_string().as_bytes());
    }
}

/// Returns whether the request is about the token of the environment, which is never stored or erased.
fn is_environments(site: &Site, request: &Description, env: &Env) -> bool {
    env.environment_token.as_ref().is_some_and(|environment| {
        environment.site == *site && request.password.as_ref() == Some(&environment.token)
    })
}

fn keep(site: &Site, request: &Description, env: &Env) -> Result<(), HelperError> {
    let Some(entry) = request.to_credential() else {
        return Ok(());
    };
    if is_environments(site, request, env) || state::says_unchanged(env.paths, site, request) {
        trace::note(format_args!("unchanged since it was given for {site}"));
        return Ok(());
    }
    let store = (env.open)()?;
    // Git stores after each success, mostly what it was just given: a look without the lock is
    // enough to see that. Only what an update mends by itself is no reason to stop there: a person
    // who has not unlocked the keyring is not to be asked again.
    match store::load(&*store, site).map(|mut item| item.keep(entry.clone(), env.now)) {
        Ok(false) => return Ok(()),
        Ok(true) | Err(StoreError::Item { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    store::update(&*store, env.paths, site, |item| item.keep(entry, env.now))?;
    Ok(())
}

fn erase(site: &Site, request: &Description, env: &Env) -> Result<(), HelperError> {
    if is_environments(site, request, env) {
        return Ok(());
    }
    let store = (env.open)()?;
    let mut item = store::load(&*store, site)?;
    if !item.credentials.remove(request, env.now) {
        return Ok(());
    }
    store::update(&*store, env.paths, site, |item| {
        item.credentials.remove(request, env.now)
    })?;
    Ok(())
}
