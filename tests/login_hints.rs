//! Words of `wit login` and `wit logout` that lead on: each is true where it is said.

#![cfg(all(target_os = "linux", feature = "platform"))]

use crate::support::forge::{Forge, Kind};
use crate::support::machine::Machine;
use crate::support::platform::PASSWORD;
use crate::support::server::{Server, answer};
use crate::support::stored::get;
use crate::support::terminal::Terminal;
use crate::support::tls::{Certificate, LOOPBACK};
use crate::support::{HELPER, Home, WIT, done, refused, text};

const TOKEN: &str = "t0k3n-of-ada";

/// Stores a credential as git does, or an import.
fn store(home: &Home, url: &str, password: &str) {
    let entry = format!("url={url}\nusername=ada\npassword={password}\n");
    done(&home.run(HELPER, &["store"], &entry));
}

#[test]
fn a_secret_that_is_typed_for_an_option_of_stdin_is_asked_for_and_not_shown() {
    let forge = Forge::start(Kind::Gitea);
    let home = Home::new();
    let token = forge.person_creates(&["write:repository", "read:user"]);
    let mut terminal = Terminal::run(&home, &format!("wit login {} --token-stdin", forge.url));
    terminal.shows("Token: ");
    terminal.hides();
    terminal.types(&token);
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains(&token), "{screen}");

    let machine = Machine::new();
    let email = "--email ada@example.com --username ada";
    let sign_up = format!(
        "wit login {} --sign-up {email} --password-stdin",
        machine.url
    );
    let mut terminal = Terminal::run(&machine.home, &sign_up);
    // One that is new is typed twice.
    for prompt in ["Password: ", "Repeat password: "] {
        terminal.shows(prompt);
        terminal.hides();
        terminal.types(PASSWORD);
    }
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains(PASSWORD), "{screen}");

    for (line, prompt) in [
        ("wit token revoke --token-stdin", "Token: "),
        ("wit account password --password-stdin", "Password: "),
        ("wit store protect --passphrase-stdin", "Passphrase: "),
    ] {
        let mut terminal = Terminal::run(&machine.home, line);
        terminal.shows(prompt);
        terminal.hides();
        terminal.types("typed-unseen");
        if line.contains("protect") {
            terminal.shows("Repeat passphrase: ");
            terminal.hides();
            terminal.types("typed-otherwise");
        }
        if line.contains("account") {
            terminal.shows("New password: ");
            terminal.presses(3);
        }
        let (_, screen) = terminal.ends();
        assert!(!screen.contains("typed-"), "{line}: {screen}");
    }
}

#[test]
fn a_key_is_not_read_from_a_terminal() {
    let home = Home::new();
    let line = "wit login https://github.com --app-id 1 --private-key -";
    let (code, screen) = Terminal::run(&home, line).ends();
    assert_eq!(code, Some(2), "{screen}");
    assert!(screen.contains("hint: --private-key FILE"), "{screen}");
}

#[test]
fn a_token_for_a_server_that_can_not_be_reached_is_not_stored() {
    let home = Home::new();
    let certificate = Certificate::new(&home, "tls", LOOPBACK);
    let stranger = Server::tls(&certificate, |_, _| answer(404, "{}"));
    for url in [
        "https://nobody.invalid",
        "http://127.0.0.1:1",
        &stranger.url,
    ] {
        let login = ["login", url, "--host-type", "oauth", "--token-stdin"];
        let said = refused(&home.run(WIT, &login, &format!("{TOKEN}\n")), 1);
        assert!(!said.contains("did not say"), "{said}");
        assert_eq!(text(&get(&home, url, "").stdout), "", "{url}");
    }
    assert!(stranger.seen().is_empty());
    // One that answers is asked all the same, and says nothing of tokens.
    let other = Server::new(|_, _| answer(404, "{}"));
    let login = ["login", &other.url, "--host-type", "oauth", "--token-stdin"];
    done(&home.run(WIT, &login, &format!("{TOKEN}\n")));
    assert!(done(&get(&home, &other.url, "")).contains(TOKEN));
}

#[test]
fn a_generic_provider_of_git_credential_manager_is_a_username_and_a_password() {
    let server = Server::reading(|_, _| answer(404, "{}"));
    let home = Home::new();
    let key = format!("credential.{}.provider", server.url);
    done(&home.run("git", &["config", "--global", &key, "generic"], ""));
    let said = refused(&home.run(WIT, &["login", &server.url], ""), 2);
    assert!(
        said.contains("takes a username and a password from git"),
        "{said}"
    );
    assert!(
        !said.contains("OAuth") && !said.contains("register"),
        "{said}"
    );
    let paste = format!("wit login {} --username NAME --paste-token", server.url);
    assert!(said.contains(&paste), "{said}");
    let login = ["login", &server.url, "--username", "ada", "--token-stdin"];
    done(&home.run(WIT, &login, &format!("{TOKEN}\n")));
    let given = done(&get(&home, &server.url, ""));
    assert!(
        given.contains(&format!("username=ada\npassword={TOKEN}\n")),
        "{given}"
    );

    // A Gitea is what it is, whatever the old configuration says.
    let forge = Forge::start(Kind::Gitea);
    let key = format!("credential.{}.provider", forge.url);
    done(&home.run("git", &["config", "--global", &key, "generic"], ""));
    let said = refused(&home.run(WIT, &["login", &forge.url], ""), 2);
    assert!(said.contains("is Gitea"), "{said}");
}

#[test]
fn a_login_without_a_client_names_the_client_and_the_token() {
    for (kind, name, page) in [
        (Kind::Github, "github", "/settings/tokens"),
        (
            Kind::Gitlab,
            "gitlab",
            "/-/user_settings/personal_access_tokens",
        ),
    ] {
        let forge = Forge::start(kind);
        let url = &forge.url;
        let home = Home::new();
        let login = ["login", url, "--host-type", name];
        let said = refused(&home.run(WIT, &login, ""), 2);
        assert!(
            said.contains(&format!("then: wit login {url} --client-id ID")),
            "{said}"
        );
        let paste = format!("paste a token from {url}{page}: wit login {url} --paste-token");
        assert!(said.contains(&paste), "{said}");

        // At a terminal there is one way without a client, and no menu of one line.
        let mut terminal = Terminal::run(&home, &format!("wit login {url} --host-type {name}"));
        terminal.shows("paste it here");
        terminal.hides();
        terminal.types(&forge.person_creates(&["repo", "api"]));
        let (code, screen) = terminal.ends();
        assert_eq!(code, Some(0), "{screen}");
        assert!(!screen.contains("Which"), "{screen}");
    }
}

#[test]
fn a_token_that_is_missing_is_not_said_to_be_created_where_nothing_creates_it() {
    let home = Home::new();
    for (url, hint) in [
        (
            "https://github.com",
            "wit login https://github.com --paste-token",
        ),
        (
            "https://bitbucket.org",
            "wit login https://bitbucket.org --paste-token",
        ),
        (
            "https://gitlab.com",
            "wit login https://gitlab.com && wit token create --server https://gitlab.com",
        ),
    ] {
        let said = refused(&home.run(WIT, &["token", "print", url], ""), 1);
        assert!(said.contains(&format!("hint: {hint}\n")), "{said}");
    }
}

#[test]
fn a_logout_says_what_git_is_given_afterwards() {
    // Nobody has logged in, and git is given what was imported.
    let home = Home::new();
    store(&home, "https://github.com", "ghx-imported");
    let said = refused(&home.run(WIT, &["logout", "https://github.com"], ""), 4);
    assert!(
        said.contains("not logged in to https://github.com"),
        "{said}"
    );
    assert!(
        said.contains("wit store erase https://github.com"),
        "{said}"
    );

    let forge = Forge::start(Kind::Gitlab);
    let home = Home::new();
    let token = forge.person_creates(&["api"]) + "\n";
    done(&home.run(WIT, &["login", &forge.url, "--token-stdin"], &token));
    let silent = home.run(WIT, &["logout", &forge.url, "--yes"], "");
    done(&silent);
    let said = text(&silent.stderr);
    assert!(!said.contains("wit store erase"), "{said}");
    store(&home, &forge.url, "imported-before");
    done(&home.run(WIT, &["login", &forge.url, "--token-stdin"], &token));
    let output = home.run(WIT, &["logout", &forge.url, "--yes"], "");
    done(&output);
    let said = text(&output.stderr);
    assert!(
        said.contains("warning: git is still given a credential"),
        "{said}"
    );
    let erase = format!("wit store erase {}", forge.url);
    assert!(said.contains(&erase), "{said}");
    // The command does it.
    assert!(done(&get(&home, &forge.url, "")).contains("imported-before"));
    done(&home.run("sh", &["-c", &erase], ""));
    assert_eq!(text(&get(&home, &forge.url, "").stdout), "");
}
