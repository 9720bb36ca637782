//! The process of a server, told from every other: a pid alone is a number that the kernel gives out
//! again, and that is another process's in another PID namespace.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::Running;

/// Identity of a process beyond its pid, as /proc shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its start in clock ticks since boot: field 22 of proc_pid_stat(5).
    pub start_time: u64,
    /// Inode of its PID namespace (pid_namespaces(7)); `None` where the kernel has none.
    pub pid_namespace: Option<u64>,
    /// Name of its machine: the initial PID namespace has the same inode on all.
    pub machine: String,
}

/// A server that gets no signal from this process.
#[derive(Debug, thiserror::Error)]
pub enum OutOfReach {
    /// A pid from there is another process's here.
    #[error("the server of {} runs in another PID namespace, such as a container's", .0.display())]
    OtherNamespace(PathBuf),
    /// The process of that number is not the server, or can't be shown to be.
    #[error(
        "a server holds {}, and process {pid}, which it names, is not known to be that server",
        file.display()
    )]
    NotTheServer {
        /// The process.
        pid: i32,
        /// The file with the pid.
        file: PathBuf,
    },
}

/// The pid of a server; an error where its file holds none.
fn pid_of(server: &Running, pid_file: &Path) -> anyhow::Result<Pid> {
    let pid = Pid::from_raw(server.pid).filter(|_| server.pid > 0);
    pid.with_context(|| format!("{} holds no pid", pid_file.display()))
}

#[cfg(target_os = "linux")]
pub use linux::{is_of_another_namespace, own_identity, send};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use anyhow::Context as _;
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    use super::{Identity, OutOfReach, Running, pid_of};
    use crate::system::lock_holder;

    /// Identity of this process; `None` where /proc does not show it.
    pub fn own_identity() -> Option<Identity> {
        Some(Identity {
            // Not by the pid: /proc may be that of the namespace above.
            start_time: start_time("self")?,
            pid_namespace: own_namespace(),
            machine: own_machine(),
        })
    }

    /// Returns whether a server's pid is one of another PID namespace than this process's.
    pub fn is_of_another_namespace(server: &Running) -> bool {
        let identity = server.identity.as_ref();
        identity.is_some_and(|identity| identity.pid_namespace != own_namespace())
    }

    /// Sends a signal to the server that `pid_file` names, and to no other process. Returns whether it
    /// was sent: not where `is_still_it` says that the server has stopped.
    ///
    /// # Errors
    ///
    /// [`OutOfReach`] where the process of that pid can't be shown to be the server.
    pub fn send(
        server: &Running,
        signal: Signal,
        pid_file: &Path,
        is_still_it: impl Fn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<bool> {
        let pid = pid_of(server, pid_file)?;
        if is_of_another_namespace(server) {
            let data_dir = pid_file.parent().unwrap_or(pid_file).to_owned();
            return Err(OutOfReach::OtherNamespace(data_dir).into());
        }
        let not_it = || OutOfReach::NotTheServer {
            pid: server.pid,
            file: pid_file.to_owned(),
        };
        // From here on the process can't be mistaken for a later one with its pid.
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(Errno::SRCH) => match is_still_it()? {
                true => return Err(not_it().into()),
                false => return Ok(false),
            },
            Err(error) => return Err(error).context("can't reach the server's process"),
        };
        let is_the_server = match &server.identity {
            Some(identity) => match start_time(&server.pid.to_string()) {
                Some(start_time) => start_time == identity.start_time,
                // Hidden from this process (`hidepid` in proc(5)), as by the sandbox of a service that
                // reloads itself. The lock is held, so what its holder wrote is true of this namespace.
                None => identity.machine == own_machine(),
            },
            // An older server has written none.
            None => lock_holder(pid_file) == u32::try_from(server.pid).ok(),
        };
        match (is_still_it()?, is_the_server) {
            (false, _) => return Ok(false),
            (true, false) => return Err(not_it().into()),
            (true, true) => {}
        }
        match pidfd_send_signal(process, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error).context("can't send the server a signal"),
        }
    }

    fn own_machine() -> String {
        let name = rustix::system::uname();
        name.nodename().to_string_lossy().into_owned()
    }

    fn own_namespace() -> Option<u64> {
        Some(fs::metadata("/proc/self/ns/pid").ok()?.ino())
    }

    fn start_time(process: &str) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The second field, the program's name, may hold spaces and parentheses.
        let (_, from_third) = stat.rsplit_once(')')?;
        from_third.split_whitespace().nth(19)?.parse().ok()
    }
}

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{is_of_another_namespace, own_identity, send};

/// Without PID namespaces, and without a name for a process but its pid.
#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::path::Path;

    use anyhow::Context as _;
    use rustix::process::{Signal, kill_process};

    use super::{Identity, Running, pid_of};

    pub fn own_identity() -> Option<Identity> {
        None
    }

    pub fn is_of_another_namespace(_: &Running) -> bool {
        false
    }

    pub fn send(
        server: &Running,
        signal: Signal,
        pid_file: &Path,
        is_still_it: impl Fn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<bool> {
        let pid = pid_of(server, pid_file)?;
        if !is_still_it()? {
            return Ok(false);
        }
        kill_process(pid, signal).context("can't send the server a signal")?;
        Ok(true)
    }
}
