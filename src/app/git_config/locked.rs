//! Changing a file of git's as git does: under its lock, through its links, all at once.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempPath;

use super::error::Error;
use super::scope::Scope;
use crate::config;
use crate::system;

/// The file that git writes to where `file` is a link: what it leads to, whether that is there or not.
fn target(file: &Path) -> Result<PathBuf, Error> {
    /// More than the links that the kernel follows (path_resolution(7)).
    const MAX_LINKS: usize = 40;
    let mut target = file.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(next) = fs::read_link(&target) else {
            return Ok(target);
        };
        target = target.parent().unwrap_or(Path::new("")).join(next);
    }
    Err(Error::LinkLoop(file.to_owned()))
}

/// Refuses what is there and no regular file.
pub fn check_kind(file: &Path) -> Result<(), Error> {
    match fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => Err(Error::NotAFile(file.to_owned())),
        _ => Ok(()),
    }
}

/// One of git's files while nobody else may change it: by git's own lock, a file beside it.
///
/// The lock has a second name, [`twin_prefix`], and is locked by flock(2) too as long as this process
/// lives. So one that was left by a `wit setup` that was killed is known as such, and removed by the
/// next. A lock of git's has neither.
pub struct Locked {
    file: PathBuf,
    lock: PathBuf,
    written: fs::File,
    held: bool,
    /// Its second name; `None` on a file system without such.
    _twin: Option<TempPath>,
    /// Content; `None` where it does not exist.
    pub text: Option<Vec<u8>>,
}

impl Locked {
    /// Takes the lock, then reads. Something else than a file is refused: a device or a directory
    /// is there because somebody wants no such file.
    pub fn take(scope: Scope, file: &Path) -> Result<Self, Error> {
        let file = target(file)?;
        check_kind(&file)?;
        let (lock, dir) = (lock_of(&file), dir_of(&file));
        let failed = |error| match lock.exists() {
            true => Error::Locked(lock.clone()),
            false => Error::Unwritable {
                file: file.clone(),
                system: scope == Scope::System,
                error,
            },
        };
        remove_abandoned(&file);
        let open = |path: &Path| {
            fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(path)
        };
        let twin = tempfile::Builder::new()
            .prefix(&twin_prefix(&lock))
            .make_in(dir, open);
        let (twin, path) = twin.map_err(failed)?.into_parts();
        // Says that its process lives. Where files can't be locked none is taken for abandoned.
        let _ = twin.try_lock();
        let (written, twin) = match fs::hard_link(&path, &lock) {
            Ok(()) => (twin, Some(path)),
            Err(_) if lock.exists() => return Err(Error::Locked(lock)),
            // Some file systems give a file one name only.
            Err(_) => (fs::File::create_new(&lock).map_err(failed)?, None),
        };
        let mut locked = Locked {
            file,
            lock,
            written,
            held: true,
            _twin: twin,
            text: None,
        };
        config::hand_over(&locked.written, dir_of(&locked.file))
            .map_err(|error| io_error(&locked.file, error))?;
        locked.text = match fs::read(&locked.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.map_err(|error| io_error(&locked.file, error))?),
        };
        Ok(locked)
    }

    /// Replaces the content all at once, and keeps the mode.
    pub fn replace(mut self, content: &[u8]) -> Result<(), Error> {
        use std::io::Write;
        let replaced = match fs::metadata(&self.file) {
            Ok(old) => self.written.set_permissions(old.permissions()),
            Err(_) => Ok(()),
        };
        replaced
            .and_then(|()| self.written.write_all(content))
            .and_then(|()| self.written.sync_all())
            .and_then(|()| fs::rename(&self.lock, &self.file))
            .map_err(|error| io_error(&self.file, error))?;
        self.held = false;
        Ok(())
    }

    /// Removes the file.
    pub fn remove(self) -> Result<(), Error> {
        fs::remove_file(&self.file).map_err(|error| io_error(&self.file, error))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Whoever comes next is not to wait for nobody; and by then it may be another's.
        if self.held {
            let _ = fs::remove_file(&self.lock);
        }
    }
}

/// git's own lock of a file (git-config(1) has it beside the file).
fn lock_of(file: &Path) -> PathBuf {
    let mut lock = file.to_owned().into_os_string();
    lock.push(".lock");
    lock.into()
}

fn dir_of(file: &Path) -> &Path {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    dir.unwrap_or(Path::new("."))
}

/// The beginning of the second name of a lock of ours.
fn twin_prefix(lock: &Path) -> OsString {
    let mut name = lock.file_name().unwrap_or_default().to_owned();
    name.push(".wit-");
    name
}

/// Removes what a `wit setup` left when it was killed: its lock, and the second name of that, which
/// the file itself has once the lock was put in its place.
fn remove_abandoned(file: &Path) {
    let lock = lock_of(file);
    let number = |path: &Path| {
        let metadata = fs::symlink_metadata(path).ok()?;
        system::file_number(&metadata)
    };
    let prefix = twin_prefix(&lock);
    let is_twin = |name: &OsStr| {
        let (name, prefix) = (name.as_encoded_bytes(), prefix.as_encoded_bytes());
        name.starts_with(prefix)
    };
    for entry in fs::read_dir(dir_of(file)).into_iter().flatten().flatten() {
        if !is_twin(&entry.file_name()) {
            continue;
        }
        let twin = entry.path();
        // While this is locked its owner is dead, and nobody else removes anything of it.
        let Ok(left) = fs::File::open(&twin) else {
            continue;
        };
        if left.try_lock().is_err() {
            continue;
        }
        let own = number(&twin);
        if own.is_some() && number(&lock) == own {
            let _ = fs::remove_file(&lock);
            let _ = fs::remove_file(&twin);
        } else if own.is_some() && number(file) == own {
            let _ = fs::remove_file(&twin);
        }
    }
}

/// A lock of this user's configuration that is not given back within a second, and its age: git holds
/// one for a moment.
pub fn lasting_lock() -> Option<(PathBuf, Duration)> {
    const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
    const POLL_INTERVAL: Duration = Duration::from_millis(10);
    let lock = lock_of(&target(&Scope::Global.file().ok()?).ok()?);
    let begun = Instant::now();
    loop {
        let metadata = fs::symlink_metadata(&lock).ok()?;
        if begun.elapsed() >= LOCK_TIMEOUT {
            let age = metadata.modified().ok().and_then(|at| at.elapsed().ok());
            return Some((lock, age.unwrap_or_default()));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn io_error(file: &Path, error: io::Error) -> Error {
    Error::Io {
        file: file.to_owned(),
        error,
    }
}
