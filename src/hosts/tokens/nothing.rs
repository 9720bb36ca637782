//! A host without a token API, or one that has none for this sign-in.

use super::Login;
use crate::api::promises::Promises;
use crate::api::{Account, ApiError, CreatedToken, Form, NewToken, Scope, Token, TokenApi};
use crate::expiry::Expiry;
use crate::hosts::end::end_shown;
use crate::hosts::{account, is_github_com, scopes};
use crate::oauth::OAuthError;
use crate::secret::Secret;
use crate::sign_in::HostType;

/// Promises nothing; a token can be verified.
pub struct Nothing {
    login: Login,
}

impl Nothing {
    /// For a login at such a host.
    pub fn new(login: Login) -> Self {
        Nothing { login }
    }

    /// Returns whether the host revokes whatever token is shown to it.
    fn takes_secrets(&self) -> bool {
        self.login.host == HostType::Github && is_github_com(&self.login.server)
    }
}

impl TokenApi for Nothing {
    fn form(&self) -> Form {
        Form::Host
    }

    fn promises(&self) -> Promises {
        Promises {
            revoke_itself: self.takes_secrets(),
            ..Promises::NOTHING
        }
    }

    fn refusal(&self, what: &'static str) -> ApiError {
        super::refusal(self.login.host, &self.login.server, what)
    }

    fn create(&self, _new: &NewToken) -> Result<CreatedToken, ApiError> {
        Err(self.refusal("create tokens"))
    }

    fn list(&self) -> Result<Vec<Token>, ApiError> {
        Err(self.refusal("list tokens"))
    }

    fn revoke(&self, _id: &str) -> Result<(), ApiError> {
        Err(self.refusal("revoke tokens by their ids"))
    }

    fn revoke_by_secret(&self, id: &str, secret: &Secret) -> Result<(), ApiError> {
        if !self.takes_secrets() {
            return self.revoke(id);
        }
        let Login { server, reach, .. } = &self.login;
        end_shown(server, secret, reach).map_err(|error| match error {
            OAuthError::Api(error) => error,
            _ => self.refusal("revoke tokens"),
        })
    }

    fn verify(&self, token: &Secret) -> Result<Account, ApiError> {
        let Login {
            host,
            server,
            reach,
            ..
        } = &self.login;
        let about = account::of_pasted(*host, server, None, token, reach);
        let about = about.map_err(|error| match error {
            OAuthError::Api(error) => error,
            other => ApiError::Malformed {
                what: other.to_string(),
            },
        })?;
        Ok(Account {
            id: String::new(),
            username: about.account,
            email: String::new(),
        })
    }

    fn scopes(&self) -> Result<Vec<Scope>, ApiError> {
        match scopes::all(self.login.host) {
            [] => Err(self.refusal("list scopes")),
            known => Ok(scopes::listed(known)),
        }
    }

    fn shorten(&self, _id: &str, _at: Expiry) -> Result<(), ApiError> {
        Err(self.refusal("bring a token's end forward"))
    }

    fn clock_skew(&self) -> Option<i64> {
        None
    }
}
