//! The tokens of `gh` (`hosts.yml`) and `glab` (`config.yml`): in the file, or in the keyring by the
//! name of the host, as both programs' library go-keyring names its items.

use super::yaml::{self, Map, Value};
use super::{Findings, Skipped};
use crate::credential::Description;
use crate::secret::Secret;

/// The secret that a keyring keeps for a service and a user; `Err` where it can't be asked.
pub type Keyring<'a> = &'a dyn Fn(&str, &str) -> Result<Option<Secret>, ()>;

/// Returns whether a file can be one of the two programs': mappings, or nothing at all.
pub fn is_readable(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let has_content = text.lines().map(str::trim).any(|line| {
        !line.is_empty() && !line.starts_with('#') && !["---", "...", "{}"].contains(&line)
    });
    !has_content || !yaml::parse(text).0.is_empty()
}

/// Reads the file of `gh`. The active account of a host goes first.
pub fn gh(name: &str, text: &[u8], keyring: Keyring, findings: &mut Findings) {
    let hosts = yaml::parse(std::str::from_utf8(text).unwrap_or_default());
    skip_unread(name, &hosts, findings);
    for (host, about) in maps(&hosts) {
        let active = about.text("user").filter(|user| !user.is_empty());
        let users = about.map("users");
        let others = users.into_iter().flat_map(|users| &users.0);
        let others = others.map(|(user, _)| *user);
        let mut names: Vec<&str> = active.into_iter().collect();
        names.extend(others.filter(|user| active != Some(*user)));
        if names.is_empty() && about.get("oauth_token").is_some() {
            let place = format!("{name}, {host}");
            let skipped = Skipped::new(place, "it names no account");
            findings.skipped.push(skipped);
        }
        for user in names {
            let own = users.and_then(|users| users.map(user)?.get("oauth_token"));
            let is_active = active == Some(user);
            let of_host = about.get("oauth_token").filter(|_| is_active);
            let service = format!("gh:{host}");
            let kept = || match keyring(&service, user)? {
                // Versions before 2.40 know one account a host, without its name.
                None if is_active => keyring(&service, ""),
                kept => Ok(kept),
            };
            let place = format!("{name}, {user} at {host}");
            add(place, "https", host, user, own.or(of_host), &kept, findings);
        }
    }
}

/// Reads the file of `glab`.
pub fn glab(name: &str, text: &[u8], keyring: Keyring, findings: &mut Findings) {
    let all = yaml::parse(std::str::from_utf8(text).unwrap_or_default());
    let hosts = all.map("hosts");
    if let Some(hosts) = hosts {
        skip_unread(name, hosts, findings);
    }
    for (host, about) in hosts.into_iter().flat_map(maps) {
        let place = format!("{name}, {host}");
        if about.text("is_oauth2") == Some("true") {
            let why = "an OAuth token of two hours, which only glab can renew";
            findings.skipped.push(Skipped {
                sign_in: Some(format!("https://{host}")),
                ..Skipped::new(place, why)
            });
            continue;
        }
        let user = about.text("user").filter(|user| !user.is_empty());
        let protocol = match about.text("api_protocol") {
            Some("http") => "http",
            _ => "https",
        };
        let token = about.get("token");
        let in_keyring = about.text("use_keyring") == Some("true");
        if !in_keyring && token.is_none_or(is_empty) {
            // glab lists gitlab.com before anybody has signed in there.
            continue;
        }
        let service = format!("glab:{host}");
        let kept = || keyring(&service, "");
        // GitLab takes any username with a token.
        let user = user.unwrap_or("oauth2");
        add(place, protocol, host, user, token, &kept, findings);
    }
}

/// Said of a value that is text to the other program, and not to [`yaml`].
const UNREAD: &str = "it is written in a form of YAML that is not read here";

/// Names the hosts of which nothing can be read.
fn skip_unread(name: &str, hosts: &Map, findings: &mut Findings) {
    let unread = hosts.0.iter().filter(|(_, value)| *value == Value::Other);
    let unread = unread.map(|(host, _)| Skipped::new(format!("{name}, {host}"), UNREAD));
    findings.skipped.extend(unread);
}

/// A key without anything behind it is one of an empty mapping here.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.is_empty(),
        Value::Map(map) => map.0.is_empty(),
        Value::Other => false,
    }
}

fn maps<'a, 'b>(map: &'b Map<'a>) -> impl Iterator<Item = (&'a str, &'b Map<'a>)> {
    map.0.iter().filter_map(|(key, value)| match value {
        Value::Map(map) => Some((*key, map)),
        _ => None,
    })
}

fn add(
    place: String,
    protocol: &str,
    host: &str,
    user: &str,
    in_file: Option<&Value>,
    kept: &dyn Fn() -> Result<Option<Secret>, ()>,
    findings: &mut Findings,
) {
    let secret = match in_file.filter(|token| !is_empty(token)) {
        Some(Value::Text(token)) => Ok(Some(Secret::new(token.as_bytes().to_vec()))),
        Some(_) => {
            return findings.skipped.push(Skipped::new(place, UNREAD));
        }
        None => kept(),
    };
    let why = match secret {
        Ok(Some(secret)) => {
            let said = Description {
                protocol: Some(protocol.into()),
                host: Some(host.into()),
                username: Some(user.into()),
                password: Some(secret),
                ..Description::default()
            };
            return findings.add(place, &said);
        }
        Ok(None) => "its token is neither in the file nor in the keyring",
        Err(()) => "its token is not in the file, and the keyring can't be read",
    };
    findings.skipped.push(Skipped::new(place, why));
}
