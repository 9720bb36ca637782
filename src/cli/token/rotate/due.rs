//! `--due`: every token that this machine keeps and that runs out soon.

use std::time::Duration;

use anyhow::Context as _;

use super::report::{report, show};
use super::{Args, resume, rotation_id, start, unfinished};
use crate::cli::session::{self, ServerArgs};
use crate::cli::token::create;
use crate::cli::{Context, Exit};
use crate::config::Config;
use crate::credential::Credential;
use crate::expiry::{DAY, UnixTime};
use crate::rotation::Plan;
use crate::store;

/// `--due`: what is unfinished, then what runs out soon. One token's failure is not another's.
pub(super) fn run(args: &Args, days: u32, context: &Context) -> anyhow::Result<Exit> {
    if !args.dry_run {
        std::thread::sleep(share(args.jitter, uuid::Uuid::new_v4().as_u128() as u32));
    }
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let servers: Vec<Option<String>> = match args.all {
        true => config.servers.keys().cloned().map(Some).collect(),
        false => vec![args.server.server.clone()],
    };
    let mut exit = Exit::Done;
    let mut finished = Vec::new();
    let mut failed = |error: &anyhow::Error| {
        let failure = crate::cli::failure(error);
        failure.report(context.json);
        exit = failure.exit;
    };
    for server in servers {
        let server = ServerArgs {
            server,
            ..args.server.clone()
        };
        let signed_in = match session::signed_in(context, &server) {
            Ok(signed_in) => signed_in,
            Err(error) => {
                failed(&error);
                continue;
            }
        };
        if !args.dry_run {
            for journal in unfinished(&signed_in, context)? {
                if journal.is_due(UnixTime::now()) {
                    match resume(&journal, &(&signed_in).into(), context) {
                        Ok(done) => finished.push(done),
                        Err(error) => failed(&error),
                    }
                }
            }
        }
        // As it is now, after what was just finished.
        let item = store::load(signed_in.store.as_ref(), &signed_in.site)?;
        for entry in item
            .credentials
            .0
            .iter()
            .filter(|entry| is_due(entry, days))
        {
            let Some(mut plan) = Plan::of_stored(rotation_id(), &signed_in.site, entry) else {
                continue;
            };
            if plan.server != signed_in.server.to_string() || plan.account != signed_in.account {
                continue;
            }
            plan.grace = args.grace;
            if let Some(text) = &args.expires {
                plan.new.expires_in_days = create::days(text)?;
            }
            if args.dry_run {
                show(&plan, context)?;
                continue;
            }
            match start(&plan, &(&signed_in).into(), context) {
                Ok(done) => finished.push(done),
                Err(error) => failed(&error),
            }
        }
    }
    if !args.dry_run {
        report(&finished, args, context)?;
    }
    Ok(exit)
}

/// A part of `whole`: none of it for 0, nearly all for the largest `random`.
fn share(whole: Duration, random: u32) -> Duration {
    whole.mul_f64(f64::from(random) / (f64::from(u32::MAX) + 1.0))
}

fn is_due(entry: &Credential, days: u32) -> bool {
    let left = entry.expiry.map(|expiry| expiry.left(UnixTime::now()));
    entry.token.is_some() && left.is_some_and(|left| left <= i64::from(days) * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_spread_over_its_span() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(share(hour, 0), Duration::ZERO);
        assert_eq!(share(hour, 1 << 31), hour / 2);
        assert!(share(hour, u32::MAX) < hour);
        assert_eq!(share(Duration::ZERO, u32::MAX), Duration::ZERO);
    }
}
