//! `wit doctor`: each ailment is told, and what is printed as its cure mends it.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::locked_keyring::{Answer, serve};
use crate::support::machine::{age_tokens, paths};
use crate::support::platform::{PASSWORD, Server};
use crate::support::session::{Session, inside};
use crate::support::tls::{Certificate, LOOPBACK};
use crate::support::{HELPER, Home, WIT, done, gits, refused, server, text};
use serde_json::Value;
use wit::credential::Site;
use wit::expiry::{Expiry, UnixTime};
use wit::item;
use wit::secret::Secret;
use wit::store::lock::name_of;
use wit::store::{self, select};

/// What answers where there is no terminal.
const TYPED: &str = "--username ada --password-stdin < password";

fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    fs::write(path, content).expect("written");
}

fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

/// What `wit doctor` answers after `before`, in the same shell: the exit code and the findings.
fn examine(home: &Home, before: &str) -> (i32, Vec<Value>) {
    let script = format!("{{ {before}\n}} >&2; wit doctor --json");
    let output = home.run("/bin/sh", &["-c", &script], "");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    let findings = report["findings"].as_array().expect("a list").clone();
    let wrong = findings.iter().any(|finding| finding["state"] == "wrong");
    assert_eq!(report["attention"], wrong);
    let code = output.status.code().expect("an exit code");
    assert_eq!(code, if wrong { 3 } else { 0 });
    (code, findings)
}

/// What is wrong, with its cure.
fn ailments(home: &Home, before: &str) -> Vec<(String, String)> {
    let (_, findings) = examine(home, before);
    let wrong = findings
        .iter()
        .filter(|finding| finding["state"] == "wrong");
    wrong
        .map(|finding| {
            let field = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            (field("check"), field("cure"))
        })
        .collect()
}

/// `check` is wrong, and not once its cure was applied with `typed` behind it.
fn cured_by(home: &Home, before: &str, check: &str, typed: &str) {
    let found = ailments(home, before);
    let cure = found.iter().find(|(name, _)| name == check);
    let (_, cure) = cure.unwrap_or_else(|| panic!("no {check} among {found:?}"));
    assert!(!cure.is_empty(), "{check} has no cure");
    let after = ailments(home, &format!("{before}\n{cure} {typed}"));
    assert!(
        after.iter().all(|(name, _)| name != check),
        "{cure}: {after:?}"
    );
}

fn cured(home: &Home, check: &str) {
    cured_by(home, ":", check, "");
}

/// The same of what is only worth knowing: it names something to do, and not once that was done.
fn settled(home: &Home, before: &str, check: &str) {
    let to_do = |before: &str| {
        let found = examine(home, before).1.into_iter();
        let mut notes = found.filter(|finding| finding["check"] == check);
        notes.find_map(|note| {
            assert_eq!(note["state"], "note");
            note["cure"].as_str().map(str::to_owned)
        })
    };
    let cure = to_do(before).unwrap_or_else(|| panic!("{check} says nothing to do"));
    assert_eq!(to_do(&format!("{before}\n{cure}")), None, "{cure}");
}

/// A home that git is set up in, logged in to a server of its own, with a token for git.
struct Patient {
    server: Server,
    home: Home,
}

impl Patient {
    fn well() -> Self {
        Patient::of(Server::start())
    }

    /// The same on a server that was started with options.
    fn of(server: Server) -> Self {
        let patient = Patient {
            server,
            home: Home::new(),
        };
        write(patient.home.path().join("password"), PASSWORD);
        patient.server.sign_up("ada");
        let login = format!("wit login {} {TYPED}", patient.url());
        patient.sh(&format!(
            "wit setup --store file && {login} && wit token create laptop --store --expires 30"
        ));
        assert_eq!(ailments(&patient.home, ":"), []);
        patient
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    fn sh(&self, script: &str) -> String {
        let output = self.home.run("/bin/sh", &["-c", script], "");
        assert!(
            output.status.success(),
            "{script}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Keeps a sign-in to another server too.
    fn know(&self, url: &str) {
        let file = self.below(".config/wit/config.json");
        let config = fs::read_to_string(&file).expect("read");
        let mut config: Value = serde_json::from_str(&config).expect("JSON");
        config["servers"][url] = serde_json::json!({ "api": "rest", "account": "ada" });
        write(file, config.to_string());
        let (protocol, host) = url.split_once("://").expect("a URL");
        let site = Site::new(protocol.as_bytes(), host.as_bytes()).expect("a site");
        let paths = paths(&self.home);
        let store = select::by_name(&paths, "file").expect("a store");
        store::update(store.as_ref(), &paths, &site, |item| {
            item.sessions.push(item::Session {
                cookie: None,
                server: url.to_owned(),
                account: "ada".to_owned(),
                token: Secret::from("session".to_owned()),
                expiry: None,
            });
        })
        .expect("updated");
    }

    fn site(&self) -> Site {
        Site::new(b"http", self.server.address.as_bytes()).expect("a site")
    }

    fn below(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn paths(&self) -> (PathBuf, PathBuf) {
        (
            self.below(".local/share/wit/store"),
            self.below(".local/state/wit"),
        )
    }
}

#[test]
fn what_is_well_is_told_and_no_secret_with_it() {
    let patient = Patient::well();
    let output = patient.home.run(WIT, &["doctor"], "");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let url = patient.url();
    for part in [
        "ok    git 2.",
        &format!("about {url} git asks: {HELPER}"),
        "the version of wit",
        "secrets can be kept in encrypted files",
        &format!("{url} answers"),
        &format!("logged in to {url}"),
        "the token laptop (",
        "Nothing is wrong.",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let token = patient.sh("wit token print");
    let printed = said + &text(&patient.home.run(WIT, &["doctor", "--json"], "").stdout);
    assert!(
        !printed.contains(&token.trim()[..12]) && !printed.contains(PASSWORD),
        "{printed}"
    );
    assert!(!patient.paths().0.join("doctor.wit.invalid").exists());
}

#[test]
fn a_new_home_is_told_what_is_to_be_done() {
    let home = Home::new();
    cured(&home, "helper");
}

#[test]
fn a_helper_that_an_empty_value_switches_off_is_none() {
    let home = Home::new();
    write(
        home.path().join(".gitconfig"),
        "[credential]\nhelper = wit\nhelper =\n",
    );
    cured(&home, "helper");
}

#[test]
fn the_helpers_of_a_url_are_those_that_git_asks_about_it() {
    let patient = Patient::well();
    let other = "git config --global credential.https://other.example.helper store";
    assert_eq!(ailments(&patient.home, other), []);
    let reset = format!(
        "git config --global --add credential.{}.helper ''",
        patient.url()
    );
    assert_eq!(ailments(&patient.home, &reset)[0].0, "helper");
}

#[test]
fn a_reset_that_git_reads_later_is_gone_round_or_ended() {
    let patient = Patient::well();
    let url = patient.url();
    let env = "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=credential.helper GIT_CONFIG_VALUE_0=";
    cured_by(&patient.home, env, "helper", "");
    patient.sh("git init -q here; cp .gitconfig saved");
    for reset in [
        format!("git config --global --add credential.{url}.helper ''"),
        "git config --global include.path ~/reset; git config -f ~/reset credential.helper ''"
            .to_owned(),
        "git config credential.helper ''".to_owned(),
        format!("git config credential.{url}.helper ''"),
        "git config extensions.worktreeConfig true; git config --worktree credential.helper ''"
            .to_owned(),
    ] {
        patient.sh(&format!("cd here && {reset}"));
        cured_by(&patient.home, "cd here", "helper", "");
        assert_eq!(ailments(&patient.home, "cd here"), [], "{reset}");
        patient.sh("rm -rf here reset; git init -q here; cp saved .gitconfig");
    }
}

#[test]
fn a_configuration_that_git_refuses_is_told_by_its_file() {
    let home = Home::new();
    write(home.path().join(".gitconfig"), "[credential]\n\thelper\n");
    let (_, findings) = examine(&home, ":");
    let told = findings.iter().find(|found| found["check"] == "git-config");
    let told = told.expect("a finding");
    assert!(told["why"].as_str().expect("why").contains(".gitconfig"));
    // An editor that a person would use.
    let cure = told["cure"].as_str().expect("a cure");
    let editor = "export GIT_EDITOR=\"sed -i 's/helper/helper = x/'\"";
    let after = ailments(&home, &format!("{editor}; {cure}"));
    assert!(
        after.iter().all(|(name, _)| name != "git-config"),
        "{after:?}"
    );
}

#[test]
fn a_lock_that_a_killed_git_left_is_removed() {
    let patient = Patient::well();
    write(patient.below(".gitconfig.lock"), "");
    cured(&patient.home, "git-lock");
}

#[test]
fn a_path_of_ours_that_leads_nowhere_is_replaced() {
    let home = Home::new();
    let stale = "[credential]\n\thelper = /old/bin/git-credential-wit\n";
    write(home.path().join(".gitconfig"), stale);
    cured(&home, "helper-program");
}

#[test]
fn a_helper_that_copies_into_plain_text_is_taken_out() {
    let patient = Patient::well();
    patient.sh("git config --global --add credential.helper 'store --file ~/odd name'");
    cured(&patient.home, "plain-text");
    let helpers = patient.sh("git config --global --get-all credential.helper");
    assert_eq!(helpers.trim(), HELPER);
}

#[test]
fn a_helper_that_keeps_copies_can_be_taken_out() {
    let patient = Patient::well();
    for order in ["--add", "--replace-all"] {
        // Behind ours, then in front of it.
        let ours = match order {
            "--add" => String::new(),
            _ => format!("; git config --global --add credential.helper {HELPER}"),
        };
        patient.sh(&format!(
            "git config --global {order} credential.helper 'cache --timeout 60'{ours}"
        ));
        settled(&patient.home, ":", "other-helper");
    }
}

#[test]
fn a_helper_that_goes_first_for_one_url_is_wrong_where_something_is_stored_for_it() {
    let home = Home::new();
    done(&home.run(WIT, &["setup", "--store", "file"], ""));
    let own = "for helper in '' '!gh auth git-credential'; do \
        git config --global --add credential.https://github.com.helper \"$helper\"; done";
    done(&home.run("sh", &["-c", own], ""));
    assert_eq!(ailments(&home, ":"), []);
    settled(&home, ":", "helper-order");

    done(&home.run(
        "git",
        &[
            "config",
            "--global",
            "--remove-section",
            "credential.https://github.com",
        ],
        "",
    ));
    for host in ["github.com", "a.example"] {
        let stored = format!("protocol=https\nhost={host}\nusername=ada\npassword=pw\n");
        done(&home.run(HELPER, &["store"], &stored));
    }
    assert_eq!(ailments(&home, ":"), []);
    // git does not ask ours at all, then asks it last.
    done(&home.run("sh", &["-c", own], ""));
    cured(&home, "helper");
    let last = format!(
        "git config --global --unset-all credential.https://github.com.helper; {own}; \
         git config --global --add credential.https://github.com.helper {HELPER}"
    );
    done(&home.run("sh", &["-c", &last], ""));
    cured(&home, "helper-order");
    assert_eq!(ailments(&home, ":"), []);
}

/// Of the programs only those that are linked into a directory of the test's own are found.
fn path_with(home: &mut Home, name: &str, content: Option<&str>) -> PathBuf {
    let dir = home.path().join("bin");
    fs::create_dir_all(&dir).expect("made");
    symlink(WIT, dir.join("wit")).expect("linked");
    let program = dir.join(name);
    if let Some(content) = content {
        write(&program, content);
        chmod(&program, 0o755);
    }
    home.set(
        "PATH",
        format!("{}:/usr/local/bin:/usr/bin:/bin", dir.display()),
    );
    program
}

#[test]
fn a_helper_that_git_does_not_find_is_named_by_its_path() {
    let mut home = Home::new();
    home.run(WIT, &["setup", "--portable"], "");
    path_with(&mut home, "git-credential-wit", None);
    cured(&home, "helper-program");
}

#[test]
fn what_names_a_missing_helper_is_replaced_and_nothing_else() {
    let mut home = Home::new();
    let systemctl = path_with(&mut home, "systemctl", Some("#!/bin/sh\n"));
    write(
        home.path().join(".gitconfig"),
        "[credential]\n\thelper = wit\n[user]\n\tname = Ada\n",
    );
    for arguments in [
        &["setup", "--host", "https://a.example"][..],
        &["setup", "--renew", "daily"],
    ] {
        assert!(home.run(WIT, arguments, "").status.success());
    }
    cured(&home, "helper-program");
    let git = |key: &str| {
        let values = home.run("git", &["config", "--global", "--get-all", key], "");
        text(&values.stdout)
    };
    assert_eq!(git("credential.helper"), format!("{HELPER}\n"));
    assert_eq!(git("user.name"), "Ada\n");
    let host = git("credential.https://a.example.helper");
    assert_eq!(host, format!("\n{HELPER}\n"));
    let timer = home.path().join(".config/systemd/user/wit-renew.timer");
    assert!(timer.exists() && systemctl.exists());

    let mut home = Home::new();
    path_with(&mut home, "unused", None);
    let host = ["setup", "--portable", "--host", "https://a.example"];
    assert!(home.run(WIT, &host, "").status.success());
    write(
        home.path().join(".config/wit/config.json"),
        r#"{"servers":{"https://a.example":{}}}"#,
    );
    cured(&home, "helper-program");
}

#[test]
fn a_helper_that_may_not_be_executed_may_be_again() {
    let mut home = Home::new();
    home.run(WIT, &["setup", "--portable"], "");
    let program = path_with(&mut home, "git-credential-wit", Some(""));
    fs::copy(HELPER, &program).expect("copied");
    chmod(&program, 0o644);
    cured(&home, "helper-program");
}

#[test]
fn a_helper_of_another_version_gives_way_to_the_one_beside_wit() {
    let mut home = Home::new();
    home.run(WIT, &["setup", "--portable"], "");
    for other in ["echo git-credential-wit 0.0.1", "exit 1"] {
        home.run(WIT, &["setup", "--undo"], "");
        home.run(WIT, &["setup", "--portable"], "");
        let other = format!("#!/bin/sh\n{other}\n");
        let _ = fs::remove_dir_all(home.path().join("bin"));
        path_with(&mut home, "git-credential-wit", Some(&other));
        cured(&home, "helper-program");
    }
}

/// A `sudo` that does one thing only, in place of what a machine would be changed by.
fn sudo(home: &Home, command: &str, instead: &str) {
    let script = format!("#!/bin/sh\n[ \"$*\" = '{command}' ] && {instead}\n");
    let program = home.path().join("bin/sudo");
    write(&program, script);
    chmod(&program, 0o755);
}

#[test]
fn a_git_that_is_too_old_is_replaced() {
    let mut home = Home::new();
    let old = "#!/bin/sh\necho git version 2.20.1\n";
    let program = path_with(&mut home, "git", Some(old));
    // The package is the machine's own git; installing it leaves nothing before it in the PATH.
    let instead = format!("rm {}", program.display());
    sudo(&home, "apt-get install git", &instead);
    cured(&home, "git");
}

#[test]
fn a_git_that_is_missing_is_installed() {
    let mut home = Home::new();
    let program = path_with(&mut home, "git", None);
    home.set("PATH", home.path().join("bin").display().to_string());
    let git = PathBuf::from(&gits()[0]);
    let instead = format!("/bin/ln -s {} {}", git.display(), program.display());
    sudo(&home, "apt-get install git", &instead);
    cured(&home, "git");
}

#[test]
fn the_git_of_windows_gives_way_to_that_of_linux() {
    let mut home = Home::new();
    let program = path_with(&mut home, "git", None);
    symlink(&gits()[0], &program).expect("linked");
    // WSL has the disks of Windows below /mnt.
    let bin = home.path().join("bin").display().to_string();
    home.set("PATH", format!("/mnt/..{bin}:/usr/local/bin:/usr/bin:/bin"));
    let instead = format!("rm {}", program.display());
    sudo(&home, "apt-get install git", &instead);
    cured(&home, "git-of-windows");
}

#[test]
fn a_place_without_a_keychain_says_so_where_one_is_wanted() {
    let mut home = Home::new();
    home.set("WIT_STORE", "auto");
    let bus = "export DBUS_SESSION_BUS_ADDRESS=unix:path=/none";
    for (before, check) in [
        ("export WSL_DISTRO_NAME=Debian", "wsl"),
        ("export container=lxc", "container"),
        ("export SSH_CONNECTION='192.0.2.1 5 192.0.2.2 22'", "ssh"),
        ("unset DBUS_SESSION_BUS_ADDRESS", "session-bus"),
    ] {
        settled(&home, &format!("{bus}\n{before}"), check);
        let _ = fs::remove_dir_all(home.path().join(".config"));
    }
}

#[test]
fn a_config_file_that_is_no_json_is_moved_aside() {
    let patient = Patient::well();
    write(patient.below(".config/wit/config.json"), "{ \"store\": ");
    cured(&patient.home, "config");
    assert!(patient.below(".config/wit/config.json.aside").exists());
}

#[test]
fn a_keychain_that_is_away_gives_way_to_files() {
    let mut home = Home::new();
    home.set("WIT_STORE", "auto");
    write(
        home.path().join(".config/wit/config.json"),
        r#"{"store":"keychain"}"#,
    );
    cured(&home, "store");
    home.set("WIT_STORE", "keychain");
    cured(&home, "store");
    home.set("WIT_STORE", "cloud");
    cured(&home, "store");
}

#[test]
fn a_keychain_that_never_answers_gives_way_to_files() {
    let mut home = Home::new();
    let bus = home.path().join("bus");
    let _silent = UnixListener::bind(&bus).expect("a socket");
    home.set("WIT_STORE", "keychain");
    home.set("WIT_KEYCHAIN_TIMEOUT", "0.3");
    home.set(
        "DBUS_SESSION_BUS_ADDRESS",
        format!("unix:path={}", bus.display()),
    );
    cured(&home, "store");
}

#[test]
fn a_file_store_that_is_locked_is_unlocked() {
    let patient = Patient::well();
    patient.sh("wit store protect --passphrase-stdin < password");
    cured_by(&patient.home, ":", "store", "--passphrase-stdin < password");
    assert_eq!(ailments(&patient.home, ":"), []);
}

#[test]
fn a_keyring_that_is_locked_is_unlocked() {
    let session = Session::with_keyring();
    let mut home = Home::new();
    let place = session.home().display().to_string();
    for (name, value) in [
        ("WIT_STORE", ""),
        ("DBUS_SESSION_BUS_ADDRESS", session.address()),
        // Where the keyring lies, and where its daemon is met.
        ("HOME", &place),
        ("XDG_RUNTIME_DIR", &place),
    ] {
        home.set(name, value);
    }
    done(&home.run(WIT, &["setup", "--store", "keychain"], ""));
    assert_eq!(ailments(&home, ":"), []);
    session.lock_keyring();
    write(home.path().join("password"), "test\n");
    cured_by(&home, ":", "store", "< password");
}

#[test]
fn a_keyring_whose_prompt_was_dismissed_asks_again() {
    let name = "doctor::a_keyring_whose_prompt_was_dismissed_asks_again";
    inside(name, Session::empty, &[], || {
        let called = serve("", Answer::Dismiss);
        let mut home = Home::new();
        let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").expect("a session");
        home.set("DBUS_SESSION_BUS_ADDRESS", bus);
        home.set("WIT_STORE", "keychain");
        home.set("DISPLAY", ":0");
        let prompts = || {
            let called = called.lock().expect("no panic");
            called.iter().filter(|call| *call == "Prompt").count()
        };
        let found = ailments(&home, ":");
        let cure = ("store".to_owned(), "wit doctor".to_owned());
        assert!(found.contains(&cure), "{found:?}");
        assert_eq!(prompts(), 1);
        home.run("/bin/sh", &["-c", &cure.1], "");
        assert_eq!(prompts(), 2);
    });
}

#[test]
fn an_identity_that_is_gone_takes_the_store_out_of_the_way() {
    let patient = Patient::well();
    let store = patient.paths().0;
    fs::remove_file(store.join("identity.txt")).expect("removed");
    cured(&patient.home, "store");
    assert!(store.with_extension("aside").exists(), "nothing is deleted");
}

#[test]
fn what_others_could_get_at_is_closed() {
    let patient = Patient::well();
    let (store, state) = patient.paths();
    for (path, mode) in [
        (store.join("identity.txt"), 0o640),
        (store.clone(), 0o755),
        (state, 0o777),
    ] {
        chmod(&path, mode);
        cured(&patient.home, "permissions");
    }
}

#[test]
fn an_identity_that_others_can_read_is_no_reason_for_the_store_that_is_in_use() {
    let patient = Patient::well();
    let identity = patient.paths().0.join("identity.txt");
    chmod(&identity, 0o644);
    let said = refused(&patient.home.run(WIT, &["token", "list"], ""), 1);
    let fix = format!("chmod 600 {}", identity.display());
    assert!(
        said.contains(&fix) && said.contains("hint: wit doctor"),
        "{said}"
    );
    assert!(!said.contains("wit setup --store"), "{said}");
}

#[test]
fn what_its_owner_can_not_work_in_is_opened() {
    let patient = Patient::well();
    chmod(patient.paths().0, 0o500);
    cured(&patient.home, "permissions");
}

#[test]
fn what_sudo_made_is_given_back() {
    let patient = Patient::well();
    let state = patient.paths().1;
    // Root needs no sudo, and may have none.
    let root = "[ \"$(id -u)\" != 0 ] || sudo() { \"$@\"; }";
    patient.sh(&format!("{root}; sudo chown 65534 {}", state.display()));
    cured_by(&patient.home, root, "owner", "");
}

#[test]
fn a_damaged_item_is_set_aside_by_the_next_login() {
    let patient = Patient::well();
    let store = patient.paths().0;
    let item = store.join(name_of(&patient.site()) + ".age");
    write(item, "torn");
    cured_by(&patient.home, ":", "item", TYPED);
    assert!(store.join(name_of(&patient.site()) + ".damaged-1").exists());
}

#[test]
fn an_item_of_a_newer_version_is_left_to_that() {
    let patient = Patient::well();
    let store = select::by_name(&paths(&patient.home), "file").expect("a store");
    let newer = Secret::from(r#"{"version":99}"#.to_owned());
    store.write(&patient.site(), &newer).expect("written");
    let found = ailments(&patient.home, ":");
    let cure = ("item".to_owned(), "./install.sh".to_owned());
    assert!(found.contains(&cure), "{found:?}");
    let left = store.read(&patient.site()).expect("read");
    assert_eq!(left, Some(newer));
}

/// A process that holds a lock until it is killed.
fn hold(lock: &Path) -> Child {
    let mut holder = std::process::Command::new("flock")
        // Without a fork there is one holder, not two.
        .arg("--no-fork")
        .arg(lock)
        .args(["sh", "-c", "echo held; exec sleep 600"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("flock: apt-get install util-linux");
    let mut line = [0; 5];
    let stdout = holder.stdout.as_mut().expect("piped");
    std::io::Read::read_exact(stdout, &mut line).expect("it says when");
    holder
}

#[test]
fn a_lock_that_is_not_given_back_is_taken_from_its_process() {
    let patient = Patient::well();
    let lock = patient
        .paths()
        .1
        .join("locks")
        .join(name_of(&patient.site()) + ".lock");
    let mut holder = hold(&lock);
    cured(&patient.home, "lock");
    holder.kill().ok();
    holder.wait().expect("it has ended");
}

#[test]
fn a_rotation_that_stopped_goes_on() {
    let patient = Patient::well();
    let stopped = patient
        .home
        .run(WIT, &["token", "rotate", "--deliver", "test -e mended"], "");
    assert_eq!(stopped.status.code(), Some(5), "{}", text(&stopped.stderr));
    write(patient.below("mended"), "");
    cured(&patient.home, "rotation");
}

/// The kinds of damage: after a crash, a full disk, a slip.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Empty,
    Torn,
    Directory,
}

const DAMAGES: [Damage; 3] = [Damage::Empty, Damage::Torn, Damage::Directory];

fn damage(file: &Path, how: Damage) {
    let _ = fs::remove_file(file);
    match how {
        Damage::Empty => write(file, ""),
        Damage::Torn => write(file, "{ \"version\": 1, \"t"),
        Damage::Directory => write(file.join("within"), ""),
    }
}

#[test]
fn a_damaged_file_of_ours_is_moved_aside() {
    let patient = Patient::well();
    for (file, check) in [
        ("setup.json", "file"),
        ("move.json", "file"),
        ("completions.json", "file"),
        ("state-key", "file"),
        ("renewals/https+a.example.begun", "file"),
        ("renewals/https+a.example.warned", "file"),
        ("rotations/torn.json", "journal"),
    ] {
        let file = patient.paths().1.join(file);
        let before = fs::read(&file);
        for how in DAMAGES {
            damage(&file, how);
            cured(&patient.home, check);
        }
        if let Ok(before) = before {
            write(file, before);
        }
    }
    for directory in ["locks", "rotations", "renewals"] {
        let directory = patient.paths().1.join(directory);
        let _ = fs::remove_dir_all(&directory);
        write(&directory, "in the way");
        cured(&patient.home, "file");
    }
    assert_eq!(ailments(&patient.home, ":"), []);
}

#[test]
fn a_damaged_config_file_is_moved_aside() {
    for how in DAMAGES {
        let home = Home::new();
        assert!(home.run(WIT, &["setup"], "").status.success());
        damage(&home.path().join(".config/wit/config.json"), how);
        cured(&home, "config");
        assert_eq!(ailments(&home, ":"), []);
    }
}

#[test]
fn a_damaged_identity_takes_the_store_out_of_the_way() {
    for how in DAMAGES {
        let home = Home::new();
        assert!(home.run(WIT, &["setup"], "").status.success());
        let store = home.path().join(".local/share/wit/store");
        let item = "protocol=https\nhost=a.example\nusername=ada\npassword=pw\n\n";
        home.run(HELPER, &["store"], item);
        write(
            home.path().join(".config/wit/config.json"),
            r#"{"store":"file"}"#,
        );
        let identity = store.join("identity.txt");
        damage(&identity, how);
        chmod(identity, 0o700);
        cured(&home, "store");
        assert!(store.with_extension("aside").exists(), "nothing is deleted");
        assert_eq!(ailments(&home, ":"), []);
    }
}

#[test]
fn a_file_of_a_newer_version_is_left_to_that() {
    let patient = Patient::well();
    let state = patient.paths().1;
    for (file, check) in [
        (state.join("setup.json"), "file"),
        (state.join("move.json"), "file"),
        (state.join("rotations/new.json"), "journal"),
        (patient.below(".config/wit/config.json"), "config"),
    ] {
        let before = fs::read(&file);
        let newer = r#"{"version":99,"rotation":"new"}"#;
        write(&file, newer);
        let found = ailments(&patient.home, ":");
        let cure = (check.to_owned(), "./install.sh".to_owned());
        assert!(found.contains(&cure), "{found:?}");
        assert_eq!(fs::read_to_string(&file).expect("read"), newer);
        match before {
            Ok(before) => write(file, before),
            Err(_) => fs::remove_file(file).expect("removed"),
        }
    }
}

#[test]
fn an_unusable_journal_stops_no_other_rotation() {
    let patient = Patient::well();
    let rotations = patient.paths().1.join("rotations");
    for how in DAMAGES {
        damage(&rotations.join(format!("{how:?}.json")), how);
    }
    write(rotations.join("newer.json"), r#"{"version":99}"#);
    let rotated = patient.home.run(WIT, &["token", "rotate"], "");
    let said = text(&rotated.stderr);
    assert_eq!(rotated.status.code(), Some(0), "{said}");
    assert!(said.contains("Torn.json: damaged"), "{said}");
    assert!(said.contains("hint: wit doctor"), "{said}");
    for command in [
        &["token", "rotate", "--due", "365", "--all"][..],
        &["token", "rotate", "--resume"],
        &["token", "renew", "--site", &patient.url()],
    ] {
        let done = patient.home.run(WIT, command, "");
        assert!(done.status.success(), "{command:?}: {}", text(&done.stderr));
    }
}

#[test]
fn a_token_that_a_newer_version_is_rotating_is_left_to_that() {
    let patient = Patient::well();
    let list =
        || -> Value { serde_json::from_str(&patient.sh("wit token list --json")).expect("JSON") };
    let before = list();
    let id = before[0]["id"].as_str().expect("an id");
    let journal = format!(r#"{{"version":99,"old_id":"{id}","steps":[]}}"#);
    let file = patient.paths().1.join("rotations/newer.json");
    write(&file, &journal);
    let rotated = patient.home.run(WIT, &["token", "rotate"], "");
    let said = text(&rotated.stderr);
    assert_eq!(rotated.status.code(), Some(1), "{said}");
    assert!(said.contains("newer than this program"), "{said}");
    assert_eq!(list()[0]["id"], before[0]["id"]);
    assert_eq!(fs::read_to_string(file).expect("read"), journal);
}

#[test]
fn a_server_that_is_down_is_started_again() {
    let patient = Patient::well();
    let data = patient.server.data_dir();
    let down = patient.server.home.run(WIT, &["down"], "");
    assert!(down.status.success());
    // The server's data are another home's.
    let typed = format!("--data-dir {}", data.display());
    cured_by(&patient.home, ":", "server", &typed);
}

#[test]
fn a_server_that_fails_is_asked_again() {
    let patient = Patient::well();
    let failures = AtomicUsize::new(0);
    let ill = server::Server::new(move |_, _| {
        // A GET is sent three times.
        match failures.fetch_add(1, Ordering::Relaxed) < 3 {
            true => server::answer(500, "{}"),
            false => server::answer(401, "{}"),
        }
    });
    patient.know(&ill.url);
    cured(&patient.home, "server");
}

#[test]
fn a_server_that_stays_away_is_logged_out_of() {
    let patient = Patient::well();
    // To Linux this is the machine itself, to the rules of http another one.
    let away = "https://0.0.0.0:1";
    patient.know(away);
    cured(&patient.home, "server");
}

#[test]
fn plain_http_to_another_machine_is_told_and_not_spoken() {
    let home = Home::new();
    done(&home.run(WIT, &["setup"], ""));
    let other = server::Server::new(|first, _| match first {
        "GET /api/tokens HTTP/1.1" => server::answer(200, "[]"),
        _ => server::answer(401, "{}"),
    });
    // To Linux this is the machine itself, to the rules of http another one.
    let plain = other.url.replace("127.0.0.1", "0.0.0.0");
    let login = [
        "login",
        &plain,
        "--allow-http",
        "--username",
        "ada",
        "--session-stdin",
    ];
    done(&home.run(WIT, &login, "session"));
    let (code, findings) = examine(&home, ":");
    assert_eq!(code, 0, "{findings:?}");
    let what = format!("{plain} is not asked");
    let told = findings.iter().find(|finding| finding["what"] == what);
    let fix = told.and_then(|finding| finding["cure"].as_str());
    let output = home.run("/bin/sh", &["-c", fix.expect("a command")], "");
    let said = text(&output.stdout);
    assert!(said.contains(&format!("{plain} answers")), "{said}");
}

#[test]
fn a_token_that_git_is_never_given_is_named() {
    let server = Server::start_with(Home::new(), &["--host-name", "0.0.0.0"]);
    let patient = Patient::of(server);
    let plain = patient.url().replace("127.0.0.1", "0.0.0.0");
    patient.sh(&format!("wit login {plain} --allow-http {TYPED}"));
    // No command stores one there.
    let create = format!("wit token create --server {plain} --allow-http");
    let said = refused(&patient.home.run("sh", &["-c", &create], ""), 1);
    assert!(said.contains("git is never given a token for"), "{said}");
    assert!(said.contains("wit token create --print"), "{said}");
    assert!(patient.sh(&format!("{create} --print")).contains("wit_"));

    let paths = paths(&patient.home);
    let store = select::open(&paths, Some("file")).expect("a store");
    let item = store::load(store.as_ref(), &patient.site()).expect("an item");
    let mut entry = item.credentials.0.first().expect("a token").clone();
    entry
        .token
        .as_mut()
        .expect("of ours")
        .server
        .clone_from(&plain);
    let host = plain.trim_start_matches("http://");
    let site = Site::new(b"http", host.as_bytes()).expect("a site");
    store::update(store.as_ref(), &paths, &site, |item| {
        item.credentials.put(entry)
    })
    .expect("stored");
    let named = |output: &std::process::Output| {
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("never given to git: plain http"), "{said}");
    };
    named(&patient.home.run(WIT, &["doctor"], ""));
    let open = ["--server", &plain, "--allow-http"];
    named(
        &patient
            .home
            .run(WIT, &[&["doctor"], &open[..]].concat(), ""),
    );
    named(
        &patient
            .home
            .run(WIT, &[&["status"], &open[..]].concat(), ""),
    );
    cured(&patient.home, "plain-http");
}

/// A server with TLS that counts as another machine, and who trusts it.
struct Remote {
    home: Home,
    url: String,
}

impl Remote {
    fn logged_in() -> Self {
        let mut home = Home::new();
        Certificate::new(&home, "wit", "IP:0.0.0.0");
        write(home.path().join("password"), PASSWORD);
        // What a cure calls it.
        fs::copy(home.path().join("wit.pem"), home.path().join("FILE")).expect("copied");
        let up = "wit up --port 0 --json --tls-cert wit.pem --tls-key wit.key \
                  --user ada --password-stdin < password";
        let up: Value =
            serde_json::from_str(&done(&home.run("/bin/sh", &["-c", up], ""))).expect("JSON");
        let url = up["url"].as_str().expect("a URL");
        home.set(
            "GIT_SSL_CAINFO",
            home.path().join("wit.pem").display().to_string(),
        );
        let remote = Remote {
            url: url.replace("127.0.0.1", "0.0.0.0"),
            home,
        };
        // Only by the other name is it known.
        fs::remove_file(remote.config()).expect("removed");
        let url = &remote.url;
        let script = format!(
            "wit setup --store file && wit login {url} --ca-file wit.pem {TYPED} &&
             wit token create --expires 30"
        );
        done(&remote.home.run("/bin/sh", &["-c", &script], ""));
        assert_eq!(ailments(&remote.home, ":"), []);
        remote
    }

    fn config(&self) -> PathBuf {
        self.home.path().join(".config/wit/config.json")
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.home.run(WIT, &["down"], "");
    }
}

#[test]
fn a_proxy_that_does_not_let_through_is_gone_round() {
    let remote = Remote::logged_in();
    let before = "export HTTPS_PROXY=http://me:hush@127.0.0.1:1";
    cured_by(&remote.home, before, "server", "");
    let (_, findings) = examine(&remote.home, before);
    let proxy = findings.iter().find(|finding| finding["check"] == "proxy");
    let told = proxy.expect("a finding").to_string();
    assert!(
        told.contains("HTTPS_PROXY") && !told.contains("hush"),
        "{told}"
    );
}

#[test]
fn a_certificate_that_is_not_trusted_is_given_to_a_login() {
    let remote = Remote::logged_in();
    fs::remove_file(remote.home.path().join("wit.pem")).expect("removed");
    cured_by(&remote.home, ":", "ca", TYPED);

    let config = fs::read_to_string(remote.config()).expect("read");
    let mut config: Value = serde_json::from_str(&config).expect("JSON");
    config["servers"][&remote.url]["ca_file"] = Value::Null;
    write(remote.config(), config.to_string());
    Certificate::new(&remote.home, "other", "IP:0.0.0.0");
    let wrong = "export SSL_CERT_FILE=other.pem";
    let found = ailments(&remote.home, wrong);
    assert_eq!(found, [("ca".to_owned(), "unset SSL_CERT_FILE".to_owned())]);
    // Nor does the system know it.
    let before = format!("{wrong}; {}", found[0].1);
    cured_by(&remote.home, &before, "ca", TYPED);
}

#[test]
fn what_speaks_our_api_no_longer_is_logged_out_of() {
    let home = Home::new();
    home.run(WIT, &["setup", "--portable"], "");
    let ours = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&ours);
    let other = server::Server::new(move |_, _| match still.load(Ordering::Relaxed) {
        true => server::answer(200, "[]"),
        false => server::answer(404, r#"{"error":"Not found"}"#),
    });
    let login = ["login", &other.url, "--username", "ada", "--session-stdin"];
    let login = home.run(WIT, &login, "session\n");
    assert!(login.status.success(), "{}", text(&login.stderr));
    ours.store(false, Ordering::Relaxed);
    cured(&home, "api");
}

#[test]
fn a_form_of_the_api_that_changed_is_learnt_again() {
    let patient = Patient::well();
    let file = patient.below(".config/wit/config.json");
    let config = fs::read_to_string(&file).expect("read");
    assert!(config.contains("\"rest\""), "{config}");
    write(file, config.replace("\"rest\"", "\"trpc\""));
    cured_by(&patient.home, ":", "api", TYPED);
}

#[test]
fn a_login_that_was_ended_elsewhere_is_made_again() {
    let patient = Patient::well();
    patient.sh("wit logout");
    write(
        patient.below(".config/wit/config.json"),
        format!(
            r#"{{"store":"file","servers":{{"{}":{{}}}}}}"#,
            patient.url()
        ),
    );
    cured_by(&patient.home, ":", "session", TYPED);
}

#[test]
fn a_login_that_the_server_ended_is_made_again() {
    let patient = Patient::well();
    patient.sh("mkdir other; cp -r .config .local other; HOME=$HOME/other wit logout");
    cured_by(&patient.home, ":", "session", TYPED);
}

#[test]
fn a_login_that_has_ended_or_soon_does_is_made_again() {
    let patient = Patient::well();
    for left in [-60, 86_400] {
        let paths = paths(&patient.home);
        let store = select::by_name(&paths, "file").expect("a store");
        store::update(store.as_ref(), &paths, &patient.site(), |item| {
            item.sessions[0].expiry = Some(Expiry(UnixTime::now().plus(left)));
        })
        .expect("updated");
        cured_by(&patient.home, ":", "session", TYPED);
    }
}

#[test]
fn a_token_that_is_missing_or_was_revoked_elsewhere_is_made_again() {
    let patient = Patient::well();
    patient.sh("wit token revoke laptop");
    cured(&patient.home, "token");

    let other = Home::new();
    write(other.path().join("password"), PASSWORD);
    let login = format!("wit login {} {TYPED}", patient.url());
    assert!(other.run("/bin/sh", &["-c", &login], "").status.success());
    let list: Value = serde_json::from_str(&patient.sh("wit token list --json")).expect("JSON");
    let id = list[0]["id"].as_str().expect("an id").to_owned();
    assert!(
        other
            .run(WIT, &["token", "revoke", &id], "")
            .status
            .success()
    );
    cured(&patient.home, "token");
}

#[test]
fn a_token_that_ends_soon_is_rotated() {
    let patient = Patient::well();
    age_tokens(&patient.home, &patient.server.address, 28);
    cured_by(&patient.home, ":", "token", "--expires 30");
}

#[test]
fn the_token_of_another_account_is_rotated_as_that_account() {
    let patient = Patient::well();
    patient.server.sign_up("bob");
    let login = format!("wit login {}", patient.url());
    patient.sh(&format!(
        "{login} --username bob --password-stdin < password && wit token create desk --store --expires 30 &&
         {login} {TYPED}"
    ));
    assert_eq!(ailments(&patient.home, ":"), []);
    age_tokens(&patient.home, &patient.server.address, 28);
    let found = ailments(&patient.home, ":");
    assert_eq!(found.len(), 2, "{found:?}");
    for (check, fix) in found {
        assert_eq!(check, "token");
        patient.sh(&format!("{fix} --expires 30"));
    }
    assert_eq!(ailments(&patient.home, ":"), []);
}

#[test]
fn a_token_of_the_environment_without_any_server_is_taken_out() {
    let home = Home::new();
    done(&home.run(WIT, &["setup"], ""));
    let set = "export WIT_TOKEN=wit_0123456789abcdef";
    cured_by(&home, set, "environment-token", "");
    let plain = format!("{set} WIT_URL=http://wit.example");
    cured_by(&home, &plain, "environment-token", "");
}

#[test]
fn a_helper_in_a_shell_command_is_edited() {
    let mut home = Home::new();
    path_with(&mut home, "unused", None);
    write(
        home.path().join(".gitconfig"),
        "[credential]\n\thelper = !git-credential-wit\n",
    );
    let editor = format!("export GIT_EDITOR=\"sed -i 's|!git-credential-wit|{HELPER}|'\"");
    cured_by(&home, &editor, "helper-program", "");
}

#[test]
fn a_server_elsewhere_that_fails_is_asked_again_later() {
    let home = Home::new();
    let certificate = Certificate::new(&home, "wit", "IP:0.0.0.0");
    let failures = Arc::new(AtomicUsize::new(0));
    let left = Arc::clone(&failures);
    let ill = server::Server::tls(&certificate, move |first, _| {
        let fails = left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
            .is_ok();
        match (fails, first) {
            (true, _) => server::answer(500, "{}"),
            (false, "GET /api/tokens HTTP/1.1") => server::answer(200, "[]"),
            (false, _) => server::answer(401, "{}"),
        }
    });
    let url = ill.url.replace("127.0.0.1", "0.0.0.0");
    let login = [
        "login",
        &url,
        "--username",
        "ada",
        "--session-stdin",
        "--ca-file",
        "wit.pem",
    ];
    done(&home.run(WIT, &login, "session"));
    // A GET is sent three times.
    failures.store(3, Ordering::Relaxed);
    // Nobody waits here.
    let before = "sleep() { echo slept $1; }";
    cured_by(&home, before, "server", "");
}

#[test]
fn a_token_of_the_environment_is_for_one_server() {
    let patient = Patient::well();
    let token = patient.sh("wit token print");
    write(patient.below("token"), token);
    let set = "export WIT_TOKEN=$(cat token)";
    cured_by(&patient.home, set, "environment-token", "");
    let plain = format!("{set} WIT_URL=http://wit.example");
    assert!(
        ailments(&patient.home, &plain)
            .iter()
            .any(|(check, _)| check == "environment-token")
    );
    let wrong = format!(
        "export WIT_TOKEN=wit_0123456789abcdef WIT_URL={}",
        patient.url()
    );
    cured_by(&patient.home, &wrong, "environment-token", "");
}

#[test]
fn a_job_with_a_token_of_the_environment_is_well() {
    let patient = Patient::well();
    let mut job = Home::new();
    job.run(WIT, &["setup"], "");
    job.set("WIT_URL", patient.url());
    job.set("WIT_TOKEN", patient.sh("wit token print").trim());
    assert_eq!(ailments(&job, ":"), []);
    // Nor is it one where somebody is logged in for other work.
    write(job.path().join("password"), PASSWORD);
    let login = format!("wit login {} {TYPED}", patient.url());
    assert_eq!(ailments(&job, &login), []);
}

#[test]
fn a_server_that_is_worked_on_in_its_database_needs_no_login() {
    let patient = Patient::well();
    let token = patient.sh("wit token print");
    let user = (patient.server).bearing("GET", "/api/v1/user", token.trim());
    let id = user.json()["id"].as_str().expect("an id").to_owned();
    let file = patient.server.data_dir().join("wit.sqlite3");
    let mut home = Home::new();
    home.run(WIT, &["setup"], "");
    home.set("DATABASE_URL", format!("sqlite:{}", file.display()));
    home.set("WIT_USER_ID", id);
    let login = format!("wit login {} --api database", patient.url());
    let create = "wit token create --expires 30";
    assert_eq!(ailments(&home, &format!("{login} && {create}")), []);
}

#[test]
fn a_token_that_is_meant_to_be_short_is_well_while_it_is_renewed() {
    let patient = Patient::well();
    patient.sh("wit token create --expires 1");
    assert_eq!(ailments(&patient.home, ":"), []);
    let file = patient.below(".config/wit/config.json");
    let config = fs::read_to_string(&file).expect("read");
    write(file, config.replacen('{', r#"{"renew": "never","#, 1));
    assert_eq!(ailments(&patient.home, ":")[0].0, "token");
}

#[test]
fn a_certificate_that_is_not_trusted_is_given_by_its_file() {
    let home = Home::new();
    let certificate = Certificate::new(&home, "FILE", LOOPBACK);
    let other = server::Server::tls(&certificate, |first, _| match first {
        "GET /api/tokens HTTP/1.1" => server::answer(200, "[]"),
        _ => server::answer(401, "{}"),
    });
    // What is stored there makes it one that is in use.
    let login = ["login", &other.url, "--username", "ada", "--session-stdin"];
    let trusted = [&login[..], &["--ca-file", "FILE.pem"]].concat();
    let session = "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu";
    assert!(home.run(WIT, &trusted, session).status.success());
    let known = format!(r#"{{"store":"file","servers":{{"{}":{{}}}}}}"#, other.url);
    write(home.path().join(".config/wit/config.json"), known);
    fs::rename(certificate.file, home.path().join("FILE")).expect("renamed");
    let typed = "--username ada --session-stdin <session";
    write(home.path().join("session"), session);
    cured_by(&home, ":", "ca", typed);
}

#[test]
fn a_server_that_fails_is_told_with_what_to_do() {
    let home = Home::new();
    let failing = server::Server::reading(|_, _| server::answer(500, "{}"));
    let url = format!("export WIT_TOKEN=wit_1 WIT_URL={}", failing.url);
    let found = ailments(&home, &url);
    let server = found.iter().find(|(check, _)| check == "server");
    let (_, cure) = server.expect("the server is not well");
    assert!(cure.contains("wit up --port"), "{cure}");
}

#[test]
fn a_certificate_file_that_is_missing_is_given_up() {
    let mut home = Home::new();
    home.set("SSL_CERT_FILE", "/nowhere/ca.pem");
    cured(&home, "certificates");
}

#[test]
fn a_clock_that_is_off_is_set() {
    let mut home = Home::new();
    path_with(&mut home, "none", None);
    let set = home.path().join("set");
    let instead = format!("touch {}", set.display());
    sudo(&home, "timedatectl set-ntp true", &instead);
    let other = server::Server::reading(move |_, _| {
        let date = match set.exists() {
            true => "Age: 0",
            false => "Date: Wed, 24 Nov 2100 00:00:00 GMT",
        };
        server::with_header(401, date, "{}")
    });
    let config = format!(r#"{{"store":"file","servers":{{"{}":{{}}}}}}"#, other.url);
    write(home.path().join(".config/wit/config.json"), config);
    cured(&home, "clock");
}
