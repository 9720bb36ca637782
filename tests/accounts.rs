//! Several accounts on a server, several servers, and what `wit status` says of them.

#![cfg(feature = "platform")]

use crate::support::machine::Machine;
use crate::support::{HELPER, WIT, done, refused, text};
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

    done(&machine.wit(&["token", "create", "--expires", "1"]));
    let output = machine.wit(&["status", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(status["attention"], true);
}
