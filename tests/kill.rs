//! Rotations that are killed at random moments: what is typed again mends them, and at no moment is
//! there no token that works.

#![cfg(all(unix, feature = "platform"))]

use std::process::Stdio;
use std::time::Instant;

use crate::support::machine::paths;
use crate::support::platform::{PASSWORD, Server};
use crate::support::{HELPER, Home, WIT, done, kill_within, text};
use wit::credential::Site;
use wit::rotation::journal;
use wit::store::{self, select};

/// All rounds together.
const ROUNDS: usize = 320;
const WORKERS: usize = 8;
const ROTATE: [&str; 2] = ["token", "rotate"];

/// Kills the rotations of one account's machine. Returns how many were killed before their end.
fn work(server: &Server, number: usize) -> usize {
    let home = Home::new();
    let name = format!("user{number}");
    let session = server.sign_up(&name);
    let url = format!("http://{}", server.address);
    let login = ["login", &url, "--username", &name, "--password-stdin"];
    done(&home.run(WIT, &login, &format!("{PASSWORD}\n")));
    done(&home.run(WIT, &["token", "create", "laptop", "--store"], ""));
    let paths = paths(&home);
    let site = Site::new(b"http", server.address.as_bytes()).expect("a site");
    let store = select::open(&paths, Some("file")).expect("a store");
    let item = || store::load(store.as_ref(), &site).expect("an item");
    let live = || {
        let list = server.bearing("GET", "/api/tokens", &session).json();
        list.as_array().expect("a list").clone()
    };
    let works = || {
        let request = format!("protocol=http\nhost={}\n\n", server.address);
        let answer = done(&home.run(HELPER, &["get"], &request));
        let token = (answer
            .lines()
            .find_map(|line| line.strip_prefix("password=")))
        .unwrap_or_else(|| panic!("no token: {answer:?}"));
        server.bearing("GET", "/api/v1/user", token).status == 200
    };

    // Any sequence will do; this one differs by worker and repeats exactly.
    let mut random = fastrand::Rng::with_seed(number as u64);
    let begun = Instant::now();
    done(&home.run(WIT, &ROTATE, ""));
    let mut usual = begun.elapsed();
    let mut killed = 0;
    for round in 0..ROUNDS / WORKERS {
        let what = format!("worker {number}, round {round}");
        let mut rotation = (home.command(WIT).args(ROTATE))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        killed += usize::from(kill_within(&mut rotation, usual, &mut random));
        assert!(works(), "{what}: nothing works");
        let before = live();
        let begun = Instant::now();
        let again = home.run(WIT, &ROTATE, "");
        usual = (usual * 3 + begun.elapsed()) / 4;
        assert!(again.status.success(), "{what}: {}", text(&again.stderr));
        let after = live();
        assert_eq!(after.len(), 1, "{what}: {before:?}");
        let item = item();
        assert_eq!(item.credentials.0.len(), 1, "{what}");
        let info = item.credentials.0[0].token.as_ref().expect("token info");
        assert_eq!(
            after[0]["id"],
            info.id.as_str(),
            "{what}: another is stored"
        );
        assert!(
            item.pending.is_empty() && item.previous.is_empty(),
            "{what}"
        );
        assert_eq!(journal::all(&paths).expect("journals"), [], "{what}");
        assert!(works(), "{what}: the stored token does not work");
    }
    killed
}

#[test]
fn killed_rotations_are_mended_by_typing_the_command_again() {
    let server = Server::start();
    let killed: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let server = &server;
                scope.spawn(move || work(server, number))
            })
            .collect();
        let killed = workers
            .into_iter()
            .map(|worker| worker.join().expect("mended"));
        killed.sum()
    });
    assert!(
        killed > ROUNDS / 2,
        "only {killed} were killed before their end"
    );
}
