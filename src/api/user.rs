//! The account that a session belongs to, in the words of each form of the API.

use serde::Deserialize;

use super::{ApiError, checked};

/// User of a session, as the server answers.
#[derive(Debug, Deserialize)]
pub struct User {
    email: String,
    #[serde(default)]
    username: Option<String>,
}

impl User {
    /// The username, or the email of an account without one.
    pub fn name(&self) -> Result<String, ApiError> {
        checked::account_name(self.username.as_ref().unwrap_or(&self.email).clone())
    }

    /// Returns whether a person may call the account so.
    pub fn is_called(&self, name: &str) -> bool {
        self.username.as_deref() == Some(name) || self.email.eq_ignore_ascii_case(name)
    }
}
