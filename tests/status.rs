//! `wit status` asks the servers whether they still accept what is stored.

#![cfg(feature = "platform")]

use crate::support::machine::Machine;
use crate::support::platform::PASSWORD;
use crate::support::server::{Server, answer};
use crate::support::{Home, WIT, done, text};
use serde_json::Value;

/// The command at the end of the line that holds `words`.
fn command_after(said: &str, words: &str) -> String {
    let line = said.lines().find(|line| line.contains(words));
    let line = line.unwrap_or_else(|| panic!("no {words}: {said}"));
    let at = line.find(": wit ").expect("a command");
    line[at + 2..].to_owned()
}

#[test]
fn a_session_that_was_ended_elsewhere_needs_attention() {
    let machine = Machine::with_a_token();
    let session = &machine.sessions()[0];
    let ended = machine
        .server
        .post("/api/auth/sign-out", session, serde_json::json!({}));
    assert_eq!(ended.status, 200);
    let status = machine.json_of(&["status"], 3);
    assert_eq!(status["servers"][0]["sessions"][0]["accepted"], false);
    // Without the session the token is asked for by itself.
    assert_eq!(status["servers"][0]["tokens"][0]["accepted"], true);
    let said = text(&machine.wit(&["status"]).stdout);
    let login = command_after(&said, "no longer accepts it");
    let typed = format!("{login} --username ada --password-stdin");
    done(
        &machine
            .home
            .run("sh", &["-c", &typed], &format!("{PASSWORD}\n")),
    );
    done(&machine.wit(&["status"]));
}

#[test]
fn a_token_that_was_revoked_elsewhere_needs_attention() {
    let machine = Machine::with_a_token();
    let elsewhere = machine.elsewhere();
    done(&elsewhere.run(WIT, &["token", "revoke", "laptop"], ""));
    let status = machine.json_of(&["status"], 3);
    assert_eq!(status["servers"][0]["tokens"][0]["accepted"], false);
    let said = text(&machine.wit(&["status"]).stdout);
    let create = command_after(&said, "revoked at the server");
    done(&machine.home.run("sh", &["-c", &create], ""));
    done(&machine.wit(&["status"]));
}

#[test]
fn where_the_session_has_ended_too_a_revoked_token_takes_a_login_first() {
    let machine = Machine::with_a_token();
    let elsewhere = machine.elsewhere();
    done(&elsewhere.run(WIT, &["token", "revoke", "laptop"], ""));
    done(&machine.wit(&["logout"]));
    let said = text(&machine.wit(&["status"]).stdout);
    let create = command_after(&said, "revoked at the server");
    let login = format!("wit login {}", machine.url);
    assert!(
        create.starts_with(&format!("{login} && wit token create")),
        "{create}"
    );
    let typed = create.replace(&login, &format!("{login} --username ada --password-stdin"));
    done(
        &machine
            .home
            .run("sh", &["-c", &typed], &format!("{PASSWORD}\n")),
    );
    done(&machine.wit(&["status"]));
}

#[test]
fn asking_does_not_count_as_a_use_of_the_token() {
    let machine = Machine::with_a_token();
    let status = machine.json(&["status"]);
    assert_eq!(status["servers"][0]["checked"], true);
    assert_eq!(status["servers"][0]["tokens"][0]["accepted"], true);
    assert_eq!(machine.list()[0]["lastUsedAt"], Value::Null);
}

#[test]
fn a_server_that_is_away_is_said_and_nothing_of_it_is_called_dead() {
    let mut machine = Machine::with_a_token();
    done(&machine.server.home.run(WIT, &["down"], ""));
    let status = machine.json(&["status"]);
    let server = &status["servers"][0];
    assert_eq!(server["checked"], false);
    assert_eq!(server["sessions"][0]["accepted"], Value::Null);
    assert_eq!(server["tokens"][0]["accepted"], Value::Null);
    let said = done(&machine.wit(&["status"]));
    let away = format!("  Not checked: can't reach {}", machine.url);
    assert!(said.contains(&away), "{said}");
    // For the end of the test.
    done(&machine.server.home.run(WIT, &["up", "--port", "0"], ""));
    machine.url.clear();
}

#[test]
fn a_token_that_was_replaced_on_another_machine_ends_when_the_server_says() {
    let machine = Machine::with_a_token();
    let id = machine.ids().remove(0);
    let other = machine.elsewhere();
    let rotate = ["token", "rotate", &id, "--grace", "12h", "--print"];
    done(&other.run(WIT, &rotate, ""));
    let says = |command: &str| {
        let output = machine.wit(&[command]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains("replaced or shortened on another machine"),
            "{said}"
        );
        assert!(
            said.contains("ends in 11 hours") || said.contains("ends in 12 hours"),
            "{said}"
        );
        said
    };
    says("status");
    says("doctor");
    // Nor without a login does it take a list to know.
    done(&machine.wit(&["logout"]));
    let create = command_after(&says("status"), "replaced or shortened");
    assert!(create.contains("wit token create"), "{create}");
}

#[test]
fn a_server_that_is_gone_is_forgotten_by_the_command_that_is_named() {
    let home = Home::new();
    let config = home.path().join(".config/wit");
    std::fs::create_dir_all(&config).expect("made");
    // No machine is called so (RFC 6761 section 6.4).
    let gone = serde_json::json!({ "servers": { "https://wit.invalid": {} } }).to_string();
    std::fs::write(config.join("config.json"), gone).expect("written");
    let output = home.run(WIT, &["status"], "");
    assert_eq!(output.status.code(), Some(3));
    let forget = command_after(&text(&output.stdout), "To forget this server");
    done(&home.run("sh", &["-c", &forget], ""));
    assert_eq!(home.run(WIT, &["status"], "").status.code(), Some(4));
}

#[test]
fn servers_that_say_nothing_are_not_waited_for() {
    let silent: Vec<_> = (0..3)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"))
        .collect();
    let home = Home::new();
    let servers = silent.iter().map(|one| {
        let url = format!("http://{}", one.local_addr().expect("an address"));
        (url, serde_json::json!({}))
    });
    let servers: serde_json::Map<String, Value> = servers.collect();
    let config = home.path().join(".config/wit");
    std::fs::create_dir_all(&config).expect("made");
    let text = serde_json::json!({ "servers": servers }).to_string();
    std::fs::write(config.join("config.json"), text).expect("written");
    let output = home.run(WIT, &["status", "--json"], "");
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for server in status["servers"].as_array().expect("a list") {
        assert_eq!(server["checked"], false, "{status}");
    }
}

#[test]
fn offline_no_server_is_asked() {
    let server = Server::new(|first, _| match first {
        "GET /api/tokens HTTP/1.1" => answer(200, "[]"),
        _ => answer(404, "{}"),
    });
    let home = Home::new();
    let login = ["login", &server.url, "--session-stdin"];
    done(&home.run(WIT, &login, "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu"));
    let before = server.seen().len();
    done(&home.run(WIT, &["status", "--offline"], ""));
    assert_eq!(server.seen().len(), before);
    done(&home.run(WIT, &["status"], ""));
    assert!(server.seen().len() > before);
}

#[test]
fn half_of_direct_mode_is_said() {
    let mut machine = Machine::with_a_token();
    for (set, unset) in [
        ("DATABASE_URL", "WIT_USER_ID"),
        ("WIT_USER_ID", "DATABASE_URL"),
    ] {
        machine.home.set(set, "postgres://nobody@127.0.0.1:1/x");
        machine.home.set(unset, "");
        let told = format!("{set} is ignored, because {unset} is not set");
        let said = done(&machine.wit(&["status"]));
        assert!(said.contains(&told), "{said}");
        assert_eq!(machine.json(&["status"])["warning"], told);
        let listed = machine.wit(&["token", "list"]);
        assert!(
            text(&listed.stderr).contains(&told),
            "{}",
            text(&listed.stderr)
        );
    }
}

#[test]
fn a_token_without_an_end_is_called_the_same_everywhere() {
    let machine = Machine::logged_in();
    let made = done(&machine.wit(&["token", "create", "ci", "--store", "-e", "never"]));
    assert!(made.contains("\nExpires: Never\n"), "{made}");
    let listed = done(&machine.wit(&["token", "list"]));
    assert!(listed.ends_with("  •  Expires: Never\n"), "{listed}");
    let status = done(&machine.wit(&["status"]));
    assert!(
        status.contains("ci: repo:read, repo:write, never expires\n"),
        "{status}"
    );
}
