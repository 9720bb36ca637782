//! Bringing a new token to where it is used.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::config::write_private;
use crate::secret::Secret;
use crate::system;

/// Default time limit for a receiver's command.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);
/// Time limit for output after a command has ended: something it left behind may hold the
/// pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Most bytes that are kept of each output stream of a failed command.
const OUTPUT_KEPT: u64 = 4 * 1024;
/// A piece of the token this long is a leak worth hiding: 48 of its 160 random bits.
const PIECE: usize = 12;

/// Receiver of a new token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Receiver {
    /// A command of `sh -c` that reads the token from its standard input.
    Command(String),
    /// A file, replaced all at once, that only its owner can read.
    File(PathBuf),
    /// The standard output of `wit`.
    Print,
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Receiver::Command(command) => write!(f, "command `{}`", command.escape_debug()),
            Receiver::File(path) => write!(f, "file {}", path.display()),
            Receiver::Print => f.write_str("standard output"),
        }
    }
}

/// Why a receiver does not have the token. Safe to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryError(pub String);

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeliveryError {}

/// Gives `token`, without a newline, to a command or a file.
pub fn deliver(receiver: &Receiver, token: &Secret, limit: Duration) -> Result<(), DeliveryError> {
    match receiver {
        Receiver::Command(command) => run(command, token, limit),
        Receiver::File(path) => to_file(path, token),
        Receiver::Print => Err(DeliveryError("there is no terminal to print on".to_owned())),
    }
}

/// Replaces a regular file, the one that a link leads to too. A device or a FIFO would be lost, and its
/// reader would wait for ever.
fn to_file(path: &Path, token: &Secret) -> Result<(), DeliveryError> {
    let failed = |error: std::io::Error| DeliveryError(error.to_string());
    let target = match fs::canonicalize(path) {
        Ok(target) if fs::metadata(&target).map_err(failed)?.is_file() => target,
        Ok(_) => return Err(DeliveryError("it is not a regular file".to_owned())),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Err(_) if path.is_symlink() => {
            return Err(DeliveryError("it is a broken link".to_owned()));
        }
        Err(_) => path.to_owned(),
    };
    write_private(&target, token.expose()).map_err(failed)
}

fn run(command: &str, token: &Secret, limit: Duration) -> Result<(), DeliveryError> {
    let failed = |error: std::io::Error| DeliveryError(format!("can't run it: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let answer = runtime.block_on(run_async(command, token, limit));
    // A read that can't be interrupted must not hold the program up.
    runtime.shutdown_background();
    answer
}

async fn run_async(command: &str, token: &Secret, limit: Duration) -> Result<(), DeliveryError> {
    let failed = |error: std::io::Error| DeliveryError(format!("can't run it: {error}"));
    let mut shell = tokio::process::Command::new("sh");
    shell
        .args(["-c", command])
        // What it is given comes on its stdin.
        .env_remove("WIT_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // A group of its own, so that what the shell started dies with it.
    system::apart(shell.as_std_mut());
    let mut child = shell
        .spawn()
        .map_err(|error| DeliveryError(format!("can't run sh: {error}")))?;
    let group = child.id();
    if let Some(mut stdin) = child.stdin.take() {
        // Fits into any pipe. A command that has already ended, or that does not read, is judged by
        // its exit status.
        let _ = stdin.write_all(token.expose()).await;
    }
    let stdout = tokio::spawn(first_bytes(child.stdout.take()));
    let stderr = tokio::spawn(first_bytes(child.stderr.take()));
    let Ok(status) = tokio::time::timeout(limit, child.wait()).await else {
        system::kill_apart(group);
        return Err(DeliveryError(format!(
            "it did not end within {} s",
            limit.as_secs_f32()
        )));
    };
    let status = status.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    for stream in [stderr, stdout] {
        if let Ok(Ok(bytes)) = tokio::time::timeout(LAST_WORDS, stream).await {
            said.push_str(&redact(&bytes, token));
        }
    }
    system::kill_apart(group);
    let said = said.trim_end();
    let gap = if said.is_empty() { "" } else { ":\n" };
    Err(DeliveryError(format!("it ended with {status}{gap}{said}")))
}

/// Keeps the beginning and drains the rest, so that a command with much to say does not block.
async fn first_bytes(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        let _ = (&mut stream).take(OUTPUT_KEPT).read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    kept
}

/// The output as text for a terminal, without any longer piece of the token: a command may print
/// it cut, or the cut may be ours.
fn redact(output: &[u8], token: &Secret) -> String {
    let token = token.expose();
    let piece = PIECE.min(token.len()).max(1);
    let mut hidden = vec![false; output.len()];
    for (at, window) in output.windows(piece).enumerate() {
        if token.windows(piece).any(|part| part == window) {
            hidden[at..at + piece].fill(true);
        }
    }
    let mut shown = Vec::with_capacity(output.len());
    for (at, byte) in output.iter().enumerate() {
        match (hidden[at], at > 0 && hidden[at - 1]) {
            (false, _) => shown.push(*byte),
            (true, false) => shown.extend_from_slice(b"[token]"),
            (true, true) => {}
        }
    }
    let text = String::from_utf8_lossy(&shown);
    let visible = |c: &char| *c == '\n' || *c == '\t' || !c.is_control();
    text.chars().filter(visible).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn token() -> Secret {
        Secret::from("wit_84320813db95896baf7ab2a1ccdb0b6480e57b9d".to_owned())
    }

    fn to_command(command: &str) -> Result<(), DeliveryError> {
        deliver(&Receiver::Command(command.to_owned()), &token(), TIME_LIMIT)
    }

    #[test]
    fn a_command_gets_the_token_on_its_standard_input_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("got").display().to_string();
        to_command(&format!("cat > '{path}'")).expect("delivered");
        assert_eq!(std::fs::read(&path).expect("read"), token().expose());
        to_command(&format!(
            "{{ env; ps -o args= $$; }} > '{path}'; cat >/dev/null"
        ))
        .expect("ran");
        let seen = std::fs::read_to_string(&path).expect("read");
        assert!(!seen.contains("wit_8432"), "{seen}");
    }

    #[test]
    fn a_failed_commands_output_is_shown_without_the_token() {
        let error = to_command("cat; echo; echo no such secret >&2; exit 3").expect_err("fails");
        assert!(error.0.contains("no such secret"), "{error}");
        assert!(error.0.contains("[token]"), "{error}");
        assert!(!error.0.contains("0813db95"), "{error}");
        let error = to_command("cut -c 3-30; exit 1").expect_err("fails");
        assert!(!error.0.contains("0813db95"), "{error}");
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_what_it_started() {
        let receiver = Receiver::Command("sleep 1000 & wait".to_owned());
        let begun = std::time::Instant::now();
        let error = deliver(&receiver, &token(), Duration::from_millis(50)).expect_err("hangs");
        assert!(error.0.contains("did not end"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_command_that_never_reads_is_judged_by_its_exit_status() {
        to_command("exec 0<&-; exit 0").expect("delivered");
        to_command("exit 1").expect_err("fails");
    }

    #[test]
    fn a_file_is_replaced_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        std::fs::write(&path, "old").expect("written");
        deliver(&Receiver::File(path.clone()), &token(), TIME_LIMIT).expect("delivered");
        assert_eq!(std::fs::read(&path).expect("read"), token().expose());
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_left() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let dir = tempfile::tempdir().expect("a directory");
        let deliver_to =
            |path: &Path| deliver(&Receiver::File(path.to_owned()), &token(), TIME_LIMIT);
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.expect("mkfifo runs").success());
        deliver_to(&fifo).expect_err("a FIFO");
        let kind = fs::symlink_metadata(&fifo).expect("there").file_type();
        assert!(kind.is_fifo());
        deliver_to(dir.path()).expect_err("a directory");
        let (link, nowhere) = (dir.path().join("link"), dir.path().join("nowhere"));
        symlink(&nowhere, &link).expect("made");
        deliver_to(&link).expect_err("a link that leads nowhere");
        fs::write(&nowhere, "old").expect("written");
        deliver_to(&link).expect("delivered");
        assert!(link.is_symlink());
        assert_eq!(fs::read(&nowhere).expect("read"), token().expose());
    }
}
