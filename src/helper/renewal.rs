//! Renewing a token that runs out soon, while git asks for it.
//!
//! The network lives in `wit`: this starts `wit token renew` beside the helper, waits a short time
//! and lets git have the token that still works where that was not enough.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::config::{Config, Paths, write_private};
use crate::credential::{Credential, Site};
use crate::expiry::{DAY, UnixTime};
use crate::files::{self, Fault, FileError};
use crate::sign_in::Upkeep;
use crate::store::StoreError;
use crate::store::lock::{SiteLock, name_of};
use crate::{process, system, trace};

/// Days before its end from which a token is renewed where the config says nothing.
const DAYS: i64 = 7;
/// Longest time that git is kept waiting for a renewal.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(4);
/// Seconds before a renewal that failed is tried again.
const PAUSE: i64 = 3_600;
/// Seconds after which a renewal that is still running is reported as failed.
const JUST_BEGUN: i64 = 60;

/// The exit code of `wit token renew` that leaves something to a person (`Exit::Attention`).
const UNDECIDED: i32 = 3;
/// The one where the server refuses the token that it is about (`Exit::NotLoggedIn`).
const REFUSED: i32 = 4;

/// Returns whether `entry` is a token of ours in its last quarter of life, at most `days` before its end.
pub fn is_due(entry: &Credential, days: i64, now: UnixTime) -> bool {
    entry
        .left(now)
        .is_some_and(|left| is_soon(entry, days, left))
}

/// [`is_due`] if the clocks differed by nothing, although they did when the token was stored: this
/// machine's may have been set since. Whether it was, the server knows.
pub fn is_due_by_this_clock(entry: &Credential, days: i64, now: UnixTime) -> bool {
    let left = entry.replace_by().map(|by| by.left(now));
    left.is_some_and(|left| is_soon(entry, days, left))
}

fn is_soon(entry: &Credential, days: i64, left: i64) -> bool {
    let (Some(info), Some(expiry)) = (&entry.token, entry.replace_by()) else {
        return false;
    };
    if !entry.is_replaceable() {
        return false;
    }
    let quarter = expiry.left(info.created) / 4;
    left <= quarter.min(days.saturating_mul(DAY))
}

/// [`is_due`] by what is the case where nobody configured anything: what a `get` asks first, since
/// it costs no look at a file. The config can only make it less.
pub fn may_be_due(entry: &Credential, now: UnixTime) -> bool {
    is_due(entry, i64::MAX, now) || is_due_by_this_clock(entry, i64::MAX, now)
}

/// The config's `renew` in days; `None` where tokens are not to be renewed.
pub fn days(config: &Config) -> Option<i64> {
    match config.renew.as_deref() {
        None => Some(DAYS),
        // A word that is no number renews nothing: that is what `never` means, and a typing error
        // must not begin to make tokens.
        Some(text) => text.parse::<u16>().ok().map(i64::from),
    }
}

/// State of a renewal that `get` has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The store is worth reading again.
    Done,
    /// It is not time for one yet, by the config.
    NotDue,
    /// Tokens are not to be renewed.
    SwitchedOff,
    /// It has begun, here or in another process, and may go well.
    UnderWay,
    /// It failed. Where nobody knows yet, the one before it did.
    Failed,
    /// The server refuses the token, which so can't replace itself.
    Refused,
    /// The token has replaced itself, and the answer with the new one was lost.
    Lost,
    /// It stopped at what only a person can decide.
    Undecided,
    /// There is no `wit` beside the helper that could be run.
    NoProgram,
}

/// Has the tokens of `site` renewed, where `entry` is due for that.
pub fn renew(
    paths: &Paths,
    site: &Site,
    entry: &Credential,
    store: Option<&str>,
    now: UnixTime,
) -> Renewal {
    let Ok(config) = Config::load(paths) else {
        return Renewal::Failed;
    };
    match days(&config) {
        None => return Renewal::SwitchedOff,
        Some(days) if is_due(entry, days, now) => {}
        // The server is asked for the time, once a day.
        Some(days)
            if is_due_by_this_clock(entry, days, now)
                && !was_within(&file(paths, site, "clock"), DAY, now)
                && write_time(&file(paths, site, "clock"), now).is_ok() => {}
        Some(_) => return Renewal::NotDue,
    }
    match SiteLock::acquire_rotation(paths, site, Duration::ZERO) {
        // Another process is at it: its end is what is waited for.
        Err(StoreError::Busy { .. }) => {
            return match SiteLock::acquire_rotation(paths, site, RENEWAL_TIMEOUT) {
                Ok(_) => Renewal::Done,
                Err(_) => Renewal::UnderWay,
            };
        }
        Err(_) => return Renewal::Failed,
        Ok(_free) => {}
    }
    // Whoever asks seldom finds no failure of the last hour, but this.
    let unknown = match failed_before(paths, site, now) {
        true => Renewal::Failed,
        false => Renewal::UnderWay,
    };
    if is_paused(paths, site, now) {
        return unknown;
    }
    let step = trace::begin();
    let (renewal, outcome) = match run_wit(site, store, RENEWAL_TIMEOUT) {
        Ok(Some(0)) => (Renewal::Done, "done".to_owned()),
        Ok(Some(UNDECIDED)) => (Renewal::Undecided, "a person must decide".to_owned()),
        Ok(Some(REFUSED)) if entry.rotates_itself() => {
            (Renewal::Refused, "the token was refused".to_owned())
        }
        Ok(Some(_)) => (Renewal::Failed, "failed".to_owned()),
        Ok(None) => (unknown, "not done in time".to_owned()),
        Err(error) => {
            // The pause is for this, too. Where it can't be remembered there is none.
            let _ = begun(paths, site, now);
            (Renewal::NoProgram, format!("can't be started: {error}"))
        }
    };
    step.end(format_args!("renewal at {site}: {outcome}"));
    renewal
}

/// The `wit` beside this program.
pub(super) fn wit() -> io::Result<PathBuf> {
    let name = format!("wit{}", std::env::consts::EXE_SUFFIX);
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// The exit code of the renewal, -1 where a signal ended it; `None` where it is not known in time.
pub(super) fn run_wit(
    site: &Site,
    store: Option<&str>,
    timeout: Duration,
) -> io::Result<Option<i32>> {
    let mut command = Command::new(wit()?);
    command
        .args(["token", "renew", "--site", &site.to_string()])
        // Git reads the helper's streams to their end: nothing that outlives it may hold them.
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // What is renewed is a server's, whichever database the environment of this git names.
    command.env_remove("DATABASE_URL");
    if let Some(store) = store {
        command.env("WIT_STORE", store);
    }
    // A Ctrl-C for git is not one for a renewal that has begun.
    system::apart(&mut command);
    let mut child = command.spawn()?;
    // One that is not done goes on by itself, and the next `get` finds what it made.
    let ended = process::wait_within(&mut child, timeout)?;
    Ok(ended.map(|status| status.code().unwrap_or(-1)))
}

/// The directory of what is remembered of renewals.
pub fn dir(paths: &Paths) -> PathBuf {
    paths.state_dir().join("renewals")
}

fn file(paths: &Paths, site: &Site, extension: &str) -> PathBuf {
    dir(paths).join(format!("{}.{extension}", name_of(site)))
}

/// `None` also for a time that can't be read: a renewal is then tried, and told of, once more.
fn write_time(path: &std::path::Path, at: UnixTime) -> io::Result<()> {
    write_private(path, format!("{}\n", at.0).as_bytes())
}

/// Returns whether the time in a file lies at most so many seconds back. One that lies ahead, from a clock
/// that was wrong, counts for nothing.
fn was_within(path: &std::path::Path, seconds: i64, now: UnixTime) -> bool {
    read_time(path).is_some_and(|then| (0..seconds).contains(&now.since(then)))
}

fn read_time(path: &Path) -> Option<UnixTime> {
    read(path).ok().flatten()
}

fn read(path: &Path) -> Result<Option<UnixTime>, FileError> {
    let Some(bytes) = files::read(path)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    match text.parse() {
        Ok(seconds) => Ok(Some(UnixTime(seconds))),
        Err(_) => {
            let why = "it holds no time".to_owned();
            Err(files::fault(path, Fault::Damaged(why)))
        }
    }
}

/// The remembered times that can't be read.
pub fn unusable(paths: &Paths) -> Vec<FileError> {
    let entries = std::fs::read_dir(dir(paths))
        .into_iter()
        .flatten()
        .flatten();
    let times = entries.map(|entry| entry.path()).filter(|path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("begun" | "warned"))
    });
    times.filter_map(|path| read(&path).err()).collect()
}

/// Returns whether an earlier renewal has not succeeded and had the time to. One of a week ago is about
/// a token that is no more.
fn failed_before(paths: &Paths, site: &Site, now: UnixTime) -> bool {
    let begun = read_time(&file(paths, site, "begun"));
    begun.is_some_and(|begun| (JUST_BEGUN..DAYS * DAY).contains(&now.since(begun)))
}

/// Returns whether the last renewal, of the last week, did not succeed.
pub fn has_failed(paths: &Paths, site: &Site, now: UnixTime) -> bool {
    was_within(&file(paths, site, "begun"), DAYS * DAY, now)
}

/// Returns whether a renewal was begun within the hour and did not succeed.
pub fn is_paused(paths: &Paths, site: &Site, now: UnixTime) -> bool {
    was_within(&file(paths, site, "begun"), PAUSE, now)
}

/// Remembers that a renewal has begun: until it is said to have [`succeeded`], it has failed,
/// however its process ended.
pub fn begun(paths: &Paths, site: &Site, now: UnixTime) -> io::Result<()> {
    write_time(&file(paths, site, "begun"), now)
}

/// Forgets what [`begun`] remembered.
pub fn succeeded(paths: &Paths, site: &Site) -> io::Result<()> {
    match std::fs::remove_file(file(paths, site, "begun")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Warning, once a day, about a token that expires within a week and is not renewed.
pub fn warning(
    paths: &Paths,
    site: &Site,
    entry: &Credential,
    renewal: Renewal,
    now: UnixTime,
) -> Option<String> {
    let server = &entry.token.as_ref()?.server;
    let rotate = format!("wit token rotate --server {server}");
    let hint = match renewal {
        // The helper tells what was lost, at each call.
        Renewal::Done | Renewal::NotDue | Renewal::UnderWay | Renewal::Lost => return None,
        Renewal::Refused => {
            return is_due_today(paths, site, now).then(|| {
                format!(
                    "the server refuses the token for {site}, so it was not renewed; type: wit login \
                     {server} --paste-token"
                )
            });
        }
        Renewal::SwitchedOff => format!("type: {rotate}"),
        // It works on, and the command says whether a login is needed too.
        Renewal::Failed if entry.expiry.is_none() => format!("type: {rotate}"),
        Renewal::Failed => format!("type: wit login {server} && {rotate}"),
        Renewal::Undecided => format!("you must decide: {rotate} --resume"),
        Renewal::NoProgram => format!("{} can't be run", wit().ok()?.display()),
    };
    let left = entry.left(now)?;
    if left > DAYS * DAY {
        return None;
    }
    is_due_today(paths, site, now).then(|| {
        let hours = left / 3_600;
        if entry.expiry.is_some() {
            return format!(
                "the token for {site} expires in {hours} hours and was not renewed; {hint}"
            );
        }
        let when = match hours {
            0.. => format!("within {hours} hours"),
            _ => format!("{} hours ago", -hours),
        };
        format!("the token for {site} is to be replaced {when}, and was not; {hint}")
    })
}

/// Returns whether a warning is due for the day, which is remembered.
fn is_due_today(paths: &Paths, site: &Site, now: UnixTime) -> bool {
    let path = file(paths, site, "warned");
    // Where it can't be remembered it would be said at each call: better not at all.
    !was_within(&path, DAY, now) && write_time(&path, now).is_ok()
}

/// Returns whether `entry` is a token that was pasted at a sign-in and is in its last week.
pub fn runs_out(entry: &Credential, now: UnixTime) -> bool {
    let sign_in = entry.sign_in.as_ref();
    sign_in.is_some_and(|sign_in| matches!(sign_in.upkeep, Upkeep::Watch))
        && entry
            .left(now)
            .is_some_and(|left| (0..=DAYS * DAY).contains(&left))
}

/// A warning once a day of a token that [`runs_out`].
pub fn pasted_warning(
    paths: &Paths,
    site: &Site,
    entry: &Credential,
    now: UnixTime,
) -> Option<String> {
    let server = &entry.sign_in.as_ref()?.server;
    let hours = entry.left(now).filter(|_| runs_out(entry, now))? / 3_600;
    is_due_today(paths, site, now).then(|| {
        format!(
            "the token for {site} expires in {hours} hours; create another one, and type: wit login {server}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{AuthData, TokenInfo};
    use crate::expiry::Expiry;
    use crate::secret::Secret;

    fn entry(lifetime: i64) -> Credential {
        Credential {
            username: None,
            path: None,
            auth: AuthData::Password(Secret::from(String::new())),
            expiry: Some(Expiry(UnixTime(lifetime * DAY))),
            refresh_token: None,
            sign_in: None,
            imported: false,
            token: Some(TokenInfo {
                server: String::new(),
                id: String::new(),
                name: String::new(),
                account: String::new(),
                scopes: Vec::new(),
                repositories: Vec::new(),
                created: UnixTime(0),
                replace_by: None,
                clock_skew: 0,
            }),
        }
    }

    #[test]
    fn due_in_the_last_quarter_and_at_most_so_many_days_before_the_end() {
        let day = |day: i64| UnixTime(day * DAY);
        assert!(!is_due(&entry(90), 7, day(82)));
        assert!(is_due(&entry(90), 7, day(83)));
        assert!(!is_due(&entry(8), 7, day(5)));
        assert!(is_due(&entry(8), 7, day(6)));
        // A new token is never due, whatever is configured: renewing must come to an end.
        assert!(!is_due(&entry(1), 400, day(0)));
        assert!(!is_due(
            &Credential {
                token: None,
                ..entry(90)
            },
            7,
            day(89)
        ));
    }

    #[test]
    fn never_and_what_is_no_number_renew_nothing() {
        let renew = |text: &str| Config {
            renew: Some(text.to_owned()),
            ..Config::default()
        };
        assert_eq!(days(&Config::default()), Some(7));
        assert_eq!(days(&renew("14")), Some(14));
        assert_eq!(days(&renew("never")), None);
        assert_eq!(days(&renew("-3")), None);
    }
}
