//! docs/configuration.md has all that is read, docs/troubleshooting.md only what is said, and the man
//! pages are set without a warning.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{files, text};

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(root(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every source file without its unit tests, lines that are continued joined.
fn sources() -> Vec<String> {
    let all = files(&root("src")).into_iter();
    let rust = all.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    rust.map(|path| {
        let text = read(&format!("src/{}", path.display()));
        let code = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let mut joined = String::new();
        let mut rest = code;
        while let Some((before, after)) = rest.split_once("\\\n") {
            joined.push_str(before);
            rest = after.trim_start();
        }
        joined + rest
    })
    .collect()
}

/// The string that follows each occurrence of a call in the code.
fn strings(call: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for code in sources() {
        let bare: String = code
            .split(call)
            .skip(1)
            .map(|rest| format!("{rest}\n\u{0}"))
            .collect();
        for rest in bare.split('\u{0}') {
            if let Some((name, _)) = rest
                .trim_start()
                .strip_prefix('"')
                .and_then(|r| r.split_once('"'))
            {
                found.insert(name.to_owned());
            }
        }
    }
    found
}

#[test]
fn every_variable_that_is_read_is_in_the_documentation() {
    let page = read("docs/configuration.md");
    let calls = [
        "variable(",
        "line(",
        "seconds(",
        "named_or_home(",
        "var_os(",
        "std::env::var(",
    ];
    let read: BTreeSet<String> = calls.iter().flat_map(|call| strings(call)).collect();
    let is_name = |name: &&String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let read: Vec<&String> = read.iter().filter(is_name).collect();
    assert!(read.len() > 20, "{read:?}");
    let missing: Vec<&&String> = read
        .iter()
        // In a build for the tests alone.
        .filter(|name| *name.as_str() != *"WIT_CRASH_AT")
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/configuration.md lacks {missing:?}"
    );
}

#[test]
fn every_key_of_the_config_file_is_in_the_documentation() {
    let (page, code) = (read("docs/configuration.md"), read("src/config.rs"));
    let mut keys = 0;
    for name in ["pub struct Config {", "pub struct Server {"] {
        let (_, body) = code.split_once(name).expect("the type");
        let (body, _) = body.split_once("\n}").expect("its end");
        let fields = body
            .lines()
            .filter_map(|line| line.trim().strip_prefix("pub "));
        for field in fields.filter_map(|line| Some(line.split_once(':')?.0)) {
            if field != "other" {
                assert!(page.contains(&format!("`{field}`")), "{field}");
                keys += 1;
            }
        }
    }
    assert!(keys >= 10, "{keys}");
}

#[test]
fn every_file_of_ours_is_in_the_documentation() {
    let page = read("docs/configuration.md");
    let calls = [
        "state_dir().join(",
        "self.state.join(",
        "self.data.join(",
        "self.config.join(",
    ];
    let names: BTreeSet<String> = calls.iter().flat_map(|call| strings(call)).collect();
    assert!(names.len() > 7, "{names:?}");
    let missing: Vec<&String> = names.iter().filter(|name| !page.contains(*name)).collect();
    assert!(
        missing.is_empty(),
        "docs/configuration.md lacks {missing:?}"
    );
}

#[test]
fn every_message_that_is_explained_is_said() {
    let page = read("docs/troubleshooting.md");
    let (_, table) = page.split_once("## Messages\n").expect("the section");
    let rows = table.lines().take_while(|line| !line.starts_with("## "));
    let code = sources().concat();
    let mut messages = 0;
    for row in rows.filter(|row| row.starts_with("| `")) {
        let message = row.split('`').nth(1).expect("a message");
        for part in message
            .split('…')
            .map(str::trim)
            .filter(|part| part.len() > 3)
        {
            assert!(code.contains(part), "nothing says {part:?}");
        }
        messages += 1;
    }
    assert!(messages > 15, "{messages}");
}

#[test]
fn man_pages_are_set_without_a_warning_and_lead_to_each_other() {
    let pages = files(&root("man"));
    for page in &pages {
        let path = root("man").join(page);
        let output = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8"])
            .arg(&path)
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("man: apt-get install man-db groff");
        assert!(
            output.status.success(),
            "apt-get install man-db groff: {output:?}"
        );
        assert_eq!(text(&output.stderr), "", "{page:?}");
        let roff = fs::read_to_string(&path).expect("a page");
        if page.starts_with("git-credential-wit.1") {
            continue;
        }
        assert!(roff.contains("\n.SH \"SEE ALSO\"\n"), "{page:?}");
        let title = roff
            .lines()
            .find(|line| line.starts_with(".TH "))
            .expect("a title");
        assert!(title.contains("20"), "{title}");
        let (_, also) = roff.split_once(".SH \"SEE ALSO\"\n").expect("the section");
        for name in also.split(",\n").filter(|name| name.contains("wit")) {
            let name = name
                .trim()
                .trim_start_matches("\\fB")
                .trim_end_matches("\\fR(1)");
            let file = PathBuf::from(format!("{}.1", name.replace("\\-", "-")));
            assert!(pages.contains(&file), "{page:?}: {file:?}");
        }
    }
    let page = read("man/wit-token-create.1");
    assert!(
        page.contains("\\fB\\-\\-expires\\fR \\fI"),
        "options with their values"
    );
    let page = read("man/wit.1");
    for section in ["ENVIRONMENT", "FILES", "\"EXIT STATUS\""] {
        assert!(page.contains(&format!("\n.SH {section}\n")), "{section}");
    }
}
