//! The `keychain` store with other Secret Services than GNOME Keyring: KeePassXC, and oo7's daemon.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::support::session::{Session, inside};
use crate::support::{HELPER, Home, WIT, done, feed, refused, text, until};
use crate::{battery, stores};
use wit::store::secret_service::SecretService;

const PASSWORD: &str = "correct horse";

/// A session with a keyring in it, and a home whose keychain that is.
struct Place {
    session: Session,
    home: Home,
}

impl Place {
    fn new(session: Session) -> Self {
        let mut home = Home::new();
        home.set("DBUS_SESSION_BUS_ADDRESS", session.address());
        home.set("WIT_STORE", "keychain");
        home.set("WIT_KEYCHAIN_TIMEOUT", "20");
        Place { session, home }
    }

    fn helper(&self, operation: &str, host: &str, rest: &str) -> Output {
        let input = format!("protocol=https\nhost={host}\n{rest}");
        self.home.run(HELPER, &[operation], &input)
    }

    fn store(&self, host: &str, username: &str, password: &str) {
        let entry = format!("username={username}\npassword={password}\n");
        done(&self.helper("store", host, &entry));
    }

    fn get(&self, host: &str) -> String {
        done(&self.helper("get", host, ""))
    }

    fn is_locked(&self, collection: &str) -> bool {
        let path = format!("/org/freedesktop/secrets/collection/{collection}");
        let answer = self.session.call(&[
            "--dest=org.freedesktop.secrets",
            &path,
            "org.freedesktop.DBus.Properties.Get",
            "string:org.freedesktop.Secret.Collection",
            "string:Locked",
        ]);
        answer.contains("boolean true")
    }
}

/// What `secret-tool` finds is what the desktop's own programs would show.
fn secret_tool_finds_the_item(place: &Place) {
    place.store("host.example", "ada", "pw");
    let output = place
        .session
        .command("secret-tool")
        .args(["search", "--all", "service", "git-credential-wit"])
        .args(["target", "default", "username", "https://host.example"])
        .output()
        .expect("secret-tool: apt-get install libsecret-tools");
    let (items, attributes) = (text(&output.stdout), text(&output.stderr));
    assert!(
        items.contains("label = wit: https://host.example\n"),
        "{items}"
    );
    assert!(
        items.contains(r#""username":"ada","password":"pw""#),
        "{items}"
    );
    assert!(
        attributes.contains("application = git-credential-wit\n"),
        "{attributes}"
    );
}

/// Overwritten, erased and new: all of it is there after the service has been started anew.
fn a_restart_changes_nothing(place: &mut Place, restart: impl FnOnce(&mut Place)) {
    place.store("one.example", "ada", "one");
    place.store("one.example", "ada", "two");
    place.store("two.example", "bob", "pw");
    done(&place.helper("erase", "two.example", "username=bob\npassword=pw\n"));
    place.store("three.example", "carl", "three");
    place.store("three.example", "dora", "}{USERNAME}{");
    restart(place);
    assert_eq!(place.get("one.example"), "username=ada\npassword=two\n");
    assert_eq!(place.get("two.example"), "");
    let dora = "username=dora\npassword=}{USERNAME}{\n";
    assert_eq!(place.get("three.example"), dora);
    let carl = done(&place.helper("get", "three.example", "username=carl\n"));
    assert_eq!(carl, "username=carl\npassword=three\n");
}

fn everything_moves_out_and_back(place: &mut Place) {
    for (host, username) in [("one.example", "ada"), ("two.example", "bob")] {
        place.store(host, username, "pw");
    }
    for (from, to, gone) in [
        ("keychain", "file", "keychain"),
        ("file", "keychain", "file"),
    ] {
        done(&place.home.run(WIT, &["store", "move", from, to], ""));
        place.home.set("WIT_STORE", to);
        assert_eq!(place.get("one.example"), "username=ada\npassword=pw\n");
        assert_eq!(place.get("two.example"), "username=bob\npassword=pw\n");
        place.home.set("WIT_STORE", gone);
        assert_eq!(place.get("one.example"), "", "{gone}");
    }
}

/// Each operation on what is stored, and on what is not, says that it is locked.
fn assert_locked(place: &Place) {
    let entry = "username=ada\npassword=pw\n";
    for (operation, host) in [
        ("get", "kept.example"),
        ("get", "absent.example"),
        ("store", "kept.example"),
        ("store", "absent.example"),
        ("erase", "kept.example"),
    ] {
        let rest = if operation == "get" { "" } else { entry };
        let said = refused(&place.helper(operation, host, rest), 1);
        assert!(
            said.contains("the keyring is locked"),
            "{operation}: {said}"
        );
    }
}

mod keepassxc {
    use super::*;

    /// The group that programs may use is named in the database itself.
    const DATABASE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<KeePassFile><Meta><CustomData><Item><Key>FDO_SECRETS_EXPOSED_GROUP</Key>
<Value>{00000000-0000-0000-0000-000000000001}</Value></Item></CustomData></Meta>
<Root><Group><UUID>AAAAAAAAAAAAAAAAAAAAAQ==</UUID><Name>git</Name></Group></Root></KeePassFile>
"#;
    /// Its usual settings would have a person confirm each access, of each process anew, and save after
    /// each change, in a thread beside which 2.7.4 crashes when the next change comes too soon.
    const SETTINGS: &str = "[General]\nConfigVersion=2\nSingleInstance=false\nUpdateCheckMessageShown=true\n\
        AutoSaveAfterEveryChange=false\nAutoSaveOnExit=true\n\
        [GUI]\nCheckForUpdates=false\n[FdoSecrets]\nEnabled=true\nShowNotification=false\nConfirmAccessItem=false\n\
        ConfirmDeleteItem=false\nUnlockBeforeSearch=UNLOCK\n";

    /// With an open database, on no display.
    fn open(session: &Session) -> Child {
        run(session, "true", &[("QT_QPA_PLATFORM", "offscreen")])
    }

    /// The same; in one that is locked, programs find nothing and are told so at once.
    fn open_that_hides(session: &Session) -> Child {
        run(session, "false", &[("QT_QPA_PLATFORM", "offscreen")])
    }

    fn run(session: &Session, unlock_before_search: &str, variables: &[(&str, &str)]) -> Child {
        let database = session.home().join("git.kdbx");
        if !database.exists() {
            make(session, &database);
        }
        let config = session.home().join(".config/keepassxc");
        std::fs::create_dir_all(&config).unwrap();
        let settings = SETTINGS.replace("UNLOCK", unlock_before_search);
        std::fs::write(config.join("keepassxc.ini"), settings).unwrap();
        let mut child = session
            .command("keepassxc")
            .arg("--pw-stdin")
            .arg(&database)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("keepassxc: apt-get install keepassxc");
        writeln!(child.stdin.take().expect("piped"), "{PASSWORD}").unwrap();
        child
    }

    fn make(session: &Session, database: &Path) {
        let export = session.home().join("git.xml");
        std::fs::write(&export, DATABASE).unwrap();
        let mut import = session.command("keepassxc-cli");
        import.args(["import", "--set-password", "--decryption-time", "100"]);
        import.args([&export, database]);
        done(&feed(
            import,
            format!("{PASSWORD}\n{PASSWORD}\n").as_bytes(),
        ));
    }

    fn lock(place: &Place) {
        // While it saves it does not hear of it.
        until("the database is locked", || {
            place.session.call(&[
                "--dest=org.keepassxc.KeePassXC.MainWindow",
                "/keepassxc",
                "org.keepassxc.KeePassXC.MainWindow.lockAllDatabases",
            ]);
            place.is_locked("git")
        });
    }

    #[test]
    fn it_serves_every_git() {
        battery::run(&Place::new(Session::with(open)).home);
    }

    #[test]
    fn secret_tool_finds_the_item() {
        super::secret_tool_finds_the_item(&Place::new(Session::with(open)));
    }

    #[test]
    fn a_restart_changes_nothing() {
        super::a_restart_changes_nothing(&mut Place::new(Session::with(open)), |place| {
            // Told to end while it saves, it asks what to do.
            lock(place);
            place.session.restart(open);
        });
    }

    #[test]
    fn everything_moves_out_and_back() {
        super::everything_moves_out_and_back(&mut Place::new(Session::with(open)));
    }

    #[test]
    fn a_locked_database_is_an_error_and_no_absence() {
        let place = Place::new(Session::with(open_that_hides));
        place.store("kept.example", "ada", "pw");
        lock(&place);
        assert_locked(&place);
    }

    /// A screen that nobody looks at.
    struct Display {
        server: Child,
        name: String,
    }

    impl Display {
        fn new() -> Self {
            let mut server = Command::new("Xvfb")
                .args(["-displayfd", "1", "-nolisten", "tcp"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("Xvfb: apt-get install xvfb");
            let mut number = String::new();
            BufReader::new(server.stdout.take().expect("piped"))
                .read_line(&mut number)
                .expect("its number");
            let name = format!(":{}", number.trim());
            Display { server, name }
        }

        /// Has xdotool do something with KeePassXC's prompt for a locked database, where that is shown.
        fn answer(&self, actions: &[&str]) {
            let mut tool = Command::new("xdotool");
            tool.env("DISPLAY", &self.name);
            tool.args(["search", "--onlyvisible", "--name", "^Unlock Database"]);
            tool.args(["windowfocus", "--sync"]).args(actions);
            let tool = tool.stdout(Stdio::null()).stderr(Stdio::null());
            tool.status().expect("xdotool: apt-get install xdotool");
        }
    }

    impl Drop for Display {
        fn drop(&mut self) {
            let _ = self.server.kill();
            let _ = self.server.wait();
        }
    }

    /// What a `get` says while a person answers KeePassXC's prompt by `actions`.
    fn get_while_answered(unlock_before_search: &str, actions: &[&str]) -> Output {
        let display = Display::new();
        let variables = [("DISPLAY", &*display.name)];
        let session = Session::with(|session| run(session, unlock_before_search, &variables));
        let mut place = Place::new(session);
        place.store("kept.example", "ada", "pw");
        lock(&place);
        place.home.set("DISPLAY", &*display.name);
        // That a person takes longer than a service may is what half of this is about.
        place.home.set("WIT_KEYCHAIN_TIMEOUT", "2");
        std::thread::scope(|scope| {
            let get = scope.spawn(|| place.helper("get", "kept.example", ""));
            // The first keys may come before the prompt takes any.
            until("the prompt is answered", || {
                display.answer(actions);
                get.is_finished()
            });
            get.join().expect("it ends")
        })
    }

    #[test]
    fn a_prompt_that_is_answered_brings_the_secret() {
        for unlock_before_search in ["true", "false"] {
            let typed = [
                "key", "ctrl+a", "type", "--args", "1", PASSWORD, "key", "Return",
            ];
            let output = get_while_answered(unlock_before_search, &typed);
            assert_eq!(done(&output), "username=ada\npassword=pw\n");
        }
    }

    #[test]
    fn a_prompt_that_is_dismissed_is_no_absence() {
        for unlock_before_search in ["true", "false"] {
            let said = refused(
                &get_while_answered(unlock_before_search, &["key", "Escape"]),
                1,
            );
            assert!(said.contains("the keyring is locked"), "{said}");
        }
    }
}

mod oo7 {
    use super::*;

    /// With a login collection that PAM would have unlocked.
    fn open(session: &Session) -> Child {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/oo7-daemon");
        let program = if built.exists() {
            &built
        } else {
            Path::new("oo7-daemon")
        };
        let mut child = session
            .command(program)
            .arg("--login")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("oo7-daemon: tests/run builds it");
        write!(child.stdin.take().expect("piped"), "{PASSWORD}").unwrap();
        child
    }

    #[test]
    fn it_keeps_the_contract() {
        let name = "daemons::oo7::it_keeps_the_contract";
        inside(
            name,
            || Session::with(open),
            &[],
            || stores::battery(&SecretService::new()),
        );
    }

    #[test]
    fn it_serves_every_git() {
        battery::run(&Place::new(Session::with(open)).home);
    }

    #[test]
    fn secret_tool_finds_the_item() {
        super::secret_tool_finds_the_item(&Place::new(Session::with(open)));
    }

    #[test]
    fn a_restart_changes_nothing() {
        super::a_restart_changes_nothing(&mut Place::new(Session::with(open)), |place| {
            place.session.restart(open);
        });
    }

    #[test]
    fn everything_moves_out_and_back() {
        super::everything_moves_out_and_back(&mut Place::new(Session::with(open)));
    }

    #[test]
    fn a_locked_collection_is_an_error_and_no_absence() {
        let place = Place::new(Session::with(open));
        place.store("kept.example", "ada", "pw");
        place.session.call(&[
            "--dest=org.freedesktop.secrets",
            "/org/freedesktop/secrets",
            "org.freedesktop.Secret.Service.Lock",
            "array:objpath:/org/freedesktop/secrets/collection/login",
        ]);
        until("the collection is locked", || place.is_locked("login"));
        assert_locked(&place);
    }
}
