//! A machine whose clock differs from the server's: what the server is told, what git is given and
//! what a person reads are by the server's.

#![cfg(all(unix, feature = "platform"))]

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wit::expiry::{DAY, UnixTime, iso_date};

use crate::support::machine::Machine;
use crate::support::platform::Server;
use crate::support::proxy::Proxy;
use crate::support::{HELPER, Home, done, text};

/// Clocks that are wrong: a little more than a grace, and by weeks, either way.
const SKEWS: [i64; 4] = [61 * 60, -61 * 60, 20 * DAY, -20 * DAY];
/// Seconds that a test may take between two looks at a clock.
const SLACK: i64 = 300;

/// A machine whose server seems to be so many seconds ahead, with a repository to read.
fn machine(ahead: i64) -> (Machine, Proxy) {
    let server = Server::start();
    let proxy = Proxy::to(&server.address);
    proxy.seem_ahead(ahead);
    let machine = Machine {
        url: proxy.url.clone(),
        server,
        home: Home::new(),
    };
    done(&machine.sign_up("ada"));
    done(&machine.wit(&["repo", "create", "work", "--private"]));
    (machine, proxy)
}

fn unix(time: &Value) -> i64 {
    let time = OffsetDateTime::parse(time.as_str().expect("a time"), &Rfc3339);
    time.expect("RFC 3339").unix_timestamp()
}

/// How long the server lets each token live on, in seconds from now, the shortest first.
fn lives(machine: &Machine, proxy: &Proxy, ahead: i64) -> Vec<i64> {
    proxy.seem_ahead(0);
    let now = UnixTime::now().0;
    let mut lives: Vec<i64> = (machine.list().iter())
        .map(|token| unix(&token["expiresAt"]) - now)
        .collect();
    proxy.seem_ahead(ahead);
    lives.sort_unstable();
    lives
}

fn assert_an_hour(seconds: i64, what: &str) {
    assert!(
        (3600 - SLACK..=3600).contains(&seconds),
        "{what}: {seconds}"
    );
}

#[test]
fn a_grace_is_as_long_as_was_asked() {
    for ahead in SKEWS {
        let (machine, proxy) = machine(ahead);
        done(&machine.wit(&["token", "create", "laptop", "--store", "--expires", "90"]));
        let rotated = machine.json(&["token", "rotate", "--grace", "1h"]);
        let lives = lives(&machine, &proxy, ahead);
        assert_eq!(lives.len(), 2, "skew {ahead}");
        assert_an_hour(lives[0], &format!("skew {ahead}"));
        // What is printed is the server's time too.
        let until = unix(&rotated["rotations"][0]["oldLivesUntil"]);
        let left = until - UnixTime::now().0 - ahead;
        assert_an_hour(left, &format!("printed with skew {ahead}"));
        // It is nothing unfinished.
        let resumed = done(&machine.rotate(&["--resume"]));
        assert_eq!(resumed, "No rotation is unfinished.\n", "skew {ahead}");
    }
}

#[test]
fn a_grace_that_a_clock_set_right_makes_look_over_goes_on() {
    for ahead in SKEWS {
        let (machine, proxy) = machine(ahead);
        done(&machine.wit(&["token", "create", "laptop", "--store", "--expires", "90"]));
        done(&machine.rotate(&["--grace", "1h"]));
        proxy.seem_ahead(0);
        // Commands that end what is over.
        machine.wit(&["status"]);
        done(&machine.rotate(&["--resume"]));
        assert_eq!(machine.ids().len(), 2, "skew {ahead}");
        assert_an_hour(lives(&machine, &proxy, 0)[0], &format!("skew {ahead}"));
    }
}

#[test]
fn a_renewal_leaves_the_old_token_its_hour() {
    for ahead in SKEWS {
        let (machine, proxy) = machine(ahead);
        done(&machine.wit(&["token", "create", "laptop", "--store", "--expires", "90"]));
        let host = machine
            .url
            .strip_prefix("http://")
            .expect("http")
            .to_owned();
        machine.age_token_of(&host, 85);
        let git = machine.git();
        assert!(git.status.success(), "skew {ahead}: {}", text(&git.stderr));
        let lives = lives(&machine, &proxy, ahead);
        assert_eq!(lives.len(), 2, "skew {ahead}: not renewed");
        assert_an_hour(lives[0], &format!("skew {ahead}"));
    }
}

#[test]
fn git_gets_a_token_that_has_expired_by_this_machines_clock_only() {
    let (machine, _proxy) = machine(-20 * DAY);
    done(&machine.wit(&["token", "create", "laptop", "--store", "--expires", "10"]));
    let git = machine.git();
    assert!(git.status.success(), "{}", text(&git.stderr));
    // Git stores what was accepted: what is known of the token stays as it was.
    let git = machine.git();
    assert!(git.status.success(), "{}", text(&git.stderr));
    let status = machine.json(&["token", "list"]);
    assert_eq!(status.as_array().map(Vec::len), Some(1));
    let host = machine.url.strip_prefix("http://").expect("http");
    let request = format!("protocol=http\nhost={host}\n\n");
    let answer = done(&machine.home.run(HELPER, &["get"], &request));
    let expiry = (answer.lines()).find_map(|line| line.strip_prefix("password_expiry_utc="));
    let left = expiry.expect("an expiry").parse::<i64>().expect("a time") - UnixTime::now().0;
    assert!((10 * DAY - SLACK..=10 * DAY).contains(&left), "{left}");
    // An older git brings back what it was given, without the state.
    let stored = answer.lines().filter(|line| !line.starts_with("state[]"));
    let stored: Vec<&str> = stored.collect();
    let stored = format!("{request}{}\n\n", stored.join("\n")).replacen("\n\n", "\n", 1);
    done(&machine.home.run(HELPER, &["store"], &stored));
    let again = done(&machine.home.run(HELPER, &["get"], &request));
    assert_eq!(again, answer);
}

#[test]
fn a_token_is_renewed_in_time_though_this_machines_clock_is_behind() {
    // By this machine's clock it would have 20 days more than it has.
    let (machine, proxy) = machine(20 * DAY);
    done(&machine.wit(&["token", "create", "laptop", "--store", "--expires", "90"]));
    let host = machine
        .url
        .strip_prefix("http://")
        .expect("http")
        .to_owned();
    machine.age_token_of(&host, 84);
    assert!(machine.git().status.success());
    assert_eq!(lives(&machine, &proxy, 0).len(), 2, "not renewed");
    let planned = machine.json(&["token", "rotate", "--due", "91", "--dry-run"]);
    assert_eq!(planned["rotations"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_clock_that_was_set_right_is_noticed_by_a_renewal() {
    // Ahead by 20 days when the token was made, as the skew says that is kept with it.
    let (machine, proxy) = machine(-20 * DAY);
    done(&machine.wit(&["token", "create", "laptop", "--store", "--expires", "90"]));
    let host = machine
        .url
        .strip_prefix("http://")
        .expect("http")
        .to_owned();
    // Now it is right, and the token due; by that skew it would be in 20 days, after its end.
    proxy.seem_ahead(0);
    machine.age_token_of(&host, 85 - 20);
    assert!(machine.git().status.success());
    assert_eq!(machine.ids().len(), 2, "not renewed");
}

#[test]
fn a_token_ends_on_the_day_that_was_asked_for_by_the_servers_calendar() {
    for ahead in [3 * DAY, -3 * DAY] {
        let (machine, _proxy) = machine(ahead);
        let day = iso_date(UnixTime::now().plus(ahead + 2 * DAY));
        let made = machine.json(&["token", "create", "ci", "--expires-on", &day]);
        let expires = made["expiresAt"].as_str().expect("an expiry");
        // Midnight may pass in the meantime.
        let next = iso_date(UnixTime::now().plus(ahead + 3 * DAY));
        assert!(
            expires.starts_with(&day) || expires.starts_with(&next),
            "{expires}"
        );
    }
}
