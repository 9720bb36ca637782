//! Check of a server's data, beside the server at work. Nothing is changed.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use uuid::Uuid;

use super::git::{fsck, leftovers};

use super::layout::{self, ADDRESS_FILE, DATABASE_FILE, LAST_START_FILE, SCRATCH};
use super::sqlite_file;
use crate::database::{Database, DatabaseError};

/// From what age on a directory without a row is no repository that is just being created.
const ABANDONED: Duration = Duration::from_secs(10 * 60);

/// Files of a data directory that nobody else may read.
const PRIVATE_FILES: [&str; 9] = [
    DATABASE_FILE,
    "wit.sqlite3-wal",
    "wit.sqlite3-shm",
    ADDRESS_FILE,
    LAST_START_FILE,
    "server.pid",
    "server.log",
    "server.log.1",
    "first-password",
];

/// Something that is wrong.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub kind: Kind,
    pub path: PathBuf,
    /// One sentence.
    pub what: String,
}

/// The kinds of what can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The database is damaged, or a row refers to none.
    Database,
    /// git finds something wrong with a repository.
    Repository,
    /// The database has a repository that is not on the disk.
    MissingDirectory,
    /// Nothing in the database refers to it.
    Unreferenced,
    /// A git or a command that was killed has left it.
    Leftover,
    /// Others can read or change it, or it belongs to another user.
    Permissions,
}

/// Places of the data that is checked.
#[derive(Debug)]
pub struct Subject<'a> {
    pub data_dir: &'a Path,
    pub repositories: &'a Path,
    /// `None` where it is too damaged to be opened.
    pub database: Option<&'a Database>,
    /// True if its file is looked at, as that of SQLite.
    pub is_sqlite: bool,
    /// Leaves the objects of repositories alone.
    pub quick: bool,
}

/// Looks at everything; how many repositories there are, and what is wrong.
pub async fn check(subject: &Subject<'_>) -> anyhow::Result<(usize, Vec<Finding>)> {
    let mut findings = Vec::new();
    permissions(subject, &mut findings);
    let count = match in_database(subject, &mut findings).await {
        Ok(count) => count,
        Err(error) => {
            if !subject.is_sqlite {
                return Err(error.into());
            }
            findings.push(damage(&sqlite_file(subject.data_dir), error)?);
            None
        }
    };
    left_behind(subject, &mut findings);
    if !subject.quick {
        for id in layout::repositories(subject.repositories).unwrap_or_default() {
            let path = layout::repository(subject.repositories, id);
            if let Some(what) = fsck::fault(&path).await? {
                // One that was deleted meanwhile is not at fault.
                if path.is_dir() {
                    findings.push(Finding {
                        kind: Kind::Repository,
                        path,
                        what,
                    });
                }
            }
        }
    }
    let count = match count {
        Some(count) => count,
        None => layout::repositories(subject.repositories).map_or(0, |all| all.len()),
    };
    Ok((count, findings))
}

/// Looks at the database; how many repositories it has.
async fn in_database(
    subject: &Subject<'_>,
    findings: &mut Vec<Finding>,
) -> Result<Option<usize>, DatabaseError> {
    let Some(database) = subject.database else {
        return Ok(None);
    };
    if subject.is_sqlite {
        let path = sqlite_file(subject.data_dir);
        findings.extend(database.faults().await?.into_iter().map(|what| Finding {
            kind: Kind::Database,
            path: path.clone(),
            what,
        }));
    }
    let count = rows_and_directories(subject, database, findings).await?;
    Ok(Some(count))
}

/// An error of SQLite's as a finding, unless it says nothing about the database.
pub fn damage(file: &Path, error: DatabaseError) -> Result<Finding, DatabaseError> {
    match error {
        DatabaseError::Failed(cause) => Ok(Finding {
            kind: Kind::Database,
            path: file.to_owned(),
            what: format!("it can't be read: {cause}"),
        }),
        other => Err(other),
    }
}

async fn rows_and_directories(
    subject: &Subject<'_>,
    database: &Database,
    findings: &mut Vec<Finding>,
) -> Result<usize, DatabaseError> {
    let ids = async || -> Result<HashSet<Uuid>, DatabaseError> {
        let all = database.all_repositories().await?;
        Ok(all.into_iter().map(|(id, _)| id).collect())
    };
    let known = ids().await?;
    let is_missing = |id: &Uuid| !layout::repository(subject.repositories, *id).is_dir();
    let mut missing: Vec<Uuid> = known.iter().copied().filter(is_missing).collect();
    if !missing.is_empty() {
        // Deleted meanwhile: the row goes first, then the directory.
        let still = ids().await?;
        missing.retain(|id| still.contains(id));
    }
    missing.sort();
    findings.extend(missing.into_iter().map(|id| Finding {
        kind: Kind::MissingDirectory,
        path: layout::repository(subject.repositories, id),
        what: "the repository is in the database, and its directory is missing".to_owned(),
    }));
    for entry in entries(subject.repositories) {
        let id = layout::repository_id(&entry.file_name());
        if id.is_some_and(|id| known.contains(&id)) {
            continue;
        }
        // One that is being created has its directory first, then its row.
        if id.is_none() || is_older(&entry.path(), ABANDONED) {
            findings.push(Finding {
                kind: Kind::Unreferenced,
                path: entry.path(),
                what: match id {
                    Some(_) => "no repository in the database has this directory",
                    None => "it does not belong to the server",
                }
                .to_owned(),
            });
        }
    }
    Ok(known.len())
}

fn left_behind(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let mut found = leftovers::abandoned(subject.repositories);
    let begins = |entry: &fs::DirEntry, begin: &str| {
        entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(begin.as_bytes())
    };
    let beside = subject.data_dir.parent().map(entries).unwrap_or_default();
    let beside = (beside.into_iter()).filter(|entry| begins(entry, ".wit-restore-"));
    let inside = entries(subject.data_dir).into_iter();
    let inside = inside.filter(|entry| begins(entry, ".tmp-") || entry.file_name() == SCRATCH);
    let old = |path: &PathBuf| is_older(path, ABANDONED);
    found.extend(beside.chain(inside).map(|entry| entry.path()).filter(old));
    findings.extend(found.into_iter().map(|path| Finding {
        kind: Kind::Leftover,
        path,
        what: "a process that was killed has left it".to_owned(),
    }));
}

fn permissions(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let mut places = vec![subject.data_dir.to_owned(), subject.repositories.to_owned()];
    places.extend(PRIVATE_FILES.map(|name| subject.data_dir.join(name)));
    let owner = fs::metadata(subject.data_dir).map(|data| data.uid()).ok();
    // What it holds is behind the directories above it.
    let below = (entries(subject.repositories).into_iter()).map(|entry| (entry.path(), 0o022));
    let places = places.into_iter().map(|place| (place, 0o077));
    for (path, forbidden) in places.chain(below) {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let mode = metadata.mode() & 0o777;
        let what = if owner.is_some_and(|owner| owner != metadata.uid()) {
            format!(
                "it belongs to user {}, and the data directory to another",
                metadata.uid()
            )
        } else if mode & forbidden != 0 && !metadata.is_symlink() {
            format!("others can get at it: its mode is {mode:o}")
        } else {
            continue;
        };
        findings.push(Finding {
            kind: Kind::Permissions,
            path,
            what,
        });
    }
}

fn entries(directory: &Path) -> Vec<fs::DirEntry> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut sorted: Vec<fs::DirEntry> = entries.collect();
    sorted.sort_by_key(fs::DirEntry::file_name);
    sorted
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| {
        (SystemTime::now().duration_since(modified)).is_ok_and(|old| old >= age)
    })
}
