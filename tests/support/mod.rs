//! What the tests that drive real programs share: a throwaway home and nothing of the person's.

#![allow(dead_code, reason = "each benchmark uses its part of this module")]

#[cfg(feature = "platform")]
pub mod browser;
#[cfg(feature = "platform")]
pub mod cloud;
#[cfg(feature = "platform")]
pub mod forge;
pub mod git;
#[cfg(feature = "platform")]
pub mod haproxy;
pub mod http_proxy;
#[cfg(target_os = "linux")]
pub mod locked_keyring;
#[cfg(feature = "platform")]
pub mod machine;
#[cfg(feature = "platform")]
pub mod oidc;
#[cfg(feature = "platform")]
pub mod platform;
#[cfg(unix)]
pub mod postgres;
pub mod proxy;
pub mod server;
#[cfg(target_os = "linux")]
pub mod session;
#[cfg(feature = "platform")]
pub mod soak;
#[cfg(feature = "platform")]
pub mod stored;
#[cfg(all(target_os = "linux", feature = "platform"))]
pub mod systemd;
#[cfg(target_os = "linux")]
pub mod terminal;
pub mod tls;
pub mod trpc;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

pub const HELPER: &str = env!("CARGO_BIN_EXE_git-credential-wit");
pub const WIT: &str = env!("CARGO_BIN_EXE_wit");

/// An empty home directory; what runs in it sees no other variable of this process than `PATH`.
pub struct Home {
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Home {
            dir,
            variables: vec![("WIT_STORE".to_owned(), "file".to_owned())],
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Sets a variable for whatever is run from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value.into()));
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let own = Path::new(HELPER)
            .parent()
            .expect("a program lies in a directory");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:{path}", own.display()))
            .env("HOME", self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.path());
        command
    }

    /// Runs a program to its end with `input` on its stdin.
    pub fn run(&self, program: &str, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(program);
        command.args(arguments);
        feed(command, input.as_bytes())
    }
}

/// Runs a command with `input` on its stdin.
pub fn feed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // A program that ignores its input may have closed it.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("the program ends")
}

/// What a program wrote, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The stdout of what ended well.
pub fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Asserts an exit code and nothing on stdout; the stderr.
pub fn refused(output: &Output, code: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(text(&output.stdout), "", "{said}");
    said
}

/// The gits on this machine: Debian's and whichever is first on the path.
pub fn gits() -> Vec<String> {
    let found = std::env::var_os("PATH").unwrap_or_default();
    let mut gits: Vec<PathBuf> = std::env::split_paths(&found)
        .map(|dir| dir.join("git"))
        .chain([PathBuf::from("/usr/bin/git")])
        .filter(|git| git.exists())
        .filter_map(|git| git.canonicalize().ok())
        .collect();
    gits.sort();
    gits.dedup();
    assert!(!gits.is_empty(), "no git: apt-get install git");
    gits.iter().map(|git| git.display().to_string()).collect()
}

/// Kills a program at a random moment of a run that usually takes so long. Returns whether that was before
/// its end.
pub fn kill_within(child: &mut Child, usual: Duration, random: &mut fastrand::Rng) -> bool {
    // Not a wait for anything: the kill is meant to fall anywhere in the run.
    let most = u64::try_from(usual.as_micros()).expect("seconds").max(1);
    std::thread::sleep(Duration::from_micros(random.u64(..most)));
    let _ = child.kill();
    !child.wait().expect("an end").success()
}

/// Waits until something is so, for a minute at most.
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_within(60, what, is_so);
}

/// The same for so many seconds.
pub fn until_within(seconds: u64, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        let is_late = begun.elapsed().as_secs() >= seconds;
        assert!(!is_late, "not within {seconds} s: {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Builds both programs as `install.sh` does, once for all that need them, and returns a directory with
/// both.
pub fn release() -> PathBuf {
    let mut build = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/build"));
    // What runs the tests sets such variables, and ring is built anew where they differ: so would be
    // most of the programs, back and forth between this and the installer.
    for (name, _) in std::env::vars_os() {
        let known = name.to_string_lossy();
        let of_the_runner = known.starts_with("CARGO_") || known == "OUT_DIR";
        if of_the_runner && known != "CARGO_HOME" && known != "CARGO_TARGET_DIR" {
            build.env_remove(&name);
        }
    }
    let output = build.stderr(Stdio::inherit()).output().expect("it runs");
    assert!(output.status.success());
    let built = PathBuf::from(text(&output.stdout).trim());
    let shipped = built.with_file_name("shipped");
    std::fs::create_dir_all(&shipped).expect("a directory");
    for name in ["git-credential-wit", "wit"] {
        // By a name of its own: another test may be running the one that is there.
        let new = tempfile::Builder::new()
            .tempfile_in(&shipped)
            .expect("a file");
        std::fs::copy(built.join(name), new.path()).expect("a copy");
        new.into_temp_path()
            .persist(shipped.join(name))
            .expect("its name");
    }
    shipped
}

/// Every file below `dir`, relative to it.
pub fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found
}
