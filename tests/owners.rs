//! Whose files: root in a person's home, as by `sudo -E` or in a container, locks nobody out.
//!
//! These tests need root, or a user namespace with more than one user in it (`uidmap`).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{HELPER, WIT, done, feed, text};

/// Users without a name, as a container's home may have.
const ADA: u32 = 12_345;
const EVE: u32 = 23_456;

const INSIDE: &str = "WIT_TEST_AS_ROOT";
const ENTRY: &str = "protocol=https\nhost=a.example\nusername=ada\npassword=one\n";
const SITE: &str = "protocol=https\nhost=a.example\n";

/// Runs `body` as root: where this process is not, it runs the test of that name once more in a user
/// namespace.
fn as_root(name: &str, body: impl FnOnce()) {
    if rustix::process::geteuid().is_root() {
        return body();
    }
    assert!(std::env::var_os(INSIDE).is_none(), "still not root");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--map-auto"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("owners::{name}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare: apt-get install util-linux");
    assert!(
        output.status.success() && text(&output.stdout).contains("1 passed"),
        "run this as root, or: apt-get install uidmap, with this user in /etc/subuid: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// A home of Ada's, and the programs where she can run them.
struct Person {
    home: tempfile::TempDir,
    programs: tempfile::TempDir,
}

impl Person {
    fn new() -> Self {
        let (home, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        chown(home.path(), Some(ADA), Some(ADA)).unwrap();
        fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for program in [HELPER, WIT] {
            let here = programs
                .path()
                .join(Path::new(program).file_name().unwrap());
            if fs::hard_link(program, &here).is_err() {
                fs::copy(program, &here).unwrap();
            }
        }
        Person { home, programs }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn store_dir(&self) -> PathBuf {
        self.path(".local/share/wit/store")
    }

    /// Runs one of the programs in this home.
    fn run(&self, user: u32, program: &str, args: &[&str], input: &str) -> Output {
        let mut command = match user {
            0 => Command::new("env"),
            user => {
                let mut command = Command::new("setpriv");
                let user = user.to_string();
                command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
                command
            }
        };
        let path = std::env::var("PATH").unwrap();
        command
            .arg(
                self.programs
                    .path()
                    .join(Path::new(program).file_name().unwrap()),
            )
            .args(args)
            .env_clear()
            .env("PATH", format!("{}:{path}", self.programs.path().display()))
            .env("HOME", self.home.path())
            .env("WIT_STORE", "file")
            .env("WIT_TRACE", self.path("trace"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C")
            .current_dir(self.home.path());
        feed(command, input.as_bytes())
    }

    fn assert_works(&self, user: u32) {
        done(&self.run(user, HELPER, &["store"], ENTRY));
        let answer = done(&self.run(user, HELPER, &["get"], SITE));
        assert!(answer.contains("password=one\n"), "{answer}");
        let other = ENTRY.replace("ada", "bob");
        done(&self.run(user, HELPER, &["store"], &other));
        done(&self.run(user, HELPER, &["erase"], &other));
    }

    /// Whatever below `dir` is not of this user.
    fn not_of(&self, user: u32, dir: &Path) -> Vec<PathBuf> {
        let mut open = vec![dir.to_owned()];
        let mut others = Vec::new();
        while let Some(path) = open.pop() {
            let metadata = path.symlink_metadata().unwrap();
            if (metadata.uid(), metadata.gid()) != (user, user) {
                others.push(path.clone());
            }
            if metadata.is_dir() {
                open.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            }
        }
        others
    }
}

#[test]
fn what_root_creates_in_a_persons_home_is_the_persons() {
    as_root("what_root_creates_in_a_persons_home_is_the_persons", || {
        let person = Person::new();
        person.assert_works(0);
        let capable = format!("capability[]=authtype\ncapability[]=state\n{SITE}");
        done(&person.run(0, HELPER, &["get"], &capable));
        done(&person.run(0, WIT, &["setup", "--store", "file"], ""));
        assert!(person.path(".gitconfig").exists());
        assert!(person.path("trace").exists());
        assert!(person.path(".local/state/wit/state-key").exists());
        let others = person.not_of(ADA, person.home.path());
        assert!(others.is_empty(), "not Ada's: {others:?}");
        person.assert_works(ADA);
        done(&person.run(ADA, WIT, &["setup", "--undo"], ""));
        person.assert_works(0);
    });
}

#[test]
fn root_goes_on_working_in_a_home_that_it_may_not_give_files_in() {
    let name = "root_goes_on_working_in_a_home_that_it_may_not_give_files_in";
    as_root(name, || {
        let person = Person::new();
        let mut command = Command::new("setpriv");
        command
            .args(["--bounding-set", "-chown", "--inh-caps", "-chown"])
            .arg(person.programs.path().join("git-credential-wit"))
            .arg("store")
            .env_clear()
            .env("HOME", person.home.path())
            .env("WIT_STORE", "file");
        done(&feed(command, ENTRY.as_bytes()));
        person.assert_works(0);
    });
}

#[test]
fn root_gives_away_nothing_behind_a_link() {
    as_root("root_gives_away_nothing_behind_a_link", || {
        let person = Person::new();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), person.path(".local")).unwrap();
        person.assert_works(0);
        let others = person.not_of(0, elsewhere.path());
        assert!(others.is_empty(), "not root's: {others:?}");
    });
}

#[test]
fn an_identity_of_somebody_else_is_not_used() {
    as_root("an_identity_of_somebody_else_is_not_used", || {
        let person = Person::new();
        person.assert_works(ADA);
        let store = person.store_dir();
        for (path, user) in [
            (store.join("identity.txt"), 0),
            (store.clone(), 0),
            (store, ADA),
        ] {
            chown(&path, Some(EVE), None).unwrap();
            let output = person.run(user, HELPER, &["get"], SITE);
            let said = text(&output.stderr);
            assert_eq!(text(&output.stdout), "", "{said}");
            if user == 0 {
                let named = format!("{} belongs to another user", path.display());
                assert!(said.contains(&named), "{said}");
            }
            chown(&path, Some(ADA), None).unwrap();
        }
        person.assert_works(ADA);
    });
}

#[test]
fn doctor_names_the_cure_for_what_root_left() {
    as_root("doctor_names_the_cure_for_what_root_left", || {
        let person = Person::new();
        person.assert_works(ADA);
        // As versions before this one did.
        let dirs = [person.store_dir(), person.path(".local/state/wit/locks")];
        for entry in dirs.iter().flat_map(|dir| fs::read_dir(dir).unwrap()) {
            chown(entry.unwrap().path(), Some(0), Some(0)).unwrap();
        }
        let output = person.run(ADA, HELPER, &["store"], &ENTRY.replace("one", "two"));
        let said = text(&output.stderr);
        assert!(said.contains("hint: wit doctor"), "{said}");
        let said = text(&person.run(ADA, WIT, &["doctor"], "").stdout);
        for dir in &dirs {
            let cure = format!("sudo chown -R \"$(id -u)\" {}", dir.display());
            assert!(said.contains(&cure), "{said}");
        }
        let said = text(&person.run(0, WIT, &["doctor"], "").stdout);
        for dir in &dirs {
            let cure = format!("chown -R {ADA}:{ADA} {}", dir.display());
            assert!(said.contains(&cure), "{said}");
            let cured = Command::new("sh").args(["-c", &cure]).status().unwrap();
            assert!(cured.success());
        }
        person.assert_works(ADA);
    });
}

#[test]
fn doctor_names_the_owner_of_a_home_that_is_somebody_elses_and_nothing_in_it() {
    let name = "doctor_names_the_owner_of_a_home_that_is_somebody_elses_and_nothing_in_it";
    as_root(name, || {
        let person = Person::new();
        person.assert_works(ADA);
        let mode = |mode| fs::Permissions::from_mode(mode);
        fs::set_permissions(person.home.path(), mode(0o755)).unwrap();
        let output = person.run(EVE, WIT, &["doctor"], "");
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("belongs to user {ADA}")), "{said}");
        assert!(
            said.contains("1 thing is wrong") && !said.contains("chown"),
            "{said}"
        );
        // root works there for her.
        let said = text(&person.run(0, WIT, &["doctor"], "").stdout);
        assert!(said.contains(&format!("belongs to user {ADA}")), "{said}");
        assert!(said.contains("fix: export HOME=/root"), "{said}");
    });
}

#[cfg(feature = "platform")]
#[test]
fn a_server_is_not_started_with_sudo_in_a_persons_home() {
    as_root(
        "a_server_is_not_started_with_sudo_in_a_persons_home",
        || {
            let person = Person::new();
            let mut command = Command::new(WIT);
            command
                .args(["up", "--port", "0"])
                .env_clear()
                .env("HOME", person.home.path())
                .env("SUDO_UID", ADA.to_string());
            let output = feed(command, b"");
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            let said = text(&output.stderr);
            assert!(said.contains("hint: wit up, without sudo"), "{said}");
            assert_eq!(fs::read_dir(person.home.path()).unwrap().count(), 0);
        },
    );
}
