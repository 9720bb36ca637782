//! Processes that are killed in the middle: nothing torn, nothing acknowledged lost, no lock left.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{HELPER, Home, feed, text};

const SITE: &str = "protocol=https\nhost=example.com\n";
const WORKERS: u64 = 32;
const LASTS: Duration = Duration::from_secs(10);

fn entry(worker: u64, round: u64) -> String {
    format!("{SITE}username=user{worker}\npassword=p{round}\n")
}

/// Stores, gets and erases one user's password in turn and kills some of it half-way. Returns what
/// must be there afterwards: the passwords that may be stored, none meaning a miss.
fn work(home: &Home, worker: u64) -> Vec<Option<u64>> {
    // Any sequence will do; this one differs by worker and repeats exactly.
    let mut random = fastrand::Rng::with_seed(worker);
    let mut possible = vec![None];
    let begun = Instant::now();
    for round in 0.. {
        if begun.elapsed() > LASTS {
            break;
        }
        let erase = random.u64(..4) == 0;
        let (operation, input) = match (erase, possible.as_slice()) {
            (true, [Some(known)]) => ("erase", entry(worker, *known)),
            _ => ("store", entry(worker, round)),
        };
        let after = (operation == "store").then_some(round);
        let mut child = home
            .command(HELPER)
            .arg(operation)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let kill = random.u64(..3) == 0;
        if kill {
            // Not a wait for anything: the kill is meant to fall anywhere in the run.
            std::thread::sleep(Duration::from_micros(random.u64(..20_000)));
            let _ = child.kill();
        }
        if child.wait().unwrap().success() {
            possible = vec![after];
        } else {
            assert!(kill, "a store that nobody killed failed");
            possible.push(after);
        }
    }
    possible
}

#[test]
fn killed_helpers_lose_nothing_that_was_acknowledged() {
    let home = Home::new();
    let outcome: BTreeMap<u64, Vec<Option<u64>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let home = &home;
                (worker, scope.spawn(move || work(home, worker)))
            })
            .collect();
        let finished = workers
            .into_iter()
            .map(|(worker, thread)| (worker, thread.join().unwrap()));
        finished.collect()
    });
    for (worker, possible) in outcome {
        let mut command = home.command(HELPER);
        command.arg("get");
        let asked = format!("{SITE}username=user{worker}\n");
        let output = feed(command, asked.as_bytes());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let answer = text(&output.stdout);
        let fits = possible.iter().any(|round| match round {
            None => answer.is_empty(),
            Some(round) => answer == format!("username=user{worker}\npassword=p{round}\n"),
        });
        assert!(fits, "{answer:?} is none of {possible:?}");
    }
    // A lock that somebody died with would make this one fail.
    let output = home.run(HELPER, &["store"], &entry(0, 0));
    assert!(output.status.success(), "{}", text(&output.stderr));
}
