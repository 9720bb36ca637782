//! `wit store move`: all of it, or nothing, and never a moment in which git finds nothing.
#![cfg(target_os = "linux")]

use crate::support::{HELPER, Home, WIT, text};
use wit::config::Paths;
use wit::credential::Site;
use wit::store::{Store, select};

/// A home without `WIT_STORE`, and hosts that no other test uses: kernel keys are the user's.
struct Place {
    home: Home,
    hosts: Vec<String>,
}

impl Place {
    fn new() -> Self {
        let mut home = Home::new();
        home.set("WIT_STORE", "");
        let name = home.path().file_name().unwrap().to_string_lossy();
        let hosts = (0..3).map(|n| format!("h{n}.{name}").to_lowercase());
        let hosts = hosts.collect();
        let place = Place { home, hosts };
        place.wit(&["setup", "--store", "file"]);
        for host in &place.hosts {
            place.store("file", host, "ada", "pw");
            place.store("file", host, "bob", "b");
        }
        place
    }

    fn wit(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.home.run(WIT, words, "");
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code(), said)
    }

    fn store(&self, store: &str, host: &str, username: &str, password: &str) {
        let entry =
            format!("protocol=https\nhost={host}\nusername={username}\npassword={password}\n");
        let output = self.home.run(HELPER, &["--store", store, "store"], &entry);
        assert!(output.status.success(), "{output:?}");
    }

    /// What git would get of the store in use, or of one that is named.
    fn get(&self, words: &[&str], host: &str, username: &str) -> String {
        let asked = format!("protocol=https\nhost={host}\nusername={username}\n");
        let output = self.home.run(HELPER, &[words, &["get"]].concat(), &asked);
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    }

    fn assert_all_found(&self, words: &[&str]) {
        for host in &self.hosts {
            for (username, password) in [("ada", "pw"), ("bob", "b")] {
                let answer = self.get(words, host, username);
                assert_eq!(
                    answer,
                    format!("username={username}\npassword={password}\n")
                );
            }
        }
    }

    fn assert_none_found(&self, words: &[&str]) {
        for host in &self.hosts {
            assert_eq!(self.get(words, host, "ada"), "");
        }
    }

    fn in_use(&self) -> String {
        let config = self.home.path().join(".config/wit/config.json");
        let text = std::fs::read(config).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&text).unwrap();
        config["store"].as_str().unwrap().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let keys = select::by_name(&Paths::below(self.home.path()), "keyutils").unwrap();
        for host in &self.hosts {
            let site = Site::new(b"https", host.as_bytes()).unwrap();
            let _ = Store::delete(&*keys, &site);
        }
    }
}

const KEYS: [&str; 2] = ["--store", "keyutils"];
const FILES: [&str; 2] = ["--store", "file"];
const THERE: [&str; 4] = ["store", "move", "file", "keyutils"];

#[test]
fn everything_moves_and_the_choice_with_it_and_once_more_what_came_later() {
    let place = Place::new();
    let (code, said) = place.wit(&THERE);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("Moved 3 sites to the kernel's keyring"),
        "{said}"
    );
    assert_eq!(place.in_use(), "keyutils");
    place.assert_all_found(&[]);
    place.assert_none_found(&FILES);
    for host in &place.hosts {
        place.store("file", host, "carl", "c");
    }
    let (code, said) = place.wit(&THERE);
    assert_eq!(code, Some(0), "{said}");
    place.assert_all_found(&[]);
    assert_eq!(
        place.get(&[], &place.hosts[0], "carl"),
        "username=carl\npassword=c\n"
    );
}

#[test]
fn another_secret_on_the_other_side_is_not_overwritten_unless_told() {
    let place = Place::new();
    place.store("keyutils", &place.hosts[1], "ada", "other");
    let (code, said) = place.wit(&THERE);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains(&place.hosts[1]) && said.contains("--force"),
        "{said}"
    );
    assert!(!said.contains(&place.hosts[0]), "{said}");
    assert_eq!(place.in_use(), "file");
    place.assert_all_found(&FILES);
    assert_eq!(place.get(&KEYS, &place.hosts[0], "ada"), "");

    let (code, said) = place.wit(&[&THERE[..], &["--force"]].concat());
    assert_eq!(code, Some(0), "{said}");
    place.assert_all_found(&KEYS);
}

#[test]
fn a_store_that_is_too_small_gets_nothing_and_the_old_one_keeps_all() {
    let place = Place::new();
    let long = "x".repeat(33_000);
    place.store("file", &place.hosts[2], "long", &long);
    let (code, said) = place.wit(&THERE);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("takes at most"), "{said}");
    place.assert_all_found(&FILES);
    place.assert_none_found(&KEYS);
    assert_eq!(place.in_use(), "file");
}

#[cfg(feature = "crash-points")]
#[test]
fn after_a_crash_at_any_point_git_finds_all_and_the_next_run_finishes() {
    for point in [
        "move-written",
        "move-noted",
        "move-switched",
        "move-removed",
    ] {
        let mut place = Place::new();
        place.home.set("WIT_CRASH_AT", point);
        assert_eq!(place.wit(&THERE).0, None, "{point}: it did not die");
        place.home.set("WIT_CRASH_AT", "");
        place.assert_all_found(&[]);
        if point == "move-removed" {
            // What changed since the switch is not undone by the rest of the removing.
            place.store("keyutils", &place.hosts[2], "bob", "changed");
            place.store("keyutils", &place.hosts[2], "bob", "b");
        }
        let (code, said) = place.wit(&THERE);
        assert_eq!(code, Some(0), "{point}: {said}");
        place.assert_all_found(&[]);
        place.assert_none_found(&FILES);
        assert_eq!(place.in_use(), "keyutils");
    }
}

/// A process that chose its store before the move, and gets the site's lock after it.
#[test]
fn a_change_that_was_waiting_goes_to_the_new_store() {
    use wit::store::lock::StoreLock;

    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::below(dir.path());
    let remember = |name: &str| {
        wit::config::Config::update(&paths, |config| config.store = Some(name.to_owned())).unwrap();
    };
    let name = dir
        .path()
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let site = Site::new(b"https", name.as_bytes()).unwrap();
    remember("file");
    let chosen = select::open(&paths, None).unwrap();
    let lock = StoreLock::acquire(&paths).unwrap();
    std::thread::scope(|scope| {
        // It may start before or after the switch: the lock keeps it back until then either way.
        let waiting = scope.spawn(|| {
            let chosen = select::open(&paths, None).unwrap();
            wit::store::update(&*chosen, &paths, &site, |item| item.clone()).unwrap()
        });
        remember("keyutils");
        drop(lock);
        assert!(waiting.join().unwrap().is_empty());
    });
    let request = wit::helper::wire::parse(b"username=ada\npassword=pw\n").unwrap();
    let entry = request.to_credential().unwrap();
    wit::store::update(&*chosen, &paths, &site, |item| item.credentials.put(entry)).unwrap();
    // As a rotation does before it begins.
    let item = chosen.read(&site).unwrap().unwrap();
    chosen.write(&site, &item).unwrap();
    assert!(
        select::by_name(&paths, "file")
            .unwrap()
            .read(&site)
            .unwrap()
            .is_none()
    );
    let keys = select::by_name(&paths, "keyutils").unwrap();
    assert!(keys.read(&site).unwrap().is_some());
    assert!(chosen.read(&site).unwrap().is_some(), "a read follows too");
    chosen.delete(&site).unwrap();
    assert!(keys.read(&site).unwrap().is_none());
}

#[test]
fn it_says_where_secrets_lie_and_where_else() {
    let place = Place::new();
    place.store("keyutils", &place.hosts[0], "ada", "pw");
    let (code, said) = place.wit(&["store"]);
    assert_eq!(code, Some(0));
    assert!(
        said.starts_with("Secrets are kept in encrypted files in "),
        "{said}"
    );
    assert!(said.contains("wit store move keyutils file\n"), "{said}");
    assert!(
        said.contains("The file store has no passphrase.\n"),
        "{said}"
    );
}

#[test]
fn names_that_are_no_stores_are_refused() {
    let place = Place::new();
    for words in [["file", "vault"], ["auto", "file"], ["file", "file"]] {
        let (code, _) = place.wit(&[&["store", "move"], &words[..]].concat());
        assert_eq!(code, Some(2));
    }
}
