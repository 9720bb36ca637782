//! Moving every item from one store to another.
//!
//! Under the lock of all sites, so that nothing changes meanwhile: everything is written and read
//! back, what may be removed is noted, the choice of the store is switched, and only then anything
//! is removed. A move that died before the switch has changed nothing that is used and begins anew;
//! one that died after it has only the rest of the removing left.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lock::{StoreLock, name_of};
use super::{Store, StoreError, StoreKind, select};
use crate::config::{self, Config, Paths};
use crate::credential::Site;
use crate::files::{self, FileError};
use crate::item::Item;
use crate::secret::Secret;

/// Result of a move.
#[derive(Debug)]
pub struct Outcome {
    /// The sites whose items now lie in the new store alone.
    pub sites: Vec<Site>,
    /// The new store is the one in use from now on.
    pub used: bool,
    /// Number of items removed that an interrupted move had left.
    pub finished: usize,
}

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// One of the two stores failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Both stores hold other secrets for the same names at these sites.
    #[error("both stores hold other secrets for {}; nothing was moved", names(.0))]
    Differs(Vec<Site>),
    /// The new store did not give back what was written.
    #[error("{0}: the new store gave back something else; nothing was moved")]
    Unverified(Site),
    /// The note of what is to be removed, or the configuration, can't be used.
    #[error("can't note what is moved: {0}")]
    Note(#[from] io::Error),
}

fn names(sites: &[Site]) -> String {
    let sites: Vec<String> = sites.iter().map(Site::to_string).collect();
    sites.join(", ")
}

/// Content of the new store for a site, before and after.
struct Copy {
    site: Site,
    before: Option<Secret>,
    after: Secret,
}

impl Copy {
    fn is_written(&self) -> bool {
        self.before.as_ref() == Some(&self.after)
    }
}

/// Items that may be removed from `from` once `to` is the store in use.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    from: String,
    to: String,
    /// Names of sites as [`name_of`] writes them.
    sites: Vec<String>,
}

/// Moves every item that `from` lists to `to`. Where `from` was the store in use, or none was chosen,
/// `to` is from then on. `force` lets the secrets of `from` go before those that `to` holds already.
/// `reached` is told each point that a crash must not harm.
pub fn run(
    paths: &Paths,
    from: StoreKind,
    to: StoreKind,
    force: bool,
    reached: &dyn Fn(&str),
) -> Result<Outcome, MoveError> {
    let (source, target) = (from.open(paths)?, to.open(paths)?);
    let (source, target) = (source.as_ref(), target.as_ref());
    let _lock = StoreLock::acquire(paths)?;
    let finished = finish(paths)?;
    let copies = plan(source, target, force)?;
    if copies.iter().all(Copy::is_written) {
        // Nothing else shows that the new store takes what is written to it.
        super::check(target)?;
    }
    write(target, &copies, reached)?;

    let note = Note {
        from: from.name().to_owned(),
        to: to.name().to_owned(),
        sites: copies.iter().map(|copy| name_of(&copy.site)).collect(),
    };
    config::write_private(
        &note_file(paths),
        &serde_json::to_vec(&note).map_err(io::Error::from)?,
    )?;
    reached("move-noted");
    let used = Config::update(paths, |config| {
        let kind = config.store.as_deref().map_or(Ok(None), StoreKind::parse);
        if kind.is_ok_and(|kind| kind.is_none_or(|kind| kind == from)) {
            config.store = Some(to.name().to_owned());
        }
        config.store.as_deref() == Some(to.name())
    })?;
    reached("move-switched");
    for copy in &copies {
        source.delete(&copy.site)?;
        reached("move-removed");
    }
    remove_note(paths)?;
    Ok(Outcome {
        sites: copies.into_iter().map(|copy| copy.site).collect(),
        used,
        finished,
    })
}

/// Reads both stores and changes neither.
fn plan(source: &dyn Store, target: &dyn Store, force: bool) -> Result<Vec<Copy>, MoveError> {
    let mut copies = Vec::new();
    let mut differing = Vec::new();
    let mut sites = source.sites()?;
    sites.sort();
    for site in sites {
        let Some(moved) = source.read(&site)? else {
            continue;
        };
        let before = target.read(&site)?;
        let after = match &before {
            Some(held) if *held != moved => {
                let decode = |bytes| {
                    Item::decode(&site, bytes).map_err(|error| StoreError::Item {
                        site: site.clone(),
                        error,
                    })
                };
                let mut both = decode(held)?;
                if both.absorb(decode(&moved)?, force) > 0 && !force {
                    differing.push(site);
                    continue;
                }
                both.encode(&site)
            }
            // As it is: an item of a newer program is moved too.
            _ => moved,
        };
        copies.push(Copy {
            site,
            before,
            after,
        });
    }
    match differing.is_empty() {
        true => Ok(copies),
        false => Err(MoveError::Differs(differing)),
    }
}

/// Writes and reads back. Where that fails the new store is left as it was, as far as it can be:
/// secrets are not to lie about in a store that nobody asked for.
fn write(target: &dyn Store, copies: &[Copy], reached: &dyn Fn(&str)) -> Result<(), MoveError> {
    for (at, copy) in copies.iter().enumerate() {
        if copy.is_written() {
            continue;
        }
        let written = target
            .write(&copy.site, &copy.after)
            .and_then(|()| target.read(&copy.site));
        reached("move-written");
        let failure = match written {
            Ok(Some(read)) if read == copy.after => continue,
            Ok(_) => MoveError::Unverified(copy.site.clone()),
            Err(error) => error.into(),
        };
        for done in copies[..=at].iter().rev() {
            // The first failure is the one to tell.
            let _ = match &done.before {
                Some(before) => target.write(&done.site, before),
                None => target.delete(&done.site),
            };
        }
        return Err(failure);
    }
    Ok(())
}

/// Removes what a move that died after its switch had still to remove.
fn finish(paths: &Paths) -> Result<usize, MoveError> {
    let Some(note) = read_note(paths).map_err(io::Error::from)? else {
        return Ok(0);
    };
    let mut removed = 0;
    // Without the switch the old store is still the one that is read and written.
    let used = select::remembered(paths)?;
    if used.is_some_and(|kind| kind.name() == note.to) {
        let source = select::by_name(paths, &note.from)?;
        for site in source.sites()? {
            if note.sites.contains(&name_of(&site)) {
                source.delete(&site)?;
                removed += 1;
            }
        }
    }
    remove_note(paths)?;
    Ok(removed)
}

fn read_note(paths: &Paths) -> Result<Option<Note>, FileError> {
    files::read_json(&note_file(paths), 1)
}

/// An error where the note of a move that died can't be used, without which no store is moved.
pub fn check_note(paths: &Paths) -> Result<(), FileError> {
    read_note(paths).map(drop)
}

fn note_file(paths: &Paths) -> PathBuf {
    paths.state_dir().join("move.json")
}

fn remove_note(paths: &Paths) -> io::Result<()> {
    std::fs::remove_file(note_file(paths))
}
