//! What the server does about those who are slow, greedy or curious.

#![cfg(feature = "platform")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::platform::Server;
use crate::support::{Home, text, until};
use serde_json::{Value, json};

/// A server that waits for a silent client only as long as it must.
fn impatient() -> Server {
    Server::start_with(Home::new(), &["--patience", "1"])
}

/// What the server says until it ends the connection, which it has to do soon.
fn ended(mut stream: TcpStream) -> String {
    let begun = Instant::now();
    stream
        .set_read_timeout(Some(Duration::from_secs(40)))
        .expect("a time limit");
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
    text(&said)
}

fn connect(server: &Server, begin: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).expect("the server answers");
    stream.write_all(begin.as_bytes()).expect("written");
    stream
}

#[test]
fn who_sends_no_request_or_half_of_one_loses_the_connection() {
    let server = impatient();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:write"]);
    let push = format!(
        "POST /alice/demo.git/git-receive-pack HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 100000\r\n\r\n00"
    );
    let sign_in = "POST /api/auth/sign-in/email HTTP/1.1\r\nHost: localhost\r\n\
                   Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let slow = ["", "GET /health HTTP/1.1\r\nHos", sign_in, &push];
    let streams = slow.map(|begin| connect(&server, begin));
    for stream in streams {
        let said = ended(stream);
        assert!(!said.contains("unpack ok"), "{said}");
    }
    assert_eq!(server.request("GET", "/health", &[], "").body, "ok\n");
}

#[test]
fn who_does_not_read_his_answer_ties_up_no_git() {
    let server = impatient();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    server.work("work");
    let noise = server.home.path().join("work/noise");
    let random = std::fs::File::open("/dev/urandom").expect("randomness");
    let mut file = std::fs::File::create(noise).expect("a file");
    std::io::copy(&mut random.take(24 << 20), &mut file).expect("written");
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    for arguments in [
        &["-C", "work", "add", "noise"][..],
        &["-C", "work", "commit", "-q", "-m", "noise"],
        &["-C", "work", "push", "-q", &remote, "main"],
    ] {
        assert!(server.git(arguments).status.success());
    }
    let head = text(&server.git(&["-C", "work", "rev-parse", "HEAD"]).stdout);
    let wish = format!("0032want {}\n00000009done\n", head.trim());
    let stream = connect(
        &server,
        &format!(
            "POST /alice/demo.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\
             Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {}\r\n\r\n{wish}",
            wish.len()
        ),
    );
    until("git runs", || !gits(&server).is_empty());
    until("git is gone", || gits(&server).is_empty());
    drop(stream);
}

/// The processes that the server has begun and that run.
fn gits(server: &Server) -> Vec<String> {
    // They are the children of whichever thread began them.
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    let children = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("children")).ok()
    };
    let all: Vec<String> = tasks.filter_map(children).collect();
    let all = all.iter().flat_map(|children| children.split_whitespace());
    all.map(str::to_owned).collect()
}

#[test]
fn no_git_can_take_all_the_memory() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", false);
    let half = "POST /alice/demo.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 100\r\n\r\n00";
    let stream = connect(&server, half);
    until("git runs", || !gits(&server).is_empty());
    until("it is bounded", || {
        let limits = gits(&server)
            .first()
            .map(|git| format!("/proc/{git}/limits"));
        let limits = limits.and_then(|limits| std::fs::read_to_string(limits).ok());
        let limits = limits.unwrap_or_default();
        let data = limits
            .lines()
            .find(|line| line.starts_with("Max data size"));
        data.is_some_and(|data| data.contains(&(1 << 30).to_string()))
    });
    drop(stream);
}

#[test]
fn what_is_too_large_is_refused() {
    let server = Server::start();
    let long = "x".repeat(100_000);
    let head = server.request("GET", "/health", &[("X-Long", &long)], "");
    assert_eq!(head.status, 431);
    let json = [("Content-Type", "application/json")];
    let body = json!({ "email": "x@example.com", "password": long });
    let body = server.request("POST", "/api/auth/sign-in/email", &json, &body.to_string());
    assert_eq!(body.status, 413);
}

#[test]
fn every_answer_has_the_headers_that_keep_a_browser_safe() {
    let server = Server::start();
    for path in [
        "/health",
        "/api/tokens",
        "/nothing/here",
        "/alice/x.git/info/refs",
    ] {
        let head = server.request("GET", path, &[], "").head;
        for header in [
            "x-content-type-options: nosniff",
            "referrer-policy: ",
            "content-security-policy: default-src 'none'",
            "cache-control: no-store",
            "x-request-id: ",
        ] {
            assert!(head.contains(header), "{path} without {header}: {head}");
        }
    }
}

#[test]
fn a_token_is_told_how_many_requests_it_has_left() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let secret = server.secret(&session, &["repo:read"]);
    let left = |path: &str, bearer: &str| {
        let head = server.bearing("GET", path, bearer).head;
        let line = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.parse::<i64>().expect("a number"))
        };
        (
            line("x-ratelimit-limit: "),
            line("x-ratelimit-remaining: "),
            line("x-ratelimit-reset: ").is_some(),
        )
    };
    assert_eq!(
        left("/api/v1/user", &secret),
        (Some(5_000), Some(4_999), true)
    );
    // What a scope refuses counts too.
    let (_, remaining, _) = left("/api/repos", &secret);
    assert!(remaining.is_some_and(|remaining| remaining < 4_999));
    assert_eq!(left("/api/repos", &session), (None, None, false));
}

#[test]
fn metrics_are_told_where_asked_for_and_have_no_label_of_a_clients_choice() {
    let server = Server::start();
    assert_eq!(server.request("GET", "/metrics", &[], "").status, 404);
    drop(server);

    let server = Server::start_with(Home::new(), &["--metrics"]);
    let odd = "wit_0123456789abcdef0123456789abcdef01234567";
    server.request("GET", &format!("/{odd}?{odd}"), &[], "");
    server.request(odd, &format!("/{odd}/{odd}/info/refs"), &[], "");
    server.request("GET", "/health", &[], "");
    let told = server.request("GET", "/metrics", &[], "");
    assert_eq!(told.status, 200);
    assert!(
        told.head
            .contains("content-type: text/plain; version=0.0.4")
    );
    let told = told.body;
    for line in [
        r#"wit_http_requests_total{method="GET",route="/health",status="200"} 1"#,
        r#"wit_http_requests_total{method="GET",route="none",status="404"} 1"#,
        r#"wit_http_requests_total{method="other",route="/{owner}/{repository}/info/refs",status="405"} 1"#,
        r#"wit_http_request_duration_seconds_count{route="/health"} 1"#,
        "wit_http_requests_under_way 1",
    ] {
        assert!(told.contains(line), "no {line} in {told}");
    }
    assert!(!told.contains("wit_0123"), "{told}");
}

#[test]
fn the_log_is_json_with_the_answers_request_id_and_without_a_secret() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let secret = server.secret(&session, &["repo:read"]);
    let reply = server.bearing("GET", "/api/v1/user", &secret);
    let head = reply.head;
    let id = (head
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: ")))
    .expect("an id");
    // Wherever a client may put it.
    let header = [("X-Token", secret.as_str()), ("Referer", secret.as_str())];
    for (method, path) in [
        ("GET", format!("/{secret}")),
        ("GET", format!("/health?{secret}")),
        (secret.as_str(), "/health".to_owned()),
        ("DELETE", format!("/api/tokens/{secret}")),
    ] {
        server.request(method, &path, &header, &secret);
    }
    let log = std::fs::read_to_string(server.data_dir().join("server.log")).expect("it exists");
    assert!(!log.contains(&secret[8..]), "{log}");
    assert!(!log.contains(&session), "{log}");
    let lines: Vec<Value> = (log.lines())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let line = lines.iter().find(|line| line["fields"]["request"] == id);
    let fields = &line.expect("the request's line")["fields"];
    assert_eq!(fields["route"], "/api/v1/user");
    assert_eq!(fields["status"], 200);
    assert_eq!(fields["from"], "127.0.0.1");
    assert!(fields["ms"].is_u64());
}
