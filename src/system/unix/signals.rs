//! Signals for a command that runs in the place of this process, at its terminal.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::exfiltrator::origin::Origin;

/// Signals that ask a process to end.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Signals that are passed on to a command, and do not end this process any more.
pub struct Signals(SignalsInfo<WithOrigin>);

impl Signals {
    /// Catches from now on what asks this process to end. What is ignored, as below nohup(1), stays
    /// so, for the command too.
    pub fn catch() -> io::Result<Self> {
        let ignored = ignored();
        let caught = ENDING.into_iter().filter(|signal| !ignored(*signal));
        let all: Vec<i32> = caught.chain([SIGCHLD]).collect();
        SignalsInfo::new(all).map(Signals)
    }

    /// A signal that asked this process to end since the last look.
    pub fn caught(&mut self) -> Option<i32> {
        let mut signals = self.0.pending().map(|origin| origin.signal);
        signals.find(|signal| *signal != SIGCHLD)
    }

    /// Waits for the end of a command that was started in this process's group, and passes signals
    /// on to it.
    pub fn wait(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pass_on = |signal: i32| {
            let signal = Signal::from_named_raw(signal).filter(|_| signal != SIGCHLD);
            if let Some((id, signal)) = id.zip(signal) {
                // One that has ended just now needs none.
                let _ = kill_process(id, signal);
            }
        };
        // From before the command was there: the terminal did not send it those.
        for origin in self.0.pending() {
            pass_on(origin.signal);
        }
        loop {
            // Until then its id is no other process's.
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            for origin in self.0.wait() {
                if !is_for_the_group(&origin) {
                    pass_on(origin.signal);
                }
            }
        }
    }
}

/// Returns whether the terminal has sent the command a signal too, as Ctrl-C does: it goes to all of a
/// terminal's foreground group. A hangup may be for the session's leader alone.
fn is_for_the_group(origin: &Origin) -> bool {
    let is_from_a_process = origin.process.is_some_and(|process| process.pid != 0);
    matches!(origin.signal, SIGINT | SIGQUIT) && !is_from_a_process
}

/// The signals that this process ignores, by proc_pid_status(5); none where the system does not say.
fn ignored() -> impl Fn(i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let mask = mask.unwrap_or_default();
    move |signal| mask >> (signal - 1) & 1 == 1
}

/// The exit code of a command, and 128 and the signal's number where one ended it, as shells have it.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = (status.code()).or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
