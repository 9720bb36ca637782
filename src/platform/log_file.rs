//! The server's log: standard error, which is kept below a size where it is a file of the server's.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, fstat, ftruncate};

/// Largest log, in bytes. The one before is kept beside it.
pub const MAX_SIZE: u64 = 16 << 20;

/// Where the server logs to in the background.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("server.log")
}

/// The log before the current one.
pub fn previous(log: &Path) -> PathBuf {
    log.with_extension("log.1")
}

/// Standard error. Once it is the log file of the data directory, and full, the file is copied
/// aside and begun anew.
#[derive(Debug)]
pub struct Log {
    file: Option<LogFile>,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    size: u64,
}

impl Log {
    pub fn new(data_dir: &Path) -> Self {
        let path = path(data_dir);
        let size = size_if_stderr(&path);
        if size.is_some()
            && let Ok(flags) = fcntl_getfl(io::stderr())
        {
            // After a cut, the next line is to stand at the beginning.
            let _ = fcntl_setfl(io::stderr(), flags | OFlags::APPEND);
        }
        Log {
            file: size.map(|size| LogFile { path, size }),
        }
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            file.make_room(line.len() as u64);
        }
        io::stderr().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl LogFile {
    fn make_room(&mut self, length: u64) {
        self.size += length;
        if self.size <= MAX_SIZE {
            return;
        }
        self.size = length;
        // A file that somebody else has moved away is theirs.
        if size_if_stderr(&self.path).is_some() {
            // Where the disk is too full for a copy, the log is cut all the same.
            let _ = std::fs::copy(&self.path, previous(&self.path));
            let _ = ftruncate(io::stderr(), 0);
        }
    }
}

/// The size of that file, if it is what standard error goes to.
fn size_if_stderr(path: &Path) -> Option<u64> {
    let file = std::fs::metadata(path).ok().filter(|file| file.is_file())?;
    let stderr = fstat(io::stderr()).ok()?;
    let is_it = (file.dev(), file.ino()) == (stderr.st_dev as u64, stderr.st_ino as u64);
    is_it.then_some(file.len())
}
