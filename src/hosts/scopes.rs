//! The scopes that each host knows, and what the short forms `read` and `write` mean there: the
//! least that fetches, and that pushes too.

use crate::api::Scope;
use crate::names;
use crate::sign_in::HostType;

/// A scope in the host's own words, and what it opens.
pub type Known = (&'static str, &'static str);

const GITEA: [Known; 20] = [
    ("read:repository", "Clone and pull repositories"),
    (
        "write:repository",
        "Push to repositories, create and delete them",
    ),
    ("read:user", "Read your profile and settings"),
    (
        "write:user",
        "Change your profile and settings, and create tokens",
    ),
    ("read:organization", "Read organizations"),
    ("write:organization", "Change organizations"),
    ("read:package", "Download packages"),
    ("write:package", "Publish packages"),
    ("read:issue", "Read issues"),
    ("write:issue", "Write issues"),
    ("read:notification", "Read notifications"),
    ("write:notification", "Change notifications"),
    ("read:misc", "Read templates and the like"),
    ("write:misc", "Change the like"),
    ("read:activitypub", "Read over ActivityPub"),
    ("write:activitypub", "Write over ActivityPub"),
    ("read:admin", "Read what administrators see"),
    ("write:admin", "Do what administrators do"),
    ("all", "Everything"),
    ("public-only", "Only what is public"),
];

const GITLAB: [Known; 6] = [
    ("read_repository", "Clone and pull repositories"),
    ("write_repository", "Pull from and push to repositories"),
    ("self_rotate", "Replace the token itself"),
    ("read_user", "Read your profile"),
    ("read_api", "Read everything over the API"),
    ("api", "Everything"),
];

const GITHUB: [Known; 15] = [
    ("contents:read", "Clone and pull repositories"),
    ("contents:write", "Push to repositories"),
    ("metadata:read", "Read what a repository is called"),
    ("workflows:write", "Push changes of workflows"),
    ("issues:read", "Read issues"),
    ("issues:write", "Write issues"),
    ("pull_requests:read", "Read pull requests"),
    ("pull_requests:write", "Write pull requests"),
    ("packages:read", "Download packages"),
    ("packages:write", "Publish packages"),
    ("actions:read", "Read runs of workflows"),
    ("actions:write", "Start and cancel runs of workflows"),
    ("checks:write", "Report checks"),
    ("statuses:write", "Set the status of commits"),
    ("deployments:write", "Create deployments"),
];

/// Scopes of a host; empty where they are not known here.
pub fn all(host: HostType) -> &'static [Known] {
    match host {
        HostType::Wit => &names::SCOPES,
        HostType::Gitea | HostType::Forgejo => &GITEA,
        HostType::Gitlab => &GITLAB,
        HostType::Github => &GITHUB,
        HostType::Bitbucket | HostType::Azure | HostType::Oauth => &[],
    }
}

/// The meaning of a short form; `None` for any other word.
pub fn short(host: HostType, word: &str) -> Option<&'static [&'static str]> {
    let is_write = match word {
        "read" => false,
        "write" => true,
        _ => return None,
    };
    let (read, write): (&[&str], &[&str]) = match host {
        HostType::Wit => (&["repo:read"], &["repo:read", "repo:write"]),
        HostType::Gitea | HostType::Forgejo => (&["read:repository"], &["write:repository"]),
        HostType::Gitlab => (&["read_repository"], &["write_repository"]),
        HostType::Github => (&["contents:read"], &["contents:write"]),
        HostType::Bitbucket | HostType::Azure | HostType::Oauth => return None,
    };
    Some(if is_write { write } else { read })
}

/// The scopes of a token for git where none are named: those that push.
pub fn default(host: HostType) -> Vec<String> {
    let words = short(host, "write").unwrap_or_default();
    words.iter().map(|&word| word.to_owned()).collect()
}

/// A scope that the host does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope '{scope}'")]
pub struct UnknownScope {
    /// The word that was asked for.
    pub scope: String,
    /// The scope that looks most like it.
    pub nearest: Option<&'static str>,
}

/// The scopes asked for, comma-separated or one by one, each once, in order, and in the host's own
/// words.
pub fn parse(host: HostType, asked: &[String]) -> Result<Vec<String>, UnknownScope> {
    let known = all(host);
    let mut scopes: Vec<String> = Vec::new();
    for word in asked.iter().flat_map(|list| list.split(',')).map(str::trim) {
        let meant = match short(host, word) {
            Some(meant) => meant.to_vec(),
            None if known.iter().any(|(scope, _)| *scope == word) => vec![word],
            // What an unknown kind of server takes, it says itself.
            None if known.is_empty() && !word.is_empty() => vec![word],
            None => {
                return Err(UnknownScope {
                    scope: word.to_owned(),
                    nearest: nearest(known, word),
                });
            }
        };
        for scope in meant {
            if !scopes.iter().any(|held| held == scope) {
                scopes.push(scope.to_owned());
            }
        }
    }
    Ok(scopes)
}

fn nearest(known: &[Known], word: &str) -> Option<&'static str> {
    known
        .iter()
        .map(|(scope, _)| (strsim::jaro_winkler(scope, word), *scope))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, scope)| scope)
}

/// The table as [`crate::api::TokenApi::scopes`] answers it.
pub fn listed(known: &[Known]) -> Vec<Scope> {
    let scope = |(name, description): &Known| Scope {
        name: (*name).to_owned(),
        description: (*description).to_owned(),
    };
    known.iter().map(scope).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(host: HostType, asked: &str) -> Result<Vec<String>, UnknownScope> {
        parse(host, &[asked.to_owned()])
    }

    #[test]
    fn the_short_forms_mean_the_least_on_each_host() {
        for (host, read, write) in [
            (HostType::Wit, "repo:read", "repo:read,repo:write"),
            (HostType::Gitea, "read:repository", "write:repository"),
            (HostType::Forgejo, "read:repository", "write:repository"),
            (HostType::Gitlab, "read_repository", "write_repository"),
            (HostType::Github, "contents:read", "contents:write"),
        ] {
            assert_eq!(parsed(host, "read").expect("known").join(","), read);
            assert_eq!(parsed(host, "write").expect("known").join(","), write);
            for (scope, _) in all(host) {
                assert_eq!(parsed(host, scope).expect("known"), [*scope]);
            }
        }
    }

    #[test]
    fn an_unknown_scope_is_answered_with_the_nearest() {
        for (host, word, nearest) in [
            (HostType::Wit, "repo:reed", Some("repo:read")),
            (HostType::Gitea, "write:repo", Some("write:repository")),
            (
                HostType::Gitlab,
                "write-repository",
                Some("write_repository"),
            ),
            (HostType::Gitea, "xyz", None),
            (HostType::Wit, "", None),
        ] {
            assert_eq!(parsed(host, word).expect_err("unknown").nearest, nearest);
        }
        let twice = parsed(HostType::Wit, "read,repo:read, user:read");
        assert_eq!(twice.expect("known"), ["repo:read", "user:read"]);
    }
}
