//! Choice of the store: the one named, else the one remembered, else `auto`.

use std::cell::OnceCell;

use super::file::FileStore;
#[cfg(any(target_os = "macos", windows))]
use super::keychain::Keychain;
#[cfg(target_os = "linux")]
use super::keyutils::Keyutils;
#[cfg(target_os = "linux")]
use super::secret_service::SecretService as Keychain;
use super::traced::traced;
use super::{Store, StoreError, StoreKind};
use crate::config::{self, Config, Paths};
use crate::credential::Site;
use crate::secret::Secret;

/// A store, and whether `auto` has just chosen it: then a person is told where secrets now lie.
pub struct Decided {
    /// The store.
    pub store: Box<dyn Store>,
    /// True if `auto` has chosen it just now.
    pub new: bool,
}

/// The store to use: `named` (from `--store`), else `WIT_STORE`, else the config file's.
///
/// If none of them says, `auto` is decided and remembered by the first write; until then
/// reading looks where that would go and leaves no trace.
pub fn open(paths: &Paths, named: Option<&str>) -> Result<Box<dyn Store>, StoreError> {
    if let Some(kind) = named_now(named)? {
        return kind.open(paths);
    }
    let store = match remembered(paths)? {
        Some(kind) => OnceCell::from(kind.open(paths)?),
        None => OnceCell::new(),
    };
    Ok(Box::new(Configured {
        undecided: store.get().is_none(),
        paths: paths.clone(),
        store,
    }))
}

/// The same for what is about to write (`wit login`, `wit setup`): `auto` is decided now.
pub fn decide(paths: &Paths, named: Option<&str>) -> Result<Decided, StoreError> {
    let chosen = match named_now(named)? {
        Some(kind) => Some(kind),
        None => remembered(paths)?,
    };
    if let Some(kind) = chosen {
        let store = kind.open(paths)?;
        return Ok(Decided { store, new: false });
    }
    let store = probe(paths);
    match remember(paths, store.name())? {
        // Another process chose just before.
        Some(kind) if kind.name() != store.name() => Ok(Decided {
            store: kind.open(paths)?,
            new: false,
        }),
        _ => Ok(Decided { store, new: true }),
    }
}

/// The kind that was given with `--store`, else that of `WIT_STORE`.
fn named_now(named: Option<&str>) -> Result<Option<StoreKind>, StoreError> {
    let name = named
        .map(str::to_owned)
        .or_else(|| config::variable("WIT_STORE"));
    self::named(name.as_deref())
}

/// The kind that the config file names; `None` leaves it to `auto`.
pub fn remembered(paths: &Paths) -> Result<Option<StoreKind>, StoreError> {
    let config = Config::load(paths).map_err(|error| StoreError::Io {
        what: "can't read the config file".to_owned(),
        error,
    })?;
    named(config.store.as_deref())
}

impl StoreKind {
    /// The store of this kind, whatever is configured. [`StoreError::Unavailable`] where this system
    /// has none.
    pub fn open(self, paths: &Paths) -> Result<Box<dyn Store>, StoreError> {
        match self {
            StoreKind::File => Ok(traced(Box::new(FileStore::new(paths)))),
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            StoreKind::Keychain => Ok(traced(Box::new(Keychain::new()))),
            #[cfg(target_os = "linux")]
            StoreKind::Keyutils => Ok(traced(Box::new(Keyutils::new()))),
            #[allow(unreachable_patterns, reason = "Linux has all of them")]
            _ => Err(StoreError::Unavailable {
                reason: format!("this system has no store {self}"),
            }),
        }
    }
}

/// The store of that name, whatever is configured; [`StoreError::Unavailable`] for `auto` too.
pub fn by_name(paths: &Paths, name: &str) -> Result<Box<dyn Store>, StoreError> {
    match StoreKind::parse(name)? {
        Some(kind) => kind.open(paths),
        None => Err(StoreError::Unavailable {
            reason: format!("{name} is not the name of one store"),
        }),
    }
}

/// The store that `auto` means here and now: the keychain where it answers in time, else files.
fn probe(paths: &Paths) -> Box<dyn Store> {
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    {
        let keychain = Keychain::new();
        if keychain.probe().is_ok() {
            return traced(Box::new(keychain));
        }
    }
    traced(Box::new(FileStore::new(paths)))
}

fn named(name: Option<&str>) -> Result<Option<StoreKind>, StoreError> {
    name.map_or(Ok(None), StoreKind::parse)
}

/// Remembers what `auto` chose and returns it, or what another process chose just before.
fn remember(paths: &Paths, name: &str) -> Result<Option<StoreKind>, StoreError> {
    let settle = |config: &mut Config| {
        if let Ok(None) = named(config.store.as_deref()) {
            config.store = Some(name.to_owned());
        }
        config.store.clone()
    };
    let settled = Config::update(paths, settle).map_err(|error| StoreError::Io {
        what: "can't remember the choice of the store".to_owned(),
        error,
    })?;
    named(settled.as_deref())
}

/// The store that the configuration says, or that `auto` would choose where it says none.
struct Configured {
    paths: Paths,
    store: OnceCell<Box<dyn Store>>,
    undecided: bool,
}

impl Configured {
    fn store(&self) -> &dyn Store {
        self.store.get_or_init(|| probe(&self.paths)).as_ref()
    }
}

impl Store for Configured {
    fn name(&self) -> &'static str {
        self.store().name()
    }

    fn location(&self) -> String {
        self.store().location()
    }

    fn caveat(&self) -> Option<String> {
        self.store().caveat()
    }

    fn read(&self, site: &Site) -> Result<Option<Secret>, StoreError> {
        match self.store().read(site)? {
            Some(item) => Ok(Some(item)),
            // It may have been moved since the choice was read.
            None => self.successor()?.map_or(Ok(None), |next| next.read(site)),
        }
    }

    fn write(&self, site: &Site, item: &Secret) -> Result<(), StoreError> {
        if let Some(next) = self.successor()? {
            return next.write(site, item);
        }
        let store = self.store();
        if self.undecided {
            let settled = remember(&self.paths, store.name())?;
            if let Some(kind) = settled.filter(|kind| kind.name() != store.name()) {
                return kind.open(&self.paths)?.write(site, item);
            }
        }
        store.write(site, item)
    }

    fn delete(&self, site: &Site) -> Result<(), StoreError> {
        match self.successor()? {
            Some(next) => next.delete(site),
            None => self.store().delete(site),
        }
    }

    fn sites(&self) -> Result<Vec<Site>, StoreError> {
        self.store().sites()
    }

    fn open_sites(&self) -> Result<Vec<Site>, StoreError> {
        match self.undecided {
            // The first write decides.
            true => Ok(Vec::new()),
            false => self.store().open_sites(),
        }
    }

    fn set_aside(&self, site: &Site) -> Result<String, StoreError> {
        match self.successor()? {
            Some(next) => next.set_aside(site),
            None => self.store().set_aside(site),
        }
    }

    fn successor(&self) -> Result<Option<Box<dyn Store>>, StoreError> {
        remembered(&self.paths)?
            .filter(|kind| kind.name() != self.name())
            .map(|kind| kind.open(&self.paths))
            .transpose()
    }
}
