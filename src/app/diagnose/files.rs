//! The files of ours that are damaged, of a newer version, or out of reach, each with its fix.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Finding, quoted};
use crate::app::exec::journal as exec;
use crate::app::setup_record::Record;
use crate::config::Paths;
use crate::files::{self, Fault, FileError};
use crate::helper::{renewal, state};
use crate::rotation::journal;
use crate::store::migrate;
use crate::system;

/// Tokens by their server, as far as their form tells a whole file from a damaged one.
type Completions = BTreeMap<String, Vec<serde_json::Value>>;

/// Every file but the config file and the journals, which have checks of their own.
pub fn unusable(paths: &Paths) -> Vec<FileError> {
    let directories = [
        paths.data_dir().to_owned(),
        paths.state_dir().to_owned(),
        paths.store_dir(),
        paths.lock_dir(),
        journal::dir(paths),
        renewal::dir(paths),
        exec::dir(paths),
    ];
    let mut unusable: Vec<FileError> = directories.iter().filter_map(|dir| blocked(dir)).collect();
    let read = [
        Record::load(paths).map(drop),
        migrate::check_note(paths),
        files::read_json::<Completions>(&paths.completions_file(), 1).map(drop),
        state::check_key(paths),
    ];
    unusable.extend(read.into_iter().filter_map(Result::err));
    unusable.extend(renewal::unusable(paths));
    unusable.extend(exec::unusable(paths));
    unusable
}

/// An error where something else lies in the place of a directory. One that is closed to its owner
/// is told with the permissions.
fn blocked(dir: &Path) -> Option<FileError> {
    match fs::metadata(dir) {
        Ok(metadata) if !metadata.is_dir() => {
            let why = "not a directory".to_owned();
            Some(files::fault(dir, Fault::Damaged(why)))
        }
        _ => None,
    }
}

/// The finding about one of them.
pub fn finding(check: &'static str, error: &FileError) -> Finding {
    let path = quoted(&error.path);
    let what = match error.fault {
        Fault::Newer(_) => format!("{path} was written by a newer version of wit"),
        _ => format!("{path} can't be used"),
    };
    Finding::wrong(check, what)
        .why(error.fault.to_string())
        .fix(fix(error))
}

fn fix(error: &FileError) -> String {
    match &error.fault {
        Fault::Newer(_) => "./install.sh".to_owned(),
        Fault::Unreadable(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            let path = quoted(&error.path);
            let owner = system::mode_and_owner(&error.path).map(|(_, owner)| owner);
            match owner == Some(system::own_user()) {
                true => format!("chmod u+rw {path}"),
                false => format!("sudo chown \"$(id -u)\" {path}"),
            }
        }
        _ => aside(&error.path),
    }
}

/// Moves something out of the way and keeps it.
pub fn aside(path: &Path) -> String {
    let kept: PathBuf = files::free_name(path);
    format!("mv {} {}", quoted(path), quoted(kept))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_only_its_mode_hides_is_opened_and_not_moved() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("setup.json");
        fs::write(&file, "{}").expect("written");
        let denied = Fault::Unreadable(io::ErrorKind::PermissionDenied.into());
        let fix = fix(&files::fault(&file, denied));
        assert_eq!(fix, format!("chmod u+rw {}", quoted(&file)));
    }
}
