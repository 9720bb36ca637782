//! What other helpers keep, read as credentials of ours. Nothing of theirs is changed.

use crate::credential::{Credential, Description, Site};
use crate::item::Item;

pub mod git_store;
#[cfg(target_os = "linux")]
pub mod libsecret;
pub mod netrc;

/// A credential and the site that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What git would ask about.
    pub site: Site,
    /// What it would be answered.
    pub credential: Credential,
}

/// Something that is no credential of ours, by where it stands: never by what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Such as `~/.netrc, line 3`.
    pub place: String,
    /// In words for a person.
    pub why: &'static str,
}

/// All that one source holds, the entries that it prefers first.
#[derive(Debug, Default)]
pub struct Findings {
    /// What can be taken.
    pub found: Vec<Found>,
    /// What can't.
    pub skipped: Vec<Skipped>,
}

/// What became of an entry.
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

impl Findings {
    /// Adds what a source says of `place`. A second entry for the same name is skipped, as the
    /// source's own helper would never answer with it.
    fn add(&mut self, place: String, said: &Description) {
        let entry = said.site().zip(said.to_credential());
        let why = match entry {
            None => "not a site, a username and a password",
            Some((site, credential)) => {
                let same = |other: &Found| {
                    let (a, b) = (&other.credential, &credential);
                    other.site == site && a.username == b.username && a.path == b.path
                };
                if !self.found.iter().any(same) {
                    self.found.push(Found { site, credential });
                    return;
                }
                "an earlier one for the same name goes before it"
            }
        };
        self.skipped.push(Skipped { place, why });
    }
}

/// Puts an entry into the item of its site.
pub fn take(item: &mut Item, new: &Credential, force: bool) -> Fate {
    let fate = match item.credentials.in_place_of(new) {
        None => Fate::Taken,
        Some(held) if held.proof == new.proof => Fate::Held,
        Some(_) if force => Fate::Replaced,
        Some(_) => return Fate::Differs,
    };
    item.credentials.put(new.clone());
    fate
}
