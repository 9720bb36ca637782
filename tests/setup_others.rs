//! `wit setup` beside other helpers: it says which URLs they have for themselves, what they keep, and prints
//! commands that do what it does itself.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::{HELPER, Home, WIT, done, gits, text};

/// gh's helper as `gh auth setup-git` writes it.
const GH: &str = "!gh auth git-credential";

/// A home whose git is that one, with a `gh` that always answers.
fn home_with(git: &str) -> Home {
    let mut home = Home::new();
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(git, bin.join("git")).unwrap();
    let answer = "#!/bin/sh\n[ \"$3\" = get ] && printf 'username=octo\\npassword=theirs\\n'\n";
    for name in ["gh", "git-credential-oauth"] {
        let file = bin.join(name);
        fs::write(
            &file,
            answer.replace("$3", if name == "gh" { "$3" } else { "$1" }),
        )
        .unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let own = Path::new(WIT).parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap();
    home.set("PATH", format!("{}:{own}:{path}", bin.display()));
    home.set("GIT_CONFIG_NOSYSTEM", "0");
    home.set(
        "GIT_CONFIG_SYSTEM",
        home.path().join("system").display().to_string(),
    );
    home
}

fn sh(home: &Home, script: &str) -> String {
    done(&home.run("sh", &["-e", "-c", script], ""))
}

fn configure(home: &Home, file: &str, content: &str) {
    fs::write(home.path().join(file), content).unwrap();
}

/// The password that git gets for a URL for which our helper has "ours".
fn answer(home: &Home, url: &str) -> String {
    let host = url.split('/').nth(2).unwrap();
    let stored = format!("protocol=https\nhost={host}\nusername=ada\npassword=ours\n");
    done(&home.run(HELPER, &["store"], &stored));
    let filled = done(&home.run("git", &["credential", "fill"], &format!("url={url}\n\n")));
    let password = filled
        .lines()
        .find_map(|line| line.strip_prefix("password="));
    password.expect("a password").to_owned()
}

/// The command that setup prints behind `To make it ask this helper there: `.
fn command(said: &str) -> Option<&str> {
    let mut lines = said.lines();
    lines.find_map(|line| line.strip_prefix("To make it ask this helper there: "))
}

#[test]
fn a_url_that_another_helper_has_for_itself_is_named_with_what_changes_that() {
    let own = |url: &str| format!("[credential \"{url}\"]\n\thelper =\n\thelper = {GH}\n");
    let ours = "[credential]\n\thelper = wit\n";
    let github = "https://github.com";
    for git in gits() {
        for (file, content, url, asked) in [
            (".gitconfig", own(github), github, "gh first"),
            // gh was set up after wit.
            (
                ".gitconfig",
                format!("{ours}{}", own(github)),
                github,
                "only gh",
            ),
            (
                ".gitconfig",
                format!("[credential \"{github}\"]\n\thelper = {GH}\n"),
                github,
                "gh first",
            ),
            (
                "system",
                own("https://gitlab.com"),
                "https://gitlab.com",
                "gh first",
            ),
            (".git/config", own(github), github, "only gh"),
            (
                ".git/config",
                format!("{}{ours}", own(github)),
                github,
                "gh first",
            ),
            // Settings that no site alone is meant by.
            (
                ".gitconfig",
                format!("{ours}{}", own("https://*.example.com")),
                "https://wit.example.com",
                "only gh",
            ),
            (
                ".gitconfig",
                format!("{ours}{}", own("https://a.example/team")),
                "https://a.example/team",
                "only gh",
            ),
        ] {
            let home = home_with(&git);
            sh(&home, "git init --quiet .");
            let file = home.path().join(file);
            let before = fs::read_to_string(&file).unwrap_or_default();
            fs::write(&file, before + &content).unwrap();
            let said = done(&home.run(WIT, &["setup"], ""));
            assert!(
                said.contains(&format!("For {url} git asks {asked}, ")),
                "{said}"
            );
            assert!(said.contains("for every other site"), "{said}");
            assert_eq!(answer(&home, url), "theirs", "{content}");

            let command = command(&said).expect("a command");
            sh(&home, command);
            assert_eq!(answer(&home, url), "ours", "{command}: {content}");
            let said = done(&home.run(WIT, &["setup"], ""));
            assert!(said.contains("for every site already"), "{said}");
        }
    }
}

#[test]
fn programs_are_told_which_url_another_helper_has_for_itself() {
    let home = home_with(&gits()[0]);
    let content = format!("[credential \"https://me:pw@a.example\"]\n\thelper = {GH}\n");
    configure(&home, ".gitconfig", &content);
    let said = done(&home.run(WIT, &["setup", "--json"], ""));
    assert!(!said.contains("me:pw"), "{said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let told = &said["helpers"][0];
    assert_eq!(told["exceptions"], serde_json::json!([]));
    assert_eq!(told["othersFirst"][0]["url"], "https://a.example");
    assert_eq!(told["othersFirst"][0]["helpers"][0], "gh");
    assert_eq!(told["othersFirst"][0]["asked"], true);
}

#[test]
fn a_file_that_git_reads_in_some_places_only_is_named_where_it_has_helpers() {
    let home = home_with(&gits()[0]);
    let include = "[includeIf \"gitdir:~/work/\"]\n\tpath = at-work\n\
        [includeIf \"gitdir:~/play/\"]\n\tpath = at-play\n";
    configure(&home, ".gitconfig", include);
    let own =
        "[credential \"https://github.com\"]\n\thelper =\n\thelper = !gh auth git-credential\n";
    configure(&home, "at-work", own);
    configure(&home, "at-play", "[user]\n\tname = Ada\n");
    let said = done(&home.run(WIT, &["setup"], ""));
    let file = home.path().join("at-work");
    let named = format!(
        "Where gitdir:~/work/ holds, git also reads {}",
        file.display()
    );
    assert!(said.contains(&named), "{said}");
    assert!(!said.contains("~/play/"), "{said}");
    let said = sh(&home, "git init --quiet work && cd work && wit doctor");
    assert!(
        said.contains("about https://github.com git asks gh before this helper"),
        "{said}"
    );
}

#[test]
fn what_a_dry_run_prints_keeps_the_link_and_the_mode_of_the_file() {
    let reset = "[credential]\n\thelper = store\n\thelper =\n\thelper = !true\n";
    let front = "[credential]\n\thelper = !true\n";
    let included = "[include]\n\tpath = other\n[credential]\n\thelper = !true\n";
    let marked = format!("\u{feff}{front}");
    for (before, how) in [
        ("", &[][..]),
        ("[user]\n\tname = Ada\n", &[]),
        (front, &[]),
        (&marked, &[]),
        (reset, &[]),
        (included, &[]),
        (front, &["--host", "https://a.example"]),
    ] {
        let homes = [(); 2].map(|()| {
            let home = home_with(&gits()[0]);
            let dotfiles = home.path().join("dotfiles");
            fs::create_dir(&dotfiles).unwrap();
            let file = dotfiles.join("gitconfig");
            fs::write(&file, before).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            symlink("dotfiles/gitconfig", home.path().join(".gitconfig")).unwrap();
            configure(
                &home,
                "other",
                "[credential]\n\thelper =\n\thelper = !true\n",
            );
            (home, file)
        });
        let [(by_hand, typed), (by_setup, written)] = &homes;
        let dry = [&["setup"], how, &["--dry-run", "--json"]].concat();
        let commands = done(&by_hand.run(WIT, &dry, ""));
        let printed: serde_json::Value = serde_json::from_str(&commands).unwrap();
        sh(by_hand, "mkdir tmp");
        for command in printed["commands"].as_array().expect("a list") {
            let command = command.as_str().expect("a command");
            sh(by_hand, &format!("export TMPDIR=$HOME/tmp; {command}"));
        }
        done(&by_setup.run(WIT, &[&["setup"], how].concat(), ""));
        for (home, file) in &homes {
            let link = home.path().join(".gitconfig");
            assert!(link.is_symlink(), "{commands}");
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{commands}");
            let files = fs::read_dir(file.parent().unwrap()).unwrap();
            assert_eq!(files.count(), 1, "{commands}");
        }
        let left = fs::read_dir(by_hand.path().join("tmp")).unwrap();
        assert_eq!(left.count(), 0, "{commands}");
        let read = |file: &Path| fs::read_to_string(file).unwrap();
        assert_eq!(read(typed), read(written), "{commands}");
    }
}

#[test]
fn each_helper_is_said_to_keep_what_it_keeps() {
    for (helper, words, in_doctor) in [
        (
            "store",
            "write them to a plain-text file: store\n",
            "in plain text",
        ),
        (
            "cache --timeout 60",
            "keep them in memory for a time: cache\n",
            "the helper cache keeps copies in memory for a time",
        ),
        (
            "/opt/gcm/git-credential-manager",
            "which store them: /opt/gcm/git-credential-manager\n",
            "the helper /opt/gcm/git-credential-manager keeps copies",
        ),
        (
            "mine",
            "which may store them: mine\n",
            "the helper mine may keep copies",
        ),
        (
            "oauth",
            "These helpers store nothing; wit stores what works of theirs: oauth\n",
            "ok    the helper oauth stores nothing",
        ),
    ] {
        let home = home_with(&gits()[0]);
        configure(
            &home,
            ".gitconfig",
            &format!("[credential]\n\thelper = {helper}\n"),
        );
        let said = done(&home.run(WIT, &["setup"], ""));
        assert!(said.contains(words), "{said}");
        let said = text(&home.run(WIT, &["doctor"], "").stdout);
        assert!(said.contains(in_doctor), "{said}");
    }
}

#[test]
fn what_a_helper_that_stores_nothing_generates_is_stored_by_wit() {
    for git in gits() {
        let home = home_with(&git);
        configure(&home, ".gitconfig", "[credential]\n\thelper = oauth\n");
        done(&home.run(WIT, &["setup"], ""));
        let request = "protocol=https\nhost=a.example\n\n";
        let filled = done(&home.run("git", &["credential", "fill"], request));
        assert!(filled.contains("password=theirs"), "{filled}");
        done(&home.run("git", &["credential", "approve"], &filled));
        let ours = done(&home.run(HELPER, &["get"], request));
        assert!(ours.contains("password=theirs"), "{ours}");
    }
}

#[test]
fn undo_says_where_git_asks_nobody_any_more_and_how_another_helper_comes_back() {
    let home = home_with(&gits()[0]);
    done(&home.run(WIT, &["setup"], ""));
    let said = done(&home.run(WIT, &["setup", "--undo"], ""));
    assert!(said.contains("git asks no helper now"), "{said}");
    assert!(
        said.contains("To make git ask gh again: gh auth setup-git\n"),
        "{said}"
    );

    // A site that was left a reset alone, beside a helper for all others.
    let before =
        "[credential]\n\thelper = oauth\n[credential \"https://github.com\"]\n\thelper =\n";
    configure(&home, ".gitconfig", before);
    done(&home.run(WIT, &["setup"], ""));
    let said = done(&home.run(WIT, &["setup", "--undo"], ""));
    assert!(
        said.contains("git asks no helper now, for https://github.com.\n"),
        "{said}"
    );

    configure(&home, ".gitconfig", "[credential]\n\thelper = oauth\n");
    done(&home.run(WIT, &["setup"], ""));
    let said = done(&home.run(WIT, &["setup", "--undo"], ""));
    assert!(!said.contains("no helper"), "{said}");
}
