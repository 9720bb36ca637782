//! The pages of repositories: in a real browser without scripts, and word for word.

#![cfg(all(target_os = "linux", feature = "platform"))]

use crate::page::FAULTS;
use crate::support::browser::Browser;
use crate::support::platform::{PASSWORD, Server};
use crate::support::text;
use serde_json::json;

const HTML: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

const README: &str = "# Hello\n\n<script>document.title = 'taken over'</script>\n\n\
     [bad](javascript:alert(1)) [good](https://example.com/)\n\n\
     ![picture](https://elsewhere.example/x.png)\n";

/// Pushes a README to `branch` of a repository of alice's.
fn push(server: &Server, secret: &str, name: &str, branch: &str) {
    let remote = server.remote("alice", secret, &format!("/alice/{name}.git"));
    let work = server.home.path().join("work");
    if !work.exists() {
        server.work("work");
        std::fs::write(work.join("README.md"), README).expect("written");
        for arguments in [
            &["-C", "work", "add", "-A"][..],
            &["-C", "work", "commit", "-q", "-m", "A <b>readme</b>"],
            &["-C", "work", "tag", "v1.0"],
        ] {
            assert!(server.git(arguments).status.success());
        }
    }
    let refs = format!("HEAD:{branch}");
    let push = server.git(&["-C", "work", "push", "-q", "--tags", &remote, &refs]);
    assert!(push.status.success(), "{}", text(&push.stderr));
}

#[test]
fn a_repository_is_created_shown_changed_and_deleted_in_a_browser_without_scripts() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.sign_up("bob");
    let secret = server.secret(&session, &["repo:write"]);
    let browser = Browser::without_script();
    browser.open(&server.url("/settings/repositories"));
    browser.fill("#name", "alice");
    browser.fill("#password", PASSWORD);
    browser.follow("Sign in");
    browser.follow("Repositories");
    assert!(
        browser
            .text("main")
            .contains("You have no repositories yet.")
    );

    browser.follow("New repository");
    browser.fill("#name", "a/b");
    browser.follow("Create repository");
    assert!(browser.text("#name-error").contains("1 to 100 characters"));
    browser.fill("#name", "demo");
    browser.follow("Create repository");
    assert_eq!(browser.text("h1"), "alice/demo");
    let address = server.url("/alice/demo.git");
    let shown = browser.text("main");
    assert!(shown.contains(&format!("git remote add origin {address}")));
    assert!(shown.contains("Private"), "{shown}");

    push(&server, &secret, "demo", "trunk");
    push(&server, &secret, "demo", "next");
    browser.open(&address);
    let shown = browser.text("main");
    for part in [
        "Default branch trunk",
        "Hello",
        "<script>document.title",
        "picture",
        "A <b>readme</b>",
        "next",
        "v1.0",
    ] {
        assert!(shown.contains(part), "no {part}: {shown}");
    }
    let source = browser.source();
    assert!(!source.contains("javascript:") && !source.contains("elsewhere.example"));

    browser.follow("Settings");
    browser.fill("#name", "world");
    browser.run("document.querySelector('#branch').value = 'next'");
    browser.run("document.querySelector('[value=public]').click()");
    browser.follow("Save");
    assert_eq!(browser.text("h1"), "Settings of world");
    assert_eq!(browser.value("#branch"), "next");
    browser.fill("#username", "bob");
    browser.follow("Share");
    assert!(browser.text("main").contains("May fetch"));
    browser.follow("Remove bob");
    browser.fill("#username", "nobody");
    browser.follow("Share");
    assert!(
        browser
            .text("#username-error")
            .contains("no account of that username")
    );
    browser.follow("Open the repository");
    let shown = browser.text("main");
    assert!(shown.contains("Public") && shown.contains("Default branch next"));

    browser.follow("Settings");
    browser.fill("#confirm", "demo");
    browser.follow("Delete repository");
    assert!(
        browser
            .text("#confirm-error")
            .contains("nothing was deleted")
    );
    browser.fill("#confirm", "world");
    browser.follow("Delete repository");
    assert_eq!(browser.text("h1"), "Repositories");
    assert!(
        browser
            .text("main")
            .contains("You have no repositories yet.")
    );
    let complaints = browser.complaints();
    let refused = |one: &&String| !one.contains("422") && !one.contains("400");
    assert_eq!(complaints.iter().find(refused), None);
}

#[test]
fn the_pages_can_be_read_in_light_and_dark_and_on_a_small_screen() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let bob = server.sign_up("bob");
    let secret = server.secret(&session, &["repo:write"]);
    let long = format!("a-rather-long-name-{}", "x".repeat(75));
    for name in ["demo", "empty", &long] {
        server.repository(&session, name, true);
    }
    server.repository(&bob, "theirs", true);
    for (session, name, username) in [(&session, "demo", "bob"), (&bob, "theirs", "alice")] {
        let role = json!({ "username": username, "role": "write" });
        let path = format!("/api/repos/{name}/collaborators");
        assert_eq!(server.post(&path, session, role).status, 200);
    }
    push(&server, &secret, "demo", "main");
    let browser = Browser::start();
    browser.open(&server.url("/settings/repositories"));
    browser.fill("#name", "alice");
    browser.fill("#password", PASSWORD);
    browser.follow("Sign in");
    for (name, path) in [
        ("repositories", "/settings/repositories"),
        ("repository-new", "/settings/repositories/new"),
        ("repository", "/alice/demo"),
        ("repository-empty", "/alice/empty"),
        ("repository-settings", "/settings/repositories/demo"),
        ("repository-none", "/alice/none"),
    ] {
        browser.open(&server.url(path));
        for (scheme, width) in [("light", 1200), ("dark", 360), ("light", 320)] {
            browser.look(scheme, width, 800);
            browser.picture(&format!("{name}-{scheme}-{width}.png"));
            assert_eq!(browser.run(FAULTS), json!([]), "{name}, {scheme}, {width}");
        }
    }
}

#[test]
fn a_page_is_for_who_may_read_the_repository() {
    let server = Server::start();
    let alice = server.sign_up("alice");
    let bob = server.sign_up("bob");
    server.sign_up("carol");
    drop(bob);
    server.repository(&alice, "open", false);
    server.repository(&alice, "hidden", true);
    let role = json!({ "username": "bob", "role": "read" });
    let shared = server.post("/api/repos/hidden/collaborators", &alice, role);
    assert_eq!(shared.status, 200, "{}", shared.body);
    let look = |username: Option<&str>, path: &str| {
        let cookie = username.map(|name| server.visit(name).cookie);
        let cookie = cookie.as_deref().unwrap_or_default();
        server
            .request("GET", path, &[HTML, ("Cookie", cookie)], "")
            .status
    };
    for (username, open, hidden, none) in [
        (None, 200, 303, 303),
        (Some("carol"), 200, 404, 404),
        (Some("bob"), 200, 200, 404),
        (Some("alice"), 200, 200, 404),
    ] {
        assert_eq!(look(username, "/alice/open"), open, "{username:?}");
        assert_eq!(look(username, "/alice/open.git"), open, "{username:?}");
        assert_eq!(look(username, "/alice/hidden"), hidden, "{username:?}");
        assert_eq!(look(username, "/alice/none"), none, "{username:?}");
    }
    // The settings are the owner's alone.
    for (username, expected) in [(Some("bob"), 404), (Some("alice"), 200), (None, 303)] {
        let path = "/settings/repositories/hidden";
        assert_eq!(look(username, path), expected, "{username:?}");
    }
    // What is no browser gets what it always got.
    let reply = server.request("GET", "/alice/open.git", &[("Accept", "*/*")], "");
    assert_eq!(reply.status, 404);
    assert_eq!(reply.json()["code"], "NOT_FOUND");
}

#[test]
fn a_form_of_another_site_changes_no_repository() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "demo", true);
    let visitor = server.visit("alice");
    let delete = "action=delete&confirm=demo";
    let path = "/settings/repositories/demo";
    let origin = server.url("");
    for headers in [
        &[("Origin", "https://evil.example")][..],
        &[("Origin", origin.as_str())],
        &[],
    ] {
        assert_eq!(visitor.send(path, headers, delete).status, 403);
    }
    assert_eq!(visitor.post(path, delete).status, 303);
    let list = server.bearing("GET", "/api/repos", &session).json();
    assert_eq!(list, json!([]));
}

#[test]
fn a_browser_gets_a_page_for_every_error_and_others_do_not() {
    let server = Server::start();
    for (method, path, status) in [
        ("GET", "/nothing/here/at/all", 404),
        ("GET", "/api/tokens", 401),
        ("DELETE", "/health", 405),
        ("GET", "/alice/x.git/info/refs", 403),
    ] {
        let page = server.request(method, path, &[HTML], "");
        assert_eq!(page.status, status, "{path}");
        assert!(page.head.contains("content-type: text/html"), "{path}");
        assert!(page.head.contains("style-src 'self'"), "{path}");
        assert!(page.body.contains("<h1>"), "{path}: {}", page.body);
        let other = server.request(method, path, &[("Accept", "application/json")], "");
        assert_eq!(other.status, status, "{path}");
        assert!(!other.head.contains("text/html"), "{path}");
    }
}

#[test]
fn the_list_has_size_and_last_push_which_a_refused_push_does_not_change() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let secret = server.secret(&session, &["repo:write"]);
    server.repository(&session, "demo", false);
    let list = || server.bearing("GET", "/api/repos", &session).json()[0].clone();
    let visitor = server.visit("alice");
    let page = || {
        let cookie = [("Cookie", visitor.cookie.as_str())];
        server
            .request("GET", "/settings/repositories", &cookie, "")
            .body
    };
    assert_eq!(list()["pushedAt"], json!(null));
    let empty = page();
    assert!(empty.contains("No pushes yet"), "{empty}");
    assert!(empty.contains("git remote add origin http://"), "{empty}");
    push(&server, &secret, "demo", "main");
    let first = list();
    assert!(first["pushedAt"].is_string(), "{first}");
    assert!(first["size"].as_u64() > Some(1000), "{first}");
    let shown = page();
    assert!(
        shown.contains("Last push <time") && shown.contains(" KiB"),
        "{shown}"
    );
    assert!(!shown.contains("git remote add origin"), "{shown}");

    // Another history on the same branch, without force.
    server.work("other");
    let remote = server.remote("alice", &secret, "/alice/demo.git");
    let refused = server.git(&["-C", "other", "push", "-q", &remote, "main"]);
    assert!(!refused.status.success());
    let again = server.git(&["-C", "work", "push", "-q", &remote, "HEAD:main"]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(list()["pushedAt"], first["pushedAt"], "nothing was changed");
    let more = ["-C", "work", "commit", "-q", "--allow-empty", "-m", "more"];
    assert!(server.git(&more).status.success());
    push(&server, &secret, "demo", "main");
    assert!(list()["pushedAt"].as_str() > first["pushedAt"].as_str());
}
