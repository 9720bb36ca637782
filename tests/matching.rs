//! Each line of the matching rules as a case, through the helper's own operations and a store in
//! memory: no process, no clock.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;
use wit::config::Paths;
use wit::credential::Site;
use wit::expiry::UnixTime;
use wit::helper::{self, Env, EnvironmentToken, Operation, wire};
use wit::item::{Item, ItemError};
use wit::secret::Secret;
use wit::store::{self, Store, StoreError};

#[derive(Clone, Default)]
struct Memory(Rc<RefCell<BTreeMap<Site, Secret>>>);

impl Store for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }
    fn location(&self) -> String {
        "this test".to_owned()
    }
    fn read(&self, site: &Site) -> Result<Option<Secret>, StoreError> {
        Ok(self.0.borrow().get(site).cloned())
    }
    fn write(&self, site: &Site, item: &Secret) -> Result<(), StoreError> {
        self.0.borrow_mut().insert(site.clone(), item.clone());
        Ok(())
    }
    fn delete(&self, site: &Site) -> Result<(), StoreError> {
        self.0.borrow_mut().remove(site);
        Ok(())
    }
    fn sites(&self) -> Result<Vec<Site>, StoreError> {
        Ok(self.0.borrow().keys().cloned().collect())
    }
    fn set_aside(&self, site: &Site) -> Result<String, StoreError> {
        self.0.borrow_mut().remove(site);
        Ok("nowhere".to_owned())
    }
}

struct Bench {
    store: Memory,
    dir: tempfile::TempDir,
    environment: Option<(&'static str, &'static str)>,
}

impl Bench {
    fn new() -> Self {
        Bench {
            store: Memory::default(),
            dir: tempfile::tempdir().unwrap(),
            environment: None,
        }
    }

    fn try_run(&self, word: &str, input: &[u8]) -> Result<Vec<u8>, helper::HelperError> {
        let open = || Ok(Box::new(self.store.clone()) as Box<dyn Store>);
        let env = Env {
            now: UnixTime(1_000),
            paths: &Paths::below(self.dir.path()),
            environment_token: self.environment.and_then(|(url, token)| {
                EnvironmentToken::new(url, Secret::from(token.to_owned()))
            }),
            open: &open,
            renew: &|_, _| false,
            sign_in: &|_| false,
        };
        let mut output = Vec::new();
        let operation = Operation::parse(word.as_ref()).unwrap();
        helper::run(operation, input, &mut output, &env).map(|()| output)
    }

    fn run(&self, word: &str, input: &str) -> String {
        String::from_utf8(self.try_run(word, input.as_bytes()).unwrap()).unwrap()
    }

    fn store(&self, input: &str) -> &Self {
        assert_eq!(self.run("store", input), "");
        self
    }

    fn get(&self, input: &str) -> String {
        self.run("get", input)
    }
}

const SITE: &str = "protocol=https\nhost=example.com\n";

fn of(site: &str, rest: &str) -> String {
    format!("{site}{rest}")
}

fn alice() -> Bench {
    let bench = Bench::new();
    bench.store(&of(SITE, "username=alice\npassword=one\n"));
    bench
}

#[test]
fn what_was_stored_is_answered() {
    assert_eq!(alice().get(SITE), "username=alice\npassword=one\n");
}

#[test]
fn a_miss_is_silent() {
    assert_eq!(Bench::new().get(SITE), "");
}

#[test]
fn protocol_and_host_match_exactly() {
    let bench = alice();
    for other in [
        "protocol=http\nhost=example.com\n",
        "protocol=https\nhost=example.com:443\n",
        "protocol=https\nhost=example.com.\n",
        "protocol=https\nhost=www.example.com\n",
        "protocol=https\nhost=example.com.evil.org\n",
        "protocol=https\nhost=xample.com\n",
        "protocol=https\nhost=example%2ecom\n",
        "protocol=https\nhost=example.com%00.evil.org\n",
        "protocol=https\nhost=\n",
        "url=https://example.com%0a.evil.org/\n",
        "url=https://example.com@evil.org/\n",
        "url=https://evil.org/example.com\n",
    ] {
        let answer = bench.try_run("get", other.as_bytes()).unwrap_or_default();
        assert!(answer.is_empty(), "{other}");
    }
}

#[test]
fn a_host_is_the_same_in_either_case_and_a_path_is_not() {
    let bench = alice();
    assert_ne!(bench.get("protocol=HTTPS\nhost=Example.COM\n"), "");
    let bench = Bench::new();
    bench.store(&of(SITE, "path=a/B.git\nusername=alice\npassword=one\n"));
    assert_ne!(bench.get(&of(SITE, "path=a/B.git\n")), "");
    assert_eq!(bench.get(&of(SITE, "path=a/b.git\n")), "");
}

#[test]
fn a_username_that_is_asked_for_must_be_equal() {
    let bench = alice();
    bench.store(&of(SITE, "username=bob\npassword=two\n"));
    assert_eq!(
        bench.get(&of(SITE, "username=alice\n")),
        "username=alice\npassword=one\n"
    );
    assert_eq!(
        bench.get(&of(SITE, "username=bob\n")),
        "username=bob\npassword=two\n"
    );
    assert_eq!(bench.get(&of(SITE, "username=carol\n")), "");
    assert_eq!(bench.get(&of(SITE, "username=Alice\n")), "");
}

#[test]
fn empty_username_and_password_are_values() {
    let bench = alice();
    assert_eq!(bench.get(&of(SITE, "username=\n")), "");
    bench.store(&of(SITE, "username=\npassword=\n"));
    assert_eq!(
        bench.get(&of(SITE, "username=\n")),
        "username=\npassword=\n"
    );
}

#[test]
fn a_path_that_is_asked_for_goes_before_an_entry_without_one() {
    let bench = alice();
    bench.store(&of(SITE, "path=a.git\nusername=alice\npassword=for-a\n"));
    assert!(bench.get(&of(SITE, "path=a.git\n")).contains("for-a"));
    assert!(bench.get(&of(SITE, "path=b.git\n")).contains("=one"));
    assert_ne!(bench.get(SITE), "");
}

#[test]
fn store_replaces_the_entry_of_the_same_username_path_and_kind() {
    let bench = alice();
    bench.store(&of(SITE, "username=alice\npassword=new\n"));
    assert_eq!(bench.get(SITE), "username=alice\npassword=new\n");
    bench.store(&of(
        SITE,
        "username=alice\nauthtype=Bearer\ncredential=token\n",
    ));
    assert_eq!(
        bench.get(&of(SITE, "username=alice\n")),
        "username=alice\npassword=new\n"
    );
}

#[test]
fn nothing_without_a_secret_and_nothing_ephemeral_is_stored() {
    let bench = Bench::new();
    bench.store(&of(SITE, "username=alice\n"));
    bench.store(&of(
        SITE,
        "authtype=Bearer\ncredential=token\nephemeral=1\n",
    ));
    bench.store(&of(SITE, "authtype=Bearer\n"));
    assert!(bench.store.0.borrow().is_empty());
}

#[test]
fn a_header_is_answered_only_where_git_takes_it() {
    let bench = Bench::new();
    bench.store(&of(
        SITE,
        "capability[]=authtype\nauthtype=Bearer\ncredential=token\n",
    ));
    assert_eq!(bench.get(SITE), "");
    let answer = "capability[]=authtype\nauthtype=Bearer\ncredential=token\n";
    assert_eq!(bench.get(&of(SITE, "capability[]=authtype\n")), answer);
    assert_eq!(
        bench.get(&of(SITE, "capability[]=authtype\ncapability[]=\n")),
        ""
    );
    // An entry without a username answers only a request without one.
    assert_eq!(
        bench.get(&of(SITE, "capability[]=authtype\nusername=alice\n")),
        ""
    );
}

#[test]
fn expiry_and_refresh_token_come_back_and_an_expired_entry_is_a_miss() {
    let bench = Bench::new();
    let rest = "username=alice\npassword=one\npassword_expiry_utc=1001\noauth_refresh_token=more\n";
    bench.store(&of(SITE, rest));
    assert_eq!(bench.get(SITE), rest);
    bench.store(&of(
        SITE,
        "username=alice\npassword=two\npassword_expiry_utc=1000\n",
    ));
    assert_eq!(bench.get(SITE), "");
}

#[test]
fn a_replaced_token_is_kept_again_where_it_replaces_no_token() {
    let bench = alice();
    let site = Site::new(b"https", b"example.com").unwrap();
    let mut item = store::load(&bench.store, &site).unwrap();
    item.retire(&Secret::from("old".to_owned()));
    bench.store.write(&site, &item.encode(&site)).unwrap();
    bench.store(&of(SITE, "username=alice\npassword=old\n"));
    assert_eq!(bench.get(SITE), "username=alice\npassword=old\n");
    bench.run("erase", &of(SITE, "username=alice\npassword=old\n"));
    assert!(bench.store.0.borrow().is_empty());
}

#[test]
fn that_an_account_expires_makes_nobody_else_of_git() {
    let bench = alice();
    bench.store(&of(
        SITE,
        "username=bob\npassword=two\npassword_expiry_utc=1000\n",
    ));
    assert_eq!(bench.get(SITE), "");
    assert_eq!(bench.get(&of(SITE, "path=a.git\n")), "");
    assert!(bench.get(&of(SITE, "username=alice\n")).contains("one"));
    // Who is let in with another password after that is who git goes on as.
    bench.store(&of(SITE, "username=alice\npassword=three\n"));
    assert_eq!(bench.get(SITE), "username=alice\npassword=three\n");
}

#[test]
fn another_entry_of_an_account_answers_where_one_has_expired() {
    let bench = alice();
    let header = "username=bob\nauthtype=Bearer\ncredential=token\n";
    bench.store(&of(SITE, header));
    bench.store(&of(
        SITE,
        "username=bob\npassword=two\npassword_expiry_utc=1000\n",
    ));
    let answer = bench.get(&of(SITE, "capability[]=authtype\n"));
    assert!(answer.ends_with(header), "{answer}");
}

#[test]
fn the_account_that_was_added_last_answers() {
    let bench = alice();
    bench.store(&of(SITE, "username=bob\npassword=two\n"));
    bench.store(&of(SITE, "username=alice\npassword=three\n"));
    assert_eq!(bench.get(SITE), "username=bob\npassword=two\n");
}

#[test]
fn what_is_accepted_after_its_expiry_is_answered_again() {
    let bench = Bench::new();
    let entry = of(SITE, "username=alice\npassword=one\n");
    bench.store(&format!("{entry}password_expiry_utc=1000\n"));
    assert_eq!(bench.get(SITE), "");
    bench.store(&entry);
    assert_eq!(bench.get(SITE), "username=alice\npassword=one\n");
}

#[test]
fn erase_removes_what_matches_and_never_a_newer_secret() {
    let bench = alice();
    bench.run("erase", &of(SITE, "username=alice\npassword=old\n"));
    assert_ne!(bench.get(SITE), "");
    bench.run("erase", &of(SITE, "username=bob\n"));
    assert_ne!(bench.get(SITE), "");
    bench.run("erase", &of(SITE, "username=alice\npassword=one\n"));
    assert_eq!(bench.get(SITE), "");
    assert!(bench.store.0.borrow().is_empty());
}

#[test]
fn what_was_answered_to_a_path_is_erased_and_kept_where_it_was_found() {
    let bench = alice();
    let at = |path: &str, password: &str| {
        of(
            SITE,
            &format!("path={path}\nusername=alice\npassword={password}\n"),
        )
    };
    // Nothing is copied for a path, so that there is one place to change.
    bench.store(&at("a.git", "one"));
    bench.store(&of(SITE, "username=alice\npassword=two\n"));
    assert_eq!(
        bench.get(&of(SITE, "path=a.git\n")),
        "username=alice\npassword=two\n"
    );
    // A path of its own is not the general entry, and the other way round.
    bench.store(&at("a.git", "for-a"));
    bench.run("erase", &at("a.git", "two"));
    assert!(bench.get(SITE).contains("for-a"));
    bench.run("erase", &at("b.git", "for-a"));
    bench.run("erase", &of(SITE, "path=b.git\nusername=alice\n"));
    assert!(bench.get(&of(SITE, "path=a.git\n")).contains("for-a"));
    assert!(bench.get(&of(SITE, "path=b.git\n")).contains("two"));
    // What is refused is not offered again.
    bench.run("erase", &at("b.git", "two"));
    assert_eq!(bench.get(&of(SITE, "path=b.git\n")), "");
    assert!(bench.get(&of(SITE, "path=a.git\n")).contains("for-a"));
}

#[test]
fn an_expired_entry_of_a_path_does_not_hide_the_general_one() {
    let bench = alice();
    let for_a = "path=a.git\nusername=alice\npassword=";
    let over = of(SITE, &format!("{for_a}over\npassword_expiry_utc=1000\n"));
    bench.store(&over);
    bench.store(&of(SITE, &format!("{for_a}one\n")));
    bench.store(&of(SITE, "username=alice\npassword=two\n"));
    assert!(bench.get(&of(SITE, "path=a.git\n")).contains("two"));
    bench.run("erase", &of(SITE, &format!("{for_a}two\n")));
    assert_eq!(bench.get(&of(SITE, "path=a.git\n")), "");
}

#[test]
fn without_protocol_or_host_nothing_is_answered_and_nothing_erased() {
    for request in [
        "",
        "\n",
        "host=example.com\n",
        "protocol=https\n",
        "protocol=\nhost=example.com\n",
        "protocol=https\nhost=example.com\r\n",
        "protocol=https\r\nhost=example.com\n",
        "protocol=https\nhost=example.com\nusername=alice\r\n",
        "protocol=https\nhost=example.com\npath=a\r\n",
    ] {
        let bench = alice();
        assert_eq!(bench.get(request), "", "{request:?}");
        bench.run("erase", request);
        assert_ne!(bench.get(SITE), "", "{request:?}");
    }
}

#[test]
fn a_malformed_message_is_an_error_that_does_not_repeat_it() {
    let long = format!("{SITE}username={}\n", "x".repeat(70_000));
    for request in [
        &of(SITE, "hunter2\n"),
        &of(SITE, "=hunter2\n"),
        &of(SITE, "password=hunter2\0\n"),
        "url=hunter2\n",
        "url=https://example.com/%00hunter2\n",
        &long,
    ] {
        let bench = alice();
        for word in ["get", "store", "erase"] {
            let error = bench.try_run(word, request.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        assert_ne!(bench.get(SITE), "");
    }
}

#[test]
fn a_url_counts_as_its_parts() {
    let bench = alice();
    assert_ne!(bench.get("url=https://example.com/a/b.git\n"), "");
    assert_ne!(bench.get("url=https://alice@example.com\n"), "");
    assert_eq!(bench.get("url=https://bob@example.com\n"), "");
    bench.store("url=https://b%40b:s%3Acret@example.com/\n");
    assert_eq!(
        bench.get(&of(SITE, "username=b@b\n")),
        "username=b@b\npassword=s:cret\n"
    );
}

/// What git itself makes of these, asked of its 2.47.
#[test]
fn a_url_is_taken_apart_as_git_does_it() {
    for (url, host, path) in [
        ("https://h///a//", "h", Some("a")),
        ("https://h/a//b", "h", Some("a//b")),
        ("https://h//%2fa", "h", Some("/a")),
        ("https://h/x%2f/", "h", Some("x")),
        ("https://h/%2f%2f", "h", Some("/")),
        ("https://h//", "h", None),
        ("https://h?q//", "h", Some("?q")),
        ("https://a:p@b@c/", "b@c", None),
    ] {
        let said = wire::parse(format!("url={url}\n").as_bytes()).unwrap();
        assert_eq!(said.host.as_deref(), Some(host.as_bytes()), "{url}");
        assert_eq!(said.path.as_deref(), path.map(str::as_bytes), "{url}");
    }
}

#[test]
fn an_expiry_of_0_is_none() {
    let bench = Bench::new();
    bench.store(&of(
        SITE,
        "username=alice\npassword=one\npassword_expiry_utc=0\n",
    ));
    assert_eq!(bench.get(SITE), "username=alice\npassword=one\n");
}

#[test]
fn stored_bytes_are_text_or_an_array_and_nothing_else() {
    let site = Site::new(b"https", b"host").unwrap();
    let decoded = |password: &str| {
        let entry = format!(r#"{{"username":"me","password":{password}}}"#);
        let item = format!(r#"{{"version":1,"site":"https://host","credentials":[{entry}]}}"#);
        Item::decode(&site, &Secret::from(item))
    };
    for (password, bytes) in [
        (r#""\"\u00e9\"""#, "\"é\"".as_bytes()),
        ("[255,0]", b"\xff\0"),
    ] {
        let item = decoded(password).unwrap();
        assert_eq!(item.credentials.0[0].auth.secret().expose(), bytes);
        assert_eq!(Item::decode(&site, &item.encode(&site)), Ok(item));
    }
    for other in ["5", "[256]", "[\"a\"]", "{}", "true"] {
        assert_eq!(decoded(other), Err(ItemError::Damaged), "{other}");
    }
}

#[test]
fn store_after_an_unchanged_get_touches_no_store() {
    let bench = alice();
    let answer = bench.get(&of(SITE, "capability[]=state\n"));
    let state = answer
        .lines()
        .find(|line| line.starts_with("state[]=wit:"))
        .unwrap();
    assert!(answer.starts_with("capability[]=state\n"));
    // Emptied behind its back: an unchanged store does not notice, a changed one does.
    bench.store.0.borrow_mut().clear();
    bench.store(&of(
        SITE,
        &format!("username=alice\npassword=one\n{state}\n"),
    ));
    assert!(bench.store.0.borrow().is_empty());
    bench.store(&of(
        SITE,
        &format!("username=alice\npassword=two\n{state}\n"),
    ));
    assert!(!bench.store.0.borrow().is_empty());
}

#[test]
fn the_environments_token_answers_its_origin_alone() {
    let mut bench = alice();
    bench.environment = Some(("https://example.com/", "wit_env"));
    assert_eq!(bench.get(SITE), "username=token\npassword=wit_env\n");
    assert_eq!(bench.get("protocol=https\nhost=example.com:8443\n"), "");
    bench.run("erase", &of(SITE, "username=token\npassword=wit_env\n"));
    bench.store(&of(SITE, "username=token\npassword=wit_env\n"));
    bench.environment = None;
    assert_eq!(bench.get(SITE), "username=alice\npassword=one\n");
    assert_eq!(bench.get(&of(SITE, "username=token\n")), "");
}

#[test]
fn the_environments_token_is_never_offered_in_plain_http() {
    let mut bench = Bench::new();
    bench.environment = Some(("http://example.com", "wit_env"));
    assert_eq!(bench.get("protocol=http\nhost=example.com\n"), "");
    bench.environment = Some(("http://127.0.0.1:3000", "wit_env"));
    assert_ne!(bench.get("protocol=http\nhost=127.0.0.1:3000\n"), "");
}

/// Gives a byte at a time, and nothing but a panic after the end.
struct Piecemeal<'a>(&'a [u8]);

impl std::io::Read for Piecemeal<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (first, rest) = self.0.split_first().expect("it was asked for more");
        self.0 = rest;
        buffer[0] = *first;
        Ok(1)
    }
}

#[test]
fn nothing_is_read_after_the_blank_line() {
    for (message, host) in [("host=a.example\n\n", Some("a.example")), ("\n", None)] {
        let said = wire::read(Piecemeal(message.as_bytes())).unwrap();
        assert_eq!(said.host.as_deref(), host.map(str::as_bytes));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered_without_a_panic(input in proptest::collection::vec(any::<u8>(), 0..400)) {
        let bench = alice();
        for word in ["get", "store", "erase"] {
            let _ = bench.try_run(word, &input);
        }
    }

    #[test]
    fn what_is_stored_comes_back(
        username in "[^\0\n\r]{0,40}",
        password in proptest::collection::vec(any::<u8>().prop_filter("wire", |b| *b != 0 && *b != b'\n'), 0..60),
    ) {
        let bench = Bench::new();
        let mut lines = of(SITE, &format!("username={username}\npassword=")).into_bytes();
        lines.extend_from_slice(&password);
        lines.push(b'\n');
        bench.try_run("store", &lines).unwrap();
        prop_assert_eq!(bench.try_run("get", SITE.as_bytes()).unwrap(), &lines[SITE.len()..]);
    }

    #[test]
    fn a_written_answer_parses_back(value in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut answer = wire::Answer::default();
        answer.line("username", &value);
        let mut written = Vec::new();
        answer.write(&mut written).unwrap();
        if value.contains(&0) || value.contains(&b'\n') {
            prop_assert!(written.is_empty());
        } else {
            prop_assert_eq!(wire::parse(&written).unwrap().username, Some(value));
        }
    }
}
