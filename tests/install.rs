//! The README's first command, as a new user types it, and what it installs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Home, WIT, files, text};

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn install(home: &Home, temporary: &Path, arguments: &[&str]) -> (String, bool) {
    let mut command = home.command("sh");
    // Strict, as some people's shells are.
    command.args(["-c", "umask 077; exec \"$0\" \"$@\""]);
    command.arg(checkout().join("install.sh"));
    // The toolchain is not in the throwaway home, and a build is not to be made twice.
    for name in ["CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if let Some(own) = std::env::var_os("HOME").map(PathBuf::from) {
        for (name, dir) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            if std::env::var_os(name).is_none() {
                command.env(name, own.join(dir));
            }
        }
    }
    command
        .env("TMPDIR", temporary)
        .env_remove("WIT_STORE")
        .args(arguments);
    let output = command.output().unwrap();
    let all = text(&output.stdout) + &text(&output.stderr);
    (all, output.status.success())
}

#[test]
fn a_new_user_installs_tries_and_uninstalls() {
    let home = Home::new();
    let temporary = tempfile::tempdir().unwrap();
    let prefix = home.path().join("prefix");
    let place = ["--prefix", prefix.to_str().unwrap()];

    let (said, done) = install(&home, temporary.path(), &[&place[..], &["--try"]].concat());
    assert!(done, "{said}");
    let steps = [
        "$ wit up",
        "$ wit login http://127.0.0.1:",
        "$ wit setup",
        "$ wit token create --expires 30",
        "$ git clone http://127.0.0.1:",
        "$ git push",
        "$ git fetch",
        "Last used: just now",
        "$ wit token revoke wit_",
        "(refused by the server with 401",
        "$ wit down",
    ];
    let mut rest = said.as_str();
    for step in steps {
        let at = rest
            .find(step)
            .unwrap_or_else(|| panic!("no {step:?} in its turn: {said}"));
        rest = &rest[at + step.len()..];
    }
    assert_eq!(
        files(temporary.path()),
        BTreeSet::new(),
        "something was left behind"
    );
    for file in [
        "bin/wit",
        "bin/git-credential-wit",
        "share/man/man1/git-credential-wit.1",
        "share/zsh/site-functions/_wit",
        "share/git-credential-wit/wit.ps1",
    ] {
        assert!(prefix.join(file).exists(), "{file} was not installed");
    }
    let below_home = files(home.path());
    assert!(
        below_home.iter().all(|file| file.starts_with("prefix")),
        "{below_home:?}"
    );

    // Twice is the same as once, and what is somebody else's stays.
    let before = files(&prefix);
    let (said, done) = install(&home, temporary.path(), &place);
    assert!(done, "{said}");
    assert_eq!(files(&prefix), before);
    std::fs::write(prefix.join("bin/other"), "not ours").unwrap();
    let (said, done) = install(
        &home,
        temporary.path(),
        &[&place[..], &["--uninstall"]].concat(),
    );
    assert!(done, "{said}");
    assert_eq!(files(&prefix), BTreeSet::from([PathBuf::from("bin/other")]));
}

#[test]
fn what_is_installed_can_be_used_by_everybody() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let prefix = home.path().join("not/there");
    let (said, done) = install(&home, home.path(), &["--prefix", prefix.to_str().unwrap()]);
    assert!(done, "{said}");
    for (path, mode) in [
        ("../../not", 0o755),
        ("bin", 0o755),
        ("bin/wit", 0o755),
        ("share/man/man1", 0o755),
        ("share/man/man1/wit.1", 0o644),
    ] {
        let found = std::fs::metadata(prefix.join(path)).unwrap().permissions();
        assert_eq!(found.mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn what_is_somebody_elses_is_not_replaced() {
    let home = Home::new();
    let prefix = home.path().join("prefix");
    for file in ["bin/wit", "share/man/man1/wit-token.1"] {
        let file = prefix.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "somebody's").unwrap();
        let (said, done) = install(&home, home.path(), &["--prefix", prefix.to_str().unwrap()]);
        assert!(
            !done && said.contains("is not from this installer"),
            "{said}"
        );
        assert_eq!(files(&prefix).len(), 1, "{said}");
        assert_eq!(std::fs::read(&file).unwrap(), b"somebody's");
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn an_interrupted_installation_can_be_taken_back_and_finished() {
    let home = Home::new();
    let prefix = home.path().join("prefix");
    let place = ["--prefix", prefix.to_str().unwrap()];
    let uninstall = [&place[..], &["--uninstall"]].concat();
    // What stands in the way is met after the programs were put in place.
    let obstacle = prefix.join("share/zsh");
    std::fs::create_dir_all(obstacle.parent().unwrap()).unwrap();
    std::fs::write(&obstacle, "").unwrap();
    for next in [&uninstall[..], &place[..]] {
        let (said, done) = install(&home, home.path(), &place);
        assert!(!done && prefix.join("bin/wit").exists(), "{said}");
        if next == place {
            std::fs::remove_file(&obstacle).unwrap();
        }
        let (said, done) = install(&home, home.path(), next);
        assert!(done, "{said}");
        assert_eq!(prefix.join("bin/wit").exists(), next == place);
    }
    let (said, done) = install(&home, home.path(), &uninstall);
    assert!(done, "{said}");
    assert_eq!(files(&prefix), BTreeSet::new());
}

#[test]
fn what_could_undo_the_setup_is_not_removed_before_that_is_done() {
    let home = Home::new();
    let prefix = home.path().join("prefix");
    let place = ["--prefix", prefix.to_str().unwrap()];
    let uninstall = [&place[..], &["--uninstall"]].concat();
    let (said, done) = install(&home, home.path(), &place);
    assert!(done, "{said}");
    let wit = prefix.join("bin/wit");
    let wit = wit.to_str().unwrap();
    let helper = |key: &str| home.run("git", &["config", "--global", "--get-all", key], "");
    let of_host = "credential.https://git.example.helper";
    let set_up = home.run(wit, &["setup", "--host", "https://git.example"], "");
    assert!(set_up.status.success(), "{set_up:?}");

    let before = files(&prefix);
    let (said, done) = install(&home, home.path(), &uninstall);
    assert!(!done, "{said}");
    assert!(
        said.contains(&format!("hint: {wit} setup --undo\n")),
        "{said}"
    );
    assert_eq!(files(&prefix), before);

    assert!(home.run(wit, &["setup", "--undo"], "").status.success());
    assert_eq!(text(&helper(of_host).stdout), "");
    // What a person configured is told.
    home.run("git", &["config", "--global", of_host, "wit"], "");
    let (said, done) = install(&home, home.path(), &uninstall);
    assert!(done && files(&prefix).is_empty(), "{said}");
    let unset = (said.lines())
        .find(|line| line.contains("--unset-all"))
        .unwrap_or_else(|| panic!("{said}"));
    home.run("sh", &["-c", unset], "");
    assert_eq!(text(&helper(of_host).stdout), "");
}

#[test]
fn the_completions_are_what_the_program_makes() {
    for (shell, file) in [
        ("bash", "wit.bash"),
        ("zsh", "_wit"),
        ("fish", "wit.fish"),
        ("powershell", "wit.ps1"),
    ] {
        let made = Command::new(WIT)
            .args(["generate", "completions", shell])
            .output()
            .unwrap();
        let committed = std::fs::read(checkout().join("completions").join(file)).unwrap();
        assert!(
            made.stdout == committed,
            "out of date: wit generate completions {shell} > completions/{file}"
        );
    }
}

#[test]
fn the_man_pages_are_what_the_commands_say() {
    let made = tempfile::tempdir().unwrap();
    let status = Command::new(WIT)
        .args(["generate", "man"])
        .arg(made.path())
        .status()
        .unwrap();
    assert!(status.success());
    let man = checkout().join("man");
    let mut committed = files(&man);
    assert!(
        committed.remove(Path::new("git-credential-wit.1")),
        "written by hand"
    );
    assert_eq!(
        files(made.path()),
        committed,
        "renew them with: wit generate man man"
    );
    for page in committed {
        let same = std::fs::read(man.join(&page)).unwrap()
            == std::fs::read(made.path().join(&page)).unwrap();
        assert!(same, "{page:?} is out of date: wit generate man man");
    }
}
