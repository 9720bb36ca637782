//! The examples of every man page, typed at a terminal by a person who answers what is asked there.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

use crate::support::forge::{Forge, Kind};
use crate::support::platform::{PASSWORD, Server};
use crate::support::session::Session;
use crate::support::terminal::Terminal;
use crate::support::tls::{self, Certificate};
use crate::support::{Home, files, text};

/// How wide a line of a page is shown at most, and what man(1) puts before each.
const WIDTH: usize = 80;
const INDENT: usize = 7;

/// What an example of a page needs besides what every home has.
const BEFORE: &[(&str, &str)] = &[
    (
        "wit-down",
        "wit up --port 0; wit up --port 0 --data-dir ~/other",
    ),
    ("wit-repo-edit", "git push -q origin HEAD:trunk"),
    (
        "wit-store-erase",
        "printf 'protocol=https\nhost=git.example.com\nusername=ada\npassword=pw\n' |
             git-credential-wit store",
    ),
    ("wit-lock", "wit store protect --passphrase-stdin <password"),
    (
        "wit-store-unprotect",
        "wit store protect --passphrase-stdin <password",
    ),
    (
        "wit-unlock",
        "wit store protect --passphrase-stdin <password",
    ),
    ("wit-up", "wit down"),
    ("wit-up-backup", "wit up --port 0; wit down"),
    ("wit-up-check", "wit up --port 0; wit down"),
    ("wit-up-reload", "wit up --port 0"),
    (
        "wit-up-restore",
        "wit down; rm -rf .local/share/wit/platform; wit up --port 0; wit up backup wit.backup; wit down;
         rm -rf .local/share/wit/platform",
    ),
    ("wit-user", "wit up --port 0 --user ada; wit down"),
    ("wit-user-list", "wit up --port 0 --user ada; wit down"),
    ("wit-user-invite", "wit up --port 0"),
    (
        "wit-user-reset-password",
        "wit up --port 0 --user ada; wit down",
    ),
    ("wit-user-suspend", "wit up --port 0 --user ada; wit down"),
    ("wit-user-restore", "wit up --port 0 --user ada; wit down"),
    ("wit-user-delete", "wit up --port 0 --user ada; wit down"),
];

/// The pages by their names, with their examples: each is some lines of a shell's.
fn pages() -> BTreeMap<String, Vec<String>> {
    let man = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let mut pages = BTreeMap::new();
    for page in files(&man) {
        let roff = fs::read_to_string(man.join(&page)).expect("read");
        let name = page.file_stem().expect("a name");
        pages.insert(name.to_string_lossy().into_owned(), examples(&roff));
    }
    pages
}

fn examples(roff: &str) -> Vec<String> {
    let Some((_, section)) = roff.split_once("\n.SH EXAMPLES\n.nf\n") else {
        return Vec::new();
    };
    let (section, _) = section.split_once("\n.fi").expect("its end");
    let text = section
        .replace("\\-", "-")
        .replace("\\*(Aq", "'")
        .replace("\\e", "\\");
    text.split("\n\n").map(str::to_owned).collect()
}

/// A home that has what the examples speak of, and the server.
struct Desk {
    server: Server,
    github: Forge,
    home: Home,
}

impl Desk {
    fn new(session: &Session) -> Self {
        let server = Server::start();
        let account = server.sign_up("ada");
        server.sign_up("bob");
        server.repository(&account, "hello", false);
        let mut home = Home::new();
        // The store is chosen as a person does it.
        home.set("WIT_STORE", "");
        home.set("DBUS_SESSION_BUS_ADDRESS", session.address());
        for role in ["AUTHOR", "COMMITTER"] {
            home.set(&format!("GIT_{role}_NAME"), "Ada");
            home.set(&format!("GIT_{role}_EMAIL"), "ada@example.com");
        }
        let own = Path::new(crate::support::WIT)
            .parent()
            .expect("a directory");
        let path = std::env::var("PATH").expect("a path");
        let bin = home.path().join("bin");
        home.set(
            "PATH",
            format!("{}:{}:{path}", bin.display(), own.display()),
        );

        let gh = "#!/bin/sh\n[ \"$*\" = 'secret set WIT_TOKEN' ] && cat >/dev/null\n";
        for (name, content) in [
            ("bin/gh", gh),
            ("password", PASSWORD),
            ("passphrase", PASSWORD),
            ("passwords", "correct horse\ncorrect horse\n"),
            (".git-credentials", "https://ada:pw@old.example\n"),
            (
                ".config/gh/hosts.yml",
                "github.com:\n    user: ada\n    oauth_token: gho_x\n",
            ),
            ("other-netrc", "machine old.example login ada password pw\n"),
        ] {
            let file = home.path().join(name);
            fs::create_dir_all(file.parent().expect("a directory")).expect("made");
            fs::write(file, content).expect("written");
        }
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(bin.join("gh"), executable).expect("executable");
        Certificate::new(&home, "wit", tls::LOOPBACK);
        let work = "git init -q . && git commit -q --allow-empty -m first";
        assert!(home.run("sh", &["-c", work], "").status.success());
        Desk {
            server,
            github: Forge::start(Kind::Github),
            home,
        }
    }

    /// A script for this server, and for ports that nobody else has.
    fn here(&self, script: &str) -> String {
        let url = format!("http://{}", self.server.address);
        script
            .replace("https://wit.example.com", &url)
            .replace(
                "wit login https://github.com",
                &format!("wit login {}", self.github.url),
            )
            .replace("--listen 0.0.0.0 --port 443", "--port 0")
            .replace("wit up\n", "wit up --port 0\n")
            .replace("wit up --user", "wit up --port 0 --user")
    }

    fn run(&self, script: &str) {
        let output = self.home.run("sh", &["-c", &self.here(script)], "");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{script}: {said}");
    }

    /// Gives back what an example may have taken.
    fn prepare(&self, page: &str) {
        let more = (BEFORE.iter())
            .find(|(name, _)| *name == page)
            .map_or("", |(_, more)| more);
        self.run(&format!(
            "wit store unprotect --passphrase-stdin <password
             set -e
             rm -rf hello
             server='--server https://wit.example.com'
             wit setup --store file
             git remote remove origin 2>/dev/null || true
             git remote add origin https://wit.example.com/ada/hello.git
             wit login https://wit.example.com --username ada --password-stdin <password
             wit token print https://wit.example.com >token || wit token create -e 30 $server
             wit token print https://wit.example.com >token
             wit token list $server | grep -q '  CI$' ||
                 wit token create CI -q -e 30 $server >leaked
             wit repo list $server | grep -q '^hello ' || wit repo create hello $server
             {more}"
        ));
    }

    /// Types an example, and answers what is asked; what is on the screen where that fails.
    fn follow(&self, example: &str) -> Result<(), String> {
        let script = self.here(&format!("set -e\n{example}\n"));
        fs::write(self.home.path().join("example"), script).expect("written");
        let mut signed_in = false;
        let token = self.github.person_creates(&["repo"]);
        let terminal = Terminal::run(&self.home, "sh ~/example");
        let (code, screen) = terminal.attended(|shown| {
            if let Some(code) = user_code(shown).filter(|_| !signed_in) {
                let answer = format!("code={code}&answer=allow");
                let visitor = self.server.visit("ada");
                assert_eq!(visitor.post("/device/answer", &answer).status, 303);
                signed_in = true;
            }
            match shown.rsplit('\n').next() {
                Some(
                    "Password: "
                    | "New password: "
                    | "Repeat new password: "
                    | "Passphrase: "
                    | "Repeat password: "
                    | "Repeat passphrase: ",
                ) => Some(PASSWORD),
                Some(prompt) if prompt.starts_with("Password for ") && prompt.ends_with(": ") => {
                    Some(PASSWORD)
                }
                Some("Token: ") => Some(token.as_str()),
                Some(question) if question.ends_with("[y/N] ") => Some("y"),
                _ => None,
            }
        });
        match code {
            Some(0) => Ok(()),
            _ => Err(format!("{code:?}: {screen}")),
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for arguments in [&["down"][..], &["down", "--data-dir", "other"]] {
            self.home.run(crate::support::WIT, arguments, "");
        }
    }
}

/// The code that a sign-in by a browser shows.
fn user_code(shown: &str) -> Option<&str> {
    let (_, rest) = shown.split_once("enter this code:")?;
    let (code, _) = rest.trim_start().split_once("\r\n\r\nIt expires")?;
    Some(code)
}

#[test]
fn every_page_has_examples_that_fit_a_terminal() {
    for (page, examples) in pages() {
        assert!(
            (1..=3).contains(&examples.len()),
            "{page}: {} examples",
            examples.len()
        );
        for line in examples.iter().flat_map(|example| example.lines()) {
            assert!(line.len() + INDENT <= WIDTH, "{page}: {line}");
        }
    }
}

#[test]
fn every_example_does_what_it_is_said_to_do() {
    let session = Session::with_keyring();
    let pages = Mutex::new(pages());
    let next = || pages.lock().expect("no panic").pop_first();
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((page, examples)) = next() {
                    let desk = Desk::new(&session);
                    for example in examples {
                        desk.prepare(&page);
                        if let Err(why) = desk.follow(&example) {
                            let failure = format!("{page}: {example}\n{why}");
                            failed.lock().expect("no panic").push(failure);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
