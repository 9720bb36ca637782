//! `wit token` at Gitea and Forgejo: the scenarios of `forms`, on what each of the two promises.

#![cfg(all(unix, feature = "platform"))]

use std::process::{Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::support::forge::{Forge, Kind, ONE_TIME_CODE, PASSWORD};
use crate::support::machine::paths;
use crate::support::oidc::Login;
use crate::support::proxy::{Fate, Proxy};
#[cfg(target_os = "linux")]
use crate::support::terminal::Terminal;
use crate::support::{HELPER, Home, WIT, done, kill_within, refused, text};
use wit::api::promises::stem;
use wit::credential::Site;
use wit::expiry::{Expiry, UnixTime};
use wit::rotation::journal;
use wit::store::{self, select};

/// What is asked of each host in turn.
const HOSTS: [Kind; 2] = [Kind::Gitea, Kind::Forgejo];
const DAY: i64 = 86_400;

/// A home that is signed in to a host by a token that was pasted.
struct Way {
    forge: Forge,
    home: Home,
    url: String,
    /// The token of the sign-in.
    pasted: String,
    /// The lines that answer what is asked: Forgejo requires the password.
    answers: String,
}

impl Way {
    fn new(kind: Kind) -> Self {
        let forge = Forge::start(kind);
        let url = forge.url.clone();
        Way::at(forge, url)
    }

    /// The same by another URL of the host.
    fn at(forge: Forge, url: String) -> Self {
        let home = Home::new();
        let pasted = forge.person_creates(&["write:user", "write:repository"]);
        done(&home.run(
            WIT,
            &["login", &url, "--token-stdin"],
            &format!("{pasted}\n"),
        ));
        let answers = match forge.kind {
            Kind::Forgejo => format!("{PASSWORD}\n"),
            _ => String::new(),
        };
        Way {
            forge,
            home,
            url,
            pasted,
            answers,
        }
    }

    /// `wit token` with these words.
    fn token(&self, words: &[&str]) -> Output {
        let mut all = vec!["token"];
        all.extend(words);
        if !self.answers.is_empty() && !words.contains(&"scopes") && !words.contains(&"print") {
            all.insert(2, "--password-stdin");
        }
        self.home.run(WIT, &all, &self.answers)
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.token(&[words, &["--json"]].concat());
        serde_json::from_str(&done(&output)).expect("JSON")
    }

    /// What is listed, without the pasted token.
    fn list(&self) -> Vec<Value> {
        let list = self.json(&["list"]);
        let mut list = list.as_array().expect("a list").clone();
        list.retain(|token| token["name"] != "by hand");
        list
    }

    fn ids(&self) -> Vec<String> {
        let id = |token: &Value| token["id"].as_str().expect("an id").to_owned();
        self.list().iter().map(id).collect()
    }

    /// The password that git's helper answers.
    fn credential(&self) -> String {
        let (protocol, host) = self.url.split_once("://").expect("a URL");
        let request = format!("protocol={protocol}\nhost={host}\n\n");
        let answer = done(&self.home.run(HELPER, &["get"], &request));
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix("password="));
        line.unwrap_or_else(|| panic!("no password: {answer:?}"))
            .to_owned()
    }

    /// Whether the host takes a token.
    fn works(&self, secret: &str) -> bool {
        let is_it = |state: &mut crate::support::forge::State| {
            state.tokens.get(secret).is_some_and(|token| token.alive)
        };
        self.forge.with(is_it)
    }

    fn site(&self) -> Site {
        let (protocol, host) = self.url.split_once("://").expect("a URL");
        Site::new(protocol.as_bytes(), host.as_bytes()).expect("a site")
    }

    fn item(&self) -> wit::item::Item {
        let store = select::open(&paths(&self.home), Some("file")).expect("a store");
        store::load(store.as_ref(), &self.site()).expect("an item")
    }

    /// Makes the stored token look some days older than it is.
    fn age(&self, days: i64) {
        let paths = paths(&self.home);
        let store = select::open(&paths, Some("file")).expect("a store");
        store::update(store.as_ref(), &paths, &self.site(), |item| {
            for entry in &mut item.credentials.0 {
                if let Some(info) = &mut entry.token {
                    let Expiry(by) = info.replace_by.expect("a date");
                    info.replace_by = Some(Expiry(by.plus(-days * DAY)));
                    info.created = UnixTime(info.created.0 - days * DAY);
                }
            }
        })
        .expect("updated");
    }

    /// One token of `wit`, the stored one, which git gets; nothing unfinished.
    fn assert_tidy(&self, what: &str) {
        let stored = self.credential();
        let made: Vec<_> = (self.forge.alive().into_iter())
            .filter(|token| token.name != "by hand")
            .collect();
        assert_eq!(made.len(), 1, "{what}: {made:?}");
        assert!(self.works(&stored) && stored != self.pasted, "{what}");
        let item = self.item();
        assert!(
            item.pending.is_empty() && item.previous.is_empty(),
            "{what}"
        );
        let journals = journal::all(&paths(&self.home)).expect("journals");
        assert_eq!(journals, [], "{what}");
    }
}

#[test]
fn a_token_is_created_listed_and_revoked() {
    for kind in HOSTS {
        let way = Way::new(kind);
        let shown = done(&way.token(&["create", "CI", "-s", "read"]));
        assert!(
            shown.contains("Scopes:  read:repository\nExpires: Never\n"),
            "{shown}"
        );
        let secret = shown.lines().nth(4).expect("a token").trim().to_owned();
        assert!(way.works(&secret), "{shown}");
        let listed = &way.list()[0];
        assert_eq!(listed["name"], "CI");
        assert_eq!(listed["tokenSuffix"], secret[32..]);
        assert_eq!(listed["lastUsedAt"], Value::Null, "{kind:?}");
        assert_eq!(listed["thisMachine"], false);
        let text = done(&way.token(&["list"]));
        assert!(
            text.contains(&format!("...{}  CI\n", &secret[32..])),
            "{text}"
        );

        // Names are unique: the nearest free one is named.
        let said = refused(&way.token(&["create", "CI", "-q"]), 1);
        assert!(said.contains("a token called 'CI' already"), "{said}");
        assert!(
            said.contains("hint: wit token create ") && said.contains("CI ("),
            "{said}"
        );
        for name in [&secret[32..], "CI"] {
            let said = done(&way.token(&["revoke", name]));
            assert!(said.starts_with("Revoked ..."), "{said}");
            assert!(!way.works(&secret), "{kind:?}");
            if name != "CI" {
                done(&way.token(&["create", "CI", "-q"]));
            } else {
                break;
            }
        }
        assert_eq!(way.list().len(), 0, "{kind:?}");
    }
}

#[test]
fn a_whole_token_is_revoked_by_what_stdin_brings() {
    let way = Way::new(Kind::Gitea);
    let secret = done(&way.token(&["create", "gone", "-q"]));
    let words = ["token", "revoke", "--token-stdin"];
    // It may not read the account: the host says so, and knows it.
    done(&way.home.run(WIT, &words, &secret));
    assert_eq!(way.list().len(), 0);
}

#[test]
fn every_page_of_a_list_is_read() {
    let way = Way::new(Kind::Gitea);
    for number in 0..7 {
        done(&way.token(&["create", &format!("token-{number}"), "-q"]));
    }
    way.forge.with(|state| state.gitea.page = 3);
    assert_eq!(way.list().len(), 7);
}

#[test]
fn git_gets_the_created_token_and_after_it_the_sign_in_again() {
    for kind in HOSTS {
        let way = Way::new(kind);
        assert_eq!(way.credential(), way.pasted);
        done(&way.token(&["create"]));
        let first = way.credential();
        assert_ne!(first, way.pasted, "{kind:?}");
        way.assert_tidy("created");
        let name = way.list()[0]["name"].as_str().expect("a name").to_owned();
        assert!(name.starts_with("git on ") && stem(&name) != name, "{name}");

        done(&way.token(&["rotate"]));
        let second = way.credential();
        assert!(second != first && !way.works(&first), "{kind:?}");
        way.assert_tidy("rotated");
        let next = way.list()[0]["name"].as_str().expect("a name").to_owned();
        assert!(next != name && stem(&next) == stem(&name), "{next}");

        let said = done(&way.token(&["revoke", &second[32..]]));
        assert!(said.contains("git uses the sign-in again"), "{said}");
        assert_eq!(way.credential(), way.pasted, "{kind:?}");
        // It is the same sign-in that creates the next.
        done(&way.token(&["create"]));
        way.assert_tidy("created again");
    }
}

#[test]
fn a_rotation_delivers_waits_resumes_and_is_taken_back() {
    for kind in HOSTS {
        let way = Way::new(kind);
        done(&way.token(&["create", "laptop", "--store"]));
        let first = way.credential();
        let said = way.token(&["rotate", "laptop", "--deliver", "exit 1"]);
        assert_eq!(said.status.code(), Some(5), "{}", text(&said.stderr));
        assert!(way.works(&first), "{kind:?}: the old one lives");
        done(&way.token(&["rotate", "--abort"]));
        assert_eq!(way.credential(), first, "{kind:?}");
        way.assert_tidy("taken back");

        assert_eq!(
            way.token(&["rotate", "--deliver", "exit 1"]).status.code(),
            Some(5)
        );
        done(&way.token(&["rotate", "--resume", "--deliver", "cat >received"]));
        let received = std::fs::read_to_string(way.home.path().join("received"));
        assert_eq!(received.expect("delivered"), way.credential());
        way.assert_tidy("resumed");

        // By the stem of its name, with a grace.
        let second = way.credential();
        let said = done(&way.token(&["rotate", "laptop", "--grace", "1h"]));
        assert!(said.contains("the old one stays valid until"), "{said}");
        assert!(way.works(&second) && way.credential() != second, "{kind:?}");
        assert_eq!(way.ids().len(), 2);
        let old = way
            .list()
            .iter()
            .find(|one| !one["replacedUntil"].is_null())
            .cloned();
        let old = old.expect("the old one")["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        done(&way.token(&["revoke", &old]));
        done(&way.token(&["rotate", "--resume"]));
        assert_eq!(way.ids().len(), 1, "{kind:?}");
    }
}

#[test]
fn a_token_that_is_kept_elsewhere_is_printed() {
    for kind in HOSTS {
        let way = Way::new(kind);
        let first = done(&way.token(&["create", "CI", "-q", "-s", "read"]));
        let second = done(&way.token(&["rotate", "CI", "--print"]));
        assert!(
            way.works(second.trim()) && !way.works(first.trim()),
            "{kind:?}"
        );
        assert_eq!(
            way.list()[0]["scopes"],
            serde_json::json!(["read:repository"])
        );
        // Nobody would replace it.
        let said = refused(&way.token(&["rotate", "CI", "--print", "-e", "30"]), 1);
        assert!(said.contains("can't let a token expire"), "{said}");
        let said = refused(&way.token(&["create", "other", "-e", "30"]), 2);
        assert!(said.contains("--store"), "{said}");
    }
}

#[test]
fn scopes_are_the_hosts_and_unknown_ones_are_refused_with_the_nearest() {
    for kind in HOSTS {
        let way = Way::new(kind);
        let scopes = done(&way.token(&["scopes"]));
        assert!(scopes.contains("write:repository\n  Push"), "{scopes}");
        let said = refused(&way.token(&["create", "x", "-s", "write:repo"]), 2);
        assert!(said.contains("did you mean write:repository"), "{said}");
        // The host lists the one that implies the other.
        done(&way.token(&["create", "--scopes", "read:repository,write:repository"]));
        done(&way.token(&["rotate"]));
        assert_eq!(
            way.list()[0]["scopes"],
            serde_json::json!(["write:repository"])
        );
        done(&way.token(&["rotate", "-s", "read:repository,write:repository"]));
        assert_eq!(
            way.list()[0]["scopes"],
            serde_json::json!(["write:repository"])
        );
        done(&way.token(&["create", "wide", "-q", "-s", "write:user"]));
    }
}

#[test]
fn an_audit_finds_what_is_too_wide_and_nothing_is_called_expired() {
    for kind in HOSTS {
        let way = Way::new(kind);
        done(&way.token(&["create", "good", "-q"]));
        let found = way.token(&["audit"]);
        assert_eq!(found.status.code(), Some(0), "{}", text(&found.stdout));
        done(&way.token(&["prune", "--expired", "--unused", "1", "--yes"]));
        assert_eq!(way.list().len(), 1, "{kind:?}");
        let said = refused(&way.token(&["audit", "--events"]), 1);
        assert!(said.contains("can't tell what was done"), "{said}");
    }
}

#[test]
fn a_token_that_never_expires_is_replaced_in_time() {
    let way = Way::new(Kind::Gitea);
    let created = way.json(&["create", "--expires", "30"]);
    assert_eq!(created["expiresAt"], Value::Null);
    assert!(
        way.credential()
            .ends_with(created["tokenSuffix"].as_str().expect("text"))
    );
    let by = created["replaceBy"].as_str().expect("a date").to_owned();
    let listed = &way.list()[0];
    assert_eq!(listed["replaceBy"], by.as_str());
    assert_eq!(listed["expiresAt"], Value::Null);
    let text_of = done(&way.token(&["list"]));
    assert!(
        text_of.contains("Expires: Never, replaced by "),
        "{text_of}"
    );
    let status = done(&way.home.run(WIT, &["status"], ""));
    assert!(status.contains("never expires, replaced by "), "{status}");
    let (protocol, host) = way.url.split_once("://").expect("a URL");
    let request = format!("protocol={protocol}\nhost={host}\n\n");
    let answer = done(&way.home.run(HELPER, &["get"], &request));
    assert!(!answer.contains("password_expiry_utc"), "{answer}");

    // Not due, then due: `get` has it replaced, and the old one lives on for an hour.
    let first = way.credential();
    assert_eq!(way.list().len(), 1);
    way.age(28);
    crate::support::until("a renewal", || way.credential() != first);
    let second = way.credential();
    assert!(way.works(&second) && way.works(&first));
    let listed = way.list();
    let stored = listed
        .iter()
        .find(|one| one["thisMachine"] == true && one["replacedUntil"].is_null());
    assert!(
        stored.expect("the new one")["replaceBy"].as_str() >= Some(by.as_str()),
        "{listed:?}"
    );

    // By a job, too.
    let due = way.json(&["rotate", "--due", "31", "--all"]);
    assert_eq!(
        due["rotations"].as_array().expect("a list").len(),
        1,
        "{due}"
    );
}

#[test]
fn forgejo_is_not_asked_where_nobody_can_say_the_password() {
    let way = Way::new(Kind::Forgejo);
    let created = way.token(&["create", "--expires", "30"]);
    done(&created);
    let said = text(&created.stderr);
    assert!(
        said.contains("requires your password") && said.contains("wit token rotate"),
        "{said}"
    );
    let first = way.credential();
    way.age(28);
    let seen = way.forge.server.seen().len();
    let (protocol, host) = way.url.split_once("://").expect("a URL");
    let request = format!("protocol={protocol}\nhost={host}\n\n");
    let answer = way.home.run(HELPER, &["get"], &request);
    assert!(done(&answer).contains(&first));
    let said = text(&answer.stderr);
    assert!(
        said.contains("is to be replaced within") && said.contains("type: wit token rotate"),
        "{said}"
    );
    assert_eq!(way.forge.server.seen().len(), seen, "it was asked");
    // Told a person once it has failed.
    let status = way.home.run(WIT, &["status"], "");
    assert_eq!(status.status.code(), Some(3));
    let shown = text(&status.stdout);
    assert!(
        shown.contains("the host requires your password: wit token rotate"),
        "{shown}"
    );
    let said = refused(&way.home.run(WIT, &["token", "rotate"], ""), 4);
    assert!(said.contains("--password-stdin"), "{said}");
    done(&way.token(&["rotate"]));
    assert_ne!(way.credential(), first);
}

#[test]
fn a_second_factor_is_asked_for_a_code_where_the_last_is_refused() {
    for (once, codes) in [(false, "123457\n"), (true, "123457\n123458\n")] {
        let mut way = Way::new(Kind::Forgejo);
        way.forge.with(|state| {
            state.second_factor = true;
            state.gitea.codes_once = once;
        });
        way.answers = format!("{PASSWORD}\n{ONE_TIME_CODE}\n");
        done(&way.token(&["create"]));
        way.answers = format!("{PASSWORD}\n{codes}");
        done(&way.token(&["rotate"]));
        way.assert_tidy(codes);
        let seen = way.forge.server.seen();
        let refreshed = seen
            .iter()
            .filter(|one| one.to_lowercase().contains("x-forgejo-otp: "));
        assert!(refreshed.count() >= 3, "{seen:?}");
    }
}

/// Signs in by a browser, with scopes that create tokens.
fn by_oauth(home: &Home, forge: &Forge) {
    let scopes = "write:user write:repository";
    let words = [
        "login",
        &forge.url,
        "--client-id",
        "built-in",
        "--no-browser",
        "--scopes",
        scopes,
    ];
    let mut login = Login::start(home, &words);
    let sent_to = forge.person_opens(&login.address());
    login.types(&sent_to);
    let (code, said) = login.ends();
    assert_eq!(code, Some(0), "{said}");
}

/// A home that is signed in to Gitea so.
fn way_by_oauth() -> Way {
    let forge = Forge::start(Kind::Gitea);
    let home = Home::new();
    by_oauth(&home, &forge);
    Way {
        url: forge.url.clone(),
        forge,
        home,
        pasted: String::new(),
        answers: String::new(),
    }
}

/// Makes the sign-in look some days older than it is, and its access token expired.
fn age_sign_in(way: &Way, days: i64) {
    let paths = paths(&way.home);
    let store = select::open(&paths, Some("file")).expect("a store");
    store::update(store.as_ref(), &paths, &way.site(), |item| {
        for entry in &mut item.credentials.0 {
            if let Some(sign_in) = &mut entry.sign_in {
                sign_in.issued = UnixTime(UnixTime::now().0 - 7200 - days * DAY);
                entry.expiry = Some(Expiry(sign_in.issued.plus(7200)));
            }
        }
    })
    .expect("updated");
}

#[test]
fn an_access_token_that_is_due_is_refreshed_before_it_is_used() {
    let way = way_by_oauth();
    age_sign_in(&way, 0);
    done(&way.token(&["create", "CI", "-q"]));
    assert_eq!(way.forge.with(|state| state.refreshes), 1);
    done(&way.token(&["list"]));
    assert_eq!(way.forge.with(|state| state.refreshes), 1);
}

#[test]
fn a_sign_in_that_git_does_not_use_is_kept_from_lapsing() {
    let way = way_by_oauth();
    done(&way.token(&["create"]));
    let created = way.credential();
    age_sign_in(&way, 6);
    assert_eq!(way.credential(), created);
    assert_eq!(way.forge.with(|state| state.refreshes), 0);
    age_sign_in(&way, 8);
    assert_eq!(way.credential(), created);
    crate::support::until("a refresh", || way.forge.with(|state| state.refreshes == 1));
    assert_eq!(way.credential(), created);
    assert_eq!(way.forge.with(|state| state.refreshes), 1);
    // A new sign-in does not take git's token from it.
    by_oauth(&way.home, &way.forge);
    assert_eq!(way.credential(), created);
    // Nor does it outlive a logout that is to revoke.
    way.home
        .run(WIT, &["logout", &way.url, "--revoke", "--yes"], "");
    assert!(!way.works(&created));
}

#[cfg(target_os = "linux")]
#[test]
fn a_person_is_asked_once_and_types_unseen() {
    let way = Way::new(Kind::Forgejo);
    way.forge.with(|state| state.second_factor = true);
    let line = format!("{WIT} token create");
    let mut asked = Vec::new();
    let (code, shown) = Terminal::run(&way.home, &line).attended(|shown| {
        let answer = match shown {
            _ if shown.contains("Password of ada at ") && shown.ends_with(": ") => PASSWORD,
            _ if shown.contains("One-time code of ada at ") && shown.ends_with(": ") => {
                ONE_TIME_CODE
            }
            _ => return None,
        };
        asked.push(answer);
        Some(answer)
    });
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(asked, [PASSWORD, ONE_TIME_CODE]);
    assert!(
        !shown.contains(PASSWORD) && !shown.contains(ONE_TIME_CODE),
        "{shown}"
    );
    way.assert_tidy("created");
}

#[test]
fn a_token_of_a_login_by_password_is_known_as_this_machines() {
    let forge = Forge::start(Kind::Gitea);
    let home = Home::new();
    let words = ["login", &forge.url, "--username", "ada", "--password-stdin"];
    done(&home.run(WIT, &words, &format!("{PASSWORD}\n")));
    let way = Way {
        url: forge.url.clone(),
        forge,
        home,
        pasted: String::new(),
        answers: format!("{PASSWORD}\n"),
    };
    let listed = way.list();
    assert_eq!(listed[0]["thisMachine"], true, "{listed:?}");
    done(&way.token(&["revoke", listed[0]["id"].as_str().expect("an id")]));
    assert_eq!(way.item().credentials.0, [], "a dead sign-in was left");
}

#[cfg(target_os = "linux")]
#[test]
fn a_logout_asks_a_person_once() {
    let way = way_by_password(Kind::Forgejo, &[]);
    done(&way.token(&["create"]));
    let mut terminal = Terminal::run(&way.home, "wit logout --revoke --yes");
    terminal.shows("assword");
    terminal.hides();
    terminal.types(PASSWORD);
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(way.forge.alive().is_empty(), "{screen}");
    assert!(!screen.contains(PASSWORD), "{screen}");
}

/// A home that is signed in by a token that a password created.
fn way_by_password(kind: Kind, more: &[&str]) -> Way {
    let forge = Forge::start(kind);
    let home = Home::new();
    let words = ["login", &forge.url, "--username", "ada", "--password-stdin"];
    let login = [&words[..], more].concat();
    done(&home.run(WIT, &login, &format!("{PASSWORD}\n")));
    Way {
        url: forge.url.clone(),
        forge,
        home,
        pasted: String::new(),
        answers: format!("{PASSWORD}\n"),
    }
}

#[test]
fn a_token_of_a_login_by_password_is_replaced_in_time() {
    // One that may create tokens is replaced while git asks for it.
    let scopes = ["--scopes", "write:repository write:user"];
    let mut way = way_by_password(Kind::Gitea, &scopes);
    way.answers.clear();
    let listed = &way.list()[0];
    let by = listed["replaceBy"].as_str().expect("a date").to_owned();
    let status = done(&way.home.run(WIT, &["status"], ""));
    assert!(
        status.contains("created with your password, replaced by "),
        "{status}"
    );
    let status = done(&way.home.run(WIT, &["status", "--json"], ""));
    assert!(status.contains(&by), "{status}");
    let first = way.credential();
    way.age(28);
    crate::support::until("a renewal", || way.credential() != first);
    let second = way.credential();
    assert!(way.works(&second) && way.works(&first), "an hour of grace");
    // It is the sign-in still, and creates the next one.
    assert_eq!(way.item().credentials.0.len(), 1);
    done(&way.token(&["rotate"]));
    assert_ne!(way.credential(), second);
    done(&way.token(&["create", "CI", "-q"]));
    done(&way.home.run(WIT, &["logout", "--revoke", "--yes"], ""));
    let left: Vec<_> = way.forge.alive().into_iter().map(|one| one.name).collect();
    assert!(
        left.iter().all(|name| name == "CI" || works_by_grace(name)),
        "{left:?}"
    );

    // Any other takes the password again: that is said in time, and by whom.
    for kind in HOSTS {
        let way = way_by_password(kind, &[]);
        let first = way.credential();
        way.age(28);
        assert_eq!(way.credential(), first, "{kind:?}");
        // Git's request had a renewal begun, which nobody can carry out.
        let renewals = way.home.path().join(".local/state/wit/renewals");
        let is_begun = || {
            let files = std::fs::read_dir(&renewals).into_iter().flatten().flatten();
            let mut files = files.map(|file| file.path());
            files.any(|file| file.extension().is_some_and(|end| end == "begun"))
        };
        crate::support::until("a renewal is begun", is_begun);
        let status = way.home.run(WIT, &["status"], "");
        assert_eq!(status.status.code(), Some(3));
        assert!(
            text(&status.stdout).contains("to be replaced by "),
            "{kind:?}"
        );
        let said = refused(&way.home.run(WIT, &["token", "rotate"], ""), 4);
        assert!(said.contains("--password-stdin"), "{said}");
        done(&way.token(&["rotate"]));
        assert_ne!(way.credential(), first);
        way.assert_tidy("replaced by the password");
        done(&way.home.run(WIT, &["status"], ""));
        // A login replaces and revokes it as well.
        let login = ["login", &way.url, "--username", "ada", "--password-stdin"];
        done(&way.home.run(WIT, &login, &format!("{PASSWORD}\n")));
        way.assert_tidy("replaced by a login");
    }
}

/// Whether it is one of this machine's, which a grace lets live.
fn works_by_grace(name: &str) -> bool {
    stem(name).starts_with("git on ")
}

#[cfg(feature = "crash-points")]
#[test]
fn a_crash_while_the_token_of_a_login_is_replaced_leaves_one_that_works() {
    let scopes = ["--scopes", "write:repository write:user"];
    for point in [
        "journal-creating",
        "created",
        "journal-created",
        "pending",
        "journal-promoting",
        "promoted",
        "journal-revoking",
        "revoked",
        "tidied",
    ] {
        let mut way = way_by_password(Kind::Gitea, &scopes);
        way.answers.clear();
        way.home.set("WIT_CRASH_AT", point);
        let crashed = way.token(&["rotate"]);
        assert_eq!(crashed.status.code(), None, "{point}");
        way.home.set("WIT_CRASH_AT", "");
        assert!(way.works(&way.credential()), "{point}");
        done(&way.token(&["rotate", "--resume"]));
        way.assert_tidy(point);
        let sign_in = &way.item().credentials.0[0];
        assert!(
            sign_in.sign_in.is_some() && sign_in.token.is_some(),
            "{point}"
        );
    }
}

#[test]
fn a_logout_revokes_by_the_password_that_a_script_gives_once() {
    for kind in HOSTS {
        let forge = Forge::start(kind);
        let home = Home::new();
        let words = ["login", &forge.url, "--username", "ada", "--password-stdin"];
        let password = format!("{PASSWORD}\n");
        done(&home.run(WIT, &words, &password));
        let create = ["token", "create", "--password-stdin"];
        done(&home.run(WIT, &create, &password));
        assert_eq!(forge.alive().len(), 2);
        let logout = ["logout", "--revoke", "--yes"];
        let said = text(&home.run(WIT, &logout, "").stderr);
        assert!(said.contains("--password-stdin"), "{said}");
        assert_eq!(forge.alive().len(), 2);
        let logout = [&logout[..], &["--password-stdin"]].concat();
        let said = done(&home.run(WIT, &logout, &password));
        assert_eq!(said.matches("Revoked git on ").count(), 2, "{said}");
        assert!(said.contains("the sign-in was ended there"), "{said}");
        assert!(forge.alive().is_empty(), "{kind:?}");
        refused(&home.run(WIT, &["status"], ""), 4);
    }
}

#[test]
fn the_account_must_be_known_to_ask_for_its_tokens() {
    let forge = Forge::start(Kind::Forgejo);
    let home = Home::new();
    let pasted = forge.person_creates(&["write:repository"]);
    done(&home.run(WIT, &["login", &forge.url, "--token-stdin"], &pasted));
    let said = refused(
        &home.run(WIT, &["token", "list", "--password-stdin"], PASSWORD),
        1,
    );
    assert!(said.contains("--username NAME"), "{said}");
    let words = ["login", &forge.url, "--token-stdin", "--username", "ada"];
    done(&home.run(WIT, &words, &pasted));
    done(&home.run(WIT, &["token", "list", "--password-stdin"], PASSWORD));
}

#[test]
fn a_wrong_password_is_said_and_nothing_is_kept() {
    let mut way = Way::new(Kind::Forgejo);
    way.answers = "wrong\n".to_owned();
    let said = refused(&way.token(&["create", "x", "-q"]), 4);
    assert!(said.contains("refused the password"), "{said}");
    assert!(!said.contains("wrong\n"), "{said}");
    let said = refused(&way.home.run(WIT, &["token", "list"], ""), 4);
    assert!(said.contains("--password-stdin"), "{said}");
}

#[test]
fn gitea_is_asked_by_password_where_the_sign_in_may_not_create_tokens() {
    let forge = Forge::start(Kind::Gitea);
    let home = Home::new();
    let pasted = forge.person_creates(&["read:user", "write:repository"]);
    done(&home.run(WIT, &["login", &forge.url, "--token-stdin"], &pasted));
    let said = refused(&home.run(WIT, &["token", "create", "x"], ""), 4);
    assert!(said.contains("requires your password"), "{said}");
    let words = ["token", "create", "x", "-q", "--password-stdin"];
    done(&home.run(WIT, &words, &format!("{PASSWORD}\n")));
}

#[test]
fn a_token_is_bound_to_repositories_where_the_server_can() {
    let way = Way::new(Kind::Forgejo);
    let words = ["create", "one", "-q", "--repo", "ada/work"];
    let said = refused(&way.token(&words), 1);
    assert!(said.contains("binds no tokens to repositories"), "{said}");
    assert_eq!(way.list().len(), 0, "it was left");

    way.forge.with(|state| state.gitea.binds = true);
    done(&way.token(&[
        "create", "one", "--store", "--repo", "ada/work", "--repo", "ada/Site",
    ]));
    done(&way.token(&["rotate"]));
    let bound = way.forge.with(|state| {
        let living = state
            .tokens
            .values()
            .find(|token| token.alive && token.name != "by hand");
        state.gitea.bound.get(&living.expect("a token").id).cloned()
    });
    assert_eq!(bound.expect("bound"), ["ada/work", "ada/Site"]);

    let way = Way::new(Kind::Gitea);
    let seen = way.forge.server.seen().len();
    let said = refused(&way.token(&words), 1);
    assert!(said.contains("can't bind tokens to repositories"), "{said}");
    assert_eq!(way.forge.server.seen().len(), seen, "something was sent");
}

#[test]
fn what_a_host_can_not_do_is_refused_with_the_page_before_anything_is_sent() {
    let forge = Forge::start(Kind::Github);
    let home = Home::new();
    let pasted = forge.person_creates(&["repo"]);
    done(&home.run(
        WIT,
        &[
            "login",
            &forge.url,
            "--host-type",
            "github",
            "--token-stdin",
        ],
        &pasted,
    ));
    let seen = forge.server.seen().len();
    for words in [
        &["token", "create", "x"][..],
        &["token", "list"],
        &["token", "revoke", "1"],
        &["token", "audit"],
        &["token", "prune", "--expired"],
        &["token", "rename", "1", "x"],
        &["token", "rotate", "1"],
    ] {
        let said = refused(&home.run(WIT, words, ""), 1);
        assert!(said.contains("GitHub can't "), "{said}");
        assert!(said.contains("/settings/tokens"), "{said}");
    }
    assert_eq!(forge.server.seen().len(), seen, "something was sent");
}

#[test]
fn all_that_is_known_is_listed_in_one_table() {
    let (gitea, forgejo) = (Forge::start(Kind::Gitea), Forge::start(Kind::Forgejo));
    let away = Proxy::to(gitea.server.address());
    let home = Home::new();
    for forge in [&gitea, &forgejo] {
        let pasted = forge.person_creates(&["write:user", "write:repository"]);
        done(&home.run(WIT, &["login", &forge.url, "--token-stdin"], &pasted));
    }
    let server = ["--server", &gitea.url];
    done(&home.run(
        WIT,
        &[&["token", "create", "CI", "-q"][..], &server].concat(),
        "",
    ));
    let listed = done(&home.run(WIT, &["token", "list", "--all"], ""));
    assert!(listed.starts_with("SERVER"), "{listed}");
    let row = listed
        .lines()
        .find(|line| line.contains("  CI  "))
        .expect("a row");
    assert!(
        row.starts_with(&gitea.url) && row.contains("write:repository"),
        "{row}"
    );
    let line = format!("{} (ada): not listed: ", forgejo.url);
    assert!(listed.contains(&line), "{listed}");

    // One that is away does not spoil the rest.
    let pasted = gitea.person_creates(&["write:user", "write:repository"]);
    let words = [
        "login",
        &away.url,
        "--host-type",
        "gitea",
        "--token-stdin",
        "--username",
        "ada",
    ];
    done(&home.run(WIT, &words, &pasted));
    away.set(|_| Fate::CutBefore);
    let listed = home.run(WIT, &["token", "list", "--all", "--json"], "");
    assert_eq!(listed.status.code(), Some(3), "{}", text(&listed.stderr));
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let of = |url: &str| {
        let all = listed.as_array().expect("a list");
        all.iter()
            .find(|one| one["server"] == url)
            .expect("it")
            .clone()
    };
    assert!(
        of(&gitea.url)["tokens"]
            .as_array()
            .is_some_and(|all| all.len() == 3)
    );
    assert!(of(&away.url)["problem"].is_string());
}

/// Run with: cargo test --features crash-points host_tokens::
#[cfg(feature = "crash-points")]
#[test]
fn a_crash_at_any_point_is_mended_by_typing_the_command_again() {
    for kind in HOSTS {
        let mut way = Way::new(kind);
        done(&way.token(&["create"]));
        for point in [
            "journal-creating",
            "created",
            "journal-created",
            "pending",
            "journal-verifying",
            "journal-promoting",
            "promoted",
            "journal-delivering",
            "delivered",
            "journal-revoking",
            "revoked",
            "tidied",
            "cleared",
        ] {
            let what = format!("{kind:?} at {point}");
            let before = way.credential();
            way.home.set("WIT_CRASH_AT", point);
            let crashed = way.token(&["rotate", "--deliver", "cat >/dev/null"]);
            let said = text(&crashed.stderr);
            assert_eq!(crashed.status.code(), None, "{what}: {said}");
            way.home.set("WIT_CRASH_AT", "");
            assert!(way.works(&way.credential()), "{what}");
            if point != "cleared" {
                done(&way.token(&["rotate"]));
            }
            assert_ne!(way.credential(), before, "{what}");
            way.assert_tidy(&what);
        }
    }
}

/// Spoils each request of a rotation in turn, until there is none left to spoil.
fn spoil_each(fate: Fate) {
    for kind in HOSTS {
        let forge = Forge::start(kind);
        let proxy = Proxy::to(forge.server.address());
        let mut way = Way::at(forge, proxy.url.clone());
        way.home.set("WIT_HTTP_TIMEOUT", "2");
        done(&way.token(&["create"]));
        for number in 0.. {
            let what = format!("{kind:?}: {fate:?} at request {number}");
            let before = way.credential();
            proxy.spoil(number, fate);
            proxy.take_seen();
            let spoilt = way.token(&["rotate"]);
            let all_were_tried = proxy.take_seen().len() <= number;
            proxy.set(|_| Fate::Forwarded);
            assert!(way.works(&way.credential()), "{what}");
            if !spoilt.status.success() {
                let said = text(&spoilt.stderr);
                assert!(said.contains("hint: "), "{what}: {said}");
                done(&way.token(&["rotate"]));
            }
            way.assert_tidy(&what);
            assert_ne!(way.credential(), before, "{what}");
            if all_were_tried {
                assert!(number >= 4, "{what}: only {number} requests");
                break;
            }
        }
    }
}

#[test]
fn refused_with_500() {
    spoil_each(Fate::Refused(500));
}

#[test]
fn refused_with_401() {
    spoil_each(Fate::Refused(401));
}

#[test]
fn refused_with_403() {
    spoil_each(Fate::Refused(403));
}

#[test]
fn refused_with_429() {
    spoil_each(Fate::Refused(429));
}

#[test]
fn cut_off_after_it_was_carried_out() {
    spoil_each(Fate::CutAfter);
}

#[test]
fn cut_off_before_it_was_carried_out() {
    spoil_each(Fate::CutBefore);
}

/// Rounds a host.
const ROUNDS: usize = 200;
const WORKERS: usize = 4;

/// Kills the rotations of one machine at random moments. Returns how many were killed before their end.
fn kill_at_random(kind: Kind, number: usize) -> usize {
    let way = Way::new(kind);
    done(&way.token(&["create"]));
    // Any sequence will do; this one differs by worker and repeats exactly.
    let mut random = fastrand::Rng::with_seed(number as u64);
    let mut words = vec!["token", "rotate"];
    if kind == Kind::Forgejo {
        words.push("--password-stdin");
    }
    let begun = Instant::now();
    done(&way.token(&["rotate"]));
    let mut usual = begun.elapsed();
    let mut killed = 0;
    for round in 0..ROUNDS / WORKERS {
        let what = format!("{kind:?}, worker {number}, round {round}");
        let mut rotation = (way.home.command(WIT).args(&words))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut stdin = rotation.stdin.take().expect("piped");
        let _ = std::io::Write::write_all(&mut stdin, way.answers.as_bytes());
        drop(stdin);
        killed += usize::from(kill_within(&mut rotation, usual, &mut random));
        assert!(way.works(&way.credential()), "{what}: nothing works");
        let begun = Instant::now();
        let again = way.token(&["rotate"]);
        usual = (usual * 3 + begun.elapsed()) / 4;
        assert!(again.status.success(), "{what}: {}", text(&again.stderr));
        way.assert_tidy(&what);
    }
    killed
}

#[test]
fn killed_rotations_are_mended_by_typing_the_command_again() {
    let killed: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = HOSTS
            .into_iter()
            .flat_map(|kind| (0..WORKERS).map(move |number| (kind, number)))
            .map(|(kind, number)| scope.spawn(move || kill_at_random(kind, number)))
            .collect();
        let killed = workers
            .into_iter()
            .map(|worker| worker.join().expect("mended"));
        killed.sum()
    });
    assert!(
        killed > ROUNDS,
        "only {killed} were killed before their end"
    );
}
