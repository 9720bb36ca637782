//! The way to a server: certificates, proxies, plain http. Against doubles that record all they see.

use crate::support::http_proxy::HttpProxy;
use crate::support::server::{Server, answer};
use crate::support::tls::{Certificate, LOOPBACK};
use crate::support::{Home, WIT, done, refused};

const SESSION: &str = "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu";

/// The documented API of an account without tokens.
fn no_tokens(first: &str, _body: &str) -> Option<String> {
    match first.contains(" /api/tokens ") || first.contains("/api/tokens HTTP") {
        true => answer(200, "[]"),
        false => answer(404, "{}"),
    }
}

fn login(home: &Home, url: &str, more: &[&str]) -> std::process::Output {
    let words = ["login", url, "--username", "ada", "--session-stdin"];
    home.run(WIT, &[&words, more].concat(), &format!("{SESSION}\n"))
}

#[test]
fn a_certificate_of_ones_own_is_trusted_where_its_file_is_given_and_from_then_on() {
    let home = Home::new();
    let certificate = Certificate::new(&home, "tls", LOOPBACK);
    let server = Server::tls(&certificate, no_tokens);
    let said = refused(&login(&home, &server.url, &[]), 1);
    assert!(said.contains("certificate"), "{said}");
    assert!(said.contains("hint: --ca-file FILE"), "{said}");
    assert_eq!(server.seen().len(), 0, "it was sent to a stranger");

    done(&login(&home, &server.url, &["--ca-file", "tls.pem"]));
    let below = home.path().join("below");
    std::fs::create_dir(&below).expect("made");
    let mut list = home.command(WIT);
    list.args(["token", "list"]).current_dir(below);
    done(&crate::support::feed(list, b""));
    let bearer = format!("authorization: Bearer {SESSION}\r\n");
    let seen = server.seen();
    let (first, later) = seen.split_first().expect("requests");
    assert!(first.starts_with("GET /api/v1/user "), "{first}");
    assert!(later.iter().all(|seen| seen.contains(&bearer)));
}

#[test]
fn ssl_cert_file_names_the_certificates_that_are_trusted() {
    let mut home = Home::new();
    let certificate = Certificate::new(&home, "tls", LOOPBACK);
    let server = Server::tls(&certificate, no_tokens);
    home.set("SSL_CERT_FILE", certificate.path());
    done(&login(&home, &server.url, &[]));
    done(&home.run(WIT, &["token", "list"], ""));
}

#[test]
fn a_certificate_for_another_name_is_refused_though_it_is_trusted() {
    let home = Home::new();
    let certificate = Certificate::new(&home, "tls", "DNS:other.test");
    let server = Server::tls(&certificate, no_tokens);
    let said = refused(
        &login(&home, &server.url, &["--ca-file", certificate.path()]),
        1,
    );
    assert!(said.contains("certificate"), "{said}");
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn a_file_without_certificates_is_named() {
    let home = Home::new();
    std::fs::write(home.path().join("empty.pem"), "nothing").expect("written");
    for file in ["empty.pem", "missing.pem"] {
        let said = refused(&login(&home, "https://wit.test", &["--ca-file", file]), 1);
        assert!(said.contains(file), "{said}");
    }
}

#[test]
fn a_proxy_of_the_environment_carries_https_and_reads_none_of_it() {
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let mut home = Home::new();
        let certificate = Certificate::new(&home, "tls", "DNS:wit.test");
        let server = Server::tls(&certificate, no_tokens);
        let proxy = HttpProxy::to(server.address());
        home.set(name, &proxy.url);
        let trust = ["--ca-file", certificate.path()];
        done(&login(&home, "https://wit.test", &trust));
        done(&home.run(WIT, &["token", "list"], ""));
        let seen = proxy.seen();
        assert!(
            seen.starts_with("CONNECT wit.test:443 HTTP/1.1\r\n"),
            "{name}"
        );
        assert!(!seen.contains(SESSION), "{name}: the proxy saw the secret");
        assert!(!seen.to_lowercase().contains("authorization"), "{name}");
        assert!(server.seen()[1].contains(SESSION), "{name}");
    }
}

#[test]
fn a_proxy_sees_plain_http_only_where_that_was_allowed() {
    let mut home = Home::new();
    let server = Server::new(no_tokens);
    let proxy = HttpProxy::to(server.address());
    home.set("http_proxy", &proxy.url);
    let said = refused(&login(&home, "http://wit.test", &[]), 1);
    assert!(said.contains("plain http"), "{said}");
    assert!(said.contains("hint: use https, or --allow-http"), "{said}");
    assert_eq!(proxy.seen(), "");
    done(&login(&home, "http://wit.test", &["--allow-http"]));
    assert!(
        proxy
            .seen()
            .starts_with("GET http://wit.test/api/v1/user HTTP/1.1\r\n")
    );
}

#[test]
fn no_proxy_is_asked_for_this_machine_nor_for_what_no_proxy_names() {
    let mut home = Home::new();
    let server = Server::new(no_tokens);
    let proxy = HttpProxy::to(server.address());
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        home.set(name, &proxy.url);
    }
    done(&login(&home, &server.url, &[]));
    home.set("NO_PROXY", "0.0.0.0");
    // Nobody listens there.
    refused(&login(&home, "https://0.0.0.0:1", &[]), 1);
    assert_eq!(proxy.seen(), "");
}
