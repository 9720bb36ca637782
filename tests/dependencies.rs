//! What the package says of its dependencies: a reason for each, and licences that are taken.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

fn read(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).expect("read")
}

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn each_dependency_has_its_reason_and_nothing_else_has_one() {
    let own = metadata(&["--no-deps"]);
    let packages = own["packages"].as_array().expect("a list");
    let used: BTreeSet<String> = packages
        .iter()
        .flat_map(|package| package["dependencies"].as_array().expect("a list"))
        .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
        // The fuzz targets use the library.
        .filter(|name| name != env!("CARGO_PKG_NAME"))
        .collect();
    let contributing = read("CONTRIBUTING.md");
    let (_, table) = contributing
        .split_once("\n## Dependencies\n")
        .expect("the section");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let told: BTreeSet<String> = rows
        .flat_map(|row| row.split('|').nth(1).expect("a cell").split(','))
        .map(|name| name.trim().to_owned())
        .collect();
    assert_eq!(used, told);
}

/// What a build for Linux compiles of crates, the package itself left out.
fn crates(features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .args(["--package", env!("CARGO_PKG_NAME")])
        .args(["--target", "x86_64-unknown-linux-gnu", "--format", "{p}"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let names = text.lines().map(|line| {
        let mut words = line.split(' ');
        let (name, version) = (words.next(), words.next());
        format!(
            "{} {}",
            name.unwrap_or_default(),
            version.unwrap_or_default()
        )
    });
    names
        .filter(|name| !name.starts_with(env!("CARGO_PKG_NAME")) && name.trim() != "")
        .collect()
}

#[test]
fn the_helper_alone_is_built_from_few_crates_and_none_of_the_others() {
    let helper = crates(&["--no-default-features"]);
    assert!(helper.len() <= 170, "{}: {helper:?}", helper.len());
    for name in [
        "axum", "clap", "hyper", "reqwest", "rustls", "sqlx", "tokio", "url",
    ] {
        let with_version = format!("{name} v");
        let found = helper.iter().find(|held| held.starts_with(&with_version));
        assert_eq!(found, None);
    }
    let cli = crates(&["--no-default-features", "--features", "cli"]);
    for name in ["axum", "sqlx", "tikv-jemallocator"] {
        assert!(
            !cli.iter()
                .any(|held| held.starts_with(&format!("{name} v")))
        );
    }
}

#[test]
fn nothing_brings_icu_jemalloc_or_rustbus() {
    let all = crates(&[]);
    assert!(all.len() <= 330, "{}", all.len());
    for name in [
        "icu_",
        "tikv-jemallocator",
        "rustbus",
        "nix ",
        "clap_mangen",
    ] {
        let found = all.iter().find(|held| held.starts_with(name));
        assert_eq!(found, None);
    }
}

/// The licences that `deny.toml` allows.
fn allowed() -> BTreeSet<String> {
    let deny = read("deny.toml");
    let (_, list) = deny.split_once("\nallow = [").expect("the list");
    let (list, _) = list.split_once(']').expect("its end");
    let licences = list
        .split(',')
        .map(|licence| licence.trim().trim_matches('"'));
    licences
        .filter(|licence| !licence.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether an SPDX expression can be met with what is allowed. OR binds weaker than AND.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let text = expression.replace('/', " OR ");
    let mut words = text.replace('(', " ( ").replace(')', " ) ");
    words.push(' ');
    let words: Vec<&str> = words.split_whitespace().collect();
    let (met, rest) = any(&words, allowed);
    assert!(rest.is_empty(), "{expression}");
    met
}

fn any<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = all(words, allowed);
    while let ["OR", more @ ..] = rest {
        let (other, left) = all(more, allowed);
        (met, rest) = (met || other, left);
    }
    (met, rest)
}

fn all<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = one(words, allowed);
    while let ["AND", more @ ..] = rest {
        let (other, left) = one(more, allowed);
        (met, rest) = (met && other, left);
    }
    (met, rest)
}

fn one<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    match words {
        ["(", more @ ..] => match any(more, allowed) {
            (met, [")", rest @ ..]) => (met, rest),
            _ => panic!("no closing bracket"),
        },
        [licence, "WITH", exception, rest @ ..] => (
            allowed.contains(&format!("{licence} WITH {exception}")),
            rest,
        ),
        [licence, rest @ ..] => (allowed.contains(*licence), rest),
        [] => panic!("no licence"),
    }
}

#[test]
fn every_licence_and_source_is_one_that_is_taken() {
    let all = metadata(&["--all-features"]);
    let allowed = allowed();
    for package in all["packages"].as_array().expect("a list") {
        let name = &package["name"];
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_met(licence, &allowed), "{name}: {licence}");
        let source = package["source"].as_str().unwrap_or("registry+");
        assert!(source.starts_with("registry+"), "{name}: {source}");
    }
    let text = "MIT AND (Apache-2.0 OR GPL-3.0)";
    assert!(is_met(text, &allowed) && !is_met("MIT AND GPL-3.0", &allowed));
}
