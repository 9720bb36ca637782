//! The archive of a server: a gzipped tar file. Its first entry says what it is, its last one that it
//! is whole; gzip's checksum covers all of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use tar::{EntryType, Header};

use crate::config::private_dir;
use crate::expiry::{UnixTime, rfc3339};

/// The format of an archive. One of a higher version is not read.
const VERSION: u64 = 1;
/// The entries that frame all others.
const BEGIN: &str = "wit-backup.json";
const END: &str = "wit-backup-end.json";
/// Largest of those, in bytes.
const MAX_FRAME: u64 = 64 * 1024;

/// Header of an archive.
#[derive(Debug, Serialize, Deserialize)]
struct Begin {
    version: u64,
    created_at: String,
    /// Without a database: that one is in PostgreSQL.
    repositories_only: bool,
}

/// Contents that an archive has if it is whole.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    files: u64,
    bytes: u64,
}

/// An archive that can't be used. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("not an archive of `wit up backup`")]
    Foreign,
    #[error("the archive has format {0}, which is newer than this program")]
    Newer(u64),
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    #[error("the archive holds the repositories alone")]
    RepositoriesOnly,
    #[error("the archive holds a database too")]
    WithDatabase,
}

/// An archive that is being written.
pub struct Writer<W: Write> {
    tar: tar::Builder<GzEncoder<W>>,
    counts: Counts,
    now: UnixTime,
}

impl<W: Write> Writer<W> {
    pub fn begin(out: W, repositories_only: bool, now: UnixTime) -> io::Result<Self> {
        // Nearly all of it is compressed by git already.
        let mut writer = Writer {
            tar: tar::Builder::new(GzEncoder::new(out, Compression::fast())),
            counts: Counts::default(),
            now,
        };
        let begin = Begin {
            version: VERSION,
            created_at: rfc3339(now),
            repositories_only,
        };
        writer.frame(BEGIN, &begin)?;
        Ok(writer)
    }

    /// Adds what an open file holds, as long as it is now.
    pub fn add_file(&mut self, name: &Path, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        let mut header = self.header(EntryType::Regular, metadata.mode());
        header.set_size(metadata.len());
        let mut content = Counted {
            reader: file.take(metadata.len()),
            count: 0,
        };
        self.tar.append_data(&mut header, name, &mut content)?;
        if content.count != metadata.len() {
            let why = format!("{} became shorter while it was read", name.display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        self.counts.files += 1;
        self.counts.bytes += metadata.len();
        Ok(())
    }

    pub fn add_dir(&mut self, name: &Path) -> io::Result<()> {
        let mut header = self.header(EntryType::Directory, 0o755);
        header.set_size(0);
        self.tar.append_data(&mut header, name, io::empty())
    }

    /// Writes the last entry, without which the archive is not whole.
    pub fn end(mut self) -> io::Result<W> {
        let counts = std::mem::take(&mut self.counts);
        self.frame(END, &counts)?;
        let mut out = self.tar.into_inner()?.finish()?;
        out.flush()?;
        Ok(out)
    }

    fn frame(&mut self, name: &str, document: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(document)?;
        let mut header = self.header(EntryType::Regular, 0o644);
        header.set_size(text.len() as u64);
        self.tar.append_data(&mut header, name, &*text)
    }

    fn header(&self, kind: EntryType, mode: u32) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode & 0o777);
        header.set_mtime(u64::try_from(self.now.0).unwrap_or(0));
        header
    }
}

/// Returns whether an archive begins as one of ours does, whether it is whole or not.
pub fn is_ours(archive: impl Read) -> bool {
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    let first = tar.entries().ok().and_then(|mut all| all.next()?.ok());
    first.is_some_and(|entry| entry.path().is_ok_and(|path| path == Path::new(BEGIN)))
}

struct Counted<R> {
    reader: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.count += length as u64;
        Ok(length)
    }
}

/// Unpacks an archive into a directory that is empty, and where nobody else writes. Fails unless the
/// archive is whole. `may_be` decides by the path of each file and directory.
pub fn unpack(
    archive: impl Read,
    repositories_only: bool,
    into: &Path,
    may_be: impl Fn(&Path) -> bool,
) -> anyhow::Result<()> {
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    let mut counts = Counts::default();
    let mut has_begun = false;
    let mut end = None;
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(|error| match has_begun {
            true => damaged(error),
            false => ArchiveError::Foreign,
        })?;
        let path = entry.path().map_err(damaged)?.into_owned();
        if !has_begun {
            check_begin(&path, &mut entry, repositories_only)?;
            has_begun = true;
            continue;
        }
        let refused = |why: &str| {
            let path = crate::quote::escaped(&path.to_string_lossy());
            ArchiveError::Damaged(format!("{path} {why}"))
        };
        if end.is_some() {
            return Err(refused("comes after its end").into());
        }
        if path == Path::new(END) {
            end = Some(frame::<Counts>(&mut entry)?);
            continue;
        }
        let target = below(into, &path).filter(|_| may_be(&path));
        let target = target.ok_or_else(|| refused("does not belong into one"))?;
        match entry.header().entry_type() {
            EntryType::Directory => {
                private_dir(&target).with_context(|| format!("can't make {}", target.display()))?
            }
            EntryType::Regular => {
                let mode = entry.header().mode().map_err(damaged)?;
                let size = write(&target, mode, &mut entry)?;
                counts.files += 1;
                counts.bytes += size;
            }
            _ => return Err(refused("is neither a file nor a directory").into()),
        }
    }
    // gzip's checksum comes last.
    let mut rest = tar.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(damaged)?;
    match end {
        _ if !has_begun => Err(ArchiveError::Foreign.into()),
        Some(told) if told == counts => Ok(()),
        Some(_) => Err(ArchiveError::Damaged("files are missing".to_owned()).into()),
        None => Err(ArchiveError::Damaged("its end is missing".to_owned()).into()),
    }
}

fn damaged(error: io::Error) -> ArchiveError {
    ArchiveError::Damaged(error.to_string())
}

fn check_begin(
    path: &Path,
    entry: &mut impl Read,
    repositories_only: bool,
) -> Result<(), ArchiveError> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    if path != Path::new(BEGIN) {
        return Err(ArchiveError::Foreign);
    }
    let document: serde_json::Value = frame(entry)?;
    // A newer format need not be one that we can parse.
    let version = Version::deserialize(&document).map_err(|_| ArchiveError::Foreign)?;
    if version.version > VERSION {
        return Err(ArchiveError::Newer(version.version));
    }
    let begin = Begin::deserialize(&document).map_err(|_| ArchiveError::Foreign)?;
    match (begin.repositories_only, repositories_only) {
        (true, false) => Err(ArchiveError::RepositoriesOnly),
        (false, true) => Err(ArchiveError::WithDatabase),
        _ => Ok(()),
    }
}

fn frame<T: serde::de::DeserializeOwned>(entry: &mut impl Read) -> Result<T, ArchiveError> {
    let mut text = Vec::new();
    entry
        .take(MAX_FRAME)
        .read_to_end(&mut text)
        .map_err(damaged)?;
    serde_json::from_slice(&text).map_err(|error| ArchiveError::Damaged(error.to_string()))
}

/// The place of an entry; `None` where it would be outside.
fn below(directory: &Path, path: &Path) -> Option<PathBuf> {
    let is_inside = |part: Component| matches!(part, Component::Normal(_));
    let is_inside = path.components().all(is_inside) && path.components().next().is_some();
    is_inside.then(|| directory.join(path))
}

/// Writes a new file. Through no link: what is unpacked has none, and nobody else writes there.
fn write(target: &Path, mode: u32, content: &mut impl Read) -> anyhow::Result<u64> {
    let failed = || format!("can't write {}", target.display());
    if let Some(parent) = target.parent() {
        private_dir(parent).with_context(failed)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, (mode & 0o755) | 0o400);
    let mut file = options.open(target).with_context(failed)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        // One that fails is the archive's fault, one that writes the disk's.
        let length = content.read(&mut buffer).map_err(damaged)?;
        if length == 0 {
            return Ok(size);
        }
        file.write_all(&buffer[..length]).with_context(failed)?;
        size += length as u64;
    }
}
