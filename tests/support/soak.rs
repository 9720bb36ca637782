//! Many clients at one server that is killed again and again: what it acknowledged must stay so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::platform::{Reply, Server, try_request};
use crate::support::text;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub clients: usize,
    pub time: Duration,
    /// From one kill -9 to the next.
    pub kill_every: Duration,
}

/// What was done and acknowledged.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Tally {
    pub pushes: usize,
    pub clones: usize,
    pub created: usize,
    pub rotated: usize,
    pub revoked: usize,
    pub unanswered: usize,
    pub kills: usize,
}

/// Panics where an acknowledged push or token is lost, a revoked token is accepted, or a
/// repository is broken.
pub fn run(plan: Plan, server: &Server) -> Tally {
    let clients: Vec<Client> = (0..plan.clients)
        .map(|number| Client::new(server, number))
        .collect();
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let (mut clients, kills) = std::thread::scope(|scope| {
        // The clients must end, too, where what follows panics.
        let _over = SetAtTheEnd(&over);
        let working: Vec<_> = (clients.into_iter())
            .map(|mut client| {
                let over = &over;
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        client.act(server);
                    }
                    client
                })
            })
            .collect();
        let mut kills = 0;
        while begun.elapsed() < plan.time && working.iter().all(|one| !one.is_finished()) {
            std::thread::sleep(
                plan.kill_every
                    .min(plan.time.saturating_sub(begun.elapsed())),
            );
            server.kill_and_start();
            kills += 1;
        }
        over.store(true, Ordering::Relaxed);
        let join = |one: std::thread::ScopedJoinHandle<'_, Client>| one.join().expect("no panic");
        (working.into_iter().map(join).collect::<Vec<_>>(), kills)
    });
    let mut all = Tally {
        kills,
        ..Tally::default()
    };
    for client in &mut clients {
        client.check_everything(server);
        all.pushes += client.tally.pushes;
        all.clones += client.tally.clones;
        all.created += client.tally.created;
        all.rotated += client.tally.rotated;
        all.revoked += client.tally.revoked;
        all.unanswered += client.tally.unanswered;
    }
    let repositories = server.data_dir().join("repositories");
    for repository in std::fs::read_dir(repositories)
        .expect("it exists")
        .flatten()
    {
        let path = repository.path().display().to_string();
        let fsck = server.git(&["-C", &path, "fsck", "--full", "--strict"]);
        assert!(fsck.status.success(), "{path}: {}", text(&fsck.stderr));
    }
    all
}

struct SetAtTheEnd<'a>(&'a AtomicBool);

impl Drop for SetAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Token {
    id: String,
    secret: String,
}

/// One person with one repository, who does one thing after another.
struct Client {
    name: String,
    session: String,
    /// Those that certainly work.
    good: Vec<Token>,
    /// Those that certainly don't.
    revoked: Vec<String>,
    /// The last commit whose push was acknowledged.
    pushed: Option<String>,
    turns: usize,
    tally: Tally,
}

impl Client {
    fn new(server: &Server, number: usize) -> Self {
        let name = format!("client{number}");
        let session = server.sign_up(&name);
        server.repository(&session, "demo", true);
        server.work(&name);
        let mut client = Client {
            name,
            session,
            good: Vec::new(),
            revoked: Vec::new(),
            pushed: None,
            turns: number,
            tally: Tally::default(),
        };
        client.create(server);
        assert_eq!(client.good.len(), 1, "the server is not killed yet");
        client
    }

    fn act(&mut self, server: &Server) {
        self.turns += 1;
        match self.turns % 7 {
            _ if self.good.is_empty() => self.create(server),
            0 | 3 => self.push(server),
            1 => self.clone(server),
            2 if self.good.len() < 8 => self.create(server),
            4 => self.rotate(server),
            5 if self.good.len() > 1 => self.revoke(server),
            _ => self.check_one(server),
        }
    }

    /// What the server answers; `None` where it is away, or goes before it has.
    fn ask(&mut self, server: &Server, request: (&str, &str, &str), body: &Value) -> Option<Reply> {
        let (method, path, bearer) = request;
        let authorization = format!("Bearer {bearer}");
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", authorization.as_str()),
        ];
        let reply = try_request(&server.address, method, path, &headers, &body.to_string());
        if reply.is_err() {
            self.tally.unanswered += 1;
            // It is being started again.
            std::thread::sleep(Duration::from_millis(50));
        }
        reply.ok()
    }

    fn create(&mut self, server: &Server) {
        let scopes = ["repo:read", "repo:write"];
        let body = json!({ "name": "soak", "scopes": scopes, "expiresInDays": 1 });
        let session = self.session.clone();
        let Some(reply) = self.ask(server, ("POST", "/api/tokens", &session), &body) else {
            return;
        };
        // One that was made without an answer reaching us still takes room.
        if reply.status == 400 && reply.body.contains("Maximum of 50 tokens") {
            return self.tidy(server);
        }
        assert_eq!(reply.status, 201, "{}", reply.body);
        self.keep(&reply.json());
        self.tally.created += 1;
    }

    fn keep(&mut self, made: &Value) {
        let word = |name: &str| made[name].as_str().expect("a text").to_owned();
        self.good.push(Token {
            id: word("id"),
            secret: word("token"),
        });
    }

    /// Ends the tokens of which nobody knows the secret.
    fn tidy(&mut self, server: &Server) {
        let session = self.session.clone();
        let Some(list) = self.ask(server, ("GET", "/api/tokens", &session), &Value::Null) else {
            return;
        };
        for token in list.json().as_array().expect("a list") {
            let id = token["id"].as_str().expect("an id");
            if !self.good.iter().any(|good| good.id == id) {
                let path = format!("/api/tokens/{id}");
                self.ask(server, ("DELETE", &path, &session), &Value::Null);
            }
        }
    }

    /// Ends the oldest token. Where no answer comes, nothing is known of it any more.
    fn revoke(&mut self, server: &Server) {
        let token = self.good.remove(0);
        let path = format!("/api/tokens/{}", token.id);
        let session = self.session.clone();
        let Some(reply) = self.ask(server, ("DELETE", &path, &session), &Value::Null) else {
            return;
        };
        assert_eq!(reply.status, 200, "{}", reply.body);
        self.tally.revoked += 1;
        self.refused(server, &token.secret);
        self.revoked.push(token.secret);
    }

    /// A new one, tried, and then the end of the old one: as a rotation goes.
    fn rotate(&mut self, server: &Server) {
        let (before, ended) = (self.good.len(), self.tally.revoked);
        self.create(server);
        if self.good.len() > before {
            self.revoke(server);
            self.tally.rotated += usize::from(self.tally.revoked > ended);
        }
    }

    fn refused(&mut self, server: &Server, secret: &str) {
        if let Some(reply) = self.ask(server, ("GET", "/api/v1/user", secret), &Value::Null) {
            assert_eq!(reply.status, 401, "a revoked token is accepted");
        }
    }

    fn accepted(&mut self, server: &Server, secret: &str) {
        if let Some(reply) = self.ask(server, ("GET", "/api/v1/user", secret), &Value::Null) {
            assert_eq!(reply.status, 200, "a token is lost: {}", reply.body);
        }
    }

    fn check_one(&mut self, server: &Server) {
        let good = self.good[self.turns % self.good.len()].secret.clone();
        self.accepted(server, &good);
        if !self.revoked.is_empty() {
            let ended = self.revoked[self.turns % self.revoked.len()].clone();
            self.refused(server, &ended);
        }
    }

    fn remote(&self, server: &Server) -> String {
        let secret = &self.good[self.good.len() - 1].secret;
        server.remote(&self.name, secret, &format!("/{}/demo.git", self.name))
    }

    fn push(&mut self, server: &Server) {
        let noise = server.home.path().join(&self.name).join("noise");
        std::fs::write(noise, format!("{}\n", self.turns).repeat(2_000)).expect("written");
        for arguments in [
            &["-C", &self.name, "add", "noise"][..],
            &[
                "-C",
                &self.name,
                "commit",
                "-q",
                "-m",
                "more",
                "--allow-empty",
            ],
        ] {
            assert!(server.git(arguments).status.success());
        }
        let remote = self.remote(server);
        let push = server.git(&["-C", &self.name, "push", "-q", &remote, "main"]);
        if push.status.success() {
            let head = server.git(&["-C", &self.name, "rev-parse", "HEAD"]);
            self.pushed = Some(text(&head.stdout).trim().to_owned());
            self.tally.pushes += 1;
        } else {
            self.tally.unanswered += 1;
        }
    }

    fn clone(&mut self, server: &Server) {
        let to = format!("{}-{}", self.name, self.turns);
        let remote = self.remote(server);
        let clone = server.git(&["clone", "-q", "--bare", &remote, &to]);
        if clone.status.success() {
            self.tally.clones += 1;
            self.has_what_was_pushed(server, &to);
        } else {
            self.tally.unanswered += 1;
        }
        let _ = std::fs::remove_dir_all(server.home.path().join(to));
    }

    fn has_what_was_pushed(&self, server: &Server, clone: &str) {
        let Some(pushed) = &self.pushed else { return };
        let is_there = ["-C", clone, "merge-base", "--is-ancestor", pushed, "main"];
        let is_there = server.git(&is_there);
        assert!(
            is_there.status.success(),
            "a push is lost: {}",
            text(&is_there.stderr)
        );
    }

    /// With a server that nobody kills.
    fn check_everything(&mut self, server: &Server) {
        let before = self.tally.unanswered;
        for token in std::mem::take(&mut self.good) {
            self.accepted(server, &token.secret);
            self.good.push(token);
        }
        for secret in std::mem::take(&mut self.revoked) {
            self.refused(server, &secret);
        }
        if self.good.is_empty() {
            self.create(server);
        }
        let pushes = self.tally.pushes;
        self.push(server);
        assert_eq!(
            self.tally.pushes,
            pushes + 1,
            "nothing is in the way of a push"
        );
        let to = format!("{}-last", self.name);
        let clone = server.git(&["clone", "-q", "--bare", &self.remote(server), &to]);
        assert!(clone.status.success(), "{}", text(&clone.stderr));
        self.has_what_was_pushed(server, &to);
        assert_eq!(self.tally.unanswered, before, "the server is there");
    }
}
