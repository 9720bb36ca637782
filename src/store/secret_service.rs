//! The `keychain` store on Linux: the freedesktop.org Secret Service, spoken to directly.
//!
//! A `read` costs three round trips: SearchItems, OpenSession, GetSecrets; one that finds nothing
//! needs no session. Our half of the key agreement is worked out while the service searches, the key
//! while it encrypts. A generic client spends most of its time in a thread, introspection and slow
//! arithmetic. Section names are of the Secret Service API draft 0.2.
//!
//! Nothing else is sent before the first answer: GNOME Keyring makes its record of a client while the
//! client's first call waits, now and then too late for that call, and ends where an OpenSession or a
//! property is asked for without the record (Debian's bug 1147303). A search is merely refused.

mod bus;
mod foreign;
mod session;
mod wire;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use self::bus::{Bus, BusError, call, nonsense};
use self::session::{ALGORITHM, Exchange, Key};
use self::wire::{Malformed, Message, Writer};
use super::{Store, StoreError, StoreKind, keychain_timeout};
use crate::credential::Site;
use crate::interactive;
use crate::item::ItemError;
use crate::secret::Secret;

pub use self::foreign::ForeignItem;

const SERVICE: &str = "org.freedesktop.secrets";
const ROOT: &str = "/org/freedesktop/secrets";
const DEFAULT: &str = "/org/freedesktop/secrets/aliases/default";
/// Section "Collection": "a collection that is only stored in memory".
const OF_SESSION: &str = "/org/freedesktop/secrets/collection/session";
const I_SERVICE: &str = "org.freedesktop.Secret.Service";
const I_COLLECTION: &str = "org.freedesktop.Secret.Collection";
const I_ITEM: &str = "org.freedesktop.Secret.Item";
const I_PROMPT: &str = "org.freedesktop.Secret.Prompt";
const I_PEER: &str = "org.freedesktop.DBus.Peer";
const I_PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Longest wait for the answer to a prompt.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// Most calls that are sent before their replies are read.
const MAX_IN_FLIGHT: usize = 64;

type Attributes = HashMap<String, String>;

/// Section "Secrets", signature `(oayays)`: session, parameters, value, content type.
struct Encrypted {
    session: String,
    parameters: Vec<u8>,
    value: Vec<u8>,
}

impl Encrypted {
    fn write(&self, body: &mut Writer) {
        body.structure();
        body.string(&self.session);
        body.bytes(&self.parameters);
        body.bytes(&self.value);
        // KeePassXC makes an attachment of anything else, and 2.7.4 loses those.
        body.string("text/plain");
    }
}

fn write_attributes(body: &mut Writer, attributes: &Attributes) {
    body.array(8, |body| {
        for (name, value) in attributes {
            body.structure();
            body.string(name);
            body.string(value);
        }
    });
}

fn write_paths(body: &mut Writer, paths: &[&str]) {
    body.array(4, |body| paths.iter().for_each(|path| body.string(path)));
}

/// The desktop's keyring.
#[derive(Default)]
pub struct SecretService {
    connection: RefCell<Option<Connection>>,
}

struct Connection {
    bus: Bus,
    exchange: Exchange,
    session: Option<Session>,
}

struct Session {
    path: String,
    /// The service's half of the key agreement.
    theirs: Vec<u8>,
    key: OnceCell<Key>,
}

impl SecretService {
    /// Connects at the first use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks that a secret can be stored here now, and for longer than this session; shows no prompt.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.with(|connection| {
            let bus = &mut connection.bus;
            let is_locked = default_is_locked(bus)?;
            if default_ends_with_session(bus)? {
                return Err(StoreError::Unavailable {
                    reason: format!("the keyring lasts no longer than the session: {OF_SESSION}"),
                });
            }
            match is_locked && !interactive::has_screen() {
                false => Ok(()),
                true => unlock(bus, &[DEFAULT.to_owned()]),
            }
        })
    }

    /// The sites of the items, in their order.
    fn sites_of(&self, needed: Needed) -> Result<Vec<Site>, StoreError> {
        self.with_items(&all_sites(), needed, |connection, items| {
            let mut sites = Vec::with_capacity(items.open.len());
            for some in items.open.chunks(MAX_IN_FLIGHT) {
                let mut serials = Vec::with_capacity(some.len());
                for path in some {
                    serials.push(ask_property(
                        &mut connection.bus,
                        I_ITEM,
                        path,
                        "Attributes",
                    ));
                }
                for serial in serials {
                    let reply = connection.bus.reply(serial)?;
                    let attributes = attributes_in(&reply)?;
                    sites.extend(attributes.get("username").and_then(|text| site_of(text)));
                }
            }
            sites.sort();
            sites.dedup();
            Ok(sites)
        })
    }

    /// Runs `work` on the connection, made where there is none. After an error it is made anew.
    fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + keychain_timeout();
        let kept = self.connection.borrow_mut().take();
        let mut connection = match kept {
            Some(mut connection) => {
                connection.bus.set_deadline(deadline);
                connection
            }
            None => {
                let mut bus = Bus::connect(deadline)?;
                bus.call(&call(SERVICE, ROOT, I_PEER, "Ping", ""))?;
                Connection::new(bus)?
            }
        };
        let answer = work(&mut connection)?;
        *self.connection.borrow_mut() = Some(connection);
        Ok(answer)
    }

    /// The same with the items of `attributes`, unlocked as far as is `needed`; none means that there is
    /// none, not that one can't be seen.
    fn with_items<T>(
        &self,
        attributes: &Attributes,
        needed: Needed,
        work: impl FnOnce(&mut Connection, Items) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + keychain_timeout();
        let kept = self.connection.borrow_mut().take();
        let (mut connection, search) = match kept {
            Some(mut connection) => {
                connection.bus.set_deadline(deadline);
                let serial = search(&mut connection.bus, attributes);
                (connection, serial)
            }
            None => {
                let mut bus = Bus::connect(deadline)?;
                let serial = search(&mut bus, attributes);
                // The service searches while our half of the key agreement is worked out.
                bus.flush()?;
                (Connection::new(bus)?, serial)
            }
        };
        let items = unlocked_items(&mut connection.bus, attributes, needed, search)?;
        let answer = work(&mut connection, items)?;
        *self.connection.borrow_mut() = Some(connection);
        Ok(answer)
    }
}

impl Connection {
    fn new(bus: Bus) -> Result<Self, StoreError> {
        Ok(Connection {
            bus,
            exchange: Exchange::new().map_err(no_randomness)?,
            session: None,
        })
    }

    /// The session, opened at the first use: by then the service has answered something.
    fn session(&mut self) -> Result<&Session, StoreError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.open()?,
        };
        Ok(self.session.insert(session))
    }

    fn open(&mut self) -> Result<Session, StoreError> {
        let mut open = call(SERVICE, ROOT, I_SERVICE, "OpenSession", "sv");
        open.body.string(ALGORITHM);
        open.body.signature("ay");
        open.body.bytes(&self.exchange.public[..]);
        let serial = self.bus.send(&open);
        self.bus.flush()?;
        session::ask_the_processor();
        let reply = self.bus.reply(serial)?;
        let mut body = reply.body("vo")?;
        body.variant("ay")?;
        let theirs = body.bytes()?.to_owned();
        Ok(Session {
            path: body.string()?.to_owned(),
            theirs,
            key: OnceCell::new(),
        })
    }

    fn key(&mut self) -> Result<&Key, StoreError> {
        self.session()?;
        let session = self.session.as_ref().ok_or_else(nonsense)?;
        if let Some(key) = session.key.get() {
            return Ok(key);
        }
        let key = self.exchange.agree(&session.theirs).ok_or_else(nonsense)?;
        Ok(session.key.get_or_init(|| key))
    }

    fn encrypt(&mut self, item: &Secret) -> Result<Encrypted, StoreError> {
        let (iv, value) = self.key()?.encrypt(item).map_err(no_randomness)?;
        Ok(Encrypted {
            session: self.session()?.path.clone(),
            parameters: iv.to_vec(),
            value,
        })
    }
}

/// Attributes of a site's item; keyring's stores look for the same three.
fn attributes_of(site: &Site) -> Attributes {
    let mut attributes = all_sites();
    attributes.insert("username".to_owned(), site.to_string());
    attributes
}

fn all_sites() -> Attributes {
    HashMap::from([
        ("service".to_owned(), "git-credential-wit".to_owned()),
        ("target".to_owned(), "default".to_owned()),
    ])
}

fn search(bus: &mut Bus, attributes: &Attributes) -> u32 {
    let mut search = call(SERVICE, ROOT, I_SERVICE, "SearchItems", "a{ss}");
    write_attributes(&mut search.body, attributes);
    bus.send(&search)
}

/// Selects which of the items that a search finds must be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    /// One: a duplicate in a locked collection must not hide it.
    Any,
    All,
    /// Those that are open already.
    Open,
}

/// Result of a search.
struct Items {
    /// The paths of those that are open, the one that was changed last first.
    open: Vec<String>,
    /// There are others, in locked collections.
    rest_is_locked: bool,
}

/// The items that a search finds, once as many of them are unlocked as are `needed`.
///
/// Some services hide the items of a locked collection, so none found counts only when the default
/// collection is open.
fn unlocked_items(
    bus: &mut Bus,
    attributes: &Attributes,
    needed: Needed,
    serial: u32,
) -> Result<Items, StoreError> {
    let (found, asked) = found(bus, attributes, serial)?;
    let (open, locked) = two_lists(&found)?;
    if needed == Needed::Open {
        return items(bus, open, locked);
    }
    let is_enough = locked.is_empty() || needed == Needed::Any && !open.is_empty();
    if open.is_empty() && locked.is_empty() {
        if !default_is_locked(bus)? {
            return items(bus, open, locked);
        }
        if asked {
            return Err(locked_error());
        }
        unlock(bus, &[DEFAULT.to_owned()])?;
    } else if is_enough {
        return items(bus, open, locked);
    } else {
        unlock(bus, &locked)?;
    }
    let serial = search(bus, attributes);
    let (open, locked) = two_lists(&bus.reply(serial)?)?;
    match locked.is_empty() {
        true => items(bus, open, locked),
        false => Err(locked_error()),
    }
}

fn items(bus: &mut Bus, open: Vec<String>, locked: Vec<String>) -> Result<Items, StoreError> {
    Ok(Items {
        open: last_changed_first(bus, open)?,
        rest_is_locked: !locked.is_empty(),
    })
}

/// Puts duplicates in order. Each lies in a collection of its own, and those may have been open at
/// different times.
fn last_changed_first(bus: &mut Bus, paths: Vec<String>) -> Result<Vec<String>, StoreError> {
    if paths.len() < 2 {
        return Ok(paths);
    }
    let mut dated = Vec::with_capacity(paths.len());
    for path in paths {
        let serial = ask_property(bus, I_ITEM, &path, "Modified");
        let reply = bus.reply(serial)?;
        let mut body = reply.body("v")?;
        body.variant("t")?;
        dated.push((body.uint64()?, path));
    }
    dated.sort_by(|a, b| b.cmp(a));
    Ok(dated.into_iter().map(|(_, path)| path).collect())
}

/// The reply to a search, and whether a person was asked for it: KeePassXC keeps the reply back while
/// it shows its prompt for a locked database, and there is to be time to answer that.
fn found(
    bus: &mut Bus,
    attributes: &Attributes,
    serial: u32,
) -> Result<(Message, bool), StoreError> {
    let deadline = bus.deadline();
    bus.set_deadline(Instant::now() + keychain_timeout() / 2);
    let soon = bus.reply(serial);
    bus.set_deadline(deadline);
    match soon {
        Err(BusError::TimedOut) => {}
        // GNOME Keyring 42 now and then answers a process's first call before it knows of the process.
        Err(BusError::Refused(name)) if name == "org.freedesktop.DBus.Error.UnknownMethod" => {
            let again = search(bus, attributes);
            return Ok((bus.reply(again)?, false));
        }
        soon => return Ok((soon?, false)),
    }
    let asked = default_is_locked(bus)?;
    if asked && !can_prompt() {
        return Err(locked_error());
    }
    if !asked {
        return Ok((bus.reply(serial)?, false));
    }
    bus.set_deadline(Instant::now() + PROMPT_TIMEOUT);
    let found = bus.reply(serial).map_err(unanswered)?;
    bus.set_deadline(Instant::now() + keychain_timeout());
    Ok((found, true))
}

fn two_lists(found: &Message) -> Result<(Vec<String>, Vec<String>), StoreError> {
    let mut body = found.body("aoao")?;
    Ok((body.strings()?, body.strings()?))
}

/// True for a locked default collection; an error where there is none.
fn default_is_locked(bus: &mut Bus) -> Result<bool, StoreError> {
    let alias = ask_default(bus);
    let locked = ask_property(bus, I_COLLECTION, DEFAULT, "Locked");
    let alias = bus.reply(alias)?;
    if alias.body("o")?.string()? == "/" {
        return Err(StoreError::Unavailable {
            reason: "the keyring has no default collection".to_owned(),
        });
    }
    let locked = bus.reply(locked)?;
    let mut body = locked.body("v")?;
    body.variant("b")?;
    Ok(body.boolean()?)
}

fn ask_default(bus: &mut Bus) -> u32 {
    let mut alias = call(SERVICE, ROOT, I_SERVICE, "ReadAlias", "s");
    alias.body.string("default");
    bus.send(&alias)
}

/// True for the collection that every service has and none keeps on disk.
fn default_ends_with_session(bus: &mut Bus) -> Result<bool, StoreError> {
    let alias = ask_default(bus);
    Ok(bus.reply(alias)?.body("o")?.string()? == OF_SESSION)
}

/// Unlocks, with the service's prompt where a person can see it.
fn unlock(bus: &mut Bus, objects: &[String]) -> Result<(), StoreError> {
    let mut unlock = call(SERVICE, ROOT, I_SERVICE, "Unlock", "ao");
    let paths: Vec<&str> = objects.iter().map(String::as_str).collect();
    write_paths(&mut unlock.body, &paths);
    let reply = bus.call(&unlock)?;
    let mut body = reply.body("aoo")?;
    body.strings()?;
    let prompt = body.string()?;
    if prompt != "/" && !can_prompt() {
        return Err(locked_error());
    }
    match run_prompt(bus, prompt, || true)? {
        true => Ok(()),
        false => Err(locked_error()),
    }
}

/// True where a person can see a prompt and wants to.
fn can_prompt() -> bool {
    interactive::has_screen() && interactive::is_wanted()
}

/// Runs the service's prompt and waits for its end: whether it was accepted. `/` means that there is
/// none.
///
/// KeePassXC has one for each item that is made or deleted, and mostly shows nothing for it. So it is
/// run where nobody could see it too, but then it may take no longer than any other call. Whether it
/// `can_be_seen` is asked only where there is one.
fn run_prompt(
    bus: &mut Bus,
    path: &str,
    can_be_seen: impl FnOnce() -> bool,
) -> Result<bool, StoreError> {
    if path == "/" {
        return Ok(true);
    }
    let daemon = "org.freedesktop.DBus";
    let mut listen = call(daemon, "/org/freedesktop/DBus", daemon, "AddMatch", "s");
    let rule = format!("type='signal',interface='{I_PROMPT}',member='Completed',path='{path}'");
    listen.body.string(&rule);
    bus.send(&listen);
    let mut show = call(SERVICE, path, I_PROMPT, "Prompt", "s");
    show.body.string("");
    bus.call(&show)?;
    let seen = can_be_seen();
    if seen {
        bus.set_deadline(Instant::now() + PROMPT_TIMEOUT);
    }
    let done = bus.wait(|message| {
        message.member.as_deref() == Some("Completed") && message.path.as_deref() == Some(path)
    });
    bus.set_deadline(Instant::now() + keychain_timeout());
    match done {
        Ok(done) => Ok(!done.body("bv")?.boolean()?),
        Err(BusError::TimedOut) if !seen => Ok(false),
        Err(error) => Err(unanswered(error)),
    }
}

/// Why a prompt did not end. It is a person who was waited for, not the service.
fn unanswered(error: BusError) -> StoreError {
    match error {
        BusError::TimedOut => StoreError::Locked {
            reason: format!("the keyring's prompt was not answered within {PROMPT_TIMEOUT:?}"),
            hint: super::UNLOCK_KEYRING,
        },
        other => other.into(),
    }
}

/// Runs the prompt that a change's reply may name.
fn finish(bus: &mut Bus, prompt: &str) -> Result<(), StoreError> {
    match run_prompt(bus, prompt, can_prompt)? {
        true => Ok(()),
        false => Err(StoreError::Unavailable {
            reason: "the keyring prompt was dismissed".to_owned(),
        }),
    }
}

/// Makes an item in a collection, or replaces the one with just these attributes. Returns the prompt
/// without which that is not done.
fn create_item(
    connection: &mut Connection,
    collection: &str,
    label: String,
    attributes: Attributes,
    secret: &Secret,
    replace: bool,
) -> Result<String, StoreError> {
    let secret = connection.encrypt(secret)?;
    let mut create = call(
        SERVICE,
        collection,
        I_COLLECTION,
        "CreateItem",
        "a{sv}(oayays)b",
    );
    let body = &mut create.body;
    body.array(8, |body| {
        body.structure();
        body.string("org.freedesktop.Secret.Item.Label");
        body.signature("s");
        body.string(&label);
        body.structure();
        body.string("org.freedesktop.Secret.Item.Attributes");
        body.signature("a{ss}");
        write_attributes(body, &attributes);
    });
    secret.write(body);
    body.boolean(replace);
    let reply = connection.bus.call(&create)?;
    let mut body = reply.body("oo")?;
    body.string()?;
    Ok(body.string()?.to_owned())
}

/// Makes an item; one with just these attributes stays.
fn add_item(
    connection: &mut Connection,
    collection: &str,
    label: String,
    attributes: Attributes,
    secret: &Secret,
) -> Result<(), StoreError> {
    let prompt = create_item(connection, collection, label, attributes, secret, false)?;
    finish(&mut connection.bus, &prompt)
}

/// Puts another secret into an item.
///
/// oo7 forgets what SetSecret gave it when it ends (0.7.0-beta), so the item is replaced. KeePassXC
/// asks before it does that, but not before SetSecret.
fn replace_secret(
    connection: &mut Connection,
    path: &str,
    label: String,
    secret: &Secret,
) -> Result<(), StoreError> {
    let serial = ask_property(&mut connection.bus, I_ITEM, path, "Attributes");
    let attributes = attributes_in(&connection.bus.reply(serial)?)?;
    // Section "Object Paths": an item lies below its collection.
    let (collection, _) = path.rsplit_once('/').ok_or_else(nonsense)?;
    let prompt = create_item(connection, collection, label, attributes, secret, true)?;
    if prompt == "/" {
        return Ok(());
    }
    let dismiss = call(SERVICE, &prompt, I_PROMPT, "Dismiss", "");
    connection.bus.send(&dismiss);
    let secret = connection.encrypt(secret)?;
    let mut set = call(SERVICE, path, I_ITEM, "SetSecret", "(oayays)");
    secret.write(&mut set.body);
    connection.bus.call(&set)?;
    Ok(())
}

fn delete_item(bus: &mut Bus, path: &str) -> Result<(), StoreError> {
    let reply = bus.call(&call(SERVICE, path, I_ITEM, "Delete", ""))?;
    finish(bus, reply.body("o")?.string()?)
}

impl Store for SecretService {
    fn name(&self) -> &'static str {
        StoreKind::Keychain.name()
    }

    fn location(&self) -> String {
        "the desktop's keyring (Secret Service)".to_owned()
    }

    fn caveat(&self) -> Option<String> {
        let ends = self.with(|connection| default_ends_with_session(&mut connection.bus));
        ends.unwrap_or(false).then(|| {
            "the keyring's default collection is the session's: what it holds is lost at logout"
                .to_owned()
        })
    }

    fn read(&self, site: &Site) -> Result<Option<Secret>, StoreError> {
        let look = || {
            self.with_items(&attributes_of(site), Needed::Any, |connection, items| {
                let path = items.open.first();
                path.map(|path| secret_at(connection, path)).transpose()
            })
        };
        let found = match look()? {
            // Then another process has just erased it, or made it anew.
            Some(Found::Gone) => look()?,
            found => found,
        };
        match found {
            None => Ok(None),
            Some(Found::Secret(item)) => Ok(Some(item)),
            Some(Found::Gone) => Err(locked_error()),
            Some(Found::Unreadable) => Err(StoreError::Item {
                site: site.clone(),
                error: ItemError::Damaged,
            }),
        }
    }

    fn write(&self, site: &Site, item: &Secret) -> Result<(), StoreError> {
        let ours = attributes_of(site);
        self.with_items(&ours, Needed::Any, |connection, items| {
            // An item in another collection is changed there, and is from then on the one to read.
            if let Some(path) = items.open.first() {
                return replace_secret(connection, path, label(site), item);
            }
            let mut new = ours.clone();
            new.insert("application".to_owned(), "git-credential-wit".to_owned());
            add_item(connection, DEFAULT, label(site), new, item)
        })
    }

    fn delete(&self, site: &Site) -> Result<(), StoreError> {
        let delete = |needed| {
            self.with_items(&attributes_of(site), needed, |connection, items| {
                for path in &items.open {
                    delete_item(&mut connection.bus, path)?;
                }
                Ok(items.rest_is_locked)
            })
        };
        // What is open goes in any case.
        if delete(Needed::Any)? {
            delete(Needed::All)?;
        }
        Ok(())
    }

    fn sites(&self) -> Result<Vec<Site>, StoreError> {
        self.sites_of(Needed::All)
    }

    fn open_sites(&self) -> Result<Vec<Site>, StoreError> {
        // KeePassXC shows its prompt for a locked database at any search.
        match self.with(|connection| default_is_locked(&mut connection.bus))? {
            true => Ok(Vec::new()),
            false => self.sites_of(Needed::Open),
        }
    }

    /// The item stays in the keyring under attributes that nothing of ours looks for.
    fn set_aside(&self, site: &Site) -> Result<String, StoreError> {
        let mut aside = attributes_of(site);
        aside.insert(
            "service".to_owned(),
            "git-credential-wit-damaged".to_owned(),
        );
        self.with_items(&attributes_of(site), Needed::Any, |connection, items| {
            for path in &items.open {
                let Found::Secret(secret) = secret_at(connection, path)? else {
                    return Err(nonsense().into());
                };
                add_item(connection, DEFAULT, label(site), aside.clone(), &secret)?;
                delete_item(&mut connection.bus, path)?;
            }
            Ok(format!(
                "the keyring's item {} with service=git-credential-wit-damaged",
                label(site)
            ))
        })
    }
}

/// Outcome of reading a path that a search has just found.
enum Found {
    Secret(Secret),
    /// Something that is not encrypted for this session.
    Unreadable,
    /// Nothing: erased, or locked, between the two calls.
    Gone,
}

/// The secret of an unlocked item.
fn secret_at(connection: &mut Connection, path: &str) -> Result<Found, StoreError> {
    let session = connection.session()?.path.clone();
    let mut get = call(SERVICE, ROOT, I_SERVICE, "GetSecrets", "aoo");
    write_paths(&mut get.body, &[path]);
    get.body.string(&session);
    let serial = connection.bus.send(&get);
    // The service encrypts while the key is worked out here.
    connection.bus.flush()?;
    connection.key()?;
    let reply = match connection.bus.reply(serial) {
        Err(BusError::Refused(name)) if name.ends_with(".NoSuchObject") => return Ok(Found::Gone),
        reply => reply?,
    };
    let mut secret = None;
    reply.body("a{o(oayays)}")?.array(8, |body| {
        body.structure()?;
        let _item = body.string()?;
        body.structure()?;
        let _session = body.string()?;
        secret = Some((body.bytes()?, body.bytes()?));
        let _content_type = body.string()?;
        Ok(())
    })?;
    let Some((iv, encrypted)) = secret else {
        return Ok(Found::Gone);
    };
    let secret = connection.key()?.decrypt(iv, encrypted);
    Ok(secret.map_or(Found::Unreadable, Found::Secret))
}

/// Asks for a property; its value is in the reply.
fn ask_property(bus: &mut Bus, interface: &str, path: &str, name: &str) -> u32 {
    let mut get = call(SERVICE, path, I_PROPERTIES, "Get", "ss");
    get.body.string(interface);
    get.body.string(name);
    bus.send(&get)
}

fn attributes_in(reply: &Message) -> Result<Attributes, StoreError> {
    let mut attributes = Attributes::new();
    let mut body = reply.body("v")?;
    body.variant("a{ss}")?;
    body.array(8, |body| {
        body.structure()?;
        attributes.insert(body.string()?.to_owned(), body.string()?.to_owned());
        Ok(())
    })?;
    Ok(attributes)
}

fn label(site: &Site) -> String {
    format!("wit: {site}")
}

fn site_of(text: &str) -> Option<Site> {
    let (protocol, host) = text.split_once("://")?;
    Site::new(protocol.as_bytes(), host.as_bytes())
}

fn locked_error() -> StoreError {
    StoreError::Locked {
        reason: "the keyring is locked and was not unlocked".to_owned(),
        hint: super::UNLOCK_KEYRING,
    }
}

fn no_randomness(error: getrandom::Error) -> StoreError {
    StoreError::Unavailable {
        reason: format!("no randomness: {error}"),
    }
}

impl From<Malformed> for StoreError {
    fn from(malformed: Malformed) -> Self {
        BusError::from(malformed).into()
    }
}

impl From<BusError> for StoreError {
    fn from(error: BusError) -> Self {
        match error {
            BusError::TimedOut => StoreError::TimedOut {
                after: keychain_timeout(),
            },
            BusError::Gone(reason) => StoreError::Unavailable { reason },
            BusError::Refused(name) => match name.as_str() {
                "org.freedesktop.Secret.Error.IsLocked" => locked_error(),
                // The bus says so when the service hangs up.
                "org.freedesktop.DBus.Error.NoReply" => StoreError::Unavailable {
                    reason: "the keyring's service ended before it answered".to_owned(),
                },
                "org.freedesktop.DBus.Error.Timeout" | "org.freedesktop.DBus.Error.TimedOut" => {
                    StoreError::TimedOut {
                        after: keychain_timeout(),
                    }
                }
                "org.freedesktop.DBus.Error.ServiceUnknown"
                | "org.freedesktop.DBus.Error.NameHasNoOwner" => StoreError::Unavailable {
                    reason: "no Secret Service runs on the session bus".to_owned(),
                },
                name => StoreError::Unavailable {
                    reason: format!("the keyring answered {name:?}"),
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_nobody_answers_is_told_with_its_own_time() {
        let told = unanswered(BusError::TimedOut).to_string();
        assert!(told.ends_with("was not answered within 60s"), "{told}");
    }
}
