//! Two servers on one PostgreSQL and one directory of repositories, behind HAProxy: one is killed.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::haproxy::HaProxy;
use crate::support::platform::{Server, try_request};
use crate::support::postgres::Postgres;
use crate::support::{Home, done, text};

const PUSHERS: usize = 4;
const CREATORS: usize = 4;
/// How much each client gets done before the kill, and after it.
const EACH: usize = 4;
/// How long all of it may take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(180);

/// What the clients saw.
#[derive(Default)]
struct Seen {
    successes: AtomicUsize,
    /// When requests failed, since the beginning.
    failures: Mutex<Vec<Duration>>,
    /// What was acknowledged: repositories with their branches, tokens that live, and revoked ones.
    branches: Mutex<Vec<(usize, String, String)>>,
    tokens: Mutex<Vec<String>>,
    revoked: Mutex<Vec<String>>,
}

fn post(address: &str, path: &str, bearer: &str, body: &Value) -> Option<Value> {
    let bearer = format!("Bearer {bearer}");
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", bearer.as_str()),
    ];
    let reply = try_request(address, "POST", path, &headers, &body.to_string()).ok()?;
    (reply.status == 201).then(|| reply.json())
}

fn status(address: &str, method: &str, path: &str, bearer: &str) -> Option<u16> {
    let bearer = format!("Bearer {bearer}");
    let reply = try_request(address, method, path, &[("Authorization", &bearer)], "");
    Some(reply.ok()?.status)
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_one_of_two_is_killed() {
    let database = Postgres::start();
    let shared = tempfile::tempdir().expect("a directory");
    let path = shared.path().display().to_string();
    let start = || {
        let mut home = Home::new();
        home.set("DATABASE_URL", database.url());
        Server::start_with(home, &["--repositories", &path])
    };
    let (one, other) = (start(), start());
    let session = one.sign_up("alice");
    let secret = one.secret(&session, &["repo:read", "repo:write"]);
    for client in 0..PUSHERS {
        one.repository(&session, &format!("r{client}"), true);
        other.work(&format!("w{client}"));
    }
    let proxy = HaProxy::start(&other.home, "127.0.0.1", &[&one.address, &other.address]);
    let seen = Seen::default();
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let counts: Vec<AtomicUsize> = (0..PUSHERS + CREATORS)
        .map(|_| AtomicUsize::new(0))
        .collect();
    let mut killed = Duration::ZERO;
    std::thread::scope(|scope| {
        for (client, count) in counts.iter().enumerate() {
            let (seen, stop, other, proxy) = (&seen, &stop, &other, &proxy);
            let (session, secret) = (&session, &secret);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let is_done = match client < PUSHERS {
                        true => push(other, &proxy.address, secret, client, number, seen),
                        false => create(&proxy.address, session, number, seen),
                    };
                    match is_done {
                        true => {
                            seen.successes.fetch_add(1, Ordering::SeqCst);
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        false => seen
                            .failures
                            .lock()
                            .expect("no panic")
                            .push(begun.elapsed()),
                    }
                }
            });
        }
        let so_far = || -> Vec<usize> {
            let counts = counts.iter();
            counts.map(|count| count.load(Ordering::SeqCst)).collect()
        };
        let each_has_more_than = |before: &[usize]| {
            while (so_far().iter().zip(before)).any(|(now, before)| *now < before + EACH) {
                if begun.elapsed() > TIMEOUT {
                    stop.store(true, Ordering::SeqCst);
                    panic!("not within {TIMEOUT:?}: {before:?}, {:?}", so_far());
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        each_has_more_than(&[0; PUSHERS + CREATORS]);
        let pid = one.pid().to_string();
        // Taken first: a request may fail before the program that kills has returned.
        killed = begun.elapsed();
        done(&one.home.run("kill", &["-9", &pid], ""));
        each_has_more_than(&so_far());
        stop.store(true, Ordering::SeqCst);
    });
    let failures = seen.failures.lock().expect("no panic");
    let after: Vec<Duration> = failures
        .iter()
        .filter_map(|at| at.checked_sub(killed))
        .collect();
    let successes = seen.successes.load(Ordering::SeqCst);
    println!(
        "{successes} requests succeeded and {} failed, {} of them after the kill, the last {:?} after it",
        failures.len(),
        after.len(),
        after.iter().max().copied().unwrap_or_default(),
    );
    // Before it, none had a reason to fail.
    assert_eq!(failures.len(), after.len(), "{failures:?}");
    for (client, branch, commit) in seen.branches.lock().expect("no panic").iter() {
        let remote = other.remote("alice", &secret, &format!("/alice/r{client}.git"));
        let found = done(&other.git(&["ls-remote", &remote, &format!("refs/heads/{branch}")]));
        assert!(
            found.starts_with(commit.as_str()),
            "{branch} of r{client}: {found:?}"
        );
    }
    for token in seen.tokens.lock().expect("no panic").iter() {
        assert_eq!(
            status(&other.address, "GET", "/api/v1/user", token),
            Some(200)
        );
    }
    for token in seen.revoked.lock().expect("no panic").iter() {
        assert_eq!(
            status(&other.address, "GET", "/api/v1/user", token),
            Some(401)
        );
    }
    for entry in fs::read_dir(shared.path()).expect("read") {
        let repository = entry.expect("readable").path();
        let repository = repository.to_str().expect("text");
        done(&other.git(&["-C", repository, "fsck", "--strict"]));
    }
}

/// Pushes a new branch; whether that was acknowledged.
fn push(
    server: &Server,
    proxy: &str,
    secret: &str,
    client: usize,
    number: usize,
    seen: &Seen,
) -> bool {
    let work = format!("w{client}");
    let message = format!("number {number}");
    done(&server.git(&["-C", &work, "commit", "-q", "--allow-empty", "-m", &message]));
    let commit = done(&server.git(&["-C", &work, "rev-parse", "HEAD"]));
    let remote = format!("http://alice:{secret}@{proxy}/alice/r{client}.git");
    let branch = format!("b{number}");
    let pushed = server.git(&[
        "-C",
        &work,
        "push",
        "-q",
        &remote,
        &format!("HEAD:refs/heads/{branch}"),
    ]);
    if pushed.status.success() {
        let branch = (client, branch, commit.trim().to_owned());
        seen.branches.lock().expect("no panic").push(branch);
    } else {
        eprintln!("{}", text(&pushed.stderr));
    }
    pushed.status.success()
}

/// Creates a token and revokes it, but for the first few: an account has only so many; whether all of it was acknowledged.
fn create(proxy: &str, session: &str, number: usize, seen: &Seen) -> bool {
    let body = json!({ "name": "test", "scopes": ["repo:read"], "expiresInDays": 30 });
    let Some(token) = post(proxy, "/api/tokens", session, &body) else {
        return false;
    };
    let secret = token["token"].as_str().expect("a secret").to_owned();
    if number < EACH {
        seen.tokens.lock().expect("no panic").push(secret);
        return true;
    }
    let path = format!("/api/tokens/{}", token["id"].as_str().expect("an id"));
    let is_revoked = status(proxy, "DELETE", &path, session) == Some(200);
    if is_revoked {
        seen.revoked.lock().expect("no panic").push(secret);
    }
    is_revoked
}
