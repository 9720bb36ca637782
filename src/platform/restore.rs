//! A server out of its backup: unpacked beside its place, checked, and only then put there.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;

use super::archive::{ArchiveError, unpack};
use super::instance::Instance;
use super::last_start::{self, LastStart};
use super::layout::{self, ADDRESS_FILE, DATABASE_FILE, REPOSITORIES, UNFINISHED_RESTORE};
use crate::config::{private_dir, touch_private};
use crate::database::{Database, DatabaseError};
use crate::files::free_name;
use crate::system::sync_dir;

/// Places that a server is restored to.
#[derive(Debug)]
pub struct Target {
    pub data_dir: PathBuf,
    /// `None` for the data directory.
    pub repositories: Option<PathBuf>,
    /// The archive has no database, and none is written.
    pub repositories_only: bool,
    /// Puts what is there aside.
    pub force: bool,
}

/// Report of a restore.
#[derive(Debug)]
pub struct Restored {
    pub repositories: usize,
    /// Directories that were there before, under their new names.
    pub aside: Vec<PathBuf>,
}

/// Why there is no room for a server.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    #[error("a server uses the repositories in {}", .0.display())]
    InUse(PathBuf),
}

/// Unpacks an archive and puts it in place. Until then nothing is changed, whatever happens.
pub async fn restore(target: &Target, archive: impl Read) -> anyhow::Result<Restored> {
    let last = LastStart::read(&target.data_dir)?;
    let separate = match (&target.repositories, target.repositories_only) {
        (Some(directory), _) => Some(directory.clone()),
        (None, true) => Some(last_start::repositories(&target.data_dir, None)?),
        (None, false) => None,
    };
    let mut places = Vec::new();
    if let Some(directory) = &separate {
        places.push(Place::new(directory, target.force)?);
    }
    let _instance = match target.repositories_only {
        true => None,
        false => {
            let place = Place::new(&target.data_dir, target.force)?;
            // Nobody starts a server on what is about to be put aside.
            let held = (place.is_taken).then(|| Instance::start(&place.path));
            places.push(place);
            held.transpose()?
        }
    };
    let main = &places[places.len() - 1];
    let staging = main.staging()?;
    let unpacked = staging.path().join("unpacked");
    private_dir(&unpacked)?;
    unpack(archive, target.repositories_only, &unpacked, may_be)?;
    let repositories = unpacked.join(REPOSITORIES);
    if !target.repositories_only {
        check(&unpacked).await?;
    }
    let count = layout::repositories(&repositories)?.len();
    let mut aside = Vec::new();
    if !target.repositories_only && (separate.is_some() || last != LastStart::default()) {
        // A server that nobody may sign up on is no other once it is restored.
        let usual = target.data_dir.join(REPOSITORIES);
        let directory = separate.as_deref().unwrap_or(&usual);
        let postgres = false;
        LastStart { postgres, ..last }
            .with_repositories(&target.data_dir, directory)
            .remember(&unpacked)?;
    }
    if target.repositories_only {
        sync(&repositories)?;
        aside.extend(main.put(&repositories)?);
    } else if let [other, main] = &places[..] {
        // It may be on another file system.
        let beside = other.staging()?;
        let moved = beside.path().join("unpacked");
        move_directory(&repositories, &moved)?;
        sync(&moved)?;
        sync(&unpacked)?;
        aside.extend(put_both(other, &moved, main, &unpacked)?);
    } else {
        sync(&unpacked)?;
        aside.extend(main.put(&unpacked)?);
    }
    Ok(Restored {
        repositories: count,
        aside,
    })
}

/// Puts the repositories and the data directory in their places, both or neither; where what was there
/// is now. Killed in between it leaves a sign: nothing is to be started on two that do not belong
/// together.
fn put_both(
    other: &Place,
    repositories: &Path,
    main: &Place,
    unpacked: &Path,
) -> anyhow::Result<Vec<PathBuf>> {
    let sign = main.path.join(UNFINISHED_RESTORE);
    // One of an earlier restore is true still, should this one fail.
    let is_signed = sign.exists();
    if main.is_taken {
        touch_private(&sign).with_context(|| sign.display().to_string())?;
        sync_dir(&main.path)?;
    }
    let put = other.put(repositories).and_then(|first| {
        let second = main.put(unpacked);
        if second.is_err() {
            let back = other.put_back(first.as_deref(), repositories);
            back.with_context(|| format!("can't put {} back", other.path.display()))?;
        }
        Ok((first, second?))
    });
    match put {
        Ok((first, second)) => {
            if let Some(replaced) = &second {
                let _ = fs::remove_file(replaced.join(UNFINISHED_RESTORE));
            }
            Ok(first.into_iter().chain(second).collect())
        }
        Err(error) => {
            // What was there is in its place, as it was.
            if !is_signed && repositories.exists() {
                let _ = fs::remove_file(&sign);
            }
            Err(error)
        }
    }
}

/// Returns whether a path can be in an archive of ours.
fn may_be(path: &Path) -> bool {
    let parts: Vec<&OsStr> = path.components().map(Component::as_os_str).collect();
    match parts[..] {
        [only] => [DATABASE_FILE, ADDRESS_FILE, REPOSITORIES].contains(&&*only.to_string_lossy()),
        [first, name, ..] => first == REPOSITORIES && layout::repository_id(name).is_some(),
        [] => false,
    }
}

/// Refuses what a server could not work on. Sessions of the backup's time are ended: one that was
/// stolen, or ended since, is not to come back.
async fn check(unpacked: &Path) -> anyhow::Result<()> {
    let damaged = |why: String| ArchiveError::Damaged(why);
    let file = unpacked.join(DATABASE_FILE);
    if !file.is_file() {
        return Err(damaged("it has no database".to_owned()).into());
    }
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    // A disk that is full says nothing about the archive.
    let failed = |error: DatabaseError| match error.is_of_disk() {
        true => anyhow::Error::new(error).context(format!("can't write {}", file.display())),
        false => damaged(format!("its database: {error}")).into(),
    };
    let database = Database::open_sqlite(&file).await.map_err(failed)?;
    let faults = database.faults().await.map_err(failed)?;
    if let Some(fault) = faults.first() {
        return Err(damaged(format!("its database: {fault}")).into());
    }
    database.end_all_sessions().await?;
    let known = database.all_repositories().await?;
    database.close().await;
    let repositories = unpacked.join(REPOSITORIES);
    private_dir(&repositories)?;
    let known: HashSet<_> = known.into_iter().map(|(id, _)| id).collect();
    for id in layout::repositories(&repositories)? {
        if !known.contains(&id) {
            // Deleted while the backup was made.
            fs::remove_dir_all(layout::repository(&repositories, id))?;
        }
    }
    for id in known {
        if !layout::repository(&repositories, id).is_dir() {
            return Err(damaged(format!("the repository {id} is missing")).into());
        }
    }
    Ok(())
}

/// A directory that is about to be replaced.
struct Place {
    path: PathBuf,
    is_taken: bool,
    _lock: Option<File>,
}

impl Place {
    fn new(path: &Path, force: bool) -> anyhow::Result<Self> {
        let path = match path.canonicalize() {
            Ok(path) => path,
            Err(_) => path.to_owned(),
        };
        let is_taken = match fs::read_dir(&path) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        if is_taken && !force {
            return Err(TargetError::NotEmpty(path).into());
        }
        // Servers hold a shared lock on their directory of repositories.
        let lock = match is_taken {
            true => Some(File::open(&path)?),
            false => None,
        };
        let is_used = |lock: &File| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock));
        if lock.as_ref().is_some_and(is_used) {
            return Err(TargetError::InUse(path).into());
        }
        Ok(Place {
            path,
            is_taken,
            _lock: lock,
        })
    }

    /// A directory beside it, on the same file system, that is removed at the end. Those of restores that
    /// were killed are removed now.
    fn staging(&self) -> anyhow::Result<Staging> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        private_dir(parent).with_context(|| format!("can't make {}", parent.display()))?;
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(STAGING) {
                let path = entry.path();
                // One that is at work holds its lock.
                if File::open(&path).is_ok_and(|lock| lock.try_lock().is_ok()) {
                    let _ = fs::remove_dir_all(path);
                }
            }
        }
        let made = || -> io::Result<Staging> {
            let dir = tempfile::Builder::new()
                .prefix(STAGING)
                .tempdir_in(parent)?;
            let lock = File::open(dir.path())?;
            lock.lock()?;
            Ok(Staging { dir, _lock: lock })
        };
        made().with_context(|| format!("can't write into {}", parent.display()))
    }

    /// Puts a directory in the place, and what was there aside; where that is now.
    fn put(&self, new: &Path) -> anyhow::Result<Option<PathBuf>> {
        let failed = || format!("can't replace {}", self.path.display());
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        if !self.is_taken {
            // Fails where something has been put there meanwhile.
            fs::rename(new, &self.path).with_context(failed)?;
            sync_dir(parent)?;
            return Ok(None);
        }
        let aside = free_name(&self.path);
        // At no moment is what was there under a name that anybody removes.
        fs::rename(new, &aside).with_context(failed)?;
        if let Err(error) = exchange(&aside, &self.path) {
            let _ = fs::rename(&aside, new);
            return Err(error).with_context(failed);
        }
        sync_dir(parent)?;
        Ok(Some(aside))
    }

    /// Undoes [`Place::put`], which returned `aside`.
    fn put_back(&self, aside: Option<&Path>, new: &Path) -> io::Result<()> {
        match aside {
            Some(aside) => {
                exchange(aside, &self.path)?;
                fs::rename(aside, new)?;
            }
            None => fs::rename(&self.path, new)?,
        }
        sync_dir(self.path.parent().unwrap_or(Path::new("/")))
    }
}

/// Beginning of the names of [`Staging`] directories.
const STAGING: &str = ".wit-restore-";

/// A directory of a restore at work.
struct Staging {
    dir: tempfile::TempDir,
    _lock: File,
}

impl Staging {
    fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Exchanges two directories. On Linux there is no moment in which one of them is missing.
#[cfg(target_os = "linux")]
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    let between = free_name(new);
    fs::rename(old, &between)?;
    fs::rename(new, old)?;
    fs::rename(between, new)
}

/// Has the disk hold all that was unpacked, before anything is put aside for it.
fn sync(directory: &Path) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(File::open(directory)?).context("can't write to the disk")?;
    #[cfg(not(target_os = "linux"))]
    let _ = directory;
    Ok(())
}

/// Moves a directory, by copying where that is to another file system.
fn move_directory(from: &Path, to: &Path) -> anyhow::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        moved => return Ok(moved?),
    }
    private_dir(to)?;
    let mut open = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = open.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let to = to.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => {
                    private_dir(&to)?;
                    open.push((entry.path(), to));
                }
                false => drop(fs::copy(entry.path(), to)?),
            }
        }
    }
    Ok(fs::remove_dir_all(from)?)
}
