//! Names under which the server answers.
//!
//! A page of another site can give its own name this server's address (DNS rebinding); to the
//! browser both are then one site, and the page may read what it is answered. Only the name in
//! `Host` shows the difference. An address instead of a name can't be made to point elsewhere.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use url::{Host, Url};

use super::Shared;
use super::refusal::Refusal;
use super::tls::Certificate;

/// The names of one server.
#[derive(Debug)]
pub struct Hosts {
    /// Only this machine reaches it, unless a proxy is in front of it.
    is_loopback: bool,
    /// Those that it was started with, in lower case.
    names: Vec<String>,
    public_url: Option<Url>,
    certificate: Option<Certificate>,
}

impl Hosts {
    pub fn new(
        listen: IpAddr,
        names: &[String],
        public_url: Option<Url>,
        certificate: Option<Certificate>,
    ) -> Self {
        let mut names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        names.extend(
            public_url
                .iter()
                .filter_map(|url| url.host_str().map(str::to_owned)),
        );
        let is_loopback = listen.to_canonical().is_loopback();
        if !is_loopback {
            let own = hostname::get()
                .ok()
                .and_then(|name| name.into_string().ok());
            names.extend(own.map(|name| name.to_lowercase()));
        }
        Hosts {
            is_loopback,
            names,
            public_url,
            certificate,
        }
    }

    /// The URL that the server was given to call itself by.
    pub fn public_url(&self) -> Option<&Url> {
        self.public_url.as_ref()
    }

    /// Decides by the name in a request, if it has one: no browser leaves it out.
    fn answers(&self, headers: &HeaderMap, target: Option<&Authority>) -> bool {
        let mut sent = headers.get_all(header::HOST).into_iter();
        let host = sent.next();
        // Which of two is meant is anybody's guess (RFC 9112, section 3.2).
        if sent.next().is_some() {
            return false;
        }
        let host = host.map(|host| Authority::try_from(host.as_bytes()));
        host.is_none_or(|host| host.is_ok_and(|host| self.knows(&host)))
            && target.is_none_or(|target| self.knows(target))
    }

    fn knows(&self, authority: &Authority) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host().to_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let is_own = match Host::parse(host) {
            Ok(Host::Ipv4(ip)) => ip.is_loopback() || !self.is_loopback,
            Ok(Host::Ipv6(ip)) => ip.is_loopback() || !self.is_loopback,
            // A name without a dot is one of the network that the server is in.
            Ok(Host::Domain(name)) => {
                name == "localhost" || !(self.is_loopback || name.contains('.'))
            }
            Err(_) => return false,
        };
        is_own
            || self.names.iter().any(|name| name == host)
            || (self.certificate.as_ref()).is_some_and(|certificate| certificate.covers(host))
    }
}

/// Refuses requests to other names (RFC 9110, section 15.5.20).
pub async fn each_request(
    State(platform): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    if platform
        .hosts
        .answers(request.headers(), request.uri().authority())
    {
        return Ok(next.run(request).await);
    }
    Err(Refusal::new(
        StatusCode::MISDIRECTED_REQUEST,
        "UNKNOWN_HOST",
        "this server does not answer to that name; `wit up --host-name NAME` gives it one more, and so \
         does `--public-url URL` behind a proxy",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listen: &str, names: &[&str], public_url: Option<&str>) -> Hosts {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let public_url = public_url.map(|url| url.parse().expect("a URL"));
        Hosts::new(
            listen.parse().expect("an address"),
            &names,
            public_url,
            None,
        )
    }

    fn answers(hosts: &Hosts, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a value"));
        hosts.answers(&headers, None)
    }

    #[test]
    fn on_this_machine_only_its_loopback_names_are_known() {
        let hosts = hosts("127.0.0.1", &[], None);
        for host in [
            "localhost",
            "LocalHost:3000",
            "localhost.:80",
            "127.0.0.1:3000",
            "127.1.2.3",
            "[::1]:8080",
        ] {
            assert!(answers(&hosts, host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:3000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.168.1.2",
            "[::2]",
            "me@localhost",
            "intranet",
            "",
        ] {
            assert!(!answers(&hosts, host), "{host}");
        }
    }

    #[test]
    fn names_that_it_was_started_with_are_known_beside_those() {
        let hosts = hosts(
            "::1",
            &["Git.Example.com"],
            Some("https://wit.example.org:8443"),
        );
        for host in [
            "git.example.com",
            "wit.example.org",
            "wit.example.org:8443",
            "localhost",
        ] {
            assert!(answers(&hosts, host), "{host}");
        }
        assert!(!answers(&hosts, "example.org"));
    }

    #[test]
    fn elsewhere_addresses_and_names_without_a_dot_are_known_too() {
        let hosts = hosts("0.0.0.0", &[], None);
        for host in [
            "192.168.1.2:3000",
            "[2001:db8::1]",
            "gitbox:3000",
            "localhost",
        ] {
            assert!(answers(&hosts, host), "{host}");
        }
        for host in ["evil.example", "gitbox.evil.example"] {
            assert!(!answers(&hosts, host), "{host}");
        }
    }

    #[test]
    fn a_request_with_two_names_or_a_strange_target_is_refused() {
        let hosts = hosts("127.0.0.1", &[], None);
        let mut headers = HeaderMap::new();
        assert!(hosts.answers(&headers, None));
        headers.append(header::HOST, "localhost".parse().expect("a value"));
        let target = Authority::from_static("evil.example");
        assert!(!hosts.answers(&headers, Some(&target)));
        headers.append(header::HOST, "localhost".parse().expect("a value"));
        assert!(!hosts.answers(&headers, None));
    }
}
