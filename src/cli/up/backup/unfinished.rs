//! The file that an archive is until it is whole. A backup that is killed leaves it, with all that is
//! private; the next one to the same file removes it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::config;

/// Longest part of the archive's name that is in the name of the unfinished one, in characters: at most
/// four bytes each, of the 255 that a name has.
const MAX_NAME: usize = 60;
/// Characters that `tempfile` adds.
const RANDOM: usize = 6;

/// Creates the file beside the archive, and removes those that killed backups to the same archive left.
pub fn create(archive: &Path) -> io::Result<NamedTempFile> {
    let directory = archive.parent().unwrap_or(Path::new("/"));
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().take(MAX_NAME).collect();
    let prefix = format!(".tmp-{name}-");
    remove_left(directory, &prefix);
    loop {
        let file = config::temporary_named(directory, &prefix)?;
        // Where files can't be locked, nothing takes this one for one that was left.
        let _ = file.as_file().try_lock();
        // Before it was locked, another backup may have taken it for one.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// Failing at that is no failure of the backup.
fn remove_left(directory: &Path, prefix: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.to_string_lossy();
        let random = random.strip_prefix(prefix).map(str::len);
        if random != Some(RANDOM) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        // One that is being written is locked.
        if File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
