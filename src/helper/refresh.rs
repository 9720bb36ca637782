//! Having an access token refreshed while git asks for it.
//!
//! The network lives in `wit`: this starts `wit token renew` and waits for it, or for the process
//! that is at it already. Git waits once for a server that is away; then there is a pause.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::renewal;
use crate::config::{Paths, write_private};
use crate::credential::Site;
use crate::expiry::UnixTime;
use crate::store::StoreError;
use crate::store::lock::{SiteLock, name_of};
use crate::trace;

/// Longest time that git is kept waiting.
const TIMEOUT: Duration = Duration::from_millis(4_500);
/// Seconds before a server that did not answer is asked again.
const PAUSE: i64 = 60;
/// The longest that a server can have itself left alone, in seconds.
const MAX_PAUSE: i64 = 3_600;
const NO_ANSWER: &str = "the server did not answer in time";

/// Has the access tokens of `site` refreshed. Whether the store is worth reading again: it is not
/// where nothing was tried.
pub fn refresh(paths: &Paths, site: &Site, store: Option<&str>, now: UnixTime) -> bool {
    if let Some(reason) = paused(paths, site, now) {
        trace::note(format_args!("{site}: no refresh yet: {reason}"));
        return false;
    }
    match SiteLock::acquire_rotation(paths, site, Duration::ZERO) {
        Err(StoreError::Busy { .. }) => {
            // Another process is at it: its end is what is waited for, not done a second time.
            let is_over = SiteLock::acquire_rotation(paths, site, TIMEOUT).is_ok();
            if !is_over {
                let _ = failed(paths, site, NO_ANSWER, None, now);
            }
            return is_over;
        }
        Err(_) => return false,
        Ok(_free) => {}
    }
    let step = trace::begin();
    let outcome = match renewal::run_wit(site, store, TIMEOUT) {
        Ok(Some(0)) => "done".to_owned(),
        Ok(Some(_)) => "failed".to_owned(),
        Ok(None) => {
            let _ = failed(paths, site, NO_ANSWER, None, now);
            "not done in time".to_owned()
        }
        Err(error) => format!("can't be started: {error}"),
    };
    step.end(format_args!("refresh at {site}: {outcome}"));
    true
}

fn file(paths: &Paths, site: &Site) -> PathBuf {
    let name = format!("{}.refresh", name_of(site));
    paths.state_dir().join("renewals").join(name)
}

/// A failure as [`failed`] wrote it down: when and for how many seconds to pause, and the reason.
fn remembered(paths: &Paths, site: &Site) -> Option<(Option<(UnixTime, i64)>, String)> {
    let text = std::fs::read_to_string(file(paths, site)).ok()?;
    let (times, reason) = text.split_once('\n')?;
    let times = times
        .split_once(' ')
        .and_then(|(at, pause)| Some((UnixTime(at.parse().ok()?), pause.parse().ok()?)));
    Some((times, reason.trim_end().to_owned()))
}

/// Why the last refresh failed, within the pause after it. A time that lies ahead, from a clock that
/// was wrong, counts for nothing.
pub fn paused(paths: &Paths, site: &Site, now: UnixTime) -> Option<String> {
    let (times, reason) = remembered(paths, site)?;
    let (at, pause) = times?;
    (0..pause).contains(&now.since(at)).then_some(reason)
}

/// Why the last refresh failed, however long ago; `None` where it succeeded.
pub fn last_failure(paths: &Paths, site: &Site) -> Option<String> {
    Some(remembered(paths, site)?.1)
}

/// Ends the pause after a failure because a person asks, unless the server itself wants to be left
/// alone for longer.
pub fn ask_again(paths: &Paths, site: &Site) -> io::Result<()> {
    match remembered(paths, site) {
        Some((Some((_, pause)), _)) if pause > PAUSE => Ok(()),
        _ => succeeded(paths, site),
    }
}

/// Remembers a refresh that failed, with its reason: one line without a secret. `wait` is how long
/// the server wants to be left alone, where it says that.
pub fn failed(
    paths: &Paths,
    site: &Site,
    reason: &str,
    wait: Option<Duration>,
    now: UnixTime,
) -> io::Result<()> {
    let wait = wait.and_then(|wait| i64::try_from(wait.as_secs()).ok());
    let pause = wait.unwrap_or(PAUSE).clamp(PAUSE, MAX_PAUSE);
    let text = format!("{} {pause}\n{}\n", now.0, reason.replace('\n', " "));
    write_private(&file(paths, site), text.as_bytes())
}

/// Forgets what [`failed`] remembered.
pub fn succeeded(paths: &Paths, site: &Site) -> io::Result<()> {
    match std::fs::remove_file(file(paths, site)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
