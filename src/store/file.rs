//! The `file` store: one age-encrypted file per site, and the identity that opens them beside it.
//!
//! The encrypted text is a line with the site and then the item, so that the list of sites needs no
//! index and a file under another's name is found out. `age -d -i identity.txt FILE` reads it, under
//! a passphrase too.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use age::x25519::{Identity, Recipient};
use zeroize::Zeroizing;

use self::identity::IdentityFile;
use super::lock::name_of;
use super::{Store, StoreError, StoreKind};
use crate::config::{self, Paths};
use crate::credential::Site;
use crate::item::ItemError;
use crate::secret::Secret;
use crate::system;

pub mod identity;

const ENDING: &str = ".age";

/// Encrypted files below one directory.
#[derive(Debug)]
pub struct FileStore {
    dir: PathBuf,
    identity: IdentityFile,
}

impl FileStore {
    /// Touches nothing: the directory and the identity are made by the first write.
    pub fn new(paths: &Paths) -> Self {
        FileStore {
            dir: paths.store_dir(),
            identity: IdentityFile::new(paths),
        }
    }

    fn path_of(&self, site: &Site) -> PathBuf {
        self.dir.join(name_of(site) + ENDING)
    }

    /// The identity without which nothing that is stored can be read.
    fn needed_identity(&self) -> Result<Identity, StoreError> {
        self.identity.open()?.ok_or_else(|| self.identity.missing())
    }

    /// The identity, made where there is none. Of several processes at once one makes it.
    fn identity_for_writing(&self) -> Result<Identity, StoreError> {
        if let Some(identity) = self.identity.open()? {
            return Ok(identity);
        }
        if self.files()?.next().is_some() {
            // A new identity would make what lies here look damaged. Unless another process has
            // just made both.
            return self.needed_identity();
        }
        self.identity.make()
    }

    /// The encrypted files; none where there is no directory.
    fn files(&self) -> Result<impl Iterator<Item = PathBuf> + use<>, StoreError> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error("can't list", &self.dir, error)),
        };
        Ok(entries
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().ends_with(ENDING)))
    }

    fn sync_dir(&self) -> Result<(), StoreError> {
        system::sync_dir(&self.dir).map_err(|error| io_error("can't write", &self.dir, error))
    }
}

impl Store for FileStore {
    fn name(&self) -> &'static str {
        StoreKind::File.name()
    }

    fn location(&self) -> String {
        format!("encrypted files in {}", self.dir.display())
    }

    fn read(&self, site: &Site) -> Result<Option<Secret>, StoreError> {
        let path = self.path_of(site);
        let encrypted = match fs::read(&path) {
            Ok(encrypted) => encrypted,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("can't read", &path, error)),
        };
        let not_ours = |error| StoreError::Item {
            site: site.clone(),
            error,
        };
        let plain = open_age(&self.needed_identity()?, &encrypted)
            .ok_or_else(|| not_ours(ItemError::Damaged))?;
        let (stored, item) = split(&plain).ok_or_else(|| not_ours(ItemError::Damaged))?;
        if stored != *site {
            return Err(not_ours(ItemError::OtherSite));
        }
        Ok(Some(Secret::new(item.to_vec())))
    }

    fn write(&self, site: &Site, item: &Secret) -> Result<(), StoreError> {
        let path = self.path_of(site);
        let recipient = self.identity_for_writing()?.to_public();
        encrypt(&recipient, site, item)
            .and_then(|encrypted| config::write_private(&path, &encrypted))
            .map_err(|error| io_error("can't write", &path, error))?;
        config::remove_abandoned(&self.dir);
        Ok(())
    }

    fn delete(&self, site: &Site) -> Result<(), StoreError> {
        let path = self.path_of(site);
        match fs::remove_file(&path) {
            Ok(()) => self.sync_dir(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error("can't remove", &path, error)),
        }
    }

    /// A file that can't be decrypted has no known site and is left out.
    fn sites(&self) -> Result<Vec<Site>, StoreError> {
        let mut files = self.files()?.peekable();
        if files.peek().is_none() {
            return Ok(Vec::new());
        }
        let identity = self.needed_identity()?;
        let mut sites = Vec::new();
        for path in files {
            let encrypted = match fs::read(&path) {
                Ok(encrypted) => encrypted,
                // Erased by another process meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io_error("can't read", &path, error)),
            };
            sites.extend(
                open_age(&identity, &encrypted).and_then(|plain| split(&plain).map(|(s, _)| s)),
            );
        }
        Ok(sites)
    }

    fn set_aside(&self, site: &Site) -> Result<String, StoreError> {
        let path = self.path_of(site);
        // The caller holds the site's lock, so that no name is taken between the look and the use.
        let aside = (1..)
            .map(|n| self.dir.join(format!("{}.damaged-{n}", name_of(site))))
            .find(|aside| !aside.exists())
            .unwrap_or_else(|| path.with_extension("damaged"));
        fs::rename(&path, &aside).map_err(|error| io_error("can't rename", &path, error))?;
        self.sync_dir()?;
        Ok(aside.display().to_string())
    }
}

/// The site's line and the item, for `recipient`.
fn encrypt(recipient: &Recipient, site: &Site, item: &Secret) -> io::Result<Vec<u8>> {
    let encryptor =
        age::Encryptor::with_recipients(std::iter::once(recipient as &dyn age::Recipient))
            .map_err(io::Error::other)?;
    let mut encrypted = Vec::with_capacity(item.len() + 512);
    let mut writer = encryptor.wrap_output(&mut encrypted)?;
    writeln!(writer, "{site}")?;
    writer.write_all(item.expose())?;
    writer.finish()?;
    Ok(encrypted)
}

/// `None` for whatever is no whole age file for this identity.
fn open_age(identity: &dyn age::Identity, encrypted: &[u8]) -> Option<Secret> {
    let decryptor = age::Decryptor::new(encrypted).ok()?;
    let mut reader = decryptor.decrypt(std::iter::once(identity)).ok()?;
    // It can't grow beyond this, and growing would leave unwiped copies behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(encrypted.len()));
    reader.read_to_end(&mut plain).ok()?;
    Some(Secret::from(plain))
}

fn split(plain: &Secret) -> Option<(Site, &[u8])> {
    let bytes = plain.expose();
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (protocol, host) = std::str::from_utf8(&bytes[..end]).ok()?.split_once("://")?;
    let site = Site::new(protocol.as_bytes(), host.as_bytes())?;
    Some((site, &bytes[end + 1..]))
}

fn io_error(what: &str, path: &Path, error: io::Error) -> StoreError {
    StoreError::Io {
        what: format!("{what} {}", path.display()),
        error,
    }
}
