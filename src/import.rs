//! Credentials of other helpers, read as ours. Nothing of theirs is changed.

use std::borrow::Cow;
use std::fmt;

use crate::credential::{Credential, Description, Site};
use crate::helper::wire;
use crate::item::Item;

pub mod cli_hosts;
pub mod gcm;
pub mod git_store;
#[cfg(target_os = "linux")]
pub mod libsecret;
pub mod netrc;
mod yaml;

/// A credential and the site that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Site of the request.
    pub site: Site,
    /// Answer to it.
    pub credential: Credential,
}

/// Something that is no credential of ours, by where it stands: never by what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Such as `~/.netrc, line 3`.
    pub place: String,
    /// In words for a person, perhaps those of another program.
    pub why: Cow<'static, str>,
    /// URL of the server at which a sign-in takes its place.
    pub sign_in: Option<String>,
    /// False where nothing is lost with it.
    pub matters: bool,
}

impl Skipped {
    fn new(place: String, why: impl Into<Cow<'static, str>>) -> Self {
        Skipped {
            place,
            why: why.into(),
            sign_in: None,
            matters: true,
        }
    }
}

/// All that one source holds, the entries that it prefers first.
#[derive(Debug, Default)]
pub struct Findings {
    /// Entries that can be imported.
    pub found: Vec<Found>,
    /// Entries that can't, and why.
    pub skipped: Vec<Skipped>,
}

/// Result for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Kept, where there was none.
    Taken,
    /// In the place of another secret.
    Replaced,
    /// It was there already.
    Held,
    /// Another secret is there, and stays.
    Differs,
}

/// A file that is not read: it is in an encoding of 16 or 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherEncoding {
    /// As iconv(1) has it.
    pub name: &'static str,
}

impl fmt::Display for OtherEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is text in {}, not UTF-8", self.name)
    }
}

impl std::error::Error for OtherEncoding {}

/// The text of a file, without the mark that some editors put before UTF-8 (RFC 3629 section 6).
pub fn without_mark(text: &[u8]) -> Result<&[u8], OtherEncoding> {
    let name = match text {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => "UTF-32",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16",
        // Without a mark: the first letter is one of ASCII.
        [0, letter, 0, ..] if *letter != 0 => "UTF-16BE",
        [letter, 0, _, 0, ..] if *letter != 0 => "UTF-16LE",
        _ => return Ok(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)),
    };
    Err(OtherEncoding { name })
}

impl Findings {
    /// Adds what a source says of `place`. A second entry for the same name is skipped, as the
    /// source's own helper would never answer with it; where it says the same, nothing is lost.
    fn add(&mut self, place: String, said: &Description) {
        let why = match entry(said) {
            Err(why) => why,
            Ok(new) => {
                let same = |other: &&Found| {
                    let (a, b) = (&other.credential, &new.credential);
                    other.site == new.site && a.username == b.username && a.path == b.path
                };
                match self.found.iter().find(same) {
                    None => return self.found.push(new),
                    Some(first) if *first == new => return,
                    Some(_) => "an earlier entry for the same name takes precedence",
                }
            }
        };
        self.skipped.push(Skipped::new(place, why));
    }
}

/// The entry as git can be answered, or the reason why it can't.
fn entry(said: &Description) -> Result<Found, &'static str> {
    let secrets = [&said.password, &said.credential, &said.refresh_token];
    let secrets = secrets.into_iter().flatten().map(|secret| secret.expose());
    let texts = [&said.protocol, &said.host, &said.path, &said.username];
    let mut values = secrets.chain(texts.into_iter().flatten().map(Vec::as_slice));
    // Newer gits refuse a CR too (CVE-2024-52006).
    if values
        .clone()
        .any(|value| value.iter().any(|b| b"\r\n\0".contains(b)))
    {
        return Err("a line break or a NUL in a value, which git refuses");
    }
    if values.any(|value| value.len() > wire::LONGEST_VALUE) {
        return Err("a value longer than git reads");
    }
    if said.username.is_none() {
        return Err("no username");
    }
    let credential = said.to_credential().ok_or("no password")?;
    let site = said.site().ok_or("not a protocol and a host")?;
    Ok(Found { site, credential })
}

/// Puts an entry into the item of its site.
pub fn take(item: &mut Item, new: &Credential, force: bool) -> Fate {
    let fate = match item.credentials.in_place_of(new) {
        None => Fate::Taken,
        Some(held) if held.auth == new.auth => Fate::Held,
        Some(_) if force => Fate::Replaced,
        Some(_) => return Fate::Differs,
    };
    item.credentials.put(Credential {
        imported: true,
        ..new.clone()
    });
    fate
}
