//! Attacks on the page and on git, by who may push and by who may not.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::net::TcpStream;

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::platform::{FORM, PASSWORD, Server, Upload};
use crate::support::{Home, done, text, until};

const HTML: (&str, &str) = ("Accept", "text/html");

/// Text that runs a script wherever a page takes it for HTML.
const SCRIPT: &str =
    "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>";

/// A server with a public repository, and the remote that its owner pushes to.
fn hosting() -> (Server, String) {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", false);
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    server.work("work");
    (server, remote)
}

fn git(server: &Server, arguments: &[&str]) -> String {
    done(&server.git(&[&["-C", "work"], arguments].concat()))
}

#[test]
fn nothing_that_is_pushed_acts_on_a_page() {
    let (server, remote) = hosting();
    let readme = format!("# {SCRIPT}\n\n[x](javascript:document.title='owned')\n\n{SCRIPT}\n");
    fs::write(server.home.path().join("work/README.md"), readme).expect("written");
    git(&server, &["add", "README.md"]);
    let author = format!("user.name={}", SCRIPT.replace(['<', '>'], "&"));
    git(&server, &["-c", &author, "commit", "-q", "-m", SCRIPT]);
    // Git allows them all.
    for name in [
        "main",
        "x\"onload=\"document.title=1",
        "&lt;script&gt;",
        "a'b",
        "<img>src=x",
    ] {
        git(
            &server,
            &["push", "-q", &remote, &format!("HEAD:refs/heads/{name}")],
        );
        git(
            &server,
            &["push", "-q", &remote, &format!("HEAD:refs/tags/{name}")],
        );
    }
    let page = server.request("GET", "/alice/demo", &[HTML], "");
    assert_eq!(page.status, 200);
    // What is left of it is text.
    for part in ["<img src=x", "<script>document", "javascript:", "<img>src"] {
        assert!(!page.body.contains(part), "{part}: {}", page.body);
    }
    assert!(page.body.contains("&lt;img"), "{}", page.body);
    let browser = Browser::start();
    browser.open(&server.url("/alice/demo"));
    let title = browser.run("return document.title").to_string();
    assert!(!title.contains("owned"), "{title}");
}

#[test]
fn no_path_or_branch_is_an_option_or_leads_elsewhere() {
    let (server, remote) = hosting();
    git(&server, &["push", "-q", &remote, "main"]);
    let visitor = server.visit("alice");
    let bearer = format!("Bearer {}", own_session(&server));
    for branch in [
        "--upload-pack=touch owned",
        "-d",
        "--output=owned",
        "../../config",
        "main^{tree}",
        "HEAD",
    ] {
        let body = json!({ "defaultBranch": branch }).to_string();
        let reply = server.request(
            "PATCH",
            "/api/repos/demo",
            &[
                ("Content-Type", "application/json"),
                ("Authorization", &bearer),
            ],
            &body,
        );
        assert_eq!(reply.status, 422, "{branch}: {}", reply.body);
    }
    // A branch of such a name can be pushed, and is no option on the page.
    let odd = "HEAD:refs/heads/--help";
    let pushed = server.git(&["-C", "work", "push", "-q", &remote, odd]);
    let page = server.request("GET", "/alice/demo", &[HTML], "");
    assert_eq!(page.status, 200, "{}", text(&pushed.stderr));
    for path in [
        "/..%2f..%2fetc/passwd.git/info/refs?service=git-upload-pack",
        "/alice/..%2f..%2f..%2fetc.git/info/refs?service=git-upload-pack",
        "/alice/--upload-pack.git/info/refs?service=git-upload-pack",
        "/-alice/demo.git/info/refs?service=git-upload-pack",
        "/alice/demo.git/info/refs?service=--help",
        "/alice/demo.git/info/refs?service=git-upload-archive",
        "/alice/demo.git/../../wit.sqlite3",
        "/alice/%2e%2e/wit.sqlite3",
    ] {
        let reply = server.request("GET", path, &[("Cookie", &visitor.cookie)], "");
        assert!(
            (400..500).contains(&reply.status),
            "{path}: {}",
            reply.status
        );
        assert!(!reply.body.contains("SQLite") && !reply.body.contains("root:"));
    }
    assert!(!server.home.path().join("owned").exists());
}

fn own_session(server: &Server) -> String {
    let body = json!({ "username": "alice", "password": PASSWORD });
    let reply = server.post("/api/auth/sign-in/username", "", body).json();
    reply["token"].as_str().expect("a session").to_owned()
}

#[test]
fn a_cookie_that_a_stranger_has_set_is_not_the_one_after_a_sign_in() {
    let server = Server::start();
    server.sign_up("alice");
    server.sign_up("mallory");
    let planted = server.visit("mallory").cookie;
    let own = server.cookie("alice", &[("Cookie", &planted)]);
    let own = own.split(';').next().expect("a pair");
    assert_ne!(own, planted);
    let repositories = |cookie: &str| {
        let path = "/settings/repositories";
        server
            .request("GET", path, &[HTML, ("Cookie", cookie)], "")
            .body
    };
    server.repository(&own_session(&server), "of-alice", true);
    assert!(repositories(own).contains("of-alice"));
    assert!(!repositories(&planted).contains("of-alice"));
    // Nor does one that nobody has made become a session.
    let (name, _) = planted.split_once('=').expect("a pair");
    let invented = format!("{name}={}", "A".repeat(43));
    let set = server.cookie("alice", &[("Cookie", &invented)]);
    assert!(!set.starts_with(&invented), "{set}");
    let reply = server.request("GET", "/account", &[HTML, ("Cookie", &invented)], "");
    assert_eq!(reply.status, 303);
}

#[test]
fn a_sign_in_leads_to_no_other_site() {
    let server = Server::start();
    server.sign_up("alice");
    let origin = server.url("");
    for next in [
        "https://evil.example/settings/tokens",
        "//evil.example/settings/tokens",
        "/\\evil.example/settings",
        "/settings/tokens%0d%0aLocation:%20https://evil.example",
        "javascript:alert(1)",
        "/%2fevil.example/x",
    ] {
        let encoded: String = next.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let body = format!(
            "name=alice&password={}&next={encoded}",
            PASSWORD.replace(' ', "+")
        );
        let reply = server.request("POST", "/login", &[FORM, ("Origin", &origin)], &body);
        assert_eq!(reply.status, 303, "{next}: {}", reply.body);
        let locations: Vec<&str> = (reply.head.lines())
            .filter_map(|line| line.strip_prefix("location: "))
            .collect();
        assert_eq!(locations, ["/settings/tokens"], "{next}");
        // And the form does not hold it.
        let page = server.request("GET", &format!("/login?next={encoded}"), &[], "");
        assert!(!page.body.contains("evil.example"), "{next}");
    }
}

#[test]
fn a_flood_of_new_accounts_from_one_network_is_slowed() {
    let server = Server::start();
    let flood = |number: u32| {
        let body = json!({
            "email": format!("f{number}@example.com"), "password": "x", "name": "f",
            "username": format!("flood{number}"),
        });
        let headers = [("Content-Type", "application/json")];
        let path = "/api/auth/sign-up/email";
        (server.request_from([127, 0, 9, 1], "POST", path, &headers, &body.to_string())).status
    };
    // Fifty in a row and one every two seconds.
    let slowed = (0..5_000).find(|number| flood(*number) == 429);
    assert!(slowed.is_some_and(|tried| tried >= 50), "{slowed:?}");
    // Another network is not held up.
    server.sign_up("ada");
}

#[test]
fn a_torn_pack_of_a_huge_object_leaves_nothing() {
    let server = Server::start_with(Home::new(), &["--max-disk", "8M"]);
    let session = server.sign_up("alice");
    server.repository(&session, "demo", false);
    let secret = server.secret(&session, &["repo:write"]);
    let repository = server.only_repository();
    // 256 MiB of zeros are 256 KiB in a pack.
    let zeros = vec![0; 256 << 20];
    let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut deflated, &zeros).expect("in memory");
    let deflated = deflated.finish().expect("in memory");
    drop(zeros);
    // A blob of that size (gitformat-pack(5)), under a ref that no commit has.
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
    let mut size: u64 = 256 << 20;
    pack.push(0x80 | (3 << 4) | (size & 15) as u8);
    size >>= 4;
    while size > 0 {
        let more = if size > 127 { 0x80 } else { 0 };
        pack.push(more | (size & 127) as u8);
        size >>= 7;
    }
    pack.extend(deflated);
    // Its checksum is wrong.
    pack.extend([0; 20]);
    let zero = "0".repeat(40);
    let command = format!(
        "{zero} {} refs/heads/main\0report-status side-band-64k\n",
        "1".repeat(40)
    );
    let mut body = format!("{:04x}{command}0000", command.len() + 4).into_bytes();
    body.extend(pack);
    let stream = TcpStream::connect(&server.address).expect("it answers");
    let authorization = format!("Bearer {secret}");
    let headers = [("Authorization", authorization.as_str())];
    let mut upload = Upload::begin(stream, "/alice/demo.git/git-receive-pack", &headers);
    upload.send(&body);
    let (_, said) = upload.end();
    assert!(!said.contains("unpack ok"), "{said}");
    until("git is gone", || server.gits().is_empty());
    let size = done(
        &server
            .home
            .run("du", &["-sk", repository.to_str().expect("text")], ""),
    );
    let size: u64 = size
        .split_whitespace()
        .next()
        .and_then(|size| size.parse().ok())
        .expect("a number");
    assert!(size < 4096, "{size} KiB");
    assert_eq!(server.request("GET", "/health", &[], "").body, "ok\n");
}
