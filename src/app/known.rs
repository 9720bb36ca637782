//! The servers that this machine knows: those of the config file, and those of which the store holds
//! something, should that file be lost.

use std::io;

use crate::config::{Config, Paths, Server};
use crate::credential::Site;
use crate::item::Item;
use crate::sign_in::HostType;
use crate::store::{self, Store, StoreError, select};

/// Why it is not known which servers there are.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// The configuration can't be read.
    #[error("can't read the configuration")]
    Config(#[source] io::Error),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The configuration. Where it knows no server, the store is asked for those that it holds something
/// of: one that can't be read is an error, never an absence.
pub fn config(paths: &Paths) -> Result<Config, KnownError> {
    let mut config = Config::load(paths).map_err(KnownError::Config)?;
    if config.servers.is_empty() {
        let store = select::open(paths, None)?;
        let stored = complete(&mut config, store.as_ref())?;
        if let Some(error) = stored.unreadable.into_iter().next()
            && config.servers.is_empty()
        {
            return Err(error.into());
        }
    }
    Ok(config)
}

/// Contents of the store.
pub struct Stored {
    /// Each site with what is stored for it.
    pub items: Vec<(Site, Item)>,
    /// Items that are damaged, or of a newer version.
    pub unreadable: Vec<StoreError>,
}

/// Adds the servers of which the store holds a session, a sign-in or a token. Fails where the store
/// can't be read; an item that can't be is left out.
pub fn complete(config: &mut Config, store: &dyn Store) -> Result<Stored, StoreError> {
    let mut stored = Stored {
        items: Vec::new(),
        unreadable: Vec::new(),
    };
    for site in store.sites()? {
        let item = match store::load(store, &site) {
            Ok(item) => item,
            Err(error @ StoreError::Item { .. }) => {
                stored.unreadable.push(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        for session in &item.sessions {
            add(config, &session.server, None, Some(&session.account));
        }
        // A sign-in says what its server is, which a token that was created there does not.
        let entries = &item.credentials.0;
        for sign_in in entries.iter().filter_map(|entry| entry.sign_in.as_ref()) {
            let (host, account) = (Some(sign_in.host), sign_in.account.as_deref());
            add(config, &sign_in.server, host, account);
        }
        for token in entries.iter().filter_map(|entry| entry.token.as_ref()) {
            add(config, &token.server, None, Some(&token.account));
        }
        stored.items.push((site, item));
    }
    Ok(stored)
}

fn add(config: &mut Config, url: &str, host: Option<HostType>, account: Option<&str>) {
    let known = || Server {
        host_type: host.map(|host| host.name().to_owned()),
        account: account.map(str::to_owned),
        ..Server::default()
    };
    config.servers.entry(url.to_owned()).or_insert_with(known);
}
