//! The default branch of a repository: what its `HEAD` names, and a clone checks out.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use uuid::Uuid;

use super::Git;
use crate::platform::lock::lock;
use crate::platform::refusal::Refusal;

/// Prefix of branches among the refs.
const BRANCHES: &str = "refs/heads/";
/// Of several first branches, the ones that become the default, best first.
const PREFERRED: [&str; 5] = ["main", "master", "trunk", "default", "develop"];
/// Longest name of a branch that can be asked for, in bytes.
const MAX_NAME: usize = 200;

/// Longest time that pushes may keep `HEAD` from being set.
const PUSHES_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time that `HEAD` may be locked by somebody else.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Keeps `HEAD` from being set while a push updates refs. Git would find another branch there than
/// when it began, and refuse the push.
#[derive(Debug, Default)]
pub struct PushLocks(Mutex<HashMap<Uuid, Weak<RwLock<()>>>>);

impl PushLocks {
    fn of(&self, id: Uuid) -> Arc<RwLock<()>> {
        let mut locks = lock(&self.0);
        if let Some(lock) = locks.get(&id).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        locks.insert(id, Arc::downgrade(&lock));
        lock
    }

    /// Held by a push from its last data on.
    pub async fn push(&self, id: Uuid) -> OwnedRwLockReadGuard<()> {
        self.of(id).read_owned().await
    }

    /// `None` where a push takes too long.
    async fn head(&self, id: Uuid) -> Option<OwnedRwLockWriteGuard<()>> {
        let lock = self.of(id).write_owned();
        tokio::time::timeout(PUSHES_TIMEOUT, lock).await.ok()
    }
}

impl Git {
    /// The branch that `HEAD` names, whether it exists or not.
    pub async fn default_branch(&self, id: Uuid) -> Option<String> {
        let head = fs::read_to_string(self.directory(id).join("HEAD")).await;
        let head = head.ok()?;
        let branch = head.strip_prefix("ref:")?.trim().strip_prefix(BRANCHES)?;
        Some(branch.to_owned())
    }

    /// Points `HEAD` at a branch, which must exist.
    pub async fn set_default_branch(&self, id: Uuid, branch: &str) -> Result<(), Refusal> {
        self.require_branch(id, branch).await?;
        // Where a push takes long, it may have to be tried again.
        let _no_push = self.push_locks.head(id).await;
        let lock = HeadLock::take(&self.directory(id)).await;
        let set = match lock {
            Ok(lock) => lock.point_at(branch).await,
            Err(error) => Err(error),
        };
        set.map_err(|error| failed(&error, id))
    }

    /// Refuses a branch that does not exist.
    pub async fn require_branch(&self, id: Uuid, branch: &str) -> Result<(), Refusal> {
        let can_exist = branch.len() <= MAX_NAME && !branch.contains(char::is_control);
        let exists = match can_exist {
            true => self.has_branch(id, branch).await,
            false => Ok(false),
        };
        if exists.map_err(|error| failed(&error, id))? {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "NO_SUCH_BRANCH",
            "there is no such branch in this repository; push it first",
        ))
    }

    /// Points `HEAD` at an existing branch if it names one that does not exist.
    /// So the first push decides, whatever its branch is called.
    pub async fn adopt_first_branch(&self, id: Uuid) {
        if let Err(error) = self.try_to_adopt(id).await {
            // The next push tries again.
            tracing::error!(%error, repository = %id, "HEAD can't be pointed at a first branch");
        }
    }

    async fn try_to_adopt(&self, id: Uuid) -> io::Result<()> {
        if self.is_born(id).await? || self.first_branch(id).await?.is_none() {
            return Ok(());
        }
        let Some(_no_push) = self.push_locks.head(id).await else {
            // The push that takes so long does the same at its end.
            return Ok(());
        };
        // Under git's own lock of HEAD: what else sets it, here or on another server, waits.
        let lock = HeadLock::take(&self.directory(id)).await?;
        if !self.is_born(id).await?
            && let Some(branch) = self.first_branch(id).await?
        {
            lock.point_at(&branch).await?;
        }
        Ok(())
    }

    /// Returns whether the branch exists that `HEAD` names.
    async fn is_born(&self, id: Uuid) -> io::Result<bool> {
        let Some(branch) = self.default_branch(id).await else {
            // A commit by its id, as nothing here sets it.
            return Ok(true);
        };
        // Without a process for the usual case.
        let loose = self.directory(id).join(BRANCHES).join(&branch);
        if fs::try_exists(loose).await? {
            return Ok(true);
        }
        self.has_branch(id, &branch).await
    }

    async fn has_branch(&self, id: Uuid, branch: &str) -> io::Result<bool> {
        let name = format!("{BRANCHES}{branch}");
        let arguments = ["show-ref", "--verify", "--quiet", "--", &name];
        Ok(self.ask(id, &arguments).await?.is_some())
    }

    /// The branch that is to be the default among those that there are.
    async fn first_branch(&self, id: Uuid) -> io::Result<Option<String>> {
        for branch in PREFERRED {
            if self.has_branch(id, branch).await? {
                return Ok(Some(branch.to_owned()));
            }
        }
        let list = [
            "for-each-ref",
            "--count=1",
            "--format=%(refname)",
            "refs/heads",
        ];
        let listed = self.ask(id, &list).await?.unwrap_or_default();
        let first = listed.lines().next();
        Ok(first.and_then(|name| Some(name.strip_prefix(BRANCHES)?.to_owned())))
    }
}

fn failed(error: &io::Error, id: Uuid) -> Refusal {
    tracing::error!(%error, repository = %id, "the default branch can't be set");
    Refusal::failed()
}

/// `HEAD.lock`, by which git itself locks `HEAD`. Dropped without a new value, it changes nothing.
struct HeadLock {
    directory: PathBuf,
    file: fs::File,
    is_done: bool,
}

impl HeadLock {
    async fn take(directory: &Path) -> io::Result<Self> {
        let path = directory.join("HEAD.lock");
        let until = tokio::time::Instant::now() + LOCK_TIMEOUT;
        loop {
            let mut options = fs::OpenOptions::new();
            match options.write(true).create_new(true).open(&path).await {
                Ok(file) => {
                    return Ok(HeadLock {
                        directory: directory.to_owned(),
                        file,
                        is_done: false,
                    });
                }
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists
                        && tokio::time::Instant::now() < until =>
                {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sets `HEAD`, and gives the lock back.
    async fn point_at(mut self, branch: &str) -> io::Result<()> {
        let text = format!("ref: {BRANCHES}{branch}\n");
        self.file.write_all(text.as_bytes()).await?;
        self.file.sync_all().await?;
        let (lock, head) = (
            self.directory.join("HEAD.lock"),
            self.directory.join("HEAD"),
        );
        fs::rename(lock, head).await?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for HeadLock {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = std::fs::remove_file(self.directory.join("HEAD.lock"));
        }
    }
}
