//! The `keychain` store on macOS (the login Keychain) and Windows (the Credential Manager), by
//! keyring's own stores. Each call runs on a thread that is left behind when it takes too long:
//! neither system's calls have a time limit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use keyring_core::api::CredentialStore;
use keyring_core::{Entry, Error};

use super::{Store, StoreError, StoreKind, keychain_timeout};
use crate::credential::Site;
use crate::secret::Secret;

const SERVICE: &str = "git-credential-wit";
const ASIDE: &str = "git-credential-wit-damaged";
/// A name that no site has.
const NOTHING: &str = "nothing";

#[cfg(target_os = "macos")]
mod native {
    use super::*;

    pub const LOCATION: &str = "the login Keychain";
    pub const MAX_ITEM: usize = usize::MAX;
    /// The person may be asked first.
    pub const MIN_TIMEOUT: Duration = Duration::from_secs(60);
    pub const SEARCH: (&str, &str) = ("service", SERVICE);
    pub const OF_ENTRIES: Option<(&str, &str)> = None;

    pub fn store() -> Result<Arc<CredentialStore>, Error> {
        Ok(apple_native_keyring_store::keychain::Store::new()?)
    }
}

#[cfg(windows)]
mod native {
    use super::*;

    pub const LOCATION: &str = "the Windows Credential Manager";
    /// CRED_MAX_CREDENTIAL_BLOB_SIZE of wincred.h.
    pub const MAX_ITEM: usize = 2560;
    pub const MIN_TIMEOUT: Duration = Duration::ZERO;
    pub const SEARCH: (&str, &str) = ("pattern", SERVICE);
    /// Tokens are this machine's: what is usual else follows the person to others.
    pub const OF_ENTRIES: Option<(&str, &str)> = Some(("persistence", "Local"));

    pub fn store() -> Result<Arc<CredentialStore>, Error> {
        Ok(windows_native_keyring_store::Store::new()?)
    }
}

/// The system's own keychain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keychain;

impl Keychain {
    /// Touches nothing.
    pub fn new() -> Self {
        Keychain
    }

    /// Checks that a secret can be stored here now.
    pub fn probe(&self) -> Result<(), StoreError> {
        bounded(|| secret_of(SERVICE, NOTHING).map(drop))
    }
}

fn entry(service: &str, site: &str) -> Result<Entry, Error> {
    let modifiers = native::OF_ENTRIES.map(|modifier| HashMap::from([modifier]));
    native::store()?.build(service, site, modifiers.as_ref())
}

/// `None` where there is no entry.
fn secret_of(service: &str, site: &str) -> Result<Option<Secret>, Error> {
    match entry(service, site)?.get_secret() {
        Ok(bytes) => Ok(Some(Secret::new(bytes))),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(service: &str, site: &str) -> Result<(), Error> {
    match entry(service, site)?.delete_credential() {
        Err(Error::NoEntry) => Ok(()),
        other => other,
    }
}

impl Store for Keychain {
    fn name(&self) -> &'static str {
        StoreKind::Keychain.name()
    }

    fn location(&self) -> String {
        native::LOCATION.to_owned()
    }

    fn read(&self, site: &Site) -> Result<Option<Secret>, StoreError> {
        let text = site.to_string();
        bounded(move || secret_of(SERVICE, &text))
    }

    fn write(&self, site: &Site, item: &Secret) -> Result<(), StoreError> {
        if item.len() > native::MAX_ITEM {
            return Err(StoreError::TooLarge {
                bytes: item.len(),
                most: native::MAX_ITEM,
                hint: "encrypted files take larger ones: wit store move keychain file",
            });
        }
        let (text, item) = (site.to_string(), item.clone());
        bounded(move || entry(SERVICE, &text)?.set_secret(item.expose()))
    }

    fn delete(&self, site: &Site) -> Result<(), StoreError> {
        let text = site.to_string();
        bounded(move || remove(SERVICE, &text))
    }

    fn sites(&self) -> Result<Vec<Site>, StoreError> {
        bounded(|| {
            let entries = native::store()?.search(&HashMap::from([native::SEARCH]))?;
            let ours = entries.iter().filter_map(Entry::get_specifiers);
            Ok(ours
                .filter(|(service, _)| service == SERVICE)
                .filter_map(|(_, text)| {
                    let (protocol, host) = text.split_once("://")?;
                    Site::new(protocol.as_bytes(), host.as_bytes())
                })
                .collect())
        })
    }

    fn set_aside(&self, site: &Site) -> Result<String, StoreError> {
        let text = site.to_string();
        bounded(move || {
            if let Some(bytes) = secret_of(SERVICE, &text)? {
                entry(ASIDE, &text)?.set_secret(bytes.expose())?;
                remove(SERVICE, &text)?;
            }
            Ok(format!("the keychain's item {ASIDE} of {text}"))
        })
    }
}

/// Runs `work` for at most the time that a keychain is given.
fn bounded<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, StoreError> {
    let after = keychain_timeout().max(native::MIN_TIMEOUT);
    let (sender, receiver) = channel();
    let worker = std::thread::spawn(move || {
        // Nobody listens any more after the time limit.
        let _ = sender.send(work());
    });
    match receiver.recv_timeout(after) {
        Ok(result) => {
            // It ends now. Under Wine a process crashes that ends before its threads.
            let _ = worker.join();
            result.map_err(refused)
        }
        Err(RecvTimeoutError::Timeout) => Err(StoreError::TimedOut { after }),
        Err(RecvTimeoutError::Disconnected) => Err(StoreError::Unavailable {
            reason: "the keychain's library failed".to_owned(),
        }),
    }
}

/// The errors' own text may hold what was stored, so only their kind is told.
fn refused(error: Error) -> StoreError {
    match error {
        Error::NoStorageAccess(reason) => StoreError::Locked {
            reason: reason.to_string(),
            hint: super::UNLOCK_KEYRING,
        },
        Error::PlatformFailure(reason) => StoreError::Unavailable {
            reason: reason.to_string(),
        },
        Error::TooLong(what, most) => StoreError::Unavailable {
            reason: format!("the keychain takes at most {most} characters for {what}"),
        },
        _ => StoreError::Unavailable {
            reason: "the keychain refused".to_owned(),
        },
    }
}
