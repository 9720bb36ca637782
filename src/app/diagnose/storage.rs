//! Checks of the store and of what is in the way of using it: locks, journals, permissions.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Finding, Naming, files, quoted};
use crate::api::server::ServerUrl;
use crate::app::git_config::helper::in_path;
use crate::config::{self, Config, Paths};
use crate::credential::Site;
use crate::expiry::UnixTime;
use crate::files::FileError;
use crate::item::{Item, ItemError};
use crate::rotation::journal;
use crate::secret::Secret;
use crate::store::file::identity::{IdentityFile, identity_file};
use crate::store::{self, Store, StoreError, StoreKind, lock::SiteLock};
use crate::system;

/// Time after which a lock that is held counts as stuck.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval between two looks at it.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

const TO_FILE: &str = "wit setup --store file";

/// The store, and the files and directories of ours.
#[derive(Debug)]
pub struct Facts {
    /// Why the config file can't be read.
    config_error: Option<FileError>,
    /// The store's name, `auto` where none was chosen yet, and whether `WIT_STORE` says it.
    chosen: Chosen,
    by_environment: bool,
    /// The store in words, or why it can't be had.
    store: Result<String, Refusal>,
    /// Writing, reading and deleting in it; `None` where nothing was chosen yet.
    probe: Option<Result<(), Refusal>>,
    /// Why a keyring that is locked stays so, and what unlocks it here.
    unlocking: Option<(&'static str, &'static str)>,
    /// Obstacle where the file store has no identity that can be used: its directory where
    /// there are items, which nothing can open any more, else the identity file.
    no_identity: Option<PathBuf>,
    /// Items that can't be used, by their site; `true` for that of a server.
    damaged: Vec<(String, Refusal, bool)>,
    /// The sites that something is stored for, in their order; none where the store can't be read.
    pub sites: Vec<Site>,
    /// Files that their own owner can't use.
    closed: Vec<PathBuf>,
    /// Files that others may get at, with the mode that fixes it.
    loose: Vec<(PathBuf, &'static str)>,
    /// Files of another user.
    foreign: Vec<PathBuf>,
    /// Locks that somebody does not give back, with the process.
    stuck: Vec<(PathBuf, Option<u32>)>,
    /// The rotations that can go on and have not.
    unfinished: Vec<Unfinished>,
    unusable_journals: Vec<FileError>,
    /// The other files of ours that can't be used.
    unusable_files: Vec<FileError>,
}

/// A rotation's token, and the options that name its account.
#[derive(Debug)]
struct Unfinished {
    name: String,
    naming: String,
}

/// A [`StoreError`] as far as a check asks about it.
#[derive(Debug)]
struct Refusal {
    why: String,
    hint: Option<&'static str>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Away,
    Locked,
    Damaged,
    Newer,
    Busy,
    Other,
}

impl From<&StoreError> for Refusal {
    fn from(error: &StoreError) -> Self {
        Refusal {
            why: error.to_string(),
            hint: error.hint(),
            kind: match error {
                StoreError::Unavailable { .. } | StoreError::TimedOut { .. } => Kind::Away,
                // What it says is found by a check of its own.
                StoreError::Identity { .. } => Kind::Other,
                StoreError::Locked { .. } => Kind::Locked,
                StoreError::Item {
                    error: ItemError::Newer(_),
                    ..
                } => Kind::Newer,
                StoreError::Item { .. } => Kind::Damaged,
                StoreError::Busy { .. } => Kind::Busy,
                StoreError::TooLarge { .. } | StoreError::Io { .. } => Kind::Other,
            },
        }
    }
}

/// The store that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// None, or `auto`.
    Auto,
    /// One of the kinds.
    Kind(StoreKind),
    /// A name that no store has.
    Unknown(String),
}

impl From<String> for Chosen {
    fn from(name: String) -> Self {
        match StoreKind::parse(&name) {
            Ok(Some(kind)) => Chosen::Kind(kind),
            Ok(None) => Chosen::Auto,
            Err(_) => Chosen::Unknown(name),
        }
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Chosen::Auto => f.write_str("auto"),
            Chosen::Kind(kind) => kind.fmt(f),
            Chosen::Unknown(name) => f.write_str(name),
        }
    }
}

impl Facts {
    /// Looks at them, and writes and reads an item of a site that can not exist.
    pub fn gather(
        paths: &Paths,
        config_error: Option<FileError>,
        store: &Result<Box<dyn Store>, StoreError>,
        servers: &[ServerUrl],
        naming: &Naming<'_>,
    ) -> Self {
        let environment = config::variable("WIT_STORE").map(Chosen::from);
        let environment = environment.filter(|chosen| *chosen != Chosen::Auto);
        let configured = Config::load(paths).ok().and_then(|config| config.store);
        let by_environment = environment.is_some();
        let chosen = environment
            .or(configured.map(Chosen::from))
            .unwrap_or(Chosen::Auto);
        let probe = match (store, &chosen) {
            (Err(_), _) | (_, Chosen::Auto) => None,
            (Ok(store), _) => Some(probe(store.as_ref(), paths).map_err(|error| (&error).into())),
        };
        let is_well = matches!(probe, Some(Ok(())));
        let reachable = matches!(probe, None | Some(Ok(())));
        let sites = sites(store.as_deref().ok().filter(|_| is_well));
        let items = store.as_ref().ok().filter(|_| reachable);
        Facts {
            config_error,
            chosen,
            by_environment,
            store: match store {
                Ok(store) => Ok(store.location()),
                Err(error) => Err(error.into()),
            },
            probe,
            unlocking: unlocking(),
            no_identity: without_identity(paths),
            damaged: items
                .map(|store| damaged(store.as_ref(), servers, &sites))
                .unwrap_or_default(),
            sites,
            closed: closed(paths),
            loose: loose(paths),
            foreign: foreign(paths),
            stuck: stuck(&paths.lock_dir()),
            unfinished: unfinished(paths, naming),
            unusable_journals: journal::unusable(paths).unwrap_or_default(),
            unusable_files: files::unusable(paths),
        }
    }

    /// Returns whether the keychain is the store, or would be chosen.
    pub fn wants_keychain(&self) -> bool {
        matches!(
            self.chosen,
            Chosen::Auto | Chosen::Kind(StoreKind::Keychain)
        )
    }
}

fn unlocking() -> Option<(&'static str, &'static str)> {
    let screen = |name| config::variable(name).is_some();
    if screen("DISPLAY") || screen("WAYLAND_DISPLAY") {
        return Some((
            "the keyring is locked, and its prompt was not answered",
            "wit doctor",
        ));
    }
    in_path("gnome-keyring-daemon").map(|_| {
        (
            "the keyring is locked; this takes its password from stdin",
            "gnome-keyring-daemon --replace --unlock",
        )
    })
}

/// Writes, reads and deletes an item of a site that can't exist (RFC 6761 section 6.4).
fn probe(store: &dyn Store, paths: &Paths) -> Result<(), StoreError> {
    let Some(site) = Site::new(b"https", b"doctor.wit.invalid") else {
        return Ok(());
    };
    let _lock = SiteLock::acquire(paths, &site)?;
    let item = Item::default().encode(&site);
    store.write(&site, &item)?;
    let read: Option<Secret> = store.read(&site)?;
    store.delete(&site)?;
    match read == Some(item) && store.read(&site)?.is_none() {
        true => Ok(()),
        false => Err(StoreError::Unavailable {
            reason: "it does not give back what was written".to_owned(),
        }),
    }
}

fn without_identity(paths: &Paths) -> Option<PathBuf> {
    let dir = paths.store_dir();
    let items = fs::read_dir(&dir).into_iter().flatten().flatten();
    let mut items = items.filter(|entry| entry.path().extension().is_some_and(|e| e == "age"));
    let has_items = items.next().is_some();
    let identity = IdentityFile::new(paths);
    let file = identity_file(&dir);
    // One that others can read is whole, and told with the permissions.
    let is_loose = system::mode_and_owner(&file).is_some_and(|(mode, _)| mode & 0o077 != 0);
    let is_file = fs::metadata(&file).is_ok_and(|metadata| metadata.is_file());
    match (file.exists(), has_items) {
        (false, false) => None,
        (true, _) if is_file && (is_loose || identity.open().is_ok()) => None,
        // Locked, or closed to its owner: it need not be damaged.
        (true, _) if is_file && !is_damaged(&identity) => None,
        (_, true) => Some(dir),
        (_, false) => Some(file),
    }
}

fn is_damaged(identity: &IdentityFile) -> bool {
    let opened = identity.open();
    matches!(
        opened,
        Err(StoreError::Identity { .. } | StoreError::Unavailable { .. })
    )
}

fn sites(store: Option<&dyn Store>) -> Vec<Site> {
    let sites = store.and_then(|store| store.sites().ok());
    let mut sites = sites.unwrap_or_default();
    sites.sort();
    sites
}

fn damaged(
    store: &dyn Store,
    servers: &[ServerUrl],
    sites: &[Site],
) -> Vec<(String, Refusal, bool)> {
    let broken = |server: &ServerUrl| {
        let error = store::load(store, &server.site()?).err()?;
        Some((server.to_string(), Refusal::from(&error), true))
    };
    let known: Vec<Site> = servers.iter().filter_map(ServerUrl::site).collect();
    let others = sites.iter().filter(|site| !known.contains(site));
    let others = others.filter_map(|site| {
        let error = store::load(store, site).err()?;
        Some((site.to_string(), Refusal::from(&error), false))
    });
    servers.iter().filter_map(broken).chain(others).collect()
}

/// Each place of ours that others may write to, or read a secret in.
fn loose(paths: &Paths) -> Vec<(PathBuf, &'static str)> {
    let store = paths.store_dir();
    let config = paths.config_file().parent().map(Path::to_owned);
    let places = [
        (config, 0o022, "u=rwX,go-w"),
        (Some(paths.data_dir().to_owned()), 0o022, "u=rwX,go-w"),
        (Some(paths.state_dir().to_owned()), 0o022, "u=rwX,go-w"),
        (Some(store.clone()), 0o077, "700"),
        (Some(identity_file(&store)), 0o077, "600"),
        (Some(paths.state_key_file()), 0o077, "600"),
    ];
    let open = |(path, bits, mode): (Option<PathBuf>, u32, &'static str)| {
        let path = path?;
        (system::mode_and_owner(&path)?.0 & bits != 0).then_some((path, mode))
    };
    places.into_iter().filter_map(open).collect()
}

/// Directories of ours that belong to another user, or hold what does: root's, where a command was run
/// with sudo. For root in the home of somebody else, what is not theirs.
fn foreign(paths: &Paths) -> Vec<PathBuf> {
    let owner = config::home_owner().map_or_else(system::own_user, |owner| owner.user);
    let of_another =
        |path: &Path| system::mode_and_owner(path).is_some_and(|(_, user)| user != owner);
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = Vec::new();
    for dir in own_dirs(paths) {
        let holds = entries(&dir).any(|entry| of_another(&entry.path()));
        let known = found.iter().any(|above| dir.starts_with(above));
        if !known && (holds || of_another(&dir)) {
            found.push(dir);
        }
    }
    found
}

fn closed(paths: &Paths) -> Vec<PathBuf> {
    let shut = |path: &PathBuf| {
        system::mode_and_owner(path)
            .is_some_and(|(mode, owner)| owner == system::own_user() && mode & 0o700 != 0o700)
    };
    own_dirs(paths).filter(shut).collect()
}

/// The directories that this program writes to.
fn own_dirs(paths: &Paths) -> impl Iterator<Item = PathBuf> {
    let config = paths.config_file().parent().map(Path::to_owned);
    let dirs = [
        paths.data_dir(),
        paths.state_dir(),
        &paths.store_dir(),
        &paths.lock_dir(),
    ];
    dirs.map(Path::to_owned).into_iter().chain(config)
}

/// Locks of sites that are not given back in time. Such a lock is held for milliseconds; that of a
/// rotation may well last, and is left out.
fn stuck(dir: &Path) -> Vec<(PathBuf, Option<u32>)> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let deadline = Instant::now() + LOCK_TIMEOUT;
    files
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "lock"))
        .filter(|path| !path.to_string_lossy().ends_with(".rotation.lock"))
        .filter(|path| is_held_until(path, deadline))
        .map(|path| {
            let holder = system::lock_holder(&path);
            (path, holder)
        })
        .collect()
}

fn is_held_until(path: &Path, deadline: Instant) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    loop {
        match file.try_lock_shared() {
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(POLL_INTERVAL);
            }
            Err(fs::TryLockError::WouldBlock) => return true,
            _ => return false,
        }
    }
}

/// The rotations that can go on and have not.
fn unfinished(paths: &Paths, naming: &Naming<'_>) -> Vec<Unfinished> {
    let journals = journal::all(paths).unwrap_or_default().into_iter();
    journals
        .filter(|journal| journal.is_due(UnixTime::now()))
        .map(|journal| Unfinished {
            naming: naming(&journal.server, &journal.account),
            name: journal.name,
        })
        .collect()
}

/// The findings about storage.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(error) = &facts.config_error {
        // Whatever needs the config file fails for that reason alone.
        findings.push(files::finding("config", error));
    } else {
        findings.push(check_store(facts));
    }
    for path in &facts.closed {
        let path = quoted(path);
        findings.push(
            Finding::wrong("permissions", format!("you can't work in {path}"))
                .fix(format!("chmod u+rwx {path}")),
        );
    }
    for (path, mode) in &facts.loose {
        let path = quoted(path);
        findings.push(
            Finding::wrong("permissions", format!("others can get at {path}"))
                .fix(format!("chmod {mode} {path}")),
        );
    }
    for path in &facts.foreign {
        let path = quoted(path);
        findings.push(
            Finding::wrong(
                "owner",
                format!("{path} belongs to another user, at least in part"),
            )
            .why("a command that was run with sudo may have created it")
            .fix(match config::home_owner() {
                Some(owner) => format!("chown -R {}:{} {path}", owner.user, owner.group),
                None => format!("sudo chown -R \"$(id -u)\" {path}"),
            }),
        );
    }
    for (server, refusal, is_server) in &facts.damaged {
        let finding = Finding::wrong("item", format!("what is stored for {server} can't be used"))
            .why(&refusal.why);
        findings.push(match refusal.kind {
            Kind::Newer => finding.fix("./install.sh"),
            _ if !is_server => {
                finding.why("it is set aside as soon as git stores another credential for it")
            }
            // It is set aside, never overwritten.
            _ => finding.fix(format!("wit login {server}")),
        });
    }
    for (path, process) in &facts.stuck {
        let finding = Finding::wrong(
            "lock",
            match process {
                Some(process) => format!("process {process} does not give back {}", quoted(path)),
                None => format!("a process does not give back {}", quoted(path)),
            },
        )
        .why("writing to that site waits 5 seconds and fails");
        findings.push(match process {
            Some(process) => finding.fix(format!("kill {process}")),
            None => finding,
        });
    }
    for Unfinished { name, naming } in &facts.unfinished {
        findings.push(
            Finding::wrong(
                "rotation",
                format!("the rotation of {name} is not finished"),
            )
            .fix(format!("wit token rotate --resume{naming}")),
        );
    }
    let journals = facts.unusable_journals.iter();
    findings.extend(journals.map(|error| files::finding("journal", error)));
    let files = facts.unusable_files.iter();
    findings.extend(files.map(|error| files::finding("file", error)));
    findings
}

fn check_store(facts: &Facts) -> Finding {
    let elsewhere = match facts.by_environment {
        true => "export WIT_STORE=file",
        false => TO_FILE,
    };
    let is_file = facts.chosen == Chosen::Kind(StoreKind::File);
    let refused = |refusal: &Refusal| {
        let finding = Finding::wrong("store", format!("the store {} can't be used", facts.chosen))
            .why(&refusal.why);
        match (&facts.no_identity, is_file, refusal.kind) {
            (Some(dir), true, _) => finding.fix(files::aside(dir)),
            // Its own fix is said with what is wrong in it.
            (None, true, Kind::Away | Kind::Locked) => match refusal.hint.and_then(command) {
                Some(hint) if hint != TO_FILE => finding.fix(hint),
                _ => finding,
            },
            (_, true, _) => finding,
            (_, _, Kind::Locked) => match facts.unlocking {
                Some((why, fix)) => finding.why(why).fix(fix),
                None => finding.fix(elsewhere),
            },
            (_, _, Kind::Busy) => finding,
            _ => finding.fix(elsewhere),
        }
    };
    match (&facts.store, &facts.probe) {
        (Err(refusal), _) | (_, Some(Err(refusal))) => refused(refusal),
        (Ok(location), Some(Ok(()))) => {
            Finding::ok("store", format!("secrets can be kept in {location}"))
        }
        (Ok(location), None) => Finding::note(
            "store",
            format!("no store was chosen yet; it would be {location}"),
        ),
    }
}

/// The command of a hint, which may have words before it.
fn command(hint: &'static str) -> Option<&'static str> {
    hint.find("wit ").map(|at| &hint[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(chosen: StoreKind, why: &str) -> Facts {
        let refusal = Refusal::from(&StoreError::Unavailable {
            reason: why.to_owned(),
        });
        Facts {
            config_error: None,
            chosen: Chosen::Kind(chosen),
            by_environment: false,
            store: Ok("somewhere".to_owned()),
            probe: Some(Err(refusal)),
            unlocking: None,
            no_identity: None,
            damaged: Vec::new(),
            sites: Vec::new(),
            closed: Vec::new(),
            loose: Vec::new(),
            foreign: Vec::new(),
            stuck: Vec::new(),
            unfinished: Vec::new(),
            unusable_journals: Vec::new(),
            unusable_files: Vec::new(),
        }
    }

    #[test]
    fn a_store_that_is_away_gives_way_to_files_where_it_was_chosen() {
        let mut facts = facts(StoreKind::Keychain, "there is no session bus");
        assert_eq!(check(&facts)[0].fix.as_deref(), Some(TO_FILE));
        facts.by_environment = true;
        assert_eq!(
            check(&facts)[0].fix.as_deref(),
            Some("export WIT_STORE=file")
        );
    }

    #[test]
    fn what_sudo_left_behind_is_taken_back() {
        let mut facts = facts(StoreKind::File, "");
        facts.probe = Some(Ok(()));
        facts.foreign = vec![PathBuf::from("/home/ada/.local/state/wit")];
        let fix = check(&facts)[1].fix.clone();
        assert_eq!(
            fix.as_deref(),
            Some("sudo chown -R \"$(id -u)\" /home/ada/.local/state/wit")
        );
    }
}
