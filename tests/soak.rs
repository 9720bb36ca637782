//! What the server acknowledged stays so, however it ends.

#![cfg(feature = "platform")]

use std::time::Duration;

#[test]
fn a_killed_server_has_lost_no_push_and_no_token_and_takes_no_revoked_one() {
    let tally = crate::support::soak::run(crate::support::soak::Plan {
        clients: 8,
        time: Duration::from_secs(20),
        kill_every: Duration::from_secs(4),
    });
    assert!(tally.kills >= 3, "{tally:?}");
    let done = [tally.pushes, tally.clones, tally.created, tally.rotated];
    assert!(done.iter().all(|done| *done > 0), "{tally:?}");
}
