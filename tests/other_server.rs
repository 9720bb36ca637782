//! Commands that are suggested about a server in a data directory of its own act on that server: typed as
//! they are, they leave the one in the usual directory alone.

#![cfg(feature = "platform")]

use crate::support::postgres::Postgres;
use crate::support::{Home, WIT, done, refused, text};
use serde_json::Value;

/// What a command prints on both streams.
fn said(home: &Home, arguments: &[&str]) -> String {
    let output = home.run(WIT, arguments, "");
    text(&output.stdout) + &text(&output.stderr)
}

fn stop_both(home: &Home) {
    done(&home.run(WIT, &["down"], ""));
    done(&home.run(WIT, &["down", "--data-dir", "other"], ""));
}

#[test]
fn a_restore_that_a_backup_suggests_replaces_the_server_of_the_backup() {
    let home = Home::new();
    done(&home.run(WIT, &["up", "--port", "0", "--user", "ada"], ""));
    let up = ["up", "--data-dir", "other", "--port", "0", "--user", "bob"];
    done(&home.run(WIT, &up, ""));
    let backup = ["up", "backup", "--data-dir", "other", "saved"];
    let wrote = done(&home.run(WIT, &backup, ""));
    let restore = wrote.lines().find(|line| line.contains("wit up restore"));
    stop_both(&home);

    let again = home.run("sh", &["-c", restore.expect(&wrote)], "");
    let hint = refused(&again, 1);
    let (_, force) = hint.split_once("hint: ").expect("a hint");
    let done = done(&home.run("sh", &["-c", force], ""));
    assert!(done.contains("The previous data was moved to"), "{done}");
    let users = |more: &[&str]| said(&home, &[&["user", "list"], more].concat());
    assert!(users(&[]).contains("ada"), "{}", users(&[]));
    let other = users(&["--data-dir", "other"]);
    assert!(other.contains("bob"), "{other}");
}

#[test]
fn each_hint_names_the_data_directory() {
    let home = Home::new();
    let other = home.path().join("other");
    let named = format!("--data-dir {}", other.display());
    for arguments in [
        &["up", "reload", "--data-dir", "other"][..],
        &["up", "check", "--data-dir", "other"],
        &["up", "backup", "--data-dir", "other", "saved"],
        &["user", "list", "--data-dir", "other"],
    ] {
        let said = said(&home, arguments);
        let hint = format!("hint: wit up {named}\n");
        assert!(said.contains(&hint), "{arguments:?}: {said}");
    }
    let up = ["up", "--data-dir", "other", "--port", "0", "--no-sign-up"];
    let said_first = said(&home, &up);
    let next = format!("wit down {named} && wit up {named} --no-sign-up --user you");
    assert!(said_first.contains(&next), "{said_first}");
    std::fs::write(home.path().join("saved"), "").expect("written");
    for (arguments, hint) in [
        (
            &["up", "--metrics"][..],
            format!("hint: wit down {named}, then"),
        ),
        (
            &["up", "restore", "saved"],
            format!("hint: wit up restore {named} saved --force"),
        ),
        (
            &["user", "suspend", "eve"],
            format!("hint: wit user list {named}"),
        ),
    ] {
        let arguments = [arguments, &["--data-dir", "other"]].concat();
        let said = said(&home, &arguments);
        assert!(said.contains(&hint), "{arguments:?}: {said}");
    }
    done(&home.run(WIT, &["down", "--data-dir", "other"], ""));
    let again = said(&home, &["up", "--data-dir", "other", "--sign-up"]);
    let hint = format!("hint: wit down {named}, then wit up {named} --no-sign-up\n");
    assert!(again.contains(&hint), "{again}");
    done(&home.run(WIT, &["down", "--data-dir", "other"], ""));
}

#[test]
fn a_start_that_is_refused_is_suggested_with_its_other_options() {
    let home = Home::new();
    let named = format!("--data-dir {}", home.path().join("other").display());
    let given = ["up", "--data-dir", "other", "--metrics", "--port"];
    let plain = [&given[..], &["0", "--listen", "0.0.0.0"]].concat();
    let said = refused(&home.run(WIT, &plain, ""), 2);
    let hint = format!("hint: wit up {named} --listen 0.0.0.0 --metrics --port 0 --tls-cert FILE");
    assert!(said.contains(&hint), "{said}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let up = [&given[..], &[&port, "--user", "ada"]].concat();
    let said = refused(&home.run(WIT, &up, ""), 1);
    let (_, again) = said.split_once("hint: ").expect("a hint");
    let expected = format!("wit up {named} --metrics --port 0 --user ada\n");
    assert_eq!(again, expected);
    done(&home.run("sh", &["-c", again], ""));
    done(&home.run(WIT, &["down", "--data-dir", "other"], ""));
}

#[test]
fn doctor_starts_the_server_of_that_data_directory_with_its_database() {
    let mut home = Home::new();
    let database = Postgres::start();
    let fix = |home: &Home, url: &str| {
        let found = home.run(WIT, &["doctor", "--server", url, "--json"], "");
        let found: Value = serde_json::from_slice(&found.stdout).expect("JSON");
        let findings = found["findings"].as_array().expect("a list");
        let server = findings.iter().find(|finding| finding["check"] == "server");
        let fix = &server.expect("the server is away")["cure"];
        fix.as_str().expect("a command").to_owned()
    };
    let start = |home: &Home, data_dir: &str| {
        let up = [
            "up",
            "--data-dir",
            data_dir,
            "--port",
            "0",
            "--json",
            "--user",
            "ada",
        ];
        let up: Value = serde_json::from_str(&done(&home.run(WIT, &up, ""))).expect("JSON");
        let url = up["url"].as_str().expect("a URL").to_owned();
        let login = up["next"].as_str().expect("a command");
        done(&home.run("sh", &["-c", login], ""));
        done(&home.run(WIT, &["down", "--data-dir", data_dir], ""));
        url
    };
    let url = start(&home, "one");
    let (_, port) = url.rsplit_once(':').expect("a port");
    let named = format!("--data-dir {}", home.path().join("one").display());
    assert_eq!(fix(&home, &url), format!("wit up {named} --port {port}"));

    home.set("DATABASE_URL", database.url());
    let url = start(&home, "two");
    let (_, port) = url.rsplit_once(':').expect("a port");
    let two = home.path().join("two").display().to_string();
    let up = format!("wit up --data-dir {two} --port {port}");
    assert_eq!(fix(&home, &url), up);
    home.set("DATABASE_URL", "");
    assert_eq!(fix(&home, &url), format!("DATABASE_URL=… {up}"));
    // Neither is anything else done in a database that the server does not use.
    for command in [
        &["up", "check"][..],
        &["user", "list"],
        &["up", "backup", "b"],
    ] {
        let command = [command, &["--data-dir", "two"]].concat();
        let said = refused(&home.run(WIT, &command, ""), 2);
        assert!(
            said.contains("DATABASE_URL is not set"),
            "{command:?}: {said}"
        );
    }
    home.set("DATABASE_URL", database.url());
    for command in [&["up", "check"][..], &["user", "delete", "ada", "--yes"]] {
        let command = [command, &["--data-dir", "one"]].concat();
        let said = refused(&home.run(WIT, &command, ""), 2);
        assert!(
            said.contains("has used a PostgreSQL"),
            "{command:?}: {said}"
        );
    }
    let backup = [
        "up",
        "backup",
        "--repositories-only",
        "b",
        "--data-dir",
        "two",
    ];
    let wrote = done(&home.run(WIT, &backup, ""));
    assert!(!wrote.contains("all that the server has"), "{wrote}");
    let restore = wrote.lines().find(|line| line.contains("wit up restore"));
    let restore = format!("{} --force", restore.expect(&wrote));
    done(&home.run("sh", &["-c", &restore], ""));
}
