//! What pushes that were killed have left on the disk.

use std::path::Path;
use std::time::{Duration, SystemTime};

/// How old leftovers must be where other servers may have pushes under way: older than any push.
const SHARED_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// What git calls the directory of a push whose objects are not accepted yet; the second since 2.35.
const QUARANTINES: [&str; 2] = ["incoming-", "tmp_objdir-incoming-"];

/// Removes the quarantined objects of pushes that began before now and did not end. `is_shared` says
/// that other servers may use the same repositories. Logs what fails.
pub fn remove(repositories: &Path, is_shared: bool) {
    let now = SystemTime::now();
    let before = match is_shared {
        true => now
            .checked_sub(SHARED_AGE)
            .unwrap_or(SystemTime::UNIX_EPOCH),
        false => now,
    };
    let Ok(all) = repositories.read_dir() else {
        return;
    };
    for repository in all.flatten() {
        let Ok(objects) = repository.path().join("objects").read_dir() else {
            continue;
        };
        for one in objects.flatten() {
            let name = one.file_name();
            let is_quarantine =
                (name.to_str()).is_some_and(|name| QUARANTINES.iter().any(|q| name.starts_with(q)));
            let is_old = || {
                let metadata = one.metadata()?;
                Ok::<_, std::io::Error>(metadata.is_dir() && metadata.modified()? < before)
            };
            if !is_quarantine || !is_old().unwrap_or(false) {
                continue;
            }
            let path = one.path();
            match std::fs::remove_dir_all(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed what a push left"),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "can't remove what a push left");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_ones_go_where_others_may_push() {
        let dir = tempfile::tempdir().expect("a directory");
        let objects = dir.path().join("a/objects");
        let (old, new) = (
            objects.join("tmp_objdir-incoming-1"),
            objects.join("incoming-2"),
        );
        let others = [objects.join("pack"), objects.join("ab")];
        for path in [&old, &new].into_iter().chain(&others) {
            std::fs::create_dir_all(path).expect("made");
        }
        let two_days_ago = SystemTime::now() - 2 * SHARED_AGE;
        for path in [&old, &others[0]] {
            let file = std::fs::File::open(path).expect("open");
            file.set_modified(two_days_ago).expect("set");
        }
        remove(dir.path(), true);
        assert!(!old.exists() && new.exists());
        remove(dir.path(), false);
        assert!(!new.exists() && others.iter().all(|path| path.exists()));
    }
}
