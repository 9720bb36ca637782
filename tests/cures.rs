//! Each command that is printed as a next step works in the state that it was printed in.

#![cfg(feature = "platform")]

use std::process::Output;

use crate::support::machine::Machine;
use crate::support::{Home, WIT, done, text};
use serde_json::Value;

/// The commands at the ends of lines, each once.
fn commands(output: &Output) -> Vec<String> {
    let said = text(&output.stdout) + &text(&output.stderr);
    let mut commands: Vec<String> = (said.lines())
        .filter_map(|line| line.find(": wit ").map(|at| line[at + 2..].to_owned()))
        .collect();
    commands.dedup();
    commands
}

fn paste(home: &Home, command: &str) -> String {
    let output = home.run("sh", &["-c", command], "");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{command}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn an_audit_names_the_account_and_the_server_that_it_is_about() {
    let mut machine = Machine::logged_in();
    done(&machine.sign_up("bob"));
    let create = |name: &str, more: &[&str]| {
        let create = ["token", "create", name, "-q", "--account", "ada"];
        done(&machine.wit(&[&create[..], more].concat()));
    };
    create("ci", &["-e", "never", "-s", "repo:read,repo:admin"]);
    create("soon", &["-e", "5"]);
    create("laptop", &["-e", "never", "--store"]);
    let one = machine.url.clone();
    let other = Machine::new();
    machine.url = other.url.clone();
    done(&machine.sign_up("ada"));
    machine.url = one.clone();

    let audit = ["token", "audit", "--server", &one, "--account", "ada"];
    let found = machine.wit(&audit);
    assert_eq!(found.status.code(), Some(3), "{}", text(&found.stderr));
    let commands = commands(&found);
    assert_eq!(commands.len(), 3, "{}", text(&found.stdout));
    for command in commands {
        assert!(command.contains(&format!("--server {one}")), "{command}");
        assert!(command.contains("--account ada"), "{command}");
        paste(&machine.home, &command);
    }
    let again = text(&machine.wit(&audit).stdout);
    // What was made for 5 days is for 5 days again.
    assert_eq!(
        again.lines().filter(|line| line.contains("wit ")).count(),
        1
    );
    assert!(again.contains("soon\n  expires on"), "{again}");
}

#[test]
fn a_token_in_its_grace_is_marked_and_left_alone() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["token", "create", "laptop", "--store", "--expires", "60"]));
    done(&machine.rotate(&["--grace", "2h"]));
    let listed = done(&machine.wit(&["token", "list"]));
    assert_eq!(listed.matches("replaced, ends in ").count(), 1, "{listed}");
    let untils = machine.list();
    let untils = untils.iter().map(|token| &token["replacedUntil"]);
    assert_eq!(untils.filter(|until| until.is_string()).count(), 1);
    let audit = done(&machine.wit(&["token", "audit"]));
    assert!(audit.starts_with("No problems found.\nwit_"), "{audit}");
    assert!(audit.contains("  replaced, ends in "), "{audit}");
    let status = done(&machine.wit(&["status"]));
    assert!(status.contains("laptop: replaced, ends in "), "{status}");
}

#[test]
fn what_a_rotation_has_left_behind_is_resumed_or_revoked() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["repo", "create", "work", "--private"]));
    done(&machine.wit(&["token", "create", "laptop", "--store", "--expires", "10"]));
    let mended = machine.home.path().join("mended");
    let rotate = || {
        let _ = std::fs::remove_file(&mended);
        let failed = machine.rotate(&["--deliver", "test -e mended"]);
        assert_eq!(failed.status.code(), Some(5));
        std::fs::write(&mended, "").expect("written");
    };
    rotate();
    let found = machine.json_of(&["token", "audit"], 3);
    let kinds: Vec<&Value> = (found.as_array().expect("a list").iter())
        .map(|one| &one["finding"])
        .collect();
    assert_eq!(kinds, ["unfinished", "unfinished"]);
    paste(&machine.home, found[0]["mend"].as_str().expect("a command"));
    machine.assert_tidy("resumed");

    // Where nothing is known of the rotation any more, the old one is only to be revoked.
    rotate();
    let journals = machine.home.path().join(".local/state/wit/rotations");
    std::fs::remove_dir_all(journals).expect("removed");
    for command in commands(&machine.wit(&["token", "audit"])) {
        paste(&machine.home, &command);
    }
    machine.assert_tidy("revoked");
}

#[test]
fn of_a_database_without_a_server_each_finding_has_a_command() {
    let machine = Machine::logged_in();
    let asks = done(&machine.wit(&["token", "create", "asks", "-q", "-e", "60"]));
    let user = (machine.server).bearing("GET", "/api/v1/user", asks.trim());
    let file = machine.server.data_dir().join("wit.sqlite3");
    let mut home = Home::new();
    home.set("DATABASE_URL", format!("sqlite:{}", file.display()));
    home.set("WIT_USER_ID", user.json()["id"].as_str().expect("an id"));
    let name = "-x $(touch pwned)";
    let create = [
        "token",
        "create",
        "-q",
        "-e",
        "never",
        "-s",
        "repo:admin",
        "--",
        name,
    ];
    done(&home.run(WIT, &create, ""));
    let found = home.run(WIT, &["token", "audit"], "");
    assert_eq!(found.status.code(), Some(3));
    let commands = commands(&found);
    assert_eq!(commands.len(), 1, "{}", text(&found.stdout));
    paste(&home, &commands[0]);
    assert!(!home.path().join("pwned").exists(), "{commands:?}");
    assert!(done(&home.run(WIT, &["token", "audit"], "")).starts_with("No problems found."));
    let list = done(&home.run(WIT, &["token", "list", "--json"], ""));
    assert!(list.contains(name), "{list}");
}

#[test]
fn a_new_token_tells_of_the_one_before_it_what_is_so() {
    let machine = Machine::with_a_token();
    // Or it would say that git does not ask for it yet.
    done(&machine.wit(&["setup"]));
    done(&machine.sign_up("bob"));
    let create = || machine.wit(&["token", "create", "--account", "ada"]);
    let told = create();
    assert!(text(&told.stderr).contains("stored before still works; to revoke it: "));
    let mut commands = commands(&told);
    commands.retain(|command| command != "wit setup");
    assert_eq!(commands.len(), 1, "{}", text(&told.stderr));
    paste(&machine.home, &commands[0]);
    assert_eq!(
        machine
            .json(&["token", "list", "--account", "ada"])
            .as_array()
            .map(Vec::len),
        Some(1)
    );

    let elsewhere = machine.elsewhere();
    let list = machine.json(&["token", "list", "--account", "ada"]);
    let id = list[0]["id"].as_str().expect("an id");
    done(&elsewhere.run(WIT, &["token", "revoke", id], ""));
    let told = create();
    assert!(
        !text(&told.stderr).contains("stored before"),
        "{}",
        text(&told.stderr)
    );
}

#[test]
fn where_no_token_is_stored_the_next_step_is_one_that_works() {
    let machine = Machine::logged_in();
    let hint = |output: &Output| {
        let said = text(&output.stderr);
        let (_, command) = said.trim_end().split_once("hint: ").expect("a hint");
        command.to_owned()
    };
    let print = || machine.wit(&["token", "print"]);
    paste(&machine.home, &hint(&print()));
    done(&print());
    done(&machine.wit(&["logout", "--revoke"]));
    let print = machine.wit(&["token", "print", &machine.url]);
    let command = hint(&print);
    let login = format!("wit login {}", machine.url);
    assert!(command.starts_with(&login), "{command}");
    let typed = command.replacen(
        &login,
        &format!("{login} --username ada --password-stdin"),
        1,
    );
    let output = machine.home.run("sh", &["-c", &typed], "correct horse\n");
    done(&output);
    done(&machine.wit(&["token", "print"]));
}

#[test]
fn a_refused_session_is_told_with_the_login_to_that_server() {
    let mut machine = Machine::logged_in();
    let one = machine.url.clone();
    let other = Machine::new();
    machine.url = other.url.clone();
    done(&machine.sign_up("ada"));
    machine.url = one.clone();
    let session = machine.sessions().remove(0);
    (machine.server).post("/api/auth/sign-out", &session, serde_json::json!({}));
    let list = ["token", "list", "--server", &one];
    let refused = machine.wit(&list);
    assert_eq!(refused.status.code(), Some(4));
    let said = text(&refused.stderr);
    let (_, command) = said.trim_end().split_once("hint: ").expect("a hint");
    assert_eq!(command, format!("wit login {one}"));
    let typed = format!("{command} --username ada --password-stdin");
    done(&machine.home.run("sh", &["-c", &typed], "correct horse\n"));
    done(&machine.wit(&list));
}
