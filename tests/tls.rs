//! HTTPS of `wit up`, with a certificate that is replaced while it runs.

#![cfg(feature = "platform")]

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use crate::support::tls::{Certificate, LOOPBACK};
use crate::support::{Home, WIT, done, text, until};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;

/// The certificate that a new connection is shown, with nobody trusted but `trusted`.
fn shown(address: &str, trusted: &Path) -> Option<CertificateDer<'static>> {
    let mut roots = rustls::RootCertStore::empty();
    let trusted = CertificateDer::from_pem_file(trusted).expect("a certificate");
    roots.add(trusted).expect("one that can be trusted");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut stream = TcpStream::connect(address).expect("the server answers");
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).ok()?;
    }
    Some(tls.peer_certificates()?.first()?.clone().into_owned())
}

#[test]
fn git_and_wit_speak_https_and_a_new_certificate_is_taken_up() {
    let mut home = Home::new();
    Certificate::new(&home, "one", LOOPBACK);
    Certificate::new(&home, "two", LOOPBACK);
    let file = |name: &str| home.path().join(name);
    for end in ["key", "pem"] {
        std::fs::copy(file(&format!("one.{end}")), file(&format!("used.{end}"))).expect("copied");
    }
    let up = [
        "up",
        "--port",
        "0",
        "--json",
        "--tls-cert",
        "used.pem",
        "--tls-key",
        "used.key",
        "--user",
        "alice",
    ];
    let up = home.run(WIT, &up, "");
    assert!(up.status.success(), "{}", text(&up.stderr));
    let up: Value = serde_json::from_slice(&up.stdout).expect("JSON");
    let url = up["url"].as_str().expect("a URL").to_owned();
    let address = url.strip_prefix("https://").expect("https").to_owned();

    let one = file("one.pem");
    home.set("SSL_CERT_FILE", one.display().to_string());
    home.set("GIT_SSL_CAINFO", one.display().to_string());
    let login = home.run("sh", &["-c", up["next"].as_str().expect("a command")], "");
    assert!(login.status.success(), "{}", text(&login.stderr));
    for arguments in [
        &["setup"][..],
        &["token", "create", "--expires", "1"],
        &["repo", "create", "demo", "--private"],
    ] {
        let done = home.run(WIT, arguments, "");
        assert!(
            done.status.success(),
            "{arguments:?}: {}",
            text(&done.stderr)
        );
    }
    let clone = home.run("git", &["clone", &format!("{url}/alice/demo.git")], "");
    assert!(clone.status.success(), "{}", text(&clone.stderr));
    // Plain http gets no answer there.
    let plain = format!("http://{address}/alice/demo.git");
    assert!(!home.run("git", &["ls-remote", &plain], "").status.success());

    let two = home.path().join("two.pem");
    let der = |path: &Path| CertificateDer::from_pem_file(path).expect("a certificate");
    assert_eq!(shown(&address, &one), Some(der(&one)));
    // Half of a pair is not taken: the old one serves on.
    std::fs::copy(&two, home.path().join("used.pem")).expect("copied");
    let log = home.path().join(".local/share/wit/platform/server.log");
    until("the pair is refused", || {
        let log = std::fs::read_to_string(&log).expect("a log");
        log.contains("the old certificate is kept")
    });
    assert_eq!(shown(&address, &one), Some(der(&one)));
    std::fs::copy(home.path().join("two.key"), home.path().join("used.key")).expect("copied");
    until("the new certificate is shown", || {
        shown(&address, &two) == Some(der(&two))
    });

    let again = home.run(WIT, &["up"], "");
    assert!(
        text(&again.stdout).contains(&url),
        "{}",
        text(&again.stdout)
    );
    assert!(home.run(WIT, &["down"], "").status.success());
}

/// The head of an answer over TLS, to a request for a name.
fn head(address: &str, trusted: &Path, host: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut roots = rustls::RootCertStore::empty();
    let trusted = CertificateDer::from_pem_file(trusted).expect("a certificate");
    roots.add(trusted).expect("one that can be trusted");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("git.example.test").expect("a name");
    let tls = rustls::ClientConnection::new(Arc::new(config), name).expect("a connection");
    let stream = TcpStream::connect(address).expect("the server answers");
    let mut stream = rustls::StreamOwned::new(tls, stream);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, _) = answer.split_once("\r\n\r\n").expect("a head");
    head.to_lowercase()
}

#[test]
fn browsers_are_told_to_insist_on_https_for_names_of_other_machines() {
    let insist = "strict-transport-security: max-age=31536000\r\n";
    for (listen, more, expected) in [
        ("0.0.0.0", &[][..], Some(insist)),
        (
            "0.0.0.0",
            &["--no-hsts"],
            Some("strict-transport-security: max-age=0\r\n"),
        ),
        ("127.0.0.1", &[], None),
    ] {
        let home = Home::new();
        let name = "DNS:git.example.test,IP:127.0.0.1";
        let certificate = Certificate::new(&home, "wit", name);
        let up = ["up", "--port", "0", "--json", "--listen", listen];
        let tls = ["--tls-cert", "wit.pem", "--tls-key", "wit.key"];
        let up = done(&home.run(WIT, &[&up[..], &tls, more].concat(), ""));
        let up: Value = serde_json::from_str(&up).expect("JSON");
        let address = up["url"]
            .as_str()
            .and_then(|url| url.strip_prefix("https://"));
        let address = address.expect("https");
        for path in ["/login", "/health", "/nothing/there", "/settings/tokens"] {
            let head = |host: &str| head(address, &certificate.file, host, path) + "\r\n";
            let named = head("git.example.test");
            match expected {
                Some(line) => assert!(named.contains(line), "{path}: {named}"),
                None => assert!(!named.contains("strict-transport"), "{path}: {named}"),
            }
            for host in [address, "localhost"] {
                let told = head(host);
                assert!(!told.contains("strict-transport"), "{host}{path}: {told}");
            }
            // What each page has besides.
            for line in [
                "x-content-type-options: nosniff\r\n",
                "referrer-policy: ",
                "frame-ancestors 'none'",
            ] {
                assert!(named.contains(line), "{path} lacks {line}: {named}");
            }
            assert!(!named.contains("unsafe"), "{path}: {named}");
        }
        done(&home.run(WIT, &["down"], ""));
    }
}

#[test]
fn a_key_that_does_not_fit_is_said_at_the_start() {
    let home = Home::new();
    Certificate::new(&home, "one", LOOPBACK);
    Certificate::new(&home, "two", LOOPBACK);
    let up = [
        "up",
        "--port",
        "0",
        "--tls-cert",
        "one.pem",
        "--tls-key",
        "two.key",
    ];
    let up = home.run(WIT, &up, "");
    assert_eq!(up.status.code(), Some(1));
    let said = text(&up.stderr);
    assert!(said.contains("don't go together"), "{said}");
}

#[test]
fn other_machines_are_served_over_tls_or_when_told_that_http_is_open() {
    let home = Home::new();
    let refused = home.run(WIT, &["up", "--port", "0", "--listen", "0.0.0.0"], "");
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(
        said.contains("--tls-cert") && said.contains("--allow-http"),
        "{said}"
    );
    // With a certificate it gets as far as reading it.
    let tls = [
        "up",
        "--port",
        "0",
        "--listen",
        "0.0.0.0",
        "--tls-cert",
        "none.pem",
        "--tls-key",
        "none.key",
    ];
    let tls = home.run(WIT, &tls, "");
    assert_eq!(tls.status.code(), Some(1));
    assert!(
        text(&tls.stderr).contains("none.pem"),
        "{}",
        text(&tls.stderr)
    );
}

#[test]
fn the_certificate_of_a_ca_is_told_with_what_makes_one_for_a_server() {
    let home = Home::new();
    let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
                -subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout wit.key -out wit.pem";
    done(&home.run("sh", &["-c", make], ""));
    let up = "wit up --port 0 --json --tls-cert wit.pem --tls-key wit.key";
    let up = home.run("sh", &["-c", up], "");
    let reload = home.run(WIT, &["up", "reload"], "");
    for started in [&up, &reload] {
        let warned = text(&started.stderr);
        assert!(warned.contains("warning: clients refuse"), "{warned}");
        let right = "-addext basicConstraints=critical,CA:FALSE";
        assert!(warned.contains(right), "{warned}");
    }
    let up: Value = serde_json::from_str(&done(&up)).expect("JSON");
    let url = up["url"].as_str().expect("a URL");
    let login = ["login", url, "--ca-file", "wit.pem", "--username", "ada"];
    let login = home.run(WIT, &[&login[..], &["--password-stdin"]].concat(), "x\n");
    let said = text(&login.stderr);
    assert!(!login.status.success());
    assert!(
        said.contains("basicConstraints=critical,CA:FALSE"),
        "{said}"
    );
    done(&home.run(WIT, &["down"], ""));
}

#[test]
fn a_server_for_other_machines_is_named_as_they_reach_it() {
    let home = Home::new();
    Certificate::new(
        &home,
        "wit",
        "DNS:*.example.test,DNS:localhost,DNS:git.example.test",
    );
    let listen = ["up", "--port", "0", "--listen", "0.0.0.0"];
    let tls = ["--tls-cert", "wit.pem", "--tls-key", "wit.key"];
    let own = hostname::get()
        .expect("a name")
        .into_string()
        .expect("text");
    let public = ["--public-url", "https://wit.example.test"];
    for (options, scheme, host) in [
        (&[][..], "https", "git.example.test"),
        (&["--defaults", "--allow-http"], "http", own.as_str()),
        (&public, "https", "wit.example.test"),
    ] {
        let options = match options {
            [] => [&listen[..], &tls].concat(),
            options => [&listen[..], options].concat(),
        };
        let up = home.run(WIT, &options, "");
        let said = done(&up);
        assert_eq!(text(&up.stderr), "");
        let shared = said
            .lines()
            .find_map(|line| line.strip_prefix("For other machines: "));
        let shared = shared.unwrap_or_else(|| panic!("no other machines: {said}"));
        let begin = format!("{scheme}://{host}").to_lowercase();
        assert!(shared.starts_with(&begin), "{shared}: {said}");
        let invited = done(&home.run(WIT, &["user", "invite"], ""));
        assert!(
            invited.contains(&format!("{shared}/login/invitation/")),
            "{invited}"
        );
        if scheme == "https" && host == "git.example.test" {
            // It does not cover the address, so that no login there would work.
            assert!(
                said.contains(&format!("wit login {shared} --sign-up")),
                "{said}"
            );
        }
        done(&home.run(WIT, &["down"], ""));
    }
}

#[test]
fn git_is_said_to_need_the_certificate_of_a_login_too_until_it_has_it() {
    let home = Home::new();
    Certificate::new(&home, "wit", LOOPBACK);
    let up = "wit up --port 0 --json --user ada --tls-cert wit.pem --tls-key wit.key";
    let up = done(&home.run("sh", &["-c", up], ""));
    let up: Value = serde_json::from_str(&up).expect("JSON");
    let url = up["url"].as_str().expect("a URL");
    let file = up["passwordFile"].as_str().expect("a file");
    let password = std::fs::read_to_string(file).expect("a password");
    let login = ["login", url, "--ca-file", "wit.pem", "--username", "ada"];
    let login = home.run(
        WIT,
        &[&login[..], &["--password-stdin"]].concat(),
        &password,
    );
    done(&login);
    let said = text(&login.stderr);
    let hint = said
        .lines()
        .find_map(|line| line.strip_prefix("hint: git config"));
    let hint = format!("git config{}", hint.expect("a command"));
    assert!(hint.contains("sslCAInfo"), "{hint}");
    done(&home.run(WIT, &["repo", "create", "demo", "--public"], ""));
    let remote = format!("{url}/ada/demo.git");
    let listed = || {
        home.run("git", &["ls-remote", &remote], "")
            .status
            .success()
    };
    assert!(!listed());
    let status = || text(&home.run(WIT, &["status"], "").stdout);
    let setup = || text(&home.run(WIT, &["setup"], "").stderr);
    assert!(status().contains(&hint), "{}", status());
    assert!(setup().contains(&hint), "{}", setup());
    let doctor = || text(&home.run(WIT, &["doctor"], "").stdout);
    assert!(doctor().contains(&format!("fix: {hint}")), "{}", doctor());
    done(&home.run("sh", &["-c", &hint], ""));
    assert!(listed());
    assert!(!status().contains("sslCAInfo") && !setup().contains("sslCAInfo"));
    assert!(!doctor().contains("sslCAInfo"), "{}", doctor());
    done(&home.run(WIT, &["down"], ""));
}
