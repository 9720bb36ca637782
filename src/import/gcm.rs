//! Credentials of Git Credential Manager on Linux: plain files, files that gpg encrypts for `pass`, and
//! items of the Secret Service. What it leaves in git's credential cache can't be listed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Findings, Skipped};
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
/// Azure DevOps by its present address; the organization is in the path.
pub const AZURE: &str = "dev.azure.com";
/// Time limit for gpg, which may ask for a passphrase.
const GPG_TIMEOUT: Duration = Duration::from_secs(60);
/// Most directories below each other, and most files.
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 10_000;
/// Larger than any of its files, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads the plain files below its directory (`~/.gcm/store`).
pub fn plain_files(dir: &Path, findings: &mut Findings) {
    for path in files(dir, "credential") {
        let place = path.display().to_string();
        let size = fs::metadata(&path).map(|about| about.len());
        match fs::read(&path) {
            Ok(text) if size.is_ok_and(|size| size <= MAX_FILE) => {
                file(place, &Secret::new(text), findings);
            }
            _ => skip(place, "it can't be read", findings),
        }
    }
}

/// Has gpg decrypt the files below the directory of `pass` that are its own: those of `namespace`.
pub fn pass_files(dir: &Path, namespace: &str, findings: &mut Findings) {
    for path in files(&dir.join(namespace), "gpg") {
        let place = path.display().to_string();
        let mut gpg = Command::new("gpg");
        gpg.args(["--quiet", "--decrypt", "--"]).arg(&path);
        match process::output(gpg, b"", GPG_TIMEOUT) {
            Ok(output) if output.status.success() => {
                file(place, &Secret::new(output.stdout), findings);
            }
            Ok(_) => skip(place, "gpg could not decrypt it", findings),
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
    let said = service.map(|url| wire::parse(format!("url={url}").as_bytes()));
    let Some(Ok(mut said)) = said else {
        return skip(place, "it names no URL that git would ask for", findings);
    };
    let is = |value: &Option<Vec<u8>>, start: &[u8]| {
        value.as_ref().is_some_and(|value| value.starts_with(start))
    };
    // At GitLab, at any other OAuth server, at Bitbucket.
    let named = is(&said.host, b"oauth-refresh-token.") || is(&said.host, b"refresh_token.");
    if named || is(&said.path, b"refresh_token") {
        let why = "a refresh token of its own client; sign in with wit login";
        return skip(place, why, findings);
    }
    said.path = said.path.filter(|path| !path.is_empty());
    said.username = account.map(|account| account.as_bytes().to_vec());
    // It keeps one token for all repositories of an organization, whose name git sends as the
    // username of the URLs that Azure DevOps shows (https://ORG@dev.azure.com/ORG/…). The server
    // takes any username.
    if said
        .host
        .as_ref()
        .is_some_and(|host| host.eq_ignore_ascii_case(AZURE.as_bytes()))
        && let Some(path) = said.path.take()
    {
        said.username = path.split(|&byte| byte == b'/').next().map(<[u8]>::to_vec);
    }
    said.password = Some(password);
    findings.add(place, &said);
}

fn skip(place: String, why: &'static str, findings: &mut Findings) {
    findings.skipped.push(Skipped { place, why });
}

/// The files with an ending below a directory, sorted. Links are not followed.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![(dir.to_owned(), 0)];
    while let Some((dir, depth)) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => open.push((path, depth + 1)),
                Ok(kind)
                    if kind.is_file()
                        && path.extension().is_some_and(|end| end == ending)
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
