//! GitHub Apps: an app's private key signs for tokens of an hour, of one installation of the app.
//!
//! The key is used by rustls's own signer, which is there for TLS: a crate for JSON Web Tokens would
//! bring a handful of others for three pieces of base64.

use std::cell::Cell;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use super::api;
use crate::api::ApiError;
use crate::api::http::{Answer, Auth, Client, sentence, time};
use crate::api::server::ServerUrl;
use crate::expiry::{Expiry, UnixTime};
use crate::oauth::{OAuthError, Reach, Tokens, client};
use crate::quote::is_plain;
use crate::secret::Secret;
use crate::sign_in::{HostType, InstalledApp};

/// The username that git sends with an installation's token.
pub const GIT_USERNAME: &str = "x-access-token";
/// Default permissions of a token: the least that clones and pushes.
pub const PERMISSIONS: &[&str] = &["contents:write"];
/// Largest private key that is read, in bytes; one of 4096 bits has 3,300.
pub const MAX_KEY: usize = 64 * 1024;
/// Where an app's ID is shown, for a hint.
pub const ID_PAGE: &str =
    "it is on the app's page, below Settings, Developer settings, GitHub Apps";

/// Seconds by which a JWT is dated back, as GitHub advises.
const DATED_BACK: i64 = 60;
/// Life of a JWT from now on, in seconds. GitHub takes ten minutes by its own clock.
const LIFETIME: i64 = 8 * 60;
/// The least difference of clocks that can be why a JWT was refused, in seconds.
const MIN_SKEW: i64 = 30;
/// Installations on a page, and the most pages that are read.
const PAGE: usize = 100;
const MAX_PAGES: usize = 10;
/// Most repositories of which it is asked why they were refused.
const MAX_QUESTIONS: usize = 10;
/// Longest name of an app or an owner, in bytes. GitHub's have 39 at most.
const MAX_NAME: usize = 100;

/// Why a file or a stored text is no key of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(&'static str);

/// The private key in a PEM file, as [`InstalledApp::key`] has it.
pub fn read_key(pem: &Secret) -> Result<Secret, KeyError> {
    let is_encrypted = pem.expose().windows(9).any(|word| word == b"ENCRYPTED");
    if is_encrypted {
        return Err(KeyError("the private key is encrypted"));
    }
    let key = PrivateKeyDer::from_pem_slice(pem.expose())
        .map_err(|_| KeyError("there is no private key (PEM) in it"))?;
    let key = Zeroizing::new(key);
    let text = Secret::from(STANDARD.encode(key.secret_der()));
    signer(&text)?;
    Ok(text)
}

fn signer(key: &Secret) -> Result<Box<dyn rustls::sign::Signer>, KeyError> {
    const NO_KEY: KeyError = KeyError("it is no RSA key of 2048 bits or more");
    let der = Zeroizing::new(STANDARD.decode(key.expose()).map_err(|_| NO_KEY)?);
    let der = PrivateKeyDer::try_from(&**der).map_err(|_| NO_KEY)?;
    let key = rustls::crypto::ring::sign::any_supported_type(&der).map_err(|_| NO_KEY)?;
    // Which no other key than RSA's can do.
    key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
        .ok_or(NO_KEY)
}

/// A JSON Web Token (RFC 7519) by which an app says that it is itself.
fn jwt(id: &str, key: &Secret, now: UnixTime) -> Result<Secret, KeyError> {
    let claims = json!({
        "iat": now.plus(-DATED_BACK).0,
        "exp": now.plus(LIFETIME).0,
        "iss": id,
    });
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let head = encode(br#"{"alg":"RS256","typ":"JWT"}"#);
    let mut token = format!("{head}.{}", encode(claims.to_string().as_bytes()));
    let signature = signer(key)?
        .sign(token.as_bytes())
        .map_err(|_| KeyError("the private key can't sign"))?;
    token.push('.');
    token.push_str(&encode(&signature));
    Ok(Secret::from(token))
}

/// Returns whether a text can be an app's ID (a number) or client ID (`Iv23liABC`, `Iv1.0a1b2c`).
pub fn is_id(text: &str) -> bool {
    let fits = (1..=MAX_NAME).contains(&text.len());
    fits && text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
}

/// Permissions as GitHub names them, with `read` and `write` for the least that fetches and pushes.
/// The error is the word that is none.
pub fn permissions<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let permission = |word: &str| match word {
        "read" | "write" => Ok(format!("contents:{word}")),
        word => {
            let is_name = |name: &str| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            };
            let parts = word.split_once(':');
            match parts.is_some_and(|(name, level)| is_name(name) && rank(level) > 0) {
                true => Ok(word.to_owned()),
                false => Err(word.to_owned()),
            }
        }
    };
    words.into_iter().map(permission).collect()
}

/// The name of a repository that is named alone or as `OWNER/NAME`; `None` for another owner's.
pub fn repository<'a>(text: &'a str, owner: &str) -> Option<&'a str> {
    let name = match text.split_once('/') {
        None => text,
        Some((of, name)) if of.eq_ignore_ascii_case(owner) => name,
        Some(_) => return None,
    };
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// Rank of a level of a permission; 0 for what is no level.
fn rank(level: &str) -> u8 {
    match level {
        "read" => 1,
        "write" => 2,
        "admin" => 3,
        _ => 0,
    }
}

/// An app where it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// ID of the installation.
    pub id: u64,
    /// The user or organization.
    pub owner: String,
    /// The app's name in URLs.
    pub slug: String,
    /// True if the owner, or GitHub, has suspended it: no token is created.
    pub is_suspended: bool,
    permissions: BTreeMap<String, String>,
}

impl Installation {
    /// Everything that a token can be given, such as `contents:read`.
    pub fn permissions(&self) -> impl Iterator<Item = String> {
        self.permissions.iter().flat_map(|(name, given)| {
            let levels = ["read", "write", "admin"];
            let levels = levels
                .into_iter()
                .filter(|level| rank(level) <= rank(given));
            levels.map(move |level| format!("{name}:{level}"))
        })
    }

    /// Those of the permissions that the installation was not given.
    pub fn lacks<'a>(&self, asked: &'a [String]) -> Vec<&'a str> {
        let is_given = |permission: &&str| {
            let (name, level) = permission.split_once(':').unwrap_or((permission, ""));
            let given = self.permissions.get(name);
            given.is_some_and(|given| rank(given) >= rank(level))
        };
        let asked = asked.iter().map(String::as_str);
        asked.filter(|permission| !is_given(permission)).collect()
    }
}

/// The calls of one app, by its key.
pub struct AppApi<'a> {
    id: &'a str,
    key: &'a Secret,
    base: Url,
    client: Client,
    /// Server clock minus this machine's, once that was why a JWT was refused.
    skew: Cell<i64>,
}

impl<'a> AppApi<'a> {
    /// For the app of this ID or client ID and its key, as [`read_key`] returns it.
    pub fn new(
        server: &ServerUrl,
        id: &'a str,
        key: &'a Secret,
        reach: &Reach,
    ) -> Result<Self, OAuthError> {
        let base = api(HostType::Github, server, "").ok_or(OAuthError::Unsupported {
            what: "GitHub Apps",
        })?;
        Ok(AppApi {
            id,
            key,
            client: client(&base, reach)?,
            base,
            skew: Cell::new(0),
        })
    }

    /// The name in URLs of the app that the key is accepted for.
    pub fn slug(&self) -> Result<String, OAuthError> {
        #[derive(Deserialize)]
        struct Wire {
            slug: Option<String>,
            name: String,
        }
        let wire: Wire = match self.get(&["app"])?.json() {
            Err(ApiError::NotFound) => {
                let why = format!("GitHub does not know the app {}", self.id);
                return Err(OAuthError::Ended { why });
            }
            other => other?,
        };
        name(wire.slug.unwrap_or(wire.name))
    }

    /// Everything that the app is installed at.
    pub fn installations(&self) -> Result<Vec<Installation>, OAuthError> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let mut url = self.url(&["app", "installations"]);
            url.query_pairs_mut()
                .append_pair("per_page", &PAGE.to_string())
                .append_pair("page", &page.to_string());
            let wires: Vec<InstallationWire> = self.send(Method::GET, url, None)?.json()?;
            let is_last = wires.len() < PAGE;
            for wire in wires {
                let one = Installation::try_from(wire)?;
                if all.iter().any(|known: &Installation| known.id == one.id) {
                    let what = "a list of installations that comes again".to_owned();
                    return Err(ApiError::Malformed { what }.into());
                }
                all.push(one);
            }
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    /// One by its ID; [`ApiError::NotFound`] where the app has no such installation.
    pub fn installation(&self, id: u64) -> Result<Installation, OAuthError> {
        let answer = self.get(&["app", "installations", &id.to_string()])?;
        answer.json::<InstallationWire>()?.try_into()
    }

    /// That at a user or an organization; [`ApiError::NotFound`] where there is none.
    pub fn installation_at(&self, owner: &str) -> Result<Installation, OAuthError> {
        let mut answer = self.get(&["orgs", owner, "installation"])?;
        if answer.status == 404 {
            answer = self.get(&["users", owner, "installation"])?;
        }
        answer.json::<InstallationWire>()?.try_into()
    }

    /// Creates a token of an hour, sent once but for a wrong clock. Its expiry is by this machine's
    /// clock, its scopes are the permissions. [`OAuthError::Ended`] where the app, its key or its
    /// installation is no more.
    pub fn token(&self, app: &InstalledApp) -> Result<Tokens, OAuthError> {
        #[derive(Deserialize)]
        struct Wire {
            token: Secret,
            expires_at: String,
            #[serde(default)]
            permissions: BTreeMap<String, String>,
            repository_selection: Option<String>,
        }
        let installation = app.installation.to_string();
        let url = self.url(&["app", "installations", &installation, "access_tokens"]);
        let pairs = app.permissions.iter().filter_map(|one| one.split_once(':'));
        let mut body = json!({ "permissions": pairs.collect::<BTreeMap<_, _>>() });
        if !app.repositories.is_empty() {
            body["repositories"] = json!(app.repositories);
        }
        let answer = self.send(Method::POST, url, Some(&body))?;
        if let Err(error) = answer.done() {
            return Err(self.explain(error, app));
        }
        let wire: Wire = answer.json()?;
        let malformed = |what: &str| {
            let what = what.to_owned();
            OAuthError::Api(ApiError::Malformed { what })
        };
        let bytes = wire.token.expose();
        if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(malformed("a token that can't be one"));
        }
        let is_asked = |name: &String, level: &String| {
            let metadata = name == "metadata" && level == "read";
            metadata || app.permissions.contains(&format!("{name}:{level}"))
        };
        let is_wider = wire
            .permissions
            .iter()
            .any(|(name, level)| !is_asked(name, level))
            || !app.repositories.is_empty() && wire.repository_selection.as_deref() == Some("all");
        if is_wider {
            let _ = self.end(&wire.token);
            return Err(malformed("a token for more than was asked"));
        }
        let skew = self.client.clock_skew().unwrap_or_default();
        let expiry = time(&wire.expires_at)?.plus(-skew);
        let permissions = wire.permissions.iter();
        let permissions = permissions.map(|(name, level)| sentence(&format!("{name}:{level}")));
        Ok(Tokens {
            access: wire.token,
            expiry: Some(Expiry(expiry)),
            refresh: None,
            refresh_expiry: None,
            scopes: Some(permissions.collect()),
        })
    }

    /// Why no token was given, as the installation itself shows it.
    fn explain(&self, error: ApiError, app: &InstalledApp) -> OAuthError {
        let (InstalledApp { slug, owner, .. }, id) = (app, app.installation);
        let ended = |what: &str| OAuthError::Ended {
            why: format!("the installation of the app {slug} at {owner} {what}"),
        };
        let refusal = match &error {
            ApiError::NotFound => None,
            ApiError::Forbidden { message } | ApiError::Refused { message } => Some(message),
            _ => return error.into(),
        };
        let found = match self.installation(id) {
            Err(OAuthError::Api(ApiError::NotFound)) => return ended("is gone"),
            Ok(found) if found.is_suspended => return ended("is suspended"),
            Err(ended @ OAuthError::Ended { .. }) => return ended,
            Ok(found) => Some(found),
            Err(_) => None,
        };
        if refusal.is_some_and(|message| message.contains("suspended")) {
            return ended("is suspended");
        }
        let (Some(found), ApiError::Refused { .. }) = (found, &error) else {
            return match error {
                ApiError::NotFound => ApiError::Refused {
                    message: format!("GitHub gives no token to the app {slug} at {owner}"),
                }
                .into(),
                other => other.into(),
            };
        };
        let mut lacks: Vec<String> = found
            .lacks(&app.permissions)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let asked = app.repositories.iter().take(MAX_QUESTIONS);
        lacks.extend(asked.filter(|name| !self.has(&found, name)).cloned());
        match lacks.as_slice() {
            [] => error.into(),
            lacks => ApiError::Refused {
                message: format!(
                    "the installation of the app {slug} at {owner} does not have {}",
                    lacks.join(", ")
                ),
            }
            .into(),
        }
    }

    /// Returns whether the repository is one of the installation's, or it can't be told.
    fn has(&self, installation: &Installation, repository: &str) -> bool {
        let owner = &installation.owner;
        let found = self.get(&["repos", owner, repository, "installation"]);
        match found.and_then(|answer| Ok(answer.json::<InstallationWire>()?)) {
            Ok(found) => found.id == installation.id,
            Err(OAuthError::Api(ApiError::NotFound)) => false,
            Err(_) => true,
        }
    }

    /// Ends a token of an installation, which only the token itself can. One that is dead already is a
    /// success.
    pub fn end(&self, token: &Secret) -> Result<(), OAuthError> {
        end(&self.client, self.url(&["installation", "token"]), token)
    }

    /// Server clock minus this machine's, in seconds, from the last answer.
    pub fn clock_skew(&self) -> Option<i64> {
        self.client.clock_skew()
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn get(&self, segments: &[&str]) -> Result<Answer, OAuthError> {
        self.send(Method::GET, self.url(segments), None)
    }

    /// One request as the app. One that is refused is sent once more by the server's clock, where
    /// this machine's differs.
    fn send(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Answer, OAuthError> {
        let ask = || {
            let now = UnixTime::now().plus(self.skew.get());
            let jwt = jwt(self.id, self.key, now).map_err(|error| OAuthError::Ended {
                why: error.to_string(),
            })?;
            let body = body.map(|body| Zeroizing::new(body.to_string().into_bytes()));
            let body = body.map(|body| ("application/json", body));
            let asked = self
                .client
                .request(method.clone(), url.clone(), Auth::Bearer(&jwt), body);
            Ok::<_, OAuthError>(asked?)
        };
        let answer = ask()?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let skew = self.client.clock_skew().unwrap_or_default();
        let refused = |answer: &Answer| {
            let said = answer.sentence().map(|said| format!(": {said}"));
            OAuthError::Ended {
                why: format!(
                    "GitHub does not accept the private key for the app {}{}",
                    self.id,
                    said.unwrap_or_default()
                ),
            }
        };
        if skew.saturating_sub(self.skew.get()).saturating_abs() < MIN_SKEW {
            return Err(refused(&answer));
        }
        self.skew.set(skew);
        let answer = ask()?;
        match answer.status {
            401 => Err(refused(&answer)),
            _ => Ok(answer),
        }
    }
}

/// [`AppApi::end`] without the app's key.
pub fn end_token(server: &ServerUrl, token: &Secret, reach: &Reach) -> Result<(), OAuthError> {
    match api(HostType::Github, server, "/installation/token") {
        Some(url) => end(&client(&url, reach)?, url, token),
        None => Ok(()),
    }
}

fn end(client: &Client, url: Url, token: &Secret) -> Result<(), OAuthError> {
    let answer = client.request(Method::DELETE, url, Auth::Bearer(token), None)?;
    match answer.done() {
        Err(ApiError::Unauthorized) => Ok(()),
        other => Ok(other?),
    }
}

#[derive(Deserialize)]
struct InstallationWire {
    id: u64,
    account: Option<AccountWire>,
    #[serde(default)]
    app_slug: String,
    #[serde(default)]
    permissions: BTreeMap<String, String>,
    suspended_at: Option<String>,
}

/// A user, an organization, or an enterprise.
#[derive(Deserialize)]
struct AccountWire {
    login: Option<String>,
    slug: Option<String>,
}

impl TryFrom<InstallationWire> for Installation {
    type Error = OAuthError;

    fn try_from(wire: InstallationWire) -> Result<Self, OAuthError> {
        let owner = wire
            .account
            .and_then(|account| account.login.or(account.slug));
        Ok(Installation {
            id: wire.id,
            owner: name(owner.unwrap_or_default())?,
            slug: name(wire.app_slug)?,
            is_suspended: wire.suspended_at.is_some(),
            permissions: wire.permissions,
        })
    }
}

/// A name that can be shown, and be a username of git's.
fn name(text: String) -> Result<String, OAuthError> {
    let fits = (1..=MAX_NAME).contains(&text.len()) && is_plain(&text);
    match fits {
        true => Ok(text),
        false => Err(ApiError::Malformed {
            what: "a name that can't be one".into(),
        }
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_a_name_and_a_level_or_a_short_form() {
        assert_eq!(
            permissions(["write", "workflows:write", "read"]),
            Ok(["contents:write", "workflows:write", "contents:read"]
                .map(String::from)
                .into())
        );
        for word in [
            "contents",
            "contents:",
            ":read",
            "contents:sometimes",
            "a b:read",
            "",
        ] {
            assert_eq!(permissions([word]), Err(word.to_owned()));
        }
    }

    #[test]
    fn what_an_installation_lacks_is_by_level() {
        let permissions = [("contents", "write"), ("issues", "read")];
        let permissions = permissions.map(|(name, level)| (name.to_owned(), level.to_owned()));
        let installation = Installation {
            id: 1,
            owner: "octo".into(),
            slug: "builds".into(),
            is_suspended: false,
            permissions: permissions.into(),
        };
        let asked = [
            "contents:read",
            "contents:write",
            "issues:write",
            "workflows:write",
        ];
        let asked = asked.map(String::from);
        assert_eq!(
            installation.lacks(&asked),
            ["issues:write", "workflows:write"]
        );
    }

    #[test]
    fn what_is_no_rsa_key_is_refused() {
        for (pem, why) in [
            ("", "there is no private key (PEM) in it"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "there is no private key (PEM) in it",
            ),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "the private key is encrypted",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
                "it is no RSA key of 2048 bits or more",
            ),
        ] {
            let error = read_key(&Secret::from(pem.to_owned())).unwrap_err();
            assert_eq!(error.to_string(), why);
        }
    }
}
