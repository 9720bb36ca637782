//! The options of a server that `wit up` starts: those that were given, and else those of its last
//! start.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use url::Url;

use crate::platform::last_start::LastStart;
use crate::platform::layout;

/// Address that is listened on where none is named.
pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MAX_REPOSITORIES: u64 = 1000;
const MAX_DISK: u64 = 10 << 30;
/// Seconds.
const DEFAULT_PATIENCE: u16 = 60;

/// A file that an option of the last start names, and that can't be read now.
#[derive(Debug, thiserror::Error)]
#[error("{option} of the last start: can't read {}", path.display())]
pub struct LostFile {
    option: &'static str,
    path: PathBuf,
    #[source]
    cause: std::io::Error,
}

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Start {
    #[command(flatten)]
    pub serving: Serving,
    /// Directory for the database and the repositories
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Create this account if it is missing, with a password that is written into the data directory
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The email address of that account [default: NAME@localhost]
    #[arg(long, value_name = "EMAIL", requires = "user")]
    pub email: Option<String>,
    /// Read the password of that account from the first line of stdin
    #[arg(long, requires = "user")]
    pub password_stdin: bool,
    /// Stay in the foreground and log to stderr
    #[arg(long)]
    pub foreground: bool,
    /// Leave the terminal; set by `wit up` itself
    #[arg(long, hide = true, requires = "foreground")]
    pub detach: bool,
}

/// What a server goes by, and its next start too.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Serving {
    /// Port to listen on; 0 means the last one of this data directory, or a free one [default: the
    /// last one, or 3000]
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// Address to listen on; one that other machines reach needs --tls-cert or --allow-http [default:
    /// the last one, or 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<IpAddr>,
    /// Directory for the repositories, for several servers on one PostgreSQL [default: the last one, or the data directory]
    #[arg(long, value_name = "DIR")]
    pub repositories: Option<PathBuf>,
    /// Serve https with the certificate in this PEM file, reloaded when it changes
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
    /// Repositories that one account may have [default: as last time, or 1000]
    #[arg(long, value_name = "N")]
    pub max_repositories: Option<u64>,
    /// Disk space that one account's repositories may take, such as 500M or 2T [default: as last
    /// time, or 10G]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_disk: Option<u64>,
    /// Answer requests for this host name too; may be repeated
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub host_name: Vec<String>,
    /// Allow plain http with other machines: anyone on the network path can read the tokens
    #[arg(long)]
    pub allow_http: bool,
    /// Seconds that a client may be silent in the middle of a request [default: as last time, or 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..))]
    pub patience: Option<u16>,
    /// Answer GET /metrics, to requests from this machine; a proxy must then keep it from others
    #[arg(long)]
    pub metrics: bool,
    /// Do not tell browsers to insist on https, as is done with --tls-cert
    #[arg(long)]
    pub no_hsts: bool,
    /// Never run `git gc` in repositories that were pushed to; run it yourself then
    #[arg(long)]
    pub no_maintenance: bool,
    /// Disable sign-up: only --user and `wit user invite` create an account
    #[arg(long, conflicts_with = "sign_up")]
    pub no_sign_up: bool,
    /// Let anyone who reaches the server sign up again, after --no-sign-up
    #[arg(long)]
    pub sign_up: bool,
    /// Forget the options of the last start, except for its port and its directory of repositories
    // A service has it in its unit, and perhaps among its options too.
    #[arg(long, overrides_with = "defaults")]
    pub defaults: bool,
    /// Options that are the last start's, as they would be typed.
    #[arg(skip)]
    pub remembered: Vec<OsString>,
}

impl Start {
    /// Returns whether options ask for a server that differs from the one that runs already, whose start
    /// was `last`.
    pub fn ask_more(&self, running: SocketAddr, data_dir: &Path, last: &LastStart) -> bool {
        let serving = &self.serving;
        let asks_port = serving
            .port
            .is_some_and(|port| port != 0 && port != running.port());
        let named = serving.repositories.as_ref();
        let usual = data_dir.join(layout::REPOSITORIES);
        let repositories = last.repositories.as_ref().unwrap_or(&usual);
        let asks_directory = named.is_some_and(|named| named != repositories);
        let usual = Serving::default().after(last).last_start(last.postgres);
        asks_port || asks_directory || serving.last_start(last.postgres) != usual
    }
}

impl Serving {
    /// The options of this start: those that were given, and else the last start's.
    pub fn after(self, last: &LastStart) -> Self {
        if self.defaults {
            return self;
        }
        let given = self.options();
        let mut all = Serving {
            listen: self.listen.or(last.listen),
            tls_cert: self.tls_cert.or_else(|| last.tls_cert.clone()),
            tls_key: self.tls_key.or_else(|| last.tls_key.clone()),
            public_url: self
                .public_url
                .or_else(|| server_url(last.public_url.as_deref()?).ok()),
            proxy: or_last(self.proxy, &last.proxies),
            host_name: or_last(self.host_name, &last.hosts),
            max_repositories: self.max_repositories.or(last.max_repositories),
            max_disk: self.max_disk.or(last.max_disk),
            patience: self.patience.or(last.patience),
            allow_http: self.allow_http || last.allow_http,
            metrics: self.metrics || last.metrics,
            no_hsts: self.no_hsts || last.no_hsts,
            no_maintenance: self.no_maintenance || last.no_maintenance,
            no_sign_up: self.no_sign_up || (last.no_sign_up && !self.sign_up),
            ..self
        };
        let options = all.options().into_iter();
        let remembered = options.filter(|option| !given.contains(option));
        all.remembered = remembered.flatten().collect();
        all
    }

    /// Fails where a file can't be read that this start has from the last one only.
    pub fn require_remembered_files(&self) -> Result<(), LostFile> {
        let files = [("--tls-cert", &self.tls_cert), ("--tls-key", &self.tls_key)];
        for (option, path) in files {
            let is_remembered = self.remembered.iter().any(|word| word == option);
            if let (true, Some(path)) = (is_remembered, path) {
                std::fs::File::open(path).map_err(|cause| LostFile {
                    option,
                    path: path.clone(),
                    cause,
                })?;
            }
        }
        Ok(())
    }

    /// The same start without its certificate. `None` where other machines would be served
    /// plain http, which nobody has allowed.
    pub fn without_tls(&self) -> Option<Self> {
        let plain = Serving {
            tls_cert: None,
            tls_key: None,
            ..self.clone()
        };
        (plain.listen().is_loopback() || plain.allow_http).then_some(plain)
    }

    /// The same for the next start.
    pub fn last_start(&self, has_postgres: bool) -> LastStart {
        LastStart {
            no_sign_up: self.no_sign_up,
            listen: Some(self.listen()).filter(|listen| *listen != LOOPBACK),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            public_url: self.public_url.as_ref().map(Url::to_string),
            proxies: self.proxy.clone(),
            hosts: self.host_name.clone(),
            max_repositories: Some(self.max_repositories()).filter(|max| *max != MAX_REPOSITORIES),
            max_disk: Some(self.max_disk()).filter(|max| *max != MAX_DISK),
            patience: Some(self.patience()).filter(|seconds| *seconds != DEFAULT_PATIENCE),
            allow_http: self.allow_http,
            metrics: self.metrics,
            no_hsts: self.no_hsts,
            no_maintenance: self.no_maintenance,
            postgres: has_postgres,
            ..LastStart::default()
        }
    }

    pub fn listen(&self) -> IpAddr {
        self.listen.unwrap_or(LOOPBACK)
    }

    pub fn max_repositories(&self) -> u64 {
        self.max_repositories.unwrap_or(MAX_REPOSITORIES)
    }

    /// Bytes.
    pub fn max_disk(&self) -> u64 {
        self.max_disk.unwrap_or(MAX_DISK)
    }

    /// Seconds.
    pub fn patience(&self) -> u16 {
        self.patience.unwrap_or(DEFAULT_PATIENCE)
    }

    /// The options that a start remembers: each with its value, as it would be typed.
    fn options(&self) -> Vec<Vec<OsString>> {
        let mut all: Vec<Vec<OsString>> = Vec::new();
        let mut add = |option: &str, value: Option<OsString>| {
            all.extend(value.map(|value| vec![option.into(), value]));
        };
        let number = |number: Option<u64>| number.map(|number| number.to_string().into());
        let listen = self.listen.map(|address| address.to_string());
        add("--listen", listen.map(OsString::from));
        add("--tls-cert", self.tls_cert.clone().map(OsString::from));
        add("--tls-key", self.tls_key.clone().map(OsString::from));
        let url = self.public_url.as_ref().map(Url::as_str);
        add("--public-url", url.map(OsString::from));
        for proxy in &self.proxy {
            add("--proxy", Some(proxy.to_string().into()));
        }
        for host in &self.host_name {
            add("--host-name", Some(host.into()));
        }
        add("--max-repositories", number(self.max_repositories));
        let disk = self.max_disk.map(size_text);
        add("--max-disk", disk.map(OsString::from));
        add("--patience", number(self.patience.map(u64::from)));
        for (option, is_set) in [
            ("--allow-http", self.allow_http),
            ("--metrics", self.metrics),
            ("--no-hsts", self.no_hsts),
            ("--no-maintenance", self.no_maintenance),
            ("--no-sign-up", self.no_sign_up),
        ] {
            if is_set {
                all.push(vec![option.into()]);
            }
        }
        all
    }

    /// All of it, as it would be typed.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = self.options().into_iter().flatten().collect();
        all.extend(self.of_one_start());
        all
    }

    /// Options that no start remembers as options, as they would be typed.
    fn of_one_start(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = Vec::new();
        if let Some(port) = self.port {
            all.extend(["--port".into(), port.to_string().into()]);
        }
        if let Some(path) = &self.repositories {
            all.extend(["--repositories".into(), path.into()]);
        }
        for (option, is_set) in [("--sign-up", self.sign_up), ("--defaults", self.defaults)] {
            if is_set {
                all.push(option.into());
            }
        }
        all
    }

    /// The options by which the start after `last` is this one, as they would be typed.
    pub fn typed(&self, last: &LastStart) -> Vec<OsString> {
        let (wanted, remembered) = (self.options(), Serving::default().after(last).options());
        let values = |options: &[Vec<OsString>], name: &OsString| -> Vec<OsString> {
            let of_that_name = options.iter().filter(|option| option[0] == *name);
            // A certificate and its key are given together.
            let also = |option: &&Vec<OsString>| {
                let pair = ["--tls-cert", "--tls-key"];
                pair.iter().any(|one| name == one) && pair.iter().any(|one| option[0] == *one)
            };
            let all = of_that_name.chain(options.iter().filter(also));
            all.flatten().cloned().collect()
        };
        let dropped: Vec<&OsString> = (remembered.iter().map(|option| &option[0]))
            .filter(|name| values(&wanted, name).is_empty())
            .collect();
        let (sign_up, defaults) = match dropped[..] {
            [] => (false, false),
            [only] if only == "--no-sign-up" => (true, false),
            _ => (false, true),
        };
        let differs = |option: &&Vec<OsString>| {
            defaults || values(&wanted, &option[0]) != values(&remembered, &option[0])
        };
        let changed = wanted.iter().filter(differs).flatten().cloned();
        let rest = Serving {
            sign_up,
            defaults,
            ..self.clone()
        };
        changed.chain(rest.of_one_start()).collect()
    }

    /// The same with paths that mean the same in every directory.
    pub fn absolute(self) -> std::io::Result<Self> {
        let absolute = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
        Ok(Serving {
            tls_cert: absolute(self.tls_cert)?,
            tls_key: absolute(self.tls_key)?,
            repositories: absolute(self.repositories)?,
            ..self
        })
    }
}

fn or_last<T: Clone>(given: Vec<T>, last: &[T]) -> Vec<T> {
    match given.is_empty() {
        true => last.to_vec(),
        false => given,
    }
}

/// The arguments of the same server in the foreground, without its password.
pub fn server_arguments(args: &Start, data_dir: &Path) -> Vec<OsString> {
    // Nothing is to be added to them.
    let serving = Serving {
        sign_up: false,
        defaults: true,
        ..args.serving.clone()
    };
    let mut all = serving.arguments();
    all.extend(["--data-dir".into(), data_dir.into()]);
    for (option, text) in [("--user", &args.user), ("--email", &args.email)] {
        if let Some(text) = text {
            all.extend([option.into(), text.into()]);
        }
    }
    all
}

/// The largest unit in which a size is a whole number.
fn size_text(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let whole = |(shift, _): &&(u32, &str)| bytes > 0 && bytes.is_multiple_of(1 << shift);
    match units.iter().find(whole) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// Parses the URL of a whole server.
fn server_url(text: &str) -> Result<Url, String> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err("must begin with http:// or https://".to_owned());
    }
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
    fn a_start_is_typed_by_what_it_does_not_remember() {
        let last = LastStart {
            no_sign_up: true,
            proxies: vec![[127, 0, 0, 8].into(), [127, 0, 0, 9].into()],
            ..LastStart::default()
        };
        let typed = |serving: Serving, last: &LastStart| {
            // As the server in the background has them.
            let serving = Serving {
                defaults: true,
                ..serving.after(last)
            };
            let words = serving.typed(last);
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            words.join(" ")
        };
        let given = || Serving {
            port: Some(0),
            metrics: true,
            ..Serving::default()
        };
        assert_eq!(typed(given(), &LastStart::default()), "--metrics --port 0");
        assert_eq!(typed(given(), &last), "--metrics --port 0");
        let with = |change: fn(&mut Serving)| {
            let mut serving = given();
            change(&mut serving);
            typed(serving, &last)
        };
        assert_eq!(
            with(|serving| serving.proxy = vec![[127, 0, 0, 8].into()]),
            "--proxy 127.0.0.8 --metrics --port 0"
        );
        assert_eq!(
            with(|serving| serving.sign_up = true),
            "--metrics --port 0 --sign-up"
        );
        assert_eq!(
            with(|serving| serving.defaults = true),
            "--metrics --port 0 --defaults"
        );
    }

    #[test]
    fn a_public_url_names_its_scheme() {
        assert!(server_url("https://git.example.com").is_ok());
        for text in ["git.example.com", "ssh://git.example.com", "HTTPS"] {
            let why = "must begin with http:// or https://";
            assert_eq!(server_url(text), Err(why.to_owned()), "{text}");
        }
        assert!(server_url("https://git.example.com/path").is_err());
    }

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
            assert_eq!(size(&size_text(bytes)), Ok(bytes), "{text}");
        }
        for text in ["", "G", "-1", "1.5G", "1GB", "99999999T", "é"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
