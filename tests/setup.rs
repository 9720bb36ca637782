//! `wit setup`: git asks the helper, once and in the right place, and `--undo` takes back just that.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{HELPER, Home, WIT, gits, text};

/// What `credential.helper` holds for this user.
fn helpers(home: &Home) -> Vec<String> {
    values(home, "credential.helper")
}

fn values(home: &Home, key: &str) -> Vec<String> {
    let output = home.run("git", &["config", "--global", "--get-all", key], "");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

fn wit(home: &Home, arguments: &[&str]) -> (i32, String, String) {
    let output = home.run(WIT, arguments, "");
    (
        output.status.code().expect("an exit code"),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn set_up(home: &Home, arguments: &[&str]) -> String {
    let (code, out, err) = wit(home, &[&["setup"], arguments].concat());
    assert_eq!(code, 0, "{err}");
    out
}

/// A home whose configuration is `before`.
fn configured(before: &str) -> Home {
    let home = Home::new();
    fs::write(home.path().join(".gitconfig"), before).unwrap();
    home
}

fn configuration(home: &Home) -> String {
    fs::read_to_string(home.path().join(".gitconfig")).unwrap()
}

/// A program of that name which goes before every other one in the PATH.
fn program(home: &mut Home, name: &str, script: &str) {
    let dir = home.path().join("bin");
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    home.set("PATH", format!("{}:{path}", dir.display()));
}

#[test]
fn it_adds_the_helper_once_and_says_where_secrets_lie() {
    let home = Home::new();
    let out = set_up(&home, &[]);
    assert!(out.contains("file store"), "{out}");
    let after = configuration(&home);
    set_up(&home, &[]);
    assert_eq!(configuration(&home), after);
    assert_eq!(helpers(&home), [HELPER]);
}

#[test]
fn portable_writes_the_name_that_git_looks_for() {
    let home = Home::new();
    set_up(&home, &["--portable"]);
    assert_eq!(helpers(&home), ["wit"]);
    set_up(&home, &[]);
    assert_eq!(helpers(&home), ["wit"], "what works is left as it is");
}

#[test]
fn undo_leaves_no_trace_of_a_configuration_that_was_not_there() {
    let home = Home::new();
    set_up(&home, &[]);
    set_up(&home, &["--undo"]);
    assert!(!home.path().join(".gitconfig").exists());
    assert!(!home.path().join(".local/state/wit/setup.json").exists());
}

#[test]
fn undo_restores_every_byte() {
    for before in [
        "# mine\n[user]\n\tname = Ada\n[credential]\n\thelper = store\n",
        "[credential]\n\thelper = wit\n\thelper =\n",
        "[credential]\n\thelper = wit\n\thelper =\n\thelper = store\n[user]\n\tname = A\n",
        "[user]\n\tname = no newline at the end",
        "; only a comment\n",
        "[credential \"https://example.org\"]\n    helper=\n    helper = !gh auth git-credential\n",
        "\u{feff}[credential]\nhelper = cache --timeout 300\nusername = ada\n",
    ] {
        for how in [&[][..], &["--portable"], &["--host", "https://example.org"]] {
            let home = configured(before);
            set_up(&home, how);
            assert_ne!(configuration(&home), before);
            set_up(&home, &["--undo"]);
            assert_eq!(configuration(&home), before, "{how:?}");
        }
    }
}

#[test]
fn undo_keeps_what_a_person_has_changed_meanwhile() {
    let home = configured("[credential]\n\thelper = wit\n\thelper =\n");
    set_up(&home, &["--portable"]);
    for setting in [["user.name", "Ada"], ["credential.username", "ada"]] {
        home.run("git", &[&["config", "--global"], &setting[..]].concat(), "");
    }
    set_up(&home, &["--undo"]);
    assert_eq!(helpers(&home), ["wit", ""]);
    assert_eq!(values(&home, "credential.username"), ["ada"]);
    assert_eq!(values(&home, "user.name"), ["Ada"]);
}

#[test]
fn undo_does_not_guess_which_line_is_whose() {
    let home = configured("[credential]\n\thelper = wit\n\thelper =\n");
    set_up(&home, &["--portable"]);
    fs::write(
        home.path().join(".gitconfig"),
        "[credential]\n\thelper = wit\n",
    )
    .unwrap();
    let (code, _, err) = wit(&home, &["setup", "--undo"]);
    assert_eq!(code, 3);
    assert!(err.contains("hint: git config --file"), "{err}");
    assert_eq!(helpers(&home), ["wit"]);
}

#[test]
fn undo_does_not_remove_a_helper_that_a_person_set() {
    let before = "[credential]\n\thelper = wit\n";
    let home = configured(before);
    set_up(&home, &[]);
    set_up(&home, &["--undo"]);
    assert_eq!(configuration(&home), before);
}

#[test]
fn it_goes_before_the_helpers_of_its_file_and_names_those_that_keep_copies() {
    let home = configured("[credential]\n\thelper = cache\n\thelper = store\n");
    let out = set_up(&home, &[]);
    assert_eq!(helpers(&home), [HELPER, "cache", "store"]);
    assert!(out.contains("they may keep it: cache, store\n"), "{out}");
    assert!(out.contains("plain text"), "{out}");
    assert!(!out.contains("asked before it"), "{out}");
}

#[test]
fn a_shell_command_of_another_helper_is_not_shown() {
    let secret = "[credential]\n\thelper = \"!f() { echo password=hunter2; }; f\"\n";
    for format in [&[][..], &["--json"]] {
        let home = configured(secret);
        for _ in 0..2 {
            let out = set_up(&home, format);
            assert!(!out.contains("hunter2"), "{out}");
            assert!(out.contains("!…"), "{out}");
        }
    }
}

#[test]
fn while_another_git_changes_the_file_it_is_left_alone() {
    for before in ["", "[credential]\n\thelper = store\n"] {
        let home = configured(before);
        let lock = home.path().join(".gitconfig.lock");
        fs::write(&lock, "another's").unwrap();
        let (code, _, err) = wit(&home, &["setup"]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("is another git at it?"), "{err}");
        assert_eq!(configuration(&home), before);
        assert_eq!(fs::read_to_string(&lock).unwrap(), "another's");
        assert!(!home.path().join(".local/state/wit/setup.json").exists());
        fs::remove_file(&lock).unwrap();

        set_up(&home, &[]);
        let after = configuration(&home);
        fs::write(&lock, "another's").unwrap();
        assert_eq!(wit(&home, &["setup", "--undo"]).0, 1);
        assert_eq!(configuration(&home), after);
        fs::remove_file(&lock).unwrap();
        set_up(&home, &["--undo"]);
        assert_eq!(configuration(&home), before);
        assert!(!lock.exists());
    }
}

#[test]
fn nothing_is_changed_that_could_not_be_taken_back() {
    for (before, how) in [
        ("", &[][..]),
        ("[credential]\n\thelper = store\n", &[]),
        ("", &["--host", "https://a.example"]),
    ] {
        let home = configured(before);
        let record = home.path().join(".local/state/wit/setup.json");
        // Where a directory lies no file can be put.
        fs::create_dir_all(record.join("in the way")).unwrap();
        let (code, _, err) = wit(&home, &[&["setup"], how].concat());
        assert_ne!(code, 0, "{err}");
        assert_eq!(configuration(&home), before);
    }
}

#[test]
fn a_configuration_that_git_can_not_read_is_named_and_left() {
    let home = configured("[credential\n");
    let (code, _, err) = wit(&home, &["setup", "--host", "https://a.example"]);
    assert_ne!(code, 0);
    assert!(err.contains(".gitconfig"), "{err}");
    assert_eq!(configuration(&home), "[credential\n");
}

#[test]
fn a_server_is_named_as_with_other_commands_too() {
    let home = Home::new();
    set_up(&home, &["--server", "https://a.example"]);
    let key = "credential.https://a.example.helper";
    assert_eq!(values(&home, key), ["", HELPER]);
}

#[test]
fn it_says_which_helpers_are_asked_before_it() {
    let mut home = Home::new();
    let system = home.path().join("system");
    fs::write(&system, "[credential]\n\thelper = manager\n").unwrap();
    home.set("GIT_CONFIG_NOSYSTEM", "0");
    home.set("GIT_CONFIG_SYSTEM", system.display().to_string());
    let out = set_up(&home, &[]);
    assert!(
        out.contains("what they know goes first: manager\n"),
        "{out}"
    );
    assert!(out.contains("wit setup --host URL"), "{out}");
}

#[test]
fn for_a_host_it_is_the_only_helper_and_others_keep_the_rest() {
    for git in gits() {
        let home = configured("[credential]\n\thelper = store\n");
        let approve = |host: &str| {
            let credential = format!("protocol=https\nhost={host}\nusername=ada\npassword=pw\n\n");
            home.run(&git, &["credential", "approve"], &credential);
            fs::read_to_string(home.path().join(".git-credentials")).unwrap_or_default()
        };
        let out = set_up(&home, &["--host", "https://a.example/", "b.example:8443"]);
        assert!(out.contains("for https://b.example:8443"), "{out}");
        set_up(&home, &["--host", "https://a.example"]);
        assert_eq!(
            values(&home, "credential.https://a.example.helper"),
            ["", HELPER]
        );
        assert_eq!(approve("a.example") + &approve("b.example:8443"), "");
        assert_eq!(approve("c.example"), "https://ada:pw@c.example\n");
        for (host, known) in [("a.example", true), ("d.example", false)] {
            let request = format!("protocol=https\nhost={host}\n\n");
            let answer = home.run(&git, &["credential", "fill"], &request);
            assert_eq!(answer.status.success(), known, "{answer:?}");
        }
    }
}

#[test]
fn what_a_dry_run_prints_does_the_same() {
    for before in ["", "[credential]\n\thelper = store\n"] {
        for how in [&[][..], &["--portable"], &["--host", "https://example.org"]] {
            let home = configured(before);
            let commands = set_up(&home, &[how, &["--dry-run"]].concat());
            assert_eq!(configuration(&home), before);
            let typed = home.run("sh", &["-e", "-c", &commands], "");
            assert!(typed.status.success(), "{}", text(&typed.stderr));
            let by_hand = configuration(&home);
            fs::write(home.path().join(".gitconfig"), before).unwrap();
            set_up(&home, how);
            assert_eq!(configuration(&home), by_hand);
        }
    }
}

#[test]
fn local_changes_the_repository_only() {
    let home = Home::new();
    home.run("git", &["init", "--quiet", "."], "");
    let file = home.path().join(".git/config");
    let before = fs::read_to_string(&file).unwrap();
    set_up(&home, &["--local"]);
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .contains("git-credential-wit")
    );
    assert!(helpers(&home).is_empty());
    set_up(&home, &["--undo"]);
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .contains("git-credential-wit")
    );
    set_up(&home, &["--local", "--undo"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

/// Copies the two programs into `dir`, as an installation there would.
fn install(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    for file in [HELPER, WIT] {
        let name = Path::new(file).file_name().unwrap();
        if fs::hard_link(file, dir.join(name)).is_err() {
            fs::copy(file, dir.join(name)).unwrap();
        }
    }
}

#[test]
fn for_every_user_only_a_path_that_they_can_reach_is_written() {
    let mut home = Home::new();
    home.set("GIT_CONFIG_NOSYSTEM", "0");
    let system = home.path().join("system");
    home.set("GIT_CONFIG_SYSTEM", system.display().to_string());
    // A home directory lets nobody else in.
    let private = home.path().join("private");
    install(&private);
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    let wit = private.join("wit").display().to_string();
    for arguments in [&["setup", "--system"][..], &["setup", "--system", "--undo"]] {
        let done = home.run(&wit, arguments, "");
        assert!(done.status.success(), "{}", text(&done.stderr));
        if arguments.len() == 2 {
            let written = fs::read_to_string(&system).unwrap();
            assert_eq!(written, "[credential]\n\thelper = wit\n");
        }
    }
    assert!(!system.exists());
}

#[test]
fn git_runs_the_helper_at_a_path_of_spaces_and_quotes() {
    for git in gits() {
        let home = Home::new();
        let odd = home.path().join(r#"it's "a" $HOME; b"#);
        install(&odd);
        let wit = odd.join("wit").display().to_string();
        let done = home.run(&wit, &["setup"], "");
        assert!(done.status.success(), "{}", text(&done.stderr));
        assert_eq!(helpers(&home).len(), 1);
        let credential = "protocol=https\nhost=example.org\nusername=ada\npassword=pw\n\n";
        home.run(&git, &["credential", "approve"], credential);
        let request = "protocol=https\nhost=example.org\n\n";
        let answer = home.run(&git, &["credential", "fill"], request);
        assert!(text(&answer.stdout).contains("password=pw"), "{answer:?}");
        let again = home.run(&wit, &["setup"], "");
        assert!(text(&again.stdout).contains("already"), "{again:?}");
    }
}

#[test]
fn a_link_in_the_path_is_named_rather_than_what_it_leads_to() {
    let mut home = Home::new();
    let (versioned, bin) = (home.path().join("1.2.3"), home.path().join("bin"));
    install(&versioned);
    fs::create_dir(&bin).unwrap();
    for name in ["wit", "git-credential-wit"] {
        std::os::unix::fs::symlink(versioned.join(name), bin.join(name)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    home.set("PATH", format!("{}:{path}", bin.display()));
    set_up_with(&home, &bin.join("wit"));
    let link = bin.join("git-credential-wit").display().to_string();
    assert_eq!(helpers(&home), [link]);
}

fn set_up_with(home: &Home, wit: &Path) {
    let done = home.run(&wit.display().to_string(), &["setup"], "");
    assert!(done.status.success(), "{}", text(&done.stderr));
}

#[test]
fn an_unknown_store_is_refused_before_anything_changes() {
    let home = Home::new();
    let (code, _, err) = wit(&home, &["setup", "--store", "cloud"]);
    assert_eq!(code, 2);
    assert!(err.contains("hint: "), "{err}");
    assert!(helpers(&home).is_empty());
}

/// What lies below a directory.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        found.push(entry.path().display().to_string());
        found.extend(files(&entry.path()));
    }
    found.sort();
    found
}

#[test]
fn systemd_rotates_daily_until_it_is_undone() {
    let mut home = Home::new();
    program(&mut home, "systemctl", "echo \"$@\" >>\"$HOME/asked\"\n");
    let before = files(&home.path().join(".config"));
    set_up(&home, &["--renew", "daily"]);
    let units = home.path().join(".config/systemd/user");
    let service = fs::read_to_string(units.join("wit-renew.service")).unwrap();
    let start = format!("ExecStart=\"{WIT}\" token rotate --due 7 --all\n");
    assert!(service.contains(&start), "{service}");
    let timer = fs::read_to_string(units.join("wit-renew.timer")).unwrap();
    assert!(
        timer.contains("OnCalendar=daily\nRandomizedDelaySec=1h\n"),
        "{timer}"
    );
    set_up(&home, &["--renew", "daily"]);
    set_up(&home, &["--undo"]);
    let asked = fs::read_to_string(home.path().join("asked")).unwrap();
    let changes: Vec<&str> = asked
        .lines()
        .filter(|line| !line.contains("show"))
        .collect();
    assert_eq!(
        changes,
        [
            "--user daemon-reload",
            "--user enable --now wit-renew.timer",
            "--user disable --now wit-renew.timer",
            "--user daemon-reload",
        ]
    );
    let ours = |file: &&String| file.contains("systemd");
    assert_eq!(
        files(&home.path().join(".config")).iter().find(ours),
        before.iter().find(ours)
    );
}

#[test]
fn a_timer_that_ends_at_the_logout_is_said_to() {
    for (linger, said) in [("no", true), ("yes", false)] {
        let mut home = Home::new();
        program(&mut home, "systemctl", "");
        program(&mut home, "loginctl", &format!("echo Linger={linger}\n"));
        let (code, _, err) = wit(&home, &["setup", "--renew", "daily"]);
        assert_eq!(code, 0, "{err}");
        let hint = "hint: loginctl enable-linger";
        assert_eq!(err.contains(hint), said, "{err}");
    }
}

#[test]
fn what_a_dry_run_prints_sets_up_the_renewal_whatever_the_path() {
    let mut home = Home::new();
    program(&mut home, "systemctl", "");
    let odd = home.path().join("it's a home");
    home.set("XDG_CONFIG_HOME", odd.display().to_string());
    let commands = set_up(&home, &["--renew", "daily", "--dry-run"]);
    let typed = home.run("sh", &["-e", "-c", &commands], "");
    assert!(typed.status.success(), "{}", text(&typed.stderr));
    let by_hand = files(&odd.join("systemd"));
    let units = odd.join("systemd/user");
    let service = fs::read_to_string(units.join("wit-renew.service")).unwrap();
    fs::remove_dir_all(odd.join("systemd")).unwrap();
    set_up(&home, &["--renew", "daily"]);
    assert_eq!(files(&odd.join("systemd")), by_hand);
    let made = fs::read_to_string(units.join("wit-renew.service")).unwrap();
    assert_eq!(made, service);
}

#[test]
fn a_unit_of_somebody_elses_stays() {
    let mut home = Home::new();
    program(&mut home, "systemctl", "");
    let units = home.path().join(".config/systemd/user");
    fs::create_dir_all(&units).unwrap();
    fs::write(units.join("wit-renew.timer"), "mine").unwrap();
    assert_eq!(wit(&home, &["setup", "--renew", "daily"]).0, 1);
    set_up(&home, &["--undo"]);
    assert_eq!(
        files(&units),
        [units.join("wit-renew.timer").display().to_string()]
    );
    assert_eq!(
        fs::read_to_string(units.join("wit-renew.timer")).unwrap(),
        "mine"
    );
}

const CRONTAB: &str = r#"table="$HOME/table"
case $1 in
-l) [ -e "$table" ] || { echo "no crontab for ada" >&2; exit 1; }; cat "$table" ;;
-r) rm "$table" ;;
-) cat >"$table" ;;
esac
"#;

#[test]
fn without_systemd_cron_rotates_daily_until_it_is_undone() {
    for before in [None, Some("# mine\n0 1 * * * backup\n")] {
        let mut home = Home::new();
        program(&mut home, "systemctl", "exit 1\n");
        program(&mut home, "crontab", CRONTAB);
        let table = home.path().join("table");
        if let Some(before) = before {
            fs::write(&table, before).unwrap();
        }
        let out = set_up(&home, &["--renew", "daily"]);
        assert!(out.contains("crontab"), "{out}");
        set_up(&home, &["--renew", "daily"]);
        let during = fs::read_to_string(&table).unwrap();
        let line = format!("17 4 * * * {WIT} token rotate --due 7 --all --jitter 1h\n");
        assert_eq!(during, before.unwrap_or_default().to_owned() + &line);
        // The line is one that the shell of cron can run.
        let command = line.splitn(6, ' ').nth(5).unwrap().replace("1h", "0s");
        let run = home.run("sh", &["-c", command.trim_end()], "");
        assert!(run.status.success(), "{}", text(&run.stderr));
        set_up(&home, &["--undo"]);
        assert_eq!(fs::read_to_string(&table).ok().as_deref(), before);
    }
}
