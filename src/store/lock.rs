//! The cross-process locks of a site and of all sites. The kernel gives one back when its holder
//! dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::StoreError;
use crate::config::{self, Paths};
use crate::credential::Site;
use crate::trace;

/// Longest wait for another process's read-change-write.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// The lock file of all sites, and how a person reads of it.
const STORE: &str = "store.lock";
const STORE_IN_WORDS: &str = "the store";

/// Keeps every other change of one site away until dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "closing a file gives its lock back")]
pub struct SiteLock {
    site: File,
    /// Shared: many sites may be changed at once, but none while a [`StoreLock`] is held.
    store: Option<File>,
}

/// Keeps every change of every site away until dropped.
#[derive(Debug)]
pub struct StoreLock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl SiteLock {
    /// Waits up to five seconds for the lock.
    pub fn acquire(paths: &Paths, site: &Site) -> Result<Self, StoreError> {
        let store = wait(
            paths,
            STORE,
            File::try_lock_shared,
            LOCK_TIMEOUT,
            STORE_IN_WORDS,
        )?;
        let name = format!("{}.lock", name_of(site));
        Ok(SiteLock {
            site: wait(
                paths,
                &name,
                File::try_lock,
                LOCK_TIMEOUT,
                &site.to_string(),
            )?,
            store: Some(store),
        })
    }

    /// The lock that a rotation holds from its beginning to its end, the network included. It is
    /// another than the site's, so that git's own reads and writes never wait for a server. Waits
    /// up to `timeout`; zero means one look.
    pub fn acquire_rotation(
        paths: &Paths,
        site: &Site,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let name = format!("{}.rotation.lock", name_of(site));
        Ok(SiteLock {
            site: wait(paths, &name, File::try_lock, timeout, &site.to_string())?,
            store: None,
        })
    }
}

impl StoreLock {
    /// Waits up to five seconds for the end of the changes that are going on.
    pub fn acquire(paths: &Paths) -> Result<Self, StoreError> {
        wait(paths, STORE, File::try_lock, LOCK_TIMEOUT, STORE_IN_WORDS).map(StoreLock)
    }
}

/// Opens the lock file of that name and tries `lock` until it is got or `timeout` is over.
fn wait(
    paths: &Paths,
    name: &str,
    lock: fn(&File) -> Result<(), TryLockError>,
    timeout: Duration,
    what: &str,
) -> Result<File, StoreError> {
    let path = paths.lock_dir().join(name);
    let io = |error| StoreError::Io {
        what: format!("can't lock {}", path.display()),
        error,
    };
    config::private_dir(&paths.lock_dir()).map_err(io)?;
    let file = config::open_or_create(&path, OpenOptions::new().write(true)).map_err(io)?;
    let step = trace::begin();
    match config::lock_within(&file, lock, timeout) {
        Ok(()) => {
            step.end(format_args!("the lock of {what} waited for"));
            Ok(file)
        }
        Err(TryLockError::Error(error)) => Err(io(error)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Busy {
            what: what.to_owned(),
            after: timeout,
        }),
    }
}

/// A file name for a site: the hex SHA-256 of `protocol://host`, so that neither length nor odd
/// characters matter and a directory listing does not read as a list of hosts.
pub fn name_of(site: &Site) -> String {
    use std::fmt::Write;
    let mut name = String::with_capacity(64);
    for byte in Sha256::digest(site.to_string()) {
        write!(name, "{byte:02x}").expect("writing to a String can't fail");
    }
    name
}
