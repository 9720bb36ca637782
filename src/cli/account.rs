//! `wit account`: your account on a server of `wit up`, its password and its sign-ins.

use std::fmt::Write;

use serde_json::{Value, json};

use super::ask::{asked, first_line, first_line_of_new};
use super::confirm::confirm;
use super::login::checked_email;
use super::output::{ago, date, escaped, rfc3339};
use super::session::{self, Login, ServerArgs};
use super::{Context, Exit, Failure, examples};
use crate::api::ApiError;
use crate::api::account::{self, SignIn};
use crate::expiry::UnixTime;
use crate::quote::Suggestion;
use crate::secret::Secret;

const SIGN_INS: &str = "wit account sign-ins";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show your account: its email, and its id
    #[command(after_help = examples::ACCOUNT_SHOW)]
    Show(ServerArgs),
    /// Change your password, and end all other sign-ins; tokens stay valid
    #[command(after_help = examples::ACCOUNT_PASSWORD)]
    Password(Password),
    /// Change your email
    #[command(after_help = examples::ACCOUNT_EMAIL)]
    Email(Email),
    /// Show the browsers and programs that are signed in to your account
    #[command(after_help = examples::ACCOUNT_SIGN_INS)]
    SignIns(ServerArgs),
    /// End sign-ins, such as that of a lost laptop; tokens stay valid
    #[command(after_help = examples::ACCOUNT_SIGN_OUT)]
    SignOut(SignOut),
}

#[derive(Debug, clap::Args)]
struct Password {
    /// Read the old password from the first line of stdin, and the new one from the second
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
struct Email {
    /// The new email
    email: String,
    /// Read your password from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
#[group(id = "which", required = true, multiple = false, args = ["id", "others", "all"])]
struct SignOut {
    /// The id of a sign-in, or its first characters
    id: Option<String>,
    /// All except this one
    #[arg(long)]
    others: bool,
    /// All, including this one
    #[arg(long)]
    all: bool,
    /// Skip the confirmation prompt, which is shown for --others and --all
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        Command::Show(server) => show(&server, context),
        Command::Password(args) => password(&args, context),
        Command::Email(args) => email(&args, context),
        Command::SignIns(server) => sign_ins(&server, context),
        Command::SignOut(args) => sign_out(&args, context),
    }
}

/// A server without such an API, in words.
fn told(error: ApiError, login: &Login) -> anyhow::Error {
    match error {
        ApiError::NotFound => {
            let server = login.client.server();
            let message = format!("{server} has no account API of a wit server");
            Failure::new(Exit::Failed, message)
                .hint("only servers of wit up have one; elsewhere use the server's own pages")
                .into()
        }
        other => other.into(),
    }
}

/// The same of a change, which the server refuses for what was typed.
fn not_changed(error: ApiError, login: &Login, again: &'static str) -> anyhow::Error {
    match error {
        ApiError::Forbidden { message } | ApiError::Refused { message } => {
            Failure::new(Exit::Failed, message).hint(again).into()
        }
        other => told(other, login),
    }
}

fn show(args: &ServerArgs, context: &Context) -> anyhow::Result<Exit> {
    let login = session::login(context, args)?;
    let shown = account::show(&login.client, &login.session.token);
    let shown = shown.map_err(|error| told(error, &login))?;
    let name = shown.username.as_deref().unwrap_or_default();
    let text = format!(
        "Username: {}\nEmail:    {}\nUser id:  {}\nServer:   {}\n",
        escaped(name),
        escaped(&shown.email),
        escaped(&shown.id),
        login.client.server(),
    );
    let document = json!({
        "username": shown.username,
        "email": shown.email,
        "id": shown.id,
        "server": login.client.server().to_string(),
    });
    context.answer(&document, &text)
}

/// Your password, from stdin or asked for.
fn current(is_stdin: bool, hint: &'static str) -> anyhow::Result<Secret> {
    match is_stdin {
        true => first_line("password"),
        false => asked("password", false, hint),
    }
}

fn password(args: &Password, context: &Context) -> anyhow::Result<Exit> {
    let hint = "wit account password --password-stdin < passwords";
    let login = session::login(context, &args.server)?;
    let current = current(args.password_stdin, hint)?;
    let new = match args.password_stdin {
        true => first_line_of_new("new password")?,
        false => asked("new password", true, hint)?,
    };
    let (client, session) = (&login.client, &login.session.token);
    let ended = account::change_password(client, session, &current, &new);
    let ended = ended.map_err(|error| not_changed(error, &login, "wit account password"))?;
    let text = format!("Changed the password, and ended {}\n", counted(ended));
    context.answer(&json!({ "endedSignIns": ended }), &text)
}

/// `1 other sign-in`.
fn counted(others: u64) -> String {
    match others {
        1 => "1 other sign-in".to_owned(),
        others => format!("{others} other sign-ins"),
    }
}

fn email(args: &Email, context: &Context) -> anyhow::Result<Exit> {
    checked_email(&args.email)?;
    let login = session::login(context, &args.server)?;
    let hint = "wit account email EMAIL --password-stdin < password";
    let current = current(args.password_stdin, hint)?;
    let (client, session) = (&login.client, &login.session.token);
    let changed = account::change_email(client, session, &args.email, &current);
    let changed = changed.map_err(|error| not_changed(error, &login, "wit account email EMAIL"))?;
    let text = format!("Your email is now {}\n", escaped(&changed.email));
    context.answer(&json!({ "email": changed.email }), &text)
}

fn all(login: &Login) -> anyhow::Result<Vec<SignIn>> {
    let all = account::sign_ins(&login.client, &login.session.token);
    all.map_err(|error| told(error, login))
}

fn sign_ins(args: &ServerArgs, context: &Context) -> anyhow::Result<Exit> {
    let login = session::login(context, args)?;
    let all = all(&login)?;
    let now = UnixTime::now();
    let from = |address: &Option<String>| match address {
        Some(address) => format!(" from {}", escaped(address)),
        None => String::new(),
    };
    let mut text = format!("Sign-ins ({})\n", all.len());
    for one in &all {
        let this = if one.is_current { "  [this one]" } else { "" };
        let used = match one.last_used {
            Some(at) => format!("  Last used: {}{}", ago(at, now), from(&one.last_address)),
            None => String::new(),
        };
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "\n{}{this}\n  ID: {}\n  Signed in: {}{}{used}  Ends: {}\n",
            name(one),
            escaped(&one.id),
            ago(one.created, now),
            from(&one.address),
            date(one.expires),
        );
    }
    let documents: Vec<Value> = all.iter().map(document).collect();
    context.answer(&documents.into(), &text)
}

fn name(one: &SignIn) -> String {
    escaped(one.name.as_deref().unwrap_or("unknown"))
}

fn document(one: &SignIn) -> Value {
    json!({
        "id": one.id,
        "name": one.name,
        "address": one.address,
        "createdAt": rfc3339(one.created),
        "expiresAt": rfc3339(one.expires),
        "lastUsedAt": one.last_used.map(rfc3339),
        "lastAddress": one.last_address,
        "current": one.is_current,
    })
}

fn sign_out(args: &SignOut, context: &Context) -> anyhow::Result<Exit> {
    let login = session::login(context, &args.server)?;
    let (client, session) = (&login.client, &login.session.token);
    let Some(id) = &args.id else {
        let which = match args.others {
            true => "all other sign-ins",
            false => "all sign-ins, including this one",
        };
        let server = client.server();
        confirm(&format!("End {which} at {server}?"), args.yes)?;
        let ended = account::end_all(client, session, args.others);
        let ended = ended.map_err(|error| told(error, &login))?;
        let text = match args.others {
            true => format!("Ended {}\n", counted(ended)),
            false => {
                let again = Suggestion::new("wit login").arg(client.server().to_string());
                format!("Ended all sign-ins ({ended})\n\nTo sign in again:\n\n  {again}\n")
            }
        };
        return context.answer(&json!({ "ended": ended }), &text);
    };
    let all = all(&login)?;
    let fitting: Vec<&SignIn> = (all.iter())
        .filter(|one| one.id.starts_with(id.as_str()))
        .collect();
    let one = match fitting.as_slice() {
        [one] => one,
        [] => {
            let message = format!("no sign-in matches '{}'", escaped(id));
            return Err(Failure::new(Exit::Failed, message).hint(SIGN_INS).into());
        }
        several => {
            let message = format!("'{}' matches {} sign-ins", escaped(id), several.len());
            return Err(Failure::new(Exit::Failed, message).hint(SIGN_INS).into());
        }
    };
    match account::end(client, session, &one.id) {
        // Somebody else was faster.
        Ok(()) | Err(ApiError::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    let text = format!("Ended the sign-in of {}\n", name(one));
    context.answer(&json!({ "ended": 1, "id": one.id }), &text)
}
