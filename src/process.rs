//! Child processes that have to end in time: git, systemctl, crontab.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::trace;

/// Time limit of a child process that only looks something up or changes a small file.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Runs `program` to its end with `input` on its stdin. One that takes longer than 20 seconds is
/// killed, and is an error.
pub fn run(program: impl AsRef<OsStr>, arguments: &[&str], input: &str) -> io::Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments);
    output(command, input.as_bytes())
}

/// [`run`] for a command that has an environment or a directory of its own.
pub fn output(command: Command, input: &[u8]) -> io::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let first = command.get_args().next().unwrap_or_default();
    let first = first.to_string_lossy().into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let running = async {
        let mut child = tokio::process::Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A child that does not read is judged by its exit status.
            let _ = stdin.write_all(input).await;
        }
        child.wait_with_output().await
    };
    let step = trace::begin();
    let answer = runtime.block_on(async { tokio::time::timeout(TIMEOUT, running).await });
    step.end(format_args!("ran {name} {first}"));
    answer.unwrap_or_else(|_| {
        let message = format!("it did not end within {} s", TIMEOUT.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}
