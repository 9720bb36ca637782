//! What a newcomer meets first: each message says what happened, and its hint leads somewhere.

#![cfg(all(target_os = "linux", feature = "platform"))]

use crate::support::machine::Machine;
use crate::support::terminal::Terminal;
use crate::support::{Home, WIT, done, refused};

/// The end of input at a terminal.
const CTRL_D: u8 = 4;

fn shell(home: &Home, line: &str) -> std::process::Output {
    home.run("sh", &["-c", line], "")
}

#[test]
fn the_end_of_input_at_a_password_is_called_so() {
    let machine = Machine::logged_in();
    for (line, prompt, what) in [
        (
            format!("wit login {} --username ada", machine.url),
            "Password for ada at ",
            "no password was given: end of input",
        ),
        (
            "wit account password".to_owned(),
            "Password: ",
            "no password was given: end of input",
        ),
    ] {
        let mut terminal = Terminal::run(&machine.home, &line);
        terminal.shows(prompt);
        terminal.hides();
        terminal.presses(CTRL_D);
        let (code, screen) = terminal.ends();
        assert_eq!(code, Some(2), "{screen}");
        assert!(screen.contains(what), "{screen}");
        assert!(!screen.contains("wit doctor"), "{screen}");
    }
}

#[test]
fn doctor_is_named_only_where_it_looks() {
    let machine = Machine::logged_in();
    let home = &machine.home;
    done(&home.run(WIT, &["up", "--port", "0"], ""));
    done(&home.run(WIT, &["down"], ""));
    std::fs::write(home.path().join("broken"), "nothing").expect("written");
    for (line, what) in [
        ("wit doctor >/dev/full", "can't write to stdout: "),
        ("wit import netrc --file missing", "missing"),
        ("wit up backup missing/x", "can't write missing/x: "),
        (
            "wit up restore broken --data-dir other",
            "can't restore broken: not an archive of",
        ),
        (
            "wit up restore missing --data-dir other",
            "can't open missing: ",
        ),
        ("wit up --port 0 --tls-cert x --tls-key y", "x"),
    ] {
        let said = refused(&shell(home, line), 1);
        assert!(said.contains(what), "{line}: {said}");
        assert!(!said.contains("wit doctor"), "{line}: {said}");
    }
    let config = home.path().join(".config/wit/config.json");
    std::fs::write(config, "nothing").expect("written");
    let said = refused(&shell(home, "wit token list"), 1);
    assert!(said.contains("hint: wit doctor"), "{said}");
}

#[test]
fn an_address_of_another_machine_is_not_taken_for_a_port_in_use() {
    let home = Home::new();
    // TEST-NET-1 (RFC 5737), which no machine has.
    let line = "wit up --listen 192.0.2.1 --allow-http --port 0 --data-dir data";
    let said = refused(&shell(&home, line), 1);
    let what = "error: this machine has no address 192.0.2.1\n";
    assert!(said.contains(what), "{said}");
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: "));
    let (command, _) = hint.and_then(|hint| hint.split_once(", ")).expect("a hint");
    done(&shell(&home, &format!("{command} --port 0")));
    done(&shell(&home, "wit down --data-dir data"));
}

#[test]
fn certificates_that_are_not_there_are_missed_before_a_server_is_asked() {
    let machine = Machine::logged_in();
    std::fs::write(machine.home.path().join("empty"), "nothing").expect("written");
    let url = &machine.url;
    for (file, why) in [
        ("missing", "no such file"),
        ("empty", "there is no certificate (PEM) in it"),
    ] {
        for line in [
            format!("echo word | wit login {url} --username ada --password-stdin --ca-file {file}"),
            format!("wit login https://wit.test --ca-file {file}"),
            format!(
                "echo word | wit login https://wit.test --token-stdin --host-type gitlab --ca-file {file}"
            ),
            format!("wit token list --ca-file {file}"),
        ] {
            let said = refused(&shell(&machine.home, &line), 1);
            let what = format!("{}: {why}\n", machine.home.path().join(file).display());
            let what = format!("error: can't read the certificates in {what}");
            assert!(
                said.contains(&what) || said.contains(&format!("in {file}: {why}\n")),
                "{line}: {said}"
            );
            assert!(!said.contains("reach"), "{line}: {said}");
        }
    }
}

#[test]
fn output_that_can_not_be_written_fails_and_says_so() {
    let machine = Machine::with_a_token();
    for line in [
        "wit --help",
        "wit --version",
        "wit token --help",
        "wit help token",
        "wit version",
        "wit generate completions bash",
        "wit token list",
        "wit token list --json",
        "wit token scopes",
        "wit token print",
        "wit repo list",
        "wit status",
        "wit store",
        "wit doctor",
        "git-credential-wit --version",
        "git-credential-wit --help",
    ] {
        let said = refused(&shell(&machine.home, &format!("{line} >/dev/full")), 1);
        let what = "can't write to stdout: No space left on device";
        assert!(said.contains(what), "{line}: {said}");
    }
    // It is the exit code that says it then.
    let nowhere = shell(&machine.home, "wit --help >/dev/full 2>&1");
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn a_failed_delivery_is_undone_by_its_hint() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["token", "create", "ci", "-q", "-e", "9"]));
    let before = machine.ids();
    let said = refused(&machine.rotate(&["ci", "--deliver", "false"]), 5);
    assert!(said.contains(" --resume, or undo "), "{said}");
    // What is asked for again is what was left unfinished.
    let said = refused(&machine.rotate(&["ci"]), 5);
    let undo = said
        .lines()
        .find_map(|line| line.split("undo the rotation: ").nth(1));
    let said = done(&shell(&machine.home, undo.expect("a command")));
    assert_eq!(said, "Rotation of ci undone; the old token stays in use\n");
    assert_eq!(machine.ids(), before);
    assert_eq!(machine.journals(), 0);
}

#[test]
fn a_command_without_its_dashes_is_shown_with_them() {
    let home = Home::new();
    for (line, hint) in [
        (
            "wit token exec git ls-remote",
            "hint: wit token exec -- git ls-remote; wit token exec --help\n",
        ),
        (
            "wit token exec -s read git -C 'my work' fetch",
            "hint: wit token exec -s read -- git -C 'my work' fetch; wit token exec --help\n",
        ),
        (
            "wit token exec git -- ls-remote",
            "hint: wit token exec --help\n",
        ),
    ] {
        let said = refused(&shell(&home, line), 2);
        assert!(said.ends_with(hint), "{line}: {said}");
    }
}

#[test]
fn nothing_that_is_hidden_is_suggested() {
    let home = Home::new();
    for (line, hidden) in [
        ("wit token craete", "renew"),
        ("wit token renwe", "renew"),
        ("wit generat", "generate"),
        ("wit up --detac", "--detach"),
    ] {
        let said = refused(&shell(&home, line), 2);
        assert!(!said.contains(&format!("'{hidden}'")), "{line}: {said}");
        assert!(said.contains("hint: "), "{line}: {said}");
    }
}

#[test]
fn several_tokens_are_revoked_after_a_question_or_by_yes() {
    let machine = Machine::logged_in();
    let create = |name: &str| done(&machine.wit(&["token", "create", name, "-q", "-e", "1"]));
    for name in ["one", "two", "three", "four", "five", "six", "seven"] {
        create(name);
    }
    let count = || machine.list().len();
    let mut terminal = Terminal::run(&machine.home, "wit token revoke one two");
    terminal.shows("one, ");
    terminal.shows("two? [y/N] ");
    terminal.types("n");
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(1), "{screen}");
    assert_eq!(count(), 7, "{screen}");
    let (code, screen) = Terminal::run(&machine.home, "wit token revoke one two --yes").ends();
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(count(), 5, "{screen}");
    done(&machine.wit(&["token", "revoke", "three", "--yes"]));
    // A script that gives the command means it.
    done(&machine.wit(&["token", "revoke", "four", "five"]));
    assert_eq!(count(), 2);
}

#[test]
fn all_sign_ins_are_ended_after_a_question_or_by_yes() {
    let machine = Machine::logged_in();
    machine.elsewhere();
    let count = || machine.json(&["account", "sign-ins"]);
    let before = count();
    let mut terminal = Terminal::run(&machine.home, "wit account sign-out --others");
    terminal.shows("End all other sign-ins at ");
    terminal.types("n");
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(1), "{screen}");
    assert_eq!(
        count().as_array().map(Vec::len),
        before.as_array().map(Vec::len)
    );
    let line = "wit account sign-out --others --yes";
    let (code, screen) = Terminal::run(&machine.home, line).ends();
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(count().as_array().map(Vec::len), Some(1));
}

#[test]
fn an_unknown_option_is_not_taken_for_a_value() {
    let said = refused(
        &Home::new().run(WIT, &["token", "revoke", "x", "--force"], ""),
        2,
    );
    assert!(!said.contains("as a value"), "{said}");
    assert!(said.contains("--force"), "{said}");
}
