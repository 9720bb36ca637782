//! What `wit up` costs and bears: ratios within one run, and what must never happen.
//!
//! `cargo bench --bench platform [-- NAME=NUMBER … PART …]` prints a table and writes the same as
//! JSON to `target/bench-platform.json`. The parts are `checks`, `clone`, `repositories`, `revocation`
//! and `soak`; without one, all. The numbers, with what they are otherwise: `seconds=1` of each measurement,
//! `rounds=7` of them, `tokens=1000000` in the large table, `connections=64`, `megabytes=100` to
//! clone, at most `repositories=10000` with `pushers=8` for `push-seconds=30`, `push=300` megabytes, `revocations=1000`, `minutes=5` of soak with `clients=16`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::platform::Server;
use support::postgres::Postgres;
use support::{Home, soak, text};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, otherwise: u64| {
        let given = words
            .iter()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        given.map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let parts = ["checks", "clone", "repositories", "revocation", "soak"];
    let all = !words.iter().any(|word| parts.contains(&word.as_str()));
    let asked = |part: &str| all || words.iter().any(|word| word == part);
    let mut rows = Vec::new();
    if asked("checks") {
        let plan = Checks {
            time: Duration::from_secs(number("seconds", 1)),
            rounds: number("rounds", 7),
            tokens: number("tokens", 1_000_000),
            connections: number("connections", 64),
        };
        plan.run(false, &mut rows);
        plan.run(true, &mut rows);
    }
    if asked("clone") {
        clone(
            number("megabytes", 100),
            number("push", 300),
            number("rounds", 7),
            &mut rows,
        );
    }
    if asked("repositories") {
        let most = number("repositories", 10_000);
        for count in [1, 100, 10_000].into_iter().filter(|count| *count <= most) {
            repositories(
                count,
                number("pushers", 8),
                Duration::from_secs(number("push-seconds", 30)),
                &mut rows,
            );
        }
    }
    if asked("revocation") {
        revocation(number("revocations", 1_000), &mut rows);
    }
    if asked("soak") {
        let plan = soak::Plan {
            clients: usize::try_from(number("clients", 16)).expect("a small number"),
            time: Duration::from_secs(60 * number("minutes", 5)),
            kill_every: Duration::from_secs(20),
        };
        let tally = soak::run(plan, &Server::start());
        say(&mut rows, "SQLite: soak, nothing lost", json!(tally));
        let postgres = Postgres::start();
        let tally = soak::run(plan, &Server::start_on(&postgres));
        say(&mut rows, "PostgreSQL: soak, nothing lost", json!(tally));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-platform.json");
    if let Err(error) = std::fs::write(&file, json!({ "rows": rows }).to_string()) {
        eprintln!("{}: {error}", file.display());
    }
}

fn say(rows: &mut Vec<Value>, what: &str, value: Value) {
    println!("{what:<60} {value}");
    rows.push(json!({ "what": what, "value": value }));
}

fn rounded(number: f64) -> Value {
    json!((number * 1000.0).round() / 1000.0)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// `GET /api/v1/user` beside `GET /health`, with few tokens and with many.
struct Checks {
    time: Duration,
    rounds: u64,
    tokens: u64,
    connections: u64,
}

/// One measurement.
struct Load {
    /// Requests a second.
    rate: f64,
    median_ms: f64,
    p99_ms: f64,
}

const FEW: u64 = 1_000;

impl Checks {
    fn run(&self, on_postgres: bool, rows: &mut Vec<Value>) {
        let database = if on_postgres { "PostgreSQL" } else { "SQLite" };
        let databases = [FEW, self.tokens].map(|tokens| {
            let postgres = on_postgres.then(Postgres::start);
            let mut home = Home::new();
            if let Some(postgres) = &postgres {
                home.set("DATABASE_URL", postgres.url());
            }
            let server = Server::start_in(home);
            server.sign_up("alice");
            match &postgres {
                Some(postgres) => fill_postgres(postgres, tokens),
                None => fill_sqlite(&server, tokens),
            }
            (server, postgres, tokens)
        });
        // In turn, so that a slow moment of the machine falls on all of them.
        let mut loads: [Vec<Load>; 3] = Default::default();
        for _ in 0..self.rounds {
            let [(small, ..), _] = &databases;
            loads[0].push(self.load(small, "/health", 0));
            for (at, (server, _, tokens)) in databases.iter().enumerate() {
                loads[at + 1].push(self.load(server, "/api/v1/user", *tokens));
            }
        }
        let of =
            |loads: &[Load], number: fn(&Load) -> f64| median(loads.iter().map(number).collect());
        let [health, few, many] = &loads;
        let (base, checked) = (of(health, |one| one.rate), of(few, |one| one.rate));
        say(
            rows,
            &format!("{database}: GET /health, requests a second"),
            json!(base.round()),
        );
        say(
            rows,
            &format!("{database}: GET /api/v1/user, 1,000 tokens"),
            json!(checked.round()),
        );
        let ratio = of(many, |one| one.rate);
        say(
            rows,
            &format!("{database}: GET /api/v1/user, {} tokens", self.tokens),
            json!(ratio.round()),
        );
        say(
            rows,
            &format!("{database}: check to health (at least 0.5)"),
            rounded(checked / base),
        );
        say(
            rows,
            &format!("{database}: many tokens to few (at least 0.85)"),
            rounded(ratio / checked),
        );
        let machines = of(health, |one| one.p99_ms / one.median_ms);
        say(
            rows,
            &format!("{database}: GET /health, p99 to median"),
            rounded(machines),
        );
        let tail = of(few, |one| one.p99_ms / one.median_ms);
        say(
            rows,
            &format!("{database}: p99 to median (below 4)"),
            rounded(tail),
        );
        say(
            rows,
            &format!("{database}: median, ms"),
            rounded(of(few, |one| one.median_ms)),
        );
    }

    /// Every connection asks again as soon as it was answered, each time with another token.
    fn load(&self, server: &Server, path: &'static str, tokens: u64) -> Load {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let address: Arc<str> = server.address.as_str().into();
        let (time, connections) = (self.time, self.connections);
        let mut latencies: Vec<Duration> = runtime.block_on(async {
            let asking: Vec<_> = (0..connections)
                .map(|number| tokio::spawn(ask(address.clone(), path, tokens, number, time)))
                .collect();
            let mut all = Vec::new();
            for one in asking {
                all.extend(one.await.expect("no panic"));
            }
            all
        });
        latencies.sort();
        let ms = |part: usize| latencies[latencies.len() * part / 100].as_secs_f64() * 1000.0;
        Load {
            rate: latencies.len() as f64 / time.as_secs_f64(),
            median_ms: ms(50),
            p99_ms: ms(99),
        }
    }
}

async fn ask(
    address: Arc<str>,
    path: &str,
    tokens: u64,
    number: u64,
    time: Duration,
) -> Vec<Duration> {
    let stream = TcpStream::connect(&*address)
        .await
        .expect("the server answers");
    stream.set_nodelay(true).expect("an option");
    let mut stream = BufReader::new(stream);
    let mut latencies = Vec::new();
    let mut line = String::new();
    let mut body = vec![0; 4096];
    // Steps that have no divisor in common with the number of tokens reach all of them.
    let mut token = number * 7_919;
    let over = Instant::now() + time;
    while Instant::now() < over {
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n");
        if tokens > 0 {
            token = (token + 7_919) % tokens;
            request += &format!("Authorization: Bearer {}\r\n", secret(token));
        }
        request += "\r\n";
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut length = 0;
        loop {
            line.clear();
            stream.read_line(&mut line).await.expect("a line");
            let lower = line.to_ascii_lowercase();
            if let Some(status) = lower.strip_prefix("http/1.1 ") {
                assert!(status.starts_with("200"), "{line}");
            } else if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            } else if lower == "\r\n" {
                break;
            }
        }
        stream
            .read_exact(&mut body[..length])
            .await
            .expect("a body");
        latencies.push(begun.elapsed());
    }
    latencies
}

fn secret(number: u64) -> String {
    format!("wit_{number:040x}")
}

// The tokens count as just used: what is measured is the check, not the writing of a first use.

fn fill_postgres(postgres: &Postgres, tokens: u64) {
    postgres.sql(&format!(
        "INSERT INTO personal_access_tokens (user_id, name, token_hash, token_prefix, scopes, last_used_at)
         SELECT (SELECT id FROM \"user\"), 'bench',
                encode(sha256(convert_to('wit_' || lpad(to_hex(n), 40, '0'), 'UTF8')), 'hex'),
                'wit_0000', '[\"repo:read\"]', now() + interval '1 day'
         FROM generate_series(0, {}) n",
        tokens - 1
    ));
    postgres.sql("VACUUM ANALYZE personal_access_tokens");
}

fn fill_sqlite(server: &Server, tokens: u64) {
    let url = format!("sqlite:{}", server.data_dir().join("wit.sqlite3").display());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let pool = sqlx::SqlitePool::connect(&url)
            .await
            .expect("the server's database");
        let all: Vec<u64> = (0..tokens).collect();
        for some in all.chunks(50_000) {
            let hash = |number: &u64| {
                let digest = Sha256::digest(secret(*number));
                digest
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            };
            let hashes: Vec<String> = some.iter().map(hash).collect();
            sqlx::query(
                "INSERT INTO personal_access_tokens
                     (id, user_id, name, token_hash, token_prefix, scopes, last_used_at)
                 SELECT randomblob(16), (SELECT id FROM \"user\"), 'bench', value, 'wit_0000',
                        '[\"repo:read\"]', $2
                 FROM json_each($1)",
            )
            .bind(json!(hashes).to_string())
            .bind(time::OffsetDateTime::now_utc() + time::Duration::days(1))
            .execute(&pool)
            .await
            .expect("tokens");
        }
        pool.close().await;
    });
}

/// Pushes and clones a minute by clients that work at once, on a server with so many repositories.
fn repositories(count: u64, clients: u64, time: Duration, rows: &mut Vec<Value>) {
    let server = Server::start_with(Home::new(), &["--max-repositories", "1000000"]);
    let session = server.sign_up("alice");
    server.repository(&session, "r0", true);
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    let used = clients.min(count);
    for client in 0..clients {
        server.work(&format!("w{client}"));
    }
    let first = server.remote("alice", &secret, "/alice/r0.git");
    let pushed = server.git(&["-C", "w0", "push", "-q", &first, "HEAD:refs/heads/main"]);
    assert!(pushed.status.success(), "{}", text(&pushed.stderr));
    fill_repositories(&server, count);
    let a_minute = |what: &str, step: &(dyn Fn(u64, u64) + Sync)| {
        let begun = Instant::now();
        let done: u64 = std::thread::scope(|scope| {
            let clients = (0..clients).map(|client| {
                scope.spawn(move || {
                    let mut done = 0;
                    while begun.elapsed() < time {
                        step(client, done);
                        done += 1;
                    }
                    done
                })
            });
            let clients: Vec<_> = clients.collect();
            clients
                .into_iter()
                .map(|client| client.join().expect("no panic"))
                .sum()
        });
        let rate = done as f64 * 60.0 / begun.elapsed().as_secs_f64();
        (
            format!("{what} a minute, {clients} clients, {count} repositories"),
            rate,
        )
    };
    let remote =
        |client: u64| server.remote("alice", &secret, &format!("/alice/r{}.git", client % used));
    let git = |arguments: &[&str]| {
        let done = server.git(arguments);
        assert!(done.status.success(), "{}", text(&done.stderr));
    };
    let push = |client: u64, number: u64| {
        let work = format!("w{client}");
        git(&["-C", &work, "commit", "-q", "--allow-empty", "-m", "next"]);
        let branch = format!("HEAD:refs/heads/c{client}-{number}");
        git(&["-C", &work, "push", "-q", &remote(client), &branch]);
    };
    let clone = |client: u64, number: u64| {
        let into = format!("clone-{client}-{number}");
        git(&["clone", "-q", "--bare", &remote(client), &into]);
        std::fs::remove_dir_all(server.home.path().join(into)).expect("removed");
    };
    // Before the pushes: one repository gets more branches by them than each of many.
    let (what, clones) = a_minute("clones", &clone);
    say(rows, &what, json!(clones.round()));
    let (what, pushes) = a_minute("pushes", &push);
    say(rows, &what, json!(pushes.round()));
}

/// Adds copies of the first repository, `r1` and so on, beside the server: by its API it would take as many gits.
fn fill_repositories(server: &Server, count: u64) {
    let first = server.only_repository();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let file = server.data_dir().join("wit.sqlite3");
        let opened = wit::database::Database::open_sqlite(&file).await;
        let database = opened.expect("the server's database");
        let alice = database
            .user_named("alice")
            .await
            .expect("asked")
            .expect("an account");
        for number in 1..count {
            let id = uuid::Uuid::new_v4();
            let copied = std::process::Command::new("cp")
                .arg("-r")
                .arg(&first)
                .arg(first.with_file_name(format!("{id}.git")))
                .status();
            assert!(copied.expect("cp runs").success());
            let name = format!("r{number}");
            let added = database.add_repository(id, &alice.id, &name, true);
            added.await.expect("added");
        }
        database.close().await;
    });
}

/// Cloning through `wit up` beside cloning through `git daemon`, and its memory meanwhile.
fn clone(megabytes: u64, push: u64, rounds: u64, rows: &mut Vec<Value>) {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let secret = server.secret(&session, &["repo:read", "repo:write"]);
    server.work("work");
    let noise = |bytes: u64, name: &str| {
        let path = server.home.path().join("work").join(name);
        let mut file = std::fs::File::create(path).expect("a file");
        let random = std::fs::File::open("/dev/urandom").expect("randomness");
        std::io::copy(&mut random.take(bytes << 20), &mut file).expect("written");
    };
    let run = |arguments: &[&str]| {
        let done = server.git(arguments);
        assert!(done.status.success(), "{}", text(&done.stderr));
    };
    for part in 0..10 {
        noise(megabytes / 10, &format!("part{part}"));
    }
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    run(&["-C", "work", "add", "."]);
    run(&["-C", "work", "commit", "-q", "-m", "noise"]);
    run(&["-C", "work", "push", "-q", &remote, "main"]);
    let repository = server.only_repository();
    let daemon = Daemon::start(&server, repository.parent().expect("a directory"));
    let name = repository
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let plain = format!("git://{}/{name}", daemon.address);
    let mut times: [Vec<f64>; 2] = Default::default();
    for round in 0..=rounds {
        for (times, url) in times.iter_mut().zip([&remote, &plain]) {
            let begun = Instant::now();
            run(&["clone", "-q", "--bare", url, "cloned"]);
            if round > 0 {
                times.push(begun.elapsed().as_secs_f64());
            }
            std::fs::remove_dir_all(server.home.path().join("cloned")).expect("removed");
        }
    }
    let [ours, theirs] = times.map(median);
    say(
        rows,
        &format!("clone of {megabytes} MB through wit up, s"),
        rounded(ours),
    );
    say(
        rows,
        &format!("clone of {megabytes} MB through git daemon, s"),
        rounded(theirs),
    );
    say(
        rows,
        "clone: wit up to git daemon (at most 1.15)",
        rounded(ours / theirs),
    );
    say(
        rows,
        "most memory after the clones, MiB (below 60)",
        json!(server.peak_memory() / 1024),
    );
    noise(push, "large");
    run(&["-C", "work", "add", "."]);
    run(&["-C", "work", "commit", "-q", "-m", "large"]);
    run(&["-C", "work", "push", "-q", &remote, "main"]);
    let what = format!("most memory after a push of {push} MB, MiB (below 60)");
    say(rows, &what, json!(server.peak_memory() / 1024));
}

struct Daemon {
    process: Child,
    address: String,
}

impl Daemon {
    fn start(server: &Server, repositories: &Path) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let mut command = server.home.command("git");
        command
            .args([
                "daemon",
                "--export-all",
                "--reuseaddr",
                "--listen=127.0.0.1",
            ])
            .arg(format!("--port={}", address.port()))
            .arg(format!("--base-path={}", repositories.display()))
            .arg(repositories)
            .stderr(Stdio::null());
        let process = command.spawn().expect("git daemon");
        let listens = || std::net::TcpStream::connect(address).is_ok();
        support::until("git daemon listens", listens);
        Daemon {
            process,
            address: address.to_string(),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A token that is revoked at one server and tried at another at once, on one PostgreSQL.
fn revocation(times: u64, rows: &mut Vec<Value>) {
    let database = Postgres::start();
    let [one, other] = [(); 2].map(|()| Server::start_on(&database));
    let session = one.sign_up("alice");
    let mut refused = 0;
    for _ in 0..times {
        let token = one.token(&session, &["repo:read"]);
        let secret = token["token"].as_str().expect("the secret");
        assert_eq!(other.bearing("GET", "/api/v1/user", secret).status, 200);
        let path = format!("/api/tokens/{}", token["id"].as_str().expect("an id"));
        assert_eq!(one.bearing("DELETE", &path, &session).status, 200);
        refused += u64::from(other.bearing("GET", "/api/v1/user", secret).status == 401);
    }
    let what = format!("revoked at one server, refused at the other at once, of {times}");
    say(rows, &what, json!(refused));
}
