//! The `state[]` attribute: lets `store` see that nothing changed since `get` without asking the
//! store.
//!
//! It is an HMAC over the answer under a key that only this user can read, so that it says nothing
//! about the secret to anybody else, not even to somebody who can guess passwords.

use std::io::{Read, Write};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::config::{self, Paths, private_dir};
use crate::credential::{AuthData, Credential, Description, Site};
use crate::files::{self, Fault, FileError};
use crate::system;

const PREFIX: &str = "wit:";
const KEY_BYTES: usize = 32;

/// The value for an answer; `None` where no key can be kept, which costs only speed.
pub fn of(paths: &Paths, site: &Site, entry: &Credential) -> Option<String> {
    let key = read_key(paths).or_else(|| make_key(paths))?;
    Some(tag(&key, site, entry))
}

/// Returns whether git brings back just what `get` answered.
pub fn says_unchanged(paths: &Paths, site: &Site, request: &Description) -> bool {
    let ours = |state: &&Vec<u8>| state.starts_with(PREFIX.as_bytes());
    let (Some(state), Some(entry)) = (request.state.iter().find(ours), request.to_credential())
    else {
        return false;
    };
    read_key(paths).is_some_and(|key| tag(&key, site, &entry).as_bytes() == state.as_slice())
}

/// The path is left out: under useHttpPath git gives it with every request, whatever the entry had.
fn tag(key: &[u8], site: &Site, entry: &Credential) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    // Each part with its length, so that no two answers read the same.
    let mut part = |bytes: Option<&[u8]>| {
        let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
        mac.update(&length.to_be_bytes());
        mac.update(bytes.unwrap_or_default());
    };
    part(Some(site.protocol().as_bytes()));
    part(Some(site.host().as_bytes()));
    part(entry.username.as_deref());
    match &entry.auth {
        AuthData::Password(_) => part(None),
        AuthData::Header { authtype, .. } => part(Some(authtype)),
    }
    part(Some(entry.auth.secret().expose()));
    let expiry = entry.expiry.map(|expiry| expiry.0.0.to_be_bytes());
    part(expiry.as_ref().map(|bytes| bytes.as_slice()));
    part(entry.refresh_token.as_ref().map(|secret| secret.expose()));
    let mut text = String::from(PREFIX);
    for byte in mac.finalize().into_bytes() {
        use std::fmt::Write;
        write!(text, "{byte:02x}").expect("writing to a String can't fail");
    }
    text
}

fn read_key(paths: &Paths) -> Option<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    let mut file = std::fs::File::open(paths.state_key_file()).ok()?;
    // Who knows the key can try passwords against what git is told.
    if !config::is_trusted(system::owner(&file).ok()?) || system::is_shared(&file).ok()? {
        return None;
    }
    file.read_exact(&mut key).ok()?;
    Some(key)
}

/// An error where the key can't be used, which costs speed at each `store`.
pub fn check_key(paths: &Paths) -> Result<(), FileError> {
    let path = paths.state_key_file();
    match files::read(&path)? {
        Some(key) if key.len() < KEY_BYTES => {
            let why = format!("{} bytes long", key.len());
            Err(files::fault(&path, Fault::Damaged(why)))
        }
        _ => Ok(()),
    }
}

fn make_key(paths: &Paths) -> Option<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).ok()?;
    private_dir(paths.state_dir()).ok()?;
    // A full disk leaves no key at all, rather than one that is too short.
    let mut file = config::temporary(paths.state_dir()).ok()?;
    file.write_all(&key).ok()?;
    file.as_file().sync_all().ok()?;
    let path = paths.state_key_file();
    let is_torn = |file: std::fs::Metadata| file.is_file() && file.len() < KEY_BYTES as u64;
    match std::fs::metadata(&path).is_ok_and(is_torn) {
        true => system::put_in_place(file, &path).ok()?,
        // Another process may have made one meanwhile.
        false => drop(file.persist_noclobber(&path).ok()?),
    }
    Some(key)
}
