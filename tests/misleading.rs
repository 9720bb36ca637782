//! Mistakes that many make, each answered with what it is: a scheme for another, a name that nobody
//! knows, another database.

#![cfg(all(target_os = "linux", feature = "platform"))]

use crate::support::machine::Machine;
use crate::support::platform::PASSWORD;
use crate::support::postgres::Postgres;
use crate::support::terminal::Terminal;
use crate::support::{Home, WIT, done, refused, text};

fn login(home: &Home, url: &str) -> String {
    let words = ["login", url, "--username", "ada", "--password-stdin"];
    refused(&home.run(WIT, &words, PASSWORD), 1)
}

#[test]
fn https_at_a_port_of_http_leads_to_http() {
    let machine = Machine::new();
    let said = login(&machine.home, &machine.url.replace("http:", "https:"));
    assert!(said.contains("it answers, but not over TLS"), "{said}");
    let hint = format!("hint: if it speaks plain http: wit login {}\n", machine.url);
    assert!(said.contains(&hint), "{said}");
}

#[test]
fn a_host_that_nobody_knows_is_called_so() {
    let said = login(&Home::new(), "https://nobody.invalid");
    assert!(
        said.contains("there is no host of that name (DNS)"),
        "{said}"
    );
    assert!(said.contains("hint: is the name right"), "{said}");
}

#[test]
fn an_account_that_is_not_logged_in_is_told_from_those_that_are() {
    let machine = Machine::logged_in();
    let said = refused(&machine.wit(&["token", "list", "--account", "bob"]), 4);
    assert!(said.contains("as bob; known: ada\n"), "{said}");
    assert!(said.contains("--username bob\n"), "{said}");
    let said = refused(&machine.wit(&["logout", "--account", "bob"]), 4);
    assert!(said.contains("as bob; known: ada\n"), "{said}");
}

#[test]
fn a_database_of_something_else_is_called_so() {
    let postgres = Postgres::start();
    let mut home = Home::new();
    home.set("DATABASE_URL", postgres.url());
    home.set("WIT_USER_ID", "00000000-0000-4000-8000-000000000000");
    let said = refused(&home.run(WIT, &["token", "list"], ""), 1);
    assert!(
        said.contains("it is not the database of a wit server"),
        "{said}"
    );
    assert!(said.contains("hint: set DATABASE_URL"), "{said}");
    assert!(!said.contains("relation"), "{said}");
}

#[test]
fn a_url_of_mysql_is_refused_by_its_name() {
    let mut home = Home::new();
    home.set("DATABASE_URL", "mysql://ada:hush@localhost/wit");
    home.set("WIT_USER_ID", "00000000-0000-4000-8000-000000000000");
    for words in [
        &["token", "list"][..],
        &["up", "--foreground", "--port", "0"],
    ] {
        let output = home.run(WIT, words, "");
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("mysql:// is not supported"), "{said}");
        assert!(said.contains("postgres://"), "{said}");
        assert!(said.contains("hint: ") && !said.contains("hush"), "{said}");
    }
}

#[test]
fn a_sign_up_asks_for_what_is_missing_and_checks_it_before_a_password() {
    let machine = Machine::new();
    let line = format!("wit login {} --sign-up", machine.url);
    let mut terminal = Terminal::run(&machine.home, &line);
    terminal.shows("Username: ");
    terminal.types("ada");
    terminal.shows("Email: ");
    terminal.types("ada@example.com");
    terminal.shows(&format!("Password for ada at {}: ", machine.url));
    terminal.hides();
    terminal.types(PASSWORD);
    terminal.shows("Repeat password: ");
    terminal.hides();
    terminal.types(PASSWORD);
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("next: wit setup"), "{screen}");

    for (more, what) in [
        ("--username a", "a username is 3 to 30 characters"),
        ("--username eve --email eve", "not an email address: eve"),
    ] {
        let (code, screen) = Terminal::run(&machine.home, &format!("{line} {more}")).ends();
        assert_eq!(code, Some(2), "{screen}");
        assert!(
            screen.contains(what) && !screen.contains("Password"),
            "{screen}"
        );
    }
    let said = refused(&machine.home.run("sh", &["-c", &line], ""), 2);
    assert!(said.contains("no terminal"), "{said}");
    assert!(said.contains("--email EMAIL --username NAME"), "{said}");
}

#[test]
fn wrong_usage_is_told_in_the_form_of_every_other_error() {
    let home = Home::new();
    for (line, said) in [
        (
            "tokens",
            "error: unrecognized subcommand 'tokens'\nhint: a similar subcommand exists: 'token'; wit --help\n",
        ),
        (
            "token lst",
            "error: unrecognized subcommand 'lst'\nhint: some similar subcommands exist: 'list', 'ls'; wit token --help\n",
        ),
        (
            "repo create",
            "error: the following required arguments were not provided: <NAME>\nusage: wit repo create <NAME>\nhint: wit repo create --help\n",
        ),
        (
            "token creat",
            "error: unrecognized subcommand 'creat'\nhint: a similar subcommand exists: 'create'; wit token --help\n",
        ),
        (
            "import",
            "error: the following required arguments were not provided: <SOURCE>\nusage: wit import <SOURCE>\n<SOURCE> is one of: store, libsecret, netrc, gcm, gh, glab\nhint: wit import --help\n",
        ),
        (
            "store move",
            "error: the following required arguments were not provided: <FROM> <TO>\nusage: wit store move <FROM> <TO>\nhint: wit store move --help\n",
        ),
        (
            "help tokn",
            "error: no command is called 'tokn'\nhint: wit --help\n",
        ),
    ] {
        let script = format!("wit {line}");
        assert_eq!(
            refused(&home.run("sh", &["-c", &script], ""), 2),
            said,
            "{line}"
        );
    }
}

#[test]
fn the_words_of_other_helpers_and_programs_lead_to_those_of_wit() {
    let home = Home::new();
    for (line, hint) in [
        ("auth login", "wit login URL"),
        ("auth setup-git", "wit setup"),
        ("auth token --hostname github.com", "wit token print"),
        ("auth", "wit login, wit logout, wit status, wit token"),
        ("configure", "wit setup"),
        ("unconfigure", "wit setup --undo"),
        ("whoami", "wit status; "),
        ("list", "wit store list; "),
        ("erase", "wit store erase URL; "),
        ("get", "git runs git-credential-wit for that: wit setup; "),
        ("fill", "git credential fill"),
    ] {
        let said = refused(&home.run("sh", &["-c", &format!("wit {line}")], ""), 2);
        assert!(said.contains(&format!("\nhint: {hint}")), "{said}");
    }
}

#[test]
fn help_and_version_are_commands_too() {
    let home = Home::new();
    let same = |words: &[&str], option: &[&str]| {
        assert_eq!(
            done(&home.run(WIT, words, "")),
            done(&home.run(WIT, option, ""))
        );
    };
    same(&["help"], &["--help"]);
    same(&["help", "token", "create"], &["token", "create", "--help"]);
    same(&["version"], &["--version"]);
}

#[test]
fn without_a_command_a_new_user_is_led_to_a_push() {
    let machine = Machine::logged_in();
    let empty = Home::new();
    let said = refused(&empty.run(WIT, &[], ""), 2);
    let first: Vec<&str> = said.lines().take(6).collect();
    for (line, command) in [
        (2, "wit login"),
        (3, "wit setup"),
        (4, "wit token create"),
        (5, "git push"),
    ] {
        assert!(first[line].trim().starts_with(command), "{said}");
    }
    assert!(said.contains("Credentials:\n"), "{said}");
    let said = refused(&machine.wit(&[]), 2);
    assert!(!said.contains("To push"), "{said}");
}

#[test]
fn an_address_for_ssh_leads_to_https() {
    let home = Home::new();
    for address in [
        "git@git.example.com:octo/hello.git",
        "ssh://git@git.example.com:22/octo/hello.git",
    ] {
        let said = refused(&home.run(WIT, &["login", address], ""), 2);
        assert!(said.contains("is an address for ssh"), "{said}");
        assert!(
            said.contains("wit login https://git.example.com\n"),
            "{said}"
        );
    }
}

#[test]
fn without_a_server_the_login_asks_which() {
    let said = refused(&Home::new().run(WIT, &["login"], ""), 2);
    assert!(said.contains("which server?"), "{said}");
}

#[test]
fn a_name_that_no_server_takes_is_asked_for_again() {
    let machine = Machine::new();
    let line = format!("wit login {} --sign-up", machine.url);
    let mut terminal = Terminal::run(&machine.home, &line);
    terminal.shows("Username: ");
    terminal.types("no spaces, please");
    terminal.shows("Username: ");
    terminal.types("ada");
    terminal.shows("Email: ");
    terminal.types("nobody");
    terminal.shows("Email: ");
    terminal.types("ada@example.com");
    terminal.shows("8 to 128 characters");
    terminal.shows("Password for ada at ");
    terminal.types(PASSWORD);
    terminal.shows("Repeat password: ");
    terminal.types(PASSWORD);
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
}
