//! Record of the changes of `wit setup` that have not been undone, in a file of its own.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::git_config::Change;
use super::schedule::Schedule;
use crate::config::{self, Paths};
use crate::files::{self, FileError};

/// The format's version. A record of a higher one is neither read nor overwritten.
const VERSION: u64 = 1;

/// The changes of git's files, and the schedule.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// In the order in which they were made.
    pub changes: Vec<Change>,
    /// The daily rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

impl Record {
    /// The file of the record.
    pub fn file(paths: &Paths) -> PathBuf {
        paths.state_dir().join("setup.json")
    }

    /// A missing record is an empty one.
    pub fn load(paths: &Paths) -> Result<Self, FileError> {
        let read = files::read_json(&Record::file(paths), VERSION)?;
        Ok(read.unwrap_or_default())
    }

    /// Writes the record, or removes its file where nothing is left to take back.
    pub fn save(&self, paths: &Paths) -> io::Result<()> {
        #[derive(Serialize)]
        struct Document<'a> {
            version: u64,
            #[serde(flatten)]
            record: &'a Record,
        }
        let path = Record::file(paths);
        if self.changes.is_empty() && self.schedule.is_none() {
            return match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let text = serde_json::to_vec_pretty(&Document {
            version: VERSION,
            record: self,
        })?;
        config::write_private(&path, &text)
    }
}
