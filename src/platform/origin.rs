//! Under which address the asker knows this server.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};

use super::Shared;
use super::refusal::Refusal;

/// Set by a proxy that speaks TLS for this server.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Scheme and host of a request, as its sender wrote them.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Whether the sender speaks TLS, with this server or with a proxy before it.
    pub is_tls: bool,
    host: String,
}

impl Origin {
    fn of(parts: &Parts, own_tls: bool) -> Self {
        let text = |name| parts.headers.get(name)?.to_str().ok();
        // HTTP/2 has no Host header.
        let host = (text(header::HOST)).or(parts.uri.authority().map(|host| host.as_str()));
        Origin {
            // No page of another site can make a browser send this header, and whoever sends it
            // by hand only misleads himself.
            is_tls: own_tls || text(FORWARDED_PROTO) == Some("https"),
            host: host.unwrap_or("localhost").to_owned(),
        }
    }

    /// The server's own URL, without a slash at its end.
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.host)
    }

    /// Whether a page of this very server sent the request, as the browser tells
    /// (Fetch Metadata, section 2.3), or as its `Origin` does where the browser does not.
    pub fn sent(&self, headers: &HeaderMap) -> bool {
        if let Some(site) = headers.get("sec-fetch-site") {
            return site == "same-origin";
        }
        let origin = headers.get(header::ORIGIN).and_then(|o| o.to_str().ok());
        origin
            .and_then(|origin| origin.split_once("://"))
            .is_some_and(|(_, host)| host == self.host)
    }
}

impl FromRequestParts<Shared> for Origin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, platform: &Shared) -> Result<Self, Refusal> {
        Ok(Origin::of(parts, platform.is_tls))
    }
}
