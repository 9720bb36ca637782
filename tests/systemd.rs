//! `packaging/wit.service` and `wit setup --server`: systemd's own opinion of the unit, the start of its
//! command line, and the service under a systemd of the test's own.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use crate::support::systemd::{System, failed};
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

/// Logs in with a new account, and pushes a first commit.
const FIRST_PUSH: &str = r#"printf 'correct horse battery\n' | wit login http://127.0.0.1:3000 \
    --sign-up --email ada@example.com --username ada --password-stdin
wit repo create demo
token=$(wit token create git -q --expires 1)
git init -q -b main work
git -C work config user.name A
git -C work config user.email a@example.com
git -C work remote add origin "http://ada:$token@127.0.0.1:3000/ada/demo.git"
git -C work commit -q --allow-empty -m first
git -C work push -q origin main
"#;

#[test]
fn the_service_of_the_system_is_set_up_reloaded_restarted_stopped_and_removed() {
    let Some(system) = System::start() else {
        return;
    };
    let setup = "wit setup --server --port 3000 --max-disk 1G";
    let commands = system.done(&format!("{setup} --dry-run"));
    assert!(
        commands.contains("systemctl restart wit.service"),
        "{commands}"
    );
    assert!(!system.run("systemctl is-active wit").status.success());
    let said = system.done(setup);
    assert!(said.contains("Address: http://127.0.0.1:3000\n"), "{said}");
    let main_pid = || system.done("systemctl show -p MainPID --value wit");
    let first = main_pid();
    let said = system.done("wit setup --server");
    assert!(said.contains("nothing to change"), "{said}");
    let said = system.done("wit setup --server --max-disk 1G --port 3000 --json");
    assert!(said.contains(r#""changed": false"#), "{said}");
    assert_eq!(main_pid(), first);
    let properties =
        "systemctl show wit -p User -p StateDirectory -p NoNewPrivileges -p UnitFileState";
    let said = system.done(properties);
    for line in [
        "User=wit",
        "StateDirectory=wit",
        "NoNewPrivileges=yes",
        "UnitFileState=enabled",
    ] {
        assert!(said.lines().any(|one| one == line), "{said}");
    }
    let unit = "/etc/systemd/system/wit.service";
    system.done(&format!(
        "systemd-analyze verify --man=no {unit} && \
         systemd-analyze security --offline=true --threshold={MAX_EXPOSURE} --no-pager {unit}"
    ));
    system.done(FIRST_PUSH);
    system.done("systemctl reload wit");
    assert_eq!(main_pid(), first);

    // It is killed, and comes back with what was pushed.
    system.done("kill -9 $(systemctl show -p MainPID --value wit)");
    until("it is started again", || {
        let now = main_pid();
        now != first && now.trim() != "0" && system.run("systemctl is-active wit").status.success()
    });
    system.done("git -C work commit -q --allow-empty -m second && git -C work push -q origin main");
    let heads = "test \"$(git -C work ls-remote origin main | cut -f1)\" = \"$(git -C work rev-parse HEAD)\"";
    system.done(heads);

    // One option more is a restart; those that it had stay.
    let second = main_pid();
    system.done("wit setup --server --no-sign-up");
    assert_ne!(main_pid(), second);
    let said = failed(&system.run(
        "printf 'correct horse battery\\n' | wit login http://127.0.0.1:3000 --sign-up \
         --email bob@example.com --username bob --password-stdin",
    ));
    assert!(said.contains("sign-up is closed here"), "{said}");

    system.done("systemctl stop wit");
    let said = system.done("systemctl show -p Result -p ActiveState wit");
    assert!(
        said.contains("Result=success") && said.contains("ActiveState=inactive"),
        "{said}"
    );
    let said = system.done("wit setup --server --undo");
    assert!(
        said.contains("The data stays in /var/lib/wit/server"),
        "{said}"
    );
    system.done("test -e /var/lib/wit/server/wit.sqlite3");
    system.done(&format!(
        "! test -e {unit} && ! test -e /etc/default/wit && ! test -e /etc/sysusers.d/wit.conf"
    ));
    let said = system.done("wit setup --server --undo");
    assert!(said.contains("nothing to undo"), "{said}");
}

#[test]
fn a_setup_that_was_killed_is_finished_by_the_next() {
    let Some(system) = System::start() else {
        return;
    };
    system.done("wit setup --server --port 3000");
    // At each point of each file that is written, and in the end at none.
    for number in 0.. {
        assert!(number < 60, "it never comes to its end");
        let setup = format!("wit setup --server --port 3000 --max-disk {}G", 20 + number);
        let killed = system.run(&format!("export WIT_CRASH_AT=write-{number}; {setup}"));
        let is_killed = !killed.status.success();
        if is_killed {
            let said = system.done(&setup);
            assert!(said.contains("runs as the service"), "{number}: {said}");
        }
        let runs = system.done("xargs -0 </proc/$(systemctl show -p MainPID --value wit)/cmdline");
        let option = format!("--max-disk {}G", 20 + number);
        assert!(runs.contains(&option), "{number}: {runs}");
        let said = system.done(&setup);
        assert!(said.contains("nothing to change"), "{number}: {said}");
        if !is_killed {
            break;
        }
    }
    system.done("wit setup --server --undo");
    system.done("! ls /etc/systemd/system/wit*");
}

/// Puts the program and its unit where the Debian package has them.
const PACKAGED: &str = r#"mkdir /run/bin
mount --bind /usr/bin /run/bin
mount -t tmpfs -o mode=755 tmpfs /usr/bin
/run/bin/cp -rs /run/bin/. /usr/bin
cp /usr/local/bin/wit /usr/bin/wit.new
mv -f /usr/bin/wit.new /usr/bin/wit
mount -t tmpfs -o mode=755 tmpfs /usr/local/bin
mkdir -p /usr/lib/sysusers.d
mount -t tmpfs -o mode=755 tmpfs /usr/lib/sysusers.d
"#;

#[test]
fn the_service_of_the_package_is_disabled_by_undo() {
    let Some(system) = System::start() else {
        return;
    };
    system.done(PACKAGED);
    let unit = system.path().join("units/wit.service");
    fs::write(&unit, self::unit()).expect("written");
    // systemd has it from the test's directory, and setup looks where packages put it.
    let packaged = "/usr/lib/systemd/system";
    system.done(&format!(
        "mount -t tmpfs -o mode=755 tmpfs {packaged} && cp {} {packaged}",
        unit.display()
    ));
    let account = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/wit.sysusers.conf");
    let account = fs::read_to_string(account).expect("read");
    fs::write(system.path().join("wit.conf"), account).expect("written");
    system.done(&format!(
        "cp {}/wit.conf /usr/lib/sysusers.d",
        system.path().display()
    ));
    system.done("systemctl daemon-reload");
    let undo = "wit setup --server --undo";
    assert!(system.done(undo).contains("nothing to undo"));
    system.done("wit setup --server");
    system.done("test ! -e /etc/systemd/system/wit.service && test ! -e /etc/default/wit");
    system.done("systemctl is-active wit && systemctl is-enabled wit");
    let planned = system.done(&format!("{undo} --dry-run"));
    assert!(
        planned.contains("systemctl disable --now wit.service"),
        "{planned}"
    );
    let said = system.done(undo);
    assert!(said.contains("Stopped and disabled wit.service"), "{said}");
    assert!(
        said.contains("The data stays in /var/lib/wit/server"),
        "{said}"
    );
    system.done("! systemctl is-active wit && ! systemctl is-enabled wit");
    assert!(unit.exists());
    assert!(system.done(undo).contains("nothing to undo"));
}

#[test]
fn the_service_of_a_user_is_set_up_restarted_and_removed() {
    let Some(system) = System::start() else {
        return;
    };
    let as_user = |script: &str| done(&system.run_as_user(script));
    // Where the user has no systemd, cron may do it.
    let said = failed(&system.run_as_user("wit setup --server"));
    assert!(
        said.contains("systemd does not run for this user"),
        "{said}"
    );
    assert!(said.contains("@reboot"), "{said}");
    system.done("systemctl start manager.service");
    let said = as_user("wit setup --server --port 3000");
    assert!(said.contains("Address: http://127.0.0.1:3000\n"), "{said}");
    let said = as_user("wit setup --server");
    assert!(said.contains("nothing to change"), "{said}");
    as_user("systemd-analyze --user verify --man=no .config/systemd/user/wit.service");
    as_user(FIRST_PUSH);
    as_user("systemctl --user reload wit");
    let main_pid = || as_user("systemctl --user show -p MainPID --value wit");
    let first = main_pid();
    as_user("kill -9 $(systemctl --user show -p MainPID --value wit)");
    until("it is started again", || {
        let now = main_pid();
        let is_active = system.run_as_user("systemctl --user is-active wit");
        now != first && now.trim() != "0" && is_active.status.success()
    });
    as_user("git -C work commit -q --allow-empty -m second && git -C work push -q origin main");
    as_user("wit setup --server --undo");
    let active = system.run_as_user("systemctl --user is-active wit");
    assert_eq!(text(&active.stdout), "inactive\n");
    as_user("! test -e .config/systemd/user/wit.service && ! test -e .config/wit/server.env");
    as_user("test -e .local/share/wit/platform/wit.sqlite3");
}

#[test]
fn a_service_goes_by_its_file_of_options_alone() {
    let Some(system) = System::start() else {
        return;
    };
    let setup = |options: &str| system.done(&format!("wit setup --server {options}"));
    let kept = || system.done("cat /var/lib/wit/server/last-start.json");
    setup("--port 3000 --max-disk 1G --no-sign-up");
    assert!(kept().contains(r#""max_disk":1073741824"#), "{}", kept());
    // By hand.
    system.done("sed -i 's/--max-disk 1G/--metrics/' /etc/default/wit && systemctl restart wit");
    let now = kept();
    assert!(now.contains(r#""max_disk":null"#), "{now}");
    assert!(now.contains(r#""no_sign_up":true,"#), "{now}");
    assert!(now.contains(r#""metrics":true"#), "{now}");
    // Setup sees what the server was started with.
    assert!(setup("").contains("nothing to change"));
    system.done("sed -i 's/--metrics/--metrics --no-hsts/' /etc/default/wit");
    assert!(!setup("").contains("nothing to change"));
    assert!(kept().contains(r#""no_hsts":true"#), "{}", kept());
    assert!(setup("").contains("nothing to change"));
    // And by setup, which leaves out what is not given.
    setup("--max-disk 2G");
    let now = kept();
    assert!(now.contains(r#""metrics":false"#), "{now}");
    assert!(now.contains(r#""no_sign_up":true,"#), "{now}");
    setup("--defaults");
    system.done("! grep WIT_OPTIONS /etc/default/wit");
    assert!(kept().contains(r#""no_sign_up":false,"#), "{}", kept());
    // Its port is the same.
    let said = setup("");
    assert!(said.contains("Address: http://127.0.0.1:3000\n"), "{said}");
    assert!(said.contains("nothing to change"), "{said}");
    // Given in the file as well as by the unit.
    system.done("echo \"WIT_OPTIONS='--defaults --metrics'\" >>/etc/default/wit");
    system.done("systemctl restart wit");
    assert!(kept().contains(r#""metrics":true"#), "{}", kept());
}

#[test]
fn a_service_takes_over_the_options_of_a_server_that_was_started_by_hand() {
    let Some(system) = System::start() else {
        return;
    };
    system.done("systemctl start manager.service");
    let as_user = |script: &str| done(&system.run_as_user(script));
    as_user("wit up --port 3000 --no-sign-up --max-disk 1G && wit down");
    as_user("wit setup --server --max-disk 2G");
    let written = as_user("cat .config/wit/server.env");
    assert!(
        written.contains("WIT_OPTIONS='--max-disk 2G --no-sign-up'"),
        "{written}"
    );
    let kept = as_user("cat .local/share/wit/platform/last-start.json");
    assert!(kept.contains(r#""no_sign_up":true,"#), "{kept}");
    assert!(as_user("wit setup --server").contains("nothing to change"));
}

#[test]
fn a_service_is_not_set_up_over_somebody_elses_nor_with_a_secret_in_sight() {
    let Some(system) = System::start() else {
        return;
    };
    let unit = "/etc/systemd/system/wit.service";
    system.done(&format!("echo mine >{unit}"));
    let said = failed(&system.run("wit setup --server"));
    assert!(
        said.contains("is there already, and not from here"),
        "{said}"
    );
    assert_eq!(system.done(&format!("cat {unit}; rm {unit}")), "mine\n");
    system.done("mkdir -p /etc/default && echo mine >/etc/default/wit");
    let said = failed(&system.run("wit setup --server --no-sign-up"));
    assert!(
        said.contains("put the options there: WIT_OPTIONS="),
        "{said}"
    );
    assert_eq!(
        system.done("cat /etc/default/wit; rm /etc/default/wit"),
        "mine\n"
    );
    let said = failed(&system.run("wit setup --port 3000"));
    assert!(said.contains("without --server"), "{said}");
    // Another program's directory is out of the service's reach.
    let private =
        "mkdir -m 700 private && cp /usr/local/bin/wit private && private/wit setup --server";
    let said = failed(&system.run(private));
    assert!(said.contains("the account wit can't run"), "{said}");
    // The unit hides homes, also those that everybody may enter.
    let home = "mount -t tmpfs -o mode=755 tmpfs /home && cp /usr/local/bin/wit /home && /home/wit setup --server";
    let said = failed(&system.run(&format!("unshare --mount sh -e -c '{home}'")));
    assert!(said.contains("the account wit can't run"), "{said}");
    assert!(said.contains("/usr/local/bin/wit setup --server"), "{said}");
    // A system that was not begun by systemd.
    let other = "unshare --mount sh -c 'mount -t tmpfs tmpfs /run && wit setup --server'";
    let said = failed(&system.run(other));
    assert!(said.contains("systemd does not run here"), "{said}");
    assert!(said.contains("wit up --foreground"), "{said}");
    let options = "--public-url https://git.example.test/ --proxy 127.0.0.1";
    for dry_run in ["", " --dry-run"] {
        let other = other.replace("--server", &format!("--server {options}{dry_run}"));
        let said = text(&system.run(&other).stderr);
        assert!(said.contains("systemd does not run here"), "{said}");
        let up = "wit up --foreground --data-dir /var/lib/wit/server";
        assert!(said.contains(&format!("{up} {options}")), "{said}");
    }

    // A port that needs a privilege, and a database that nobody serves.
    let url = "postgres://wit:hush@127.0.0.1:1/none";
    let setup = format!("export DATABASE_URL={url}; wit setup --server --port 443");
    let commands = system.done(&format!("{setup} --dry-run"));
    assert!(!commands.contains("hush"), "{commands}");
    let said = failed(&system.run(&setup));
    assert!(
        said.contains("hint: journalctl -e -u wit.service"),
        "{said}"
    );
    assert!(!said.contains("hush"), "{said}");
    let mode = system.done("stat -c '%a %u' /etc/default/wit");
    assert_eq!(mode, "600 0\n");
    assert!(
        system
            .done("cat /etc/default/wit")
            .contains(&format!("DATABASE_URL='{url}'"))
    );
    let shown = system.done("systemctl show wit; systemctl cat wit");
    assert!(!shown.contains("hush"), "{shown}");
    assert!(
        shown.contains("AmbientCapabilities=cap_net_bind_service"),
        "{shown}"
    );
    // Other options open no sign-up that was closed, even if the server has never started so.
    let options = |setup: &str| {
        failed(&system.run(&format!("wit setup --server {setup}")));
        system.done("grep '^WIT_OPTIONS=' /etc/default/wit")
    };
    let closed = options("--no-sign-up --port 443");
    assert!(closed.contains("--no-sign-up"), "{closed}");
    let closed = options("--max-disk 1G");
    assert_eq!(closed, "WIT_OPTIONS='--max-disk 1G --no-sign-up'\n");
    assert_eq!(options("--sign-up"), "WIT_OPTIONS='--sign-up'\n");
    system.done("wit setup --server --undo");
    system.done("! test -e /etc/default/wit");
}
