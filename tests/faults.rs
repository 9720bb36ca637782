//! A server, or the way to it, that fails at each request in turn, through the real program: what is
//! typed again mends it, and git never notices.

#![cfg(all(unix, feature = "platform"))]

use crate::support::machine::Machine;
use crate::support::platform::Server;
use crate::support::proxy::{Fate, Proxy};
use crate::support::{Home, done, text};

/// A machine that reaches its server by a way on which things go wrong.
fn behind_a_proxy() -> (Machine, Proxy) {
    let server = Server::start();
    let proxy = Proxy::to(&server.address);
    let mut home = Home::new();
    home.set("WIT_HTTP_TIMEOUT", "1");
    let machine = Machine {
        url: proxy.url.clone(),
        server,
        home,
    };
    done(&machine.sign_up("ada"));
    done(&machine.wit(&["repo", "create", "work"]));
    done(&machine.wit(&["token", "create", "laptop", "--store"]));
    (machine, proxy)
}

/// Spoils each request of a rotation in turn, until there is none left to spoil.
fn spoil_each(fate: Fate) {
    let (machine, proxy) = behind_a_proxy();
    let arguments = ["--deliver", "cat >>received; echo >>received"];
    for number in 0.. {
        let what = format!("{fate:?} at request {number}");
        let before = machine.ids();
        proxy.spoil(number, fate);
        proxy.take_seen();
        let spoilt = machine.rotate(&arguments);
        let all_were_tried = proxy.take_seen().len() <= number;
        proxy.set(|_| Fate::Forwarded);
        let git = machine.git();
        assert!(git.status.success(), "{what}: {}", text(&git.stderr));
        if !spoilt.status.success() {
            let said = text(&spoilt.stderr);
            assert!(said.contains("hint: "), "{what}: {said}");
            done(&machine.rotate(&arguments));
        }
        machine.assert_tidy(&what);
        assert_ne!(machine.ids(), before, "{what}");
        let received = std::fs::read_to_string(machine.home.path().join("received"));
        let received = received.expect("delivered");
        let last = received.lines().last().expect("a token");
        let check = machine.server.bearing("GET", "/api/v1/user", last);
        assert_eq!(check.status, 200, "{what}: the receiver's token is dead");
        if all_were_tried {
            assert!(number >= 5, "only {number} requests");
            return;
        }
    }
}

#[test]
fn refused_with_500() {
    spoil_each(Fate::Refused(500));
}

#[test]
fn refused_with_401() {
    spoil_each(Fate::Refused(401));
}

#[test]
fn refused_with_429() {
    spoil_each(Fate::Refused(429));
}

#[test]
fn cut_off_after_it_was_carried_out() {
    spoil_each(Fate::CutAfter);
}

#[test]
fn cut_off_before_it_was_carried_out() {
    spoil_each(Fate::CutBefore);
}

#[test]
fn answered_too_late() {
    spoil_each(Fate::Silence);
}
