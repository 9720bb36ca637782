//! Maintenance of repositories, which pushes leave as many small files.
//!
//! git decides whether there is anything to do (`git gc --auto`); here it is decided when. One
//! repository at a time, at the lowest priority, once no git of a client runs, within a bound of
//! time. Objects that no ref leads to are kept for two weeks, git's own default: a push has them before
//! its ref. git's own start of it after a push has no such bounds, and goes on after the server.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::slots::GitSlots;

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
        let looking = async {
            loop {
                let next = self.state().waiting.pop_front();
                let Some(id) = next else {
                    self.came.notified().await;
                    continue;
                };
                idle(&slots).await;
                self.look_after(id, command(id, &SETTINGS)).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn look_after(&self, id: Uuid, mut command: Command) {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // It is told to end, so that it removes its locks, and with it what it has started.
            .kill_on_drop(false)
            .process_group(0);
        let mut group = match command.spawn() {
            Ok(child) => Group(child),
            Err(error) => {
                tracing::error!(%error, "git can't be started");
                return;
            }
        };
        match timeout(MAINTENANCE_TIMEOUT, group.0.wait()).await {
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
struct Group(Child);

impl Group {
    fn signal(&self, signal: Signal) {
        let pid = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, signal);
        }
    }

    async fn stop(&mut self) {
        self.signal(Signal::TERM);
        if timeout(STOP_TIMEOUT, self.0.wait()).await.is_err() {
            self.signal(Signal::KILL);
        }
    }
}

impl Drop for Group {
    // By a signal upon which git removes its locks and temporary files.
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

/// The words of the command: git looks itself whether there is anything to do.
pub fn words<'a>(repository: &'a Path, settings: &[&'a str]) -> Vec<&'a std::ffi::OsStr> {
    let mut words: Vec<&std::ffi::OsStr> = ["-n", "19", "git"].map(AsRef::as_ref).into();
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
