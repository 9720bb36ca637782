//! `wit user`: the accounts of a `wit up`, for whoever runs it. It works on the database itself, while
//! the server runs or not.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::ask::{confirm_loss, first_line_of_new};
use super::output::{self, escaped};
use super::session::parse_url;
use super::{Context, Exit, Failure, examples};
use crate::config;
use crate::database::accounts::User;
use crate::database::operator::AccountRecord;
use crate::database::{Database, random_name};
use crate::duration::some_days;
use crate::platform::last_start::{self, LastStart};
use crate::platform::{instance, sqlite_file};
use crate::quote::{Hint, Suggestion};
use crate::secret::Secret;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show all accounts
    #[command(visible_alias = "ls", after_help = examples::USER_LIST)]
    List(Place),
    /// Print a one-time link that creates an account, even if sign-up is disabled
    #[command(after_help = examples::USER_INVITE)]
    Invite(Invite),
    /// Set a new password, and end the account's sessions; its tokens stay valid
    #[command(after_help = examples::USER_RESET_PASSWORD)]
    ResetPassword(ResetPassword),
    /// Suspend an account: refuse its sessions and tokens at once
    #[command(after_help = examples::USER_SUSPEND)]
    Suspend(Suspend),
    /// Lift a suspension
    #[command(after_help = examples::USER_RESTORE)]
    Restore(Named),
    /// Delete an account with its tokens and repositories
    #[command(visible_alias = "rm", after_help = examples::USER_DELETE)]
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The server's data directory; with DATABASE_URL set, that database is used
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Its username, email or id
    user: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Invite {
    /// The email that the new account has [default: chosen by the invitee]
    #[arg(long)]
    email: Option<String>,
    /// Days until the link expires, also as 7d or 2w
    #[arg(long, value_name = "DAYS", default_value = "7", value_parser = some_days)]
    expires: u32,
    /// The server's URL as the invitee reaches it [default: the one on this machine]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct ResetPassword {
    #[command(flatten)]
    named: Named,
    /// Read the new password from the first line of stdin, instead of a random one
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, clap::Args)]
struct Suspend {
    #[command(flatten)]
    named: Named,
    /// A note for `wit user list`
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Delete {
    #[command(flatten)]
    named: Named,
    /// The server's directory of repositories, where it was given one
    #[arg(long, value_name = "DIR")]
    repositories: Option<PathBuf>,
    /// Skip the confirmation prompt; required without a terminal
    #[arg(long)]
    yes: bool,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        Command::List(place) => list(&place, context),
        Command::Invite(args) => invite(&args, context),
        Command::ResetPassword(args) => reset_password(args, context),
        Command::Suspend(args) => suspend(&args, context),
        Command::Restore(named) => restore(&named, context),
        Command::Delete(args) => delete(args, context),
    }
}

/// The database of a server, and what waits for it.
struct Operator<'a> {
    runtime: Runtime,
    database: Database,
    data_dir: PathBuf,
    context: &'a Context,
}

impl<'a> Operator<'a> {
    fn open(place: &Place, context: &'a Context) -> anyhow::Result<Self> {
        let runtime = super::up::runtime()?;
        let data_dir = super::up::data_dir(place.data_dir.as_deref(), context)?;
        let opening = async {
            match config::variable("DATABASE_URL") {
                Some(url) => Database::connect_postgres(&url)
                    .await
                    .context("can't open the database that DATABASE_URL names"),
                None => {
                    let file = sqlite_file(&data_dir);
                    super::up::require_data(&data_dir, context)?;
                    let opened = Database::connect_sqlite(&file).await;
                    opened.with_context(|| format!("can't open {}", file.display()))
                }
            }
        };
        let database = runtime.block_on(opening)?;
        Ok(Operator {
            runtime,
            database,
            data_dir,
            context,
        })
    }

    fn user(&self, name: &str) -> anyhow::Result<User> {
        let found = (self.runtime).block_on(self.database.account_called(name))?;
        found.ok_or_else(|| {
            let message = format!("no account matches '{}'", escaped(name));
            Failure::new(Exit::Failed, message)
                .hint(self.command("wit user list"))
                .into()
        })
    }

    /// A command about the same server.
    fn command(&self, words: &'static str) -> Suggestion {
        super::up::about(words, &self.data_dir, self.context)
    }
}

/// Name by which people know an account.
fn called(user: &User) -> String {
    escaped(user.username.as_deref().unwrap_or(&user.id))
}

fn list(place: &Place, context: &Context) -> anyhow::Result<Exit> {
    let operator = Operator::open(place, context)?;
    let all = (operator.runtime).block_on(operator.database.accounts())?;
    let mut text = format!("Accounts ({})\n", all.len());
    for one in &all {
        let (name, email) = (called(&one.user), escaped(&one.user.email));
        let reason = match &one.suspended_reason {
            Some(reason) => format!(": {}", escaped(reason)),
            None => String::new(),
        };
        let suspended = match one.user.suspended {
            true => format!("  [SUSPENDED{reason}]"),
            false => String::new(),
        };
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "\n{name}  {email}{suspended}\n  ID: {}  Tokens: {}  Created: {}\n",
            escaped(&one.user.id),
            one.tokens,
            one.created_at.date(),
        );
    }
    let documents: Vec<Value> = all.iter().map(document).collect();
    context.answer(&documents.into(), &text)
}

fn document(one: &AccountRecord) -> Value {
    json!({
        "id": one.user.id,
        "username": one.user.username,
        "email": one.user.email,
        "name": one.user.name,
        "suspended": one.user.suspended,
        "suspendedReason": one.suspended_reason,
        "tokens": one.tokens,
        "createdAt": output::rfc3339(crate::expiry::UnixTime(
            one.created_at.assume_utc().unix_timestamp(),
        )),
    })
}

fn invite(args: &Invite, context: &Context) -> anyhow::Result<Exit> {
    if let Some(email) = &args.email {
        super::login::checked_email(email)?;
    }
    let operator = Operator::open(&args.place, context)?;
    let server = match (&args.url, instance::running(&operator.data_dir)?) {
        (Some(url), _) => parse_url(url)?.to_string(),
        (None, Some(running)) => {
            let certificate = LastStart::read(&operator.data_dir)?.tls_cert;
            let (public, certificate) = (running.public_url.as_deref(), certificate.as_deref());
            let (address, is_tls) = (running.address, running.is_tls);
            match super::up::shared_url(address, is_tls, public, certificate)? {
                Some(url) => url,
                None => super::up::url(address, is_tls)?,
            }
        }
        (None, None) => {
            let message = "no server is running here, so its URL is not known";
            let mut named = operator.command("wit user invite").args(["--url", "URL"]);
            if let Some(email) = &args.email {
                named = named.option("--email", email);
            }
            let hint = Hint::from(operator.command("wit up"))
                .text(", or name it: ")
                .command(&named);
            return Err(Failure::new(Exit::Usage, message).hint(hint).into());
        }
    };
    if let Some(email) = &args.email
        && let Some(user) = (operator.runtime).block_on(operator.database.account_called(email))?
    {
        let message = format!(
            "{} already has an account: {}",
            escaped(email),
            called(&user)
        );
        return Err(Failure::new(Exit::Failed, message)
            .hint(operator.command("wit user reset-password").arg(email))
            .into());
    }
    let life = time::Duration::days(args.expires.into());
    let inviting = operator.database.invite(args.email.as_deref(), life);
    let (code, invitation) = operator.runtime.block_on(inviting)?;
    let code = code.expose_str().unwrap_or_default();
    let link = format!("{server}/login/invitation/{code}");
    let ends = crate::expiry::UnixTime(invitation.expires_at.unix_timestamp());
    let text = format!(
        "This link creates one account and expires on {}:\n\n  {link}\n\nIt is not shown again.\n",
        output::rfc3339(ends)
    );
    let document = json!({
        "url": link,
        "email": invitation.email,
        "expiresAt": output::rfc3339(ends),
    });
    context.answer(&document, &text)
}

fn reset_password(args: ResetPassword, context: &Context) -> anyhow::Result<Exit> {
    let given = match args.password_stdin {
        true => Some(first_line_of_new("password")?),
        false => None,
    };
    let operator = Operator::open(&args.named.place, context)?;
    let user = operator.user(&args.named.user)?;
    let (password, shown) = match given {
        Some(password) => (password, None),
        None => {
            let password = Secret::from(random_name(24));
            (password.clone(), Some(password))
        }
    };
    let setting = operator.database.set_password(&user.id, password);
    operator.runtime.block_on(setting)?;
    let name = called(&user);
    let shown = shown.as_ref().and_then(Secret::expose_str);
    let mut text = format!("Set a new password for {name} and ended its sessions\n");
    if let Some(password) = shown {
        let _ = write!(text, "\n  {password}\n\nIt is not shown again.\n");
    }
    let document = json!({ "id": user.id, "username": user.username, "password": shown });
    context.answer(&document, &text)
}

fn suspend(args: &Suspend, context: &Context) -> anyhow::Result<Exit> {
    let operator = Operator::open(&args.named.place, context)?;
    let user = operator.user(&args.named.user)?;
    let reason = args.reason.as_deref();
    let suspending = operator.database.set_suspended(&user.id, true, reason);
    operator.runtime.block_on(suspending)?;
    let undo = operator.command("wit user restore").arg(&args.named.user);
    let text = format!("Suspended {}\n\nTo undo this: {undo}\n", called(&user));
    context.answer(&json!({ "id": user.id, "suspended": true }), &text)
}

fn restore(named: &Named, context: &Context) -> anyhow::Result<Exit> {
    let operator = Operator::open(&named.place, context)?;
    let user = operator.user(&named.user)?;
    let restoring = operator.database.set_suspended(&user.id, false, None);
    operator.runtime.block_on(restoring)?;
    let text = format!("Lifted the suspension of {}\n", called(&user));
    context.answer(&json!({ "id": user.id, "suspended": false }), &text)
}

fn delete(args: Delete, context: &Context) -> anyhow::Result<Exit> {
    let operator = Operator::open(&args.named.place, context)?;
    if config::variable("DATABASE_URL").is_some() {
        // Of another's its repositories would stay on the disk.
        super::up::require_data_of_postgres(&operator.data_dir, args.repositories.as_deref())?;
    }
    let user = operator.user(&args.named.user)?;
    let name = called(&user);
    // Before anything is deleted: it may not be readable.
    let place = last_start::repositories(&operator.data_dir, args.repositories.as_deref())?;
    let question = format!("Delete {name} with all tokens and repositories?");
    let mut again = operator.command("wit user delete").arg(&args.named.user);
    if args.repositories.is_some() {
        again = again.option("--repositories", place.display().to_string());
    }
    confirm_loss(&question, args.yes, again)?;
    let deleting = operator.database.delete_account(&user.id);
    let repositories = operator.runtime.block_on(deleting)?;
    // Without its row nobody can reach one any more.
    let mut left = 0;
    for id in &repositories {
        left += usize::from(!remove(&place.join(format!("{id}.git"))));
    }
    if left > 0 {
        let message = format!(
            "deleted {name}, but {left} of its repositories are still in {}",
            place.display()
        );
        return Err(Failure::new(Exit::Unfinished, message).into());
    }
    let text = format!("Deleted {name}\n");
    let document = json!({ "id": user.id, "deleted": true, "repositories": repositories.len() });
    context.answer(&document, &text)
}

/// Removes a repository from the disk; whether it is gone.
fn remove(repository: &Path) -> bool {
    let _ = std::fs::remove_dir_all(repository);
    !repository.exists()
}
