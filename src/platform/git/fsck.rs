//! `git fsck` of a repository, as an operator asks for it.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{CONFIG, command};

/// Time limit for the check of one repository.
const FSCK_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Prefix of the settings for faults that a push may have.
const RECEIVE_FSCK: &str = "receive.fsck.";

/// The first thing that git finds wrong, of all that a push is checked for; `None` where there is none.
pub async fn fault(repository: &Path) -> io::Result<Option<String>> {
    // What a push may have wrong is not wrong here.
    let ignored = CONFIG.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix(RECEIVE_FSCK)?;
        Some(format!("fsck.{name}={value}"))
    });
    let mut git = command(Path::new("nice"), repository);
    git.args(["-n", "19", "git"]);
    for setting in ignored {
        git.args(["-c", &setting]);
    }
    git.arg("--git-dir").arg(repository);
    git.args(["fsck", "--strict", "--no-dangling", "--no-progress"]);
    git.stdin(Stdio::null());
    said(git, "git fsck").await
}

/// Names the first ref that is none, or an object that a ref leads to and that is missing; `None` where
/// all is there. Objects are not read further than that needs.
pub async fn missing(repository: &Path) -> io::Result<Option<String>> {
    let mut git = command(Path::new("nice"), repository);
    git.args(["-n", "19", "git", "--git-dir"]).arg(repository);
    git.args(["rev-list", "--objects", "--all", "--quiet"]);
    git.stdin(Stdio::null());
    said(git, "git rev-list").await
}

/// The first line that a git says that fails.
async fn said(mut git: Command, name: &str) -> io::Result<Option<String>> {
    let output = tokio::time::timeout(FSCK_TIMEOUT, git.output()).await??;
    if output.status.success() {
        return Ok(None);
    }
    let said = [output.stderr, output.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    let first = said.lines().find(|line| !line.trim().is_empty());
    let why = first.map_or_else(|| output.status.to_string(), crate::quote::escaped);
    Ok(Some(format!("{name}: {why}")))
}
