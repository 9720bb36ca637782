//! Credentials of Git Credential Manager on Linux: plain files, files that gpg encrypts for `pass`, and
//! items of the Secret Service. What it leaves in git's credential cache can't be listed.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Findings, Skipped};
use crate::credential::{AZURE, Description};
use crate::helper::wire;
use crate::process;
use crate::secret::Secret;
#[cfg(target_os = "linux")]
use crate::store::StoreError;

/// libsecret's schema of its items.
#[cfg(target_os = "linux")]
const SCHEMA: &str = "com.microsoft.GitCredentialManager";
/// Directory of its files below that of `pass`, and prefix of the URL in its items, where
/// `credential.namespace` sets no other.
pub const NAMESPACE: &str = "git";
/// Why an OAuth client's refresh token is not imported.
const REFRESH_TOKEN: &str =
    "a refresh token, which only its own client can use; the access token beside it will expire";
/// Time limit for gpg, which may ask for a passphrase.
const GPG_TIMEOUT: Duration = Duration::from_secs(60);
/// Most directories below each other, and most files.
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 10_000;
/// Larger than any of its files, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads the plain files below its directory (`~/.gcm/store`).
pub fn plain_files(dir: &Path, findings: &mut Findings) {
    for path in files(dir, ".credential", findings) {
        let place = path.display().to_string();
        let size = fs::metadata(&path).map(|about| about.len());
        match fs::read(&path) {
            Ok(text) if size.is_ok_and(|size| size <= MAX_FILE) => {
                file(place, &Secret::new(text), findings);
            }
            Ok(_) => skip(place, "it is too large", findings),
            Err(error) => skip(place, unreadable(&error), findings),
        }
    }
}

/// Has gpg decrypt the files below the directory of `pass` that are its own: those of `namespace`.
pub fn pass_files(dir: &Path, namespace: &str, findings: &mut Findings) {
    for path in files(&dir.join(namespace), ".gpg", findings) {
        let place = path.display().to_string();
        let mut gpg = Command::new("gpg");
        gpg.args(["--quiet", "--decrypt", "--"]).arg(&path);
        match process::output(gpg, b"", GPG_TIMEOUT) {
            Ok(output) if output.status.success() => {
                file(place, &Secret::new(output.stdout), findings);
            }
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let why = said.trim_end().lines().next_back().unwrap_or_default();
                skip(
                    place,
                    format!("gpg could not decrypt it: {}", why),
                    findings,
                );
            }
            Err(_) => skip(place, "it is encrypted, and gpg can't be run", findings),
        }
    }
}

/// Reads its items of the Secret Service.
#[cfg(target_os = "linux")]
pub fn keyring(findings: &mut Findings) -> Result<(), StoreError> {
    let service = crate::store::secret_service::SecretService::new();
    for item in service.items_of_schema(SCHEMA)? {
        let place = format!("the item {:?}", item.label);
        let url = item.attributes.get("service").map(String::as_str);
        let url = url.and_then(without_namespace);
        let account = item.attributes.get("account").map(String::as_str);
        add(place, url, account, item.secret, findings);
    }
    Ok(())
}

/// The URL in the name of an item: `NAMESPACE:URL`, or the URL alone where the namespace is empty.
#[cfg(target_os = "linux")]
fn without_namespace(service: &str) -> Option<&str> {
    let is_url = |text: &str| text.starts_with("https://") || text.starts_with("http://");
    let rest = service.split_once(':').map(|(_, rest)| rest);
    [Some(service), rest]
        .into_iter()
        .flatten()
        .find(|text| is_url(text))
}

/// A file: the password, then lines with the service and the account.
fn file(place: String, text: &Secret, findings: &mut Findings) {
    let mut lines = text.expose().split(|&byte| byte == b'\n');
    let line = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    let password = Secret::new(lines.next().map(line).unwrap_or_default());
    let (mut service, mut account) = (None, None);
    for line in lines.map(String::from_utf8_lossy) {
        match line.trim_end().split_once('=') {
            Some(("service", value)) => service = Some(value.to_owned()),
            Some(("account", value)) => account = Some(value.to_owned()),
            _ => {}
        }
    }
    add(
        place,
        service.as_deref(),
        account.as_deref(),
        password,
        findings,
    );
}

fn add(
    place: String,
    service: Option<&str>,
    account: Option<&str>,
    password: Secret,
    findings: &mut Findings,
) {
    let Some(service) = service else {
        return skip(
            place,
            "it is damaged: no line of it names a service",
            findings,
        );
    };
    let Ok(mut said) = wire::parse(format!("url={service}").as_bytes()) else {
        return skip(place, "it names no URL that git would ask for", findings);
    };
    if let Some(host) = refreshed_host(&said) {
        let protocol = String::from_utf8_lossy(said.protocol.as_deref().unwrap_or(b"https"));
        return findings.skipped.push(Skipped {
            sign_in: Some(format!("{protocol}://{host}")),
            matters: false,
            ..Skipped::new(place, REFRESH_TOKEN)
        });
    }
    if password.is_empty() {
        return skip(place, "it has no password", findings);
    }
    said.path = said.path.filter(|path| !path.is_empty());
    said.username = account.map(|account| account.as_bytes().to_vec());
    // At Azure DevOps it is for an organization, whose name many URLs have as the username.
    if said.host.as_deref() == Some(AZURE.as_bytes()) {
        said.username = said.path.clone().or(said.username);
    }
    said.password = Some(password);
    findings.add(place, &said);
}

/// Host of the sign-in whose refresh token this is. In the URL that names it, there is a word before
/// the host (GitLab, any other OAuth server) or in the place of the path (Bitbucket).
fn refreshed_host(said: &Description) -> Option<String> {
    let host = String::from_utf8_lossy(said.host.as_deref()?).into_owned();
    let named = ["oauth-refresh-token.", "refresh_token."];
    let named = named.iter().find_map(|word| host.strip_prefix(word));
    let by_path = said
        .path
        .as_ref()
        .is_some_and(|path| path.starts_with(b"refresh_token"));
    named.map(str::to_owned).or(by_path.then_some(host))
}

fn skip(place: String, why: impl Into<Cow<'static, str>>, findings: &mut Findings) {
    findings.skipped.push(Skipped::new(place, why));
}

fn unreadable(error: &io::Error) -> String {
    format!("it can't be read: {error}")
}

/// The files with an ending below a directory, sorted. Links are not followed; what can't be looked
/// into is skipped.
fn files(dir: &Path, ending: &str, findings: &mut Findings) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![(dir.to_owned(), 0)];
    while let Some((dir, depth)) = open.pop() {
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                skip(dir.display().to_string(), unreadable(&error), findings);
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => open.push((path, depth + 1)),
                Ok(kind)
                    if kind.is_file()
                        && path
                            .as_os_str()
                            .as_encoded_bytes()
                            .ends_with(ending.as_bytes())
                        && found.len() < MAX_FILES =>
                {
                    found.push(path);
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}
