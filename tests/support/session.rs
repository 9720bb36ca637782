//! A D-Bus session of the test's own, with the keyring that the test wants in it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::until;

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
    /// What serves the keyring, where it is a child of this program.
    keyring: Option<Child>,
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
                "string:org.freedesktop.secrets",
            ],
            "boolean true",
        );
        // It ends now and then where a program's first call asks for a property, so whether that is
        // open is not asked: it was opened before the service was on the bus.
        session.wait_for_default_collection();
        session
    }

    /// Locks GNOME Keyring's login collection.
    pub fn lock_keyring(&self) {
        let login = "/org/freedesktop/secrets/collection/login";
        // It names what it has locked, and now and then overlooks a program's first call.
        self.wait_for(
            &[
                "--dest=org.freedesktop.secrets",
                "/org/freedesktop/secrets",
                "org.freedesktop.Secret.Service.Lock",
                &format!("array:objpath:{login}"),
            ],
            login,
        );
    }

    /// One in which `start` starts what serves the keyring.
    pub fn with(start: impl FnOnce(&Session) -> Child) -> Self {
        let mut session = Session::empty();
        session.restart(start);
        session
    }

    /// Ends what serves the keyring, as a desktop's end does, and has `start` start it again.
    pub fn restart(&mut self, start: impl FnOnce(&Session) -> Child) {
        self.end_keyring();
        self.keyring = Some(start(self));
        self.wait_for_collection();
    }

    fn end_keyring(&mut self) {
        let Some(mut keyring) = self.keyring.take() else {
            return;
        };
        let pid = rustix::process::Pid::from_child(&keyring);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        until("the keyring's service ends", || {
            !matches!(keyring.try_wait(), Ok(None))
        });
    }

    fn wait_for_default_collection(&self) {
        self.wait_for(
            &[
                "--dest=org.freedesktop.secrets",
                "/org/freedesktop/secrets",
                "org.freedesktop.Secret.Service.ReadAlias",
                "string:default",
            ],
            "/collection/",
        );
    }

    /// Waits until there is a default collection and it is open.
    fn wait_for_collection(&self) {
        self.wait_for_default_collection();
        self.wait_for(
            &[
                "--dest=org.freedesktop.secrets",
                "/org/freedesktop/secrets/aliases/default",
                "org.freedesktop.DBus.Properties.Get",
                "string:org.freedesktop.Secret.Collection",
                "string:Locked",
            ],
            "boolean false",
        );
    }

    /// Asks until the answer has `wanted` in it.
    pub fn wait_for(&self, call: &[&str], wanted: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.call(call);
            if answer.contains(wanted) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{answer}");
        }
    }

    /// What dbus-send prints of a call.
    pub fn call(&self, call: &[&str]) -> String {
        let answer = self
            .command("dbus-send")
            .args(["--session", "--print-reply"])
            .args(call)
            .output()
            .expect("dbus-send: apt-get install dbus");
        let told = [answer.stdout, answer.stderr].concat();
        String::from_utf8_lossy(&told).into_owned()
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
            keyring: None,
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
        if let Some(keyring) = &mut self.keyring {
            let _ = keyring.kill();
            let _ = keyring.wait();
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
