//! An account as its owner has it: its password, its sign-ins, its activity, and how it comes to be.

#![cfg(feature = "platform")]

use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::support::browser::Browser;
use crate::support::machine::Machine;
use crate::support::platform::{FORM, PASSWORD, Server, Visitor};
use crate::support::postgres::{MADE_BY_THE_PLATFORM, Postgres};
use crate::support::{Home, WIT, done, refused, text};

fn sign_in(server: &Server, password: &str) -> Option<String> {
    let body = json!({ "username": "alice", "password": password });
    let reply = server.post("/api/auth/sign-in/username", "", body);
    (reply.status == 200).then(|| reply.json()["token"].as_str().expect("a token").to_owned())
}

fn is_alive(server: &Server, session: &str) -> bool {
    match server.bearing("GET", "/api/account", session).status {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

fn list(server: &Server, session: &str) -> Vec<Value> {
    let reply = server.bearing("GET", "/api/account/sign-ins", session);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json().as_array().expect("a list").clone()
}

/// The actions of an account's events, newest first.
fn actions(server: &Server, session: &str) -> Vec<String> {
    let events = server.bearing("GET", "/api/account/events", session).json();
    let action = |event: &Value| event["action"].as_str().expect("text").to_owned();
    events
        .as_array()
        .expect("a list")
        .iter()
        .map(action)
        .collect()
}

/// Changes from several sign-ins at once, with the same old password: one is made.
fn one_change_of_several_is_made(server: &Server) {
    server.sign_up("alice");
    let sessions: Vec<String> = (0..6)
        .map(|_| sign_in(server, PASSWORD).expect("signed in"))
        .collect();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let changes: Vec<_> = (sessions.iter().enumerate())
            .map(|(at, session)| {
                let new = format!("horse number {at}");
                let body = json!({ "currentPassword": PASSWORD, "newPassword": new });
                let change = move || server.post("/api/account/password", session, body).status;
                scope.spawn(change)
            })
            .collect();
        let done = changes
            .into_iter()
            .map(|change| change.join().expect("an answer"));
        done.collect()
    });
    let made = statuses.iter().position(|status| *status == 200);
    let made = made.unwrap_or_else(|| panic!("{statuses:?}"));
    // The others' sessions end with it.
    let others = statuses
        .iter()
        .filter(|status| [401, 403].contains(*status));
    assert_eq!(others.count(), 5, "{statuses:?}");
    assert!(sign_in(server, &format!("horse number {made}")).is_some());
}

#[test]
fn of_several_changes_of_a_password_at_once_one_is_made() {
    one_change_of_several_is_made(&Server::start());
}

#[test]
fn so_it_is_on_postgresql() {
    one_change_of_several_is_made(&Server::start_on(&Postgres::start()));
}

fn a_password_is_changed(server: &Server) {
    let session = server.sign_up("alice");
    let other = sign_in(server, PASSWORD).expect("signed in");
    let token = server.secret(&session, &["repo:read"]);
    let change = |current: &str, new: &str| {
        let body = json!({ "currentPassword": current, "newPassword": new });
        server.post("/api/account/password", &session, body)
    };
    assert_eq!(change("wrong horse", "another horse").status, 403);
    assert_eq!(change(PASSWORD, "short").status, 400);
    assert!(is_alive(server, &other), "nothing was changed");
    let changed = change(PASSWORD, "another horse");
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.json()["endedSignIns"], 1);
    assert!(is_alive(server, &session) && !is_alive(server, &other));
    assert_eq!(server.bearing("GET", "/api/v1/user", &token).status, 200);
    assert_eq!(sign_in(server, PASSWORD), None);
    assert!(sign_in(server, "another horse").is_some());
    // With a token nobody changes a password.
    let body = json!({ "currentPassword": "another horse", "newPassword": "third horse" });
    assert_eq!(
        server.post("/api/account/password", &token, body).status,
        401
    );
    let actions = actions(server, &session);
    assert!(
        actions.contains(&"password-changed".to_owned()),
        "{actions:?}"
    );
}

#[test]
fn a_new_password_takes_the_old_one_and_ends_the_other_sign_ins() {
    a_password_is_changed(&Server::start());
}

#[test]
fn so_it_does_on_postgresql() {
    a_password_is_changed(&Server::start_on(&Postgres::start()));
}

fn sign_ins_are_listed_and_ended(server: &Server) {
    let session = server.sign_up("alice");
    let stranger = server.sign_up("bob");
    let body = json!({ "username": "alice", "password": PASSWORD }).to_string();
    let headers = [
        ("Content-Type", "application/json"),
        (
            "User-Agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
        ),
    ];
    let path = "/api/auth/sign-in/username";
    let other = server.request_from([127, 0, 0, 9], "POST", path, &headers, &body);
    let other = other.json()["token"].as_str().expect("a token").to_owned();

    let all = list(server, &session);
    assert_eq!(all.len(), 2, "{all:?}");
    let this: Vec<&Value> = all.iter().filter(|one| one["current"] == true).collect();
    assert_eq!(this.len(), 1);
    let that = all.iter().find(|one| one["current"] == false).expect("it");
    assert_eq!(that["name"], "Firefox on Linux");
    assert_eq!(that["address"], "127.0.0.9");
    assert!(that["createdAt"].is_string() && that["lastUsedAt"].is_string());

    let path = format!(
        "/api/account/sign-ins/{}",
        that["id"].as_str().expect("an id")
    );
    assert_eq!(server.bearing("DELETE", &path, &stranger).status, 404);
    assert!(is_alive(server, &other));
    assert_eq!(server.bearing("DELETE", &path, &session).status, 200);
    assert!(!is_alive(server, &other) && is_alive(server, &session));
    assert_eq!(server.bearing("DELETE", &path, &session).status, 404);

    let others = [sign_in(server, PASSWORD), sign_in(server, PASSWORD)];
    let path = "/api/account/sign-ins";
    let wrong = format!("{path}?keep=all");
    assert_eq!(server.bearing("DELETE", &wrong, &session).status, 400);
    let keep = format!("{path}?keep=current");
    let ended = server.bearing("DELETE", &keep, &session).json();
    assert_eq!(ended["ended"], 2);
    for other in others.into_iter().flatten() {
        assert!(!is_alive(server, &other));
    }
    assert!(is_alive(server, &session) && is_alive(server, &stranger));
    assert_eq!(server.bearing("DELETE", path, &session).json()["ended"], 1);
    assert!(!is_alive(server, &session) && is_alive(server, &stranger));
}

#[test]
fn sign_ins_are_listed_with_client_and_address_and_ended_one_by_one_or_together() {
    sign_ins_are_listed_and_ended(&Server::start());
}

#[test]
fn so_they_are_on_postgresql() {
    sign_ins_are_listed_and_ended(&Server::start_on(&Postgres::start()));
}

/// Runs a statement on the database of a server, beside it.
fn sql(server: &Server, statement: &'static str) -> Vec<(String,)> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let file = server.data_dir().join("wit.sqlite3");
        let options = SqliteConnectOptions::new().filename(file);
        let mut connection = SqliteConnection::connect_with(&options)
            .await
            .expect("open");
        let rows = sqlx::query_as(statement).fetch_all(&mut connection).await;
        rows.expect("done")
    })
}

#[test]
fn the_last_use_of_a_sign_in_is_written_at_most_once_a_minute() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let used = || list(&server, &session)[0]["lastUsedAt"].clone();
    let first = used();
    for _ in 0..5 {
        assert!(is_alive(&server, &session));
    }
    assert_eq!(used(), first);
    sql(
        &server,
        "UPDATE wit_session SET last_used_at = '2020-01-01 00:00:00+00:00' RETURNING session_id",
    );
    assert!(is_alive(&server, &session));
    let second = used();
    assert!(second.as_str() > Some("2020-01-02"), "{second}");
    assert_eq!(used(), second);
}

#[test]
fn a_session_that_is_older_than_the_tables_is_listed_and_works() {
    let database = Postgres::start();
    database.sql(MADE_BY_THE_PLATFORM);
    database.sql(
        "INSERT INTO session (id, expires_at, token, updated_at, user_id)
         VALUES ('old', now() + interval '1 day', 'abcdefghijklmnopqrstuvwxyz012345', now(), 'theirs')",
    );
    let server = Server::start_on(&database);
    let session = "abcdefghijklmnopqrstuvwxyz012345";
    let all = list(&server, session);
    assert_eq!(
        (&all[0]["id"], &all[0]["current"]),
        (&json!("old"), &json!(true))
    );
    assert_eq!(
        database
            .sql("SELECT count(*) FROM wit_server.wit_session")
            .trim(),
        "1"
    );
    let visitor = server.request(
        "GET",
        "/settings/account",
        &[("Cookie", &format!("wit_session={session}"))],
        "",
    );
    assert_eq!(visitor.status, 200);
    assert!(
        visitor.body.contains("Unknown browser or program"),
        "{}",
        visitor.body
    );
}

#[test]
fn a_database_of_an_older_server_can_still_be_operated() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let token = server.token(&session, &["repo:read"]);
    done(&server.home.run(WIT, &["down"], ""));
    for statement in [
        "DROP TABLE wit_shown_token",
        "DROP TABLE wit_session",
        "DROP TABLE wit_token_detail",
        "DROP TABLE wit_account_event",
        "DROP TABLE wit_invitation",
    ] {
        sql(&server, statement);
    }
    let run = |arguments: &[&str]| server.home.run(WIT, arguments, "");
    done(&run(&["user", "suspend", "alice"]));
    done(&run(&["user", "restore", "alice"]));
    done(&run(&["user", "reset-password", "alice"]));
    let said = refused(&run(&["user", "invite", "--url", "https://wit.example"]), 1);
    assert!(said.contains("start this version of wit up"), "{said}");
    let port = server.address.rsplit(':').next().expect("a port");
    done(&run(&["up", "--port", port]));
    let secret = token["token"].as_str().expect("a secret");
    assert_eq!(server.bearing("GET", "/api/v1/user", secret).status, 200);
    server.sign_up("bob");
}

#[test]
fn an_email_is_changed_with_the_password_and_only_to_a_free_one() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.sign_up("bob");
    let change = |email: &str, current: &str| {
        let body = json!({ "email": email, "currentPassword": current });
        server.post("/api/account/email", &session, body)
    };
    assert_eq!(change("new@example.com", "wrong horse").status, 403);
    assert_eq!(change("no email", PASSWORD).status, 400);
    assert_eq!(change("bob@example.com", PASSWORD).status, 422);
    let changed = change("New@example.com", PASSWORD);
    assert_eq!(
        changed.json()["email"],
        "new@example.com",
        "{}",
        changed.body
    );
    let body = json!({ "email": "new@example.com", "password": PASSWORD });
    assert_eq!(server.post("/api/auth/sign-in/email", "", body).status, 200);
    let body = json!({ "email": "alice@example.com", "password": PASSWORD });
    assert_eq!(server.post("/api/auth/sign-in/email", "", body).status, 401);
}

#[test]
fn wit_account_shows_changes_and_ends() {
    let machine = Machine::logged_in();
    let shown = machine.json(&["account", "show"]);
    assert_eq!(shown["username"], "ada");
    assert_eq!(shown["email"], "ada@example.com");
    let id = shown["id"].as_str().expect("an id");
    assert!(done(&machine.wit(&["account", "show"])).contains(id));

    let other = machine.server.post(
        "/api/auth/sign-in/username",
        "",
        json!({ "username": "ada", "password": PASSWORD }),
    );
    let other = other.json()["token"].as_str().expect("a token").to_owned();
    let all = machine.json(&["account", "sign-ins"]);
    let all = all.as_array().expect("a list");
    assert_eq!(all.len(), 2);
    let that = all.iter().find(|one| one["current"] == false).expect("it");
    let id = that["id"].as_str().expect("an id");
    let said = done(&machine.wit(&["account", "sign-ins"]));
    assert!(said.contains(id) && said.contains("[this one]"), "{said}");
    assert!(said.contains("from 127.0.0.1"), "{said}");
    refused(&machine.wit(&["account", "sign-out"]), 2);
    refused(&machine.wit(&["account", "sign-out", "nobody"]), 1);
    done(&machine.wit(&["account", "sign-out", &id[..10]]));
    assert!(!is_alive(&machine.server, &other));

    let change = ["account", "password", "--password-stdin"];
    let run = |input: &str| machine.home.run(WIT, &change, input);
    refused(&run("wrong horse\nanother horse\n"), 1);
    let said = done(&run(&format!("{PASSWORD}\nanother horse\n")));
    assert!(said.contains("0 other sign-ins"), "{said}");
    let email = ["account", "email", "new@example.com", "--password-stdin"];
    let said = done(&machine.home.run(WIT, &email, "another horse\n"));
    assert!(said.contains("new@example.com"), "{said}");

    done(&machine.wit(&["account", "sign-out", "--others"]));
    let said = done(&machine.wit(&["account", "sign-out", "--all"]));
    assert!(said.contains("wit login http"), "{said}");
    refused(&machine.wit(&["account", "show"]), 4);
}

#[test]
fn the_account_page_does_all_of_it_in_a_browser_without_script() {
    let server = Server::start();
    server.sign_up("alice");
    let laptop = server.visit("alice");
    let browser = Browser::without_script();
    browser.open(&server.url("/account"));
    browser.fill("#name", "alice");
    browser.fill("#password", PASSWORD);
    browser.follow("Sign in");
    assert_eq!(browser.text("h1"), "Account");
    assert!(browser.text("main").contains("Chrome on Linux"));

    browser.fill("#current", "wrong horse");
    browser.fill("#password", "another horse");
    browser.fill("#repeated", "another horse");
    browser.follow("Change password");
    assert_eq!(browser.text("#current-error"), "That is not your password.");
    browser.fill("#current", PASSWORD);
    browser.fill("#password", "another horse");
    browser.fill("#repeated", "other horse");
    browser.follow("Change password");
    assert_eq!(
        browser.text("#repeated-error"),
        "The two new passwords differ."
    );
    browser.fill("#current", PASSWORD);
    browser.fill("#password", "another horse");
    browser.fill("#repeated", "another horse");
    browser.follow("Change password");
    assert!(
        browser
            .text("[role=status]")
            .contains("password is changed")
    );
    let gone = server.request(
        "GET",
        "/settings/account",
        &[("Cookie", &laptop.cookie)],
        "",
    );
    assert_eq!(gone.status, 303, "the other browser");

    browser.fill("#email", "new@example.com");
    browser.fill("#email-current", "another horse");
    browser.follow("Change email");
    assert_eq!(browser.value("#email"), "new@example.com");

    let other = sign_in(&server, "another horse").expect("signed in");
    browser.open(&server.url("/settings/account"));
    browser.follow("Sign out an unnamed program");
    assert!(!is_alive(&server, &other));
    let other = sign_in(&server, "another horse").expect("signed in");
    browser.open(&server.url("/settings/account"));
    browser.follow("Sign out everywhere else");
    assert!(!is_alive(&server, &other));
    browser.follow("Sign out everywhere");
    assert_eq!(browser.text("h1"), "Sign in");
}

fn invite(server: &Server, more: &[&str]) -> String {
    let invite = [&["user", "invite", "--json"], more].concat();
    let made: Value =
        serde_json::from_slice(&server.home.run(WIT, &invite, "").stdout).expect("JSON");
    let url = made["url"].as_str().expect("a URL");
    url.strip_prefix(&server.url(""))
        .expect("this server")
        .to_owned()
}

fn accept(server: &Server, path: &str, username: &str) -> (u16, String) {
    let origin = server.url("");
    let body = format!("username={username}&email={username}%40example.com&password=correct+horse");
    let reply = server.request("POST", path, &[FORM, ("Origin", &origin)], &body);
    (reply.status, reply.body)
}

/// `age` lets the time of all invitations run out.
fn invitations_are_used_once(server: &Server, age: impl FnOnce()) {
    let path = invite(server, &[]);
    let page = server.request("GET", &path, &[], "");
    assert_eq!(page.status, 200, "{}", page.body);
    // Two at once: one account.
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let path = &path;
        let tries =
            ["ada", "bob", "eve"].map(|name| scope.spawn(move || accept(server, path, name).0));
        tries
            .into_iter()
            .map(|one| one.join().expect("answered"))
            .collect()
    });
    assert_eq!(
        answers.iter().filter(|status| **status == 303).count(),
        1,
        "{answers:?}"
    );
    assert_eq!(
        answers.iter().filter(|status| **status == 404).count(),
        2,
        "{answers:?}"
    );
    let listed = done(&server.home.run(WIT, &["user", "list"], ""));
    assert!(listed.starts_with("Accounts (1)"), "{listed}");

    let expired = invite(server, &["--expires", "1d"]);
    age();
    let unknown = "/login/invitation/abcdefghijklmnopqrstuvwxyz012345";
    let pages: Vec<String> = [
        path.as_str(),
        expired.as_str(),
        unknown,
        "/login/invitation/..x",
    ]
    .iter()
    .map(|path| {
        let reply = server.request("GET", path, &[], "");
        assert_eq!(reply.status, 404, "{path}: {}", reply.body);
        assert!(reply.body.contains("can't be used"), "{}", reply.body);
        reply.body
    })
    .collect();
    assert!(pages.iter().all(|page| *page == pages[0]), "they differ");
    assert_eq!(accept(server, &expired, "late").0, 404);

    // The operator's email goes before what the form says, and a refused form uses nothing up.
    let path = invite(server, &["--email", "grace@example.com"]);
    assert_eq!(accept(server, &path, "x").0, 422);
    assert_eq!(accept(server, &path, "grace2").0, 303);
    let listed = done(&server.home.run(WIT, &["user", "list"], ""));
    assert!(listed.contains("grace2  grace@example.com"), "{listed}");
}

#[test]
fn an_invitation_makes_one_account_on_a_server_without_sign_up() {
    let server = Server::start_with(Home::new(), &["--no-sign-up"]);
    invitations_are_used_once(&server, || {
        let past = "UPDATE wit_invitation SET expires_at = '2020-01-01 00:00:00+00:00' RETURNING code_hash";
        sql(&server, past);
    });
    // By the API too, and only its hash is in the database.
    let path = invite(&server, &[]);
    let code = path.rsplit('/').next().expect("a code");
    let kept = sql(&server, "SELECT code_hash FROM wit_invitation");
    assert!(kept.iter().all(|(hash,)| !hash.contains(code)));
    let sign_up = || {
        let body = json!({
            "name": "zoe", "username": "zoe", "email": "zoe@example.com",
            "password": PASSWORD, "invitation": code,
        });
        server.post("/api/auth/sign-up/email", "", body).status
    };
    assert_eq!((sign_up(), sign_up()), (200, 404));
}

#[test]
fn so_it_does_on_one_with_postgresql() {
    let mut home = Home::new();
    let database = Postgres::start();
    home.set("DATABASE_URL", database.url());
    let server = Server::start_with(home, &["--no-sign-up"]);
    invitations_are_used_once(&server, || {
        database.sql("UPDATE wit_server.wit_invitation SET expires_at = '2020-01-01'");
    });
}

#[test]
fn wit_up_says_that_an_account_that_exists_was_not_changed() {
    let home = Home::new();
    let up = ["up", "--port", "0", "--user", "ada", "--password-stdin"];
    let said = done(&home.run(WIT, &up, PASSWORD));
    assert!(
        !said.contains("already exists and was not changed"),
        "{said}"
    );
    done(&home.run(WIT, &["down"], ""));
    let said = done(&home.run(WIT, &up, "another horse"));
    assert!(
        said.contains("already exists and was not changed"),
        "{said}"
    );
    done(&home.run(WIT, &["down"], ""));
}

#[test]
fn the_activity_has_sign_ins_failures_and_what_the_operator_did_and_can_be_filtered() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let stranger = server.sign_up("bob");
    let token = server.token(&session, &["repo:read"]);
    let other = server.token(&session, &["repo:write"]);
    for _ in 0..9 {
        assert_eq!(sign_in(&server, "wrong horse"), None);
    }
    for arguments in [["user", "suspend", "alice"], ["user", "restore", "alice"]] {
        done(&server.home.run(WIT, &arguments, ""));
    }
    let visitor = server.visit("alice");
    // They are written down a moment after the answer.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let failures = || {
        let all = actions(&server, &session);
        all.iter()
            .filter(|action| *action == "sign-in-failed")
            .count()
    };
    while failures() < 5 {
        assert!(std::time::Instant::now() < deadline, "{}", failures());
    }
    assert_eq!(failures(), 5, "at a bounded rate");
    let look = |query: &str| {
        let path = format!("/settings/activity{query}");
        server
            .request("GET", &path, &[("Cookie", &visitor.cookie)], "")
            .body
    };
    let everything = look("");
    for part in [
        "Signed in</strong> <bdi>an unnamed program, on the page",
        "Wrong password",
        "Suspended",
        "Restored",
        "from 127.0.0.1",
        "by the server's operator",
        "Created</strong>",
    ] {
        assert!(everything.contains(part), "{part}: {everything}");
    }
    let tokens = look("?kind=tokens");
    assert!(tokens.contains("Created</strong>") && !tokens.contains("Suspended"));
    let account = look("?kind=account");
    assert!(account.contains("Suspended") && !account.contains("Created</strong>"));
    let id = |token: &Value| token["id"].as_str().expect("an id").to_owned();
    let one = look(&format!("?token={}", id(&token)));
    assert!(
        one.contains(&id(&token)) && !one.contains(&id(&other)),
        "{one}"
    );
    assert!(everything.contains(&format!("/settings/activity?token={}", id(&other))));
    assert_eq!(actions(&server, &stranger), ["signed-in"]);
}

#[test]
fn the_place_wanted_is_kept_across_the_sign_in_with_its_query() {
    let server = Server::start();
    server.sign_up("alice");
    let wanted = "/settings/activity?kind=tokens";
    let reply = server.request("GET", wanted, &[], "");
    let location = (reply.raw_head.lines()).find_map(|line| line.strip_prefix("location: "));
    let login = location.expect("a redirect").to_owned();
    let browser = Browser::start();
    browser.open(&server.url(&login));
    browser.fill("#name", "alice");
    browser.fill("#password", "wrong horse");
    browser.follow("Sign in");
    browser.fill("#password", PASSWORD);
    browser.follow("Sign in");
    assert_eq!(browser.url(), server.url(wanted));
}

/// The address of the page that shows a new token, and the cookies that it needs.
fn created(visitor: &Visitor<'_>) -> (String, String) {
    let id = uuid::Uuid::new_v4();
    let body = format!("name=x&scope=repo:read&expires=30&id={id}");
    let reply = visitor.post("/settings/tokens/new", &body);
    assert_eq!(reply.status, 303, "{}", reply.body);
    let field = |name: &str| {
        let mut lines = reply.raw_head.lines();
        let line = lines.find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name}: {}", reply.raw_head))
    };
    let cookie = field("set-cookie: ");
    assert!(
        cookie.contains("; HttpOnly; SameSite=Lax; Path=/; Max-Age=300"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().expect("a pair");
    (field("location: "), format!("{}; {cookie}", visitor.cookie))
}

#[test]
fn a_new_token_is_shown_once_to_the_browser_that_asked_for_it() {
    let server = Server::start();
    server.sign_up("alice");
    let (visitor, other) = (server.visit("alice"), server.visit("alice"));
    let (path, cookies) = created(&visitor);
    let look = |cookies: &str| server.request("GET", &path, &[("Cookie", cookies)], "");
    let key = cookies.split("; ").nth(1).expect("a key");
    // Without the key, and with the key in another session of the same account.
    for cookies in [visitor.cookie.clone(), format!("{}; {key}", other.cookie)] {
        let reply = look(&cookies);
        assert_eq!(reply.status, 303, "{}", reply.body);
        assert!(reply.head.contains("done=shown-before"), "{}", reply.head);
    }
    let kept = sql(&server, "SELECT hex(sealed) FROM wit_shown_token");
    assert_eq!(kept.len(), 1);
    assert!(
        !kept[0].0.contains(&hex::encode_upper("wit_")),
        "in the clear"
    );
    let first = look(&cookies);
    assert_eq!(first.status, 200, "{}", first.body);
    assert!(first.body.contains(">wit_"), "{}", first.body);
    assert!(first.head.contains("=seen;"), "{}", first.head);
    assert_eq!(look(&cookies).status, 303, "a second time");
    assert!(sql(&server, "SELECT hex(sealed) FROM wit_shown_token").is_empty());
}

#[test]
fn of_two_servers_on_one_database_either_shows_a_new_token() {
    let database = Postgres::start();
    let (one, two) = (Server::start_on(&database), Server::start_on(&database));
    one.sign_up("alice");
    let visitor = one.visit("alice");
    let (path, cookies) = created(&visitor);
    let shown = two.request("GET", &path, &[("Cookie", &cookies)], "");
    assert!(
        shown.status == 200 && shown.body.contains(">wit_"),
        "{}",
        shown.body
    );
    let again = one.request("GET", &path, &[("Cookie", &cookies)], "");
    assert_eq!(again.status, 303, "{}", again.body);
}

#[test]
fn a_refused_form_blames_the_field_and_puts_the_focus_there() {
    let server = Server::start();
    server.sign_up("alice");
    let browser = Browser::start();
    browser.open(&server.url("/settings/tokens/new"));
    browser.fill("#name", "alice");
    browser.fill("#password", PASSWORD);
    browser.follow("Sign in");
    assert_eq!(browser.text("h1"), "New token");
    browser.fill("#name", "laptop");
    browser.run("for (const box of document.querySelectorAll('[name=scope]')) box.checked = false");
    browser.follow("Create token");
    assert_eq!(
        browser.text("#scope-error"),
        "A token needs at least one scope."
    );
    let focused = browser.run("return document.activeElement.name");
    assert_eq!(focused, "scope");
    browser.run("document.querySelector('[name=scope]').checked = true");
    browser.run("document.querySelector('#until').value = '2020-01-01'");
    browser.follow("Create token");
    let described = browser.run(
        "const field = document.activeElement;
         return [field.name, field.ariaInvalid,
                 document.getElementById(field.getAttribute('aria-describedby')).textContent]",
    );
    let error = "A token expires in 1 to 365 days, or never.";
    assert_eq!(described, json!(["until", "true", error]));
}

#[test]
fn a_rotation_by_wit_is_rotated_in_the_activity() {
    let machine = Machine::with_a_token();
    done(&machine.rotate(&[]));
    done(&machine.rotate(&["--grace", "1h"]));
    let said = done(&machine.wit(&["token", "audit", "--events"]));
    assert_eq!(said.matches("  rotated  ").count(), 2, "{said}");
    assert_eq!(said.matches("  revoked  ").count(), 0, "{said}");
}

#[test]
fn a_token_gets_another_name_and_a_description_and_says_where_it_is_from() {
    let machine = Machine::with_a_token();
    let name = machine.list()[0]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    done(&machine.wit(&[
        "token",
        "rename",
        &name,
        "nightly",
        "--description",
        "on the builder",
    ]));
    assert_eq!(machine.list()[0]["name"], "nightly");
    refused(&machine.wit(&["token", "rename", "nobody", "x"]), 1);
    refused(&machine.wit(&["token", "rename", "nightly"]), 2);
    let visitor = machine.server.visit("ada");
    let page = || {
        let cookie = [("Cookie", visitor.cookie.as_str())];
        machine
            .server
            .request("GET", "/settings/tokens", &cookie, "")
            .body
    };
    let shown = page();
    assert!(shown.contains("on the builder"), "{shown}");
    assert!(
        shown.contains("from 127.0.0.1") && shown.contains("by <bdi>wit/"),
        "{shown}"
    );
    let id = machine.list()[0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/settings/tokens/{id}/edit");
    assert_eq!(visitor.post(&path, "name=&description=x").status, 422);
    assert_eq!(
        visitor
            .post(&path, "name=weekly&description=a%0D%0Ab")
            .status,
        303
    );
    let shown = page();
    assert!(shown.contains("weekly") && shown.contains("a b"), "{shown}");
    // A rotation takes the description along.
    done(&machine.rotate(&[]));
    let stranger = machine.server.sign_up("bob");
    let authorization = format!("Bearer {stranger}");
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", authorization.as_str()),
    ];
    let path = format!("/api/tokens/{id}");
    let body = json!({ "name": "theirs" }).to_string();
    let reply = machine.server.request("PATCH", &path, &headers, &body);
    assert_eq!(reply.status, 404, "{}", text(reply.body.as_bytes()));
}

#[test]
fn a_repository_is_shared_with_a_hundred_accounts_and_no_more() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.sign_up("bob");
    server.repository(&session, "demo", true);
    let share = |username: &str| {
        let body = json!({ "username": username, "role": "read" });
        server.post("/api/repos/demo/collaborators", &session, body)
    };
    sql(
        &server,
        r#"INSERT INTO "user" (id, name, email, username, created_at, updated_at)
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
           SELECT 'u' || i, 'u', 'u' || i || '@example.com', 'user' || i,
                  '2026-01-01 00:00:00', '2026-01-01 00:00:00' FROM n RETURNING id"#,
    );
    sql(
        &server,
        r#"INSERT INTO wit_collaborator (repository_id, user_id, role)
           SELECT r.id, u.id, 'read' FROM wit_repository r, "user" u
           WHERE u.username LIKE 'user%' RETURNING user_id"#,
    );
    let refused = share("bob");
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.body.contains("100 accounts"), "{}", refused.body);
    // Another role for one of them is no more of them.
    assert_eq!(share("user7").status, 200);
    sql(
        &server,
        "DELETE FROM wit_collaborator WHERE user_id = 'u1' RETURNING user_id",
    );
    assert_eq!(share("bob").status, 200);
}
