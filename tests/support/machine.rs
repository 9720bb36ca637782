//! A home that uses a `wit up` of the test's own, as a person's machine does.

use std::process::Output;

use serde_json::Value;
use wit::config::Paths;
use wit::credential::Site;
use wit::expiry::{Expiry, UnixTime};
use wit::store::{self, select};

use super::platform::{PASSWORD, Server};
use super::{HELPER, Home, WIT, done, text};

/// A server, and another home to use it from.
pub struct Machine {
    pub server: Server,
    pub home: Home,
    pub url: String,
}

impl Machine {
    /// A server that nobody has an account on.
    pub fn new() -> Self {
        let server = Server::start();
        Machine {
            url: format!("http://{}", server.address),
            server,
            home: Home::new(),
        }
    }

    /// The same with an account `ada`, logged in.
    pub fn logged_in() -> Self {
        let machine = Machine::new();
        done(&machine.sign_up("ada"));
        machine
    }

    /// The same with a repository `ada/work`, and a token `laptop` in the store.
    pub fn with_a_token() -> Self {
        let machine = Machine::logged_in();
        done(&machine.wit(&["repo", "create", "work", "--private"]));
        done(&machine.wit(&["token", "create", "laptop", "--store", "--expires", "90"]));
        machine
    }

    pub fn sign_up(&self, username: &str) -> Output {
        let email = format!("{username}@example.com");
        let arguments = ["login", &self.url, "--sign-up", "--password-stdin"];
        let account = ["--email", &email, "--username", username];
        let arguments = [&arguments[..], &account].concat();
        self.home.run(WIT, &arguments, &format!("{PASSWORD}\n"))
    }

    pub fn log_in(&self, username: &str) -> Output {
        let arguments = [
            "login",
            &self.url,
            "--username",
            username,
            "--password-stdin",
        ];
        self.home.run(WIT, &arguments, &format!("{PASSWORD}\n"))
    }

    pub fn wit(&self, arguments: &[&str]) -> Output {
        self.home.run(WIT, arguments, "")
    }

    /// The document of a command that must succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.wit(&[arguments, &["--json"]].concat());
        serde_json::from_str(&done(&output)).expect("one JSON document")
    }

    /// The document of a command that ends with that code.
    pub fn json_of(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.wit(&[arguments, &["--json"]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }

    /// The account's tokens.
    pub fn list(&self) -> Vec<Value> {
        let list = self.json(&["token", "list"]);
        list.as_array().expect("a list").clone()
    }

    /// The ids of the account's tokens.
    pub fn ids(&self) -> Vec<String> {
        let list = self.list();
        list.iter()
            .map(|token| token["id"].as_str().expect("an id").to_owned())
            .collect()
    }

    pub fn rotate(&self, arguments: &[&str]) -> Output {
        self.wit(&[&["token", "rotate"], arguments].concat())
    }

    /// Asks git for `ada/work`, with this helper alone.
    pub fn git(&self) -> Output {
        let helper = format!("credential.helper={HELPER}");
        let repository = format!("{}/ada/work.git", self.url);
        let only = ["-c", "credential.helper=", "-c", &helper];
        let arguments = [&only[..], &["ls-remote", &repository]].concat();
        self.home.run("git", &arguments, "")
    }

    /// How many rotations are under way.
    pub fn journals(&self) -> usize {
        let dir = self.home.path().join(".local/state/wit/rotations");
        let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
        // What a killed writer left of a file is none.
        files
            .filter(|file| file.path().extension().is_some_and(|end| end == "json"))
            .count()
    }

    /// One token, the stored one, which git takes; nothing unfinished.
    pub fn assert_tidy(&self, what: &str) {
        assert_eq!(self.ids().len(), 1, "{what}");
        assert_eq!(self.journals(), 0, "{what}");
        let git = self.git();
        assert!(git.status.success(), "{what}: {}", text(&git.stderr));
    }

    /// The site that git knows the server by.
    pub fn site(&self) -> Site {
        Site::new(b"http", self.server.address.as_bytes()).expect("a site")
    }

    /// Makes the stored tokens look some days older than they are, so that they run out sooner.
    pub fn age_stored_token(&self, days: i64) {
        self.age_token_of(&self.server.address, days);
    }

    /// The same of the tokens for another host.
    pub fn age_token_of(&self, host: &str, days: i64) {
        age_tokens(&self.home, host, days);
    }

    /// The sessions that are stored, the newest first.
    pub fn sessions(&self) -> Vec<String> {
        stored_sessions(&self.home, &self.site())
    }

    /// Another home on which `ada` logs in.
    pub fn elsewhere(&self) -> Home {
        let home = Home::new();
        let login = ["login", &self.url, "--username", "ada", "--password-stdin"];
        done(&home.run(WIT, &login, &format!("{PASSWORD}\n")));
        home
    }

    /// Changes the configuration file of `wit`.
    pub fn configure(&self, name: &str, value: impl Into<Value>) {
        let file = self.home.path().join(".config/wit/config.json");
        let config = std::fs::read_to_string(&file).expect("a config");
        let mut config: Value = serde_json::from_str(&config).expect("JSON");
        config[name] = value.into();
        std::fs::write(&file, config.to_string()).expect("written");
    }
}

/// The sessions that a home stores for a site.
pub fn stored_sessions(home: &Home, site: &Site) -> Vec<String> {
    let store = select::open(&paths(home), Some("file")).expect("a store");
    let item = store::load(store.as_ref(), site).expect("an item");
    let sessions = item.sessions.iter();
    sessions
        .map(|session| session.token.expose_str().expect("text").to_owned())
        .collect()
}

/// Makes the tokens that a home keeps for a host look some days older than they are.
pub fn age_tokens(home: &Home, host: &str, days: i64) {
    let age = days * 86_400;
    let site = Site::new(b"http", host.as_bytes()).expect("a site");
    let paths = paths(home);
    let store = select::open(&paths, Some("file")).expect("a store");
    store::update(store.as_ref(), &paths, &site, |item| {
        for entry in &mut item.credentials.0 {
            let Expiry(end) = entry.expiry.expect("an expiry");
            entry.expiry = Some(Expiry(end.plus(-age)));
            let info = entry.token.as_mut().expect("token info");
            info.created = UnixTime(info.created.0 - age);
        }
    })
    .expect("updated");
}

/// The directories of a home, as the library knows them.
pub fn paths(home: &Home) -> Paths {
    let all = home.path().join("all");
    if !all.exists() {
        std::fs::create_dir(&all).expect("made");
        for (name, place) in [
            ("config", ".config/wit"),
            ("data", ".local/share/wit"),
            ("state", ".local/state/wit"),
        ] {
            std::os::unix::fs::symlink(home.path().join(place), all.join(name)).expect("linked");
        }
    }
    Paths::below(&all)
}
