//! Directories, the config file and the environment: the only reader of any of them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};
use crate::system;

/// The format of the config file. One of a higher version is neither read nor written.
const VERSION: u64 = 1;
/// Longest wait for another process's change of the config file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between two tries at a lock.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Directories of this program, after `directories` (XDG on Linux).
#[derive(Clone, Debug)]
pub struct Paths {
    config: PathBuf,
    data: PathBuf,
    state: PathBuf,
}

impl Paths {
    /// `None` where there is no home directory to derive them from.
    pub fn from_environment() -> Option<Self> {
        let dirs = directories::ProjectDirs::from("", "", "wit")?;
        Some(Paths {
            config: dirs.config_dir().to_owned(),
            data: dirs.data_local_dir().to_owned(),
            state: dirs.state_dir().unwrap_or(dirs.data_local_dir()).to_owned(),
        })
    }

    /// The files of git-credential-store(1) where it is told no other, in its order.
    pub fn git_credentials() -> Vec<PathBuf> {
        git_homes()
            .map(|(home, other)| vec![home.join(".git-credentials"), other.join("credentials")])
            .unwrap_or_default()
    }

    /// The person's netrc(5).
    pub fn netrc() -> Vec<PathBuf> {
        git_homes()
            .map(|(home, _)| vec![home.join(".netrc")])
            .unwrap_or_default()
    }

    /// The plain files of Git Credential Manager where it is told no other directory.
    pub fn gcm_store() -> Option<PathBuf> {
        Some(git_homes()?.0.join(".gcm/store"))
    }

    /// The directory of pass(1).
    pub fn password_store() -> Option<PathBuf> {
        match variable("PASSWORD_STORE_DIR") {
            Some(dir) => Some(dir.into()),
            None => Some(git_homes()?.0.join(".password-store")),
        }
    }

    /// The file in which `gh` keeps its accounts.
    pub fn gh_hosts() -> Option<PathBuf> {
        let dir = variable("GH_CONFIG_DIR").map(PathBuf::from);
        Some(dir.or_else(|| xdg_config("gh"))?.join("hosts.yml"))
    }

    /// The file in which `glab` keeps its accounts.
    pub fn glab_config() -> Option<PathBuf> {
        let dir = variable("GLAB_CONFIG_DIR").map(PathBuf::from);
        Some(dir.or_else(|| xdg_config("glab-cli"))?.join("config.yml"))
    }

    /// All three below one directory: for tests.
    pub fn below(dir: &Path) -> Self {
        Paths {
            config: dir.join("config"),
            data: dir.join("data"),
            state: dir.join("state"),
        }
    }

    /// The config file, JSON.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.json")
    }

    /// Directory of the file store's items and identity.
    pub fn store_dir(&self) -> PathBuf {
        self.data.join("store")
    }

    /// Names of repositories, for completions.
    pub fn repositories_file(&self) -> PathBuf {
        self.state.join("repositories.json")
    }

    /// Default data directory of `wit up`.
    pub fn platform_dir(&self) -> PathBuf {
        self.data.join("platform")
    }

    /// One lock file per site.
    pub fn lock_dir(&self) -> PathBuf {
        self.state.join("locks")
    }

    /// Journals of rotations, records of what `wit setup` changed, remembered failures.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// The tokens that a shell is offered.
    pub fn completions_file(&self) -> PathBuf {
        self.state.join("completions.json")
    }

    /// Directory of this user's systemd units (systemd.unit(5)).
    pub fn systemd_dir(&self) -> PathBuf {
        self.config.with_file_name("systemd").join("user")
    }

    /// The key of the helper's `state[]` attribute.
    pub fn state_key_file(&self) -> PathBuf {
        self.state.join("state-key")
    }

    /// Data that is ours but not in the file store.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }
}

/// The config file. No secret is ever in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The store that was chosen: by a person, or by `auto` at the first write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Days before its expiry from which a token is renewed, or `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew: Option<String>,
    /// When git's question for a credential starts a sign-in: `ask`, `always` or `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<String>,
    /// The server that commands mean where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_server: Option<String>,
    /// Servers that `wit login` knows, by base URL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<String, Server>,
    /// Keys that this version does not know; kept.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// Configuration of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The form of its token API: `rest`, `trpc` or `database`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Type, if it is not a wit server: `github`, `gitlab`, `gitea`, `forgejo`, `oauth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_type: Option<String>,
    /// The account that commands mean where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A file of certificates (PEM) that are trusted for it besides the system's; absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Of a `wit up` on this machine, where its data lie: its address may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Keys that this version does not know; kept.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Server {
    /// Returns whether somebody has logged in there, as far as the configuration tells. `wit up` alone
    /// makes no login.
    pub fn has_login(&self) -> bool {
        // An account at a git host need not be known.
        self.account.is_some() || self.host_type.is_some()
    }
}

impl Config {
    /// Reads the config file; a missing one is an empty one.
    pub fn load(paths: &Paths) -> io::Result<Self> {
        Ok(Config::read(paths)?)
    }

    /// [`Config::load`] with an error that says what is wrong with the file.
    pub fn read(paths: &Paths) -> Result<Self, FileError> {
        let read = files::read_json(&paths.config_file(), VERSION)?;
        Ok(read.unwrap_or_default())
    }

    /// Forgets a server, also as the one that is meant where none is named.
    pub fn forget(&mut self, url: &str) {
        self.servers.remove(url);
        self.default_server.take_if(|default| default == url);
    }

    /// The servers at which somebody has logged in, by base URL.
    pub fn logins(&self) -> impl Iterator<Item = &String> {
        let logins = self.servers.iter().filter(|(_, known)| known.has_login());
        logins.map(|(url, _)| url)
    }

    /// Reads, changes and writes the config file under a lock of its own.
    pub fn update<T>(paths: &Paths, change: impl FnOnce(&mut Config) -> T) -> io::Result<T> {
        private_dir(&paths.config)?;
        let mut open = OpenOptions::new();
        open.write(true);
        let lock = open_or_create(&paths.config.join(".lock"), &open)?;
        lock_within(&lock, File::try_lock, LOCK_TIMEOUT).map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => {
                let why =
                    format!("another process held the config file's lock for {LOCK_TIMEOUT:?}");
                io::Error::new(io::ErrorKind::TimedOut, why)
            }
        })?;
        let before = Config::load(paths)?;
        let mut after = before.clone();
        let answer = change(&mut after);
        if after != before {
            let mut text = serde_json::to_vec_pretty(&after)?;
            text.push(b'\n');
            write_private(&paths.config_file(), &text)?;
        }
        Ok(answer)
    }
}

/// Tries `lock` until it is got or `timeout` is over: flock(2) has no form with a time limit.
pub fn lock_within(
    file: &File,
    lock: fn(&File) -> Result<(), TryLockError>,
    timeout: Duration,
) -> Result<(), TryLockError> {
    let begun = Instant::now();
    loop {
        match lock(file) {
            Err(TryLockError::WouldBlock) if begun.elapsed() < timeout => {
                std::thread::sleep(POLL_INTERVAL);
            }
            tried => return tried,
        }
    }
}

/// The person in whose home root works, as by `sudo -E` or in a container: what is created there is
/// created for them, or they could not use it. `None` for everybody else, and in root's own home.
pub fn home_owner() -> Option<system::Owner> {
    if !system::is_root() {
        return None;
    }
    system::owner_of_dir(Path::new(&variable("HOME")?))
}

/// [`home_owner`] where `dir` is theirs too.
pub fn heir(dir: &Path) -> Option<system::Owner> {
    home_owner().filter(|owner| system::owner_of_dir(dir).is_some_and(|of| of.user == owner.user))
}

/// Gives a file that was created in `dir` to the person in whose home root works.
pub fn hand_over(file: &File, dir: &Path) -> io::Result<()> {
    heir(dir).map_or(Ok(()), |owner| system::give(file, owner))
}

/// Returns whether secrets may be read from what belongs to `user`: to this process's user, to root, or to the
/// person in whose home root works. Anybody else could have put it there.
pub fn is_trusted(user: u32) -> bool {
    user == system::own_user() || user == 0 || home_owner().is_some_and(|owner| owner.user == user)
}

/// Makes a directory, and those above it, that only its owner can enter.
pub fn private_dir(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    system::only_owner_enters(&mut builder);
    if home_owner().is_none() {
        return builder.recursive(true).create(path);
    }
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.exists()).collect();
    for dir in missing.into_iter().rev() {
        match builder.create(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => continue,
            made => made?,
        }
        if let Some(owner) = heir(parent(dir)) {
            system::give_dir(dir, owner)?;
        }
    }
    match path.is_dir() {
        true => Ok(()),
        false => builder.create(path),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Opens a file as `options` say, and creates it where there is none. Not through a link that leads
/// nowhere.
pub fn open_or_create(path: &Path, options: &OpenOptions) -> io::Result<File> {
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            hand_over(&file, parent(path))?;
            Ok(file)
        }
        // Another process has just created it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    }
}

/// Makes an empty file that only its owner can read, where there is none.
pub fn touch_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true);
    system::only_owner_reads(&mut options);
    open_or_create(path, &options).map(drop)
}

/// Prefix of the names of files that are being written.
const TEMPORARY: &str = ".tmp-";
/// From what age on such a file may be one whose writer was killed.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Removes what writers that were killed left in `dir`. Failing at that is no failure of the caller.
pub fn remove_abandoned(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_temporary && age().is_some_and(|age| age >= ABANDONED) {
            // A writer that was stopped for long, as by a sleeping laptop, still holds its lock.
            let dead = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
            if dead {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Writes a file that only its owner can read, all or nothing: a temporary file beside it,
/// fsync, rename, fsync of the directory.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let dir = parent(path);
    private_dir(dir)?;
    let mut file = temporary(dir)?;
    // Says that its writer lives. Where files can't be locked nothing takes it for abandoned.
    let _ = file.as_file().try_lock();
    crash_point();
    file.write_all(bytes)?;
    crash_point();
    file.as_file().sync_all()?;
    crash_point();
    system::put_in_place(file, path)?;
    crash_point();
    system::sync_dir(dir)?;
    crash_point();
    Ok(())
}

/// A new file in `dir` that only its owner can read, under a name of its own until it is whole.
pub fn temporary(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    temporary_named(dir, TEMPORARY)
}

/// The same with a name that begins with `prefix`.
pub fn temporary_named(dir: &Path, prefix: &str) -> io::Result<tempfile::NamedTempFile> {
    // Not as tempfile itself opens it: on Windows the file would be marked as temporary for good.
    let open = |path: &Path| {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        system::only_owner_reads(&mut options);
        options.open(path)
    };
    let file = tempfile::Builder::new().prefix(prefix).make_in(dir, open)?;
    // Before anything is in it, and before it has its name.
    hand_over(file.as_file(), dir)?;
    Ok(file)
}

/// Dies at the point that `WIT_CRASH_AT` counts, such as `write-17`, in a build for that.
fn crash_point() {
    #[cfg(feature = "crash-points")]
    {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static PASSED: AtomicUsize = AtomicUsize::new(0);
        let number = PASSED.fetch_add(1, Ordering::Relaxed);
        if variable("WIT_CRASH_AT") == Some(format!("write-{number}")) {
            std::process::abort();
        }
    }
}

/// The file that `git config --global` writes to, whether it is there or not: the first that is
/// there, else the first (git-config(1), FILES).
pub fn git_global_file() -> Option<PathBuf> {
    if let Some(file) = variable("GIT_CONFIG_GLOBAL") {
        return Some(file.into());
    }
    let (home, other) = git_homes()?;
    let (home, other) = (home.join(".gitconfig"), other.join("config"));
    match !home.exists() && other.exists() {
        true => Some(other),
        false => Some(home),
    }
}

/// Returns whether git, on Unix, has no file of its user's to write to.
pub fn git_has_no_home() -> bool {
    variable("GIT_CONFIG_GLOBAL").is_none() && variable("HOME").is_none()
}

/// The home directory of this user, whether the environment names it or the system.
pub fn home_of_user() -> Option<PathBuf> {
    Some(directories::BaseDirs::new()?.home_dir().to_owned())
}

/// The home directory as git takes it, and the other directory of git's own files. Both are the
/// same on every system, where `directories` has others: HOME goes first on Windows too, and
/// `~/.config` is looked at on macOS and Windows too (git-config(1), FILES).
fn git_homes() -> Option<(PathBuf, PathBuf)> {
    let home = match variable("HOME") {
        Some(home) => PathBuf::from(home),
        None => home_of_user()?,
    };
    let config = variable("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    Some((home, config.join("git")))
}

/// A program's directory below `XDG_CONFIG_HOME`, as other programs take it on every system.
fn xdg_config(program: &str) -> Option<PathBuf> {
    Some(git_homes()?.1.with_file_name(program))
}

/// A variable of the environment; an empty one counts as unset.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns whether the terminal says that it can do nothing but print, or says nothing (terminfo(5)).
pub fn terminal_is_dumb() -> bool {
    variable("TERM").is_none_or(|terminal| terminal == "dumb")
}

/// A variable without the line ends that a file or a command left after its value.
pub fn line(name: &str) -> Option<String> {
    let mut value = variable(name)?;
    value.truncate(value.trim_end_matches(['\r', '\n']).len());
    Some(value)
}

/// A variable as seconds, more than 0 and at most an hour; `usual` where it says nothing usable.
pub fn seconds(name: &str, usual: Duration) -> Duration {
    const MAX_SECONDS: f64 = 3600.0;
    variable(name)
        .and_then(|text| text.parse().ok())
        .filter(|seconds| (f64::MIN_POSITIVE..=MAX_SECONDS).contains(seconds))
        .map_or(usual, Duration::from_secs_f64)
}
