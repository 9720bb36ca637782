//! Ends graces that are over, at the start of any other command.

use std::time::Duration;

use super::Means;
use crate::app::upkeep;
use crate::cli::Context;
use crate::cli::session::{self, ServerArgs};
use crate::expiry::UnixTime;

/// Revokes the old tokens whose grace is over. Nobody asked for it: a failure is not reported, and
/// nothing is tried again for an hour.
pub fn end_due_graces(context: &Context) {
    let quiet = Context::new(context.paths.clone(), true);
    let journals = upkeep::due_graces(&context.paths, UnixTime::now()).unwrap_or_default();
    for journal in &journals {
        let server = ServerArgs {
            server: Some(journal.server.clone()),
            account: Some(journal.account.clone()),
            unattended: true,
            ..ServerArgs::default()
        };
        if let Ok(signed_in) = session::signed_in(&quiet, &server) {
            let means = Means::from(&signed_in);
            let upkeep = means.upkeep(context, Duration::ZERO, &|_, _| {});
            let _ = upkeep.end_grace(journal);
        }
    }
}
