//! Ends graces that are over, at the start of any other command.

use std::time::Duration;

use super::with_rotator;
use crate::cli::Context;
use crate::cli::session::{self, ServerArgs};
use crate::expiry::UnixTime;
use crate::rotation::journal;

/// Revokes the old tokens whose grace is over. Nobody asked for it: a failure is not reported, and
/// nothing is tried again for an hour.
pub fn end_due_graces(context: &Context) {
    let now = UnixTime::now();
    let quiet = Context::new(context.paths.clone(), true);
    let journals = journal::all(&context.paths).unwrap_or_default();
    for journal in journals.iter().filter(|journal| journal.is_grace_over(now)) {
        let server = ServerArgs {
            server: Some(journal.server.clone()),
            account: Some(journal.account.clone()),
            ..ServerArgs::default()
        };
        if let Ok(signed_in) = session::signed_in(&quiet, &server) {
            let means = (&signed_in).into();
            let _ = with_rotator(&means, context, Duration::ZERO, &|_, _| {}, |rotator| {
                rotator.end_grace(journal)
            });
        }
    }
}
