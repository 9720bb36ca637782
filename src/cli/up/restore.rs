//! `wit up restore`: a server out of its backup.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::{Place, command};
use crate::cli::{Context, Exit, Failure};
use crate::cli::{failure, output};
use crate::platform::archive::ArchiveError;
use crate::platform::instance::AlreadyRunning;
use crate::platform::last_start::LastStart;
use crate::platform::restore::{self, Target, TargetError};
use crate::progress;
use crate::quote::{Hint, Suggestion};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The archive of `wit up backup`; - means stdin
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// The archive has no database, because that is in PostgreSQL
    #[arg(long)]
    repositories_only: bool,
    /// Move the existing data aside
    #[arg(long)]
    force: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let data_dir = args.place.data_dir(context)?;
    let again = args.place.command("wit up restore", &data_dir, context)?;
    if !args.repositories_only {
        let only = again.clone().arg("--repositories-only");
        let only = only.last(args.file.display().to_string());
        let hint = Hint::from("pg_restore, then ").command(&only);
        super::require_sqlite(hint.text("; or unset DATABASE_URL"))?;
    }
    super::require_owner(&data_dir)?;
    let repositories = args.place.repositories.as_deref();
    let target = Target {
        repositories: repositories.map(std::path::absolute).transpose()?,
        data_dir: data_dir.clone(),
        repositories_only: args.repositories_only,
        force: args.force,
    };
    let archive: Box<dyn Read> = match args.file == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => {
            let file = File::open(&args.file);
            Box::new(file.with_context(|| format!("can't open {}", args.file.display()))?)
        }
    };
    // What a restore writes down itself says nothing of sign-up.
    let is_known = LastStart::is_kept(&data_dir);
    let runtime = super::runtime()?;
    let restored = progress::during("Restoring the server", || {
        runtime.block_on(restore::restore(&target, BufReader::new(archive)))
    });
    let restored = restored.map_err(|error| with_hint(error, args, again, &data_dir, context))?;
    // Also those of an operator who had closed sign-up.
    let opens_sign_up = !args.repositories_only && !is_known;
    let warn = || {
        if opens_sign_up {
            eprintln!(
                "warning: a backup has no options of the server, and by default anyone can sign up"
            );
            let up = super::about("wit up", &data_dir, context).arg("--no-sign-up");
            eprintln!("hint: give them to the next start, such as {up}");
        }
    };
    if context.json {
        output::json(&json!({
            "dataDir": data_dir,
            "repositories": restored.repositories,
            "aside": restored.aside,
            "signUpOpens": opens_sign_up,
        }))?;
        warn();
        return Ok(Exit::Done);
    }
    let mut text = format!("Restored {}", super::repositories(restored.repositories));
    text += &match args.repositories_only {
        true => "\n".to_owned(),
        false => format!(
            " and their accounts and tokens into {}\nAll sessions have ended: log in again.\n",
            data_dir.display()
        ),
    };
    for aside in &restored.aside {
        text += &format!("The previous data was moved to {}\n", aside.display());
    }
    output::print(text.as_bytes())?;
    warn();
    Ok(Exit::Done)
}

/// An error with the command that goes on.
fn with_hint(
    error: anyhow::Error,
    args: &Args,
    again: Suggestion,
    data_dir: &Path,
    context: &Context,
) -> anyhow::Error {
    let again = again.arg(args.file.display().to_string());
    let with = |options: &[(&'static str, bool)]| {
        let given = options.iter().filter(|(_, is_given)| *is_given);
        again.clone().args(given.map(|(option, _)| *option))
    };
    let (only, force) = ("--repositories-only", "--force");
    let hint = if let Some(TargetError::NotEmpty(_)) = error.downcast_ref() {
        with(&[(only, args.repositories_only), (force, true)]).into()
    } else if error.is::<AlreadyRunning>() || error.is::<TargetError>() {
        command::stop(data_dir, context)
    } else if let Some(ArchiveError::RepositoriesOnly) = error.downcast_ref() {
        with(&[(only, true), (force, args.force)]).into()
    } else if let Some(ArchiveError::WithDatabase) = error.downcast_ref() {
        Hint::from("to restore both: ").command(&with(&[(force, args.force)]))
    } else if let Some(unusable) = error.downcast_ref::<ArchiveError>() {
        let hint = match unusable {
            ArchiveError::Newer(_) => "it takes the newer wit that wrote it",
            ArchiveError::Foreign => "name an archive that wit up backup has written",
            _ => "copy the archive again, or take another backup; nothing was changed",
        };
        let message = match args.file == Path::new("-") {
            true => "can't restore from stdin".to_owned(),
            false => format!("can't restore {}", args.file.display()),
        };
        let error = error.context(message);
        let message = failure::message(&error);
        return Failure::new(Exit::Failed, message)
            .hint(hint)
            .caused_by(error)
            .into();
    } else {
        return error;
    };
    Failure::new(Exit::Failed, format!("{error:#}"))
        .hint(hint)
        .caused_by(error)
        .into()
}
