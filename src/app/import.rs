//! Reads what another helper keeps, and stores it here. The source is left as it is.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::{self, Paths};
use crate::import::{self, Fate, Findings, Found, OtherEncoding};
use crate::process;
use crate::progress;
use crate::secret::Secret;
use crate::store::{self, Store, StoreError};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A helper or a program that keeps credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The files of git's helper `store`.
    Store,
    /// The keyring items of git's helper `libsecret` (Linux).
    Libsecret,
    /// `~/.netrc`.
    Netrc,
    /// Git Credential Manager: plain files, files of pass, the keyring.
    Gcm,
    /// The accounts of GitHub's `gh`.
    Gh,
    /// The accounts of GitLab's `glab`.
    Glab,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file in another encoding is not read in part: what looks right there may be half of a
    /// password.
    #[error("can't read {}: {}; nothing was imported", .0.display(), .1)]
    Encoding(PathBuf, OtherEncoding),
    /// The file has no accounts of `gh` or `glab` in it.
    #[error("{} is no file of gh or glab", .0.display())]
    NotOfCli(PathBuf),
    /// The file can't be read, or is larger than 16 MiB.
    #[error("can't read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// None was named, and none of the usual ones is there.
    #[error("there is no {}", names(.0))]
    NoFile(Vec<PathBuf>),
    /// Git Credential Manager keeps nothing that can be listed: neither in these directories nor in the
    /// keyring, which may be out of reach for a reason.
    #[error(
        "Git Credential Manager keeps nothing here: not in {}, nor in the keyring{}",
        names(directories),
        unreached(keyring)
    )]
    NothingOfGcm {
        /// Directories of its files, whether they exist or not.
        directories: Vec<PathBuf>,
        /// Why the keyring could not be read.
        keyring: Option<StoreError>,
    },
    /// Only Linux has a Secret Service.
    #[error("there is no Secret Service on this system")]
    NoSecretService,
    /// The keyring that is the source can't be reached; with the reason.
    #[error("can't read the keyring: {0}")]
    Keyring(String),
    /// The store can't be read or written, or the keyring did not answer.
    #[error("{0}")]
    Store(#[from] StoreError),
}

fn unreached(keyring: &Option<StoreError>) -> String {
    match keyring {
        Some(error) => format!(" ({error})"),
        None => String::new(),
    }
}

fn names(files: &[PathBuf]) -> String {
    let files: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    files.join(", nor ")
}

/// Reads a source, and returns the files that it consists of. `named` are other files than the usual
/// ones; libsecret and Git Credential Manager have none.
pub fn read(source: Source, named: &[PathBuf]) -> Result<(Findings, Vec<PathBuf>), ImportError> {
    let usual = |path: Option<PathBuf>| path.into_iter().collect::<Vec<_>>();
    let (usual, parse): (_, fn(&str, &[u8], &mut Findings)) = match source {
        Source::Store => (Paths::git_credentials(), import::git_store::read),
        Source::Netrc => (Paths::netrc(), import::netrc::read),
        Source::Gh => (usual(Paths::gh_hosts()), gh),
        Source::Glab => (usual(Paths::glab_config()), glab),
        Source::Libsecret => return Ok((libsecret()?, Vec::new())),
        Source::Gcm => return Ok((gcm()?, Vec::new())),
    };
    let is_named = !named.is_empty();
    let mut findings = Findings::default();
    let mut files = Vec::new();
    for path in if is_named { named } else { &usual } {
        match content(path) {
            Ok(text) => {
                let text = import::without_mark(&text)
                    .map_err(|error| ImportError::Encoding(path.clone(), error))?;
                if matches!(source, Source::Gh | Source::Glab)
                    && !import::cli_hosts::is_readable(text)
                {
                    return Err(ImportError::NotOfCli(path.clone()));
                }
                parse(&path.display().to_string(), text, &mut findings);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => continue,
            Err(error) => return Err(ImportError::Read(path.clone(), error)),
        }
        files.push(path.clone());
    }
    match files.is_empty() {
        true => Err(ImportError::NoFile(usual)),
        false => Ok((findings, files)),
    }
}

/// Stores what was found, and returns what became of each, in the same order. A secret that differs
/// from one that is stored replaces that only with `force`. With `dry_run` nothing is stored.
pub fn store<'a>(
    paths: &Paths,
    store: &dyn Store,
    findings: &'a Findings,
    force: bool,
    dry_run: bool,
) -> Result<Vec<(&'a Found, Fate)>, StoreError> {
    let one = |found: &'a Found| {
        let take = |item: &mut _| import::take(item, &found.credential, force);
        let fate = match dry_run {
            true => take(&mut store::load(store, &found.site)?),
            false => store::update(store, paths, &found.site, take)?,
        };
        Ok((found, fate))
    };
    // What is put last is answered first: the source's first.
    let from_last = findings.found.iter().rev();
    let stored = progress::during("Taking credentials over", || {
        from_last.map(one).collect::<Result<Vec<_>, StoreError>>()
    });
    let mut stored = stored?;
    stored.reverse();
    Ok(stored)
}

fn gh(name: &str, text: &[u8], findings: &mut Findings) {
    import::cli_hosts::gh(name, text, &in_keyring, findings);
}

fn glab(name: &str, text: &[u8], findings: &mut Findings) {
    import::cli_hosts::glab(name, text, &in_keyring, findings);
}

/// Password that go-keyring keeps for a service and a user.
#[cfg(target_os = "linux")]
fn in_keyring(service: &str, user: &str) -> Result<Option<Secret>, ()> {
    let wanted = [("service", service), ("username", user)];
    let items = progress::during("Waiting for the keyring", || {
        store::secret_service::SecretService::new().items_with(&wanted)
    });
    let item = items.map_err(drop)?.into_iter().next();
    Ok(item.map(|item| item.secret))
}

#[cfg(not(target_os = "linux"))]
fn in_keyring(_service: &str, _user: &str) -> Result<Option<Secret>, ()> {
    Err(())
}

/// All that Git Credential Manager may have kept here, wherever it was told to. The place that its
/// configuration names comes first: of two entries for the same name the other may be long out of use.
fn gcm() -> Result<Findings, ImportError> {
    let mut findings = Findings::default();
    let namespace = gcm_setting("GCM_NAMESPACE", "credential.namespace");
    let namespace = namespace.as_deref().unwrap_or(import::gcm::NAMESPACE);
    let named = gcm_setting("GCM_PLAINTEXT_STORE_PATH", "credential.plaintextStorePath");
    let plain = named.map(PathBuf::from).or_else(Paths::gcm_store);
    let pass = Paths::password_store();
    let chosen = gcm_setting("GCM_CREDENTIAL_STORE", "credential.credentialStore");
    let mut kinds = ["plaintext", "gpg", "secretservice"];
    if let Some(at) = kinds
        .iter()
        .position(|kind| chosen.as_deref() == Some(kind))
    {
        kinds[..=at].rotate_right(1);
    }
    #[cfg_attr(not(target_os = "linux"), expect(unused_mut))]
    let mut unread = None;
    for kind in kinds {
        match (kind, &plain, &pass) {
            ("plaintext", Some(dir), _) => import::gcm::plain_files(dir, &mut findings),
            // gpg may ask for a passphrase on this terminal, so no line says that it is waited for.
            ("gpg", _, Some(dir)) => import::gcm::pass_files(dir, namespace, &mut findings),
            #[cfg(target_os = "linux")]
            ("secretservice", ..) => {
                let read = progress::during("Waiting for the keyring", || {
                    import::gcm::keyring(&mut findings)
                });
                match read {
                    Ok(()) => {}
                    // Without a desktop there is none, and it was told to use files.
                    Err(error @ (StoreError::Unavailable { .. } | StoreError::TimedOut { .. })) => {
                        unread = Some(error)
                    }
                    Err(error) => return Err(unread_keyring(error)),
                }
            }
            _ => {}
        }
    }
    if !findings.found.is_empty() || !findings.skipped.is_empty() {
        return Ok(findings);
    }
    let pass = pass.map(|dir| dir.join(namespace));
    Err(ImportError::NothingOfGcm {
        directories: plain.into_iter().chain(pass).collect(),
        keyring: unread,
    })
}

/// A setting of Git Credential Manager: the variable, else the key of git's configuration, in which
/// `~/` is the home directory.
fn gcm_setting(name: &str, key: &str) -> Option<String> {
    config::variable(name).or_else(|| {
        let asked = process::run("git", &["config", "--type=path", "--get", key], "").ok()?;
        let value = String::from_utf8(asked.stdout).ok()?;
        let value = value.trim_end_matches('\n');
        (asked.status.success() && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(target_os = "linux")]
fn libsecret() -> Result<Findings, ImportError> {
    let read = progress::during("Waiting for the keyring", import::libsecret::read);
    read.map_err(unread_keyring)
}

/// It is the source that can't be reached; the store of our own may be another.
#[cfg(target_os = "linux")]
fn unread_keyring(error: StoreError) -> ImportError {
    match error {
        StoreError::Unavailable { reason } => ImportError::Keyring(reason),
        other => other.into(),
    }
}

#[cfg(not(target_os = "linux"))]
fn libsecret() -> Result<Findings, ImportError> {
    Err(ImportError::NoSecretService)
}

fn content(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut text = Zeroizing::new(Vec::with_capacity(length.min(MAX_FILE) as usize + 1));
    file.take(MAX_FILE + 1).read_to_end(&mut text)?;
    match text.len() as u64 > MAX_FILE {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is too large",
        )),
        false => Ok(text),
    }
}
