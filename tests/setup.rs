//! `wit setup`: git asks the helper, once, and `--undo` takes back just that.

mod support;

use std::fs;

use support::{Home, text};

/// What `credential.helper` holds for this user.
fn helpers(home: &Home) -> Vec<String> {
    let output = home.run(
        "git",
        &["config", "--global", "--get-all", "credential.helper"],
        "",
    );
    text(&output.stdout).lines().map(str::to_owned).collect()
}

fn wit(home: &Home, arguments: &[&str]) -> (i32, String, String) {
    let output = home.run(support::WIT, arguments, "");
    (
        output.status.code().expect("an exit code"),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn it_adds_the_helper_once_and_says_where_secrets_lie() {
    let home = Home::new();
    let (code, out, err) = wit(&home, &["setup"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("file store"), "{out}");
    assert_eq!(wit(&home, &["setup"]).0, 0);
    assert_eq!(helpers(&home), ["wit"]);
}

#[test]
fn undo_leaves_no_trace_of_a_configuration_that_was_not_there() {
    let home = Home::new();
    assert_eq!(wit(&home, &["setup"]).0, 0);
    assert_eq!(wit(&home, &["setup", "--undo"]).0, 0);
    assert!(!home.path().join(".gitconfig").exists());
}

#[test]
fn other_entries_stay_byte_for_byte_and_other_helpers_are_named() {
    let home = Home::new();
    let file = home.path().join(".gitconfig");
    let before = "# mine\n[user]\n\tname = Ada\n[credential]\n\thelper = store\n";
    fs::write(&file, before).unwrap();
    let (_, out, _) = wit(&home, &["setup"]);
    assert!(out.contains("plain text"), "{out}");
    assert_eq!(helpers(&home), ["store", "wit"]);
    assert_eq!(wit(&home, &["setup", "--undo"]).0, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

#[test]
fn undo_does_not_remove_a_helper_that_a_person_set() {
    let home = Home::new();
    let file = home.path().join(".gitconfig");
    let before = "[credential]\n\thelper = wit\n";
    fs::write(&file, before).unwrap();
    assert_eq!(wit(&home, &["setup"]).0, 0);
    assert_eq!(wit(&home, &["setup", "--undo"]).0, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

#[test]
fn a_helper_that_an_empty_value_has_switched_off_is_added_again() {
    let home = Home::new();
    fs::write(
        home.path().join(".gitconfig"),
        "[credential]\n\thelper = wit\n\thelper =\n",
    )
    .unwrap();
    assert_eq!(wit(&home, &["setup"]).0, 0);
    assert_eq!(helpers(&home), ["wit", "", "wit"]);
}

#[test]
fn a_dry_run_prints_the_command_and_changes_nothing() {
    let home = Home::new();
    let (code, out, _) = wit(&home, &["setup", "--dry-run"]);
    assert_eq!(code, 0);
    assert_eq!(out, "git config --global --add credential.helper 'wit'\n");
    assert!(!home.path().join(".gitconfig").exists());
}

#[test]
fn local_changes_the_repository_only() {
    let home = Home::new();
    home.run("git", &["init", "--quiet", "."], "");
    let file = home.path().join(".git/config");
    let before = fs::read_to_string(&file).unwrap();
    assert_eq!(wit(&home, &["setup", "--local"]).0, 0);
    assert!(fs::read_to_string(&file).unwrap().contains("helper = wit"));
    assert!(helpers(&home).is_empty());
    assert_eq!(wit(&home, &["setup", "--undo"]).0, 0);
    assert!(fs::read_to_string(&file).unwrap().contains("helper = wit"));
    assert_eq!(wit(&home, &["setup", "--local", "--undo"]).0, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

#[test]
fn git_runs_the_helper_by_its_absolute_path() {
    let home = Home::new();
    assert_eq!(wit(&home, &["setup", "--absolute"]).0, 0);
    let credential = "protocol=https\nhost=example.org\nusername=ada\npassword=pw\n\n";
    assert!(
        home.run("git", &["credential", "approve"], credential)
            .status
            .success()
    );
    let answer = home.run(
        "git",
        &["credential", "fill"],
        "protocol=https\nhost=example.org\n\n",
    );
    assert!(text(&answer.stdout).contains("password=pw"), "{answer:?}");
}

#[test]
fn an_unknown_store_is_refused_before_anything_changes() {
    let home = Home::new();
    let (code, _, err) = wit(&home, &["setup", "--store", "cloud"]);
    assert_eq!(code, 2);
    assert!(err.contains("hint: "), "{err}");
    assert!(helpers(&home).is_empty());
}
