//! `packaging/wit.service`: systemd's own opinion of it, and the start of its command line.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use crate::support::{WIT, done, text, until};

/// The user of the service in this test, where root runs it: there is no account `wit` here.
const NOBODY: u32 = 65_534;
/// Most exposure that is taken, of 100. It is 14 with systemd 252.
const MAX_EXPOSURE: &str = "20";

fn unit() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/wit.service");
    fs::read_to_string(file).expect("read")
}

fn analyze(arguments: &[&str]) -> Output {
    let output = Command::new("systemd-analyze").args(arguments).output();
    output.unwrap_or_else(|error| panic!("systemd-analyze: {error}; apt-get install systemd"))
}

#[test]
fn systemd_takes_the_unit_and_its_exposure_is_low() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("wit.service");
    // A program that is there. The account is none of this machine's, which is no error.
    fs::write(&file, unit().replace("/usr/bin/wit", WIT)).expect("written");
    let file = file.to_str().expect("text");
    let verified = analyze(&["verify", "--man=no", file]);
    let said = text(&verified.stdout) + &text(&verified.stderr);
    assert!(verified.status.success(), "{said}");
    for complaint in ["Unknown", "Failed to parse", "ignoring"] {
        assert!(!said.contains(complaint), "{said}");
    }
    let threshold = format!("--threshold={MAX_EXPOSURE}");
    let rated = analyze(&["security", "--offline=true", &threshold, "--no-pager", file]);
    assert!(rated.status.success(), "{}", text(&rated.stdout));
}

/// The service's directories and program below a directory of the test's, where it runs as another user.
struct Service {
    dir: tempfile::TempDir,
    program: PathBuf,
    is_root: bool,
}

impl Service {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("wit");
        fs::copy(WIT, &program).expect("copied");
        let state = dir.path().join("state");
        fs::create_dir(&state).expect("made");
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("set");
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("set");
            chown(&state, Some(NOBODY), Some(NOBODY)).expect("given away");
        }
        Service {
            dir,
            program,
            is_root,
        }
    }

    /// A line of the unit, as systemd runs it: with its user, its environment, without privileges.
    fn command(&self, line: &str) -> Command {
        let unit = unit();
        let found = unit
            .lines()
            .find_map(|one| one.strip_prefix(line))
            .expect("the line");
        let line = found
            .replace("/usr/bin/wit", self.program.to_str().expect("text"))
            .replace(
                "/var/lib/wit",
                self.dir.path().join("state").to_str().expect("text"),
            )
            .replace("$WIT_OPTIONS", "--port 0");
        let id = NOBODY.to_string();
        let mut command = Command::new("setpriv");
        if self.is_root {
            command.args([
                "--reuid",
                &id,
                "--regid",
                &id,
                "--clear-groups",
                "--bounding-set=-all",
            ]);
        }
        command.args(["--no-new-privs", "--"]).args(line.split(' '));
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command
            .env("HOME", self.dir.path().join("state"))
            .current_dir("/");
        command
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn its_command_line_starts_reloads_and_stops_as_its_user() {
    let service = Service::new();
    let socket = service.dir.path().join("notify");
    let notified = UnixDatagram::bind(&socket).expect("a socket");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("set");
    notified
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a time limit");
    let next = || {
        let mut message = [0; 64];
        let length = notified.recv(&mut message).expect("systemd is told");
        text(&message[..length])
    };
    let log = fs::File::create(service.dir.path().join("log")).expect("created");
    let mut command = service.command("ExecStart=");
    command
        .env("NOTIFY_SOCKET", &socket)
        .stdout(log.try_clone().expect("a copy"))
        .stderr(log);
    let mut server = Running(
        command
            .spawn()
            .expect("setpriv; apt-get install util-linux"),
    );
    assert_eq!(next(), "READY=1\n");
    let pid_file = service.dir.path().join("state/server/server.pid");
    let running = fs::read_to_string(&pid_file).expect("it runs");
    // setpriv becomes the server, as what systemd starts does.
    assert!(
        running.contains(&format!("\"pid\":{},", server.0.id())),
        "{running}"
    );
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&pid_file).expect("there"));
    assert_eq!(
        owner,
        if service.is_root {
            NOBODY
        } else {
            rustix::process::geteuid().as_raw()
        }
    );
    done(&service.command("ExecReload=").output().expect("it runs"));
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told to stop");
    assert_eq!(next(), "STOPPING=1\n");
    let mut ended = None;
    until("it has stopped", || {
        ended = server.0.try_wait().expect("a status");
        ended.is_some()
    });
    assert!(ended.expect("ended").success());
}
