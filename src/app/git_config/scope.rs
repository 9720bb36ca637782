//! git's configuration files, and running git to read them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::{config, process};

/// One of git's configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// For every user of the machine.
    System,
    /// For this user.
    Global,
    /// For the repository in the current directory.
    Local,
}

/// The place where git runs: what it reads depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the current directory.
    Here,
    /// In no repository.
    Outside,
}

impl Scope {
    /// As `git config --show-scope` says it.
    pub fn name(self) -> &'static str {
        match self {
            Scope::System => "system",
            Scope::Global => "global",
            Scope::Local => "local",
        }
    }

    pub(super) fn option(self) -> &'static str {
        match self {
            Scope::System => "--system",
            Scope::Global => "--global",
            Scope::Local => "--local",
        }
    }

    /// The places where what is written to it is read: a repository may include more files.
    pub fn places(self) -> &'static [Place] {
        match self {
            Scope::Local => &[Place::Here],
            _ => &[Place::Outside, Place::Here],
        }
    }

    /// The file that git writes to, whether it is there or not.
    pub fn file(self) -> Result<PathBuf, Error> {
        match self {
            Scope::Local => local_file(),
            // git knows a home by this variable alone.
            Scope::Global if cfg!(unix) && config::git_has_no_home() => {
                Err(Error::NoHome(config::home_of_user()))
            }
            Scope::Global => config::git_global_file().ok_or(Error::NoHome(None)),
            Scope::System => {
                if let Some(file) = config::variable("GIT_CONFIG_SYSTEM") {
                    return Ok(file.into());
                }
                // From git 2.41 on.
                let said = git(&["var", "GIT_CONFIG_SYSTEM"])?;
                let named = String::from_utf8_lossy(&said.stdout);
                match named.lines().next().filter(|_| said.status.success()) {
                    Some(file) => Ok(file.into()),
                    None => {
                        let asked = ["config", "--system", "--show-origin", "-z"];
                        let fields = values(&[&asked[..], &["--no-includes", "--list"]].concat())?;
                        let mut files = fields
                            .iter()
                            .filter_map(|field| field.strip_prefix("file:"));
                        Ok(files.next().unwrap_or("/etc/gitconfig").into())
                    }
                }
            }
        }
    }
}

fn local_file() -> Result<PathBuf, Error> {
    let output = git(&["rev-parse", "--path-format=absolute", "--git-common-dir"])?;
    if !output.status.success() {
        return Err(Error::refused(
            "this directory is in no repository",
            &output,
        ));
    }
    let dir = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Path::new(dir.trim_end_matches('\n')).join("config"))
}

/// A git command that runs in that place.
pub(super) fn command(place: Place) -> Command {
    let mut command = Command::new("git");
    if place == Place::Outside {
        for name in ["GIT_WORK_TREE", "GIT_COMMON_DIR"] {
            command.env_remove(name);
        }
        command.env("GIT_DIR", "/nonexistent");
    }
    command
}

/// Runs a git command and waits for it.
pub(super) fn run(command: Command, input: &str) -> Result<Output, Error> {
    process::output_soon(command, input.as_bytes()).map_err(Error::NoGit)
}

pub(super) fn git(args: &[&str]) -> Result<Output, Error> {
    let mut git = command(Place::Here);
    git.args(args);
    run(git, "")
}

/// Answer of git, split at the NULs that end each field.
pub(super) fn values(question: &[&str]) -> Result<Vec<String>, Error> {
    let output = git(question)?;
    // 1: there is none.
    if !output.status.success() && output.status.code() != Some(1) {
        return Err(Error::refused("can't read git's configuration", &output));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_terminator('\0').map(str::to_owned).collect())
}
