//! The contract of `Store`, the same for each of them, and what each does with what it can't use.

use std::path::{Path, PathBuf};

use wit::config::{Config, Paths};
use wit::credential::{Credential, Proof, Site};
use wit::item::{Item, ItemError};
use wit::secret::Secret;
use wit::store::file::FileStore;
use wit::store::lock::name_of;
use wit::store::{self, Store, StoreError, choice};

fn site(host: &str) -> Site {
    Site::new(b"https", host.as_bytes()).expect("a good host")
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

fn item(password: &str) -> Item {
    let mut item = Item::default();
    item.credentials.put(Credential {
        username: Some(b"me".to_vec()),
        path: None,
        proof: Proof::Password(secret(password)),
        expiry: None,
        refresh_token: None,
        token: None,
    });
    item
}

/// What every store does.
fn battery(store: &dyn Store) {
    let (one, other) = (site("one.example"), site("other.example:8443"));

    assert_eq!(store.read(&one).unwrap(), None, "nothing is no error");
    store.delete(&one).expect("deleting nothing is no error");
    assert_eq!(store.sites().unwrap(), []);

    store.write(&one, &secret("first")).unwrap();
    store.write(&other, &secret("elsewhere")).unwrap();
    assert_eq!(store.read(&one).unwrap(), Some(secret("first")));

    store.write(&one, &secret("second, longer")).unwrap();
    assert_eq!(store.read(&one).unwrap(), Some(secret("second, longer")));
    assert_eq!(store.read(&other).unwrap(), Some(secret("elsewhere")));

    let mut sites = store.sites().unwrap();
    sites.sort();
    assert_eq!(sites, [one.clone(), other.clone()]);

    let odd = Secret::new((0..=255).cycle().take(20_000).collect());
    store.write(&one, &odd).unwrap();
    assert_eq!(store.read(&one).unwrap(), Some(odd), "any bytes, and many");
    store.write(&one, &secret("")).unwrap();
    assert_eq!(store.read(&one).unwrap(), Some(secret("")), "none at all");

    store.write(&one, &secret("not an item")).unwrap();
    store.set_aside(&one).unwrap();
    assert_eq!(store.read(&one).unwrap(), None, "out of the way");

    store.delete(&one).unwrap();
    store.delete(&other).unwrap();
    assert_eq!(store.read(&other).unwrap(), None);
    assert_eq!(store.sites().unwrap(), []);
}

/// A file store below a directory of its own.
struct Files {
    dir: tempfile::TempDir,
    paths: Paths,
    store: FileStore,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let store = FileStore::new(&paths);
        Files { dir, paths, store }
    }

    fn file_of(&self, site: &Site) -> PathBuf {
        self.paths.store_dir().join(name_of(site) + ".age")
    }

    fn identity(&self) -> PathBuf {
        self.paths.store_dir().join("identity.txt")
    }
}

#[test]
fn the_file_store_keeps_the_contract() {
    battery(&Files::new().store);
}

#[test]
fn reading_makes_no_file() {
    let files = Files::new();
    assert_eq!(files.store.read(&site("host")).unwrap(), None);
    assert_eq!(files.store.sites().unwrap(), []);
    let open = choice::open(&files.paths, None).unwrap();
    open.sites().unwrap();
    assert_eq!(std::fs::read_dir(files.dir.path()).unwrap().count(), 0);
}
