//! The ways in which git's configuration is not read or changed, each with the command that leads on.

use std::io;
use std::path::PathBuf;
use std::process::Output;

use crate::quote::quoted;

/// Why git's configuration was not read, or was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// git does not run.
    #[error("can't run git")]
    NoGit(#[source] io::Error),
    /// git says no, in its own words.
    #[error("{what}: {said}")]
    Refused {
        /// Description of the request.
        what: &'static str,
        /// Its stderr, escaped.
        said: String,
    },
    /// git has no home directory for its file to be in; the one that the system has for this user.
    #[error("HOME is not set, so git has no configuration of yours to read or write")]
    NoHome(Option<PathBuf>),
    /// A key that needs a value stands alone, so that git reads no credential helper at all.
    #[error("{} has a {key} without a value, which git refuses", file.display())]
    NoValue {
        /// The file that it is in.
        file: PathBuf,
        /// The key.
        key: String,
    },
    /// A device, a directory or the like in the place of a file.
    #[error("{} is not a regular file, so it is left as it is", .0.display())]
    NotAFile(PathBuf),
    /// Links that lead to one another.
    #[error("{} is a link that leads to itself", .0.display())]
    LinkLoop(PathBuf),
    /// Another git has the lock of a file.
    #[error("{} is there: is another git at it?", .0.display())]
    Locked(PathBuf),
    /// A file that can't be changed.
    #[error("can't change {}", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// True if only root may.
        system: bool,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file that can't be read or written.
    #[error("{}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// git would change more than one piece of text, which could not be taken back.
    #[error("can't find out what git would change in {}", .0.display())]
    Untold(PathBuf),
    /// Somebody has changed the very text that was put in.
    #[error(
        "{} was changed since, so it is not clear which line to take back; it names {value}",
        file.display()
    )]
    Changed {
        /// The file.
        file: PathBuf,
        /// The value that it still has.
        value: String,
    },
    /// A value that git reads later resets all helpers.
    #[error(
        "{place} resets git's helpers afterwards ({key} is empty), so git would not ask this one; \
         nothing was changed"
    )]
    Reset {
        /// Its file and line, or the environment.
        place: String,
        /// Its key.
        key: String,
        /// The command that leads on.
        fix: String,
    },
    /// git does not read the file that it would write.
    #[error(
        "git does not read {}, so it would not ask the helper; nothing was changed",
        file.display()
    )]
    Unread {
        /// The file.
        file: PathBuf,
        /// The variable of the environment that says so.
        variable: &'static str,
    },
    /// git does not run the helper, for a reason that is not known here.
    #[error("git does not run the helper that {} names", .0.display())]
    NotRun(PathBuf),
    /// More helpers than are looked at.
    #[error("git's configuration names {0} helpers")]
    TooMany(usize),
    /// The change could not be recorded.
    #[error("{}", file.display())]
    Record {
        /// The file of the record.
        file: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl Error {
    pub(super) fn refused(what: &'static str, output: &Output) -> Self {
        let said = String::from_utf8_lossy(&output.stderr);
        Error::Refused {
            what,
            said: said.trim().escape_debug().to_string(),
        }
    }

    /// Returns whether a person must decide: nothing failed by itself.
    pub fn needs_attention(&self) -> bool {
        use Error::*;
        match self {
            NoValue { .. } | NotAFile(_) | LinkLoop(_) | Untold(_) | Changed { .. } => true,
            Reset { .. } | Unread { .. } | NotRun(_) => true,
            NoGit(_) | Refused { .. } | NoHome(_) | Locked(_) | TooMany(_) => false,
            Unwritable { .. } | Io { .. } | Record { .. } => false,
        }
    }

    /// The command that leads on, where one is known.
    pub fn fix(&self) -> Option<String> {
        let edit = |file: &PathBuf| format!("git config --file {} --edit", quoted(file));
        match self {
            Error::NoGit(_) => Some("sudo apt-get install git".to_owned()),
            Error::NoValue { file, .. } | Error::Changed { file, .. } => Some(edit(file)),
            Error::NotAFile(file) => Some(match crate::config::variable("GIT_CONFIG_GLOBAL") {
                Some(name) if file.as_os_str() == name.as_str() => {
                    "unset GIT_CONFIG_GLOBAL".to_owned()
                }
                _ => format!("ls -ld {}", quoted(file)),
            }),
            Error::NoHome(home) => Some(format!("export HOME={}", quoted(home.as_ref()?))),
            Error::Locked(lock) => Some(format!("if no git is running: rm {}", quoted(lock))),
            Error::LinkLoop(file) => Some(format!("ls -l {}", quoted(file))),
            Error::Unwritable { system: true, .. } => Some("sudo wit setup --system".to_owned()),
            Error::Untold(_) => Some("wit setup --dry-run".to_owned()),
            Error::Reset { fix, .. } => Some(fix.clone()),
            Error::Unread { variable, .. } => Some(format!("unset {variable}")),
            _ => None,
        }
    }
}
