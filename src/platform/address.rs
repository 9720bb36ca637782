//! The port of a server, which stays the same from one start to the next: clones, logins and bookmarks
//! name it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::last_start::RememberedError;
use crate::config::write_private;
use crate::files;

/// The port of a server that has none yet and is not asked for a free one.
const DEFAULT_PORT: u16 = 3000;
/// Range in which a free port is looked for: below those that systems give to outgoing connections (Linux:
/// 32768 and up), one of which would have it while the server is down.
const FREE_PORTS: RangeInclusive<u16> = 15_000..=32_767;
/// Most ports that are tried before the system is asked for one of its own choice.
const MAX_TRIES: usize = 64;

/// The format of the file.
const VERSION: u64 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    version: u64,
    port: u16,
}

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}{}", if *is_remembered { ", the last address of this server" } else { "" })]
pub struct CantListen {
    pub address: SocketAddr,
    /// It is the one that the data directory remembers.
    pub is_remembered: bool,
    #[source]
    pub cause: io::Error,
}

impl CantListen {
    /// Returns whether it is the address that is wrong, whatever the port.
    pub fn is_of_another_machine(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AddrNotAvailable
    }
}

/// Listens on the port that was asked for, else on the one that `data_dir` remembers. Port 0 means a
/// free one where none is remembered.
pub async fn listen(
    data_dir: &Path,
    listen: IpAddr,
    port: Option<u16>,
) -> anyhow::Result<TcpListener> {
    let last = read(data_dir)?;
    let asked = port.filter(|port| *port != 0);
    let chosen = match asked.or(last) {
        Some(port) => port,
        None if port.is_none() => DEFAULT_PORT,
        None => {
            for _ in 0..MAX_TRIES {
                if let Ok(listener) = TcpListener::bind((listen, random_port())).await {
                    return Ok(listener);
                }
            }
            0
        }
    };
    let address = SocketAddr::new(listen, chosen);
    let listening = TcpListener::bind(address).await;
    Ok(listening.map_err(|cause| CantListen {
        address,
        is_remembered: last == Some(chosen),
        cause,
    })?)
}

/// Has the next start listen on that port.
pub fn remember(data_dir: &Path, port: u16) -> anyhow::Result<()> {
    if read(data_dir)? == Some(port) {
        return Ok(());
    }
    let remembered = Remembered {
        version: VERSION,
        port,
    };
    let file = file(data_dir);
    let written = write_private(&file, &serde_json::to_vec(&remembered)?);
    Ok(written.map_err(files::named(&file))?)
}

/// A port that nobody listens on now.
pub fn free_port(listen: IpAddr) -> Option<u16> {
    let mut tries = (0..MAX_TRIES).map(|_| random_port());
    tries.find(|port| std::net::TcpListener::bind((listen, *port)).is_ok())
}

fn random_port() -> u16 {
    let count = FREE_PORTS.end() - FREE_PORTS.start() + 1;
    let mut random = [0; 2];
    // Without randomness it is one that may be taken, no more.
    let _ = getrandom::fill(&mut random);
    FREE_PORTS.start() + u16::from_ne_bytes(random) % count
}

fn read(data_dir: &Path) -> Result<Option<u16>, RememberedError> {
    let remembered: Option<Remembered> = files::read_json(&file(data_dir), VERSION)?;
    Ok(remembered.map(|remembered| remembered.port))
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join(super::layout::ADDRESS_FILE)
}
