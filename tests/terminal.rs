//! Manners at a terminal: what is hidden, asked, coloured, and none of it elsewhere.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::machine::Machine;
use crate::support::platform::PASSWORD;
use crate::support::server::{Server, answer};
use crate::support::terminal::Terminal;
use crate::support::{Home, WIT, done, refused, text};

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let machine = Machine::new();
    let line = format!(
        "wit login {} --sign-up --email ada@example.com --username ada",
        machine.url
    );
    let mut terminal = Terminal::run(&machine.home, &line);
    let first = format!("Password for ada at {}: ", machine.url);
    for prompt in [first.as_str(), "Repeat password: "] {
        terminal.shows(prompt);
        terminal.hides();
        terminal.types(PASSWORD);
    }
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("Logged in to "), "{screen}");
    assert!(
        !screen.contains("correct"),
        "the password was shown: {screen}"
    );
    assert_eq!(machine.list().len(), 0);
}

#[test]
fn colour_is_for_terminals_that_take_it() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["token", "create", "ci", "-q", "-e", "1"]));
    let coloured = |before: &str| {
        let line = format!("{before} wit token list");
        let (code, screen) = Terminal::run(&machine.home, &line).ends();
        assert_eq!(code, Some(0), "{screen}");
        assert!(
            screen.contains("ci  ") && screen.contains("EXPIRES"),
            "{screen}"
        );
        screen.contains('\u{1b}')
    };
    assert!(coloured("env"));
    assert!(!coloured("env NO_COLOR=1"));
    assert!(!coloured("env TERM=dumb"));
    assert!(!done(&machine.wit(&["token", "list"])).contains('\u{1b}'));
    for (line, code) in [("wit --help", 0), ("wit token list --nothing", 2)] {
        let shown = |before: &str| {
            let (ended, screen) = Terminal::run(&machine.home, &format!("{before} {line}")).ends();
            assert_eq!(ended, Some(code), "{screen}");
            screen.contains('\u{1b}')
        };
        assert!(shown("env"), "{line}");
        assert!(
            !shown("env NO_COLOR=1") && !shown("env TERM=dumb"),
            "{line}"
        );
    }
}

#[test]
fn status_and_doctor_have_colour_beside_their_words() {
    let machine = Machine::logged_in();
    let (green, red) = ("\u{1b}[32m", "\u{1b}[31m");
    let shown = |line: &str| Terminal::run(&machine.home, line).ends().1;
    assert!(shown("wit status").contains(&format!("{green}  Logged in as ada")));
    assert!(shown("wit doctor").contains(&format!("{green}ok ")));
    for line in ["wit status", "wit doctor"] {
        let plain = shown(&format!("env NO_COLOR=1 {line}"));
        assert!(!plain.contains('\u{1b}'), "{plain}");
    }
    done(&machine.wit(&["logout", &machine.url]));
    let screen = shown(&format!("wit status --server {}", machine.url));
    assert!(
        screen.contains(&format!("{red}  Not logged in: ")),
        "{screen}"
    );
}

#[test]
fn each_step_names_the_next_one_at_a_terminal_alone() {
    let machine = Machine::new();
    let next = |line: &str| {
        let (code, screen) = Terminal::run(&machine.home, line).ends();
        assert_eq!(code, Some(0), "{screen}");
        let found = screen.lines().find_map(|line| line.strip_prefix("next: "));
        found.map(|command| command.trim().to_owned())
    };
    let said = |line| next(line).expect("a next step");
    assert_eq!(said("wit setup"), "wit login https://your.server");
    done(&machine.sign_up("ada"));
    assert_eq!(said("wit setup"), "wit token create, or git push");
    assert_eq!(said("wit token create --expires 30"), "git push");
    assert_eq!(next("wit token create other -q"), None);
    assert!(!text(&machine.wit(&["setup"]).stderr).contains("next: "));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let machine = Machine::with_a_token();
    for line in [
        "wit --help",
        "wit --version",
        "wit token create --help",
        "wit token list",
        "wit token list --json",
        "wit token scopes",
        "wit token print",
        "wit token audit --events",
        "wit repo list",
        "wit status",
        "wit store",
        "wit setup --dry-run",
        "wit setup --host https://a.example --host https://b.example",
        "wit setup --undo",
        "wit generate completions bash",
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = machine.home.command("sh");
        command.args(["-c", line]).stdout(writer);
        let output = command.output().expect("a shell");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line}: {said}");
        assert!(!said.contains("panicked"), "{line}: {said}");
    }
}

#[test]
fn what_destroys_asks_first_at_a_terminal_and_nowhere_else() {
    let machine = Machine::logged_in();
    let make = |name| done(&machine.wit(&["token", "create", name, "--store", "-e", "1"]));
    make("laptop");
    let mut terminal = Terminal::run(&machine.home, "wit logout --revoke");
    terminal.shows("Revoke the token that this machine stores for ");
    terminal.types("n");
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("nothing was changed"), "{screen}");
    assert!(screen.contains("hint: answer y, or give --yes"), "{screen}");
    assert_eq!(machine.list().len(), 1, "it was revoked");

    let mut terminal = Terminal::run(&machine.home, "wit logout --revoke");
    terminal.shows("[y/N] ");
    terminal.types("y");
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("revoked 1 token"), "{screen}");

    done(&machine.log_in("ada"));
    make("laptop");
    let (code, screen) = Terminal::run(&machine.home, "wit logout --revoke --yes").ends();
    assert_eq!(code, Some(0), "{screen}");
    done(&machine.log_in("ada"));
    make("laptop");
    let said = done(&machine.wit(&["logout", "--revoke"]));
    assert!(said.contains("revoked 1 token"), "{said}");
}

#[test]
fn a_prune_names_what_it_would_end_and_asks() {
    let listed = r#"[{"id":"cf44cc33","name":"old key","tokenPrefix":"wit_8432","scopes":[],
        "expiresAt":"2024-03-01T00:00:00Z","createdAt":"2024-01-01T00:00:00Z"}]"#;
    let server = Server::new(move |first, _| match first {
        "GET /api/tokens HTTP/1.1" => answer(200, listed),
        "DELETE /api/tokens/cf44cc33 HTTP/1.1" => answer(204, ""),
        _ => answer(404, "{}"),
    });
    let home = Home::new();
    let login = ["login", &server.url, "--username", "ada", "--session-stdin"];
    done(&home.run(WIT, &login, "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu\n"));
    let ended = || server.seen().iter().any(|seen| seen.starts_with("DELETE "));
    for (answer, code) in [("", 1), ("n", 1), ("Y", 0)] {
        assert!(!ended(), "it did not wait for the answer");
        let mut terminal = Terminal::run(&home, "wit token prune --expired");
        terminal.shows("Revoke old key? [y/N] ");
        terminal.types(answer);
        let (ended_with, screen) = terminal.ends();
        assert_eq!(ended_with, Some(code), "{screen}");
    }
    assert!(ended());
    done(&home.run(WIT, &["token", "prune", "--expired"], ""));
}

#[test]
fn a_token_that_is_named_is_revoked_without_a_question() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["token", "create", "ci", "-q", "-e", "1"]));
    let (code, screen) = Terminal::run(&machine.home, "wit token revoke ci").ends();
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(machine.list().len(), 0);
}

#[test]
fn nothing_is_asked_where_nobody_is() {
    let machine = Machine::new();
    let said = refused(
        &machine.wit(&["login", &machine.url, "--username", "ada"]),
        2,
    );
    assert!(said.contains("there is no terminal to ask on"), "{said}");
    assert!(said.contains("--password-stdin"), "{said}");
}

/// A home that is logged in to a server which answers the next request only once that was released.
struct Slow {
    server: Server,
    home: Home,
    release: Sender<()>,
}

impl Slow {
    fn new() -> Self {
        let (release, released) = channel();
        let released = Mutex::new(released);
        let is_slow = Arc::new(AtomicBool::new(false));
        let waits = Arc::clone(&is_slow);
        let server = Server::new(move |_, _| {
            if waits.swap(false, Ordering::Relaxed) {
                let _ = released.lock().expect("no panic").recv();
            }
            answer(200, "[]")
        });
        let home = Home::new();
        let login = ["login", &server.url, "--username", "ada", "--session-stdin"];
        done(&home.run(WIT, &login, "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu\n"));
        is_slow.store(true, Ordering::Relaxed);
        Slow {
            server,
            home,
            release,
        }
    }

    /// Answers after a time in which a line would have come.
    fn later(&self) {
        let release = self.release.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1500));
            let _ = release.send(());
        });
    }
}

/// What is left of what was shown: each erased line is gone (ECMA-48 section 8.3.41).
fn left(screen: &str) -> String {
    let lines = screen.split('\n');
    let lines = lines.map(|line| line.rsplit("\r\u{1b}[K").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_slow_server_is_told_of_after_a_second_and_nothing_of_that_stays() {
    let slow = Slow::new();
    let begun = Instant::now();
    let terminal = Terminal::run(&slow.home, "wit token list");
    terminal.shows(&format!("Waiting for {}, 1 s", slow.server.url));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    terminal.shows(", 2 s");
    slow.release.send(()).expect("it waits");
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    let left = left(&screen);
    assert!(left.contains("No tokens."), "{left:?}");
    assert!(!left.contains("Waiting"), "{left:?}");
}

#[test]
fn what_is_quick_is_not_told_of() {
    let machine = Machine::logged_in();
    let (code, screen) = Terminal::run(&machine.home, "wit token list").ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("Waiting"), "{screen}");
}

#[test]
fn nobody_is_told_of_a_slow_server_where_nobody_looks() {
    for line in [
        "env CI=1 wit token list",
        "env TERM=dumb wit token list",
        "wit token list --json",
        "sh -c 'wit token list 2>said; cat said'",
    ] {
        let slow = Slow::new();
        slow.later();
        let (code, screen) = Terminal::run(&slow.home, line).ends();
        assert_eq!(code, Some(0), "{screen}");
        assert!(!screen.contains("Waiting"), "{line}: {screen}");
    }
    let slow = Slow::new();
    slow.later();
    let listed = slow.home.run(WIT, &["token", "list"], "");
    assert!(done(&listed).contains("Tokens (0)"));
    assert!(!text(&listed.stderr).contains("Waiting"));
}

#[test]
fn a_receiver_that_takes_its_time_is_told_of() {
    let machine = Machine::with_a_token();
    let receiver = "cat >new; until [ -e seen ]; do sleep 0.01; done";
    let line = format!("wit token rotate --deliver '{receiver}'");
    let terminal = Terminal::run(&machine.home, &line);
    terminal.shows("Waiting for command `cat >new; until ");
    std::fs::write(machine.home.path().join("seen"), "").expect("written");
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(left(&screen).starts_with("Rotated laptop"), "{screen:?}");
}

#[test]
fn a_server_that_starts_or_stops_slowly_is_told_of() {
    let mut home = Home::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    home.set("DATABASE_URL", format!("postgres://ada@{address}/wit"));
    let terminal = Terminal::run(&home, "wit up --port 0");
    let connected = silent.accept().expect("a connection");
    terminal.shows("Waiting for the server to start, 1 s");
    drop((connected, silent));
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(1), "{screen}");
    assert!(
        left(&screen).contains("error:") && screen.contains("can't open"),
        "{screen:?}"
    );

    let machine = Machine::new();
    let mut unfinished = TcpStream::connect(&machine.server.address).expect("connected");
    let head = "POST /api/auth/sign-in/username HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    unfinished.write_all(head.as_bytes()).expect("sent");
    let terminal = Terminal::run(&machine.server.home, "wit down");
    terminal.shows("Waiting for requests under way, 1 s");
    drop(unfinished);
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(left(&screen).starts_with("wit stopped"), "{screen:?}");
}

/// Tells what is opened in a directory, and the directory itself (inotify(7)).
struct Watch(std::os::fd::OwnedFd);

impl Watch {
    fn of(dir: &std::path::Path) -> Self {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify");
        add_watch(&watch, dir, WatchFlags::OPEN | WatchFlags::ACCESS).expect("watched");
        Watch(watch)
    }

    fn opened(&self) -> Vec<String> {
        let mut bytes = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = rustix::fs::inotify::Reader::new(&self.0, &mut bytes);
        let mut names = Vec::new();
        while let Ok(event) = reader.next() {
            let name = event
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            names.push(name.unwrap_or_default());
        }
        names
    }
}

#[test]
fn nothing_in_the_current_directory_is_opened() {
    let machine = Machine::with_a_token();
    let dir = machine.home.path().join("hostile");
    std::fs::create_dir(&dir).expect("made");
    let elsewhere = "WIT_URL=http://127.0.0.1:1\nDATABASE_URL=sqlite::memory:\nWIT_USER_ID=x\n";
    for name in [
        ".env",
        ".env.local",
        "config.json",
        "wit.json",
        ".wit",
        "journal",
        ".netrc",
    ] {
        std::fs::write(dir.join(name), elsewhere).expect("written");
    }
    let watch = Watch::of(&dir);
    let run = |program: &str, arguments: &[&str], input: &str| {
        let mut command = machine.home.command(program);
        command.args(arguments).current_dir(&dir);
        crate::support::feed(command, input.as_bytes())
    };
    for arguments in [
        &["token", "list"][..],
        &["token", "create", "ci", "-q", "-e", "1"],
        &["token", "audit"],
        &["token", "scopes"],
        &["token", "print"],
        &["token", "rotate"],
        &["token", "revoke", "ci"],
        &["token", "prune", "--expired"],
        &["repo", "create", "other"],
        &["status"],
        &["logout"],
    ] {
        let output = run(crate::support::WIT, arguments, "");
        let said = text(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{arguments:?}: {said}"
        );
        assert_eq!(watch.opened(), Vec::<String>::new(), "{arguments:?}");
    }
    let host = machine.url.strip_prefix("http://").expect("http");
    let answer = run(
        crate::support::HELPER,
        &["get"],
        &format!("protocol=http\nhost={host}\n\n"),
    );
    assert!(done(&answer).contains("password=wit_"));
    assert_eq!(watch.opened(), Vec::<String>::new());
    // The watch does see what is opened.
    std::fs::read(dir.join(".env")).expect("read");
    assert_eq!(watch.opened()[0], ".env");
}
