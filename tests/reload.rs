//! `wit up reload` and SIGHUP: the certificate and the log.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;

use crate::support::platform::Server;
use crate::support::tls::{Certificate, LOOPBACK};
use crate::support::{Home, WIT, done, refused, text, until};
use serde_json::Value;

#[test]
fn a_log_that_was_put_aside_is_begun_anew() {
    let server = Server::start();
    let log = server.data_dir().join("server.log");
    let aside = server.data_dir().join("server.log.old");
    server.request("GET", "/before", &[], "");
    fs::rename(&log, &aside).expect("put aside");
    // By hand, as a service manager does it.
    done(
        &server
            .home
            .run("kill", &["-HUP", &server.pid().to_string()], ""),
    );
    until("the log is there", || log.exists());
    server.request("GET", "/after", &[], "");
    until("the request is in the new log", || {
        fs::read_to_string(&log)
            .expect("read")
            .contains("\"status\":404")
    });
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&log).expect("there"));
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(server.request("GET", "/health", &[], "").status, 200);
    let said = done(&server.home.run(WIT, &["up", "reload"], ""));
    assert!(said.contains("no certificate is configured"), "{said}");
    let none = refused(&Home::new().run(WIT, &["up", "reload"], ""), 1);
    assert!(
        none.contains("no server is running") && none.contains("hint: wit up"),
        "{none}"
    );
}

#[test]
fn a_certificate_that_can_not_be_used_is_told_and_the_old_one_kept() {
    let home = Home::new();
    Certificate::new(&home, "wit", LOOPBACK);
    let tls = ["--tls-cert", "wit.pem", "--tls-key", "wit.key"];
    let up = done(&home.run(
        WIT,
        &[&["up", "--port", "0", "--json"], &tls[..]].concat(),
        "",
    ));
    let up: Value = serde_json::from_str(&up).expect("JSON");
    let health = format!("{}/health", up["url"].as_str().expect("a URL"));
    let works = || {
        let curl = ["ls-remote", &health];
        let mut git = home.command("git");
        git.env("GIT_SSL_CAINFO", home.path().join("first.pem"))
            .args(curl);
        // git gets as far as an answer that is none of git's.
        let said = text(&git.output().expect("git runs").stderr);
        assert!(!said.contains("certificate"), "{said}");
    };
    fs::copy(home.path().join("wit.pem"), home.path().join("first.pem")).expect("copied");
    works();
    let said = done(&home.run(WIT, &["up", "reload"], ""));
    assert!(said.contains("Certificate reloaded"), "{said}");
    fs::write(home.path().join("wit.pem"), "broken").expect("written");
    let said = refused(&home.run(WIT, &["up", "reload"], ""), 1);
    assert!(
        said.contains("the old certificate stays in use: ")
            && said.contains("holds no certificate"),
        "{said}"
    );
    works();
    done(&home.run(WIT, &["down"], ""));
}
