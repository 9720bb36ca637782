//! `wit login`.

mod device;
mod direct;

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
use crate::config::Config;
use crate::item::Session;
use crate::secret::Secret;
use crate::store;

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
    /// Open no browser: only print the address and the code for one
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
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let server = match args.url.as_ref().or(args.server.as_ref()) {
        Some(url) => parse_url(url)?,
        None => session::server(&config, None)?,
    };
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
    let signed_in = if args.session_stdin {
        given_session(&args, remembered())?
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
    let api = login::token_api(&client, &signed_in.session, args.api.as_deref())
        .and_then(|api| match args.session_stdin {
            // Nobody has asked the server about it yet.
            true => api.list().map(|_| api),
            false => Ok(api),
        })
        .map_err(|error| match error {
            ApiError::Unauthorized => refused("the server does not accept this session").into(),
            other => anyhow::Error::from(other),
        })?;
    let decided = store::choice::decide(&context.paths, None)?;
    let session = Session {
        server: name.clone(),
        account: signed_in.account.clone(),
        token: signed_in.session,
        expiry: signed_in.expiry,
    };
    store::update(decided.store.as_ref(), &context.paths, &site, |item| {
        let same = |old: &Session| old.server == session.server && old.account == session.account;
        item.sessions.retain(|old| !same(old));
        item.sessions.insert(0, session);
    })?;
    Config::update(&context.paths, |config| {
        let known = config.servers.entry(name.clone()).or_default();
        known.api = Some(api.form().to_owned());
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
    // As each command that has to do with a server; now there is a login to do it with.
    super::token::end_what_is_over(context);
    let location = decided.store.location();
    if context.json {
        output::json(&json!({
            "server": name,
            "account": signed_in.account,
            "api": api.form(),
            "expiresAt": signed_in.expiry.map(|expiry| output::rfc3339(expiry.0)),
            "store": decided.store.name(),
            "location": location,
        }))?;
        return Ok(Exit::Done);
    }
    let account = escaped(&signed_in.account);
    output::print(format!("Logged in to {name} as {account}.\n").as_bytes())?;
    let first = config.servers.values().all(|known| known.account.is_none());
    if decided.new || first {
        eprintln!("Secrets are kept in {location}.");
    }
    Ok(Exit::Done)
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
                .hint(format!("wit login {}", client.server()))
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
        ApiError::Unauthorized => refused("wrong password, or no such account").into(),
        ApiError::NotFound => Failure::new(
            Exit::Failed,
            format!("{} is not a wit server: it has no sign-in", client.server()),
        )
        .hint("wit login https://your.server")
        .into(),
        ApiError::Refused { message } if args.sign_up => Failure::new(Exit::Failed, message)
            .hint(format!(
                "wit login {} --sign-up --email EMAIL --username NAME",
                client.server()
            ))
            .into(),
        other => anyhow::Error::from(other),
    })
}

fn refused(why: &str) -> Failure {
    Failure::new(Exit::NotLoggedIn, why)
        .hint("wit login again, or wit login --sign-up --email E --username U for an account")
}

fn given_session(args: &Args, remembered: Option<String>) -> anyhow::Result<SignedIn> {
    let account = args.username.clone().or(args.email.clone()).or(remembered);
    let account = account.ok_or_else(|| {
        Failure::new(Exit::Usage, "whose session is it?")
            .hint("wit login URL --username NAME --session-stdin")
    })?;
    Ok(SignedIn {
        session: first_line("session")?,
        expiry: None,
        account,
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
            .hint(format!("put the {what} on the first line of stdin"))
            .into());
    }
    Ok(Secret::from(line))
}

pub(super) fn no_terminal(hint: String) -> anyhow::Error {
    Failure::new(Exit::Usage, "there is no terminal to ask on")
        .hint(hint)
        .into()
}

fn asked_login(remembered: Option<String>, server: &str) -> anyhow::Result<Login> {
    if !io::stdin().is_terminal() {
        return match remembered {
            Some(name) => Ok(named(name)),
            None => Err(no_terminal(format!(
                "wit login {server} --username NAME --password-stdin"
            ))),
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
            .hint(format!("wit login {server} --username NAME"))
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
    asked(
        "password",
        new,
        format!("wit login {server} --username NAME --password-stdin"),
    )
}

/// Asks for a secret without showing it, and for a new one twice. Where there is no terminal, `hint`
/// says what to type instead.
pub(super) fn asked(what: &str, new: bool, hint: String) -> anyhow::Result<Secret> {
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
    if new && Secret::from(rpassword::prompt_password("Once more: ")?) != secret {
        return Err(Failure::new(Exit::Usage, format!("the two {what}s differ"))
            .hint("run it again, and type the same twice")
            .into());
    }
    Ok(secret)
}
