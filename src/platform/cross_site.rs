//! Requests that a page of another site makes a browser send.
//!
//! A form needs nobody's leave to be sent to another site, and its sender sees no answer, but what
//! it asks for would be done, and counted against the address of the browser's user.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::Shared;
use super::origin::{Origin, Sender};
use super::refusal::Refusal;

/// Refuses those that would change anything. Programs send neither of the headers that tell.
pub async fn each_request(
    State(platform): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    if !request.method().is_safe() {
        let origin = Origin::of(request.headers(), request.uri(), &platform);
        if origin.sender(request.headers()) == Sender::OtherSite {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "CROSS_SITE_REQUEST",
                "the request was not accepted: it came from another site",
            ));
        }
    }
    Ok(next.run(request).await)
}
