//! `wit store list` and `wit store erase`: what is stored is seen without its secret, and goes.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;

use serde_json::Value;

use wit::credential::Site;
use wit::secret::Secret;
use wit::store::select;

use crate::support::machine::{Machine, paths};
use crate::support::session::Session;
use crate::support::terminal::Terminal;
use crate::support::{HELPER, Home, WIT, done, refused, text};

fn keep(home: &Home, host: &str, username: &str, more: &str) {
    let entry = format!("protocol=https\nhost={host}\nusername={username}\npassword=hush\n{more}");
    done(&home.run(HELPER, &["store"], &entry));
}

fn listed(home: &Home) -> Vec<Value> {
    let list = done(&home.run(WIT, &["store", "list", "--json"], ""));
    let list: Value = serde_json::from_str(&list).expect("JSON");
    list["entries"].as_array().expect("a list").clone()
}

fn users(home: &Home, site: &str) -> Vec<String> {
    let of_site = listed(home)
        .into_iter()
        .filter(|entry| entry["site"] == site);
    let mut users: Vec<String> = of_site
        .map(|entry| entry["username"].as_str().unwrap_or_default().to_owned())
        .collect();
    users.sort();
    users
}

#[test]
fn each_entry_is_listed_with_its_source_and_renewal_and_no_secret() {
    let machine = Machine::with_a_token();
    keep(&machine.home, "typed.example", "bob", "");
    fs::write(
        machine.home.path().join(".netrc"),
        "machine old.example login eve password hush\n",
    )
    .expect("written");
    done(&machine.wit(&["import", "netrc"]));

    let entries = listed(&machine.home);
    let of = |source: &str| {
        let mut entries = entries.iter().filter(|entry| entry["source"] == source);
        entries
            .next()
            .unwrap_or_else(|| panic!("{source}: {entries:?}"))
    };
    assert_eq!(entries.len(), 4, "{entries:?}");
    assert_eq!(of("session")["site"], machine.url);
    assert_eq!(of("session")["username"], "ada");
    assert_eq!(of("session")["renewal"], "login");
    assert_eq!(of("token")["name"], "laptop");
    assert_eq!(of("token")["renewal"], "rotation");
    assert!(of("token")["expiresAt"].is_string());
    assert_eq!(of("git")["username"], "bob");
    assert_eq!(of("git")["renewal"], Value::Null);
    assert_eq!(of("imported")["site"], "https://old.example");

    let shown = done(&machine.wit(&["store", "list"]));
    let header = shown.lines().next().expect("a header");
    for title in ["SITE", "USER", "SOURCE", "EXPIRES", "RENEWED BY"] {
        assert!(header.contains(title), "{shown}");
    }
    assert!(shown.contains("token laptop"), "{shown}");
    assert!(shown.contains("while git uses it"), "{shown}");
    let secret = done(&machine.wit(&["token", "print"]));
    for said in [shown, format!("{entries:?}")] {
        assert!(
            !said.contains("hush") && !said.contains(secret.trim()),
            "{said}"
        );
    }

    machine.configure("renew", "never");
    let shown = done(&machine.wit(&["store", "list"]));
    assert!(shown.contains("no: switched off"), "{shown}");
}

#[test]
fn a_damaged_item_is_told_and_hides_no_other() {
    let home = Home::new();
    keep(&home, "good.example", "ada", "");
    keep(&home, "bad.example", "ada", "");
    let store = select::open(&paths(&home), Some("file")).expect("a store");
    let bad = Site::new(b"https", b"bad.example").expect("a site");
    let damaged = Secret::from("not an item".to_owned());
    store.write(&bad, &damaged).expect("written");
    let output = home.run(WIT, &["store", "list"], "");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stdout).contains("https://good.example"));
    assert!(text(&output.stderr).contains("warning: https://bad.example"));
}

#[test]
fn erasing_takes_what_is_named_and_nothing_else() {
    let home = Home::new();
    for user in ["ada", "bob", "eve"] {
        keep(&home, "one.example", user, "");
    }
    let other = "protocol=https\nhost=one.example\npath=team/work.git\nusername=ada\npassword=x\n";
    done(&home.run(HELPER, &["store"], other));
    keep(&home, "two.example", "ada", "");
    let erase = |words: &[&str]| home.run(WIT, &[&["store", "erase"], words].concat(), "");

    let said = done(&erase(&[
        "https://one.example",
        "--username",
        "bob",
        "--yes",
    ]));
    assert_eq!(said, "Erased 1 entry for https://one.example: bob\n");
    assert_eq!(users(&home, "https://one.example"), ["ada", "ada", "eve"]);
    let said = done(&erase(&["https://one.example/team/work.git", "--yes"]));
    assert_eq!(
        said,
        "Erased 1 entry for https://one.example: ada (team/work.git)\n"
    );
    assert_eq!(users(&home, "https://one.example"), ["ada", "eve"]);
    done(&erase(&["https://one.example", "--yes"]));
    assert!(users(&home, "https://one.example").is_empty());
    assert_eq!(users(&home, "https://two.example"), ["ada"]);

    let said = refused(&erase(&["https://one.example"]), 1);
    assert!(
        said.contains("nothing is stored for https://one.example"),
        "{said}"
    );
    assert!(said.contains("hint: wit store list"), "{said}");
    let said = refused(&erase(&["https://one.example/team"]), 1);
    assert!(said.contains("for https://one.example/team in"), "{said}");
    for wrong in ["", "one example", "https://", "me@one.example"] {
        let said = refused(&erase(&[wrong]), 2);
        assert!(said.contains("not a URL of a site"), "{said}");
    }
}

#[test]
fn a_site_is_named_by_its_host_alone_too() {
    let home = Home::new();
    keep(&home, "one.example", "ada", "");
    keep(&home, "one.example:8443", "bob", "");
    let of_a_path = "protocol=https\nhost=one.example\npath=team\nusername=eve\npassword=x\n";
    done(&home.run(HELPER, &["store"], of_a_path));
    let local = "protocol=http\nhost=localhost:3000\nusername=ada\npassword=x\n";
    done(&home.run(HELPER, &["store"], local));
    for (named, erased) in [
        ("one.example:8443", "https://one.example:8443: bob"),
        ("one.example/team/", "https://one.example: eve (team)"),
        ("one.example", "https://one.example: ada"),
        ("localhost:3000", "http://localhost:3000: ada"),
    ] {
        let said = done(&home.run(WIT, &["store", "erase", named, "--yes"], ""));
        assert_eq!(said, format!("Erased 1 entry for {erased}\n"));
    }
}

#[test]
fn of_two_accounts_the_one_that_answers_git_is_marked_and_another_can_be_named() {
    let home = Home::new();
    keep(&home, "one.example", "ada", "");
    keep(&home, "one.example", "bob", "");
    keep(&home, "two.example", "eve", "");
    done(&home.run(WIT, &["setup"], ""));
    let fill = || {
        let request = "protocol=https\nhost=one.example\n\n";
        let filled = done(&home.run("git", &["credential", "fill"], request));
        let mut lines = filled.lines();
        lines.find_map(|line| Some(line.strip_prefix("username=")?.to_owned()))
    };
    let (first, other) = match fill().as_deref() {
        Some("ada") => ("ada", "bob"),
        _ => ("bob", "ada"),
    };
    let list = done(&home.run(WIT, &["store", "list"], ""));
    assert!(list.contains(&format!("  {first} *  ")), "{list}");
    assert_eq!(list.matches(" *").count(), 1, "{list}");
    let default = |entry: &Value| entry["default"] == true;
    assert_eq!(
        listed(&home).iter().filter(|entry| default(entry)).count(),
        2
    );
    let status = done(&home.run(WIT, &["status"], ""));
    let marked = format!("https://one.example: {first}, from git; answers git where");
    assert!(status.contains(&marked), "{status}");

    let (_, command) = list.split_once("For another: ").expect("a command");
    done(&home.run("sh", &["-c", command], ""));
    assert_eq!(fill().as_deref(), Some(other));
}

#[test]
fn status_names_what_git_has_beside_a_login() {
    let home = Home::new();
    let config = home.path().join(".config/wit/config.json");
    fs::create_dir_all(config.parent().expect("a directory")).expect("made");
    let known = r#"{"servers": {"https://one.example": {"host_type": "github"}}}"#;
    fs::write(config, known).expect("written");
    let file = home.path().join(".git-credentials");
    fs::write(file, "https://ada:pw@one.example\n").expect("written");
    done(&home.run(WIT, &["import", "store"], ""));
    let status = home.run(WIT, &["status", "--offline"], "");
    let said = text(&status.stdout);
    assert!(said.contains("Not logged in: wit login"), "{said}");
    assert!(
        said.contains("Also for git: ada, imported, not renewed\n"),
        "{said}"
    );
    let told = home.run(WIT, &["status", "--offline", "--json"], "");
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(told["servers"][0]["others"][0]["username"], "ada");
}

#[test]
fn it_asks_at_a_terminal_and_no_leaves_everything() {
    let home = Home::new();
    keep(&home, "one.example", "ada", "");
    let line = format!("{WIT} store erase https://one.example");
    for (answer, code, left) in [("n", 1, 1), ("y", 0, 0)] {
        let mut terminal = Terminal::run(&home, &line);
        terminal.shows("Erase what is stored for https://one.example: ada? [y/N]");
        terminal.types(answer);
        let (ended, screen) = terminal.ends();
        assert_eq!(ended, Some(code), "{screen}");
        assert_eq!(listed(&home).len(), left, "{screen}");
    }
}

#[test]
fn a_token_that_lives_on_at_the_server_is_told_with_what_ends_it() {
    let machine = Machine::with_a_token();
    let output = machine.wit(&["store", "erase", &machine.url, "--yes"]);
    done(&output);
    let said = text(&output.stderr);
    assert!(
        said.contains("note: the token laptop still works"),
        "{said}"
    );
    let ids = machine.ids();
    assert!(said.contains(&format!("{}\n", ids[0])), "{said}");
    assert!(said.contains("note: still logged in"), "{said}");
    for hint in said.lines().filter_map(|line| line.strip_prefix("hint: ")) {
        done(&machine.home.run("sh", &["-c", hint], ""));
    }
    assert!(listed(&machine.home).is_empty());
}

#[test]
fn in_a_keyring_only_our_items_are_listed_and_erased() {
    let session = Session::with_keyring();
    let mut home = Home::new();
    home.set("DBUS_SESSION_BUS_ADDRESS", session.address());
    home.set("WIT_STORE", "keychain");
    let theirs = [
        "--label=theirs",
        "protocol",
        "https",
        "server",
        "one.example",
    ];
    let stored = home.run("secret-tool", &[&["store"], &theirs[..]].concat(), "theirs");
    assert!(
        stored.status.success(),
        "apt-get install libsecret-tools: {stored:?}"
    );
    keep(&home, "one.example", "ada", "");
    keep(&home, "two.example", "ada", "");
    assert_eq!(listed(&home).len(), 2);
    done(&home.run(WIT, &["store", "erase", "https://one.example", "--yes"], ""));
    assert_eq!(listed(&home).len(), 1);
    let found = home.run("secret-tool", &["lookup", "server", "one.example"], "");
    assert_eq!(text(&found.stdout), "theirs");
}

#[test]
fn in_the_kernels_keyring_too() {
    let mut home = Home::new();
    home.set("WIT_STORE", "keyutils");
    let host = format!("list-{}.example", std::process::id());
    let site = format!("https://{host}");
    keep(&home, &host, "ada", "");
    assert_eq!(users(&home, &site), ["ada"]);
    done(&home.run(WIT, &["store", "erase", &site, "--yes"], ""));
    assert!(users(&home, &site).is_empty());
}

#[test]
fn a_list_of_tokens_is_a_table_at_a_terminal_and_fields_by_request() {
    let machine = Machine::with_a_token();
    done(&machine.wit(&[
        "token",
        "create",
        "for ever",
        "--print",
        "--expires",
        "never",
    ]));
    let (code, screen) = Terminal::run(&machine.home, "wit token list").ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(
        screen.contains("NAME") && screen.contains("this machine"),
        "{screen}"
    );
    let plain = done(&machine.wit(&["token", "list"]));
    assert!(plain.starts_with("Personal Access Tokens (2)\n"), "{plain}");
    let table = done(&machine.wit(&["token", "list", "--format", "table"]));
    assert!(
        table.starts_with("NAME") && !table.contains('\u{1b}'),
        "{table}"
    );
    let fields = done(&machine.wit(&["token", "list", "--format", "tsv"]));
    let lines: Vec<Vec<&str>> = fields
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(lines.len(), 2, "{fields}");
    assert!(lines.iter().all(|line| line.len() == 7), "{fields}");
    let laptop = lines
        .iter()
        .find(|line| line[1] == "laptop")
        .expect("laptop");
    assert_eq!(laptop[3], "repo:read,repo:write");
    assert!(laptop[6].ends_with('Z'), "{fields}");
}

#[test]
fn what_a_person_reads_has_the_home_directory_as_a_tilde() {
    let machine = Machine::with_a_token();
    let home = machine.home.path().display().to_string();
    for words in [&["status"][..], &["store"], &["store", "list"], &["setup"]] {
        let said = done(&machine.wit(words));
        let of_the_store = said.lines().filter(|line| line.contains("store"));
        for line in of_the_store {
            assert!(!line.contains(&home), "{line}");
        }
    }
}
