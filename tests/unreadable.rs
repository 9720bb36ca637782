//! A store that can't be read is never taken for an empty one.

#![cfg(all(target_os = "linux", feature = "platform"))]

use wit::credential::Site;
use wit::secret::Secret;
use wit::store::select;

use crate::support::locked_keyring::{Answer, serve};
use crate::support::machine::paths;
use crate::support::session::{Session, inside};
use crate::support::{HELPER, Home, WIT, done, text};

/// Commands that say that nobody is logged in where nothing is stored.
const COMMANDS: [&[&str]; 8] = [
    &["status"],
    &["status", "--offline", "--json"],
    &["token", "list"],
    &["token", "list", "--all"],
    &["token", "print"],
    &["token", "rotate", "--due", "7", "--all"],
    &["logout"],
    &["store", "list"],
];

fn keep(home: &Home, host: &str) {
    let entry = format!("protocol=https\nhost={host}\nusername=ada\npassword=pw\n");
    done(&home.run(HELPER, &["store"], &entry));
}

fn say_that_it_is_locked(home: &Home) {
    for command in COMMANDS {
        let output = home.run(WIT, command, "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("locked"), "{command:?}: {said}");
        assert!(!said.contains("wit login"), "{command:?}: {said}");
    }
    let said = text(&home.run(WIT, &["doctor"], "").stdout);
    assert!(
        said.contains("locked") && !said.contains("not logged in"),
        "{said}"
    );
}

fn with_keyring(session: &Session) -> Home {
    let mut home = Home::new();
    home.set("DBUS_SESSION_BUS_ADDRESS", session.address());
    home.set("WIT_STORE", "keychain");
    home.set("WIT_KEYCHAIN_TIMEOUT", "30");
    home
}

/// What is offered for the last of these words.
fn offered(home: &Home, words: &[&str]) -> Vec<String> {
    let mut command = home.command(WIT);
    command.args([&["--", "wit"], words].concat());
    let output = command
        .env("WIT_COMPLETE", "powershell")
        .output()
        .expect("it runs");
    let offered = done(&output);
    let names = offered.lines().filter_map(|line| line.split('\t').next());
    names.map(str::to_owned).collect()
}

#[test]
fn a_keyring_that_is_locked_is_said_to_be() {
    let session = Session::with_keyring();
    let mut home = with_keyring(&session);
    keep(&home, "one.example");
    keep(&home, "two.example");
    let shown = done(&home.run(WIT, &["status"], ""));
    assert!(shown.contains("2 credentials for 2 sites"), "{shown}");
    let erase = ["store", "erase", "o"];
    assert_eq!(offered(&home, &erase), ["one.example"]);

    session.lock_keyring();
    say_that_it_is_locked(&home);
    assert!(!offered(&home, &erase).contains(&"one.example".to_owned()));
    // Beside the store in use it is named, too.
    home.set("WIT_STORE", "file");
    let shown = done(&home.run(WIT, &["store"], ""));
    assert!(
        shown.contains("Not looked at: ") && shown.contains("locked"),
        "{shown}"
    );
}

#[test]
fn files_under_a_passphrase_are_said_to_be_locked() {
    let home = Home::new();
    keep(&home, "one.example");
    done(&home.run(
        WIT,
        &["store", "protect", "--passphrase-stdin"],
        "a long passphrase\n",
    ));
    say_that_it_is_locked(&home);
    assert!(offered(&home, &["store", "erase", "one"]).is_empty());
}

#[test]
fn what_is_damaged_is_told_where_nothing_else_is_stored() {
    let home = Home::new();
    keep(&home, "bad.example");
    let store = select::open(&paths(&home), Some("file")).expect("a store");
    let bad = Site::new(b"https", b"bad.example").expect("a site");
    let damaged = Secret::from("not an item".to_owned());
    store.write(&bad, &damaged).expect("written");
    let output = home.run(WIT, &["status"], "");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        text(&output.stderr).contains("warning: https://bad.example"),
        "{output:?}"
    );
    let output = home.run(WIT, &["token", "list"], "");
    assert!(
        text(&output.stderr).contains("https://bad.example"),
        "{output:?}"
    );
    let said = text(&home.run(WIT, &["doctor"], "").stdout);
    assert!(
        said.contains("what is stored for https://bad.example can't be used"),
        "{said}"
    );
}

#[test]
fn an_offer_unlocks_nothing_and_asks_nobody() {
    let name = "unreadable::an_offer_unlocks_nothing_and_asks_nobody";
    inside(name, Session::empty, &[], || {
        let called = serve("", Answer::Unlock);
        let mut home = Home::new();
        let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").expect("a session");
        home.set("DBUS_SESSION_BUS_ADDRESS", bus);
        home.set("WIT_STORE", "keychain");
        home.set("WIT_KEYCHAIN_TIMEOUT", "30");
        home.set("DISPLAY", ":0");
        assert!(offered(&home, &["store", "erase", "one"]).is_empty());
        let called = called.lock().expect("no panic");
        assert!(called.iter().any(|call| call == "Get"), "{called:?}");
        for call in ["SearchItems", "Unlock", "Prompt", "GetSecrets"] {
            assert!(called.iter().all(|other| other != call), "{called:?}");
        }
    });
}
