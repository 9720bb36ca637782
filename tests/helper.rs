//! The real helper, run by itself and by real git.

mod support;

use std::process::{Command, Stdio};

use support::{HELPER, Home, feed, gits, text};

/// `git credential OPERATION` with this helper alone.
fn git_credential(home: &Home, git: &str, operation: &str, input: &str) -> (String, bool) {
    let mut command = home.command(git);
    command
        .args(["-c", "credential.helper="])
        .args(["-c", &format!("credential.helper={HELPER}")])
        .args(["-c", "credential.interactive=false"])
        .args(["credential", operation]);
    let output = feed(command, input.as_bytes());
    (text(&output.stdout), output.status.success())
}

fn fill(home: &Home, git: &str, input: &str) -> Option<String> {
    let (answer, found) = git_credential(home, git, "fill", input);
    found.then_some(answer)
}

fn approve(home: &Home, git: &str, input: &str) {
    assert_eq!(
        git_credential(home, git, "approve", input),
        (String::new(), true)
    );
}

fn reject(home: &Home, git: &str, input: &str) {
    assert_eq!(
        git_credential(home, git, "reject", input),
        (String::new(), true)
    );
}

fn version(git: &str) -> (u32, u32) {
    let output = Command::new(git).arg("version").output().unwrap();
    let shown = text(&output.stdout);
    let mut numbers = shown
        .split_whitespace()
        .nth(2)
        .unwrap_or_default()
        .split('.')
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

const SITE: &str = "protocol=https\nhost=example.com\n";

fn site(rest: &str) -> String {
    format!("{SITE}{rest}")
}

#[test]
fn git_gets_back_what_it_approved_and_loses_what_it_rejected() {
    for git in gits() {
        let home = Home::new();
        assert_eq!(fill(&home, &git, SITE), None);
        approve(&home, &git, &site("username=alice\npassword=one\n"));
        approve(&home, &git, &site("username=bob\npassword=two\n"));
        approve(&home, &git, &site("username=alice\npassword=three\n"));
        let answer = fill(&home, &git, &site("username=alice\n")).unwrap();
        assert!(answer.contains("password=three\n"), "{git}: {answer}");
        let answer = fill(&home, &git, &site("username=bob\n")).unwrap();
        assert!(answer.contains("password=two\n"), "{git}: {answer}");
        reject(&home, &git, &site("username=bob\npassword=stale\n"));
        assert!(fill(&home, &git, &site("username=bob\n")).is_some());
        reject(&home, &git, &site("username=bob\npassword=two\n"));
        assert_eq!(fill(&home, &git, &site("username=bob\n")), None);
        assert!(fill(&home, &git, &site("username=alice\n")).is_some());
    }
}

#[test]
fn git_asks_by_path_where_it_is_told_to() {
    for git in gits() {
        let home = Home::new();
        let with_path = |operation: &str, input: &str| {
            let mut command = home.command(&git);
            command
                .args(["-c", "credential.useHttpPath=true"])
                .args(["-c", &format!("credential.helper={HELPER}")])
                .args(["-c", "credential.interactive=false"])
                .args(["credential", operation]);
            text(&feed(command, input.as_bytes()).stdout)
        };
        with_path(
            "approve",
            &site("path=a.git\nusername=alice\npassword=one\n"),
        );
        assert!(with_path("fill", &site("path=a.git\n")).contains("password=one\n"));
        assert!(!with_path("fill", &site("path=b.git\n")).contains("password="));
    }
}

#[test]
fn a_newer_git_gets_headers_expiry_and_state() {
    for git in gits().into_iter().filter(|git| version(git) >= (2, 46)) {
        let home = Home::new();
        let announced = "capability[]=authtype\ncapability[]=state\n";
        approve(
            &home,
            &git,
            &format!(
                "{announced}{SITE}authtype=Bearer\ncredential=abc\npassword_expiry_utc=9999999999\n"
            ),
        );
        let answer = fill(&home, &git, &format!("{announced}{SITE}")).unwrap();
        for line in [
            "authtype=Bearer",
            "credential=abc",
            "password_expiry_utc=9999999999",
        ] {
            assert!(answer.lines().any(|found| found == line), "{git}: {answer}");
        }
        assert!(answer.contains("state[]=wit:"), "{git}: {answer}");
        let output = feed(
            {
                let mut command = home.command(&git);
                command.args(["credential", "capability"]);
                command
            },
            b"",
        );
        assert!(text(&output.stdout).contains("version 0"));
    }
}

#[test]
fn an_unknown_operation_is_silent_and_reads_nothing() {
    let home = Home::new();
    let mut command = home.command(HELPER);
    // An inherited stdin that nobody closes would block a helper that reads it.
    let mut child = command
        .arg("future")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert!(output.status.success());
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
}

#[test]
fn a_miss_says_nothing_and_leaves_nothing_behind() {
    let mut home = Home::new();
    for store in ["file", "auto"] {
        home.set("WIT_STORE", store);
        let output = home.run(HELPER, &["get"], SITE);
        assert!(output.status.success(), "{output:?}");
        assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}

#[test]
fn the_environments_token_wins_and_is_never_stored() {
    let mut home = Home::new();
    home.set("WIT_TOKEN", "wit_0123456789");
    home.set("WIT_URL", "https://example.com");
    for git in gits() {
        let answer = fill(&home, &git, SITE).unwrap();
        assert!(answer.contains("password=wit_0123456789\n"));
        approve(
            &home,
            &git,
            &site("username=token\npassword=wit_0123456789\n"),
        );
        assert_eq!(
            fill(&home, &git, "protocol=https\nhost=example.org\n"),
            None
        );
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn many_processes_storing_at_once_lose_nothing() {
    let home = Home::new();
    let children: Vec<_> = (0..64)
        .map(|number| {
            let mut command = home.command(HELPER);
            command.arg("store");
            std::thread::spawn(move || {
                let input = site(&format!("username=user{number}\npassword=p{number}\n"));
                feed(command, input.as_bytes())
            })
        })
        .collect();
    for child in children {
        let output = child.join().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    for number in 0..64 {
        let output = home.run(HELPER, &["get"], &site(&format!("username=user{number}\n")));
        let expected = format!("username=user{number}\npassword=p{number}\n");
        assert_eq!(text(&output.stdout), expected);
    }
}

#[test]
fn nothing_that_is_stored_can_be_read_in_a_file_or_by_others() {
    let home = Home::new();
    home.run(
        HELPER,
        &["store"],
        &site("username=alice\npassword=hunter2\n"),
    );
    let mut files = Vec::new();
    walk(home.path(), &mut files);
    assert!(!files.is_empty());
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        assert!(
            !bytes.windows(7).any(|window| window == b"hunter2"),
            "{file:?}"
        );
    }
}

fn walk(dir: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}
