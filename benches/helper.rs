//! How long git waits for a credential helper: whole processes, ours beside the others in one run.
//!
//! `cargo bench --bench helper [-- RUNS]` prints a table of medians with their ratios to a program
//! that does nothing, and writes the same as JSON to `target/bench-helper.json`. Helpers that the
//! machine lacks are left out by name.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const HELPER: &str = env!("CARGO_BIN_EXE_git-credential-wit");
const SITE: &str = "protocol=https\nhost=example.com\n";
const STATE: &str = "capability[]=state\n";

/// One way of asking one helper.
struct Case {
    name: String,
    home: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    input: String,
    times: Vec<Duration>,
}

fn main() {
    let runs = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(200);
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut cases = cases(home.path());
    // Round by round, so that a slow moment of the machine falls on all of them.
    for round in 0..=runs {
        for case in &mut cases {
            let took = once(case);
            if round > 0 {
                case.times.push(took);
            }
        }
    }
    print(&mut cases, runs);
}

fn cases(home: &Path) -> Vec<Case> {
    let mut cases = vec![case("nothing", home, &do_nothing(home), &[], "")];
    let exec_path = output(home, Path::new("git"), &["--exec-path"], "");
    let others = [
        ("git-credential-store", vec!["--file", "plain"]),
        ("git-credential-cache", vec![]),
        ("git-credential-libsecret", vec![]),
    ];
    for (name, mut words) in others {
        let program = Path::new(exec_path.trim()).join(name);
        if !program.exists() {
            eprintln!("{name}: not on this machine");
            continue;
        }
        let entry = format!("{SITE}username=alice\npassword=one\n");
        output(home, &program, &[&words[..], &["store"]].concat(), &entry);
        words.push("get");
        cases.push(case(&format!("{name} get"), home, &program, &words, SITE));
    }
    let mut stores = vec!["file", "keyutils"];
    if std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() {
        stores.push("keychain");
    }
    let program = Path::new(HELPER);
    for store in stores {
        let entry = format!("{SITE}username=alice\npassword=one\n");
        output(home, program, &["--store", store, "store"], &entry);
        let asked = format!("{SITE}{STATE}");
        let answer = output(home, program, &["--store", store, "get"], &asked);
        let Some(state) = answer.lines().find(|line| line.starts_with("state[]=")) else {
            eprintln!("wit, {store}: not on this machine");
            continue;
        };
        let get = case(
            &format!("wit get, {store}"),
            home,
            program,
            &["--store", store, "get"],
            SITE,
        );
        let unchanged = format!("{STATE}{entry}{state}\n");
        let words = ["--store", store, "store"];
        cases.push(get);
        cases.push(case(
            &format!("wit store after get, {store}"),
            home,
            program,
            &words,
            &unchanged,
        ));
        cases.push(case(
            &format!("wit store, no state, {store}"),
            home,
            program,
            &words,
            &entry,
        ));
    }
    many_sites(home, &mut cases);
    cases
}

/// A site with 200 accounts, and a store with 10,000 sites, both in files.
fn many_sites(home: &Path, cases: &mut Vec<Case>) {
    let program = Path::new(HELPER);
    let words = ["--store", "file"];
    for account in 0..200 {
        let entry = format!("protocol=https\nhost=many\nusername=u{account}\npassword=p\n");
        output(home, program, &[&words[..], &["store"]].concat(), &entry);
    }
    let get = [&words[..], &["get"]].concat();
    let asked = "protocol=https\nhost=many\nusername=u7\n";
    cases.push(case(
        "wit get, file, 1 of 200 accounts",
        home,
        program,
        &get,
        asked,
    ));
    let home = home.join("many");
    std::fs::create_dir(&home).expect("a second home");
    let entry = format!("{SITE}username=alice\npassword=one\n");
    output(&home, program, &[&words[..], &["store"]].concat(), &entry);
    // Each site is a file of its own, so what counts is how many lie beside it.
    let store = home.join(".local/share/wit/store");
    for number in 0..10_000 {
        let name = format!("{number:064x}.age");
        std::fs::write(store.join(name), b"another site").expect("a file in the store");
    }
    cases.push(case(
        "wit get, file, 10,000 sites",
        &home,
        program,
        &get,
        SITE,
    ));
}

/// A dynamically linked program that ends at once.
fn do_nothing(home: &Path) -> PathBuf {
    let source = home.join("nothing.rs");
    let program = home.join("nothing");
    std::fs::write(&source, "fn main() {}\n").expect("a source file");
    let built = Command::new("rustc")
        .args(["-O", "-C", "strip=symbols", "-o"])
        .args([&program, &source])
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "rustc builds the yardstick"
    );
    program
}

fn case(name: &str, home: &Path, program: &Path, arguments: &[&str], input: &str) -> Case {
    Case {
        name: name.to_owned(),
        home: home.to_owned(),
        program: program.to_owned(),
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        input: input.to_owned(),
        times: Vec::new(),
    }
}

fn command(home: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(home)
        .env("HOME", home)
        .stderr(Stdio::null());
    for name in [
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
    ] {
        command.env_remove(name);
    }
    command
}

fn output(home: &Path, program: &Path, arguments: &[&str], input: &str) -> String {
    let mut child = command(home, program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn once(case: &Case) -> Duration {
    let arguments: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
    let begun = Instant::now();
    output(&case.home, &case.program, &arguments, &case.input);
    begun.elapsed()
}

fn print(cases: &mut [Case], runs: usize) {
    let mut medians: Vec<(String, f64)> = Vec::new();
    for case in cases {
        case.times.sort();
        let median = case.times[case.times.len() / 2].as_secs_f64() * 1000.0;
        medians.push((case.name.clone(), median));
    }
    let yardstick = medians[0].1;
    println!(
        "{:<36} {:>9} {:>7}",
        format!("{runs} runs each"),
        "median ms",
        "ratio"
    );
    for (name, median) in &medians {
        println!("{name:<36} {median:>9.2} {:>7.2}", median / yardstick);
    }
    let rows: Vec<_> = medians
        .iter()
        .map(|(name, ms)| serde_json::json!({"name": name, "median_ms": ms, "ratio": ms / yardstick}))
        .collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-helper.json");
    let text = serde_json::json!({"runs": runs, "rows": rows}).to_string();
    if let Err(error) = std::fs::write(&file, text) {
        eprintln!("{}: {error}", file.display());
    }
}
