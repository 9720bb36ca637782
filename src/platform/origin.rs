//! The server's address, as the sender of a request knows it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Uri, header};

use super::refusal::Refusal;
use super::{Platform, Shared};

/// Set by a proxy that speaks TLS for this server.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Scheme and host of a request, as its sender wrote them.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The sender speaks TLS, with this server or with a proxy before it.
    pub is_tls: bool,
    host: String,
    /// The origin of `--public-url`.
    public: Option<String>,
}

/// The page that made a browser send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    ThisSite,
    OtherSite,
    /// No browser, or one that does not tell.
    Unknown,
}

impl Origin {
    pub fn of(headers: &HeaderMap, target: &Uri, platform: &Platform) -> Self {
        let text = |name| headers.get(name)?.to_str().ok();
        // HTTP/2 has no Host header.
        let host = text(header::HOST).or(target.authority().map(|host| host.as_str()));
        let host = host.unwrap_or("localhost").to_lowercase();
        let public = platform.hosts.public_url();
        let public = public.map(|url| url.origin().ascii_serialization());
        let is_public_tls = (public.as_deref())
            .and_then(|public| public.strip_prefix("https://"))
            .is_some_and(|name| name == host);
        Origin {
            // No page of another site can make a browser send this header, and a client that sends
            // it by hand only misleads itself.
            is_tls: platform.is_tls || is_public_tls || text(FORWARDED_PROTO) == Some("https"),
            host,
            public,
        }
    }

    /// The server's own URL, without a slash at its end.
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.host)
    }

    /// Tells by what the browser says (Fetch Metadata, section 2.3), or by its `Origin` where it
    /// says nothing.
    pub fn sender(&self, headers: &HeaderMap) -> Sender {
        if let Some(site) = headers.get("sec-fetch-site") {
            return match site.as_bytes() {
                b"same-origin" => Sender::ThisSite,
                // The user, by the address bar.
                b"none" => Sender::Unknown,
                _ => Sender::OtherSite,
            };
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Sender::Unknown;
        };
        let origin = origin.to_str().unwrap_or_default().to_lowercase();
        let is_own = (origin.split_once("://")).is_some_and(|(_, host)| host == self.host)
            || self.public.as_ref() == Some(&origin);
        match is_own {
            true => Sender::ThisSite,
            false => Sender::OtherSite,
        }
    }
}

impl FromRequestParts<Shared> for Origin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, platform: &Shared) -> Result<Self, Refusal> {
        Ok(Origin::of(&parts.headers, &parts.uri, platform))
    }
}
