//! `wit token renew`: what the helper starts where a stored token runs out soon.

use std::time::Duration;

use super::refresh;
use super::rotate::Means;
use super::rotate::due::{for_a_person, undecided};
use crate::api::TokenApi;
use crate::app::upkeep::{self, RenewalError};
use crate::cli::session::{self, ServerArgs};
use crate::cli::{Context, Exit, Failure};
use crate::config::Config;
use crate::credential::{Credential, Site};
use crate::expiry::UnixTime;
use crate::helper::renewal;
use crate::rotation::RotationError;
use crate::store::{self, Store};

/// Longest wait for another rotation at the same site.
const LOCK_TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site whose tokens are looked after [default: the only one of which something is stored]
    #[arg(long, value_name = "URL")]
    site: Option<String>,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let store = store::select::open(&context.paths, None)?;
    let site = match &args.site {
        Some(named) => named
            .split_once("://")
            .and_then(|(protocol, host)| Site::new(protocol.as_bytes(), host.as_bytes()))
            .ok_or_else(|| Failure::new(Exit::Usage, "--site takes a protocol and a host"))?,
        None => only_site(store.as_ref())?,
    };
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

fn only_site(store: &dyn Store) -> anyhow::Result<Site> {
    let mut sites = store.sites()?.into_iter();
    let message = match (sites.next(), sites.next()) {
        (Some(only), None) => return Ok(only),
        (None, _) => "nothing is stored",
        _ => "something is stored for several sites",
    };
    let hint = "wit store list names the sites: wit token renew --site URL";
    Err(Failure::new(Exit::Usage, message).hint(hint).into())
}

fn renew(site: &Site, entry: &Credential, days: i64, context: &Context) -> anyhow::Result<()> {
    let Some(info) = &entry.token else {
        return Ok(());
    };
    if entry.rotates_itself() {
        let itself = upkeep::itself(&context.paths, &info.server, Some(entry))?;
        let store = store::select::open(&context.paths, None)?;
        return renew_by(itself.as_ref(), store.as_ref(), site, entry, days, context);
    }
    let server = ServerArgs {
        server: Some(info.server.clone()),
        account: Some(info.account.clone()),
        unattended: true,
        ..ServerArgs::default()
    };
    let signed_in = session::signed_in(context, &server)?;
    let (api, store) = (signed_in.api.as_ref(), signed_in.store.as_ref());
    renew_by(api, store, site, entry, days, context)
}

fn renew_by(
    api: &dyn TokenApi,
    store: &dyn Store,
    site: &Site,
    entry: &Credential,
    days: i64,
    context: &Context,
) -> anyhow::Result<()> {
    let means = Means::new(api, store).unattended();
    let upkeep = means.upkeep(context, LOCK_TIMEOUT, &|_, _| {});
    match upkeep.renew(site, entry, days) {
        Ok(_) => Ok(()),
        Err(RenewalError::WaitsForPrint(journal)) => Err(for_a_person(&journal, context)),
        Err(RenewalError::Undecided { error, journal }) => Err(undecided(error, &journal, context)),
        Err(RenewalError::Rotation(error @ RotationError::OldRefused)) => {
            Err(Failure::new(Exit::NotLoggedIn, error.to_string())
                .caused_by(error)
                .into())
        }
        Err(RenewalError::Rotation(error)) => Err(error.into()),
        Err(RenewalError::Store(error)) => Err(error.into()),
    }
}
