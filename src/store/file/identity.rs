//! The identity that opens the file store: in the clear, or under a passphrase.
//!
//! Under a passphrase it is an age file for scrypt, and what it holds, once opened, lies in the
//! kernel's keyring for a time: an ssh-agent without a process that stays.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use age::secrecy::{ExposeSecret, SecretString};
use age::x25519::Identity;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::io_error;
use crate::config::{self, Paths};
use crate::expiry::UnixTime;
use crate::secret::Secret;
use crate::store::StoreError;
#[cfg(target_os = "linux")]
use crate::store::keyutils as kernel;
use crate::store::lock::StoreLock;
use crate::system;

/// Larger than any identity file; one of age-keygen(1) has some 200 bytes.
const MAX_BYTES: u64 = 4096;
/// First bytes of age files: the age specification (c2sp.org/age), "Version line".
const AGE_FILE: &[u8] = b"age-encryption.org/";
/// scrypt's cost as a power of two, as age(1) writes it: about a second, and 256 MiB.
const WORK: u8 = 18;
/// The highest that is read: an identity brought from elsewhere may have cost more.
const MAX_WORK: u8 = 22;
/// Longest time for which `wit unlock` opens: the kernel counts seconds in 32 bits.
const MAX_UNLOCK_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Begins the comment that says in the kernel's key when it ends: the kernel tells only roughly.
const UNTIL: &str = "# unlocked until ";

/// The file in a store's directory that opens the others.
pub fn identity_file(dir: &Path) -> PathBuf {
    dir.join("identity.txt")
}

/// The identity file of the file store.
#[derive(Debug)]
pub struct IdentityFile {
    path: PathBuf,
    paths: Paths,
}

/// State of the identity file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// There is no identity yet.
    Missing,
    /// Without a passphrase.
    None,
    /// Under a passphrase, and not opened.
    Locked,
    /// Under a passphrase, and opened for now.
    Unlocked {
        /// When it locks itself; `None` where an older version opened it.
        until: Option<UnixTime>,
    },
}

impl Protection {
    /// Returns whether a passphrase is needed to open it.
    pub fn is_protected(self) -> bool {
        matches!(self, Protection::Locked | Protection::Unlocked { .. })
    }
}

/// Why a passphrase was not set, removed or used.
#[derive(Debug, thiserror::Error)]
pub enum ProtectionError {
    /// The passphrase does not open the identity.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// It has one already.
    #[error("the file store has a passphrase already")]
    Protected,
    /// It has none.
    #[error("the file store has no passphrase")]
    Unprotected,
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Content of the file.
enum Form {
    Plain(Secret),
    Protected(Vec<u8>),
}

impl IdentityFile {
    /// Touches nothing.
    pub fn new(paths: &Paths) -> Self {
        IdentityFile {
            path: identity_file(&paths.store_dir()),
            paths: paths.clone(),
        }
    }

    /// The identity; `None` where there is none yet. One under a passphrase is taken from the kernel's
    /// keyring, and is locked where it is not there.
    pub fn open(&self) -> Result<Option<Identity>, StoreError> {
        let text = match self.form()? {
            None => return Ok(None),
            Some(Form::Plain(text)) => text,
            Some(Form::Protected(sealed)) => {
                kernel::read_key(&key_name(&sealed))?.ok_or_else(|| StoreError::Locked {
                    reason: "its passphrase is needed".to_owned(),
                    hint: "wit unlock",
                })?
            }
        };
        self.parse(&text).map(Some)
    }

    /// Current state of the file.
    pub fn protection(&self) -> Result<Protection, StoreError> {
        Ok(match self.form()? {
            None => Protection::Missing,
            Some(Form::Plain(_)) => Protection::None,
            Some(Form::Protected(sealed)) => match kernel::read_key(&key_name(&sealed))? {
                None => Protection::Locked,
                Some(text) => Protection::Unlocked {
                    until: unlocked_until(&text),
                },
            },
        })
    }

    /// The error that nothing stored can be read without it.
    pub(super) fn missing(&self) -> StoreError {
        StoreError::Identity {
            reason: format!(
                "{} is missing, and without it nothing stored can be read",
                self.path.display()
            ),
        }
    }

    /// Makes an identity. Of several processes at once one makes it.
    pub(super) fn make(&self) -> Result<Identity, StoreError> {
        let failed = |error| io_error("can't make", &self.path, error);
        let identity = Identity::generate();
        let dir = self.paths.store_dir();
        config::private_dir(&dir).map_err(failed)?;
        let mut file = config::temporary(&dir).map_err(failed)?;
        writeln!(
            file,
            "# opens the files beside it\n# public key: {}\n{}",
            identity.to_public(),
            identity.to_string().expose_secret()
        )
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
        match file.persist_noclobber(&self.path) {
            Ok(_) => Ok(identity),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                self.open()?.ok_or_else(|| self.missing())
            }
            Err(error) => Err(failed(error.error)),
        }
    }

    /// Puts the identity, made where there is none, under a passphrase. It is locked then. `reached`
    /// is told each point that a crash must not harm.
    pub fn protect(
        &self,
        passphrase: &Secret,
        reached: &dyn Fn(&str),
    ) -> Result<(), ProtectionError> {
        let _lock = StoreLock::acquire(&self.paths)?;
        // Nobody must be left with a store that can't be unlocked here.
        kernel::read_key("git-credential-wit-identity:")?;
        if self.form()?.is_none() {
            self.make()?;
        }
        reached("protect-made");
        let Some(Form::Plain(text)) = self.form()? else {
            return Err(ProtectionError::Protected);
        };
        self.parse(&text)?;
        let sealed = seal(&text, passphrase)
            .map_err(|error| io_error("can't encrypt", &self.path, error))?;
        reached("protect-sealed");
        self.replace(&sealed)?;
        reached("protect-replaced");
        Ok(())
    }

    /// Takes the passphrase away, and the opened identity out of the kernel's keyring. `reached` as
    /// for [`IdentityFile::protect`].
    pub fn unprotect(
        &self,
        passphrase: &Secret,
        reached: &dyn Fn(&str),
    ) -> Result<(), ProtectionError> {
        let _lock = StoreLock::acquire(&self.paths)?;
        let (sealed, text) = self.unsealed(passphrase)?;
        reached("unprotect-opened");
        self.replace(text.expose())?;
        reached("unprotect-replaced");
        kernel::remove_key(&key_name(&sealed))?;
        Ok(())
    }

    /// Opens the identity for every program of this user, for `time`; what is longer than a year
    /// counts as one.
    pub fn unlock(&self, passphrase: &Secret, time: Duration) -> Result<(), ProtectionError> {
        let (sealed, text) = self.unsealed(passphrase)?;
        let seconds = u32::try_from(time.min(MAX_UNLOCK_TIME).as_secs()).unwrap_or(u32::MAX);
        let seconds = seconds.max(1);
        let until = UnixTime::now().plus(i64::from(seconds));
        let text = [text.expose(), format!("\n{UNTIL}{}\n", until.0).as_bytes()].concat();
        kernel::keep_key_for(&key_name(&sealed), &Secret::new(text), seconds)?;
        Ok(())
    }

    /// Closes it before its time. One that is not open is not an error.
    pub fn lock(&self) -> Result<(), ProtectionError> {
        match self.form()? {
            Some(Form::Protected(sealed)) => Ok(kernel::remove_key(&key_name(&sealed))?),
            _ => Err(ProtectionError::Unprotected),
        }
    }

    fn form(&self) -> Result<Option<Form>, StoreError> {
        let mut file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("can't open", &self.path, error)),
        };
        refuse_shared(&file, &self.path)?;
        refuse_of_others(&file, &self.path)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize));
        (&mut file)
            .take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| io_error("can't read", &self.path, error))?;
        Ok(Some(match bytes.starts_with(AGE_FILE) {
            true => Form::Protected(bytes.to_vec()),
            false => Form::Plain(Secret::from(bytes)),
        }))
    }

    /// The sealed file and what is in it.
    fn unsealed(&self, passphrase: &Secret) -> Result<(Vec<u8>, Secret), ProtectionError> {
        let Some(Form::Protected(sealed)) = self.form()? else {
            return Err(ProtectionError::Unprotected);
        };
        let text = unseal(&sealed, passphrase).ok_or(ProtectionError::WrongPassphrase)?;
        self.parse(&text)?;
        Ok((sealed, text))
    }

    /// The first line that is no comment, as age(1) reads such a file.
    fn parse(&self, text: &Secret) -> Result<Identity, StoreError> {
        let line = text.expose_str().unwrap_or_default().lines();
        let mut lines = line.map(str::trim);
        lines
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .and_then(|line| Identity::from_str(line).ok())
            .ok_or_else(|| StoreError::Identity {
                reason: format!("{} holds no age identity", self.path.display()),
            })
    }

    fn replace(&self, bytes: &[u8]) -> Result<(), StoreError> {
        config::write_private(&self.path, bytes)
            .map_err(|error| io_error("can't write", &self.path, error))
    }
}

fn unlocked_until(text: &Secret) -> Option<UnixTime> {
    let mut lines = text.expose_str()?.lines();
    let seconds = lines.find_map(|line| line.strip_prefix(UNTIL))?;
    seconds.parse().ok().map(UnixTime)
}

/// The kernel key of just this sealed file: with another passphrase or identity it is another's.
fn key_name(sealed: &[u8]) -> String {
    use std::fmt::Write;
    let mut name = String::from("git-credential-wit-identity:");
    for byte in &Sha256::digest(sealed)[..16] {
        write!(name, "{byte:02x}").expect("writing to a String can't fail");
    }
    name
}

fn words_of(passphrase: &Secret) -> Option<SecretString> {
    Some(SecretString::from(passphrase.expose_str()?.to_owned()))
}

fn seal(text: &Secret, passphrase: &Secret) -> io::Result<Vec<u8>> {
    let words = words_of(passphrase)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a passphrase is UTF-8"))?;
    let mut recipient = age::scrypt::Recipient::new(words);
    recipient.set_work_factor(WORK);
    let encryptor =
        age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            .map_err(io::Error::other)?;
    let mut sealed = Vec::with_capacity(1024);
    let mut writer = encryptor.wrap_output(&mut sealed)?;
    writer.write_all(text.expose())?;
    writer.finish()?;
    Ok(sealed)
}

/// `None` with another passphrase.
fn unseal(sealed: &[u8], passphrase: &Secret) -> Option<Secret> {
    let mut identity = age::scrypt::Identity::new(words_of(passphrase)?);
    identity.set_max_work_factor(MAX_WORK);
    super::open_age(&identity, sealed)
}

/// Refuses an identity that others can read, as ssh(1) does with its keys.
fn refuse_shared(file: &fs::File, path: &Path) -> Result<(), StoreError> {
    match system::is_shared(file) {
        Ok(false) => Ok(()),
        Ok(true) => Err(StoreError::Identity {
            reason: format!(
                "others can read {0}; keep it to yourself: chmod 600 {0}",
                path.display()
            ),
        }),
        Err(error) => Err(io_error("can't open", path, error)),
    }
}

/// Refuses an identity that somebody else has put there, or could: what is written for it would be
/// theirs to read.
fn refuse_of_others(file: &fs::File, path: &Path) -> Result<(), StoreError> {
    let failed = |error| io_error("can't open", path, error);
    let dir = path.parent().unwrap_or(path);
    let of_file = (path, system::owner(file).map_err(failed)?);
    let of_dir = system::mode_and_owner(dir).map(|(_, owner)| (dir, owner));
    for (path, owner) in of_dir.into_iter().chain([of_file]) {
        if !config::is_trusted(owner) {
            return Err(StoreError::Identity {
                reason: format!(
                    "{} belongs to another user (number {owner}) and is not used",
                    path.display()
                ),
            });
        }
    }
    Ok(())
}

/// Elsewhere the kernel keeps no keys: nothing can be protected there, nor opened.
#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::{Secret, StoreError};

    fn none<T>() -> Result<T, StoreError> {
        Err(StoreError::Unavailable {
            reason: "a passphrase needs the keyring of the Linux kernel".to_owned(),
        })
    }

    pub fn read_key(_description: &str) -> Result<Option<Secret>, StoreError> {
        none()
    }

    pub fn keep_key_for(_: &str, _: &Secret, _seconds: u32) -> Result<(), StoreError> {
        none()
    }

    pub fn remove_key(_description: &str) -> Result<(), StoreError> {
        none()
    }
}
