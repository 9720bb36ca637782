//! `wit login`, `status`, `token …` and `logout`, against the real `wit up`.

#![cfg(feature = "platform")]

use std::path::Path;

use crate::support::machine::Machine;
use crate::support::platform::PASSWORD;
use crate::support::{HELPER, Home, WIT, done, refused, text};
use wit::api::http::Client;
use wit::api::login::{Login, sign_in};
use wit::api::server::ServerUrl;
use wit::secret::Secret;

const TOKEN: &str = "wit_0123456789abcdef0123456789abcdef01234567";

#[test]
fn a_named_token_is_printed_once_as_documented() {
    let machine = Machine::logged_in();
    let shown = done(&machine.wit(&["token", "create", "CI Token", "--expires", "30"]));
    let token = shown
        .lines()
        .nth(4)
        .expect("a fifth line")
        .trim()
        .to_owned();
    assert!(token.starts_with("wit_") && token.len() == 44, "{shown}");
    let expires = machine.list()[0]["expiresAt"].as_str().expect("an expiry")[..10].to_owned();
    assert_eq!(
        shown,
        format!(
            "Created personal access token\n\nToken:\n\n  {token}\n\n\
             Make sure to copy your token now.\nYou will not be able to see it again!\n\n\
             Name:    CI Token\nScopes:  repo:read, repo:write\nExpires: {expires}\n\n\
             Use this token in the Authorization header:\n  Authorization: Bearer {token}\n"
        )
    );
    assert_eq!(machine.list()[0]["thisMachine"], false);
}

#[test]
fn a_token_without_a_name_goes_to_the_store_unseen() {
    let machine = Machine::logged_in();
    let shown = done(&machine.wit(&["token", "create", "--expires", "30"]));
    assert!(!shown.contains("wit_"), "{shown}");
    let token = done(&machine.wit(&["token", "print"]));
    assert!(token.starts_with("wit_") && token.len() == 45);
    let listed = machine.list();
    assert_eq!(listed[0]["thisMachine"], true);
    assert_eq!(listed[0]["tokenPrefix"], token[..8]);
    let site = machine.url.strip_prefix("http://").expect("http");
    let request = format!("protocol=http\nhost={site}\n\n");
    let answer = machine.home.run(crate::support::HELPER, &["get"], &request);
    let answer = done(&answer);
    assert!(answer.contains("username=ada\n"), "{answer}");
    assert!(
        answer.contains(&format!("password={token}")),
        "not the token"
    );
}

#[test]
fn store_and_print_can_be_combined() {
    let machine = Machine::logged_in();
    let shown = done(&machine.wit(&["token", "create", "both", "--store", "--print"]));
    assert_eq!(shown.matches("wit_").count(), 2, "{shown}");
    let bare = done(&machine.wit(&["token", "create", "bare", "-q", "-e", "1"]));
    assert!(bare.starts_with("wit_") && bare.len() == 45, "{bare}");
    let stored = done(&machine.wit(&["token", "print"]));
    assert!(shown.contains(stored.trim()));
    let kept = done(&machine.wit(&["token", "create", "kept", "--store"]));
    assert!(!kept.contains("wit_"), "{kept}");
}

#[test]
fn json_holds_the_token_only_where_it_is_printed() {
    let machine = Machine::logged_in();
    let printed = machine.json(&["token", "create", "ci", "-e", "7", "-s", "repo:read"]);
    assert_eq!(printed["token"].as_str().map(str::len), Some(44));
    assert_eq!(printed["scopes"], serde_json::json!(["repo:read"]));
    assert_eq!(printed["stored"], false);
    let stored = machine.json(&["token", "create"]);
    assert_eq!(stored["stored"], true);
    assert_eq!(stored["replaced"], serde_json::Value::Null);
    assert!(stored.get("token").is_none());
    let next = machine.json(&["token", "create"]);
    assert_eq!(next["replaced"], stored["id"]);
}

#[test]
fn bad_input_is_refused_before_anything_is_sent() {
    let machine = Machine::logged_in();
    let long = "x".repeat(101);
    for (arguments, says) in [
        (vec!["token", "create", "x", "--expires", "0"], "1 to 365"),
        (vec!["token", "create", "x", "--expires", "-5"], "1 to 365"),
        (
            vec!["token", "create", "x", "--expires", "30abc"],
            "1 to 365",
        ),
        (vec!["token", "create", "x", "--expires", "366"], "1 to 365"),
        (vec!["token", "create", "x", "-s", "repo:reed"], "repo:read"),
        (
            vec!["token", "create", "x", "-s", "repo:read,"],
            "unknown scope",
        ),
        (vec!["token", "create", ""], "is empty"),
        (vec!["token", "create", &long], "longer than 100"),
        (
            vec!["token", "create", "a\u{1b}[31mb"],
            "control characters",
        ),
        (vec!["token", "create", TOKEN], "looks like a token"),
        (vec!["token", "create", "x", "--expire", "30"], "--expires"),
        (vec!["token", "create", "x", "y"], "unexpected argument"),
        (vec!["token", "craete", "x"], "create"),
        (vec!["token", TOKEN], "unrecognized"),
        (vec!["token", "revoke"], "required"),
        (vec!["token", "revoke", TOKEN], "whole token"),
        (vec!["tokens", "list"], "token"),
        (vec!["login", "ftp://x"], "only http"),
        (vec!["login", "https://me:secret@x"], "password"),
    ] {
        let said = refused(&machine.wit(&arguments), 2);
        assert!(said.contains(says), "{arguments:?}: {said}");
        let next = said.contains("\nhint: ") || said.contains("try '--help'");
        assert!(next, "{arguments:?}: {said}");
        assert!(!said.contains(&TOKEN[..16]), "{arguments:?}: {said}");
        assert!(!said.contains('\u{1b}'), "{arguments:?}: {said}");
    }
    assert_eq!(machine.list().len(), 0);
}

#[test]
fn days_may_be_typed_as_a_duration() {
    let machine = Machine::logged_in();
    let lives = |expires: &str| {
        let created = machine.json(&["token", "create", "x", "--expires", expires]);
        let day = |name: &str| {
            let format = &time::format_description::well_known::Rfc3339;
            let text = created[name].as_str().expect("a time");
            time::OffsetDateTime::parse(text, format).expect("a time")
        };
        (day("expiresAt") - day("createdAt")).whole_days()
    };
    assert_eq!(["14", "14d", "2w"].map(lives), [14, 14, 14]);
    for arguments in [
        &["token", "list", "--expiring", "3w"][..],
        &["token", "list", "--expiring", "21"],
    ] {
        assert_eq!(
            machine.wit(arguments).status.code(),
            Some(3),
            "{arguments:?}"
        );
    }
    done(&machine.wit(&["token", "rotate", "--due", "1w", "--dry-run"]));
    done(&machine.wit(&["token", "prune", "--unused", "12w", "--dry-run"]));
    let said = refused(&machine.wit(&["token", "prune", "--unused", "0d"]), 2);
    assert!(said.contains("at least 1 day"), "{said}");
}

#[test]
fn what_goes_wrong_is_said_with_what_to_type() {
    let machine = Machine::new();
    let said = refused(&machine.wit(&["token", "list"]), 4);
    assert!(said.contains("hint: wit login"), "{said}");
    done(&machine.sign_up("ada"));
    let wrong = [
        "login",
        &machine.url,
        "--username",
        "ada",
        "--password-stdin",
    ];
    let said = refused(&machine.home.run(WIT, &wrong, "not the one\n"), 4);
    assert!(
        said.contains("wrong password") && said.contains("hint: "),
        "{said}"
    );
    let said = refused(&machine.wit(&wrong[..4]), 2);
    assert!(said.contains("--password-stdin"), "{said}");
    // Port 1 is nobody's.
    let nobody = [
        "login",
        "http://127.0.0.1:1",
        "--username",
        "ada",
        "--password-stdin",
    ];
    let said = refused(&machine.home.run(WIT, &nobody, "x\n"), 1);
    assert!(
        said.contains("can't reach") && said.contains("hint: "),
        "{said}"
    );
    let plain = [
        "login",
        "http://example.com",
        "--username",
        "ada",
        "--password-stdin",
    ];
    let said = refused(&machine.home.run(WIT, &plain, "x\n"), 1);
    assert!(said.contains("plain http"), "{said}");
    let said = refused(&machine.wit(&["token", "revoke", "nobody", "--json"]), 1);
    let error: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(error["error"]["exit"], 1);
}

#[test]
fn a_session_that_the_server_has_ended_asks_for_a_login() {
    let machine = Machine::logged_in();
    let session = session_of(&machine);
    let arguments = [
        "login",
        &machine.url,
        "--username",
        "ada",
        "--session-stdin",
    ];
    let line = format!("{}\n", session.expose_str().expect("text"));
    done(&machine.home.run(WIT, &arguments, &line));
    let url = ServerUrl::parse(&machine.url).expect("a URL");
    let client = std::rc::Rc::new(Client::new(&url, false).expect("a client"));
    wit::api::login::sign_out(&client, &session, None).expect("an end");
    let said = refused(&machine.wit(&["token", "list"]), 4);
    assert!(said.contains("hint: wit login"), "{said}");
    refused(&machine.home.run(WIT, &arguments, &line), 4);
}

#[test]
fn revoke_takes_one_token_or_none() {
    let machine = Machine::logged_in();
    for name in ["twin", "twin", "single"] {
        done(&machine.wit(&["token", "create", name, "-q", "-e", "1"]));
    }
    let said = refused(&machine.wit(&["token", "rm", "single", "twin"]), 1);
    assert!(said.contains("matches 2 tokens"), "{said}");
    refused(&machine.wit(&["token", "revoke", "wit_"]), 1);
    assert_eq!(machine.list().len(), 3);
    done(&machine.wit(&["token", "delete", "single"]));
    let left = machine.list();
    assert_eq!(left.len(), 2);
    let id = left[0]["id"].as_str().expect("an id");
    done(&machine.wit(&["token", "revoke", id]));
    assert_eq!(machine.list().len(), 1);
}

#[test]
fn revoking_this_machines_token_empties_the_store_too() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["token", "create"]));
    let id = machine.list()[0]["id"].as_str().expect("an id").to_owned();
    let said = done(&machine.wit(&["token", "revoke", &id]));
    assert!(said.contains("removed from this machine"), "{said}");
    refused(&machine.wit(&["token", "print"]), 1);
}

#[test]
fn status_and_logout_tell_what_is_kept() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["token", "create"]));
    let said = done(&machine.wit(&["status"]));
    assert!(
        said.contains("Logged in as ada, expires in 30 days"),
        "{said}"
    );
    assert!(said.contains("git on "), "{said}");
    done(&machine.wit(&["logout", "--revoke"]));
    refused(&machine.wit(&["status"]), 4);
    refused(&machine.wit(&["token", "print"]), 4);
    refused(&machine.wit(&["logout"]), 4);
}

/// A second session of the account, known to the test.
fn session_of(machine: &Machine) -> Secret {
    let url = ServerUrl::parse(&machine.url).expect("a URL");
    let client = Client::new(&url, false).expect("a client");
    let login = Login::Username("ada".into());
    let password = Secret::from(PASSWORD.to_owned());
    sign_in(&client, &login, &password)
        .expect("a session")
        .session
}

#[test]
fn no_secret_is_in_anything_that_a_command_wrote() {
    let machine = Machine::logged_in();
    let session = session_of(&machine);
    let session = session.expose_str().expect("text");
    let login = [
        "login",
        &machine.url,
        "--username",
        "ada",
        "--session-stdin",
    ];
    let mut written = vec![machine.home.run(WIT, &login, &format!("{session}\n"))];
    done(&machine.wit(&["token", "create"]));
    let token = done(&machine.wit(&["token", "print"]));
    let token = token.trim();
    let id = machine.list()[0]["id"].as_str().expect("an id").to_owned();
    for arguments in [
        vec!["token", "list"],
        vec!["token", "list", "--json"],
        vec!["token", "scopes"],
        vec!["status"],
        vec!["status", "--json"],
        vec!["token", "revoke", token],
        vec!["token", "create", token],
        vec!["token", "create", "x", "--scopes", token],
        vec!["token", "create", "x", "--expires", token],
        vec!["token", token],
        vec![token],
        vec!["token", "print", token],
        vec!["token", "list", "--server", token],
        vec!["token", "list", "--json", &format!("--{token}")],
        vec!["login", token],
        vec!["login", &format!("http://{token}@127.0.0.1:1")],
        vec!["token", "revoke", session],
        vec!["token", "revoke", &id],
        vec!["logout"],
    ] {
        written.push(machine.wit(&arguments));
    }
    let secrets = [PASSWORD, session, token];
    for (number, output) in written.iter().enumerate() {
        let said = text(&output.stdout) + &text(&output.stderr);
        for secret in secrets {
            assert!(!said.contains(secret), "command {number}: {said}");
        }
    }
    let mut files = 0;
    each_file(machine.home.path(), &mut |path, bytes| {
        files += 1;
        for secret in secrets {
            assert!(!holds(bytes, secret), "{}", path.display());
        }
    });
    assert!(files > 0, "nothing was searched");
    let mut logs = 0;
    each_file(machine.server.home.path(), &mut |path, bytes| {
        assert!(!holds(bytes, token), "{}", path.display());
        assert!(!holds(bytes, PASSWORD), "{}", path.display());
        // The platform's own table of sessions holds them as they are.
        if path.extension().is_some_and(|end| end == "log") {
            logs += 1;
            assert!(!holds(bytes, session), "{}", path.display());
        }
    });
    assert!(logs > 0, "no log was searched");
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes
        .windows(secret.len())
        .any(|part| part == secret.as_bytes())
}

fn each_file(dir: &Path, look: &mut dyn FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            each_file(&path, look);
        } else if path.is_file() {
            look(&path, &std::fs::read(&path).expect("a file"));
        }
    }
}

#[test]
fn a_whole_token_is_revoked_from_stdin_only() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["token", "create", "other", "-q", "-e", "1"]));
    let token = done(&machine.wit(&["token", "create", "gone", "-q", "-e", "1"]));
    let revoke = ["token", "revoke", "--token-stdin"];
    let output = machine.home.run(WIT, &revoke, &token);
    let said = done(&output) + &text(&output.stderr);
    assert!(!said.contains(token.trim()), "{said}");
    let left = machine.list();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["name"], "other");
    let said = refused(&machine.home.run(WIT, &revoke, &token), 1);
    assert!(said.contains("does not know this token"), "{said}");
}

#[test]
fn audit_finds_what_prune_and_filters_see() {
    let machine = Machine::logged_in();
    done(&machine.wit(&["token", "create", "good", "-q", "-e", "60"]));
    assert!(done(&machine.wit(&["token", "audit"])).contains("No problems found"));
    let wide = [
        "token",
        "create",
        "wide",
        "-q",
        "-s",
        "repo:admin",
        "-e",
        "never",
    ];
    let output = machine.wit(&wide);
    done(&output);
    assert!(
        text(&output.stderr)
            .contains("warning: this token never expires and may delete repositories")
    );
    let output = machine.wit(&["token", "audit", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let kinds: Vec<&str> = (found.as_array().expect("a list").iter())
        .filter_map(|one| one["finding"].as_str())
        .collect();
    assert_eq!(kinds, ["never-expires", "wide"]);
    let expiring = machine.wit(&["token", "list", "--expiring", "61"]);
    assert_eq!(expiring.status.code(), Some(3));
    assert!(!text(&expiring.stdout).contains("wide"));
    refused(&machine.wit(&["token", "prune"]), 2);
    let pruned = machine.json(&["token", "prune", "--expired", "--dry-run"]);
    assert_eq!(pruned, serde_json::json!({ "wouldRevoke": [] }));
    assert_eq!(machine.list().len(), 2);
}

#[test]
fn what_an_audit_says_of_a_wide_token_replaces_it_where_it_is_used() {
    let machine = Machine::logged_in();
    let wide = ["-s", "repo:read,repo:admin", "-e", "never"];
    for create in [&["ci", "-q"][..], &["laptop", "--store"]] {
        done(&machine.wit(&[&["token", "create"], create, &wide].concat()));
    }
    let stored = done(&machine.wit(&["token", "print"]));
    let found = machine.wit(&["token", "audit", "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).expect("JSON");
    let mends = found.as_array().expect("a list").iter();
    let mut mends: Vec<&str> = mends.filter_map(|one| one["mend"].as_str()).collect();
    mends.dedup();
    assert_eq!(mends.len(), 2, "{mends:?}");
    for mend in mends {
        done(&machine.home.run("sh", &["-c", mend], ""));
    }
    assert!(done(&machine.wit(&["token", "audit"])).contains("No problems found"));
    assert_eq!(machine.list().len(), 2);
    let now = done(&machine.wit(&["token", "print"]));
    assert_ne!(now, stored, "git's own token is not the new one");
}

#[test]
fn of_several_tokens_those_that_ended_are_told_where_one_could_not_be() {
    use crate::support::server::{Server, answer};
    let token = |id: &str| {
        format!(
            r#"{{"id":"{id}","name":"{id}","tokenPrefix":"wit_8432","scopes":[],
            "createdAt":"2024-01-01T00:00:00Z"}}"#
        )
    };
    let list = format!("[{},{}]", token("first"), token("second"));
    let server = Server::new(move |first, _| match first.trim_end_matches(" HTTP/1.1") {
        "GET /api/tokens" => answer(200, &list),
        "DELETE /api/tokens/first" => answer(204, ""),
        "DELETE /api/tokens/second" => answer(500, "{}"),
        _ => answer(404, "{}"),
    });
    let home = Home::new();
    let login = ["login", &server.url, "--username", "ada", "--session-stdin"];
    done(&home.run(WIT, &login, "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu\n"));
    let revoke = ["token", "revoke", "first", "second"];
    let output = home.run(WIT, &revoke, "");
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("can't revoke 'second'"));
    let output = home.run(WIT, &[&revoke[..], &["--json"]].concat(), "");
    assert_eq!(output.status.code(), Some(5));
    let ended: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        ended,
        serde_json::json!({ "revoked": ["first"], "alsoRevoked": [] })
    );
    let output = home.run(WIT, &["token", "revoke", "second"], "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn after_a_lost_answer_it_is_said_whether_the_token_was_made() {
    use crate::support::server::{Server, answer};
    use std::sync::atomic::{AtomicBool, Ordering};
    // One of the same name was there already, and just as new.
    let token = |id: &str| {
        format!(
            r#"{{"id":"{id}","name":"ci","tokenPrefix":"wit_8432","scopes":[],
            "createdAt":"2999-01-01T00:00:00Z"}}"#
        )
    };
    let (before, made) = (token("aaaa1111"), token("cf44cc33"));
    for (lost, after, code, says) in [
        (None, vec![&made], 5, "wit token revoke cf44cc33"),
        (answer(200, "no JSON"), vec![&made], 5, "revoke cf44cc33"),
        (None, vec![], 1, "no token was created"),
    ] {
        let list = |tokens: &[&String]| {
            let all: Vec<&str> = tokens.iter().map(|token| token.as_str()).collect();
            format!("[{}]", all.join(","))
        };
        let (before, after) = (list(&[&before]), list(&[&after[..], &[&before]].concat()));
        let asked = AtomicBool::new(false);
        let server = Server::new(move |first, _| match first {
            "POST /api/tokens HTTP/1.1" => {
                asked.store(true, Ordering::Relaxed);
                lost.clone()
            }
            "GET /api/tokens HTTP/1.1" if asked.load(Ordering::Relaxed) => answer(200, &after),
            "GET /api/tokens HTTP/1.1" => answer(200, &before),
            _ => answer(404, "{}"),
        });
        let home = Home::new();
        let login = ["login", &server.url, "--username", "ada", "--session-stdin"];
        done(&home.run(WIT, &login, "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu\n"));
        let create = ["token", "create", "ci", "-e", "1"];
        let said = refused(&home.run(WIT, &create, ""), code);
        assert!(said.contains(says), "{said}");
        let seen = server.seen();
        let creates = seen
            .iter()
            .filter(|one| one.starts_with("POST /api/tokens "));
        assert_eq!(creates.count(), 1);
    }
}

#[test]
fn a_lost_token_is_told_from_another_machines_by_its_request_id() {
    use crate::support::server::{Server, answer};
    use std::sync::Mutex;
    let token = |id: &str, request_id: &serde_json::Value| {
        serde_json::json!({"id": id, "name": "ci", "tokenPrefix": "wit_8432", "scopes": [],
            "createdAt": "2999-01-01T00:00:00Z", "requestId": request_id})
    };
    for (arrives, code, says) in [
        (true, 5, "\nhint: wit token revoke cf44cc33, then try again"),
        (false, 1, "no token was created"),
    ] {
        let tokens = Mutex::new(vec![token("aaaa1111", &serde_json::Value::Null)]);
        let server = Server::new(move |first, body| {
            let mut tokens = tokens.lock().expect("no panic in the server");
            match first {
                "POST /api/tokens HTTP/1.1" => {
                    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
                    if arrives {
                        tokens.push(token("cf44cc33", &body["requestId"]));
                    }
                    let other = "11111111-1111-4111-8111-111111111111".into();
                    tokens.push(token("bbbb2222", &other));
                    None
                }
                "GET /api/tokens HTTP/1.1" => answer(200, &serde_json::json!(*tokens).to_string()),
                _ => answer(404, "{}"),
            }
        });
        let home = Home::new();
        let login = ["login", &server.url, "--username", "ada", "--session-stdin"];
        done(&home.run(WIT, &login, "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu\n"));
        let said = refused(
            &home.run(WIT, &["token", "create", "ci", "-e", "1"], ""),
            code,
        );
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_list_of_all_without_a_token_has_no_header() {
    let machine = Machine::logged_in();
    let all = ["token", "list", "--all"];
    assert_eq!(done(&machine.wit(&all)), "No tokens.\n");
    done(&machine.wit(&["token", "create", "one", "--quiet"]));
    assert!(done(&machine.wit(&all)).starts_with("SERVER"));
}

#[test]
fn the_only_site_is_renewed_without_its_name() {
    let machine = Machine::with_a_token();
    done(&machine.wit(&["token", "renew"]));
    let approved = "protocol=https\nhost=other.example\nusername=ada\npassword=pw\n\n";
    done(&machine.home.run(HELPER, &["store"], approved));
    let said = refused(&machine.wit(&["token", "renew"]), 2);
    assert!(said.contains("several sites"), "{said}");
    assert!(said.contains("--site"), "{said}");
}
