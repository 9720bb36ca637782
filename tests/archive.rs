//! The release archive, installed where nothing can be built.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{HELPER, Home, WIT, files, text};

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An archive of programs that only say their version: what the installer does with it is the same.
fn small(dir: &Path) -> PathBuf {
    let program = dir.join("program");
    fs::write(&program, "#!/bin/sh\necho 0.1.0\n").expect("written");
    archive(dir, &program, &program)
}

fn archive(dir: &Path, helper: &Path, wit: &Path) -> PathBuf {
    let made = Command::new(checkout().join("packaging/archive"))
        .args([helper, wit])
        .arg(dir)
        .env("TMPDIR", dir)
        .output()
        .expect("packaging/archive");
    assert!(made.status.success(), "{made:?}");
    text(&made.stdout).trim().into()
}

/// A machine on which nothing can be built: the usual tools, without cargo and a compiler.
struct Bare {
    home: Home,
    prefix: PathBuf,
    temporary: PathBuf,
}

impl Bare {
    fn new() -> Self {
        let mut home = Home::new();
        let tools = home.path().join("tools");
        fs::create_dir(&tools).expect("made");
        for tool in [
            "sh",
            "env",
            "find",
            "tail",
            "cat",
            "chmod",
            "cp",
            "dirname",
            "git",
            "grep",
            "gzip",
            "head",
            "mkdir",
            "mktemp",
            "mv",
            "od",
            "rm",
            "rmdir",
            "sed",
            "sha256sum",
            "sort",
            "tar",
            "tr",
            "uname",
        ] {
            let found = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(tool));
            let found = found.iter().find(|path| path.exists());
            symlink(
                found.unwrap_or_else(|| panic!("no {tool}")),
                tools.join(tool),
            )
            .expect("linked");
        }
        home.set("PATH", tools.to_str().expect("UTF-8"));
        let [prefix, temporary] = ["prefix", "temporary"].map(|name| home.path().join(name));
        fs::create_dir(&temporary).expect("made");
        Bare {
            home,
            prefix,
            temporary,
        }
    }

    /// What `install.sh` says, and whether it succeeded. It never leaves anything behind.
    fn install(&self, script: &Path, arguments: &[&str]) -> (String, bool) {
        let output = (self.home.command("sh").arg(script))
            .arg("--prefix")
            .arg(&self.prefix)
            .args(arguments)
            .env("TMPDIR", &self.temporary)
            .output()
            .expect("sh");
        assert_eq!(files(&self.temporary), BTreeSet::new(), "left behind");
        (
            text(&output.stdout) + &text(&output.stderr),
            output.status.success(),
        )
    }

    fn from(&self, archive: &Path, more: &[&str]) -> (String, bool) {
        let from = ["--from", archive.to_str().expect("UTF-8")];
        self.install(&checkout().join("install.sh"), &[&from, more].concat())
    }
}

#[test]
fn an_archive_is_installed_where_nothing_can_be_built() {
    let dir = tempfile::tempdir().expect("a directory");
    let archive = archive(dir.path(), Path::new(HELPER), Path::new(WIT));
    let machine = Bare::new();
    let (said, done) = machine.from(&archive, &["--try"]);
    assert!(done, "{said}");
    assert!(said.contains("refused by the server with 401"), "{said}");
    for (file, mode) in [
        ("bin/wit", 0o755),
        ("bin/git-credential-wit", 0o755),
        ("share/man/man1/wit.1", 0o644),
        ("share/bash-completion/completions/wit", 0o644),
        ("share/zsh/site-functions/_wit", 0o644),
        ("share/fish/vendor_completions.d/wit.fish", 0o644),
        ("share/git-credential-wit/wit.ps1", 0o644),
    ] {
        let found = fs::metadata(machine.prefix.join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(found.permissions().mode() & 0o777, mode, "{file}");
    }
    let (said, done) = machine.install(&checkout().join("install.sh"), &["--uninstall"]);
    assert!(done, "{said}");
    assert!(!machine.prefix.exists(), "{:?}", files(&machine.prefix));
}

/// The directory of an archive that was unpacked beside it.
fn unpacked(archive: &Path) -> PathBuf {
    let dir = archive.parent().expect("a directory");
    let status = Command::new("tar")
        .arg("-xf")
        .arg(archive)
        .current_dir(dir)
        .status();
    assert!(status.expect("tar").success());
    let name = archive.file_name().and_then(|name| name.to_str());
    dir.join(name.expect("UTF-8").trim_end_matches(".tar.gz"))
}

#[test]
fn an_unpacked_archive_installs_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = unpacked(&small(dir.path())).join("install.sh");
    let machine = Bare::new();
    let (said, done) = machine.install(&script, &[]);
    assert!(done && machine.prefix.join("bin/wit").exists(), "{said}");
}

#[test]
fn every_link_of_the_documentation_leads_somewhere_in_the_archive() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = unpacked(&small(dir.path()));
    let pages: Vec<PathBuf> = files(&root)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|end| end == "md"))
        .collect();
    assert!(pages.contains(&"README.md".into()), "{pages:?}");
    let mut followed = 0;
    for page in pages {
        let page = root.join(page);
        let words = fs::read_to_string(&page).expect("read");
        for link in words.split("](").skip(1) {
            let link = link.split([')', '#']).next().unwrap_or_default();
            if link.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let target = page.with_file_name(link);
            assert!(target.exists(), "{}: {link}", page.display());
            followed += 1;
        }
    }
    assert!(followed > 50, "{followed}");
}

#[test]
fn what_is_not_the_archive_of_that_checksum_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let archive = small(dir.path());
    let sums = PathBuf::from(format!("{}.sha256", archive.display()));
    let sum = fs::read_to_string(&sums).expect("a checksum");
    let machine = Bare::new();
    let refused = |archive: &Path, more: &[&str], why: &str| {
        let (said, done) = machine.from(archive, more);
        assert!(
            !done && said.contains(why) && said.contains("hint: "),
            "{said}"
        );
        assert!(!machine.prefix.exists(), "{said}");
    };

    fs::remove_file(&sums).expect("removed");
    refused(&archive, &[], "no checksum");
    // One of another file says nothing of this one.
    let other = dir.path().join("SHA256SUMS");
    fs::write(&other, sum.replace("git-credential-wit-", "other-")).expect("written");
    refused(&archive, &[], "no checksum");
    refused(
        &archive,
        &["--sha256", &"0".repeat(64)],
        "damaged or was changed",
    );
    fs::write(
        &other,
        sum.to_uppercase()
            .replace("GIT-CREDENTIAL", "git-credential"),
    )
    .expect("written");

    let whole = fs::read(&archive).expect("read");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    for damaged in [&changed[..], &whole[..whole.len() - 1]] {
        fs::write(&archive, damaged).expect("written");
        fs::write(&sums, &sum).expect("written");
        refused(&archive, &[], "damaged or was changed");
    }
    fs::write(&archive, &whole).expect("written");
    let (said, done) = machine.from(&archive, &[]);
    assert!(done, "{said}");
}

#[test]
fn another_programs_archive_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let inner = dir.path().join("git-credential-wit-9/bin");
    fs::create_dir_all(&inner).expect("made");
    for program in ["wit", "git-credential-wit"] {
        fs::write(inner.join(program), "not a program").expect("written");
        fs::set_permissions(inner.join(program), fs::Permissions::from_mode(0o755)).expect("set");
    }
    let archive = dir.path().join("other.tar.gz");
    let pack = |archive: &Path| {
        let packed = (Command::new("tar").arg("-czf").arg(archive))
            .args([
                "-C",
                dir.path().to_str().expect("UTF-8"),
                "git-credential-wit-9",
            ])
            .status();
        assert!(packed.expect("tar").success());
        let sum = Command::new("sha256sum")
            .arg(archive)
            .output()
            .expect("sha256sum");
        text(&sum.stdout)[..64].to_owned()
    };
    let machine = Bare::new();
    let sum = pack(&archive);
    let (said, done) = machine.from(&archive, &["--sha256", &sum]);
    assert!(!done && said.contains("is no release"), "{said}");

    let page = dir.path().join("git-credential-wit-9/share/man/man1/wit.1");
    fs::create_dir_all(page.parent().expect("a directory")).expect("made");
    fs::write(page, "").expect("written");
    let sum = pack(&archive);
    let (said, done) = machine.from(&archive, &["--sha256", &sum]);
    assert!(
        !done && said.contains("does not run on this machine"),
        "{said}"
    );
    assert!(!machine.prefix.exists());
}

#[test]
fn the_same_programs_make_the_same_archive() {
    let [first, second] = [(), ()].map(|()| tempfile::tempdir().expect("a directory"));
    let [one, other] =
        [&first, &second].map(|dir| fs::read(small(dir.path())).expect("an archive"));
    assert!(one == other);
}

#[test]
fn beside_an_archive_the_script_needs_no_option() {
    let dir = tempfile::tempdir().expect("a directory");
    let archive = small(dir.path());
    let download = tempfile::tempdir().expect("a directory");
    let script = download.path().join("install.sh");
    fs::copy(checkout().join("install.sh"), &script).expect("copied");
    let machine = Bare::new();
    let (said, done) = machine.install(&script, &[]);
    assert!(
        !done && said.contains("hint: ./install.sh --from ARCHIVE"),
        "{said}"
    );

    let name = archive.file_name().expect("a name");
    let beside = download.path().join(name);
    fs::copy(&archive, &beside).expect("copied");
    let (said, done) = machine.install(&script, &[]);
    assert!(!done && said.contains("no checksum"), "{said}");
    let sum = |archive: &Path| PathBuf::from(format!("{}.sha256", archive.display()));
    fs::copy(sum(&archive), sum(&beside)).expect("copied");
    let (said, done) = machine.install(&script, &[]);
    assert!(done && machine.prefix.join("bin/wit").exists(), "{said}");
    assert!(said.contains("wit setup"), "{said}");
    // An upgrade is no first time.
    let (said, done) = machine.install(&script, &[]);
    assert!(done && !said.contains("wit setup"), "{said}");

    // A file that is named after the archive is for it.
    let renamed = download.path().join("wit.tar.gz");
    fs::rename(&beside, &renamed).expect("renamed");
    fs::rename(sum(&beside), sum(&renamed)).expect("renamed");
    let (said, done) = machine.from(&renamed, &[]);
    assert!(done, "{said}");
    let (said, done) = machine.from(&renamed, &["--sha256", "abc"]);
    assert!(!done && said.contains("64 hexadecimal digits"), "{said}");
}

#[test]
fn another_prefix_is_uninstalled_while_git_uses_this_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let archive = archive(dir.path(), Path::new(HELPER), Path::new(WIT));
    let machine = Bare::new();
    let (said, done) = machine.from(&archive, &[]);
    assert!(done, "{said}");
    let wit = machine.prefix.join("bin/wit");
    let set_up = machine
        .home
        .run(wit.to_str().expect("UTF-8"), &["setup"], "");
    assert!(set_up.status.success(), "{set_up:?}");

    let other = Bare {
        home: machine.home,
        prefix: machine.prefix.with_file_name("other"),
        temporary: machine.temporary,
    };
    let (said, done) = other.from(&archive, &[]);
    assert!(done, "{said}");
    let uninstall =
        |machine: &Bare| machine.install(&checkout().join("install.sh"), &["--uninstall"]);
    let (said, done) = uninstall(&other);
    assert!(done && !other.prefix.exists(), "{said}");
    let first = Bare {
        home: other.home,
        prefix: machine.prefix,
        temporary: other.temporary,
    };
    let (said, done) = uninstall(&first);
    assert!(!done && said.contains("wit setup --undo"), "{said}");
}

#[test]
fn a_directory_that_nothing_can_be_installed_to_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let archive = small(dir.path());
    let machine = Bare::new();
    let (said, done) = machine.install(
        &checkout().join("install.sh"),
        &[
            "--from",
            archive.to_str().expect("UTF-8"),
            "--prefix",
            "/proc/wit",
        ],
    );
    assert!(
        !done && said.contains("hint: choose another directory"),
        "{said}"
    );
}
