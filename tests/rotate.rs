//! `wit token rotate`, `renew` and renewal inside `get`, against the real `wit up` and real git.

#![cfg(all(unix, feature = "platform"))]

use std::time::{Duration, Instant};

use crate::support::machine::Machine;
use crate::support::proxy::{Fate, Proxy};
use crate::support::{HELPER, WIT, done, refused, text};

#[test]
fn this_machines_token_is_rotated_and_git_goes_on() {
    let machine = Machine::with_a_token();
    let before = machine.ids();
    let said = done(&machine.rotate(&[]));
    assert!(said.starts_with("Rotated laptop: now "), "{said}");
    assert_ne!(machine.ids(), before);
    machine.assert_tidy("rotated");
}

#[test]
fn a_dry_run_changes_nothing() {
    let machine = Machine::with_a_token();
    let before = machine.ids();
    let said = done(&machine.rotate(&["--dry-run", "--grace", "2h"]));
    assert!(
        said.contains("let the old one live on for 2 hours"),
        "{said}"
    );
    assert_eq!(machine.ids(), before);
    assert_eq!(machine.journals(), 0);
}

#[test]
fn only_the_receiver_that_failed_is_asked_again_and_nothing_leaks() {
    let machine = Machine::with_a_token();
    let good = "cat >>good; echo >>good";
    let bad = "cat >&2; test -e mended";
    let failed = machine.rotate(&["--deliver", good, "--deliver", bad]);
    assert_eq!(failed.status.code(), Some(5), "{}", text(&failed.stderr));
    let token = std::fs::read_to_string(machine.home.path().join("good")).expect("delivered");
    let said = text(&failed.stderr) + &text(&failed.stdout);
    assert!(!said.contains(token.trim()), "the token leaked");
    assert!(said.contains("[token]"), "{said}");
    assert_eq!(machine.ids().len(), 2, "the old token must live");

    std::fs::write(machine.home.path().join("mended"), "").expect("written");
    done(&machine.rotate(&["--resume"]));
    machine.assert_tidy("mended");
    let after = std::fs::read_to_string(machine.home.path().join("good")).expect("read");
    assert_eq!(after, token, "the first was called again");
}

#[test]
fn a_receiver_that_does_not_take_it_changes_nothing_and_leaks_nothing() {
    let mut machine = Machine::with_a_token();
    machine.home.set("WIT_DELIVER_TIMEOUT", "0.5");
    for (receiver, why) in [
        ("tee /dev/stderr; exit 3", "exit status: 3"),
        (
            "cat; cut -c 1-30 >&2 </dev/null; sleep 1000 & wait",
            "did not end within 0.5 s",
        ),
        ("no-such-program", "exit status: 127"),
        ("kill -9 $$", "signal: 9"),
    ] {
        let before = machine.ids();
        let said = refused(&machine.rotate(&["--deliver", receiver]), 5);
        assert!(said.contains(why), "{said}");
        assert!(
            said.contains("hint: mend it, then: wit token rotate --resume"),
            "{said}"
        );
        let shown = said.split("wit_").skip(1);
        for after in shown {
            let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
            assert!(digits < 12, "a token leaked: {said}");
        }
        assert!(
            machine.ids().contains(&before[0]),
            "the old one was revoked"
        );
        assert!(machine.git().status.success());
        done(&machine.rotate(&["--abort"]));
        assert_eq!(machine.ids(), before);
        machine.assert_tidy(receiver);
    }
}

#[test]
fn a_token_that_lies_elsewhere_goes_to_its_receiver() {
    let machine = Machine::with_a_token();
    done(&machine.wit(&["token", "create", "ci", "--expires", "30"]));
    let nowhere = machine.rotate(&["ci"]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", text(&nowhere.stderr));
    let printed = done(&machine.rotate(&["ci", "--print", "--deliver-file", "ci-token"]));
    let file = std::fs::read_to_string(machine.home.path().join("ci-token")).expect("delivered");
    assert_eq!(printed, format!("{file}\n"));
    assert_eq!(machine.ids().len(), 2);
    assert_eq!(machine.journals(), 0);
}

#[test]
fn what_is_due_is_rotated_and_nothing_due_is_no_failure() {
    let machine = Machine::with_a_token();
    let before = machine.ids();
    assert_eq!(done(&machine.rotate(&["--due", "30", "--all"])), "");
    assert_eq!(machine.ids(), before);
    let said = done(&machine.rotate(&["--due", "91", "--all"]));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_ne!(machine.ids(), before);
    machine.assert_tidy("due");
}

#[test]
fn an_abort_takes_an_undelivered_token_back() {
    let machine = Machine::with_a_token();
    let before = machine.ids();
    let failed = machine.rotate(&["--deliver", "exit 1"]);
    assert_eq!(failed.status.code(), Some(5));
    done(&machine.rotate(&["--abort"]));
    assert_eq!(machine.ids(), before);
    machine.assert_tidy("aborted");
}

#[test]
fn many_gits_at_once_get_one_new_token_and_all_succeed() {
    let machine = Machine::with_a_token();
    machine.age_stored_token(85);
    let failed: Vec<String> = std::thread::scope(|scope| {
        let gits: Vec<_> = (0..32).map(|_| scope.spawn(|| machine.git())).collect();
        let outputs = gits.into_iter().map(|git| git.join().expect("ran"));
        outputs
            .filter(|output| !output.status.success())
            .map(|output| text(&output.stderr))
            .collect()
    });
    assert_eq!(failed, Vec::<String>::new());
    // The old one lives on for those that already had it.
    assert_eq!(machine.ids().len(), 2);
    done(&machine.git());
    assert_eq!(machine.ids().len(), 2);
    assert_eq!(machine.journals(), 1);
}

#[test]
fn a_renewal_that_fails_is_remembered_and_git_gets_the_token_that_works() {
    let machine = Machine::with_a_token();
    machine.age_stored_token(85);
    done(&machine.server.home.run(WIT, &["down"], ""));
    let host = machine.url.strip_prefix("http://").expect("http");
    let request = format!("protocol=http\nhost={host}\n\n");
    let begun = || {
        let dir = machine.home.path().join(".local/state/wit/renewals");
        let mut files = std::fs::read_dir(dir).expect("renewals");
        let file = files.next().expect("a file").expect("a file").path();
        std::fs::metadata(file)
            .expect("there")
            .modified()
            .expect("a time")
    };
    let first = done(&machine.home.run(HELPER, &["get"], &request));
    assert!(first.contains("password=wit_"), "{first}");
    let remembered = begun();
    let second = machine.home.run(HELPER, &["get"], &request);
    assert_eq!(done(&second), first);
    assert_eq!(text(&second.stderr), "");
    assert_eq!(begun(), remembered, "it was tried again");
}

#[test]
fn a_renewal_goes_to_the_server_whatever_database_the_environment_names() {
    let mut machine = Machine::with_a_token();
    machine.age_stored_token(85);
    machine.home.set("DATABASE_URL", "sqlite:missing.db");
    machine.home.set("WIT_USER_ID", "nobody");
    assert!(machine.git().status.success());
    machine.home.set("DATABASE_URL", "");
    // The old one lives on for those that already had it.
    assert_eq!(machine.ids().len(), 2);
}

#[test]
fn a_server_that_says_nothing_delays_git_by_less_than_five_seconds() {
    let machine = Machine::with_a_token();
    let proxy = Proxy::to(&machine.server.address);
    let machine = Machine {
        url: proxy.url.clone(),
        ..machine
    };
    done(&machine.log_in("ada"));
    done(&machine.wit(&[
        "token",
        "create",
        "far",
        "--expires",
        "90",
        "--server",
        &proxy.url,
        "--store",
    ]));
    let host = proxy.url.strip_prefix("http://").expect("http");
    machine.age_token_of(host, 85);
    let request = format!("protocol=http\nhost={host}\n\n");
    proxy.set(|_| Fate::Silence);
    let begun = Instant::now();
    let answer = done(&machine.home.run(HELPER, &["get"], &request));
    let took = begun.elapsed();
    assert!(answer.contains("password=wit_"), "{answer}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(took > Duration::from_secs(1), "the renewal was not tried");
}

#[test]
fn never_means_never() {
    let machine = Machine::with_a_token();
    machine.age_stored_token(85);
    machine.configure("renew", "never");
    done(&machine.git());
    assert_eq!(machine.ids().len(), 1);
}

/// Run with: cargo test --features crash-points rotate::
#[cfg(feature = "crash-points")]
#[test]
fn a_crash_at_any_point_is_mended_by_typing_the_command_again() {
    let mut machine = Machine::with_a_token();
    for point in [
        "journal-creating",
        "created",
        "pending",
        "journal-verifying",
        "journal-promoting",
        "promoted",
        "journal-delivering",
        "delivered",
        "journal-revoking",
        "revoked",
        "tidied",
        "cleared",
    ] {
        let before = machine.ids();
        machine.home.set("WIT_CRASH_AT", point);
        let crashed = machine.rotate(&["--deliver", "cat >/dev/null"]);
        assert_eq!(
            crashed.status.code(),
            None,
            "{point}: {}",
            text(&crashed.stderr)
        );
        let git = machine.git();
        assert!(git.status.success(), "{point}: {}", text(&git.stderr));
        machine.home.set("WIT_CRASH_AT", "");
        if point != "cleared" {
            done(&machine.rotate(&[]));
        }
        assert_ne!(machine.ids(), before, "{point}");
        machine.assert_tidy(point);
    }
}

/// Run with: cargo test --features crash-points rotate::
#[cfg(feature = "crash-points")]
#[test]
fn a_crash_while_taking_back_is_mended_too() {
    let mut machine = Machine::with_a_token();
    for point in ["journal-undoing", "put-back", "taken-back", "cleared"] {
        let before = machine.ids();
        assert_eq!(
            machine.rotate(&["--deliver", "exit 1"]).status.code(),
            Some(5)
        );
        machine.home.set("WIT_CRASH_AT", point);
        assert_eq!(machine.rotate(&["--abort"]).status.code(), None, "{point}");
        machine.home.set("WIT_CRASH_AT", "");
        done(&machine.rotate(&["--resume"]));
        assert_eq!(machine.ids(), before, "{point}");
        machine.assert_tidy(point);
    }
}

/// Run with: cargo test --features crash-points rotate::
#[cfg(feature = "crash-points")]
#[test]
fn a_crash_after_any_write_is_mended_by_typing_the_command_again() {
    const WORKERS: usize = 4;
    let crashes: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|first| {
                scope.spawn(move || {
                    let mut machine = Machine::with_a_token();
                    for number in (first..).step_by(WORKERS) {
                        let what = format!("write {number}");
                        machine.home.set("WIT_CRASH_AT", format!("write-{number}"));
                        let crashed = machine.rotate(&["--deliver-file", "token"]);
                        machine.home.set("WIT_CRASH_AT", "");
                        if crashed.status.success() {
                            return number;
                        }
                        assert_eq!(crashed.status.code(), None, "{what}");
                        let git = machine.git();
                        assert!(git.status.success(), "{what}: {}", text(&git.stderr));
                        done(&machine.rotate(&["--deliver-file", "token"]));
                        machine.assert_tidy(&what);
                    }
                    unreachable!("there is a last write")
                })
            })
            .collect();
        let last = workers
            .into_iter()
            .map(|worker| worker.join().expect("mended"));
        last.min().expect("a worker")
    });
    assert!(crashes > 40, "only {crashes} writes");
}
