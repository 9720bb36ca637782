//! The help of every command, as it was when somebody last read it.
//!
//! After a change that is meant: `SNAPSHOTS=overwrite cargo test help::`.

#![cfg(feature = "platform")]

use std::collections::BTreeMap;

use crate::support::{Home, WIT, done, text};
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
    let home = Home::new();
    for words in every_command() {
        for option in ["-h", "--help"] {
            let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
            arguments.push(option);
            let output = home.run(WIT, &arguments, "");
            let help = done(&output);
            assert_eq!(text(&output.stderr), "", "{words:?}");
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{words:?}: {line}");
                assert!(!line.contains('\u{1b}'), "{words:?}: {line:?}");
            }
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
            if long == "store" {
                // Documented so: `wit setup --store file` chooses one, `wit token create --store`
                // uses the one chosen.
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
fn exit_codes_are_those_of_the_man_page_and_the_readme() {
    let help = done(&Home::new().run(WIT, &["--help"], ""));
    let (_, table) = help.split_once("Exit codes:\n").expect("a table");
    let read = |file: &str| {
        let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(file).expect("a file")
    };
    let (readme, page) = (read("README.md"), read("man/wit.1"));
    let table = table.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut codes = 0;
    for (code, meaning) in table.map(|line| line.split_once("  ").expect("two columns")) {
        assert!(
            readme.contains(&format!("| {code} | {meaning} |\n")),
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
