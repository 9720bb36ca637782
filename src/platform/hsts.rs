//! `Strict-Transport-Security`, by which a browser that has been here once never speaks http to this
//! name again (RFC 6797).

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use url::Host;

/// For how long: a year.
const POLICY: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// Has a browser forget it.
const FORGET: HeaderValue = HeaderValue::from_static("max-age=0");

/// Header of a server with a certificate of its own; one on this machine alone sends none, for a
/// browser would take it for all servers on `localhost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hsts {
    Off,
    On,
    /// For those that have been told once.
    Forget,
}

/// Adds the header where a name was asked for: browsers ignore it at an address, and where they do not
/// trust the certificate (sections 8.1 and 8.1.1).
pub async fn each_request(State(hsts): State<Hsts>, request: Request, next: Next) -> Response {
    let policy = match hsts {
        Hsts::Off => None,
        Hsts::On => Some(POLICY),
        Hsts::Forget => Some(FORGET),
    };
    let policy = policy.filter(|_| is_name(request.headers()));
    let mut response = next.run(request).await;
    if let Some(policy) = policy {
        let headers = response.headers_mut();
        headers.insert(header::STRICT_TRANSPORT_SECURITY, policy);
    }
    response
}

fn is_name(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST);
    let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    host.is_some_and(|host| match Host::parse(host.host()) {
        Ok(Host::Domain(name)) => name != "localhost" && !name.ends_with(".localhost"),
        _ => false,
    })
}
