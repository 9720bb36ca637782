//! `wit setup`: git asks the helper, once and in the right place, and `--undo` takes back just that.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::{self, HELPER, Home, WIT, done, feed, gits, refused, text};

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
    let out = set_up(&home, &["--undo"]);
    assert!(out.contains("/.gitconfig: removed."), "{out}");
    assert!(!home.path().join(".gitconfig").exists());
    assert!(!home.path().join(".local/state/wit/setup.json").exists());
}

#[test]
fn undo_is_not_for_one_server_alone() {
    let home = Home::new();
    set_up(&home, &[]);
    let before = configuration(&home);
    for option in ["--host", "--server"] {
        let (code, _, err) = wit(&home, &["setup", option, "https://wit.example", "--undo"]);
        assert_eq!(code, 2, "{err}");
    }
    assert_eq!(configuration(&home), before);
}

#[test]
fn undo_restores_every_byte() {
    for before in [
        "# mine\n[user]\n\tname = Ada\n[credential]\n\thelper = store\n",
        "[credential]\n\thelper = wit\n\thelper =\n",
        "[credential]\n\thelper = wit\n\thelper =\n\thelper = store\n[user]\n\tname = A\n",
        "[credential]\n\thelper = \n\thelper = /opt/gcm/git-credential-manager\n",
        "[credential]\n\thelper = a\n\thelper =\n\thelper =\n[user]\n\tname = A\n[credential]\n\thelper = b",
        "[credential]\n\thelper = a\n\thelper = \\\n\n\thelper = b\n",
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
    assert!(
        out.contains("which keep them in memory for a time: cache\n"),
        "{out}"
    );
    assert!(out.contains("plain-text file: store\n"), "{out}");
    assert!(!out.contains("take precedence"), "{out}");
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
fn a_lock_that_a_killed_setup_left_is_in_nobodys_way() {
    for before in ["", "[user]\n\tname = Ada\n"] {
        for number in 0..5 {
            let mut home = configured(before);
            home.set("WIT_CRASH_AT", format!("write-{number}"));
            let killed = home.run(WIT, &["setup"], "");
            assert_eq!(
                killed.status.code(),
                None,
                "{number}: {}",
                text(&killed.stderr)
            );
            assert!(home.path().join(".gitconfig.lock").exists(), "{number}");
            home.set("WIT_CRASH_AT", "");
            set_up(&home, &[]);
            set_up(&home, &["--undo"]);
            assert_eq!(configuration(&home), before, "{number}");
            let names = fs::read_dir(home.path()).unwrap().flatten();
            let left = names.filter(|entry| entry.file_name().to_string_lossy().contains("lock"));
            assert_eq!(left.count(), 0, "{number}");
        }
    }
}

#[test]
fn without_a_home_setup_says_what_to_set_and_writes_nothing() {
    let home = Home::new();
    let mut command = home.command(WIT);
    command
        .arg("setup")
        .env_remove("HOME")
        .env("XDG_CONFIG_HOME", home.path().join("config"));
    let output = crate::support::feed(command, b"");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("HOME is not set"), "{said}");
    assert!(said.contains("hint: export HOME=/"), "{said}");
    assert!(!home.path().join("config").exists());
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
        let remove = format!("hint: if no git is running: rm {}", lock.display());
        assert!(err.contains(&remove), "{err}");
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
        let state = home.path().join(".local/state");
        // Where a file lies no directory can be made for the record.
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("wit"), "in the way").unwrap();
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
fn it_goes_right_behind_a_reset_before_the_helpers_that_follow() {
    // As Git Credential Manager writes it.
    let manager = "/opt/gcm/git-credential-manager";
    let before = format!(
        "[user]\n\tname = A\n[credential]\n\thelper = store\n\thelper = \n\thelper = {manager}\n"
    );
    let home = configured(&before);
    let commands = set_up(&home, &["--dry-run"]);
    let out = set_up(&home, &[]);
    assert_eq!(helpers(&home), ["store", "", HELPER, manager]);
    assert!(!out.contains("take precedence"), "{out}");
    let by_setup = configuration(&home);
    set_up(&home, &["--undo"]);
    assert_eq!(configuration(&home), before);
    let typed = home.run("sh", &["-e", "-c", &commands], "");
    assert!(typed.status.success(), "{}", text(&typed.stderr));
    assert_eq!(configuration(&home), by_setup);
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
        out.contains("run first and take precedence: manager\n"),
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

/// A home in which `wit` and the test use one git, and a directory in it to run them in.
struct Machine {
    home: Home,
    git: String,
    dir: PathBuf,
}

impl Machine {
    /// One for each git on this machine.
    fn each() -> impl Iterator<Item = Machine> {
        gits().into_iter().map(|git| {
            let mut home = Home::new();
            let bin = home.path().join("bin");
            fs::create_dir(&bin).unwrap();
            std::os::unix::fs::symlink(&git, bin.join("git")).unwrap();
            let own = Path::new(WIT).parent().unwrap().display().to_string();
            let path = std::env::var("PATH").unwrap();
            home.set("PATH", format!("{}:{own}:{path}", bin.display()));
            let dir = home.path().to_owned();
            Machine { home, git, dir }
        })
    }

    /// Goes into a new repository.
    fn repository(mut self) -> Self {
        self.dir = self.home.path().join("repository");
        self.sh("git init --quiet \"$HOME/repository\"");
        self
    }

    fn write(&self, file: &str, content: &str) {
        fs::write(self.home.path().join(file), content).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.home.path().join(file)).unwrap()
    }

    fn run(&self, program: &str, arguments: &[&str], input: &str) -> std::process::Output {
        let mut command = self.home.command(program);
        // The repository is made before it is entered.
        let dir = self.dir.exists().then_some(self.dir.as_path());
        command
            .args(arguments)
            .current_dir(dir.unwrap_or(self.home.path()));
        feed(command, input.as_bytes())
    }

    fn sh(&self, script: &str) -> String {
        done(&self.run("sh", &["-e", "-c", script], ""))
    }

    fn setup(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.run(WIT, &[&["setup"], arguments].concat(), "");
        let code = output.status.code().expect("an exit code");
        (code, text(&output.stdout), text(&output.stderr))
    }

    /// Whether git gets a credential of that site that only our helper has.
    fn asks(&self, url: &str) -> bool {
        let (protocol, host) = url.split_once("://").unwrap();
        let request = format!("protocol={protocol}\nhost={host}\n");
        let credential = format!("{request}username=ada\npassword=pw\n\n");
        done(&self.run(HELPER, &["store"], &credential));
        let answer = self.run("git", &["credential", "fill"], &format!("{request}\n"));
        text(&answer.stdout).contains("password=pw")
    }
}

const SITE: &str = "https://a.example";

/// Configurations in which git does not run what merely stands in the file, as files below the home
/// directory, and the options for which it is so.
type Odd = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const ODD: [Odd; 8] = [
    (
        "a reset in an included file",
        &[
            (
                ".gitconfig",
                "[credential]\n\thelper = !true\n[include]\n\tpath = other\n",
            ),
            ("other", "[credential]\n\thelper =\n\thelper = !true\n"),
        ],
        &[],
    ),
    (
        "a reset in a file that is included first",
        &[
            (
                ".gitconfig",
                "[include]\n\tpath = other\n[user]\n\tname = Ada",
            ),
            ("other", "[credential]\n\thelper =\n"),
        ],
        &[],
    ),
    (
        "a reset in a file that is included here only",
        &[
            (
                ".gitconfig",
                "[includeIf \"gitdir:~/repository/\"]\n\tpath = other\n",
            ),
            ("other", "[credential]\n\thelper =\n\thelper = !true\n"),
        ],
        &[],
    ),
    (
        "ours in a file that is included here only",
        &[
            (
                ".gitconfig",
                "[includeIf \"gitdir:~/repository/\"]\n\tpath = other\n",
            ),
            ("other", "[credential]\n\thelper = wit\n"),
        ],
        &[],
    ),
    (
        "ours before a reset",
        &[
            (
                ".gitconfig",
                "[credential]\n\thelper = wit\n[include]\n\tpath = other\n",
            ),
            ("other", "[credential]\n\thelper =\n"),
        ],
        &[],
    ),
    (
        "a reset of the site's own",
        &[(
            ".gitconfig",
            "[credential \"https://a.example\"]\n\thelper =\n\thelper = !true\n",
        )],
        &["--host", SITE],
    ),
    (
        "a reset behind the site's section",
        &[(
            ".gitconfig",
            "[credential \"https://a.example\"]\n\tusername = ada\n[credential]\n\thelper =\n",
        )],
        &["--host", SITE],
    ),
    (
        "a reset for a part of the URL",
        &[(
            ".gitconfig",
            "[credential \"https://a.example\"]\n\thelper = !true\n\
             [credential \"a.example\"]\n\thelper =\n",
        )],
        &["--host", SITE],
    ),
];

#[test]
fn it_goes_behind_the_last_reset_so_that_git_asks_it() {
    for (name, files, how) in ODD {
        for machine in Machine::each().map(Machine::repository) {
            for (file, content) in files {
                machine.write(file, content);
            }
            let before = machine.read(".gitconfig");
            let (code, out, err) = machine.setup(&[how, &["--json"]].concat());
            assert_eq!(code, 0, "{name}: {err}");
            assert!(out.contains("\"added\": true"), "{name}: {out}");
            assert!(machine.asks(SITE), "{name} with {}", machine.git);
            let after = machine.read(".gitconfig");
            let (code, out, _) = machine.setup(&[how, &["--json"]].concat());
            assert_eq!(code, 0, "{name}");
            assert!(out.contains("\"added\": false"), "{name}: {out}");
            assert_eq!(machine.read(".gitconfig"), after, "{name}");
            assert_eq!(machine.setup(&["--undo"]).0, 0, "{name}");
            assert_eq!(machine.read(".gitconfig"), before, "{name}");
        }
    }
}

#[test]
fn what_a_dry_run_prints_goes_behind_the_last_reset_too() {
    for (name, files, how) in ODD {
        let machine = Machine::each().next().unwrap().repository();
        for (file, content) in files {
            machine.write(file, content);
        }
        let before = machine.read(".gitconfig");
        let (code, commands, err) = machine.setup(&[how, &["--dry-run"]].concat());
        assert_eq!(code, 0, "{name}: {err}");
        assert_eq!(machine.read(".gitconfig"), before);
        machine.sh(&commands);
        // Where the first try is not asked, only git itself can tell.
        if name != "a reset behind the site's section" {
            assert!(machine.asks(SITE), "{name}: {commands}");
        }
    }
}

/// A reset that is read later than what `wit setup` of a scope writes.
struct Later {
    file: &'static str,
    content: &'static str,
    how: &'static [&'static str],
    /// The end of what the message names.
    named: &'static str,
}

#[test]
fn where_a_later_reset_wins_nothing_is_changed_and_the_reset_is_named() {
    let reset = "[user]\n\tname = Ada\n[credential]\n\thelper =\n";
    for later in [
        Later {
            file: "repository/.git/config",
            content: reset,
            how: &[],
            named: "repository/.git/config:",
        },
        Later {
            file: "repository/.git/config",
            content: "[credential \"https://a.example\"]\n\thelper =\n",
            how: &["--host", SITE],
            named: "repository/.git/config:",
        },
        Later {
            file: "repository/.git/config.worktree",
            content: reset,
            how: &["--local"],
            named: "repository/.git/config.worktree:4 ",
        },
        Later {
            file: ".gitconfig",
            content: reset,
            how: &["--system"],
            named: "/.gitconfig:4 ",
        },
    ] {
        for mut machine in Machine::each().map(Machine::repository) {
            machine.home.set("GIT_CONFIG_NOSYSTEM", "0");
            let system = machine.home.path().join("system");
            machine
                .home
                .set("GIT_CONFIG_SYSTEM", system.display().to_string());
            machine.sh("git config extensions.worktreeConfig true");
            let file = machine.home.path().join(later.file);
            let known = fs::read_to_string(&file).unwrap_or_default();
            fs::write(&file, known + later.content).unwrap();
            let before = support::files(machine.home.path());
            let content = |machine: &Machine| {
                ["system", ".gitconfig", "repository/.git/config"]
                    .map(|file| fs::read_to_string(machine.home.path().join(file)).ok())
            };
            let was = content(&machine);
            for more in [&[][..], &["--json"], &["--dry-run"], &["--portable"]] {
                let (code, out, err) = machine.setup(&[later.how, more].concat());
                assert_eq!(code, 3, "{}: {out}{err}", later.file);
                assert!(err.contains(later.named), "{err}");
                assert_eq!(out, "");
                assert_eq!(content(&machine), was);
            }
            assert_eq!(support::files(machine.home.path()), before);
            // The hint is a command that leads on.
            let (_, _, err) = machine.setup(later.how);
            let hint = err.lines().find_map(|line| line.strip_prefix("hint: "));
            machine.sh(hint.unwrap());
            let asked = match later.how.contains(&"--local") {
                // It only ended what was in the way.
                true => machine.setup(later.how).0 == 0 && machine.asks(SITE),
                false => machine.asks(SITE),
            };
            assert!(asked, "{}: {hint:?}", later.file);
        }
    }
}

#[test]
fn a_reset_in_the_environment_is_named() {
    for machine in Machine::each() {
        for (set, name) in [
            (
                "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=credential.helper GIT_CONFIG_VALUE_0=",
                "GIT_CONFIG_COUNT",
            ),
            (
                "GIT_CONFIG_PARAMETERS=\"'credential.helper='\"",
                "GIT_CONFIG_PARAMETERS",
            ),
        ] {
            let script = format!("export {set}; wit setup");
            let output = machine.run("sh", &["-c", &script], "");
            let said = refused(&output, 3);
            assert!(said.contains("the environment resets"), "{said}");
            assert!(said.contains(&format!("hint: unset {name}")), "{said}");
            assert!(!machine.home.path().join(".gitconfig").exists());
        }
    }
}

#[test]
fn a_file_that_git_does_not_read_is_not_left_behind() {
    for mut machine in Machine::each() {
        let system = machine.home.path().join("system");
        let name = system.display().to_string();
        machine.home.set("GIT_CONFIG_SYSTEM", name);
        let (code, _, err) = machine.setup(&["--system"]);
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("hint: unset GIT_CONFIG_NOSYSTEM"), "{err}");
        assert!(!system.exists());

        // To git it is set, and names no file at all.
        machine.home.set("GIT_CONFIG_GLOBAL", "");
        let (code, _, err) = machine.setup(&[]);
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("hint: unset GIT_CONFIG_GLOBAL"), "{err}");
        assert!(!machine.home.path().join(".gitconfig").exists());
    }
}

#[test]
fn a_site_for_which_git_asks_others_is_told() {
    for machine in Machine::each() {
        let own = "[credential \"https://me:pw@b.example\"]\n\thelper =\n\thelper = !true\n";
        machine.write(".gitconfig", own);
        let (code, out, _) = machine.setup(&[]);
        assert_eq!(code, 0);
        assert!(out.contains("for every other site"), "{out}");
        assert!(out.contains("--host https://b.example\n"), "{out}");
        assert!(!out.contains("me:pw"), "{out}");
        assert!(machine.asks(SITE));
    }
}

#[test]
fn a_name_that_git_does_not_find_is_not_said_to_be_asked() {
    let mut home = Home::new();
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(WIT, bin.join("wit")).unwrap();
    home.set(
        "PATH",
        format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()),
    );
    let output = home.run("wit", &["setup", "--portable", "--json"], "");
    assert!(done(&output).contains("\"added\": false"));
    let output = home.run("wit", &["setup", "--portable"], "");
    assert!(text(&output.stderr).contains("git will not find it"));
    assert!(!text(&output.stdout).contains("git asks"));
}

#[test]
fn a_link_that_leads_nowhere_yet_is_followed() {
    for machine in Machine::each() {
        let link = machine.home.path().join(".gitconfig");
        fs::create_dir(machine.home.path().join("dotfiles")).unwrap();
        std::os::unix::fs::symlink("dotfiles/link", &link).unwrap();
        let second = machine.home.path().join("dotfiles/link");
        std::os::unix::fs::symlink("gitconfig", &second).unwrap();
        assert_eq!(machine.setup(&[]).0, 0);
        assert!(machine.read("dotfiles/gitconfig").contains("helper = "));
        assert!(machine.asks(SITE));
        assert_eq!(machine.setup(&["--undo"]).0, 0);
        for link in [link, second] {
            assert!(fs::symlink_metadata(link).unwrap().is_symlink());
        }
        assert!(!machine.home.path().join("dotfiles/gitconfig").exists());
    }
}

#[test]
fn what_is_no_file_is_refused_and_left() {
    use std::os::unix::fs::FileTypeExt;
    let home = Home::new();
    let place = |name: &str| home.path().join(name).display().to_string();
    let _socket = std::os::unix::net::UnixListener::bind(place("socket")).unwrap();
    fs::create_dir(place("directory")).unwrap();
    let mut kinds = vec!["directory", "socket", "fifo"];
    done(&home.run("mkfifo", &[&place("fifo")], ""));
    // As /dev/null, which a test had better not put at risk; only root can make one.
    let device = ["-m", "666", &place("device"), "c", "1", "3"];
    if home.run("mknod", &device, "").status.success() {
        kinds.push("device");
    }
    for kind in kinds {
        let mut other = Home::new();
        other.set("GIT_CONFIG_GLOBAL", place(kind));
        for arguments in [
            &["setup"][..],
            &["setup", "--undo"],
            &["setup", "--dry-run"],
        ] {
            let (code, _, err) = wit(&other, arguments);
            assert_eq!(code, 3, "{kind}: {err}");
            assert!(err.contains("not a regular file"), "{err}");
        }
        let file = fs::metadata(place(kind)).unwrap().file_type();
        assert!(file.is_dir() || file.is_socket() || file.is_fifo() || file.is_char_device());
    }
}

#[test]
fn a_path_of_ours_that_leads_nowhere_is_replaced() {
    for stale in [
        "/old/prefix/bin/git-credential-wit",
        "/Usr/Local/Bin/Git-Credential-Wit --store file",
    ] {
        for machine in Machine::each() {
            let before = format!(
                "[credential]\n\thelper = {stale}\n\thelper = !true\n\
                 [credential \"https://b.example\"]\n\thelper =\n\thelper = {stale}\n"
            );
            machine.write(".gitconfig", &before);
            let (_, commands, _) = machine.setup(&["--dry-run"]);
            assert_eq!(machine.read(".gitconfig"), before);
            let (code, out, err) = machine.setup(&["--json"]);
            assert_eq!(code, 0, "{err}");
            assert!(out.contains("\"added\": true"), "{out}");
            let after = machine.read(".gitconfig");
            assert_eq!(after, before.replace(stale, HELPER));
            assert!(machine.asks(SITE) && machine.asks("https://b.example"));
            machine.setup(&[]);
            assert_eq!(machine.read(".gitconfig"), after);
            assert_eq!(machine.setup(&["--undo"]).0, 0);
            assert_eq!(machine.read(".gitconfig"), before);
            machine.sh(&commands);
            assert_eq!(machine.read(".gitconfig"), after);
        }
    }
}

#[test]
fn after_a_move_of_the_programs_the_new_path_takes_the_place_of_the_old_one() {
    let mut home = Home::new();
    program(&mut home, "systemctl", "");
    let (old, new) = (home.path().join("old"), home.path().join("new"));
    install(&old);
    let run = |dir: &Path, arguments: &[&str]| {
        let wit = dir.join("wit").display().to_string();
        done(&home.run(&wit, &[&["setup"], arguments].concat(), ""))
    };
    fs::write(home.path().join(".gitconfig"), "[user]\n\tname = Ada\n").unwrap();
    run(&old, &["--renew", "daily"]);
    run(&old, &["--host", "https://b.example"]);
    fs::rename(&old, &new).unwrap();
    run(&new, &["--renew", "daily"]);
    let helper = new.join("git-credential-wit").display().to_string();
    assert_eq!(helpers(&home), [helper.as_str()]);
    let key = "credential.https://b.example.helper";
    assert_eq!(values(&home, key), ["", helper.as_str()]);
    let units = home.path().join(".config/systemd/user");
    let service = fs::read_to_string(units.join("wit-renew.service")).unwrap();
    assert!(service.contains(&new.display().to_string()), "{service}");
    run(&new, &["--undo"]);
    assert_eq!(configuration(&home), "[user]\n\tname = Ada\n");
    assert!(!units.exists());
}

#[test]
fn undo_finds_the_configuration_where_it_was_moved_to() {
    for machine in Machine::each() {
        let mine = "[user]\n\tname = Ada\n";
        machine.write(".gitconfig", mine);
        assert_eq!(machine.setup(&[]).0, 0);
        machine.sh("mkdir -p .config/git && mv .gitconfig .config/git/config");
        assert!(machine.asks(SITE));
        assert_eq!(machine.setup(&["--undo"]).0, 0);
        assert_eq!(machine.read(".config/git/config"), mine);

        assert_eq!(machine.setup(&[]).0, 0);
        machine.sh("mv .config/git/config mine; git config --global include.path ~/mine");
        assert!(machine.asks(SITE));
        assert_eq!(machine.setup(&["--undo"]).0, 0);
        assert_eq!(machine.read("mine"), mine);
    }
}

#[test]
fn undo_ends_with_attention_where_what_was_moved_was_changed_too() {
    let machine = Machine::each().next().unwrap();
    assert_eq!(machine.setup(&[]).0, 0);
    machine.sh("mkdir -p .config/git && sed 's/helper = /helper=/' .gitconfig >.config/git/config");
    machine.sh("rm .gitconfig");
    let (code, _, err) = machine.setup(&["--undo"]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains(".config/git/config was changed"), "{err}");
}

#[test]
fn undo_finds_a_repository_where_it_was_moved_to() {
    for machine in Machine::each().map(Machine::repository) {
        let before = machine.read("repository/.git/config");
        assert_eq!(machine.setup(&["--local"]).0, 0);
        machine.sh("git init --quiet ../other; cd ../other && wit setup --local");
        machine.sh("cd ..; mv repository moved; cd moved && wit setup --local --undo");
        assert_eq!(machine.read("moved/.git/config"), before);
        assert!(machine.read("other/.git/config").contains("helper = "));
    }
}

#[test]
fn a_damaged_record_is_kept_and_stops_nothing() {
    for content in ["", "{ \"changes\": [", "directory"] {
        let home = configured("[user]\n\tname = Ada\n");
        let record = home.path().join(".local/state/wit/setup.json");
        let damage = || {
            let _ = fs::remove_file(&record);
            match content {
                "directory" => fs::create_dir_all(record.join("within")).unwrap(),
                _ => {
                    fs::create_dir_all(record.parent().unwrap()).unwrap();
                    fs::write(&record, content).unwrap();
                }
            }
        };
        damage();
        set_up(&home, &[]);
        assert_eq!(helpers(&home), [HELPER]);
        assert!(record.with_extension("json.aside").exists());
        set_up(&home, &["--undo"]);
        assert_eq!(configuration(&home), "[user]\n\tname = Ada\n");

        set_up(&home, &[]);
        damage();
        set_up(&home, &[]);
        let (code, _, err) = wit(&home, &["setup", "--undo"]);
        assert_eq!(code, 3, "{err}");
        let hint = err.lines().find_map(|line| line.strip_prefix("hint: "));
        done(&home.run("sh", &["-c", hint.unwrap()], ""));
        assert!(helpers(&home).is_empty());
        set_up(&home, &["--undo"]);
    }
}

#[test]
fn a_record_of_a_newer_version_is_left_to_that() {
    let home = Home::new();
    let record = home.path().join(".local/state/wit/setup.json");
    fs::create_dir_all(record.parent().unwrap()).unwrap();
    fs::write(&record, r#"{"version":99}"#).unwrap();
    for arguments in [&["setup"][..], &["setup", "--undo"]] {
        let (code, _, err) = wit(&home, arguments);
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("newer than this program"), "{err}");
    }
    assert_eq!(fs::read_to_string(&record).unwrap(), r#"{"version":99}"#);
    assert!(helpers(&home).is_empty());
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
