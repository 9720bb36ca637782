//! The contract of `Store`, the same for each of them, and what each does with what it can't use.

use std::path::{Path, PathBuf};

use wit::config::{Config, Paths};
use wit::credential::{AuthData, Credential, Site};
use wit::item::{Item, ItemError};
use wit::secret::Secret;
use wit::store::file::FileStore;
use wit::store::lock::name_of;
use wit::store::{self, Store, StoreError, select};

fn site(host: &str) -> Site {
    Site::new(b"https", host.as_bytes()).expect("a good host")
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

fn item(password: &str) -> Item {
    let mut item = Item::default();
    item.credentials.put(Credential {
        username: Some(b"me".to_vec()),
        path: None,
        auth: AuthData::Password(secret(password)),
        expiry: None,
        refresh_token: None,
        sign_in: None,
        imported: false,
        token: None,
    });
    item
}

/// What every store does.
pub fn battery(store: &dyn Store) {
    let (one, other) = (site("one.example"), site("other.example:8443"));

    assert_eq!(store.read(&one).unwrap(), None, "nothing is no error");
    store.delete(&one).expect("deleting nothing is no error");
    assert_eq!(store.sites().unwrap(), []);

    store.write(&one, &secret("first")).unwrap();
    store.write(&other, &secret("elsewhere")).unwrap();
    assert_eq!(store.read(&one).unwrap(), Some(secret("first")));

    store.write(&one, &secret("second, longer")).unwrap();
    assert_eq!(store.read(&one).unwrap(), Some(secret("second, longer")));
    assert_eq!(store.read(&other).unwrap(), Some(secret("elsewhere")));

    let mut sites = store.sites().unwrap();
    sites.sort();
    assert_eq!(sites, [one.clone(), other.clone()]);

    let odd = Secret::new((0..=255).cycle().take(12_000).collect());
    store.write(&one, &odd).unwrap();
    assert_eq!(store.read(&one).unwrap(), Some(odd), "any bytes, and many");
    store.write(&one, &secret("not an item")).unwrap();
    store.set_aside(&one).unwrap();
    assert_eq!(store.read(&one).unwrap(), None, "out of the way");

    store.delete(&one).unwrap();
    store.delete(&other).unwrap();
    assert_eq!(store.read(&other).unwrap(), None);
    assert_eq!(store.sites().unwrap(), []);
}

/// A file store below a directory of its own.
struct Files {
    dir: tempfile::TempDir,
    paths: Paths,
    store: FileStore,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let store = FileStore::new(&paths);
        Files { dir, paths, store }
    }

    fn file_of(&self, site: &Site) -> PathBuf {
        self.paths.store_dir().join(name_of(site) + ".age")
    }

    fn identity(&self) -> PathBuf {
        self.paths.store_dir().join("identity.txt")
    }
}

#[test]
fn the_file_store_keeps_the_contract() {
    battery(&Files::new().store);
}

#[test]
fn reading_makes_no_file() {
    let files = Files::new();
    assert_eq!(files.store.read(&site("host")).unwrap(), None);
    assert_eq!(files.store.sites().unwrap(), []);
    let open = select::open(&files.paths, None).unwrap();
    open.sites().unwrap();
    assert_eq!(std::fs::read_dir(files.dir.path()).unwrap().count(), 0);
}

/// Spoils the file of a stored item by `spoil`, and shows that it is told, and lost by nobody.
fn assert_set_aside(spoil: impl FnOnce(&Files, &Path), told: ItemError) {
    let files = Files::new();
    let here = site("host");
    store::update(&files.store, &files.paths, &here, |stored| {
        *stored = item("old")
    })
    .unwrap();
    let file = files.file_of(&here);
    spoil(&files, &file);
    let spoilt = std::fs::read(&file).unwrap();

    match store::load(&files.store, &here) {
        Err(StoreError::Item { error, .. }) => assert_eq!(error, told),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        std::fs::read(&file).unwrap(),
        spoilt,
        "reading changes nothing"
    );

    store::update(&files.store, &files.paths, &here, |stored| {
        *stored = item("new")
    })
    .unwrap();
    assert_eq!(store::load(&files.store, &here).unwrap(), item("new"));
    let aside = files.paths.store_dir().join(name_of(&here) + ".damaged-1");
    assert_eq!(std::fs::read(aside).unwrap(), spoilt);
    assert_eq!(files.store.sites().unwrap(), [here]);
}

#[test]
fn a_truncated_file_is_set_aside() {
    let cut = |_: &Files, file: &Path| {
        let bytes = std::fs::read(file).unwrap();
        std::fs::write(file, &bytes[..bytes.len() - 1]).unwrap();
    };
    assert_set_aside(cut, ItemError::Damaged);
}

#[test]
fn an_empty_file_is_set_aside() {
    assert_set_aside(
        |_, file| std::fs::write(file, "").unwrap(),
        ItemError::Damaged,
    );
}

#[test]
fn a_file_with_a_flipped_bit_is_set_aside() {
    let flip = |_: &Files, file: &Path| {
        let mut bytes = std::fs::read(file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(file, bytes).unwrap();
    };
    assert_set_aside(flip, ItemError::Damaged);
}

#[test]
fn a_file_that_is_not_age_is_set_aside() {
    let foreign = |_: &Files, file: &Path| std::fs::write(file, "machine host").unwrap();
    assert_set_aside(foreign, ItemError::Damaged);
}

#[test]
fn a_file_under_the_name_of_another_site_is_set_aside() {
    let swap = |files: &Files, file: &Path| {
        let other = site("other");
        store::update(&files.store, &files.paths, &other, |stored| {
            *stored = item("x")
        })
        .unwrap();
        std::fs::rename(files.file_of(&other), file).unwrap();
    };
    assert_set_aside(swap, ItemError::OtherSite);
}

#[test]
fn an_item_of_a_newer_format_is_never_overwritten() {
    let files = Files::new();
    let here = site("host");
    let newer = secret(r#"{"version":5,"site":"https://host","new":1}"#);
    files.store.write(&here, &newer).unwrap();
    let update = store::update(&files.store, &files.paths, &here, |stored| {
        *stored = item("new")
    });
    assert!(
        matches!(
            update,
            Err(StoreError::Item {
                error: ItemError::Newer(5),
                ..
            })
        ),
        "{update:?}"
    );
    assert_eq!(files.store.read(&here).unwrap(), Some(newer));
}

#[test]
fn without_its_identity_nothing_is_read_and_no_new_one_is_made() {
    let files = Files::new();
    let (here, other) = (site("host"), site("other"));
    files.store.write(&here, &secret("hush")).unwrap();
    std::fs::remove_file(files.identity()).unwrap();
    let lost = |result| matches!(result, Err(StoreError::Identity { .. }));
    assert!(lost(files.store.read(&here).map(drop)));
    assert!(lost(files.store.sites().map(drop)));
    assert!(lost(files.store.write(&other, &secret("new"))));
    assert!(!files.identity().exists());
}

#[test]
fn at_once_many_first_writers_agree_on_one_identity() {
    let files = Files::new();
    let start = std::sync::Barrier::new(16);
    std::thread::scope(|scope| {
        for n in 0..16 {
            let (files, start) = (&files, &start);
            scope.spawn(move || {
                start.wait();
                let here = site(&format!("host{n}"));
                files.store.write(&here, &secret("hush")).unwrap();
            });
        }
    });
    assert_eq!(files.store.sites().unwrap().len(), 16);
}

#[test]
fn a_write_removes_what_killed_writers_left_and_nothing_of_a_living_one() {
    use std::time::{Duration, SystemTime};

    let files = Files::new();
    let here = site("host");
    files.store.write(&here, &secret("hush")).unwrap();
    let make = |name: &str, age: u64| {
        let file = std::fs::File::create(files.paths.store_dir().join(name)).unwrap();
        let then = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(then).unwrap();
        file
    };
    const DAY: u64 = 24 * 60 * 60;
    drop(make(".tmp-killed", DAY));
    drop(make(".tmp-young", 0));
    drop(make("other", DAY));
    // As of a laptop that sleeps between the writing and the renaming.
    let living = make(".tmp-living", DAY);
    living.lock().unwrap();

    files.store.write(&here, &secret("hush again")).unwrap();
    let mut left: Vec<_> = std::fs::read_dir(files.paths.store_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".tmp-") || name == "other")
        .collect();
    left.sort();
    assert_eq!(left, [".tmp-living", ".tmp-young", "other"]);
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_and_a_shared_identity_is_refused() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    let files = Files::new();
    let here = site("host");
    files.store.write(&here, &secret("hush")).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&files.paths.store_dir()), 0o700);
    assert_eq!(mode(&files.identity()), 0o600);
    assert_eq!(mode(&files.file_of(&here)), 0o600);
    let all = [
        std::fs::read(files.identity()),
        std::fs::read(files.file_of(&here)),
    ];
    for bytes in all {
        assert!(!bytes.unwrap().windows(4).any(|some| some == b"hush"));
    }

    std::fs::set_permissions(files.identity(), Permissions::from_mode(0o644)).unwrap();
    let error = files.store.read(&here).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

#[test]
fn a_store_of_an_unknown_name_is_an_error_that_tells_the_names() {
    let files = Files::new();
    let error = select::open(&files.paths, Some("vault")).err().unwrap();
    assert!(error.to_string().contains("keychain, file"), "{error}");
}

#[test]
fn a_remembered_choice_is_kept() {
    let files = Files::new();
    Config::update(&files.paths, |config| {
        config.store = Some("file".to_owned())
    })
    .unwrap();
    assert_eq!(select::open(&files.paths, None).unwrap().name(), "file");
    let decided = select::decide(&files.paths, None).unwrap();
    assert_eq!((decided.store.name(), decided.new), ("file", false));
}

/// Under a name of the test's own; a key that a failed run leaves is gone with the next reboot.
#[cfg(target_os = "linux")]
#[test]
fn the_kernels_keys_keep_the_contract() {
    use wit::store::keyutils::Keyutils;

    let name = format!("git-credential-wit-test-{}", std::process::id());
    battery(&Keyutils::named(&name));
    Keyutils::named(&format!("{name}-damaged"))
        .delete(&site("one.example"))
        .unwrap();
    let large = Secret::new(vec![b'x'; 40_000]);
    let error = Keyutils::named(&name).write(&site("one.example"), &large);
    assert!(
        matches!(error, Err(StoreError::TooLarge { .. })),
        "{error:?}"
    );
}

/// A D-Bus session of its own, with a fresh home, in which the test runs itself once more.
#[cfg(target_os = "linux")]
mod keyring {
    use std::os::unix::net::UnixListener;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use rustbus::connection::Timeout;
    use rustbus::{DuplexConn, get_session_bus_path, standard_messages};
    use wit::store::secret_service::SecretService;

    use super::*;
    use crate::support::session::{self, Session};
    use crate::support::until;

    fn in_session(
        name: &str,
        start: fn() -> Session,
        variables: &[(&str, &str)],
        body: impl FnOnce(),
    ) {
        session::inside(&format!("stores::keyring::{name}"), start, variables, body);
    }

    fn run(program: &str, args: &[&str]) -> String {
        let output = Command::new(program)
            .args(args)
            .output()
            .unwrap_or_else(|error| {
                panic!("{program}: {error}: apt-get install dbus libsecret-tools")
            });
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn lock() {
        let login = "/org/freedesktop/secrets/collection/login";
        let lock = [
            "--session",
            "--print-reply",
            "--dest=org.freedesktop.secrets",
            "/org/freedesktop/secrets",
            "org.freedesktop.Secret.Service.Lock",
            &format!("array:objpath:{login}"),
        ];
        // It names what it has locked, and now and then overlooks a program's first call.
        until("the collection is locked", || {
            run("dbus-send", &lock).contains(login)
        });
    }

    #[test]
    fn it_keeps_the_contract() {
        in_session("it_keeps_the_contract", Session::with_keyring, &[], || {
            battery(&SecretService::new());
        });
    }

    #[test]
    fn secret_tool_and_another_connection_read_what_is_stored() {
        let name = "secret_tool_and_another_connection_read_what_is_stored";
        in_session(name, Session::with_keyring, &[], || {
            let here = site("host.example");
            SecretService::new().write(&here, &secret("hush")).unwrap();
            let read = SecretService::new().read(&here).unwrap();
            assert_eq!(read, Some(secret("hush")));
            let attributes = ["service", "git-credential-wit", "username"];
            let args = [&["lookup"], &attributes[..], &["https://host.example"]].concat();
            assert_eq!(run("secret-tool", &args), "hush");
            let args = [&["search"], &attributes[..], &["https://host.example"]].concat();
            assert!(run("secret-tool", &args).contains("wit: https://host.example"));
        });
    }

    #[test]
    fn auto_takes_it_and_remembers_at_the_first_write() {
        let name = "auto_takes_it_and_remembers_at_the_first_write";
        in_session(name, Session::with_keyring, &[], || {
            let dir = tempfile::tempdir().unwrap();
            let paths = Paths::below(dir.path());
            let store = select::open(&paths, None).unwrap();
            assert_eq!(store.read(&site("host")).unwrap(), None);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
            store.write(&site("host"), &secret("hush")).unwrap();
            let remembered = Config::load(&paths).unwrap().store;
            assert_eq!(remembered.as_deref(), Some("keychain"));
        });
    }

    #[test]
    fn a_locked_one_is_an_error_and_never_empty() {
        let name = "a_locked_one_is_an_error_and_never_empty";
        in_session(name, Session::with_keyring, &[], || {
            let (kept, absent) = (site("kept"), site("absent"));
            let store = SecretService::new();
            store.write(&kept, &secret("hush")).unwrap();
            lock();
            for store in [store, SecretService::new()] {
                for site in [&kept, &absent] {
                    let locked = |result| matches!(result, Err(StoreError::Locked { .. }));
                    assert!(locked(store.read(site).map(drop)));
                    assert!(locked(store.write(site, &secret("new"))));
                    assert!(locked(store.delete(site)));
                }
                assert!(matches!(store.sites(), Err(StoreError::Locked { .. })));
                assert!(matches!(store.probe(), Err(StoreError::Locked { .. })));
            }
        });
    }

    fn alias_default(collection: &str) {
        let call = [
            "--session",
            "--print-reply",
            "--dest=org.freedesktop.secrets",
            "/org/freedesktop/secrets",
            "org.freedesktop.Secret.Service.SetAlias",
            "string:default",
            &format!("objpath:/org/freedesktop/secrets/collection/{collection}"),
        ];
        run("dbus-send", &call);
    }

    #[test]
    fn what_is_open_answers_before_a_duplicate_that_is_locked() {
        let name = "what_is_open_answers_before_a_duplicate_that_is_locked";
        in_session(name, Session::with_keyring, &[], || {
            let here = site("host.example");
            let store = SecretService::new();
            store.write(&here, &secret("locked")).unwrap();
            let args = [
                "store",
                "--collection=session",
                "--label=wit: https://host.example",
                "service",
                "git-credential-wit",
                "target",
                "default",
                "username",
                "https://host.example",
            ];
            let mut command = Command::new("secret-tool");
            command.args(args);
            let stored = crate::support::feed(command, b"open");
            assert!(stored.status.success(), "{stored:?}");
            lock();
            for store in [&store, &SecretService::new()] {
                assert_eq!(store.read(&here).unwrap(), Some(secret("open")));
            }
            store.write(&here, &secret("written")).unwrap();
            assert_eq!(store.read(&here).unwrap(), Some(secret("written")));
            let locked = |result| matches!(result, Err(StoreError::Locked { .. }));
            assert!(locked(store.sites().map(drop)), "one may be hidden");
            // What is open is gone then, and the other is not taken for gone.
            assert!(locked(store.delete(&here)));
            assert!(locked(store.read(&here).map(drop)));
        });
    }

    #[test]
    fn of_two_that_are_open_the_one_changed_last_answers() {
        let name = "of_two_that_are_open_the_one_changed_last_answers";
        in_session(name, Session::with_keyring, &[], || {
            let here = site("host.example");
            let store = SecretService::new();
            store.write(&here, &secret("first")).unwrap();
            alias_default("session");
            let args = [
                "store",
                "--collection=session",
                "--label=x",
                "service",
                "git-credential-wit",
                "target",
                "default",
                "username",
                "https://host.example",
            ];
            // The service counts in seconds.
            until("the second is the later one", || {
                let mut command = Command::new("secret-tool");
                command.args(args);
                assert!(crate::support::feed(command, b"second").status.success());
                store.read(&here).unwrap() == Some(secret("second"))
            });
        });
    }

    #[test]
    fn a_default_collection_of_the_session_is_not_taken_by_itself_and_is_told() {
        let name = "a_default_collection_of_the_session_is_not_taken_by_itself_and_is_told";
        in_session(name, Session::with_keyring, &[], || {
            assert_eq!(SecretService::new().caveat(), None);
            alias_default("session");
            let caveat = SecretService::new().caveat().expect("a caveat");
            assert!(caveat.contains("lost at logout"), "{caveat}");
            let dir = tempfile::tempdir().unwrap();
            let decided = select::decide(&Paths::below(dir.path()), None).unwrap();
            assert_eq!(decided.store.name(), "file");
            let mut home = crate::support::Home::new();
            let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap();
            home.set("DBUS_SESSION_BUS_ADDRESS", bus);
            home.set("WIT_STORE", "keychain");
            let wit = crate::support::WIT;
            let said = crate::support::done(&home.run(wit, &["store"], ""));
            assert!(said.contains(&caveat), "{said}");
            home.set("WIT_STORE", "");
            let output = home.run(wit, &["setup", "--store", "keychain"], "");
            let said = crate::support::text(&output.stderr);
            assert!(said.contains(&caveat), "{said}");
        });
    }

    #[test]
    fn without_a_service_auto_takes_files_and_a_chosen_keychain_says_why() {
        let name = "without_a_service_auto_takes_files_and_a_chosen_keychain_says_why";
        in_session(name, Session::empty, &[], || {
            let dir = tempfile::tempdir().unwrap();
            let paths = Paths::below(dir.path());
            let decided = select::decide(&paths, None).unwrap();
            assert_eq!((decided.store.name(), decided.new), ("file", true));
            let chosen = select::open(&paths, Some("keychain")).unwrap();
            let error = chosen.read(&site("host")).unwrap_err();
            assert!(error.to_string().contains("no Secret Service"), "{error}");
        });
    }

    /// As on a server, where D-Bus starts the service but no login made a collection.
    #[test]
    fn without_a_collection_auto_takes_files_and_a_chosen_keychain_says_why() {
        let name = "without_a_collection_auto_takes_files_and_a_chosen_keychain_says_why";
        in_session(name, Session::with_services, &[], || {
            let dir = tempfile::tempdir().unwrap();
            let paths = Paths::below(dir.path());
            let decided = select::decide(&paths, None).unwrap();
            assert_eq!((decided.store.name(), decided.new), ("file", true));
            let error = SecretService::new().read(&site("host")).unwrap_err();
            assert!(
                error.to_string().contains("no default collection"),
                "{error}"
            );
        });
    }

    #[test]
    fn a_service_that_never_answers_is_given_up() {
        let name = "a_service_that_never_answers_is_given_up";
        let soon = [("WIT_KEYCHAIN_TIMEOUT", "0.3")];
        in_session(name, Session::empty, &soon, || {
            let _silent = silent_service();
            gives_up();
        });
    }

    #[test]
    fn a_service_that_ends_before_it_answers_is_not_waited_for_nor_asked_more() {
        let name = "a_service_that_ends_before_it_answers_is_not_waited_for_nor_asked_more";
        in_session(name, Session::empty, &[], || {
            let mut ends = silent_service();
            std::thread::scope(|scope| {
                let read = scope.spawn(|| SecretService::new().read(&site("host")));
                let mut next = || ends.recv.get_next_message(Timeout::Infinite).unwrap();
                while next().dynheader.member.as_deref() != Some("SearchItems") {}
                // GNOME Keyring may end over anything more before its first answer.
                let soon = Timeout::Duration(Duration::from_millis(200));
                let more = ends.recv.get_next_message(soon);
                assert!(more.is_err(), "{more:?}");
                drop(ends);
                let error = read.join().unwrap().unwrap_err().to_string();
                assert!(error.contains("ended before it answered"), "{error}");
            });
        });
    }

    fn silent_service() -> DuplexConn {
        let mut silent = DuplexConn::connect_to_bus(get_session_bus_path().unwrap(), true).unwrap();
        silent.send_hello(Timeout::Infinite).unwrap();
        let own = standard_messages::request_name("org.freedesktop.secrets", 0);
        silent.send.send_message_write_all(&own).unwrap();
        silent.recv.get_next_message(Timeout::Infinite).unwrap();
        silent
    }

    #[test]
    fn a_bus_that_never_answers_is_given_up() {
        let name = "a_bus_that_never_answers_is_given_up";
        let silent = [
            ("WIT_KEYCHAIN_TIMEOUT", "0.3"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=silent%20bus"),
        ];
        in_session(name, Session::empty, &silent, || {
            let _silent = UnixListener::bind("silent bus").unwrap();
            gives_up();
        });
    }

    fn gives_up() {
        let begun = Instant::now();
        let answer = SecretService::new().read(&site("host"));
        assert!(
            matches!(answer, Err(StoreError::TimedOut { .. })),
            "{answer:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_store_that_does_not_work_is_not_chosen() {
    use crate::support::{Home, WIT, done, refused};
    let mut home = Home::new();
    home.set("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
    home.set("XDG_RUNTIME_DIR", home.path().display().to_string());
    for choose in [
        &["store", "move", "file", "keychain"][..],
        &["setup", "--store", "keychain"],
    ] {
        let said = refused(&home.run(WIT, choose, ""), 1);
        assert!(
            said.contains("the store can't be reached"),
            "{choose:?}: {said}"
        );
        let config = home.path().join(".config/wit/config.json");
        let config = std::fs::read_to_string(config).unwrap_or_default();
        assert!(!config.contains("keychain"), "{choose:?}: {config}");
    }
    done(&home.run(WIT, &["setup", "--store", "file"], ""));
    let listed = done(&home.run(WIT, &["store", "list", "--json"], ""));
    assert!(!listed.contains("probe"), "{listed}");
}
