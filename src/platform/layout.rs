//! Layout of a data directory.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::system;

/// The SQLite database, beside which SQLite keeps two more files.
pub const DATABASE_FILE: &str = "wit.sqlite3";
/// The last port.
pub const ADDRESS_FILE: &str = "address.json";
/// Options of the last start.
pub const LAST_START_FILE: &str = "last-start.json";
/// The directory of repositories.
pub const REPOSITORIES: &str = "repositories";
/// The sign that a restore has put one of two directories in place, and not the other yet.
pub const UNFINISHED_RESTORE: &str = "restore-unfinished";
/// The copy of the database that a backup makes.
pub const SCRATCH: &str = "backup.tmp";
pub const SCRATCH_LOCK: &str = "backup.lock";

/// The file that the server locks.
pub const PID_FILE: &str = "server.pid";

/// Returns whether an entry of that name makes a directory a server's.
pub fn is_data_dir(name: &OsStr) -> bool {
    [DATABASE_FILE, PID_FILE, LAST_START_FILE]
        .iter()
        .any(|own| name == *own)
}

/// Keeps others out of a directory that `mkdir` has made for this user's server: one that is empty, or that
/// holds an entry that `is_own` knows.
pub fn keep_private(directory: &Path, is_own: impl Fn(&OsStr) -> bool) -> io::Result<()> {
    let metadata = match std::fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    let is_open = metadata.mode() & 0o077 != 0;
    if !is_open || metadata.uid() != system::own_user() {
        return Ok(());
    }
    let mut entries = std::fs::read_dir(directory)?.peekable();
    if entries.peek().is_some() && !entries.flatten().any(|entry| is_own(&entry.file_name())) {
        return Ok(());
    }
    let mode = Permissions::from_mode(metadata.mode() & 0o700);
    std::fs::set_permissions(directory, mode)
}

/// Path of a repository in the directory of all.
pub fn repository(repositories: &Path, id: Uuid) -> PathBuf {
    repositories.join(format!("{id}.git"))
}

/// The id of the repository whose directory has that name.
pub fn repository_id(name: &OsStr) -> Option<Uuid> {
    let id = name.to_str()?.strip_suffix(".git")?;
    // In one form only.
    (id.parse().ok()).filter(|parsed: &Uuid| parsed.to_string() == id)
}

/// The repositories that have a directory.
pub fn repositories(directory: &Path) -> io::Result<Vec<Uuid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        found.extend(repository_id(&entry?.file_name()));
    }
    Ok(found)
}

/// Prefixes of git's directories of objects that it has not accepted yet: today, and before 2.33.
pub const INCOMING: [&str; 2] = ["tmp_objdir-", "incoming-"];

/// Returns whether a file in a repository is a lock of git's. No ref's name ends like that
/// (git-check-ref-format(1)).
pub fn is_lock(name: &OsStr) -> bool {
    name.as_encoded_bytes().ends_with(b".lock")
}

/// Returns whether a file or a directory among the objects is one that a git is still writing.
pub fn is_unfinished(name: &OsStr) -> bool {
    let begins = |begin: &str| name.as_encoded_bytes().starts_with(begin.as_bytes());
    INCOMING.into_iter().any(begins) || begins("tmp_") || begins(".tmp-")
}

/// Returns whether a file among the objects only repeats what is in others, which may be gone.
pub fn is_cache(path: &Path) -> bool {
    path.components().any(|part| {
        let name = part.as_os_str().as_encoded_bytes();
        name.starts_with(b"multi-pack-index") || name.starts_with(b"commit-graph")
    })
}
