//! The `keyutils` store: one `user` key per site in the user's keyring of the Linux kernel. Nothing
//! reaches a disk, and nothing outlives a reboot. `keyctl show @u` lists the keys.

use linux_keyutils::{KeyError, KeyRing, KeyRingIdentifier, LinkNode};
use zeroize::Zeroizing;

use super::{Store, StoreError, StoreKind};
use crate::credential::Site;
use crate::secret::Secret;

/// The kernel's own bound for a key of type `user`, keyrings(7).
const MAX_ITEM: usize = 32_767;
/// The number of links that are asked for. keyutils' own buffer must be larger than any keyring:
/// root may have 1,000,000 keys, and it takes bytes for entries of four.
const LINKS: usize = 4 * 1024 * 1024;

/// Kernel keys whose description is `SERVICE:SITE`.
#[derive(Debug)]
pub struct Keyutils {
    service: String,
}

impl Keyutils {
    /// Keys named `git-credential-wit:SITE`. Touches nothing.
    pub fn new() -> Self {
        Keyutils::named("git-credential-wit")
    }

    /// The same under another name, so that tests leave a person's own keys alone.
    pub fn named(service: &str) -> Self {
        Keyutils {
            service: service.to_owned(),
        }
    }

    fn description(&self, site: &Site) -> String {
        format!("{}:{site}", self.service)
    }
}

impl Default for Keyutils {
    fn default() -> Self {
        Keyutils::new()
    }
}

/// The user's keyring, of which this process is made a possessor.
///
/// A key lets only possessors read it, keyrings(7), and whether a session's keyring links to the
/// user's depends on how the person came in (PAM, ssh, a service). Our own process keyring always may.
fn user_keyring() -> Result<KeyRing, StoreError> {
    let user = KeyRing::from_special_id(KeyRingIdentifier::User, true).map_err(refused)?;
    KeyRing::from_special_id(KeyRingIdentifier::Process, true)
        .and_then(|process| process.link_keyring(user))
        .map_err(refused)?;
    Ok(user)
}

/// The key of that description; `None` where there is none, or none any more.
pub(super) fn read_key(description: &str) -> Result<Option<Secret>, StoreError> {
    let Some(key) = there(user_keyring()?.search(description))? else {
        return Ok(None);
    };
    let mut bytes = Zeroizing::new(vec![0; MAX_ITEM + 1]);
    let Some(length) = there(key.read(&mut bytes.as_mut_slice()))? else {
        return Ok(None);
    };
    bytes.truncate(length);
    Ok(Some(Secret::from(bytes)))
}

/// Keeps a key for so many seconds, after which the kernel drops it.
///
/// It is made in this process's own keyring and moved from there: at no time can the user's keyring
/// hold it without its end.
pub(super) fn keep_key_for(
    description: &str,
    bytes: &Secret,
    seconds: u32,
) -> Result<(), StoreError> {
    let user = user_keyring()?;
    let process = KeyRing::from_special_id(KeyRingIdentifier::Process, true).map_err(refused)?;
    let key = process
        .add_key(description, bytes.expose())
        .map_err(refused)?;
    key.set_timeout(seconds as usize)
        .and_then(|()| user.link_key(key))
        .and_then(|()| process.unlink_key(key))
        .map_err(refused)
}

/// Forgets a key. One that is not there is not an error.
pub(super) fn remove_key(description: &str) -> Result<(), StoreError> {
    let ring = user_keyring()?;
    match there(ring.search(description))? {
        Some(key) => there(ring.unlink_key(key)).map(drop),
        None => Ok(()),
    }
}

impl Store for Keyutils {
    fn name(&self) -> &'static str {
        StoreKind::Keyutils.name()
    }

    fn location(&self) -> String {
        "the kernel's keyring, until the next reboot".to_owned()
    }

    fn read(&self, site: &Site) -> Result<Option<Secret>, StoreError> {
        read_key(&self.description(site))
    }

    fn write(&self, site: &Site, item: &Secret) -> Result<(), StoreError> {
        if item.len() > MAX_ITEM {
            return Err(StoreError::TooLarge {
                bytes: item.len(),
                most: MAX_ITEM,
                hint: "encrypted files take larger ones: wit store move keyutils file",
            });
        }
        user_keyring()?
            .add_key(&self.description(site), item.expose())
            .map(drop)
            .map_err(refused)
    }

    fn delete(&self, site: &Site) -> Result<(), StoreError> {
        remove_key(&self.description(site))
    }

    fn sites(&self) -> Result<Vec<Site>, StoreError> {
        let links = user_keyring()?.get_links(LINKS).map_err(refused)?;
        let mut sites = Vec::new();
        for link in links.iter() {
            let LinkNode::Key(key) = link else { continue };
            // One that expired since, or another program's, is not ours to tell of.
            let Ok(metadata) = key.metadata() else {
                continue;
            };
            let site = metadata
                .get_description()
                .strip_prefix(&self.service)
                .and_then(|rest| rest.strip_prefix(':'))
                .and_then(|rest| rest.split_once("://"))
                .and_then(|(protocol, host)| Site::new(protocol.as_bytes(), host.as_bytes()));
            sites.extend(site);
        }
        Ok(sites)
    }

    /// A key has no rename: it is copied, then unlinked.
    fn set_aside(&self, site: &Site) -> Result<String, StoreError> {
        let mut aside = Keyutils::named(&format!("{}-damaged", self.service));
        for n in 2.. {
            if aside.read(site)?.is_none() {
                break;
            }
            aside = Keyutils::named(&format!("{}-damaged-{n}", self.service));
        }
        if let Some(bytes) = self.read(site)? {
            aside.write(site, &bytes)?;
            self.delete(site)?;
        }
        Ok(format!("the kernel key {:?}", aside.description(site)))
    }
}

/// A key that is gone, by whatever way, is an absence.
fn there<T>(result: Result<T, KeyError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(KeyError::KeyDoesNotExist | KeyError::KeyExpired | KeyError::KeyRevoked) => Ok(None),
        Err(error) => Err(refused(error)),
    }
}

fn refused(error: KeyError) -> StoreError {
    let reason = match error {
        KeyError::QuotaExceeded => {
            "the kernel's quota for your keys is used up (/proc/key-users)".to_owned()
        }
        KeyError::AccessDenied | KeyError::PermissionDenied => {
            "the kernel's keyring may not be used here (a container's rule?)".to_owned()
        }
        error => format!("the kernel's keyring: {error}"),
    };
    StoreError::Unavailable { reason }
}
