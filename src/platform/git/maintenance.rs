//! Maintenance of repositories, which pushes leave as many small files.
//!
//! git decides whether there is anything to do (`git gc --auto`); here it is decided when. One
//! repository at a time, at the lowest priority, once no git of a client runs, within a bound of
//! time. Objects that no ref leads to are kept for two weeks, git's own default: a push has them before
//! its ref. git's own start of it after a push has no such bounds, and goes on after the server.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::slots::GitSlots;
use crate::platform::lock::lock;

/// A repository is looked at after its first push since the start of the server, and then after so
/// many.
const PUSHES: u32 = 20;
/// Interval between two looks whether the server is idle.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// After how long a repository is looked at on a server that is never idle.
const MAX_DELAY: Duration = Duration::from_secs(60 * 60);
/// Time limit for one repository.
const MAINTENANCE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Time limit for git to clean up when it is told to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between two looks whether it has.
const STOP_INTERVAL: Duration = Duration::from_millis(20);

/// Runs a program with the end of its own stdin as the end of it: that comes with the end of the
/// server, however the server ends.
const WATCHED: &str = r#"exec 3<&0
{ cat >/dev/null; kill -TERM 0; } <&3 &
watch=$!
"$0" "$@" 3<&- </dev/null
status=$?
kill "$watch"
exit "$status""#;

/// For git, beside what it is always told.
const SETTINGS: [&str; 5] = [
    "gc.pruneExpire=2.weeks.ago",
    // In the background it would have no bound.
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    "pack.threads=1",
    // What is left of an earlier one that failed does not keep it from being tried again.
    "gc.logExpiry=now",
];

/// Repositories that wait for maintenance.
#[derive(Clone, Debug, Default)]
pub struct Maintenance {
    state: Arc<Mutex<State>>,
    came: Arc<Notify>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// Pushes to each repository since it was last looked at.
    pushes: HashMap<Uuid, u32>,
    waiting: VecDeque<Uuid>,
}

impl Maintenance {
    /// Counts a push that has ended.
    pub fn pushed(&self, id: Uuid) {
        let mut state = self.state();
        // The first one since the start: those before it were not counted.
        let pushes = state.pushes.entry(id).or_insert(PUSHES - 1);
        *pushes += 1;
        if *pushes >= PUSHES {
            *pushes = 0;
            if !state.waiting.contains(&id) {
                state.waiting.push_back(id);
                self.came.notify_one();
            }
        }
    }

    /// Looks after repositories until it is stopped. `command` is a git for one of them.
    pub async fn run(self, slots: GitSlots, command: impl Fn(Uuid, &[&str]) -> Command) {
        let next = async || {
            loop {
                let next = self.state().waiting.pop_front();
                let Some(id) = next else {
                    self.came.notified().await;
                    continue;
                };
                idle(&slots).await;
                return id;
            }
        };
        loop {
            let next = tokio::select! {
                id = next() => id,
                () = self.stop.cancelled() => return,
            };
            self.look_after(next, command(next, &SETTINGS)).await;
        }
    }

    async fn look_after(&self, id: Uuid, mut command: Command) {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // It is told to end, so that it removes its locks, and with it what it has started.
            .kill_on_drop(false)
            .process_group(0);
        let mut group = match command.spawn() {
            Ok(child) => Group::new(child),
            Err(error) => {
                tracing::error!(%error, "git can't be started");
                return;
            }
        };
        let ended = tokio::select! {
            ended = timeout(MAINTENANCE_TIMEOUT, group.child.wait()) => ended,
            () = self.stop.cancelled() => return group.stop().await,
        };
        match ended {
            Ok(Ok(status)) if status.success() => {}
            Ok(ended) => tracing::warn!(?ended, repository = %id, "maintenance failed"),
            Err(_) => {
                tracing::warn!(repository = %id, "maintenance took too long");
                group.stop().await;
            }
        }
    }

    /// Ends it, with the git that is at it.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Waits until no git of a client runs, an hour at most.
async fn idle(slots: &GitSlots) {
    let until = Instant::now() + MAX_DELAY;
    let mut was_idle = false;
    while Instant::now() < until {
        let is_idle = slots.are_free();
        if is_idle && was_idle {
            return;
        }
        was_idle = is_idle;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// A git with all that it has started, ended when dropped.
struct Group {
    child: Child,
    id: Option<Pid>,
    /// Its stdin, which ends with this process.
    _watched: Option<ChildStdin>,
}

impl Group {
    fn new(mut child: Child) -> Self {
        Group {
            id: child.id().and_then(|id| Pid::from_raw(id.cast_signed())),
            _watched: child.stdin.take(),
            child,
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            let _ = kill_process_group(id, signal);
        }
    }

    /// Returns whether any process of it is left.
    fn is_there(&self) -> bool {
        self.id
            .is_some_and(|id| test_kill_process_group(id).is_ok())
    }

    /// Ends it: within the time limit by a signal upon which git removes its locks.
    async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let until = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < until {
            // The first of them is waited for, or it would be there for ever.
            if matches!(self.child.try_wait(), Ok(Some(_))) && !self.is_there() {
                self.id = None;
                return;
            }
            tokio::time::sleep(STOP_INTERVAL).await;
        }
        tracing::warn!("maintenance did not end when it was told to");
        self.signal(Signal::KILL);
        let _ = timeout(STOP_TIMEOUT, self.child.wait()).await;
        self.id = None;
    }
}

impl Drop for Group {
    // By a signal upon which git removes its locks and temporary files.
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.signal(Signal::TERM);
        }
    }
}

/// The words of the command for `sh`: git looks itself whether there is anything to do.
pub fn words<'a>(repository: &'a Path, settings: &[&'a str]) -> Vec<&'a std::ffi::OsStr> {
    let mut words: Vec<&std::ffi::OsStr> = ["-c", WATCHED, "nice", "-n", "19", "git"]
        .map(AsRef::as_ref)
        .into();
    for setting in settings {
        words.extend([
            AsRef::as_ref("-c"),
            AsRef::<std::ffi::OsStr>::as_ref(*setting),
        ]);
    }
    words.extend([AsRef::as_ref("--git-dir"), repository.as_os_str()]);
    words.extend(["gc", "--auto", "--quiet"].map(AsRef::<std::ffi::OsStr>::as_ref));
    words
}
