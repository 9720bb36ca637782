//! Errors as pages, for browsers. API clients and git get what they always got.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::layout;
use crate::platform::refusal::Refusal;

/// Returns whether a request's sender wants to be shown a page (RFC 9110 section 12.5.1).
pub fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.to_ascii_lowercase().contains("text/html"))
}

/// Puts a page in the place of an error that is none.
pub async fn for_browsers(request: Request, next: Next) -> Response {
    let wants_page = wants_page(request.headers());
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_page = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !wants_page || !is_error || is_page {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let refusal = parts.extensions.remove::<Refusal>();
    let refusal = refusal.unwrap_or_else(|| Refusal::new(status, "ERROR", message(status)));
    let (page, body) = layout::refusal(&refusal).into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    for (name, value) in &page.headers {
        parts.headers.insert(name, value.clone());
    }
    let policy = HeaderValue::from_static(super::POLICY);
    parts
        .headers
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    Response::from_parts(parts, body)
}

fn message(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "not found",
        StatusCode::METHOD_NOT_ALLOWED => "this address does not accept such a request",
        StatusCode::PAYLOAD_TOO_LARGE => "this request is too large",
        status if status.is_server_error() => "the server failed",
        _ => "the server can't answer this request",
    }
}
