//! The place of direct mode in a build without the feature `direct`.

use super::{
    Account, ApiError, CreatedToken, Event, Form, NewToken, Reason, ReasonKind, Scope, Token,
    TokenApi,
};
use crate::api::promises::Promises;
use crate::expiry::Expiry;
use crate::secret::Secret;

/// There is none.
pub enum Direct {}

/// Stands for the server's name.
pub const SERVER: &str = "the database of DATABASE_URL";

impl Direct {
    /// Always an error.
    pub fn open(_url: &str, _user_id: &str) -> Result<Self, ApiError> {
        Err(ApiError::Unreachable {
            server: SERVER.to_owned(),
            reason: Reason::new(
                ReasonKind::Database,
                "this wit was built without the feature direct",
            ),
        })
    }

    pub fn account(&self) -> Result<Account, ApiError> {
        match *self {}
    }
}

impl TokenApi for Direct {
    fn form(&self) -> Form {
        match *self {}
    }

    fn promises(&self) -> Promises {
        match *self {}
    }

    fn create(&self, _: &NewToken) -> Result<CreatedToken, ApiError> {
        match *self {}
    }

    fn list(&self) -> Result<Vec<Token>, ApiError> {
        match *self {}
    }

    fn revoke(&self, _: &str) -> Result<(), ApiError> {
        match *self {}
    }

    fn verify(&self, _: &Secret) -> Result<Account, ApiError> {
        match *self {}
    }

    fn scopes(&self) -> Result<Vec<Scope>, ApiError> {
        match *self {}
    }

    fn events(&self) -> Result<Vec<Event>, ApiError> {
        match *self {}
    }

    fn shorten(&self, _: &str, _: Expiry) -> Result<(), ApiError> {
        match *self {}
    }

    fn clock_skew(&self) -> Option<i64> {
        match *self {}
    }
}
