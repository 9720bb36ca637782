//! The record of a token that lives as long as a command: ids and names, never the token.
//!
//! The process that runs the command holds a lock for as long as it lives. A record whose lock is free
//! is one that nobody looks after any more.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{self, Paths, write_private};
use crate::expiry::UnixTime;
use crate::files::{self, FileError};

/// The format's version. A higher one is never touched.
const VERSION: u64 = 1;
/// Age from which a lock without a record is one whose process was killed in between.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// One token of one command. Its times are by this machine's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    version: u64,
    /// The id that the create request is sent with; also the file's name.
    pub request_id: Uuid,
    /// Base URL of the server.
    pub server: String,
    /// Username or email of the account.
    pub account: String,
    /// The token's name.
    pub name: String,
    /// The repositories that the token is bound to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// When the create request was about to be sent.
    pub sent: UnixTime,
    /// Tokens of the account that the request did not create, where the server keeps no request ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<String>,
    /// The token's id, once the server has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// True if only the token can revoke itself: then it is in the site's item, as pending.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_secret: bool,
    /// When the token ends by itself, at the latest; `None` where it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<UnixTime>,
    /// When to try again to revoke it, after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<UnixTime>,
}

impl Journal {
    /// The record of a request that was not sent yet.
    pub fn new(server: String, account: String, name: String, now: UnixTime) -> Self {
        Journal {
            version: VERSION,
            request_id: Uuid::new_v4(),
            server,
            account,
            name,
            repositories: Vec::new(),
            sent: now,
            known: Vec::new(),
            token_id: None,
            by_secret: false,
            ends: None,
            retry_at: None,
        }
    }
}

/// A record, and the lock that says that it is looked after.
#[derive(Debug)]
pub struct Held {
    /// Record; see [`Held::save`].
    pub journal: Journal,
    path: PathBuf,
    lock: File,
}

impl Held {
    /// Begins to look after a token, and records it.
    pub fn begin(paths: &Paths, journal: Journal) -> io::Result<Self> {
        let dir = dir(paths);
        config::private_dir(&dir)?;
        let path = dir.join(format!("{}.json", journal.request_id));
        let lock = open_lock(&path)?;
        lock.try_lock()?;
        let held = Held {
            journal,
            path,
            lock,
        };
        held.save()?;
        Ok(held)
    }

    /// Writes what is recorded, all or nothing.
    pub fn save(&self) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(&self.journal)?;
        text.push(b'\n');
        write_private(&self.path, &text)
    }

    /// Forgets the token. The record goes first: a lock alone means nothing.
    pub fn clear(self) -> io::Result<()> {
        config::remove_abandoned(self.path.parent().unwrap_or(Path::new(".")));
        remove(&self.path)?;
        drop(self.lock);
        remove(&lock_file(&self.path))
    }
}

/// The records that nobody looks after. They are looked after by the caller then.
pub fn abandoned(paths: &Paths) -> Vec<Held> {
    let Ok(entries) = fs::read_dir(dir(paths)) else {
        return Vec::new();
    };
    let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let of_kind = |kind: &'static str| {
        let files = files.iter();
        files.filter(move |path| path.extension().is_some_and(|end| end == kind))
    };
    for lock in of_kind("lock").filter(|lock| !lock.with_extension("json").exists()) {
        // One that a process has made just now is not locked yet.
        let age = || fs::metadata(lock).ok()?.modified().ok()?.elapsed().ok();
        if age().is_some_and(|age| age >= ABANDONED) {
            let _ = remove(lock);
        }
    }
    of_kind("json").filter_map(|path| take(path)).collect()
}

/// The records that can't be used.
pub fn unusable(paths: &Paths) -> Vec<FileError> {
    let entries = fs::read_dir(dir(paths)).into_iter().flatten().flatten();
    let records = (entries.map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "json"));
    records.filter_map(|path| read(&path).err()).collect()
}

/// The directory of the records.
pub fn dir(paths: &Paths) -> PathBuf {
    paths.state_dir().join("execs")
}

/// The record at `path`, if nobody looks after it. It is read once its lock is held: whoever held it
/// may have cleared it.
fn take(path: &Path) -> Option<Held> {
    let lock = open_lock(path).ok()?;
    lock.try_lock().ok()?;
    match read(path) {
        Ok(Some(journal)) => Some(Held {
            journal,
            path: path.to_owned(),
            lock,
        }),
        Ok(None) => {
            drop(lock);
            let _ = remove(&lock_file(path));
            None
        }
        // `wit doctor` tells it.
        Err(_) => None,
    }
}

fn read(path: &Path) -> Result<Option<Journal>, FileError> {
    files::read_json(path, VERSION)
}

fn open_lock(path: &Path) -> io::Result<File> {
    config::open_or_create(&lock_file(path), OpenOptions::new().write(true))
}

fn lock_file(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        let (server, name) = ("https://wit.example", "exec: git on vm");
        Journal::new(server.into(), "ada".into(), name.into(), UnixTime(1))
    }

    #[test]
    fn a_record_is_abandoned_once_its_process_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = Paths::below(dir.path());
        let held = Held::begin(&paths, journal()).expect("recorded");
        let recorded = held.journal.clone();
        assert!(abandoned(&paths).is_empty());
        drop(held);
        let mut found = abandoned(&paths);
        assert!(abandoned(&paths).is_empty(), "it is looked after");
        let found = found.pop().expect("a record");
        assert_eq!(found.journal, recorded);
        found.clear().expect("cleared");
        assert!(abandoned(&paths).is_empty());
        let left = fs::read_dir(super::dir(&paths)).expect("a directory");
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_lock_that_was_made_just_now_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = Paths::below(dir.path());
        let place = super::dir(&paths);
        config::private_dir(&place).expect("made");
        let lock = place.join(format!("{}.lock", Uuid::new_v4()));
        fs::write(&lock, "").expect("written");
        assert!(abandoned(&paths).is_empty());
        assert!(lock.exists());
        let old = std::time::SystemTime::now() - ABANDONED;
        let file = File::options().write(true).open(&lock).expect("open");
        file.set_modified(old).expect("aged");
        drop(file);
        assert!(abandoned(&paths).is_empty());
        assert!(!lock.exists());
    }
}
