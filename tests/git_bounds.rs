//! What one address, one account and one request can take of the server's gits.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::support::platform::{Server, Upload};
use crate::support::{text, until};

/// A connection from another address of this machine.
fn from(host: u8, server: &Server) -> Option<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let own = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0));
    bind(&socket, &own).expect("this machine has the address");
    let server: SocketAddr = server.address.parse().expect("an address");
    connect(&socket, &server).ok()?;
    Some(TcpStream::from(socket))
}

#[test]
fn slow_requests_from_one_address_leave_room_for_the_others() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", false);
    // Several accounts, all at one address.
    let secrets: Vec<String> = (0..4)
        .map(|number| {
            let session = server.sign_up(&format!("mallory{number}"));
            server.secret(&session, &["repo:read"])
        })
        .collect();
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    server.work("work");
    let slow: Vec<Upload> = (0..120)
        .filter_map(|number| {
            let authorization = format!("Bearer {}", secrets[number % secrets.len()]);
            let headers = [("Authorization", authorization.as_str())];
            let path = "/alice/demo.git/git-upload-pack";
            let mut upload = Upload::begin(from(2, &server)?, path, &headers);
            upload.send(b"0");
            Some(upload)
        })
        .collect();
    until("many gits run", || server.gits().len() >= 30);
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    let push = server.git(&["-C", "work", "push", "-q", &remote, "main"]);
    assert!(push.status.success(), "{}", text(&push.stderr));
    let clone = server.git(&["clone", "-q", &remote, "cloned"]);
    assert!(clone.status.success(), "{}", text(&clone.stderr));
    assert!(server.gits().len() >= 30, "the slow ones were over");
    drop(slow);
}

#[test]
fn repositories_that_are_created_at_once_take_their_turns() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let is_over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(server.gits().len());
            }
            most
        });
        let creating: Vec<_> = (0..150)
            .map(|number| {
                let (server, session) = (&server, &session);
                scope.spawn(move || server.repository(session, &format!("demo{number}"), true))
            })
            .collect();
        for thread in creating {
            thread.join().expect("created");
        }
        is_over.store(true, Ordering::Relaxed);
        watch.join().expect("no panic")
    });
    // Of those that end while they are counted, some count beside those that take their place.
    assert!((1..=64).contains(&most), "{most} at once");
}

#[test]
fn a_git_has_so_much_cpu_time_and_no_more() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", false);
    let path = "/alice/demo.git/git-upload-pack";
    let stream = TcpStream::connect(&server.address).expect("it answers");
    let _upload = Upload::begin(stream, path, &[]);
    until("git runs", || !server.gits().is_empty());
    until("it is bounded", || {
        let limits = (server.gits().first()).map(|git| format!("/proc/{git}/limits"));
        let limits = limits.and_then(|limits| std::fs::read_to_string(limits).ok());
        let limits = limits.unwrap_or_default();
        let mut lines = limits.lines();
        let cpu = lines.find_map(|line| line.strip_prefix("Max cpu time"));
        cpu.is_some_and(|cpu| cpu.split_whitespace().eq(["600", "600", "seconds"]))
    });
}

#[test]
fn a_small_request_unpacks_to_no_large_one() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", false);
    let secret = server.secret(&session, &["repo:write"]);
    let authorization = format!("Bearer {secret}");
    let id = "1".repeat(40);
    let want = format!("0032want {id}\n");
    for (service, bound) in [("git-upload-pack", 4 << 20), ("git-receive-pack", 64 << 20)] {
        for coding in ["gzip", "identity"] {
            if (service, coding) == ("git-receive-pack", "identity") {
                continue;
            }
            let stream = TcpStream::connect(&server.address).expect("it answers");
            let headers = [
                ("Authorization", authorization.as_str()),
                ("Content-Encoding", coding),
            ];
            let headers = &headers[usize::from(service == "git-upload-pack")..];
            let path = format!("/alice/demo.git/{service}");
            let mut upload = Upload::begin(stream, &path, headers);
            let mut body = want.repeat(bound / want.len() + 1).into_bytes();
            if coding == "gzip" {
                let mut gzip =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(&body).expect("in memory");
                body = gzip.finish().expect("in memory");
            }
            upload.send(&body);
            let (status, said) = upload.end();
            assert_eq!(status, 413, "{service} {coding}: {said}");
            until("git is gone", || server.gits().is_empty());
        }
    }
}
