//! The servers that this machine knows: those of the config file, and those of which the store holds
//! something, should that file be lost.

use std::io;

use crate::config::{Config, Paths, Server};
use crate::credential::Site;
use crate::sign_in::HostType;
use crate::store::{self, Store, select};

/// The configuration. Where it knows no server, the store is asked for those that it holds something
/// of.
pub fn config(paths: &Paths) -> io::Result<Config> {
    let mut config = Config::load(paths)?;
    if config.servers.is_empty()
        && let Ok(store) = select::open(paths, None)
    {
        complete(&mut config, store.as_ref());
    }
    Ok(config)
}

/// Adds the servers of which the store holds a session, a sign-in or a token. Returns how many
/// credentials each site has. What can't be read is left out: others say so.
pub fn complete(config: &mut Config, store: &dyn Store) -> Vec<(Site, i64)> {
    let mut sites = Vec::new();
    for site in store.sites().unwrap_or_default() {
        let Ok(item) = store::load(store, &site) else {
            continue;
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
        let count = i64::try_from(item.credentials.0.len()).unwrap_or(i64::MAX);
        sites.push((site, count));
    }
    sites
}

fn add(config: &mut Config, url: &str, host: Option<HostType>, account: Option<&str>) {
    let known = || Server {
        host_type: host.map(|host| host.name().to_owned()),
        account: account.map(str::to_owned),
        ..Server::default()
    };
    config.servers.entry(url.to_owned()).or_insert_with(known);
}
