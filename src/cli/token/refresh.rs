//! The part of `wit token renew` that refreshes access tokens of sign-ins at git hosts.

use std::time::Duration;

use crate::cli::{Context, Exit, Failure};
use crate::credential::Site;
use crate::expiry::UnixTime;
use crate::helper::refresh;
use crate::hosts::renew::{RenewError, refresh_due};
use crate::quote::Suggestion;
use crate::store::Store;

/// Longest wait for another process's refresh, or a rotation, at the same site.
const LOCK_TIMEOUT: Duration = Duration::from_secs(4);

/// Refreshes what is due at `site`. A failure is remembered for the next `get`, which then does not
/// keep git waiting; the end of a sign-in is in the store.
pub fn run(site: &Site, store: &dyn Store, context: &Context) -> anyhow::Result<()> {
    let paths = &context.paths;
    let is_paused = || refresh::paused(paths, site, UnixTime::now()).is_some();
    match refresh_due(store, paths, site, LOCK_TIMEOUT, is_paused) {
        Ok(0) => Ok(()),
        Ok(_) => Ok(refresh::succeeded(paths, site)?),
        Err(error @ RenewError::Ended { .. }) => {
            let RenewError::Ended { login, .. } = &error else {
                return Ok(());
            };
            let hint = Suggestion::new("wit login").args(login.clone());
            Err(Failure::new(Exit::NotLoggedIn, error.to_string())
                .hint(hint)
                .caused_by(error)
                .into())
        }
        Err(error) => {
            if let RenewError::OAuth(reason) = &error {
                let (why, wait) = (reason.to_string(), reason.retry_after());
                refresh::failed(paths, site, &why, wait, UnixTime::now())?;
            }
            Err(error.into())
        }
    }
}
