//! Selects a server and an account, and opens the session or the database by which its tokens are worked
//! on.
//!
//! ```
//! use wit::app::session::{self, SessionError};
//! use wit::config::Config;
//!
//! let mut config = Config::default();
//! assert!(matches!(session::server(&config, None), Err(SessionError::NoServer)));
//! config.servers.insert("https://wit.example.com".into(), Default::default());
//! let server = session::server(&config, None)?;
//! assert_eq!(server.to_string(), "https://wit.example.com");
//! # Ok::<(), SessionError>(())
//! ```

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::known::KnownError;
use crate::api::database::{self, Direct};
use crate::api::http::Client;
use crate::api::login;
use crate::api::server::ServerUrl;
use crate::api::{ApiError, Form, TokenApi};
use crate::config::{self, Config, Paths};
use crate::credential::{Credential, Site};
use crate::expiry::{CLOCK_MARGIN, Expiry, UnixTime};
use crate::hosts;
use crate::hosts::place::{AccessLevel, Place};
use crate::hosts::renew::{RenewError, refresh_due};
use crate::hosts::tokens::{self, Person};
use crate::item::{Item, Session};
use crate::oauth::Reach;
use crate::quote::{Suggestion, escaped};
use crate::rotation::journal;
use crate::sign_in::HostType;
use crate::store::{self, Store, StoreError};

/// Longest wait for another process's refresh, or a rotation, at the same site.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(10);

/// Server and account as far as they were named, and the ways in which the server may be reached.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The server's URL. Without it `WIT_URL`, the default or the only one that is known is meant.
    pub server: Option<String>,
    /// The account. Without it the one that signed in last is meant.
    pub account: Option<String>,
    /// True if plain http may be spoken to another machine.
    pub allow_http: bool,
    /// Certificates (PEM) that are trusted besides the system's; else those given at the login.
    pub ca_file: Option<PathBuf>,
    /// Person who is asked for a password if a host takes nothing else. Nobody by default.
    pub person: Person,
    /// Projects and groups whose tokens are meant too (GitLab).
    pub places: Vec<Place>,
    /// The role of a new token there.
    pub access_level: Option<AccessLevel>,
}

/// Why no server, account or session could be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// [`Selection::server`] is no URL of a server; with the reason.
    #[error("bad server URL: {0}")]
    BadUrl(&'static str),
    /// No server is known, and none was named.
    #[error("not logged in to any server")]
    NoServer,
    /// Several servers are known, none is the default, and none was named.
    #[error("more than one server is known: {}", escaped(&.0.join(", ")))]
    SeveralServers(Vec<String>),
    /// No session of the server is stored.
    #[error("not logged in to {server}")]
    NotLoggedIn {
        /// Base URL of the server.
        server: String,
    },
    /// No session of the account is stored.
    #[error(
        "not logged in to {server} as {}; known: {}",
        escaped(account),
        escaped(&known.join(", "))
    )]
    UnknownAccount {
        /// Base URL of the server.
        server: String,
        /// Account that was named.
        account: String,
        /// Accounts of which a session is stored.
        known: Vec<String>,
    },
    /// git is signed in there, and there is no session.
    #[error("{server} is {}, which has no such thing", host.title())]
    OtherHost {
        /// Base URL of the server.
        server: String,
        /// Type of the server.
        host: HostType,
    },
    /// The stored session has expired.
    #[error("the login to {server} has expired")]
    Expired {
        /// Base URL of the server.
        server: String,
    },
    /// The access token of a sign-in is due, and was not refreshed.
    #[error("the sign-in to {server} was not refreshed")]
    NotRefreshed {
        /// Base URL of the server.
        server: String,
        /// Why the access token was not refreshed.
        #[source]
        error: RenewError,
    },
    /// `wit login --api database` was the last login, and direct mode is not set up.
    #[error("the tokens of {server} are managed directly in its database")]
    ManagedDirectly {
        /// Base URL of the server.
        server: String,
    },
    /// It is not known that git's tokens are in the database of direct mode.
    #[error("git's tokens are not linked to {}", database::SERVER)]
    Unlinked,
    /// `WIT_USER_ID` is another account's than [`Selection::account`] names.
    #[error("WIT_USER_ID is of {}, not of {}", escaped(account), escaped(named))]
    OtherAccount {
        /// Account of `WIT_USER_ID`.
        account: String,
        /// Account that was named.
        named: String,
    },
    /// `WIT_USER_ID` is not in the database.
    #[error("the database has no account with the id in WIT_USER_ID")]
    NoSuchUser,
    /// The configuration names a form of the token API that this version does not know.
    #[error(
        "{server}: unknown form {} of the token API in the configuration",
        escaped(form)
    )]
    UnknownForm {
        /// Base URL of the server.
        server: String,
        /// The form, not escaped.
        form: String,
    },
    /// The configuration can't be read.
    #[error("can't read the configuration")]
    Config(#[source] io::Error),
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server or the database refused, or could not be reached.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl From<KnownError> for SessionError {
    fn from(error: KnownError) -> Self {
        match error {
            KnownError::Config(error) => SessionError::Config(error),
            KnownError::Store(error) => SessionError::Store(error),
        }
    }
}

/// An account whose tokens can be worked on, on a server that git knows.
pub struct SignedIn {
    /// Type of the server.
    pub host: HostType,
    /// Base URL of the server.
    pub server: ServerUrl,
    /// Site at which git uses the tokens.
    pub site: Site,
    /// Username or email of the account.
    pub account: String,
    /// The token API of the account.
    pub api: Box<dyn TokenApi>,
    /// The store with the site's item.
    pub store: Box<dyn Store>,
    /// The site's item, as it was read.
    pub item: Item,
}

/// A sign-in that has not run out, with the client to use it by.
pub struct Login {
    /// Client of the session's server.
    pub client: Rc<Client>,
    /// The session.
    pub session: Session,
    site: Site,
    store: Box<dyn Store>,
    item: Item,
}

/// An account whose tokens can be worked on: signed in to a server, or in direct mode on the
/// platform's own database.
pub struct ApiSession {
    /// Site at which git uses the tokens; in direct mode it need not be known.
    pub place: Option<GitSite>,
    /// The server or the database, in words.
    pub name: String,
    /// Type of the server.
    pub host: HostType,
    /// Username or email of the account.
    pub account: String,
    /// The token API of the account.
    pub api: Box<dyn TokenApi>,
    /// The store in use.
    pub store: Box<dyn Store>,
    /// The site's item, as it was read; empty in direct mode without a site.
    pub item: Item,
    /// The configuration, as it was read.
    pub config: Config,
    /// The command that signs in again in the same way.
    pub login: Suggestion,
}

/// A server and the site that git knows it by.
#[derive(Clone)]
pub struct GitSite {
    /// Base URL of the server.
    pub server: ServerUrl,
    /// The site of its origin.
    pub site: Site,
}

impl ApiSession {
    /// The time by the server's clock, which decides what has expired.
    pub fn now(&self) -> UnixTime {
        UnixTime::now().plus(self.api.clock_skew().unwrap_or(0))
    }

    /// The same where stored tokens are replaced or revoked.
    pub fn for_git(self) -> Result<SignedIn, SessionError> {
        let GitSite { server, site } = git_site(&self)?.clone();
        Ok(SignedIn {
            host: self.host,
            server,
            site,
            account: self.account,
            api: self.api,
            store: self.store,
            item: self.item,
        })
    }

    /// Returns whether it works on the database itself.
    pub fn is_direct(&self) -> bool {
        self.api.form() == Form::Database
    }

    /// Returns whether git on this machine uses the token of that id, as this account's.
    pub fn stores(&self, id: &str) -> bool {
        let Some(place) = &self.place else {
            return false;
        };
        let server = place.server.to_string();
        self.item.credentials.0.iter().any(|entry| {
            let token = entry.token.as_ref();
            token.is_some_and(|token| {
                token.server == server && token.id == id && token.account == self.account
            })
        })
    }

    /// When this machine is to replace the token of that id, where the host gives no expiry.
    pub fn replace_by(&self, id: &str) -> Option<Expiry> {
        let server = self.place.as_ref()?.server.to_string();
        let mut held = self.item.entries().filter_map(|entry| entry.token.as_ref());
        held.find(|token| token.server == server && token.id == id)?
            .replace_by
    }

    /// A command about this account, as far as it would not mean it anyway.
    pub fn suggest(&self, words: &'static str) -> Suggestion {
        let Some(place) = &self.place else {
            return Suggestion::new(words);
        };
        let url = place.server.to_string();
        match self.is_direct() {
            false => suggest(words, &self.config, &url, &self.account),
            // The account is that of WIT_USER_ID.
            true => (options(&self.config, &url, &self.account).into_iter())
                .filter(|(name, _)| *name == "--server")
                .fold(Suggestion::new(words), |command, (name, value)| {
                    command.option(name, value)
                }),
        }
    }

    /// Returns whether stored tokens can be replaced: it is known where git meets them.
    pub fn can_rotate(&self) -> bool {
        let theirs = |place: &GitSite| !self.is_direct() || is_direct(&self.config, &place.server);
        self.place.as_ref().is_some_and(theirs)
    }

    /// Returns whether this machine keeps the token of that id.
    pub fn holds(&self, id: &str) -> bool {
        let Some(place) = &self.place else {
            return false;
        };
        let server = place.server.to_string();
        self.item.entries().any(|entry| entry.is_token(&server, id))
    }
}

/// Direct mode where `DATABASE_URL` and `WIT_USER_ID` are set, else the stored session.
pub fn open(paths: &Paths, meant: &Selection) -> Result<ApiSession, SessionError> {
    let direct = direct()?;
    let config = match super::known::config(paths) {
        // Tokens are managed in the database without it.
        Err(KnownError::Store(_)) if direct.is_some() => {
            Config::load(paths).map_err(SessionError::Config)?
        }
        config => config?,
    };
    let Some((direct, account)) = direct else {
        let server = server(&config, meant.server.as_deref())?;
        if let Some(host) = git_host(&config, &server) {
            return open_host(config, paths, meant, server, host);
        }
        let login = stored(&config, paths, meant)?;
        let server = login.client.server().clone();
        let form = form(&config, &server)?;
        let api = login::token_api(&login.client, &login.session.token, form)?;
        return Ok(ApiSession {
            login: Suggestion::new("wit login").arg(server.to_string()),
            name: server.to_string(),
            host: HostType::Wit,
            place: Some(GitSite {
                server,
                site: login.site,
            }),
            account: login.session.account,
            api,
            store: login.store,
            item: login.item,
            config,
        });
    };
    if let Some(named) = meant.account.as_ref().filter(|named| **named != account) {
        let named = named.clone();
        return Err(SessionError::OtherAccount { account, named });
    }
    let store = store::select::open(paths, None)?;
    let place = match server(&config, meant.server.as_deref()) {
        Ok(server) => Some(GitSite {
            site: site_of(&server)?,
            server,
        }),
        Err(error) if meant.server.is_some() => return Err(error),
        Err(_) => None,
    };
    let item = match &place {
        Some(place) => store::load(store.as_ref(), &place.site)?,
        None => Item::default(),
    };
    Ok(ApiSession {
        login: Suggestion::new("wit login"),
        place,
        name: database::SERVER.into(),
        host: HostType::Wit,
        account,
        api: Box::new(direct),
        store,
        item,
        config,
    })
}

/// The kind of a server that was signed in to, where it is no wit server.
pub fn git_host(config: &Config, server: &ServerUrl) -> Option<HostType> {
    let host = known(config, server)?.host_type.as_deref()?;
    HostType::parse(host).filter(|host| *host != HostType::Wit)
}

/// The git host that a command would ask, by what is known of it; `None` for a wit server, a database,
/// and where it is not clear which is meant.
pub fn git_host_meant(paths: &Paths, meant: &Selection) -> Option<(ServerUrl, HostType)> {
    if ["DATABASE_URL", "WIT_USER_ID"]
        .iter()
        .all(|name| config::line(name).is_some())
    {
        return None;
    }
    let config = super::known::config(paths).ok()?;
    let server = server(&config, meant.server.as_deref()).ok()?;
    let host = git_host(&config, &server)?;
    Some((server, host))
}

/// The stored sign-in at a git host that is meant, and its token API. An access token that is due is
/// refreshed before.
fn open_host(
    config: Config,
    paths: &Paths,
    meant: &Selection,
    server: ServerUrl,
    host: HostType,
) -> Result<ApiSession, SessionError> {
    let site = site_of(&server)?;
    let name = server.to_string();
    if server.is_plain() && !server.is_loopback() {
        return Err(ApiError::PlainHttp { server: name }.into());
    }
    let account = account(&config, &server, meant.account.as_deref());
    let store = store::select::open(paths, None)?;
    let is_meant = |entry: &&Credential| {
        entry.sign_in.as_ref().is_some_and(|sign_in| {
            let is_account = match (&sign_in.account, &meant.account) {
                // The account that signed in last says nothing of one that the host did not tell.
                (None, None) => true,
                _ => (account.as_deref()).is_none_or(|account| sign_in.is_of(account)),
            };
            sign_in.server == name && is_account
        })
    };
    let mut item = store::load(store.as_ref(), &site)?;
    let find = |item: &Item| item.credentials.0.iter().find(is_meant).cloned();
    let not_logged_in = || SessionError::NotLoggedIn {
        server: name.clone(),
    };
    let mut entry = find(&item).ok_or_else(not_logged_in)?;
    if entry.needs_refresh(UnixTime::now()) {
        let refreshed = refresh_due(store.as_ref(), paths, &site, REFRESH_TIMEOUT, || false);
        item = store::load(store.as_ref(), &site)?;
        entry = find(&item).ok_or_else(not_logged_in)?;
        // Another sign-in at the site may be the one that failed.
        if entry.needs_refresh(UnixTime::now())
            && let Err(error) = refreshed
        {
            return Err(match error {
                RenewError::Ended { .. } => SessionError::Expired { server: name },
                error => SessionError::NotRefreshed {
                    server: name,
                    error,
                },
            });
        }
    }
    if entry.sign_in.as_ref().is_some_and(|sign_in| sign_in.ended)
        || entry.is_expired(UnixTime::now())
    {
        return Err(SessionError::Expired { server: name });
    }
    let reach = Reach::to(&config, &name, meant.ca_file.clone());
    let login = tokens::Login::new(&server, &entry, &reach, &meant.person);
    let mut login = login.ok_or_else(not_logged_in)?;
    login.places.clone_from(&meant.places);
    login.access_level = meant.access_level;
    login.known_places = known_places(paths, &item, &name);
    let account = (login.account.clone()).unwrap_or_else(|| login.sign_in.git_username.clone());
    Ok(ApiSession {
        login: Suggestion::new("wit login").args(login.sign_in.login_words()),
        place: Some(GitSite { server, site }),
        name,
        host,
        account,
        api: tokens::open(login)?,
        store,
        item,
        config,
    })
}

/// The places of the tokens that are stored, or that a rotation is about.
fn known_places(paths: &Paths, item: &Item, server: &str) -> Vec<Place> {
    let stored = item.entries().filter_map(|entry| entry.token.as_ref());
    let stored = stored.filter(|token| token.server == server);
    let journals = journal::all(paths).unwrap_or_default();
    let rotated = journals.iter().filter(|journal| journal.server == server);
    let names = stored
        .flat_map(|token| &token.repositories)
        .chain(rotated.flat_map(|journal| &journal.repositories));
    let mut places: Vec<Place> = Vec::new();
    for place in names.filter_map(|name| Place::parse(name)) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// Site at which git uses the tokens that are worked on: in direct mode it must be known that they are in
/// that database, and not in another.
pub fn git_site(session: &ApiSession) -> Result<&GitSite, SessionError> {
    let place = session.place.as_ref().filter(|_| session.can_rotate());
    place.ok_or(SessionError::Unlinked)
}

/// The form of a server's token API that was remembered; `None` where it is to be asked.
pub fn form(config: &Config, server: &ServerUrl) -> Result<Option<Form>, SessionError> {
    let known = known(config, server).and_then(|known| known.api.as_deref());
    let Some(text) = known else {
        return Ok(None);
    };
    match Form::parse(text) {
        // What was remembered of direct mode says nothing of the server's own API.
        Some(Form::Database) => Ok(None),
        Some(form) => Ok(Some(form)),
        None => Err(SessionError::UnknownForm {
            server: server.to_string(),
            form: text.to_owned(),
        }),
    }
}

/// Warning where only one of the two variables of direct mode is set.
pub fn half_direct() -> Option<&'static str> {
    let is_set = |name| config::variable(name).is_some();
    match (is_set("DATABASE_URL"), is_set("WIT_USER_ID")) {
        (true, false) => Some("DATABASE_URL is ignored, because WIT_USER_ID is not set"),
        (false, true) => Some("WIT_USER_ID is ignored, because DATABASE_URL is not set"),
        _ => None,
    }
}

/// The database of `DATABASE_URL` and the name of the account of `WIT_USER_ID`; `None` where the
/// two variables are not both set.
pub fn direct() -> Result<Option<(Direct, String)>, SessionError> {
    let set = config::line("DATABASE_URL").zip(config::line("WIT_USER_ID"));
    let Some((url, user_id)) = set else {
        return Ok(None);
    };
    let direct = Direct::open(&url, &user_id)?;
    let account = direct.account().map_err(|error| match error {
        ApiError::Unauthorized => SessionError::NoSuchUser,
        other => other.into(),
    })?;
    Ok(Some((direct, account.username.unwrap_or(account.email))))
}

/// The URL that was typed.
pub fn parse_url(text: &str) -> Result<ServerUrl, SessionError> {
    ServerUrl::parse(text).map_err(SessionError::BadUrl)
}

/// The site of a server, which every http URL has.
pub fn site_of(server: &ServerUrl) -> Result<Site, SessionError> {
    let site = server.site();
    site.ok_or(SessionError::BadUrl("git has no site for it"))
}

/// The server that is meant: the one named, `WIT_URL`, the config's default, the only one. Those that
/// nobody has logged in to count where there is no login at all.
pub fn server(config: &Config, named: Option<&str>) -> Result<ServerUrl, SessionError> {
    let environment = config::variable("WIT_URL");
    let mut meant: Vec<&String> = config.logins().collect();
    if meant.is_empty() {
        meant = config.servers.keys().collect();
    }
    // One that is not known was configured by hand.
    let default = (config.default_server.as_ref())
        .filter(|url| meant.contains(url) || !config.servers.contains_key(*url));
    let only = || match meant.as_slice() {
        [url] => Some(url.as_str()),
        _ => None,
    };
    let chosen = named
        .or(environment.as_deref())
        .or(default.map(String::as_str))
        .or_else(only);
    match chosen {
        Some(text) => parse_url(text),
        None if config.servers.is_empty() => Err(SessionError::NoServer),
        None => Err(SessionError::SeveralServers(
            meant.into_iter().cloned().collect(),
        )),
    }
}

/// The account that a command means: the one named, or the one that signed in last.
pub fn account(config: &Config, server: &ServerUrl, named: Option<&str>) -> Option<String> {
    let remembered = || config.servers.get(&server.to_string())?.account.clone();
    named.map(str::to_owned).or_else(remembered)
}

/// The options that name an account on a server, as far as a command would not mean them anyway.
fn options(config: &Config, url: &str, named: &str) -> Vec<(&'static str, String)> {
    let mut options = Vec::new();
    if !server(config, None).is_ok_and(|meant| meant.to_string() == url) {
        options.push(("--server", url.to_owned()));
    }
    let remembered = config
        .servers
        .get(url)
        .and_then(|known| known.account.as_deref());
    if remembered != Some(named) {
        options.push(("--account", named.to_owned()));
    }
    options
}

/// A command about an account on a server, named as far as it would not mean them anyway.
pub fn suggest(words: &'static str, config: &Config, url: &str, account: &str) -> Suggestion {
    let command = Suggestion::new(words);
    (options(config, url, account).into_iter()).fold(command, |command, (name, value)| {
        command.option(name, value)
    })
}

/// The command that stores a token of a server: one that is created there, after a login where there
/// is no session for it, or one that is pasted.
pub fn suggest_create(
    config: &Config,
    item: &Item,
    url: &str,
    account: Option<&str>,
) -> Suggestion {
    let mut sessions = item.sessions.iter();
    let is_theirs = |held: &Session| {
        held.server == url && account.is_none_or(|account| account == held.account)
    };
    let is_signed_in = is_direct_url(config, url)
        || sessions.any(is_theirs)
        || item.sign_in(url, account).is_some();
    let host = config.servers.get(url);
    let host = host.and_then(|known| HostType::parse(known.host_type.as_deref()?));
    let host = host.or_else(|| hosts::known(&ServerUrl::parse(url).ok()?));
    if host.is_some_and(|host| !hosts::creates_tokens(host)) {
        let login = Suggestion::new("wit login").arg(url);
        return match is_signed_in {
            true => login,
            false => login.arg("--paste-token"),
        };
    }
    let create = match account {
        Some(account) => suggest("wit token create", config, url, account),
        None => Suggestion::new("wit token create").option("--server", url),
    };
    match is_signed_in {
        true => create,
        false => Suggestion::new("wit login").arg(url).and(create),
    }
}

/// The same options as text.
pub fn naming(config: &Config, url: &str, named: &str) -> String {
    let options = suggest("", config, url, named).to_string();
    match options.is_empty() {
        true => options,
        false => format!(" {options}"),
    }
}

/// Configuration that `wit login` kept of a server.
pub fn known<'a>(config: &'a Config, server: &ServerUrl) -> Option<&'a config::Server> {
    config.servers.get(&server.to_string())
}

/// A client of a server: with the certificates of `--ca-file`, or of its login.
pub fn client(config: &Config, server: &ServerUrl, meant: &Selection) -> Result<Client, ApiError> {
    let remembered = || known(config, server)?.ca_file.as_deref();
    let ca_file = meant.ca_file.as_deref().or_else(remembered);
    Client::trusting(server, meant.allow_http, ca_file)
}

/// The stored session of the server and account that are meant, if it has not expired.
pub fn stored(config: &Config, paths: &Paths, meant: &Selection) -> Result<Login, SessionError> {
    let server = server(config, meant.server.as_deref())?;
    if let Some(host) = git_host(config, &server) {
        let server = server.to_string();
        return Err(SessionError::OtherHost { server, host });
    }
    let site = site_of(&server)?;
    let account = account(config, &server, meant.account.as_deref());
    let store = store::select::open(paths, None)?;
    let item = store::load(store.as_ref(), &site)?;
    let name = server.to_string();
    let held = item.sessions.iter().find(|session| {
        session.server == name && account.as_ref().is_none_or(|a| *a == session.account)
    });
    let is_over = |session: &Session| {
        let soon = UnixTime::now().plus(CLOCK_MARGIN);
        session.expiry.is_some_and(|expiry| expiry.is_expired(soon))
    };
    let session = match held {
        None if is_direct(config, &server) => {
            return Err(SessionError::ManagedDirectly { server: name });
        }
        None => return Err(not_logged_in(name, &item, meant.account.as_ref())),
        Some(held) if is_over(held) => return Err(SessionError::Expired { server: name }),
        Some(held) => held.clone(),
    };
    Ok(Login {
        client: Rc::new(client(config, &server, meant)?),
        session,
        site,
        store,
        item,
    })
}

/// Names the accounts that are logged in where another was asked for.
pub fn not_logged_in(server: String, item: &Item, named: Option<&String>) -> SessionError {
    let known = item.sessions.iter().filter(|held| held.server == server);
    let known: Vec<String> = known.map(|held| held.account.clone()).collect();
    match named {
        Some(account) if !known.is_empty() => SessionError::UnknownAccount {
            server,
            account: account.clone(),
            known,
        },
        _ => SessionError::NotLoggedIn { server },
    }
}

/// Returns whether `wit login --api database` was the last login to a server.
pub fn is_direct(config: &Config, server: &ServerUrl) -> bool {
    is_direct_url(config, &server.to_string())
}

fn is_direct_url(config: &Config, url: &str) -> bool {
    let known = config.servers.get(url);
    known.is_some_and(|known| known.api.as_deref() == Some(Form::Database.name()))
}

/// Ends a session at its server; why it may still work there.
pub fn end(config: &Config, meant: &Selection, session: &Session) -> Result<(), ApiError> {
    let server = ServerUrl::parse(&session.server).map_err(|why| ApiError::Unreachable {
        server: session.server.clone(),
        reason: why.into(),
    })?;
    let client = Rc::new(client(config, &server, meant)?);
    login::sign_out(&client, &session.token, session.cookie.as_ref())
}
