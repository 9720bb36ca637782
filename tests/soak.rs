//! What the server acknowledged stays so, however it ends.

#![cfg(feature = "platform")]

use std::time::Duration;

use crate::support::platform::Server;
use crate::support::postgres::Postgres;
use crate::support::soak::{Plan, run};

fn nothing_is_lost(server: &Server, seconds: u64) {
    let plan = Plan {
        clients: 8,
        time: Duration::from_secs(seconds),
        kill_every: Duration::from_secs(4),
    };
    let tally = run(plan, server);
    assert!(tally.kills >= 3, "{tally:?}");
    let done = [tally.pushes, tally.clones, tally.created, tally.rotated];
    assert!(done.iter().all(|done| *done > 0), "{tally:?}");
}

#[test]
fn a_killed_server_has_lost_no_push_and_no_token_and_takes_no_revoked_one() {
    nothing_is_lost(&Server::start(), 20);
}

#[test]
fn a_killed_server_on_postgresql_has_lost_nothing_either() {
    let postgres = Postgres::start();
    nothing_is_lost(&Server::start_on(&postgres), 12);
}
