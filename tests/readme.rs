//! The README and the documentation, walked from top to bottom: the transcript on each store, every
//! other command, and every link.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::platform::{PASSWORD, Server};
use crate::support::session::Session;
use crate::support::{HELPER, Home, WIT, done, text};

/// Commands that need another place, by the test that runs them there: a part of the command, the
/// file, and a part of that.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("wit store erase", "stored.rs", "erase"),
    ("./install.sh --try", "install.rs", "--try"),
    ("./install.sh --uninstall", "install.rs", "--uninstall"),
    ("wit.ps1", "completions.rs", "wit.ps1"),
    ("tests/run", "../.ci/run", "tests/run"),
    ("--tls-cert", "tls.rs", "--tls-cert"),
    ("--ca-file", "tls.rs", "--ca-file"),
    ("wit up backup", "backup.rs", "\"backup\""),
    ("pg_dump", "backup.rs", "--repositories-only"),
    ("sudo ", "systemd.rs", "packaging/wit.service"),
    ("wit up restore", "backup.rs", "\"restore\""),
    ("--api database", "direct.rs", "database"),
    ("https://github.com", "host_pages.rs", "README.md"),
    ("https://gitlab.com", "host_pages.rs", "README.md"),
    ("https://codeberg.org", "host_pages.rs", "README.md"),
    ("--token-stdin", "hosts.rs", "--token-stdin"),
    ("--self --deliver", "self_rotation.rs", "--self"),
];

pub fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// The pages whose commands are run, in this order.
const PAGES: [&str; 14] = [
    "docs/stores.md",
    "docs/configuration.md",
    "docs/network.md",
    "docs/rotation.md",
    "docs/ci.md",
    "docs/server.md",
    "docs/maintenance.md",
    "docs/hosts/wit.md",
    "docs/direct.md",
    "docs/troubleshooting.md",
    "docs/migrating.md",
    "docs/usage.md",
    "README.md",
    "docs/install.md",
];

/// The blocks that are set off by four spaces, each with their lines.
pub fn blocks(readme: &str) -> Vec<Vec<&str>> {
    let mut blocks = vec![Vec::new()];
    let mut fenced = false;
    for line in readme.lines() {
        fenced ^= line.starts_with("```");
        let last = blocks.last_mut().expect("one at least");
        match line.strip_prefix("    ") {
            Some(line) if !fenced => last.push(line),
            None if line.is_empty() && !last.is_empty() => last.push(""),
            _ if last.is_empty() => {}
            _ => blocks.push(Vec::new()),
        }
    }
    blocks.retain(|block| block.iter().any(|line| !line.is_empty()));
    blocks
}

/// The blocks that show commands with what they print, as one.
fn transcript(readme: &str) -> Vec<&str> {
    let shown = blocks(readme)
        .into_iter()
        .filter(|block| block[0].starts_with("$ "));
    let lines: Vec<&str> = shown
        .flat_map(|mut block| {
            // What follows a block is set off from it by an empty line.
            while block.last().is_some_and(|line| line.is_empty()) {
                block.pop();
            }
            block
        })
        .collect();
    assert!(lines.len() > 50, "{lines:?}");
    lines
}

/// Text without what differs from one run to the next.
fn settled(text: &str, known: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (here, there) in known {
        text = text.replace(here, there);
    }
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(word);
        words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// A word whose digits are a port, an id, a day or a hash keeps its form only.
fn word(word: &str) -> String {
    let marks = |word: &str| {
        word.chars()
            .all(|c| c.is_ascii_hexdigit() || "-.,]:".contains(c))
    };
    if let Some((before, _)) = word.split_once("127.0.0.1:") {
        let after = word.rsplit_once("/ada").map_or("", |(_, after)| after);
        return format!("{before}ADDRESS{after}");
    }
    if word.starts_with("wit_") {
        return "wit_PREFIX".to_owned();
    }
    let digits = word.chars().any(|c| c.is_ascii_digit());
    let long = word.len() >= 7 && marks(word);
    match long || digits && word.ends_with(',') {
        true => "VALUE".to_owned(),
        false => word.to_owned(),
    }
}

/// Runs the transcript as one shell does, and compares what it prints.
fn walk(home: &mut Home, location: &str) {
    let page = file("docs/first-steps.md");
    let shown = transcript(&page);
    fs::write(home.path().join("password"), PASSWORD).expect("written");
    let prefix_of_now =
        "$(wit token list --json | sed -n 's/.*\"tokenPrefix\": \"\\(.*\\)\".*/\\1/p')";
    let mut script = String::from("exec 2>&1\n");
    let mut expected = String::new();
    for line in &shown {
        let Some(command) = line.strip_prefix("$ ") else {
            expected += &format!("{line}\n");
            continue;
        };
        expected += &format!("$ {command}\n");
        script += &format!("cat <<'COMMAND'\n$ {command}\nCOMMAND\n");
        let command = command
            .replace("http://127.0.0.1:40929", "$URL")
            .replace("< password", "< ~/password");
        let command = match command.strip_prefix("wit token revoke wit_") {
            Some(_) => format!("wit token revoke {prefix_of_now}"),
            None => command,
        };
        script += &format!("{command}\n");
        if command == "wit up --port 0" {
            script += "URL=$(wit up --json | sed -n 's/.*\"url\": *\"\\([^\"]*\\)\".*/\\1/p')\n";
        }
    }
    // What a failed walk may leave running or stored.
    script += "wit logout >/dev/null 2>&1; wit down >/dev/null 2>&1; true\n";
    for (name, value) in [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "init.defaultBranch"),
        ("GIT_CONFIG_VALUE_0", "main"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@example.org"),
        ("GIT_COMMITTER_NAME", "Ada"),
        ("GIT_COMMITTER_EMAIL", "ada@example.org"),
    ] {
        home.set(name, value);
    }
    let printed = text(&home.run("sh", &["-c", &script], "").stdout);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let (on, path) = (
        format!("git on {}", host.trim()),
        home.path().display().to_string(),
    );
    let known = [
        (HELPER, "~/.local/bin/git-credential-wit"),
        (path.as_str(), "~"),
        (location, "encrypted files in ~/.local/share/wit/store"),
        ("the keychain store:", "the file store:"),
        ("the keyutils store:", "the file store:"),
        (&on, "git on vm"),
    ];
    assert_eq!(
        settled(&printed, &known),
        settled(&expected, &[]),
        "{printed}"
    );
}

#[test]
fn the_transcript_is_what_happens_with_encrypted_files() {
    walk(
        &mut Home::new(),
        "encrypted files in ~/.local/share/wit/store",
    );
}

#[test]
fn the_transcript_is_what_happens_with_the_kernels_keys() {
    let mut home = Home::new();
    home.set("WIT_STORE", "keyutils");
    walk(&mut home, "the kernel's keyring, until the next reboot");
}

#[test]
fn the_transcript_is_what_happens_with_a_keychain() {
    let session = Session::with_keyring();
    let mut home = Home::new();
    home.set("WIT_STORE", "keychain");
    home.set("DBUS_SESSION_BUS_ADDRESS", session.address());
    let location = home.run(WIT, &["store", "--json"], "");
    let location: serde_json::Value = serde_json::from_slice(&location.stdout).expect("JSON");
    walk(&mut home, location["location"].as_str().expect("where"));
}

/// The server of the examples, in a home that has what they speak of.
struct Example {
    server: Server,
    session: Session,
}

impl Example {
    fn new() -> Self {
        let server = Server::start();
        let session = server.sign_up("ada");
        server.repository(&session, "hello", true);
        Example {
            server,
            session: Session::with_keyring(),
        }
    }

    fn home(&self) -> Home {
        let mut home = Home::new();
        home.set("WIT_STORE", "");
        home.set("DBUS_SESSION_BUS_ADDRESS", self.session.address());
        fs::write(home.path().join("password"), PASSWORD).expect("written");
        home
    }

    /// A line of the README for this server.
    fn here(&self, line: &str) -> String {
        line.replace(
            "https://wit.example.com",
            &format!("http://{}", self.server.address),
        )
        .replace(
            "ada@wit.example.com",
            &format!("ada@{}", self.server.address),
        )
        .replace("https://ada@", "http://ada@")
    }

    fn run(&self, home: &Home, command: &str) -> String {
        let output = home.run("sh", &["-c", &self.here(command)], "");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        said
    }
}

/// A program that does nothing, where the real one would act on the world.
fn stub(home: &Home, name: &str, script: &str) {
    let path = home.path().join("stubs").join(name);
    fs::create_dir_all(path.parent().expect("below")).expect("made");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
}

#[test]
fn every_other_command_does_what_it_is_said_to_do() {
    let example = Example::new();
    let mut home = example.home();
    stub(
        &home,
        "gh",
        "[ \"$*\" = 'secret set WIT_TOKEN' ] && cat > ~/delivered",
    );
    stub(
        &home,
        "crontab",
        "[ \"$1\" = -l ] && exit 1; cat > ~/crontab",
    );
    stub(&home, "systemctl", "exit 1");
    stub(
        &home,
        "docker",
        "while [ \"$1\" != IMAGE ]; do shift; done; shift; exec \"$@\"",
    );
    let own = Path::new(HELPER)
        .parent()
        .expect("a directory")
        .display()
        .to_string();
    let path = std::env::var("PATH").expect("a path");
    home.set(
        "PATH",
        format!("{}/stubs:{own}:{path}", home.path().display()),
    );
    fs::write(
        home.path().join(".git-credentials"),
        "https://ada:pw@old.example\n",
    )
    .expect("written");
    fs::write(
        home.path().join(".netrc"),
        "machine old.example login ada password pw\n",
    )
    .expect("written");

    let pages = PAGES.map(file).join("\n");
    let commands: Vec<&str> = blocks(&pages)
        .into_iter()
        .flatten()
        .map(|line| line.split("   #").next().unwrap_or(line).trim())
        .filter(|line| !line.is_empty())
        .collect();
    assert!(commands.len() > 15, "{commands:?}");
    let (mut known, mut named) = (false, false);
    for command in commands {
        let elsewhere = ELSEWHERE.iter().find(|(part, ..)| command.contains(part));
        if let Some((_, test, part)) = elsewhere {
            assert!(
                file(&format!("tests/{test}")).contains(part),
                "{command}: {test}"
            );
            continue;
        }
        if !known && command.starts_with("wit store move") {
            // What is moved, and what later commands renew, must be there.
            example.run(
                &home,
                "wit login https://wit.example.com --username ada --password-stdin < password",
            );
            example.run(
                &home,
                "wit token create CI --print >token && wit token create --expires 30",
            );
            known = true;
        }
        if command == "wit login https://wit.example.com" {
            let by_password = format!("{command} --username ada --password-stdin < password");
            example.run(&home, &by_password);
            continue;
        }
        if command.contains("clone") {
            example.run(&home, "rm -rf hello");
        }
        if !named && command.contains("git fetch") {
            example.run(&home, &format!("cd hello && {command}"));
            named = true;
            continue;
        }
        if command.contains("--foreground") {
            let (place, ended) = (
                "--data-dir ~/other",
                "wit down --data-dir ~/other | grep -q stopped",
            );
            let until =
                format!("{command} --port 0 {place} & until {ended}; do sleep 0.1; done; wait");
            example.run(&home, &format!("timeout 60 sh -c '{until}'"));
            continue;
        }
        if command == "wit doctor" {
            let said = text(&home.run(WIT, &["doctor"], "").stdout);
            assert!(
                said.contains("git asks: ") || said.contains("WRONG"),
                "{said}"
            );
            continue;
        }
        if command == "wit status" {
            // It names a server of an example before, which has ended.
            let said = text(&home.run(WIT, &["status"], "").stdout);
            assert!(said.contains("Logged in as ada"), "{said}");
            continue;
        }
        example.run(&home, command);
    }
    assert!(known && named);
    assert!(
        home.path().join("delivered").exists(),
        "the new token reached gh"
    );
    assert!(home.path().join("crontab").exists(), "cron renews daily");
}

#[test]
fn the_jobs_of_ci_clone_with_a_token_of_the_environment_alone() {
    let example = Example::new();
    let login = example.server.post(
        "/api/auth/sign-in/username",
        "",
        serde_json::json!({ "username": "ada", "password": PASSWORD }),
    );
    let session = login.json()["token"]
        .as_str()
        .expect("a session")
        .to_owned();
    let token = example.server.secret(&session, &["repo:read"]);
    let page = file("docs/ci.md");
    let jobs: Vec<&str> = page.split("```yaml\n").skip(1).collect();
    assert_eq!(jobs.len(), 2, "GitHub Actions and GitLab CI");
    for job in jobs {
        let (job, _) = job.split_once("```").expect("its end");
        let mut home = example.home();
        home.set("WIT_TOKEN", token.clone());
        home.set("WIT_URL", format!("http://{}", example.server.address));
        assert!(job.contains("WIT_URL: https://wit.example.com"));
        let steps = job.lines().map(|line| line.trim().trim_start_matches("- "));
        let steps: Vec<&str> = steps.filter(|step| step.starts_with("git ")).collect();
        assert_eq!(steps.len(), 2, "{job}");
        for step in steps {
            example.run(&home, step);
        }
        assert!(home.path().join("hello/.git").exists());
        assert!(
            !home.path().join(".local/share/wit").exists(),
            "nothing is stored"
        );
    }
}

/// Every page of the documentation, by its path in the repository.
fn all_pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<PathBuf> = [
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ]
    .map(PathBuf::from)
    .to_vec();
    let mut directories = vec![PathBuf::from("docs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory)).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = directory.join(entry.file_name());
            if entry.path().is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The anchors of a page's headings, as forges make them.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        title
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_to_a_page_and_a_heading_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for page in all_pages() {
        let text = file(page.to_str().expect("text"));
        for link in text.split("](").skip(1) {
            let (link, _) = link.split_once(')').expect("the link's end");
            if link.contains("://") {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match target {
                "" => page.clone(),
                target => page.parent().expect("a directory").join(target),
            };
            let found = fs::read_to_string(root.join(&target));
            let found = found.unwrap_or_else(|error| panic!("{page:?}: {link}: {error}"));
            let has_anchor = anchor.is_empty() || anchors(&found).iter().any(|one| one == anchor);
            assert!(has_anchor, "{page:?}: no heading {anchor} in {target:?}");
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn the_index_and_the_site_name_every_page() {
    let mut home = Home::new();
    // `packaging/book` hands it a directory whose SUMMARY.md says what the site has.
    stub(&home, "mdbook", "cp -- \"$4/src/SUMMARY.md\" \"$3\"");
    let path = std::env::var("PATH").expect("a path");
    home.set("PATH", format!("{}/stubs:{path}", home.path().display()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/book");
    done(&home.run(script.to_str().expect("text"), &["site"], ""));
    let summary = fs::read_to_string(home.path().join("site/SUMMARY.md")).expect("written");
    let index = file("docs/README.md") + &file("docs/hosts/README.md").replace("](", "](hosts/");
    for page in all_pages() {
        let name = page.to_str().expect("text");
        let is_index = name == "docs/README.md";
        assert!(
            is_index || summary.contains(&format!("]({name})")),
            "the site lacks {name}"
        );
        let in_docs = name.strip_prefix("docs/").filter(|_| !is_index);
        assert!(
            in_docs.is_none_or(|name| index.contains(&format!("]({name})"))),
            "docs/README.md lacks {name}"
        );
    }
}

#[test]
fn the_readme_is_short() {
    assert!(file("README.md").lines().count() <= 180);
}
