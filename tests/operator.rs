//! What the operator of a `wit up` is told where it does not start, or its database is away.

#![cfg(feature = "platform")]

use std::fs;

use crate::support::platform::Server;
use crate::support::postgres::Postgres;
use crate::support::{Home, WIT, done, refused, text, until};

#[test]
fn a_server_without_its_database_is_not_healthy_and_says_why() {
    let database = Postgres::start();
    let server = Server::start_on(&database);
    let session = server.sign_up("ada");
    let health = || server.request("GET", "/health", &[], "");
    assert_eq!((health().status, health().body.as_str()), (200, "ok\n"));
    database.stop();
    until("the database is missed", || health().status == 503);
    assert_eq!(health().body, "the database does not answer\n");
    // A connection that has just been lost is another error.
    let listed = || server.bearing("GET", "/api/tokens", &session);
    until("a request is refused", || {
        let reply = listed();
        reply.status == 503 && reply.body.contains("database does not answer")
    });
    database.start_again();
    until("the database is back", || health().status == 200);
    until("a request is answered", || listed().status == 200);
}

#[test]
fn each_start_that_fails_says_what_to_do_about_it() {
    let mut home = Home::new();
    let tls = [
        "up",
        "--port",
        "0",
        "--tls-cert",
        "none.pem",
        "--tls-key",
        "none.key",
    ];
    let said = refused(&home.run(WIT, &tls, ""), 1);
    assert!(said.contains("can't serve https: "), "{said}");
    let hint = "a PEM file with the certificate and one with its key: wit up --tls-cert FILE --tls-key \
                FILE --port 0\n";
    assert!(said.contains(hint), "{said}");

    home.set("DATABASE_URL", "postgres://wit@127.0.0.1:1/none");
    let said = refused(&home.run(WIT, &["up", "--port", "0"], ""), 1);
    assert!(said.contains("hint: start that PostgreSQL"), "{said}");
}

#[test]
fn each_archive_that_can_not_be_restored_has_its_own_hint() {
    let server = Server::start();
    done(&server.home.run(WIT, &["up", "backup", "whole"], ""));
    let whole = fs::read(server.home.path().join("whole")).expect("read");
    fs::write(server.home.path().join("torn"), &whole[..whole.len() / 2]).expect("written");
    fs::write(server.home.path().join("other"), "no archive").expect("written");
    let both = "hint: to restore both: wit up restore --data-dir";
    for (file, more, hint) in [
        ("torn", &[][..], "hint: copy the archive again"),
        ("other", &[], "hint: name an archive"),
        ("whole", &["--repositories-only"], both),
    ] {
        let restore = ["up", "restore", file, "--data-dir", "new"];
        let restore = [&restore[..], more].concat();
        let said = refused(&server.home.run(WIT, &restore, ""), 1);
        assert!(said.contains(hint), "{file}: {said}");
    }
}

#[test]
fn a_full_disk_is_the_reason_also_where_the_log_has_no_room_for_it() {
    let home = Home::new();
    fs::create_dir(home.path().join("disk")).expect("made");
    let mut refusals = 0;
    for size in (4..).step_by(16).take(12) {
        let script = format!(
            "mount -t tmpfs -o size={size}k none disk && wit up --port 0 --data-dir disk/to; \
             code=$?; wit down --data-dir disk/to >down 2>&1; exit $code"
        );
        let output = home.run("unshare", &["-rm", "sh", "-c", &script], "");
        let said = text(&output.stderr);
        if said.contains("unshare") || said.contains("mount:") {
            // No such right here, as in many containers.
            return;
        }
        if output.status.success() {
            break;
        }
        refusals += 1;
        assert!(!said.contains("hint: cat"), "{size}: {said}");
    }
    assert!(refusals > 0);
}

#[test]
fn a_foreign_name_is_refused_with_both_options_that_add_it() {
    let server = Server::start();
    let reply = server.request_to("git.example.test", "GET", "/api/tokens");
    assert_eq!(reply.status, 421);
    for option in ["--host-name", "--public-url"] {
        assert!(reply.body.contains(option), "{}", reply.body);
    }
}
