//! `wit login`.

mod device;
mod direct;
mod host;

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Context as _;
use serde_json::json;
use zeroize::Zeroizing;

use super::output::{self, escaped};
use super::session::{self, ServerArgs, parse_url};
use super::{Context, Exit, Failure};
use crate::api::ApiError;
use crate::api::http::Client;
use crate::api::login::{self, Login, SignedIn};
use crate::api::server::ServerUrl;
use crate::config::Config;
use crate::credential::Site;
use crate::item::Session;
use crate::quote::{Hint, Suggestion};
use crate::secret::Secret;
use crate::store::{self, Store};

/// Longest password that is read, in bytes.
const PASSWORD_LIMIT: u64 = 4096;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server [default: the one known already]
    url: Option<String>,
    /// The same as URL, as other commands take it
    #[arg(long, value_name = "URL", conflicts_with = "url")]
    server: Option<String>,
    /// Sign in with an email address and a password
    #[arg(long)]
    email: Option<String>,
    /// Sign in with a username and a password
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
    /// Make the account first; takes both --email and --username
    #[arg(long, requires = "email", requires = "username")]
    sign_up: bool,
    /// Read a session begun elsewhere from the first line of stdin
    #[arg(long, conflicts_with_all = ["password_stdin", "sign_up"])]
    session_stdin: bool,
    /// Open no browser: print the address for one; the address it ends at can be pasted
    #[arg(long)]
    no_browser: bool,
    /// The form of the server's token API [default: the one it answers in]
    #[arg(long, value_name = "FORM", value_parser = ["rest", "trpc", "database"])]
    api: Option<String>,
    /// Speak plain http to another machine, where anybody on the way can read the password
    #[arg(long)]
    allow_http: bool,
    /// Trust the certificates in FILE (PEM) too, from now on
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    #[command(flatten)]
    host: host::HostArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let server = match args.url.as_ref().or(args.server.as_ref()) {
        Some(url) => parse_url(url)?,
        None => session::server(&config, None)?,
    };
    let given = host::Given {
        host: &args.host,
        username: args.username.as_deref(),
        password_stdin: args.password_stdin,
        no_browser: args.no_browser,
        ca_file: args
            .ca_file
            .as_deref()
            .map(std::path::absolute)
            .transpose()?,
        is_wit: args.email.is_some()
            || args.sign_up
            || args.session_stdin
            || args.allow_http
            || args.api.is_some(),
    };
    if let Some(exit) = host::run(given, &server, &config, context)? {
        return Ok(exit);
    }
    if args.api.as_deref() == Some("database") {
        return direct::run(&server, context);
    }
    let site = session::site_of(&server)?;
    let name = server.to_string();
    let ca_file = args
        .ca_file
        .as_deref()
        .map(std::path::absolute)
        .transpose()?;
    let reach = ServerArgs {
        allow_http: args.allow_http,
        ca_file: ca_file.clone(),
        ..ServerArgs::default()
    };
    let client = Rc::new(session::client(&config, &server, &reach)?);
    let remembered = || session::account(&config, &server, None);
    let mut signed_in = if args.session_stdin {
        given_session()?
    } else if let Some(signed_in) = by_browser(&args, &client)? {
        signed_in
    } else {
        let login = match (&args.email, &args.username) {
            (Some(email), _) => Login::Email(email.clone()),
            (None, Some(username)) => Login::Username(username.clone()),
            (None, None) => asked_login(remembered(), &name)?,
        };
        let password = match args.password_stdin {
            true => first_line("password")?,
            false => asked_password(args.sign_up, &name)?,
        };
        sign_in(&args, &client, &login, &password)?
    };
    let kept = checked_form(&args, &client, &mut signed_in).and_then(|form| {
        let decided = store::choice::decide(&context.paths, None)?;
        let replaced = keep(&signed_in, &name, &site, decided.store.as_ref(), context)?;
        Ok((form, decided, replaced))
    });
    let (form, decided, replaced) = match kept {
        Ok(kept) => kept,
        Err(error) => {
            // Nobody could use it or end it any more.
            if !args.session_stdin {
                let _ = login::sign_out(&client, &signed_in.session, signed_in.cookie.as_ref());
            }
            return Err(error);
        }
    };
    Config::update(&context.paths, |config| {
        let known = config.servers.entry(name.clone()).or_default();
        known.api = Some(form.to_owned());
        known.account = Some(signed_in.account.clone());
        known.ca_file = ca_file.or(known.ca_file.take());
        // A default that nobody is logged in at, as `wit up` leaves it, would lead nowhere.
        let nobody = |url: &String| {
            let known = config.servers.get(url);
            known.is_some_and(|known| known.account.is_none())
        };
        if config.default_server.as_ref().is_some_and(nobody) {
            config.default_server = Some(name.clone());
        }
    })
    .context("can't write the configuration")?;
    let not_ended: Vec<ApiError> = (replaced.iter())
        .filter_map(|old| login::sign_out(&client, &old.token, old.cookie.as_ref()).err())
        .collect();
    // As each command that has to do with a server; now there is a login to do it with.
    super::token::end_due_graces(context);
    let location = decided.store.location();
    if context.json {
        output::json(&json!({
            "server": name,
            "account": signed_in.account,
            "api": form,
            "expiresAt": signed_in.expiry.map(|expiry| output::rfc3339(expiry.0)),
            "store": decided.store.name(),
            "location": location,
            "replacedSessionEnded": (!replaced.is_empty()).then_some(not_ended.is_empty()),
        }))?;
        return Ok(Exit::Done);
    }
    for error in not_ended {
        eprintln!("warning: the session before this one was not ended at the server: {error}");
    }
    let account = escaped(&signed_in.account);
    output::print(format!("Logged in to {name} as {account}.\n").as_bytes())?;
    let first = config.servers.values().all(|known| known.account.is_none());
    if decided.new || first {
        eprintln!("Secrets are kept in {location}.");
    }
    Ok(Exit::Done)
}

/// The form of the server's token API, which takes the session. Of a session that was begun
/// elsewhere it also asks whose it is.
fn checked_form(
    args: &Args,
    client: &Rc<Client>,
    signed_in: &mut SignedIn,
) -> anyhow::Result<&'static str> {
    let log_in = || Suggestion::new("wit login").arg(client.server().to_string());
    let api = login::probe(client, &signed_in.session, args.api.as_deref());
    let api = api.map_err(|error| match (error, &args.api) {
        (ApiError::Unauthorized, _) => {
            refused("the server does not accept this session", client.server()).into()
        }
        (ApiError::NotFound | ApiError::Malformed { .. }, Some(form)) => {
            let server = client.server();
            let message = format!("{server} does not speak the form {form} of the token API");
            Failure::new(Exit::Failed, message)
                .hint(Hint::from(log_in()).text(" finds the form that it speaks"))
                .into()
        }
        (other, _) => anyhow::Error::from(other),
    })?;
    let form = api.form();
    if !args.session_stdin {
        return Ok(form);
    }
    let user = login::whose(client, &signed_in.session, form).map_err(|error| match error {
        ApiError::Unsupported { .. } => {
            let message = format!("{} does not tell whose session it is", client.server());
            Failure::new(Exit::Failed, message).hint(log_in()).into()
        }
        other => anyhow::Error::from(other),
    })?;
    signed_in.account = user.name()?;
    let named = args.username.as_ref().or(args.email.as_ref());
    if let Some(named) = named.filter(|named| !user.is_called(named)) {
        let (account, named) = (escaped(&signed_in.account), escaped(named));
        let message = format!("this session is of {account}, not of {named}");
        let again = log_in().arg("--session-stdin");
        return Err(Failure::new(Exit::Usage, message).hint(again).into());
    }
    Ok(form)
}

/// Stores a session, and returns those of the same account that it replaces.
fn keep(
    signed_in: &SignedIn,
    server: &str,
    site: &Site,
    store: &dyn Store,
    context: &Context,
) -> anyhow::Result<Vec<Session>> {
    let session = Session {
        server: server.to_owned(),
        account: signed_in.account.clone(),
        token: signed_in.session.clone(),
        cookie: signed_in.cookie.clone(),
        expiry: signed_in.expiry,
    };
    let replaced = store::update(store, &context.paths, site, |item| {
        let same =
            |old: &mut Session| old.server == session.server && old.account == session.account;
        let mut replaced: Vec<Session> = item.sessions.extract_if(.., same).collect();
        replaced.retain(|old| old.token != session.token);
        item.sessions.insert(0, session);
        replaced
    })?;
    Ok(replaced)
}

/// Signs in by a browser, where nothing was said of a password, there is a terminal to tell a
/// person on, and the server knows how.
fn by_browser(args: &Args, client: &Client) -> anyhow::Result<Option<SignedIn>> {
    let by_password = args.password_stdin || args.email.is_some() || args.username.is_some();
    if by_password || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let signed_in = device::sign_in(client, !args.no_browser);
    signed_in.map_err(|error| match error {
        ApiError::Refused { message } | ApiError::Forbidden { message } => {
            Failure::new(Exit::NotLoggedIn, message)
                .hint(Suggestion::new("wit login").arg(client.server().to_string()))
                .into()
        }
        other => other.into(),
    })
}

fn sign_in(
    args: &Args,
    client: &Client,
    login: &Login,
    password: &Secret,
) -> anyhow::Result<SignedIn> {
    let done = match (&args.email, &args.username) {
        (Some(email), Some(username)) if args.sign_up => {
            login::sign_up(client, email, username, password)
        }
        _ => login::sign_in(client, login, password),
    };
    done.map_err(|error| match error {
        ApiError::Unauthorized => {
            refused("wrong password, or no such account", client.server()).into()
        }
        ApiError::NotFound => Failure::new(
            Exit::Failed,
            format!("{} is not a wit server: it has no sign-in", client.server()),
        )
        .hint("wit login https://your.server")
        .into(),
        ApiError::Refused { message } if args.sign_up => Failure::new(Exit::Failed, message)
            .hint(
                Suggestion::new("wit login")
                    .arg(client.server().to_string())
                    .args(["--sign-up", "--email", "EMAIL", "--username", "NAME"]),
            )
            .into(),
        other => anyhow::Error::from(other),
    })
}

fn refused(why: &str, server: &ServerUrl) -> Failure {
    let log_in = || Suggestion::new("wit login").arg(server.to_string());
    let sign_up = log_in().args(["--sign-up", "--email", "EMAIL", "--username", "NAME"]);
    Failure::new(Exit::NotLoggedIn, why).hint(
        Hint::from(log_in())
            .text("; for a new account: ")
            .command(&sign_up),
    )
}

/// A session begun elsewhere; whose it is, the server tells.
fn given_session() -> anyhow::Result<SignedIn> {
    Ok(SignedIn {
        session: first_line("session")?,
        cookie: None,
        expiry: None,
        account: String::new(),
    })
}

/// The first line of stdin without its end.
pub(super) fn first_line(what: &str) -> anyhow::Result<Secret> {
    // Taken in one allocation, so that growing leaves no copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(PASSWORD_LIMIT as usize + 1));
    io::stdin()
        .lock()
        .take(PASSWORD_LIMIT)
        .read_until(b'\n', &mut line)
        .with_context(|| format!("can't read the {what}"))?;
    while line
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        line.pop();
    }
    if line.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("no {what} on stdin"))
            .hint("write it to stdin, on its first line")
            .into());
    }
    Ok(Secret::from(line))
}

pub(super) fn no_terminal(hint: impl Into<Hint>) -> anyhow::Error {
    Failure::new(Exit::Usage, "there is no terminal to ask on")
        .hint(hint)
        .into()
}

fn asked_login(remembered: Option<String>, server: &str) -> anyhow::Result<Login> {
    if !io::stdin().is_terminal() {
        return match remembered {
            Some(name) => Ok(named(name)),
            None => Err(no_terminal(with_password(server))),
        };
    }
    match &remembered {
        Some(name) => eprint!("Username or email [{}]: ", escaped(name)),
        None => eprint!("Username or email: "),
    }
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin()
        .lock()
        .take(PASSWORD_LIMIT)
        .read_line(&mut line)?;
    match (line.trim(), remembered) {
        ("", Some(name)) => Ok(named(name)),
        ("", None) => Err(Failure::new(Exit::Usage, "no name was given")
            .hint(
                Suggestion::new("wit login")
                    .arg(server)
                    .args(["--username", "NAME"]),
            )
            .into()),
        (name, _) => Ok(named(name.to_owned())),
    }
}

fn named(name: String) -> Login {
    match name.contains('@') {
        true => Login::Email(name),
        false => Login::Username(name),
    }
}

fn asked_password(new: bool, server: &str) -> anyhow::Result<Secret> {
    asked("password", new, with_password(server))
}

fn with_password(server: &str) -> Suggestion {
    let options = ["--username", "NAME", "--password-stdin"];
    Suggestion::new("wit login").arg(server).args(options)
}

/// Asks for a secret without showing it, and for a new one twice. Where there is no terminal, `hint`
/// says what to type instead.
pub(super) fn asked(what: &str, new: bool, hint: impl Into<Hint>) -> anyhow::Result<Secret> {
    if !io::stdin().is_terminal() {
        return Err(no_terminal(hint));
    }
    let prompt = format!("{}{}: ", what[..1].to_uppercase(), &what[1..]);
    let secret = Secret::from(rpassword::prompt_password(prompt)?);
    if secret.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("no {what} was given"))
            .hint("run it again, and type one")
            .into());
    }
    if new && Secret::from(rpassword::prompt_password(format!("Repeat {what}: "))?) != secret {
        return Err(Failure::new(Exit::Usage, format!("the two {what}s differ"))
            .hint("run it again, and type the same twice")
            .into());
    }
    Ok(secret)
}
