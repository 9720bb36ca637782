//! Running another program that has to end in time: git, systemctl, crontab.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::trace;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs `name` to its end with `input` on its stdin; one that takes longer than 20 seconds is killed.
pub fn run(name: &str, arguments: &[&str], input: &str) -> io::Result<Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let running = async {
        let mut child = tokio::process::Command::new(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // Whoever does not read is judged by the exit status.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let step = trace::begin();
    let answer = runtime.block_on(async { tokio::time::timeout(LIMIT, running).await });
    step.end(format_args!(
        "ran {name} {}",
        arguments.first().unwrap_or(&"")
    ));
    answer.unwrap_or_else(|_| {
        let message = format!("it did not end within {} s", LIMIT.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}
