//! A D-Bus session of the test's own, with the keyring that the test wants in it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A bus that can start no service.
const EMPTY_BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
    "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
    <busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth>
    <policy context="default"><allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"#;

const INSIDE: &str = "WIT_TEST_INSIDE";

/// Runs `body` of the test of that name in a session that `start` makes, with more variables: the
/// test's program runs itself once more there.
pub fn inside(name: &str, start: fn() -> Session, variables: &[(&str, &str)], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let session = start();
    let output = session
        .command(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .env("WIT_KEYCHAIN_TIMEOUT", "10")
        .envs(variables.iter().copied())
        .output()
        .expect("this program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Ends with the value, and what runs on its bus with it.
pub struct Session {
    daemon: Child,
    address: String,
    home: tempfile::TempDir,
}

impl Session {
    /// One whose bus starts the services of the machine.
    pub fn with_services() -> Self {
        Session::start(&["--session"])
    }

    /// One with nothing on it.
    pub fn empty() -> Self {
        let config = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(config.path(), EMPTY_BUS).expect("a configuration");
        Session::start(&[&format!("--config-file={}", config.path().display())])
    }

    /// One with GNOME Keyring and an unlocked login collection, as a desktop's login makes it.
    pub fn with_keyring() -> Self {
        let session = Session::with_services();
        let mut daemon = session
            .command("gnome-keyring-daemon")
            .args(["--unlock", "--components=secrets"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("gnome-keyring-daemon: apt-get install gnome-keyring");
        let mut stdin = daemon.stdin.take().expect("piped");
        stdin.write_all(b"test\n").expect("it reads a password");
        drop(stdin);
        assert!(daemon.wait().expect("it goes to the background").success());
        // It does so before it is on the bus, and who asks then has a second one started.
        session.wait_for(
            &[
                "--dest=org.freedesktop.DBus",
                "/",
                "org.freedesktop.DBus.NameHasOwner",
            ],
            "string:org.freedesktop.secrets",
            "boolean true",
        );
        session.wait_for(
            &[
                "--dest=org.freedesktop.secrets",
                "/org/freedesktop/secrets",
                "org.freedesktop.Secret.Service.ReadAlias",
            ],
            "string:default",
            "/collection/",
        );
        session
    }

    /// Locks the login collection.
    pub fn lock_keyring(&self) {
        let service = "--dest=org.freedesktop.secrets";
        let output = self
            .command("dbus-send")
            .args(["--session", "--print-reply", service])
            .args([
                "/org/freedesktop/secrets",
                "org.freedesktop.Secret.Service.Lock",
                "array:objpath:/org/freedesktop/secrets/collection/login",
            ])
            .output()
            .expect("dbus-send: apt-get install dbus");
        assert!(output.status.success(), "{output:?}");
    }

    /// Asks until the answer has `wanted` in it.
    fn wait_for(&self, call: &[&str], argument: &str, wanted: &str) {
        let begun = Instant::now();
        loop {
            let answer = self
                .command("dbus-send")
                .args(["--session", "--print-reply"])
                .args(call)
                .arg(argument)
                .output()
                .expect("dbus-send: apt-get install dbus");
            if String::from_utf8_lossy(&answer.stdout).contains(wanted) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{answer:?}");
        }
    }

    fn start(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        // What it starts has its environment: the person's own keyring must not be among that.
        let mut daemon = Command::new("dbus-daemon")
            .args(arguments)
            .args(["--nofork", "--print-address"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon: apt-get install dbus");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().expect("piped"))
            .read_line(&mut address)
            .expect("its address");
        Session {
            daemon,
            address: address.trim().to_owned(),
            home,
        }
    }

    /// What `DBUS_SESSION_BUS_ADDRESS` is to be.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A program in the session, without any variable of this process but `PATH`.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.home())
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .current_dir(self.home());
        command
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
