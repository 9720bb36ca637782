//! `wit store`: where secrets lie, and moving them.

use std::fmt::Write;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

mod erase;
pub mod list;

use super::passphrase::{self, PassphraseArgs};
use super::{Context, Exit, Failure, examples, output};
use crate::config;
use crate::expiry::UnixTime;
use crate::progress;
use crate::rotation::crash_point;
use crate::store::file::identity::{IdentityFile, Protection};
use crate::store::migrate::{self, MoveError};
use crate::store::select;
use crate::store::{StoreError, StoreKind};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what is stored, without secrets
    #[command(after_help = examples::STORE_LIST)]
    List,
    /// Erase what is stored for a site; nothing is revoked at the server
    #[command(after_help = examples::STORE_ERASE)]
    Erase(erase::Args),
    /// Move everything from one store to another
    ///
    /// Nothing is removed before all of it has been read back from the new store. That store is used
    /// from then on where the old one was. After a crash run it again.
    #[command(after_help = examples::STORE_MOVE)]
    Move(MoveArgs),
    /// Protect the file store with a passphrase
    #[command(after_help = examples::STORE_PROTECT)]
    Protect(PassphraseArgs),
    /// Take the passphrase away
    #[command(after_help = examples::STORE_UNPROTECT)]
    Unprotect(PassphraseArgs),
}

#[derive(Debug, clap::Args)]
struct MoveArgs {
    /// The store to move from: keychain, file or keyutils
    from: String,
    /// The store to move to
    to: String,
    /// Where both hold another secret for the same name, take that of FROM
    #[arg(long)]
    force: bool,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        None => show(context),
        Some(Command::List) => list::run(context),
        Some(Command::Erase(args)) => erase::run(&args, context),
        Some(Command::Move(args)) => move_all(&args, context),
        Some(Command::Protect(args)) => passphrase::protect(args, context),
        Some(Command::Unprotect(args)) => passphrase::unprotect(args, context),
    }
}

/// The store in use, and what lies in the others.
fn show(context: &Context) -> anyhow::Result<Exit> {
    let store = select::open(&context.paths, None)?;
    let protection = IdentityFile::new(&context.paths).protection()?;
    let until = match protection {
        Protection::Unlocked { until } => until,
        _ => None,
    };
    let words = match protection {
        Protection::Missing | Protection::None => "has no passphrase".to_owned(),
        Protection::Locked => "is locked: wit unlock".to_owned(),
        Protection::Unlocked { until: None } => "is unlocked".to_owned(),
        Protection::Unlocked { until: Some(until) } => format!(
            "is unlocked until {}, for {} more: wit lock",
            output::rfc3339(until),
            output::span(until.since(UnixTime::now()).max(0))
        ),
    };
    let location = output::tilde(&store.location());
    let mut text = format!("Secrets are kept in {location}.\n");
    let caveat = store.caveat();
    if let Some(caveat) = &caveat {
        let _ = writeln!(text, "Note: {caveat}.");
    }
    let (mut others, mut locked) = (Vec::new(), Vec::new());
    for kind in StoreKind::ALL {
        let Ok(other) = kind.open(&context.paths) else {
            continue;
        };
        let name = kind.name();
        let is_absent = kind == StoreKind::File && protection == Protection::Missing;
        if name == store.name() || is_absent {
            continue;
        }
        let sites = match other.sites() {
            Ok(sites) => sites,
            Err(error @ StoreError::Locked { .. }) => {
                locked.push(name);
                let location = output::tilde(&other.location());
                // Writing to a String can't fail.
                let _ = writeln!(text, "Not looked at: {location}: {error}");
                continue;
            }
            // A store that is away has nothing to show.
            Err(_) => continue,
        };
        if !sites.is_empty() {
            others.push(json!({"store": name, "sites": sites.len()}));
            let (number, location) = (sites.len(), output::tilde(&other.location()));
            let to = store.name();
            let s = if number == 1 { "" } else { "s" };
            // Writing to a String can't fail.
            let _ = writeln!(
                text,
                "{number} site{s} also in {location}: wit store move {name} {to}"
            );
        }
    }
    if protection != Protection::Missing {
        let _ = writeln!(text, "The file store {words}.");
    }
    if context.json {
        output::json(&json!({
            "store": store.name(),
            "location": store.location(),
            "caveat": caveat,
            "protected": protection.is_protected(),
            "locked": protection == Protection::Locked,
            "unlockedUntil": until.map(output::rfc3339),
            "others": others,
            "othersLocked": locked,
        }))?;
    } else {
        output::print(text.as_bytes())?;
    }
    Ok(Exit::Done)
}

fn move_all(args: &MoveArgs, context: &Context) -> anyhow::Result<Exit> {
    let kind = |name: &str| match StoreKind::parse(name) {
        Ok(Some(kind)) => Ok(kind),
        _ => Err(
            Failure::new(Exit::Usage, format!("no store is called {name:?}"))
                .hint("wit store move file keychain"),
        ),
    };
    let (from, to) = (kind(&args.from)?, kind(&args.to)?);
    if from == to {
        return Err(Failure::new(Exit::Usage, "both stores are the same")
            .hint("wit store move file keychain")
            .into());
    }
    let moved = progress::during(&format!("Moving secrets from {from} to {to}"), || {
        migrate::run(&context.paths, from, to, args.force, &crash_point)
    });
    let outcome = match moved {
        Err(error @ MoveError::Differs(_)) => {
            return Err(Failure::new(Exit::Attention, error.to_string())
                .hint(format!(
                    "wit store move {from} {to} --force takes those of {from}"
                ))
                .caused_by(error)
                .into());
        }
        Err(MoveError::Store(error)) => return Err(error.into()),
        other => other.with_context(|| format!("can't move from {from} to {to}"))?,
    };
    let location = to.open(&context.paths)?.location();
    let number = outcome.sites.len();
    if context.json {
        let sites: Vec<String> = outcome.sites.iter().map(ToString::to_string).collect();
        output::json(&json!({
            "from": from.name(),
            "to": to.name(),
            "sites": sites,
            "finished": outcome.finished,
            "used": outcome.used,
            "location": location,
        }))?;
    } else {
        let mut text = String::new();
        if outcome.finished > 0 {
            let _ = writeln!(
                text,
                "Removed {} items that an earlier move had left.",
                outcome.finished
            );
        }
        for site in &outcome.sites {
            let _ = writeln!(text, "  {site}");
        }
        let s = if number == 1 { "" } else { "s" };
        let _ = writeln!(
            text,
            "Moved {number} site{s} to {}.",
            output::tilde(&location)
        );
        output::print(text.as_bytes())?;
    }
    if !outcome.used {
        let why = "the configuration names another store, which stays the one in use";
        eprintln!("warning: {why}\nhint: wit setup --store {to}");
    } else if config::variable("WIT_STORE").is_some_and(|name| name != to.name()) {
        eprintln!("warning: WIT_STORE names another store\nhint: unset WIT_STORE");
    }
    Ok(Exit::Done)
}
