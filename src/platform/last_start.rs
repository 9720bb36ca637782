//! Options of a server's last start that its operator's commands and its next start go by.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::{self, LAST_START_FILE};
use crate::config::write_private;
use crate::files::{self, FileError};

/// The format of the file.
const VERSION: u64 = 1;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastStart {
    version: u64,
    /// Directory of the repositories; `None` for the one in the data directory.
    pub repositories: Option<PathBuf>,
    /// True if sign-up was disabled.
    pub no_sign_up: bool,
}

impl LastStart {
    pub fn new(data_dir: &Path, repositories: &Path, no_sign_up: bool) -> Self {
        let is_usual = repositories == data_dir.join(layout::REPOSITORIES);
        LastStart {
            version: VERSION,
            repositories: (!is_usual).then(|| repositories.to_owned()),
            no_sign_up,
        }
    }

    /// The last start of a data directory; the defaults where there was none.
    pub fn read(data_dir: &Path) -> Result<Self, FileError> {
        let last = files::read_json(&data_dir.join(LAST_START_FILE), VERSION)?;
        Ok(last.unwrap_or_default())
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
