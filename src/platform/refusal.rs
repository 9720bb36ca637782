//! Every answer that is a no.

use std::error::Error;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::database::DatabaseError;

/// Why a request was not carried out: never with anything of the request in it.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// Seconds until the same request may be tried again.
    pub retry_after: Option<u64>,
    /// The field of the request that is to blame, where it is one.
    pub field: Option<&'static str>,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Refusal {
            status,
            code,
            message: message.into(),
            retry_after: None,
            field: None,
        }
    }

    /// Blames one field of the request.
    pub fn at(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    /// The status of a page that shows the form again.
    pub fn form_status(&self) -> StatusCode {
        match self.status {
            StatusCode::BAD_REQUEST => StatusCode::UNPROCESSABLE_ENTITY,
            other => other,
        }
    }

    /// One answer for what does not exist and for what the caller may not see.
    pub fn not_found() -> Self {
        Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Not found")
    }

    /// The caller is nobody, or has a token where a session is asked for.
    pub fn not_authenticated() -> Self {
        Refusal::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "Not authenticated",
        )
    }

    pub fn needs_scope(scope: &str) -> Self {
        Refusal::new(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            format!("this token lacks the scope {scope}"),
        )
    }

    pub fn failed() -> Self {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL_SERVER_ERROR",
            "the server failed",
        )
    }

    /// The disk has no room for what the request would keep.
    pub fn disk_full() -> Self {
        Refusal::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "INSUFFICIENT_STORAGE",
            "the server's disk is full",
        )
    }

    /// Too many ask at once.
    pub fn busy() -> Self {
        let mut refusal = Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "SERVICE_UNAVAILABLE",
            "the server is busy; try again in a moment",
        );
        refusal.retry_after = Some(5);
        refusal
    }

    /// As git shows it: one line of plain text.
    pub fn into_text(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.message)).into_response();
        self.add_headers(&mut response);
        response.extensions_mut().insert(self);
        response
    }

    fn add_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            for scheme in [r#"Basic realm="wit""#, r#"Bearer realm="wit""#] {
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        self.add_wait(response);
    }

    /// Says when the same request may be tried again.
    pub fn add_wait(&self, response: &mut Response) {
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, seconds.into());
            headers.insert("x-retry-after", seconds.into());
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "code": self.code, "message": self.message, "error": self.message });
        let mut response = (self.status, Json(body)).into_response();
        self.add_headers(&mut response);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Invalid(what) => Refusal::bad_request(what),
            DatabaseError::InvalidField(field, what) => Refusal::bad_request(what).at(field),
            DatabaseError::Taken { code, what } => {
                Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, what)
            }
            DatabaseError::NotFound => Refusal::not_found(),
            DatabaseError::Suspended => Refusal::new(
                StatusCode::FORBIDDEN,
                "BANNED_USER",
                "this account is suspended",
            ),
            error if error.is_away() => {
                tracing::error!(error = &error as &dyn Error, "the database does not answer");
                let message = "the server's database does not answer; try again in a moment";
                Refusal {
                    message: message.to_owned(),
                    ..Refusal::busy()
                }
            }
            DatabaseError::Busy(error) => {
                tracing::warn!(%error, "the database is busy");
                Refusal::busy()
            }
            error if error.is_disk_full() => {
                tracing::error!(error = &error as &dyn Error, "the database's disk is full");
                Refusal::disk_full()
            }
            DatabaseError::Failed(error) => {
                tracing::error!(%error, "the database failed");
                Refusal::failed()
            }
        }
    }
}
