//! The file store under a passphrase: opened for a time, and locked is never empty.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::support::{HELPER, Home, WIT, feed, text};

const SITE: &str = "protocol=https\nhost=example.com\n";
const ENTRY: &str = "protocol=https\nhost=example.com\nusername=ada\npassword=pw\n";
const PASSPHRASE: &str = "correct horse";

fn wit(home: &Home, words: &[&str]) -> Output {
    let words = [words, &["--passphrase-stdin"]].concat();
    home.run(WIT, &words, PASSPHRASE)
}

fn protect(home: &Home) {
    let output = wit(home, &["store", "protect"]);
    assert!(output.status.success(), "{output:?}");
}

fn get(home: &Home) -> Output {
    home.run(HELPER, &["get"], SITE)
}

fn identity(home: &Home) -> PathBuf {
    home.path().join(".local/share/wit/store/identity.txt")
}

/// A home with one stored password.
fn home() -> Home {
    let home = Home::new();
    assert!(home.run(HELPER, &["store"], ENTRY).status.success());
    home
}

fn assert_found(output: &Output) {
    assert_eq!(text(&output.stdout), "username=ada\npassword=pw\n");
}

fn assert_locked(output: &Output) {
    assert!(output.stdout.is_empty() && !output.status.success());
    assert_eq!(
        text(&output.stderr),
        "git-credential-wit: the store is locked: its passphrase is needed\nhint: wit unlock\n"
    );
}

#[test]
fn locked_it_answers_stores_and_erases_nothing_and_says_how_to_unlock() {
    let home = home();
    protect(&home);
    assert_locked(&get(&home));
    let changed = ENTRY.replace("pw", "other");
    assert_locked(&home.run(HELPER, &["store"], &changed));
    assert_locked(&home.run(HELPER, &["erase"], ENTRY));
    let elsewhere = ENTRY.replace("example.com", "elsewhere");
    assert_locked(&home.run(HELPER, &["store"], &elsewhere));

    assert!(wit(&home, &["unlock"]).status.success());
    assert_found(&get(&home));
    let store = text(&home.run(WIT, &["store"], "").stdout);
    assert!(
        store.contains("The file store is unlocked until 2"),
        "{store}"
    );
    assert!(store.contains(" hours more: wit lock"), "{store}");
    assert!(home.run(WIT, &["lock"], "").status.success());
    assert_locked(&get(&home));
}

#[test]
fn git_asks_on_where_it_is_locked() {
    let home = home();
    protect(&home);
    let mut command = home.command("git");
    command
        .args(["-c", &format!("credential.helper={HELPER}")])
        .args([
            "-c",
            "credential.helper=!printf 'username=u\\npassword=next\\n';:",
        ])
        .args(["credential", "fill"]);
    let output = feed(command, SITE.as_bytes());
    assert!(text(&output.stdout).contains("password=next"), "{output:?}");
    assert!(
        text(&output.stderr).contains("hint: wit unlock"),
        "{output:?}"
    );
}

#[test]
fn the_time_limit_is_the_kernels() {
    let home = home();
    protect(&home);
    assert!(wit(&home, &["unlock", "--for", "5s"]).status.success());
    let unlocked = Instant::now();
    assert_found(&get(&home));
    let mut output = get(&home);
    while output.status.success() {
        assert!(
            unlocked.elapsed() < Duration::from_secs(20),
            "it stays open"
        );
        output = get(&home);
    }
    assert_locked(&output);
    assert!(
        unlocked.elapsed() > Duration::from_secs(1),
        "it closed at once"
    );
}

#[test]
fn a_wrong_passphrase_opens_and_changes_nothing() {
    let home = home();
    protect(&home);
    let before = fs::read(identity(&home)).unwrap();
    for words in [["unlock"].as_slice(), &["store", "unprotect"]] {
        let words = [words, &["--passphrase-stdin"]].concat();
        let output = home.run(WIT, &words, "wrong horse");
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(
            said.starts_with("error: wrong passphrase\nhint: type it again"),
            "{said}"
        );
    }
    assert_locked(&get(&home));
    assert_eq!(fs::read(identity(&home)).unwrap(), before);
}

#[test]
fn taking_the_passphrase_away_opens_it_for_good_and_forgets_the_key() {
    let home = home();
    protect(&home);
    let sealed = fs::read(identity(&home)).unwrap();
    assert!(wit(&home, &["unlock"]).status.success());
    assert!(wit(&home, &["store", "unprotect"]).status.success());
    assert_found(&get(&home));
    // The sealed file again: what had been opened for it is gone.
    fs::write(identity(&home), sealed).unwrap();
    assert_locked(&get(&home));
}

#[test]
fn what_has_no_passphrase_or_has_one_already_is_said_before_one_is_asked_for() {
    let home = home();
    for words in [["unlock"].as_slice(), &["lock"], &["store", "unprotect"]] {
        let output = home.run(WIT, words, "");
        assert_eq!(
            text(&output.stderr),
            "error: the file store has no passphrase\nhint: to give it one: wit store protect\n"
        );
    }
    protect(&home);
    let output = home.run(WIT, &["store", "protect"], "");
    assert!(text(&output.stderr).contains("has a passphrase already"));
}

#[test]
fn of_two_that_set_a_passphrase_at_once_one_does() {
    let home = home();
    let results: Vec<(String, bool)> = std::thread::scope(|scope| {
        let threads: Vec<_> = ["one", "two"]
            .map(|passphrase| {
                let home = &home;
                scope.spawn(move || {
                    let words = ["store", "protect", "--passphrase-stdin"];
                    let output = home.run(WIT, &words, passphrase);
                    (passphrase.to_owned(), output.status.success())
                })
            })
            .into_iter()
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let set: Vec<_> = results.iter().filter(|(_, set)| *set).collect();
    let [(passphrase, _)] = set.as_slice() else {
        panic!("{results:?}");
    };
    let output = home.run(WIT, &["unlock", "--passphrase-stdin"], passphrase);
    assert!(output.status.success(), "{output:?}");
    assert_found(&get(&home));
    home.run(WIT, &["lock"], "");
}

#[test]
fn the_prompt_shows_nothing_of_the_passphrase() {
    let home = home();
    protect(&home);
    // script(1) gives it a terminal.
    let mut command = home.command("script");
    command.args(["-qec", &format!("{WIT} unlock --for 1m"), "/dev/null"]);
    let output = feed(command, format!("{PASSPHRASE}\n").as_bytes());
    let shown = text(&output.stdout);
    assert!(shown.contains("Passphrase: "), "{output:?}");
    assert!(shown.contains("is open for 1 minute"), "{output:?}");
    // What is typed before the prompt stands there is echoed by the terminal itself.
    let after = shown.split("Passphrase: ").nth(1).unwrap_or_default();
    assert!(!after.contains(PASSPHRASE), "{output:?}");
    assert_found(&get(&home));
    home.run(WIT, &["lock"], "");
}

#[test]
fn without_a_terminal_the_option_is_named() {
    let home = home();
    protect(&home);
    let output = home.run(WIT, &["unlock"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("hint: wit unlock --passphrase-stdin"));
}

#[cfg(feature = "crash-points")]
#[test]
fn a_crash_at_any_point_leaves_it_readable() {
    let points = [
        ("protect-made", false),
        ("protect-sealed", false),
        ("protect-replaced", true),
        ("unprotect-opened", true),
        ("unprotect-replaced", false),
    ];
    for (point, protected) in points {
        let mut home = home();
        let undo = point.starts_with("un");
        if undo {
            protect(&home);
        }
        home.set("WIT_CRASH_AT", point);
        let word = if undo { "unprotect" } else { "protect" };
        let output = wit(&home, &["store", word]);
        assert_eq!(output.status.code(), None, "{point}: it did not die");
        home.set("WIT_CRASH_AT", "");
        if protected {
            assert_locked(&get(&home));
            assert!(wit(&home, &["unlock"]).status.success(), "{point}");
        }
        assert_found(&get(&home));
        home.run(WIT, &["lock"], "");
    }
}

/// As `age -d -i identity.txt FILE` would: by the form of the file alone.
#[test]
fn the_identity_is_an_age_file_for_a_passphrase() {
    let home = home();
    let plain = fs::read(identity(&home)).unwrap();
    protect(&home);
    let sealed = fs::read(identity(&home)).unwrap();
    assert!(sealed.starts_with(b"age-encryption.org/v1\n-> scrypt "));
    let mut scrypt = age::scrypt::Identity::new(PASSPHRASE.to_owned().into());
    scrypt.set_max_work_factor(18);
    assert_eq!(age::decrypt(&scrypt, &sealed).unwrap(), plain);
}
