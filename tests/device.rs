//! Signing in a device by a browser elsewhere (RFC 8628): server, page and `wit login`.

#![cfg(feature = "platform")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Stdio};

use crate::support::browser::Browser;
use crate::support::oidc::Login;
use crate::support::platform::{FORM, PASSWORD, Reply, Server};
use crate::support::server::{self, answer};
use crate::support::{Home, WIT, done, refused, text};
use serde_json::{Value, json};

fn ask(server: &Server) -> Value {
    let reply = server.request(
        "POST",
        "/api/auth/device/code",
        &[FORM],
        "client_id=wit&device_name=laptop",
    );
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(
        reply.head.contains("cache-control: no-store"),
        "{}",
        reply.head
    );
    reply.json()
}

fn poll(server: &Server, codes: &Value) -> Reply {
    let code = codes["device_code"].as_str().expect("a device code");
    let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
    let body = format!("grant_type={grant}&client_id=wit&device_code={code}");
    server.request("POST", "/api/auth/device/token", &[FORM], &body)
}

/// The answer to a poll as OAuth's word for it (RFC 6749, section 5.2).
fn told(server: &Server, codes: &Value) -> String {
    let reply = poll(server, codes);
    assert_eq!(reply.status, 400, "{}", reply.body);
    let error = reply.json()["error"].take();
    error.as_str().expect("an error").to_owned()
}

fn user_code(codes: &Value) -> &str {
    codes["user_code"].as_str().expect("a user code")
}

#[test]
fn a_device_is_told_what_its_person_has_said_whichever_server_was_asked() {
    let database = crate::support::postgres::Postgres::start();
    let [one, other] = [(); 2].map(|()| Server::start_on(&database));
    one.sign_up("alice");
    let visitor = other.visit("alice");
    let answer = |codes: &Value, answer: &str| {
        let body = format!("code={}&answer={answer}", user_code(codes));
        visitor.post("/device/answer", &body).status
    };

    let allowed = ask(&one);
    assert_eq!(allowed["verification_uri"], one.url("/device"));
    assert_eq!(allowed["expires_in"], 900);
    assert_eq!(told(&other, &allowed), "authorization_pending");
    assert_eq!(told(&one, &allowed), "slow_down");
    let code = user_code(&allowed).to_lowercase().replace('-', "+");
    let question = visitor.post("/device", &format!("code={code}"));
    for part in ["wit on laptop", user_code(&allowed), "30 days"] {
        assert!(question.body.contains(part), "{}", question.body);
    }
    assert_eq!(answer(&allowed, "allow"), 303);
    assert_eq!(answer(&allowed, "deny"), 422, "it was answered already");
    let granted = poll(&one, &allowed);
    assert_eq!(granted.status, 200, "{}", granted.body);
    let granted = granted.json();
    assert_eq!(granted["token_type"], "Bearer");
    assert_eq!(granted["user"]["username"], "alice");
    let session = granted["access_token"].as_str().expect("a session");
    assert_eq!(other.bearing("GET", "/api/tokens", session).status, 200);
    assert_eq!(told(&one, &allowed), "invalid_grant", "a code works once");

    let denied = ask(&one);
    assert_eq!(answer(&denied, "deny"), 303);
    assert_eq!(told(&one, &denied), "access_denied");

    let late = ask(&one);
    database.sql("UPDATE wit_server.wit_device SET expires_at = now()");
    assert_eq!(answer(&late, "allow"), 422);
    assert_eq!(told(&one, &late), "expired_token");

    let suspended = ask(&one);
    assert_eq!(answer(&suspended, "allow"), 303);
    database.sql(r#"UPDATE "user" SET suspended = true"#);
    assert_eq!(told(&one, &suspended), "access_denied");
}

#[test]
fn what_is_no_request_of_a_device_is_refused_in_oauths_words() {
    let server = Server::start();
    let unknown = json!({ "device_code": "x" });
    assert_eq!(told(&server, &unknown), "invalid_grant");
    let long = format!("client_id=wit&device_name={}", "x".repeat(100));
    let cases = [
        ("/api/auth/device/code", "", "invalid_request"),
        (
            "/api/auth/device/code",
            "client_id=a%00b",
            "invalid_request",
        ),
        ("/api/auth/device/code", long.as_str(), "invalid_request"),
        ("/api/auth/device/token", "device_code=x", "invalid_request"),
        (
            "/api/auth/device/token",
            "grant_type=password&device_code=x",
            "unsupported_grant_type",
        ),
    ];
    for (path, body, error) in cases {
        let reply = server.request("POST", path, &[FORM], body);
        assert_eq!(reply.status, 400, "{path} {body}");
        assert_eq!(reply.json()["error"], error, "{path} {body}");
    }
    let reply = server.post("/api/auth/device/code", "", json!({ "client_id": "wit" }));
    assert_eq!(reply.status, 200, "JSON will do too");
}

#[test]
fn the_code_of_another_can_not_be_guessed_and_is_kept_as_a_hash() {
    let server = Server::start();
    server.sign_up("alice");
    let codes = ask(&server);
    let visitor = server.visit("alice");
    let tried = || visitor.post("/device", "code=BBBB-BBBB").status;
    let ends = (0..12).map(|_| tried()).find(|status| *status != 422);
    assert_eq!(ends, Some(429));
    let body = format!("code={}&answer=allow", user_code(&codes));
    assert_eq!(visitor.post("/device/answer", &body).status, 429);
    assert_eq!(server.request("GET", "/device", &[], "").status, 303);
    let device_code = codes["device_code"].as_str().expect("a device code");
    for file in ["server.log", "wit.sqlite3", "wit.sqlite3-wal"] {
        let kept = std::fs::read(server.data_dir().join(file)).expect("it exists");
        assert!(!text(&kept).contains(device_code), "{file}");
    }
}

/// `wit login` at a terminal of its own.
struct Terminal {
    script: Child,
    shown: BufReader<ChildStdout>,
}

impl Terminal {
    fn login(home: &Home, url: &str, options: &str) -> Self {
        let mut script = home.command("script");
        script
            .args(["-qec", &format!("{WIT} login {url} {options}"), "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut script = script.spawn().expect("script: apt-get install bsdutils");
        let shown = BufReader::new(script.stdout.take().expect("piped"));
        Terminal { script, shown }
    }

    fn typed(&mut self, keys: &str) {
        let stdin = self.script.stdin.as_mut().expect("piped");
        stdin.write_all(keys.as_bytes()).expect("typed");
    }

    /// Reads on to a text, and returns what was shown before it.
    fn read_to(&mut self, end: &str) -> String {
        let mut shown = Vec::new();
        while !shown.ends_with(end.as_bytes()) {
            let mut byte = [0];
            let read = self.shown.read(&mut byte).expect("read");
            assert_ne!(read, 0, "no {end:?} in {:?}", text(&shown));
            shown.extend(byte);
        }
        text(&shown[..shown.len() - end.len()])
    }

    fn code(&mut self) -> String {
        self.read_to("enter this code:\r\n\r\n  ");
        self.read_to("\r\n")
    }

    /// The exit code and the rest of what was shown.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.shown.read_to_string(&mut rest).expect("text");
        let status = self.script.wait().expect("it ends");
        (status.code(), rest)
    }
}

#[test]
fn wit_login_signs_in_by_the_browser() {
    let server = Server::start();
    server.sign_up("alice");
    let browser = Browser::start();
    let answer = |code: &str, name: &str| {
        browser.fill("#code", code);
        browser.follow("Continue");
        assert!(
            browser.text("dl").contains("wit on "),
            "{}",
            browser.text("dl")
        );
        browser.follow(name);
    };

    let home = Home::new();
    let mut terminal = Terminal::login(&home, &server.url(""), "--no-browser");
    let shown = terminal.read_to("/device\r\n");
    assert!(shown.contains(&server.url("")), "{shown}");
    let code = terminal.code();
    browser.open(&server.url("/device"));
    browser.fill("#name", "alice");
    browser.fill("#password", PASSWORD);
    browser.follow("Sign in");
    assert_eq!(browser.text("h1"), "Connect a device");
    answer(&code.to_lowercase(), "Allow");
    assert!(browser.text("[role=status]").contains("signed in"));
    let (status, shown) = terminal.end();
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("as alice."), "{shown}");
    let list = home.run(WIT, &["token", "list"], "");
    assert!(list.status.success(), "{}", text(&list.stderr));

    let home = Home::new();
    let mut terminal = Terminal::login(&home, &server.url(""), "--no-browser");
    answer(&terminal.code(), "Deny");
    let (status, shown) = terminal.end();
    assert_eq!(status, Some(4), "{shown}");
    assert!(shown.contains("denied in the browser"), "{shown}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_code_is_shown_without_a_terminal_where_a_browser_is_spoken_of() {
    let server = Server::start();
    server.sign_up("alice");
    let visitor = server.visit("alice");
    let url = server.url("");
    let said = refused(&Home::new().run(WIT, &["login", &url], ""), 2);
    assert!(said.contains("--password-stdin, or --device"), "{said}");
    let logins = ["--device", "--browser", "--no-browser"].map(|option| {
        let home = Home::new();
        let login = Login::start(&home, &["login", &url, option]);
        (option, home, login)
    });
    for (option, home, mut login) in logins {
        let body = format!("code={}&answer=allow", login.code());
        assert_eq!(visitor.post("/device/answer", &body).status, 303);
        let (code, said) = login.ends();
        assert_eq!(code, Some(0), "{option}: {said}");
        assert!(said.contains("as alice."), "{option}: {said}");
        done(&home.run(WIT, &["token", "list"], ""));
    }
}

#[test]
fn an_option_that_a_wit_server_can_not_follow_is_refused() {
    let server = Server::start();
    let url = server.url("");
    for (options, says) in [
        (&["--client-id", "x"][..], "--client-id has no meaning"),
        (&["--device", "--scopes", "x"], "--scopes has no meaning"),
        (&["--path", "ada/x"], "--path has no meaning"),
        (&["--app-id", "1"], "--app-id has no meaning"),
        (
            &["--device", "--username", "alice"],
            "--device and --username",
        ),
        (&["--browser", "--sign-up"], "--browser and --sign-up"),
    ] {
        let words = [&["login", &url][..], options].concat();
        let said = refused(&Home::new().run(WIT, &words, ""), 2);
        assert!(said.contains(says), "{options:?}: {said}");
        assert!(said.contains("hint: wit login http"), "{options:?}: {said}");
    }
    let without_codes = server::Server::new(|first, _| match first {
        "GET /api/v1/user HTTP/1.1" => answer(401, r#"{"message":"Requires authentication"}"#),
        _ => answer(404, r#"{"error":"Not found"}"#),
    });
    let words = ["login", &without_codes.url, "--device"];
    let said = refused(&Home::new().run(WIT, &words, ""), 1);
    assert!(said.contains("has no device flow"), "{said}");
    assert!(said.contains("--username NAME --password-stdin"), "{said}");
}

#[test]
fn ctrl_c_during_wit_login_leaves_nothing_behind() {
    let server = Server::start();
    let home = Home::new();
    let mut terminal = Terminal::login(&home, &server.url(""), "--no-browser");
    terminal.code();
    terminal.typed("\u{3}");
    let (status, shown) = terminal.end();
    assert_ne!(status, Some(0), "{shown}");
    let left: Vec<_> = std::fs::read_dir(home.path())
        .expect("a directory")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_browser_is_opened_only_where_there_is_a_screen_and_nobody_forbids_it() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    for (display, options, opens) in [
        (":0", "", true),
        ("", "", false),
        (":0", "--no-browser", false),
    ] {
        let mut home = Home::new();
        let opener = home.path().join("xdg-open");
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$1\" > {}/opened\n",
            home.path().display()
        );
        std::fs::write(&opener, script).expect("written");
        std::fs::set_permissions(&opener, PermissionsExt::from_mode(0o755)).expect("set");
        home.set("PATH", format!("{}:/usr/bin:/bin", home.path().display()));
        home.set("DISPLAY", display);
        let opened = home.path().join("opened");
        let made = std::process::Command::new("mkfifo").arg(&opened).status();
        assert!(made.expect("mkfifo").success());
        let mut terminal = Terminal::login(&home, &server.url(""), options);
        let shown = terminal.read_to("enter this code:");
        assert_eq!(
            shown.contains("the browser window that was opened"),
            opens,
            "{shown}"
        );
        if opens {
            let mut line = String::new();
            let file = std::fs::File::open(&opened).expect("opened");
            BufReader::new(file).read_line(&mut line).expect("a line");
            assert_eq!(line.trim_end(), server.url("/device"));
        }
        terminal.typed("\u{3}");
        terminal.end();
    }
}

#[test]
fn wit_login_asks_for_a_password_where_the_server_knows_no_devices() {
    let server = server::Server::new(|first, _| match first {
        "POST /api/auth/device/code HTTP/1.1" => answer(404, r#"{"error":"Not found"}"#),
        "POST /api/auth/sign-in/username HTTP/1.1" => answer(
            200,
            r#"{"token":"t0k3n","user":{"email":"a@example.com","username":"alice"}}"#,
        ),
        _ => answer(200, "[]"),
    });
    let home = Home::new();
    let mut terminal = Terminal::login(&home, &server.url, "");
    terminal.read_to("Username or email: ");
    terminal.typed("alice\n");
    terminal.read_to(&format!("Password for alice at {}: ", server.url));
    terminal.typed("correct horse\n");
    let (status, shown) = terminal.end();
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("as alice."), "{shown}");
}

/// What the server answers to a device that asks, with a life and an interval of one second.
const CODES: &str = r#"{"device_code":"d","user_code":"A\u001b[31mB","verification_uri":"PAGE",
    "expires_in":LIFE,"interval":1}"#;

#[test]
fn wit_login_waits_for_a_server_that_is_away_and_shows_nothing_that_acts_on_the_terminal() {
    let asked = std::sync::atomic::AtomicU32::new(0);
    let server = server::Server::new(move |first, _| match first {
        "POST /api/auth/device/code HTTP/1.1" => codes("https://wit.example/device", "60"),
        "POST /api/auth/device/token HTTP/1.1" => {
            match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => None,
                _ => answer(
                    200,
                    r#"{"access_token":"t0k3n","token_type":"Bearer","expires_in":60,
                        "user":{"email":"a@example.com","username":"alice"}}"#,
                ),
            }
        }
        _ => answer(200, "[]"),
    });
    let home = Home::new();
    let terminal = Terminal::login(&home, &server.url, "");
    let (status, shown) = terminal.end();
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("A\\u{1b}[31mB"), "{shown}");
    assert!(!shown.contains("t0k3n"), "{shown}");
}

fn codes(page: &str, life: &str) -> Option<String> {
    answer(200, &CODES.replace("PAGE", page).replace("LIFE", life))
}

#[test]
fn a_page_that_is_not_safe_to_open_is_not_shown() {
    for page in [
        "file:///etc",
        "javascript:alert(1)",
        "http://other.example/device",
        "https://user:pw@other.example/",
        "device",
    ] {
        let server = server::Server::new(move |first, _| match first {
            "POST /api/auth/device/code HTTP/1.1" => codes(page, "60"),
            _ => answer(200, "[]"),
        });
        let mut home = Home::new();
        home.set("DISPLAY", ":0");
        let (status, shown) = Terminal::login(&home, &server.url, "").end();
        assert_eq!(status, Some(1), "{page}: {shown}");
        assert!(shown.contains("can't be opened safely"), "{page}: {shown}");
        assert!(!shown.contains("enter this code:"), "{page}: {shown}");
    }
}

#[test]
fn wit_login_waits_no_longer_than_the_code_lasts() {
    let server = server::Server::new(|first, _| match first {
        "POST /api/auth/device/code HTTP/1.1" => codes("https://wit.example/device", "1"),
        _ => answer(400, r#"{"error":"authorization_pending"}"#),
    });
    let home = Home::new();
    let (status, shown) = Terminal::login(&home, &server.url, "").end();
    assert_eq!(status, Some(4), "{shown}");
    assert!(shown.contains("nobody entered the code in time"), "{shown}");
}
