//! Signing in because git asks for a credential that is not there: `wit login` does it, where the
//! person wants that and can be shown a code or a browser.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::renewal;
use crate::config::{self, Config, Paths, write_private};
use crate::credential::Site;
use crate::expiry::UnixTime;
use crate::store::lock::name_of;
use crate::{interactive, process, trace};

/// Longest time that git is kept waiting.
const TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Seconds before a person who did not sign in is asked again.
const PAUSE: i64 = 3_600;

/// Has the person sign in at `site`, where that is wanted. Whether it was done.
pub fn sign_in(paths: &Paths, site: &Site, store: Option<&str>, now: UnixTime) -> bool {
    let Some(url) = wanted(paths, site) else {
        return false;
    };
    let is_refused = refused_before(paths, site, now);
    if is_refused || !interactive::has_person() || !is_interactive() {
        return false;
    }
    let step = trace::begin();
    let done = run_login(&url, store);
    step.end(format_args!("sign-in at {site}: {done:?}"));
    match done {
        Ok(true) => {
            let _ = std::fs::remove_file(file(paths, site));
            true
        }
        Ok(false) => {
            // Where it can't be remembered the person is asked again, and can say `never`.
            let _ = write_private(&file(paths, site), format!("{}\n", now.0).as_bytes());
            false
        }
        Err(_) => false,
    }
}

/// The URL to sign in to: of a host that was signed in to before, by the configuration's `sign_in`
/// of any host.
fn wanted(paths: &Paths, site: &Site) -> Option<String> {
    if !matches!(site.protocol(), "https" | "http") {
        return None;
    }
    if !site.takes_tokens() {
        return None;
    }
    let config = Config::load(paths).ok()?;
    let origin = site.to_string();
    let lies_there = |url: &&String| {
        let rest = url.strip_prefix(origin.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let known = config
        .servers
        .iter()
        .find(|(url, known)| lies_there(url) && known.host_type.is_some());
    match config.sign_in.as_deref() {
        Some("always") => Some(known.map_or(origin, |(url, _)| url.clone())),
        None | Some("ask") => known.map(|(url, _)| url.clone()),
        // A typing error must not begin to ask.
        Some(_) => None,
    }
}

/// Returns whether a person wants to be asked at all (git(1), git-config(1)).
fn is_interactive() -> bool {
    let terminal = config::variable("GIT_TERMINAL_PROMPT");
    let refuses = |word: &str| {
        matches!(
            word.to_ascii_lowercase().as_str(),
            "0" | "false" | "no" | "off"
        )
    };
    !terminal.is_some_and(|word| refuses(&word)) && interactive::is_wanted()
}

/// It stays in git's foreground: a Ctrl-C is for it too.
fn run_login(url: &str, store: Option<&str>) -> io::Result<bool> {
    let mut command = Command::new(renewal::wit()?);
    command
        .args(["login", url, "--for-git"])
        .stdin(Stdio::null())
        // Git reads ours to its end.
        .stdout(Stdio::null());
    command.env_remove("DATABASE_URL");
    if let Some(store) = store {
        command.env("WIT_STORE", store);
    }
    let mut child = command.spawn()?;
    match process::wait_within(&mut child, TIMEOUT)? {
        Some(status) => Ok(status.success()),
        None => {
            process::kill(&mut child);
            Ok(false)
        }
    }
}

fn file(paths: &Paths, site: &Site) -> PathBuf {
    let name = format!("{}.refused", name_of(site));
    paths.state_dir().join("renewals").join(name)
}

fn refused_before(paths: &Paths, site: &Site, now: UnixTime) -> bool {
    let text = std::fs::read_to_string(file(paths, site)).ok();
    let at = text.and_then(|text| text.trim().parse().ok().map(UnixTime));
    at.is_some_and(|at| (0..PAUSE).contains(&now.since(at)))
}
