//! A server that goes on in the background: started, and waited for until it answers.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;

use super::options::{Start, server_arguments};
use super::report;
use crate::cli::ask::first_line_of_new;
use crate::cli::output::quoted;
use crate::cli::{Context, Exit, Failure};
use crate::config;
use crate::platform::last_start::LastStart;
use crate::platform::{Ready, instance, layout, log_file};
use crate::progress;

/// Time limit for the start of a server.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Room on a disk below which a start fails for want of it, in bytes.
const MIN_ROOM: u64 = 256 * 1024;

pub fn run(
    args: &Start,
    data_dir: &Path,
    last: &LastStart,
    context: &Context,
) -> anyhow::Result<Exit> {
    if let Some(running) = instance::answering(data_dir)? {
        return report::already(&running, args, data_dir, context);
    }
    super::require_remembered_files(args, data_dir, last, context)?;
    report::warn_of_sign_up(args, data_dir, last, context);
    // Before anything is in it.
    layout::keep_private(data_dir, layout::is_data_dir)
        .with_context(|| format!("can't change {}", data_dir.display()))?;
    config::private_dir(data_dir).with_context(|| format!("can't make {}", data_dir.display()))?;
    let log_path = log_file::path(data_dir);
    if std::fs::metadata(&log_path).is_ok_and(|log| log.len() > log_file::MAX_SIZE) {
        let aside = log_file::previous(&log_path);
        std::fs::rename(&log_path, &aside)
            .with_context(|| format!("can't put {} aside", log_path.display()))?;
    }
    let log =
        log_file::open(&log_path).with_context(|| format!("can't open {}", log_path.display()))?;
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
            Some(first_line_of_new("password")?)
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
        told.recv_timeout(START_TIMEOUT)
    });
    let started = (told.ok())
        .and_then(Result::ok)
        .and_then(|line| serde_json::from_str::<Ready>(&line).ok());
    let Some(started) = started else {
        let _ = server.kill();
        let _ = server.wait();
        // Another that was started at the same moment.
        if let Some(running) = instance::answering(data_dir)? {
            return report::already(&running, args, data_dir, context);
        }
        return Err(not_started(&log_path, log_begin).into());
    };
    let moved = report::remember(&started, data_dir, context)?;
    report::report(&started, moved, args, data_dir, context)?;
    Ok(Exit::Done)
}

fn has_room(file: &Path) -> bool {
    rustix::fs::statvfs(file)
        .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= MIN_ROOM)
}

/// The server's own last words say more than any guess here.
fn not_started(log_path: &Path, begin: u64) -> Failure {
    let log = std::fs::read(log_path).unwrap_or_default();
    let new = log.get(usize::try_from(begin).unwrap_or(usize::MAX)..);
    let new = String::from_utf8_lossy(new.unwrap_or_default()).into_owned();
    let why = new.lines().find_map(|line| line.strip_prefix("error: "));
    let hint = new.lines().find_map(|line| line.strip_prefix("hint: "));
    match why {
        Some(why) => Failure {
            // It is a command that the server has quoted itself.
            hint: hint.map(str::to_owned),
            ..Failure::new(Exit::Failed, why)
        },
        // Not even its log has room.
        None if new.is_empty() && !has_room(log_path) => {
            let message = format!("no space left on the disk of {}", log_path.display());
            Failure::new(Exit::Failed, message).hint(format!("df -h {}", quoted(log_path)))
        }
        None => Failure::new(Exit::Failed, "the server did not start")
            .hint(format!("cat {}", quoted(log_path))),
    }
}
