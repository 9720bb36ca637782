//! Storage of items: the seam below all matching, and the read-change-write above it.

use std::io::ErrorKind;
use std::time::Duration;

use crate::config::Paths;
use crate::credential::Site;
use crate::item::{Item, ItemError};
use crate::secret::Secret;
use crate::trace;

pub mod file;
#[cfg(any(target_os = "macos", windows))]
pub mod keychain;
#[cfg(target_os = "linux")]
pub mod keyutils;
mod kind;
pub mod lock;
pub mod migrate;
#[cfg(target_os = "linux")]
pub mod secret_service;
pub mod select;
mod traced;

pub use kind::{StoreKind, names};

/// A place that keeps one item of bytes per site. It knows nothing of what is in them.
///
/// Each call is bounded in time. Nothing stored is `Ok(None)`; a store that can't be asked is an
/// error, never an absence.
///
/// ```
/// use wit::config::Paths;
/// use wit::credential::Site;
/// use wit::secret::Secret;
/// use wit::store::StoreKind;
///
/// let dir = tempfile::tempdir()?;
/// let store = StoreKind::File.open(&Paths::below(dir.path()))?;
/// let site = Site::new(b"https", b"git.example.org").ok_or("no site")?;
/// assert!(store.read(&site)?.is_none());
/// let item = Secret::from("bytes of any kind".to_owned());
/// store.write(&site, &item)?;
/// assert_eq!(store.read(&site)?, Some(item));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Store {
    /// The name that `--store` and `WIT_STORE` take.
    fn name(&self) -> &'static str;

    /// Description of the place, for a person.
    fn location(&self) -> String;

    /// A warning before secrets are stored here, if there is one. It may ask the store.
    fn caveat(&self) -> Option<String> {
        None
    }

    /// The item of `site`, if there is one: at most one round trip.
    fn read(&self, site: &Site) -> Result<Option<Secret>, StoreError>;

    /// Replaces the item of `site`, all or nothing. An item is never empty.
    fn write(&self, site: &Site, item: &Secret) -> Result<(), StoreError>;

    /// Removes the item of `site`. One that is not there is not an error.
    fn delete(&self, site: &Site) -> Result<(), StoreError>;

    /// The sites that have an item, in no order.
    fn sites(&self) -> Result<Vec<Site>, StoreError>;

    /// Those of the sites that can be told without unlocking anything: for an offer, which may be
    /// incomplete.
    fn open_sites(&self) -> Result<Vec<Site>, StoreError> {
        self.sites()
    }

    /// Moves what can't be read as an item of ours out of the way without losing it, and says where
    /// it now lies.
    fn set_aside(&self, site: &Site) -> Result<String, StoreError>;

    /// The store that has taken this one's place since it was opened: `wit store move` may end
    /// between a process's choice and its turn at the site's lock.
    fn successor(&self) -> Result<Option<Box<dyn Store>>, StoreError> {
        Ok(None)
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached: no bus, no service, no prompt, no permission.
    #[error("the store can't be reached: {reason}")]
    Unavailable {
        /// Why, in words.
        reason: String,
    },
    /// The identity of the file store can't be used as it is.
    #[error("the file store can't be used: {reason}")]
    Identity {
        /// Why, with what to do about it.
        reason: String,
    },
    /// It is locked and nobody could be asked to unlock it.
    #[error("the store is locked: {reason}")]
    Locked {
        /// Why, in words.
        reason: String,
        /// The command that unlocks it.
        hint: &'static str,
    },
    /// It did not answer in time.
    #[error("the store did not answer within {after:?}")]
    TimedOut {
        /// The time that it had.
        after: Duration,
    },
    /// The stored item can't be used.
    #[error("{site}: {error}")]
    Item {
        /// The site of the item.
        site: Site,
        /// Reason.
        #[source]
        error: ItemError,
    },
    /// The item is larger than the store takes.
    #[error("the item has {bytes} bytes and the store takes at most {most}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size that the store takes.
        most: usize,
        /// The command that leads on.
        hint: &'static str,
    },
    /// Another process held the lock of a site, or of the whole store, for too long.
    #[error("{what}: another process held its lock for {after:?}")]
    Busy {
        /// Name of the locked part.
        what: String,
        /// The time that was waited.
        after: Duration,
    },
    /// Reading or writing failed.
    #[error("{what}: {error}")]
    Io {
        /// Operation that was tried.
        what: String,
        /// The system's error.
        #[source]
        error: std::io::Error,
    },
}

impl StoreError {
    /// A command for a person that fixes it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            StoreError::Unavailable { .. } | StoreError::TimedOut { .. } => {
                Some("to keep secrets in encrypted files instead: wit setup --store file")
            }
            StoreError::Identity { .. } => Some("wit doctor"),
            StoreError::Locked { hint, .. } | StoreError::TooLarge { hint, .. } => Some(hint),
            StoreError::Item { .. } | StoreError::Busy { .. } => Some("wit status"),
            StoreError::Io { error, .. } if error.kind() == ErrorKind::PermissionDenied => {
                Some("wit doctor")
            }
            StoreError::Io { .. } => None,
        }
    }
}

/// Hint for a locked keyring, for any desktop.
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
const UNLOCK_KEYRING: &str = "unlock the keyring of your desktop, or: wit setup --store file";

/// Time limit of a keychain: `WIT_KEYCHAIN_TIMEOUT` seconds, 3 where it says nothing usable.
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
fn keychain_timeout() -> Duration {
    crate::config::seconds("WIT_KEYCHAIN_TIMEOUT", Duration::from_secs(3))
}

/// Reads the item of `site`; an empty one where there is none.
pub fn load(store: &dyn Store, site: &Site) -> Result<Item, StoreError> {
    match store.read(site)? {
        None => Ok(Item::default()),
        Some(bytes) => Item::decode(site, &bytes).map_err(|error| StoreError::Item {
            site: site.clone(),
            error,
        }),
    }
}

/// Reads, changes and writes the item of `site` under its lock. Writes nothing where `change`
/// changes nothing, and deletes an item that has become empty.
///
/// A damaged item is set aside first and told on stderr, never overwritten; one of a newer format is
/// left alone.
pub fn update<T>(
    store: &dyn Store,
    paths: &Paths,
    site: &Site,
    change: impl FnOnce(&mut Item) -> T,
) -> Result<T, StoreError> {
    let _lock = lock::SiteLock::acquire(paths, site)?;
    let successor = store.successor()?;
    update_locked(successor.as_deref().unwrap_or(store), site, change)
}

/// Shows that a store works before it is relied on: a probe is written, read and deleted. Files whose
/// passphrase was not told yet are well: `wit unlock` opens them.
pub fn check(store: &dyn Store) -> Result<(), StoreError> {
    let failed = |reason: &str| StoreError::Unavailable {
        reason: reason.to_owned(),
    };
    // The helper alone has no crate of random ids.
    let (process, now) = (std::process::id(), crate::expiry::UnixTime::now().0);
    let name = format!("probe-{now}-{process}.invalid");
    let site = Site::new(b"https", name.as_bytes());
    let site = site.ok_or_else(|| failed("the probe has no site"))?;
    let probe = Item::default().encode(&site);
    let read = (store.write(&site, &probe)).and_then(|()| store.read(&site));
    // Also where it could not be read. The first failure is the one to tell.
    let deleted = store.delete(&site);
    match read {
        Err(StoreError::Locked { .. }) if store.name() == StoreKind::File.name() => deleted,
        Err(error) => Err(error),
        Ok(Some(read)) if read == probe => deleted,
        Ok(_) => Err(failed("it does not give back what is written to it")),
    }
}

/// [`update`] of a store that nothing can take the place of, under a lock that is held already.
fn update_locked<T>(
    store: &dyn Store,
    site: &Site,
    change: impl FnOnce(&mut Item) -> T,
) -> Result<T, StoreError> {
    let before = match load(store, site) {
        Err(StoreError::Item {
            error: error @ (ItemError::Damaged | ItemError::OtherSite),
            ..
        }) => {
            let place = store.set_aside(site)?;
            trace::tell(format_args!("{site}: {error} and was set aside: {place}"));
            Item::default()
        }
        other => other?,
    };
    let mut after = before.clone();
    let answer = change(&mut after);
    if after == before {
        return Ok(answer);
    }
    if after.is_empty() {
        store.delete(site)?;
    } else {
        store.write(site, &after.encode(site))?;
    }
    Ok(answer)
}
