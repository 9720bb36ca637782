//! One line on the terminal that says what is waited for, and is gone once it came.
//!
//! It is on stderr, comes after a second, and only where a person looks: never in a helper that git
//! runs, in CI, on a dumb terminal, or in what is read by a program.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::config;
use crate::trace;

/// Shorter waits are not shown. The line is updated as often.
const SECOND: Duration = Duration::from_secs(1);

/// True where the next wait may be shown: there is one line.
static FREE: AtomicBool = AtomicBool::new(false);

/// Lets waits be shown from now on, where there is a terminal that a person looks at.
pub fn allow() {
    let looked_at = io::stderr().is_terminal()
        && !config::terminal_is_dumb()
        && config::variable("CI").is_none()
        // Its lines would be written into this one.
        && !trace::is_on();
    FREE.store(looked_at, Ordering::Relaxed);
}

/// Does `work`, which asks and prints nothing; `what` is being done then, in words for a person.
pub fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    if !FREE.swap(false, Ordering::Relaxed) {
        return work();
    }
    let (done, end) = mpsc::channel();
    let answer = thread::scope(|scope| {
        scope.spawn(|| show(what, end));
        let answer = work();
        drop::<mpsc::Sender<()>>(done);
        answer
    });
    FREE.store(true, Ordering::Relaxed);
    answer
}

fn show(what: &str, end: Receiver<()>) {
    let begun = Instant::now();
    let mut shown = false;
    // A terminal that has gone away is told nothing.
    while end.recv_timeout(SECOND) == Err(RecvTimeoutError::Timeout) {
        let seconds = begun.elapsed().as_secs();
        // It does not wrap (DECAWM), so that erasing one line erases all of it.
        let line = format!("\r\u{1b}[?7l{what}, {seconds} s\u{1b}[K\u{1b}[?7h");
        let _ = io::stderr().write_all(line.as_bytes());
        shown = true;
    }
    if shown {
        let _ = io::stderr().write_all(b"\r\x1b[K");
    }
}
