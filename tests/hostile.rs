//! Commands against a server that means harm or is broken.

use std::time::{Duration, Instant};

use crate::support::server::{Server, answer, with_header};
use crate::support::{Home, WIT, done, refused, text};

const PASSWORD: &str = "correct horse battery";
const SESSION: &str = "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu";
const SECRET: &str = "wit_84320813db95896baf7ab2a1ccdb0b6480e57b9d";
/// Longer than any of these may take.
const BOUND: Duration = Duration::from_secs(30);

/// A home that is logged in to a server which answers `[]` to the login and then as told.
fn logged_in(answers: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> (Server, Home) {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::new(move |first, _| {
        // The form that it speaks, and whether it takes the session.
        match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 | 1 => answer(200, "[]"),
            _ => answers(first),
        }
    });
    let home = Home::new();
    let login = ["login", &server.url, "--username", "ada", "--session-stdin"];
    done(&home.run(WIT, &login, &format!("{SESSION}\n")));
    assert_eq!(server.seen().len(), 3);
    (server, home)
}

/// Each command that asks a server something.
const COMMANDS: [&[&str]; 8] = [
    &["token", "list"],
    &["token", "list", "--json"],
    &["token", "audit"],
    &["token", "scopes"],
    &["token", "revoke", "ci"],
    &["token", "prune", "--expired"],
    &["token", "create", "ci", "--expires", "1"],
    &["repo", "create", "work"],
];

#[test]
fn answers_that_make_no_sense_end_every_command_with_a_reason() {
    let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n[{{\"id\":\"{SECRET}");
    let huge = with_header(200, "X: y", &" ".repeat(10 << 20)).expect("an answer");
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "[".repeat(10 << 20));
    let broken = [
        cut,
        huge,
        endless,
        "\u{1b}[2J not http\r\n\r\n".to_owned(),
        answer(200, "7").expect("an answer"),
        answer(200, &format!("{{\"tokens\":\"{SECRET}\"}}")).expect("an answer"),
        answer(500, &format!("INSERT INTO tokens VALUES ('{SECRET}')")).expect("an answer"),
        answer(418, &format!("{{\"message\":\"\\u001b]0;x {SECRET}\"}}")).expect("an answer"),
    ];
    for told in broken {
        let shown: String = told.chars().take(40).collect();
        let (_server, home) = logged_in(move |_| Some(told.clone()));
        for command in COMMANDS {
            let begun = Instant::now();
            let output = home.run(WIT, command, "");
            let said = text(&output.stdout) + &text(&output.stderr);
            let what = format!("{command:?} on {shown:?}: {said}");
            assert!(matches!(output.status.code(), Some(1 | 5)), "{what}");
            assert!(
                said.contains("error: ") || said.contains("\"error\""),
                "{what}"
            );
            for secret in [SECRET, SESSION, "INSERT", "\u{1b}"] {
                assert!(!said.contains(secret), "{what}");
            }
            assert!(begun.elapsed() < BOUND, "{what}");
        }
    }
}

#[test]
fn no_command_follows_a_redirect_with_a_secret() {
    for status in [301, 302, 303, 307, 308] {
        let other = Server::new(|_, _| answer(200, "[]"));
        let location = format!("Location: {}/api/tokens", other.url);
        let away = with_header(status, &location, "").expect("an answer");
        let told = away.clone();
        let (_server, home) = logged_in(move |_| Some(told.clone()));
        for command in COMMANDS {
            home.run(WIT, command, "");
        }
        let server = Server::new(move |_, _| Some(away.clone()));
        let login = [
            "login",
            &server.url,
            "--username",
            "ada",
            "--password-stdin",
        ];
        let said = refused(&home.run(WIT, &login, &format!("{PASSWORD}\n")), 1);
        assert!(said.contains("refusing to follow a redirect"), "{said}");
        assert_eq!(other.seen(), Vec::<String>::new(), "{status}");
    }
}

#[test]
fn what_a_server_names_reaches_no_terminal_raw() {
    let listed = r#"[{"id":"cf44cc33","name":"ci\u001b[2J\u202e\u0007","tokenPrefix":"wit_8432",
        "scopes":["repo:admin"],"createdAt":"2020-01-01T00:00:00Z"}]"#;
    let scopes = r#"[{"name":"repo:read","description":"\u009b31m"}]"#;
    let (_server, home) = logged_in(move |first| match first {
        "GET /api/tokens HTTP/1.1" => answer(200, listed),
        "GET /api/tokens/scopes HTTP/1.1" => answer(200, scopes),
        "DELETE /api/tokens/cf44cc33 HTTP/1.1" => answer(204, ""),
        _ => answer(404, "{}"),
    });
    for command in [
        &["token", "list"][..],
        &["token", "list", "--json"],
        &["token", "audit"],
        &["token", "audit", "--json"],
        &["token", "scopes"],
        &["token", "prune", "--unused", "1", "--dry-run"],
        &["token", "revoke", "cf44"],
    ] {
        let output = home.run(WIT, command, "");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
        assert!(
            !said.contains(|c: char| c.is_control() && c != '\n'),
            "{command:?}: {said:?}"
        );
        assert!(!said.contains('\u{202e}'), "{said:?}");
    }
}

#[test]
fn a_server_that_is_not_available_is_told_from_one_that_is_asked_too_often() {
    let away = r#"{"message":"the server's database does not answer; try again in a moment"}"#;
    for (body, why) in [
        (
            away,
            "the server's database does not answer (503); try again in 100 s",
        ),
        (
            "<html>",
            "the server is not available (503); try again in 100 s",
        ),
    ] {
        let (_, home) = logged_in(move |_| with_header(503, "Retry-After: 100", body));
        let said = refused(&home.run(WIT, &["token", "list"], ""), 1);
        assert!(said.contains(why), "{said}");
        assert!(!said.contains("too many requests"), "{said}");
    }
}

#[test]
fn a_server_that_asks_to_wait_is_given_a_moment_and_no_more() {
    let (server, home) = logged_in(|_| with_header(429, "Retry-After: 1", "{}"));
    let begun = Instant::now();
    let said = refused(&home.run(WIT, &["token", "list"], ""), 1);
    assert!(
        said.contains("too many requests; try again in 1 s"),
        "{said}"
    );
    assert!(said.contains("hint: "), "{said}");
    assert!(begun.elapsed() >= Duration::from_secs(2), "it did not wait");
    assert!(begun.elapsed() < BOUND);
    assert_eq!(server.seen().len(), 3 + 3, "asked thrice");
    for (header, asked) in [
        ("Retry-After: 0", 3),
        ("Retry-After: soon", 3),
        ("Retry-After: 99999999999999999999", 3),
        ("Retry-After: 3600", 1),
        ("x-retry-after: 3600", 1),
    ] {
        let (server, home) = logged_in(move |_| with_header(429, header, "{}"));
        refused(&home.run(WIT, &["token", "list"], ""), 1);
        assert_eq!(server.seen().len(), 3 + asked, "{header}");
    }
    let (server, home) = logged_in(|first| match first.starts_with("GET ") {
        true => answer(200, "[]"),
        false => with_header(429, "Retry-After: 1", "{}"),
    });
    refused(&home.run(WIT, &["token", "create", "ci", "-e", "1"], ""), 1);
    let seen = server.seen();
    let creates = seen
        .iter()
        .filter(|seen| seen.starts_with("POST /api/tokens "));
    assert_eq!(creates.count(), 1, "a create is sent once");
}

/// Runs each command that is suggested in a text, as a person who pastes it.
fn paste(home: &Home, said: &str) -> usize {
    let commands: Vec<&str> = (said.lines())
        .filter_map(|line| line.find("wit ").map(|at| &line[at..]))
        .collect();
    for command in &commands {
        home.run("sh", &["-c", command], "");
    }
    commands.len()
}

#[test]
fn an_id_or_scope_that_could_act_is_no_answer() {
    for (id, scopes) in [
        ("x\\u001b]0;pwned\\u0007", "\"repo:read\""),
        ("$(touch pwned)", "\"repo:read\""),
        ("-rf", "\"repo:read\""),
        ("../../x", "\"repo:read\""),
        ("", "\"repo:read\""),
        ("cf44cc33", "\"repo:admin\", \"x$(touch pwned)\""),
        ("cf44cc33", "\"repo:\\u001b]0;x\\u0007admin\""),
    ] {
        let token = format!(
            r#"{{"id":"{id}","name":"ci","tokenPrefix":"wit_8432","scopes":[{scopes}],
            "token":"{SECRET}","createdAt":"2020-01-01T00:00:00Z"}}"#
        );
        let (_server, home) = logged_in(move |first| match first {
            "POST /api/tokens HTTP/1.1" => answer(201, &token),
            "GET /api/tokens HTTP/1.1" => answer(200, &format!("[{token}]")),
            _ => answer(404, "{}"),
        });
        for command in COMMANDS {
            let output = home.run(WIT, command, "");
            let said = text(&output.stdout) + &text(&output.stderr);
            let what = format!("{command:?} on {id:?} {scopes:?}: {said:?}");
            assert!(matches!(output.status.code(), Some(1 | 5)), "{what}");
            assert!(
                !said.contains(|c: char| c.is_control() && c != '\n'),
                "{what}"
            );
            paste(&home, &said);
        }
        assert!(!home.path().join("pwned").exists(), "{id:?} {scopes:?}");
    }
}

#[test]
fn a_new_token_with_an_id_that_could_act_is_not_stored() {
    let made = format!(
        r#"{{"id":"x\u001b]0;pwned\u0007","name":"git","tokenPrefix":"wit_8432",
        "scopes":["repo:read"],"token":"{SECRET}","createdAt":"2020-01-01T00:00:00Z"}}"#
    );
    let (_server, home) = logged_in(move |first| match first {
        "POST /api/tokens HTTP/1.1" => answer(201, &made),
        _ => answer(200, "[]"),
    });
    for _ in 0..2 {
        let output = home.run(WIT, &["token", "create"], "");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
    refused(&home.run(WIT, &["token", "print"], ""), 1);
}

#[test]
fn an_account_that_could_act_is_one_word_in_what_is_suggested() {
    let user = r#"{"token":"q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu",
        "user":{"email":"a@example.com","username":"ada;touch pwned;$(touch pwned)"}}"#;
    let token = r#"[{"id":"cf44cc33","name":"$(touch pwned)","tokenPrefix":"wit_8432",
        "scopes":["repo:admin"],"createdAt":"2020-01-01T00:00:00Z"}]"#;
    let server = Server::new(move |first, _| match first {
        "POST /api/auth/sign-in/username HTTP/1.1" => answer(200, user),
        "GET /api/tokens HTTP/1.1" => answer(200, token),
        _ => answer(404, "{}"),
    });
    let home = Home::new();
    let login = [
        "login",
        &server.url,
        "--username",
        "ada",
        "--password-stdin",
    ];
    done(&home.run(WIT, &login, PASSWORD));
    // So that the account must be named.
    let login = ["login", &server.url, "--session-stdin"];
    done(&home.run(WIT, &login, SESSION));
    let account = ["--account", "ada;touch pwned;$(touch pwned)"];
    let audit = home.run(WIT, &[&["token", "audit"][..], &account].concat(), "");
    let said = text(&audit.stdout);
    assert_eq!(audit.status.code(), Some(3), "{said}");
    assert!(paste(&home, &said) >= 2, "{said}");
    assert!(!home.path().join("pwned").exists(), "{said}");
}

#[test]
fn a_name_that_no_account_can_have_is_no_answer() {
    for name in ["ada\\u001b[2J", "ada\\nhost=evil.example", "ada\\u202e", ""] {
        let user = format!(r#"{{"token":"{SESSION}","user":{{"email":"","username":"{name}"}}}}"#);
        let server = Server::new(move |first, _| match first.starts_with("POST ") {
            true => answer(200, &user),
            false => answer(200, "[]"),
        });
        let home = Home::new();
        let login = [
            "login",
            &server.url,
            "--username",
            "ada",
            "--password-stdin",
        ];
        let said = refused(&home.run(WIT, &login, PASSWORD), 1);
        assert!(
            !said.contains(|c: char| c.is_control() && c != '\n'),
            "{said:?}"
        );
    }
}
