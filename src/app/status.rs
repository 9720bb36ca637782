//! State of what this machine stores for each server, here and at the servers.

use std::thread;

use super::exec;
use super::known;
use super::rotations::Rotations;
use super::session::{self, Selection, SessionError};
use super::stored::{self, Entry, State};
use crate::api::server::ServerUrl;
use crate::config::{Config, Paths};
use crate::credential::{Credential, Site};
use crate::expiry::UnixTime;
use crate::helper::{refresh, renewal};
use crate::item::Item;
use crate::progress;
use crate::rotation::journal::{self, Journal};
use crate::store::{self, Store, StoreError};

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
    /// Credentials of sites that are no server of these.
    pub others: Vec<Entry>,
    /// Items of such sites that can't be read.
    pub unreadable: Vec<StoreError>,
    /// Why the one variable of direct mode that is set is ignored.
    pub half_direct: Option<&'static str>,
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
    let store = store::select::open(paths, None)?;
    let mut stored = known::complete(&mut config, store.as_ref())?;
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
    let now = UnixTime::now();
    let is_other = |site: &Site| meant.server.is_none() && !sites.contains(site);
    stored.items.sort_by(|(one, _), (other, _)| one.cmp(other));
    let others = stored.items.iter().filter(|(site, _)| is_other(site));
    let others = others.flat_map(|(site, item)| stored::of_item(site, item, &config, now));
    let others: Vec<Entry> = others
        .filter(|entry| entry.state == State::Current)
        .collect();
    let unreadable = stored.unreadable.into_iter();
    let unreadable = unreadable.filter(|error| match error {
        StoreError::Item { site, .. } => is_other(site),
        _ => true,
    });
    let unreadable: Vec<StoreError> = unreadable.collect();
    if urls.is_empty() && others.is_empty() && unreadable.is_empty() {
        return Err(SessionError::NoServer);
    }
    let mut items = Vec::new();
    for site in &sites {
        items.push(store::load(store.as_ref(), site)?);
    }
    if !offline {
        refresh_due(paths, store.as_ref(), &sites, &mut items)?;
    }
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
        unreadable,
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
