//! `wit repo`: repositories on a server of `wit up`, from the first to the last command.

#![cfg(all(target_os = "linux", feature = "platform"))]

use crate::support::machine::Machine;
use crate::support::platform;
use crate::support::postgres::Postgres;
use crate::support::server::{Server, answer};
use crate::support::terminal::Terminal;
use crate::support::{HELPER, Home, WIT, done, refused};
use serde_json::{Value, json};

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
    let made = machine.repo(&["create", "hello"]);
    let next = format!(
        "Created the private repository hello\n\n  git clone {0}\n\n\
         Or push a history that you have:\n\n  git remote add origin {0}\n  \
         git push -u origin HEAD\n",
        url("hello")
    );
    assert_eq!(made, next);
    let made = machine.repo(&["create", "site", "--public"]);
    assert!(
        made.starts_with("Created the public repository site\n"),
        "{made}"
    );
    let listed = machine.repo(&["list"]);
    // Their size is the file system's matter.
    let is_size = |line: &&str| line.ends_with("iB, no pushes yet");
    assert_eq!(listed.lines().filter(is_size).count(), 2, "{listed}");
    let other: Vec<&str> = listed.lines().filter(|line| !is_size(line)).collect();
    let (hello, site) = (format!("  {}", url("hello")), format!("  {}", url("site")));
    let expected = [
        "Repositories (2)",
        "",
        "hello  (private)",
        &hello,
        "",
        "site  (public)",
        &site,
    ];
    assert_eq!(other, expected);
    assert!(!machine.is_open("hello") && machine.is_open("site"));

    let said = machine.repo(&["edit", "hello", "--public"]);
    assert_eq!(said, "The repository hello is now public\n");
    assert!(machine.is_open("hello"));
    let said = machine.repo(&["edit", "hello", "--private"]);
    assert_eq!(said, "The repository hello is now private\n");
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
    assert_eq!(said, "The default branch of work is now next\n");
    let said = machine.repo(&["edit", "work", "--public", "--default-branch", "trunk"]);
    assert_eq!(
        said,
        "The repository work is now public\nThe default branch of work is now trunk\n"
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
    assert_eq!(made, one("hello", true));
    let edited = machine.json(&["repo", "edit", "hello", "--public"]);
    assert_eq!(edited, one("hello", false));
    let renamed = machine.json(&["repo", "rename", "hello", "world"]);
    assert_eq!(renamed, one("world", false));
    let list = machine.json(&["repo", "list"]);
    for (key, value) in one("world", false).as_object().expect("an object") {
        assert_eq!(&list[0][key], value);
    }
    assert_eq!(list[0]["owner"], "ada");
    assert_eq!(list[0]["role"], "owner");
    assert!(list[0]["size"].is_u64() && list[0]["pushedAt"].is_null());
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
        let what = format!("error: you have no repository none at {}\n", machine.url);
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
        &["create", "new", "--public", "--private"],
        &["create", "new", "--object-format", "md5"],
        &["share", "hello", "--role", "write"],
        &["share", "hello", "--with", "bob", "--role", "admin"],
        &["share", "hello", "--with", "../bob"],
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
        terminal.shows("and everything pushed to it? [y/N] ");
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
        let what = format!("{} has no repository API of a wit server", server.url);
        assert!(said.contains(&what), "{said}");
    }
}

/// A history with one file, and git with our helper alone.
fn history(machine: &Machine, format: &str) -> String {
    let script = format!(
        "git init -q -b main --object-format={format} {format} && cd {format} &&
         git config user.name A && git config user.email a@example.com &&
         git config credential.helper '' && git config --add credential.helper {HELPER} &&
         echo text >file && git add file && git commit -q -m first"
    );
    done(&machine.home.run("sh", &["-c", &script], ""));
    format.to_owned()
}

#[test]
fn a_history_of_sha256_goes_to_a_repository_of_that_format() {
    let machine = Machine::with_a_token();
    machine.repo(&["create", "next", "--object-format", "sha256"]);
    let work = history(&machine, "sha256");
    let url = |name: &str| format!("{}/ada/{name}.git", machine.url);
    let git = |arguments: &[&str]| machine.home.run("git", arguments, "");
    done(&git(&[
        "-C",
        &work,
        "push",
        "-q",
        &url("next"),
        "HEAD:trunk",
    ]));
    let helper = format!("credential.helper={HELPER}");
    let clone = ["-c", "credential.helper=", "-c", &helper, "clone", "-q"];
    done(&git(&[&clone[..], &[&url("next"), "cloned"]].concat()));
    assert!(machine.home.path().join("cloned/file").exists());
    // To the other format it can't be pushed; git itself says so.
    let push = git(&["-C", &work, "push", "-q", &url("work"), "HEAD"]);
    let said = refused(&push, 1);
    assert!(said.contains("hash algorithm"), "{said}");
}

#[test]
fn a_push_to_a_repository_of_ones_own_that_is_missing_is_told_what_creates_it() {
    let machine = Machine::with_a_token();
    let work = history(&machine, "sha1");
    let push = |owner: &str| {
        let url = format!("{}/{owner}/new.git", machine.url);
        let push = machine
            .home
            .run("git", &["-C", &work, "push", "-q", &url, "HEAD"], "");
        refused(&push, 128)
    };
    let said = push("ada");
    assert!(
        said.contains("create it with: wit repo create new"),
        "{said}"
    );
    let said = push("bob");
    assert!(!said.contains("wit repo create"), "{said}");
    machine.repo(&["create", "new"]);
    let url = format!("{}/ada/new.git", machine.url);
    done(
        &machine
            .home
            .run("git", &["-C", &work, "push", "-q", &url, "HEAD"], ""),
    );
}

#[test]
fn a_repository_is_shared_to_read_or_write_and_no_longer() {
    let machine = Machine::with_a_token();
    let server = &machine.server;
    let bob = server.sign_up("bob");
    let secret = server.secret(&bob, &["repo:read", "repo:write", "repo:admin"]);
    let remote = server.remote("bob", &secret, "/ada/work.git");
    let work = history(&machine, "sha1");
    let can = |arguments: &[&str]| {
        let helper = ["-C", &work, "-c", "credential.helper="];
        let arguments = [&helper[..], arguments, &[&remote]].concat();
        machine.home.run("git", &arguments, "").status.success()
    };
    let rights = || {
        let push = [
            "-C",
            &work,
            "-c",
            "credential.helper=",
            "push",
            "-q",
            &remote,
        ];
        let push = [&push[..], &["HEAD:main"]].concat();
        let shown = server.bearing("GET", "/api/repos/ada/work", &secret).status == 200;
        let fetches = can(&["ls-remote"]);
        assert_eq!(fetches, shown);
        (fetches, machine.home.run("git", &push, "").status.success())
    };
    assert_eq!(rights(), (false, false));
    let said = machine.repo(&["share", "work", "--with", "bob"]);
    assert_eq!(said, "bob may fetch from work\n");
    assert_eq!(rights(), (true, false));
    let said = machine.repo(&["share", "work", "--with", "Bob", "--role", "write"]);
    assert_eq!(said, "Bob may fetch from and push to work\n");
    assert_eq!(rights(), (true, true));
    let listed = machine.repo(&["share", "work"]);
    assert_eq!(listed, "Accounts with access to work (1)\n  bob  write\n");
    let listed = machine.json(&["repo", "share", "work"]);
    assert_eq!(listed, json!([{ "username": "bob", "role": "write" }]));
    // The other account finds it in its list.
    let other = Home::new();
    let login = ["login", &machine.url, "--username", "bob"];
    done(&other.run(WIT, &[&login[..], &["--session-stdin"]].concat(), &bob));
    done(&other.run(WIT, &["repo", "create", "own"], ""));
    let list = done(&other.run(WIT, &["repo", "list"], ""));
    let line = "\nada/work  (private, shared with you: fetch and push)\n";
    assert!(list.contains(line) && list.contains("\nown  ("), "{list}");
    assert!(list.contains("iB, last push "), "{list}");
    let list = done(&other.run(WIT, &["repo", "list", "--json"], ""));
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let shared = &list[1];
    assert_eq!(shared["url"], format!("{}/ada/work.git", machine.url));
    assert_eq!(
        (&shared["owner"], &shared["role"]),
        (&json!("ada"), &json!("write"))
    );
    assert!(shared["pushedAt"].is_string() && shared["size"].is_u64());
    // A program that asks as before gets its own alone.
    let own = server.bearing("GET", "/api/repos", &bob).json();
    assert_eq!(own.as_array().map(Vec::len), Some(1), "{own}");
    // What is the owner's stays the owner's.
    for (method, path) in [
        ("DELETE", "/api/repos/work"),
        ("GET", "/api/repos/work/collaborators"),
        ("DELETE", "/api/repos/work/collaborators/bob"),
    ] {
        assert_eq!(server.bearing(method, path, &secret).status, 404, "{path}");
    }
    let said = machine.repo(&["share", "work", "--with", "bob", "--remove"]);
    assert_eq!(said, "bob no longer has access to work\n");
    assert_eq!(rights(), (false, false));
    for (name, with) in [("work", "nobody"), ("work", "ada"), ("none", "bob")] {
        machine.not(1, &["share", name, "--with", with]);
    }
    machine.not(1, &["share", "work", "--with", "bob", "--remove"]);
    machine.not(1, &["share", "none"]);
}

/// Names that differ by case alone.
fn names_differ_by_more_than_case(server: &platform::Server) {
    let session = server.sign_up("alice");
    let create = |name: &str| {
        let reply = server.post("/api/repos", &session, json!({ "name": name }));
        (reply.status, reply.json()["code"].clone())
    };
    let patch = |name: &str, to: &str| {
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", &format!("Bearer {session}")),
        ];
        let body = json!({ "name": to }).to_string();
        let path = format!("/api/repos/{name}");
        server.request("PATCH", &path, &headers, &body).status
    };
    assert_eq!(create("hello").0, 201);
    let (status, code) = create("HELLO");
    assert!(
        status >= 400 && code == "REPOSITORY_EXISTS",
        "{status} {code}"
    );
    assert_eq!(create("other").0, 201);
    assert!(patch("other", "Hello") >= 400);
    assert_eq!(patch("hello", "Hello"), 200);
    let remote = |name: &str| server.url(&format!("/Alice/{name}.git"));
    for name in ["Hello", "hello", "HELLO"] {
        let listed = server.git(&["ls-remote", &remote(name)]);
        done(&listed);
    }
    let missing = server.git(&["ls-remote", &remote("none")]);
    assert!(!missing.status.success());
    // However fast they come.
    let made: Vec<u16> = std::thread::scope(|scope| {
        let names = ["new", "New", "NEW", "nEw", "neW", "NeW"];
        let all = names.map(|name| scope.spawn(move || create(name).0));
        all.into_iter()
            .map(|one| one.join().expect("no panic"))
            .collect()
    });
    assert_eq!(
        made.iter().filter(|status| **status == 201).count(),
        1,
        "{made:?}"
    );
    let body = json!({
        "email": "else@example.com", "password": "correct horse", "name": "x", "username": "ALICE",
    });
    let reply = server.post("/api/auth/sign-up/email", "", body);
    assert_eq!(reply.status, 422, "{}", reply.body);
}

#[test]
fn a_name_differs_from_others_by_more_than_case() {
    names_differ_by_more_than_case(&platform::Server::start());
}

#[test]
fn so_it_does_on_postgresql() {
    names_differ_by_more_than_case(&platform::Server::start_on(&Postgres::start()));
}

#[test]
fn what_can_not_be_made_again_needs_a_word_where_nobody_can_be_asked() {
    let machine = Machine::with_a_token();
    let data_dir = machine.server.data_dir().display().to_string();
    let operator = format!("wit user delete --data-dir {data_dir} ada --yes");
    for (arguments, again) in [
        (
            &["repo", "delete", "work"][..],
            "wit repo delete work --yes",
        ),
        (
            &["user", "delete", "ada", "--data-dir", &data_dir],
            operator.as_str(),
        ),
    ] {
        let said = refused(&machine.wit(arguments), 2);
        assert!(said.contains(&format!("hint: {again}")), "{said}");
    }
    // A token can be created again, and a login made: scripts do so without a word.
    for arguments in [
        &["token", "prune", "--expired"][..],
        &["store", "erase", &machine.url],
        &["logout", "--revoke"],
    ] {
        done(&machine.wit(arguments));
    }
}
