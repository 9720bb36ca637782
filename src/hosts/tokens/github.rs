//! GitHub's tokens: nothing is promised yet.

use super::Login;
use super::nothing::Nothing;
use crate::api::{ApiError, TokenApi};

/// The token API of a sign-in at GitHub.
pub fn open(login: Login) -> Result<Box<dyn TokenApi>, ApiError> {
    Ok(Box::new(Nothing::new(login)))
}
