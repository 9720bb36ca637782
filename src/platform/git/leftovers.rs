//! Leftovers of git processes that were killed: objects of pushes that never became part of their
//! repository, and locks, which would hold up every later push.
//!
//! Servers may share a directory of repositories. Each holds a shared lock on it while it runs. A
//! server that starts and finds nobody else removes what was being received at once; all others
//! wait until it is too old for anybody to be still at it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::GIT_TIMEOUT;
use crate::config::lock_within;
use crate::platform::layout::INCOMING;

/// The age at which what a git has made can't be in use any more, on any server.
const ABANDONED: Duration = Duration::from_secs(2 * GIT_TIMEOUT.as_secs());
/// The same where no other server runs. Gits of one that was killed may go on for a moment, and
/// a lock that one of them still holds must not be taken from it.
const LOCK_ABANDONED: Duration = Duration::from_secs(10 * 60);

/// Longest time that another server that has just started may hold the lock alone.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval at which leftovers are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The sign that a server uses a directory of repositories, held until dropped.
#[derive(Debug)]
pub struct InUse {
    /// `None` where the file system has no locks.
    _lock: Option<File>,
}

/// Marks the directory as used, and removes the leftovers in it in the background.
pub fn start(repositories: &Path) -> io::Result<InUse> {
    let lock = File::open(repositories)?;
    let is_alone = lock.try_lock().is_ok();
    let found = match is_alone {
        // Before another server can begin to receive anything.
        true => find(repositories, Duration::ZERO, LOCK_ABANDONED),
        false => find(repositories, ABANDONED, ABANDONED),
    };
    let lock = match lock_within(&lock, File::try_lock_shared, LOCK_TIMEOUT) {
        Ok(()) => Some(lock),
        Err(error) => {
            tracing::warn!(%error, "the directory of repositories can't be locked");
            None
        }
    };
    let repositories = repositories.to_owned();
    tokio::task::spawn_blocking(|| remove(found));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            let repositories = repositories.clone();
            let swept = tokio::task::spawn_blocking(move || {
                remove(find(&repositories, ABANDONED, ABANDONED));
            });
            let _ = swept.await;
        }
    });
    Ok(InUse { _lock: lock })
}

/// The leftovers that nobody can be at work on any more.
pub fn abandoned(repositories: &Path) -> Vec<PathBuf> {
    find(repositories, ABANDONED, ABANDONED)
}

/// The leftovers that are at least so old. What can't be read is passed over.
fn find(repositories: &Path, incoming_age: Duration, lock_age: Duration) -> Vec<PathBuf> {
    let now = SystemTime::now();
    let is_older = |path: &Path, age: Duration| {
        let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|modified| {
            age.is_zero() || now.duration_since(modified).is_ok_and(|old| old >= age)
        })
    };
    let mut found = Vec::new();
    for repository in entries(repositories) {
        for path in entries(&repository.join("objects")) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_incoming = INCOMING.iter().any(|begin| name.starts_with(begin));
            if is_incoming && is_older(&path, incoming_age) {
                found.push(path);
            }
        }
        let mut locks = entries(&repository);
        let mut open = vec![repository.join("refs")];
        while let Some(directory) = open.pop() {
            for path in entries(&directory) {
                match path.is_dir() {
                    true => open.push(path),
                    false => locks.push(path),
                }
            }
        }
        // No ref's name ends like that (git-check-ref-format(1)).
        locks.retain(|path| path.extension().is_some_and(|end| end == "lock"));
        locks.retain(|path| path.is_file() && is_older(path, lock_age));
        found.append(&mut locks);
    }
    found
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    // A link leads elsewhere, and git makes none.
    let real = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
    real.map(|entry| entry.path()).collect()
}

fn remove(found: Vec<PathBuf>) {
    for path in found {
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        match removed {
            Ok(()) => tracing::info!(path = %path.display(), "removed what a killed git had left"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "what a killed git left stays");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_old_enough_and_a_leftover_is_found() {
        let directory = tempfile::tempdir().expect("a directory");
        let repository = directory.path().join("x.git");
        let incoming = repository.join("objects/tmp_objdir-incoming-abc");
        fs::create_dir_all(&incoming).expect("made");
        fs::create_dir_all(repository.join("objects/pack")).expect("made");
        fs::create_dir_all(repository.join("refs/heads/deep")).expect("made");
        let stale = ["HEAD.lock", "packed-refs.lock", "refs/heads/deep/main.lock"];
        for name in ["HEAD", "config", "refs/heads/deep/main"]
            .iter()
            .chain(&stale)
        {
            fs::write(repository.join(name), b"").expect("written");
        }
        let found = |incoming, lock| {
            let mut found = find(directory.path(), incoming, lock);
            found.sort();
            found
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(found(hour, hour), Vec::<PathBuf>::new());
        assert_eq!(found(Duration::ZERO, hour), std::slice::from_ref(&incoming));
        let mut all: Vec<PathBuf> = stale.iter().map(|name| repository.join(name)).collect();
        all.push(incoming);
        all.sort();
        let everything = found(Duration::ZERO, Duration::ZERO);
        assert_eq!(everything, all);
        remove(everything);
        assert_eq!(found(Duration::ZERO, Duration::ZERO), Vec::<PathBuf>::new());
        assert!(repository.join("refs/heads/deep/main").exists());
    }
}
