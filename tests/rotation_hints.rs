//! The commands that `wit token rotate` and `revoke` print, run in the state that they were printed in.

#![cfg(all(unix, feature = "platform"))]

use std::process::Output;

use crate::support::machine::Machine;
use crate::support::platform::PASSWORD;
use crate::support::{done, refused};

/// The command that a hint begins with.
fn hinted(said: &str) -> String {
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: "));
    let hint = hint.unwrap_or_else(|| panic!("no hint: {said}"));
    let command = hint.strip_prefix("fix it, then: ").unwrap_or(hint);
    let command = command.split(", ").next().expect("a command");
    command
        .split(" ends ")
        .next()
        .expect("a command")
        .to_owned()
}

fn run_hint(machine: &Machine, said: &str) -> Output {
    machine.home.run("sh", &["-c", &hinted(said)], "")
}

/// A machine on which another account is meant where none is named.
fn as_another() -> Machine {
    let machine = Machine::with_a_token();
    done(&machine.sign_up("bob"));
    machine
}

fn rotate(machine: &Machine, arguments: &[&str]) -> Output {
    machine.rotate(&[&["--account", "ada"], arguments].concat())
}

fn ids(machine: &Machine) -> Vec<String> {
    let list = machine.json(&["token", "list", "--account", "ada"]);
    let list = list.as_array().expect("a list");
    let id = |token: &serde_json::Value| token["id"].as_str().expect("an id").to_owned();
    list.iter().map(id).collect()
}

#[test]
fn a_token_that_is_not_stored_is_printed_by_the_hint() {
    let machine = as_another();
    done(&machine.wit(&["token", "create", "ci", "-q", "-e", "9", "--account", "ada"]));
    let before = ids(&machine);
    let said = refused(&rotate(&machine, &["ci"]), 2);
    assert!(
        done(&run_hint(&machine, &said)).starts_with("wit_"),
        "{said}"
    );
    assert_ne!(ids(&machine), before);
}

#[test]
fn an_account_without_room_is_listed_by_the_hint() {
    let machine = as_another();
    for number in 1..50 {
        let name = format!("token {number}");
        done(&machine.wit(&[
            "token",
            "create",
            &name,
            "-q",
            "-e",
            "9",
            "--account",
            "ada",
        ]));
    }
    let said = refused(&rotate(&machine, &[]), 1);
    assert!(said.contains("has 50 tokens"), "{said}");
    assert!(
        done(&run_hint(&machine, &said)).contains("Tokens (50)"),
        "{said}"
    );
}

#[test]
fn a_token_in_its_grace_is_not_rotated_again_and_its_successor_is_by_the_hint() {
    let machine = as_another();
    let old = ids(&machine).remove(0);
    done(&rotate(&machine, &["--grace", "1h"]));
    let new = ids(&machine)
        .into_iter()
        .find(|id| *id != old)
        .expect("a new one");
    for more in [&[][..], &["--print"], &["--dry-run"]] {
        let said = refused(&rotate(&machine, &[&[old.as_str()], more].concat()), 3);
        assert!(said.contains("replaced, ends in"), "{said}");
        assert!(hinted(&said).contains(&new), "{said}");
    }
    let said = refused(&rotate(&machine, &[&old]), 3);
    done(&run_hint(&machine, &said));
    let after = ids(&machine);
    assert!(after.contains(&old) && !after.contains(&new));
    // The name means the successor alone.
    done(&rotate(&machine, &["laptop"]));
}

#[test]
fn a_token_that_has_replaced_itself_is_not_rotated_by_its_owner() {
    let mut machine = as_another();
    let made = machine.json(&["token", "create", "ci", "-e", "9", "--account", "ada"]);
    machine
        .home
        .set("WIT_TOKEN", made["token"].as_str().expect("a secret"));
    machine.home.set("WIT_URL", machine.url.clone());
    done(&machine.rotate(&["--self", "--print"]));
    machine.home.set("WIT_TOKEN", "");
    let old = made["id"].as_str().expect("an id");
    let said = refused(&rotate(&machine, &[old, "--print"]), 3);
    assert!(said.contains("replaced, ends in"), "{said}");
    assert!(
        done(&run_hint(&machine, &said)).starts_with("wit_"),
        "{said}"
    );
}

#[test]
fn an_abort_that_comes_too_late_ends_the_old_token_by_the_hint() {
    let machine = as_another();
    let old = ids(&machine).remove(0);
    done(&rotate(&machine, &["--grace", "1h"]));
    let said = refused(&rotate(&machine, &[&old, "--abort"]), 5);
    done(&run_hint(&machine, &said));
    assert!(!ids(&machine).contains(&old));
}

#[test]
fn what_was_not_delivered_is_finished_by_the_hint() {
    let machine = as_another();
    let said = refused(&rotate(&machine, &["--deliver", "test -e mended"]), 5);
    std::fs::write(machine.home.path().join("mended"), "").expect("written");
    done(&run_hint(&machine, &said));
    assert_eq!(machine.journals(), 0);
}

#[test]
fn a_rotation_whose_new_token_was_revoked_is_taken_back_by_the_hint() {
    let machine = as_another();
    let old = ids(&machine).remove(0);
    refused(
        &rotate(&machine, &["--deliver", "cat >good", "--deliver", "exit 1"]),
        5,
    );
    let new = ids(&machine)
        .into_iter()
        .find(|id| *id != old)
        .expect("a new one");
    // As another machine would: this one would forget the token too.
    let login = serde_json::json!({"username": "ada", "password": PASSWORD});
    let signed_in = machine
        .server
        .post("/api/auth/sign-in/username", "", login)
        .json();
    let session = signed_in["token"].as_str().expect("a session").to_owned();
    let revoked = machine
        .server
        .bearing("DELETE", &format!("/api/tokens/{new}"), &session);
    assert_eq!(revoked.status, 200);
    let said = refused(
        &rotate(&machine, &["--resume", "--deliver", "cat >good"]),
        5,
    );
    done(&run_hint(&machine, &said));
    assert_eq!(ids(&machine), [old]);
    assert_eq!(machine.journals(), 0);
}

#[test]
fn a_token_that_is_not_known_is_looked_for_by_the_hint() {
    let machine = Machine::with_a_token();
    for command in ["rotate", "revoke"] {
        let said = refused(&machine.wit(&["token", command, "nobody"]), 1);
        assert!(
            done(&run_hint(&machine, &said)).contains("laptop"),
            "{said}"
        );
    }
}
