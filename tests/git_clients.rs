//! Git's clients as they are: old protocols, old histories, options, and other hosts' habits.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::io::Write;
use std::net::TcpStream;

use crate::support::platform::{Server, Upload};
use crate::support::{feed, gits, text};

fn hosting() -> (Server, String, String) {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    server.work("work");
    (server, secret, remote)
}

fn succeeds(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn a_partial_clone_works_over_every_protocol() {
    let (server, _, remote) = hosting();
    std::fs::write(server.home.path().join("work/file"), "text").expect("written");
    for arguments in [
        &["-C", "work", "add", "file"][..],
        &["-C", "work", "commit", "-q", "-m", "file"],
        &["-C", "work", "push", "-q", &remote, "main"],
    ] {
        succeeds(&server.git(arguments));
    }
    for (index, git) in gits().iter().enumerate() {
        for version in ["0", "1", "2"] {
            let into = format!("cloned-{index}-{version}");
            let protocol = format!("protocol.version={version}");
            let filter = "--filter=blob:none";
            let clone = ["-c", &protocol, "clone", "-q", filter, &remote, &into];
            succeeds(&server.home.run(git, &clone, ""));
            let file = server.home.path().join(&into).join("file");
            assert_eq!(std::fs::read_to_string(file).expect("fetched"), "text");
        }
    }
}

/// Writes an object that git itself would not.
fn object(server: &Server, kind: &str, content: &[u8]) -> String {
    let mut command = server.home.command("git");
    let words = ["-C", "work", "hash-object", "-w", "--stdin", "--literally"];
    command.args(words).args(["-t", kind]);
    succeeds(&feed(command, content)).trim().to_owned()
}

fn commit(server: &Server, tree: &str, author: &str) -> String {
    let committer = "A <a@example.com> 1234567890 +0000";
    let text = format!("tree {tree}\nauthor {author}\ncommitter {committer}\n\nold\n");
    object(server, "commit", text.as_bytes())
}

/// A tree with one entry, an empty tree or blob.
fn tree(server: &Server, mode: &str, name: &str, entry: &str) -> String {
    let id = object(server, entry, b"");
    let mut content = format!("{mode} {name}\0").into_bytes();
    let digits = id.as_bytes().chunks(2);
    content.extend(digits.map(|pair| u8::from_str_radix(&text(pair), 16).expect("hex")));
    object(server, "tree", &content)
}

#[test]
fn old_histories_are_accepted_and_dangerous_ones_are_not() {
    let (server, _, remote) = hosting();
    let empty = object(&server, "tree", b"");
    let good = "A <a@example.com> 1234567890 +0000";
    let padded = tree(&server, "040000", "directory", "tree");
    for (what, old) in [
        (
            "badTimezone",
            commit(&server, &empty, "A <a@example.com> 1234567890 +051800"),
        ),
        (
            "missingSpaceBeforeEmail",
            commit(&server, &empty, "A<a@example.com> 1234567890 +0000"),
        ),
        (
            "missingSpaceBeforeDate",
            commit(&server, &empty, "A <a@example.com>1234567890 +0000"),
        ),
        ("zeroPaddedFilemode", commit(&server, &padded, good)),
    ] {
        let refs = format!("{old}:refs/heads/{what}");
        let push = server.git(&["-C", "work", "push", "-q", &remote, &refs]);
        assert!(push.status.success(), "{what}: {}", text(&push.stderr));
        // A clone takes it too.
        let clone = ["clone", "-q", "-b", what, &remote, what];
        succeeds(&server.git(&clone));
    }
    let dot_git = tree(&server, "100644", ".git", "blob");
    let parent = tree(&server, "40000", "..", "tree");
    for (what, bad) in [
        ("hasDotgit", commit(&server, &dot_git, good)),
        ("hasDotdot", commit(&server, &parent, good)),
        (
            "missingEmail",
            commit(&server, &empty, "A 1234567890 +0000"),
        ),
    ] {
        let refs = format!("{bad}:refs/heads/{what}");
        let push = server.git(&["-C", "work", "push", "-q", &remote, &refs]);
        assert!(!push.status.success(), "{what}");
        let said = text(&push.stderr);
        assert!(said.contains(what), "{said}");
    }
}

#[test]
fn push_options_are_taken_and_change_nothing() {
    let (server, _, remote) = hosting();
    for git in gits() {
        let options = ["-o", "anything", "-o", "ci.skip", "--push-option=x=y"];
        let push = [
            &["-C", "work", "push", "-q"],
            &options[..],
            &[&remote, "main"],
        ]
        .concat();
        succeeds(&server.home.run(&git, &push, ""));
    }
}

#[test]
fn a_body_in_an_unknown_coding_is_refused_and_gzip_is_not() {
    let (server, secret, _) = hosting();
    let authorization = format!("Bearer {secret}");
    let post = |coding: &str, body: &[u8]| {
        let stream = TcpStream::connect(&server.address).expect("it answers");
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Encoding", coding),
            ("Git-Protocol", "version=2"),
        ];
        let mut upload = Upload::begin(stream, "/alice/demo.git/git-upload-pack", &headers);
        upload.send(body);
        upload.end()
    };
    for unknown in ["deflate", "br", "zstd", "compress", "gzip, gzip", "x"] {
        let (status, said) = post(unknown, b"0000");
        assert_eq!(status, 415, "{unknown}: {said}");
        assert!(
            said.to_lowercase().contains("accept-encoding: gzip"),
            "{said}"
        );
    }
    let listing = b"0014command=ls-refs\n00010009peel\n0000";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(listing).expect("in memory");
    let gzip = gzip.finish().expect("in memory");
    for (coding, body) in [
        ("gzip", &gzip[..]),
        ("X-GZip", &gzip),
        ("identity", listing),
    ] {
        let (status, said) = post(coding, body);
        assert_eq!(status, 200, "{coding}: {said}");
        assert!(said.contains("git-upload-pack-result"), "{said}");
    }
    let (status, said) = post("gzip", b"no gzip");
    assert_eq!(status, 400, "{said}");
}

#[test]
fn the_usernames_that_other_hosts_ask_for_go_with_a_token() {
    let (server, secret, remote) = hosting();
    succeeds(&server.git(&["-C", "work", "push", "-q", &remote, "main"]));
    let list = |username: &str, secret: &str| {
        let remote = server.remote(username, secret, "/alice/demo.git");
        server.git(&["ls-remote", &remote])
    };
    let known = [
        "alice",
        "alice%40example.com",
        "token",
        "oauth2",
        "x-access-token",
        "x-token-auth",
    ];
    for username in known {
        succeeds(&list(username, &secret));
    }
    let wrong = format!("wit_{}", "0".repeat(40));
    for username in known {
        assert!(!list(username, &wrong).status.success(), "{username}");
    }
    assert!(!list("mallory", &secret).status.success());
}
