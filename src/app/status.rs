//! State of what this machine stores for each server, here and at the servers.

use std::thread;

use super::exec;
use super::known;
use super::rotations::Rotations;
use super::session::{self, Selection, SessionError};
use crate::api::server::ServerUrl;
use crate::config::{Config, Paths};
use crate::credential::{Credential, Site};
use crate::expiry::UnixTime;
use crate::helper::{refresh, renewal};
use crate::item::Item;
use crate::progress;
use crate::rotation::journal::{self, Journal};
use crate::store::{self, Store};

mod ask;

pub use ask::Answer;
use ask::Question;

/// Everything that is known.
pub struct Status {
    /// The store by its name, and in words.
    pub store: &'static str,
    /// The store in words: a path, or the keychain's name.
    pub location: String,
    /// Servers, in the order of their URLs.
    pub servers: Vec<ServerStatus>,
    /// The configuration, completed by what the store holds.
    pub config: Config,
    /// True if tokens are renewed at all.
    pub renews: bool,
    /// Rotations that are not finished.
    pub journals: Vec<Journal>,
    /// Rotations that failed before, and when they are tried again.
    pub rotations: Rotations,
    /// The records of commands' tokens that should have been revoked.
    pub unrevoked: Vec<exec::journal::Journal>,
    /// Credentials of sites that are no server of these, and how many sites they are of.
    pub others: Others,
    /// Why the one variable of direct mode that is set is ignored.
    pub half_direct: Option<&'static str>,
}

/// Credentials that git is given at sites where nobody is signed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Number of credentials.
    pub credentials: i64,
    /// Number of sites.
    pub sites: i64,
}

/// State of one server.
pub struct ServerStatus {
    /// Base URL of the server.
    pub url: ServerUrl,
    /// The site's item; empty where it can't be read.
    pub item: Item,
    /// The server's answers about what is stored.
    pub answer: Answer,
    /// Why an access token that has expired was not refreshed.
    pub failure: Option<String>,
    /// True if its tokens are managed directly in its database.
    pub is_direct: bool,
}

/// Reads what is stored for the server that is named, or for all that are known, and unless
/// `offline` asks all of them at once whether they still accept it.
/// [`SessionError::NoServer`] where none is known.
pub fn gather(paths: &Paths, meant: &Selection, offline: bool) -> Result<Status, SessionError> {
    let mut config = Config::load(paths).map_err(SessionError::Config)?;
    let store = store::select::open(paths, None);
    let stored = match &store {
        Ok(store) => known::complete(&mut config, store.as_ref()),
        Err(_) => Vec::new(),
    };
    let urls = match &meant.server {
        Some(text) => vec![session::parse_url(text)?],
        None => (config.servers.keys())
            .map(|url| session::parse_url(url))
            .collect::<Result<Vec<_>, _>>()?,
    };
    let mut sites = Vec::new();
    for url in &urls {
        sites.push(session::site_of(url)?);
    }
    let mut others = Others::default();
    let is_other = |site: &Site| meant.server.is_none() && !sites.contains(site);
    for (_, credentials) in stored.iter().filter(|(site, n)| *n > 0 && is_other(site)) {
        others.sites += 1;
        others.credentials += credentials;
    }
    if urls.is_empty() && others.credentials == 0 {
        return Err(SessionError::NoServer);
    }
    let store = store?;
    let mut items = Vec::new();
    for site in &sites {
        items.push(store::load(store.as_ref(), site)?);
    }
    if !offline {
        refresh_due(paths, store.as_ref(), &sites, &mut items)?;
    }
    let now = UnixTime::now();
    let mut servers = Vec::new();
    for ((url, site), item) in urls.into_iter().zip(&sites).zip(items) {
        let is_over = |entry: &Credential| entry.is_refreshable() && entry.is_expired(now);
        let is_over = item.credentials.0.iter().any(is_over);
        servers.push(ServerStatus {
            item,
            answer: Answer::default(),
            failure: (is_over.then(|| refresh::last_failure(paths, site))).flatten(),
            is_direct: session::is_direct(&config, &url),
            url,
        });
    }
    if !offline {
        let questions =
            (servers.iter()).map(|server| Question::new(&server.url, &server.item, &config, meant));
        let answers = ask::all(questions.collect());
        for (server, answer) in servers.iter_mut().zip(answers) {
            server.answer = answer;
        }
    }
    Ok(Status {
        store: store.name(),
        location: store.location(),
        servers,
        renews: renewal::days(&config).is_some(),
        config,
        journals: journal::all(paths).unwrap_or_default(),
        rotations: Rotations::load(paths),
        unrevoked: exec::unrevoked(paths),
        others,
        half_direct: session::half_direct(),
    })
}

/// Has the access tokens refreshed that are due, as git would. A person who asks is no reason to wait
/// for the end of a pause.
fn refresh_due(
    paths: &Paths,
    store: &dyn Store,
    sites: &[Site],
    items: &mut [Item],
) -> Result<(), SessionError> {
    let now = UnixTime::now();
    let is_due = |item: &Item| {
        let mut entries = item.credentials.0.iter();
        entries.any(|entry| entry.needs_refresh(now))
    };
    let all = sites.iter().zip(items.iter_mut());
    let due: Vec<(&Site, &mut Item)> = all.filter(|(_, item)| is_due(item)).collect();
    if due.is_empty() {
        return Ok(());
    }
    progress::during("Refreshing what has expired", || {
        thread::scope(|scope| {
            for (site, _) in &due {
                scope.spawn(|| {
                    let _ = refresh::ask_again(paths, site);
                    refresh::refresh(paths, site, None, now)
                });
            }
        });
    });
    for (site, item) in due {
        *item = store::load(store, site)?;
    }
    Ok(())
}
