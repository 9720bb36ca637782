//! What is under way when the right to it ends: a push changes nothing, a fetch goes no further.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::io::Read;
use std::net::TcpStream;

use serde_json::json;

use crate::support::platform::{Server, Upload};
use crate::support::postgres::Postgres;
use crate::support::{Home, text, until};

/// A repository `alice/demo`, and a push to it that was begun.
struct Pushing {
    server: Server,
    session: String,
    token_id: String,
    secret: String,
}

impl Pushing {
    fn new(server: Server) -> Self {
        let session = server.sign_up("alice");
        server.repository(&session, "demo", true);
        let token = server.token(&session, &["repo:read", "repo:write"]);
        server.work("work");
        Pushing {
            token_id: token["id"].as_str().expect("an id").to_owned(),
            secret: token["token"].as_str().expect("a secret").to_owned(),
            server,
            session,
        }
    }

    fn upload(&self, service: &str) -> Upload {
        let stream = TcpStream::connect(&self.server.address).expect("it answers");
        let authorization = format!("Bearer {}", self.secret);
        let path = format!("/alice/demo.git/{service}");
        let upload = Upload::begin(stream, &path, &[("Authorization", &authorization)]);
        until("git runs", || !self.server.gits().is_empty());
        upload
    }

    /// The body of a push of `main`.
    fn body(&self) -> Vec<u8> {
        let head = text(&self.server.git(&["-C", "work", "rev-parse", "HEAD"]).stdout);
        let none = "0".repeat(40);
        let command = format!("{none} {} refs/heads/main\0report-status", head.trim());
        let mut body = format!("{:04x}{command}0000", command.len() + 4).into_bytes();
        let pack = ["-C", "work", "pack-objects", "-q", "--revs", "--stdout"];
        let pack = self.server.home.run("git", &pack, "HEAD\n");
        assert!(pack.status.success(), "{}", text(&pack.stderr));
        body.extend(pack.stdout);
        body
    }

    fn branches(&self) -> String {
        let repository = self.server.only_repository();
        let directory = repository.to_str().expect("text");
        text(
            &self
                .server
                .git(&["--git-dir", directory, "for-each-ref"])
                .stdout,
        )
    }

    fn end_token(&self) {
        let path = format!("/api/tokens/{}", self.token_id);
        let reply = self.server.bearing("DELETE", &path, &self.session);
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
}

#[test]
fn a_push_that_ends_while_its_token_is_valid_is_accepted() {
    let pushing = Pushing::new(Server::start());
    let mut upload = pushing.upload("git-receive-pack");
    for part in pushing.body().chunks(50) {
        assert!(upload.send(part));
    }
    let (status, said) = upload.end();
    assert_eq!(status, 200, "{said}");
    assert!(said.contains("unpack ok"), "{said}");
    assert!(pushing.branches().contains("refs/heads/main"));
}

/// Pushes in all ways in which the end can come late, and takes the right away before it.
fn is_refused(pushing: &Pushing, take_away: impl Fn(&Pushing), expected: u16) {
    let body = pushing.body();
    let (most, last) = body.split_at(body.len() - 10);
    let mut half_sent = pushing.upload("git-receive-pack");
    assert!(half_sent.send(most));
    let mut all_sent = pushing.upload("git-receive-pack");
    assert!(all_sent.send(&body));
    let mut nothing_sent = pushing.upload("git-receive-pack");
    take_away(pushing);
    half_sent.send(last);
    nothing_sent.send(&body);
    for upload in [half_sent, all_sent, nothing_sent] {
        let (status, said) = upload.end();
        assert_eq!(status, expected, "{said}");
        assert!(!said.contains("unpack ok"), "{said}");
    }
}

#[test]
fn a_push_that_outlives_its_token_changes_nothing() {
    let pushing = Pushing::new(Server::start());
    is_refused(&pushing, Pushing::end_token, 401);
    assert_eq!(pushing.branches(), "");
}

#[test]
fn a_push_that_outlives_the_end_of_its_token_changes_nothing() {
    let pushing = Pushing::new(Server::start());
    let shorten = |pushing: &Pushing| {
        let path = format!("/api/tokens/{}", pushing.token_id);
        let authorization = format!("Bearer {}", pushing.session);
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = json!({ "expiresAt": "2020-01-01T00:00:00Z" }).to_string();
        let reply = pushing.server.request("PATCH", &path, &headers, &body);
        assert_eq!(reply.status, 200, "{}", reply.body);
    };
    is_refused(&pushing, shorten, 401);
    assert_eq!(pushing.branches(), "");
}

#[test]
fn a_push_that_outlives_the_rotation_of_its_token_changes_nothing() {
    let pushing = Pushing::new(Server::start());
    let rotate = |pushing: &Pushing| {
        let visitor = pushing.server.visit("alice");
        let path = format!("/settings/tokens/{}/rotate", pushing.token_id);
        let reply = visitor.post(&path, "expires=30");
        assert!(reply.status < 400, "{}", reply.body);
    };
    is_refused(&pushing, rotate, 401);
    assert_eq!(pushing.branches(), "");
}

#[test]
fn a_push_that_outlives_the_family_of_its_token_changes_nothing() {
    let pushing = Pushing::new(Server::start());
    // The second rotation by itself is a thief's.
    let reuse = |pushing: &Pushing| {
        for expected in [201, 401] {
            let path = "/api/tokens/self/rotate";
            let reply = pushing.server.bearing("POST", path, &pushing.secret);
            assert_eq!(reply.status, expected, "{}", reply.body);
        }
    };
    is_refused(&pushing, reuse, 401);
    assert_eq!(pushing.branches(), "");
}

#[test]
fn a_push_of_an_account_that_is_suspended_changes_nothing() {
    let database = Postgres::start();
    let pushing = Pushing::new(Server::start_on(&database));
    let suspend = |_: &Pushing| {
        database.sql(r#"UPDATE "user" SET suspended = true"#);
    };
    is_refused(&pushing, suspend, 403);
    assert_eq!(pushing.branches(), "");
}

#[test]
fn a_push_to_a_repository_that_is_deleted_is_refused_also_where_another_has_its_name() {
    let pushing = Pushing::new(Server::start());
    let delete = |pushing: &Pushing| {
        let path = "/api/repos/demo";
        let reply = pushing.server.bearing("DELETE", path, &pushing.session);
        assert_eq!(reply.status, 200, "{}", reply.body);
        pushing.server.repository(&pushing.session, "demo", true);
    };
    is_refused(&pushing, delete, 404);
    assert_eq!(pushing.branches(), "");
}

#[test]
fn a_push_of_a_collaborator_who_is_none_any_more_changes_nothing() {
    let mut pushing = Pushing::new(Server::start());
    let collaborators = "/api/repos/demo/collaborators";
    let role = json!({ "username": "bob", "role": "write" });
    let bob = pushing.server.sign_up("bob");
    let shared = pushing.server.post(collaborators, &pushing.session, role);
    assert_eq!(shared.status, 200, "{}", shared.body);
    pushing.secret = pushing.server.secret(&bob, &["repo:write"]);
    let unshare = |pushing: &Pushing| {
        let path = format!("{collaborators}/bob");
        let reply = pushing.server.bearing("DELETE", &path, &pushing.session);
        assert_eq!(reply.status, 200, "{}", reply.body);
    };
    is_refused(&pushing, unshare, 404);
    assert_eq!(pushing.branches(), "");
}

#[test]
fn a_fetch_whose_request_outlives_the_token_gets_nothing() {
    let pushing = Pushing::new(Server::start());
    let mut upload = pushing.upload("git-receive-pack");
    assert!(upload.send(&pushing.body()));
    assert_eq!(upload.end().0, 200);
    let head = text(
        &pushing
            .server
            .git(&["-C", "work", "rev-parse", "HEAD"])
            .stdout,
    );
    let wants = format!("0032want {}\n00000009done\n", head.trim());
    let mut upload = pushing.upload("git-upload-pack");
    assert!(upload.send(wants.as_bytes()));
    pushing.end_token();
    let (status, said) = upload.end();
    assert_eq!(status, 401, "{said}");
    assert!(!said.contains("PACK"), "{said}");
}

#[test]
fn an_answer_under_way_ends_with_the_right_to_it() {
    // So that nothing but the end of the token can end it.
    let server = Server::start_with(Home::new(), &["--patience", "600"]);
    let pushing = Pushing::new(server);
    let server = &pushing.server;
    let noise = server.home.path().join("work/noise");
    let random = std::fs::File::open("/dev/urandom").expect("randomness");
    let mut file = std::fs::File::create(noise).expect("a file");
    std::io::copy(&mut random.take(24 << 20), &mut file).expect("written");
    let remote = server.remote("alice", &pushing.secret, "/alice/demo.git");
    for arguments in [
        &["-C", "work", "add", "noise"][..],
        &["-C", "work", "commit", "-q", "-m", "noise"],
        &["-C", "work", "push", "-q", &remote, "main"],
    ] {
        assert!(server.git(arguments).status.success());
    }
    let head = text(&server.git(&["-C", "work", "rev-parse", "HEAD"]).stdout);
    let wants = format!("0032want {}\n00000009done\n", head.trim());
    let mut upload = pushing.upload("git-upload-pack");
    assert!(upload.send(wants.as_bytes()));
    let mut stream = upload.finish();
    // The answer has begun, and waits for its reader.
    stream.read_exact(&mut [0; 4096]).expect("an answer");
    assert!(!server.gits().is_empty());
    pushing.end_token();
    until("git is gone", || server.gits().is_empty());
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 20 << 20, "{}", rest.len());
}
