//! How long git waits for a credential helper: whole processes, ours beside the others in one run.
//!
//! `cargo bench --bench helper [-- RUNS]` prints a table of medians with their ratios to a program
//! that does nothing, and writes the same as JSON to `target/bench-helper.json`: what a helper takes,
//! what `git ls-remote` over loopback takes with it against `wit up`, and the most memory that it has
//! had in use. Helpers that the machine lacks are left out by name.

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::HELPER;
use support::machine::Machine;

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
    let machine = Machine::with_a_token();
    let mut cases = cases(home.path());
    let alone = cases.len();
    cases.extend(listings(&machine, home.path()));
    // Round by round, so that a slow moment of the machine falls on all of them.
    for round in 0..=runs {
        for case in &mut cases {
            let took = once(case);
            if round > 0 {
                case.times.push(took);
            }
        }
    }
    let peaks = peaks(home.path());
    print(&mut cases, alone, &peaks, runs);
}

/// `git ls-remote` with each helper, and with one that says the answer without a look.
fn listings(machine: &Machine, home: &Path) -> Vec<Case> {
    let asked = format!("protocol=http\nhost={}\n", machine.server.address);
    let known = machine.home.run(HELPER, &["get"], &asked);
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    let lines = known.lines();
    let kept = lines.filter(|line| !line.starts_with("password_expiry_utc"));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    let fixed = compile(
        home,
        "fixed",
        &format!("fn main() {{ print!({kept:?}) }}\n"),
    );
    let mut helpers = vec![("a fixed answer".to_owned(), fixed.display().to_string())];
    for name in ["store", "cache", "libsecret"] {
        helpers.push((format!("git-credential-{name}"), name.to_owned()));
    }
    for store in stores() {
        helpers.push((format!("wit, {store}"), format!("{HELPER} --store {store}")));
    }
    let mut cases = Vec::new();
    for (name, helper) in helpers {
        let only = format!("credential.helper={helper}");
        let configured = ["-c", "credential.helper=", "-c", &only];
        let approve = [&configured[..], &["credential", "approve"]].concat();
        output(home, Path::new("git"), &approve, &format!("{asked}{kept}"));
        let url = format!("{}/ada/work.git", machine.url);
        let list = [&configured[..], &["ls-remote", &url]].concat();
        let listed = command(home, Path::new("git"))
            .args(&list)
            .stdin(Stdio::null())
            .output();
        if !listed.is_ok_and(|listed| listed.status.success()) {
            eprintln!("git ls-remote, {name}: not on this machine");
            continue;
        }
        let name = format!("git ls-remote, {name}");
        cases.push(case(&name, home, Path::new("git"), &list, ""));
    }
    cases
}

/// The most memory that a `get` has had in use, in KiB, by store: as the kernel tells it of a helper
/// that has done all but its last write, which a full pipe keeps it in.
#[cfg(target_os = "linux")]
fn peaks(home: &Path) -> Vec<(&'static str, u64)> {
    /// What a pipe of Linux holds, pipe(7).
    static FULL: [u8; 65_536] = [0; 65_536];
    let mut peaks = Vec::new();
    for store in stores() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        writer.write_all(&FULL).expect("room in the pipe");
        let mut child = command(home, Path::new(HELPER))
            .args(["--store", store, "get"])
            .stdin(Stdio::piped())
            .stdout(writer)
            .spawn()
            .expect("the helper starts");
        let mut stdin = child.stdin.take().expect("piped");
        let _ = stdin.write_all(SITE.as_bytes());
        drop(stdin);
        let of = |file: &str| {
            std::fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap_or_default()
        };
        let begun = Instant::now();
        // write(2) to its stdout: the number of the call differs by machine, its first argument not.
        while of("syscall").split(' ').nth(1) != Some("0x1")
            && begun.elapsed() < Duration::from_secs(10)
        {}
        let status = of("status");
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peaks.extend(peak.and_then(|peak| Some((store, peak.trim().parse().ok()?))));
        drop(reader);
        let _ = child.kill();
        let _ = child.wait();
    }
    peaks
}

#[cfg(not(target_os = "linux"))]
fn peaks(_home: &Path) -> Vec<(&'static str, u64)> {
    Vec::new()
}

fn stores() -> Vec<&'static str> {
    let mut stores = vec!["file", "keyutils"];
    if std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() {
        stores.push("keychain");
    }
    stores
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
    let program = Path::new(HELPER);
    for store in stores() {
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
    compile(home, "nothing", "fn main() {}\n")
}

fn compile(home: &Path, name: &str, text: &str) -> PathBuf {
    let source = home.join(format!("{name}.rs"));
    let program = home.join(name);
    std::fs::write(&source, text).expect("a source file");
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
        .env("GIT_TERMINAL_PROMPT", "0")
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

fn print(cases: &mut [Case], alone: usize, peaks: &[(&str, u64)], runs: usize) {
    let mut medians: Vec<(String, f64)> = Vec::new();
    for case in cases {
        case.times.sort();
        let median = case.times[case.times.len() / 2].as_secs_f64() * 1000.0;
        medians.push((case.name.clone(), median));
    }
    // A listing goes to a server as well: its measure is one with a helper that just answers.
    let yardstick = |at: usize| medians[if at < alone { 0 } else { alone }].1;
    println!(
        "{:<36} {:>9} {:>7}",
        format!("{runs} runs each"),
        "median ms",
        "ratio"
    );
    let mut rows = Vec::new();
    for (at, (name, median)) in medians.iter().enumerate() {
        let ratio = median / yardstick(at);
        println!("{name:<36} {median:>9.2} {ratio:>7.2}");
        rows.push(serde_json::json!({"name": name, "median_ms": median, "ratio": ratio}));
    }
    for (store, peak) in peaks {
        println!("peak memory of wit get, {store:<12} {peak:>9} KiB");
    }
    let peaks: Vec<_> = peaks
        .iter()
        .map(|(store, peak)| serde_json::json!({"store": store, "peak_kib": peak}))
        .collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-helper.json");
    let text = serde_json::json!({"runs": runs, "rows": rows, "memory": peaks}).to_string();
    if let Err(error) = std::fs::write(&file, text) {
        eprintln!("{}: {error}", file.display());
    }
}
