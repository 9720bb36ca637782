//! Git over HTTP: whoever may, however much, and nothing but git's own protocol.

#![cfg(feature = "platform")]

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;

use crate::support::platform::Server;
use crate::support::{Home, WIT, gits, text, until};

/// A server with a private repository `alice/demo`, and a token that may all but administer.
fn hosting() -> (Server, String, String) {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    (server, secret, remote)
}

/// Commits a file that does not compress.
fn commit_noise(server: &Server, work: &str, bytes: u64) {
    let path = server.home.path().join(work).join("noise");
    let mut file = std::fs::File::create(path).expect("a file");
    let random = std::fs::File::open("/dev/urandom").expect("randomness");
    std::io::copy(&mut random.take(bytes), &mut file).expect("written");
    for arguments in [
        &["-C", work, "add", "noise"][..],
        &["-C", work, "commit", "-q", "-m", "noise"],
    ] {
        assert!(server.git(arguments).status.success());
    }
}

fn succeeds(output: &std::process::Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn fsck(repository: &Path) {
    let fsck = std::process::Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["fsck", "--full", "--strict"])
        .output()
        .expect("git");
    succeeds(&fsck);
}

#[test]
fn anybody_reads_a_public_repository_and_only_that() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "open", false);
    server.repository(&session, "secret", true);
    let token = server.secret(&session, &["repo:read", "repo:write"]);
    server.work("work");
    let push = [
        "-C",
        "work",
        "push",
        &server.remote("alice", &token, "/alice/open.git"),
        "main",
    ];
    succeeds(&server.git(&push));

    let url = |name: &str| format!("http://{}/alice/{name}.git", server.address);
    succeeds(&server.git(&["clone", &url("open"), "cloned"]));
    assert!(
        !server
            .git(&["-C", "work", "push", &url("open"), "main"])
            .status
            .success()
    );

    let look = |name: &str, service: &str| {
        let path = format!("/alice/{name}.git/info/refs?service={service}");
        let reply = server.request("GET", &path, &[], "");
        (reply.status, reply.body)
    };
    let hidden = look("secret", "git-upload-pack");
    assert_eq!(hidden.0, 401);
    assert_eq!(look("none", "git-upload-pack"), hidden);
    for name in ["open", "secret", "none"] {
        assert_eq!(look(name, "git-receive-pack"), hidden, "{name}");
    }
    // One that is wrong is not as good as none.
    let wrong = format!("wit_{}", "0".repeat(40));
    let path = "/alice/open.git/info/refs?service=git-upload-pack";
    assert_eq!(server.bearing("GET", path, &wrong).status, 401);
}

#[test]
fn each_git_fetches_with_a_compressed_request_in_every_way() {
    let (server, _, remote) = hosting();
    server.work("work");
    // So many wishes that git compresses its request for them.
    for number in 0..60 {
        let message = format!("number {number}");
        let branch = format!("branch-{number}");
        for arguments in [
            &["-C", "work", "checkout", "-q", "-b", &branch][..],
            &[
                "-C",
                "work",
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                &message,
            ],
        ] {
            succeeds(&server.git(arguments));
        }
    }
    succeeds(&server.git(&["-C", "work", "push", "-q", &remote, "--all"]));
    for (index, git) in gits().iter().enumerate() {
        for (version, more) in [("0", &[][..]), ("2", &[]), ("2", &["--depth=1"])] {
            let clone = format!("clone-{index}-{version}-{}", more.len());
            let protocol = format!("protocol.version={version}");
            let mut command = server.home.command(git);
            command
                .args(["-c", &protocol, "clone", "--no-single-branch"])
                .args(more)
                .args([&remote, &clone])
                .env("GIT_TRACE_CURL", "1");
            let cloned = crate::support::feed(command, b"");
            succeeds(&cloned);
            let said = text(&cloned.stderr).to_lowercase();
            assert!(said.contains("content-encoding: gzip"), "{git} {protocol}");
            let refs = server.git(&["-C", &clone, "branch", "-r"]);
            assert_eq!(text(&refs.stdout).matches("branch-").count(), 60);
        }
        let partial = format!("partial-{index}");
        let clone = ["clone", "--filter=blob:none", &remote, &partial];
        succeeds(&server.home.run(git, &clone, ""));
    }
}

#[test]
fn a_large_push_and_clone_leave_the_servers_memory_small() {
    let (server, _, remote) = hosting();
    server.work("work");
    commit_noise(&server, "work", 64 << 20);
    // What the server takes by itself, a password's hash above all.
    let before = server.peak_memory();
    succeeds(&server.git(&["-C", "work", "push", "-q", &remote, "main"]));
    succeeds(&server.git(&["clone", "-q", &remote, "cloned"]));
    let peak = server.peak_memory();
    assert!(peak - before < 16 * 1024, "{before} and {peak} KiB");
}

#[cfg(target_os = "linux")]
#[test]
fn a_push_that_is_acknowledged_lies_on_the_disk() {
    let home = Home::new();
    let (calls, said) = (home.path().join("calls"), home.path().join("said"));
    let mut strace = home.command("strace");
    // -D keeps strace out of the way of `wit up`, which is waited for.
    let words = "-D -f -qq -e trace=fsync,fdatasync -e signal=none -o";
    strace.args(words.split(' ')).arg(&calls);
    strace.args([WIT, "up", "--port", "0", "--json"]);
    // To a file, since strace holds on to it for as long as the server runs.
    strace.stdout(std::fs::File::create(&said).expect("a file"));
    let up = strace.status().expect("strace: apt-get install strace");
    assert!(up.success());
    let said = std::fs::read(&said).expect("read");
    let up: serde_json::Value = serde_json::from_slice(&said).expect("JSON");
    let url = up["url"].as_str().expect("a URL");
    let server = Server {
        address: url.strip_prefix("http://").expect("http").to_owned(),
        home,
    };
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:write"]);
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    server.work("work");
    let tasks = format!("/proc/{}/task", server.pid());
    // Not by the server itself, whose database does too.
    let synced = || {
        let calls = std::fs::read_to_string(&calls).expect("it was begun");
        let of_git = |line: &&str| {
            let task = line.split(' ').next().expect("a process id");
            !Path::new(&tasks).join(task).exists()
        };
        calls.lines().filter(of_git).count()
    };
    let before = synced();
    succeeds(&server.git(&["-C", "work", "push", "-q", &remote, "main"]));
    until("objects and reference are on the disk", || {
        synced() >= before + 3
    });
}

/// Forwards one connection to the server. What it sends back is passed on until `pause` bytes of
/// it were, and then only after a word from `go_on`; what it is sent ends at `cut` bytes.
fn forward(server: &str, cut: u64, pause: u64, go_on: mpsc::Receiver<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = server.to_owned();
    std::thread::spawn(move || {
        let mut go_on = Some(go_on);
        for client in listener.incoming().flatten() {
            let Ok(upstream) = TcpStream::connect(&server) else {
                return;
            };
            let pair = |stream: &TcpStream| stream.try_clone().expect("a second handle");
            let (client2, upstream2) = (pair(&client), pair(&upstream));
            std::thread::spawn(move || {
                let sent = std::io::copy(&mut client.take(cut), &mut &upstream);
                if sent.is_ok_and(|sent| sent == cut) {
                    let _ = upstream.shutdown(std::net::Shutdown::Both);
                }
            });
            let go_on = go_on.take();
            std::thread::spawn(move || {
                let (mut from, mut to) = (&upstream2, &client2);
                let passed = std::io::copy(&mut from.take(pause), &mut to);
                if let (Ok(passed), Some(go_on)) = (passed, go_on)
                    && passed == pause
                {
                    let _ = go_on.recv();
                }
                let _ = std::io::copy(&mut from, &mut to);
                let _ = client2.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn a_push_that_is_cut_off_changes_nothing() {
    let (server, secret, remote) = hosting();
    server.work("work");
    succeeds(&server.git(&["-C", "work", "push", "-q", &remote, "main"]));
    let before = server.git(&["ls-remote", &remote]).stdout;
    commit_noise(&server, "work", 4 << 20);
    let (_keep, never) = mpsc::channel();
    let cut = forward(&server.address, 1 << 20, u64::MAX, never);
    let through = format!("http://alice:{secret}@{cut}/alice/demo.git");
    let push = server.git(&["-C", "work", "push", "-q", &through, "main"]);
    assert!(!push.status.success());
    assert_eq!(server.git(&["ls-remote", &remote]).stdout, before);
    let repository = server.only_repository();
    until("git has cleaned up after itself", || {
        let left = std::fs::read_dir(repository.join("objects")).expect("it exists");
        !left
            .flatten()
            .any(|one| one.file_name().to_string_lossy().contains("incoming"))
    });
    fsck(&repository);
    succeeds(&server.git(&["-C", "work", "push", "-q", &remote, "main"]));
    fsck(&repository);
}

#[test]
fn a_clone_under_way_is_finished_before_the_server_stops() {
    let (server, secret, remote) = hosting();
    server.work("work");
    commit_noise(&server, "work", 24 << 20);
    succeeds(&server.git(&["-C", "work", "push", "-q", &remote, "main"]));
    let (go_on, told) = mpsc::channel();
    let slow = forward(&server.address, u64::MAX, 1 << 20, told);
    let through = format!("http://alice:{secret}@{slow}/alice/demo.git");
    std::thread::scope(|scope| {
        let clone = scope.spawn(|| server.git(&["clone", "-q", &through, "cloned"]));
        let packs = server.home.path().join("cloned/.git/objects/pack");
        until("the clone has begun to receive", || {
            std::fs::read_dir(&packs).is_ok_and(|mut packs| packs.next().is_some())
        });
        let down = scope.spawn(|| server.home.run(WIT, &["down"], ""));
        until("no new connection is taken", || {
            TcpStream::connect(&server.address).is_err()
        });
        go_on.send(()).expect("it waits");
        succeeds(&clone.join().expect("no panic"));
        succeeds(&down.join().expect("no panic"));
    });
    succeeds(&server.git(&["-C", "cloned", "fsck", "--full"]));
}

#[test]
fn no_path_leads_to_a_file() {
    let (server, secret, remote) = hosting();
    server.work("work");
    succeeds(&server.git(&["-C", "work", "push", "-q", &remote, "main"]));
    let id = server.only_repository();
    let id = id
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let query = "?service=git-upload-pack";
    for path in [
        "/alice/demo.git/HEAD",
        "/alice/demo.git/config",
        "/alice/demo.git/objects/info/packs",
        "/alice/demo.git/../../wit.sqlite3",
        "/alice/..%2f..%2fwit.sqlite3",
        "/../repositories/x/info/refs",
        &format!("/repositories/{id}/info/refs{query}"),
        &format!("/alice/{id}/info/refs{query}"),
        &format!("/alice/demo.git%2f..%2f{id}/info/refs{query}"),
        &format!("/alice/..%2f{id}/info/refs{query}"),
        &format!("/%2e%2e/{id}/info/refs{query}"),
        &format!("/alice/demo.git%00/info/refs{query}"),
        &format!("//alice/demo.git/info/refs{query}"),
    ] {
        let reply = server.bearing("GET", path, &secret);
        assert_eq!(reply.status, 404, "{path}: {}", reply.body);
    }
    // The old protocol would read files by name.
    let dumb = server.bearing("GET", "/alice/demo.git/info/refs", &secret);
    assert_eq!(dumb.status, 403);
}

#[test]
fn nothing_that_is_pushed_or_lies_in_a_repository_is_run() {
    use std::os::unix::fs::PermissionsExt;
    let (server, _, remote) = hosting();
    let proof = server.home.path().join("it-ran");
    let script = format!("#!/bin/sh\ntouch {}\n", proof.display());
    let repository = server.only_repository();
    server.work("work");
    let work = server.home.path().join("work");
    for hooks in [repository.join("hooks"), work.join("hooks")] {
        std::fs::create_dir_all(&hooks).expect("a directory");
        for hook in [
            "pre-receive",
            "update",
            "post-receive",
            "post-update",
            "proc-receive",
        ] {
            let hook = hooks.join(hook);
            std::fs::write(&hook, &script).expect("written");
            let all = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&hook, all).expect("set");
        }
    }
    let config = format!(
        "[core]\n\tfsmonitor = touch {0}\n\thooksPath = hooks\n[uploadpack]\n\tpackObjectsHook = touch {0}\n",
        proof.display()
    );
    std::fs::write(work.join("config"), &config).expect("written");
    let own = repository.join("config");
    let before = std::fs::read_to_string(&own).expect("it exists");
    std::fs::write(&own, format!("{before}{config}")).expect("written");
    for arguments in [
        &["-C", "work", "add", "-A"][..],
        &["-C", "work", "commit", "-q", "-m", "hooks"],
        &["-C", "work", "push", "-q", &remote, "main"],
        &["clone", "-q", &remote, "cloned"],
    ] {
        succeeds(&server.git(arguments));
    }
    assert!(!proof.exists());
}
