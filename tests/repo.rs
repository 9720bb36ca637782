//! `wit repo`: repositories on a server of `wit up`, from the first to the last command.

#![cfg(all(target_os = "linux", feature = "platform"))]

use crate::support::machine::Machine;
use crate::support::server::{Server, answer};
use crate::support::terminal::Terminal;
use crate::support::{HELPER, Home, WIT, done, refused};
use serde_json::json;

impl Machine {
    fn repo(&self, arguments: &[&str]) -> String {
        done(&self.wit(&[&["repo"], arguments].concat()))
    }

    fn not(&self, code: i32, arguments: &[&str]) -> String {
        refused(&self.wit(&[&["repo"], arguments].concat()), code)
    }

    /// Whether anybody can fetch from it.
    fn is_open(&self, name: &str) -> bool {
        let url = format!("{}/ada/{name}.git", self.url);
        let arguments = ["-c", "credential.helper=", "ls-remote", &url];
        self.home.run("git", &arguments, "").status.success()
    }
}

#[test]
fn a_repository_is_made_listed_shown_renamed_and_deleted() {
    let machine = Machine::logged_in();
    let url = |name: &str| format!("{}/ada/{name}.git", machine.url);
    assert_eq!(machine.repo(&["list"]), "Repositories (0)\n");
    machine.repo(&["create", "hello", "--private"]);
    machine.repo(&["create", "site"]);
    let listed = format!(
        "Repositories (2)\n\nhello  (private)\n  {}\n\nsite  (public)\n  {}\n",
        url("hello"),
        url("site")
    );
    assert_eq!(machine.repo(&["list"]), listed);
    assert!(!machine.is_open("hello") && machine.is_open("site"));

    let said = machine.repo(&["edit", "hello", "--public"]);
    assert_eq!(said, "The repository hello is public now\n");
    assert!(machine.is_open("hello"));
    let said = machine.repo(&["edit", "hello", "--private"]);
    assert_eq!(said, "The repository hello is private now\n");
    assert!(!machine.is_open("hello"));

    let said = machine.repo(&["rename", "site", "world"]);
    let next = format!("git remote set-url origin {}", url("world"));
    assert!(said.contains("Renamed site to world") && said.contains(&next));
    assert!(machine.is_open("world") && !machine.is_open("site"));

    let said = machine.repo(&["delete", "world", "--yes"]);
    assert_eq!(said, "Deleted the repository world\n");
    assert!(!machine.is_open("world"));
    assert!(machine.repo(&["ls"]).starts_with("Repositories (1)\n"));
}

#[test]
fn the_default_branch_is_changed_to_one_that_was_pushed() {
    let machine = Machine::with_a_token();
    let url = format!("{}/ada/work.git", machine.url);
    let push = format!(
        "git init -q here && cd here && git -c user.name=A -c user.email=a@example.com \
         commit -q --allow-empty -m first && \
         git -c credential.helper= -c credential.helper={HELPER} \
         push -q {url} HEAD:trunk HEAD:next"
    );
    done(&machine.home.run("sh", &["-c", &push], ""));
    let said = machine.repo(&["edit", "work", "--default-branch", "next"]);
    assert_eq!(said, "The default branch of work is next now\n");
    let said = machine.repo(&["edit", "work", "--public", "--default-branch", "trunk"]);
    assert_eq!(
        said,
        "The repository work is public now\nThe default branch of work is trunk now\n"
    );
    let said = machine.not(1, &["edit", "work", "--default-branch", "none"]);
    assert!(said.contains("there is no such branch"), "{said}");
    let list = machine.json(&["repo", "list"]);
    assert_eq!(list[0]["defaultBranch"], "trunk");
}

#[test]
fn a_script_is_answered_in_json() {
    let machine = Machine::logged_in();
    let one = |name: &str, private: bool| {
        let url = format!("{}/ada/{name}.git", machine.url);
        json!({ "name": name, "private": private, "url": url, "defaultBranch": "main" })
    };
    let made = machine.json(&["repo", "create", "hello"]);
    assert_eq!(made, one("hello", false));
    let edited = machine.json(&["repo", "edit", "hello", "--private"]);
    assert_eq!(edited, one("hello", true));
    let renamed = machine.json(&["repo", "rename", "hello", "world"]);
    assert_eq!(renamed, one("world", true));
    assert_eq!(machine.json(&["repo", "list"]), json!([one("world", true)]));
    let deleted = machine.json(&["repo", "delete", "world", "--yes"]);
    assert_eq!(deleted, json!({ "deleted": "world" }));
}

#[test]
fn what_can_not_be_done_is_told_with_what_can() {
    let machine = Machine::logged_in();
    machine.repo(&["create", "hello"]);
    machine.repo(&["create", "other"]);
    for arguments in [
        &["rename", "none", "new"][..],
        &["edit", "none", "--public"],
        &["delete", "none", "--yes"],
    ] {
        let said = machine.not(1, arguments);
        let what = format!("wit: you have no repository none at {}\n", machine.url);
        assert_eq!(said, format!("{what}hint: wit repo list\n"));
    }
    let said = machine.not(1, &["rename", "hello", "other"]);
    assert!(
        said.contains("there is already a repository other"),
        "{said}"
    );
    for arguments in [
        &["rename", "hello", "a/b"][..],
        &["rename", "../hello", "new"],
        &["edit", "hello"],
        &["edit", "hello", "--public", "--private"],
    ] {
        machine.not(2, arguments);
    }
    assert!(machine.repo(&["list"]).starts_with("Repositories (2)\n"));
}

#[test]
fn a_deletion_is_asked_about_and_refused_where_nobody_can_be() {
    let machine = Machine::logged_in();
    machine.repo(&["create", "hello"]);
    let said = machine.not(2, &["delete", "hello"]);
    assert!(said.contains("there is no terminal to ask on"), "{said}");
    assert!(said.contains("hint: wit repo delete hello --yes"), "{said}");
    for (answer, code, left) in [("n", 1, 1), ("", 1, 1), ("y", 0, 0)] {
        let mut terminal = Terminal::run(&machine.home, "wit repo delete hello");
        terminal.shows("with all that was pushed to it? [y/N] ");
        terminal.types(answer);
        let (ended, screen) = terminal.ends();
        assert_eq!(ended, Some(code), "{screen}");
        let list = machine.repo(&["list"]);
        assert!(
            list.starts_with(&format!("Repositories ({left})")),
            "{list}"
        );
    }
}

#[test]
fn a_server_without_repositories_is_told() {
    let server = Server::new(|first, _| match first {
        "GET /api/tokens HTTP/1.1" => answer(200, "[]"),
        _ => answer(404, "{}"),
    });
    let home = Home::new();
    let login = ["login", &server.url, "--username", "ada", "--session-stdin"];
    done(&home.run(WIT, &login, "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu\n"));
    for arguments in [&["repo", "list"][..], &["repo", "create", "hello"]] {
        let said = refused(&home.run(WIT, arguments, ""), 1);
        let what = format!("{} has no repositories to work on this way", server.url);
        assert!(said.contains(&what), "{said}");
    }
}
