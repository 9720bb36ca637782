//! A server: whether it is there, speaks the known form, and takes what this machine keeps for it.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::machine::PROXIES;
use super::{Finding, Naming, quoted};
use crate::api::http::Client;
use crate::api::server::ServerUrl;
use crate::api::{ApiError, ReasonKind, login, self_token};
use crate::app::git_trust::Untrusted;
use crate::config::{self, Config};
use crate::credential::{AuthData, Credential};
use crate::expiry::{self, DAY, Expiry, OVERDUE, UnixTime};
use crate::helper::renewal;
use crate::secret::Secret;
use crate::store::{self, Store};

/// The difference of two clocks from which it matters, in seconds.
const SKEW: i64 = 60;

/// A server, and what is stored for it.
#[derive(Debug)]
pub struct Facts {
    url: String,
    /// The host and port, where it is this machine.
    loopback_port: Option<u16>,
    /// The commands that stop and start it, where it is this machine's.
    own: OwnServer,
    /// The form of its token API that was remembered, and the one it answered in.
    form: Option<String>,
    answered: Result<Option<&'static str>, ApiError>,
    skew: Option<i64>,
    session: Session,
    /// The options that name the account that commands about it mean.
    naming: String,
    /// True if `WIT_TOKEN` is for it.
    by_environment: bool,
    tokens: Vec<Held>,
    /// The commands that revoke the tokens that git is never given, by the token: those of a server
    /// that is reached by plain http on another machine.
    never_given: Vec<(String, String)>,
    /// True for such a server.
    is_open: bool,
    proxied: bool,
    /// `SSL_CERT_FILE` is set, so that other certificates are trusted than the system's.
    own_certificates: bool,
    /// The file of certificates that the login was given, where it can't be read any more.
    lost_certificates: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
enum Session {
    /// The store could not be read: what is wrong with it is told there.
    Unknown,
    None,
    Ended,
    Refused,
    Good(Option<Expiry>),
}

/// A server of `wit up` on this machine, by the commands about it.
#[derive(Clone, Debug)]
pub struct OwnServer {
    /// Stops it.
    pub down: String,
    /// Starts it, without its port.
    pub up: String,
}

impl Default for OwnServer {
    /// One of which no data directory is known.
    fn default() -> Self {
        OwnServer {
            down: "wit down".to_owned(),
            up: "wit up".to_owned(),
        }
    }
}

/// A token that git is given.
#[derive(Debug)]
struct Held {
    name: String,
    /// The first characters of its id, which commands take.
    id: String,
    expiry: Option<Expiry>,
    /// The options that name its account.
    naming: String,
    /// True if it runs out although it should have been renewed.
    runs_out: bool,
    taken: Result<(), ApiError>,
    /// Its end by the server, where that is sooner than this machine knew: it was replaced or
    /// shortened elsewhere.
    sooner: Option<Expiry>,
}

/// A client of a server, with the certificates that it is trusted by.
pub type ClientOf<'a> = dyn Fn(&ServerUrl) -> Result<Client, ApiError> + 'a;

/// Tools with which a server is asked.
pub struct Means<'a> {
    /// The account that is meant; `None` where there is none.
    pub account: Option<String>,
    /// Makes the client.
    pub client: &'a ClientOf<'a>,
    /// Names an account in a command.
    pub naming: &'a Naming<'a>,
    /// Names a server of this machine by its data directory in commands.
    pub own: &'a dyn Fn(&Path) -> OwnServer,
    /// Configuration, with the servers.
    pub config: &'a Config,
    /// `None` where it can't be had.
    pub store: Option<&'a dyn Store>,
}

impl Facts {
    /// Asks the server: first whether it is there, then with each secret that is meant for it.
    pub fn gather(server: &ServerUrl, means: &Means<'_>, now: UnixTime) -> Self {
        let Means { config, store, .. } = means;
        let account = &means.account;
        let url = server.to_string();
        let known = config.servers.get(&url);
        let mut facts = Facts {
            loopback_port: server.is_loopback().then(|| server.port()),
            own: known
                .and_then(|known| known.data_dir.as_deref())
                .map(means.own)
                .unwrap_or_default(),
            form: known.and_then(|known| known.api.clone()),
            answered: Ok(None),
            skew: None,
            session: Session::Unknown,
            naming: String::new(),
            by_environment: is_of_environment(server),
            tokens: Vec::new(),
            never_given: Vec::new(),
            is_open: server.site().is_some_and(|site| !site.takes_tokens()),
            proxied: !server.is_loopback() && is_proxied(),
            own_certificates: config::variable("SSL_CERT_FILE").is_some(),
            lost_certificates: known
                .and_then(|known| known.ca_file.clone())
                .filter(|file| std::fs::File::open(file).is_err()),
            url,
        };
        let item = server
            .site()
            .and_then(|site| store::load((*store)?, &site).ok());
        facts.naming = match &account {
            Some(account) => (means.naming)(&facts.url, account),
            None => format!(" --server {}", quoted(&facts.url)),
        };
        let held = item.as_ref().map(|item| {
            let ours = |held: &&crate::item::Session| {
                held.server == facts.url && account.as_ref().is_none_or(|a| *a == held.account)
            };
            item.sessions.iter().find(ours)
        });
        facts.session = match held {
            None => Session::Unknown,
            Some(None) => Session::None,
            Some(Some(held)) if held.expiry.is_some_and(|e| e.is_expired(now)) => Session::Ended,
            Some(Some(held)) => Session::Good(held.expiry),
        };
        for entry in item.iter().flat_map(|item| &item.credentials.0) {
            if let Some(token) = entry.token.as_ref().filter(|_| facts.is_open)
                && token.server == facts.url
            {
                let id = token.id.get(..8).unwrap_or(&token.id);
                let naming = (means.naming)(&facts.url, &token.account);
                facts.never_given.push((
                    format!("{} ({id})", token.name),
                    format!("wit token revoke{naming} --allow-http {}", quoted(id)),
                ));
            }
        }
        let client = match (means.client)(server) {
            Ok(client) => Rc::new(client),
            Err(error) => {
                facts.answered = Err(error);
                return facts;
            }
        };
        // Anybody may ask this, and is told to sign in.
        let there = client
            .get("/api/v1/user", None)
            .and_then(|answer| answer.done());
        facts.skew = client.clock_skew();
        match there {
            Ok(()) | Err(ApiError::Unauthorized | ApiError::Forbidden { .. }) => {}
            Err(error) => {
                facts.answered = Err(error);
                return facts;
            }
        }
        if let (Session::Good(_), Some(Some(held))) = (&facts.session, held) {
            match login::token_api(&client, &held.token, None) {
                Ok(api) => facts.answered = Ok(Some(api.form().name())),
                Err(ApiError::Unauthorized) => facts.session = Session::Refused,
                Err(error) => facts.answered = Err(error),
            }
        }
        let renewed = renewal::days(config).is_some()
            && (facts.is_direct() || matches!(facts.session, Session::Good(_)));
        let given = item.iter().filter(|_| !facts.is_open);
        for entry in given.flat_map(|item| &item.credentials.0) {
            let runs_out = match renewed {
                // However short it was meant to be.
                true => renewal::is_due(entry, OVERDUE / DAY, now),
                false => entry
                    .expiry
                    .is_some_and(|expiry| expiry.left(now) <= OVERDUE),
            };
            let naming = |account: &str| (means.naming)(&facts.url, account);
            let token = token_of(&client, entry, &facts.url, naming, runs_out);
            facts.tokens.extend(token);
        }
        facts
    }

    /// Returns whether its tokens are managed directly in its database, which takes no login.
    fn is_direct(&self) -> bool {
        self.form.as_deref() == Some("database")
    }
}

fn is_of_environment(server: &ServerUrl) -> bool {
    let url = config::variable("WIT_URL").filter(|_| config::variable("WIT_TOKEN").is_some());
    url.is_some_and(|url| ServerUrl::parse(&url).as_ref() == Ok(server))
}

/// `None` for what is no token of this server: a password is not tried.
fn token_of(
    client: &Client,
    entry: &Credential,
    url: &str,
    naming: impl Fn(&str) -> String,
    runs_out: bool,
) -> Option<Held> {
    let token = entry.token.as_ref().filter(|token| token.server == url)?;
    let AuthData::Password(secret) = &entry.auth else {
        return None;
    };
    let taken = is_taken(client, secret);
    // A server that does not speak of it says nothing new.
    let described = (taken.is_ok()).then(|| self_token::describe(client, secret).ok());
    let sooner = described.flatten().and_then(|own| own.token.expiry);
    Some(Held {
        name: token.name.clone(),
        id: token.id.get(..8).unwrap_or(&token.id).to_owned(),
        expiry: entry.expiry,
        naming: naming(&token.account),
        runs_out,
        taken,
        sooner: sooner.filter(|end| entry.is_sooner(*end)),
    })
}

/// A token without `user:read` is known, and may not read who it is of.
fn is_taken(client: &Client, token: &Secret) -> Result<(), ApiError> {
    match client.get("/api/v1/user", Some(token))?.done() {
        Err(ApiError::Forbidden { .. }) => Ok(()),
        other => other,
    }
}

fn is_proxied() -> bool {
    let mut names = PROXIES.into_iter();
    names.any(|name| config::variable(name).is_some())
}

/// The findings about a server.
pub fn check(facts: &Facts, now: UnixTime) -> Vec<Finding> {
    let url = &facts.url;
    let login = format!("wit login {url}");
    let never_given = facts.never_given.iter().map(|(token, revoke)| {
        let what = format!("the token {token} is never given to git: plain http");
        Finding::wrong("plain-http", what)
            .why(format!("anybody on the way to {url} could read it"))
            .fix(revoke)
    });
    let mut findings: Vec<Finding> = never_given.collect();
    match &facts.answered {
        Ok(_) => findings.push(Finding::ok("server", format!("{url} answers"))),
        Err(error) => {
            findings.push(check_absence(facts, error));
            return findings;
        }
    }
    if let Some(skew) = facts.skew.filter(|skew| skew.abs() >= SKEW) {
        findings.push(
            Finding::wrong("clock", expiry::clock(skew, url))
                .why("tokens are then renewed too early or too late")
                .fix("sudo timedatectl set-ntp true"),
        );
    }
    findings.push(match &facts.session {
        Session::Unknown => Finding::note(
            "session",
            format!("can't find out whether you are logged in to {url}"),
        ),
        Session::None | Session::Ended if facts.is_direct() => Finding::ok(
            "session",
            format!("the tokens of {url} are managed directly in its database"),
        ),
        Session::None if facts.by_environment => Finding::note(
            "session",
            format!("not logged in to {url}; git uses the token in WIT_TOKEN"),
        ),
        Session::None => Finding::wrong("session", format!("not logged in to {url}")).fix(&login),
        Session::Ended => {
            Finding::wrong("session", format!("the login to {url} has expired")).fix(&login)
        }
        Session::Refused => {
            Finding::wrong("session", format!("{url} no longer takes this login")).fix(&login)
        }
        Session::Good(expiry) => match expiry.map(|expiry| expiry.left(now)) {
            Some(left) if left <= OVERDUE => Finding::wrong(
                "session",
                format!("the login to {url} ends in {}", expiry::span(left)),
            )
            .fix(&login),
            _ => Finding::ok("session", format!("logged in to {url}")),
        },
    });
    if let (Some(known), Ok(Some(answered))) = (&facts.form, &facts.answered)
        && known != answered
        && !facts.is_direct()
    {
        findings.push(
            Finding::wrong(
                "api",
                format!("{url} speaks the form {answered} of the token API"),
            )
            .why(format!("{known} was remembered"))
            .fix(&login),
        );
    }
    let is_used = matches!(facts.session, Session::Good(_)) && !facts.by_environment;
    if facts.tokens.is_empty() && is_used && !facts.is_open {
        findings.push(
            Finding::wrong("token", format!("git has no token for {url}"))
                .fix(format!("wit token create{} --expires 30", facts.naming)),
        );
    }
    findings.extend(facts.tokens.iter().map(|token| check_token(token, now)));
    findings
}

fn check_absence(facts: &Facts, error: &ApiError) -> Finding {
    let OwnServer { down, up } = &facts.own;
    let url = &facts.url;
    let why = error.to_string();
    if facts.session == Session::None && !facts.by_environment && !facts.is_direct() {
        return Finding::note(
            "server",
            format!("{url} is configured but unused, and failing"),
        )
        .why(why);
    }
    let trusting = format!("wit login {url} --ca-file FILE");
    if let Some(file) = &facts.lost_certificates {
        let what = format!("{} can't be read, by which {url} is trusted", quoted(file));
        return Finding::wrong("ca", what).why(why).fix(trusting);
    }
    if let ApiError::CaFile { .. } = error {
        return Finding::wrong("ca", why).fix(trusting);
    }
    if let ApiError::Unreachable { reason, .. } | ApiError::Lost { reason, .. } = error
        && reason.kind() == ReasonKind::Certificate
    {
        return Finding::wrong("ca", format!("the certificate of {url} is not trusted"))
            .why(why)
            .fix(match facts.own_certificates {
                true => "unset SSL_CERT_FILE",
                false => &trusting,
            });
    }
    match error {
        ApiError::NotFound | ApiError::Malformed { .. } => {
            return Finding::wrong("api", format!("{url} does not speak wit's API"))
                .why(why)
                .fix(format!("wit logout --server {url}"));
        }
        ApiError::PlainHttp { .. } => {
            // Whoever logged in there has allowed it once, knowingly.
            return Finding::note("server", format!("{url} is not asked"))
                .why(why)
                .fix(format!("wit doctor --server {url} --allow-http"));
        }
        ApiError::Unreachable { .. } | ApiError::Lost { .. } => {}
        // It may be well again by itself.
        _ => {
            let finding = Finding::wrong("server", format!("{url} answers with errors"))
                .why(format!("{why}; its own log says more"));
            return match facts.loopback_port {
                Some(port) => finding.fix(format!("{down} && {up} --port {port}")),
                None => finding.fix(format!("sleep 60; wit doctor --server {url}")),
            };
        }
    }
    let finding = Finding::wrong("server", format!("{url} can't be reached")).why(why);
    match facts.loopback_port {
        Some(port) => finding.fix(format!("{up} --port {port}")),
        None if facts.proxied => {
            let host = url.trim_start_matches("https://");
            let host = host.split(['/', ':']).next().unwrap_or(host);
            finding.fix(format!("export NO_PROXY={host}"))
        }
        None => finding.fix(format!("wit logout --server {url}")),
    }
}

fn check_token(token: &Held, now: UnixTime) -> Finding {
    let name = format!("the token {} ({})", token.name, token.id);
    let create = format!("wit token create{} --expires 30", token.naming);
    let rotate = format!("wit token rotate{} {}", token.naming, quoted(&token.id));
    match &token.taken {
        Err(ApiError::Unauthorized) => {
            Finding::wrong("token", format!("{name} is not taken by the server"))
                .why(
                    match token.expiry.is_some_and(|expiry| expiry.is_expired(now)) {
                        true => "it has expired",
                        false => "it was revoked, or belongs to an account that is gone",
                    },
                )
                .fix(create)
        }
        Err(error) => {
            Finding::note("token", format!("{name} can't be tried now")).why(error.to_string())
        }
        Ok(()) if let Some(end) = token.sooner => {
            let left = expiry::span(end.left(now).max(0));
            let what = format!("{name} works, and ends in {left}");
            Finding::wrong("token", what)
                .why("it was replaced or shortened on another machine")
                .fix(create)
        }
        Ok(()) => match token.expiry {
            Some(expiry) if token.runs_out => Finding::wrong(
                "token",
                format!(
                    "{name} works, and expires in {}",
                    expiry::span(expiry.left(now).max(0))
                ),
            )
            .fix(rotate),
            Some(expiry) => Finding::ok(
                "token",
                format!("{name} works until {}", expiry::iso_date(expiry.0)),
            ),
            None => Finding::ok("token", format!("{name} works, and never expires")),
        },
    }
}

/// The finding about a server whose certificate `wit` trusts, and git does not; `None` where the file
/// of it is gone, which is told of the server.
pub fn check_trust(untrusted: &Untrusted) -> Option<Finding> {
    std::fs::File::open(&untrusted.file).ok()?;
    let Untrusted { server, .. } = untrusted;
    let what = format!("git does not trust the certificates of --ca-file for {server} yet");
    Some(Finding::wrong("git-ca", what).fix(untrusted.fix().to_string()))
}

/// Credential of `WIT_TOKEN` and `WIT_URL`.
#[derive(Debug)]
pub struct EnvironmentFacts {
    token: bool,
    url: Option<String>,
    /// True if that URL is an origin that a token may be sent to.
    usable: bool,
    taken: Option<Result<(), ApiError>>,
    /// Another server, which the token may be for.
    known: Option<String>,
}

impl EnvironmentFacts {
    /// Reads the environment, and asks the server that it names. `known` are all servers.
    pub fn gather(known: &[ServerUrl], client: &ClientOf<'_>) -> Self {
        let token = config::variable("WIT_TOKEN").map(Secret::from);
        let url = config::variable("WIT_URL");
        let server = url.as_deref().and_then(|url| ServerUrl::parse(url).ok());
        let is_usable = |server: &&ServerUrl| !server.is_plain() || server.is_loopback();
        let usable = server.as_ref().filter(is_usable);
        let taken = token
            .as_ref()
            .zip(usable)
            .map(|(token, server)| is_taken(&client(server)?, token));
        EnvironmentFacts {
            token: token.is_some(),
            url,
            usable: usable.is_some(),
            taken,
            // Not the one that it names already.
            known: (known.iter())
                .filter(is_usable)
                .find(|known| server.as_ref() != Some(known))
                .map(ServerUrl::to_string),
        }
    }
}

/// The finding about the token in the environment, where there is one.
pub fn check_environment(facts: &EnvironmentFacts) -> Option<Finding> {
    const NAME: &str = "environment-token";
    if !facts.token {
        return None;
    }
    let set = match &facts.known {
        Some(known) => format!("export WIT_URL={}", quoted(known)),
        // Which server it is for nobody can tell here.
        None => "unset WIT_TOKEN".to_owned(),
    };
    Some(match (&facts.url, &facts.taken) {
        (None, _) => Finding::wrong(NAME, "WIT_TOKEN is set, and WIT_URL is not")
            .why("the token is used for no server then")
            .fix(set),
        (Some(_), _) if !facts.usable => {
            Finding::wrong(NAME, "WIT_URL is no origin that a token is sent to")
                .why("it must be https, or http on this machine")
                .fix(set)
        }
        (Some(url), Some(Err(ApiError::Unauthorized))) => {
            Finding::wrong(NAME, format!("{url} does not take the token in WIT_TOKEN"))
                .fix("unset WIT_TOKEN")
        }
        (Some(url), Some(Ok(()))) => {
            Finding::ok(NAME, format!("{url} takes the token in WIT_TOKEN"))
        }
        (Some(url), _) => Finding::note(
            NAME,
            format!("the token in WIT_TOKEN is for {url}, and can't be tried now"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;

    fn facts(url: &str, answered: Result<Option<&'static str>, ApiError>) -> Facts {
        Facts {
            url: url.to_owned(),
            loopback_port: None,
            own: OwnServer::default(),
            form: None,
            answered,
            skew: None,
            session: Session::Unknown,
            naming: String::new(),
            by_environment: false,
            tokens: Vec::new(),
            never_given: Vec::new(),
            is_open: false,
            proxied: false,
            own_certificates: false,
            lost_certificates: None,
        }
    }

    fn unreachable(kind: ReasonKind, reason: &str) -> ApiError {
        ApiError::Unreachable {
            server: "it".to_owned(),
            reason: Reason::new(kind, reason),
        }
    }

    #[test]
    fn a_server_behind_a_proxy_that_does_not_let_through_is_asked_directly() {
        let mut facts = facts(
            "https://wit.example:8443/git",
            Err(unreachable(ReasonKind::Other, "tunnel failed")),
        );
        facts.proxied = true;
        assert_eq!(
            check(&facts, UnixTime(0))[0].fix.as_deref(),
            Some("export NO_PROXY=wit.example")
        );
    }

    #[test]
    fn a_clock_that_is_off_by_a_minute_is_wrong() {
        let mut facts = facts("https://wit.example", Ok(None));
        facts.skew = Some(-59);
        assert!(
            check(&facts, UnixTime(0))
                .iter()
                .all(|finding| finding.check != "clock")
        );
        facts.skew = Some(7_300);
        let findings = check(&facts, UnixTime(0));
        let clock = findings.iter().find(|finding| finding.check == "clock");
        assert_eq!(
            clock.map(|finding| finding.what.as_str()),
            Some("this machine's clock is 2 hours behind that of https://wit.example")
        );
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_told_from_a_server_that_is_away() {
        let facts = facts(
            "https://wit.example",
            Err(unreachable(
                ReasonKind::Certificate,
                "invalid peer certificate: UnknownIssuer",
            )),
        );
        assert_eq!(check(&facts, UnixTime(0))[0].check, "ca");
    }
}
