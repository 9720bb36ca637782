//! The help of every command, as it was when somebody last read it.
//!
//! After a change that is meant: `SNAPSHOTS=overwrite cargo test help::`.

#![cfg(feature = "platform")]

use std::collections::BTreeMap;

use crate::support::machine::Machine;
use crate::support::{HELPER, Home, WIT, done, refused, text};
use clap::CommandFactory;

/// Every command that a person is told of, as the words that run it.
fn commands(command: &clap::Command, words: &[String]) -> Vec<Vec<String>> {
    let mut all = vec![words.to_vec()];
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        let words = [words, &[below.get_name().to_owned()]].concat();
        all.extend(commands(below, &words));
    }
    all
}

fn every_command() -> Vec<Vec<String>> {
    commands(&wit::cli::Cli::command(), &[])
}

#[test]
fn the_help_of_every_command_is_the_one_that_was_read() {
    let home = Home::new();
    for words in every_command() {
        let name = [&["wit".to_owned()], &words[..]].concat().join("-");
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = done(&home.run(WIT, &arguments, ""));
        let file = format!("{}/tests/snapshots/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let known = snapbox::Data::read_from(file.as_ref(), Some(snapbox::data::DataFormat::Text));
        snapbox::assert_data_eq!(help, known.raw());
    }
}

#[test]
fn help_fits_80_columns_and_is_plain_text() {
    let mut home = Home::new();
    home.set("COLUMNS", "80");
    let plain = |help: &str, whose: &dyn std::fmt::Debug| {
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{whose:?}: {line}");
            assert!(!line.contains('\u{1b}'), "{whose:?}: {line:?}");
        }
    };
    plain(&done(&home.run(HELPER, &["--help"], "")), &HELPER);
    for words in every_command() {
        for option in ["-h", "--help"] {
            let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
            arguments.push(option);
            let output = home.run(WIT, &arguments, "");
            let help = done(&output);
            assert_eq!(text(&output.stderr), "", "{words:?}");
            plain(&help, &words);
        }
    }
}

#[test]
fn an_option_is_spelt_the_same_everywhere() {
    let mut shorts = BTreeMap::new();
    let mut values = BTreeMap::new();
    let mut cli = wit::cli::Cli::command();
    cli.build();
    for words in every_command() {
        let mut command = &cli;
        for word in &words {
            command = command.find_subcommand(word).expect("a command");
        }
        for option in command
            .get_arguments()
            .filter(|option| !option.is_positional())
        {
            let long = option.get_long().expect("each option has a long form");
            let plain = long.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            assert!(plain, "{words:?}: --{long}");
            assert!(
                option.get_help().is_some(),
                "{words:?}: --{long} says nothing"
            );
            if let Some(short) = option.get_short() {
                let known = *shorts.entry(short).or_insert(long.to_owned()) == *long;
                assert!(known, "{words:?}: -{short} is --{long} here only");
            }
            if matches!(long, "store" | "repositories") {
                // Documented so: `wit setup --store file` chooses one, `wit token create --store`
                // uses the one chosen; a server's repositories are a directory, GitHub's have names.
                continue;
            }
            let value = match option.get_action().takes_values() {
                true => option.get_value_names().map(|names| names[0].to_string()),
                false => None,
            };
            let known = values
                .entry(long.to_owned())
                .or_insert((value.clone(), words.clone()));
            assert_eq!(known.0, value, "--{long} of {words:?} and {:?}", known.1);
        }
    }
}

#[test]
fn exit_codes_are_those_of_the_man_page_and_the_documentation() {
    let help = done(&Home::new().run(WIT, &["--help"], ""));
    let (_, table) = help.split_once("Exit codes:\n").expect("a table");
    let read = |file: &str| {
        let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(file).expect("a file")
    };
    let (documented, page) = (read("docs/troubleshooting.md"), read("man/wit.1"));
    let table = table.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut codes = 0;
    for (code, meaning) in table.map(|line| line.split_once("  ").expect("two columns")) {
        assert!(
            documented.contains(&format!("| {code} | {meaning} |\n")),
            "{code}"
        );
        assert!(
            page.contains(&format!("\\fB{code}\\fR\n{meaning}\n")),
            "{code}"
        );
        codes += 1;
    }
    assert_eq!(codes, 6);
}

#[test]
fn every_refusal_says_what_and_what_to_type_next() {
    let machine = Machine::logged_in();
    let url = &machine.url;
    let refusal = |line: &str, code: i32| {
        let script = format!("wit {}", line.replace("URL", url));
        refused(&machine.home.run("sh", &["-c", &script], ""), code)
    };
    for (line, code, what, next) in [
        ("tokens", 2, "subcommand 'tokens'", "--help"),
        ("token list --unused x", 2, "'x'", "--help"),
        ("login ftp://x", 2, "only http", "wit login https://"),
        ("login URL --username a", 2, "no terminal", "-stdin"),
        ("login URL --session-stdin", 2, "no session", "first line"),
        (
            "logout --server x.example",
            4,
            "not logged",
            "wit login https",
        ),
        ("token create x -e 0", 2, "1 to 365 days", "--expires 30"),
        ("token create x -s repo:reed", 2, "'repo:reed'", "repo:read"),
        ("token create ''", 2, "is empty", "wit token create"),
        ("token revoke none", 1, "'none'", "wit token list"),
        ("token rotate none", 1, "'none'", "wit token list"),
        (
            "token rotate",
            1,
            "stores no token",
            "wit token create --server",
        ),
        ("token print", 1, "no token", "wit token create"),
        ("repo create 'a b'", 2, "1 to 100", "wit repo create demo"),
        (
            "repo delete none --yes",
            1,
            "no repository none",
            "repo list",
        ),
        (
            "setup --store cloud",
            2,
            "\"cloud\"",
            "wit setup --store file",
        ),
        (
            "store move file file",
            2,
            "same",
            "wit store move file keychain",
        ),
        ("store unprotect", 1, "no passphrase", "wit store protect"),
        (
            "import libsecret --file x",
            2,
            "no file",
            "wit import libsecret",
        ),
        ("import netrc", 1, ".netrc", "--file FILE"),
        ("help nothing", 2, "'nothing'", "wit --help"),
        ("up --listen 0.0.0.0", 2, "not encrypted", "--tls-cert FILE"),
    ] {
        let said = refusal(line, code);
        let (first, rest) = said.split_once('\n').expect("two lines");
        assert!(
            first.contains(what) && rest.contains(next),
            "{line}: {said}"
        );

        let said = refusal(&format!("{line} --json"), code);
        let document: serde_json::Value = serde_json::from_str(&said).expect("one document");
        let field = |name: &str| document["error"][name].as_str().unwrap_or_default();
        assert!(field("message").contains(what), "{line}: {said}");
        assert!(!field("hint").is_empty(), "{line}: {said}");
        assert_eq!(document["error"]["exit"], code, "{said}");
    }
    let short = ["--email", "b@c.d", "--username", "b", "--password-stdin"];
    let sign_up = [&["login", url, "--sign-up"], &short[..]].concat();
    let said = refused(&machine.home.run(WIT, &sign_up, "long enough"), 2);
    let (what, next) = said.split_once("\nhint: ").expect("a hint");
    assert!(what.contains("a username is 3 to 30"), "{said}");
    assert!(next.starts_with(&format!("wit login {url} --sign-up --email EMAIL")));
}

#[test]
fn a_new_user_is_led_to_a_push_and_others_are_shown_examples() {
    let home = Home::new();
    let shown = |home: &Home| {
        let output = home.run(WIT, &[], "");
        assert_eq!(output.status.code(), Some(2));
        text(&output.stderr)
    };
    let new = shown(&home);
    assert!(new.starts_with("To push to a git server:\n"), "{new}");
    assert!(new.contains("Usage: wit"), "{new}");
    assert!(!new.contains("Examples:"), "{new}");
    let config = home.path().join(".config/wit/config.json");
    std::fs::create_dir_all(config.parent().expect("a directory")).expect("made");
    let known = r#"{"servers":{"https://git.example.com":{}}}"#;
    std::fs::write(config, known).expect("written");
    let known = shown(&home);
    assert!(known.starts_with("Git credentials for any host"), "{known}");
    assert!(known.contains("Examples:"), "{known}");
}
