//! The server's log: standard error, which is kept below a size where it is a file of the server's.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::lock::lock;
use crate::config::open_or_create;

/// Largest log, in bytes. The one before is kept beside it.
pub const MAX_SIZE: u64 = 16 << 20;

/// Log file of a server in the background.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("server.log")
}

/// The log before the current one.
pub fn previous(log: &Path) -> PathBuf {
    log.with_extension("log.1")
}

/// Opens the log of a data directory, to append to it.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).mode(0o600);
    open_or_create(path, &options)
}

/// Standard error. Where that is the log file of the data directory, the file is opened once more by its
/// name, copied aside when it is full, and begun anew.
#[derive(Clone, Debug)]
pub struct Log(Arc<Mutex<Option<LogFile>>>);

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Log {
    pub fn new(data_dir: &Path) -> Self {
        let path = path(data_dir);
        let file = match is_stderr(&path) {
            true => LogFile::open(path).ok(),
            false => None,
        };
        if file.is_some()
            && let Ok(flags) = fcntl_getfl(io::stderr())
        {
            // After a cut, the next line is to stand at the beginning.
            let _ = fcntl_setfl(io::stderr(), flags | OFlags::APPEND);
        }
        Log(Arc::new(Mutex::new(file)))
    }

    /// Goes on in the file that has the log's name now: another program may have put the old one
    /// aside. A panic is still told in the old one.
    pub fn reopen(&self) -> io::Result<()> {
        if let Some(file) = &mut *self.file() {
            *file = LogFile::open(file.path.clone())?;
        }
        Ok(())
    }

    fn file(&self) -> MutexGuard<'_, Option<LogFile>> {
        lock(&self.0)
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *self.file() {
            Some(file) => {
                file.make_room(line.len() as u64);
                file.file.write(line)
            }
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        let size = file.metadata()?.len();
        Ok(LogFile { path, file, size })
    }

    fn make_room(&mut self, length: u64) {
        self.size += length;
        if self.size <= MAX_SIZE {
            return;
        }
        self.size = length;
        // A file that somebody else has moved away is theirs.
        if is_regular_and_same(std::fs::metadata(&self.path), self.file.metadata()) {
            // Where the disk is too full for a copy, the log is cut all the same.
            let _ = std::fs::copy(&self.path, previous(&self.path));
            let _ = self.file.set_len(0);
        }
    }
}

/// Returns whether standard error goes to that file.
fn is_stderr(path: &Path) -> bool {
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let stderr = stderr.and_then(|stderr| stderr.metadata());
    is_regular_and_same(std::fs::metadata(path), stderr)
}

fn is_regular_and_same(one: io::Result<Metadata>, other: io::Result<Metadata>) -> bool {
    one.ok().zip(other.ok()).is_some_and(|(one, other)| {
        one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
    })
}
