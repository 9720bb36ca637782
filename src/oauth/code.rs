//! The authorization code grant with PKCE (RFC 7636) for a program on this machine (RFC 8252): the
//! browser is sent back to a loopback port, or the user pastes the address that it was sent to.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use url::{Host, Url};

use super::{App, Endpoints, Form, OAuthError, Reach, Tokens, grant};
use crate::api::http::sentence;
use crate::secret::Secret;

/// Time limit for one connection of the browser.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Longest request of the browser that is read, in bytes.
const MAX_REQUEST: u64 = 16 * 1024;
/// Random bytes of a state and of a PKCE verifier, 43 characters each.
const RANDOM_BYTES: usize = 32;

/// A sign-in whose redirect is waited for.
#[derive(Debug)]
pub struct Pending {
    /// Address that the browser opens. It holds no secret.
    pub address: Url,
    redirect: Url,
    state: Secret,
    verifier: Secret,
    issuer: Option<String>,
    names_issuer: bool,
}

/// The code of a redirect.
pub struct Code(Secret);

/// Begins. [`OAuthError::Unsupported`] where the server has no authorization endpoint.
pub fn begin(
    endpoints: &Endpoints,
    app: &App,
    scopes: &[String],
    redirect: &Url,
) -> Result<Pending, OAuthError> {
    let mut address = endpoints
        .authorization
        .clone()
        .ok_or(OAuthError::Unsupported {
            what: "authorization endpoint",
        })?;
    // Whoever could change the page on its way could ask for the user's password.
    super::client(&address, &Reach::default())?;
    let state = random()?;
    let verifier = random()?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()));
    let mut query = address.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &app.client_id)
        .append_pair("redirect_uri", redirect.as_str())
        .append_pair("state", state.expose_str().unwrap_or_default())
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    if !scopes.is_empty() {
        query.append_pair("scope", &scopes.join(" "));
    }
    // OpenID Connect Core, section 11: without it the scope is ignored.
    if scopes.iter().any(|scope| scope == "offline_access") && endpoints.userinfo.is_some() {
        query.append_pair("prompt", "consent");
    }
    drop(query);
    Ok(Pending {
        address,
        redirect: redirect.clone(),
        state,
        verifier,
        issuer: endpoints.issuer.clone(),
        names_issuer: endpoints.names_issuer,
    })
}

fn random() -> Result<Secret, OAuthError> {
    let mut bytes = zeroize::Zeroizing::new([0; RANDOM_BYTES]);
    getrandom::fill(&mut *bytes).map_err(|error| OAuthError::Listen(io::Error::other(error)))?;
    Ok(Secret::from(URL_SAFE_NO_PAD.encode(*bytes)))
}

impl Pending {
    /// The code in the address that the browser was sent to.
    pub fn code(&self, address: &str) -> Result<Code, OAuthError> {
        let url = Url::parse(address.trim()).map_err(|_| OAuthError::NoRedirect)?;
        let value = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
        };
        let (code, error) = (value("code"), value("error"));
        if code.is_none() && error.is_none() {
            return Err(OAuthError::NoRedirect);
        }
        // First of all: what belongs to another sign-in says nothing about this one.
        let state = value("state").map(Secret::from);
        if state.as_ref() != Some(&self.state) {
            return Err(OAuthError::State);
        }
        self.check_issuer(value("iss"))?;
        match (code, error.as_deref()) {
            (_, Some("access_denied")) => Err(OAuthError::Denied),
            (_, Some(error)) => Err(OAuthError::Refused {
                code: sentence(error),
                description: value("error_description").as_deref().map(sentence),
            }),
            (Some(code), None) => Ok(Code(Secret::from(code))),
            (None, None) => Err(OAuthError::NoRedirect),
        }
    }

    /// RFC 9207, section 2.4.
    fn check_issuer(&self, found: Option<String>) -> Result<(), OAuthError> {
        match (&self.issuer, found) {
            (Some(expected), Some(found)) if *expected != found => Err(OAuthError::Issuer {
                expected: sentence(expected),
                found: sentence(&found),
            }),
            (Some(expected), None) if self.names_issuer => Err(OAuthError::Issuer {
                expected: sentence(expected),
                found: "an unnamed server".into(),
            }),
            _ => Ok(()),
        }
    }

    /// Exchanges the code, which works once.
    pub fn exchange(
        &self,
        code: &Code,
        endpoints: &Endpoints,
        app: &mut App,
        reach: &Reach,
    ) -> Result<Tokens, OAuthError> {
        let form = |form: &mut Form| {
            form.add("grant_type", "authorization_code");
            form.add_secret("code", &code.0);
            form.add("redirect_uri", self.redirect.as_str());
            form.add_secret("code_verifier", &self.verifier);
        };
        grant(&endpoints.token, app, form, reach)
    }
}

/// A port on this machine that the browser is sent back to.
#[derive(Debug)]
pub struct Loopback {
    listener: TcpListener,
    /// The redirect with the port that was got.
    pub redirect: Url,
}

impl Loopback {
    /// Listens where `redirect` says, else at `http://127.0.0.1/`. A port that is not named is any
    /// free one, which servers are to accept (RFC 8252, section 7.3).
    pub fn bind(redirect: Option<&Url>) -> Result<Self, OAuthError> {
        let mut redirect = match redirect {
            Some(redirect) => redirect.clone(),
            None => super::parse_endpoint("http://127.0.0.1/")?,
        };
        let address = match redirect.host() {
            Some(Host::Domain("localhost")) => Ipv4Addr::LOCALHOST.into(),
            Some(Host::Ipv4(address)) if address.is_loopback() => address.into(),
            Some(Host::Ipv6(Ipv6Addr::LOCALHOST)) => Ipv6Addr::LOCALHOST.into(),
            _ => return Err(not_loopback(&redirect)),
        };
        if redirect.scheme() != "http" {
            return Err(not_loopback(&redirect));
        }
        let port = redirect.port().unwrap_or(0);
        let listener =
            TcpListener::bind(SocketAddr::new(address, port)).map_err(OAuthError::Listen)?;
        listener.set_nonblocking(true).map_err(OAuthError::Listen)?;
        let port = listener.local_addr().map_err(OAuthError::Listen)?.port();
        redirect
            .set_port(Some(port))
            .map_err(|()| not_loopback(&redirect))?;
        Ok(Loopback { listener, redirect })
    }

    /// Waits for the redirect until `end`, and tells the browser's user how it went.
    pub fn wait(&self, pending: &Pending, end: Instant) -> Result<Code, OAuthError> {
        while Instant::now() < end {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    // A browser that goes away, or asks for an icon, is no answer.
                    if let Ok(Some(done)) = self.answer(stream, pending) {
                        return done;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(POLL_INTERVAL);
                }
                Err(error) => return Err(OAuthError::Listen(error)),
            }
        }
        Err(OAuthError::Expired)
    }

    fn answer(
        &self,
        stream: TcpStream,
        pending: &Pending,
    ) -> io::Result<Option<Result<Code, OAuthError>>> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(CONNECTION_TIMEOUT))?;
        stream.set_write_timeout(Some(CONNECTION_TIMEOUT))?;
        let mut lines = BufReader::new((&stream).take(MAX_REQUEST)).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        // What is left unread would have the answer thrown away with the connection.
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let target = first
            .strip_prefix("GET ")
            .and_then(|rest| rest.split(' ').next());
        let url = target.and_then(|target| self.redirect.join(target).ok());
        let Some(url) = url.filter(|url| url.path() == self.redirect.path()) else {
            respond(&stream, "404 Not Found", "Not found.")?;
            return Ok(None);
        };
        let code = match pending.code(url.as_str()) {
            // Any page in any browser of this machine can ask this port. What does not know the state
            // is not the answer, and ends nothing.
            Err(OAuthError::NoRedirect | OAuthError::State) => {
                respond(&stream, "404 Not Found", "Not found.")?;
                return Ok(None);
            }
            code => code,
        };
        match &code {
            Ok(_) => respond(&stream, "200 OK", "Done. You can close this page."),
            Err(_) => respond(
                &stream,
                "400 Bad Request",
                "The sign-in failed. The terminal says why.",
            ),
        }?;
        Ok(Some(code))
    }
}

fn not_loopback(redirect: &Url) -> OAuthError {
    OAuthError::Endpoint {
        url: sentence(&redirect.origin().ascii_serialization()),
        why: "the redirect has to be http on this machine",
    }
}

fn respond(mut stream: &TcpStream, status: &str, text: &str) -> io::Result<()> {
    let page = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>wit</title>\
         <p style=\"font: 1.2em system-ui; margin: 3em\">{text}</p>\n"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\r\n",
        page.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(page.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(names_issuer: bool) -> Pending {
        Pending {
            address: Url::parse("https://host/authorize").unwrap(),
            redirect: Url::parse("http://127.0.0.1:1/").unwrap(),
            state: Secret::from("right".to_owned()),
            verifier: Secret::from(String::new()),
            issuer: Some("https://host".into()),
            names_issuer,
        }
    }

    /// The one-line error of a redirect; empty where it is taken.
    fn refusal(pending: &Pending, query: &str) -> String {
        let address = format!("http://127.0.0.1:1/?{query}");
        pending
            .code(&address)
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn only_the_redirect_of_this_sign_in_is_taken() {
        let lax = pending(false);
        assert_eq!(refusal(&lax, "code=x&state=right"), "");
        assert_eq!(
            refusal(&lax, "code=x&state=right&iss=https%3A%2F%2Fhost"),
            ""
        );
        for (query, part) in [
            ("code=x&state=wrong", "state does not match"),
            ("code=x", "state does not match"),
            ("error=access_denied", "state does not match"),
            ("error=access_denied&state=right", "denied"),
            (
                "code=x&state=right&iss=https%3A%2F%2Fevil",
                "not from https://host",
            ),
            (
                "error=invalid_scope&error_description=no+such&state=right",
                "no such",
            ),
            ("state=right", "not the address"),
        ] {
            let refusal = refusal(&lax, query);
            assert!(
                refusal.contains(part) && !refusal.contains('\n'),
                "{query}: {refusal}"
            );
        }
        let strict = refusal(&pending(true), "code=x&state=right");
        assert!(strict.contains("iss does not match"), "{strict}");
        assert!(lax.code("x").is_err());
    }

    #[test]
    fn a_redirect_leads_to_this_machine_only() {
        for bad in [
            "https://127.0.0.1/",
            "http://example.com/",
            "http://10.0.0.1/",
        ] {
            assert!(
                Loopback::bind(Some(&Url::parse(bad).unwrap())).is_err(),
                "{bad}"
            );
        }
        let bound = Loopback::bind(Some(&Url::parse("http://localhost/back").unwrap())).unwrap();
        assert!(bound.redirect.port().is_some() && bound.redirect.path() == "/back");
    }
}
