//! Signing in at a git host that is not a wit server: its type, the way in, and what is stored.
//!
//! Nothing is printed: [`Interaction`] asks the user and shows what has to be seen meanwhile.

mod github_app;
mod replaced;

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use url::Url;

pub use self::github_app::AppRequest;
use super::AskError;
use super::issue::DEFAULT_DAYS;
use super::session::{self, SessionError};
use crate::api::ApiError;
use crate::api::http::Auth;
use crate::api::promises;
use crate::api::server::ServerUrl;
use crate::config::{Config, Paths};
use crate::credential::{AuthData, Credential, Site, TokenInfo};
use crate::expiry::{DAY, Expiry, UnixTime};
use crate::hosts::github_app::{GIT_USERNAME, Installation};
use crate::hosts::{self, account, password, recognition};
use crate::oauth::code::{self, Code, Loopback};
use crate::oauth::configured::{Configured, Mode};
use crate::oauth::{App, Endpoints, OAuthError, Reach, Tokens, device, discovery};
use crate::quote::escaped;
use crate::secret::Secret;
use crate::sign_in::{ClientAuth, HostType, InstalledApp, SignIn, Upkeep};
use crate::store::select::Decided;
use crate::store::{self, StoreError};
use crate::{interactive, process, progress};

/// Longest wait for the browser.
const BROWSER_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Interval between two looks for a pasted address.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Most owners of installations that an error names.
const MAX_NAMES: usize = 20;

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A code that is confirmed in a browser, on any machine (RFC 8628).
    Device,
    /// A browser that comes back to this machine (RFC 6749, section 4.1, with PKCE).
    Browser,
    /// A token that was created elsewhere.
    Token,
    /// A token that the host creates for a password: Gitea and Forgejo.
    Password,
}

/// The OAuth client that this program is to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// The one that each server of the type has built in.
    BuiltIn,
    /// One that was registered there.
    Registered {
        /// `client_id` (RFC 6749, section 2.2).
        id: String,
        /// `None` for a public client.
        secret: Option<Secret>,
    },
}

/// A sign-in that is asked for.
#[derive(Debug)]
pub struct Request {
    /// The URL that was given: the server's, or one below it.
    pub server: ServerUrl,
    /// `None` for the type that is known already, or that the server answers with.
    pub host_type: Option<HostType>,
    /// `None` for the best way that the host and this machine have.
    pub way: Option<Way>,
    /// Signs in as this GitHub App, whatever `way` is.
    pub app: Option<AppRequest>,
    /// `None` for the client of git's configuration, or of the sign-in before.
    pub client: Option<Client>,
    /// The account, where it is known beforehand.
    pub username: Option<String>,
    /// `None` for the least that clones and pushes.
    pub scopes: Option<Vec<String>>,
    /// The only path that it is for, as git names it under `credential.useHttpPath`.
    pub path: Option<String>,
    /// Certificates (PEM) to trust from now on; absolute.
    pub ca_file: Option<PathBuf>,
    /// False where [`Interaction::open`] opens no browser by the user's wish.
    pub opens_browser: bool,
    /// True if git waits: nothing is asked, and no server is asked what it is.
    pub is_for_git: bool,
    /// The name of this machine in that of a new token.
    pub device_name: String,
}

/// Questions to the user, and what is shown meanwhile.
pub trait Interaction {
    /// Returns whether [`Interaction::choose`] can be answered.
    fn is_interactive(&self) -> bool;

    /// Chooses a way in where no OAuth client is known. `ways` is not empty, the best first.
    fn choose(&self, host: HostType, server: &ServerUrl, ways: &[Way]) -> Result<Way, AskError>;

    /// A token that was created elsewhere; `page` is where the host creates one.
    fn token(&self, server: &ServerUrl, page: Option<&Url>) -> Result<Secret, AskError>;

    /// The name of the account whose password is asked for next.
    fn username(&self, server: &ServerUrl) -> Result<String, AskError>;

    /// The password, and the one-time code where that is known without being asked for.
    fn password(&self, server: &ServerUrl) -> Result<(Secret, Option<Secret>), AskError>;

    /// The one-time code, once the password alone was refused; `None` where nobody can be asked.
    fn one_time_code(&self) -> Result<Option<Secret>, AskError>;

    /// Chooses an installation of a GitHub App by its place in the list; `None` where nobody can be
    /// asked.
    fn installation(&self, app: &str, all: &[Installation]) -> Result<Option<usize>, AskError>;

    /// Opens an address in a browser of this machine, where the user wants that and there is one.
    fn open(&self, address: &Url) -> bool;

    /// Shows the code of a sign-in and where it is entered.
    fn show_code(&self, pending: &device::Pending, is_open: bool);

    /// Shows the address at which the user signs in. The browser comes back to `redirect`.
    fn show_address(&self, address: &Url, redirect: &Url, is_open: bool);

    /// Addresses that the user pastes, where the browser can't come back to this machine; `None`
    /// where nobody can.
    fn pasted(&self) -> Option<Receiver<String>>;

    /// Tells what has happened, in the middle of the sign-in.
    fn tell(&self, notice: &Notice);
}

/// An event of a sign-in. Names are the host's, not escaped.
#[derive(Debug)]
pub enum Notice<'a> {
    /// The server was recognized, or is known.
    Recognized {
        /// Its base URL.
        server: &'a ServerUrl,
        /// Its type.
        host: HostType,
        /// Its version, where it was asked for it and said it.
        version: Option<&'a str>,
    },
    /// The host did not say whether it accepts the token that was given.
    Unchecked {
        /// Its base URL.
        server: &'a ServerUrl,
    },
    /// The token that was given has no scope by which git could use it.
    NotForGit,
    /// The host created a token.
    Created {
        /// The token's name.
        name: &'a str,
    },
    /// The token of an earlier sign-in, which nobody has any more, was revoked.
    ReplacedRevoked {
        /// The token's name.
        name: &'a str,
    },
    /// That token still works.
    ReplacedWorks {
        /// The token's name.
        name: &'a str,
        /// The host's error; `None` where it could not be asked.
        error: Option<&'a OAuthError>,
        /// Page on which the user revokes it.
        page: Option<&'a Url>,
    },
    /// The grant of an earlier sign-in was ended.
    GrantEnded,
    /// That grant lives on.
    GrantWorks {
        /// The host.
        host: HostType,
        /// The host's error; `None` where it has no call to end it.
        error: Option<&'a OAuthError>,
        /// Page on which the user ends it.
        page: Option<&'a Url>,
    },
    /// A token that the user had pasted is kept here no longer.
    PastedReplaced {
        /// The token's name, where the host tells it.
        name: Option<&'a str>,
        /// True if the host still accepts it; `None` where it does not say.
        works: Option<bool>,
        /// Page on which the user revokes it.
        page: Option<&'a Url>,
    },
}

/// A sign-in that was stored.
#[derive(Debug)]
pub struct LoggedIn {
    /// Base URL of the server.
    pub server: String,
    /// Type of the server.
    pub host: HostType,
    /// `None` where the host does not say it.
    pub account: Option<String>,
    /// Scopes, or an app's permissions, as the host granted them.
    pub scopes: Vec<String>,
    /// The GitHub App that signed in.
    pub app: Option<InstalledApp>,
    /// True if access is renewed without the user.
    pub renews: bool,
    /// True if the token is renewed by replacing itself.
    pub rotates_itself: bool,
    /// When the token expires, which may be renewed before that.
    pub expiry: Option<Expiry>,
    /// Name of the store.
    pub store: &'static str,
    /// The store in words: a path, or the keychain's name.
    pub location: String,
    /// True if the store was chosen now.
    pub is_first: bool,
    /// True if the site has other sign-ins too, of which git uses this one first.
    pub is_one_of_several: bool,
    /// True if it is for a path, and git does not say paths (`credential.useHttpPath`).
    pub lacks_http_path: bool,
}

/// Where a sign-in failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// Base URL of the server.
    pub server: Box<ServerUrl>,
    /// Type of the server.
    pub host: HostType,
}

/// Why nobody was signed in. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum HostLoginError {
    /// The server answered with this HTTP status when it was asked for its type.
    #[error("{0} could not be asked what it is: it answered {1}")]
    NotRecognized(Box<ServerUrl>, u16),
    /// The server answers, and fits none of the types.
    #[error("{0} is not a git server that wit recognizes")]
    Unknown(Box<ServerUrl>),
    /// The server fits none of the types, as git's configuration says too; with the `provider` there.
    #[error(
        "{server} takes a username and a password from git: its provider is {} in git's \
         configuration",
        escaped(provider)
    )]
    Generic {
        /// Its base URL.
        server: Box<ServerUrl>,
        /// `credential.provider`.
        provider: String,
    },
    /// The URL names no organization of Azure DevOps, which each have their own tokens.
    #[error("{0} is Azure DevOps, where you sign in to an organization")]
    NoOrganization(Box<ServerUrl>),
    /// A value of git's configuration can't be used.
    #[error("git's configuration")]
    GitConfig(#[source] OAuthError),
    /// No client is given, configured, or known from an earlier sign-in.
    #[error("there is no OAuth client for {}", .0.server)]
    NoClient(At),
    /// Only Gitea and Forgejo have a client built in.
    #[error("{} has no built-in client", .0.host.title())]
    NoBuiltInClient(At),
    /// GitHub has no client of that ID.
    #[error("{} does not know this client ID", .0.server)]
    UnknownClient(At),
    /// Neither the server nor git's configuration names a token endpoint.
    #[error("{0} does not describe its OAuth endpoints")]
    NoEndpoints(Box<ServerUrl>),
    /// The host or the user refused the grant, or it could not be asked for.
    #[error("{1}")]
    Grant(At, #[source] OAuthError),
    /// What was given as a token can't be one.
    #[error("that is no token: it has characters that no token has")]
    NotAToken,
    /// The host refuses the token; the page is where a new one is created.
    #[error("{0} does not accept this token")]
    TokenRefused(Box<ServerUrl>, Option<Box<Url>>),
    /// The type's API is not there, so the token could not be checked.
    #[error(
        "{} did not say whether it accepts this token, which was not stored: it has no API of {} \
         there",
        .0.server, .0.host.title()
    )]
    NoApi(At),
    /// The host said neither yes nor no.
    #[error("{0} did not say whether it accepts this token, which was not stored: {1}")]
    TokenUnchecked(Box<ServerUrl>, #[source] ApiError),
    /// The host creates no tokens for a password.
    #[error("{} takes no password for git", .0.host.title())]
    NoPassword(At),
    /// The host does not say which of them is wrong.
    #[error("wrong username, password or one-time code")]
    WrongPassword(Box<ServerUrl>),
    /// Only GitHub has apps.
    #[error("{} is {}, which has no GitHub Apps", .0.server, .0.host.title())]
    NoApps(At),
    /// [`AppRequest::id`] can't be one.
    #[error("that is not the ID or client ID of a GitHub App")]
    BadAppId,
    /// This one of [`AppRequest::permissions`] can't be one.
    #[error("{} is not a permission", escaped(.0))]
    BadPermission(String),
    /// One of [`AppRequest::repositories`] belongs to another owner.
    #[error("{} is not a repository of {}", escaped(name), escaped(owner))]
    BadRepository {
        /// The repository.
        name: String,
        /// Owner of the installation.
        owner: String,
    },
    /// The app with this ID has not signed in before, and no key was given.
    #[error("no key of the app {1} is stored")]
    NoKey(Box<ServerUrl>, String),
    /// GitHub does not know the app, or refuses its key.
    #[error("{why}")]
    AppRefused {
        /// Base URL of the server.
        server: Box<ServerUrl>,
        /// The app's ID.
        id: String,
        /// One clause.
        why: String,
    },
    /// GitHub creates no such token of the app.
    #[error("{message}")]
    AppTokenRefused {
        /// GitHub's sentence, escaped.
        message: String,
        /// Pages on which the installation is changed.
        pages: String,
    },
    /// The app is not installed where it should be.
    #[error("the app {} is not installed {place}", escaped(app))]
    NotInstalled {
        /// Base URL of the server.
        server: Box<ServerUrl>,
        /// The app's ID.
        id: String,
        /// The app's name.
        app: String,
        /// `anywhere`, `at NAME` or `as number N`, escaped.
        place: String,
        /// Page on which it is installed.
        page: String,
        /// True if the app has signed in before, so that its key is kept.
        is_key_stored: bool,
    },
    /// The installation's owner, or GitHub, has suspended it.
    #[error(
        "the installation of the app {} at {} is suspended",
        escaped(app),
        escaped(owner)
    )]
    Suspended {
        /// The app's name.
        app: String,
        /// Owner of the installation.
        owner: String,
        /// Pages on which the installation is changed.
        pages: String,
    },
    /// The app has several installations, and none was chosen.
    #[error("the app {} is installed at {}", escaped(app), names(owners))]
    SeveralInstallations {
        /// Base URL of the server.
        server: Box<ServerUrl>,
        /// The app's ID.
        id: String,
        /// The app's name.
        app: String,
        /// Owners of the installations.
        owners: Vec<String>,
        /// True if the app has signed in before, so that its key is kept.
        is_key_stored: bool,
    },
    /// The sign-in is stored, and of no use: the server takes all of them for one.
    #[error("{0} has ended the new sign-in together with the one that it replaces")]
    EndedTogether(Box<ServerUrl>),
    /// The user was not asked, or gave no usable answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The sign-in is stored, but the configuration does not name the server.
    #[error("can't write the configuration")]
    Config(#[source] io::Error),
    /// The configuration can't be read, or the URL is no site's.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host could not be asked, or gave no valid answer.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// Plain http would leave this machine.
    #[error(transparent)]
    Api(#[from] ApiError),
}

fn names(owners: &[String]) -> String {
    let shown: Vec<String> = (owners.iter().take(MAX_NAMES))
        .map(|owner| escaped(owner))
        .collect();
    let shown = shown.join(", ");
    match owners.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Facts about the server before the way in is chosen.
struct Host<'a> {
    request: &'a Request,
    paths: &'a Paths,
    ask: &'a dyn Interaction,
    kind: HostType,
    server: ServerUrl,
    site: Site,
    described: Option<Endpoints>,
    configured: Configured,
    reach: Reach,
}

/// Result of a way in.
struct Kept {
    secret: Secret,
    tokens: Option<Tokens>,
    account: Option<String>,
    scopes: Vec<String>,
    upkeep: Upkeep,
    expiry: Option<Expiry>,
    /// The token as the host describes it, where it does.
    described: Option<account::Described>,
    /// The password that created it, and the one-time code.
    password: Option<(Secret, Option<Secret>)>,
}

/// Signs in and stores the sign-in. `None` where the server is a wit server or may be one, which is
/// signed in to by [`super::login`], and where git waits and the user would have to be asked.
pub fn log_in(
    paths: &Paths,
    request: &Request,
    ask: &dyn Interaction,
) -> Result<Option<LoggedIn>, HostLoginError> {
    let config = Config::load(paths).map_err(SessionError::Config)?;
    let configured = configured(&request.server)?;
    let Some(host) = resolve(paths, request, &config, configured, ask)? else {
        return Ok(None);
    };
    if host.kind == HostType::Wit {
        return Ok(None);
    }
    if host.server.is_plain() && !host.server.is_loopback() {
        let server = host.server.to_string();
        return Err(ApiError::PlainHttp { server }.into());
    }
    if request.is_for_git && (!host.wants(Mode::Browser, Mode::Device) || host.app()?.is_none()) {
        return Ok(None);
    }
    // A store that can't be read now would lose what the host is about to grant.
    let decided = store::select::decide(paths, None)?;
    store::load(decided.store.as_ref(), &host.site)?;
    let kept = host.sign_in()?;
    host.keep(kept, decided).map(Some)
}

/// git's configuration for the server. Without git there is none.
fn configured(server: &ServerUrl) -> Result<Configured, HostLoginError> {
    let arguments = Configured::git_arguments(server);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Ok(mut printed) = process::run("git", &arguments, "") else {
        return Ok(Configured::default());
    };
    if let Ok(scoped) = process::run("git", &Configured::GIT_SCOPED, "") {
        let scoped = Configured::scoped(server, &scoped.stdout);
        printed.stdout.extend(scoped);
    }
    Configured::parse(server, &printed.stdout).map_err(HostLoginError::GitConfig)
}

/// Type of the server: by option, as it was remembered, by its name, by git's configuration, or as
/// it answers.
fn resolve<'a>(
    paths: &'a Paths,
    request: &'a Request,
    config: &Config,
    configured: Configured,
    ask: &'a dyn Interaction,
) -> Result<Option<Host<'a>>, HostLoginError> {
    let by_name = hosts::known(&request.server);
    let home = by_name.and_then(|_| hosts::home(&request.server));
    let server = home.as_ref().unwrap_or(&request.server);
    let known = config.servers.get(&server.to_string());
    let reach = Reach::to(config, &server.to_string(), request.ca_file.clone());
    let remembered = known.and_then(|known| known.host_type.as_deref());
    let remembered = remembered.and_then(HostType::parse);
    // An older version has signed in as at any OAuth server.
    let remembered = remembered.filter(|kind| *kind != HostType::Oauth || by_name.is_none());
    let mut described = None;
    let mut version = None;
    let mut place = server.clone();
    let kind = if let Some(kind) = request.host_type.or(remembered) {
        kind
    } else if known.is_some_and(|known| known.api.is_some()) {
        return Ok(None);
    } else if let Some(kind) = by_name {
        kind
    } else if let Some(kind) = configured.host {
        kind
    } else if request.is_for_git {
        // Git's question is no reason to ask a server what it is.
        match configured.token.is_some() {
            true => HostType::Oauth,
            false => return Ok(None),
        }
    } else {
        let found = recognition::recognize(server, &reach).map_err(|error| match error {
            OAuthError::Api(ApiError::Failed { status }) => {
                HostLoginError::NotRecognized(Box::new(server.clone()), status)
            }
            other => other.into(),
        })?;
        match found {
            Some(found) => {
                place = found.server;
                described = found.endpoints;
                version = found.version;
                found.host
            }
            None if configured.token.is_some() => HostType::Oauth,
            None => match (&configured.provider, request.way) {
                (Some(_), Some(Way::Token)) => HostType::Oauth,
                (provider, _) => {
                    let server = Box::new(server.clone());
                    return Err(match provider {
                        Some(provider) => HostLoginError::Generic {
                            server,
                            provider: provider.clone(),
                        },
                        None => HostLoginError::Unknown(server),
                    });
                }
            },
        }
    };
    let kind = match kind {
        // A Data Center and a server of one's own have nothing that is known of the services.
        HostType::Bitbucket | HostType::Azure if by_name != Some(kind) => HostType::Oauth,
        kind => kind,
    };
    if kind == HostType::Azure && home.is_none() {
        return Err(HostLoginError::NoOrganization(Box::new(place)));
    }
    if kind != HostType::Wit && request.host_type.is_none() {
        ask.tell(&Notice::Recognized {
            server: &place,
            host: kind,
            version: version.as_deref(),
        });
    }
    Ok(Some(Host {
        request,
        paths,
        ask,
        kind,
        site: session::site_of(&place)?,
        server: place,
        described,
        configured: configured.of(kind),
        reach,
    }))
}

impl Host<'_> {
    fn sign_in(&self) -> Result<Kept, HostLoginError> {
        if let Some(app) = &self.request.app {
            return self.by_app(app);
        }
        match self.request.way {
            Some(Way::Token) => return self.take_token(),
            Some(Way::Password) => return self.by_password(),
            Some(Way::Device | Way::Browser) | None => {}
        }
        if !self.wants(Mode::Browser, Mode::Device) && self.ask.is_interactive() {
            return self.take_token();
        }
        let Some(app) = self.app()? else {
            if self.request.is_for_git || !self.ask.is_interactive() {
                return Err(HostLoginError::NoClient(self.place()));
            }
            return match self.choose()? {
                Way::Token => self.take_token(),
                Way::Password => self.by_password(),
                Way::Device | Way::Browser => self.by_oauth(self.built_in()?),
            };
        };
        self.by_oauth(app)
    }

    /// The client that this program is to the server: by option, by git's configuration, or the one
    /// that signed in before.
    fn app(&self) -> Result<Option<App>, HostLoginError> {
        let app = |client_id: &str, client_secret: Option<Secret>| App {
            client_id: client_id.to_owned(),
            client_secret,
            client_auth: self.configured.client_auth.unwrap_or_default(),
        };
        match &self.request.client {
            Some(Client::BuiltIn) => return self.built_in().map(Some),
            Some(Client::Registered { id, secret }) => return Ok(Some(app(id, secret.clone()))),
            None => {}
        }
        if let Some(id) = &self.configured.client_id {
            return Ok(Some(app(id, self.configured.client_secret.clone())));
        }
        let store = store::select::open(self.paths, None)?;
        let item = store::load(store.as_ref(), &self.site)?;
        let server = self.server.to_string();
        let before = item.credentials.0.iter().find_map(|entry| {
            let sign_in = entry.sign_in.as_ref()?;
            match &sign_in.upkeep {
                Upkeep::Refresh(client) if sign_in.server == server => Some(App::from(client)),
                _ => None,
            }
        });
        Ok(before)
    }

    fn built_in(&self) -> Result<App, HostLoginError> {
        let client = hosts::built_in_client(self.kind);
        let client = client.ok_or_else(|| HostLoginError::NoBuiltInClient(self.place()))?;
        Ok(App {
            client_id: client.client_id.to_owned(),
            client_secret: None,
            client_auth: ClientAuth::Body,
        })
    }

    fn place(&self) -> At {
        At {
            server: self.url(),
            host: self.kind,
        }
    }

    /// The server for an error, which is to stay small.
    fn url(&self) -> Box<ServerUrl> {
        Box::new(self.server.clone())
    }

    /// Returns whether the user wants a sign-in by OAuth, whatever the way.
    fn wants_oauth(&self) -> bool {
        self.request.way.is_some() || !self.request.opens_browser
    }

    /// Returns whether git's configuration leaves one of those ways in. What the user says now goes
    /// before it.
    fn wants(&self, one: Mode, other: Mode) -> bool {
        let modes = &self.configured.modes;
        modes.is_empty() || self.wants_oauth() || modes.contains(&one) || modes.contains(&other)
    }

    /// Asks for the way in where no client is known.
    fn choose(&self) -> Result<Way, HostLoginError> {
        let mut ways = Vec::new();
        if hosts::built_in_client(self.kind).is_some() {
            ways.push(Way::Browser);
        } else if self.wants_oauth() {
            return Err(HostLoginError::NoClient(self.place()));
        }
        if !self.wants_oauth() {
            ways.push(Way::Token);
            if password::is_supported(self.kind) {
                ways.push(Way::Password);
            }
        }
        Ok(self.ask.choose(self.kind, &self.server, &ways)?)
    }

    fn endpoints(&self) -> Result<Endpoints, HostLoginError> {
        let configured = &self.configured;
        let mut base = match hosts::endpoints(self.kind, &self.server) {
            Some(base) => Some(base),
            None if self.described.is_some() => self.described.clone(),
            None if configured.token.is_some() => None,
            None => discovery::discover(&self.server, &self.reach)?,
        };
        if base.is_none()
            && let Some(token) = &configured.token
        {
            // The server that is configured may say the rest of itself.
            let origin = ServerUrl::parse(&token.origin().ascii_serialization());
            let described = origin
                .ok()
                .and_then(|origin| discovery::discover(&origin, &self.reach).ok().flatten());
            base = Some(match described {
                Some(described) if described.token == *token => described,
                _ => Endpoints {
                    authorization: None,
                    token: token.clone(),
                    device: None,
                    revocation: None,
                    userinfo: None,
                    issuer: None,
                    names_issuer: false,
                    client_auth: None,
                    scopes: Vec::new(),
                },
            });
        }
        let mut endpoints = base.ok_or_else(|| HostLoginError::NoEndpoints(self.url()))?;
        let or = |one: &Option<Url>, other: Option<Url>| one.clone().or(other);
        endpoints.authorization = or(&configured.authorization, endpoints.authorization);
        endpoints.device = or(&configured.device, endpoints.device);
        endpoints.token = configured.token.clone().unwrap_or(endpoints.token);
        Ok(endpoints)
    }

    /// Device flow or code, the better one first.
    fn by_oauth(&self, mut app: App) -> Result<Kept, HostLoginError> {
        let endpoints = self.endpoints()?;
        if self.configured.client_auth.is_none() {
            app.client_auth = endpoints.client_auth.unwrap_or(app.client_auth);
        }
        let scopes = match (&self.request.scopes, &self.configured.scopes) {
            (Some(scopes), _) | (None, Some(scopes)) => scopes.clone(),
            (None, None) => hosts::scopes(self.kind, &endpoints.scopes),
        };
        // GitHub wants a secret with a code, and none with a device.
        let has_code = endpoints.authorization.is_some()
            && (self.kind != HostType::Github || app.client_secret.is_some());
        let has_device = endpoints.device.is_some();
        let (has_code, has_device) = match (
            has_code && self.wants(Mode::Browser, Mode::Browser),
            has_device && self.wants(Mode::Device, Mode::Device),
        ) {
            // A way that is not wanted is better than none.
            (false, false) => (has_code, has_device),
            wanted => wanted,
        };
        let wants_device = self.request.way == Some(Way::Device);
        let wants_browser = self.request.way == Some(Way::Browser);
        let way = match (wants_device, wants_browser || !self.request.opens_browser) {
            (true, _) => Way::Device,
            (false, true) if wants_browser || has_code => Way::Browser,
            _ if has_device && (!has_code || self.kind == HostType::Github) => Way::Device,
            _ if has_device && !(interactive::has_screen() && has_code) => Way::Device,
            _ => Way::Browser,
        };
        let is_chosen = self.wants_oauth();
        let tokens = match way {
            Way::Device => match self.by_device(&endpoints, &mut app, &scopes) {
                Err(OAuthError::Unsupported { .. }) if has_code && !wants_device => {
                    self.by_code(&endpoints, &mut app, &scopes, false)
                }
                other => other,
            },
            // A screen on which no browser can be opened is no better than none.
            _ => match self.by_code(&endpoints, &mut app, &scopes, has_device && !is_chosen) {
                Err(OAuthError::Unsupported { .. }) if has_device && !is_chosen => {
                    self.by_device(&endpoints, &mut app, &scopes)
                }
                other => other,
            },
        };
        let tokens = tokens.map_err(|error| self.failure(error))?;
        let account = account::of_access_token(
            self.kind,
            &self.server,
            endpoints.userinfo.as_ref(),
            &tokens.access,
            &self.reach,
        );
        Ok(Kept {
            secret: tokens.access.clone(),
            account: account.or_else(|| self.request.username.clone()),
            scopes: tokens.scopes.clone().unwrap_or(scopes),
            upkeep: Upkeep::Refresh(app.stored(&endpoints)),
            expiry: tokens.expiry,
            tokens: Some(tokens),
            described: None,
            password: None,
        })
    }

    fn failure(&self, error: OAuthError) -> HostLoginError {
        match error {
            // It has a device flow on each version, and says 404 of a client.
            OAuthError::Unsupported { .. } if self.kind == HostType::Github => {
                HostLoginError::UnknownClient(self.place())
            }
            OAuthError::Api(_) => error.into(),
            other => HostLoginError::Grant(self.place(), other),
        }
    }

    fn by_device(
        &self,
        endpoints: &Endpoints,
        app: &mut App,
        scopes: &[String],
    ) -> Result<Tokens, OAuthError> {
        let pending = device::begin(endpoints, app, scopes, &self.reach)?;
        let address = pending.complete_address.as_ref();
        let is_open = address.is_some_and(|address| self.ask.open(address));
        self.ask.show_code(&pending, is_open);
        progress::during("Waiting for the code to be confirmed", || {
            pending.wait(endpoints, app, &self.reach)
        })
    }

    fn by_code(
        &self,
        endpoints: &Endpoints,
        app: &mut App,
        scopes: &[String],
        needs_browser: bool,
    ) -> Result<Tokens, OAuthError> {
        let own = (self.kind == HostType::Bitbucket)
            .then(|| Url::parse(hosts::BITBUCKET_REDIRECT).ok())
            .flatten();
        let redirect = self.configured.redirect.as_ref().or(own.as_ref());
        let loopback = Loopback::bind(redirect)?;
        let pending = code::begin(endpoints, app, scopes, &loopback.redirect)?;
        let is_open = self.ask.open(&pending.address);
        if needs_browser && !is_open {
            return Err(OAuthError::Unsupported { what: "browser" });
        }
        self.ask
            .show_address(&pending.address, &loopback.redirect, is_open);
        let code = match is_open {
            true => progress::during("Waiting for the browser", || {
                loopback.wait(&pending, Instant::now() + BROWSER_TIMEOUT)
            }),
            false => self.code_or_pasted(&loopback, &pending, endpoints.device.is_some()),
        }?;
        pending.exchange(&code, endpoints, app, &self.reach)
    }

    /// The code of the browser or of the pasted address, whichever comes first. Where nobody pastes
    /// any more, a browser has to come by itself, which takes a screen.
    fn code_or_pasted(
        &self,
        loopback: &Loopback,
        pending: &code::Pending,
        has_device_flow: bool,
    ) -> Result<Code, OAuthError> {
        let pasted = self.ask.pasted();
        let end = Instant::now() + BROWSER_TIMEOUT;
        while Instant::now() < end {
            match loopback.wait(pending, Instant::now() + POLL_INTERVAL) {
                Err(OAuthError::Expired) => {}
                done => return done,
            }
            match pasted.as_ref().map(Receiver::try_recv) {
                Some(Ok(line)) if line.trim().is_empty() => {}
                Some(Ok(line)) => return pending.code(&line),
                Some(Err(TryRecvError::Disconnected)) if !interactive::has_screen() => {
                    return Err(OAuthError::Unattended { has_device_flow });
                }
                None | Some(Err(TryRecvError::Empty | TryRecvError::Disconnected)) => {}
            }
        }
        Err(OAuthError::Expired)
    }

    /// Asks the host about a token that was created elsewhere.
    fn take_token(&self) -> Result<Kept, HostLoginError> {
        let page = hosts::token_page(self.kind, &self.server, &self.request.device_name);
        let token = self.ask.token(&self.server, page.as_ref())?;
        if !token.expose().iter().all(u8::is_ascii_graphic) {
            return Err(HostLoginError::NotAToken);
        }
        let userinfo = match self.kind {
            HostType::Oauth => self.endpoints().ok().and_then(|found| found.userinfo),
            _ => None,
        };
        let about = account::of_pasted(
            self.kind,
            &self.server,
            userinfo.as_ref(),
            &token,
            &self.reach,
        );
        let about = about.map_err(|error| match error {
            OAuthError::Api(ApiError::Unauthorized) => {
                HostLoginError::TokenRefused(self.url(), page.map(Box::new))
            }
            // Nothing was asked.
            OAuthError::Api(ApiError::Unreachable { .. } | ApiError::CaFile { .. }) => error.into(),
            OAuthError::Api(error) => self.unchecked(error),
            other => other.into(),
        })?;
        if !about.is_accepted {
            // Nothing was asked by which a server that is not there would have been noticed.
            discovery::get(&self.server.at("/"), Auth::Nobody, &self.reach)?;
            self.ask.tell(&Notice::Unchecked {
                server: &self.server,
            });
        }
        let scopes = about.scopes.unwrap_or_default();
        let for_git = ["api", "write_repository", "read_repository"];
        let is_for_git = scopes.is_empty() || scopes.iter().any(|s| for_git.contains(&s.as_str()));
        if self.kind == HostType::Gitlab && !is_for_git {
            self.ask.tell(&Notice::NotForGit);
        }
        let rotates = scopes.iter().any(|scope| scope == "self_rotate");
        Ok(Kept {
            secret: token,
            tokens: None,
            account: about.account.or_else(|| self.request.username.clone()),
            scopes,
            upkeep: match rotates && self.kind == HostType::Gitlab {
                true => Upkeep::RotateItself,
                false => Upkeep::Watch,
            },
            expiry: about.expiry,
            described: about.described,
            password: None,
        })
    }

    /// A token of which the host said neither yes nor no. It might take the place of one that works.
    fn unchecked(&self, error: ApiError) -> HostLoginError {
        match error {
            ApiError::NotFound => HostLoginError::NoApi(self.place()),
            other => HostLoginError::TokenUnchecked(self.url(), other),
        }
    }

    /// Has the host create a token for the password, which is not kept.
    fn by_password(&self) -> Result<Kept, HostLoginError> {
        let server = &self.server;
        if !password::is_supported(self.kind) {
            return Err(HostLoginError::NoPassword(self.place()));
        }
        let username = match &self.request.username {
            Some(username) => username.clone(),
            None => self.ask.username(server)?,
        };
        let (secret, mut code) = self.ask.password(server)?;
        let scopes = match &self.request.scopes {
            Some(scopes) => scopes.clone(),
            None => vec!["write:repository".to_owned()],
        };
        // Names are unique at these hosts.
        let name = promises::generation(&format!("git on {}", self.request.device_name));
        let create = |code: Option<&Secret>| {
            let login = password::Login {
                username: &username,
                password: &secret,
                code,
            };
            password::create(self.kind, server, &login, &name, &scopes, &self.reach)
        };
        let mut created = create(code.as_ref());
        if matches!(created, Err(OAuthError::Api(ApiError::Unauthorized))) && code.is_none() {
            // The host does not say whether it is the password or the missing code.
            code = self.ask.one_time_code()?;
            if code.is_some() {
                created = create(code.as_ref());
            }
        }
        let created = created.map_err(|error| match error {
            OAuthError::Api(ApiError::Unauthorized) => HostLoginError::WrongPassword(self.url()),
            other => other.into(),
        })?;
        self.ask.tell(&Notice::Created {
            name: &created.name,
        });
        Ok(Kept {
            secret: created.secret,
            tokens: None,
            account: Some(username),
            scopes: created.scopes,
            upkeep: Upkeep::Replace {
                id: created.id.clone(),
                name: created.name.clone(),
            },
            expiry: None,
            described: Some(account::Described {
                id: created.id,
                name: created.name,
                created: UnixTime::now(),
            }),
            password: Some((secret, code)),
        })
    }

    fn keep(&self, mut kept: Kept, decided: Decided) -> Result<LoggedIn, HostLoginError> {
        let name = self.server.to_string();
        let path = hosts::path(&self.server);
        // At Azure DevOps any username will do; the organization's name is the one that git asks with.
        kept.account = (path.clone())
            .or(kept.account)
            .or_else(|| hosts::organization(&self.server));
        let path = self.request.path.clone().or(path);
        let configured = self.configured.git_username.clone();
        let app = match &kept.upkeep {
            Upkeep::Mint(app) => Some(app.clone()),
            _ => None,
        };
        let git_username = match &app {
            Some(_) => GIT_USERNAME.to_owned(),
            None => configured.unwrap_or_else(|| {
                let account = kept.account.as_deref();
                match kept.tokens {
                    Some(_) => hosts::git_username(self.kind, account),
                    None => hosts::git_username_of_pasted(self.kind, account),
                }
            }),
        };
        let username = kept.account.clone().unwrap_or_else(|| git_username.clone());
        let (refresh_token, refresh_expiry) = match kept.tokens {
            Some(tokens) => (tokens.refresh, tokens.refresh_expiry),
            None => (None, None),
        };
        let rotates = matches!(kept.upkeep, Upkeep::RotateItself);
        let renews = refresh_token.is_some() || app.is_some() || rotates && kept.expiry.is_some();
        // The host gives it no end: this machine replaces it, as one of `wit token create`.
        let is_created = matches!(kept.upkeep, Upkeep::Replace { .. });
        let replace_by = |created: UnixTime| {
            is_created.then(|| Expiry(created.plus(i64::from(DEFAULT_DAYS) * DAY)))
        };
        let token = kept.described.map(|described| TokenInfo {
            server: name.clone(),
            id: described.id,
            name: described.name,
            account: username.clone(),
            scopes: kept.scopes.clone(),
            repositories: Vec::new(),
            created: described.created,
            replace_by: replace_by(described.created),
            clock_skew: 0,
        });
        let entry = Credential {
            username: Some(username.into_bytes()),
            path: path.clone().map(String::into_bytes),
            auth: AuthData::Password(kept.secret),
            expiry: kept.expiry,
            refresh_token,
            token,
            sign_in: Some(SignIn {
                server: name.clone(),
                host: self.kind,
                account: kept.account.clone(),
                git_username,
                bearer: hosts::takes_bearer(self.kind),
                scopes: kept.scopes.clone(),
                issued: UnixTime::now(),
                refresh_expiry,
                ended: false,
                upkeep: kept.upkeep,
            }),
            imported: false,
        };
        let granted = entry.clone();
        let stored = store::update(decided.store.as_ref(), self.paths, &self.site, |item| {
            let replaced = item.credentials.in_place_of(&entry).cloned();
            item.credentials.sign_in(entry);
            replaced
        });
        let replaced = match stored {
            Ok(replaced) => replaced,
            // Nobody has it now, so it is not to live on at the host.
            Err(error) => {
                if let Some(sign_in) = &granted.sign_in {
                    let _ = hosts::end::end(&granted, sign_in, &self.server, &self.reach);
                }
                return Err(error.into());
            }
        };
        // A server that was away, or a person who was not asked again, are so no longer.
        let _ = crate::helper::refresh::succeeded(self.paths, &self.site);
        let ca_file = self.request.ca_file.clone();
        Config::update(self.paths, |config| {
            let known = config.servers.entry(name.clone()).or_default();
            known.host_type = Some(self.kind.name().to_owned());
            known.account = kept.account.clone().or(known.account.take());
            known.ca_file = ca_file.or(known.ca_file.take());
        })
        .map_err(HostLoginError::Config)?;
        if let Some(replaced) = replaced {
            let password = kept.password.as_ref();
            self.end_replaced(&replaced, &granted, password, decided.store.as_ref())?;
        }
        let item = store::load(decided.store.as_ref(), &self.site)?;
        let sign_ins = item.credentials.0.iter().filter(|e| e.sign_in.is_some());
        Ok(LoggedIn {
            server: name,
            host: self.kind,
            account: kept.account,
            scopes: kept.scopes,
            app,
            renews,
            rotates_itself: rotates,
            expiry: kept.expiry,
            store: decided.store.name(),
            location: decided.store.location(),
            is_first: decided.new,
            is_one_of_several: sign_ins.count() > 1,
            lacks_http_path: path.is_some() && !self.configured.use_http_path,
        })
    }
}
