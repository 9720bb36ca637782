//! The options of a server that `wit up` starts.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use url::Url;

#[derive(Debug, clap::Args)]
pub struct Start {
    /// Port to listen on; 0 means the last one of this data directory, or a free one [default: the
    /// last one, or 3000]
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// Address to listen on; anything but this machine itself needs --allow-http
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub listen: IpAddr,
    /// Directory for the database and the repositories
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Directory for the repositories, for several servers on one PostgreSQL [default: the last one, or the data directory]
    #[arg(long, value_name = "DIR")]
    pub repositories: Option<PathBuf>,
    /// Create this account if it is missing, with a password that is written into the data directory
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The email address of that account [default: NAME@localhost]
    #[arg(long, value_name = "EMAIL", requires = "user")]
    pub email: Option<String>,
    /// Read the password of that account from the first line of stdin
    #[arg(long, requires = "user")]
    pub password_stdin: bool,
    /// Speak https with the certificate in this PEM file, followed as it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// URL that other machines reach this server at, through a proxy that passes `Host` on
    #[arg(long, value_name = "URL", value_parser = server_url)]
    pub public_url: Option<Url>,
    /// Believe the proxy at this address when it names a client in X-Forwarded-For; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub proxy: Vec<IpAddr>,
    /// Repositories that one account may have
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max_repositories: u64,
    /// Disk space that one account's repositories may take, such as 500M or 2T
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = size)]
    pub max_disk: u64,
    /// Answer requests for this host name too; may be repeated
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub host_name: Vec<String>,
    /// Allow plain http with other machines: anyone on the network path can read the tokens
    #[arg(long)]
    pub allow_http: bool,
    /// How long a client may be silent in the middle of a request
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    pub patience: u16,
    /// Answer GET /metrics, to requests from this machine; a proxy must then keep it from others
    #[arg(long)]
    pub metrics: bool,
    /// Have browsers forget that this server insists on https, as it does with --tls-cert
    #[arg(long)]
    pub no_hsts: bool,
    /// Never run `git gc` in repositories that were pushed to; do it otherwise then
    #[arg(long)]
    pub no_maintenance: bool,
    /// Disable sign-up: only --user creates an account
    #[arg(long)]
    pub no_sign_up: bool,
    /// Stay in the foreground and log to stderr
    #[arg(long)]
    pub foreground: bool,
    /// Leave the terminal; set by `wit up` itself
    #[arg(long, hide = true, requires = "foreground")]
    pub detach: bool,
}

impl Start {
    /// Returns whether something is asked for that a server that runs already was not asked for.
    pub fn ask_more(&self, running: SocketAddr) -> bool {
        let asks_port = self
            .port
            .is_some_and(|port| port != 0 && port != running.port());
        let is_usual = self.listen == IpAddr::V4(Ipv4Addr::LOCALHOST);
        asks_port
            || (!is_usual && self.listen != running.ip())
            || self.user.is_some()
            || self.tls_cert.is_some()
            || self.repositories.is_some()
            || self.public_url.is_some()
            || !self.host_name.is_empty()
            || !self.proxy.is_empty()
            || self.metrics
            || self.no_hsts
            || self.no_maintenance
            || self.no_sign_up
    }
}

/// The arguments of the same server in the foreground, without its password.
pub fn server_arguments(args: &Start, data_dir: &Path) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: OsString| all.extend([option.into(), value]);
    add("--listen", args.listen.to_string().into());
    if let Some(port) = args.port {
        add("--port", port.to_string().into());
    }
    add("--patience", args.patience.to_string().into());
    add(
        "--max-repositories",
        args.max_repositories.to_string().into(),
    );
    add("--max-disk", args.max_disk.to_string().into());
    add("--data-dir", data_dir.into());
    for (option, path) in [
        ("--repositories", &args.repositories),
        ("--tls-cert", &args.tls_cert),
        ("--tls-key", &args.tls_key),
    ] {
        if let Some(path) = path {
            add(option, path.into());
        }
    }
    for (option, text) in [("--user", &args.user), ("--email", &args.email)] {
        if let Some(text) = text {
            add(option, text.into());
        }
    }
    if let Some(url) = &args.public_url {
        add("--public-url", url.as_str().into());
    }
    for proxy in &args.proxy {
        add("--proxy", proxy.to_string().into());
    }
    for host in &args.host_name {
        add("--host-name", host.into());
    }
    for (option, is_set) in [
        ("--allow-http", args.allow_http),
        ("--metrics", args.metrics),
        ("--no-hsts", args.no_hsts),
        ("--no-maintenance", args.no_maintenance),
        ("--no-sign-up", args.no_sign_up),
    ] {
        if is_set {
            all.push(option.into());
        }
    }
    all
}

/// Parses the URL of a whole server.
fn server_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    let is_whole = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_web = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let is_plain = url.username().is_empty() && url.password().is_none();
    match is_web && is_whole && is_plain {
        true => Ok(url),
        false => Err("give a URL such as https://git.example.com, without a path".to_owned()),
    }
}

/// Parses a number of bytes, with K, M, G or T for powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.chars().last().map(|unit| unit.to_ascii_uppercase()) {
        Some('K') => (&text[..text.len() - 1], 10),
        Some('M') => (&text[..text.len() - 1], 20),
        Some('G') => (&text[..text.len() - 1], 30),
        Some('T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number: Option<u64> = number.parse().ok();
    let size = number.and_then(|number| number.checked_mul(1 << shift));
    size.ok_or_else(|| "give a number of bytes, such as 500M, 10G or 2T".to_owned())
}

/// Parses a host's name or address, without a port.
fn host_name(text: &str) -> Result<String, String> {
    match url::Host::parse(text) {
        Ok(host) => Ok(host.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_may_have_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("4k", 4096),
            ("10G", 10 << 30),
            ("2T", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "-1", "1.5G", "1GB", "99999999T", "é"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
