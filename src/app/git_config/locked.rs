//! Changing a file of git's as git does: under its lock, through its links, all at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::scope::Scope;
use crate::config;

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
pub struct Locked {
    file: PathBuf,
    lock: PathBuf,
    written: fs::File,
    held: bool,
    /// Content; `None` where it does not exist.
    pub text: Option<Vec<u8>>,
}

impl Locked {
    /// Takes the lock, then reads. Something else than a file is refused: a device or a directory
    /// is there because somebody wants no such file.
    pub fn take(scope: Scope, file: &Path) -> Result<Self, Error> {
        let file = target(file)?;
        check_kind(&file)?;
        let mut lock = file.clone().into_os_string();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        let written = fs::File::create_new(&lock).map_err(|error| match lock.exists() {
            true => Error::Locked(lock.clone()),
            false => Error::Unwritable {
                file: file.clone(),
                system: scope == Scope::System,
                error,
            },
        })?;
        let mut locked = Locked {
            file,
            lock,
            written,
            held: true,
            text: None,
        };
        let dir = locked.file.parent().unwrap_or(&locked.file);
        config::hand_over(&locked.written, dir).map_err(|error| io_error(&locked.file, error))?;
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

fn io_error(file: &Path, error: io::Error) -> Error {
    Error::Io {
        file: file.to_owned(),
        error,
    }
}
