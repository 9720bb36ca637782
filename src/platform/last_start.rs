//! Options of a server's last start that its operator's commands and its next start go by.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::{self, LAST_START_FILE};
use crate::config::write_private;
use crate::files::{self, FileError};

/// The format of the file.
const VERSION: u64 = 1;

/// What differs from the defaults. No secret: `DATABASE_URL` is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastStart {
    pub version: u64,
    /// Directory of the repositories; `None` for the one in the data directory.
    pub repositories: Option<PathBuf>,
    /// True if sign-up was disabled.
    pub no_sign_up: bool,
    pub listen: Option<IpAddr>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub public_url: Option<String>,
    pub proxies: Vec<IpAddr>,
    pub hosts: Vec<String>,
    pub max_repositories: Option<u64>,
    /// Bytes.
    pub max_disk: Option<u64>,
    /// Seconds.
    pub patience: Option<u16>,
    /// True if other machines were served without TLS.
    pub allow_http: bool,
    pub metrics: bool,
    pub no_hsts: bool,
    pub no_maintenance: bool,
    /// True if the database was a PostgreSQL.
    pub postgres: bool,
}

/// A file by which a server comes back as it was can't be used. Nothing is started without it: sign-up
/// may have been disabled.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RememberedError(#[from] pub FileError);

impl LastStart {
    /// The last start of a data directory; the defaults where there was none.
    pub fn read(data_dir: &Path) -> Result<Self, RememberedError> {
        let last = files::read_json(&data_dir.join(LAST_START_FILE), VERSION)?;
        Ok(last.unwrap_or_default())
    }

    /// True where a data directory has a last start.
    pub fn is_kept(data_dir: &Path) -> bool {
        data_dir.join(LAST_START_FILE).exists()
    }

    /// The same options with repositories in that directory.
    pub fn with_repositories(self, data_dir: &Path, repositories: &Path) -> Self {
        let is_usual = repositories == data_dir.join(layout::REPOSITORIES);
        LastStart {
            version: VERSION,
            repositories: (!is_usual).then(|| repositories.to_owned()),
            ..self
        }
    }

    pub fn remember(&self, data_dir: &Path) -> anyhow::Result<()> {
        if Self::read(data_dir)? == *self {
            return Ok(());
        }
        let file = data_dir.join(LAST_START_FILE);
        let written = write_private(&file, &serde_json::to_vec(self)?);
        Ok(written.map_err(files::named(&file))?)
    }
}

/// The directory of a server's repositories: the one that was named, else that of its last start.
pub fn repositories(data_dir: &Path, named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(directory) = named {
        return Ok(std::path::absolute(directory)?);
    }
    let last = LastStart::read(data_dir)?.repositories;
    Ok(last.unwrap_or_else(|| data_dir.join(layout::REPOSITORIES)))
}
