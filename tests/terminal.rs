//! Manners at a terminal: what is hidden, asked, coloured, and none of it elsewhere.

#![cfg(all(target_os = "linux", feature = "platform"))]

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
    for prompt in ["Password: ", "Once more: "] {
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
        assert!(screen.contains("...  ci"), "{screen}");
        screen.contains('\u{1b}')
    };
    assert!(coloured("env"));
    assert!(!coloured("env NO_COLOR=1"));
    assert!(!coloured("env TERM=dumb"));
    assert!(!done(&machine.wit(&["token", "list"])).contains('\u{1b}'));
}

#[test]
fn what_destroys_asks_first_at_a_terminal_and_nowhere_else() {
    let machine = Machine::logged_in();
    let make = |name| done(&machine.wit(&["token", "create", name, "--store", "-e", "1"]));
    make("laptop");
    let mut terminal = Terminal::run(&machine.home, "wit logout --revoke");
    terminal.shows("Revoke the tokens that this machine made at ");
    terminal.types("n");
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("nothing was done"), "{screen}");
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
