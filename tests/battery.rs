//! What git and the helper say to each other: the same with every store and every git.
#![cfg(target_os = "linux")]

use crate::support::git::Git;
use crate::support::session::Session;
use crate::support::{Home, WIT, gits};
use wit::store::Store;
use wit::store::keyutils::Keyutils;

/// One case: a git, and a host that no other case asks about.
struct Asked<'a> {
    git: Git<'a>,
    host: String,
}

impl Asked<'_> {
    fn of_host(&self, host: &str, rest: &str) -> String {
        format!("protocol=https\nhost={host}\n{rest}")
    }

    fn of(&self, rest: &str) -> String {
        self.of_host(&self.host, rest)
    }

    fn fill(&self, rest: &str) -> Option<String> {
        self.git.fill(&self.of(rest))
    }

    fn approve(&self, rest: &str) {
        self.git.approve(&self.of(rest));
    }

    fn reject(&self, rest: &str) {
        self.git.reject(&self.of(rest));
    }

    /// That git gets just this username and password.
    fn assert_answer(&self, rest: &str, username: &str, password: &str) {
        let answer = self.fill(rest).unwrap_or_default();
        assert_eq!(line(&answer, "username"), Some(username), "{answer}");
        assert_eq!(line(&answer, "password"), Some(password), "{answer}");
    }
}

fn line<'a>(answer: &'a str, key: &str) -> Option<&'a str> {
    (answer.lines()).find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// The oldest git that passes on what the case is about.
type Case = ((u32, u32), fn(&Asked));

const EVERY: (u32, u32) = (0, 0);
const WITH_EXPIRY: (u32, u32) = (2, 40);
const WITH_REFRESH_TOKEN: (u32, u32) = (2, 41);
const WITH_AUTHTYPE: (u32, u32) = (2, 46);
const ANNOUNCED: &str = "capability[]=authtype\ncapability[]=state\n";

const BATTERY: [Case; 12] = [
    (EVERY, it_stores_retrieves_and_overwrites),
    (EVERY, it_erases_what_was_refused_and_nothing_newer),
    (EVERY, each_user_has_a_password),
    (EVERY, empty_is_a_value),
    (EVERY, a_path_has_its_own_entry),
    (EVERY, odd_bytes_come_back),
    (EVERY, no_host_but_the_very_one_is_answered),
    (
        WITH_EXPIRY,
        an_expiry_is_returned_and_what_is_over_is_a_miss,
    ),
    (WITH_REFRESH_TOKEN, a_refresh_token_is_returned),
    (WITH_AUTHTYPE, a_header_needs_the_capability),
    (WITH_AUTHTYPE, a_long_header_comes_back_whole),
    (WITH_AUTHTYPE, what_is_ephemeral_is_not_kept),
];

fn it_stores_retrieves_and_overwrites(asked: &Asked) {
    assert_eq!(asked.fill(""), None);
    asked.approve("username=ada\npassword=one\n");
    asked.assert_answer("", "ada", "one");
    asked.approve("username=ada\npassword=two\n");
    asked.assert_answer("", "ada", "two");
}

fn it_erases_what_was_refused_and_nothing_newer(asked: &Asked) {
    asked.approve("username=ada\npassword=new\n");
    asked.reject("username=ada\npassword=old\n");
    asked.reject("username=bob\npassword=new\n");
    asked.assert_answer("", "ada", "new");
    asked.reject("username=ada\npassword=new\n");
    assert_eq!(asked.fill(""), None);
}

fn each_user_has_a_password(asked: &Asked) {
    for user in ["ada", "bob", "carl"] {
        asked.approve(&format!("username={user}\npassword=of {user}\n"));
    }
    for user in ["ada", "bob", "carl"] {
        asked.assert_answer(&format!("username={user}\n"), user, &format!("of {user}"));
    }
    asked.assert_answer("", "carl", "of carl");
    assert_eq!(asked.fill("username=dora\n"), None);
    asked.reject("username=bob\npassword=of bob\n");
    assert_eq!(asked.fill("username=bob\n"), None);
    asked.assert_answer("username=ada\n", "ada", "of ada");
}

fn empty_is_a_value(asked: &Asked) {
    asked.approve("username=\npassword=\n");
    asked.assert_answer("", "", "");
    asked.approve("username=ada\npassword=\n");
    asked.assert_answer("username=ada\n", "ada", "");
    asked.approve("username=\npassword=pw\n");
    asked.assert_answer("username=\n", "", "pw");
}

fn a_path_has_its_own_entry(asked: &Asked) {
    asked.approve("path=team/a.git\nusername=ada\npassword=one\n");
    asked.approve("path=team/b.git\nusername=ada\npassword=two\n");
    asked.assert_answer("path=team/a.git\n", "ada", "one");
    asked.assert_answer("path=team/b.git\n", "ada", "two");
    assert_eq!(asked.fill("path=team/c.git\n"), None);
    for path in ["Team/a.git", "team/A.git", "team/a.git/", "team/a", "team"] {
        assert_eq!(asked.fill(&format!("path={path}\n")), None, "{path}");
    }
    asked.approve("username=all\npassword=three\n");
    asked.assert_answer("path=team/a.git\n", "ada", "one");
    asked.assert_answer("path=team/c.git\n", "all", "three");
    asked.reject("path=team/c.git\nusername=all\npassword=three\n");
    assert_eq!(asked.fill("path=team/c.git\n"), None);
    asked.assert_answer("path=team/a.git\n", "ada", "one");
}

fn odd_bytes_come_back(asked: &Asked) {
    let (username, password) = ("\u{e9} @:/%41", "=p%0a \"'\\\u{7f}\t ");
    asked.approve(&format!("username={username}\npassword={password}\n"));
    asked.assert_answer("", username, password);
}

fn no_host_but_the_very_one_is_answered(asked: &Asked) {
    asked.approve("username=ada\npassword=pw\n");
    let host = &asked.host;
    let (first, rest) = host.split_once('.').unwrap();
    for other in [
        format!("{host}."),
        format!("{host}:443"),
        format!("{host}:8443"),
        format!("{host}:"),
        format!("{host}.evil.example"),
        format!("sub.{host}"),
        format!("x{host}"),
        rest.to_owned(),
        format!("{first}%2e{rest}"),
        format!("{host}%00"),
        format!("{host}%0a"),
        format!("{first}\r.{rest}"),
        format!("{host} "),
        format!("evil.example/{host}"),
        format!("{host}@evil.example"),
        format!("evil.example#{host}"),
    ] {
        let answer = asked.git.fill(&asked.of_host(&other, ""));
        assert_eq!(answer, None, "{other:?}");
    }
    for other in [
        format!("https://{host}@evil.example/"),
        format!("https://evil.example/https://{host}"),
        format!("https://evil.example?@{host}"),
        format!("https://{host}%2eevil.example/"),
        format!("https://{host}%0ahost=evil.example/"),
        format!("https://{host}%00.evil.example/"),
        format!("https://{host}%0d/"),
        format!("https://{host}%2f@evil.example/"),
        format!("https://{host}.:443/"),
        format!("http://{host}/"),
        format!("ftp://{host}/"),
    ] {
        let answer = asked.git.fill(&format!("url={other}\n"));
        assert_eq!(answer, None, "{other:?}");
    }
    // What URLs allow: RFC 3986 folds a host's case and decodes what need not be encoded.
    let upper = asked.of_host(&host.to_uppercase(), "");
    assert!(asked.git.fill(&upper).is_some());
    let encoded = format!("url=https://%{:02x}{}/\n", host.as_bytes()[0], &host[1..]);
    assert!(asked.git.fill(&encoded).is_some());
    asked.assert_answer("", "ada", "pw");
}

fn an_expiry_is_returned_and_what_is_over_is_a_miss(asked: &Asked) {
    asked.approve("username=ada\npassword=pw\npassword_expiry_utc=9999999999\n");
    let answer = asked.fill("").unwrap();
    assert_eq!(line(&answer, "password_expiry_utc"), Some("9999999999"));
    // git itself keeps nothing that is over, and stores it again without its expiry.
    asked.approve("username=bob\npassword=old\npassword_expiry_utc=1\n");
    assert_eq!(asked.fill("username=bob\n"), None);
}

fn a_refresh_token_is_returned(asked: &Asked) {
    asked.approve("username=ada\npassword=pw\noauth_refresh_token=again\n");
    let answer = asked.fill("").unwrap();
    assert_eq!(line(&answer, "oauth_refresh_token"), Some("again"));
}

fn a_header_needs_the_capability(asked: &Asked) {
    let announced = |rest: &str| format!("{ANNOUNCED}{rest}");
    asked.approve(&announced("authtype=Bearer\ncredential=abc\n"));
    asked.approve(&announced(
        "username=bob\nauthtype=Digest\ncredential=def\n",
    ));
    assert_eq!(asked.fill(""), None, "without the capability");
    assert_eq!(asked.fill("username=bob\n"), None);
    let answer = asked.fill(&announced("username=bob\n")).unwrap();
    assert_eq!(line(&answer, "authtype"), Some("Digest"));
    assert_eq!(line(&answer, "credential"), Some("def"));
    assert!(answer.contains("state[]=wit:"), "{answer}");
    assert_eq!(asked.fill(&announced("username=ada\n")), None);
    asked.approve("username=ada\npassword=pw\n");
    asked.assert_answer("", "ada", "pw");
    asked.reject(&announced(
        "username=bob\nauthtype=Digest\ncredential=def\n",
    ));
    assert_eq!(asked.fill(&announced("username=bob\n")), None);
}

fn a_long_header_comes_back_whole(asked: &Asked) {
    let long = "0123456789abcdef".repeat(1000);
    asked.approve(&format!("{ANNOUNCED}authtype=Bearer\ncredential={long}\n"));
    let answer = asked.fill(ANNOUNCED).unwrap();
    assert_eq!(line(&answer, "credential"), Some(&*long));
}

fn what_is_ephemeral_is_not_kept(asked: &Asked) {
    asked.approve(&format!(
        "{ANNOUNCED}authtype=Bearer\ncredential=abc\nephemeral=1\n"
    ));
    assert_eq!(asked.fill(ANNOUNCED), None);
}

/// Runs the battery in a home that `store` names the store of, with every git.
pub fn run(home: &Home) {
    // Kernel keys are the user's, not the home's: the hosts tell them apart.
    let unique = home.path().file_name().unwrap().to_string_lossy();
    let unique = format!("{}.example", unique.trim_start_matches('.').to_lowercase());
    for (number, program) in gits().iter().enumerate() {
        let version = Git::new(home, program).version();
        for (index, (since, case)) in BATTERY.iter().enumerate() {
            if version >= *since {
                let git = Git::new(home, program);
                let host = format!("c{index}-{number}.{unique}");
                case(&Asked { git, host });
            }
        }
    }
    let keys = Keyutils::new();
    for site in keys.sites().unwrap_or_default() {
        if site.host().ends_with(&unique) {
            keys.delete(&site).unwrap();
        }
    }
}

#[test]
fn files() {
    run(&Home::new());
}

#[test]
fn files_under_a_passphrase_that_are_unlocked() {
    let home = Home::new();
    for words in [["store", "protect"].as_slice(), &["unlock", "--for", "5m"]] {
        let words = [words, &["--passphrase-stdin"]].concat();
        assert!(home.run(WIT, &words, "correct horse").status.success());
    }
    run(&home);
    home.run(WIT, &["lock"], "");
}

#[test]
fn kernel_keys() {
    let mut home = Home::new();
    home.set("WIT_STORE", "keyutils");
    run(&home);
}

#[test]
fn gnome_keyring() {
    let session = Session::with_keyring();
    let mut home = Home::new();
    home.set("DBUS_SESSION_BUS_ADDRESS", session.address());
    home.set("WIT_STORE", "keychain");
    home.set("WIT_KEYCHAIN_TIMEOUT", "20");
    run(&home);
}
