//! The layers of the library: which module may use which, as the table in `src/lib.rs` says, and no
//! two files that use each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every source file with its module path, such as `["store", "file"]`, without its unit tests.
fn files() -> BTreeMap<Vec<String>, String> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => walk(&path, found),
                false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
                false => {}
            }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&source, &mut found);
    let mut files = BTreeMap::new();
    for path in found {
        let relative = path.strip_prefix(&source).expect("below src");
        let name = relative.with_extension("");
        let module: Vec<String> = name
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        if module == ["lib"] || module[0] == "bin" {
            continue;
        }
        let text = fs::read_to_string(&path).expect("read");
        let code = text.split("#[cfg(test)]\nmod tests").next();
        files.insert(module, code.unwrap_or_default().to_owned());
    }
    files
}

/// The text without comments and strings, in which words could look like paths.
fn bare(text: &str) -> String {
    let lines = text.lines().map(|line| match line.find("//") {
        Some(at) => &line[..at],
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths that a file uses, from the crate's root: `crate::a::b`, `super::b`, and each of
/// `crate::{a, b::c}`.
fn uses(module: &[String], text: &str) -> BTreeSet<Vec<String>> {
    let text = bare(text);
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let (mut base, mut rest) = match start {
                "crate::" => (Vec::new(), &text[at + start.len()..]),
                _ => (parent(module), &text[at + start.len()..]),
            };
            while let Some(after) = rest.strip_prefix("super::") {
                base = parent(&base);
                rest = after;
            }
            expand(&base, rest, &mut found);
        }
    }
    found
}

fn parent(module: &[String]) -> Vec<String> {
    module[..module.len().saturating_sub(1)].to_vec()
}

/// Follows a path, through braces, and returns what is left of the text behind it.
fn expand<'a>(base: &[String], text: &'a str, found: &mut BTreeSet<Vec<String>>) -> &'a str {
    let mut path = base.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(mut inner) = rest.strip_prefix('{') {
            loop {
                inner = inner.trim_start();
                if let Some(after) = inner.strip_prefix('}') {
                    return after;
                }
                let before = inner.len();
                inner = expand(&path, inner, found).trim_start();
                inner = inner.strip_prefix(',').unwrap_or(inner);
                if inner.len() == before || inner.is_empty() {
                    return inner;
                }
            }
        }
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word == "self" || word.is_empty() {
            found.insert(path);
            return after.strip_prefix('*').unwrap_or(after);
        }
        path.push(word.to_owned());
        match after.strip_prefix("::") {
            Some(next) => rest = next,
            None => {
                found.insert(path);
                // `as other`
                let after = after.trim_start();
                let renamed = after.strip_prefix("as ").map(|after| {
                    after.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
                });
                return renamed.unwrap_or(after);
            }
        }
    }
}

/// The file that a path leads into: the longest part of it that is a module.
fn file_of(path: &[String], files: &BTreeMap<Vec<String>, String>) -> Option<Vec<String>> {
    (1..=path.len())
        .rev()
        .map(|length| path[..length].to_vec())
        .find(|module| files.contains_key(module))
}

/// The rows of the table in `src/lib.rs`: a module, and those that it may use.
fn table() -> BTreeMap<String, Vec<String>> {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let lib = fs::read_to_string(lib).expect("read");
    let mut table = BTreeMap::new();
    let mut all: Vec<String> = Vec::new();
    for line in lib.lines() {
        let Some((names, may)) = line
            .strip_prefix("//! | [`")
            .and_then(|row| row.split_once(" | "))
        else {
            continue;
        };
        let may = may.trim_end_matches(" |");
        let may = may.split(';').next().unwrap_or_default();
        let may: Vec<String> = match may.trim() {
            "nothing of ours" => Vec::new(),
            "all of them" => all.clone(),
            list => list.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        for name in names.split("], [") {
            let name = name.trim_matches(|c: char| !(c.is_alphanumeric() || c == '_'));
            all.push(name.to_owned());
            table.insert(name.to_owned(), may.clone());
        }
    }
    table
}

#[test]
fn every_module_uses_those_that_the_table_allows() {
    let files = files();
    let table = table();
    let mut wrong = BTreeSet::new();
    for (module, text) in &files {
        let Some(allowed) = table.get(&module[0]) else {
            wrong.insert(format!("{} is not in the table of src/lib.rs", module[0]));
            continue;
        };
        for path in uses(module, text) {
            let known = path.first().filter(|name| table.contains_key(*name));
            if let Some(name) = known.filter(|name| **name != module[0])
                && !allowed.contains(name)
            {
                wrong.insert(format!("{} uses {name}", module.join("::")));
            }
        }
    }
    for (module, may) in &table {
        for name in may {
            assert!(
                table.contains_key(name),
                "{module} may use {name}: no module"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_two_files_use_each_other() {
    let files = files();
    let mut edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (module, text) in &files {
        for path in uses(module, text) {
            let Some(other) = file_of(&path, &files) else {
                continue;
            };
            // A module and the files below it are one thing to those outside.
            let related = other.starts_with(module) || module.starts_with(&other);
            if !related {
                edges.entry(module.clone()).or_default().insert(other);
            }
        }
    }
    let reaches = |from: &Vec<String>, to: &Vec<String>| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(next) = open.pop() {
            for other in edges.get(next).into_iter().flatten() {
                if other == to {
                    return true;
                }
                if seen.insert(other) {
                    open.push(other);
                }
            }
        }
        false
    };
    let circles: Vec<String> = edges
        .keys()
        .filter(|file| reaches(file, file))
        .map(|file| file.join("::"))
        .collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn paths_are_found_through_braces_and_from_above() {
    let module = ["a".to_owned(), "b".to_owned()];
    let text = "use crate::x::{self, y::{Z, w as v}, *};\nuse super::c::D; // crate::no\nsuper::super::e();";
    let found = uses(&module, text);
    let found: Vec<String> = found.iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["a::c::D", "e", "x", "x::y::Z", "x::y::w"]);
}
