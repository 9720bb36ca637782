//! A home that uses a `wit up` of the test's own, as a person's machine does.

use std::process::Output;

use serde_json::Value;

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
        std::fs::read_dir(dir).map_or(0, |files| files.count())
    }

    /// One token, the stored one, which git takes; nothing unfinished.
    pub fn assert_tidy(&self, what: &str) {
        assert_eq!(self.ids().len(), 1, "{what}");
        assert_eq!(self.journals(), 0, "{what}");
        let git = self.git();
        assert!(git.status.success(), "{what}: {}", text(&git.stderr));
    }
}
