//! Signing in to a real OAuth 2 server, and what git is given then.

#![cfg(feature = "platform")]

use serde_json::json;

use crate::support::machine::paths;
use crate::support::oidc::Provider;
use crate::support::{HELPER, Home, done};
use wit::credential::Site;
use wit::expiry::UnixTime;
use wit::item::Item;
use wit::store::{self, choice};

fn site(url: &str) -> Site {
    let (protocol, host) = url.split_once("://").expect("a URL");
    Site::new(protocol.as_bytes(), host.as_bytes()).expect("a site")
}

fn item(home: &Home, url: &str) -> Item {
    let store = choice::open(&paths(home), Some("file")).expect("a store");
    store::load(store.as_ref(), &site(url)).expect("an item")
}

fn get(home: &Home, url: &str, more: &str) -> String {
    let site = site(url);
    let request = format!(
        "protocol={}\nhost={}\n{more}\n",
        site.protocol(),
        site.host()
    );
    done(&home.run(HELPER, &["get"], &request))
}

fn field(answer: &str, name: &str) -> Option<String> {
    let prefix = format!("{name}=");
    let mut lines = answer.lines();
    lines.find_map(|line| Some(line.strip_prefix(&prefix)?.to_owned()))
}

#[test]
fn a_code_that_is_confirmed_elsewhere_signs_in_and_git_clones() {
    let provider = Provider::start(&json!({}));
    let home = provider.signed_in_home();
    let answer = get(&home, &provider.git, "");
    assert_eq!(
        field(&answer, "username").as_deref(),
        Some("ada"),
        "{answer}"
    );
    let expiry = field(&answer, "password_expiry_utc").expect("an expiry");
    let left = expiry.parse::<i64>().expect("a number") - UnixTime::now().0;
    assert!((3500..=3600).contains(&left), "{left}");
    assert!(!answer.contains("refresh"), "{answer}");
    let remote = format!("{}/work.git", provider.git);
    let helper = format!("credential.helper={HELPER}");
    done(&home.run("git", &["-c", &helper, "clone", "-q", &remote, "work"], ""));
    // What git stores after that changes nothing: the sign-in stays the only entry.
    assert_eq!(item(&home, &provider.git).credentials.0.len(), 1);
    assert_eq!(provider.seen("refreshed"), 0);
}
