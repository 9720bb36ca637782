//! A backup of a server, beside the server at work.
//!
//! The order is what makes it consistent. Of each repository the refs come first and the objects
//! after them: an object is there before a ref names it. The database comes after the repositories, so
//! that what was revoked meanwhile is revoked in the backup; a repository that it knows and that has
//! been created since is copied last.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use uuid::Uuid;

use super::archive::Writer;
use super::git::fsck;
use super::layout::{self, ADDRESS_FILE, DATABASE_FILE, REPOSITORIES};
use crate::config::{open_or_create, private_dir};
use crate::database::Database;
use crate::expiry::UnixTime;
use crate::files::named;

/// Most tries to list the objects of a repository while others repack them.
const MAX_LISTINGS: usize = 50;

/// Data of a server, by its places.
#[derive(Debug)]
pub struct Source {
    pub data_dir: PathBuf,
    pub repositories: PathBuf,
    /// Its database is in PostgreSQL, and is not copied.
    pub repositories_only: bool,
}

/// Contents of a backup.
#[derive(Debug, Default)]
pub struct Summary {
    pub repositories: usize,
    /// Repositories that the database knows and that have no directory; the backup has neither.
    pub left_out: Vec<Uuid>,
    /// Repositories that are in the backup as they are: damaged. With what git says.
    pub damaged: Vec<(Uuid, String)>,
}

impl Summary {
    /// Returns whether the backup has all that the server is to have.
    pub fn is_whole(&self) -> bool {
        self.left_out.is_empty() && self.damaged.is_empty()
    }
}

/// Another backup of the same server is under way.
#[derive(Debug, thiserror::Error)]
#[error("another backup of this server is under way")]
pub struct AnotherBackup;

/// Writes an archive of the server.
pub async fn write<W: Write>(
    source: &Source,
    out: W,
    now: UnixTime,
) -> anyhow::Result<(Summary, W)> {
    let mut writer = Writer::begin(out, source.repositories_only, now)?;
    writer.add_dir(Path::new(REPOSITORIES))?;
    let mut copied = HashSet::new();
    if source.repositories_only {
        // The dump of the database is older: it names no repository that is not in the directory.
        for id in layout::repositories(&source.repositories)? {
            copy_repository(&mut writer, &source.repositories, id, &mut copied)?;
        }
        let summary = Summary {
            repositories: copied.len(),
            left_out: Vec::new(),
            damaged: damaged(&source.repositories, &copied).await?,
        };
        return Ok((summary, writer.end()?));
    }
    let scratch = Scratch::take(&source.data_dir)?;
    let file = super::sqlite_file(&source.data_dir);
    let database = Database::connect_sqlite(&file).await;
    let database = database.with_context(|| format!("can't open {}", file.display()))?;
    let before = database.all_repositories().await?;
    for (id, _) in &before {
        copy_repository(&mut writer, &source.repositories, *id, &mut copied)?;
    }
    let file = scratch.directory.join(DATABASE_FILE);
    crate::config::touch_private(&file)?;
    database
        .copy_to(&file)
        .await
        .context("can't copy the database")?;
    database.close().await;
    // Has the tables of this version, whatever version the server has.
    Database::open_sqlite(&file).await?.close().await;
    let copy = Database::connect_sqlite(&file).await?;
    let mut left_out = Vec::new();
    let mut to_hide = Vec::new();
    let were_private: HashSet<Uuid> = (before.into_iter())
        .filter_map(|(id, private)| private.then_some(id))
        .collect();
    for (id, private) in copy.all_repositories().await? {
        copy_repository(&mut writer, &source.repositories, id, &mut copied)?;
        if !copied.contains(&id) {
            left_out.push(id);
        }
        // What it held while it was private may have been removed before it was published.
        if !private && were_private.contains(&id) {
            to_hide.push(id);
        }
    }
    copy.forget_repositories(&left_out).await?;
    copy.hide_repositories(&to_hide).await?;
    copy.end_all_sessions().await?;
    copy.close().await;
    writer.add_file(Path::new(DATABASE_FILE), &File::open(&file)?)?;
    if let Some(address) = open(&source.data_dir.join(ADDRESS_FILE))? {
        writer.add_file(Path::new(ADDRESS_FILE), &address)?;
    }
    let summary = Summary {
        repositories: copied.len(),
        left_out,
        damaged: damaged(&source.repositories, &copied).await?,
    };
    Ok((summary, writer.end()?))
}

/// The repositories of which something that a ref leads to is missing. They are looked at where they
/// are: what is there after the copying was there before it, or is newer.
async fn damaged(repositories: &Path, ids: &HashSet<Uuid>) -> anyhow::Result<Vec<(Uuid, String)>> {
    let mut damaged = Vec::new();
    for id in ids {
        let root = layout::repository(repositories, *id);
        // One that was deleted meanwhile is not at fault.
        if let Some(what) = fsck::missing(&root).await?
            && root.is_dir()
        {
            damaged.push((*id, what));
        }
    }
    damaged.sort();
    Ok(damaged)
}

/// Path of the copy of the database until it is in the archive. It is removed at the end; what a
/// killed backup left there is removed by the next.
struct Scratch {
    directory: PathBuf,
    _lock: File,
}

impl Scratch {
    fn take(data_dir: &Path) -> anyhow::Result<Self> {
        let directory = data_dir.join(layout::SCRATCH);
        private_dir(&directory).with_context(|| format!("can't make {}", directory.display()))?;
        let mut options = fs::OpenOptions::new();
        options.write(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = open_or_create(&data_dir.join(layout::SCRATCH_LOCK), &options)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(AnotherBackup.into()),
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        for entry in fs::read_dir(&directory)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(Scratch {
            directory,
            _lock: lock,
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Copies a repository, unless it is copied already. One that is not there is passed over.
fn copy_repository<W: Write>(
    writer: &mut Writer<W>,
    repositories: &Path,
    id: Uuid,
    copied: &mut HashSet<Uuid>,
) -> io::Result<()> {
    let root = layout::repository(repositories, id);
    if copied.contains(&id) || !root.is_dir() {
        return Ok(());
    }
    let mut copy = Copy {
        writer,
        name: layout::repository(Path::new(REPOSITORIES), id),
        root,
    };
    copy.refs_and_settings()?;
    copy.objects()?;
    copied.insert(id);
    Ok(())
}

struct Copy<'a, W: Write> {
    writer: &'a mut Writer<W>,
    /// In the archive.
    name: PathBuf,
    root: PathBuf,
}

impl<W: Write> Copy<'_, W> {
    /// All but the objects. Loose refs before `packed-refs`, in the order in which git looks: a ref
    /// that has just been packed is in the latter.
    fn refs_and_settings(&mut self) -> io::Result<()> {
        for directory in [
            "refs",
            "refs/heads",
            "refs/tags",
            "objects/pack",
            "objects/info",
        ] {
            let name = self.name.join(directory);
            self.writer.add_dir(&name)?;
        }
        for file in self.list("refs")? {
            self.file(&file)?;
        }
        let mut rest = Vec::new();
        for entry in read_dir(&self.root)? {
            let name = entry.file_name();
            match entry.file_type()? {
                kind if kind.is_dir() && name != "refs" && name != "objects" => {
                    rest.extend(self.list(&name)?);
                }
                // The sign of a maintenance that is under way here, not there.
                kind if kind.is_file() && !layout::is_lock(&name) && name != "gc.pid" => {
                    rest.push(PathBuf::from(name));
                }
                _ => {}
            }
        }
        for file in rest {
            self.file(&file)?;
        }
        Ok(())
    }

    /// All objects. Where others repack them meanwhile, objects move to another pack, which a listing
    /// can miss: hence at least two, and another one after each from which a file was gone.
    fn objects(&mut self) -> io::Result<()> {
        let mut copied = HashSet::new();
        for number in 1..=MAX_LISTINGS {
            let mut all_were_there = true;
            let mut listed = self.list("objects")?;
            listed.retain(|file| !layout::is_cache(file) && !is_unfinished(file));
            // A pack before its index: an index alone is of no use.
            listed.sort_by_key(|file| file.extension().is_none_or(|end| end != "pack"));
            for file in listed {
                if copied.contains(&file) {
                    continue;
                }
                match self.file(&file)? {
                    true => drop(copied.insert(file)),
                    false => all_were_there = false,
                }
            }
            if all_were_there && number > 1 {
                return Ok(());
            }
        }
        let why = format!("{} is repacked all the time", self.root.display());
        Err(io::Error::other(why))
    }

    /// The regular files in a directory and below it.
    fn list(&self, directory: impl AsRef<Path>) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut open = vec![directory.as_ref().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in read_dir(&self.root.join(&directory))? {
                let name = entry.file_name();
                let path = directory.join(&name);
                match entry.file_type()? {
                    _ if layout::is_lock(&name) => {}
                    kind if kind.is_dir() => open.push(path),
                    kind if kind.is_file() => files.push(path),
                    _ => {}
                }
            }
        }
        Ok(files)
    }

    /// Copies a file; `false` where it is gone.
    fn file(&mut self, path: &Path) -> io::Result<bool> {
        match open(&self.root.join(path))? {
            Some(file) => {
                let name = self.name.join(path);
                self.writer.add_file(&name, &file)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

fn is_unfinished(file: &Path) -> bool {
    file.iter().any(layout::is_unfinished)
}

/// `None` where there is no such file.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(path)(error)),
    }
}

/// The entries of a directory; none where it is gone.
fn read_dir(path: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(path) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(named(path)(error)),
    }
}
