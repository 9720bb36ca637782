//! Choice of the store: the one named, else the one remembered, else `auto`.

use std::cell::OnceCell;

use super::file::FileStore;
#[cfg(any(target_os = "macos", windows))]
use super::keychain::Keychain;
#[cfg(target_os = "linux")]
use super::secret_service::SecretService as Keychain;
use super::traced::traced;
use super::{Store, StoreError};
use crate::config::{self, Config, Paths};
use crate::credential::Site;
use crate::secret::Secret;

/// Values of `--store`, `WIT_STORE` and the config file.
pub const NAMES: [&str; 4] = ["auto", "keychain", "file", "keyutils"];

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
    if let Some(name) = named_now(named) {
        return by_name(paths, &name);
    }
    let store = match remembered(paths)? {
        Some(name) => OnceCell::from(by_name(paths, &name)?),
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
    let chosen = named_now(named).map_or_else(|| remembered(paths), |name| Ok(Some(name)))?;
    match chosen {
        Some(name) => Ok(Decided {
            store: by_name(paths, &name)?,
            new: false,
        }),
        None => {
            let store = probe(paths);
            let settled = remember(paths, store.name())?;
            let new = settled == store.name();
            let store = if new {
                store
            } else {
                by_name(paths, &settled)?
            };
            Ok(Decided { store, new })
        }
    }
}

/// The name that was given with `--store`, else that of `WIT_STORE`; neither may be `auto`.
fn named_now(named: Option<&str>) -> Option<String> {
    named
        .map(str::to_owned)
        .or_else(|| config::variable("WIT_STORE"))
        .filter(|name| name != "auto")
}

/// The name that the config file holds; `None` leaves it to `auto`.
pub fn remembered(paths: &Paths) -> Result<Option<String>, StoreError> {
    let config = Config::load(paths).map_err(|error| StoreError::Io {
        what: "can't read the config file".to_owned(),
        error,
    })?;
    Ok(config.store.filter(|name| name != "auto"))
}

/// The store of that name, whatever is configured. `auto` is none.
pub fn by_name(paths: &Paths, name: &str) -> Result<Box<dyn Store>, StoreError> {
    match name {
        "file" => Ok(traced(Box::new(FileStore::new(paths)))),
        #[cfg(any(target_os = "linux", target_os = "macos", windows))]
        "keychain" => Ok(traced(Box::new(Keychain::new()))),
        #[cfg(target_os = "linux")]
        "keyutils" => Ok(traced(Box::new(super::keyutils::Keyutils::new()))),
        _ => Err(StoreError::Unavailable {
            reason: format!(
                "no store is called {name:?}; there are {}",
                NAMES.join(", ")
            ),
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

/// Remembers what `auto` chose and returns it, or what another process chose just before.
fn remember(paths: &Paths, name: &str) -> Result<String, StoreError> {
    let settle = |config: &mut Config| {
        let undecided = config.store.as_deref().is_none_or(|store| store == "auto");
        if undecided {
            config.store = Some(name.to_owned());
        }
        config.store.clone().unwrap_or_default()
    };
    Config::update(paths, settle).map_err(|error| StoreError::Io {
        what: "can't remember the choice of the store".to_owned(),
        error,
    })
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
            if settled != store.name() {
                return by_name(&self.paths, &settled)?.write(site, item);
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

    fn set_aside(&self, site: &Site) -> Result<String, StoreError> {
        match self.successor()? {
            Some(next) => next.set_aside(site),
            None => self.store().set_aside(site),
        }
    }

    fn successor(&self) -> Result<Option<Box<dyn Store>>, StoreError> {
        remembered(&self.paths)?
            .filter(|name| name != self.name())
            .map(|name| by_name(&self.paths, &name))
            .transpose()
    }
}
