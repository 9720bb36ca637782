//! `wit login`.

pub mod browser;
pub mod git_host;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::ask::{Terminal, first_line, first_line_of_new, line};
use super::output::{self, escaped};
use super::session::{self, CONNECTION, parse_url};
use super::{Context, Exit, Failure};
use crate::api::Form;
use crate::api::login::Login;
use crate::api::server::ServerUrl;
use crate::app::git_config;
use crate::app::login::{self, Request, Way};
use crate::app::session::SessionError;
use crate::config::Config;
use crate::names::{USERNAME_RULE, is_email, is_username};
use crate::quote::{Hint, Suggestion};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server [default: the one known already]
    url: Option<String>,
    /// The same as URL, as other commands take it
    #[arg(long, value_name = "URL", conflicts_with = "url", help_heading = CONNECTION)]
    server: Option<String>,
    /// Sign in with an email address and a password
    #[arg(long)]
    email: Option<String>,
    /// Sign in with a username and a password; with a pasted token, the account that it is of
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
    /// Create the account first; asks for --email and --username where they are missing
    #[arg(long)]
    sign_up: bool,
    /// Read a session begun elsewhere from the first line of stdin
    #[arg(long, conflicts_with_all = ["password_stdin", "sign_up"])]
    session_stdin: bool,
    /// Open no browser: print the address for one; the address it ends at can be pasted
    #[arg(long)]
    no_browser: bool,
    /// The form of the server's token API [default: the one it answers in]
    #[arg(long, value_name = "FORM", value_parser = forms())]
    api: Option<Form>,
    /// Speak plain http to another machine, where anybody on the way can read the password
    #[arg(long, help_heading = CONNECTION)]
    allow_http: bool,
    /// Trust the certificates in FILE (PEM) too, from now on
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    ca_file: Option<PathBuf>,
    #[command(flatten)]
    host: git_host::HostArgs,
}

/// The forms of the token API, by their names.
fn forms() -> impl TypedValueParser<Value = Form> {
    let names = Form::ALL.map(Form::name);
    PossibleValuesParser::new(names).map(|name| Form::parse(&name).unwrap_or(Form::Rest))
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let server = match args.url.as_ref().or(args.server.as_ref()) {
        Some(url) => {
            refuse_ssh_address(url)?;
            parse_url(url)?
        }
        None => session::server(&config, None).map_err(which_server)?,
    };
    refuse_clone_address(&server, &config)?;
    let given = git_host::Given {
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
    if let Some(exit) = git_host::run(&given, &server, context)? {
        return Ok(exit);
    }
    if args.host.takes_token() {
        let message = format!(
            "at a wit server such as {server} the login is a session, which no token stands in for"
        );
        let hint = Hint::from(
            "paste the token where git asks for a password, and it is stored; for another: ",
        )
        .command(&Suggestion::new("wit login").arg(server.to_string()));
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    }
    refuse_options(&args, &server)?;
    if args.api == Some(Form::Database) {
        return link(&server, context);
    }
    let ca_file = (args.ca_file.as_deref())
        .map(std::path::absolute)
        .transpose()?;
    let terminal = Terminal {
        server: server.to_string(),
        opens_browser: !args.no_browser,
        ..Terminal::default()
    };
    let request = Request {
        way: way(&args, &server)?,
        server,
        form: args.api,
        allow_http: args.allow_http,
        ca_file,
    };
    let done = login::log_in(&context.paths, request, &terminal)?;
    // As each command that has to do with a server; now there is a login to do it with.
    super::token::end_due_graces(context);
    if context.json {
        output::json(&json!({
            "server": done.server,
            "account": done.account,
            "api": done.form.name(),
            "expiresAt": done.expiry.map(|expiry| output::rfc3339(expiry.0)),
            "store": done.store,
            "location": done.location,
            "replacedSessionEnded": done.has_replaced.then_some(done.not_ended.is_empty()),
        }))?;
        return Ok(Exit::Done);
    }
    for error in done.not_ended {
        eprintln!("warning: the session before this one was not ended at the server: {error}");
    }
    let (server, account) = (done.server, escaped(&done.account));
    output::print(format!("Logged in to {server} as {account}.\n").as_bytes())?;
    if done.is_first {
        eprintln!("Secrets are kept in {}.", output::tilde(&done.location));
    }
    let config = Config::load(&context.paths).unwrap_or_default();
    output::warn_untrusted(&config, Some(&server.to_string()));
    next(&server, context);
    Ok(Exit::Done)
}

/// Refuses options that would be passed over at a wit server.
fn refuse_options(args: &Args, server: &ServerUrl) -> Result<(), Failure> {
    let login = Suggestion::new("wit login").arg(server.to_string());
    if let Some(option) = args.host.without_meaning() {
        let message = format!("{option} has no meaning at a wit server such as {server}");
        let typed = login.clone().args(["--host-type", "TYPE"]);
        let hint = Hint::from(login)
            .text("; if it is another host: ")
            .command(&typed);
        return Err(Failure::new(Exit::Usage, message).hint(hint));
    }
    let Some(by_browser) = args.host.by_browser() else {
        return Ok(());
    };
    let others = [
        (args.session_stdin, "--session-stdin"),
        (args.sign_up, "--sign-up"),
        (args.password_stdin, "--password-stdin"),
        (args.email.is_some(), "--email"),
        (args.username.is_some(), "--username"),
    ];
    match others.iter().find(|(is_given, _)| *is_given) {
        None => Ok(()),
        Some((_, other)) => {
            let message = format!(
                "{by_browser} and {other} are two ways in to a wit server: in the browser the \
                 account is chosen there"
            );
            Err(Failure::new(Exit::Usage, message).hint(login.arg(by_browser)))
        }
    }
}

/// The error where nobody has said at which server.
fn which_server(error: SessionError) -> anyhow::Error {
    match error {
        SessionError::NoServer => Failure::new(Exit::Usage, "which server? None is known yet")
            .hint("wit login https://your.server")
            .into(),
        other => other.into(),
    }
}

/// Refuses an address of ssh, as hosts show it beside that of https, and names the server's.
fn refuse_ssh_address(url: &str) -> Result<(), Failure> {
    let address = match url.strip_prefix("ssh://") {
        Some(rest) => rest,
        None if url.contains("://") => return Ok(()),
        None => url,
    };
    // `git@host:path` (git-clone(1)).
    let Some((_, rest)) = address.split_once('@') else {
        return Ok(());
    };
    let host = rest.split([':', '/']).next().unwrap_or_default();
    let message = format!(
        "{} is an address for ssh, which needs no token",
        escaped(url)
    );
    let login = Suggestion::new("wit login").arg(format!("https://{host}"));
    Err(Failure::new(Exit::Usage, message).hint(Hint::from("to use https there: ").command(&login)))
}

/// Refuses the address of a repository, which is pasted easily, and names the server's.
fn refuse_clone_address(server: &ServerUrl, config: &Config) -> Result<(), Failure> {
    let text = server.to_string();
    if !text.ends_with(".git") || config.servers.contains_key(&text) {
        return Ok(());
    }
    // A server may lie below a path.
    let is_below = |known: &&String| {
        let rest = text.strip_prefix(known.as_str());
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let known = config
        .servers
        .keys()
        .filter(is_below)
        .max_by_key(|known| known.len());
    let place = match known {
        Some(known) => known.clone(),
        None => server.at("").origin().ascii_serialization(),
    };
    let message = format!("{text} is the address of a repository, not of a server");
    Err(Failure::new(Exit::Usage, message).hint(Suggestion::new("wit login").arg(place)))
}

/// The way in that the options name. By a browser, where one is spoken of, or nothing was said of a
/// password and there is a terminal to show a code on.
fn way(args: &Args, server: &ServerUrl) -> anyhow::Result<Way> {
    if args.session_stdin {
        return Ok(Way::Session {
            session: first_line("session")?,
            named: args.username.clone().or(args.email.clone()),
        });
    }
    if args.sign_up {
        return sign_up(args, server);
    }
    if let Some(email) = &args.email {
        checked_email(email)?;
    }
    let by_password = args.password_stdin
        || args.host.by_password()
        || args.email.is_some()
        || args.username.is_some();
    let is_chosen = args.host.by_browser().is_some();
    let has_terminal = || io::stdin().is_terminal() && io::stderr().is_terminal();
    if is_chosen || !by_password && (args.no_browser || has_terminal()) {
        return Ok(Way::Browser {
            device_name: output::machine(),
            or_password: !is_chosen,
        });
    }
    let password = match args.password_stdin {
        true => Some(first_line("password")?),
        false => None,
    };
    let email = args.email.clone().map(Login::Email);
    Ok(Way::Password {
        login: email.or(args.username.clone().map(Login::Username)),
        password,
    })
}

/// A new account. What is missing is asked for, and a name that no server takes is refused before
/// anybody has thought of a password.
fn sign_up(args: &Args, server: &ServerUrl) -> anyhow::Result<Way> {
    let hint = || {
        let options = ["--sign-up", "--email", "EMAIL", "--username", "NAME"];
        let command = Suggestion::new("wit login").arg(server.to_string());
        command.args(options).arg("--password-stdin")
    };
    type Check<'a> = &'a dyn Fn(&str) -> Result<(), Failure>;
    let named = |name: &str| match is_username(name) {
        true => Ok(()),
        false => Err(Failure::new(Exit::Usage, USERNAME_RULE).hint(hint())),
    };
    let asked = |value: &Option<String>, what: &str, check: Check| match value {
        Some(value) => check(value)
            .map(|()| value.clone())
            .map_err(anyhow::Error::from),
        None => line(what, check, hint()),
    };
    let username = asked(&args.username, "Username", &named)?;
    let email = asked(&args.email, "Email", &checked_email)?;
    Ok(Way::SignUp {
        email,
        username,
        password: match args.password_stdin {
            true => Some(first_line_of_new("password")?),
            false => None,
        },
    })
}

/// Refuses what no server takes, before anything else is asked.
pub(super) fn checked_email(email: &str) -> Result<(), Failure> {
    match is_email(email) {
        true => Ok(()),
        false => {
            let message = format!("not an email address: {}", escaped(email));
            Err(Failure::new(Exit::Usage, message).hint("such as --email ada@example.com"))
        }
    }
}

/// Commands that lead from a sign-in to a push.
fn next(server: &str, context: &Context) {
    let is_set_up = git_config::chain::asks_ours(server);
    let create = Suggestion::new("wit token create").option("--server", server);
    match is_set_up {
        true => output::next(context, create),
        false => output::next(context, "wit setup"),
    }
}

/// `--api database`.
fn link(server: &ServerUrl, context: &Context) -> anyhow::Result<Exit> {
    let account = login::link_database(&context.paths, server)?;
    let name = server.to_string();
    if context.json {
        output::json(&json!({ "server": name, "account": account, "api": "database" }))?;
    } else {
        let text = format!(
            "Tokens of {name} are managed directly in {}, as {}.\n",
            login::DATABASE,
            escaped(&account)
        );
        output::print(text.as_bytes())?;
    }
    Ok(Exit::Done)
}
