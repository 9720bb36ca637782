//! `--due`: every token that this machine keeps and that runs out soon.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;

use super::report::{again, report, show};
use super::{Args, Done, Means, lifetime, resume, start, unfinished};
use crate::api::server::ServerUrl;
use crate::app::known;
use crate::app::upkeep::{self, rotation_id};
use crate::cli::output::escaped;
use crate::cli::session::{self, ServerArgs};
use crate::cli::token::create;
use crate::cli::{Context, Exit, Failure};
use crate::credential::Credential;
use crate::expiry::UnixTime;
use crate::rotation::journal::{self, Journal};
use crate::rotation::{Plan, RotationError};
use crate::store::{self, Store, select};

/// `--due`: what is unfinished, then what runs out soon. One token's failure is not another's.
pub(super) fn run(args: &Args, days: u32, context: &Context) -> anyhow::Result<Exit> {
    let mut work = Work {
        args,
        days,
        // A wrong number is one for all of them.
        lifetime: args.expires.as_deref().map(create::days).transpose()?,
        context,
        plans: Vec::new(),
        finished: Vec::new(),
        exit: Exit::Done,
    };
    if !args.dry_run {
        std::thread::sleep(share(args.jitter, uuid::Uuid::new_v4().as_u128() as u32));
    }
    for server in servers(args, days, context)? {
        if let Err(error) = work.at(&server) {
            work.failed(&error);
        }
    }
    match args.dry_run {
        true => show(&work.plans, context)?,
        false => report(&work.finished, context)?,
    };
    Ok(work.exit)
}

/// Servers to look at: the one that is meant, or with `--all` each account of which this
/// machine keeps something that is due.
fn servers(args: &Args, days: u32, context: &Context) -> anyhow::Result<Vec<ServerArgs>> {
    if !args.all {
        return Ok(vec![args.server.clone()]);
    }
    let config = known::config(&context.paths).map_err(session::SessionError::from)?;
    let store = select::open(&context.paths, None)?;
    let journals = journal::all(&context.paths).context("can't read the rotations' journals")?;
    let mut servers = Vec::new();
    for url in config.servers.keys() {
        let due = accounts(url, store.as_ref(), &journals, days);
        servers.extend(due.into_iter().map(|account| ServerArgs {
            server: Some(url.clone()),
            account: account.or(args.server.account.clone()),
            ..args.server.clone()
        }));
    }
    Ok(servers)
}

/// The accounts of a server of which something is due; `None` for the one that is meant, where what
/// is kept can't be read: it is told there.
fn accounts(
    url: &str,
    store: &dyn Store,
    journals: &[Journal],
    days: u32,
) -> BTreeSet<Option<String>> {
    let site = ServerUrl::parse(url).ok().and_then(|server| server.site());
    let Some(item) = site.and_then(|site| store::load(store, &site).ok()) else {
        return BTreeSet::from([None]);
    };
    let kept = item
        .credentials
        .0
        .iter()
        .filter(|entry| is_due(entry, days));
    let kept = kept.filter_map(|entry| entry.token.as_ref());
    let kept = kept
        .filter(|info| info.server == url)
        .map(|info| &info.account);
    let begun = (journals.iter())
        .filter(|journal| journal.server == url && journal.is_due(UnixTime::now()))
        .map(|journal| &journal.account);
    kept.chain(begun).cloned().map(Some).collect()
}

struct Work<'a> {
    args: &'a Args,
    days: u32,
    /// `--expires`.
    lifetime: Option<Option<u32>>,
    context: &'a Context,
    plans: Vec<Plan>,
    finished: Vec<Done>,
    exit: Exit,
}

impl Work<'_> {
    fn failed(&mut self, error: &anyhow::Error) {
        let failure = self.context.failure(error);
        failure.report(self.context.json);
        self.exit = failure.exit;
    }

    /// All that is due of one account.
    fn at(&mut self, server: &ServerArgs) -> anyhow::Result<()> {
        let signed_in = session::signed_in(self.context, server)?;
        let mut left = unfinished(&signed_in, self.context)?;
        left.retain(|journal| journal.is_due(UnixTime::now()));
        if !self.args.dry_run {
            // What could not be finished is not rotated a second time.
            left.retain(|journal| {
                let done = match journal.waits_for_print() {
                    true => Err(for_a_person(journal, self.context)),
                    false => resume(journal, &Means::from(&signed_in).unattended(), self.context),
                };
                let failed = done.map(|done| self.finished.push(done)).err();
                failed.inspect(|error| self.failed(error)).is_some()
            });
        }
        // As it is now, after what was just finished.
        let item = store::load(signed_in.store.as_ref(), &signed_in.site)?;
        let days = self.days;
        for entry in (item.credentials.0.iter()).filter(|entry| is_due(entry, days)) {
            let Some(mut plan) = Plan::of_stored(rotation_id(), &signed_in.site, entry) else {
                continue;
            };
            if plan.server != signed_in.server.to_string()
                || plan.account != signed_in.account
                || left.iter().any(|journal| journal.is_of(&plan.old_id))
            {
                continue;
            }
            plan.grace = self.args.grace;
            if let Some(days) = self.lifetime {
                plan.new.expires_in_days = lifetime(days, &signed_in)?;
            }
            if self.args.dry_run {
                self.plans.push(plan);
                continue;
            }
            match start(&plan, &(&signed_in).into(), self.context) {
                Ok(done) => self.finished.push(done),
                Err(error) => self.failed(&error),
            }
        }
        Ok(())
    }
}

/// Why a rotation is not finished where nobody looks at what is printed.
pub fn for_a_person(journal: &Journal, context: &Context) -> anyhow::Error {
    let name = escaped(&journal.name);
    let message = format!("the new token of {name} waits to be printed for a person");
    Failure::new(Exit::Unfinished, message)
        .hint(format!("{} --resume", again(journal, context)))
        .into()
}

/// Failure that only a person can decide, who sees it by the command in the hint.
pub fn undecided(error: RotationError, journal: &Journal, context: &Context) -> anyhow::Error {
    Failure::new(Exit::Attention, error.to_string())
        .hint(format!("{} --resume", again(journal, context)))
        .caused_by(error)
        .into()
}

/// A part of `whole`: none of it for 0, nearly all for the largest `random`.
fn share(whole: Duration, random: u32) -> Duration {
    whole.mul_f64(f64::from(random) / (f64::from(u32::MAX) + 1.0))
}

fn is_due(entry: &Credential, days: u32) -> bool {
    upkeep::expires_within(entry, days, UnixTime::now())
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
