//! The kinds of store, by the names that options, `WIT_STORE` and the config file have for them.

use std::fmt;

use super::StoreError;

/// The name that leaves the kind to [`super::select`].
const AUTO: &str = "auto";

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// The system's keychain: until it is deleted.
    Keychain,
    /// An encrypted file a site: until it is deleted.
    File,
    /// The kernel's keyring (Linux): until the next reboot.
    Keyutils,
}

impl StoreKind {
    /// All kinds, whatever this system has.
    pub const ALL: [StoreKind; 3] = [StoreKind::Keychain, StoreKind::File, StoreKind::Keyutils];

    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            StoreKind::Keychain => "keychain",
            StoreKind::File => "file",
            StoreKind::Keyutils => "keyutils",
        }
    }

    /// The kind of that name; `None` for `auto`, and [`StoreError::Unavailable`] for any other name.
    pub fn parse(name: &str) -> Result<Option<Self>, StoreError> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        match kind {
            None if name != AUTO => {
                let reason = format!("no store is called {name:?}; there are {}", names());
                Err(StoreError::Unavailable { reason })
            }
            kind => Ok(kind),
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All names, `auto` too, for a person.
pub fn names() -> String {
    let kinds = StoreKind::ALL.map(StoreKind::name);
    format!("{AUTO}, {}", kinds.join(", "))
}
