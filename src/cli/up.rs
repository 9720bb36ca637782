//! `wit up`: the platform on this machine, its start and its operation.

mod background;
mod backup;
mod check;
mod command;
mod foreground;
pub mod options;
mod reload;
mod report;
mod restore;

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

pub use command::about;
pub use report::{shared_url, url};

use super::{Context, Exit, Failure, examples};
use crate::config;
use crate::platform::instance::OutOfReach;
use crate::platform::last_start::{self, LastStart};
use crate::platform::sqlite_file;
use crate::quote::{Hint, Suggestion};
use crate::system;

/// The database of the last start can't be had.
const NO_DATABASE_URL: &str =
    "the last start used a PostgreSQL database, and DATABASE_URL is not set";

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(flatten)]
    start: options::Start,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write a backup of the server, while it runs or not
    #[command(after_help = examples::UP_BACKUP)]
    Backup(backup::Args),
    /// Check the server's data for problems, also while the server runs
    #[command(after_help = examples::UP_CHECK)]
    Check(check::Args),
    /// Make the server reload its certificate and reopen its log
    #[command(after_help = examples::UP_RELOAD)]
    Reload(reload::Args),
    /// Restore a server from its backup
    #[command(after_help = examples::UP_RESTORE)]
    Restore(restore::Args),
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        None => start(args.start, context),
        Some(Command::Backup(args)) => backup::run(&args, context),
        Some(Command::Check(args)) => check::run(&args, context),
        Some(Command::Reload(args)) => reload::run(&args, context),
        Some(Command::Restore(args)) => restore::run(&args, context),
    }
}

/// Location of a server's data, for its operator.
#[derive(Debug, clap::Args)]
struct Place {
    /// The server's data directory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The server's directory of repositories, where it was given one
    #[arg(long, value_name = "DIR")]
    repositories: Option<PathBuf>,
}

impl Place {
    fn data_dir(&self, context: &Context) -> anyhow::Result<PathBuf> {
        data_dir(self.data_dir.as_deref(), context)
    }

    fn repositories(&self, data_dir: &Path) -> anyhow::Result<PathBuf> {
        last_start::repositories(data_dir, self.repositories.as_deref())
    }

    /// A command about the same server.
    fn command(
        &self,
        words: &'static str,
        data_dir: &Path,
        context: &Context,
    ) -> anyhow::Result<Suggestion> {
        let command = about(words, data_dir, context);
        Ok(match &self.repositories {
            Some(directory) => {
                let directory = std::path::absolute(directory)?;
                command.option("--repositories", directory.display().to_string())
            }
            None => command,
        })
    }
}

/// Refuses what is done in SQLite only, where `DATABASE_URL` names a PostgreSQL.
fn require_sqlite(hint: Hint) -> anyhow::Result<()> {
    match config::variable("DATABASE_URL") {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            Exit::Usage,
            "DATABASE_URL names a PostgreSQL database, which is backed up and restored with its own tools",
        )
        .hint(hint)
        .into()),
    }
}

/// `1 repository`, `2 repositories`.
fn repositories(count: usize) -> String {
    match count {
        1 => "1 repository".to_owned(),
        many => format!("{many} repositories"),
    }
}

/// Refuses a data directory without the SQLite database of a server, to be used as DATABASE_URL is not set.
pub fn require_data(data_dir: &Path, context: &Context) -> anyhow::Result<()> {
    if LastStart::read(data_dir)?.postgres {
        // A database that is there too is what was used before, and is out of date.
        let hint = "set DATABASE_URL, as for the server";
        return Err(Failure::new(Exit::Usage, NO_DATABASE_URL).hint(hint).into());
    }
    let file = sqlite_file(data_dir);
    match std::fs::metadata(&file) {
        Ok(file) if file.is_file() => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't look at {}", file.display()))
        }
        _ => Err(no_data(data_dir, about("wit up", data_dir, context).into())),
    }
}

/// Refuses a data directory whose server does not use the PostgreSQL that DATABASE_URL names: its
/// directory of repositories is another's.
pub fn require_data_of_postgres(data_dir: &Path, named: Option<&Path>) -> anyhow::Result<()> {
    match named.is_some() || LastStart::read(data_dir)?.postgres {
        true => Ok(()),
        false => {
            let message = format!(
                "no server has used a PostgreSQL database with the data directory {}",
                data_dir.display()
            );
            let hint = "name the server's: --data-dir DIR; or its repositories: --repositories DIR";
            Err(Failure::new(Exit::Usage, message).hint(hint).into())
        }
    }
}

fn no_data(place: &Path, hint: Hint) -> anyhow::Error {
    let message = format!("there is no server data in {}", place.display());
    Failure::new(Exit::Failed, message).hint(hint).into()
}

/// Refuses to work as another user than the server's: what is created in its directories would be out
/// of its reach, and git does not touch what is another's.
fn require_owner(place: &Path) -> anyhow::Result<()> {
    let owner = system::mode_and_owner(place).map(|(_, owner)| owner);
    match owner.filter(|owner| *owner != system::own_user()) {
        None => Ok(()),
        Some(owner) => {
            let message = format!("{} belongs to user {owner}", place.display());
            let hint = "run the same command as that user, such as with sudo -u";
            Err(Failure::new(Exit::Usage, message).hint(hint).into())
        }
    }
}

/// An error of a signal to a server with what to do about it.
pub fn with_reach(error: anyhow::Error) -> anyhow::Error {
    let hint = match error.downcast_ref() {
        Some(OutOfReach::OtherNamespace(_)) => Hint::from(
            "run the same command there, such as with docker exec, or stop the container",
        ),
        Some(OutOfReach::NotTheServer { .. }) => {
            Hint::from("stop the process that has the lock: lslocks lists it by its file")
        }
        None => return error,
    };
    Failure::new(Exit::Failed, error.to_string())
        .hint(hint)
        .caused_by(error)
        .into()
}

/// A runtime for one command.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("can't start a runtime")
}

fn start(args: options::Start, context: &Context) -> anyhow::Result<Exit> {
    let data_dir = data_dir(args.data_dir.as_deref(), context)?;
    refuse_sudo(&data_dir, context)?;
    // The directory alone may be anybody's, as a volume of a container is.
    require_owner(&sqlite_file(&data_dir))?;
    let last = LastStart::read(&data_dir)?;
    let args = options::Start {
        // The server stands in another directory.
        serving: args.serving.absolute()?.after(&last),
        ..args
    };
    let serving = &args.serving;
    if !serving.listen().is_loopback() && !serving.allow_http && serving.tls_cert.is_none() {
        let listen = serving.listen();
        let message =
            format!("{listen} can be reached by other machines, and http is not encrypted");
        let again = command::start(&args, &data_dir, &last, context);
        let hint = Hint::from(again.args(["--tls-cert", "FILE", "--tls-key", "FILE"]))
            .text(", or --allow-http instead of the certificate");
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    }
    require_database(serving, &last)?;
    match args.foreground {
        true => foreground::run(&args, data_dir, &last, context),
        false => background::run(&args, &data_dir, &last, context),
    }
}

/// Refuses to go from a PostgreSQL to a database in the data directory, unless that is asked for.
pub fn require_database(serving: &options::Serving, last: &LastStart) -> Result<(), Failure> {
    if !last.postgres || serving.defaults || config::variable("DATABASE_URL").is_some() {
        return Ok(());
    }
    let hint = "set DATABASE_URL; for a database in the data directory, add --defaults";
    Err(Failure::new(Exit::Usage, NO_DATABASE_URL).hint(hint))
}

/// Refuses a start by a remembered file that is gone. The hint replaces it or gives it up, and no other
/// option with it.
fn require_remembered_files(
    args: &options::Start,
    data_dir: &Path,
    last: &LastStart,
    context: &Context,
) -> anyhow::Result<()> {
    let Err(lost) = args.serving.require_remembered_files() else {
        return Ok(());
    };
    let replace = ["--tls-cert", "FILE", "--tls-key", "FILE"];
    let again = command::start(args, data_dir, last, context);
    let mut hint = Hint::from(again.args(replace));
    if let Some(plain) = args.serving.without_tls() {
        let plain = options::Start {
            serving: plain,
            ..args.clone()
        };
        hint = (hint.text("; without TLS: "))
            .command(&command::start(&plain, data_dir, last, context));
    }
    let lost = anyhow::Error::from(lost);
    Err(Failure::new(Exit::Failed, format!("{lost:#}"))
        .hint(hint)
        .caused_by(lost)
        .into())
}

/// The data directory that was named, made absolute, or the usual one.
pub fn data_dir(named: Option<&Path>, context: &Context) -> anyhow::Result<PathBuf> {
    match named {
        Some(dir) => std::path::absolute(dir).with_context(|| dir.display().to_string()),
        None => Ok(context.paths.platform_dir()),
    }
}

/// Files that git creates as root could not be changed by their owner later, and git refuses root
/// what is not root's.
/// A container's root, which no sudo has started, may have any home.
fn refuse_sudo(data_dir: &Path, context: &Context) -> anyhow::Result<()> {
    let existing = data_dir.ancestors().find(|dir| dir.exists());
    let owner = existing.and_then(config::heir);
    let by_sudo = config::variable("SUDO_UID");
    match owner.is_some_and(|owner| by_sudo == Some(owner.user.to_string())) {
        false => Ok(()),
        true => Err(Failure::new(
            Exit::Usage,
            format!("{} would end up partly owned by root", data_dir.display()),
        )
        .hint(Hint::from(about("wit up", data_dir, context)).text(", without sudo"))
        .into()),
    }
}
