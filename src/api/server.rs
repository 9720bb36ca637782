//! A server's base URL: parsed once, and the only thing that requests are addressed with.

use std::fmt;

use url::{Host, Url};

use crate::credential::Site;
use crate::quote::redacted;

/// The base URL of a server: http or https, without user, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(Url);

impl ServerUrl {
    /// Reads what a person typed. Without a scheme it is https, and http for this machine itself.
    /// The error is one clause for a person and never holds a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        // The URL standard leaves out line breaks and tabs wherever they are, and so names another
        // host than its reader sees.
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("it must not hold spaces or line breaks");
        }
        // It would be shown, and a name server be asked about it.
        if redacted(text) != text {
            return Err("it looks like a token");
        }
        let named = if text.contains("://") {
            text.to_owned()
        } else {
            let guess = Url::parse(&format!("http://{text}")).map_err(|_| "it is not a URL")?;
            let scheme = if is_loopback(&guess) { "http" } else { "https" };
            format!("{scheme}://{text}")
        };
        let mut url = Url::parse(&named).map_err(|_| "it is not a URL")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("only http:// and https:// URLs are supported");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it must not hold a user or a password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it must not hold a query or a fragment");
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        if url.host_str().is_none_or(str::is_empty) {
            return Err("it names no host");
        }
        Ok(ServerUrl(url))
    }

    /// The site that git knows the server by.
    pub fn site(&self) -> Option<Site> {
        let host = self.0.host_str()?;
        let host = match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Site::new(self.0.scheme().as_bytes(), host.as_bytes())
    }

    /// The URL of `path`, which begins with `/`.
    pub fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url
    }

    /// Returns whether it is this machine itself.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// The port, that of the scheme where none was given.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Returns whether what is sent can be read on the way.
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type() {
        for (typed, read) in [
            ("http://127.0.0.1:3000/", "http://127.0.0.1:3000"),
            ("localhost:3000", "http://localhost:3000"),
            ("wit.example", "https://wit.example"),
            ("https://Wit.Example:443/git/", "https://wit.example/git"),
        ] {
            assert_eq!(ServerUrl::parse(typed).unwrap().to_string(), read);
        }
        for bad in [
            "",
            "ftp://x",
            "https://me:pw@x",
            "https://x?y",
            "https://x#y",
            "https://x\n.evil.example",
            "https://x\t.evil.example",
            "x y",
            "http://",
            "wit_0123456789abcdef0123456789abcdef01234567",
        ] {
            assert!(ServerUrl::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_site_has_the_port_where_it_is_not_the_usual_one() {
        let site = |text| ServerUrl::parse(text).unwrap().site().unwrap().to_string();
        assert_eq!(site("http://127.0.0.1:3000/x"), "http://127.0.0.1:3000");
        assert_eq!(site("https://wit.example:443"), "https://wit.example");
    }
}
