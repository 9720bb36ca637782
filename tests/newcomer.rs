//! What a newcomer meets first: each message says what happened, and its hint leads somewhere.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::machine::Machine;
use crate::support::server::{Server, answer};
use crate::support::terminal::Terminal;
use crate::support::{Home, WIT, done, refused, text};

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
    done(&shell(&home, command));
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

#[test]
fn the_days_that_are_left_are_the_same_everywhere() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["token", "create", "--expires", "30"]));
    let (_, listed) = Terminal::run(&machine.home, "env NO_COLOR=1 wit token list").ends();
    assert!(listed.contains("  in 30 days  "), "{listed}");
    let status = done(&machine.wit(&["status"]));
    assert!(status.contains("expires in 30 days"), "{status}");
}

#[test]
fn a_filter_that_nothing_passes_is_a_sentence() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["token", "create", "ci", "-q", "-e", "30"]));
    for (more, said) in [
        (
            &["--expiring", "14"][..],
            "No tokens expire within 14 days.\n",
        ),
        (&["--expiring", "1"], "No tokens expire within 1 day.\n"),
        (&["--unused", "9"], "No tokens were unused for 9 days.\n"),
        (&["--expiring", "1", "--unused", "9"], "No tokens match.\n"),
        (&["--expiring", "14", "--format", "tsv"], ""),
    ] {
        let list = [&["token", "list"], more].concat();
        assert_eq!(done(&machine.wit(&list)), said, "{more:?}");
    }
}

#[test]
fn no_row_is_wider_than_a_narrow_terminal() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["token", "create", "--expires", "30"]));
    done(&machine.wit(&["token", "create", "nightly build", "-q", "-e", "9"]));
    for command in ["wit token list", "wit store list"] {
        let line = format!("sh -c 'stty rows 20 cols 40; NO_COLOR=1 exec {command}'");
        let (code, screen) = Terminal::run(&machine.home, &line).ends();
        assert_eq!(code, Some(0), "{screen}");
        assert!(
            screen.contains("EXPIRES: ") || screen.contains("USER: "),
            "{screen}"
        );
        for line in screen.lines() {
            assert!(line.trim_end().chars().count() <= 40, "{line}: {screen}");
        }
    }
}

#[test]
fn a_server_that_nobody_is_logged_in_to_is_forgotten_when_it_is_stopped() {
    let home = Home::new();
    let config = || std::fs::read_to_string(home.path().join(".config/wit/config.json"));
    let up = ["up", "--port", "0", "--data-dir", "data", "--user", "ada"];
    let down = ["down", "--data-dir", "data"];
    done(&home.run(WIT, &up, ""));
    assert!(config().expect("a file").contains("data_dir"));
    done(&home.run(WIT, &down, ""));
    assert!(!config().expect("a file").contains("data_dir"));
    let said = refused(&home.run(WIT, &["status"], ""), 4);
    assert!(!said.contains("127.0.0.1"), "{said}");

    let said = done(&home.run(WIT, &up, ""));
    let url = said
        .split_whitespace()
        .find(|word| word.starts_with("http://"));
    let login = format!(
        "wit login {} --username ada --password-stdin <data/first-password",
        url.expect("a URL")
    );
    done(&shell(&home, &login));
    done(&home.run(WIT, &down, ""));
    assert!(config().expect("a file").contains("data_dir"));
}

#[test]
fn a_backup_replaces_a_backup_and_nothing_else() {
    let home = Home::new();
    done(&home.run(WIT, &["up", "--port", "0"], ""));
    done(&home.run(WIT, &["down"], ""));
    let write = |name: &str, text: &[u8]| std::fs::write(home.path().join(name), text);
    write("letter", b"Dear Ada").expect("written");
    write("empty", b"").expect("written");
    done(&shell(&home, "tar -czf other.tar.gz letter"));
    for name in ["letter", "other.tar.gz"] {
        let before = std::fs::read(home.path().join(name)).expect("read");
        let said = refused(&home.run(WIT, &["up", "backup", name], ""), 2);
        let what = format!("{name} is not a backup and was not replaced\nhint: ");
        assert!(said.contains(&what), "{said}");
        assert_eq!(std::fs::read(home.path().join(name)).expect("read"), before);
    }
    for name in ["wit.backup", "wit.backup", "empty"] {
        done(&home.run(WIT, &["up", "backup", name], ""));
    }
    // A backup that was cut off is still one.
    let whole = std::fs::read(home.path().join("wit.backup")).expect("read");
    write("wit.backup", &whole[..whole.len() / 2]).expect("written");
    done(&home.run(WIT, &["up", "backup", "wit.backup"], ""));
}

#[test]
fn a_token_that_another_process_has_stored_meanwhile_is_named() {
    let token = |id: &str| {
        format!(
            r#"{{"id":"{id}","name":"git","tokenPrefix":"wit_a1b2","scopes":["repo:read"],
            "token":"wit_a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8a9b0",
            "expiresAt":"2999-04-15T00:00:00Z","createdAt":"2024-03-16T00:00:00Z"}}"#
        )
    };
    const IDS: [&str; 2] = [
        "aaaaaaaa-e69e-4554-a79f-6e9a48029c82",
        "bbbbbbbb-e69e-4554-a79f-6e9a48029c82",
    ];
    let created = AtomicUsize::new(0);
    let server = Server::new(move |first, _| match first.trim_end_matches(" HTTP/1.1") {
        // Before either is created, as two processes see it that start at once.
        "GET /api/tokens" if created.load(Ordering::SeqCst) < 2 => answer(200, "[]"),
        "GET /api/tokens" => answer(200, &format!("[{}]", IDS.map(token).join(","))),
        "POST /api/tokens" => {
            let number = created.fetch_add(1, Ordering::SeqCst);
            answer(201, &token(IDS[number]))
        }
        _ => answer(404, "{}"),
    });
    let home = Home::new();
    let login = ["login", &server.url, "--username", "ada", "--session-stdin"];
    done(&home.run(WIT, &login, "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu\n"));
    let create = ["token", "create", "--expires", "30"];
    done(&home.run(WIT, &create, ""));
    let output = home.run(WIT, &create, "");
    done(&output);
    let said = text(&output.stderr);
    let what = format!(
        "The token stored before still works; to revoke it: wit token revoke {}",
        IDS[0]
    );
    assert!(said.contains(&what), "{said}");
}

#[test]
fn a_name_is_not_changed_to_itself() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["repo", "create", "hello"]));
    done(&machine.wit(&["token", "create", "ci", "-q", "-e", "9"]));
    let said = refused(&machine.wit(&["repo", "rename", "hello", "hello.git"]), 2);
    assert!(said.contains("already called hello"), "{said}");
    let said = refused(&machine.wit(&["token", "rename", "ci", "ci"]), 2);
    assert!(said.contains("already called 'ci'"), "{said}");
    done(&machine.wit(&["token", "rename", "ci", "ci", "--description", "nightly"]));
}

#[test]
fn an_answer_of_no_changes_nothing_and_says_so() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["repo", "create", "hello"]));
    let mut terminal = Terminal::run(&machine.home, "env NO_COLOR=1 wit repo delete hello");
    terminal.shows("and everything pushed to it? [y/N] ");
    terminal.types("n");
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("error: nothing was changed"), "{screen}");
}
