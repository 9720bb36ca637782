//! `wit token prune`.

use serde_json::json;

use super::revoke;
use crate::api::Token;
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, ServerArgs};
use crate::cli::{Context, Exit};
use crate::expiry::UnixTime;

const DAY: i64 = 24 * 60 * 60;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["expired", "unused"])))]
pub struct Args {
    /// Those that have expired
    #[arg(long)]
    expired: bool,
    /// Those not used for DAYS, 1 or more
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    unused: Option<u16>,
    /// Only show which they are
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let acting = session::acting(context, &args.server)?;
    let tokens = acting.api.list()?;
    let now = UnixTime::now().plus(acting.api.clock_skew().unwrap_or(0));
    let chosen: Vec<&Token> = tokens
        .iter()
        .filter(|token| {
            let expired = token.expiry.is_some_and(|expiry| expiry.is_past(now));
            let idle = now.since(token.last_used.unwrap_or(token.created));
            let unused = args
                .unused
                .is_some_and(|days| idle >= i64::from(days) * DAY);
            (args.expired && expired) || unused
        })
        .collect();
    if !args.dry_run {
        revoke::end(&acting, &chosen, context)?;
    } else if context.json {
        let ids: Vec<&str> = chosen.iter().map(|token| token.id.as_str()).collect();
        output::json(&json!({ "wouldRevoke": ids }))?;
    } else {
        for token in &chosen {
            let (prefix, name) = (escaped(&token.prefix), escaped(&token.name));
            output::print(format!("Would revoke {prefix}...  {name}\n").as_bytes())?;
        }
    }
    if chosen.is_empty() && !context.json {
        eprintln!("Nothing to revoke.");
    }
    Ok(Exit::Done)
}
