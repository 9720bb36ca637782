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
        said.contains("keep the old one valid for 2 hours"),
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
            said.contains("hint: fix it, then: wit token rotate ")
                && said.contains(" --resume, or"),
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
    assert!(took < Duration::from_secs(20), "{took:?}");
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

/// The id of the token of that name, which is the only one.
fn id_of(machine: &Machine, name: &str) -> String {
    let list = machine.list();
    let mut named = list.iter().filter(|token| token["name"] == name);
    let id = named.next().expect("a token")["id"].as_str();
    assert!(named.next().is_none(), "several are called {name}");
    id.expect("an id").to_owned()
}

/// A machine with a token `ci` besides the stored one, whose rotation stops at its receiver.
fn with_undelivered(receiver: &[&str]) -> (Machine, String) {
    let machine = Machine::with_a_token();
    done(&machine.wit(&["token", "create", "ci", "--expires", "90"]));
    let id = id_of(&machine, "ci");
    refused(&machine.rotate(&[&["ci"], receiver].concat()), 5);
    (machine, id)
}

#[test]
fn a_token_that_is_to_be_printed_waits_for_a_person() {
    let machine = Machine::with_a_token();
    done(&machine.wit(&["token", "create", "ci", "--expires", "90"]));
    let id = id_of(&machine, "ci");
    let unread = "wit token rotate ci --print >/dev/full";
    let failed = machine.home.run("sh", &["-c", unread], "");
    assert_eq!(failed.status.code(), Some(5), "{}", text(&failed.stderr));

    machine.age_stored_token(85);
    assert!(machine.git().status.success());
    assert_eq!(machine.ids().len(), 4, "git's own token was not renewed");
    assert!(machine.ids().contains(&id), "the old one was revoked");
    let daily = machine.rotate(&["--due", "7", "--all"]);
    let said = text(&daily.stderr);
    assert_eq!(daily.status.code(), Some(5), "{said}");
    assert!(!text(&daily.stdout).contains("wit_"), "it was printed");
    let hint = format!("hint: wit token rotate {id} --resume");
    assert!(said.contains(&hint), "{said}");
    let said = refused(&machine.rotate(&[&id, "--resume", "--json"]), 2);
    assert!(said.contains("to be printed"), "{said}");
    assert!(machine.ids().contains(&id), "the old one was revoked");

    let printed = done(&machine.rotate(&[&id, "--resume"]));
    assert_eq!(printed.trim().len(), 44, "the token and nothing else");
    assert!(!machine.ids().contains(&id));
}

#[test]
fn a_rotation_that_can_not_be_delivered_keeps_no_other_token_from_renewal() {
    let (machine, _) = with_undelivered(&["--deliver", "exit 1"]);
    machine.age_stored_token(85);
    assert!(machine.git().status.success());
    assert_eq!(machine.ids().len(), 4, "git's own token was not renewed");
}

#[test]
fn an_account_that_is_logged_out_keeps_no_other_from_renewal() {
    let machine = Machine::logged_in();
    done(&machine.sign_up("bob"));
    for name in ["ada", "bob"] {
        let create = ["token", "create", name, "--store", "--expires", "90"];
        done(&machine.wit(&[&create[..], &["--account", name]].concat()));
    }
    done(&machine.wit(&["logout", "--account", "bob"]));
    machine.age_stored_token(85);
    let host = &machine.server.address;
    let request = format!("protocol=http\nhost={host}\nusername=ada\n\n");
    done(&machine.home.run(HELPER, &["get"], &request));
    let tokens = machine.json(&["token", "list", "--account", "ada"]);
    assert_eq!(tokens.as_array().map(Vec::len), Some(2));
}

#[test]
fn an_old_token_whose_new_one_was_revoked_is_kept_and_can_go_on() {
    let good = ["--deliver", "cat >good"];
    let (machine, old) = with_undelivered(&[&good[..], &["--deliver", "exit 1"]].concat());
    let new = machine.json(&["token", "list"]);
    let mut new = new.as_array().expect("a list").iter();
    let new = new.find(|token| token["name"] == "ci" && token["id"] != old.as_str());
    let new = new.expect("a new token")["id"].as_str().expect("an id");
    done(&machine.wit(&["token", "revoke", new]));
    for again in [&["ci", "--deliver", "cat >good"][..], &["--resume"]] {
        let said = refused(&machine.rotate(again), 5);
        assert!(said.contains("has ended the new token"), "{said}");
        assert!(said.contains(&format!("hint: wit token rotate {old} --abort")));
    }
    assert!(machine.ids().contains(&old), "no token is left");
    done(&machine.rotate(&[&old, "--abort"]));
    assert_eq!(machine.journals(), 0);
    done(&machine.rotate(&["ci", "--deliver", "cat >good"]));
    assert_ne!(id_of(&machine, "ci"), old);
}

#[test]
fn an_unfinished_rotation_is_named_as_its_token_is() {
    let (machine, old) = with_undelivered(&["--deliver", "test -e mended"]);
    let list = machine.list();
    let token = list.iter().find(|token| token["id"] == old.as_str());
    let prefix = token.expect("the old one")["tokenPrefix"].as_str();
    let prefix = prefix.expect("a prefix");
    refused(&machine.rotate(&[prefix, "--deliver", "exit 1"]), 5);
    assert_eq!(machine.journals(), 1, "a second rotation was begun");
    let said = refused(&machine.rotate(&["nobody", "--resume"]), 1);
    assert!(said.contains("no token matches 'nobody'"), "{said}");
    done(&machine.rotate(&[prefix, "--abort"]));
    assert_eq!(machine.journals(), 0);
}

#[test]
fn what_is_asked_for_is_not_dropped_where_another_rotation_was_begun() {
    let (machine, old) = with_undelivered(&["--deliver", "test -e mended"]);
    std::fs::write(machine.home.path().join("mended"), "").expect("written");
    for other in [
        ["--scopes", "repo:read"],
        ["--expires", "7"],
        ["--grace", "1h"],
    ] {
        let said = refused(&machine.rotate(&[&["ci"], &other[..]].concat()), 3);
        assert!(said.contains(&format!("wit token rotate {old} --resume")));
        refused(&machine.rotate(&[&["--resume"], &other[..]].concat()), 2);
        refused(&machine.rotate(&[&["--abort"], &other[..]].concat()), 2);
    }
    refused(&machine.rotate(&["--due", "7", "--scopes", "repo:read"]), 2);
    assert!(machine.ids().contains(&old));
    // The same again goes on.
    done(&machine.rotate(&["ci", "--expires", "90"]));
    assert!(!machine.ids().contains(&old));
}

#[test]
fn one_receiver_is_not_for_several_rotations() {
    let (machine, first) = with_undelivered(&["--deliver", "exit 1"]);
    refused(&machine.rotate(&["--deliver", "exit 1"]), 5);
    let said = refused(&machine.rotate(&["--resume", "--deliver", "cat >got"]), 2);
    assert!(said.contains("several rotations are unfinished"), "{said}");
    assert!(!machine.home.path().join("got").exists());
    done(&machine.rotate(&[&first, "--resume", "--deliver", "cat >got"]));
    assert!(!machine.ids().contains(&first));
    assert_eq!(machine.journals(), 1);
}

#[test]
fn a_hint_names_the_account_that_would_not_be_meant() {
    let machine = Machine::with_a_token();
    done(&machine.sign_up("bob"));
    let rotate = ["--account", "ada", "--deliver", "test -e mended"];
    let said = refused(&machine.rotate(&rotate), 5);
    std::fs::write(machine.home.path().join("mended"), "").expect("written");
    let hint = said
        .lines()
        .find_map(|line| line.strip_prefix("hint: fix it, then: "))
        .and_then(|hint| hint.split(", or ").next());
    done(
        &machine
            .home
            .run("sh", &["-c", hint.expect("a command")], ""),
    );
    assert_eq!(machine.journals(), 0);
}

#[test]
fn a_receiver_that_comes_too_late_is_refused() {
    let machine = Machine::with_a_token();
    done(&machine.rotate(&["--grace", "1h"]));
    let late = ["laptop", "--resume", "--deliver", "cat >got"];
    let said = refused(&machine.rotate(&late), 2);
    assert!(said.contains("has reached its receivers"), "{said}");
    let said = done(&machine.rotate(&["laptop", "--resume"]));
    assert!(said.contains("the old one stays valid until"), "{said}");
}

#[test]
fn one_rotation_that_can_not_be_finished_leaves_the_others_no_worse() {
    let (machine, first) = with_undelivered(&["--deliver", "exit 1"]);
    refused(&machine.rotate(&["--deliver", "test -e mended"]), 5);
    std::fs::write(machine.home.path().join("mended"), "").expect("written");
    let resumed = machine.rotate(&["--resume"]);
    assert_eq!(resumed.status.code(), Some(5), "{}", text(&resumed.stderr));
    assert!(text(&resumed.stdout).starts_with("Rotated laptop: now "));
    assert!(machine.ids().contains(&first));
}

#[test]
fn a_grace_is_not_taken_back_and_it_is_said_what_ends_it() {
    let machine = Machine::with_a_token();
    let old = machine.ids().remove(0);
    done(&machine.rotate(&["--grace", "1h"]));
    let said = refused(&machine.rotate(&["laptop", "--abort"]), 5);
    let hint = format!("hint: wit token revoke {old} ends the old one now");
    assert!(said.contains(&hint), "{said}");
}

#[test]
fn every_account_with_something_due_is_looked_after_and_no_other_asked() {
    let machine = Machine::logged_in();
    done(&machine.sign_up("bob"));
    for name in ["ada", "bob"] {
        let create = ["token", "create", name, "--store", "--expires", "90"];
        done(&machine.wit(&[&create[..], &["--account", name]].concat()));
    }
    done(&machine.sign_up("eve"));
    done(&machine.wit(&["logout", "--account", "eve"]));
    let planned = machine.json(&["token", "rotate", "--due", "91", "--all", "--dry-run"]);
    assert_eq!(planned["rotations"].as_array().map(Vec::len), Some(2));
    let nothing = machine.json(&["token", "rotate", "--due", "7", "--all", "--dry-run"]);
    assert_eq!(nothing["rotations"], serde_json::json!([]));
    let rotated = done(&machine.rotate(&["--due", "91", "--all"]));
    assert_eq!(rotated.lines().count(), 2, "{rotated}");
    done(&machine.wit(&["logout", "--account", "ada"]));
    assert_eq!(done(&machine.rotate(&["--due", "7", "--all"])), "");
    let said = text(&machine.rotate(&["--due", "91", "--all"]).stderr);
    assert_eq!(said.matches("not logged in").count(), 1, "{said}");
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

#[test]
fn in_the_grace_nothing_here_holds_a_token_that_was_printed() {
    let machine = Machine::with_a_token();
    done(&machine.wit(&["token", "create", "ci", "--expires", "30"]));
    done(&machine.rotate(&["ci", "--print", "--grace", "1h"]));
    let here = |name: &str| {
        let named = |token: &&serde_json::Value| token["name"] == name;
        machine
            .list()
            .iter()
            .filter(named)
            .any(|token| token["thisMachine"] == true)
    };
    assert!(here("laptop") && !here("ci"));
    let said = done(&machine.wit(&["store", "list"]));
    assert!(!said.contains("unfinished"), "{said}");
    let said = done(&machine.wit(&["status"]));
    assert!(!said.contains("to be ended"), "{said}");
    done(&machine.rotate(&["--resume"]));
}
