//! `wit up`: what a token is worth depends on what the server enforces.

#![cfg(feature = "platform")]

use crate::support::platform::{PASSWORD, Server};
use crate::support::{Home, text};
use serde_json::{Value, json};

#[test]
fn a_token_clones_and_pushes_and_is_seen_as_used() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    let unused = &server.bearing("GET", "/api/tokens", &session).json()[0]["lastUsedAt"];
    assert!(unused.is_null());
    server.work("work");
    for (username, clone) in [("alice", "a"), ("alice@example.com", "b"), ("token", "c")] {
        let username = username.replace('@', "%40");
        let remote = server.remote(&username, &secret, "/alice/demo.git");
        let push = server.git(&["-C", "work", "push", &remote, "main"]);
        assert!(push.status.success(), "{}", text(&push.stderr));
        let cloned = server.git(&["clone", &remote, clone]);
        assert!(cloned.status.success(), "{}", text(&cloned.stderr));
    }
    let partial = server.remote("alice", &secret, "/alice/demo.git");
    let cloned = server.git(&[
        "clone",
        "--depth=1",
        "--filter=blob:none",
        &partial,
        "partial",
    ]);
    assert!(cloned.status.success(), "{}", text(&cloned.stderr));
    let used = &server.bearing("GET", "/api/tokens", &session).json()[0]["lastUsedAt"];
    assert!(used.is_string(), "{used}");
}

#[test]
fn without_a_valid_token_git_is_asked_for_one() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let path = "/alice/demo.git/info/refs?service=git-upload-pack";
    let nobody = server.request("GET", path, &[], "");
    let unknown = server.bearing("GET", path, &format!("wit_{}", "0".repeat(40)));
    let a_session = server.bearing("GET", path, &session);
    for reply in [nobody, unknown, a_session] {
        assert_eq!(reply.status, 401);
        assert!(
            reply.head.contains("www-authenticate: basic realm=\"wit\""),
            "{}",
            reply.head
        );
        assert!(
            reply.head.contains("www-authenticate: bearer"),
            "{}",
            reply.head
        );
    }
    let secret = server.secret(&session, &["repo:read"]);
    let remote = server.remote("mallory", &secret, "/alice/demo.git");
    assert!(
        !server.git(&["ls-remote", &remote]).status.success(),
        "another's username"
    );
}

#[test]
fn a_revoked_token_is_refused_by_the_very_next_request() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let token = server.token(&session, &["repo:read", "repo:write"]);
    let (id, secret) = (
        token["id"].as_str().unwrap(),
        token["token"].as_str().unwrap(),
    );
    let path = "/alice/demo.git/info/refs?service=git-receive-pack";
    assert_eq!(server.bearing("GET", path, secret).status, 200);
    assert_eq!(server.bearing("GET", "/api/v1/user", secret).status, 200);
    let gone = server.bearing("DELETE", &format!("/api/tokens/{id}"), &session);
    assert_eq!(gone.status, 200, "{}", gone.body);
    assert_eq!(server.bearing("GET", path, secret).status, 401);
    assert_eq!(server.bearing("GET", "/api/v1/user", secret).status, 401);
    let again = server.bearing("DELETE", &format!("/api/tokens/{id}"), &session);
    assert_eq!(again.status, 404);
}

#[test]
fn a_missing_scope_is_named_to_whoever_pushes_or_fetches() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    server.work("work");
    let reader = server.secret(&session, &["repo:read"]);
    let remote = server.remote("alice", &reader, "/alice/demo.git");
    let push = server.git(&["-C", "work", "push", &remote, "main"]);
    assert!(!push.status.success());
    let said = text(&push.stderr);
    assert!(said.contains("lacks the scope repo:write"), "{said}");

    let writer = server.secret(&session, &["repo:write"]);
    let remote = server.remote("alice", &writer, "/alice/demo.git");
    let fetch = server.git(&["ls-remote", &remote]);
    assert!(!fetch.status.success());
    let said = text(&fetch.stderr);
    assert!(said.contains("lacks the scope repo:read"), "{said}");
}

#[test]
fn what_does_not_exist_and_what_may_not_be_seen_look_the_same() {
    let server = Server::start();
    let alice = server.sign_up("alice");
    let bob = server.sign_up("bob");
    server.repository(&alice, "secret", true);
    let token = server.secret(&bob, &["repo:read", "repo:write"]);
    let before = std::fs::read_dir(server.data_dir().join("repositories"))
        .unwrap()
        .count();
    for service in ["git-upload-pack", "git-receive-pack"] {
        let look = |name: &str| {
            let path = format!("/{name}.git/info/refs?service={service}");
            let reply = server.bearing("GET", &path, &token);
            // What differs between any two answers.
            let own = ["date:", "x-request-id:"];
            let lines = reply.head.lines();
            let undated = lines.filter(|line| !own.iter().any(|name| line.starts_with(name)));
            (
                reply.status,
                undated.map(str::to_owned).collect::<Vec<_>>(),
                reply.body,
            )
        };
        let invisible = look("alice/secret");
        assert_eq!(invisible.0, 404);
        for missing in ["alice/none", "nobody/none", "alice/%2e%2e", "..%2f/x"] {
            assert_eq!(look(missing), invisible, "{missing}");
        }
    }
    let after = std::fs::read_dir(server.data_dir().join("repositories"))
        .unwrap()
        .count();
    assert_eq!(before, after, "reading makes nothing");
}

#[test]
fn another_may_read_a_public_repository_but_not_push_to_it() {
    let server = Server::start();
    let alice = server.sign_up("alice");
    let bob = server.sign_up("bob");
    server.repository(&alice, "open", false);
    server.work("work");
    let token = server.secret(&bob, &["repo:read", "repo:write"]);
    let remote = server.remote("bob", &token, "/alice/open.git");
    assert!(server.git(&["ls-remote", &remote]).status.success());
    let push = server.git(&["-C", "work", "push", &remote, "main"]);
    assert!(!push.status.success());
    assert!(
        text(&push.stderr).contains("only its owner"),
        "{}",
        text(&push.stderr)
    );
}

#[test]
fn a_token_can_neither_make_nor_list_nor_revoke_tokens() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let token = server.token(&session, &["repo:read", "repo:admin", "user:write"]);
    let (id, secret) = (
        token["id"].as_str().unwrap(),
        token["token"].as_str().unwrap(),
    );
    let body = json!({ "name": "more", "scopes": ["repo:read"] });
    assert_eq!(server.post("/api/tokens", secret, body).status, 401);
    assert_eq!(server.bearing("GET", "/api/tokens", secret).status, 401);
    let path = format!("/api/tokens/{id}");
    assert_eq!(server.bearing("GET", &path, secret).status, 401);
    assert_eq!(server.bearing("DELETE", &path, secret).status, 401);
}

#[test]
fn another_account_can_neither_see_nor_revoke_a_token() {
    let server = Server::start();
    let alice = server.sign_up("alice");
    let bob = server.sign_up("bob");
    let token = server.token(&alice, &["repo:read"]);
    let path = format!("/api/tokens/{}", token["id"].as_str().unwrap());
    assert_eq!(server.bearing("GET", &path, &bob).status, 404);
    assert_eq!(server.bearing("DELETE", &path, &bob).status, 404);
    assert_eq!(server.bearing("GET", &path, &alice).status, 200);
    assert_eq!(server.bearing("GET", "/api/tokens", &bob).json(), json!([]));
}

#[test]
fn a_token_outside_the_limits_is_not_made() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let read = json!(["repo:read"]);
    for body in [
        json!({ "name": "", "scopes": read }),
        json!({ "name": " ", "scopes": read }),
        json!({ "name": "a\u{0}b", "scopes": read }),
        json!({ "name": "a\u{1b}[2J", "scopes": read }),
        json!({ "name": "x".repeat(101), "scopes": read }),
        json!({ "name": "x", "scopes": [] }),
        json!({ "name": "x", "scopes": ["repo:everything"] }),
        json!({ "name": "x", "scopes": read, "expiresInDays": 0 }),
        json!({ "name": "x", "scopes": read, "expiresInDays": -1 }),
        json!({ "name": "x", "scopes": read, "expiresInDays": 366 }),
        json!({ "name": "x", "scopes": read, "expiresInDays": "30abc" }),
        json!({ "name": "x" }),
    ] {
        let reply = server.post("/api/tokens", &session, body.clone());
        assert_eq!(reply.status, 400, "{body}: {}", reply.body);
    }
    assert_eq!(
        server.bearing("GET", "/api/tokens", &session).json(),
        json!([])
    );
}

#[test]
fn an_account_has_room_for_fifty_tokens_however_fast_it_asks() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let body = json!({ "name": "many", "scopes": ["repo:read"] });
    let made = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let replies =
                        (0..10).map(|_| server.post("/api/tokens", &session, body.clone()));
                    replies.filter(|reply| reply.status == 201).count()
                })
            })
            .collect();
        asking
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum::<usize>()
    });
    assert_eq!(made, 50);
    let refused = server.post("/api/tokens", &session, body);
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.json()["message"],
        "Maximum of 50 tokens allowed per user"
    );
}

#[test]
fn passwords_can_not_be_tried_without_end() {
    let server = Server::start();
    server.sign_up("alice");
    let wrong = json!({ "username": "alice", "password": "wrong horse" });
    let limited = (0..11)
        .map(|_| server.post("/api/auth/sign-in/username", "", wrong.clone()))
        .find(|reply| reply.status != 401)
        .expect("an end");
    assert_eq!(limited.status, 429);
    assert!(
        limited.head.contains("\r\nretry-after: "),
        "{}",
        limited.head
    );
}

#[test]
fn many_sign_ins_at_once_take_little_memory_and_the_right_one_is_let_in() {
    let server = Server::start();
    server.sign_up("alice");
    let sign_in = |name: &str, password: &str| {
        let body = json!({ "username": name, "password": password });
        server.post("/api/auth/sign-in/username", "", body).status
    };
    std::thread::scope(|scope| {
        for number in 0..30 {
            let sign_in = &sign_in;
            scope.spawn(move || {
                let status = sign_in(&format!("nobody{number}"), "wrong horse");
                assert!([401, 503].contains(&status), "{status}");
            });
        }
    });
    assert_eq!(sign_in("alice", PASSWORD), 200);
    // One hash takes 32 MiB.
    let most = 100 + 32 * std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    assert!(server.peak_memory() / 1024 < most);
}

#[test]
fn an_account_with_too_many_tokens_loses_none_by_a_rotation() {
    let database = crate::support::postgres::Postgres::start();
    let server = Server::start_on(&database);
    let session = server.sign_up("alice");
    let token = server.token(&session, &["repo:read"]);
    // As the platform lets two requests at once have it.
    database.sql(
        "INSERT INTO personal_access_tokens (user_id, name, token_hash, token_prefix, scopes)
         SELECT (SELECT id FROM \"user\"), 'more', n::text, 'wit_0000', '[]'
         FROM generate_series(1, 50) n",
    );
    let path = format!(
        "/settings/tokens/{}/rotate",
        token["id"].as_str().expect("an id")
    );
    assert_eq!(server.visit("alice").post(&path, "expires=30").status, 422);
    let secret = token["token"].as_str().expect("the secret");
    assert_eq!(server.bearing("GET", "/api/v1/user", secret).status, 200);
}

#[test]
fn what_the_database_answers_to_one_check_is_no_harm_to_the_next() {
    let database = crate::support::postgres::Postgres::start();
    let server = Server::start_on(&database);
    let session = server.sign_up("alice");
    let odd = server.token(&session, &["repo:read"]);
    let good = server.secret(&session, &["repo:read"]);
    // A time that PostgreSQL has and this program has not.
    let id = odd["id"].as_str().expect("an id");
    database.sql(&format!(
        "UPDATE personal_access_tokens SET expires_at = 'infinity' WHERE id = '{id}'"
    ));
    let odd = odd["token"].as_str().expect("the secret");
    assert_ne!(server.bearing("GET", "/api/v1/user", odd).status, 200);
    assert_eq!(server.bearing("GET", "/api/v1/user", &good).status, 200);
}

#[test]
fn an_account_without_a_username_has_its_repositories_below_its_id() {
    let database = crate::support::postgres::Postgres::start();
    let server = Server::start_on(&database);
    let session = server.sign_up("alice");
    // As accounts of the platform are.
    database.sql(r#"UPDATE "user" SET username = NULL"#);
    let body = json!({ "name": "demo", "private": true });
    let made = server.post("/api/repos", &session, body);
    assert_eq!(made.status, 201, "{}", made.body);
    let path = made.json()["path"].as_str().expect("a path").to_owned();
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    server.work("work");
    let remote = server.remote("token", &secret, &path);
    let push = server.git(&["-C", "work", "push", "-q", &remote, "main"]);
    assert!(push.status.success(), "{}", text(&push.stderr));
}

#[test]
fn an_account_takes_no_name_of_the_servers_own_nor_one_twice() {
    let server = Server::start();
    server.sign_up("alice");
    for (username, status) in [("API", 400), ("token", 400), ("a/b", 400), ("Alice", 422)] {
        let body = json!({
            "email": "else@example.com",
            "password": PASSWORD,
            "name": "else",
            "username": username,
        });
        let reply = server.post("/api/auth/sign-up/email", "", body);
        assert_eq!(reply.status, status, "{username}: {}", reply.body);
    }
}

#[test]
fn neither_password_nor_token_reaches_the_log_or_the_database() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:read"]);
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    assert!(server.git(&["ls-remote", &remote]).status.success());
    let path = format!("/{secret}/{secret}?token={secret}");
    let reply = server.request("GET", &path, &[("Authorization", "Basic eA==")], &secret);
    assert_eq!(reply.status, 404);
    let log = std::fs::read_to_string(server.data_dir().join("server.log")).expect("it exists");
    assert!(
        log.contains(r#""route":"/{owner}/{repository}/info/refs""#),
        "{log}"
    );
    for file in ["server.log", "wit.sqlite3", "wit.sqlite3-wal"] {
        let kept = std::fs::read(server.data_dir().join(file)).expect("it exists");
        let kept = String::from_utf8_lossy(&kept);
        assert!(!kept.contains(&secret), "the token is in {file}");
        assert!(!kept.contains(PASSWORD), "the password is in {file}");
    }
}

#[test]
fn two_servers_share_a_postgresql_that_the_platform_made() {
    let database = crate::support::postgres::Postgres::start();
    database.sql(crate::support::postgres::MADE_BY_THE_PLATFORM);
    let [one, other] = [(); 2].map(|()| Server::start_on(&database));
    // The platform's tables are as it made them; the index is ours.
    database.sql(
        "DO $$ BEGIN
             ASSERT 9 = (SELECT count(*) FROM information_schema.columns
                         WHERE table_name = 'personal_access_tokens');
             ASSERT 17 = (SELECT count(*) FROM information_schema.columns
                          WHERE table_name = 'user' AND table_schema = 'public');
             ASSERT EXISTS (SELECT FROM pg_indexes WHERE tablename = 'personal_access_tokens'
                            AND indexdef LIKE '%(token_hash)');
         END $$",
    );
    let theirs = format!("wit_{}", "0123456789".repeat(4));
    let user = one.bearing("GET", "/api/v1/user", &theirs);
    assert_eq!(user.status, 200, "{}", user.body);
    assert_eq!(user.json()["username"], "theirs");

    let session = one.sign_up("alice");
    for _ in 0..50 {
        let token = one.token(&session, &["repo:read"]);
        let secret = token["token"].as_str().expect("the secret");
        assert_eq!(other.bearing("GET", "/api/v1/user", secret).status, 200);
        let path = format!("/api/tokens/{}", token["id"].as_str().expect("an id"));
        assert_eq!(one.bearing("DELETE", &path, &session).status, 200);
        assert_eq!(other.bearing("GET", "/api/v1/user", secret).status, 401);
    }
    let secret = one.secret(&session, &["repo:read", "repo:write"]);
    let list = other.bearing("GET", "/api/tokens", &session).json();
    assert_eq!(list.as_array().map(Vec::len), Some(1));

    database.sql(r#"UPDATE "user" SET suspended = true WHERE username = 'alice'"#);
    assert_eq!(one.bearing("GET", "/api/v1/user", &secret).status, 401);
    assert_eq!(one.bearing("GET", "/api/tokens", &session).status, 401);
    database.sql(r#"UPDATE "user" SET suspended = false WHERE username = 'alice'"#);
    assert_eq!(one.bearing("GET", "/api/v1/user", &secret).status, 200);
    database.sql("UPDATE personal_access_tokens SET expires_at = now()");
    assert_eq!(one.bearing("GET", "/api/v1/user", &secret).status, 401);
}

#[test]
fn two_servers_on_one_postgresql_serve_the_same_repositories() {
    let database = crate::support::postgres::Postgres::start();
    let shared = tempfile::tempdir().expect("a directory");
    let shared = shared.path().display().to_string();
    let start = || {
        let mut home = Home::new();
        home.set("DATABASE_URL", database.url());
        Server::start_with(home, &["--repositories", &shared])
    };
    let (one, other) = (start(), start());
    let session = one.sign_up("alice");
    one.repository(&session, "demo", true);
    let secret = other.secret(&session, &["repo:read", "repo:write"]);
    one.work("work");
    let remote = one.remote("alice", &secret, "/alice/demo.git");
    let push = one.git(&["-C", "work", "push", "-q", &remote, "main"]);
    assert!(push.status.success(), "{}", text(&push.stderr));
    let remote = other.remote("alice", &secret, "/alice/demo.git");
    let clone = other.git(&["clone", "-q", &remote, "cloned"]);
    assert!(clone.status.success(), "{}", text(&clone.stderr));
    let log = other.git(&["-C", "cloned", "log", "--format=%s"]);
    assert_eq!(text(&log.stdout), "first\n");
}

#[test]
fn only_repo_admin_makes_renames_hides_and_deletes_a_repository() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let writer = server.secret(&session, &["repo:read", "repo:write"]);
    let admin = server.secret(&session, &["repo:admin", "repo:read"]);
    let refused = server.post("/api/repos", &writer, json!({ "name": "demo" }));
    assert_eq!(refused.status, 403);
    let said = refused.json();
    assert_eq!(said["message"], "this token lacks the scope repo:admin");
    let made = server.post("/api/repos", &admin, json!({ "name": "demo" }));
    assert_eq!(made.status, 201, "{}", made.body);
    server.repository(&session, "other", false);

    let change = |bearer: &str, name: &str, body: Value| {
        let authorization = format!("Bearer {bearer}");
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", authorization.as_str()),
        ];
        let path = format!("/api/repos/{name}");
        let reply = server.request("PATCH", &path, &headers, &body.to_string());
        reply.status
    };
    let wanted = json!({ "name": "renamed", "private": true });
    assert_eq!(change(&writer, "demo", wanted.clone()), 403);
    assert_eq!(change(&admin, "demo", json!({ "name": "../x" })), 400);
    assert_eq!(change(&admin, "demo", json!({ "name": "other" })), 422);
    assert_eq!(change(&admin, "none", wanted.clone()), 404);
    assert_eq!(change(&admin, "demo", wanted), 200);

    let seen = |bearer: &str| {
        let path = "/alice/renamed.git/info/refs?service=git-upload-pack";
        server.bearing("GET", path, bearer).status
    };
    let bob = server.sign_up("bob");
    assert_eq!(seen(&admin), 200);
    assert_eq!(seen(&server.secret(&bob, &["repo:read"])), 404);
    let path = "/api/repos/renamed";
    assert_eq!(server.bearing("DELETE", path, &writer).status, 403);
    assert_eq!(server.bearing("DELETE", path, &bob).status, 404);
    assert_eq!(server.bearing("DELETE", path, &admin).status, 200);
    assert_eq!(seen(&admin), 404);
    let left = std::fs::read_dir(server.data_dir().join("repositories")).expect("it exists");
    assert_eq!(left.count(), 1);
}

#[test]
fn a_profile_is_read_with_user_read_and_changed_with_user_write() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let reader = server.secret(&session, &["user:read", "repo:read"]);
    let writer = server.secret(&session, &["user:write"]);
    let change = |bearer: &str, body: Value| {
        let authorization = format!("Bearer {bearer}");
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", authorization.as_str()),
        ];
        server.request("PATCH", "/api/v1/profile", &headers, &body.to_string())
    };
    let wanted = json!({ "bio": "Mathematician", "website": "https://example.com" });
    let refused = change(&reader, wanted.clone());
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.json()["message"],
        "this token lacks the scope user:write"
    );
    let changed = change(&writer, wanted);
    assert_eq!(
        (changed.status, changed.json()),
        (200, json!({ "success": true }))
    );
    assert_eq!(
        change(&writer, json!({ "website": "javascript:alert(1)" })).status,
        400
    );
    assert_eq!(
        change(&writer, json!({ "bio": "x".repeat(501) })).status,
        400
    );
    assert_eq!(change(&writer, json!({ "role": "admin" })).status, 400);

    let refused = server.bearing("GET", "/api/v1/profile", &writer);
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.json()["message"],
        "this token lacks the scope user:read"
    );
    let profile = server.bearing("GET", "/api/v1/profile", &reader).json();
    assert_eq!(profile["bio"], "Mathematician");
    assert_eq!(profile["name"], "alice");
    let none = server.request("GET", "/api/v1/profile", &[], "");
    assert_eq!(none.status, 401);
}

#[test]
fn an_expiry_that_is_not_understood_is_refused() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let create = |field: &str, value: Value| {
        let mut body = json!({ "name": "ci", "scopes": ["repo:read"] });
        body[field] = value;
        server.post("/api/tokens", &session, body).status
    };
    for field in [
        "expiresAt",
        "expires_at",
        "expires_in_days",
        "expiry",
        "ttl",
    ] {
        assert_eq!(create(field, "1999-01-01T00:00:00Z".into()), 400, "{field}");
        assert_eq!(create(field, Value::Null), 201, "{field}");
    }
    assert_eq!(create("expiresInDays", 30.into()), 201);
    assert_eq!(create("note", "of another client".into()), 201);
}
