//! Clients that hang up, stay silent or send too slowly, and the log that many of them fill.

#![cfg(feature = "platform")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::platform::{PASSWORD, Server, request, try_request};
use crate::support::{Home, WIT, text, until};

/// Largest log of a server, in bytes.
const MAX_LOG: u64 = 16 << 20;

/// Waits until the server has closed a connection.
fn closed(mut stream: TcpStream) {
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a time limit");
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_handler_finishes_although_its_client_hangs_up() {
    let server = Server::start_with(Home::new(), &["--metrics"]);
    let body = json!({
        "email": "ada@example.com", "username": "ada", "name": "ada", "password": PASSWORD,
    })
    .to_string();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        use sqlx::{ConnectOptions, Connection, Executor, sqlite::SqliteConnectOptions};
        let file = server.data_dir().join("wit.sqlite3");
        let options = SqliteConnectOptions::new().filename(file);
        let mut other = options.connect().await.expect("the database");
        // The handler waits for its turn to write until this ends.
        other.execute("BEGIN IMMEDIATE").await.expect("the lock");
        let mut stream = TcpStream::connect(&server.address).expect("the server answers");
        let head = format!(
            "POST /api/auth/sign-up/email HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("written");
        until("the handler is at work", || {
            let told = server.request("GET", "/metrics", &[], "").body;
            told.contains("wit_http_requests_under_way 2")
        });
        stream.shutdown(Shutdown::Write).expect("shut");
        closed(stream);
        other.execute("ROLLBACK").await.expect("no lock");
        other.close().await.expect("closed");
    });
    let log = server.data_dir().join("server.log");
    until("the request is answered", || {
        let log = std::fs::read_to_string(&log).expect("a log");
        log.contains("/api/auth/sign-up/email")
    });
    let again = server.post(
        "/api/auth/sign-up/email",
        "",
        serde_json::from_str(&body).expect("JSON"),
    );
    assert_eq!(
        again.json()["code"],
        "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"
    );
}

/// A server that may open so few files that 120 connections would take them all.
fn narrow() -> Server {
    let home = Home::new();
    let script = "ulimit -n 64 && exec wit up --port 0 --json";
    let up = home.run("sh", &["-c", script], "");
    assert!(up.status.success(), "{}", text(&up.stderr));
    let up: Value = serde_json::from_slice(&up.stdout).expect("JSON");
    let url = up["url"].as_str().expect("a URL");
    let address = url.strip_prefix("http://").expect("http").to_owned();
    Server { home, address }
}

#[test]
fn silent_connections_leave_room_for_those_that_ask() {
    let server = narrow();
    let silent: Vec<TcpStream> = (0..120)
        .map(|_| TcpStream::connect(&server.address).expect("the kernel takes it"))
        .collect();
    // While the server still takes the silent ones, in whatever order, a request may be among those that
    // make room; from then on it is not.
    until("an answer", || {
        let reply = try_request(&server.address, "GET", "/health", &[], "");
        reply.is_ok_and(|reply| reply.body == "ok\n")
    });
    let other = server.request_from([127, 0, 0, 2], "GET", "/health", &[], "");
    assert_eq!(other.body, "ok\n");
    // Gits and the database find room too.
    let session = server.sign_up("ada");
    server.repository(&session, "demo", false);
    let remote = server.url("/ada/demo.git");
    let listed = server.git(&["ls-remote", &remote]);
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    drop(silent);
}

#[test]
fn a_body_that_comes_too_slowly_is_cut_off_although_it_is_never_silent() {
    let server = Server::start_with(Home::new(), &["--patience", "2"]);
    let session = server.sign_up("ada");
    server.repository(&session, "demo", false);
    let mut stream = TcpStream::connect(&server.address).expect("the server answers");
    let head = "POST /ada/demo.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("written");
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a time limit");
    let begun = std::time::Instant::now();
    loop {
        assert!(begun.elapsed().as_secs() < 40, "it is still served");
        if stream.write_all(b"0").is_err() {
            break;
        }
        match stream.read(&mut [0; 1024]) {
            Ok(0) => break,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
            _ => {}
        }
    }
}

/// A log that is nearly full.
fn fill(log: &Path) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(log)
        .expect("the log");
    let size = file.metadata().expect("its size").len();
    let line = "x".repeat(1023) + "\n";
    let lines = (MAX_LOG - size) / 1024;
    file.write_all(line.repeat(usize::try_from(lines).expect("few")).as_bytes())
        .expect("written");
}

/// Asks until the log was begun anew, and looks at both.
fn assert_rotates(address: &str, log: &Path) {
    until("the log is begun anew", || {
        request(address, "GET", "/api/tokens", &[], "");
        std::fs::metadata(log).expect("the log").len() < MAX_LOG / 2
    });
    request(address, "GET", "/api/tokens", &[], "");
    let new = std::fs::read_to_string(log).expect("the log");
    assert!(new.starts_with("{"), "{new:.100}");
    assert!(new.ends_with("}\n"), "{new}");
    let aside = std::fs::metadata(log.with_extension("log.1")).expect("the log before");
    assert!(
        aside.len() > MAX_LOG - 4096 && aside.len() <= MAX_LOG,
        "{}",
        aside.len()
    );
}

#[test]
fn the_log_of_a_server_in_the_background_is_bounded_while_it_runs() {
    let home = Home::new();
    let data_dir = home.path().join(".local/share/wit/platform");
    std::fs::create_dir_all(&data_dir).expect("a directory");
    fill(&data_dir.join("server.log"));
    let server = Server::start_in(home);
    assert_rotates(&server.address, &data_dir.join("server.log"));
}

#[test]
fn the_log_of_a_server_in_the_foreground_is_bounded_where_it_is_the_servers_file() {
    let home = Home::new();
    let data_dir = home.path().join("data");
    std::fs::create_dir_all(&data_dir).expect("a directory");
    let log = data_dir.join("server.log");
    fill(&log);
    let mut command = home.command(WIT);
    command
        .args([
            "up",
            "--foreground",
            "--json",
            "--port",
            "0",
            "--data-dir",
            "data",
        ])
        .stdout(Stdio::piped())
        // As a shell's `2>>` opens it.
        .stderr(File::options().append(true).open(&log).expect("the log"));
    let mut up = command.spawn().expect("wit runs");
    let mut said = Vec::new();
    let mut stdout = up.stdout.take().expect("piped");
    while !said.ends_with(b"}\n") {
        let mut byte = [0];
        assert_eq!(stdout.read(&mut byte).expect("read"), 1, "it did not start");
        said.push(byte[0]);
    }
    let said: Value = serde_json::from_slice(&said).expect("JSON");
    let url = said["url"].as_str().expect("a URL");
    assert_rotates(url.strip_prefix("http://").expect("http"), &log);
    let down = home.run(WIT, &["down", "--data-dir", "data"], "");
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert!(up.wait().expect("it ended").success());
}

#[test]
fn probes_of_health_do_not_fill_the_log() {
    let server = Server::start();
    for _ in 0..50 {
        assert_eq!(server.request("GET", "/health", &[], "").status, 200);
    }
    server.request("GET", "/api/tokens", &[], "");
    let log = std::fs::read_to_string(server.data_dir().join("server.log")).expect("a log");
    assert!(log.contains("/api/tokens"), "{log}");
    let probes = log
        .lines()
        .filter(|line| line.contains(r#""route":"/health""#));
    // One a minute, and the test takes less than two.
    assert!(probes.count() <= 2, "{log}");
}
