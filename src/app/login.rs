//! Signing in to a wit server, and what is kept of it: the session, and how the server is spoken to.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use super::session::{self, Selection, SessionError};
use super::{Ask, AskError};
use crate::api::http::Client;
use crate::api::login::{self, Login, SignedIn};
use crate::api::server::ServerUrl;
use crate::api::{ApiError, Form, database};
use crate::config::{Config, Paths};
use crate::expiry::Expiry;
use crate::hosts::recognition::{WIT_USER, is_wit};
use crate::item::Session;
use crate::quote::escaped;
use crate::secret::Secret;
use crate::store::{self, StoreError};

mod device;

/// The way in.
#[derive(Debug)]
pub enum Way {
    /// With a name and a password, which are asked for where they are not given.
    Password {
        /// The name; `None` to ask for it.
        login: Option<Login>,
        /// The password; `None` to ask for it.
        password: Option<Secret>,
    },
    /// By a code that a person confirms in a browser.
    Browser {
        /// Name under which the account's owner will see this device.
        device_name: String,
        /// True to ask for a password where the server knows no such codes.
        or_password: bool,
    },
    /// A new account. Its password is asked for where it is not given.
    SignUp {
        /// Email address of the account.
        email: String,
        /// Username of the account.
        username: String,
        /// The password; `None` to ask for it.
        password: Option<Secret>,
    },
    /// With a session that was begun elsewhere, of this account where one is named. The server says
    /// whose it is.
    Session {
        /// The session's token.
        session: Secret,
        /// Account that the session must be of.
        named: Option<String>,
    },
}

/// A sign-in that is asked for.
#[derive(Debug)]
pub struct Request {
    /// Base URL of the server.
    pub server: ServerUrl,
    /// The way in.
    pub way: Way,
    /// The form of the server's token API; `None` for the one that it answers in.
    pub form: Option<Form>,
    /// True to speak plain http to another machine.
    pub allow_http: bool,
    /// Certificates (PEM) to trust from now on; absolute.
    pub ca_file: Option<PathBuf>,
}

/// A sign-in that was stored.
#[derive(Debug)]
pub struct LoggedIn {
    /// Base URL of the server.
    pub server: String,
    /// Username, or the email of an account without one.
    pub account: String,
    /// Form of the server's token API.
    pub form: Form,
    /// End of the session; `None` where the server does not tell it.
    pub expiry: Option<Expiry>,
    /// The store by its name, and in words.
    pub store: &'static str,
    /// The store in words: a path, or the keychain's name.
    pub location: String,
    /// True if nothing was stored by a login before.
    pub is_first: bool,
    /// True if it took the place of an earlier session of the account.
    pub has_replaced: bool,
    /// Why replaced sessions may still work at the server.
    pub not_ended: Vec<ApiError>,
}

/// Why nobody was signed in. Nothing was stored, and a session that was begun was ended again.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The server does not tell which of the two it is.
    #[error("wrong password, or no such account")]
    WrongPassword {
        /// Base URL of the server.
        server: String,
    },
    /// The server does not answer as a wit server does. Nothing secret was asked for or sent.
    #[error("{server} is not a wit server")]
    NotWit {
        /// Base URL of the server.
        server: String,
    },
    /// The wit server has no such way in.
    #[error("{server} has no sign-in by password")]
    NoSignIn {
        /// Base URL of the server.
        server: String,
    },
    /// The server knows no codes, and no password was to be asked for.
    #[error("{server} has no device flow")]
    NoDeviceFlow {
        /// Base URL of the server.
        server: String,
    },
    /// With the server's sentence, escaped.
    #[error("{message}")]
    SignUpRefused {
        /// Base URL of the server.
        server: String,
        /// The server's sentence, escaped.
        message: String,
    },
    /// The server lets nobody create an account by themselves; its sentence, escaped.
    #[error("{message}")]
    NoSignUp {
        /// Base URL of the server.
        server: String,
        /// The server's sentence, escaped.
        message: String,
    },
    /// A person said no in the browser, or nothing in time.
    #[error("{message}")]
    Denied {
        /// Base URL of the server.
        server: String,
        /// The server's sentence, escaped.
        message: String,
    },
    /// The session that was given is expired, ended, or another server's.
    #[error("the server does not accept this session")]
    SessionRefused {
        /// Base URL of the server.
        server: String,
    },
    /// [`Request::form`] is not the server's.
    #[error("{server} does not speak the form {form} of the token API")]
    OtherForm {
        /// Base URL of the server.
        server: String,
        /// The form that was asked for.
        form: Form,
    },
    /// The server does not tell whose the session is.
    #[error("{server} does not tell whose session it is")]
    Anonymous {
        /// Base URL of the server.
        server: String,
    },
    /// The session is another account's than [`Way::Session`] names.
    #[error("this session is of {}, not of {}", escaped(account), escaped(named))]
    OtherAccount {
        /// Base URL of the server.
        server: String,
        /// Account of the session.
        account: String,
        /// Account that was named.
        named: String,
    },
    /// Direct mode is not set up.
    #[error("DATABASE_URL and WIT_USER_ID are not both set")]
    NotDirect {
        /// Base URL of the server.
        server: String,
    },
    /// The user was not asked, or gave no usable answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The session is stored, but the configuration does not name the server.
    #[error("can't write the configuration")]
    Config(#[source] io::Error),
    /// The server or the account is not clear.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server refused, or could not be reached.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Signs in and stores the session. A session of the same account that it replaces is ended.
pub fn log_in(paths: &Paths, request: Request, ask: &dyn Ask) -> Result<LoggedIn, LoginError> {
    let config = Config::load(paths).map_err(SessionError::Config)?;
    let server = &request.server;
    let site = session::site_of(server)?;
    let name = server.to_string();
    let meant = Selection {
        allow_http: request.allow_http,
        ca_file: request.ca_file.clone(),
        ..Selection::default()
    };
    let client = Rc::new(session::client(&config, server, &meant)?);
    require_wit(&client, &request.way)?;
    let remembered = session::account(&config, server, None);
    let is_ours = !matches!(request.way, Way::Session { .. });
    let mut signed_in = sign_in(&client, &request.way, remembered.as_deref(), ask)?;
    let kept = check(&client, &request, &mut signed_in).and_then(|form| {
        let decided = store::select::decide(paths, None)?;
        let replaced = store::update(decided.store.as_ref(), paths, &site, |item| {
            keep(&mut item.sessions, &signed_in, &name)
        })?;
        Ok((form, decided, replaced))
    });
    let (form, decided, replaced) = match kept {
        Ok(kept) => kept,
        Err(error) => {
            // Nobody could use it or end it any more.
            if is_ours {
                let _ = login::sign_out(&client, &signed_in.session, signed_in.cookie.as_ref());
            }
            return Err(error);
        }
    };
    Config::update(paths, |config| {
        let known = config.servers.entry(name.clone()).or_default();
        known.api = Some(form.name().to_owned());
        known.account = Some(signed_in.account.clone());
        known.ca_file = request.ca_file.clone().or(known.ca_file.take());
        // A default that nobody is logged in at, as `wit up` leaves it, would lead nowhere.
        let nobody = |url: &String| {
            let known = config.servers.get(url);
            known.is_some_and(|known| known.account.is_none())
        };
        if config.default_server.as_ref().is_some_and(nobody) {
            config.default_server = Some(name.clone());
        }
    })
    .map_err(LoginError::Config)?;
    let not_ended = (replaced.iter())
        .filter_map(|old| login::sign_out(&client, &old.token, old.cookie.as_ref()).err())
        .collect();
    let first = config.servers.values().all(|known| known.account.is_none());
    Ok(LoggedIn {
        server: name,
        account: signed_in.account,
        form,
        expiry: signed_in.expiry,
        store: decided.store.name(),
        location: decided.store.location(),
        is_first: decided.new || first,
        has_replaced: !replaced.is_empty(),
        not_ended,
    })
}

/// Remembers that a server's tokens are managed directly in the database of `DATABASE_URL`; the
/// account of `WIT_USER_ID`. The URL of the database is not kept: a password may be in it.
pub fn link_database(paths: &Paths, server: &ServerUrl) -> Result<String, LoginError> {
    let name = server.to_string();
    let Some((_, account)) = session::direct()? else {
        return Err(LoginError::NotDirect { server: name });
    };
    Config::update(paths, |config| {
        let known = config.servers.entry(name).or_default();
        known.api = Some(Form::Database.name().to_owned());
        known.account = Some(account.clone());
    })
    .map_err(LoginError::Config)?;
    Ok(account)
}

/// The database that [`link_database`] links, in words.
pub const DATABASE: &str = database::SERVER;

/// Fails unless the server answers as a wit server does. No password is asked for before that, and
/// nothing secret is sent.
fn require_wit(client: &Client, way: &Way) -> Result<(), LoginError> {
    let answer = client.get(WIT_USER, None)?;
    // A server on this machine may be an older one, whose API has no such call. What it is to be sent
    // was given for it on the command line.
    let is_given = matches!(
        way,
        Way::Session { .. }
            | Way::Password {
                password: Some(_),
                ..
            }
            | Way::SignUp {
                password: Some(_),
                ..
            }
    );
    let is_older = answer.status == 404 && answer.is_json() && client.server().is_loopback();
    if is_wit(&answer) || is_given && is_older {
        return Ok(());
    }
    // A rate limiter, or a server that is down, says nothing of what it is.
    if matches!(answer.status, 429 | 500..) {
        answer.done()?;
    }
    let server = client.server().to_string();
    Err(LoginError::NotWit { server })
}

fn sign_in(
    client: &Rc<Client>,
    way: &Way,
    remembered: Option<&str>,
    ask: &dyn Ask,
) -> Result<SignedIn, LoginError> {
    let server = || client.server().to_string();
    let (login, password) = match way {
        Way::Session { session, .. } => {
            return Ok(SignedIn {
                session: session.clone(),
                cookie: None,
                expiry: None,
                account: String::new(),
            });
        }
        Way::SignUp {
            email,
            username,
            password,
        } => {
            let password = given(password, || ask.password(username, true))?;
            let done = login::sign_up(client, email, username, &password);
            return done.map_err(|error| match error {
                ApiError::Refused { message } => LoginError::SignUpRefused {
                    server: server(),
                    message,
                },
                ApiError::Forbidden { message } => LoginError::NoSignUp {
                    server: server(),
                    message,
                },
                other => refused(other, server()),
            });
        }
        Way::Browser {
            device_name,
            or_password,
        } => {
            let signed_in = device::sign_in(client, device_name, ask);
            let signed_in = signed_in.map_err(|error| match error {
                ApiError::Refused { message } | ApiError::Forbidden { message } => {
                    LoginError::Denied {
                        server: server(),
                        message,
                    }
                }
                other => other.into(),
            })?;
            if let Some(signed_in) = signed_in {
                return Ok(signed_in);
            }
            if !or_password {
                return Err(LoginError::NoDeviceFlow { server: server() });
            }
            (&None, &None)
        }
        Way::Password { login, password } => (login, password),
    };
    let login = given(login, || ask.login(remembered))?;
    let (Login::Email(name) | Login::Username(name)) = &login;
    let password = given(password, || ask.password(name, false))?;
    login::sign_in(client, &login, &password).map_err(|error| refused(error, server()))
}

fn given<T: Clone>(
    value: &Option<T>,
    ask: impl FnOnce() -> Result<T, AskError>,
) -> Result<T, AskError> {
    match value {
        Some(value) => Ok(value.clone()),
        None => ask(),
    }
}

fn refused(error: ApiError, server: String) -> LoginError {
    match error {
        ApiError::Unauthorized => LoginError::WrongPassword { server },
        ApiError::NotFound => LoginError::NoSignIn { server },
        other => other.into(),
    }
}

/// The form of the server's token API, which takes the session. Of a session that was begun
/// elsewhere it also asks whose it is.
fn check(
    client: &Rc<Client>,
    request: &Request,
    signed_in: &mut SignedIn,
) -> Result<Form, LoginError> {
    let server = || client.server().to_string();
    let api = login::probe(client, &signed_in.session, request.form);
    let api = api.map_err(|error| match (error, request.form) {
        (ApiError::Unauthorized, _) => LoginError::SessionRefused { server: server() },
        (ApiError::NotFound | ApiError::Malformed { .. }, Some(form)) => LoginError::OtherForm {
            server: server(),
            form,
        },
        (other, _) => other.into(),
    })?;
    let form = api.form();
    let Way::Session { named, .. } = &request.way else {
        return Ok(form);
    };
    let user = login::whose(client, &signed_in.session, form).map_err(|error| match error {
        ApiError::Unsupported { .. } => LoginError::Anonymous { server: server() },
        other => other.into(),
    })?;
    signed_in.account = user.name()?;
    match named.as_ref().filter(|named| !user.is_called(named)) {
        None => Ok(form),
        Some(named) => Err(LoginError::OtherAccount {
            server: server(),
            account: signed_in.account.clone(),
            named: named.clone(),
        }),
    }
}

/// Puts a session before the others, and returns those of the same account that it replaces.
fn keep(sessions: &mut Vec<Session>, signed_in: &SignedIn, server: &str) -> Vec<Session> {
    let same = |old: &mut Session| old.server == server && old.account == signed_in.account;
    let mut replaced: Vec<Session> = sessions.extract_if(.., same).collect();
    replaced.retain(|old| old.token != signed_in.session);
    let session = Session {
        server: server.to_owned(),
        account: signed_in.account.clone(),
        token: signed_in.session.clone(),
        cookie: signed_in.cookie.clone(),
        expiry: signed_in.expiry,
    };
    sessions.insert(0, session);
    replaced
}
