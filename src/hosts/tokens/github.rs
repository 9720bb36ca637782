//! GitHub's tokens. An app's installation gives tokens of an hour, as narrow as asked; GitHub has no
//! call that creates or lists any other.

use std::cell::Cell;

use reqwest::Method;
use sha2::{Digest, Sha256};

use super::Login;
use super::nothing::Nothing;
use crate::api::http::Auth;
use crate::api::promises::{Precision, Promises};
use crate::api::{Account, ApiError, CreatedToken, Form, NewToken, Scope, Token, TokenApi};
use crate::expiry::{Expiry, UnixTime};
use crate::hosts::github_app::{AppApi, end_token, repository};
use crate::hosts::{api, scopes};
use crate::oauth::{OAuthError, client};
use crate::quote::escaped;
use crate::secret::Secret;
use crate::sign_in::{HostType, InstalledApp, Upkeep};

/// Permission that comes with any other.
const METADATA: &str = "metadata:read";
/// Characters of a token that it is known by.
const PREFIX: usize = 8;

/// The token API of a sign-in at GitHub.
pub fn open(login: Login) -> Result<Box<dyn TokenApi>, ApiError> {
    Ok(match login.sign_in.upkeep.clone() {
        Upkeep::Mint(app) => Box::new(Installation {
            app,
            login,
            skew: Cell::new(None),
        }),
        _ => Box::new(Nothing::new(login)),
    })
}

/// The tokens of an app where it is installed.
struct Installation {
    app: InstalledApp,
    login: Login,
    skew: Cell<Option<i64>>,
}

impl Installation {
    fn ask<T>(&self, call: impl FnOnce(&AppApi) -> Result<T, OAuthError>) -> Result<T, ApiError> {
        let Login { server, reach, .. } = &self.login;
        let api = AppApi::new(server, &self.app.id, &self.app.key, reach).map_err(api_error)?;
        let done = call(&api);
        self.skew.set(api.clock_skew().or(self.skew.get()));
        done.map_err(api_error)
    }

    /// The names of repositories, as they are asked for; by default those of the sign-in.
    fn repositories(&self, asked: &[String]) -> Result<Vec<String>, ApiError> {
        if asked.is_empty() {
            return Ok(self.app.repositories.clone());
        }
        let owner = &self.app.owner;
        let name = |asked: &String| match repository(asked, owner) {
            Some(name) => Ok(name.to_owned()),
            None => Err(ApiError::Refused {
                message: format!(
                    "{} is not a repository of {}",
                    escaped(asked),
                    escaped(owner)
                ),
            }),
        };
        asked.iter().map(name).collect()
    }
}

fn api_error(error: OAuthError) -> ApiError {
    match error {
        OAuthError::Api(error) => error,
        OAuthError::Ended { why } => ApiError::Forbidden { message: why },
        other => ApiError::Malformed {
            what: other.to_string(),
        },
    }
}

impl TokenApi for Installation {
    fn form(&self) -> Form {
        Form::Host
    }

    fn promises(&self) -> Promises {
        Promises {
            create: true,
            revoke_itself: true,
            expiry: Precision::Second,
            // An hour, always.
            max_lifetime_days: Some(1),
            repositories: true,
            for_git: false,
            ..Promises::NOTHING
        }
    }

    fn refusal(&self, what: &'static str) -> ApiError {
        ApiError::Impossible {
            host: "a GitHub App",
            what,
            page: None,
        }
    }

    fn normalized_scopes(&self, scopes: &[String]) -> Vec<String> {
        let mut scopes = scopes.to_vec();
        if !scopes.iter().any(|scope| scope == METADATA) {
            scopes.push(METADATA.to_owned());
        }
        scopes
    }

    fn create(&self, new: &NewToken) -> Result<CreatedToken, ApiError> {
        let app = InstalledApp {
            repositories: self.repositories(&new.repositories)?,
            permissions: new.scopes.clone(),
            ..self.app.clone()
        };
        let tokens = self.ask(|api| api.token(&app))?;
        let skew = self.skew.get().unwrap_or_default();
        let text = tokens.access.expose_str().unwrap_or_default();
        let names = app.repositories.iter();
        Ok(CreatedToken {
            token: Token {
                // GitHub has none: it is only to tell this token from others.
                id: format!("{:.16x}", Sha256::digest(tokens.access.expose())),
                name: new.name.clone(),
                prefix: text.chars().take(PREFIX).collect(),
                suffix: String::new(),
                scopes: tokens.scopes.unwrap_or_default(),
                repositories: names.map(|name| format!("{}/{name}", app.owner)).collect(),
                created: Some(UnixTime::now().plus(skew)),
                last_used: None,
                // By this machine's clock so far.
                expiry: tokens.expiry.map(|expiry| Expiry(expiry.0.plus(skew))),
                request_id: None,
                replaced_by: None,
            },
            secret: tokens.access,
        })
    }

    fn list(&self) -> Result<Vec<Token>, ApiError> {
        Err(self.refusal("list tokens"))
    }

    fn revoke(&self, _id: &str) -> Result<(), ApiError> {
        Err(self.refusal("revoke tokens by their ids"))
    }

    fn revoke_by_secret(&self, _id: &str, secret: &Secret) -> Result<(), ApiError> {
        let Login { server, reach, .. } = &self.login;
        end_token(server, secret, reach).map_err(api_error)
    }

    fn verify(&self, token: &Secret) -> Result<Account, ApiError> {
        let Login { server, reach, .. } = &self.login;
        let mut url = api(HostType::Github, server, "/installation/repositories")
            .ok_or_else(|| self.refusal("verify tokens"))?;
        url.query_pairs_mut().append_pair("per_page", "1");
        let client = client(&url, reach).map_err(api_error)?;
        let answer = client.request(Method::GET, url, Auth::Bearer(token), None)?;
        self.skew.set(client.clock_skew().or(self.skew.get()));
        match answer.done() {
            // A token that lives, and is no installation's or may not ask that.
            Ok(()) | Err(ApiError::Forbidden { .. }) => Ok(Account {
                id: String::new(),
                username: Some(self.app.owner.clone()),
                email: String::new(),
            }),
            Err(error) => Err(error),
        }
    }

    fn scopes(&self) -> Result<Vec<Scope>, ApiError> {
        let asked = self.ask(|api| api.installation(self.app.installation));
        let installation = asked.map_err(|error| match error {
            ApiError::NotFound => ApiError::Forbidden {
                message: format!(
                    "the app {} is not installed at {} any more",
                    escaped(&self.app.slug),
                    escaped(&self.app.owner)
                ),
            },
            other => other,
        })?;
        let known = scopes::all(HostType::Github);
        let description = |name: &str| {
            let known = known.iter().find(|(known, _)| *known == name);
            known.map_or_else(String::new, |(_, description)| (*description).to_owned())
        };
        let given = installation.permissions();
        Ok(given
            .map(|name| Scope {
                description: description(&name),
                name,
            })
            .collect())
    }

    fn shorten(&self, _id: &str, _at: Expiry) -> Result<(), ApiError> {
        Err(self.refusal("bring a token's end forward"))
    }

    fn clock_skew(&self) -> Option<i64> {
        self.skew.get()
    }
}
