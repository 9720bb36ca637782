//! A server that is not recognized is asked what it is, and nothing else: no password is typed for it,
//! and no secret is sent to it.

#![cfg(all(target_os = "linux", feature = "platform"))]

use crate::support::server::{Server, answer, with_header};
use crate::support::terminal::Terminal;
use crate::support::{Home, WIT, text};

const SECRET: &str = "s3cret-of-ada";

/// Servers that are none that wit knows.
fn strangers() -> Vec<Server> {
    let html = "Content-Type: text/html";
    vec![
        Server::reading(move |_, _| with_header(404, html, "<html>not here</html>")),
        Server::reading(move |_, _| with_header(200, html, "<html>welcome</html>")),
        Server::reading(|_, _| answer(200, "{}")),
        Server::reading(|_, _| answer(401, r#"{"message":"Unauthorized"}"#)),
        Server::reading(|_, _| answer(401, r#"{"error":"Requires authentication"}"#)),
        Server::reading(|_, _| {
            answer(
                401,
                r#"{"message":"Unauthorized","url":"https://a.example/docs"}"#,
            )
        }),
        // The sentence is that of an API, not of a success.
        Server::reading(|_, _| answer(200, r#"{"message":"Requires authentication"}"#)),
    ]
}

fn is_asked_only_what_it_is(server: &Server) {
    for seen in server.seen() {
        assert!(seen.starts_with("GET ") && !seen.contains(SECRET), "{seen}");
    }
}

#[test]
fn a_login_sends_no_secret_to_a_server_that_is_not_recognized() {
    let sign_up = "--sign-up --email ada@example.com --username ada --password-stdin";
    for server in strangers() {
        for options in [
            "",
            "--username ada --password-stdin",
            "--email ada@example.com --password-stdin",
            sign_up,
            "--session-stdin",
            "--device",
            "--no-browser",
            "--host-type wit --username ada --password-stdin",
            "--api rest --username ada --password-stdin",
            "--api trpc --session-stdin",
            "--allow-http --device",
            "--token-stdin",
        ] {
            let home = Home::new();
            let options: Vec<&str> = options.split_whitespace().collect();
            let words = [&["login", &server.url][..], &options].concat();
            let output = home.run(WIT, &words, &format!("{SECRET}\n"));
            let said = text(&output.stderr);
            assert!(!output.status.success(), "{options:?}: {said}");
            assert!(said.contains("is not a "), "{options:?}: {said}");
            assert!(said.contains("hint: check the address"), "{said}");
        }
        is_asked_only_what_it_is(&server);
    }
}

#[test]
fn a_login_at_a_terminal_asks_for_no_password_of_a_server_that_is_not_recognized() {
    for server in strangers() {
        for options in ["", "--username ada", "--email ada@example.com"] {
            let home = Home::new();
            let line = format!("wit login {} {options}", server.url);
            let (code, screen) = Terminal::run(&home, &line).attended(|shown| match shown {
                _ if shown.ends_with("Username or email: ") => Some("ada"),
                _ if shown.ends_with(": ") => Some(SECRET),
                _ => None,
            });
            assert_ne!(code, Some(0), "{screen}");
            assert!(screen.contains("is not a "), "{screen}");
            for asked in ["Username", "assword"] {
                assert!(!screen.contains(asked), "{options}: {screen}");
            }
        }
        is_asked_only_what_it_is(&server);
    }
}

#[test]
fn a_server_that_does_not_answer_is_not_taken_for_one_that_is_no_wit_server() {
    for status in [429, 500, 503] {
        let server = Server::reading(move |_, _| answer(status, "{}"));
        let home = Home::new();
        let words = ["login", &server.url, "--email", "ada@example.com"];
        let output = home.run(WIT, &[&words[..], &["--password-stdin"]].concat(), SECRET);
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert!(!said.contains("is not a "), "{said}");
        is_asked_only_what_it_is(&server);
    }
}

#[test]
fn an_older_server_on_this_machine_is_logged_in_to_by_what_was_given_for_it() {
    let server = Server::reading(|head, _| match head.lines().next().unwrap_or_default() {
        "GET /api/v1/profile HTTP/1.1" => {
            answer(200, r#"{"username":"ada","email":"ada@example.com"}"#)
        }
        "GET /api/tokens HTTP/1.1" => answer(200, "[]"),
        _ => answer(404, r#"{"message":"Not found"}"#),
    });
    let words = ["login", &server.url, "--username", "ada", "--session-stdin"];
    let output = Home::new().run(WIT, &words, &format!("{SECRET}\n"));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
}
