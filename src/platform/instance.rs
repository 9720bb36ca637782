//! The one server of a data directory: who it is, and how to stop it.
//!
//! The server holds a lock on `server.pid` for as long as it lives, and the kernel gives the lock
//! back however it dies. So a pid in that file counts only while the lock is held, and gets a signal only
//! where the process of that number is shown to be the server.

mod process;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::config::{lock_within, open_or_create};
use process::Identity;
pub use process::OutOfReach;

/// Longest time that a server that was killed may still hold what it had, and one that starts may take.
const LAST_MOMENTS: Duration = Duration::from_secs(2);
/// Interval between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Time limit for a server to write `server.pid`.
const WRITE_TIMEOUT: Duration = Duration::from_millis(200);

/// A server that runs, as its file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub pid: i32,
    /// `None` for one of an older server, or where the system does not tell.
    #[serde(default)]
    identity: Option<Identity>,
    pub address: SocketAddr,
    #[serde(default)]
    pub is_tls: bool,
    /// URL that other machines reach it at, where that is another.
    #[serde(default)]
    pub public_url: Option<String>,
    /// Number of its reloads; `None` where SIGHUP would end it.
    #[serde(default)]
    pub reloads: Option<u64>,
    /// Why its last reload left something as it was.
    #[serde(default)]
    pub reload_error: Option<String>,
}

impl Running {
    /// Returns whether it runs in another PID namespace, such as a container's, where it gets no signal
    /// from here.
    pub fn is_in_another_namespace(&self) -> bool {
        process::is_of_another_namespace(self)
    }
}

/// Outcome of a reload.
#[derive(Debug)]
pub struct Reload {
    /// The server has a certificate.
    pub is_tls: bool,
    pub error: Option<String>,
}

/// The right to serve a data directory, held until dropped.
#[derive(Debug)]
pub struct Instance {
    file: File,
    running: Option<Running>,
}

/// Another server has the data directory.
#[derive(Debug)]
pub struct AlreadyRunning;

impl std::fmt::Display for AlreadyRunning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a server already runs on this data directory")
    }
}

impl std::error::Error for AlreadyRunning {}

impl Instance {
    /// Takes the data directory. [`AlreadyRunning`] where another server has it, and does not let
    /// go of it within two seconds: one that was killed holds it a moment longer.
    pub fn start(data_dir: &Path) -> anyhow::Result<Self> {
        let mut file = open(data_dir)?;
        match lock_within(&file, File::try_lock, LAST_MOMENTS) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AlreadyRunning.into()),
            Err(TryLockError::Error(error)) => return Err(error).context("can't lock server.pid"),
        }
        write(&mut file, b"")?;
        Ok(Instance {
            file,
            running: None,
        })
    }

    /// Writes down who serves, and where.
    pub fn announce(
        &mut self,
        address: SocketAddr,
        is_tls: bool,
        public_url: Option<String>,
        reloads: bool,
    ) -> anyhow::Result<()> {
        self.tell(Running {
            pid: rustix::process::getpid().as_raw_pid(),
            identity: process::own_identity(),
            address,
            is_tls,
            public_url,
            reloads: reloads.then_some(0),
            reload_error: None,
        })
    }

    /// Writes down that a reload has ended.
    pub fn reloaded(&mut self, error: Option<String>) -> anyhow::Result<()> {
        let Some(mut running) = self.running.clone() else {
            return Ok(());
        };
        running.reloads = running.reloads.map(|number| number + 1);
        running.reload_error = error;
        self.tell(running)
    }

    fn tell(&mut self, running: Running) -> anyhow::Result<()> {
        let text = serde_json::to_vec(&running)?;
        self.running = Some(running);
        write(&mut self.file, &text).context("can't write server.pid")
    }
}

/// Server of a data directory that answers; `None` if there is none. One that is starting, or was
/// killed, is waited for until it is either, for two seconds at most; one that is silent after that
/// still has the directory, and is told as it is.
pub fn answering(data_dir: &Path) -> anyhow::Result<Option<Running>> {
    let until = Instant::now() + LAST_MOMENTS;
    loop {
        let found = running(data_dir)?;
        let is_settled = match &found {
            Some(found) => answers(super::reached_at(found.address)),
            None => !is_held(data_dir)?,
        };
        if is_settled || Instant::now() >= until {
            return Ok(found);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Returns whether anybody says anything at an address. That a connection is taken proves little: the
/// kernel still takes some for a process that it is ending.
fn answers(address: SocketAddr) -> bool {
    let asked = || -> io::Result<usize> {
        let mut stream = TcpStream::connect_timeout(&address, LAST_MOMENTS)?;
        stream.set_read_timeout(Some(LAST_MOMENTS))?;
        stream.set_write_timeout(Some(LAST_MOMENTS))?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        // Where TLS is spoken, that is an alert.
        stream.read(&mut [0])
    };
    asked().is_ok_and(|length| length > 0)
}

fn is_held(data_dir: &Path) -> anyhow::Result<bool> {
    let file = pid_file(data_dir);
    let exists = file.try_exists();
    if !exists.with_context(|| format!("can't look at {}", file.display()))? {
        return Ok(false);
    }
    // Shared, so that two that look are not in each other's way.
    match open(data_dir)?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).context("can't lock server.pid"),
    }
}

/// Server of a data directory; `None` if there is none, or it has only begun to start.
pub fn running(data_dir: &Path) -> anyhow::Result<Option<Running>> {
    if !is_held(data_dir)? {
        return Ok(None);
    }
    // It may be read while it is written.
    let until = Instant::now() + WRITE_TIMEOUT;
    loop {
        let mut text = Vec::new();
        open(data_dir)?.read_to_end(&mut text)?;
        match serde_json::from_slice(&text) {
            Ok(running) => return Ok(Some(running)),
            Err(_) if text.is_empty() || Instant::now() >= until => return Ok(None),
            Err(_) => std::thread::sleep(POLL_INTERVAL),
        }
    }
}

/// Has the server of a data directory reload, and waits until it has. `None` where nobody serves.
pub fn reload(data_dir: &Path, timeout: Duration) -> anyhow::Result<Option<Reload>> {
    let Some(found) = running(data_dir)? else {
        return Ok(None);
    };
    if found.reloads.is_none() {
        bail!(
            "the server (pid {}) can't reload: it is an older one, or at a terminal",
            found.pid
        );
    }
    if !send(&found, Signal::HUP, data_dir)? {
        return Ok(None);
    }
    let until = Instant::now() + timeout;
    while Instant::now() < until {
        match running(data_dir)? {
            Some(now) if now.pid == found.pid && now.reloads > found.reloads => {
                return Ok(Some(Reload {
                    is_tls: now.is_tls,
                    error: now.reload_error,
                }));
            }
            _ => std::thread::sleep(POLL_INTERVAL),
        }
    }
    bail!(
        "the server (pid {}) has not reloaded after {} s",
        found.pid,
        timeout.as_secs()
    )
}

/// Stops the server of a data directory and waits until it is gone. `None` where nobody serves.
pub fn stop(data_dir: &Path, patience: Duration) -> anyhow::Result<Option<Running>> {
    let Some(found) = running(data_dir)? else {
        return Ok(None);
    };
    if !send(&found, Signal::TERM, data_dir)? {
        return Ok(None);
    }
    // flock(2) has no form with a time limit, so another thread waits for it.
    let file = open(data_dir)?;
    let (gone, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || gone.send(file.lock()));
    match wait.recv_timeout(patience) {
        Ok(locked) => locked.context("can't lock server.pid")?,
        Err(_) => bail!(
            "the server (pid {}) has not stopped after {} s",
            found.pid,
            patience.as_secs()
        ),
    }
    Ok(Some(found))
}

/// Sends a signal to a server that was found. Returns whether it was there.
fn send(found: &Running, signal: Signal, data_dir: &Path) -> anyhow::Result<bool> {
    process::send(found, signal, &pid_file(data_dir), || {
        Ok(running(data_dir)?.is_some_and(|now| now.pid == found.pid))
    })
}

fn pid_file(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join("server.pid")
}

fn open(data_dir: &Path) -> anyhow::Result<File> {
    let path = pid_file(data_dir);
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    open_or_create(&path, &options).with_context(|| format!("can't open {}", path.display()))
}

/// Whoever reads meanwhile finds the old text, the new one, or one that makes no sense; never none.
fn write(file: &mut File, text: &[u8]) -> io::Result<()> {
    file.rewind()?;
    file.write_all(text)?;
    file.set_len(text.len() as u64)
}
