//! The default branch: that of the first push, whatever it is called, until its owner says another.

#![cfg(all(target_os = "linux", feature = "platform"))]

use crate::support::platform::Server;
use crate::support::{gits, text};

fn hosting() -> (Server, String, String) {
    let server = Server::start();
    let session = server.sign_up("alice");
    let secret = server.secret(&session, &["repo:read", "repo:write", "repo:admin"]);
    server.work("work");
    commit(&server, "work");
    (server, session, secret)
}

/// A commit of a file.
fn commit(server: &Server, work: &str) {
    std::fs::write(server.home.path().join(work).join("file"), "text").expect("written");
    for arguments in [
        &["-C", work, "add", "file"][..],
        &["-C", work, "commit", "-q", "-m", "file"],
    ] {
        succeeds(&server.git(arguments));
    }
}

fn succeeds(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The branch that a clone is on; it must have come out with the files.
fn cloned(server: &Server, git: &str, remote: &str, more: &[&str]) -> String {
    let into = server.home.path().join("cloned");
    let _ = std::fs::remove_dir_all(&into);
    let arguments = [&["clone", "-q"], more, &[remote, "cloned"]].concat();
    succeeds(&server.home.run(git, &arguments, ""));
    assert!(into.join("file").exists(), "an empty clone");
    let branch = ["-C", "cloned", "symbolic-ref", "--short", "HEAD"];
    succeeds(&server.git(&branch)).trim().to_owned()
}

#[test]
fn a_first_branch_of_any_name_is_what_a_clone_comes_out_with() {
    let (server, session, secret) = hosting();
    for (index, git) in gits().iter().enumerate() {
        for branch in ["trunk", "master", "feature/one"] {
            let name = format!("{}-{index}", branch.replace('/', "-"));
            server.repository(&session, &name, true);
            let remote = server.remote("alice", &secret, &format!("/alice/{name}.git"));
            let push = [
                "-C",
                "work",
                "push",
                "-q",
                &remote,
                &format!("HEAD:{branch}"),
            ];
            succeeds(&server.home.run(git, &push, ""));
            assert_eq!(cloned(&server, git, &remote, &[]), branch);
            assert_eq!(cloned(&server, git, &remote, &["--depth", "1"]), branch);
        }
    }
}

#[test]
fn of_several_first_branches_the_usual_name_is_the_default_and_later_ones_change_nothing() {
    let (server, session, secret) = hosting();
    server.repository(&session, "demo", true);
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    let push = |refs: &[&str]| {
        succeeds(&server.git(&[&["-C", "work", "push", "-q", &remote], refs].concat()))
    };
    // A tag is no branch.
    push(&["HEAD:refs/tags/v1"]);
    push(&["HEAD:apple", "HEAD:trunk", "HEAD:zebra"]);
    assert_eq!(cloned(&server, "git", &remote, &[]), "trunk");
    push(&["HEAD:main", "HEAD:master"]);
    assert_eq!(cloned(&server, "git", &remote, &[]), "trunk");
}

#[test]
fn first_pushes_at_once_leave_a_default_branch_that_exists() {
    let (server, session, secret) = hosting();
    for round in 0..3 {
        let name = format!("demo{round}");
        server.repository(&session, &name, true);
        let remote = server.remote("alice", &secret, &format!("/alice/{name}.git"));
        std::thread::scope(|scope| {
            for branch in ["one", "two", "three", "main", "master", "six"] {
                let (server, remote) = (&server, &remote);
                scope.spawn(move || {
                    let refs = format!("HEAD:{branch}");
                    succeeds(&server.git(&["-C", "work", "push", "-q", remote, &refs]));
                });
            }
        });
        cloned(&server, "git", &remote, &[]);
    }
}

#[test]
fn the_api_tells_and_changes_the_default_branch_to_one_that_exists() {
    let (server, session, secret) = hosting();
    server.repository(&session, "demo", true);
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    let refs = ["HEAD:trunk", "HEAD:next"];
    succeeds(&server.git(&[&["-C", "work", "push", "-q", &remote], &refs[..]].concat()));
    let authorization = format!("Bearer {secret}");
    let patch = |body: serde_json::Value| {
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        server.request("PATCH", "/api/repos/demo", &headers, &body.to_string())
    };
    let changed = patch(serde_json::json!({ "defaultBranch": "next" }));
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.json()["defaultBranch"], "next");
    assert_eq!(cloned(&server, "git", &remote, &[]), "next");
    for none in [
        "none",
        "",
        "-d",
        "../../HEAD",
        "refs/heads/next",
        "next\n",
        "next\0",
        "NEXT",
    ] {
        let refused = patch(serde_json::json!({ "defaultBranch": none, "name": "other" }));
        assert_eq!(refused.status, 422, "{none:?}: {}", refused.body);
    }
    // Nothing of what came with it was done.
    let list = server.bearing("GET", "/api/repos", &secret).json();
    assert_eq!(list[0]["name"], "demo");
    assert_eq!(list[0]["defaultBranch"], "next");
}
