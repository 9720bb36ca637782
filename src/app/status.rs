//! What this machine stores for each server, and what the servers say of it.

use super::rotations::Rotations;
use super::session::{self, Selection, SessionError};
use crate::api::server::ServerUrl;
use crate::config::{Config, Paths};
use crate::helper::renewal;
use crate::item::Item;
use crate::rotation::journal::{self, Journal};
use crate::store;

mod ask;

pub use ask::Answer;
use ask::Question;

/// Everything that is known.
pub struct Status {
    /// The store by its name, and in words.
    pub store: &'static str,
    pub location: String,
    pub servers: Vec<ServerStatus>,
    pub config: Config,
    /// Whether tokens are renewed at all.
    pub renews: bool,
    pub journals: Vec<Journal>,
    pub rotations: Rotations,
    /// Why the one variable of direct mode that is set is ignored.
    pub half_direct: Option<&'static str>,
}

/// What is known of one server.
pub struct ServerStatus {
    pub url: ServerUrl,
    pub item: Item,
    pub answer: Answer,
    /// Whether its tokens are managed directly in its database.
    pub is_direct: bool,
}

/// Reads what is stored for the server that is named, or for all that are known, and unless
/// `offline` asks all of them at once whether they still accept it.
/// [`SessionError::NoServer`] where none is known.
pub fn gather(paths: &Paths, meant: &Selection, offline: bool) -> Result<Status, SessionError> {
    let config = Config::load(paths).map_err(SessionError::Config)?;
    let urls = match &meant.server {
        Some(text) => vec![session::parse_url(text)?],
        None => (config.servers.keys())
            .map(|url| session::parse_url(url))
            .collect::<Result<Vec<_>, _>>()?,
    };
    if urls.is_empty() {
        return Err(SessionError::NoServer);
    }
    let store = store::choice::open(paths, None)?;
    let mut servers = Vec::new();
    for url in urls {
        let site = session::site_of(&url)?;
        servers.push(ServerStatus {
            item: store::load(store.as_ref(), &site)?,
            answer: Answer::default(),
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
        half_direct: session::half_direct(),
    })
}
