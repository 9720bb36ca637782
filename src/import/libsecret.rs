//! The items of git-credential-libsecret, by the attributes of its source.

use super::Findings;
use crate::credential::Description;
use crate::expiry::Expiry;
use crate::secret::Secret;
use crate::store::StoreError;
use crate::store::secret_service::{ForeignItem, SecretService};

/// Its own schema, since git 2.41: expiry and refresh token follow the password, a line each.
const SCHEMA: &str = "org.git.Password";
/// The schema before, which file managers share: there the label tells git's items.
const OLD_SCHEMA: &str = "org.gnome.keyring.NetworkPassword";
const LABEL: &str = "Git: ";

/// Reads all items of both schemas. Those of other programs are passed over.
pub fn read() -> Result<Findings, StoreError> {
    let service = SecretService::new();
    let mut findings = Findings::default();
    for item in service.items_of_schema(SCHEMA)? {
        findings.add(place(&item), &describe(&item, true));
    }
    for item in service.items_of_schema(OLD_SCHEMA)? {
        if item.label.starts_with(LABEL) {
            findings.add(place(&item), &describe(&item, false));
        }
    }
    Ok(findings)
}

/// The label names the URL, never the secret.
fn place(item: &ForeignItem) -> String {
    format!("the item {:?}", item.label)
}

fn describe(item: &ForeignItem, with_lines: bool) -> Description {
    let text = |name: &str| {
        let value = item.attributes.get(name)?;
        Some(value.clone().into_bytes())
    };
    let host = text("server").map(|mut host| {
        if let Some(port) = text("port") {
            host.push(b':');
            host.extend(port);
        }
        host
    });
    let mut said = Description {
        protocol: text("protocol"),
        host,
        path: text("object"),
        username: text("user"),
        ..Description::default()
    };
    if !with_lines {
        said.password = Some(item.secret.clone());
        return said;
    }
    let mut lines = item.secret.expose().split(|&byte| byte == b'\n');
    said.password = lines.next().map(|line| Secret::new(line.to_vec()));
    for line in lines {
        if let Some(value) = line.strip_prefix(b"password_expiry_utc=") {
            said.expiry = Expiry::parse(value);
        } else if let Some(value) = line.strip_prefix(b"oauth_refresh_token=") {
            said.refresh_token = Some(Secret::new(value.to_vec()));
        }
    }
    said
}
