//! `wit token renew`: what the helper starts where a stored token runs out soon.

use std::time::Duration;

use super::refresh;
use super::rotate::due::{for_a_person, undecided};
use super::rotate::{rotation_id, with_rotator};
use crate::cli::session::{self, ServerArgs, SignedIn};
use crate::cli::{Context, Exit, Failure};
use crate::config::Config;
use crate::credential::{Credential, Site};
use crate::expiry::{CLOCK_MARGIN, UnixTime, notable_skew};
use crate::helper::renewal;
use crate::rotation::{Plan, RotationError, journal};
use crate::store;

/// How long another rotation at the same site is waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long the old token lives on: other processes of git may have just been given it.
const GRACE: Duration = Duration::from_secs(3_600);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site whose tokens are looked after
    #[arg(long, value_name = "URL")]
    site: String,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let site = args
        .site
        .split_once("://")
        .and_then(|(protocol, host)| Site::new(protocol.as_bytes(), host.as_bytes()))
        .ok_or_else(|| Failure::new(Exit::Usage, "--site takes a protocol and a host"))?;
    let store = store::choice::open(&context.paths, None)?;
    // Whatever `renew` says of tokens: an access token lives for hours at most.
    refresh::run(&site, store.as_ref(), context)?;
    let Some(days) = renewal::days(&Config::load(&context.paths)?) else {
        return Ok(Exit::Done);
    };
    let item = store::load(store.as_ref(), &site)?;
    let now = UnixTime::now();
    let is_due = |entry: &&Credential| {
        renewal::is_due(entry, days, now) || renewal::is_due_by_this_clock(entry, days, now)
    };
    let due: Vec<&Credential> = item.credentials.0.iter().filter(is_due).collect();
    if due.is_empty() {
        return Ok(Exit::Done);
    }
    renewal::begun(&context.paths, &site, UnixTime::now())?;
    // One token's failure is not another's.
    let failed = due
        .into_iter()
        .map(|entry| renew(&site, entry, days, context).err());
    match failed.fold(None, Option::or) {
        Some(error) => Err(error),
        None => Ok(renewal::succeeded(&context.paths, &site).map(|()| Exit::Done)?),
    }
}

fn renew(site: &Site, entry: &Credential, days: i64, context: &Context) -> anyhow::Result<()> {
    let Some(mut plan) = Plan::of_stored(rotation_id(), site, entry) else {
        return Ok(());
    };
    plan.grace = GRACE;
    let server = ServerArgs {
        server: Some(plan.server.clone()),
        account: Some(plan.account.clone()),
        ..ServerArgs::default()
    };
    let signed_in = session::signed_in(context, &server)?;
    if !is_due_by_the_server(&signed_in, entry, days, context)? {
        return Ok(());
    }
    with_rotator(
        &(&signed_in).into(),
        context,
        PATIENCE,
        &|_, _| {},
        |rotator| {
            for journal in journal::all(&context.paths)? {
                let ours = journal.server == plan.server && journal.is_of(&plan.old_id);
                if !ours || !journal.is_due(UnixTime::now()) {
                    continue;
                }
                if journal.waits_for_print() {
                    return Err(for_a_person(&journal, context));
                }
                match rotator.resume(&journal) {
                    Err(error @ RotationError::Unclear { .. }) => {
                        return Err(undecided(&error, &journal, context));
                    }
                    other => other?,
                };
            }
            match rotator.start(&plan) {
                // Another process was faster, or what was just resumed was this token's rotation.
                Err(RotationError::Missing) => Ok(()),
                other => Ok(other.map(drop)?),
            }
        },
    )
}

/// Whether the token is due by its server's clock, which is asked where this machine's was known to
/// differ. How far it does now is remembered with the token.
fn is_due_by_the_server(
    signed_in: &SignedIn,
    entry: &Credential,
    days: i64,
    context: &Context,
) -> anyhow::Result<bool> {
    let Some(info) = entry.token.as_ref().filter(|info| info.clock_skew != 0) else {
        return Ok(true);
    };
    signed_in.api.list()?;
    let skew = notable_skew(signed_in.api.clock_skew());
    if skew.abs_diff(info.clock_skew) >= CLOCK_MARGIN.unsigned_abs() {
        store::update(
            signed_in.store.as_ref(),
            &context.paths,
            &signed_in.site,
            |item| {
                for held in item
                    .credentials
                    .0
                    .iter_mut()
                    .filter_map(|one| one.token.as_mut())
                {
                    if held.server == info.server && held.id == info.id {
                        held.clock_skew = skew;
                    }
                }
            },
        )?;
    }
    let now = UnixTime::now().plus(signed_in.api.clock_skew().unwrap_or(0));
    Ok(renewal::is_due_by_this_clock(entry, days, now))
}
