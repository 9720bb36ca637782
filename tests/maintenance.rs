//! Maintenance of repositories by `wit up`.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::path::PathBuf;

use crate::support::platform::Server;
use crate::support::{Home, WIT, done, until_within};

/// A server with a repository in which each push leaves a pack, and two packs are too many.
struct Desk {
    server: Server,
    repository: PathBuf,
    remote: String,
}

impl Desk {
    fn new(more: &[&str]) -> Self {
        Self::in_home(Home::new(), more)
    }

    fn in_home(home: Home, more: &[&str]) -> Self {
        let server = Server::start_with(home, more);
        let session = server.sign_up("alice");
        server.repository(&session, "demo", true);
        let secret = server.secret(&session, &["repo:read", "repo:write"]);
        server.work("work");
        let repository = server.only_repository();
        for (key, value) in [("receive.unpackLimit", "1"), ("gc.autoPackLimit", "1")] {
            done(&server.git(&[
                "-C",
                repository.to_str().expect("text"),
                "config",
                key,
                value,
            ]));
        }
        Desk {
            remote: server.remote("alice", &secret, "/alice/demo.git"),
            server,
            repository,
        }
    }

    /// The same, where `git gc` waits while a file `gate` exists, and says that it has begun.
    fn with_gate(more: &str) -> Self {
        let mut home = Home::new();
        let bin = home.path().join("bin");
        fs::create_dir(&bin).expect("made");
        let path = std::env::var("PATH").expect("a PATH");
        let git = std::env::split_paths(&path).map(|dir| dir.join("git"));
        let git = git.into_iter().find(|git| git.exists()).expect("git");
        let at = home.path().display();
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *' gc '*) {more}\n echo $$ >'{at}/begun'\n \
             while [ -e '{at}/gate' ]; do sleep 0.05; done ;; esac\nexec '{}' \"$@\"\n",
            git.display()
        );
        let program = bin.join("git");
        fs::write(&program, script).expect("written");
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&program, all).expect("set");
        fs::write(home.path().join("gate"), "").expect("written");
        home.set("PATH", format!("{}:{path}", bin.display()));
        Desk::in_home(home, &[])
    }

    /// Waits for maintenance to begin; the id of its process.
    fn begun(&self) -> String {
        let file = self.server.home.path().join("begun");
        let mut id = String::new();
        until_within(180, "maintenance begins", || {
            id = fs::read_to_string(&file).unwrap_or_default();
            id.ends_with('\n')
        });
        id.trim().to_owned()
    }

    fn push(&self) {
        let commit = ["-C", "work", "commit", "-q", "--allow-empty", "-m", "next"];
        done(&self.server.git(&commit));
        done(
            &self
                .server
                .git(&["-C", "work", "push", "-q", &self.remote, "main"]),
        );
    }

    /// How many packs there are, but for one of objects that no ref leads to, as git 2.41 has it.
    fn packs(&self) -> usize {
        let files = fs::read_dir(self.repository.join("objects/pack")).expect("read");
        let names = files.map(|file| file.expect("readable").path());
        let is_pack = |path: &PathBuf| path.extension().is_some_and(|end| end == "pack");
        let packs = names.filter(is_pack);
        packs
            .filter(|pack| !pack.with_extension("mtimes").exists())
            .count()
    }

    fn has(&self, object: &str) -> bool {
        let directory = self.repository.to_str().expect("text");
        let asked = self
            .server
            .git(&["-C", directory, "cat-file", "-e", object]);
        asked.status.success()
    }

    /// Writes an object that no ref leads to; its id.
    fn loose_object(&self, content: &str) -> String {
        let directory = self.repository.to_str().expect("text");
        let write = ["-C", directory, "hash-object", "-w", "--stdin"];
        let id = done(&self.server.home.run("git", &write, content));
        id.trim().to_owned()
    }

    fn restart(&self, more: &[&str]) {
        done(&self.server.home.run(WIT, &["down"], ""));
        done(&self.server.home.run(WIT, &[&["up"], more].concat(), ""));
    }
}

#[test]
fn an_idle_server_packs_what_was_pushed_and_keeps_what_is_new() {
    let desk = Desk::new(&["--no-maintenance"]);
    for _ in 0..3 {
        desk.push();
    }
    let (new, old) = (desk.loose_object("new"), desk.loose_object("old"));
    let (first, rest) = old.split_at(2);
    let file = desk.repository.join("objects").join(first).join(rest);
    let touch = ["-d", "3 weeks ago", file.to_str().expect("text")];
    done(&desk.server.home.run("touch", &touch, ""));
    desk.restart(&["--defaults"]);
    desk.push();
    // At the lowest priority it takes its time on a busy machine.
    until_within(180, "the packs are one and what is old is gone", || {
        desk.packs() == 1 && !desk.has(&old)
    });
    assert!(desk.has(&new));
    let fsck = [
        "-C",
        desk.repository.to_str().expect("text"),
        "fsck",
        "--strict",
    ];
    done(&desk.server.git(&fsck));
    done(&desk.server.git(&["clone", "-q", &desk.remote, "clone"]));
    let log = desk
        .server
        .git(&["-C", "clone", "rev-list", "--count", "HEAD"]);
    assert_eq!(done(&log), "5\n");
    desk.push();
}

#[test]
fn without_maintenance_git_does_none_of_its_own() {
    let desk = Desk::new(&["--no-maintenance"]);
    for _ in 0..4 {
        desk.push();
    }
    let log = fs::read_to_string(desk.server.data_dir().join("server.log")).expect("read");
    assert!(!log.contains("maintenance"), "{log}");
    // What git starts itself after a push is at work before the push has ended.
    assert_eq!(desk.packs(), 4);
    assert!(!desk.repository.join("gc.pid").exists());
}

/// Returns whether a process is there, and has not just ended.
fn is_alive(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
    state.flatten().is_some_and(|state| state != 'Z')
}

#[test]
fn what_is_pushed_while_maintenance_is_at_work_is_there_after_it() {
    let desk = Desk::with_gate("");
    desk.push();
    desk.push();
    desk.begun();
    for _ in 0..3 {
        desk.push();
    }
    fs::remove_file(desk.server.home.path().join("gate")).expect("removed");
    for _ in 0..3 {
        desk.push();
    }
    let directory = desk.repository.to_str().expect("text");
    let count = || {
        done(
            &desk
                .server
                .git(&["-C", directory, "rev-list", "--count", "main"]),
        )
    };
    let pushed = done(
        &desk
            .server
            .git(&["-C", "work", "rev-list", "--count", "HEAD"]),
    );
    assert_eq!(count(), pushed);
    until_within(180, "it has packed what there was", || desk.packs() < 8);
    assert_eq!(count(), pushed);
    done(&desk.server.git(&["-C", directory, "fsck", "--strict"]));
}

#[test]
fn maintenance_that_does_not_listen_ends_with_the_server() {
    // Only a KILL ends it.
    let desk = Desk::with_gate("trap '' TERM");
    desk.push();
    desk.push();
    let process = desk.begun();
    assert!(is_alive(&process));
    done(&desk.server.home.run(WIT, &["down"], ""));
    until_within(60, "it is gone", || !is_alive(&process));
    done(&desk.server.home.run(WIT, &["up"], ""));
}

#[test]
fn maintenance_ends_with_a_server_that_is_killed() {
    let desk = Desk::with_gate("");
    desk.push();
    desk.push();
    let process = desk.begun();
    let server = desk.server.pid().to_string();
    done(&desk.server.home.run("kill", &["-9", &server], ""));
    until_within(60, "it is gone", || !is_alive(&process));
    // The next start finds the repository free.
    fs::remove_file(desk.server.home.path().join("gate")).expect("removed");
    done(&desk.server.home.run(WIT, &["up"], ""));
    desk.push();
    until_within(180, "it is packed", || desk.packs() == 1);
}
