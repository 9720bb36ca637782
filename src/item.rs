//! The stored form of a site: one small versioned JSON document, the whole content of one
//! keychain item or one encrypted file.
//!
//! ```json
//! {"version":1,"site":"https://host","credentials":[{"username":"me","password":"…"}]}
//! ```
//! Text that is not UTF-8 is written as an array of bytes. A change that an older program would lose
//! raises the version.

use std::io;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::Formatter;
use sha2::{Digest, Sha256};

use crate::credential::{AuthData, Credential, Credentials, Site, TokenInfo};
use crate::expiry::{Expiry, UnixTime};
use crate::secret::{Secret, SecretBuffer};
use crate::sign_in::{ClientAuth, HostType, InstalledApp, OAuthClient, SignIn, Upkeep};

/// The format's newest version. A higher one is never overwritten.
const VERSION: u64 = 4;
/// The version of an item without sign-ins at Bitbucket and Azure DevOps.
const WITHOUT_CLOUDS: u64 = 3;
/// The version of an item without the key of a GitHub App.
const WITHOUT_APPS: u64 = 2;
/// The version of an item without sign-ins at git hosts, and tokens created there, which older
/// programs read and write too.
const WITHOUT_SIGN_INS: u64 = 1;

/// Most replaced tokens of a site that are remembered.
const REMEMBERED: usize = 8;

/// Everything that is stored about one site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Credentials that answer git.
    pub credentials: Credentials,
    /// Sign-ins of `wit login`; never shown to git.
    pub sessions: Vec<Session>,
    /// Tokens of rotations that are not finished; never shown to git.
    pub pending: Vec<Credential>,
    /// Tokens that a rotation replaced and that may still have to be revoked; never shown to git.
    pub previous: Vec<Credential>,
    /// Hashes of the tokens that rotations replaced last, the newest first.
    pub retired: Vec<String>,
}

/// A sign-in to a server's token API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Base URL of the server.
    pub server: String,
    /// Username or email that signed in.
    pub account: String,
    /// Secret for the server's API, never for git.
    pub token: Secret,
    /// The signed cookie of the sign-in, as `name=value`, for a server that ends a session by it only.
    pub cookie: Option<Secret>,
    /// When a person has to sign in again.
    pub expiry: Option<Expiry>,
}

/// Why stored bytes are no item of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// Not JSON, or not of this form: torn, truncated or somebody else's.
    #[error("the stored item is damaged")]
    Damaged,
    /// Written by a newer version of this program.
    #[error("the stored item has format {0}, which is newer than this program")]
    Newer(u64),
    /// A good item of another site.
    #[error("the stored item belongs to another site")]
    OtherSite,
}

impl Item {
    /// Returns whether nothing worth storing is left.
    pub fn is_empty(&self) -> bool {
        let entries = [&self.credentials.0, &self.pending, &self.previous];
        self.sessions.is_empty() && entries.iter().all(|entries| entries.is_empty())
    }

    /// All entries: what answers git, and what rotations have not finished or left behind.
    pub fn entries(&self) -> impl Iterator<Item = &Credential> {
        let all = [&self.credentials.0, &self.pending, &self.previous];
        all.into_iter().flatten()
    }

    /// The sign-in at a git host by which an account's tokens can be worked on, if it has not ended.
    pub fn sign_in(&self, server: &str, account: Option<&str>) -> Option<&Credential> {
        let is_meant = |sign_in: &SignIn| {
            let known = sign_in.account.as_deref();
            let is_account = account.is_none() || known.is_none() || known == account;
            sign_in.server == server && is_account && !sign_in.ended
        };
        let mut entries = self.credentials.0.iter();
        entries.find(|entry| entry.sign_in.as_ref().is_some_and(is_meant))
    }

    /// Removes the token of that id at a server wherever it is stored.
    pub fn forget(&mut self, server: &str, id: &str) {
        for entries in [
            &mut self.credentials.0,
            &mut self.pending,
            &mut self.previous,
        ] {
            entries.retain(|entry| !entry.is_token(server, id));
        }
    }

    /// Keeps what git says was accepted, as [`Credentials::keep`] does. Returns whether anything
    /// changed.
    ///
    /// A token that a rotation replaced is not kept: git may have been given it just before, and
    /// would put it in the place of its successor, of which there is no other copy.
    pub fn keep(&mut self, new: Credential, now: UnixTime) -> bool {
        let is_retired = self.retired.contains(&hash(new.auth.secret()));
        if is_retired && self.credentials.have_token_like(&new) {
            return false;
        }
        self.credentials.keep(new, now)
    }

    /// Remembers a token that was replaced, for as long as it is among the last.
    pub fn retire(&mut self, secret: &Secret) {
        let hash = hash(secret);
        self.retired.retain(|other| *other != hash);
        self.retired.insert(0, hash);
        self.retired.truncate(REMEMBERED);
    }

    /// Takes in what another item of the same site holds. Where both hold an entry with another
    /// secret, this one's stays, or goes where `force` says so; either way the number of those is
    /// returned.
    pub fn absorb(&mut self, other: Item, force: bool) -> usize {
        let mut differing = 0;
        // `put` makes what it adds the first: the newest goes in last.
        for entry in other.credentials.0.into_iter().rev() {
            let held = self.credentials.in_place_of(&entry);
            let differs = held.is_some_and(|held| held.auth != entry.auth);
            differing += usize::from(differs);
            if !differs || force {
                self.credentials.put(entry);
            }
        }
        for session in other.sessions.into_iter().rev() {
            let same =
                |held: &Session| held.server == session.server && held.account == session.account;
            match self.sessions.iter_mut().find(|held| same(held)) {
                None => self.sessions.insert(0, session),
                Some(held) if held.token == session.token => {}
                Some(held) => {
                    differing += 1;
                    if force {
                        *held = session;
                    }
                }
            }
        }
        for (held, more) in [
            (&mut self.pending, other.pending),
            (&mut self.previous, other.previous),
        ] {
            for entry in more {
                if !held.contains(&entry) {
                    held.push(entry);
                }
            }
        }
        self.retired.extend(other.retired);
        self.retired.truncate(REMEMBERED);
        differing
    }

    /// Reads what [`Item::encode`] wrote for `site`.
    pub fn decode(site: &Site, bytes: &Secret) -> Result<Item, ItemError> {
        #[derive(Deserialize)]
        struct Head {
            version: u64,
        }
        let head: Head = serde_json::from_slice(bytes.expose()).map_err(|_| ItemError::Damaged)?;
        if head.version > VERSION {
            return Err(ItemError::Newer(head.version));
        }
        let stored: StoredItem =
            serde_json::from_slice(bytes.expose()).map_err(|_| ItemError::Damaged)?;
        if stored.site != site.to_string() {
            return Err(ItemError::OtherSite);
        }
        let all = |entries: Vec<StoredCredential>| -> Result<Vec<Credential>, ItemError> {
            entries
                .into_iter()
                .map(StoredCredential::into_credential)
                .collect()
        };
        Ok(Item {
            credentials: Credentials(all(stored.credentials)?),
            sessions: stored
                .sessions
                .into_iter()
                .map(|session| Session {
                    server: session.server,
                    account: session.account,
                    token: session.token.0,
                    cookie: session.cookie.map(|cookie| cookie.0),
                    expiry: session.expiry,
                })
                .collect(),
            pending: all(stored.pending)?,
            previous: all(stored.previous)?,
            retired: stored.retired,
        })
    }

    /// The document that a store keeps.
    pub fn encode(&self, site: &Site) -> Secret {
        let all = |entries: &[Credential]| entries.iter().map(StoredCredential::from).collect();
        let all_entries = [&self.credentials.0, &self.pending, &self.previous];
        let mut version = WITHOUT_SIGN_INS;
        for entry in all_entries.into_iter().flatten() {
            // An older program would store the item without it, or not read it.
            let is_hosts =
                |token: &TokenInfo| token.replace_by.is_some() || !token.repositories.is_empty();
            let needed = match &entry.sign_in {
                Some(sign_in) if matches!(sign_in.host, HostType::Bitbucket | HostType::Azure) => {
                    VERSION
                }
                Some(sign_in) if matches!(sign_in.upkeep, Upkeep::Mint(_)) => WITHOUT_CLOUDS,
                Some(_) => WITHOUT_APPS,
                None if entry.token.as_ref().is_some_and(is_hosts) => WITHOUT_APPS,
                None => WITHOUT_SIGN_INS,
            };
            version = version.max(needed);
        }
        let stored = StoredItem {
            version,
            site: site.to_string(),
            credentials: all(&self.credentials.0),
            sessions: self
                .sessions
                .iter()
                .map(|session| StoredSession {
                    server: session.server.clone(),
                    account: session.account.clone(),
                    token: Bytes::from(session.token.expose()),
                    cookie: (session.cookie.as_ref()).map(|cookie| cookie.expose().into()),
                    expiry: session.expiry,
                })
                .collect(),
            pending: all(&self.pending),
            previous: all(&self.previous),
            retired: self.retired.clone(),
        };
        let mut bytes = SecretBuffer::default();
        let mut json = serde_json::Serializer::with_formatter(&mut bytes, NoPlaceholders);
        stored
            .serialize(&mut json)
            .expect("strings and numbers always serialise into memory");
        Secret::from(bytes)
    }
}

/// Hash by which a token is recognised after it is gone. Tokens are random, so that a hash without a key
/// gives nobody anything to guess at; 64 bits tell a few apart.
fn hash(secret: &Secret) -> String {
    format!("{:.16x}", Sha256::digest(secret.expose()))
}

/// JSON with no brace in a string. KeePassXC, as a keychain, takes `{USERNAME}` and the like within a
/// secret for a placeholder.
struct NoPlaceholders;

impl Formatter for NoPlaceholders {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        for part in fragment.split_inclusive(['{', '}']) {
            let plain = part.trim_end_matches(['{', '}']);
            writer.write_all(plain.as_bytes())?;
            match &part[plain.len()..] {
                "{" => writer.write_all(br"\u007b")?,
                "}" => writer.write_all(br"\u007d")?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Bytes as JSON: a string where they are UTF-8, an array of numbers where not.
struct Bytes(Secret);

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Bytes(Secret::new(bytes.to_vec()))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.expose_str() {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_seq(self.0.expose()),
        }
    }
}

/// Not as an untagged enum: serde keeps what it reads for one in a buffer that it does not wipe.
impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or an array of bytes")
            }

            fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
                Ok(text.as_bytes().into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Bytes, A::Error> {
                let mut bytes = SecretBuffer::default();
                while let Some(byte) = array.next_element()? {
                    bytes.add(&[byte]);
                }
                Ok(Bytes(bytes.into()))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Bytes {
    fn into_vec(self) -> Vec<u8> {
        self.0.expose().to_vec()
    }
}

#[derive(Serialize, Deserialize)]
struct StoredItem {
    version: u64,
    site: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    credentials: Vec<StoredCredential>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sessions: Vec<StoredSession>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pending: Vec<StoredCredential>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    previous: Vec<StoredCredential>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredSession {
    server: String,
    account: String,
    token: Bytes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cookie: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry: Option<Expiry>,
}

#[derive(Serialize, Deserialize)]
struct StoredCredential {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authtype: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credential: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry: Option<Expiry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<StoredToken>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sign_in: Option<StoredSignIn>,
    /// An older program may lose it: it is only shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    imported: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredSignIn {
    server: String,
    host: HostType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    git_username: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    bearer: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    issued: UnixTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_expiry: Option<Expiry>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ended: bool,
    upkeep: StoredUpkeep,
}

/// Not an enum with its name inside: serde reads such a one by way of a buffer that it does not wipe.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredUpkeep {
    Refresh(StoredClient),
    RotateItself,
    Replace { id: String, name: String },
    Mint(StoredApp),
    Watch,
}

#[derive(Serialize, Deserialize)]
struct StoredApp {
    id: String,
    slug: String,
    key: Bytes,
    installation: u64,
    owner: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    repositories: Vec<String>,
    permissions: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredClient {
    token_endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revocation_endpoint: Option<String>,
    client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_secret: Option<Bytes>,
    #[serde(default)]
    client_auth: ClientAuth,
}

impl From<&SignIn> for StoredSignIn {
    fn from(sign_in: &SignIn) -> Self {
        let upkeep = match &sign_in.upkeep {
            Upkeep::Refresh(client) => StoredUpkeep::Refresh(StoredClient {
                token_endpoint: client.token_endpoint.clone(),
                revocation_endpoint: client.revocation_endpoint.clone(),
                client_id: client.client_id.clone(),
                client_secret: client.client_secret.as_ref().map(|s| s.expose().into()),
                client_auth: client.client_auth,
            }),
            Upkeep::RotateItself => StoredUpkeep::RotateItself,
            Upkeep::Replace { id, name } => StoredUpkeep::Replace {
                id: id.clone(),
                name: name.clone(),
            },
            Upkeep::Mint(app) => StoredUpkeep::Mint(StoredApp {
                id: app.id.clone(),
                slug: app.slug.clone(),
                key: app.key.expose().into(),
                installation: app.installation,
                owner: app.owner.clone(),
                repositories: app.repositories.clone(),
                permissions: app.permissions.clone(),
            }),
            Upkeep::Watch => StoredUpkeep::Watch,
        };
        StoredSignIn {
            server: sign_in.server.clone(),
            host: sign_in.host,
            account: sign_in.account.clone(),
            git_username: sign_in.git_username.clone(),
            bearer: sign_in.bearer,
            scopes: sign_in.scopes.clone(),
            issued: sign_in.issued,
            refresh_expiry: sign_in.refresh_expiry,
            ended: sign_in.ended,
            upkeep,
        }
    }
}

impl From<StoredSignIn> for SignIn {
    fn from(stored: StoredSignIn) -> Self {
        let upkeep = match stored.upkeep {
            StoredUpkeep::Refresh(client) => Upkeep::Refresh(OAuthClient {
                token_endpoint: client.token_endpoint,
                revocation_endpoint: client.revocation_endpoint,
                client_id: client.client_id,
                client_secret: client.client_secret.map(|bytes| bytes.0),
                client_auth: client.client_auth,
            }),
            StoredUpkeep::RotateItself => Upkeep::RotateItself,
            StoredUpkeep::Replace { id, name } => Upkeep::Replace { id, name },
            StoredUpkeep::Mint(app) => Upkeep::Mint(InstalledApp {
                id: app.id,
                slug: app.slug,
                key: app.key.0,
                installation: app.installation,
                owner: app.owner,
                repositories: app.repositories,
                permissions: app.permissions,
            }),
            StoredUpkeep::Watch => Upkeep::Watch,
        };
        SignIn {
            server: stored.server,
            host: stored.host,
            account: stored.account,
            git_username: stored.git_username,
            bearer: stored.bearer,
            scopes: stored.scopes,
            issued: stored.issued,
            refresh_expiry: stored.refresh_expiry,
            ended: stored.ended,
            upkeep,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredToken {
    server: String,
    id: String,
    name: String,
    account: String,
    scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    repositories: Vec<String>,
    created: UnixTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replace_by: Option<Expiry>,
    /// An older program that lost it would take this machine's clock for the server's.
    #[serde(default, skip_serializing_if = "is_zero")]
    clock_skew: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl From<&Credential> for StoredCredential {
    fn from(entry: &Credential) -> Self {
        let bytes = |value: &Option<Vec<u8>>| value.as_deref().map(Bytes::from);
        let (password, authtype, credential) = match &entry.auth {
            AuthData::Password(secret) => (Some(secret.expose().into()), None, None),
            AuthData::Header {
                authtype,
                credential,
            } => (
                None,
                Some(authtype.as_slice().into()),
                Some(credential.expose().into()),
            ),
        };
        StoredCredential {
            username: bytes(&entry.username),
            path: bytes(&entry.path),
            password,
            authtype,
            credential,
            expiry: entry.expiry,
            refresh_token: entry.refresh_token.as_ref().map(|s| s.expose().into()),
            token: entry.token.as_ref().map(|token| StoredToken {
                server: token.server.clone(),
                id: token.id.clone(),
                name: token.name.clone(),
                account: token.account.clone(),
                scopes: token.scopes.clone(),
                repositories: token.repositories.clone(),
                created: token.created,
                replace_by: token.replace_by,
                clock_skew: token.clock_skew,
            }),
            sign_in: entry.sign_in.as_ref().map(StoredSignIn::from),
            imported: entry.imported,
        }
    }
}

impl StoredCredential {
    fn into_credential(self) -> Result<Credential, ItemError> {
        let auth = match (self.password, self.authtype, self.credential) {
            (Some(password), None, None) => AuthData::Password(password.0),
            (None, Some(authtype), Some(credential)) => AuthData::Header {
                authtype: authtype.into_vec(),
                credential: credential.0,
            },
            _ => return Err(ItemError::Damaged),
        };
        Ok(Credential {
            username: self.username.map(Bytes::into_vec),
            path: self.path.map(Bytes::into_vec),
            auth,
            expiry: self.expiry,
            refresh_token: self.refresh_token.map(|bytes| bytes.0),
            token: self.token.map(|token| TokenInfo {
                server: token.server,
                id: token.id,
                name: token.name,
                account: token.account,
                scopes: token.scopes,
                repositories: token.repositories,
                created: token.created,
                replace_by: token.replace_by,
                clock_skew: token.clock_skew,
            }),
            sign_in: self.sign_in.map(SignIn::from),
            imported: self.imported,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_item_with_a_sign_in_is_too_new_for_older_programs() {
        let site = Site::new(b"https", b"host").unwrap();
        let mut item = Item::default();
        item.credentials.put(Credential {
            username: Some(b"ada".to_vec()),
            path: None,
            auth: AuthData::Password(Secret::from("access".to_owned())),
            expiry: None,
            refresh_token: Some(Secret::from("refresh".to_owned())),
            token: None,
            sign_in: None,
            imported: false,
        });
        let version = |item: &Item| {
            let text = item.encode(&site).expose_str().unwrap().to_owned();
            text.split(',').next().unwrap().to_owned()
        };
        assert_eq!(version(&item), "{\"version\":1");
        item.credentials.0[0].sign_in = Some(SignIn {
            server: "https://host".into(),
            host: HostType::Gitlab,
            account: Some("ada".into()),
            git_username: "oauth2".into(),
            bearer: false,
            scopes: vec!["write_repository".into()],
            issued: UnixTime(1),
            refresh_expiry: Some(Expiry(UnixTime(3))),
            ended: false,
            upkeep: Upkeep::Refresh(OAuthClient {
                token_endpoint: "https://host/oauth/token".into(),
                revocation_endpoint: None,
                client_id: "id".into(),
                client_secret: Some(Secret::from("secret".to_owned())),
                client_auth: ClientAuth::Body,
            }),
        });
        assert_eq!(version(&item), "{\"version\":2");
        assert_eq!(Item::decode(&site, &item.encode(&site)), Ok(item.clone()));
        let sign_in = item.credentials.0[0].sign_in.as_mut().unwrap();
        sign_in.upkeep = Upkeep::Mint(InstalledApp {
            id: "12345".into(),
            slug: "builds".into(),
            key: Secret::from("MIIE".to_owned()),
            installation: 7,
            owner: "octo".into(),
            repositories: vec!["hello".into()],
            permissions: vec!["contents:write".into()],
        });
        assert_eq!(version(&item), "{\"version\":3");
        assert_eq!(Item::decode(&site, &item.encode(&site)), Ok(item));
    }

    #[test]
    fn a_replaced_token_is_known_by_the_same_hash_for_good() {
        assert_eq!(hash(&Secret::new(b"abc".to_vec())), "ba7816bf8f01cfea");
    }
}
