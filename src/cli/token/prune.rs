//! `wit token prune`.

use serde_json::json;

use super::pick::label;
use super::revoke;
use crate::api::Token;
use crate::api::promises::require;
use crate::cli::confirm::confirm;
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, PlaceArgs, ServerArgs};
use crate::cli::{Context, Exit};
use crate::duration;
use crate::expiry::DAY;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["expired", "unused"])))]
pub struct Args {
    /// Tokens that have expired
    #[arg(long)]
    expired: bool,
    /// Tokens not used for DAYS, 1 or more, also as 90d or 12w
    #[arg(long, value_name = "DAYS", value_parser = duration::some_days)]
    unused: Option<u32>,
    /// Show them without revoking any
    #[arg(long)]
    dry_run: bool,
    /// Skip the confirmation prompt
    #[arg(long)]
    yes: bool,
    /// Read the account's password from the first line of stdin, and a one-time code from the
    /// second, for a host that requires them
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    places: PlaceArgs,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let api_session = session::api_session(
        context,
        &(args.server.at(&args.places, &[])).with_password(args.password_stdin),
    )?;
    let promises = api_session.api.promises();
    require(api_session.api.as_ref(), promises.list, "list tokens")?;
    require(
        api_session.api.as_ref(),
        promises.revoke_others,
        "revoke tokens",
    )?;
    let tokens = api_session.api.list()?;
    let now = api_session.now();
    let chosen: Vec<&Token> = tokens
        .iter()
        .filter(|token| {
            let unused = |days| (token.idle(now)).is_some_and(|idle| idle >= i64::from(days) * DAY);
            (args.expired && token.is_expired(now)) || args.unused.is_some_and(unused)
        })
        .collect();
    if !args.dry_run {
        if !chosen.is_empty() {
            let names: Vec<String> = chosen.iter().map(|token| escaped(&token.name)).collect();
            confirm(&format!("Revoke {}?", names.join(", ")), args.yes)?;
        }
        revoke::end_alone(&api_session, &chosen, context)?;
    } else if context.json {
        let ids: Vec<&str> = chosen.iter().map(|token| token.id.as_str()).collect();
        output::json(&json!({ "wouldRevoke": ids }))?;
    } else {
        for token in &chosen {
            output::print(format!("Would revoke {}\n", label(token)).as_bytes())?;
        }
    }
    if chosen.is_empty() && !context.json {
        eprintln!("Nothing to revoke.");
    }
    Ok(Exit::Done)
}
