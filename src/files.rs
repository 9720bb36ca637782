//! The one reader of the small files that this program keeps: config, records, journals, caches.
//!
//! A file that can't be used is an error with its path and its kind, so that `wit doctor` can name
//! the fix, and so that a caller that does not depend on the file can go on without it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Larger than any file of ours. Nothing that was put in its place is read whole into memory.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A file of ours that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Reason.
    pub fault: Fault,
}

/// The kinds of such files: each has a fix of its own.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Empty, torn, or something else than we write: a crash, a full disk, a slip in an editor.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A directory, a device or the like in the place of the file.
    #[error("not a regular file")]
    NotAFile,
    /// Written by a newer version, which knows what it means.
    #[error("format {0} is newer than this program")]
    Newer(u64),
    /// There, and the system does not let us read it.
    #[error("{0}")]
    Unreadable(io::Error),
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        let kind = match &error.fault {
            Fault::Unreadable(cause) => cause.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// The error for the file at `path`.
pub fn fault(path: &Path, fault: Fault) -> FileError {
    FileError {
        path: path.to_owned(),
        fault,
    }
}

/// The bytes of a file; `None` where there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let failed = |error| fault(path, Fault::Unreadable(error));
    // Asked before it is opened: opening a FIFO would wait for its writer.
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.is_file() => return Err(fault(path, Fault::NotAFile)),
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            let why = format!("{} bytes long", metadata.len());
            return Err(fault(path, Fault::Damaged(why)));
        }
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(Some(bytes))
}

/// The document in a JSON file whose format has the version `newest` or an older one; a document
/// without a `version` is of the first. `None` where there is no file.
pub fn read_json<T: DeserializeOwned>(path: &Path, newest: u64) -> Result<Option<T>, FileError> {
    let Some(bytes) = read(path)? else {
        return Ok(None);
    };
    parse_json(&bytes, newest)
        .map(Some)
        .map_err(|why| fault(path, why))
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8], newest: u64) -> Result<T, Fault> {
    #[derive(Deserialize)]
    struct Head {
        version: Option<u64>,
    }
    if bytes.is_empty() {
        return Err(Fault::Damaged("empty".to_owned()));
    }
    let damaged = |error: serde_json::Error| Fault::Damaged(error.to_string());
    let head: Head = serde_json::from_slice(bytes).map_err(damaged)?;
    match head.version {
        // A newer format need not be one that we can parse.
        Some(version) if version > newest => Err(Fault::Newer(version)),
        _ => serde_json::from_slice(bytes).map_err(damaged),
    }
}

/// Moves a file that can't be used out of the way, to a free name beside it, and returns that.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let kept = free_name(path);
    fs::rename(path, &kept)?;
    Ok(kept)
}

/// The first name for what is set aside that nothing has: `config.json.aside`, then `.aside-2`.
pub fn free_name(path: &Path) -> PathBuf {
    let named = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let numbered = (2..1_000).map(|number| named(&format!(".aside-{number}")));
    let mut names = std::iter::once(named(".aside")).chain(numbered);
    names
        .find(|name| fs::symlink_metadata(name).is_err())
        .unwrap_or_else(|| named(".aside"))
}

/// Names the file in an error about it.
pub fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Eq)]
    struct Document {
        name: String,
    }

    fn read_text(text: &str) -> Result<Option<Document>, FileError> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file.json");
        fs::write(&file, text).expect("written");
        read_json(&file, 1)
    }

    #[test]
    fn a_missing_file_is_no_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let read = read_json::<Document>(&dir.path().join("none"), 1);
        assert!(matches!(read, Ok(None)));
    }

    #[test]
    fn empty_and_torn_files_are_damaged() {
        for text in ["", "{", "\0\0\0\0", "[]", r#"{"version":1}"#] {
            let fault = read_text(text).expect_err(text).fault;
            assert!(matches!(fault, Fault::Damaged(_)), "{text}: {fault:?}");
        }
    }

    #[test]
    fn a_newer_format_is_told_whatever_else_it_holds() {
        let read = read_text(r#"{"version":2,"names":[]}"#);
        assert!(matches!(read.expect_err("newer").fault, Fault::Newer(2)));
        let read = read_text(r#"{"version":1,"name":"a"}"#).expect("read");
        assert_eq!(read.map(|read| read.name).as_deref(), Some("a"));
    }

    #[test]
    fn a_directory_and_a_file_too_long_are_not_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = read(dir.path()).expect_err("a directory");
        assert!(matches!(error.fault, Fault::NotAFile));
        let long = dir.path().join("long");
        let file = File::create(&long).expect("created");
        file.set_len(MAX_BYTES + 1).expect("sparse");
        let error = read(&long).expect_err("too long");
        assert!(matches!(error.fault, Fault::Damaged(_)));
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.expect("mkfifo").success());
        let error = read(&fifo).expect_err("a FIFO");
        assert!(matches!(error.fault, Fault::NotAFile));
    }

    #[test]
    fn nothing_that_was_set_aside_is_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        for content in ["one", "two"] {
            fs::write(&file, content).expect("written");
            let kept = set_aside(&file).expect("moved");
            assert_eq!(fs::read_to_string(kept).expect("read"), content);
        }
        assert!(!file.exists());
    }
}
