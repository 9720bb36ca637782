//! The Debian package: it installs, works and leaves nothing behind.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Home, files, release, text};

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// The package of `.ci/release`, else one as `cargo deb` is told to make it by Cargo.toml: building
/// that tool would take longer than all tests. The release build is the one that the installer's
/// test makes.
fn package(dir: &Path) -> PathBuf {
    if let Some(package) = std::env::var_os("WIT_TEST_PACKAGE") {
        return package.into();
    }
    let release = release();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(checkout.join("Cargo.toml")).expect("read");
    let (_, deb) = manifest
        .split_once("[package.metadata.deb]\n")
        .expect("the metadata");
    let field = |name: &str| {
        let line = deb
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} = ")));
        line.unwrap_or_else(|| panic!("no {name}"))
            .trim_matches('"')
            .to_owned()
    };
    let tree = dir.join("tree");
    let (_, assets) = deb.split_once("assets = [\n").expect("the files");
    let (assets, _) = assets.split_once("\n]").expect("their end");
    for asset in assets.lines() {
        let words: Vec<&str> = asset.split('"').skip(1).step_by(2).collect();
        let [from, to, mode] = words[..] else {
            panic!("{asset}")
        };
        for from in sources(checkout, &release, from) {
            let mut to = tree.join(to);
            if words[1].ends_with('/') {
                to.push(from.file_name().expect("a file"));
            }
            run(Command::new("install")
                .args(["-D", "-m", mode])
                .arg(from)
                .arg(to));
        }
    }
    let control = format!(
        "Package: {}\nVersion: {}\nArchitecture: all\nMaintainer: {}\nSection: {}\n\
         Depends: {}\nSuggests: {}\nDescription: a git credential helper\n",
        field("name"),
        env!("CARGO_PKG_VERSION"),
        field("maintainer"),
        field("section"),
        field("depends").replace("$auto", "libc6, libgcc-s1"),
        field("suggests"),
    );
    fs::create_dir_all(tree.join("DEBIAN")).expect("made");
    fs::write(tree.join("DEBIAN/control"), control).expect("written");
    let package = dir.join("wit.deb");
    let build = ["--root-owner-group", "-Znone", "--build"];
    run(Command::new("dpkg-deb")
        .args(build)
        .arg(&tree)
        .arg(&package));
    package
}

/// The files of an asset: one, or those that `*.END` means.
fn sources(checkout: &Path, release: &Path, from: &str) -> Vec<PathBuf> {
    if let Some(("target/release", program)) = from.rsplit_once('/') {
        return vec![release.join(program)];
    }
    let Some((dir, end)) = from.split_once("/*.") else {
        return vec![checkout.join(from)];
    };
    let entries = fs::read_dir(checkout.join(dir)).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|of| of == end))
        .collect()
}

/// A machine with an empty package database, below a directory.
struct Machine(PathBuf);

impl Machine {
    fn new(root: &Path) -> Self {
        let admin = root.join("var/lib/dpkg");
        for dir in ["info", "updates"] {
            fs::create_dir_all(admin.join(dir)).expect("made");
        }
        for file in ["status", "available"] {
            fs::write(admin.join(file), "").expect("written");
        }
        Machine(root.to_owned())
    }

    fn dpkg(&self, arguments: &[&str]) -> String {
        let root = format!("--root={}", self.0.display());
        // git and the C library are not in this database; whoever runs this need not be root.
        let forced = "--force-depends,not-root,bad-path";
        run(Command::new("dpkg")
            .args([&root, forced, "--log=/dev/null"])
            .args(arguments))
    }
}

#[test]
fn it_installs_works_and_purges_cleanly() {
    let dir = tempfile::tempdir().expect("a directory");
    let package = package(dir.path());
    let package = package.to_str().expect("UTF-8");
    let depends = run(Command::new("dpkg-deb").args(["--field", package, "Depends"]));
    assert!(
        depends.contains("libc6") && depends.contains("git"),
        "{depends}"
    );

    let root = dir.path().join("root");
    let machine = Machine::new(&root);
    let empty = files(&root);
    machine.dpkg(&["--install", package]);
    assert!(machine.dpkg(&["--verify", "git-credential-wit"]).is_empty());
    for file in [
        "usr/share/man/man1/git-credential-wit.1",
        "usr/share/man/man1/wit.1",
        "usr/share/bash-completion/completions/wit",
        "usr/share/zsh/vendor-completions/_wit",
        "usr/share/fish/vendor_completions.d/wit.fish",
        "usr/share/doc/git-credential-wit/LICENSE-MIT",
        "usr/share/doc/git-credential-wit/README.md",
        "usr/share/doc/git-credential-wit/docs/hosts/github.md",
        "usr/lib/systemd/system/wit.service",
        "usr/lib/sysusers.d/wit.conf",
    ] {
        // cargo deb compresses what Debian wants compressed.
        let there = ["", ".gz"].map(|end| root.join(format!("{file}{end}")).exists());
        assert!(there.contains(&true), "{file}: {:?}", files(&root));
    }

    let mut home = Home::new();
    home.set(
        "PATH",
        format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            root.join("usr/bin").display()
        ),
    );
    let wit = root.join("usr/bin/wit");
    run(home.command(&wit).arg("setup"));
    let credential = "protocol=https\nhost=example.org\nusername=ada\npassword=pw\n\n";
    assert!(
        home.run("git", &["credential", "approve"], credential)
            .status
            .success()
    );
    let asked = "protocol=https\nhost=example.org\n\n";
    let answer = home.run("git", &["credential", "fill"], asked);
    assert!(text(&answer.stdout).contains("password=pw"), "{answer:?}");

    machine.dpkg(&["--purge", "git-credential-wit"]);
    let database = |file: &PathBuf| file.starts_with("var/lib/dpkg");
    let left: Vec<PathBuf> = files(&root)
        .into_iter()
        .filter(|file| !database(file))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(empty.iter().all(database));
}
