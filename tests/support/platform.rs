//! A `wit up` of the test's own, and requests to it word for word.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::postgres::Postgres;
use super::{Home, WIT, text};

/// Of every account that [`Server::sign_up`] makes.
pub const PASSWORD: &str = "correct horse";

/// One request to an address, word for word.
pub fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    try_request(address, method, path, headers, body).expect("the server answers")
}

/// The same to a server that may be gone, or go while it answers.
pub fn try_request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Reply> {
    over(
        TcpStream::connect(address)?,
        address,
        method,
        path,
        headers,
        body,
    )
}

/// A connection from one of this machine's own addresses, all of 127.0.0.0/8.
pub fn connect_from(source: [u8; 4], address: &str) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let server: SocketAddr = address.parse().expect("an address");
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&stream, &SocketAddr::from((source, 0))).expect("an address of this machine");
    connect(&stream, &server).expect("the server answers");
    stream.into()
}

/// One request over a connection, which is the last one over it.
fn over(
    mut stream: TcpStream,
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Reply> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    request += body;
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let status = head[9..12].parse().expect("a status");
    let raw_head = head;
    let head = raw_head.trim_end().to_lowercase();
    // Not everybody closes the connection, as was asked.
    let length = (head.lines()).find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map(|length| length.trim().parse::<u64>().expect("a length"));
    let mut body = Vec::new();
    let read = (reader.take(length.unwrap_or(u64::MAX))).read_to_end(&mut body)?;
    if length.is_some_and(|length| length > read as u64) {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Reply {
        status,
        head,
        raw_head,
        body: text(&body),
    })
}

/// A server of `wit up` in a throwaway home, stopped at the end.
pub struct Server {
    pub home: Home,
    pub address: String,
}

pub struct Reply {
    pub status: u16,
    /// In lower case.
    pub head: String,
    /// As it came.
    pub raw_head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }
}

impl Server {
    pub fn start() -> Self {
        Self::start_in(Home::new())
    }

    pub fn start_in(home: Home) -> Self {
        Self::start_with(home, &[])
    }

    /// One that keeps its data in a PostgreSQL.
    pub fn start_on(database: &Postgres) -> Self {
        let mut home = Home::new();
        home.set("DATABASE_URL", database.url());
        Self::start_in(home)
    }

    /// With more arguments of `wit up`.
    pub fn start_with(home: Home, more: &[&str]) -> Self {
        let arguments = [&["up", "--port", "0", "--json"], more].concat();
        let up = home.run(WIT, &arguments, "");
        assert!(up.status.success(), "{}", text(&up.stderr));
        let up: Value = serde_json::from_slice(&up.stdout).expect("JSON");
        let url = up["url"].as_str().expect("a URL");
        let address = url.strip_prefix("http://").expect("http").to_owned();
        Server { home, address }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join(".local/share/wit/platform")
    }

    /// One request, word for word.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        request(&self.address, method, path, headers, body)
    }

    /// The same from one of this machine's own addresses.
    pub fn request_from(
        &self,
        source: [u8; 4],
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let stream = connect_from(source, &self.address);
        over(stream, &self.address, method, path, headers, body).expect("the server answers")
    }

    /// The same under another name of the server.
    pub fn request_as(
        &self,
        host: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let stream = TcpStream::connect(&self.address).expect("the server answers");
        over(stream, host, method, path, headers, body).expect("the server answers")
    }

    pub fn request_to(&self, host: &str, method: &str, path: &str) -> Reply {
        self.request_as(host, method, path, &[], "")
    }

    pub fn post(&self, path: &str, bearer: &str, body: Value) -> Reply {
        let authorization = format!("Bearer {bearer}");
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", authorization.as_str()),
        ];
        self.request("POST", path, &headers, &body.to_string())
    }

    pub fn bearing(&self, method: &str, path: &str, bearer: &str) -> Reply {
        let authorization = format!("Bearer {bearer}");
        self.request(method, path, &[("Authorization", &authorization)], "")
    }

    /// Makes an account and returns its session.
    pub fn sign_up(&self, username: &str) -> String {
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

    pub fn token(&self, session: &str, scopes: &[&str]) -> Value {
        let body = json!({ "name": "test", "scopes": scopes, "expiresInDays": 30 });
        let reply = self.post("/api/tokens", session, body);
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.json()
    }

    pub fn secret(&self, session: &str, scopes: &[&str]) -> String {
        let token = self.token(session, scopes);
        token["token"].as_str().expect("the secret").to_owned()
    }

    pub fn repository(&self, session: &str, name: &str, private: bool) {
        let body = json!({ "name": name, "private": private });
        let reply = self.post("/api/repos", session, body);
        assert_eq!(reply.status, 201, "{}", reply.body);
    }

    /// A remote with the secret in its URL: fine for a throwaway one.
    pub fn remote(&self, username: &str, secret: &str, path: &str) -> String {
        format!("http://{username}:{secret}@{}{path}", self.address)
    }

    /// The process id of the server.
    pub fn pid(&self) -> u64 {
        let text = std::fs::read(self.data_dir().join("server.pid")).expect("it runs");
        let running: Value = serde_json::from_slice(&text).expect("JSON");
        running["pid"].as_u64().expect("a number")
    }

    /// The gits that the server runs now, by their process ids.
    #[cfg(target_os = "linux")]
    pub fn gits(&self) -> Vec<String> {
        // They are the children of whichever thread started them.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
        let children = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.ok()?.path().join("children")).ok()
        };
        let all: Vec<String> = tasks.filter_map(children).collect();
        let all = all.iter().flat_map(|children| children.split_whitespace());
        all.map(str::to_owned).collect()
    }

    /// The most memory that the server has had so far, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(status).expect("it runs");
        (status.lines().find_map(|line| line.strip_prefix("VmHWM:")))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
            .expect("a peak")
    }

    /// Ends the server without a word to it, and at once starts another in its place.
    pub fn kill_and_start(&self) {
        let pid = self.pid().to_string();
        let killed = self.home.run("kill", &["-9", &pid], "");
        assert!(killed.status.success(), "{}", text(&killed.stderr));
        let port = self.address.rsplit(':').next().expect("a port");
        let up = self.home.run(WIT, &["up", "--port", port, "--json"], "");
        assert!(up.status.success(), "{}", text(&up.stderr));
        let said = text(&up.stdout);
        assert!(
            said.contains(r#""alreadyRunning": false"#),
            "of the one that was killed: {said}"
        );
    }

    /// Where the only repository lies on the server's disk.
    pub fn only_repository(&self) -> PathBuf {
        let all = std::fs::read_dir(self.data_dir().join("repositories")).expect("it exists");
        let all: Vec<_> = all.map(|one| one.expect("readable").path()).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    pub fn git(&self, arguments: &[&str]) -> std::process::Output {
        self.home.run("git", arguments, "")
    }

    /// A repository with one commit, below the home.
    pub fn work(&self, name: &str) {
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

/// A request to git whose chunked body is sent bit by bit.
pub struct Upload(TcpStream);

impl Upload {
    /// Sends the head. `path` ends in the name of the service.
    pub fn begin(mut stream: TcpStream, path: &str, headers: &[(&str, &str)]) -> Self {
        let service = path.rsplit('/').next().expect("a service");
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/x-{service}-request\r\nTransfer-Encoding: chunked\r\n"
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream
            .write_all(format!("{head}\r\n").as_bytes())
            .expect("sent");
        Upload(stream)
    }

    /// Sends one chunk; `false` where the server takes no more.
    pub fn send(&mut self, data: &[u8]) -> bool {
        let chunk = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
        self.0.write_all(&chunk).is_ok()
    }

    /// Ends the body; where the answer is read from.
    pub fn finish(mut self) -> TcpStream {
        let _ = self.0.write_all(b"0\r\n\r\n");
        let limit = Some(Duration::from_secs(60));
        self.0.set_read_timeout(limit).expect("a time limit");
        self.0
    }

    /// Ends the body; the answer's status, and all that came with it.
    pub fn end(self) -> (u16, String) {
        let mut answer = Vec::new();
        // A connection that is reset may have answered before.
        let _ = self.finish().read_to_end(&mut answer);
        let answer = text(&answer);
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        (status.unwrap_or(0), answer)
    }
}

/// What a browser keeps of a sign-in: what each form that it sends carries.
pub struct Visitor<'a> {
    server: &'a Server,
    pub cookie: String,
    pub form: String,
}

pub const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

impl Server {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The cookie of a sign-in by the page's form, as it is set.
    pub fn cookie(&self, username: &str, headers: &[(&str, &str)]) -> String {
        let origin = self.url("");
        let mut all = vec![FORM, ("Origin", origin.as_str())];
        all.extend(headers);
        let body = format!("name={username}&password={}", PASSWORD.replace(' ', "+"));
        let reply = self.request("POST", "/login", &all, &body);
        assert_eq!(reply.status, 303, "{}", reply.body);
        let mut lines = reply.raw_head.lines();
        let line = lines.find_map(|line| line.split_once("set-cookie: "));
        line.expect("a cookie").1.to_owned()
    }

    pub fn visit(&self, username: &str) -> Visitor<'_> {
        let set = self.cookie(username, &[]);
        let cookie = set.split(';').next().expect("a pair").to_owned();
        let page = self.request("GET", "/settings/tokens", &[("Cookie", &cookie)], "");
        let (_, rest) = (page.body.split_once("name=\"form\" value=\"")).expect("a form token");
        let form = rest.split('"').next().expect("its end").to_owned();
        Visitor {
            server: self,
            cookie,
            form,
        }
    }
}

impl Visitor<'_> {
    /// A form with nothing but what is named here, and the cookie.
    pub fn send(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut all = vec![FORM, ("Cookie", self.cookie.as_str())];
        all.extend(headers);
        self.server.request("POST", path, &all, body)
    }

    /// A form as the page sends it.
    pub fn post(&self, path: &str, body: &str) -> Reply {
        let origin = self.server.url("");
        let body = format!("{body}&form={}", self.form);
        self.send(path, &[("Origin", &origin)], &body)
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
