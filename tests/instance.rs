//! A signal for a server reaches that server, or nobody.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::process::{Child, Command};

use crate::support::platform::Server;
use crate::support::{WIT, done, refused, text};
use serde_json::Value;

/// A process that has nothing to do with any server.
struct Stranger(Child);

impl Stranger {
    fn start() -> Self {
        Stranger(
            Command::new("sleep")
                .arg("600")
                .spawn()
                .expect("sleep runs"),
        )
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().expect("a state").is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Changes what `server.pid` says of the server that runs, which keeps its lock.
fn rewrite(server: &Server, change: impl FnOnce(&mut Value)) {
    let file = server.data_dir().join("server.pid");
    let mut said: Value = serde_json::from_slice(&fs::read(&file).expect("read")).expect("JSON");
    change(&mut said);
    fs::write(&file, said.to_string()).expect("written");
}

/// Both commands that send a signal refuse to, and say that.
fn refuses(server: &Server, expected: &str) {
    for command in [&["down"][..], &["up", "reload"]] {
        let said = refused(&server.home.run(WIT, command, ""), 1);
        assert!(said.contains(expected), "{command:?}: {said}");
    }
    assert_eq!(server.request("GET", "/health", &[], "").status, 200);
}

#[test]
fn a_process_that_only_has_the_pid_gets_no_signal() {
    let server = Server::start();
    let mut stranger = Stranger::start();
    let pid = server.pid();
    rewrite(&server, |said| said["pid"] = stranger.0.id().into());
    refuses(&server, "is not known to be that server");
    // Of an older server nothing is known but its lock.
    rewrite(&server, |said| said["identity"] = Value::Null);
    refuses(&server, "is not known to be that server");
    assert!(stranger.is_alive());
    rewrite(&server, |said| said["pid"] = pid.into());
    let said = done(&server.home.run(WIT, &["down"], ""));
    assert!(said.contains("wit stopped"), "{said}");
}

#[test]
fn a_server_in_another_pid_namespace_gets_no_signal() {
    let server = Server::start();
    let mut stranger = Stranger::start();
    let mut original = Value::Null;
    rewrite(&server, |said| {
        original = said.clone();
        let inode = &mut said["identity"]["pid_namespace"];
        *inode = (inode.as_u64().expect("a namespace") + 1).into();
        said["pid"] = stranger.0.id().into();
    });
    refuses(
        &server,
        "runs in another PID namespace, such as a container's",
    );
    assert!(stranger.is_alive());
    let again = server.home.run(WIT, &["up", "--no-sign-up"], "");
    assert_eq!(again.status.code(), Some(5));
    let said = text(&again.stderr);
    assert!(said.contains("hint: stop it where it runs"), "{said}");
    rewrite(&server, |said| *said = original);
    done(&server.home.run(WIT, &["down"], ""));
}
