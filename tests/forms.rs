//! The same use of `wit token` on each of its three APIs: REST of `wit up`, tRPC of the running
//! platform, and the database itself, SQLite and PostgreSQL.

#![cfg(feature = "platform")]

use std::process::Output;
use std::rc::Rc;

use crate::support::machine::Machine;
use crate::support::platform::PASSWORD;
use crate::support::postgres::{MADE_BY_THE_PLATFORM, Postgres};
use crate::support::{HELPER, Home, WIT, done, refused, text, trpc};
use serde_json::Value;
use wit::api::database::Direct;
use wit::api::http::Client;
use wit::api::login::{self, Login, sign_in};
use wit::api::server::ServerUrl;
use wit::api::{ApiError, Form, NewToken, TokenApi};
use wit::secret::Secret;

/// A home that works on the tokens of one account, by one of the APIs.
struct Way {
    home: Home,
    /// Where git meets the tokens.
    url: String,
    /// The same tokens, without the command in between.
    api: Box<dyn TokenApi>,
    /// An id of a token of somebody else's.
    foreign: String,
}

impl Way {
    fn wit(&self, arguments: &[&str]) -> Output {
        self.home.run(WIT, arguments, "")
    }

    fn list(&self) -> Vec<Value> {
        let list = done(&self.wit(&["token", "list", "--json"]));
        let list: Value = serde_json::from_str(&list).expect("JSON");
        list.as_array().expect("a list").clone()
    }

    /// What git's helper answers.
    fn credential(&self) -> String {
        let (protocol, host) = self.url.split_once("://").expect("a URL");
        let request = format!("protocol={protocol}\nhost={host}\n\n");
        done(&self.home.run(HELPER, &["get"], &request))
    }

    fn create(&self, name: &str) -> String {
        done(&self.wit(&["token", "create", name, "-q", "-e", "30"]))
            .trim()
            .to_owned()
    }
}

fn a_token_is_made_listed_and_ended(way: &Way) {
    let shown = done(&way.wit(&["token", "create", "CI Token", "-e", "30", "-s", "repo:read"]));
    assert!(
        shown.starts_with("Created personal access token\n\nToken:\n\n  wit_"),
        "{shown}"
    );
    let listed = &way.list()[0];
    assert_eq!(listed["name"], "CI Token");
    assert_eq!(listed["scopes"], serde_json::json!(["repo:read"]));
    assert_eq!(listed["expired"], false);
    assert_eq!(listed["thisMachine"], false);
    assert!(
        listed["expiresAt"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z'))
    );
    let text = done(&way.wit(&["token", "ls"]));
    let prefix = listed["tokenPrefix"].as_str().expect("a prefix");
    assert!(text.starts_with("Personal Access Tokens (1)\n\n"), "{text}");
    assert!(
        text.contains(&format!("{prefix}...  CI Token\n  ID: ")),
        "{text}"
    );
    assert!(text.contains("  Never used  •  Expires: "), "{text}");
    done(&way.wit(&["token", "revoke", "CI Token"]));
    assert_eq!(way.list().len(), 0);
}

fn a_token_is_named_in_any_way_that_is_clear(way: &Way) {
    for name in ["twin", "twin", "single", "full"] {
        way.create(name);
    }
    let said = refused(&way.wit(&["token", "rm", "single", "twin"]), 1);
    assert!(said.contains("matches 2 tokens"), "{said}");
    refused(&way.wit(&["token", "revoke", "wit_"]), 1);
    assert_eq!(way.list().len(), 4);
    let of = |name: &str, field: &str| {
        let list = way.list();
        let token = list.iter().find(|token| token["name"] == name);
        token.expect("a token")[field]
            .as_str()
            .expect("text")
            .to_owned()
    };
    done(&way.wit(&["token", "revoke", &of("full", "id")]));
    done(&way.wit(&["token", "delete", &of("single", "tokenPrefix")]));
    done(&way.wit(&["token", "rm", &of("twin", "id")[..8]]));
    assert_eq!(way.list().len(), 1);
}

fn a_whole_token_comes_from_stdin_and_is_not_shown(way: &Way) {
    let token = way.create("gone");
    way.create("other");
    let output = way
        .home
        .run(WIT, &["token", "revoke", "--token-stdin"], &token);
    assert!(!(done(&output) + &text(&output.stderr)).contains(&token));
    assert_eq!(way.list()[0]["name"], "other");
}

fn git_gets_the_stored_token_also_after_a_rotation(way: &Way) {
    done(&way.wit(&["token", "create", "--store", "--expires", "30"]));
    let first = done(&way.wit(&["token", "print"]));
    assert!(way.credential().contains(&format!("password={first}")));
    assert_eq!(way.list()[0]["thisMachine"], true);
    done(&way.wit(&["token", "rotate"]));
    let second = done(&way.wit(&["token", "print"]));
    assert_ne!(first, second);
    assert!(way.credential().contains(&format!("password={second}")));
    assert_eq!(way.list().len(), 1);
    let said = done(&way.wit(&["token", "revoke", &second[..8]]));
    assert!(said.contains("removed from this machine"), "{said}");
    refused(&way.wit(&["token", "print"]), 1);
}

fn an_audit_finds_what_lives_for_ever(way: &Way) {
    way.create("good");
    done(&way.wit(&["token", "audit"]));
    done(&way.wit(&[
        "token",
        "create",
        "wide",
        "-q",
        "-s",
        "repo:admin",
        "-e",
        "never",
    ]));
    let output = way.wit(&["token", "audit"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("wide\n  never expires: "));
    assert_eq!(
        way.wit(&["token", "list", "--expiring", "31"])
            .status
            .code(),
        Some(3)
    );
    let unused = |days| way.wit(&["token", "list", "--unused", days]).status.code();
    assert_eq!((unused("0"), unused("1")), (Some(3), Some(0)));
    done(&way.wit(&["token", "prune", "--expired", "--unused", "1"]));
    assert_eq!(way.list().len(), 2);
}

fn all_scopes_that_a_server_uses_are_known(way: &Way) {
    let scopes = done(&way.wit(&["token", "scopes"]));
    assert!(
        scopes.starts_with("Available Token Scopes\n\nrepo:read\n  Clone and pull"),
        "{scopes}"
    );
    // The platform has packages; `wit up` has none, and offers no scopes of them.
    let count = match way.api.form() {
        Form::Trpc => 7,
        _ => 5,
    };
    assert_eq!(scopes.matches(':').count(), count, "{scopes}");
}

fn the_limits_are_the_servers(way: &Way) {
    let new = |name: &str, scopes: &[&str], days| NewToken {
        name: name.to_owned(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        repositories: Vec::new(),
        expires_in_days: days,
        request_id: None,
        replaces: None,
    };
    for bad in [
        new("", &["repo:read"], Some(1)),
        new(&"x".repeat(101), &["repo:read"], Some(1)),
        new("x", &[], Some(1)),
        new("x", &["repo:reed"], Some(1)),
        new("x", &["repo:read"], Some(0)),
        new("x", &["repo:read"], Some(366)),
    ] {
        let error = way.api.create(&bad).expect_err("a refusal");
        assert!(
            matches!(error, ApiError::Refused { .. }),
            "{bad:?}: {error:?}"
        );
    }
    let error = way
        .api
        .create(&new("a\0b", &["repo:read"], None))
        .expect_err("a refusal");
    assert!(!error.to_string().contains("INSERT"), "{error}");
    assert_eq!(way.list().len(), 0);
    for _ in 0..50 {
        way.api
            .create(&new("many", &["repo:read"], Some(365)))
            .expect("a token");
    }
    let said = refused(&way.wit(&["token", "create", "one more", "-e", "1"]), 1);
    assert!(said.contains("Maximum of 50 tokens"), "{said}");
    for id in [&way.foreign, "ffffffff-0000-4000-8000-000000000000"] {
        let error = way.api.revoke(id).expect_err("not ours");
        assert!(matches!(error, ApiError::NotFound), "{error:?}");
    }
}

/// Each on an account without tokens.
fn every_use(way: &Way) {
    for one in [
        a_token_is_made_listed_and_ended,
        a_token_is_named_in_any_way_that_is_clear,
        a_whole_token_comes_from_stdin_and_is_not_shown,
        git_gets_the_stored_token_also_after_a_rotation,
        an_audit_finds_what_lives_for_ever,
        all_scopes_that_a_server_uses_are_known,
        the_limits_are_the_servers,
    ] {
        one(way);
        for token in way.api.list().expect("a list") {
            way.api.revoke(&token.id).expect("an end");
        }
    }
}

fn session(url: &str, form: &str) -> Box<dyn TokenApi> {
    let url = ServerUrl::parse(url).expect("a URL");
    let client = Rc::new(Client::new(&url, false).expect("a client"));
    let password = Secret::from(PASSWORD.to_owned());
    let signed_in = sign_in(&client, &Login::Username("ada".into()), &password);
    let session = signed_in.expect("a session").session;
    let api = login::token_api(&client, &session, None).expect("a form");
    assert_eq!(api.form().name(), form);
    api
}

/// The id of the account `ada` on a server, and of a token of another account.
fn ids(machine: &Machine) -> (String, String) {
    let token = done(&machine.wit(&["token", "create", "asks", "-q", "-e", "1"]));
    let user = machine.server.bearing("GET", "/api/v1/user", token.trim());
    let id = user.json()["id"].as_str().expect("an id").to_owned();
    done(&machine.wit(&["token", "revoke", "asks"]));
    let bob = machine.server.sign_up("bob");
    let foreign = machine.server.token(&bob, &["repo:read"])["id"].clone();
    (id, foreign.as_str().expect("an id").to_owned())
}

#[test]
fn rest() {
    let machine = Machine::logged_in();
    let (_, foreign) = ids(&machine);
    let config = machine.home.path().join(".config/wit/config.json");
    let config = std::fs::read_to_string(config).expect("a config");
    assert!(config.contains(r#""api": "rest""#), "{config}");
    every_use(&Way {
        api: session(&machine.url, "rest"),
        url: machine.url,
        home: machine.home,
        foreign,
    });
}

#[test]
fn trpc() {
    let server = trpc::platform();
    let home = Home::new();
    let login = [
        "login",
        &server.url,
        "--username",
        "ada",
        "--password-stdin",
    ];
    done(&home.run(WIT, &login, &format!("{PASSWORD}\n")));
    let config = std::fs::read_to_string(home.path().join(".config/wit/config.json"));
    assert!(config.expect("a config").contains(r#""api": "trpc""#));
    every_use(&Way {
        api: session(&server.url, "trpc"),
        url: server.url.clone(),
        home,
        foreign: trpc::FOREIGN.to_owned(),
    });
    let seen = server.seen();
    assert!(
        seen.iter()
            .all(|request| !request.to_lowercase().contains("\r\ncookie:"))
    );
    assert!(!seen.iter().any(|request| request.contains("tokens.verify")));
}

/// A home that was never logged in by password, and works on the database at `database`.
fn direct(database: &str, user_id: &str, url: &str, foreign: &str) -> Way {
    let mut home = Home::new();
    home.set("DATABASE_URL", database);
    home.set("WIT_USER_ID", user_id);
    let said = done(&home.run(WIT, &["login", url, "--api", "database"], ""));
    assert!(
        said.contains("managed directly in the database of DATABASE_URL"),
        "{said}"
    );
    let config = std::fs::read_to_string(home.path().join(".config/wit/config.json"));
    assert!(
        !config.expect("a config").contains("postgres:"),
        "it keeps the URL"
    );
    let listed = home.run(WIT, &["token", "list"], "");
    assert!(text(&listed.stderr).starts_with("Working on the database of DATABASE_URL, as "));
    Way {
        api: Box::new(Direct::open(database, user_id).expect("a database")),
        url: url.to_owned(),
        home,
        foreign: foreign.to_owned(),
    }
}

#[test]
fn the_database_in_sqlite() {
    let machine = Machine::logged_in();
    let (user_id, foreign) = ids(&machine);
    let file = machine.server.data_dir().join("wit.sqlite3");
    let url = format!("sqlite:{}", file.display());
    every_use(&direct(&url, &user_id, &machine.url, &foreign));
    let status = done(&direct(&url, &user_id, &machine.url, &foreign).wit(&["status"]));
    assert!(
        status.contains("Managed directly in the database"),
        "{status}"
    );
}

const FOREIGN: &str = "11111111-1111-4111-8111-111111111111";

#[test]
fn the_database_in_postgresql_as_the_platform_made_it() {
    let postgres = Postgres::start();
    postgres.sql(MADE_BY_THE_PLATFORM);
    postgres.sql(&format!(
        r#"INSERT INTO "user" (id, name, email) VALUES ('other', 'O', 'o@example.com');
        INSERT INTO personal_access_tokens (id, user_id, name, token_hash, token_prefix, scopes)
            VALUES ('{FOREIGN}', 'other', 'x', 'x', 'wit_ffff', '["repo:read"]');"#
    ));
    let tables = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace";
    let before = postgres.sql(tables);
    let way = direct(&postgres.url(), "theirs", "https://wit.test", FOREIGN);

    // What the platform itself wrote.
    let old = &way.list()[0];
    assert_eq!(old["name"], "old");
    assert_eq!(old["tokenPrefix"], "wit_0123");
    assert_eq!(
        old["scopes"],
        serde_json::json!(["repo:read", "repo:write"])
    );
    assert_eq!(old["expiresAt"], Value::Null);
    let whole = "wit_0123456789012345678901234567890123456789\n";
    done(
        &way.home
            .run(WIT, &["token", "revoke", "--token-stdin"], whole),
    );
    postgres.sql(
        r#"INSERT INTO personal_access_tokens
            (user_id, name, token_hash, token_prefix, scopes, last_used_at, expires_at)
        VALUES ('theirs', 'expired', 'x', 'wit_eeee', '["packages:read"]',
            '2024-01-01 10:00:00.123+02', '2024-03-01 00:00:00.456+00')"#,
    );
    let shown = done(&way.wit(&["token", "list"]));
    assert!(
        shown.contains("wit_eeee...  [EXPIRED] expired\n"),
        "{shown}"
    );
    assert!(
        shown.contains("years ago  •  Expired: Mar 1, 2024\n"),
        "{shown}"
    );
    let pruned = done(&way.wit(&["token", "prune", "--expired"]));
    assert_eq!(pruned, "Revoked wit_eeee...  expired\n");

    every_use(&way);
    assert_eq!(postgres.sql(tables), before, "it made tables or indexes");

    postgres.sql(r#"UPDATE "user" SET suspended = true"#);
    let said = refused(&way.wit(&["token", "list"]), 4);
    assert!(said.contains("WIT_USER_ID"), "{said}");
}

#[test]
fn the_environment_goes_before_a_login_and_what_is_stored_is_not_mixed_up() {
    let mut machine = Machine::with_a_token();
    let (user_id, _) = ids(&machine);
    let file = machine.server.data_dir().join("wit.sqlite3");
    machine
        .home
        .set("DATABASE_URL", format!("sqlite:{}", file.display()));
    machine.home.set("WIT_USER_ID", user_id);
    let listed = machine.wit(&["token", "list"]);
    assert!(text(&listed.stderr).contains("Working on the database"));
    let said = refused(&machine.wit(&["token", "list", "--account", "bob"]), 2);
    assert!(said.contains("of ada, not of bob"), "{said}");
    // That this database is that server's is for a person to say.
    let said = text(&machine.rotate(&[]).stderr);
    assert!(
        said.contains("hint: wit login URL --api database"),
        "{said}"
    );
    done(&machine.wit(&["login", &machine.url, "--api", "database"]));
    done(&machine.rotate(&[]));
    machine.assert_tidy("rotated in the database");
    machine.home.set("DATABASE_URL", "");
    done(&machine.wit(&["token", "list"]));
    done(&machine.wit(&["logout"]));
    refused(&machine.wit(&["token", "list"]), 4);
}

#[test]
fn a_token_of_one_servers_database_is_not_stored_for_another() {
    let (mut machine, other) = (Machine::with_a_token(), Machine::logged_in());
    let works = done(&machine.wit(&["token", "print"]));
    let (user_id, _) = ids(&other);
    let file = other.server.data_dir().join("wit.sqlite3");
    machine
        .home
        .set("DATABASE_URL", format!("sqlite:{}", file.display()));
    machine.home.set("WIT_USER_ID", user_id);
    for create in [
        &["token", "create"][..],
        &["token", "create", "x", "--store"],
    ] {
        let said = refused(&machine.wit(create), 2);
        assert!(said.contains("wit login URL --api database"), "{said}");
    }
    assert_eq!(done(&machine.wit(&["token", "print"])), works);
    assert_eq!(machine.list().len(), 0, "it was made all the same");
}

#[test]
fn a_database_needs_an_account_and_for_git_a_server() {
    let machine = Machine::logged_in();
    let (user_id, _) = ids(&machine);
    let file = machine.server.data_dir().join("wit.sqlite3");
    let mut home = Home::new();
    home.set("DATABASE_URL", format!("sqlite:{}", file.display()));
    home.set("WIT_USER_ID", user_id);
    let printed = done(&home.run(WIT, &["token", "create", "direct", "-q", "-e", "2"], ""));
    assert_eq!(printed.len(), 45);
    let said = refused(&home.run(WIT, &["token", "create"], ""), 2);
    assert!(said.contains("wit login URL --api database"), "{said}");
    home.set("WIT_USER_ID", "nobody");
    let said = refused(&home.run(WIT, &["token", "list"], ""), 4);
    assert!(said.contains("WIT_USER_ID"), "{said}");
}
