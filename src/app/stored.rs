//! Contents of this machine's store: lists every entry without its secret, and erases entries.

use super::session;
use crate::config::{Config, Paths};
use crate::credential::{Credential, Description, Site};
use crate::expiry::{Expiry, UnixTime};
use crate::helper::renewal;
use crate::item::Item;
use crate::sign_in::{SignIn, Upkeep};
use crate::store::{self, Store, StoreError};

/// All entries of the store in use.
pub struct Listing {
    /// The store by its name, and in words.
    pub store: &'static str,
    /// The store in words: a path, or the keychain's name.
    pub location: String,
    /// By site, in the order in which git is answered.
    pub entries: Vec<Entry>,
    /// Items that can't be read: damaged, or of a newer version.
    pub unreadable: Vec<StoreError>,
}

/// One stored entry, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The site.
    pub site: Site,
    /// The username, or the account of a session; empty bytes where there is none.
    pub username: Option<Vec<u8>>,
    /// The path, where the entry is for one alone.
    pub path: Option<Vec<u8>>,
    /// The name and the id of a token that `wit` created.
    pub token: Option<(String, String)>,
    /// Origin of the entry.
    pub source: Source,
    /// State of the entry.
    pub state: State,
    /// End of the entry; `None` for never, or where it is not known.
    pub expiry: Option<Expiry>,
    /// Seconds until it expires, by its server's clock.
    pub left: Option<i64>,
    /// The way in which the entry is renewed.
    pub renewal: Renewal,
    /// Whether git gets it where it names no username.
    pub default: Default,
}

/// Whether an entry answers git where git names no username.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// It does not.
    No,
    /// It does, and no other of its site could.
    Alone,
    /// It does, and not those of other accounts at its site.
    AmongOthers,
}

/// Origin of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `wit login` at a wit server; never shown to git.
    Session,
    /// `wit login` at a git host.
    SignIn,
    /// `wit token create` or a rotation.
    Token,
    /// git, which was given it by a person or another helper.
    Git,
    /// `wit import`.
    Imported,
}

impl Source {
    /// The word for it, in text and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Source::Session => "session",
            Source::SignIn => "sign-in",
            Source::Token => "token",
            Source::Git => "git",
            Source::Imported => "imported",
        }
    }
}

/// Purpose of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It answers git, or is a session.
    Current,
    /// A token of a rotation that has not finished.
    Pending,
    /// A token that a rotation replaced and that may still have to be revoked.
    Replaced,
}

impl State {
    /// The word for it in JSON.
    pub fn name(self) -> &'static str {
        match self {
            State::Current => "current",
            State::Pending => "pending",
            State::Replaced => "replaced",
        }
    }
}

/// Way in which an entry is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// A token that is rotated when git asks for it, this many days before it expires at the most.
    Rotation(i64),
    /// By an OAuth refresh token.
    Refresh,
    /// By the private key of a GitHub App.
    AppKey,
    /// The token replaces itself.
    RotatesItself,
    /// It does not expire.
    NotNeeded,
    /// A new `wit login`.
    Login,
    /// Renewal is switched off by the configuration.
    SwitchedOff,
    /// It would be rotated if somebody were logged in.
    NotLoggedIn,
    /// git asks for another one when this is refused.
    Nobody,
}

impl Renewal {
    /// The word for it in JSON; `None` where nothing renews it.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Renewal::Rotation(_) => Some("rotation"),
            Renewal::Refresh => Some("refresh"),
            Renewal::AppKey => Some("mint"),
            Renewal::RotatesItself => Some("rotates_itself"),
            Renewal::Login => Some("login"),
            Renewal::NotNeeded | Renewal::SwitchedOff | Renewal::NotLoggedIn | Renewal::Nobody => {
                None
            }
        }
    }

    /// The same for a person.
    pub fn words(self) -> &'static str {
        match self {
            Renewal::Rotation(_) => "while git uses it",
            Renewal::Refresh => "refresh token",
            Renewal::AppKey => "app key",
            Renewal::RotatesItself => "rotates itself",
            Renewal::Login => "wit login",
            Renewal::NotNeeded | Renewal::Nobody => "-",
            Renewal::SwitchedOff => "no: switched off",
            Renewal::NotLoggedIn => "no: not logged in",
        }
    }
}

/// Reads every item of the store in use. Only items of ours are read.
pub fn list(paths: &Paths, now: UnixTime) -> Result<Listing, StoreError> {
    let config = Config::load(paths).map_err(|error| StoreError::Io {
        what: "can't read the config file".to_owned(),
        error,
    })?;
    let store = store::select::open(paths, None)?;
    let mut sites = store.sites()?;
    sites.sort();
    let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
    for site in sites {
        match store::load(store.as_ref(), &site) {
            Ok(item) => entries.extend(of_item(&site, &item, &config, now)),
            Err(error @ StoreError::Item { .. }) => unreadable.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(Listing {
        store: store.name(),
        location: store.location(),
        entries,
        unreadable,
    })
}

/// The entries of one site, without their secrets.
pub fn of_item(site: &Site, item: &Item, config: &Config, now: UnixTime) -> Vec<Entry> {
    let sessions = item.sessions.iter().map(|session| Entry {
        site: site.clone(),
        username: Some(session.account.clone().into_bytes()),
        path: None,
        token: None,
        source: Source::Session,
        state: State::Current,
        expiry: session.expiry,
        left: session.expiry.map(|expiry| expiry.left(now)),
        renewal: match session.expiry {
            Some(_) => Renewal::Login,
            None => Renewal::NotNeeded,
        },
        default: Default::No,
    });
    let default = default_of(site, item, now);
    let mut entries: Vec<Entry> = sessions.collect();
    for (credentials, state) in [
        (&item.credentials.0, State::Current),
        (&item.pending, State::Pending),
        (&item.previous, State::Replaced),
    ] {
        for credential in credentials {
            entries.push(Entry {
                site: site.clone(),
                username: credential.username.clone(),
                path: credential.path.clone(),
                token: (credential.token.as_ref())
                    .map(|token| (token.name.clone(), token.id.clone())),
                source: source(credential),
                state,
                expiry: credential.expiry,
                left: credential.left(now),
                renewal: match state {
                    State::Current => renewal_of(credential, item, config, now),
                    State::Pending | State::Replaced => Renewal::Nobody,
                },
                default: match default {
                    Some((entry, default)) if std::ptr::eq(entry, credential) => default,
                    _ => Default::No,
                },
            });
        }
    }
    entries
}

/// The entry that answers git where git names neither a username nor a path.
fn default_of<'a>(site: &Site, item: &'a Item, now: UnixTime) -> Option<(&'a Credential, Default)> {
    let request = Description {
        protocol: Some(site.protocol().into()),
        host: Some(site.host().into()),
        ..Description::default()
    };
    let entry = item.credentials.find(&request, now)?;
    let mut others = item.credentials.0.iter();
    let is_alone = others.all(|other| other.username == entry.username);
    Some(match is_alone {
        true => (entry, Default::Alone),
        false => (entry, Default::AmongOthers),
    })
}

fn source(credential: &Credential) -> Source {
    match credential {
        Credential {
            sign_in: Some(_), ..
        } => Source::SignIn,
        Credential { token: Some(_), .. } => Source::Token,
        Credential { imported: true, .. } => Source::Imported,
        _ => Source::Git,
    }
}

fn renewal_of(credential: &Credential, item: &Item, config: &Config, now: UnixTime) -> Renewal {
    if let Some(sign_in) = &credential.sign_in {
        // A token that was created by a password is replaced as any other.
        let is_created = credential.is_replaceable() && !credential.rotates_itself();
        return match renewal::days(config) {
            Some(days) if is_created => Renewal::Rotation(days),
            None if is_created => Renewal::SwitchedOff,
            _ => of_sign_in(sign_in, credential.expiry.is_some()),
        };
    }
    let Some(token) = &credential.token else {
        return Renewal::Nobody;
    };
    if credential.replace_by().is_none() {
        return Renewal::NotNeeded;
    }
    let is_logged_in = item.sign_in(&token.server, Some(&token.account)).is_some();
    let is_logged_in = is_logged_in
        || item.sessions.iter().any(|session| {
            session.server == token.server
                && session.account == token.account
                && session.expiry.is_none_or(|expiry| !expiry.is_expired(now))
        });
    let is_direct =
        session::parse_url(&token.server).is_ok_and(|url| session::is_direct(config, &url));
    match renewal::days(config) {
        None => Renewal::SwitchedOff,
        Some(_) if !is_logged_in && !is_direct => Renewal::NotLoggedIn,
        Some(days) => Renewal::Rotation(days),
    }
}

fn of_sign_in(sign_in: &SignIn, expires: bool) -> Renewal {
    match sign_in.upkeep {
        _ if sign_in.ended => Renewal::Login,
        Upkeep::Refresh(_) => Renewal::Refresh,
        Upkeep::Mint(_) => Renewal::AppKey,
        Upkeep::RotateItself => Renewal::RotatesItself,
        Upkeep::Replace { .. } | Upkeep::Watch if expires => Renewal::Login,
        Upkeep::Replace { .. } | Upkeep::Watch => Renewal::NotNeeded,
    }
}

/// The entries that are to be erased: those that answer git for a site.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The site.
    pub site: Site,
    /// Only those of this path.
    pub path: Option<Vec<u8>>,
    /// Only those of this username.
    pub username: Option<Vec<u8>>,
}

impl Selected {
    fn is_meant(&self, entry: &Credential) -> bool {
        (self.path.is_none() || self.path == entry.path)
            && (self.username.is_none() || self.username == entry.username)
    }

    /// Entries that would be erased.
    pub fn entries(&self, store: &dyn Store) -> Result<Vec<Credential>, StoreError> {
        let mut entries = store::load(store, &self.site)?.credentials.0;
        entries.retain(|entry| self.is_meant(entry));
        Ok(entries)
    }

    /// Erases them. Returns them, and the accounts whose sessions stay.
    pub fn erase(
        &self,
        store: &dyn Store,
        paths: &Paths,
    ) -> Result<(Vec<Credential>, Vec<String>), StoreError> {
        store::update(store, paths, &self.site, |item| {
            let all = &mut item.credentials.0;
            let erased = all.extract_if(.., |entry| self.is_meant(entry)).collect();
            let sessions = item.sessions.iter();
            (erased, sessions.map(|held| held.account.clone()).collect())
        })
    }
}
