//! `wit up check`: what is wrong with the data of a server.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::support::platform::{PASSWORD, Server};
use crate::support::postgres::Postgres;
use crate::support::{Home, WIT, done, refused, text};

/// A server with a repository that something was pushed to, and two that are empty.
fn server() -> Server {
    filled(Server::start())
}

fn filled(server: Server) -> Server {
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    server.work("work");
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    done(&server.git(&["-C", "work", "push", "-q", &remote, "main"]));
    server
}

/// The kinds and the sentences of what is found, and the exit code.
fn found(home: &Home, more: &[&str]) -> (Option<i32>, Vec<(String, String)>) {
    let output = home.run(WIT, &[&["up", "check", "--json"], more].concat(), "");
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no JSON: {}", text(&output.stderr)));
    let findings = document["findings"].as_array().expect("a list");
    let word = |finding: &Value, name: &str| finding[name].as_str().expect("text").to_owned();
    let findings = findings.iter();
    let findings = findings.map(|one| (word(one, "kind"), word(one, "what")));
    (output.status.code(), findings.collect())
}

fn only(home: &Home, kind: &str, what: &str) {
    let (code, findings) = found(home, &[]);
    assert_eq!(code, Some(3), "{findings:?}");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].0, kind);
    assert!(findings[0].1.contains(what), "{findings:?}");
}

fn made_long_ago(home: &Home, path: &Path) {
    let path = path.to_str().expect("text");
    done(&home.run("touch", &["-d", "3 hours ago", path], ""));
}

#[test]
fn nothing_is_wrong_with_a_server_at_work() {
    let server = server();
    let said = done(&server.home.run(WIT, &["up", "check"], ""));
    assert!(
        said.contains("(1 repository)\nNo problems found."),
        "{said}"
    );
    assert_eq!(found(&server.home, &[]), (Some(0), Vec::new()));
    let nothing = refused(&Home::new().run(WIT, &["up", "check"], ""), 1);
    assert!(nothing.contains("there is no server data in"), "{nothing}");
}

#[test]
fn a_damaged_object_is_found_unless_there_is_no_time_for_it() {
    let server = server();
    let repository = server.only_repository();
    let directory = repository.to_str().expect("text");
    let head = done(&server.git(&["-C", directory, "rev-parse", "main"]));
    let (first, rest) = head.trim().split_at(2);
    let object = repository.join("objects").join(first).join(rest);
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).expect("set");
    fs::write(&object, "damaged").expect("written");
    only(&server.home, "repository", "git fsck: ");
    assert_eq!(found(&server.home, &["--quick"]), (Some(0), Vec::new()));
}

#[test]
fn rows_and_directories_that_lack_each_other_are_found() {
    let server = server();
    let repositories = server.data_dir().join("repositories");
    let stray = repositories.join("00000000-0000-4000-8000-000000000000.git");
    done(&server.git(&["init", "-q", "--bare", stray.to_str().expect("text")]));
    fs::set_permissions(&stray, fs::Permissions::from_mode(0o755)).expect("set");
    // It may just be on its way into the database.
    assert_eq!(found(&server.home, &[]).0, Some(0));
    made_long_ago(&server.home, &stray);
    only(
        &server.home,
        "unreferenced",
        "no repository in the database",
    );
    fs::remove_dir_all(stray).expect("removed");
    let other = repositories.join("notes");
    fs::write(&other, "").expect("written");
    only(
        &server.home,
        "unreferenced",
        "does not belong to the server",
    );
    fs::remove_file(other).expect("removed");
    fs::remove_dir_all(server.only_repository()).expect("removed");
    only(
        &server.home,
        "missing-directory",
        "its directory is missing",
    );
}

#[test]
fn leftovers_and_open_files_are_found() {
    let server = server();
    let incoming = server
        .only_repository()
        .join("objects/tmp_objdir-incoming-Ab1Cd2");
    fs::create_dir(&incoming).expect("made");
    assert_eq!(found(&server.home, &[]).0, Some(0));
    made_long_ago(&server.home, &incoming);
    only(&server.home, "leftover", "was killed");
    fs::remove_dir(incoming).expect("removed");
    let database = server.data_dir().join("wit.sqlite3");
    for (path, mode) in [
        (database, 0o640),
        (server.data_dir(), 0o750),
        (server.only_repository(), 0o775),
    ] {
        let before = fs::metadata(&path).expect("it is there").permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        only(
            &server.home,
            "permissions",
            &format!("its mode is {mode:o}"),
        );
        fs::set_permissions(&path, before).expect("set");
    }
    assert_eq!(found(&server.home, &[]).0, Some(0));
}

#[test]
fn a_damaged_database_is_found() {
    let server = server();
    let file = server.data_dir().join("wit.sqlite3");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        use sqlx::Connection;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
        let options = options.foreign_keys(false);
        let mut connection = sqlx::SqliteConnection::connect_with(&options)
            .await
            .expect("open");
        sqlx::query("DELETE FROM \"user\"")
            .execute(&mut connection)
            .await
            .expect("done");
        connection.close().await.expect("closed");
    });
    let (code, findings) = found(&server.home, &[]);
    assert_eq!(code, Some(3));
    assert!(
        (findings.iter())
            .any(|(kind, what)| kind == "database" && what.contains("refers to no row of user")),
        "{findings:?}"
    );
}

#[test]
fn a_file_that_is_no_database_is_a_finding_too() {
    let server = server();
    done(&server.home.run(WIT, &["down"], ""));
    let file = server.data_dir().join("wit.sqlite3");
    let whole = fs::read(&file).expect("read");
    let mut torn = whole.clone();
    torn.truncate(whole.len() / 2);
    // Page 1 is left, so that it opens.
    let mut overwritten = whole.clone();
    overwritten[4096..].fill(0xff);
    for content in [&b"garbage".repeat(1000), &torn, &overwritten] {
        fs::write(&file, content).expect("written");
        let (code, findings) = found(&server.home, &[]);
        assert_eq!(code, Some(3));
        let is_database = |(kind, _): &(String, String)| kind == "database";
        assert!(findings.iter().any(is_database), "{findings:?}");
    }
}

#[test]
fn where_another_user_may_not_look_it_is_said() {
    if !rustix::process::geteuid().is_root() {
        // Only root can become somebody else.
        return;
    }
    let server = server();
    let data_dir = server.data_dir();
    let place = data_dir.to_str().expect("text");
    // The directory above is private, as a home is.
    let above = data_dir.parent().expect("a parent");
    fs::set_permissions(above, fs::Permissions::from_mode(0o700)).expect("set");
    let program = tempfile::tempdir().expect("a directory");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
    fs::copy(WIT, program.path().join("wit")).expect("copied");
    let wit = program.path().join("wit");
    let nobody = |arguments: &[&str]| {
        let wit = wit.to_str().expect("text");
        let user = [
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            wit,
        ];
        let more = [&user[..], arguments].concat();
        refused(&server.home.run("setpriv", &more, ""), 1)
    };
    for command in [
        &["up", "check"][..],
        &["up", "backup", "-"],
        &["up", "reload"],
        &["user", "list"],
        &["down"],
    ] {
        let said = nobody(&[command, &["--data-dir", place]].concat());
        assert!(said.contains("ermission denied"), "{command:?}: {said}");
    }
    let own = tempfile::tempdir().expect("a directory");
    let shut = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::chown(own.path(), Some(65_534), None).expect("given away");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o755)).expect("set");
    let (own, shut) = (own.path().to_str(), shut.path().to_str());
    let (own, shut) = (own.expect("text"), shut.expect("text"));
    let up = [
        "up",
        "--port",
        "0",
        "--data-dir",
        own,
        "--repositories",
        shut,
    ];
    let said = nobody(&up);
    assert!(said.contains("can't write into"), "{said}");
}

#[test]
fn with_postgresql_the_repositories_are_checked_all_the_same() {
    let database = Postgres::start();
    let server = filled(Server::start_on(&database));
    assert_eq!(found(&server.home, &[]), (Some(0), Vec::new()));
    fs::remove_dir_all(server.only_repository()).expect("removed");
    only(
        &server.home,
        "missing-directory",
        "its directory is missing",
    );
}

#[test]
fn a_directory_that_mkdir_made_is_kept_from_others_from_the_first_start_on() {
    let home = Home::new();
    let made = ["data", "repositories", "taken"].map(|name| home.path().join(name));
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    for path in &made {
        fs::create_dir(path).expect("made");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("changed");
    }
    fs::write(made[2].join("mine"), "").expect("written");
    let places = ["--data-dir", "data", "--repositories", "repositories"];
    let up = |places: &[&str]| {
        done(&home.run(WIT, &[&["up", "--port", "0"], places].concat(), ""));
        done(&home.run(WIT, &["down", places[0], places[1]], ""));
    };
    up(&places);
    assert_eq!((mode(&made[0]), mode(&made[1])), (0o700, 0o700));
    done(&home.run(WIT, &[&["up", "check"], &places[..]].concat(), ""));
    // What others may have put something into is not closed behind them.
    up(&["--data-dir", "taken"]);
    assert_eq!(mode(&made[2]), 0o755);
}

#[test]
fn another_user_is_told_to_be_the_owner() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give a directory away. Run by others, there is nothing to check.
        return;
    }
    let server = server();
    std::os::unix::fs::chown(server.data_dir(), Some(65_534), None).expect("given away");
    for command in [&["check"][..], &["backup", "wit.backup"]] {
        let output = server.home.run(WIT, &[&["up"], command].concat(), "");
        let said = refused(&output, 2);
        assert!(said.contains("belongs to user 65534"), "{said}");
    }
    std::os::unix::fs::chown(server.data_dir(), Some(0), None).expect("taken back");
    // A server of root's would leave repositories into which the other user's can't push.
    let database = server.data_dir().join("wit.sqlite3");
    std::os::unix::fs::chown(&database, Some(65_534), None).expect("given away");
    let said = refused(&server.home.run(WIT, &["up"], ""), 2);
    assert!(said.contains("wit.sqlite3 belongs to user 65534"), "{said}");
    std::os::unix::fs::chown(&database, Some(0), None).expect("taken back");
}

#[test]
fn what_the_server_makes_is_for_its_user_alone_whatever_the_umask() {
    let home = Home::new();
    fs::write(home.path().join("password"), PASSWORD).expect("written");
    let script = "
        umask 002
        wit up --port 0 >up
        url=$(sed -n 's/.*\\(http:[^ ]*[0-9]\\).*/\\1/p' up | head -n 1)
        wit login $url --sign-up --email ada@example.org --username ada --password-stdin <password
        wit setup
        wit token create
        wit repo create hello
        git clone -q $url/ada/hello.git
        git -C hello -c user.name=ada -c user.email=ada@example.org commit -q --allow-empty -m first
        git -C hello push -q origin HEAD
        wit up check || { wit down; exit 1; }
        wit down";
    done(&home.run("sh", &["-ec", script], ""));
}
