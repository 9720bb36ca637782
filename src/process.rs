//! Child processes that have to end in time.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::trace;

/// Time limit of a child process that only looks something up or changes a small file.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Interval between two checks for the end of a child process.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// Larger than any answer of a program that is asked here.
const MAX_OUTPUT: u64 = 64 * 1024 * 1024;

/// Runs `program` to its end with `input` on its stdin. One that takes longer than 20 seconds is
/// killed, and is an error.
pub fn run(program: impl AsRef<OsStr>, arguments: &[&str], input: &str) -> io::Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments);
    output(command, input.as_bytes(), TIMEOUT)
}

/// [`run`] for a command that has an environment, or a time limit, of its own.
pub fn output(mut command: Command, input: &[u8], timeout: Duration) -> io::Result<Output> {
    let step = trace::begin();
    let answer = answer(&mut command, input, timeout);
    let first = command.get_args().next().unwrap_or_default();
    let name = command.get_program();
    step.end(format_args!("ran {} {}", name.display(), first.display()));
    answer
}

/// [`output`] within the time limit of [`run`].
pub fn output_soon(command: Command, input: &[u8]) -> io::Result<Output> {
    output(command, input, TIMEOUT)
}

fn answer(command: &mut Command, input: &[u8], timeout: Duration) -> io::Result<Output> {
    let deadline = Instant::now() + timeout;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        std::thread::spawn(move || {
            // A child that does not read is judged by its exit status.
            let _ = stdin.write_all(&input);
        });
    }
    let stdout = child.stdout.take().map(read_apart);
    let stderr = child.stderr.take().map(read_apart);
    let late = || {
        let message = format!("it did not end within {timeout:?}");
        io::Error::new(io::ErrorKind::TimedOut, message)
    };
    let Some(status) = wait_within(&mut child, timeout)? else {
        kill(&mut child);
        return Err(late());
    };
    // What the child has started may hold its output open.
    let received = |pipe: Option<Receiver<Vec<u8>>>| match pipe {
        Some(pipe) => {
            let left = deadline.saturating_duration_since(Instant::now());
            pipe.recv_timeout(left).map_err(|_| late())
        }
        None => Ok(Vec::new()),
    };
    Ok(Output {
        status,
        stdout: received(stdout)?,
        stderr: received(stderr)?,
    })
}

/// Reads a pipe to its end in a thread: the child must never wait for its output to be read.
fn read_apart(pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut bytes);
        // Nobody waits for it any more after the time limit.
        let _ = sender.send(bytes);
    });
    receiver
}

/// Waits for a child process; `None` where it has not ended in time, and goes on.
pub fn wait_within(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() >= timeout {
            return Ok(None);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Kills a child process and waits for its end. One that has ended is not an error.
pub fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str, input: &[u8], timeout: Duration) -> io::Result<Output> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        output(command, input, timeout)
    }

    #[test]
    fn more_than_a_pipe_holds_goes_in_and_comes_out() {
        let input = vec![b'x'; 1024 * 1024];
        let output = sh("tee /dev/stderr", &input, TIMEOUT).expect("it ends");
        assert_eq!(output.stdout, input);
        assert_eq!(output.stderr, input);
    }

    #[test]
    fn a_child_that_does_not_read_is_judged_by_its_exit_status() {
        let input = vec![b'x'; 1024 * 1024];
        let output = sh("exit 3", &input, TIMEOUT).expect("it ends");
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn what_does_not_end_in_time_is_an_error() {
        // In the second case it is a grandchild that holds the output open.
        for script in ["exec sleep 600", "sleep 600 & exit 0"] {
            let error = sh(script, b"", Duration::from_millis(300)).expect_err(script);
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }
}
