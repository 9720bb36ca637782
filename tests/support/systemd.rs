//! A systemd of the test's own: PID 1 of namespaces in which nothing of the machine is changed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{HELPER, WIT, done, text, until};

/// The user without privileges, whose name is `ada`.
pub const USER: u32 = 1234;

/// Enters a control group of the test's own.
const START: &str = r#"set -eu
name=wit-test-$$
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    group=/sys/fs/cgroup/$name
else
    group=/sys/fs/cgroup/systemd/$name
fi
mkdir "$group"
echo "$group" >"$1/group"
echo $$ >"$group/cgroup.procs"
exec unshare --pid --mount --fork --mount-proc --cgroup --net --uts --ipc --kill-child=KILL \
    sh -c "$INIT" sh "$@"
"#;

/// Hides the machine's settings, controllers and directories, and becomes systemd.
const INIT: &str = r#"set -eu
dir=$1
mount --make-rprivate /
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount --bind /dev/null /proc/cgroups
umount -R /sys/fs/cgroup
if ! grep -q /systemd/ "$dir/group"; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd,xattr cgroup /sys/fs/cgroup/systemd
fi
mkdir "$dir/etc"
mount -t tmpfs -o mode=755 tmpfs "$dir/etc"
cp -a /etc/. "$dir/etc"
rm -rf "$dir/etc/systemd/system"
mkdir -p "$dir/etc/systemd/system"
sed -i '/^ada:/d' "$dir/etc/passwd"
echo "ada:x:1234:1234::$dir/ada:/bin/sh" >>"$dir/etc/passwd"
mount --bind "$dir/etc" /etc
for directory in /run /var/lib /usr/local/bin; do
    mount -t tmpfs -o mode=755 tmpfs "$directory"
done
cp "$2" "$3" /usr/local/bin
chmod 755 /usr/local/bin/*
exec env -i PATH="$PATH" container=wit-test SYSTEMD_UNIT_PATH="$dir/units:/etc/systemd/system" \
    /lib/systemd/systemd --system --log-target=journal --show-status=no \
    systemd.legacy_systemd_cgroup_controller=1 systemd.unified_cgroup_hierarchy=0
"#;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// Manager of the user's services.
const MANAGER: &str = "[Service]
Type=notify
User=ada
Delegate=yes
Environment=XDG_RUNTIME_DIR={run}
ExecStart=/lib/systemd/systemd --user
";

/// A system that has begun, with programs in `/usr/local/bin`.
pub struct System {
    dir: tempfile::TempDir,
    outer: Child,
    inner: u32,
}

impl System {
    /// `None` where this user may not begin one, as in many containers.
    pub fn start() -> Option<Self> {
        assert!(
            Path::new("/lib/systemd/systemd").exists(),
            "apt-get install systemd"
        );
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
        for name in ["units", "home", "ada", "ada/run"] {
            fs::create_dir(path.join(name)).expect("made");
        }
        for name in ["ada", "ada/run"] {
            chown(path.join(name), Some(USER), Some(USER)).expect("given away");
        }
        let units = path.join("units");
        for name in [
            "default",
            "sysinit",
            "basic",
            "shutdown",
            "multi-user",
            "network-online",
        ] {
            fs::write(units.join(format!("{name}.target")), "[Unit]\n").expect("written");
        }
        let run = path.join("ada/run").display().to_string();
        fs::write(
            units.join("manager.service"),
            MANAGER.replace("{run}", &run),
        )
        .expect("written");
        let log = fs::File::create(path.join("log")).expect("created");
        let mut outer = Command::new("sh")
            .args(["-c", START, "sh"])
            .arg(path)
            .args([WIT, HELPER])
            .env_clear()
            .env("PATH", PATH)
            .env("INIT", INIT)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a copy"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("a shell");
        let mut inner = None;
        let mut has_ended = false;
        until("systemd has begun", || {
            has_ended = outer.try_wait().expect("a status").is_some();
            inner = children(outer.id()).into_iter().find(|child| {
                let name = fs::read_to_string(format!("/proc/{child}/comm"));
                name.is_ok_and(|name| name.trim() == "systemd")
            });
            has_ended || inner.is_some()
        });
        let Some(inner) = inner else {
            let log = fs::read_to_string(path.join("log")).unwrap_or_default();
            eprintln!("no systemd can begin here: {log}");
            remove_group(path);
            return None;
        };
        let system = System { dir, outer, inner };
        let answers = || {
            let asked = system.run("systemctl is-active default.target");
            asked.status.success()
        };
        let begun = Instant::now();
        while !answers() {
            if begun.elapsed().as_secs() >= 60 {
                eprintln!("systemd begins here, and does not get on");
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(system)
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a script as root.
    pub fn run(&self, script: &str) -> Output {
        self.output(&[], "home", script)
    }

    /// The same where it has to go well; its stdout.
    pub fn done(&self, script: &str) -> String {
        done(&self.run(script))
    }

    /// Runs a script as the user.
    pub fn run_as_user(&self, script: &str) -> Output {
        let id = USER.to_string();
        let user = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
        self.output(&user, "ada", script)
    }

    fn output(&self, before: &[&str], home: &str, script: &str) -> Output {
        let home = self.path().join(home);
        Command::new("nsenter")
            .args(["-t", &self.inner.to_string(), "-a", "--"])
            .args(before)
            .args(["sh", "-e", "-c"])
            .arg(format!("cd; {script}"))
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .env("HOME", home)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter; apt-get install util-linux")
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // With the first process of the namespace all of them end.
        let inner = i32::try_from(self.inner).ok();
        if let Some(inner) = inner.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(inner, rustix::process::Signal::KILL);
        }
        let _ = self.outer.wait();
        remove_group(self.path());
    }
}

fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let all = fs::read_to_string(path).unwrap_or_default();
    all.split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect()
}

/// Removes the control groups below the test's own, and that.
fn remove_group(dir: &Path) {
    let Ok(group) = fs::read_to_string(dir.join("group")) else {
        return;
    };
    let group = PathBuf::from(group.trim());
    // The kernel lets go of them a moment after their processes.
    let begun = Instant::now();
    while group.exists() && begun.elapsed().as_secs() < 20 {
        remove_below(&group);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn remove_below(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// What a command that has failed says.
pub fn failed(output: &Output) -> String {
    assert!(!output.status.success(), "{}", text(&output.stdout));
    text(&output.stderr)
}
