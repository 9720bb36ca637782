//! What a home has stored for a site, and what its helper gives git for it.

use std::process::Output;

use wit::credential::{Credential, Site};
use wit::expiry::{Expiry, UnixTime};
use wit::item::Item;
use wit::store::{self, select};

use super::machine::paths;
use super::{HELPER, Home, done};

pub fn site(url: &str) -> Site {
    let (protocol, host) = url.split_once("://").expect("a URL");
    Site::new(protocol.as_bytes(), host.as_bytes()).expect("a site")
}

pub fn item(home: &Home, url: &str) -> Item {
    let store = select::open(&paths(home), Some("file")).expect("a store");
    store::load(store.as_ref(), &site(url)).expect("an item")
}

pub fn change(home: &Home, url: &str, change: impl Fn(&mut Credential)) {
    let paths = paths(home);
    let store = select::open(&paths, Some("file")).expect("a store");
    store::update(store.as_ref(), &paths, &site(url), |item| {
        item.credentials.0.iter_mut().for_each(&change);
    })
    .expect("updated");
}

/// Has the stored access tokens expire in so many seconds, an hour after they were issued.
pub fn expire_in(home: &Home, url: &str, seconds: i64) {
    let end = UnixTime::now().plus(seconds);
    change(home, url, |entry| {
        entry.expiry = Some(Expiry(end));
        entry.sign_in.as_mut().expect("a sign-in").issued = end.plus(-3_600);
    });
}

/// Asks the helper as git does; `more` are lines that git says besides.
pub fn get(home: &Home, url: &str, more: &str) -> Output {
    let site = site(url);
    let (protocol, host) = (site.protocol(), site.host());
    let request = format!("protocol={protocol}\nhost={host}\n{more}\n");
    home.run(HELPER, &["get"], &request)
}

/// A line of the helper's answer.
pub fn field(answer: &str, name: &str) -> Option<String> {
    let prefix = format!("{name}=");
    let mut lines = answer.lines();
    lines.find_map(|line| Some(line.strip_prefix(&prefix)?.to_owned()))
}

/// What opens a browser, where there is a screen, tells the test the address.
pub fn put_opener(home: &mut Home) {
    let script = "#!/bin/sh\nprintf '%s\\n' \"$1\" >~/opening && mv ~/opening ~/opened\n";
    std::fs::write(home.path().join("xdg-open"), script).expect("written");
    done(&home.run("chmod", &["+x", "xdg-open"], ""));
    let path = std::env::var("PATH").unwrap_or_default();
    home.set("PATH", format!("{}:{path}", home.path().display()));
    home.set("DISPLAY", ":99");
}
