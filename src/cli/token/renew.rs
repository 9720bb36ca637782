//! `wit token renew`: what the helper starts where a stored token runs out soon.

use std::time::Duration;

use super::refresh;
use super::rotate::due::for_a_person;
use super::rotate::{rotation_id, with_rotator};
use crate::cli::session::{self, ServerArgs};
use crate::cli::{Context, Exit, Failure};
use crate::config::Config;
use crate::credential::{Credential, Site};
use crate::expiry::UnixTime;
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
    let is_due = |entry: &&Credential| renewal::is_due(entry, days, UnixTime::now());
    let due: Vec<&Credential> = item.credentials.0.iter().filter(is_due).collect();
    if due.is_empty() {
        return Ok(Exit::Done);
    }
    renewal::begun(&context.paths, &site, UnixTime::now())?;
    // One token's failure is not another's.
    let failed = due
        .into_iter()
        .map(|entry| renew(&site, entry, context).err());
    match failed.fold(None, Option::or) {
        Some(error) => Err(error),
        None => Ok(renewal::succeeded(&context.paths, &site).map(|()| Exit::Done)?),
    }
}

fn renew(site: &Site, entry: &Credential, context: &Context) -> anyhow::Result<()> {
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
    with_rotator(
        &(&signed_in).into(),
        context,
        PATIENCE,
        &|_| {},
        |rotator| {
            for journal in journal::all(&context.paths)? {
                let ours = journal.server == plan.server && journal.is_of(&plan.old_id);
                if !ours || !journal.is_due(UnixTime::now()) {
                    continue;
                }
                if journal.waits_for_print() {
                    return Err(for_a_person(&journal, context));
                }
                rotator.resume(&journal)?;
            }
            match rotator.start(&plan) {
                // Another process was faster, or what was just resumed was this token's rotation.
                Err(RotationError::Missing) => Ok(()),
                other => Ok(other.map(drop)?),
            }
        },
    )
}
