//! Names that a server answers to, and requests that other sites make a browser send.

#![cfg(feature = "platform")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};

use crate::support::platform::{FORM, PASSWORD, Server};
use crate::support::tls::Certificate;
use crate::support::{Home, WIT, refused, text};

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn a_server_on_this_machine_answers_to_loopback_names_only() {
    let server = Server::start_with(Home::new(), &["--metrics"]);
    let session = server.sign_up("ada");
    server.repository(&session, "demo", false);
    let port = server.address.rsplit(':').next().expect("a port");
    for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            assert_eq!(
                server.request_to(&host, "GET", "/health").status,
                200,
                "{host}"
            );
        }
    }
    let fetch = "/ada/demo.git/info/refs?service=git-upload-pack";
    assert_eq!(server.request_to("localhost", "GET", fetch).status, 200);
    for host in [
        "evil.example",
        "localhost.evil.example",
        "192.168.1.1",
        "ada@localhost",
    ] {
        for path in [
            "/health",
            "/metrics",
            "/login",
            "/api/tokens/scopes",
            fetch,
            "/nothing",
        ] {
            let reply = server.request_to(host, "GET", path);
            assert_eq!(reply.status, 421, "{host} {path}: {}", reply.body);
            assert!(!reply.body.contains("evil"), "{}", reply.body);
        }
    }
}

#[test]
fn a_server_is_known_by_the_names_that_it_was_started_with() {
    let more = [
        "--public-url",
        "https://git.example.com",
        "--host-name",
        "Wit.Example.org",
    ];
    let server = Server::start_with(Home::new(), &more);
    server.sign_up("ada");
    for host in ["git.example.com", "wit.example.org:80", "localhost"] {
        assert_eq!(
            server.request_to(host, "GET", "/health").status,
            200,
            "{host}"
        );
    }
    assert_eq!(
        server.request_to("example.org", "GET", "/health").status,
        421
    );

    // Behind a proxy that says nothing about TLS, the public URL tells.
    let body = json!({ "client_id": "wit" }).to_string();
    let codes = server.request_as(
        "git.example.com",
        "POST",
        "/api/auth/device/code",
        &[JSON],
        &body,
    );
    assert_eq!(
        codes.json()["verification_uri"],
        "https://git.example.com/device"
    );
    let sign_in = format!("name=ada&password={}", PASSWORD.replace(' ', "+"));
    let origin = ("Origin", "https://git.example.com");
    let reply = server.request_as(
        "git.example.com",
        "POST",
        "/login",
        &[FORM, origin],
        &sign_in,
    );
    assert_eq!(reply.status, 303, "{}", reply.body);
    assert!(
        reply.raw_head.contains("__Host-wit_session="),
        "{}",
        reply.raw_head
    );
    // And one that writes its own Host.
    let reply = server.request("POST", "/login", &[FORM, origin], &sign_in);
    assert_eq!(reply.status, 303, "{}", reply.body);
}

#[test]
fn a_public_url_is_a_whole_server_and_a_host_is_a_name() {
    let home = Home::new();
    for arguments in [
        ["--public-url", "https://example.com/git"],
        ["--public-url", "https://ada:secret@example.com"],
        ["--public-url", "ssh://example.com"],
        ["--host-name", "example.com:80"],
        ["--host-name", "a b"],
    ] {
        let up = home.run(WIT, &[&["up"], &arguments[..]].concat(), "");
        refused(&up, 2);
    }
}

#[test]
fn a_server_with_a_certificate_answers_to_the_names_in_it() {
    let home = Home::new();
    let certificate = Certificate::new(&home, "one", "DNS:wit.test,DNS:*.apps.test");
    let up = home.run(
        WIT,
        &[
            "up",
            "--port",
            "0",
            "--json",
            "--tls-cert",
            "one.pem",
            "--tls-key",
            "one.key",
        ],
        "",
    );
    assert!(up.status.success(), "{}", text(&up.stderr));
    let up: Value = serde_json::from_slice(&up.stdout).expect("JSON");
    let url = up["url"].as_str().expect("a URL");
    let address = url.strip_prefix("https://").expect("https");
    let status = |host: &str| {
        let mut roots = rustls::RootCertStore::empty();
        let trusted = CertificateDer::from_pem_file(&certificate.file).expect("a certificate");
        roots.add(trusted).expect("one that can be trusted");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("wit.test").expect("a name");
        let tls = rustls::ClientConnection::new(Arc::new(config), name).expect("a connection");
        let stream = TcpStream::connect(address).expect("the server answers");
        let mut stream = rustls::StreamOwned::new(tls, stream);
        let request = format!("GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("written");
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("an answer");
        text(&head[9..])
    };
    let found = ["wit.test", "x.apps.test:443", "evil.example", "apps.test"].map(status);
    let down = home.run(WIT, &["down"], "");
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert_eq!(found, ["200", "200", "421", "421"]);
}

#[test]
fn a_page_of_another_site_can_make_no_request_that_changes_anything() {
    let server = Server::start();
    let session = server.sign_up("ada");
    let bearer = format!("Bearer {session}");
    let own = server.url("");
    let device = "client_id=wit";
    for (method, path, body) in [
        ("POST", "/api/auth/device/code", device),
        (
            "POST",
            "/api/auth/device/token",
            "grant_type=x&device_code=x",
        ),
        ("POST", "/api/auth/sign-up/email", "{}"),
        ("POST", "/api/auth/sign-in/username", "{}"),
        ("POST", "/api/auth/sign-out", ""),
        ("POST", "/api/tokens", "{}"),
        ("POST", "/api/tokens/self/rotate", ""),
        ("PATCH", "/api/tokens/x", "{}"),
        ("DELETE", "/api/tokens/x", ""),
        ("POST", "/api/repos", "{}"),
        ("PATCH", "/api/repos/x", "{}"),
        ("DELETE", "/api/repos/x", ""),
        ("PATCH", "/api/v1/profile", "{}"),
        ("POST", "/ada/demo.git/git-upload-pack", ""),
    ] {
        for sign in [
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
            ("Origin", "http://evil.example"),
            ("Origin", "http://localhost:1"),
            ("Origin", "null"),
        ] {
            let headers = [FORM, ("Authorization", bearer.as_str()), sign];
            let reply = server.request(method, path, &headers, body);
            assert_eq!(
                reply.status, 403,
                "{method} {path} {sign:?}: {}",
                reply.body
            );
            assert_eq!(reply.json()["code"], "CROSS_SITE_REQUEST");
        }
    }
    // The session is alive, for nothing has closed it.
    assert_eq!(server.bearing("GET", "/api/tokens", &session).status, 200);
    for sign in [
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Site", "none"),
        ("Origin", own.as_str()),
        ("X-Nothing", "of a browser"),
    ] {
        let reply = server.request("POST", "/api/auth/device/code", &[FORM, sign], device);
        assert_eq!(reply.status, 200, "{sign:?}: {}", reply.body);
    }
}

/// Tries to sign in from one of this machine's addresses.
fn sign_in(server: &Server, source: [u8; 4], name: &str, password: &str) -> u16 {
    let body = json!({ "username": name, "password": password }).to_string();
    let path = "/api/auth/sign-in/username";
    (server.request_from(source, "POST", path, &[JSON], &body)).status
}

#[test]
fn wrong_passwords_from_one_network_do_not_lock_the_owner_out_of_another() {
    let server = Server::start();
    server.sign_up("ada");
    let attacker = [127, 0, 0, 66];
    let tried: Vec<u16> = (0..11)
        .map(|_| sign_in(&server, attacker, "ada", "wrong horse"))
        .collect();
    assert_eq!(tried.last(), Some(&429));
    assert_eq!(sign_in(&server, [127, 0, 0, 2], "ada", PASSWORD), 200);
    // Not even with the right password, from where it was tried too often.
    assert_eq!(sign_in(&server, attacker, "ada", PASSWORD), 429);
}

#[test]
fn the_limit_on_a_username_does_not_tell_its_email() {
    let server = Server::start();
    server.sign_up("ada");
    let attacker = [127, 0, 0, 66];
    let tried: Vec<u16> = (0..11)
        .map(|_| sign_in(&server, attacker, "ada", "wrong horse"))
        .collect();
    assert_eq!(tried.last(), Some(&429));
    for email in ["ada@example.com", "nobody@example.com"] {
        let body = json!({ "email": email, "password": "wrong horse" }).to_string();
        let path = "/api/auth/sign-in/email";
        let reply = server.request_from(attacker, "POST", path, &[JSON], &body);
        assert_eq!(reply.status, 401, "{email}: {}", reply.body);
    }
}

#[test]
fn a_thousand_wrong_passwords_from_as_many_networks_are_few_tries_and_the_owner_gets_in() {
    let server = Server::start();
    server.sign_up("ada");
    server.sign_up("bob");
    let home = [127, 0, 1, 1];
    assert_eq!(sign_in(&server, home, "ada", PASSWORD), 200);
    // What a server knows of its people outlives it.
    server.kill_and_start();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let attack = |part: u16| {
            let server = &server;
            let hosts = (0..250).map(move |number| part * 250 + number);
            scope.spawn(move || -> Vec<u16> {
                let from = |host: u16| [127, 1, (host >> 8) as u8, host as u8];
                hosts
                    .map(|host| sign_in(server, from(host), "ada", "wrong horse"))
                    .collect()
            })
        };
        let all: Vec<_> = (0..4).map(attack).collect();
        all.into_iter()
            .flat_map(|one| one.join().expect("no panic"))
            .collect()
    });
    assert!(statuses.iter().all(|status| [401, 429].contains(status)));
    let tried = statuses.iter().filter(|status| **status == 401).count();
    // A hundred, and one for each minute that it took.
    assert!((100..200).contains(&tried), "{tried}");
    // A stranger has no more tries even with the right password, the owner has, as has everybody else.
    assert_eq!(sign_in(&server, [127, 2, 0, 1], "ada", PASSWORD), 429);
    assert_eq!(sign_in(&server, home, "ada", PASSWORD), 200);
    assert_eq!(sign_in(&server, home, "bob", PASSWORD), 200);
}

#[test]
fn wrong_passwords_from_many_networks_are_slowed_and_the_owner_signs_in_from_where_it_did_before() {
    let server = Server::start();
    server.sign_up("ada");
    let home = [127, 0, 1, 1];
    assert_eq!(sign_in(&server, home, "ada", PASSWORD), 200);
    let slowed = (1..=150).find(|host| sign_in(&server, [127, 0, 2, *host], "ada", "wrong") == 429);
    assert!(slowed.is_some());
    assert_eq!(sign_in(&server, [127, 0, 3, 1], "ada", PASSWORD), 429);
    assert_eq!(sign_in(&server, home, "ada", PASSWORD), 200);
}
