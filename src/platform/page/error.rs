//! Why a page is not shown.

use axum::response::{IntoResponse, Redirect, Response};

use super::layout;
use super::paths::Next;
use crate::platform::refusal::Refusal;

/// The answer instead of the page that was asked for.
#[derive(Debug)]
pub enum PageError {
    SignIn(Next),
    Refused(Refusal),
}

impl<E: Into<Refusal>> From<E> for PageError {
    fn from(why: E) -> Self {
        PageError::Refused(why.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            PageError::SignIn(next) => Redirect::to(&next.sign_in()).into_response(),
            PageError::Refused(refusal) => layout::refusal(&refusal),
        }
    }
}
