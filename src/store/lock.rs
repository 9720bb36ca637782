//! The cross-process lock of a site. The kernel gives it back when its holder dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::StoreError;
use crate::config::Paths;
use crate::credential::Site;
use crate::trace;

/// How long a process waits for another's read-change-write.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it sleeps between two looks: flock(2) has no form with a time limit.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Held from [`SiteLock::acquire`] until dropped.
#[derive(Debug)]
pub struct SiteLock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl SiteLock {
    /// Waits up to five seconds for the lock.
    pub fn acquire(paths: &Paths, site: &Site) -> Result<Self, StoreError> {
        Self::acquire_within(paths, site, PATIENCE)
    }

    /// Waits up to `patience` for the lock; zero means one look.
    pub fn acquire_within(
        paths: &Paths,
        site: &Site,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        Self::acquire_file(paths, site, "lock", patience)
    }

    /// The lock that a rotation holds from its beginning to its end, the network included. It is
    /// another than the site's, so that git's own reads and writes never wait for a server.
    pub fn acquire_rotation(
        paths: &Paths,
        site: &Site,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        Self::acquire_file(paths, site, "rotation.lock", patience)
    }

    fn acquire_file(
        paths: &Paths,
        site: &Site,
        extension: &str,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let path = paths
            .lock_dir()
            .join(format!("{}.{extension}", name_of(site)));
        let io = |error| StoreError::Io {
            what: format!("can't lock {}", path.display()),
            error,
        };
        crate::config::private_dir(&paths.lock_dir()).map_err(io)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io)?;
        let (begun, step) = (Instant::now(), trace::begin());
        loop {
            match file.try_lock() {
                Ok(()) => {
                    step.end(format_args!("{extension} of {site} waited for"));
                    return Ok(SiteLock(file));
                }
                Err(TryLockError::Error(error)) => return Err(io(error)),
                Err(TryLockError::WouldBlock) if begun.elapsed() >= patience => {
                    return Err(StoreError::Busy {
                        site: site.clone(),
                        after: patience,
                    });
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_AGAIN),
            }
        }
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
