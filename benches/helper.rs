//! How long git waits for a credential helper: whole processes, ours beside the others in one run.
//!
//! `cargo bench --bench helper [-- RUNS]` prints a table of medians with their ratios to a program
//! that does nothing, and to `git ls-remote` with a helper that knows but one answer; then `wit` itself,
//! 64 helpers at once and peaks of memory. It writes the same as JSON to `target/bench-helper.json`. What the
//! machine lacks is left out by name. With the word `sign-ins` it is those rows alone, and no file.

#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::git::{LIBSECRET_SOURCE, libsecret_helper};
use support::machine::{Machine, paths};
use support::server::{Server, answer};
use support::session::Session;
use support::{HELPER, WIT, done};
use wit::config::Paths;
use wit::credential::{AuthData, Credential, Site};
use wit::expiry::{Expiry, UnixTime};
use wit::secret::Secret;
use wit::sign_in::{ClientAuth, HostType, OAuthClient, SignIn, Upkeep};
use wit::store::{self, select};

const SITE: &str = "protocol=https\nhost=example.com\n";
const STATE: &str = "capability[]=state\n";
const ENTRY: &str = "protocol=https\nhost=example.com\nusername=alice\npassword=one\n";
/// How many helpers are started at once.
const CROWD: usize = 64;

/// Where everything runs: a home of its own and, where there can be one, a keyring of its own.
struct Place {
    home: PathBuf,
    keyring: Option<Session>,
}

/// One way of asking one program.
struct Case {
    name: String,
    home: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    input: String,
    /// The site whose access token has expired each time.
    expired: Option<Site>,
    times: Vec<Duration>,
}

fn main() {
    let runs = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(200);
    let home = tempfile::tempdir().expect("a temporary directory");
    let has_keyring = Command::new("gnome-keyring-daemon")
        .arg("--version")
        .output()
        .is_ok();
    if !has_keyring {
        eprintln!("gnome-keyring-daemon: not on this machine");
    }
    let place = Place {
        home: home.path().to_owned(),
        keyring: has_keyring.then(Session::with_keyring),
    };
    if std::env::args().any(|word| word == "sign-ins") {
        let machine = Machine::with_a_token();
        let mut cases = sign_in_cases(&place, &machine);
        measure(&place, &mut cases, runs);
        print(&mut cases, runs);
        return;
    }
    let helpers = helpers(&place);
    let mut cases = helper_cases(&place, &helpers);
    many_sites(&place, &mut cases);
    measure(&place, &mut cases, runs);
    let mut rows = print(&mut cases, runs);

    let machine = Machine::with_a_token();
    let remote = format!("http\nhost={}", machine.server.address);
    let mut cases = remote_cases(&place, &helpers, &machine);
    measure(&place, &mut cases, runs.min(100));
    rows.extend(print(&mut cases, runs.min(100)));

    let mut cases = sign_in_cases(&place, &machine);
    measure(&place, &mut cases, runs);
    rows.extend(print(&mut cases, runs));

    let mut cases = front_end_cases(&place, &machine);
    measure(&place, &mut cases, runs);
    rows.extend(print(&mut cases, runs));

    let crowds = crowds(&place, &helpers);
    let peaks = peaks(&place, &helpers);
    // What lies in files and in the keyring goes with them; the kernel's keys are the user's own.
    for helper in &helpers {
        for host in ["https\nhost=example.com", &remote] {
            place.ask(helper, "erase", &format!("protocol={host}\n"));
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-helper.json");
    let text = json!({"runs": runs, "rows": rows, "crowds": crowds, "peaks": peaks}).to_string();
    if let Err(error) = std::fs::write(&file, text) {
        eprintln!("{}: {error}", file.display());
    }
}

/// Round by round, so that a slow moment of the machine falls on all of them, and in another order each
/// time: what a helper leaves to its keyring to do falls on the one after it.
fn measure(place: &Place, cases: &mut [Case], runs: usize) {
    let mut order: Vec<usize> = (0..cases.len()).collect();
    for round in 0..=runs {
        fastrand::shuffle(&mut order);
        for &number in &order {
            let case = &mut cases[number];
            let arguments: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
            if let Some(site) = &case.expired {
                expire(&case.home, site);
            }
            let begun = Instant::now();
            place.output(&case.home, &case.program, &arguments, &case.input);
            if round > 0 {
                case.times.push(begun.elapsed());
            }
        }
    }
}

/// Has the access token at a site expire.
fn expire(home: &Path, site: &Site) {
    let paths = Paths::below(&home.join("all"));
    let store = select::open(&paths, Some("file")).expect("a store");
    store::update(store.as_ref(), &paths, site, |item| {
        for entry in &mut item.credentials.0 {
            entry.expiry = Some(Expiry(UnixTime::now()));
        }
    })
    .expect("updated");
}

/// A helper and the words that come before the operation.
struct Helper {
    name: String,
    program: PathBuf,
    words: Vec<String>,
}

impl Helper {
    fn words<'a>(&'a self, operation: &'a str) -> Vec<&'a str> {
        let words = self.words.iter().map(String::as_str);
        words.chain([operation]).collect()
    }
}

/// git's own and ours with each store, as far as this machine has them.
fn helpers(place: &Place) -> Vec<Helper> {
    let exec_path = place.output(&place.home, Path::new("git"), &["--exec-path"], "");
    let exec_path = Path::new(exec_path.trim());
    let helper = |name: String, program: &Path, words: &[&str]| Helper {
        name,
        program: program.to_owned(),
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    };
    let plain = place.home.join("plain").display().to_string();
    let mut all: Vec<Helper> = [
        ("git-credential-store", vec!["--file", &plain]),
        ("git-credential-cache", vec![]),
    ]
    .into_iter()
    .map(|(name, words)| helper(name.to_owned(), &exec_path.join(name), &words))
    .collect();
    let libsecret = match Path::new(LIBSECRET_SOURCE).exists() {
        true => libsecret_helper(&place.home),
        false => exec_path.join("git-credential-libsecret"),
    };
    all.push(helper(
        "git-credential-libsecret".to_owned(),
        &libsecret,
        &[],
    ));
    all.extend(["file", "keyutils", "keychain"].map(|store| {
        helper(
            format!("wit, {store}"),
            Path::new(HELPER),
            &["--store", store],
        )
    }));
    all.retain(|helper| {
        let keeps = helper.program.exists() && {
            place.ask(helper, "store", ENTRY);
            place.ask(helper, "get", SITE).contains("password=one")
        };
        if !keeps {
            eprintln!("{}: not on this machine", helper.name);
        }
        keeps
    });
    all
}

fn helper_cases(place: &Place, helpers: &[Helper]) -> Vec<Case> {
    let nothing = compiled(place, "nothing", "fn main() {}");
    let mut cases = vec![place.case("nothing", &nothing, &[], "")];
    for helper in helpers {
        let name = &helper.name;
        let get = helper.words("get");
        cases.push(place.case(&format!("{name} get"), &helper.program, &get, SITE));
        let answer = place.ask(helper, "get", &format!("{SITE}{STATE}"));
        let Some(state) = answer.lines().find(|line| line.starts_with("state[]=")) else {
            continue;
        };
        let words = helper.words("store");
        let unchanged = format!("{STATE}{ENTRY}{state}\n");
        for (what, input) in [("after get", &*unchanged), ("no state", ENTRY)] {
            let name = format!("{name} store, {what}");
            cases.push(place.case(&name, &helper.program, &words, input));
        }
    }
    if place.keyring.is_some()
        && let Some(program) = built_on_keyring()
    {
        cases.push(place.case("a program on keyring-core", &program, &[], ""));
    }
    cases
}

/// `git ls-remote` over loopback with a token, which runs the helper twice.
fn remote_cases(place: &Place, helpers: &[Helper], machine: &Machine) -> Vec<Case> {
    let created = machine.wit(&["token", "create", "bench", "--print", "--quiet"]);
    let token = done(&created);
    let host = &machine.server.address;
    let entry = format!(
        "protocol=http\nhost={host}\nusername=ada\npassword={}\n",
        token.trim()
    );
    let url = format!("{}/ada/work.git", machine.url);
    let source = r#"fn main() {
        if std::env::args().nth(1).as_deref() == Some("get") {
            print!("username=ada\npassword=TOKEN\n");
        }
    }"#;
    let fixed = compiled(place, "fixed", &source.replace("TOKEN", token.trim()));
    let mut asked = vec![("a fixed answer".to_owned(), fixed.display().to_string())];
    for helper in helpers {
        place.ask(helper, "store", &entry);
        let program = helper.program.display().to_string();
        asked.push((
            helper.name.clone(),
            [&[program], &helper.words[..]].concat().join(" "),
        ));
    }
    let remote = |(name, helper): (String, String)| {
        let helper = format!("credential.helper={helper}");
        let words = ["-c", "credential.helper=", "-c", &helper, "ls-remote", &url];
        place.case(
            &format!("git ls-remote, {name}"),
            Path::new("git"),
            &words,
            "",
        )
    };
    asked.into_iter().map(remote).collect()
}

/// A `get` from the file store for a password, for an access token that needs no refresh, and for one
/// that is refreshed first, by a server that answers at once: what that costs is the refresh.
fn sign_in_cases(place: &Place, machine: &Machine) -> Vec<Case> {
    let nothing = compiled(place, "nothing", "fn main() {}");
    let mut cases = vec![place.case("nothing", &nothing, &[], "")];
    let paths = paths(&machine.home);
    let store = select::open(&paths, Some("file")).expect("a store");
    let now = UnixTime::now();
    let server = Server::new(|_, _| {
        let new = r#"{"access_token":"onetwothree","token_type":"bearer","expires_in":7200,
            "refresh_token":"fourfivesix"}"#;
        answer(200, new)
    });
    let sign_in = |server: &str| SignIn {
        server: server.into(),
        host: HostType::Gitlab,
        account: Some("ada".into()),
        git_username: "oauth2".into(),
        bearer: false,
        scopes: vec!["write_repository".into()],
        issued: now,
        refresh_expiry: None,
        ended: false,
        upkeep: Upkeep::Refresh(OAuthClient {
            token_endpoint: format!("{server}/oauth/token"),
            revocation_endpoint: None,
            client_id: "id".into(),
            client_secret: None,
            client_auth: ClientAuth::Body,
        }),
    };
    for (url, sign_in) in [
        ("https://password.example", None),
        (
            "https://access.example",
            Some(sign_in("https://access.example")),
        ),
        (&server.url, Some(sign_in(&server.url))),
    ] {
        let (protocol, host) = url.split_once("://").expect("a URL");
        let is_refreshed = url == server.url;
        let entry = Credential {
            username: Some(b"ada".to_vec()),
            path: None,
            auth: AuthData::Password(Secret::from("one".repeat(14))),
            expiry: sign_in.as_ref().map(|_| Expiry(now.plus(7_200))),
            refresh_token: sign_in.as_ref().map(|_| Secret::from("two".repeat(14))),
            token: None,
            sign_in,
            imported: false,
        };
        let site = Site::new(protocol.as_bytes(), host.as_bytes()).expect("a site");
        store::update(store.as_ref(), &paths, &site, |item| {
            item.credentials.put(entry)
        })
        .expect("stored");
        let request = format!("protocol={protocol}\nhost={host}\n");
        let what = if is_refreshed { "refreshed" } else { host };
        let case = place.case(
            &format!("wit, file get, {what}"),
            Path::new(HELPER),
            &["--store", "file", "get"],
            &request,
        );
        cases.push(Case {
            home: machine.home.path().to_owned(),
            expired: is_refreshed.then_some(site),
            ..case
        });
    }
    for case in &cases[1..] {
        let words: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
        if let Some(site) = &case.expired {
            expire(&case.home, site);
        }
        let told = place.output(&case.home, &case.program, &words, &case.input);
        let is_new = told.contains("password=onetwothree");
        assert_eq!(is_new, case.expired.is_some(), "{} is refreshed", case.name);
        assert!(told.contains("password="), "{} answers", case.name);
    }
    cases
}

/// `wit`, logged in to a server over loopback: what it says by itself, and what one request brings.
fn front_end_cases(place: &Place, machine: &Machine) -> Vec<Case> {
    let nothing = compiled(place, "nothing", "fn main() {}");
    let words = [&["--version"][..], &["token", "scopes"], &["token", "list"]];
    let of = |words: &&[&str]| Case {
        home: machine.home.path().to_owned(),
        ..place.case(
            &format!("wit {}", words.join(" ")),
            Path::new(WIT),
            words,
            "",
        )
    };
    let mut cases = vec![place.case("nothing", &nothing, &[], "")];
    cases.extend(words.iter().map(of));
    for case in &cases[1..] {
        let words: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
        let told = place.output(&case.home, &case.program, &words, "");
        assert!(!told.is_empty(), "{} answers", case.name);
    }
    cases
}

/// How long many `get` at once take until the last has ended.
fn crowds(place: &Place, helpers: &[Helper]) -> Vec<Value> {
    const ROUNDS: usize = 5;
    let mut rows = Vec::new();
    for helper in helpers {
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let begun = Instant::now();
                let start = |_| place.start(&place.home, &helper.program, &helper.words("get"));
                let mut crowd: Vec<_> = (0..CROWD).map(start).collect();
                for child in &mut crowd {
                    let mut stdin = child.stdin.take().expect("piped");
                    stdin.write_all(SITE.as_bytes()).expect("it reads");
                }
                for child in crowd {
                    let output = child.wait_with_output().expect("the program ends");
                    assert!(!output.stdout.is_empty(), "{} answers", helper.name);
                }
                begun.elapsed()
            })
            .collect();
        times.sort();
        let ms = times[ROUNDS / 2].as_secs_f64() * 1000.0;
        println!(
            "{:<44} {ms:>9.1} ms",
            format!("{CROWD} at once, {}", helper.name)
        );
        rows.push(json!({"name": helper.name, "at_once": CROWD, "median_ms": ms}));
    }
    rows
}

/// The largest resident size of a `get`, as GNU time tells it.
fn peaks(place: &Place, helpers: &[Helper]) -> Vec<Value> {
    let time = Path::new("/usr/bin/time");
    if !time.exists() {
        eprintln!("/usr/bin/time: not on this machine");
        return Vec::new();
    }
    let mut rows = Vec::new();
    for helper in helpers {
        let program = helper.program.display().to_string();
        let told = place.home.join("peak");
        let file = told.display().to_string();
        let options = ["--format=%M", "--output", &file, &program];
        let words = [&options[..], &helper.words("get")].concat();
        place.output(&place.home, time, &words, SITE);
        let told = std::fs::read_to_string(told).expect("what time wrote");
        let kib: u64 = told.trim().parse().expect("a number of KiB");
        let mib = kib as f64 / 1024.0;
        println!("{:<44} {mib:>9.1} MiB", format!("peak, {}", helper.name));
        rows.push(json!({"name": helper.name, "peak_kib": kib}));
    }
    rows
}

/// A site with 200 accounts, and a store with 10,000 sites, both in files.
fn many_sites(place: &Place, cases: &mut Vec<Case>) {
    let program = Path::new(HELPER);
    let words = ["--store", "file"];
    for account in 0..200 {
        let entry = format!("protocol=https\nhost=many\nusername=u{account}\npassword=p\n");
        place.output(
            &place.home,
            program,
            &[&words[..], &["store"]].concat(),
            &entry,
        );
    }
    let get = [&words[..], &["get"]].concat();
    let asked = "protocol=https\nhost=many\nusername=u7\n";
    cases.push(place.case("wit, file get, 1 of 200 accounts", program, &get, asked));
    let home = place.home.join("many");
    std::fs::create_dir(&home).expect("a second home");
    place.output(&home, program, &[&words[..], &["store"]].concat(), ENTRY);
    // Each site is a file of its own, so what counts is how many lie beside it.
    let store = home.join(".local/share/wit/store");
    for number in 0..10_000 {
        let name = format!("{number:064x}.age");
        std::fs::write(store.join(name), b"another site").expect("a file in the store");
    }
    let case = place.case("wit, file get, 10,000 sites", program, &get, SITE);
    cases.push(Case { home, ..case });
}

/// A dynamically linked program.
fn compiled(place: &Place, name: &str, source: &str) -> PathBuf {
    let program = place.home.join(name);
    let file = program.with_extension("rs");
    std::fs::write(&file, source).expect("a source file");
    let built = Command::new("rustc")
        .args(["-O", "-C", "strip=symbols", "-o"])
        .args([&program, &file])
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "rustc builds the yardstick"
    );
    program
}

/// The package beside this file; `None` where it can't be built, for want of its crates.
fn built_on_keyring() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/keyring");
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--release", "--target-dir"])
        .arg(&target)
        .current_dir(root.join("benches/keyring"))
        .status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("a program on keyring-core: not to be built on this machine");
        return None;
    }
    Some(target.join("release/keyring-get"))
}

impl Place {
    fn case(&self, name: &str, program: &Path, arguments: &[&str], input: &str) -> Case {
        Case {
            name: name.to_owned(),
            home: self.home.clone(),
            program: program.to_owned(),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            input: input.to_owned(),
            expired: None,
            times: Vec::new(),
        }
    }

    fn start(&self, home: &Path, program: &Path, arguments: &[&str]) -> std::process::Child {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(home)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            // Of `wit`; the helpers are told theirs.
            .env("WIT_STORE", "file")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(keyring) = &self.keyring {
            command.env("DBUS_SESSION_BUS_ADDRESS", keyring.address());
        }
        command.spawn().expect("the program starts")
    }

    fn output(&self, home: &Path, program: &Path, arguments: &[&str], input: &str) -> String {
        let mut child = self.start(home, program, arguments);
        let mut stdin = child.stdin.take().expect("piped");
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("the program ends");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn ask(&self, helper: &Helper, operation: &str, input: &str) -> String {
        self.output(&self.home, &helper.program, &helper.words(operation), input)
    }
}

/// The first case is what the others are measured by.
fn print(cases: &mut [Case], runs: usize) -> Vec<Value> {
    println!(
        "{:<44} {:>9} {:>7}",
        format!("{runs} runs each"),
        "median ms",
        "ratio"
    );
    let mut yardstick = None;
    let mut rows = Vec::new();
    for case in cases {
        case.times.sort();
        let median = case.times[case.times.len() / 2].as_secs_f64() * 1000.0;
        let ratio = median / *yardstick.get_or_insert(median);
        let name = &case.name;
        println!("{name:<44} {median:>9.2} {ratio:>7.2}");
        rows.push(json!({"name": name, "median_ms": median, "ratio": ratio}));
    }
    rows
}
