//! What is said where a git host refuses, fails or answers nonsense: words that are true of that host,
//! and commands that can be typed.

#![cfg(all(unix, feature = "platform"))]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::forge::github_app::{APP, Key};
use crate::support::forge::{Forge, Kind, PASSWORD};
use crate::support::proxy::{Fate, Proxy};
use crate::support::{Home, WIT, done, text};

/// Words that mean something at a wit server alone.
const OF_WIT: [&str; 9] = [
    "wit server",
    "wit up",
    "--api",
    "--allow-http",
    "--sign-up",
    "--session",
    "DATABASE_URL",
    "WIT_USER_ID",
    "your.server",
];

const COMMANDS: [&[&str]; 10] = [
    &["token", "create", "x", "--expires", "30"],
    &["token", "create"],
    &["token", "list"],
    &["token", "rotate"],
    &["token", "rotate", "1"],
    &["token", "revoke", "1"],
    &["token", "audit"],
    &["token", "exec", "--", "true"],
    &["token", "scopes"],
    &["token", "prune", "--expired"],
];

/// What stands for a word of the person's, and a word that fits.
const PLACEHOLDERS: [(&str, &str); 8] = [
    ("TYPE", "gitea"),
    ("COMMAND", "true"),
    ("ID", "1"),
    ("FILE", "file"),
    ("NAME", "name"),
    ("DAYS", "30"),
    ("PATH", "a/b"),
    ("URL", "http://127.0.0.1:1"),
];

/// First words of commands, unlike those of a sentence about `wit`.
const FIRST: [&str; 7] = [
    "login", "logout", "status", "token", "help", "doctor", "store",
];

/// Ends of a command within a sentence.
const ENDS: [&str; 9] = [
    ", ", "; ", " && ", " shows ", " says ", " takes ", " signs ", " is ", ")",
];

/// The commands of `wit` in a line.
fn commands(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("wit ") {
        let command = &rest[at..];
        let is_begun = at == 0 || rest[..at].ends_with([' ', '(']);
        let first = command.split([' ', ',', ';']).nth(1).unwrap_or_default();
        let is_word = is_begun && FIRST.contains(&first);
        let end = ENDS.iter().filter_map(|end| command.find(end)).min();
        let end = end.unwrap_or(command.len());
        if is_word {
            found.push(command[..end].to_owned());
        }
        rest = &command[end.max(4)..];
    }
    found
}

/// Asserts that a command line is one that `wit` parses, as far as it goes.
fn assert_parses(home: &Home, command: &str, what: &str) {
    let words: Vec<String> = (command.split(' '))
        .map(|word| {
            let known = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
            known.map_or(word.to_owned(), |(_, fits)| (*fits).to_owned())
        })
        .collect();
    let line = format!("{} --help", words.join(" "));
    let parsed = home.run("sh", &["-c", &line], "");
    let said = text(&parsed.stderr);
    assert!(parsed.status.success(), "{line}: {said}\n{what}");
}

/// The options that a text names outside of its commands.
fn options(text: &str) -> Vec<String> {
    let mut rest = text.to_owned();
    for line in text.lines() {
        for command in commands(line) {
            rest = rest.replace(&command, "");
        }
    }
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    let words = rest.split(is_end).filter(|word| word.len() > 2);
    let options = words.filter(|word| word.starts_with("--"));
    options.map(str::to_owned).collect()
}

/// Asserts that a command's words are true of a git host.
fn assert_true_of_hosts(home: &Home, words: &[&str], ended: &Output, what: &str) {
    let said = text(&ended.stderr) + &text(&ended.stdout);
    let what = format!("{what}: {words:?} said: {said}");
    for word in OF_WIT {
        assert!(!said.contains(word), "{word}: {what}");
    }
    for line in said.lines() {
        for command in commands(line) {
            assert_parses(home, &command, &what);
        }
    }
    let named = options(&said);
    if named.is_empty() {
        return;
    }
    let own = words.iter().take(2).chain(&["--help"]).copied();
    let help = done(&home.run(WIT, &own.collect::<Vec<_>>(), ""));
    for option in named {
        assert!(help.contains(&option), "{option}: {what}");
    }
}

/// A way to a server that can be closed for good.
struct Relay {
    url: String,
    is_closed: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Relay {
    fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let is_closed = Arc::new(AtomicBool::new(false));
        let (flag, upstream) = (Arc::clone(&is_closed), upstream.to_owned());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if flag.load(Ordering::SeqCst) {
                    return;
                }
                let _ = pass(stream, &upstream);
            }
        });
        Relay {
            url,
            is_closed,
            thread: Some(thread),
        }
    }

    fn close(&mut self) {
        self.is_closed.store(true, Ordering::SeqCst);
        let address = self.url.trim_start_matches("http://");
        drop(TcpStream::connect(address));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("closed");
        }
    }
}

fn pass(mut client: TcpStream, upstream: &str) -> std::io::Result<()> {
    let mut server = TcpStream::connect(upstream)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    client.write_all(&answer)
}

/// A host, and how it is signed in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Gitea,
    Forgejo,
    Gitlab,
    Github,
    App,
    Oauth,
}

impl Way {
    fn forge(self) -> Forge {
        Forge::start(match self {
            Way::Gitea | Way::Oauth => Kind::Gitea,
            Way::Forgejo => Kind::Forgejo,
            Way::Gitlab => Kind::Gitlab,
            Way::Github | Way::App => Kind::Github,
        })
    }

    fn sign_in(self, forge: &Forge, url: &str) -> Home {
        let home = Home::new();
        let kind = match self {
            Way::Gitea => "gitea",
            Way::Forgejo => "forgejo",
            Way::Gitlab => "gitlab",
            Way::Github | Way::App => "github",
            Way::Oauth => "oauth",
        };
        let login = ["login", url, "--host-type", kind];
        if self == Way::App {
            let key = Key::new(&home, "app");
            forge.with(|state| state.apps.install(&key));
            let app = ["--app-id", APP, "--private-key", key.path()];
            done(&home.run(WIT, &[&login[..], &app].concat(), ""));
            return home;
        }
        let scopes: &[&str] = match self {
            Way::Gitea | Way::Forgejo | Way::Oauth => &["write:user", "write:repository"],
            Way::Gitlab => &["api"],
            Way::Github | Way::App => &["repo"],
        };
        let token = forge.person_creates(scopes) + "\n";
        let paste = ["--token-stdin", "--username", "ada"];
        done(&home.run(WIT, &[&login[..], &paste].concat(), &token));
        home
    }

    /// The words of a command as they are meant there, and the lines of its stdin.
    fn words<'a>(self, command: &[&'a str]) -> (Vec<&'a str>, String) {
        let mut words = command.to_vec();
        let creates = matches!(words[1], "create" | "exec");
        if self == Way::Gitlab && creates {
            words.splice(2..2, ["--project", "ada/hello"]);
        }
        if self == Way::Forgejo && words[1] != "scopes" {
            words.insert(2, "--password-stdin");
            return (words, format!("{PASSWORD}\n"));
        }
        (words, String::new())
    }
}

fn assert_all(way: Way) {
    let forge = way.forge();
    let proxy = Proxy::to(forge.server.address());
    let home = way.sign_in(&forge, &proxy.url);
    for fate in [
        Fate::Refused(401),
        Fate::Refused(403),
        Fate::Refused(404),
        Fate::Refused(422),
        Fate::Refused(500),
        Fate::CutBefore,
        Fate::Page,
    ] {
        proxy.set(move |_| fate);
        for command in COMMANDS {
            let (words, input) = way.words(command);
            let ended = home.run(WIT, &words, &input);
            assert_true_of_hosts(&home, &words, &ended, &format!("{way:?} on {fate:?}"));
            // Without what it needs, too.
            if words.len() > command.len() {
                let ended = home.run(WIT, command, "");
                assert_true_of_hosts(&home, command, &ended, &format!("{way:?} on {fate:?}"));
            }
        }
        let login = ["login", &proxy.url, "--token-stdin"];
        let ended = home.run(WIT, &login, "0123456789abcdef\n");
        assert!(
            !ended.status.success() || way == Way::Oauth,
            "{way:?} on {fate:?}"
        );
        assert_true_of_hosts(&home, &login, &ended, &format!("{way:?} on {fate:?}"));
        let all = ["token", "list", "--all"];
        let ended = home.run(WIT, &all, "");
        assert_true_of_hosts(&home, &all, &ended, &format!("{way:?} on {fate:?}"));
    }

    let mut relay = Relay::to(forge.server.address());
    let home = way.sign_in(&forge, &relay.url);
    relay.close();
    for command in COMMANDS {
        let (words, input) = way.words(command);
        let ended = home.run(WIT, &words, &input);
        assert_true_of_hosts(&home, &words, &ended, &format!("{way:?}, refused"));
    }
}

#[test]
fn gitea_fails_in_true_words() {
    assert_all(Way::Gitea);
}

#[test]
fn forgejo_fails_in_true_words() {
    assert_all(Way::Forgejo);
}

#[test]
fn gitlab_fails_in_true_words() {
    assert_all(Way::Gitlab);
}

#[test]
fn github_fails_in_true_words() {
    assert_all(Way::Github);
}

#[test]
fn an_app_of_github_fails_in_true_words() {
    assert_all(Way::App);
}

#[test]
fn an_oauth_server_fails_in_true_words() {
    assert_all(Way::Oauth);
}

#[test]
fn the_checks_of_these_tests_find_what_they_look_for() {
    let line = "hint: wit login http://x --host-type TYPE, or wit token list shows more";
    let found = ["wit login http://x --host-type TYPE", "wit token list"];
    assert_eq!(commands(line), found);
    assert_eq!(
        options("run it with --password-stdin; wit login --api x"),
        ["--password-stdin"]
    );
    let home = Home::new();
    assert_parses(&home, "wit token revoke ID", "a command");
    let wrong = std::panic::catch_unwind(|| assert_parses(&home, "wit token list --bogus", "x"));
    assert!(wrong.is_err());
}
