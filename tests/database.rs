//! The server keeps what it answered, whatever becomes of its database: a full disk, another
//! program that has it locked, clients that hang up, a query that does not come back.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::support::platform::{PASSWORD, Server};
use crate::support::postgres::Postgres;
use crate::support::{Home, WIT, done, text};

/// A file system in memory with a bound, gone at the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None` where nobody but root may mount: there a bound on the database's pages, in the tests of
    /// `database::connection`, shows the same of the database alone.
    fn mount(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(at)
            .output()
            .expect("mount");
        (mounted.status.success()).then(|| Tmpfs(at.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn id(token: &Value) -> &str {
    token["id"].as_str().expect("an id")
}

fn secret(token: &Value) -> &str {
    token["token"].as_str().expect("a secret")
}

fn user(server: &Server, token: &Value) -> u16 {
    server.bearing("GET", "/api/v1/user", secret(token)).status
}

fn sign_in(server: &Server) -> u16 {
    let body = json!({ "username": "alice", "password": PASSWORD });
    server.post("/api/auth/sign-in/username", "", body).status
}

fn restart(server: &Server) {
    done(&server.home.run(WIT, &["down"], ""));
    let port = server.address.rsplit(':').next().expect("a port");
    done(&server.home.run(WIT, &["up", "--port", port], ""));
}

#[test]
fn a_full_disk_undoes_nothing_that_was_answered() {
    let home = Home::new();
    let data = home.path().join(".local/share/wit/platform");
    let Some(disk) = Tmpfs::mount(&data, "size=14m") else {
        eprintln!("not shown here: nobody but root may mount a tmpfs");
        return;
    };
    let server = Server::start_in(home);
    let session = server.sign_up("alice");
    // Where the room ends, at a statement or at COMMIT, decides what SQLite rolls back.
    for pages in [0, 2, 6, 16] {
        let old: Vec<Value> = (0..3)
            .map(|_| server.token(&session, &["repo:read"]))
            .collect();
        fill_and_fail(&server, &session, &disk.0, pages);
        let new: Vec<Value> = (0..2)
            .map(|_| server.token(&session, &["repo:read"]))
            .collect();
        for token in &old {
            let path = format!("/api/tokens/{}", id(token));
            assert_eq!(server.bearing("DELETE", &path, &session).status, 200);
        }
        assert_eq!(sign_in(&server), 200);
        let check = |when: &str| {
            // Often enough to come by each connection.
            for _ in 0..10 {
                for token in &old {
                    assert_eq!(user(&server, token), 401, "a revoked token, {when}");
                }
                for token in &new {
                    assert_eq!(user(&server, token), 200, "a new token, {when}");
                }
            }
        };
        check("before a restart");
        restart(&server);
        check("after a restart");
        assert_eq!(sign_in(&server), 200);
    }
    drop(server);
}

#[test]
fn a_full_disk_is_named() {
    let home = Home::new();
    let data = home.path().join(".local/share/wit/platform");
    let Some(disk) = Tmpfs::mount(&data, "size=14m") else {
        eprintln!("not shown here: nobody but root may mount a tmpfs");
        return;
    };
    let server = Server::start_in(home);
    let session = server.sign_up("alice");
    let url = server.url("");
    let login = ["login", &url, "--username", "alice", "--password-stdin"];
    done(&server.home.run(WIT, &login, PASSWORD));
    let mut full = std::fs::File::create(disk.0.join("full")).expect("made");
    while full.write_all(&[0; 4096]).is_ok() {}
    // What there is room for in the database's own files succeeds before.
    let refused = |request: &dyn Fn(u32) -> Option<String>| {
        let said = (0..40).find_map(request).expect("the disk was not full");
        assert!(said.contains("the server's disk is full"), "{said}");
    };
    refused(&|number| {
        let create = ["token", "create", &format!("cli-{number}"), "--quiet"];
        let created = server.home.run(WIT, &create, "");
        (!created.status.success()).then(|| {
            let said = text(&created.stderr);
            assert!(said.contains("make room on the server's disk"), "{said}");
            said
        })
    });
    for (path, body) in [
        (
            "/api/tokens",
            json!({ "name": "full", "scopes": ["repo:read"] }),
        ),
        ("/api/repos", json!({ "name": "full", "private": true })),
        (
            "/api/auth/sign-up/email",
            json!({ "email": "eve@example.com", "password": PASSWORD, "name": "eve", "username": "eve" }),
        ),
    ] {
        let session = match path {
            "/api/auth/sign-up/email" => "",
            _ => &session,
        };
        refused(&|_| {
            let reply = server.post(path, session, body.clone());
            (reply.status >= 500).then(|| {
                assert_eq!(reply.status, 507, "{path}: {}", reply.body);
                reply.body
            })
        });
    }
    drop(server);
}

/// Fills a disk but for some pages, until two requests have failed for it, and makes room again.
fn fill_and_fail(server: &Server, session: &str, disk: &Path, pages: u64) {
    let full = disk.join("full");
    let mut file = std::fs::File::create(&full).expect("made");
    while file.write_all(&[0; 4096]).is_ok() {}
    let size = file.metadata().expect("its size").len();
    file.set_len(size.saturating_sub(pages * 4096))
        .expect("cut");
    let mut failed = 0;
    for _ in 0..20 {
        let body = json!({ "name": "full", "scopes": ["repo:read"] });
        let reply = server.post("/api/tokens", session, body);
        match reply.status {
            500 | 507 => failed += 1,
            201 => {
                // So that the account does not run out of room first.
                let path = format!("/api/tokens/{}", id(&reply.json()));
                server.bearing("DELETE", &path, session);
            }
            other => panic!("{other}: {}", reply.body),
        }
        if failed == 2 {
            break;
        }
    }
    std::fs::remove_file(&full).expect("removed");
    assert_eq!(failed, 2, "the disk was not full");
}

#[test]
fn while_another_program_has_the_database_locked_reads_go_on_and_writes_are_told_to_wait() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let token = server.token(&session, &["repo:read"]);
    server.repository(&session, "demo", true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let file = SqliteConnectOptions::new().filename(server.data_dir().join("wit.sqlite3"));
    let mut other = runtime
        .block_on(SqliteConnection::connect_with(&file))
        .expect("a connection");
    let mut run = |statement| {
        let ran = runtime.block_on(sqlx::raw_sql(statement).execute(&mut other));
        ran.expect(statement);
    };
    for lock in ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"] {
        run(lock);
        for _ in 0..10 {
            assert_eq!(user(&server, &token), 200);
        }
        let listed = server.bearing("GET", "/api/tokens", &session);
        assert_eq!(listed.status, 200, "{}", listed.body);
        let remote = server.remote("alice", secret(&token), "/alice/demo.git");
        done(&server.git(&["ls-remote", &remote]));
        let body = json!({ "name": "later", "scopes": ["repo:read"] });
        let created = server.post("/api/tokens", &session, body);
        assert_eq!(created.status, 503, "{}", created.body);
        assert!(
            created.head.contains("\r\nretry-after: "),
            "{}",
            created.head
        );
        run("ROLLBACK");
        assert_eq!(sign_in(&server), 200);
    }
    let listed = server.bearing("GET", "/api/tokens", &session).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "one was created");
    // What was used meanwhile has been written down.
    assert_ne!(listed[0]["lastUsedAt"], Value::Null);
}

#[test]
fn clients_that_hang_up_leave_no_transaction_behind() {
    let postgres = Postgres::start();
    let server = Server::start_on(&postgres);
    let session = server.sign_up("alice");
    server.repository(&session, "r", false);
    std::thread::scope(|scope| {
        for thread in 0..16_u64 {
            let (server, session) = (&server, &session);
            scope.spawn(move || {
                for round in 0..40 {
                    let mut stream = TcpStream::connect(&server.address).expect("connected");
                    let request = format!(
                        "DELETE /api/tokens/{} HTTP/1.1\r\nHost: {}\r\n\
                         Authorization: Bearer {session}\r\n\r\n",
                        uuid::Uuid::new_v4(),
                        server.address
                    );
                    stream.write_all(request.as_bytes()).expect("sent");
                    std::thread::sleep(Duration::from_micros((thread * 37 + round * 101) % 4_000));
                    let reset = Some(Duration::ZERO);
                    rustix::net::sockopt::set_socket_linger(&stream, reset).expect("set");
                }
            });
        }
    });
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let mut old = "r";
    for new in names {
        let authorization = format!("Bearer {session}");
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = json!({ "name": new }).to_string();
        let reply = server.request("PATCH", &format!("/api/repos/{old}"), &headers, &body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        let kept = postgres.sql("SELECT name FROM wit_server.wit_repository");
        assert_eq!(kept.trim(), new, "answered and not committed");
        old = new;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    while postgres.sql(idle).trim() != "0" {
        assert!(Instant::now() < deadline, "a transaction was left open");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(name: &str, pid: &str) {
    let sent = Command::new("kill").args([name, pid]).status();
    assert!(sent.expect("kill").success());
}

#[test]
fn a_query_that_does_not_come_back_holds_up_no_other_check_of_a_token() {
    let postgres = Postgres::start();
    let server = Server::start_on(&postgres);
    let session = server.sign_up("alice");
    let token = server.token(&session, &["repo:read"]);
    // So that it has several connections.
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| server.bearing("GET", "/api/tokens", &session));
        }
    });
    let stopped = postgres.sql(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'
         AND pid <> pg_backend_pid() ORDER BY state_change LIMIT 1",
    );
    signal("-STOP", stopped.trim());
    let (mut answered, mut stuck) = (0, Vec::new());
    std::thread::scope(|scope| {
        while answered < 40 && stuck.len() < 4 {
            let (answer, wait) = std::sync::mpsc::channel();
            let (server, token) = (&server, &token);
            scope.spawn(move || answer.send(user(server, token)));
            match wait.recv_timeout(Duration::from_secs(5)) {
                Ok(status) => {
                    assert_eq!(status, 200);
                    answered += 1;
                }
                Err(_) => stuck.push(wait),
            }
        }
        signal("-CONT", stopped.trim());
    });
    assert!(
        stuck.len() < 4,
        "after {answered} answers, one waits for the other"
    );
}

/// As drizzle-kit's push does it at the platform's start: what it does not know in `public` goes.
const START_OF_THE_PLATFORM: &str = r#"
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
        AND tablename NOT IN ('user', 'session', 'account', 'personal_access_tokens') LOOP
        EXECUTE format('DROP TABLE public.%I CASCADE', one.tablename);
    END LOOP;
    FOR one IN SELECT indexname FROM pg_indexes WHERE schemaname = 'public'
        AND indexname LIKE 'wit%' LOOP
        EXECUTE format('DROP INDEX public.%I', one.indexname);
    END LOOP;
END $$"#;

const INDEXES: &str = "SELECT string_agg(schemaname || '.' || indexname, ' ' ORDER BY indexname)
    FROM pg_indexes WHERE indexname LIKE 'wit%' AND indexname NOT LIKE '%key'";

/// Everything that our own tables hold, of one account.
fn own_data(server: &Server, session: &str) -> (Value, Value) {
    let repositories = server.bearing("GET", "/api/repos", session);
    let events = server.bearing("GET", "/api/tokens/events", session);
    assert_eq!((repositories.status, events.status), (200, 200));
    let all = repositories.json();
    let names = (all.as_array().expect("a list").iter()).map(|one| one["name"].clone());
    (names.collect(), events.json())
}

fn made_on(postgres: &Postgres) -> (Server, String, Value) {
    let server = Server::start_on(postgres);
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let token = server.token(&session, &["repo:read"]);
    let replaced = server.post("/api/tokens/self/rotate", secret(&token), json!({}));
    assert_eq!(replaced.status, 201, "{}", replaced.body);
    (server, session, token)
}

fn is_reused(server: &Server, token: &Value) -> bool {
    let again = server.post("/api/tokens/self/rotate", secret(token), json!({}));
    again.json()["code"] == "TOKEN_REUSED"
}

#[test]
fn the_platforms_own_start_takes_nothing_of_ours() {
    let postgres = Postgres::start();
    let (server, session, token) = made_on(&postgres);
    let before = own_data(&server, &session);
    let indexes = postgres.sql(INDEXES);
    assert!(indexes.contains("public.wit_token_hash_idx"), "{indexes}");
    postgres.sql(START_OF_THE_PLATFORM);
    assert_ne!(postgres.sql(INDEXES), indexes);
    assert_eq!(own_data(&server, &session), before);
    restart(&server);
    assert_eq!(own_data(&server, &session), before);
    assert_eq!(postgres.sql(INDEXES), indexes, "made again at the start");
    assert!(is_reused(&server, &token));
}

#[test]
fn tables_of_an_older_server_are_moved_once_with_all_that_they_hold() {
    let postgres = Postgres::start();
    let (server, session, token) = made_on(&postgres);
    let before = own_data(&server, &session);
    done(&server.home.run(WIT, &["down"], ""));
    // As the older one made them.
    postgres.sql(
        "ALTER TABLE wit_server.wit_repository SET SCHEMA public;
         ALTER TABLE wit_server.wit_token_event SET SCHEMA public;
         ALTER TABLE wit_server.wit_device SET SCHEMA public;
         ALTER TABLE wit_server.wit_token_family SET SCHEMA public;
         DROP TABLE wit_server.wit_collaborator;
         DROP TABLE wit_server.wit_shown_token, wit_server.wit_session, wit_server.wit_invitation,
             wit_server.wit_token_detail, wit_server.wit_account_event, wit_server.wit_push;
         DROP SCHEMA wit_server;",
    );
    let direct = wit::api::database::Direct::open(&postgres.url(), &alice(&postgres));
    let direct = direct.expect("direct mode works on them where they are");
    let events = wit::api::TokenApi::events(&direct).expect("events");
    assert_eq!(events.len(), before.1.as_array().map_or(0, Vec::len));

    let port = server.address.rsplit(':').next().expect("a port");
    let (ours, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| Server::start_on(&postgres));
        let ours = server.home.run(WIT, &["up", "--port", port], "");
        (ours, other.join().expect("it started"))
    });
    done(&ours);
    for server in [&server, &other] {
        assert_eq!(own_data(server, &session), before);
    }
    let public = "SELECT count(*) FROM pg_tables
         WHERE schemaname = 'public' AND tablename LIKE 'wit%'";
    assert_eq!(postgres.sql(public).trim(), "0");
    assert!(is_reused(&other, &token));
    let removed = server.bearing("DELETE", "/api/repos/demo", &session);
    assert_eq!(removed.status, 200);
}

fn alice(postgres: &Postgres) -> String {
    let id = postgres.sql(r#"SELECT id FROM "user" WHERE username = 'alice'"#);
    id.trim().to_owned()
}
