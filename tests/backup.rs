//! `wit up backup` and `wit up restore`.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::support::platform::{Server, request};
use crate::support::postgres::Postgres;
use crate::support::{Home, WIT, done, kill_within, refused, text, until};

/// How many clients push, create and revoke at once.
const CLIENTS: usize = 16;

fn all_repositories(data_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data_dir.join("repositories")).expect("it exists");
    entries
        .map(|entry| entry.expect("readable").path())
        .collect()
}

fn unzipped(archive: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = fs::File::open(archive).expect("an archive");
    GzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
    bytes
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    let secret = secret.as_bytes();
    bytes.windows(secret.len()).any(|window| window == secret)
}

/// A server that is restored from an archive into a home of its own.
fn restored(archive: &Path) -> Server {
    let home = Home::new();
    let archive = archive.to_str().expect("text");
    let output = home.run(WIT, &["up", "restore", archive], "");
    done(&output);
    // Where no start is known, nothing says that sign-up was closed.
    let said = text(&output.stderr);
    assert!(said.contains("such as wit up --no-sign-up"), "{said}");
    // The port of the backup is still the other server's.
    let port = wit::platform::address::free_port([127, 0, 0, 1].into()).expect("a port");
    let address = format!("{{\"version\":1,\"port\":{port}}}");
    fs::write(data_dir(&home).join("address.json"), address).expect("written");
    Server::start_in(home)
}

fn status(server: &Server, token: &str) -> u16 {
    server.bearing("GET", "/api/v1/user", token).status
}

#[test]
fn under_load_a_backup_has_all_that_was_acknowledged_and_nothing_dangling() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    let revoked = server.token(&session, &["repo:read"]);
    let id = revoked["id"].as_str().expect("an id");
    let revoked = revoked["token"].as_str().expect("a secret").to_owned();
    let path = format!("/api/tokens/{id}");
    assert_eq!(server.bearing("DELETE", &path, &session).status, 200);
    for client in 0..CLIENTS {
        server.repository(&session, &format!("r{client}"), true);
        server.work(&format!("w{client}"));
    }
    let done_pushes: Vec<AtomicUsize> = (0..CLIENTS).map(|_| AtomicUsize::new(0)).collect();
    let stop = AtomicBool::new(false);
    let revoked_early = Mutex::new(vec![revoked]);
    let archive = server.home.path().join("wit.backup");
    let mut acknowledged = Vec::new();
    let mut revoked_before = Vec::new();
    std::thread::scope(|scope| {
        for (client, count) in done_pushes.iter().enumerate() {
            let (server, stop) = (&server, &stop);
            let (secret, session, revoked_early) = (&secret, &session, &revoked_early);
            scope.spawn(move || {
                let work = format!("w{client}");
                let remote = server.remote("alice", secret, &format!("/alice/r{client}.git"));
                for number in 1.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    fs::write(
                        server.home.path().join(&work).join("file"),
                        number.to_string(),
                    )
                    .expect("written");
                    let branch = format!("HEAD:refs/heads/b{number}");
                    for arguments in [
                        &["-C", &work, "add", "file"][..],
                        &["-C", &work, "commit", "-q", "-m", "next"],
                        &["-C", &work, "push", "-q", &remote, "HEAD:main", &branch],
                    ] {
                        let output = server.git(arguments);
                        assert!(output.status.success(), "{}", text(&output.stderr));
                    }
                    count.store(number, Ordering::SeqCst);
                    let token = server.token(session, &["repo:read"]);
                    let path = format!("/api/tokens/{}", token["id"].as_str().expect("an id"));
                    assert_eq!(server.bearing("DELETE", &path, session).status, 200);
                    let secret = token["token"].as_str().expect("a secret").to_owned();
                    revoked_early.lock().expect("no panic").push(secret);
                }
            });
        }
        let every = |least: usize| {
            until("each client has pushed", || {
                (done_pushes.iter()).all(|count| count.load(Ordering::SeqCst) >= least)
            });
        };
        every(1);
        acknowledged.extend(done_pushes.iter().map(|count| count.load(Ordering::SeqCst)));
        revoked_before.extend(revoked_early.lock().expect("no panic").clone());
        let backup = ["up", "backup", archive.to_str().expect("text")];
        let backup = server.home.run(WIT, &backup, "");
        stop.store(true, Ordering::SeqCst);
        done(&backup);
    });
    let mode = fs::metadata(&archive)
        .expect("written")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = unzipped(&archive);
    assert!(!holds(&bytes, &session) && !holds(&bytes, &secret));

    let copy = restored(&archive);
    let repositories = all_repositories(&copy.data_dir());
    assert_eq!(repositories.len(), CLIENTS);
    for repository in &repositories {
        let repository = repository.to_str().expect("text");
        done(&copy.git(&["-C", repository, "fsck", "--strict", "--full"]));
        let config = copy.git(&["-C", repository, "config", "core.bare"]);
        assert_eq!(done(&config), "true\n");
    }
    for (client, least) in acknowledged.iter().enumerate() {
        let remote = copy.remote("alice", &secret, &format!("/alice/r{client}.git"));
        let refs = done(&copy.git(&["ls-remote", "--heads", &remote]));
        for number in 1..=*least {
            assert!(refs.contains(&format!("refs/heads/b{number}\n")), "{refs}");
        }
    }
    assert_eq!(status(&copy, &secret), 200);
    for token in &revoked_before {
        assert_eq!(status(&copy, token), 401);
    }
    assert_eq!(copy.bearing("GET", "/api/tokens", &session).status, 401);
    assert_eq!(copy.visit("alice").post("/logout", "").status, 303);
}

/// A home with data of a server that does not run, and its backup.
fn a_backup() -> (Home, PathBuf) {
    let mut server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let archive = server.home.path().join("wit.backup");
    done(&server.home.run(WIT, &["up", "backup", "wit.backup"], ""));
    done(&server.home.run(WIT, &["down"], ""));
    (std::mem::replace(&mut server.home, Home::new()), archive)
}

fn data_dir(home: &Home) -> PathBuf {
    home.path().join(".local/share/wit/platform")
}

#[test]
fn a_program_is_told_that_a_restore_opens_sign_up() {
    let (home, archive) = a_backup();
    let archive = archive.to_str().expect("text");
    let restore = |more: &[&str]| {
        let restore = [&["up", "restore", archive, "--json"], more].concat();
        let restored = home.run(WIT, &restore, "");
        let document: Value = serde_json::from_str(&done(&restored)).expect("JSON");
        let is_warned = text(&restored.stderr).contains("by default anyone can sign up");
        (document["signUpOpens"].clone(), is_warned)
    };
    assert_eq!(restore(&["--data-dir", "new"]), (true.into(), true));
    // There the options of the server that is replaced count.
    assert_eq!(restore(&["--force"]), (false.into(), false));
}

#[test]
fn what_an_operator_has_put_into_a_repository_is_kept() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let repository = server.only_repository();
    fs::create_dir(repository.join("hooks")).expect("made");
    let hook = repository.join("hooks/post-receive");
    fs::write(&hook, "#!/bin/sh\n").expect("written");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("set");
    let config = repository.join("config");
    let config = config.to_str().expect("text");
    done(&server.git(&["config", "--file", config, "wit.test", "kept"]));
    // Neither is a link followed out of the repository, nor a lock kept.
    symlink("/etc/passwd", repository.join("linked")).expect("linked");
    fs::write(repository.join("HEAD.lock"), "").expect("written");
    done(&server.home.run(WIT, &["up", "backup", "wit.backup"], ""));
    let copy = restored(&server.home.path().join("wit.backup"));
    let repository = copy.only_repository();
    let hook = fs::metadata(repository.join("hooks/post-receive")).expect("it is there");
    assert_eq!(hook.permissions().mode() & 0o777, 0o755);
    let config = fs::read_to_string(repository.join("config")).expect("read");
    assert!(config.contains("test = kept"), "{config}");
    for name in ["linked", "HEAD.lock"] {
        assert!(
            fs::symlink_metadata(repository.join(name)).is_err(),
            "{name}"
        );
    }
}

/// Runs a statement in the database of a server that does not run; the number that it counts.
fn sql(data_dir: &Path, statement: &'static str) -> i64 {
    use sqlx::{Connection, Row};
    let file = data_dir.join("wit.sqlite3");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let connection = sqlx::SqliteConnection::connect_with(&options);
        let mut connection = connection.await.expect("open");
        let rows = sqlx::query(statement).fetch_all(&mut connection).await;
        let rows = rows.expect("done");
        connection.close().await.expect("closed");
        rows.first().map_or(0, |row| row.get(0))
    })
}

#[test]
fn neither_an_invitation_nor_a_session_comes_back() {
    let (home, _) = a_backup();
    done(&home.run(
        WIT,
        &["user", "invite", "--url", "http://127.0.0.1:3000"],
        "",
    ));
    let from = data_dir(&home);
    for table in [
        "SELECT count(*) FROM wit_invitation",
        "SELECT count(*) FROM session",
    ] {
        assert_ne!(sql(&from, table), 0);
    }
    done(&home.run(WIT, &["up", "backup", "wit.backup"], ""));
    let restore = ["up", "restore", "wit.backup", "--data-dir", "to"];
    done(&home.run(WIT, &restore, ""));
    let to = home.path().join("to");
    for table in [
        "SELECT count(*) FROM wit_invitation",
        "SELECT count(*) FROM session",
    ] {
        assert_eq!(sql(&to, table), 0);
    }
    assert_eq!(sql(&to, "SELECT count(*) FROM wit_repository"), 1);
}

#[test]
fn the_data_of_an_older_server_are_backed_up_as_they_are() {
    let (home, _) = a_backup();
    let from = data_dir(&home);
    sql(&from, "DROP TABLE wit_invitation");
    done(&home.run(WIT, &["up", "backup", "wit.backup"], ""));
    let tables = "SELECT count(*) FROM sqlite_master WHERE name = 'wit_invitation'";
    assert_eq!(sql(&from, tables), 0);
    let restore = ["up", "restore", "wit.backup", "--data-dir", "to"];
    done(&home.run(WIT, &restore, ""));
    assert_eq!(sql(&home.path().join("to"), tables), 1);
}

#[test]
fn a_repository_that_is_gone_is_left_out_and_named() {
    let (home, archive) = a_backup();
    fs::remove_dir_all(&all_repositories(&data_dir(&home))[0]).expect("removed");
    without_replacing(&home, &archive, "has no directory");
    let restore = ["up", "restore", "wit.backup.incomplete", "--data-dir", "to"];
    let said = done(&home.run(WIT, &restore, ""));
    assert!(said.contains("Restored 0 repositories"), "{said}");
}

/// Makes a backup that lacks something, and checks that the last one is still there.
fn without_replacing(home: &Home, archive: &Path, why: &str) {
    let before = fs::read(archive).expect("read");
    let output = home.run(WIT, &["up", "backup", "wit.backup", "--json"], "");
    let (said, document) = (text(&output.stderr), text(&output.stdout));
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(why), "{said}");
    assert!(document.contains("wit.backup.incomplete"), "{document}");
    assert_eq!(fs::read(archive).expect("read"), before);
    let piped = home.run("sh", &["-c", "wit up backup - >piped"], "");
    assert_eq!(piped.status.code(), Some(3), "{}", text(&piped.stderr));
}

#[test]
fn a_repository_that_is_damaged_is_named_and_the_last_backup_kept() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    server.work("work");
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    done(&server.git(&["-C", "work", "push", "-q", &remote, "main"]));
    let home = &server.home;
    let archive = home.path().join("wit.backup");
    let backup = ["up", "backup", "wit.backup"];
    done(&home.run(WIT, &backup, ""));

    let repository = server.only_repository();
    let tip = repository.join("refs/heads/main");
    let before = fs::read_to_string(&tip).expect("a ref");
    fs::write(&tip, "garbage\n").expect("written");
    without_replacing(home, &archive, "is damaged");
    fs::write(&tip, &before).expect("written");
    let (first, rest) = before.trim().split_at(2);
    let object = repository.join("objects").join(first).join(rest);
    let aside = home.path().join("object");
    fs::rename(&object, &aside).expect("moved");
    without_replacing(home, &archive, "is damaged");
    fs::rename(aside, object).expect("moved");
    done(&home.run(WIT, &backup, ""));
}

#[test]
fn the_directory_of_repositories_is_that_of_the_last_start() {
    let home = Home::new();
    let elsewhere = home.path().join("elsewhere");
    let server = Server::start_with(home, &["--repositories", "elsewhere"]);
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let home = &server.home;
    done(&home.run(WIT, &["up", "check"], ""));
    let said = done(&home.run(WIT, &["up", "backup", "wit.backup"], ""));
    assert!(said.contains("(1 repository)"), "{said}");
    let restore = ["--data-dir", "to", "--repositories", "there"];
    done(&home.run(
        WIT,
        &[&["up", "restore", "wit.backup"], &restore[..]].concat(),
        "",
    ));
    let said = done(&home.run(WIT, &["up", "check", "--data-dir", "to"], ""));
    assert!(said.contains("No problems"), "{said}");
    done(&home.run(WIT, &["down"], ""));

    // Its disk is not mounted.
    let unmounted = home.path().join("unmounted");
    fs::rename(&elsewhere, &unmounted).expect("moved");
    let said = refused(&home.run(WIT, &["up"], ""), 1);
    assert!(said.contains("--repositories DIR"), "{said}");
    assert!(!elsewhere.exists());
    fs::rename(&unmounted, &elsewhere).expect("moved");
    done(&home.run(WIT, &["up"], ""));
    done(&home.run(WIT, &["user", "delete", "alice", "--yes"], ""));
    let left = fs::read_dir(elsewhere).expect("read").count();
    assert_eq!(left, 0);
    done(&home.run(WIT, &["down"], ""));
}

#[test]
fn a_database_that_is_lost_is_not_begun_anew() {
    let (home, _) = a_backup();
    let place = data_dir(&home);
    let database = place.join("wit.sqlite3");
    let saved = fs::read(&database).expect("read");
    fs::remove_file(&database).expect("removed");
    for _ in 0..2 {
        let said = refused(&home.run(WIT, &["up"], ""), 1);
        assert!(said.contains("holds repositories"), "{said}");
        assert!(said.contains("wit up restore"), "{said}");
        // The next time with an empty file.
        fs::write(&database, "").expect("written");
    }
    fs::remove_file(&database).expect("removed");
    // Tables without a row.
    done(&home.run(WIT, &["up", "--data-dir", "other", "--port", "0"], ""));
    done(&home.run(WIT, &["down", "--data-dir", "other"], ""));
    fs::copy(home.path().join("other/wit.sqlite3"), &database).expect("copied");
    refused(&home.run(WIT, &["up"], ""), 1);
    fs::write(&database, saved).expect("written");
    done(&home.run(WIT, &["up", "--port", "0"], ""));
    done(&home.run(WIT, &["down"], ""));
}

#[test]
fn what_is_restored_is_private_whatever_the_umask() {
    let (home, _) = a_backup();
    let script = "umask 022; wit up restore wit.backup --data-dir to; \
                  wit up restore wit.backup --data-dir two --repositories three";
    done(&home.run("sh", &["-c", script], ""));
    for place in ["to", "two"] {
        done(&home.run(WIT, &["up", "check", "--data-dir", place], ""));
    }
}

/// Names of the unfinished archives in the home.
fn unfinished(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.path()).expect("read");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.into_string().expect("text"));
    let mut found: Vec<String> = names.filter(|name| name.starts_with(".tmp-")).collect();
    found.sort();
    found
}

#[test]
fn what_a_killed_backup_leaves_is_removed_by_the_next_to_the_same_file() {
    let (home, _) = a_backup();
    // It takes longer to read than this test takes.
    let large = all_repositories(&data_dir(&home))[0].join("large");
    let file = fs::File::create(&large).expect("created");
    file.set_len(6 << 30).expect("sparse");
    let mut backup = (home.command(WIT).args(["up", "backup", "saved"]))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("wit runs");
    until("the archive is begun", || !unfinished(&home).is_empty());
    backup.kill().expect("killed");
    backup.wait().expect("ended");
    assert_eq!(unfinished(&home).len(), 1);
    fs::remove_file(large).expect("removed");

    let others = [".tmp-other-abcdef", ".tmp-saved-locked"];
    let files = others.map(|name| fs::File::create(home.path().join(name)).expect("created"));
    // As by a backup that is under way.
    files[1].lock().expect("locked");
    done(&home.run(WIT, &["up", "backup", "saved"], ""));
    assert_eq!(unfinished(&home), others);
}

#[test]
fn an_error_in_the_data_directory_is_not_blamed_on_the_archive() {
    let (home, _) = a_backup();
    fs::write(data_dir(&home).join("backup.tmp"), "in the way").expect("written");
    let said = refused(&home.run(WIT, &["up", "backup", "saved"], ""), 1);
    assert!(said.contains("can't back up "), "{said}");
    assert!(!said.contains("can't write saved"), "{said}");
}

#[test]
fn a_full_disk_is_not_said_to_be_a_damaged_archive() {
    let (home, _) = a_backup();
    fs::create_dir(home.path().join("disk")).expect("made");
    let mut restored = false;
    let mut refusals = 0;
    for size in (16..).step_by(32).take(64) {
        let script = format!(
            "mount -t tmpfs -o size={size}k none disk && \
             exec wit up restore wit.backup --data-dir disk/to"
        );
        let output = home.run("unshare", &["-rm", "sh", "-c", &script], "");
        let said = text(&output.stderr);
        if said.contains("unshare") || said.contains("mount:") {
            // No such right here, as in many containers.
            return;
        }
        restored = output.status.success();
        if restored {
            break;
        }
        refusals += 1;
        assert!(!said.contains("damaged"), "{size}: {said}");
    }
    assert!(restored && refusals > 0);
}

#[test]
fn a_full_disk_leaves_what_was_there_as_it_was() {
    let (home, _) = a_backup();
    let large = all_repositories(&data_dir(&home))[0].join("large");
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
        .take(2 << 20)
        .collect();
    fs::write(&large, noise).expect("written");
    done(&home.run(WIT, &["up", "backup", "large.backup"], ""));
    fs::remove_file(large).expect("removed");
    fs::create_dir(home.path().join("disk")).expect("made");
    // Room for what is there, and not for the other beside it.
    let script = "mount -t tmpfs -o size=2m none disk && cp -a .local/share/wit/platform disk/to && \
                  (cd disk/to && find . -type f ! -name server.pid -exec sha256sum {} + | sort >../../before) && \
                  ! wit up restore large.backup --force --data-dir disk/to 2>said && \
                  (cd disk/to && find . -type f ! -name server.pid -exec sha256sum {} + | sort >../../after) && \
                  ls -A disk >left && wit up check --data-dir disk/to";
    let output = home.run("unshare", &["-rm", "sh", "-c", script], "");
    let complaint = text(&output.stderr);
    if complaint.contains("unshare") || complaint.contains("mount:") {
        // No such right here, as in many containers.
        return;
    }
    done(&output);
    let read = |name: &str| fs::read_to_string(home.path().join(name)).expect("read");
    assert!(read("said").contains("No space left"), "{}", read("said"));
    assert!(!read("before").is_empty());
    assert_eq!(read("before"), read("after"));
    assert_eq!(read("left"), "to\n");
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_data_or_the_new_and_the_next_cleans_up() {
    let (home, _) = a_backup();
    let place = data_dir(&home);
    // What is there now has one account more than the backup.
    done(&home.run(WIT, &["up", "--port", "0", "--user", "bob"], ""));
    done(&home.run(WIT, &["down"], ""));
    fs::write(place.join("mine"), "old").expect("written");
    let restore = || {
        let mut command = home.command(WIT);
        command.args(["up", "restore", "wit.backup", "--force"]);
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        command.spawn().expect("it runs")
    };
    let begun = std::time::Instant::now();
    assert!(restore().wait().expect("an end").success());
    let usual = begun.elapsed();
    let aside = place.with_file_name("platform.aside");
    let mut random = fastrand::Rng::new();
    for _ in 0..20 {
        fs::remove_dir_all(&place).expect("removed");
        fs::rename(&aside, &place).expect("back");
        let mut child = restore();
        kill_within(&mut child, usual, &mut random);
        let is_old = place.join("mine").exists();
        let said = done(&home.run(WIT, &["up", "check"], ""));
        assert!(said.contains("No problems"), "{said}");
        let known = sql(&place, r#"SELECT count(*) FROM "user""#);
        assert_eq!(known, if is_old { 2 } else { 1 });
        match is_old {
            // The new data, whole, may be beside it already.
            true if aside.exists() => fs::remove_dir_all(&aside).expect("removed"),
            true => {}
            // The old data is never gone.
            false => assert!(aside.join("mine").exists()),
        }
        if is_old {
            assert!(restore().wait().expect("an end").success());
        }
        let beside = fs::read_dir(place.parent().expect("a parent")).expect("read");
        let names = beside.map(|entry| entry.expect("readable").file_name());
        let left = names.filter(|name| name.to_string_lossy().starts_with(".wit-restore-"));
        if is_old {
            assert_eq!(left.count(), 0);
        }
        assert!(aside.join("mine").exists());
    }
}

#[test]
fn of_two_directories_one_alone_is_not_started_on() {
    let (home, _) = a_backup();
    fs::write(data_dir(&home).join("restore-unfinished"), "").expect("written");
    let said = refused(&home.run(WIT, &["up", "--port", "0"], ""), 1);
    assert!(
        said.contains("a restore of ") && said.contains("--force"),
        "{said}"
    );
    let restore = ["up", "restore", "wit.backup", "--force"];
    let more = ["--repositories", "elsewhere"];
    done(&home.run(WIT, &[&restore[..], &more].concat(), ""));
    done(&home.run(WIT, &["up", "--port", "0"], ""));
    done(&home.run(WIT, &["down"], ""));
    let left = data_dir(&home).with_file_name("platform.aside");
    assert!(left.exists() && !left.join("restore-unfinished").exists());
}

/// The root of a disk can't be exchanged: one of the two directories is found to be so when all else is
/// done.
#[test]
fn of_two_directories_neither_is_replaced_where_one_can_not_be() {
    let (home, _) = a_backup();
    for mounted in ["repositories", "data"] {
        let script = format!(
            "rm -rf data repositories && mkdir data repositories && mount -t tmpfs none {mounted} && \
             start='wit up --port 0 --data-dir data --repositories repositories' && \
             $start --user bob >/dev/null && wit down --data-dir data && \
             echo mine >data/mine && echo mine >repositories/mine && \
             ! wit up restore wit.backup --force --data-dir data --repositories repositories 2>said && \
             cat data/mine repositories/mine && $start >/dev/null && wit down --data-dir data && \
             ls -A"
        );
        let output = home.run("unshare", &["-rm", "sh", "-c", &script], "");
        let complaint = text(&output.stderr);
        if complaint.contains("unshare") || complaint.contains("mount:") {
            // No such right here, as in many containers.
            return;
        }
        let left = done(&output);
        assert!(left.contains("\nmine\nmine\n"), "{left}");
        assert!(
            !left.contains(".wit-restore-") && !left.contains(".aside"),
            "{left}"
        );
        let said = fs::read_to_string(home.path().join("said")).expect("read");
        assert!(said.contains("can't replace "), "{said}");
    }
}

#[test]
fn two_new_directories_have_no_options_of_a_start_either() {
    let (home, _) = a_backup();
    let restore = ["up", "restore", "wit.backup", "--data-dir", "new"];
    let more = ["--repositories", "elsewhere"];
    let output = home.run(WIT, &[&restore[..], &more].concat(), "");
    done(&output);
    let said = text(&output.stderr);
    let up = format!(
        "wit up --data-dir {} --no-sign-up",
        home.path().join("new").display()
    );
    assert!(said.contains(&format!("such as {up}")), "{said}");
}

#[test]
fn repositories_alone_are_restored_to_the_directory_of_the_last_start() {
    let server = Server::start_with(Home::new(), &["--repositories", "elsewhere"]);
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let home = &server.home;
    let backup = ["up", "backup", "wit.backup", "--repositories-only"];
    done(&home.run(WIT, &backup, ""));
    done(&home.run(WIT, &["down"], ""));
    let elsewhere = home.path().join("elsewhere");
    fs::remove_dir_all(&elsewhere).expect("removed");
    let restore = ["up", "restore", "wit.backup", "--repositories-only"];
    done(&home.run(WIT, &restore, ""));
    assert_eq!(fs::read_dir(&elsewhere).expect("it is back").count(), 1);
    assert!(!server.data_dir().join("repositories").exists());
    let said = done(&home.run(WIT, &["up", "check"], ""));
    assert!(said.contains("No problems"), "{said}");
}

#[test]
fn a_server_that_was_closed_to_sign_up_is_closed_once_it_is_restored() {
    let server = Server::start_with(Home::new(), &["--no-sign-up", "--user", "ada"]);
    let home = &server.home;
    done(&home.run(WIT, &["up", "backup", "wit.backup"], ""));
    done(&home.run(WIT, &["down"], ""));
    done(&home.run(WIT, &["up", "restore", "wit.backup", "--force"], ""));
    let said = done(&home.run(WIT, &["up"], ""));
    assert!(said.contains("--no-sign-up"), "{said}");
    let page = server.request("GET", "/login/sign-up", &[], "");
    assert_eq!(page.status, 403, "{}", page.body);
}

#[test]
fn a_backup_goes_through_pipes() {
    let (home, _) = a_backup();
    let other = Home::new();
    let to = data_dir(&other);
    let script = format!(
        "wit up backup - | wit up restore - --data-dir '{}'",
        to.display()
    );
    done(&home.run("sh", &["-c", &script], ""));
    assert!(to.join("wit.sqlite3").is_file());
    let mode = fs::metadata(&to).expect("made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // Nothing of a restore is left beside it.
    let beside = fs::read_dir(to.parent().expect("a parent")).expect("read");
    assert_eq!(beside.count(), 1);
}

#[test]
fn a_backup_that_is_killed_or_finds_the_disk_full_leaves_no_archive() {
    let (home, archive) = a_backup();
    let before = fs::read(&archive).expect("read");
    let large = all_repositories(&data_dir(&home))[0].join("large");
    // Random, so that it can't be compressed.
    done(&home.run(
        "sh",
        &[
            "-c",
            &format!("head -c 1000000 /dev/urandom >'{}'", large.display()),
        ],
        "",
    ));
    // The size of a file is bounded, by a signal or by an error as that of a full disk.
    for trap in ["", "trap '' XFSZ;"] {
        let script = format!("{trap} ulimit -f 200; exec wit up backup wit.backup");
        let output = home.run("sh", &["-c", &script], "");
        assert!(!output.status.success());
        assert_eq!(fs::read(&archive).expect("read"), before);
        if !trap.is_empty() {
            let said = refused(&output, 1);
            assert!(
                said.starts_with("error: can't write wit.backup: "),
                "{said}"
            );
        }
    }
    // What the killed one left is gone after the next.
    done(&home.run(WIT, &["up", "backup", "wit.backup"], ""));
    assert!(!data_dir(&home).join("backup.tmp").exists());
    let refusal = refused(&home.run(WIT, &["up", "backup", "/dev/full"], ""), 2);
    assert!(refusal.contains("not a regular file"), "{refusal}");
    let full = home.run("sh", &["-c", "wit up backup - >/dev/full"], "");
    assert!(refused(&full, 1).contains("No space left"));
}

#[test]
fn what_is_there_is_replaced_only_by_force_and_never_under_a_server() {
    let (home, _) = a_backup();
    let restore = ["up", "restore", "wit.backup"];
    let forced = ["up", "restore", "wit.backup", "--force"];
    let said = refused(&home.run(WIT, &restore, ""), 1);
    assert!(
        said.contains("platform is not empty\nhint: wit up restore wit.backup --force"),
        "{said}"
    );
    done(&home.run(WIT, &["up", "--port", "0"], ""));
    let said = refused(&home.run(WIT, &forced, ""), 1);
    assert!(
        said.contains("already runs") && said.contains("hint: wit down"),
        "{said}"
    );
    done(&home.run(WIT, &["down"], ""));
    fs::write(data_dir(&home).join("mine"), "").expect("written");
    let output = home.run(WIT, &forced, "");
    assert!(!text(&output.stderr).contains("--no-sign-up"), "{output:?}");
    let said = done(&output);
    let aside = data_dir(&home).with_file_name("platform.aside");
    assert!(
        said.contains(&format!(
            "The previous data was moved to {}",
            aside.display()
        )),
        "{said}"
    );
    assert!(said.contains("All sessions have ended"), "{said}");
    assert!(aside.join("mine").exists() && aside.join("wit.sqlite3").exists());
    assert!(!data_dir(&home).join("mine").exists());
    // It comes back at the port of the backup.
    let up = done(&home.run(WIT, &["up", "--json"], ""));
    done(&home.run(WIT, &["down"], ""));
    let up: Value = serde_json::from_str(&up).expect("JSON");
    let address = fs::read_to_string(data_dir(&home).join("address.json")).expect("read");
    let address: Value = serde_json::from_str(&address).expect("JSON");
    assert_eq!(up["url"], format!("http://127.0.0.1:{}", address["port"]));
}

/// What a restore says of an archive that it must refuse, having changed nothing.
fn refusal_of(home: &Home, archive: &[u8]) -> String {
    fs::write(home.path().join("bad"), archive).expect("written");
    let to = home.path().join("to");
    fs::create_dir_all(&to).expect("made");
    let said = refused(
        &home.run(WIT, &["up", "restore", "bad", "--data-dir", "to/data"], ""),
        1,
    );
    assert_eq!(fs::read_dir(&to).expect("read").count(), 0, "{said}");
    assert!(!home.path().join("escaped").exists());
    assert_eq!(
        said.lines()
            .filter(|line| !line.starts_with("hint: "))
            .count(),
        1,
        "{said}"
    );
    said
}

#[test]
fn a_torn_archive_is_refused_wherever_it_is_torn() {
    let (home, archive) = a_backup();
    let whole = fs::read(&archive).expect("read");
    let lengths = (1..8).map(|part| whole.len() * part / 8);
    let ends = [1, 8, 9, 100].map(|left| whole.len() - left);
    for length in lengths.chain(ends).chain([0, 1, 10]) {
        let said = refusal_of(&home, &whole[..length]);
        assert!(said.contains("archive"), "{length}: {said}");
    }
    for at in (1..16).map(|part| whole.len() * part / 16) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        // One that gzip itself does not see, as in the distance of a match among zeros, changes nothing.
        let mut content = Vec::new();
        if GzDecoder::new(&*flipped).read_to_end(&mut content).is_ok() {
            assert_eq!(content, unzipped(&archive), "{at}");
            continue;
        }
        let said = refusal_of(&home, &flipped);
        assert!(said.contains("archive"), "{at}: {said}");
    }
}

/// A gzipped tar of entries: a type, a name, a link's target or a content.
fn tar_of(entries: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (kind, name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        // By hand: the crate refuses names that lead out.
        header.as_gnu_mut().expect("GNU").name[..name.len()].copy_from_slice(name.as_bytes());
        let mut data: &[u8] = content.as_bytes();
        if !kind.is_file() {
            header.set_link_name_literal(content).expect("short");
            data = b"";
        }
        header.set_size(data.len() as u64);
        header.set_cksum();
        tar.append(&header, data).expect("in memory");
    }
    tar.into_inner()
        .expect("in memory")
        .finish()
        .expect("in memory")
}

#[test]
fn foreign_newer_and_hostile_archives_are_refused() {
    use tar::EntryType as Kind;
    let home = Home::new();
    let begin = r#"{"version":1,"created_at":"2026-01-01T00:00:00Z","repositories_only":false}"#;
    let begin = (Kind::Regular, "wit-backup.json", begin);
    for foreign in [
        b"no archive at all".to_vec(),
        tar_of(&[(Kind::Regular, "some", "thing")]),
        tar_of(&[]),
    ] {
        let said = refusal_of(&home, &foreign);
        assert!(said.contains("not an archive of `wit up backup`"), "{said}");
    }
    let newer = r#"{"version":2,"entirely":"new"}"#;
    let said = refusal_of(&home, &tar_of(&[(Kind::Regular, "wit-backup.json", newer)]));
    assert!(said.contains("format 2, which is newer"), "{said}");
    let repository = "repositories/00000000-0000-4000-8000-000000000000.git";
    let inside = |name: &str| format!("{repository}/{name}");
    let link = inside("link");
    for (kind, name, content) in [
        (Kind::Regular, "../escaped", "x"),
        (Kind::Regular, "../../escaped", "x"),
        (Kind::Regular, "/escaped", "x"),
        (Kind::Regular, "other", "x"),
        (Kind::Regular, "repositories/x.git/HEAD", "x"),
        (Kind::Regular, &inside("../../../escaped"), "x"),
        (Kind::Symlink, &link, "/"),
        (Kind::Link, &link, "/etc/passwd"),
        (Kind::Fifo, &link, ""),
        (Kind::Symlink, "wit.sqlite3", "/etc/passwd"),
    ] {
        let said = refusal_of(&home, &tar_of(&[begin, (kind, name, content)]));
        assert!(said.contains("the archive is damaged: "), "{name}: {said}");
    }
    // A file through a link that came before it.
    let through = inside("link/escaped");
    let target = home.path().display().to_string();
    let said = refusal_of(
        &home,
        &tar_of(&[
            begin,
            (Kind::Symlink, &link, &target),
            (Kind::Regular, &through, "x"),
        ]),
    );
    assert!(said.contains("neither a file nor a directory"), "{said}");
    // Whole, as far as it says, and its database is none.
    let end = (
        Kind::Regular,
        "wit-backup-end.json",
        r#"{"files":1,"bytes":4}"#,
    );
    let said = refusal_of(
        &home,
        &tar_of(&[begin, (Kind::Regular, "wit.sqlite3", "none"), end]),
    );
    assert!(said.contains("its database"), "{said}");
    let said = refusal_of(&home, &tar_of(&[begin, end]));
    assert!(said.contains("files are missing"), "{said}");
}

#[test]
fn with_postgresql_the_repositories_alone_are_kept_beside_its_dump() {
    let database = Postgres::start();
    let server = Server::start_on(&database);
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    server.work("work");
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    done(&server.git(&["-C", "work", "push", "-q", &remote, "main"]));
    let said = refused(
        &server.home.run(WIT, &["up", "backup", "wit.backup"], ""),
        2,
    );
    assert!(said.contains("pg_dump"), "{said}");
    let backup = ["up", "backup", "wit.backup", "--repositories-only"];
    done(&server.home.run(WIT, &backup, ""));
    assert!(!holds(
        &unzipped(&server.home.path().join("wit.backup")),
        "wit.sqlite3"
    ));
    let repositories = server.data_dir().join("repositories");
    let restore = [
        "up",
        "restore",
        "wit.backup",
        "--repositories-only",
        "--force",
    ];
    let said = refused(&server.home.run(WIT, &restore, ""), 1);
    assert!(said.contains("a server uses the repositories"), "{said}");
    done(&server.home.run(WIT, &["down"], ""));
    fs::remove_dir_all(&repositories).expect("removed");
    done(&server.home.run(WIT, &restore, ""));
    done(&server.home.run(WIT, &["up"], ""));
    done(&server.git(&["clone", "-q", &remote, "clone"]));
    // It is no backup of a whole server.
    let other = Home::new();
    let archive = server.home.path().join("wit.backup");
    let whole = ["up", "restore", archive.to_str().expect("text")];
    let said = refused(&other.run(WIT, &whole, ""), 1);
    assert!(
        said.contains("holds the repositories alone") && said.contains("--repositories-only"),
        "{said}"
    );
    assert_eq!(
        request(&server.address, "GET", "/health", &[], "").status,
        200
    );
}
