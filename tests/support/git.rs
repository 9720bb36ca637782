//! `git credential` with our helper alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{HELPER, Home, feed, text};

/// Where Debian's git has it.
pub const LIBSECRET_SOURCE: &str =
    "/usr/share/doc/git/contrib/credential/libsecret/git-credential-libsecret.c";

/// git's own libsecret helper, built from the source that Debian ships.
pub fn libsecret_helper(dir: &Path) -> PathBuf {
    let flags = Command::new("pkg-config")
        .args(["--cflags", "--libs", "libsecret-1", "glib-2.0"])
        .output()
        .expect("pkg-config: apt-get install pkg-config libsecret-1-dev");
    assert!(flags.status.success(), "apt-get install libsecret-1-dev");
    let program = dir.join("git-credential-libsecret");
    let built = Command::new("cc")
        .arg("-o")
        .arg(&program)
        .arg(LIBSECRET_SOURCE)
        .args(text(&flags.stdout).split_whitespace())
        .status()
        .expect("cc: apt-get install gcc");
    assert!(built.success(), "apt-get install git libsecret-1-dev");
    program
}

/// One git, in one home.
pub struct Git<'a> {
    home: &'a Home,
    program: &'a str,
}

impl<'a> Git<'a> {
    pub fn new(home: &'a Home, program: &'a str) -> Self {
        Git { home, program }
    }

    /// Its major and minor version.
    pub fn version(&self) -> (u32, u32) {
        let shown = text(&self.home.run(self.program, &["version"], "").stdout);
        let mut numbers = shown
            .split_whitespace()
            .nth(2)
            .unwrap_or_default()
            .split('.')
            .map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// What is answered, if anything is. `input` may name a path.
    pub fn fill(&self, input: &str) -> Option<String> {
        let (answer, found) = self.run("fill", input);
        found.then_some(answer)
    }

    pub fn approve(&self, input: &str) {
        assert_eq!(self.run("approve", input), (String::new(), true));
    }

    pub fn reject(&self, input: &str) {
        assert_eq!(self.run("reject", input), (String::new(), true));
    }

    fn run(&self, operation: &str, input: &str) -> (String, bool) {
        let mut command = self.home.command(self.program);
        command
            .args(["-c", "credential.helper="])
            .args(["-c", &format!("credential.helper={HELPER}")])
            .args(["-c", "credential.interactive=false"])
            .args(["-c", "credential.useHttpPath=true"])
            .args(["credential", operation]);
        let output = feed(command, input.as_bytes());
        // A helper's complaint that git says nothing of.
        eprint!("{}", text(&output.stderr));
        (text(&output.stdout), output.status.success())
    }
}
