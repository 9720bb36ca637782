//! A locked keyring: the service's prompt where a person can see it, and what its answer means.
#![cfg(target_os = "linux")]

use std::process::Output;
use std::sync::{Arc, Mutex};

use crate::support::locked_keyring::{Answer, serve};
use crate::support::session::{Session, inside};
use crate::support::{HELPER, Home, text};

const ITEM: &str = r#"{"version":1,"site":"https://example.com",
    "credentials":[{"username":"ada","password":"pw"}]}"#;
const SITE: &str = "protocol=https\nhost=example.com\n";
const ENTRY: &str = "protocol=https\nhost=example.com\nusername=ada\npassword=pw\n";

struct Place {
    home: Home,
    called: Arc<Mutex<Vec<String>>>,
}

impl Place {
    fn new(answer: Answer, display: &str) -> Self {
        let called = serve(ITEM, answer);
        let mut home = Home::new();
        let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap();
        home.set("DBUS_SESSION_BUS_ADDRESS", bus);
        home.set("WIT_STORE", "keychain");
        home.set("WIT_KEYCHAIN_TIMEOUT", "20");
        home.set("DISPLAY", display);
        Place { home, called }
    }

    fn run(&self, operation: &str, input: &str) -> Output {
        self.home.run(HELPER, &[operation], input)
    }

    fn times(&self, member: &str) -> usize {
        let called = self.called.lock().unwrap();
        called.iter().filter(|called| *called == member).count()
    }
}

fn assert_locked(output: &Output) {
    assert!(output.stdout.is_empty() && !output.status.success());
    let told = text(&output.stderr);
    assert!(told.contains("the keyring is locked"), "{told}");
    assert!(told.contains("\nhint: unlock the keyring"), "{told}");
}

#[test]
fn a_prompt_that_is_answered_brings_the_secret_and_is_not_shown_again() {
    let name = "a_prompt_that_is_answered_brings_the_secret_and_is_not_shown_again";
    inside(&format!("prompt::{name}"), Session::empty, &[], || {
        let place = Place::new(Answer::Unlock, ":0");
        for _ in 0..2 {
            let output = place.run("get", SITE);
            assert_eq!(
                text(&output.stdout),
                "username=ada\npassword=pw\n",
                "{output:?}"
            );
        }
        assert_eq!(place.times("Prompt"), 1);
    });
}

#[test]
fn a_prompt_that_is_dismissed_is_no_absence_and_erases_nothing() {
    let name = "a_prompt_that_is_dismissed_is_no_absence_and_erases_nothing";
    inside(&format!("prompt::{name}"), Session::empty, &[], || {
        let place = Place::new(Answer::Dismiss, ":0");
        assert_locked(&place.run("get", SITE));
        assert_eq!(place.times("Prompt"), 1);
        assert_locked(&place.run("erase", ENTRY));
        assert_locked(&place.run("store", ENTRY));
        assert_eq!(place.times("Prompt"), 3, "once each");
        for member in ["Delete", "CreateItem", "SetSecret"] {
            assert_eq!(place.times(member), 0, "{member}");
        }
    });
}

#[test]
fn what_is_erased_while_it_is_read_is_a_miss() {
    let name = "what_is_erased_while_it_is_read_is_a_miss";
    inside(&format!("prompt::{name}"), Session::empty, &[], || {
        let place = Place::new(Answer::Erase, "");
        let output = place.run("get", SITE);
        assert!(output.status.success(), "{output:?}");
        assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
        assert_eq!(place.times("GetSecrets"), 1);
    });
}

#[test]
fn where_nobody_could_see_it_no_prompt_is_asked_for() {
    let name = "where_nobody_could_see_it_no_prompt_is_asked_for";
    inside(&format!("prompt::{name}"), Session::empty, &[], || {
        let place = Place::new(Answer::Unlock, "");
        assert_locked(&place.run("get", SITE));
        assert_eq!(place.times("Prompt"), 0);
    });
}

#[test]
fn where_nobody_is_to_be_asked_no_prompt_is_asked_for() {
    let name = "where_nobody_is_to_be_asked_no_prompt_is_asked_for";
    inside(&format!("prompt::{name}"), Session::empty, &[], || {
        let mut place = Place::new(Answer::Unlock, ":0");
        let helper = format!("credential.helper={HELPER}");
        let fill = |place: &Place, interactive: &str| {
            let interactive = format!("credential.interactive={interactive}");
            let only = ["-c", "credential.helper=", "-c", &helper];
            let words = [&only[..], &["-c", &interactive, "credential", "fill"]].concat();
            place.home.run("git", &words, SITE)
        };
        for no in ["false", "0", "never"] {
            assert!(!fill(&place, no).status.success(), "{no}");
        }
        // Goes before what git says.
        place.home.set("WIT_INTERACTIVE", "0");
        assert!(!fill(&place, "true").status.success());
        assert_locked(&place.run("get", SITE));
        assert_eq!(place.times("Prompt"), 0);
        place.home.set("WIT_INTERACTIVE", "");
        let answer = fill(&place, "true");
        assert!(text(&answer.stdout).contains("password=pw\n"), "{answer:?}");
        assert_eq!(place.times("Prompt"), 1);
    });
}
