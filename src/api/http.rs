//! The one HTTP client: every limit and refusal that a request with a secret needs.

use std::cell::{Cell, OnceCell};
use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, DATE, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    RETRY_AFTER, SET_COOKIE,
};
use reqwest::{Certificate, Method, StatusCode, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use url::Url;
use zeroize::Zeroizing;

use super::server::ServerUrl;
use super::{ApiError, Reason, ReasonKind};
use crate::config;
use crate::expiry::UnixTime;
use crate::progress;
pub use crate::quote::{escaped, sentence};
use crate::secret::{Secret, SecretBuffer};
use crate::trace;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Time limit for one request where `WIT_HTTP_TIMEOUT` does not say it.
const LIMIT: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes: 50 tokens need less than a twentieth of it.
const ANSWER_LIMIT: usize = 1 << 20;
/// Longest cookie that is kept, in bytes.
const MAX_COOKIE: usize = 4096;
/// Waits before a GET is sent again.
const GET_AGAIN: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(600)];
/// Longest `Retry-After` that is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A client of one server.
pub struct Client {
    server: ServerUrl,
    http: reqwest::Client,
    limit: Duration,
    /// Waits before a GET is sent again.
    waits: &'static [Duration],
    runtime: OnceCell<tokio::runtime::Runtime>,
    skew: Cell<Option<i64>>,
}

/// An answer with a status below 300 or from 400 to 499.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    retry_after: Option<Duration>,
    headers: HeaderMap,
    /// It may hold a token.
    body: SecretBuffer,
}

/// Authentication of a request.
#[derive(Clone, Copy)]
pub enum Auth<'a> {
    /// No authentication.
    Nobody,
    /// `Authorization: Bearer`.
    Bearer(&'a Secret),
    /// `Authorization: Basic`.
    Basic(&'a str, &'a Secret),
    /// [`Auth::Basic`] with a one-time code in a header of that name.
    OneTimeCode(&'a str, &'a Secret, &'static str, &'a Secret),
    /// A header of the host's own.
    Header(&'static str, &'a Secret),
    /// [`Auth::Bearer`] with a session's cookie, as a page of that origin sends it: better-auth
    /// asks where a request with a cookie comes from.
    Cookie(&'a Secret, &'a Secret, &'a str),
}

impl Auth<'_> {
    fn headers(self) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let basic = |name: &str, password: &Secret| {
            let pair = Zeroizing::new([name.as_bytes(), b":", password.expose()].concat());
            let encoded = Zeroizing::new(STANDARD.encode(&*pair));
            secret_value("Basic ", encoded.as_bytes()).map(|value| (AUTHORIZATION, value))
        };
        let own = |name: &'static str, secret: &Secret| {
            let value = secret_value("", secret.expose())?;
            Some((HeaderName::from_static(name), value))
        };
        Some(match self {
            Auth::Nobody => Vec::new(),
            Auth::Bearer(token) => {
                vec![(AUTHORIZATION, secret_value("Bearer ", token.expose())?)]
            }
            Auth::Basic(name, password) => vec![basic(name, password)?],
            Auth::OneTimeCode(name, password, header, code) => {
                vec![basic(name, password)?, own(header, code)?]
            }
            Auth::Header(name, secret) => vec![own(name, secret)?],
            Auth::Cookie(token, cookie, origin) => vec![
                (AUTHORIZATION, secret_value("Bearer ", token.expose())?),
                (COOKIE, secret_value("", cookie.expose())?),
                (ORIGIN, HeaderValue::from_str(origin).ok()?),
            ],
        })
    }
}

/// A header's value that is not shown; `None` where it holds what no header can.
fn secret_value(scheme: &str, secret: &[u8]) -> Option<HeaderValue> {
    let value = Zeroizing::new([scheme.as_bytes(), secret].concat());
    let mut value = HeaderValue::from_bytes(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Client {
    /// Plain http is spoken with this machine only, unless `allow_http` says otherwise: the
    /// request carries a secret that anybody on the way could read.
    pub fn new(server: &ServerUrl, allow_http: bool) -> Result<Self, ApiError> {
        Self::trusting(server, allow_http, None)
    }

    /// [`Client::new`] that trusts the certificates (PEM) in `ca_file` besides the system's, which
    /// `SSL_CERT_FILE` may replace.
    pub fn trusting(
        server: &ServerUrl,
        allow_http: bool,
        ca_file: Option<&Path>,
    ) -> Result<Self, ApiError> {
        let unreachable = |reason: Reason| ApiError::Unreachable {
            server: server.to_string(),
            reason,
        };
        if server.is_plain() && !server.is_loopback() && !allow_http {
            let server = server.to_string();
            return Err(ApiError::PlainHttp { server });
        }
        // An error means that one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("wit/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            // Only what these programs send themselves is ever sent again.
            .retry(reqwest::retry::never());
        if let Some(file) = ca_file {
            let unread = |reason: Reason| ApiError::CaFile {
                file: file.to_owned(),
                reason,
            };
            let pem = std::fs::read(file).map_err(|error| {
                let why = match error.kind() {
                    io::ErrorKind::NotFound => "no such file".to_owned(),
                    _ => error.to_string(),
                };
                unread(Reason::from(why).caused_by(error))
            })?;
            let all = Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if all.is_empty() {
                return Err(unread("there is no certificate (PEM) in it".into()));
            }
            http = http.tls_certs_merge(all);
        }
        if server.is_loopback() {
            // A proxy's loopback is another machine.
            http = http.no_proxy();
            if server.is_plain() {
                // Without a proxy and redirects there is no TLS, and reading the system's
                // certificates takes longer than the request.
                http = http.tls_certs_only([]);
            }
        }
        Ok(Client {
            server: server.clone(),
            http: http
                .build()
                .map_err(|error| unreachable(causes(error.without_url())))?,
            limit: config::seconds("WIT_HTTP_TIMEOUT", LIMIT),
            waits: &GET_AGAIN,
            runtime: OnceCell::new(),
            skew: Cell::new(None),
        })
    }

    /// The same for a quick look: each request is sent once and may take `limit` at most.
    pub fn within(self, limit: Duration) -> Self {
        Client {
            limit: limit.min(self.limit),
            waits: &[],
            ..self
        }
    }

    /// The server that it speaks to.
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// Server clock minus this machine's, in seconds, from the last answer.
    pub fn clock_skew(&self) -> Option<i64> {
        self.skew.get()
    }

    /// GET, sent again after a failed connection, a 429 or a 5xx: it changes nothing.
    pub fn get(&self, path: &str, bearer: Option<&Secret>) -> Result<Answer, ApiError> {
        self.get_url(self.server.at(path), bearer)
    }

    /// [`Client::get`] of a URL that has a query, made with [`ServerUrl::at`].
    pub fn get_url(&self, url: Url, bearer: Option<&Secret>) -> Result<Answer, ApiError> {
        self.get_by(url, bearer.map_or(Auth::Nobody, Auth::Bearer))
    }

    /// [`Client::get`] of any URL of the server, with any proof of who asks.
    pub fn get_by(&self, url: Url, auth: Auth) -> Result<Answer, ApiError> {
        self.waiting(|| self.get_again(url, auth))
    }

    fn get_again(&self, url: Url, auth: Auth) -> Result<Answer, ApiError> {
        let mut waits = self.waits.iter();
        loop {
            let answer = self.request(Method::GET, url.clone(), auth, None);
            let wait = match &answer {
                Ok(answer) if matches!(answer.status, 429 | 503) => {
                    let least = answer.retry_after.unwrap_or_default();
                    waits.next().map(|wait| least.max(*wait))
                }
                // It would be the same again.
                Err(ApiError::Unreachable { reason, .. })
                    if reason.kind() == ReasonKind::NotTls =>
                {
                    None
                }
                Err(ApiError::Unreachable { .. } | ApiError::Failed { .. }) => {
                    waits.next().copied()
                }
                _ => None,
            };
            match wait.filter(|wait| *wait <= LONGEST_WAIT) {
                Some(wait) => std::thread::sleep(wait),
                None => return answer,
            }
        }
    }

    /// POST of a JSON document, sent once.
    pub fn post_json(
        &self,
        path: &str,
        bearer: Option<&Secret>,
        body: &Value,
    ) -> Result<Answer, ApiError> {
        self.post_bytes(path, bearer, body.to_string().into_bytes())
    }

    /// POST of a JSON document that holds a secret and was serialised by the caller.
    pub(super) fn post_bytes(
        &self,
        path: &str,
        bearer: Option<&Secret>,
        body: Vec<u8>,
    ) -> Result<Answer, ApiError> {
        let body = Some(("application/json", body));
        self.send(Method::POST, self.server.at(path), bearer, body)
    }

    /// POST of an empty JSON document by a session, with its cookie where there is one. Sent once.
    pub(super) fn post_by_session(
        &self,
        path: &str,
        session: &Secret,
        cookie: Option<&Secret>,
    ) -> Result<Answer, ApiError> {
        let url = self.server.at(path);
        let origin = url.origin().ascii_serialization();
        let auth = match cookie {
            Some(cookie) => Auth::Cookie(session, cookie, &origin),
            None => Auth::Bearer(session),
        };
        let body = Zeroizing::new(b"{}".to_vec());
        self.request(Method::POST, url, auth, Some(("application/json", body)))
    }

    /// POST of a form, sent once.
    pub(super) fn post_form(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Answer, ApiError> {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let body = Some(("application/x-www-form-urlencoded", form.into_bytes()));
        self.send(Method::POST, self.server.at(path), None, body)
    }

    /// PATCH with a JSON document, sent once.
    pub fn patch_json(
        &self,
        path: &str,
        bearer: Option<&Secret>,
        body: &Value,
    ) -> Result<Answer, ApiError> {
        let body = Some(("application/json", body.to_string().into_bytes()));
        self.send(Method::PATCH, self.server.at(path), bearer, body)
    }

    /// HEAD, sent once: for what every answer tells, as the server's clock.
    pub fn head(&self, path: &str) -> Result<Answer, ApiError> {
        self.send(Method::HEAD, self.server.at(path), None, None)
    }

    /// DELETE, sent once.
    pub fn delete(&self, path: &str, bearer: Option<&Secret>) -> Result<Answer, ApiError> {
        self.send(Method::DELETE, self.server.at(path), bearer, None)
    }

    /// The same of a URL that has a query.
    pub(super) fn delete_with(
        &self,
        path: &str,
        query: &[(&str, &str)],
        bearer: Option<&Secret>,
    ) -> Result<Answer, ApiError> {
        let mut url = self.server.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(Method::DELETE, url, bearer, None)
    }

    fn send(
        &self,
        method: Method,
        url: Url,
        bearer: Option<&Secret>,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Answer, ApiError> {
        let auth = bearer.map_or(Auth::Nobody, Auth::Bearer);
        let body = body.map(|(kind, body)| (kind, Zeroizing::new(body)));
        self.request(method, url, auth, body)
    }

    /// One request to any URL of the server, sent once. The body is wiped when it has been sent.
    pub fn request(
        &self,
        method: Method,
        url: Url,
        auth: Auth,
        body: Option<(&str, Zeroizing<Vec<u8>>)>,
    ) -> Result<Answer, ApiError> {
        let unreachable = |reason: Reason| ApiError::Unreachable {
            server: self.server.to_string(),
            reason,
        };
        if url.origin() != self.server.at("/").origin() {
            return Err(unreachable("the request is for another server".into()));
        }
        let step = trace::begin();
        let (what, place) = (method.clone(), url.clone());
        let mut request = self
            .http
            .request(method, url)
            .timeout(self.limit)
            .header(ACCEPT, "application/json");
        let headers = auth.headers().ok_or_else(|| {
            unreachable("the token has characters that a header can't hold".into())
        })?;
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some((kind, body)) = body {
            request = request
                .header(CONTENT_TYPE, kind)
                .body(Bytes::from_owner(body));
        }
        let runtime = match self.runtime.get() {
            Some(runtime) => runtime,
            None => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| {
                        unreachable(Reason::from(error.to_string()).caused_by(error))
                    })?;
                self.runtime.get_or_init(|| runtime)
            }
        };
        let answer = self.waiting(|| runtime.block_on(self.exchange(request)));
        // A query may hold what is asked for, so the path is all that is told.
        let (origin, path) = (place.origin().ascii_serialization(), place.path());
        let status = match &answer {
            Ok(answer) => answer.status.to_string(),
            Err(error) => error.to_string(),
        };
        step.end(format_args!("http {what} {origin}{path}: {status}"));
        answer
    }

    fn waiting<T>(&self, work: impl FnOnce() -> T) -> T {
        progress::during(&format!("Waiting for {}", self.server), work)
    }

    /// Why a request failed. What a wrong URL leads to is said in words, not in those of the library.
    fn reason(&self, error: reqwest::Error) -> Reason {
        let mut text = Vec::new();
        let mut cause: Option<&dyn Error> = Some(&error);
        while let Some(error) = cause {
            text.push(error.to_string());
            cause = error.source();
        }
        let says = |words: &str| text.iter().any(|cause| cause.contains(words));
        let is_plain = self.server.is_plain();
        let (kind, text) = if says("dns error") && says("Temporary failure") {
            (ReasonKind::NoSuchHost, NO_NAME_SERVER)
        } else if says("dns error") {
            (ReasonKind::NoSuchHost, NO_SUCH_HOST)
        } else if says("InvalidContentType") && !is_plain {
            (ReasonKind::NotTls, NOT_TLS)
        } else if is_plain && says("invalid HTTP version parsed") {
            (ReasonKind::NotHttp, NOT_HTTP)
        } else {
            return causes(error);
        };
        Reason::new(kind, text).caused_by(error)
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<Answer, ApiError> {
        let server = || self.server.to_string();
        let mut response = request.send().await.map_err(|error| {
            let error = error.without_url();
            // What failed while connecting was never sent; anything later may have arrived.
            let was_sent = !(error.is_connect() || error.is_builder());
            let (server, reason) = (server(), self.reason(error));
            if !was_sent {
                ApiError::Unreachable { server, reason }
            } else {
                ApiError::Lost { server, reason }
            }
        })?;
        self.skew.set(skew(response.headers(), UnixTime::now()));
        let status = response.status();
        // A server that says when to try again has done nothing yet.
        let is_busy = status == StatusCode::SERVICE_UNAVAILABLE
            && response.headers().contains_key(RETRY_AFTER);
        if status.is_server_error() && !is_busy {
            return Err(ApiError::Failed {
                status: status.as_u16(),
            });
        }
        if status.is_redirection() {
            return Err(ApiError::Malformed {
                what: "refusing to follow a redirect with credentials".into(),
            });
        }
        let headers = response.headers().clone();
        let mut body = SecretBuffer::default();
        loop {
            let chunk = response.chunk().await.map_err(|error| ApiError::Lost {
                server: server(),
                reason: causes(error.without_url()),
            })?;
            let Some(chunk) = chunk else { break };
            if body.expose().len() + chunk.len() > ANSWER_LIMIT {
                return Err(ApiError::Malformed {
                    what: "it is larger than 1 MiB".into(),
                });
            }
            body.add(&chunk);
        }
        Ok(Answer {
            status: status.as_u16(),
            retry_after: retry_after(&headers, UnixTime::now()),
            headers,
            body,
        })
    }
}

impl Answer {
    /// Returns whether the body is said to be JSON.
    pub fn is_json(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE);
        kind.and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"))
    }

    /// The document of a success; the error that any other status means.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        self.done()?;
        // serde's own message could quote what it read, and so a token.
        serde_json::from_slice(self.body()).map_err(|error| ApiError::Malformed {
            what: format!("not the JSON that was expected (line {})", error.line()),
        })
    }

    /// Returns whether it is a success; the error that any other status means.
    pub fn done(&self) -> Result<(), ApiError> {
        let message = || {
            self.sentence()
                .unwrap_or_else(|| format!("the server refused with status {}", self.status))
        };
        match StatusCode::from_u16(self.status) {
            Ok(status) if status.is_success() => Ok(()),
            Ok(StatusCode::UNAUTHORIZED) => Err(ApiError::Unauthorized),
            // GitHub's way to say 429.
            Ok(StatusCode::FORBIDDEN) if self.retry_after.is_some() => Err(ApiError::Limited {
                unavailable: None,
                retry_after: self.retry_after,
            }),
            Ok(StatusCode::FORBIDDEN) => Err(ApiError::Forbidden { message: message() }),
            Ok(StatusCode::NOT_FOUND) => Err(ApiError::NotFound),
            Ok(StatusCode::TOO_MANY_REQUESTS) => Err(ApiError::Limited {
                unavailable: None,
                retry_after: self.retry_after,
            }),
            Ok(StatusCode::SERVICE_UNAVAILABLE) => {
                let said = self.sentence();
                let unnamed = || "the server is not available".to_owned();
                Err(ApiError::Limited {
                    unavailable: Some(said.unwrap_or_else(unnamed)),
                    retry_after: self.retry_after,
                })
            }
            _ => Err(ApiError::Refused { message: message() }),
        }
    }

    /// The body as it came, for an API that wraps its errors.
    pub fn body(&self) -> &[u8] {
        self.body.expose()
    }

    /// A header of that name, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The signed cookie of the session `token`, as `name=value`, where the answer sets one:
    /// better-auth names it `better-auth.session_token`, with `__Secure-` before it over TLS.
    pub(super) fn session_cookie(&self, token: &Secret) -> Option<Secret> {
        let token = token.expose_str()?;
        let is_meant = |pair: &&str| {
            pair.split_once('=').is_some_and(|(name, value)| {
                let signed = value.strip_prefix(token);
                name.ends_with("session_token") && signed.is_some_and(|rest| rest.starts_with('.'))
            })
        };
        let pair = (self.headers.get_all(SET_COOKIE).iter())
            // Without its attributes (RFC 6265 section 4.1.1).
            .filter_map(|value| value.to_str().ok()?.split(';').next())
            .find(is_meant)?;
        let fits = pair.len() <= MAX_COOKIE && pair.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Secret::from(pair.to_owned()))
    }

    /// The server's own sentence, escaped and cut, if its answer has one.
    pub fn sentence(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(self.body()).ok()?;
        let text = body
            .get("message")
            .or_else(|| body.get("error"))?
            .as_str()?;
        Some(sentence(text))
    }
}

/// An RFC 3339 time of a server's, to the second.
pub(crate) fn time(text: &str) -> Result<UnixTime, ApiError> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map(|time| UnixTime(time.unix_timestamp()))
        .map_err(|_| ApiError::Malformed {
            what: "a time that is not RFC 3339".into(),
        })
}

/// The difference that a `Date` header shows; the server's clock is read to the second.
fn skew(headers: &HeaderMap, now: UnixTime) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = OffsetDateTime::parse(date, &Rfc2822).ok()?;
    Some(UnixTime(date.unix_timestamp()).since(now))
}

/// `Retry-After` in its form of seconds, the platform's own `x-retry-after`, or GitHub's
/// `x-ratelimit-reset` (a time) where no request is left.
fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let reset = || {
        let reset =
            number("x-ratelimit-reset").filter(|_| number("x-ratelimit-remaining") == Some(0));
        let at = UnixTime(i64::try_from(reset?).ok()?);
        let server_time = now.plus(skew(headers, now).unwrap_or_default());
        u64::try_from(at.since(server_time).max(0)).ok()
    };
    let seconds = number("retry-after").or_else(|| number("x-retry-after"));
    seconds.or_else(reset).map(Duration::from_secs)
}

/// Why a server is not reached whose name nobody knows.
const NO_SUCH_HOST: &str = "there is no host of that name (DNS)";
/// Why a server is not reached whose name can't be looked up now (EAI_AGAIN of getaddrinfo(3)).
const NO_NAME_SERVER: &str = "its name can't be looked up now: no name server answers (DNS)";
/// Why an https server is not reached that answers in plain http.
const NOT_TLS: &str = "it answers, but not over TLS";
/// Why there is no answer from an http server that speaks https.
const NOT_HTTP: &str = "it answers, but not in plain http";

/// The innermost cause of a transport error, which is the one that tells a person something.
fn causes(error: reqwest::Error) -> Reason {
    let mut cause: &dyn Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = match error.is_timeout() {
        true => "it took too long".to_owned(),
        false => sentence(&cause.to_string()),
    };
    let kind = match text.contains("certificate") {
        true => ReasonKind::Certificate,
        false => ReasonKind::Other,
    };
    Reason::new(kind, text).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_tells_the_skew() {
        let mut headers = HeaderMap::new();
        headers.insert(
            DATE,
            HeaderValue::from_static("Thu, 01 Jan 1970 00:01:40 GMT"),
        );
        assert_eq!(skew(&headers, UnixTime(90)), Some(10));
    }
}
