//! Sessions begin with a login and end with it: at the server too, or it is said that they did not.

#![cfg(feature = "platform")]

use std::process::Output;

use crate::support::machine::{Machine, stored_sessions};
use crate::support::platform::{self, PASSWORD, request};
use crate::support::server::Server;
use crate::support::{Home, WIT, done, refused, text, trpc};
use serde_json::Value;
use wit::credential::Site;

/// A home on the platform's stand-in.
struct Platform {
    server: Server,
    home: Home,
}

impl Platform {
    fn new() -> Self {
        Platform {
            server: trpc::platform(),
            home: Home::new(),
        }
    }

    fn wit(&self, arguments: &[&str]) -> Output {
        self.home.run(WIT, arguments, "")
    }

    fn log_in(&self) -> Output {
        let login = [
            "login",
            &self.server.url,
            "--username",
            "ada",
            "--password-stdin",
        ];
        self.home.run(WIT, &login, &format!("{PASSWORD}\n"))
    }

    fn begin_with(&self, session: &str, more: &[&str]) -> Output {
        let login = ["login", &self.server.url, "--session-stdin"];
        self.home.run(WIT, &[&login[..], more].concat(), session)
    }

    fn session(&self) -> String {
        let site = Site::new(b"http", self.server.address().as_bytes()).expect("a site");
        stored_sessions(&self.home, &site).remove(0)
    }

    fn accepts(&self, session: &str) -> bool {
        let bearer = format!("Bearer {session}");
        let headers = [("authorization", bearer.as_str())];
        let reply = request(
            self.server.address(),
            "GET",
            "/trpc/tokens.list",
            &headers,
            "",
        );
        reply.status == 200
    }
}

fn accepts(machine: &Machine, session: &str) -> bool {
    machine.server.bearing("GET", "/api/tokens", session).status == 200
}

#[test]
fn a_logout_ends_the_session_at_the_server() {
    let machine = Machine::logged_in();
    let session = machine.sessions().remove(0);
    assert!(accepts(&machine, &session));
    done(&machine.wit(&["logout"]));
    assert!(!accepts(&machine, &session));

    let platform = Platform::new();
    done(&platform.log_in());
    let session = platform.session();
    assert!(platform.accepts(&session));
    let output = platform.wit(&["logout", "--json"]);
    let document: Value = serde_json::from_str(&done(&output)).expect("JSON");
    assert_eq!(document["sessions"][0]["account"], "ada");
    assert_eq!(document["sessions"][0]["ended"], true);
    assert!(!platform.accepts(&session));
}

#[test]
fn a_session_that_the_server_did_not_end_is_said() {
    let platform = Platform::new();
    // Nobody has its cookie.
    done(&platform.begin_with(trpc::SESSION, &[]));
    let output = platform.wit(&["logout"]);
    assert_eq!(output.status.code(), Some(5));
    let said = text(&output.stderr);
    assert!(said.contains("the session of ada may still work"), "{said}");
    assert!(said.contains("the session still works"), "{said}");
    refused(&platform.wit(&["token", "list"]), 4);

    let machine = Machine::with_a_token();
    done(&machine.server.home.run(WIT, &["down"], ""));
    let output = machine.wit(&["logout"]);
    assert_eq!(output.status.code(), Some(5));
    let said = text(&output.stderr);
    assert!(
        said.contains("may still work") && said.contains("can't reach"),
        "{said}"
    );
    assert_eq!(machine.sessions().len(), 0);
    // For the end of the test.
    done(&machine.server.home.run(WIT, &["up", "--port", "0"], ""));
}

#[test]
fn a_second_login_ends_the_session_that_it_replaces() {
    let machine = Machine::logged_in();
    let first = machine.sessions().remove(0);
    done(&machine.sign_up("bob"));
    assert!(accepts(&machine, &first), "it is another account's");
    done(&machine.log_in("ada"));
    assert!(!accepts(&machine, &first));
    assert_eq!(machine.sessions().len(), 2);

    let platform = Platform::new();
    done(&platform.log_in());
    let first = platform.session();
    done(&platform.log_in());
    let second = platform.session();
    assert!(!platform.accepts(&first));
    assert!(platform.accepts(&second));
    // The same session once more replaces nothing.
    let again = platform.begin_with(&second, &[]);
    done(&again);
    assert!(platform.accepts(&second));
}

#[test]
fn a_replaced_session_that_lives_on_is_said() {
    let platform = Platform::new();
    done(&platform.begin_with(trpc::SESSION, &[]));
    let login = platform.log_in();
    done(&login);
    let said = text(&login.stderr);
    assert!(
        said.contains("warning: the session before this one was not ended"),
        "{said}"
    );
}

#[test]
fn the_server_says_whose_a_given_session_is() {
    for name in [
        &[][..],
        &["--username", "ada"],
        &["--email", "ada@example.com"],
    ] {
        let platform = Platform::new();
        let said = done(&platform.begin_with(trpc::SESSION, name));
        assert!(said.ends_with(" as ada.\n"), "{said}");
    }
    let platform = Platform::new();
    let said = refused(
        &platform.begin_with(trpc::SESSION, &["--username", "bob"]),
        2,
    );
    assert!(
        said.contains("this session is of ada, not of bob"),
        "{said}"
    );
    refused(&platform.begin_with("wrong", &[]), 4);

    let machine = Machine::logged_in();
    let session = machine.sessions().remove(0);
    let login = ["login", &machine.url, "--session-stdin", "--username"];
    let named = |name| Home::new().run(WIT, &[&login[..], &[name]].concat(), &session);
    refused(&named("bob"), 2);
    let said = done(&named("ada@example.com"));
    assert!(said.ends_with(" as ada.\n"), "{said}");
}

#[test]
fn a_server_that_does_not_say_whose_a_session_is_is_not_believed() {
    let server = Server::reading(|head, _| {
        let (status, body) = match () {
            () if head.starts_with("GET /api/tokens ") => (200, "[]"),
            () if head.starts_with("GET /api/v1/user ") => {
                (401, r#"{"message":"Requires authentication"}"#)
            }
            () => (404, "{}"),
        };
        crate::support::server::answer(status, body)
    });
    let home = Home::new();
    let login = ["login", &server.url, "--username", "ada", "--session-stdin"];
    let said = refused(&home.run(WIT, &login, trpc::SESSION), 1);
    assert!(said.contains("does not tell whose session it is"), "{said}");
}

#[test]
fn a_form_that_is_named_is_tried_before_anything_is_stored() {
    let platform = Platform::new();
    let login = [
        "login",
        &platform.server.url,
        "--username",
        "ada",
        "--password-stdin",
    ];
    let login = |form: &str| {
        let named = [&login[..], &["--api", form]].concat();
        platform.home.run(WIT, &named, &format!("{PASSWORD}\n"))
    };
    let said = refused(&login("rest"), 1);
    assert!(said.contains("does not speak the form rest"), "{said}");
    assert!(
        said.contains(&format!("hint: wit login {}", platform.server.url)),
        "{said}"
    );
    refused(&platform.wit(&["token", "list"]), 4);
    // The session that was begun for it is ended again.
    let outs = platform.server.seen();
    assert_eq!(
        outs.iter()
            .filter(|seen| seen.contains("/sign-out "))
            .count(),
        1
    );
    done(&login("trpc"));
    done(&platform.wit(&["token", "list"]));
}

#[test]
fn after_direct_mode_a_session_is_used_in_the_form_of_its_server() {
    let machine = Machine::logged_in();
    let asks = done(&machine.wit(&["token", "create", "asks", "-q", "-e", "60"]));
    let user = (machine.server).bearing("GET", "/api/v1/user", asks.trim());
    let file = machine.server.data_dir().join("wit.sqlite3");
    let mut platform = Platform::new();
    done(&platform.log_in());
    platform
        .home
        .set("DATABASE_URL", format!("sqlite:{}", file.display()));
    platform
        .home
        .set("WIT_USER_ID", user.json()["id"].as_str().expect("an id"));
    done(&platform.wit(&["login", &platform.server.url, "--api", "database"]));
    platform.home.set("DATABASE_URL", "");
    platform.home.set("WIT_USER_ID", "");
    done(&platform.wit(&["token", "list"]));
    done(&platform.wit(&["token", "create", "ci", "-e", "30"]));

    // Without a session, what is printed to get one works.
    done(&platform.wit(&["logout"]));
    platform
        .home
        .set("DATABASE_URL", format!("sqlite:{}", file.display()));
    platform
        .home
        .set("WIT_USER_ID", user.json()["id"].as_str().expect("an id"));
    done(&platform.wit(&["login", &platform.server.url, "--api", "database"]));
    platform.home.set("DATABASE_URL", "");
    platform.home.set("WIT_USER_ID", "");
    let said = refused(&platform.wit(&["token", "list"]), 4);
    let (_, login) = said
        .trim_end()
        .split_once("to go through the server: ")
        .expect("a command");
    let typed = format!("{login} --username ada --password-stdin");
    done(
        &platform
            .home
            .run("sh", &["-c", &typed], &format!("{PASSWORD}\n")),
    );
    done(&platform.wit(&["token", "list"]));
}

#[test]
fn revoking_at_the_logout_is_for_every_token_that_this_machine_stores() {
    let machine = Machine::logged_in();
    done(&machine.sign_up("bob"));
    for name in ["ada", "bob"] {
        done(&machine.wit(&["token", "create", name, "--store", "--account", name]));
    }
    done(&machine.wit(&["token", "create", "printed", "--account", "ada", "-q"]));
    // One that was replaced lives on, and one that is new is not delivered.
    done(&machine.rotate(&["--account", "ada", "--grace", "1h"]));
    let failed = machine.rotate(&["--account", "bob", "--deliver", "exit 1"]);
    assert_eq!(failed.status.code(), Some(5));
    let said = done(&machine.wit(&["logout", "--revoke"]));
    assert_eq!(said.matches("Revoked ").count(), 4, "{said}");
    assert_eq!(said.matches(" of bob (").count(), 2, "{said}");
    assert!(said.ends_with("and revoked 4 tokens.\n"), "{said}");
    let list = machine.json(&["token", "list", "--account", "ada"]);
    let names: Vec<&Value> = (list.as_array().expect("a list").iter())
        .map(|token| &token["name"])
        .collect();
    assert_eq!(names, ["printed"]);
    assert_eq!(machine.journals(), 1, "bob's login is over, ada's goes on");
}

#[test]
fn a_token_that_could_not_be_revoked_is_named_and_the_login_is_kept() {
    let machine = Machine::logged_in();
    done(&machine.sign_up("bob"));
    for name in ["ada", "bob"] {
        done(&machine.wit(&["token", "create", name, "--store", "--account", name]));
    }
    // Nobody can revoke ada's for her.
    done(&machine.wit(&["logout", "--account", "ada"]));
    let output = machine.wit(&["logout", "--revoke"]);
    assert_eq!(output.status.code(), Some(5));
    let (told, warned) = (text(&output.stdout), text(&output.stderr));
    assert!(told.contains("Revoked bob of bob ("), "{told}");
    assert!(told.contains("Logged out of "), "{told}");
    assert!(
        warned.contains("warning: ada of ada (") && warned.contains("not logged in"),
        "{warned}"
    );

    done(&machine.log_in("ada"));
    done(&machine.server.home.run(WIT, &["down"], ""));
    let output = machine.wit(&["logout", "--revoke"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(machine.sessions().len(), 1);
    // For the end of the test.
    done(&machine.server.home.run(WIT, &["up", "--port", "0"], ""));
}

#[test]
fn a_logout_over_plain_http_is_refused_before_anything_is_forgotten() {
    let server = platform::Server::start_with(Home::new(), &["--host-name", "0.0.0.0"]);
    let machine = Machine {
        url: format!("http://{}", server.address),
        server,
        home: Home::new(),
    };
    machine.server.sign_up("ada");
    // To Linux this is the machine itself, to the rules of http another one.
    let plain = machine.url.replace("127.0.0.1", "0.0.0.0");
    let login = ["login", &plain, "--allow-http", "--username", "ada"];
    let login = [&login[..], &["--password-stdin"]].concat();
    done(&machine.home.run(WIT, &login, &format!("{PASSWORD}\n")));
    let site = Site::new(b"http", plain.trim_start_matches("http://").as_bytes()).expect("a site");
    let session = stored_sessions(&machine.home, &site).remove(0);
    let said = refused(&machine.wit(&["logout", &plain]), 1);
    assert!(said.contains("hint: use https, or --allow-http"), "{said}");
    assert_eq!(stored_sessions(&machine.home, &site), [session.as_str()]);
    done(&machine.wit(&["logout", &plain, "--allow-http"]));
    assert!(!accepts(&machine, &session));
    assert!(stored_sessions(&machine.home, &site).is_empty());
}

#[test]
fn a_logout_says_which_token_git_goes_on_using_and_what_revokes_it() {
    let machine = Machine::with_a_token();
    let logout = machine.wit(&["logout"]);
    done(&logout);
    let said = text(&logout.stderr);
    let warning = "git still uses the token laptop of ada, which was not revoked";
    assert!(said.contains(warning), "{said}");
    let revoke = format!("wit login {0} && wit logout {0} --revoke", machine.url);
    assert!(said.contains(&revoke), "{said}");
    assert!(machine.git().status.success());

    // Nobody but a session may revoke it.
    let said = refused(&machine.wit(&["logout", "--revoke", "--yes"]), 4);
    assert!(said.contains("so that laptop can't be revoked"), "{said}");
    assert!(said.contains(&format!("hint: {revoke}")), "{said}");
    done(&machine.log_in("ada"));
    let logout = machine.wit(&["logout", &machine.url, "--revoke", "--yes"]);
    done(&logout);
    assert!(!text(&logout.stderr).contains("git still uses"));
    assert!(!machine.git().status.success());
}

#[cfg(target_os = "linux")]
#[test]
fn a_logout_in_one_store_keeps_the_server_that_the_other_has_a_login_for() {
    let mut machine = Machine::new();
    done(&machine.wit(&["setup", "--store", "file"]));
    done(&machine.sign_up("ada"));
    machine.home.set("WIT_STORE", "keyutils");
    done(&machine.log_in("ada"));
    done(&machine.wit(&["logout"]));
    let config = machine.home.path().join(".config/wit/config.json");
    let config = std::fs::read_to_string(config).expect("a config");
    assert!(config.contains(&machine.url), "{config}");
    machine.home.set("WIT_STORE", "file");
    done(&machine.wit(&["token", "list"]));
}
