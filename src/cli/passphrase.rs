//! `wit store protect` and `unprotect`, `wit unlock` and `wit lock`: the file store's passphrase.

use std::time::Duration;

use serde_json::json;

use super::ask::{asked, first_line, first_line_of_new};
use super::output;
use super::{Context, Exit, Failure};
use crate::duration::duration;
use crate::expiry::UnixTime;
use crate::progress;
use crate::rotation::crash_point;
use crate::secret::Secret;
use crate::store::file::identity::{IdentityFile, ProtectionError};

#[derive(Debug, clap::Args)]
pub struct PassphraseArgs {
    /// Read the passphrase from the first line of stdin
    #[arg(long)]
    passphrase_stdin: bool,
}

#[derive(Debug, clap::Args)]
pub struct UnlockArgs {
    /// How long it stays open, such as 30m or 8h; at most a year
    #[arg(long = "for", value_name = "DURATION", default_value = "8h", value_parser = duration)]
    time: Duration,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl PassphraseArgs {
    fn read(&self, new: bool, command: &str) -> anyhow::Result<Secret> {
        match self.passphrase_stdin {
            true if new => first_line_of_new("passphrase"),
            true => first_line("passphrase"),
            false => asked("passphrase", new, format!("{command} --passphrase-stdin")),
        }
    }
}

pub fn protect(args: PassphraseArgs, context: &Context) -> anyhow::Result<Exit> {
    let identity = IdentityFile::new(&context.paths);
    // Before anybody has thought of a passphrase.
    if identity.protection()?.is_protected() {
        return Err(failure(ProtectionError::Protected).into());
    }
    let passphrase = args.read(true, "wit store protect")?;
    deriving(|| identity.protect(&passphrase, &crash_point))?;
    context.answer(
        &json!({"protected": true, "locked": true}),
        "The file store now needs its passphrase.\nTo open it for 8 hours: wit unlock\n",
    )
}

pub fn unprotect(args: PassphraseArgs, context: &Context) -> anyhow::Result<Exit> {
    let identity = IdentityFile::new(&context.paths);
    needs_one(&identity)?;
    let passphrase = args.read(false, "wit store unprotect")?;
    deriving(|| identity.unprotect(&passphrase, &crash_point))?;
    context.answer(
        &json!({"protected": false, "locked": false}),
        "The file store needs no passphrase any more.\n",
    )
}

pub fn unlock(args: UnlockArgs, context: &Context) -> anyhow::Result<Exit> {
    let identity = IdentityFile::new(&context.paths);
    needs_one(&identity)?;
    let passphrase = args.passphrase.read(false, "wit unlock")?;
    deriving(|| identity.unlock(&passphrase, args.time))?;
    let seconds = i64::try_from(args.time.as_secs()).unwrap_or(i64::MAX);
    let end = UnixTime::now().plus(seconds);
    context.answer(
        &json!({"protected": true, "locked": false, "until": output::rfc3339(end)}),
        &format!("The file store is open for {}.\n", output::span(seconds)),
    )
}

pub fn lock(context: &Context) -> anyhow::Result<Exit> {
    IdentityFile::new(&context.paths).lock().map_err(failure)?;
    context.answer(
        &json!({"protected": true, "locked": true}),
        "The file store is locked.\n",
    )
}

/// Work that derives a key from a passphrase, which is slow on purpose.
fn deriving(work: impl FnOnce() -> Result<(), ProtectionError>) -> Result<(), Failure> {
    progress::during("Deriving the key from the passphrase", work).map_err(failure)
}

/// Refuses, before a passphrase is asked for, where there is none.
fn needs_one(identity: &IdentityFile) -> anyhow::Result<()> {
    match identity.protection()? {
        protection if protection.is_protected() => Ok(()),
        _ => Err(failure(ProtectionError::Unprotected).into()),
    }
}

fn failure(error: ProtectionError) -> Failure {
    let hint = match &error {
        ProtectionError::WrongPassphrase => {
            Some("type it again; without it nothing that the store holds can be read")
        }
        ProtectionError::Protected => {
            Some("to change it: wit store unprotect, then wit store protect")
        }
        ProtectionError::Unprotected => Some("to give it one: wit store protect"),
        ProtectionError::Store(error) => error.hint(),
    };
    let failure = Failure::new(Exit::Failed, error.to_string()).caused_by(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
