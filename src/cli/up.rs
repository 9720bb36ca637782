//! `wit up`: start the platform on this machine.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Context, Exit, Failure};
use crate::config::{self, Config};
use crate::platform::{self, instance};

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
    /// Where the database and the repositories lie
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Stay in the foreground and log to stderr
    #[arg(long)]
    foreground: bool,
    /// Speak plain http with other machines too: whoever is on the way can read the tokens
    #[arg(long)]
    allow_http: bool,
    /// Leave the terminal; set by `wit up` itself
    #[arg(long, hide = true, requires = "foreground")]
    detach: bool,
}

/// What a server tells the `wit up` that started it, in one line on stdout.
#[derive(Debug, Serialize, Deserialize)]
struct Started {
    address: SocketAddr,
    is_empty: bool,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    if !args.listen.is_loopback() && !args.allow_http {
        let message = format!(
            "{} is more than this machine, and http is not encrypted",
            args.listen
        );
        return Err(Failure::new(Exit::Usage, message)
            .hint(format!("wit up --listen {} --allow-http", args.listen))
            .into());
    }
    let data_dir = data_dir(args.data_dir.as_deref(), context)?;
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
        .with_writer(std::io::stderr)
        .init();
    let options = platform::Options {
        data_dir,
        address: SocketAddr::new(args.listen, args.port),
        database_url: config::variable("DATABASE_URL"),
    };
    let said = |ready: platform::Ready| -> anyhow::Result<()> {
        let started = Started {
            address: ready.address,
            is_empty: ready.is_empty,
        };
        if args.detach {
            let mut line = serde_json::to_string(&started)?;
            line.push('\n');
            std::io::stdout().write_all(line.as_bytes())?;
            return Ok(());
        }
        remember(ready.address, context)?;
        report(&started, &options.data_dir, context)
    };
    let mut told = Ok(());
    let served = platform::serve(&options, |ready| told = said(ready));
    if let Err(error) = &served
        && error.is::<instance::AlreadyRunning>()
    {
        let message = format!("{error}: {}", options.data_dir.display());
        return Err(Failure::new(Exit::Failed, message)
            .hint(format!(
                "wit down --data-dir {}",
                options.data_dir.display()
            ))
            .into());
    }
    served?;
    told?;
    Ok(Exit::Done)
}

fn background(args: &Args, data_dir: &Path, context: &Context) -> anyhow::Result<Exit> {
    if let Some(running) = instance::running(data_dir)? {
        let url = url(running.address);
        if context.json {
            println!(
                "{}",
                json!({ "url": url, "data_dir": data_dir, "already_running": true })
            );
        } else {
            println!("wit already runs at {url} (data in {})", data_dir.display());
        }
        return Ok(Exit::Done);
    }
    config::private_dir(data_dir).with_context(|| format!("can't make {}", data_dir.display()))?;
    let log_path = data_dir.join("server.log");
    let mut log = OpenOptions::new();
    log.create(true).append(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut log, 0o600);
    let log =
        (log.open(&log_path)).with_context(|| format!("can't open {}", log_path.display()))?;
    let mut command = Command::new(std::env::current_exe().context("can't find this program")?);
    command
        .args(["up", "--foreground", "--detach", "--listen"])
        .arg(args.listen.to_string())
        .args(["--port", &args.port.to_string(), "--data-dir"])
        .arg(data_dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    if args.allow_http {
        command.arg("--allow-http");
    }
    let log_begin = std::fs::metadata(&log_path).map_or(0, |log| log.len());
    let mut server = command.spawn().context("can't start the server")?;
    let stdout = server.stdout.take().context("the server has no stdout")?;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let _ = tell.send(read.map(|_| line));
    });
    let started = (told.recv_timeout(PATIENCE).ok())
        .and_then(Result::ok)
        .and_then(|line| serde_json::from_str::<Started>(&line).ok());
    let Some(started) = started else {
        let _ = server.kill();
        let _ = server.wait();
        return Err(not_started(&log_path, log_begin).into());
    };
    remember(started.address, context)?;
    report(&started, data_dir, context)?;
    Ok(Exit::Done)
}

/// The server's own last words say more than any guess here.
fn not_started(log_path: &Path, begin: u64) -> Failure {
    let log = std::fs::read(log_path).unwrap_or_default();
    let new = log.get(usize::try_from(begin).unwrap_or(usize::MAX)..);
    let new = String::from_utf8_lossy(new.unwrap_or_default()).into_owned();
    let why = new.lines().find_map(|line| line.strip_prefix("wit: "));
    let hint = new.lines().find_map(|line| line.strip_prefix("hint: "));
    match why {
        Some(why) => {
            let failure = Failure::new(Exit::Failed, why);
            match hint {
                Some(hint) => failure.hint(hint),
                None if why.contains("can't listen on") => failure.hint("wit up --port 0"),
                None => failure,
            }
        }
        None => Failure::new(Exit::Failed, "the server did not start")
            .hint(format!("cat {}", log_path.display())),
    }
}

/// Writes the server into the config, so that no other command needs to be told of it.
fn remember(address: SocketAddr, context: &Context) -> anyhow::Result<()> {
    let url = url(address);
    Config::update(&context.paths, |config| {
        config.servers.entry(url.clone()).or_default().api = Some("rest".to_owned());
        config.default_server.get_or_insert(url);
    })
    .context("can't write the server into the config")
}

fn report(started: &Started, data_dir: &Path, context: &Context) -> anyhow::Result<()> {
    let url = url(started.address);
    let next = started
        .is_empty
        .then(|| format!("wit login {url} --sign-up --email you@example.com --username you"));
    let mut out = std::io::stdout().lock();
    if context.json {
        let document = json!({ "url": url, "data_dir": data_dir, "next": next });
        writeln!(out, "{document}")?;
        return Ok(());
    }
    writeln!(out, "wit runs at {url}")?;
    writeln!(out, "Its data lie in {}", data_dir.display())?;
    if let Some(next) = next {
        writeln!(out, "\nMake an account:\n\n  {next}")?;
    }
    Ok(())
}

/// Where this machine reaches the server.
fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}
