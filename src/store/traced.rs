//! A store that tells what is asked of it, where `WIT_TRACE` is set.

use super::{Store, StoreError};
use crate::credential::Site;
use crate::secret::Secret;
use crate::trace::{self, Outcome};

struct Traced(Box<dyn Store>);

/// The store itself, or one that tells what it does where somebody looks.
pub fn traced(store: Box<dyn Store>) -> Box<dyn Store> {
    if !trace::is_on() {
        return store;
    }
    trace::note(format_args!("store {}: {}", store.name(), store.location()));
    Box::new(Traced(store))
}

impl Traced {
    fn tell<T>(
        &self,
        what: &str,
        site: &Site,
        work: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let step = trace::begin();
        let result = work(self.0.as_ref());
        let (name, outcome) = (self.0.name(), Outcome(&result));
        step.end(format_args!("store {name}: {what} {site}: {outcome}"));
        result
    }
}

impl Store for Traced {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn location(&self) -> String {
        self.0.location()
    }

    fn caveat(&self) -> Option<String> {
        self.0.caveat()
    }

    fn read(&self, site: &Site) -> Result<Option<Secret>, StoreError> {
        self.tell("read", site, |store| store.read(site))
    }

    fn write(&self, site: &Site, item: &Secret) -> Result<(), StoreError> {
        self.tell("write", site, |store| store.write(site, item))
    }

    fn delete(&self, site: &Site) -> Result<(), StoreError> {
        self.tell("delete", site, |store| store.delete(site))
    }

    fn sites(&self) -> Result<Vec<Site>, StoreError> {
        let step = trace::begin();
        let result = self.0.sites();
        let outcome = Outcome(&result);
        step.end(format_args!("store {}: list: {outcome}", self.0.name()));
        result
    }

    fn open_sites(&self) -> Result<Vec<Site>, StoreError> {
        self.0.open_sites()
    }

    fn set_aside(&self, site: &Site) -> Result<String, StoreError> {
        self.tell("set aside", site, |store| store.set_aside(site))
    }
}
