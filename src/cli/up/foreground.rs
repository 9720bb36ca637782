//! The server itself, in this process.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::Mode;

use super::command;
use super::options::{LOOPBACK, Serving, Start};
use super::report;
use crate::cli::ask::first_line_of_new;
use crate::cli::{Context, Exit, Failure};
use crate::config;
use crate::platform::address::{self, CantListen};
use crate::platform::first_user::Wanted;
use crate::platform::last_start::LastStart;
use crate::platform::quota::Quota;
use crate::platform::{
    self, Ready, StartError, UnusableCertificate, UnusableDatabase, instance, log_file, tls,
};
use crate::quote::{Hint, Suggestion};

/// Port that is suggested where one below 1024 is refused.
const UNPRIVILEGED_PORT: u16 = 8443;

pub fn run(
    args: &Start,
    data_dir: PathBuf,
    last: &LastStart,
    context: &Context,
) -> anyhow::Result<Exit> {
    if args.detach {
        rustix::process::setsid().context("can't leave the terminal")?;
    }
    // Its repositories, and all that git writes in them, are for this user alone.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    if !args.detach {
        super::require_remembered_files(args, &data_dir, last, context)?;
        report::warn_of_sign_up(args, &data_dir, last, context);
    }
    let log = log_file::Log::new(&data_dir);
    // There, SIGHUP says that the terminal is gone.
    let reloads = !std::io::stderr().is_terminal();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .json()
        // It would print them on stderr, which is the log too, and panic where the disk is full.
        .log_internal_errors(false)
        .with_writer(move || writer.clone())
        .init();
    let first_user = match &args.user {
        Some(username) => Some(Wanted {
            username: username.clone(),
            email: (args.email.clone()).unwrap_or_else(|| format!("{username}@localhost")),
            password: match args.password_stdin {
                true => Some(first_line_of_new("password")?),
                false => None,
            },
        }),
        None => None,
    };
    let serving = &args.serving;
    let tls = serving.tls_cert.clone().zip(serving.tls_key.clone());
    let database_url = config::variable("DATABASE_URL");
    let options = platform::Options {
        last_start: serving.last_start(database_url.is_some()),
        data_dir,
        listen: serving.listen(),
        port: serving.port,
        database_url,
        repositories: serving.repositories.clone(),
        first_user,
        tls: tls.map(|(certificate, key)| tls::Files { certificate, key }),
        public_url: serving.public_url.clone(),
        proxies: serving.proxy.clone(),
        quota: Quota {
            repositories: serving.max_repositories(),
            disk: serving.max_disk(),
        },
        hosts: serving.host_name.clone(),
        hsts: !serving.no_hsts,
        maintenance: !serving.no_maintenance,
        log: reloads.then_some(log),
        metrics: serving.metrics,
        sign_up: !serving.no_sign_up,
        patience: Duration::from_secs(serving.patience().into()),
    };
    let said = |ready: Ready| -> anyhow::Result<()> {
        if args.detach {
            let mut line = serde_json::to_string(&ready)?;
            line.push('\n');
            std::io::stdout().write_all(line.as_bytes())?;
            return Ok(());
        }
        let moved = report::remember(&ready, &options.data_dir, context)?;
        report::report(&ready, moved, args, &options.data_dir, context)
    };
    let mut told = Ok(());
    let served = platform::serve(&options, |ready| told = said(ready));
    served.map_err(|error| with_hint(error, args, &options.data_dir, last, context))?;
    told?;
    Ok(Exit::Done)
}

/// An error of the start with what to do about it.
fn with_hint(
    error: anyhow::Error,
    args: &Start,
    data_dir: &Path,
    last: &LastStart,
    context: &Context,
) -> anyhow::Error {
    let about = |words| command::about(words, data_dir, context);
    let again = |change: &dyn Fn(&mut Serving)| {
        let mut args = args.clone();
        change(&mut args.serving);
        command::start(&args, data_dir, last, context)
    };
    let restore = || about("wit up restore").args(["--force", "FILE"]);
    let hint: Hint = if error.is::<instance::AlreadyRunning>() {
        command::stop(data_dir, context)
    } else if let Some(foreign) = error.downcast_ref::<CantListen>()
        && foreign.is_of_another_machine()
    {
        let message = format!("this machine has no address {}", foreign.address.ip());
        let again = again(&|serving| serving.listen = Some(LOOPBACK));
        return Failure::new(Exit::Failed, message)
            .hint(Hint::from(again).text(", or another address of this machine"))
            .caused_by(error)
            .into();
    } else if let Some(taken) = error.downcast_ref::<CantListen>() {
        let is_privileged = taken.cause.kind() == ErrorKind::PermissionDenied;
        let port = match taken.is_remembered {
            _ if is_privileged => UNPRIVILEGED_PORT,
            true => address::free_port(taken.address.ip()).unwrap_or_default(),
            false => 0,
        };
        let again = again(&|serving| serving.port = Some(port));
        match is_privileged {
            true => Hint::from(
                "ports below 1024 take root or CAP_NET_BIND_SERVICE, as wit setup --server \
                 gives it; without: ",
            )
            .command(&again),
            false => again.into(),
        }
    } else if let Some(refused) = error.downcast_ref::<StartError>() {
        match refused {
            StartError::NoDatabase { repositories, .. } => {
                let away = Suggestion::new("mv")
                    .arg(repositories.display().to_string())
                    .arg("AWAY");
                Hint::from("restore the database from a backup: ")
                    .command(&restore())
                    .text("; to start without: ")
                    .command(&away)
            }
            StartError::RestoreUnfinished(_) => {
                Hint::from(restore()).text(", once more, with the same options")
            }
            StartError::RepositoriesGone(_) => {
                let again = again(&|serving| serving.repositories = Some("DIR".into()));
                Hint::from("mount its disk, or say where they are now: ").command(&again)
            }
        }
    } else if error.is::<UnusableCertificate>() {
        let again = again(&|serving| {
            serving.tls_cert = Some("FILE".into());
            serving.tls_key = Some("FILE".into());
        });
        Hint::from("name a PEM file with the certificate and one with its key: ").command(&again)
    } else if error.is::<UnusableDatabase>() {
        "start that PostgreSQL, or set DATABASE_URL to the server's; psql \"$DATABASE_URL\" tries it".into()
    } else {
        return error;
    };
    let message = match error.is::<instance::AlreadyRunning>() {
        true => format!("{error}: {}", data_dir.display()),
        false => format!("{error:#}"),
    };
    Failure::new(Exit::Failed, message)
        .hint(hint)
        .caused_by(error)
        .into()
}
