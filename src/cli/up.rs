//! `wit up`: start the platform on this machine.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use url::Url;

use super::ask::first_line;
use super::output::{self, quoted};
use super::session::parse_url;
use super::{Context, Exit, Failure};
use crate::config::{self, Config};
use crate::platform::first_user::Wanted;
use crate::platform::instance::{self, Running};
use crate::platform::quota::Quota;
use crate::platform::{self, Ready, log_file, tls};
use crate::progress;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Port to listen on; 0 means a free one
    #[arg(long, value_name = "N", default_value_t = 3000)]
    port: u16,
    /// Address to listen on; anything but this machine itself needs --allow-http
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// Directory for the database and the repositories
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Directory for the repositories, for several servers on one PostgreSQL [default: the data directory]
    #[arg(long, value_name = "DIR")]
    repositories: Option<PathBuf>,
    /// Create this account if it is missing, with a password that is written into the data directory
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The email address of that account [default: NAME@localhost]
    #[arg(long, value_name = "EMAIL", requires = "user")]
    email: Option<String>,
    /// Read the password of that account from the first line of stdin
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// Speak https with the certificate in this PEM file, followed as it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// URL that other machines reach this server at, through a proxy that passes `Host` on
    #[arg(long, value_name = "URL", value_parser = server_url)]
    public_url: Option<Url>,
    /// Believe the proxy at this address when it names a client in X-Forwarded-For; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    proxy: Vec<IpAddr>,
    /// Repositories that one account may have
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_repositories: u64,
    /// Disk space that one account's repositories may take, such as 500M or 2T
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = size)]
    max_disk: u64,
    /// Answer requests for this host name too; may be repeated
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    host_name: Vec<String>,
    /// Allow plain http with other machines: anyone on the network path can read the tokens
    #[arg(long)]
    allow_http: bool,
    /// How long a client may be silent in the middle of a request
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    patience: u16,
    /// Answer GET /metrics, to requests from this machine; a proxy must then keep it from others
    #[arg(long)]
    metrics: bool,
    /// Disable sign-up: only --user creates an account
    #[arg(long)]
    no_sign_up: bool,
    /// Stay in the foreground and log to stderr
    #[arg(long)]
    foreground: bool,
    /// Leave the terminal; set by `wit up` itself
    #[arg(long, hide = true, requires = "foreground")]
    detach: bool,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    if !args.listen.is_loopback() && !args.allow_http && args.tls_cert.is_none() {
        let message = format!(
            "{} is more than this machine, and http is not encrypted",
            args.listen
        );
        return Err(Failure::new(Exit::Usage, message)
            .hint(format!(
                "wit up --listen {} --tls-cert FILE --tls-key FILE, or --allow-http",
                args.listen
            ))
            .into());
    }
    let data_dir = data_dir(args.data_dir.as_deref(), context)?;
    refuse_sudo(&data_dir)?;
    let absolute = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
    let args = Args {
        // The server stands in another directory.
        tls_cert: absolute(args.tls_cert)?,
        tls_key: absolute(args.tls_key)?,
        repositories: absolute(args.repositories)?,
        ..args
    };
    match args.foreground {
        true => foreground(&args, data_dir, context),
        false => background(&args, &data_dir, context),
    }
}

/// The data directory that was named, made absolute, or the usual one.
pub fn data_dir(named: Option<&Path>, context: &Context) -> anyhow::Result<PathBuf> {
    match named {
        Some(dir) => std::path::absolute(dir).with_context(|| dir.display().to_string()),
        None => Ok(context.paths.platform_dir()),
    }
}

fn foreground(args: &Args, data_dir: PathBuf, context: &Context) -> anyhow::Result<Exit> {
    if args.detach {
        rustix::process::setsid().context("can't leave the terminal")?;
    }
    tracing_subscriber::fmt()
        .json()
        // It would print them on stderr, which is the log too, and panic where the disk is full.
        .log_internal_errors(false)
        .with_writer(std::sync::Mutex::new(log_file::Log::new(&data_dir)))
        .init();
    let first_user = match &args.user {
        Some(username) => Some(Wanted {
            username: username.clone(),
            email: (args.email.clone()).unwrap_or_else(|| format!("{username}@localhost")),
            password: match args.password_stdin {
                true => Some(first_line("password")?),
                false => None,
            },
        }),
        None => None,
    };
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    let options = platform::Options {
        data_dir,
        address: SocketAddr::new(args.listen, args.port),
        database_url: config::variable("DATABASE_URL"),
        repositories: args.repositories.clone(),
        first_user,
        tls: tls.map(|(certificate, key)| tls::Files { certificate, key }),
        public_url: args.public_url.clone(),
        proxies: args.proxy.clone(),
        quota: Quota {
            repositories: args.max_repositories,
            disk: args.max_disk,
        },
        hosts: args.host_name.clone(),
        metrics: args.metrics,
        sign_up: !args.no_sign_up,
        patience: Duration::from_secs(args.patience.into()),
    };
    let said = |ready: Ready| -> anyhow::Result<()> {
        if args.detach {
            let mut line = serde_json::to_string(&ready)?;
            line.push('\n');
            std::io::stdout().write_all(line.as_bytes())?;
            return Ok(());
        }
        let moved = remember(&ready, &options.data_dir, context)?;
        report(&ready, moved, args, &options.data_dir, context)
    };
    let mut told = Ok(());
    let served = platform::serve(&options, |ready| told = said(ready));
    if let Err(error) = &served
        && error.is::<instance::AlreadyRunning>()
    {
        let message = format!("{error}: {}", options.data_dir.display());
        return Err(Failure::new(Exit::Failed, message)
            .hint(format!("wit down --data-dir {}", quoted(&options.data_dir)))
            .into());
    }
    served?;
    told?;
    Ok(Exit::Done)
}

/// What git creates as root its owner could not change later, and git refuses root what is not root's.
/// A container's root, which no sudo has started, may have any home.
fn refuse_sudo(data_dir: &Path) -> anyhow::Result<()> {
    let existing = data_dir.ancestors().find(|dir| dir.exists());
    let owner = existing.and_then(config::heir);
    let by_sudo = config::variable("SUDO_UID");
    match owner.is_some_and(|owner| by_sudo == Some(owner.user.to_string())) {
        false => Ok(()),
        true => Err(Failure::new(
            Exit::Usage,
            format!("{} would become root's in part", data_dir.display()),
        )
        .hint("wit up, without sudo")
        .into()),
    }
}

fn background(args: &Args, data_dir: &Path, context: &Context) -> anyhow::Result<Exit> {
    if let Some(running) = instance::answering(data_dir)? {
        return already(&running, args, data_dir, context);
    }
    config::private_dir(data_dir).with_context(|| format!("can't make {}", data_dir.display()))?;
    let log_path = log_file::path(data_dir);
    if std::fs::metadata(&log_path).is_ok_and(|log| log.len() > log_file::MAX_SIZE) {
        let aside = log_file::previous(&log_path);
        std::fs::rename(&log_path, &aside)
            .with_context(|| format!("can't put {} aside", log_path.display()))?;
    }
    let mut log = OpenOptions::new();
    log.append(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut log, 0o600);
    let log = config::open_or_create(&log_path, &log)
        .with_context(|| format!("can't open {}", log_path.display()))?;
    let mut command = Command::new(std::env::current_exe().context("can't find this program")?);
    command
        .args(["up", "--foreground", "--detach"])
        .args(server_arguments(args, data_dir))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let password = match args.password_stdin {
        true => {
            command.arg("--password-stdin").stdin(Stdio::piped());
            Some(first_line("password")?)
        }
        false => None,
    };
    let log_begin = std::fs::metadata(&log_path).map_or(0, |log| log.len());
    let mut server = command.spawn().context("can't start the server")?;
    if let (Some(password), Some(mut stdin)) = (password, server.stdin.take()) {
        // One that ends without reading it says why in its log.
        let _ = stdin.write_all(password.expose());
    }
    let stdout = server.stdout.take().context("the server has no stdout")?;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let _ = tell.send(read.map(|_| line));
    });
    let told = progress::during("Waiting for the server to start", || {
        told.recv_timeout(PATIENCE)
    });
    let started = (told.ok())
        .and_then(Result::ok)
        .and_then(|line| serde_json::from_str::<Ready>(&line).ok());
    let Some(started) = started else {
        let _ = server.kill();
        let _ = server.wait();
        // Another that was started at the same moment.
        if let Some(running) = instance::answering(data_dir)? {
            return already(&running, args, data_dir, context);
        }
        return Err(not_started(&log_path, log_begin).into());
    };
    let moved = remember(&started, data_dir, context)?;
    report(&started, moved, args, data_dir, context)?;
    Ok(Exit::Done)
}

/// The arguments of the same server in the foreground, without its password.
fn server_arguments(args: &Args, data_dir: &Path) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: OsString| all.extend([option.into(), value]);
    add("--listen", args.listen.to_string().into());
    add("--port", args.port.to_string().into());
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

/// Says that there is a server.
fn already(
    running: &Running,
    args: &Args,
    data_dir: &Path,
    context: &Context,
) -> anyhow::Result<Exit> {
    let url = url(running.address, running.is_tls)?;
    if context.json {
        output::json(&json!({ "url": url, "dataDir": data_dir, "alreadyRunning": true }))?;
    } else {
        let data_dir = data_dir.display();
        output::print(format!("wit already runs at {url} (data in {data_dir})\n").as_bytes())?;
    }
    let asks_more = args.user.is_some()
        || args.tls_cert.is_some()
        || args.repositories.is_some()
        || args.public_url.is_some()
        || !args.host_name.is_empty()
        || !args.proxy.is_empty()
        || args.metrics
        || args.no_sign_up;
    if asks_more {
        eprintln!("wit: already running; the new options were ignored");
        eprintln!("hint: wit down, then run the same command again");
    }
    Ok(Exit::Done)
}

/// The server's own last words say more than any guess here.
fn not_started(log_path: &Path, begin: u64) -> Failure {
    let log = std::fs::read(log_path).unwrap_or_default();
    let new = log.get(usize::try_from(begin).unwrap_or(usize::MAX)..);
    let new = String::from_utf8_lossy(new.unwrap_or_default()).into_owned();
    let why = new.lines().find_map(|line| line.strip_prefix("wit: "));
    let hint = new.lines().find_map(|line| line.strip_prefix("hint: "));
    let hint = hint.map(str::to_owned);
    match why {
        Some(why) => {
            let failure = Failure::new(Exit::Failed, why);
            match hint {
                _ if why.contains("can't listen on") => failure.hint("wit up --port 0"),
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        None => Failure::new(Exit::Failed, "the server did not start")
            .hint(format!("cat {}", quoted(log_path))),
    }
}

/// Writes the server into the config, so that no other command needs to be told of it. It takes
/// the place of an earlier address of its own; whether somebody was logged in there is answered.
fn remember(ready: &Ready, data_dir: &Path, context: &Context) -> anyhow::Result<bool> {
    let url = url(ready.address, ready.is_tls)?;
    Config::update(&context.paths, |config| {
        let earlier = config
            .servers
            .iter()
            .filter(|(other, known)| **other != url && known.data_dir.as_deref() == Some(data_dir));
        let earlier: Vec<(String, bool)> = earlier
            .map(|(other, known)| (other.clone(), known.account.is_some()))
            .collect();
        for (other, _) in &earlier {
            config.forget(other);
        }
        let known = config.servers.entry(url.clone()).or_default();
        known.api.get_or_insert_with(|| "rest".to_owned());
        known.data_dir = Some(data_dir.to_owned());
        config.default_server.get_or_insert(url);
        earlier.iter().any(|(_, logged_in)| *logged_in)
    })
    .context("can't write the server into the config")
}

fn report(
    ready: &Ready,
    moved: bool,
    args: &Args,
    data_dir: &Path,
    context: &Context,
) -> anyhow::Result<()> {
    let url = url(ready.address, ready.is_tls)?;
    let next = match (&args.user, &ready.password_file) {
        (Some(user), Some(file)) => Some(format!(
            "wit login {url} --username {user} --password-stdin < {}",
            quoted(file)
        )),
        _ if ready.is_empty && args.no_sign_up => {
            Some("wit down && wit up --no-sign-up --user you".to_owned())
        }
        _ if ready.is_empty => Some(format!(
            "wit login {url} --sign-up --email you@example.com --username you"
        )),
        _ if moved => Some(format!("wit login {url}")),
        _ => None,
    };
    // A URL that the person has set himself may hold a password; he knows it.
    let database_url = match config::variable("DATABASE_URL") {
        Some(_) => None,
        None => Some(format!(
            "sqlite:{}",
            platform::sqlite_file(data_dir).display()
        )),
    };
    if context.json {
        return Ok(output::json(&json!({
            "url": url,
            "dataDir": data_dir,
            "alreadyRunning": false,
            "next": next,
            "databaseUrl": database_url,
            "userId": ready.user_id,
            "passwordFile": ready.password_file,
        }))?);
    }
    let place = data_dir.display();
    let mut text = format!("wit runs at {url}\nData directory: {place}\n");
    if let Some(next) = next {
        let what = match (ready.is_empty, &ready.password_file) {
            (true, _) => "Make an account",
            (_, Some(_)) => "Log in to the account that was made",
            _ => "Log in at its new address",
        };
        text += &format!("\n{what}:\n\n  {next}\n");
    }
    if let Some(id) = &ready.user_id {
        text += "\nTo work on the database itself, without the server:\n\n";
        if let Some(url) = database_url {
            text += &format!("  export DATABASE_URL={}\n", quoted(url));
        }
        text += &format!("  export WIT_USER_ID={id}\n");
    }
    Ok(output::print(text.as_bytes())?)
}

/// Where this machine reaches the server, as every command writes it.
fn url(address: SocketAddr, is_tls: bool) -> anyhow::Result<String> {
    let scheme = if is_tls { "https" } else { "http" };
    let url = format!("{scheme}://{}", platform::reached_at(address));
    Ok(parse_url(&url)?.to_string())
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

    #[test]
    fn the_url_is_the_one_that_commands_write() {
        for (address, is_tls, expected) in [
            ("127.0.0.1:3000", false, "http://127.0.0.1:3000"),
            ("127.0.0.1:80", false, "http://127.0.0.1"),
            ("0.0.0.0:443", true, "https://127.0.0.1"),
            ("[::]:443", false, "http://[::1]:443"),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(url(address, is_tls).expect("a URL"), expected);
        }
    }
}
