//! The steps of a rotation, its journal, and what a re-run does.
//!
//! The old token works until the new one has been verified, stored and delivered:
//! lock, preflight, create, pending slot, verify, promote, deliver, grace, revoke, clear. Each step
//! is written to the [`journal`] before it is taken, and each can be taken twice, so that a re-run
//! after a crash at any point finishes the rotation or undoes it.
//!
//! A token whose response was lost is found by the id that its request carried ([`crate::api::lost`]),
//! and revoked. Where the server keeps no such ids, a token that may be it may as well be another
//! machine's: then none is revoked and a person is asked.

use std::io;
use std::time::Duration;

pub mod deliver;
mod in_place;
pub mod journal;
mod steps;

use crate::api::http::escaped;
use crate::api::promises::lifetime_in_days;
use crate::api::{ApiError, NewToken, Token, TokenApi};
use crate::config::Paths;
use crate::credential::{Credential, Site};
use crate::expiry::{CLOCK_MARGIN, Expiry, UnixTime, rfc3339};
use crate::item::Item;
use crate::secret::Secret;
use crate::sign_in;
use crate::store::lock::SiteLock;
use crate::store::{Store, StoreError};
use deliver::{DeliveryError, Receiver};
use journal::{Journal, Step};

/// Seconds before the end of a grace is tried again after a failure.
const GRACE_AGAIN: i64 = 3_600;

/// Of a token that has replaced itself (`OVERLAP` in `database::family`).
pub const OLD_ENDS: &str = "the old one ends by itself, ten minutes after it was replaced";

/// Plan of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The rotation's id, unique and fit for a file name.
    pub rotation: String,
    /// The site whose item holds the token, or holds the new one until it is delivered.
    pub site: Site,
    /// Base URL of the server.
    pub server: String,
    /// Username or email of the account.
    pub account: String,
    /// Id of the token to replace.
    pub old_id: String,
    /// True if the old token lies in the store.
    pub stored: bool,
    /// True if the old token replaces itself, and ends by itself.
    pub by_itself: bool,
    /// Name, scopes and lifetime of the new token.
    pub new: NewToken,
    /// Receivers of the new token.
    pub deliver: Vec<Receiver>,
    /// Time for which the old token lives on after the new one has been delivered.
    pub grace: Duration,
}

impl Plan {
    /// A rotation of a stored token to one of the same name, scopes and lifetime. `None` where the
    /// entry was not made by `wit`.
    pub fn of_stored(rotation: String, site: &Site, entry: &Credential) -> Option<Self> {
        let info = entry.token.as_ref()?;
        Some(Plan {
            rotation,
            site: site.clone(),
            server: info.server.clone(),
            account: info.account.clone(),
            old_id: info.id.clone(),
            stored: true,
            by_itself: entry.rotates_itself(),
            new: NewToken {
                name: info.name.clone(),
                scopes: info.scopes.clone(),
                repositories: info.repositories.clone(),
                expires_in_days: lifetime_in_days(info.created, entry.expiry.or(info.replace_by)),
                request_id: None,
                replaces: None,
            },
            deliver: Vec::new(),
            grace: Duration::ZERO,
        })
    }

    /// Returns whether the old token replaces itself where it is stored.
    pub fn is_in_place(&self) -> bool {
        self.by_itself && self.stored
    }

    /// A rotation of a token that lies elsewhere: it needs somewhere to be delivered to.
    pub fn of_listed(
        rotation: String,
        site: &Site,
        server: String,
        account: String,
        token: &Token,
    ) -> Self {
        Plan {
            rotation,
            site: site.clone(),
            server,
            account,
            old_id: token.id.clone(),
            stored: false,
            by_itself: false,
            new: NewToken {
                name: token.name.clone(),
                scopes: token.scopes.clone(),
                repositories: token.repositories.clone(),
                expires_in_days: (token.created)
                    .and_then(|created| lifetime_in_days(created, token.expiry)),
                request_id: None,
                replaces: None,
            },
            deliver: Vec::new(),
            grace: Duration::ZERO,
        }
    }
}

/// Outcome of a run without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// One live token of that name is left: the new one.
    Rotated {
        /// Id of the new token.
        new_id: String,
        /// End of the new token; `None` for never.
        expiry: Option<Expiry>,
    },
    /// As [`Outcome::Rotated`], but the old token lives on; a run after `until`, by the server's
    /// clock, revokes it.
    InGrace {
        /// Id of the new token.
        new_id: String,
        /// End of the new token; `None` for never.
        expiry: Option<Expiry>,
        /// End of the grace, by the server's clock.
        until: UnixTime,
    },
    /// The old token is in its place and the new one is gone.
    Undone,
    /// Another process finished or undid it meanwhile.
    Gone,
}

/// The state of the old token while the new one is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldToken {
    /// It works until it is revoked.
    Works,
    /// It works for a few minutes, and ends by itself.
    EndsSoon,
    /// It does not work any more.
    HasEnded,
}

/// Why a run stopped. Unless said otherwise the journal remains and a re-run goes on from there;
/// the old token still works.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The server, or the way to it, failed.
    #[error("{doing}: {error}")]
    Api {
        /// What was being done.
        doing: &'static str,
        /// The server's error.
        #[source]
        error: ApiError,
    },
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The journal can't be read or written.
    #[error("the rotation's journal: {0}")]
    Journal(#[from] io::Error),
    /// The account has that many tokens already, as many as it may have. Nothing was done.
    #[error("the account has {0} tokens, so there is no room for a new one")]
    Full(usize),
    /// The token to rotate is not in the server's list. Nothing was done.
    #[error("the server no longer has this token")]
    Missing,
    /// Another process has replaced the stored token meanwhile. Nothing was done.
    #[error("another process has rotated the token in the meantime")]
    Replaced,
    /// The server refuses the old token although it has not expired. Nothing was done.
    #[error("the server refuses the old token")]
    OldRefused,
    /// The new token would have nowhere to go. Nothing was done.
    #[error("this token is not stored here, so the new one needs a receiver")]
    NoReceiver,
    /// The new token is not what was asked for. The old one is kept, unless that has replaced itself.
    #[error(
        "the new token differs from the request{}: {what}",
        if *revoked { ", and was revoked" } else { "" }
    )]
    NotAsAsked {
        /// The difference, in one clause.
        what: String,
        /// True if the new token was revoked.
        revoked: bool,
    },
    /// These tokens may come from a create request whose response was lost, or from another machine;
    /// only a person can tell. None was revoked; see [`Rotator::leave_alone`].
    #[error("{}", unclear(tokens, *sent))]
    Unclear {
        /// At least one.
        tokens: Vec<Token>,
        /// When the request was sent, by the server's clock.
        sent: UnixTime,
    },
    /// Some receivers do not have the new token.
    #[error("{}", undelivered(failed, *old))]
    Undelivered {
        /// These receivers, each with its error.
        failed: Vec<(Receiver, DeliveryError)>,
        /// State of the old token.
        old: OldToken,
    },
    /// The new token's secret is gone from the store, and somebody may still need it.
    #[error("the new token is no longer kept here")]
    NotKept,
    /// The server has ended the new token: the old one is all there is, and is not revoked.
    #[error("the server has ended the new token; the old one was not revoked")]
    NewGone,
    /// The token has replaced itself, and the answer with the new one was lost. Nothing is left of
    /// the rotation; the entry is marked as ended.
    #[error("{}", sign_in::lost(server, &escaped(name)))]
    Lost {
        /// Base URL of the server.
        server: String,
        /// The token's name, not escaped.
        name: String,
    },
    /// There is no way back, for this reason.
    #[error("{0}, so the rotation can only be finished")]
    TooLateToAbort(&'static str),
}

fn unclear(tokens: &[Token], sent: UnixTime) -> String {
    let sent = rfc3339(sent);
    let mut text = format!(
        "the response to a create request of {sent} was lost; these tokens may come from it, or \
         from another machine, and none was revoked:"
    );
    for token in tokens {
        let (id, name) = (escaped(&token.id), escaped(&token.name));
        text += &format!("\n  {id}  {name}");
        if let Some(created) = token.created {
            text += &format!(", created {}", rfc3339(created));
        }
        text += &match token.last_used {
            Some(at) => format!(", last used {}", rfc3339(at)),
            None => ", never used".to_owned(),
        };
    }
    text
}

fn undelivered(failed: &[(Receiver, DeliveryError)], old: OldToken) -> String {
    let old = match old {
        OldToken::EndsSoon => OLD_ENDS,
        OldToken::HasEnded => "the old one has ended",
        OldToken::Works => "the old one still works",
    };
    let mut text = format!("the new token did not reach every receiver; {old}");
    for (receiver, error) in failed {
        text += &format!("\n{receiver}: {error}");
    }
    text
}

/// For [`Rotator::reached`]: dies at the point that `WIT_CRASH_AT` names, in a build for that.
pub fn crash_point(_point: &str) {
    #[cfg(feature = "crash-points")]
    if crate::config::variable("WIT_CRASH_AT").as_deref() == Some(_point) {
        std::process::abort();
    }
}

/// Why a rotation has revoked a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was replaced.
    Replaced,
    /// The rotation had created it, and does not keep it.
    Created,
    /// It came of the one that was replaced, by replacing itself.
    Descendant,
}

/// The parts of the world that a rotation works with.
///
/// A stored token is rotated with the library alone:
///
/// ```no_run
/// use std::rc::Rc;
/// use std::time::Duration;
///
/// use wit::api::{http::Client, rest::Rest, server::ServerUrl};
/// use wit::config::Paths;
/// use wit::expiry::UnixTime;
/// use wit::rotation::deliver::{TIME_LIMIT, deliver};
/// use wit::rotation::{Outcome, Plan, Rotator};
/// use wit::secret::Secret;
/// use wit::store::{self, select};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let session = Secret::from(String::new());
/// let server = ServerUrl::parse("https://git.example.org")?;
/// let site = server.site().ok_or("no site")?;
/// let paths = Paths::from_environment().ok_or("no home directory")?;
/// let store = select::open(&paths, None)?;
/// let api = Rest::new(Rc::new(Client::new(&server, false)?), session);
///
/// let item = store::load(store.as_ref(), &site)?;
/// let entry = item.credentials.0.first().ok_or("nothing is stored")?;
/// let plan = Plan::of_stored("a-unique-id".to_owned(), &site, entry).ok_or("not made by wit")?;
/// let rotator = Rotator {
///     api: &api,
///     store: store.as_ref(),
///     paths: &paths,
///     now: &UnixTime::now,
///     deliver: &|receiver, token| deliver(receiver, token, TIME_LIMIT),
///     reached: &|_| {},
///     revoked: &|id, _| println!("revoked {id}"),
///     lock_timeout: Duration::from_secs(5),
/// };
/// if let Outcome::Rotated { new_id, .. } = rotator.start(&plan)? {
///     println!("replaced by {new_id}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct Rotator<'a> {
    /// The account's token API.
    pub api: &'a dyn TokenApi,
    /// The store with the item of [`Plan::site`].
    pub store: &'a dyn Store,
    /// Directories of locks and journals.
    pub paths: &'a Paths,
    /// This machine's clock.
    pub now: &'a dyn Fn() -> UnixTime,
    /// Brings the new token to a receiver.
    pub deliver: &'a dyn Fn(&Receiver, &Secret) -> Result<(), DeliveryError>,
    /// Told the name of each point that a crash must not harm, once it is reached.
    pub reached: &'a dyn Fn(&str),
    /// Told the id of each token that was revoked, and why.
    pub revoked: &'a dyn Fn(&str, Reason),
    /// Longest wait for another rotation at the same site.
    pub lock_timeout: Duration,
}

/// The entry of an item's list that holds the token `id`.
fn with_id<'a>(entries: &'a [Credential], id: &str) -> Option<&'a Credential> {
    entries.iter().find(|entry| entry.has_id(id))
}

fn remove_id(entries: &mut Vec<Credential>, id: &str) {
    entries.retain(|entry| !entry.has_id(id));
}
