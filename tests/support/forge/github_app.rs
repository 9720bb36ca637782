//! GitHub Apps: an app's key, its installations, and their tokens of an hour.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use super::{basic, bearer, github};
use crate::support::server::with_header;
use crate::support::{Home, done};

/// ID, client ID and name of the one app.
pub const APP: &str = "12345";
pub const CLIENT_ID: &str = "Iv23liStandIn";
pub const SLUG: &str = "builds";
/// Life of a token, in seconds.
const HOUR: i64 = 3_600;

/// A private key in the files of a home.
pub struct Key {
    /// As GitHub gives it out: PKCS #1.
    pub file: PathBuf,
    public: Vec<u8>,
}

impl Key {
    pub fn new(home: &Home, name: &str) -> Self {
        let (file, public) = (format!("{name}.pem"), format!("{name}.public"));
        done(&home.run(
            "openssl",
            &["genrsa", "-traditional", "-out", &file, "2048"],
            "",
        ));
        let words = ["rsa", "-in", &file, "-RSAPublicKey_out", "-outform", "DER"];
        done(&home.run("openssl", &[&words[..], &["-out", &public]].concat(), ""));
        Key {
            public: std::fs::read(home.path().join(&public)).expect("a public key"),
            file: home.path().join(file),
        }
    }

    pub fn path(&self) -> &str {
        Path::to_str(&self.file).expect("text")
    }

    pub fn pem(&self) -> String {
        std::fs::read_to_string(&self.file).expect("a key")
    }
}

#[derive(Clone, Debug)]
pub struct Installation {
    pub id: u64,
    pub owner: String,
    pub is_organization: bool,
    pub repositories: BTreeSet<String>,
    pub permissions: BTreeMap<String, String>,
    pub is_suspended: bool,
}

#[derive(Clone, Debug)]
pub struct InstallationToken {
    pub installation: u64,
    pub repositories: Option<BTreeSet<String>>,
    pub permissions: BTreeMap<String, String>,
    /// By the server's clock.
    pub expiry: i64,
    pub is_ended: bool,
}

/// The app of a stand-in, and what it was given.
#[derive(Default)]
pub struct Apps {
    public: Vec<u8>,
    pub installations: Vec<Installation>,
    pub tokens: BTreeMap<String, InstallationToken>,
    /// Seconds by which the server's clock is ahead of this machine's.
    pub ahead: i64,
    /// The seconds that the next requests for a token are told to wait.
    pub limited: Option<u32>,
    /// Why JWTs were refused.
    pub refusals: Vec<String>,
}

impl Apps {
    /// The app's only key, and an installation at the organization `octo`.
    pub fn install(&mut self, key: &Key) {
        self.public.clone_from(&key.public);
        self.installations = vec![self.installation(7, "octo", true)];
    }

    pub fn installation(&self, id: u64, owner: &str, is_organization: bool) -> Installation {
        let permissions = [
            ("contents", "write"),
            ("metadata", "read"),
            ("issues", "read"),
        ];
        Installation {
            id,
            owner: owner.to_owned(),
            is_organization,
            repositories: ["hello", "world"].map(String::from).into(),
            permissions: permissions
                .map(|(name, level)| (name.to_owned(), level.to_owned()))
                .into(),
            is_suspended: false,
        }
    }

    pub fn created(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens that still work.
    pub fn alive(&self) -> Vec<String> {
        let tokens = self.tokens.iter();
        let alive = tokens.filter(|(_, token)| self.works(token));
        alive.map(|(secret, _)| secret.clone()).collect()
    }

    /// Whether a token works at the API.
    pub(super) fn knows(&self, secret: &str) -> bool {
        self.tokens
            .get(secret)
            .is_some_and(|token| self.works(token))
    }

    fn now(&self) -> i64 {
        OffsetDateTime::now_utc().unix_timestamp() + self.ahead
    }

    fn works(&self, token: &InstallationToken) -> bool {
        let installation = (self.installations.iter()).find(|one| one.id == token.installation);
        !token.is_ended
            && token.expiry > self.now()
            && installation.is_some_and(|one| !one.is_suspended)
    }

    /// Whether a token reads a repository such as `octo/hello`.
    fn reads(&self, secret: &str, repository: &str) -> bool {
        let Some((owner, name)) = repository.split_once('/') else {
            return false;
        };
        let token = self.tokens.get(secret).filter(|token| self.works(token));
        token.is_some_and(|token| {
            let of = (self.installations.iter()).find(|one| one.id == token.installation);
            let is_chosen = (token.repositories.as_ref()).is_none_or(|only| only.contains(name));
            is_chosen
                && token.permissions.contains_key("contents")
                && of.is_some_and(|of| of.owner == owner && of.repositories.contains(name))
        })
    }

    /// Whether a JWT is the app's; the reason where it is not.
    fn check(&self, token: &str) -> Result<(), &'static str> {
        const UNREADABLE: &str = "A JSON web token could not be decoded";
        let parts: Vec<&str> = token.split('.').collect();
        let [head, claims, signature] = parts.as_slice() else {
            return Err(UNREADABLE);
        };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| UNREADABLE);
        let document = |part: &str| -> Result<Value, &'static str> {
            serde_json::from_slice(&decoded(part)?).map_err(|_| UNREADABLE)
        };
        if document(head)?["alg"] != "RS256" {
            return Err(UNREADABLE);
        }
        let provider = rustls::crypto::ring::default_provider();
        let known = provider.signature_verification_algorithms.mapping;
        let (_, algorithms) = known
            .iter()
            .find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256)
            .expect("RS256");
        let signed = format!("{head}.{claims}");
        algorithms[0]
            .verify_signature(&self.public, signed.as_bytes(), &decoded(signature)?)
            .map_err(|_| UNREADABLE)?;
        let (claims, now) = (document(claims)?, self.now());
        let number = |name: &str| claims[name].as_i64().ok_or(UNREADABLE);
        let (issued, expires) = (number("iat")?, number("exp")?);
        if ![APP, CLIENT_ID].contains(&claims["iss"].as_str().unwrap_or_default()) {
            return Err("Integration not found");
        }
        if issued > now {
            return Err(
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            );
        }
        if expires <= now || expires > now + 600 {
            return Err("'Expiration time' claim ('exp') is too far in the future");
        }
        Ok(())
    }

    /// The answer to one of an app's requests; `None` for a path that is none of them.
    pub(super) fn answer(
        &mut self,
        method: &str,
        path: &str,
        head: &str,
        body: &str,
    ) -> Option<Option<String>> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        if let ("DELETE", ["installation", "token"]) = (method, parts.as_slice()) {
            return Some(self.end(bearer(head).unwrap_or_default()));
        }
        if let ("GET", ["installation", "repositories"]) = (method, parts.as_slice()) {
            return Some(match self.knows(bearer(head).unwrap_or_default()) {
                true => self.reply(200, json!({ "total_count": 0, "repositories": [] })),
                false => self.reply(
                    401,
                    json!({ "message": "Bad credentials", "status": "401" }),
                ),
            });
        }
        let is_apps = matches!(
            parts.as_slice(),
            ["app"]
                | ["app", "installations", ..]
                | ["orgs" | "users", _, "installation"]
                | ["repos", _, _, "installation"]
        );
        if !is_apps {
            return None;
        }
        if let Err(reason) = self.check(bearer(head).unwrap_or_default()) {
            self.refusals.push(reason.to_owned());
            return Some(self.reply(401, json!({ "message": reason, "status": "401" })));
        }
        let is_asked = |one: &&Installation| match parts.as_slice() {
            ["app", "installations", id, ..] => id.parse() == Ok(one.id),
            ["orgs", owner, _] => one.is_organization && *owner == one.owner,
            ["users", owner, _] => !one.is_organization && *owner == one.owner,
            ["repos", owner, name, _] => *owner == one.owner && one.repositories.contains(*name),
            _ => false,
        };
        let found = self.installations.iter().find(is_asked).cloned();
        Some(match (method, parts.as_slice(), found) {
            ("GET", ["app"], _) => self.reply(200, self.app()),
            ("GET", ["app", "installations"], _) => {
                let all: Vec<Value> = self.installations.iter().map(installation).collect();
                self.reply(200, json!(all))
            }
            ("POST", ["app", "installations", _, "access_tokens"], Some(found)) => {
                self.create(&found, body)
            }
            ("GET", _, Some(found)) => self.reply(200, installation(&found)),
            _ => self.reply(404, json!({ "message": "Not Found", "status": "404" })),
        })
    }

    fn create(&mut self, of: &Installation, body: &str) -> Option<String> {
        if let Some(seconds) = self.limited {
            let told = format!("Content-Type: application/json\r\nRetry-After: {seconds}");
            return with_header(
                403,
                &told,
                r#"{"message":"You have exceeded a secondary rate limit"}"#,
            );
        }
        if of.is_suspended {
            let message =
                json!({ "message": "This installation has been suspended", "status": "403" });
            return self.reply(403, message);
        }
        let asked: Value = serde_json::from_str(body).unwrap_or_default();
        let refused = |message: &str| json!({ "message": message, "documentation_url": "https://docs.github.com", "status": "422" });
        let repositories = asked["repositories"].as_array().map(|names| {
            let names = names.iter().filter_map(Value::as_str);
            names.map(str::to_owned).collect::<BTreeSet<String>>()
        });
        if repositories
            .as_ref()
            .is_some_and(|names| !names.is_subset(&of.repositories))
        {
            return self.reply(422, refused("There is at least one repository that does not exist or is not accessible to the parent installation."));
        }
        let mut permissions = of.permissions.clone();
        if let Some(asked) = asked["permissions"].as_object() {
            permissions = BTreeMap::from([("metadata".to_owned(), "read".to_owned())]);
            for (name, level) in asked {
                let level = level.as_str().unwrap_or_default();
                let given = of.permissions.get(name).map(String::as_str);
                if given != Some(level) && (given, level) != (Some("write"), "read") {
                    return self.reply(
                        422,
                        refused("The permissions requested are not granted to this installation."),
                    );
                }
                permissions.insert(name.clone(), level.to_owned());
            }
        }
        let selection = if repositories.is_some() {
            "selected"
        } else {
            "all"
        };
        let expiry = self.now() + HOUR;
        let at = OffsetDateTime::from_unix_timestamp(expiry).expect("a time");
        let secret = format!("ghs_{:036x}", self.tokens.len() + 0xabc_def0);
        let document = json!({
            "token": secret, "expires_at": at.format(&Rfc3339).expect("a time"),
            "permissions": permissions, "repository_selection": selection,
        });
        let token = InstallationToken {
            installation: of.id,
            repositories,
            permissions,
            expiry,
            is_ended: false,
        };
        self.tokens.insert(secret, token);
        self.reply(201, document)
    }

    fn end(&mut self, secret: &str) -> Option<String> {
        if !self.knows(secret) {
            return self.reply(
                401,
                json!({ "message": "Bad credentials", "status": "401" }),
            );
        }
        if let Some(token) = self.tokens.get_mut(secret) {
            token.is_ended = true;
        }
        with_header(204, "X-GitHub-Request-Id: 1", "")
    }

    fn reply(&self, status: u16, body: Value) -> Option<String> {
        let now = OffsetDateTime::from_unix_timestamp(self.now()).expect("a time");
        let date = now
            .format(&Rfc2822)
            .expect("a time")
            .replace("+0000", "GMT");
        let told = format!("Content-Type: application/json\r\nDate: {date}");
        with_header(status, &told, &body.to_string())
    }

    fn app(&self) -> Value {
        let at = "2026-01-01T00:00:00Z";
        json!({
            "id": 12345, "slug": SLUG, "client_id": CLIENT_ID, "node_id": "x", "owner": github::user("octo"),
            "name": "Builds", "description": null, "external_url": "https://octo.example",
            "html_url": "https://github.com/apps/builds", "created_at": at, "updated_at": at,
            "permissions": { "contents": "write", "metadata": "read", "issues": "read" }, "events": [],
        })
    }

    /// Whether git may read the repository at a path, where a token of an installation is sent;
    /// `None` where another one is.
    pub(super) fn git(&self, path: &str, head: &str) -> Option<bool> {
        let (name, secret) = basic(head)?;
        if !secret.starts_with("ghs_") {
            return None;
        }
        let repository = path.trim_start_matches('/').trim_end_matches("/info/refs");
        let repository = repository.trim_end_matches(".git");
        Some(name == "x-access-token" && self.reads(&secret, repository))
    }
}

/// As much of an installation as GitHub's document demands.
fn installation(one: &Installation) -> Value {
    let at = "2026-01-01T00:00:00Z";
    let url = format!("https://api.github.com/app/installations/{}", one.id);
    let mut account = github::user(&one.owner);
    // The document wants what an enterprise has of each account in a list.
    account["slug"] = one.owner.clone().into();
    json!({
        "id": one.id, "app_id": 12345, "client_id": CLIENT_ID, "app_slug": SLUG, "target_id": 9,
        "target_type": if one.is_organization { "Organization" } else { "User" },
        "account": account, "single_file_name": null, "repository_selection": "selected",
        "access_tokens_url": format!("{url}/access_tokens"), "html_url": "https://github.com/settings",
        "repositories_url": "https://api.github.com/installation/repositories", "events": [],
        "permissions": one.permissions, "created_at": at, "updated_at": at,
        "suspended_by": one.is_suspended.then(|| github::user("octocat")),
        "suspended_at": one.is_suspended.then_some(at),
    })
}
