//! What gits leave that were killed, and who removes it.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::path::{Path, PathBuf};

use crate::support::platform::Server;
use crate::support::postgres::Postgres;
use crate::support::{Home, text, until};

/// Puts what a killed git leaves into a repository.
fn leave(repository: &Path, name: &str) -> PathBuf {
    let incoming = repository.join("objects").join(name);
    std::fs::create_dir_all(incoming.join("pack")).expect("made");
    std::fs::write(incoming.join("pack/tmp_pack_x"), "half").expect("written");
    incoming
}

fn made_long_ago(home: &Home, path: &Path) {
    let path = path.to_str().expect("text");
    let touched = home.run("touch", &["-d", "3 hours ago", path], "");
    assert!(touched.status.success(), "{}", text(&touched.stderr));
}

#[test]
fn what_a_killed_push_leaves_is_gone_after_the_next_start() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    server.work("work");
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    let push = ["-C", "work", "push", "-q", &remote, "main"];
    assert!(server.git(&push).status.success());
    let repository = server.only_repository();
    let incoming = leave(&repository, "tmp_objdir-incoming-Ab1Cd2");
    let lock = repository.join("refs/heads/main.lock");
    std::fs::write(&lock, "").expect("written");
    made_long_ago(&server.home, &lock);
    server.kill_and_start();
    until("the objects are gone", || !incoming.exists());
    until("the lock is gone", || !lock.exists());
    for arguments in [
        &[
            "-C",
            "work",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "second",
        ][..],
        &push,
    ] {
        let done = server.git(arguments);
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
}

#[test]
fn a_server_that_starts_leaves_alone_what_another_is_receiving() {
    let database = Postgres::start();
    let shared = tempfile::tempdir().expect("a directory");
    let path = shared.path().display().to_string();
    let start = || {
        let mut home = Home::new();
        home.set("DATABASE_URL", database.url());
        Server::start_with(home, &["--repositories", &path])
    };
    let one = start();
    let session = one.sign_up("alice");
    one.repository(&session, "demo", true);
    let mut repositories = std::fs::read_dir(shared.path()).expect("it exists");
    let repository = repositories.next().expect("one").expect("readable").path();
    let received = leave(&repository, "tmp_objdir-incoming-Ab1Cd2");
    let abandoned = leave(&repository, "tmp_objdir-incoming-Ef3Gh4");
    made_long_ago(&one.home, &abandoned);
    let other = start();
    until("what is too old is gone", || !abandoned.exists());
    assert!(received.exists());
    drop(other);
    drop(one);
    // Nobody receives anything now.
    let _third = start();
    until("the rest is gone", || !received.exists());
}
