//! Several accounts on a server, several servers, and what `wit status` says of them.

#![cfg(feature = "platform")]

use crate::support::machine::Machine;
use crate::support::platform::Server;
use crate::support::{HELPER, Home, WIT, done, refused, text, trpc};
use serde_json::Value;

fn password(machine: &Machine, url: &str, username: &str) -> String {
    let (protocol, host) = url.split_once("://").expect("a URL");
    let request = format!("protocol={protocol}\nhost={host}\nusername={username}\n\n");
    let answer = done(&machine.home.run(HELPER, &["get"], &request));
    let password = answer
        .lines()
        .find_map(|line| line.strip_prefix("password="));
    password.expect("a password").to_owned()
}

#[test]
fn each_account_of_a_server_has_its_tokens_and_its_credential() {
    let machine = Machine::logged_in();
    done(&machine.sign_up("bob"));
    for name in ["ada", "bob"] {
        done(&machine.wit(&["token", "create", name, "--store", "--account", name]));
    }
    let names = |account: &str| {
        let list = machine.json(&["token", "list", "--account", account]);
        let list = list.as_array().expect("a list").clone();
        list.iter()
            .map(|token| token["name"].clone())
            .collect::<Vec<Value>>()
    };
    assert_eq!(names("ada"), ["ada"]);
    assert_eq!(names("bob"), ["bob"]);
    // Unnamed, the one that logged in last.
    assert_eq!(machine.list()[0]["name"], "bob");
    let (ada, bob) = (
        password(&machine, &machine.url, "ada"),
        password(&machine, &machine.url, "bob"),
    );
    assert_ne!(ada, bob);

    let said = done(&machine.wit(&["logout", "--revoke", "--account", "bob"]));
    assert!(said.contains("revoked 1 token"), "{said}");
    assert_eq!(names("ada"), ["ada"]);
    refused(&machine.wit(&["token", "list", "--account", "bob"]), 4);
    assert_eq!(password(&machine, &machine.url, "ada"), ada);
}

#[test]
fn after_a_logout_commands_mean_an_account_that_is_logged_in() {
    let machine = Machine::logged_in();
    for name in ["bob", "eve"] {
        done(&machine.sign_up(name));
    }
    let account = || {
        let list = machine.wit(&["token", "create", "x", "--store", "--json"]);
        done(&list);
        let request = format!("protocol=http\nhost={}\n\n", machine.server.address);
        let answer = done(&machine.home.run(HELPER, &["get"], &request));
        let name = answer
            .lines()
            .find_map(|line| line.strip_prefix("username="));
        name.expect("a username").to_owned()
    };
    done(&machine.wit(&["logout", "--account", "ada"]));
    assert_eq!(account(), "eve");
    done(&machine.wit(&["logout", &machine.url]));
    assert_eq!(account(), "bob");
}

#[test]
fn a_server_of_which_nothing_is_left_is_forgotten() {
    let machine = Machine::logged_in();
    machine.configure("default_server", machine.url.as_str());
    done(&machine.wit(&["token", "create"]));
    done(&machine.wit(&["logout"]));
    let said = machine.wit(&["status"]);
    assert_eq!(said.status.code(), Some(3), "its token is still kept");
    done(&machine.log_in("ada"));
    done(&machine.wit(&["logout", "--revoke"]));
    let said = refused(&machine.wit(&["status"]), 4);
    assert!(said.contains("not logged in to any server"), "{said}");
    assert_eq!(done(&machine.rotate(&["--due", "7", "--all"])), "");
    let config = machine.home.path().join(".config/wit/config.json");
    let config = std::fs::read_to_string(config).expect("a config");
    assert!(!config.contains(&machine.url), "{config}");
    // One that was only known is forgotten too.
    machine.configure("servers", serde_json::json!({ machine.url.as_str(): {} }));
    done(&machine.wit(&["logout", "--server", &machine.url]));
    refused(&machine.wit(&["logout", "--server", &machine.url]), 4);
}

#[test]
fn a_login_elsewhere_takes_the_place_of_a_default_that_nobody_uses() {
    let machine = Machine::new();
    done(&machine.home.run(WIT, &["up", "--port", "0"], ""));
    done(&machine.sign_up("ada"));
    assert_eq!(machine.list().len(), 0);
    done(&machine.home.run(WIT, &["down"], ""));
}

#[test]
fn a_server_without_a_login_is_not_meant_where_there_is_one_elsewhere() {
    let machine = Machine::logged_in();
    let up = machine.home.run(WIT, &["up", "--port", "0", "--json"], "");
    let up: Value = serde_json::from_str(&done(&up)).expect("JSON");
    let other = up["url"].as_str().expect("a URL");
    assert_eq!(machine.list().len(), 0);
    // As an earlier `wit up` left it.
    machine.configure("default_server", other);
    assert_eq!(machine.list().len(), 0);
    let said = done(&machine.wit(&["logout"]));
    assert_eq!(said, format!("Logged out of {}.\n", machine.url));
    // Now the server of this machine is the only one, and nobody has logged in there.
    let said = refused(&machine.wit(&["logout"]), 4);
    assert!(
        said.contains(&format!("not logged in to {other}")),
        "{said}"
    );
    done(&machine.log_in("ada"));
    assert_eq!(machine.list().len(), 0);
    let said = done(&machine.wit(&["logout", other]));
    let told = format!("Not logged in to {other}; removed from the configuration.\n");
    assert_eq!(said, told);
    done(&machine.home.run(WIT, &["down"], ""));
}

#[test]
fn a_server_is_named_in_each_way_with_each_command() {
    let machine = Machine::new();
    let (url, password) = (machine.url.as_str(), "correct horse\n");
    machine.server.sign_up("ada");
    let typed = ["--username", "ada", "--password-stdin"];
    for server in [&[url][..], &["--server", url]] {
        let login = [&["login"], server, &typed].concat();
        done(&machine.home.run(WIT, &login, password));
        done(&machine.wit(&["token", "create"]));
        let print = [&["token", "print"], server].concat();
        let token = done(&machine.wit(&print));
        let of_ada = [&print[..], &["--account", "ada"]].concat();
        assert_eq!(done(&machine.wit(&of_ada)), token);
        let of_bob = [&print[..], &["--account", "bob"]].concat();
        refused(&machine.wit(&of_bob), 1);
        done(&machine.wit(&[&["logout"], server].concat()));
    }
    for twice in [&["login"][..], &["logout"], &["token", "print"]] {
        let both = [twice, &[url, "--server", url]].concat();
        refused(&machine.wit(&both), 2);
    }
}

#[test]
fn an_old_token_that_nobody_can_end_after_a_logout_is_named() {
    let machine = Machine::with_a_token();
    done(&machine.wit(&["token", "create", "ci", "--expires", "30"]));
    let list = machine.list();
    let ci = list.iter().find(|token| token["name"] == "ci");
    let id = ci.expect("ci")["id"].as_str().expect("an id");
    let failed = machine.rotate(&["ci", "--deliver", "exit 1"]);
    assert_eq!(failed.status.code(), Some(5));
    // This server ends the old one in time by itself.
    done(&machine.rotate(&["--grace", "1h"]));
    let output = machine.wit(&["logout"]);
    assert_eq!(output.status.code(), Some(5));
    let said = text(&output.stderr);
    let named = said
        .matches("warning: nothing revokes the old token")
        .count();
    assert_eq!(named, 1, "{said}");
    assert!(said.contains(id), "{said}");
}

#[test]
fn a_grace_that_the_server_does_not_end_is_named_at_the_logout() {
    let (server, home) = (trpc::platform(), Home::new());
    let wit = |arguments: &[&str], input: &str| home.run(WIT, arguments, input);
    let login = ["login", &server.url, "--username", "ada"];
    let login = || {
        done(&wit(
            &[&login[..], &["--password-stdin"]].concat(),
            "correct horse\n",
        ))
    };
    login();
    done(&wit(&["token", "create", "laptop", "--store"], ""));
    done(&wit(&["token", "rotate", "--grace", "1h"], ""));
    let output = wit(&["logout", "--json"], "");
    assert_eq!(output.status.code(), Some(5));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["unfinished"][0]["name"], "laptop");
    // With its tokens the rotation is over too.
    login();
    done(&wit(&["logout", "--revoke"], ""));
    let journals = home.path().join(".local/state/wit/rotations");
    assert_eq!(std::fs::read_dir(journals).expect("there").count(), 0);
}

#[test]
fn what_a_rotation_has_left_behind_is_told_with_what_ends_it() {
    let machine = Machine::with_a_token();
    done(&machine.sign_up("bob"));
    let rotate = ["--account", "ada", "--deliver", "test -e mended"];
    assert_eq!(machine.rotate(&rotate).status.code(), Some(5));
    let mend = || {
        let said = text(&machine.wit(&["status"]).stdout);
        let line = said.lines().find(|line| line.contains("to be ended: "));
        line.map(|line| line.rsplit("ended: ").next().expect("a command").to_owned())
    };
    std::fs::write(machine.home.path().join("mended"), "").expect("written");
    let command = mend().expect("one is left");
    assert!(
        command.starts_with("wit token rotate --resume"),
        "{command}"
    );
    done(&machine.home.run("sh", &["-c", &command], ""));
    assert_eq!(mend(), None);

    std::fs::remove_file(machine.home.path().join("mended")).expect("removed");
    assert_eq!(machine.rotate(&rotate).status.code(), Some(5));
    let journals = machine.home.path().join(".local/state/wit/rotations");
    std::fs::remove_dir_all(journals).expect("removed");
    let command = mend().expect("one is left");
    assert!(command.starts_with("wit token revoke "), "{command}");
    done(&machine.home.run("sh", &["-c", &command], ""));
    assert_eq!(mend(), None);
}

#[test]
fn a_server_is_named_where_several_are_known() {
    let mut machine = Machine::logged_in();
    let other = Machine::new();
    let (one, two) = (machine.url.clone(), other.url.clone());
    let first = std::mem::replace(&mut machine.url, two.clone());
    done(&machine.sign_up("ada"));
    machine.url = first;
    let said = refused(&machine.wit(&["token", "list"]), 2);
    assert!(said.contains(&one) && said.contains(&two), "{said}");
    assert!(said.contains("hint: name one with --server URL"), "{said}");

    done(&machine.wit(&["token", "create", "at one", "--store", "--server", &one]));
    machine.home.set("WIT_URL", &two);
    done(&machine.wit(&["token", "create", "at two", "--store"]));
    assert_eq!(machine.list()[0]["name"], "at two");
    let at_one = machine.json(&["token", "list", "--server", &one]);
    assert_eq!(at_one[0]["name"], "at one");
    machine.home.set("WIT_URL", "");
    assert_ne!(
        password(&machine, &one, "ada"),
        password(&machine, &two, "ada")
    );

    let file = machine.home.path().join(".config/wit/config.json");
    let config = std::fs::read_to_string(&file).expect("a config");
    let mut config: Value = serde_json::from_str(&config).expect("JSON");
    config["default_server"] = one.clone().into();
    std::fs::write(&file, config.to_string()).expect("written");
    assert_eq!(machine.list()[0]["name"], "at one");

    let said = done(&machine.wit(&["status"]));
    assert!(said.contains(&one) && said.contains(&two), "{said}");
    done(&machine.wit(&["logout", "--server", &two]));
    assert_eq!(machine.wit(&["status"]).status.code(), Some(3));
}

#[test]
fn status_says_what_needs_attention_and_ends_with_3() {
    let machine = Machine::logged_in();
    refused(
        &machine
            .home
            .run(WIT, &["status", "--server", "http://127.0.0.1:1x"], ""),
        2,
    );
    done(&machine.wit(&["token", "create", "--expires", "30"]));
    let status = machine.json(&["status"]);
    assert_eq!(status["attention"], false);
    assert_eq!(status["store"], "file");
    let server = &status["servers"][0];
    assert_eq!(server["server"], machine.url);
    assert_eq!(server["sessions"][0]["account"], "ada");
    assert_eq!(server["tokens"][0]["scopes"][0], "repo:read");
    let prefix = server["tokens"][0]["tokenPrefix"]
        .as_str()
        .expect("a prefix");
    assert_eq!(prefix, machine.list()[0]["tokenPrefix"]);

    // One that is meant to be short is renewed in time.
    done(&machine.wit(&["token", "create", "--expires", "1"]));
    assert_eq!(machine.json(&["status"])["attention"], false);
    machine.configure("renew", "never");
    let output = machine.wit(&["status", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(status["attention"], true);
}

#[test]
fn a_clone_address_and_a_token_are_no_login_at_a_wit_server() {
    let machine = Machine::logged_in();
    let address = format!("{}/ada/hello.git", machine.url);
    let said = refused(&machine.wit(&["login", &address]), 2);
    assert!(
        said.contains(&format!("hint: wit login {}\n", machine.url)),
        "{said}"
    );
    let token = format!("wit_{}\n", "0".repeat(40));
    for url in [machine.url.as_str(), "--server"] {
        let login = match url {
            "--server" => vec!["login", "--server", &machine.url, "--token-stdin"],
            url => vec!["login", url, "--token-stdin"],
        };
        let said = refused(&machine.home.run(WIT, &login, &token), 2);
        assert!(said.contains("the login is a session"), "{said}");
    }
}

#[test]
fn what_the_account_refuses_is_told_with_a_hint_that_fits() {
    let machine = Machine::logged_in();
    let said = |words: &[&str], input: &str, code: i32| {
        refused(&machine.home.run(WIT, words, input), code)
    };
    let password = ["account", "password", "--password-stdin"];
    for typed in ["wrong horse\nanother horse\n", "correct horse\nshort\n"] {
        let said = said(&password, typed, 1);
        assert!(said.contains("hint: wit account password\n"), "{said}");
    }
    let email = ["account", "email", "nope", "--password-stdin"];
    let told = said(&email, "correct horse\n", 2);
    assert!(told.contains("not an email address: nope"), "{told}");
    let email = ["account", "email", "ada@example.org", "--password-stdin"];
    let told = said(&email, "wrong horse\n", 1);
    assert!(told.contains("hint: wit account email EMAIL\n"), "{told}");
    done(&machine.wit(&["repo", "create", "hello"]));
    let told = said(&["repo", "share", "hello", "--with", "nobody"], "", 1);
    let why = "not shared with nobody: there is no account of that username";
    assert!(told.contains(why), "{told}");
    assert!(told.contains("hint: wit repo share hello\n"), "{told}");
    let server = &machine.server.home;
    let told = refused(
        &server.run(WIT, &["user", "invite", "--email", "nope"], ""),
        2,
    );
    assert!(told.contains("not an email address"), "{told}");
    let reset = ["user", "reset-password", "ada", "--password-stdin"];
    let told = refused(&server.run(WIT, &reset, "short\n"), 1);
    assert!(!told.contains("wit doctor"), "{told}");
    let told = said(&["--json"], "", 2);
    assert!(!told.contains("generate"), "{told}");
    let scopes = done(&machine.wit(&["token", "scopes"]));
    assert!(!scopes.contains("packages:"), "{scopes}");
    std::fs::write(machine.home.path().join("bad.yml"), "{{{\n").expect("written");
    let told = said(&["import", "gh", "--file", "bad.yml"], "", 1);
    assert!(told.contains("bad.yml is no file of gh or glab"), "{told}");
}

#[test]
fn where_sign_up_is_disabled_an_account_that_one_has_is_hinted_at() {
    let server = Server::start_with(Home::new(), &["--no-sign-up"]);
    let url = format!("http://{}", server.address);
    let login = ["login", &url, "--sign-up", "--password-stdin"];
    let account = ["--email", "ada@example.com", "--username", "ada"];
    let home = Home::new();
    let said = refused(
        &home.run(WIT, &[&login[..], &account].concat(), "correct horse\n"),
        1,
    );
    let hint = format!("hint: with an account that you have: wit login {url}\n");
    assert!(said.contains(&hint), "{said}");
}
