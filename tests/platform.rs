//! `wit up`: what a token is worth depends on what the server enforces.

#![cfg(feature = "platform")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Home, WIT, text};

const PASSWORD: &str = "correct horse";

/// A server of `wit up` in a throwaway home, stopped at the end.
struct Server {
    home: Home,
    address: String,
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }
}

impl Server {
    fn start() -> Self {
        Self::start_in(Home::new())
    }

    fn start_in(home: Home) -> Self {
        let up = home.run(WIT, &["up", "--port", "0", "--json"], "");
        assert!(up.status.success(), "{}", text(&up.stderr));
        let up: Value = serde_json::from_slice(&up.stdout).expect("JSON");
        let url = up["url"].as_str().expect("a URL");
        let address = url.strip_prefix("http://").expect("http").to_owned();
        Server { home, address }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn data_dir(&self) -> PathBuf {
        self.home.path().join(".local/share/wit/platform")
    }

    /// One request, word for word.
    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = TcpStream::connect(&self.address).expect("the server answers");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a time limit");
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        request += body;
        stream.write_all(request.as_bytes()).expect("written");
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).expect("read");
        let reply = text(&reply);
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head and a body");
        Reply {
            status: head[9..12].parse().expect("a status"),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    fn post(&self, path: &str, bearer: &str, body: Value) -> Reply {
        let authorization = format!("Bearer {bearer}");
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", authorization.as_str()),
        ];
        self.request("POST", path, &headers, &body.to_string())
    }

    fn bearing(&self, method: &str, path: &str, bearer: &str) -> Reply {
        let authorization = format!("Bearer {bearer}");
        self.request(method, path, &[("Authorization", &authorization)], "")
    }

    /// Makes an account and returns its session.
    fn sign_up(&self, username: &str) -> String {
        let body = json!({
            "email": format!("{username}@example.com"),
            "password": PASSWORD,
            "name": username,
            "username": username,
        });
        let reply = self.post("/api/auth/sign-up/email", "", body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["token"].as_str().expect("a token").to_owned()
    }

    fn token(&self, session: &str, scopes: &[&str]) -> Value {
        let body = json!({ "name": "test", "scopes": scopes, "expiresInDays": 30 });
        let reply = self.post("/api/tokens", session, body);
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.json()
    }

    fn secret(&self, session: &str, scopes: &[&str]) -> String {
        let token = self.token(session, scopes);
        token["token"].as_str().expect("the secret").to_owned()
    }

    fn repository(&self, session: &str, name: &str, private: bool) {
        let body = json!({ "name": name, "private": private });
        let reply = self.post("/api/repos", session, body);
        assert_eq!(reply.status, 201, "{}", reply.body);
    }

    /// A remote with the secret in its URL: fine for a throwaway one.
    fn remote(&self, username: &str, secret: &str, path: &str) -> String {
        format!("http://{username}:{secret}@{}{path}", self.address)
    }

    fn git(&self, arguments: &[&str]) -> std::process::Output {
        self.home.run("git", arguments, "")
    }

    /// A repository with one commit, below the home.
    fn work(&self, name: &str) {
        for arguments in [
            &["init", "-q", "-b", "main", name][..],
            &["-C", name, "config", "user.name", "A"],
            &["-C", name, "config", "user.email", "a@example.com"],
            &["-C", name, "commit", "-q", "--allow-empty", "-m", "first"],
        ] {
            let done = self.git(arguments);
            assert!(done.status.success(), "{}", text(&done.stderr));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let down = self.home.run(WIT, &["down"], "");
        if !std::thread::panicking() {
            assert!(down.status.success(), "{}", text(&down.stderr));
        }
    }
}

#[test]
fn up_names_the_one_command_to_type_next_and_down_ends_it() {
    let home = Home::new();
    let up = home.run(WIT, &["up", "--port", "0"], "");
    assert!(up.status.success(), "{}", text(&up.stderr));
    let said = text(&up.stdout);
    assert!(said.contains("wit login http://127.0.0.1:"), "{said}");
    assert!(
        said.contains("--sign-up --email you@example.com --username you"),
        "{said}"
    );

    let again = home.run(WIT, &["up"], "");
    assert!(again.status.success());
    assert!(
        text(&again.stdout).contains("already runs"),
        "{}",
        text(&again.stdout)
    );

    let down = home.run(WIT, &["down"], "");
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert!(text(&down.stdout).contains("wit stopped"));
    let down = home.run(WIT, &["down"], "");
    assert!(down.status.success());
    assert!(text(&down.stdout).contains("does not run"));
}

#[test]
fn up_says_that_its_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let home = Home::new();
    let up = home.run(WIT, &["up", "--port", &port], "");
    assert_eq!(up.status.code(), Some(1));
    let said = text(&up.stderr);
    assert!(said.contains("can't listen on 127.0.0.1:"), "{said}");
    assert!(said.contains("hint: wit up --port 0"), "{said}");
}

#[test]
fn up_listens_to_other_machines_only_when_told_that_http_is_open() {
    let home = Home::new();
    let up = home.run(WIT, &["up", "--port", "0", "--listen", "0.0.0.0"], "");
    assert_eq!(up.status.code(), Some(2));
    assert!(text(&up.stderr).contains("--allow-http"));
}

#[test]
fn down_signals_no_process_but_the_server() {
    let home = Home::new();
    let data_dir = home.path().join(".local/share/wit/platform");
    std::fs::create_dir_all(&data_dir).expect("a directory");
    let mut bystander = home.command("cat");
    bystander.stdin(std::process::Stdio::piped());
    let mut bystander = bystander.spawn().expect("cat");
    let stale = json!({ "pid": bystander.id(), "address": "127.0.0.1:3000" });
    std::fs::write(data_dir.join("server.pid"), stale.to_string()).expect("written");

    let down = home.run(WIT, &["down"], "");
    assert!(text(&down.stdout).contains("does not run"));
    assert!(bystander.try_wait().expect("a status").is_none());
    drop(bystander.stdin.take());
    assert!(bystander.wait().expect("it ends").success());
}

#[test]
fn only_the_owner_can_read_what_the_server_keeps() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    let mode = |name: &str| {
        let path = server.data_dir().join(name);
        std::fs::metadata(path)
            .expect("it exists")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(""), 0o700);
    for file in ["wit.sqlite3", "wit.sqlite3-wal", "server.log", "server.pid"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}
