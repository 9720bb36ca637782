//! Requests of git, stored credentials, and the matching of the two: pure code.

use std::fmt;

use crate::expiry::{CLOCK_MARGIN, DAY, Expiry, UnixTime};
use crate::secret::Secret;
use crate::sign_in::{SignIn, Upkeep};

/// Azure DevOps by its present address.
pub const AZURE: &str = "dev.azure.com";

/// The command that has git say for which path of a site it asks: at Azure DevOps, for which organization.
pub fn use_http_path(site: &Site) -> String {
    format!("git config --global credential.{site}.useHttpPath true")
}

/// A protocol and a host with its port: what one stored item is about.
///
/// Both are lower-cased, which RFC 3986 section 6.2.2.1 allows for a scheme and a host; nothing
/// else is folded. The host may be empty (git asks so for `cert`), the protocol may not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    protocol: String,
    host: String,
}

impl Site {
    /// `None` where the protocol is no URL scheme (RFC 3986 section 3.1) or where the host holds what
    /// no URL could: a control character (CVE-2024-52006: a bare CR included), white space, or invalid
    /// UTF-8.
    pub fn new(protocol: &[u8], host: &[u8]) -> Option<Self> {
        let protocol = std::str::from_utf8(protocol).ok()?;
        let host = std::str::from_utf8(host).ok()?;
        let in_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let is_scheme = protocol.starts_with(|c: char| c.is_ascii_alphabetic())
            && protocol.chars().all(in_scheme);
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == '/';
        if !is_scheme || host.contains(odd) {
            return None;
        }
        Some(Site {
            protocol: protocol.to_ascii_lowercase(),
            host: host.to_ascii_lowercase(),
        })
    }

    /// The site of a URL from a variable or an argument, which is the URL alone. `None` where two
    /// readers could take it for different hosts: user information, a backslash,
    /// percent-encoding, white space or a control character in it.
    pub fn of_url(url: &str) -> Option<Self> {
        if url.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return None;
        }
        let (protocol, rest) = url.split_once("://")?;
        let host = rest.split(['/', '?', '#']).next()?;
        let plain = |c: char| c.is_alphanumeric() || ".-_:[]".contains(c);
        if host.is_empty() || !host.chars().all(plain) {
            return None;
        }
        Site::new(protocol.as_bytes(), host.as_bytes())
    }

    /// Returns whether this is plain http that does not leave the machine.
    pub fn is_http_on_loopback(&self) -> bool {
        if self.protocol != "http" {
            return false;
        }
        let name = match self.host.rsplit_once(':') {
            // An IPv6 address has its colons within brackets.
            Some((name, port)) if !port.ends_with(']') => name,
            _ => &self.host,
        };
        name == "localhost"
            || name == "[::1]"
            || name
                .parse::<std::net::Ipv4Addr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// Returns whether a token may be sent there: no plain http to another machine, where anybody on
    /// the way could read it.
    pub fn takes_tokens(&self) -> bool {
        self.protocol != "http" || self.is_http_on_loopback()
    }

    /// The URL scheme, such as `https`.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// The host, with `:port` where one was given.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol, self.host)
    }
}

/// Authentication data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthData {
    /// For Basic authentication, with the entry's username.
    Password(Secret),
    /// A whole `Authorization` value: its scheme and what follows it (git 2.46 and newer).
    Header {
        /// The scheme, such as `Bearer`.
        authtype: Vec<u8>,
        /// Rest of the header, after the scheme.
        credential: Secret,
    },
}

impl AuthData {
    /// The secret part.
    pub fn secret(&self) -> &Secret {
        match self {
            AuthData::Password(secret) => secret,
            AuthData::Header { credential, .. } => credential,
        }
    }

    /// The same with another secret.
    pub fn with(&self, secret: Secret) -> AuthData {
        match self {
            AuthData::Password(_) => AuthData::Password(secret),
            AuthData::Header { authtype, .. } => AuthData::Header {
                authtype: authtype.clone(),
                credential: secret,
            },
        }
    }

    fn same_kind(&self, other: &AuthData) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Facts about a token that `wit` created: enough to renew and to revoke it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Base URL of the server that issued it.
    pub server: String,
    /// The server's id for it.
    pub id: String,
    /// The name that people see.
    pub name: String,
    /// Username or email of the account that it belongs to.
    pub account: String,
    /// Scopes, such as `repo:read`.
    pub scopes: Vec<String>,
    /// The only repositories that it opens, as `OWNER/NAME`; empty for all of the account's.
    pub repositories: Vec<String>,
    /// When it was made, by the server's clock.
    pub created: UnixTime,
    /// When this machine is to replace and revoke it, by the server's clock, where the host gives its
    /// tokens no expiry. The server knows nothing of it.
    pub replace_by: Option<Expiry>,
    /// Server clock minus this machine's when the token was stored, in seconds
    /// ([`crate::expiry::notable_skew`]).
    pub clock_skew: i64,
}

/// One stored entry of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Any bytes; an empty one is a value. A header may do without.
    pub username: Option<Vec<u8>>,
    /// The one path that it is for; `None` is for all that have no entry of their own.
    pub path: Option<Vec<u8>>,
    /// Authentication data.
    pub auth: AuthData,
    /// From when on it is passed over.
    pub expiry: Option<Expiry>,
    /// Of OAuth. Without a sign-in it is another helper's, which made the password, and kept for it.
    pub refresh_token: Option<Secret>,
    /// Set if `wit` created it.
    pub token: Option<TokenInfo>,
    /// Set if it comes from `wit login` at a git host.
    pub sign_in: Option<SignIn>,
    /// True if `wit import` brought it. Shown to people, and otherwise without effect.
    pub imported: bool,
}

/// Seconds before its end from which an access token is refreshed.
const REFRESH_MARGIN: i64 = 120;

/// Seconds after which a sign-in is refreshed that git does not use.
const MAX_IDLE: i64 = 7 * DAY;

impl Credential {
    /// Returns whether it has expired. The expiry of a token is by its server's clock, which may differ from
    /// this machine's as it did when the token was stored, or no longer, if the clock was set since.
    /// Only what has expired either way has: to try one in vain costs a question to git's user, as to
    /// have none does.
    pub fn is_expired(&self, now: UnixTime) -> bool {
        let earliest = now.plus(self.clock_skew().min(0));
        self.expiry
            .is_some_and(|expiry| expiry.is_expired(earliest))
    }

    /// When it has to be replaced: its expiry, or where its host gives none the date that this machine
    /// keeps.
    pub fn replace_by(&self) -> Option<Expiry> {
        self.expiry.or_else(|| self.token.as_ref()?.replace_by)
    }

    /// Returns whether it holds the token of that id, which `wit` created.
    pub fn has_id(&self, id: &str) -> bool {
        self.token.as_ref().is_some_and(|token| token.id == id)
    }

    /// Returns whether it is the token of that id at a server: one that `wit` created, or one that a sign-in
    /// had created by a password.
    pub fn is_token(&self, server: &str, id: &str) -> bool {
        let created = |token: &TokenInfo| token.server == server && token.id == id;
        let by_password = |sign_in: &SignIn| match &sign_in.upkeep {
            Upkeep::Replace { id: held, .. } => sign_in.server == server && held == id,
            _ => false,
        };
        self.token.as_ref().is_some_and(created) || self.sign_in.as_ref().is_some_and(by_password)
    }

    /// Seconds until it has to be replaced, by its server's clock; `None` where it never has.
    pub fn left(&self, now: UnixTime) -> Option<i64> {
        Some(self.replace_by()?.left(self.server_time(now)))
    }

    /// Returns whether an end that the server names is sooner than the one that is known here.
    pub fn is_sooner(&self, end: Expiry) -> bool {
        (self.expiry).is_none_or(|known| known.0.since(end.0) > CLOCK_MARGIN)
    }

    /// The server's time as far as this machine can tell: by the skew of when the token was stored,
    /// unless this machine's clock shows less than it did then, and so was set back since.
    fn server_time(&self, now: UnixTime) -> UnixTime {
        let skew = self.clock_skew();
        let stored = self.token.as_ref().map(|token| token.created.plus(-skew));
        match stored.is_some_and(|stored| now.plus(CLOCK_MARGIN) < stored) {
            true => now,
            false => now.plus(skew),
        }
    }

    /// The expiry as git is told it, which compares it to this machine's clock
    /// (`password_expiry_utc` of git-credential(1)).
    pub fn expiry_for_git(&self) -> Option<Expiry> {
        let Expiry(at) = self.expiry?;
        Some(Expiry(at.plus(-self.clock_skew().min(0))))
    }

    fn clock_skew(&self) -> i64 {
        self.token.as_ref().map_or(0, |token| token.clock_skew)
    }

    /// Returns whether a new access token can be had without a person.
    pub fn is_refreshable(&self) -> bool {
        self.sign_in.as_ref().is_some_and(|sign_in| {
            !sign_in.ended
                && match sign_in.upkeep {
                    Upkeep::Refresh(_) => self.refresh_token.is_some(),
                    Upkeep::Mint(_) => true,
                    _ => false,
                }
        })
    }

    /// Returns whether it is an app's, and so nobody's own.
    fn is_apps(&self) -> bool {
        let sign_in = self.sign_in.as_ref();
        sign_in.is_some_and(|sign_in| matches!(sign_in.upkeep, Upkeep::Mint(_)))
    }

    /// Returns whether the token can replace itself by one call, after which it has ended.
    pub fn rotates_itself(&self) -> bool {
        self.self_rotation().is_some_and(|sign_in| !sign_in.ended)
    }

    /// Returns whether it is a token that this machine can replace: one that `wit` created, if only by a
    /// password at a sign-in, or one that replaces itself. One that was pasted is its person's.
    pub fn is_replaceable(&self) -> bool {
        let sign_in = self.sign_in.as_ref();
        let is_created =
            sign_in.is_none_or(|sign_in| matches!(sign_in.upkeep, Upkeep::Replace { .. }));
        self.token.is_some() && (is_created || self.rotates_itself())
    }

    /// The sign-in that a token takes over from the one that it replaces: one that was created by a
    /// password is both.
    pub fn sign_in_for(&self, new: &TokenInfo, now: UnixTime) -> Option<SignIn> {
        let sign_in = self.sign_in.clone()?;
        let Upkeep::Replace { .. } = sign_in.upkeep else {
            return None;
        };
        Some(SignIn {
            scopes: new.scopes.clone(),
            issued: now,
            upkeep: Upkeep::Replace {
                id: new.id.clone(),
                name: new.name.clone(),
            },
            ..sign_in
        })
    }

    /// Returns whether it has replaced itself, and the answer with its successor was lost.
    pub fn was_lost(&self) -> bool {
        self.self_rotation().is_some_and(|sign_in| sign_in.ended)
    }

    /// The sign-in of a token that replaces itself, also once it has ended.
    fn self_rotation(&self) -> Option<&SignIn> {
        let sign_in = self.sign_in.as_ref().filter(|_| self.token.is_some());
        sign_in.filter(|sign_in| matches!(sign_in.upkeep, Upkeep::RotateItself))
    }

    /// Returns whether its access token has to be refreshed before git gets it: it has expired or will
    /// within two minutes. One that lives no longer than twice that is due in its last quarter, or
    /// each process would refresh what another has just refreshed.
    pub fn needs_refresh(&self, now: UnixTime) -> bool {
        let (Some(sign_in), Some(expiry)) = (&self.sign_in, self.expiry) else {
            return false;
        };
        let lifetime = expiry.left(sign_in.issued);
        let margin = match lifetime > 2 * REFRESH_MARGIN {
            true => REFRESH_MARGIN,
            false => (lifetime / 4).max(0),
        };
        self.is_refreshable() && expiry.left(now) <= margin
    }

    /// Returns whether it is a sign-in that git has had no use for since a week: a refresh token that is
    /// never used lapses (Gitea's and Forgejo's after 30 days).
    pub fn lapses(&self, now: UnixTime) -> bool {
        let is_idle = |sign_in: &SignIn| now.since(sign_in.issued) > MAX_IDLE;
        self.sign_in.as_ref().is_some_and(is_idle) && self.needs_refresh(now)
    }

    /// Returns whether it can be given to git now, or after a refresh.
    fn is_usable(&self, now: UnixTime) -> bool {
        // One that was found to be dead a moment ago ends later than `now`, when a `get` began.
        !self.was_lost() && (!self.is_expired(now) || self.is_refreshable())
    }

    /// Returns whether `other` has the same username and a proof of the same kind. What comes from a sign-in
    /// is of another kind than what git was told to store, and an app's than a person's of the same
    /// name: none takes another's place.
    fn is_like(&self, other: &Credential) -> bool {
        self.username == other.username
            && self.auth.same_kind(&other.auth)
            && self.sign_in.is_some() == other.sign_in.is_some()
            && self.is_apps() == other.is_apps()
    }

    /// Returns whether git may call the entry by that username: its own, or the one that its host wants.
    fn is_called(&self, username: &Option<Vec<u8>>) -> bool {
        let Some(username) = username else {
            return true;
        };
        self.username.as_ref() == Some(username)
            || self
                .sign_in
                .as_ref()
                .is_some_and(|sign_in| sign_in.git_username.as_bytes() == username)
    }
}

/// A request of git's: the attributes of git-credential(1) that a helper acts on, as they came.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// Such as `https`.
    pub protocol: Option<Vec<u8>>,
    /// With its port, where the URL has one.
    pub host: Option<Vec<u8>>,
    /// For http only under `credential.useHttpPath`.
    pub path: Option<Vec<u8>>,
    /// Asked for, or that of the secret.
    pub username: Option<Vec<u8>>,
    /// To be stored or erased.
    pub password: Option<Secret>,
    /// The scheme of `credential`, such as `Bearer`.
    pub authtype: Option<Vec<u8>>,
    /// To be stored or erased, with `authtype` in the place of a password.
    pub credential: Option<Secret>,
    /// `password_expiry_utc`.
    pub expiry: Option<Expiry>,
    /// `oauth_refresh_token`.
    pub refresh_token: Option<Secret>,
    /// True if it is good for this once only, and never stored.
    pub ephemeral: bool,
    /// State that helpers, ours among others, have given git to send back.
    pub state: Vec<Vec<u8>>,
    /// True if git announced that it understands `authtype`, `credential` and `ephemeral`.
    pub takes_authtype: bool,
    /// True if git announced that it understands `state[]`.
    pub takes_state: bool,
    /// True if the server's challenges, which git hands over as `wwwauth[]`, offer Basic, and Bearer.
    pub offers_basic: bool,
    /// True if the server asked for a bearer token (RFC 6750).
    pub offers_bearer: bool,
}

impl Description {
    /// What the request means at its host. At Azure DevOps a credential is for an organization: the
    /// first part of the path, which many URLs repeat as the username. The server takes any username.
    pub fn at_its_host(mut self) -> Self {
        if self.is_azure()
            && let Some(path) = self.path.take()
        {
            let organization = path.split(|&byte| byte == b'/').next();
            let organization = organization.filter(|name| !name.is_empty());
            self.path = organization.map(<[u8]>::to_ascii_lowercase);
            self.username = self.username.and(self.path.clone());
        }
        self
    }

    fn is_azure(&self) -> bool {
        let host = self.host.as_deref().unwrap_or_default();
        host.eq_ignore_ascii_case(AZURE.as_bytes())
    }

    /// True where the host wants to know an organization and the request names none: no entry of one
    /// answers it, as another's would be refused, and then erased.
    pub fn lacks_organization(&self) -> bool {
        self.is_azure() && self.path.is_none() && self.username.is_none()
    }

    /// The site, or `None` where the request names none that can be answered (CVE-2020-11008) or
    /// where its path or username holds a CR (CVE-2024-52006).
    pub fn site(&self) -> Option<Site> {
        let held = |value: &Option<Vec<u8>>| value.as_ref().is_some_and(|v| v.contains(&b'\r'));
        if held(&self.path) || held(&self.username) {
            return None;
        }
        Site::new(self.protocol.as_deref()?, self.host.as_deref()?)
    }

    /// The entry that a `store` of this request would keep; `None` where there is nothing to keep.
    pub fn to_credential(&self) -> Option<Credential> {
        if self.ephemeral {
            return None;
        }
        let auth = match (&self.authtype, &self.credential, &self.password) {
            (Some(authtype), Some(credential), _) => AuthData::Header {
                authtype: authtype.clone(),
                credential: credential.clone(),
            },
            (_, _, Some(password)) => {
                // Git answers a password request with both or with neither.
                self.username.as_ref()?;
                AuthData::Password(password.clone())
            }
            _ => return None,
        };
        Some(Credential {
            username: self.username.clone(),
            path: self.path.clone(),
            auth,
            expiry: self.expiry,
            refresh_token: self.refresh_token.clone(),
            token: None,
            sign_in: None,
            imported: false,
        })
    }

    /// Returns whether `entry` is such as may answer this request, its path and expiry aside.
    fn fits(&self, entry: &Credential) -> bool {
        entry.is_called(&self.username)
            && !(self.lacks_organization() && entry.path.is_some())
            && match entry.auth {
                AuthData::Password(_) => true,
                AuthData::Header { .. } => self.takes_authtype,
            }
    }

    /// Returns whether an `erase` of this request means `entry`, its path aside.
    fn erases(&self, entry: &Credential) -> bool {
        let secret_agrees = match &entry.auth {
            // With either secret given, an entry of the other kind is not what was refused, but for
            // a sign-in's, whose token git may have been given as either.
            AuthData::Password(stored) if entry.sign_in.is_some() => {
                let mut given = self.password.iter().chain(&self.credential);
                given.clone().next().is_none() || given.any(|given| given == stored)
            }
            AuthData::Password(stored) => match (&self.password, &self.credential) {
                (Some(given), _) => given == stored,
                (None, given) => given.is_none(),
            },
            AuthData::Header { credential, .. } => match (&self.credential, &self.password) {
                (Some(given), _) => given == credential,
                (None, given) => given.is_none(),
            },
        };
        entry.is_called(&self.username) && secret_agrees
    }
}

/// A value that is asked for must be there and equal; one that is not asked for may be anything.
fn agrees(asked: &Option<Vec<u8>>, stored: &Option<Vec<u8>>) -> bool {
    asked.is_none() || asked == stored
}

/// The entries of one site, the one that was added last first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials(pub Vec<Credential>);

impl Credentials {
    /// The entry that answers the request, if any does. Expired entries are passed over.
    ///
    /// An entry with the very path goes before one without a path, a newer one before an older.
    /// If no username is asked for, the first of them decides the account, expired or
    /// not: git must not become somebody else because time has passed.
    ///
    /// A sign-in is found by its account's name and by the username that its host wants, in that
    /// order; one whose account is not known answers for any name that nothing else has.
    pub fn find(&self, request: &Description, now: UnixTime) -> Option<&Credential> {
        let named = |entry: &Credential| agrees(&request.username, &entry.username);
        let called = |entry: &Credential| request.fits(entry);
        let nameless = |entry: &Credential| {
            let sign_in = entry.sign_in.as_ref();
            sign_in.is_some_and(|sign_in| sign_in.account.is_none())
        };
        self.find_among(request, now, |entry| named(entry) && called(entry))
            .or_else(|| self.find_among(request, now, called))
            .or_else(|| self.find_among(request, now, nameless))
    }

    fn find_among(
        &self,
        request: &Description,
        now: UnixTime,
        fits: impl Fn(&Credential) -> bool,
    ) -> Option<&Credential> {
        let exact = |entry: &&Credential| agrees(&request.path, &entry.path);
        let general = |entry: &&Credential| request.path.is_some() && entry.path.is_none();
        let in_order = self.0.iter().filter(exact);
        let mut fitting = in_order
            .chain(self.0.iter().filter(general))
            .filter(|entry| fits(entry))
            .peekable();
        let first: &Credential = fitting.peek()?;
        let same = |entry: &&Credential| {
            entry.username == first.username && entry.is_apps() == first.is_apps()
        };
        fitting.find(|entry| same(entry) && entry.is_usable(now))
    }

    /// A sign-in that the server has ended and that would answer the request otherwise.
    pub fn ended_sign_in(&self, request: &Description) -> Option<(&Credential, &SignIn)> {
        let paths =
            |entry: &&Credential| agrees(&request.path, &entry.path) || entry.path.is_none();
        let mut fitting = self
            .0
            .iter()
            .filter(paths)
            .filter(|entry| request.fits(entry));
        fitting.find_map(|entry| {
            let sign_in = entry.sign_in.as_ref().filter(|sign_in| sign_in.ended);
            sign_in.map(|sign_in| (entry, sign_in))
        })
    }

    /// The entry with the path, username and kind of `new`, which `put` would replace.
    pub fn in_place_of(&self, new: &Credential) -> Option<&Credential> {
        self.position(new).map(|at| &self.0[at])
    }

    fn position(&self, new: &Credential) -> Option<usize> {
        let same = |entry: &Credential| entry.path == new.path && entry.is_like(new);
        self.0.iter().position(same)
    }

    /// Returns whether there is a token that `wit` made, of the username and kind of `new`, or any sign-in.
    pub fn have_token_like(&self, new: &Credential) -> bool {
        let token = |entry: &Credential| {
            entry.sign_in.is_some() || entry.token.is_some() && entry.is_like(new)
        };
        self.0.iter().any(token)
    }

    /// Keeps `new` in the place of the entry with the same path, username and kind, or first of
    /// all where there is none. Returns whether anything changed.
    pub fn put(&mut self, mut new: Credential) -> bool {
        match self.position(&new) {
            Some(at) => {
                let old = &self.0[at];
                // Git knows nothing of token metadata and leaves out what it was not told, so a
                // store of the same secret must not lose either.
                if old.auth == new.auth {
                    if new.token.is_none() && old.token.is_some() {
                        // What git was told of it was for this machine's clock.
                        new.expiry = old.expiry;
                    }
                    new.token = new.token.or_else(|| old.token.clone());
                    new.expiry = new.expiry.or(old.expiry);
                    new.refresh_token = new.refresh_token.or_else(|| old.refresh_token.clone());
                    new.imported |= old.imported;
                }
                if *old == new {
                    return false;
                }
                self.0[at] = new;
            }
            None => self.0.insert(0, new),
        }
        true
    }

    /// Puts the entry of a new sign-in before all others, in the place of the account's last one for
    /// the same path. One for a single path goes last: it is not for requests that name none.
    pub fn sign_in(&mut self, new: Credential) {
        self.0
            .retain(|entry| !(entry.path == new.path && entry.is_like(&new)));
        match new.path {
            None => self.put_first(new),
            Some(_) => self.0.push(new),
        }
    }

    /// A sign-in goes first, but for the token that was created by the one before it: git goes on with
    /// that.
    fn put_first(&mut self, new: Credential) {
        let server = new.sign_in.as_ref().map(|sign_in| sign_in.server.as_str());
        let is_created = |entry: &Credential| {
            let token = entry.token.as_ref();
            entry.path.is_none()
                && entry.sign_in.is_none()
                && entry.username == new.username
                && token.is_some_and(|token| Some(token.server.as_str()) == server)
        };
        let created = self.0.iter().position(is_created);
        let created = created.map(|at| self.0.remove(at));
        self.0.insert(0, new);
        if let Some(created) = created {
            self.0.insert(0, created);
        }
    }

    /// Keeps what git says was accepted. That may be what an entry without a path answered to a
    /// request with one: then it is that entry that is kept, not a copy of it for each repository.
    /// Returns whether anything changed.
    ///
    /// A new entry goes first if the account that went first has expired.
    pub fn keep(&mut self, mut new: Credential, now: UnixTime) -> bool {
        // Git was given a sign-in's token by us, in whichever form: it is stored already.
        let is_signed_in = |entry: &Credential| {
            entry.sign_in.is_some() && entry.auth.secret() == new.auth.secret()
        };
        if self.0.iter().any(is_signed_in) {
            return false;
        }
        let answers = |entry: &&Credential| entry.is_like(&new) && !entry.is_expired(now);
        let mut answering = self.0.iter().filter(answers);
        if !answering.clone().any(|entry| entry.path == new.path)
            && answering.any(|entry| entry.path.is_none() && entry.auth == new.auth)
        {
            new.path = None;
        }
        // What has just been accepted has not expired, whatever was known of it.
        let at = self.position(&new);
        let revived = at.filter(|&at| self.0[at].auth == new.auth && self.0[at].is_expired(now));
        if let Some(at) = revived {
            self.0[at].expiry = new.expiry;
        }
        if !self.put(new.clone()) && revived.is_none() {
            return false;
        }
        let anybody = Description {
            path: new.path.clone(),
            takes_authtype: true,
            ..Description::default()
        };
        if self.find(&anybody, now).is_none()
            && let Some(at) = self.position(&new)
        {
            self.0[..=at].rotate_right(1);
        }
        true
    }

    /// Removes every entry that the request is about. Returns whether any was.
    ///
    /// If [`Credentials::find`] answers a request with a path by an entry without one, that
    /// entry is meant too, but only by its secret: it may be good for every other path.
    ///
    /// Of a sign-in that can be refreshed, a refused access token only counts as expired: what git
    /// has no use for any more may have been revoked early, and the sign-in live on.
    pub fn remove(&mut self, request: &Description, now: UnixTime) -> bool {
        let has_secret = request.password.is_some() || request.credential.is_some();
        let has_path = |entry: &Credential| {
            entry.path == request.path && request.fits(entry) && !entry.is_expired(now)
        };
        let is_general = has_secret && !self.0.iter().any(has_path);
        let path_agrees = |entry: &Credential| {
            agrees(&request.path, &entry.path) || is_general && entry.path.is_none()
        };
        let before = self.0.len();
        let mut expired = false;
        self.0.retain_mut(|entry| {
            if !(path_agrees(entry) && request.erases(entry)) {
                return true;
            }
            let stays = has_secret && entry.is_refreshable();
            if stays && !entry.is_expired(now) {
                entry.expiry = Some(Expiry(now));
                expired = true;
            }
            stays
        });
        self.0.len() != before || expired
    }
}
