//! The browser or program that signs in, as its user can tell it from others.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

use crate::database::sessions::{Client, Way};

/// Longest name that is kept, in characters.
const MAX_NAME: usize = 100;

/// Browsers by a word in their `User-Agent`; those that others pretend to be come last.
const BROWSERS: [(&str, &str); 9] = [
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: [(&str, &str); 7] = [
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// Client of a sign-in, as it describes itself.
pub fn client(headers: &HeaderMap, way: Way, address: IpAddr) -> Client {
    let agent = headers.get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok());
    Client {
        name: name(agent.unwrap_or_default()),
        way,
        address,
    }
}

/// A device by the name that it gave itself.
pub fn device(name: String, address: IpAddr) -> Client {
    Client {
        name,
        way: Way::Device,
        address,
    }
}

fn name(agent: &str) -> String {
    let of = |words: &[(&str, &'static str)]| {
        let found = words.iter().find(|(word, _)| agent.contains(word));
        found.map(|(_, name)| *name)
    };
    if let Some(browser) = of(&BROWSERS) {
        return match of(&SYSTEMS) {
            Some(system) => format!("{browser} on {system}"),
            None => browser.to_owned(),
        };
    }
    let first = agent.split_whitespace().next().unwrap_or_default();
    let kept = first.chars().filter(|c| !c.is_control()).take(MAX_NAME);
    match kept.collect::<String>() {
        name if name.is_empty() => "an unnamed program".to_owned(),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_programs_are_told_apart() {
        let chromium = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                        HeadlessChrome/120.0.0.0 Safari/537.36";
        let firefox =
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 14.1; rv:120.0) Gecko/20100101 Firefox/120.0";
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                    Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0";
        let android = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/120.0.0.0 Mobile Safari/537.36";
        for (agent, expected) in [
            (chromium, "Chrome on Linux"),
            (firefox, "Firefox on macOS"),
            (edge, "Edge on Windows"),
            (android, "Chrome on Android"),
            ("wit/0.1.0", "wit/0.1.0"),
            ("curl/8.5.0 (x86_64)", "curl/8.5.0"),
            ("", "an unnamed program"),
        ] {
            assert_eq!(name(agent), expected);
        }
        assert_eq!(name(&"x".repeat(500)).len(), MAX_NAME);
    }
}
