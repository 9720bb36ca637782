//! Every page in a real browser: by axe-core, by the keyboard alone, and without scripts.

#![cfg(feature = "platform")]

use std::path::Path;

use serde_json::{Value, json};

use crate::page::FAULTS;
use crate::support::browser::{Browser, TAB};
use crate::support::platform::{PASSWORD, Server};
use crate::support::{WIT, done};

const INSTALL: &str = "npm install --prefix target/tools/axe-core axe-core@4.10.3 (tests/run)";

/// What axe-core finds wrong on the page that is open: each rule with what broke it.
fn violations(browser: &Browser) -> Value {
    if browser.run("return typeof axe") == "undefined" {
        let place = "target/tools/axe-core/node_modules/axe-core/axe.min.js";
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
        let source = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}: {INSTALL}", file.display()));
        browser.run(&source);
    }
    browser.run(
        "return axe.run().then(found => found.violations.map(one =>
             `${one.id}: ${one.nodes.map(node => node.html).join(' | ')}`))",
    )
}

/// Presses the tabulator until the page begins again: what can't be reached, and what does not show
/// that it has the focus.
fn out_of_reach(browser: &Browser) -> Value {
    browser.run(
        "document.activeElement.blur();
         getSelection().removeAllRanges();
         window.scrollTo(0, 0);
         window.waits = new Set([...document.querySelectorAll(
             'a[href], button, input:not([type=hidden]), select, textarea, summary')]
             .filter(one => one.checkVisibility() && !one.disabled && !one.hidden));
         // Of radio buttons the tabulator reaches the chosen one, and arrows the others.
         for (const one of [...window.waits])
             if (one.type === 'radio' && !one.checked) window.waits.delete(one);
         window.unseen = [];",
    );
    let count = browser
        .run("return window.waits.size")
        .as_u64()
        .expect("a number");
    // A date has parts, which each take a stroke.
    for _ in 0..count + 8 {
        browser.strike(TAB);
        let left = browser.run(
            "const one = document.activeElement;
             if (window.waits.delete(one)) {
                 const style = getComputedStyle(one);
                 if (style.outlineStyle === 'none' || style.outlineWidth === '0px')
                     window.unseen.push(one.outerHTML);
             }
             return window.waits.size",
        );
        if left == 0 {
            break;
        }
    }
    browser.run("return [...window.waits].map(one => one.outerHTML).concat(window.unseen)")
}

/// Looks at the page that is open in every way.
fn look(browser: &Browser, name: &str) {
    for (scheme, width) in [
        ("light", 1600),
        ("dark", 1600),
        ("dark", 320),
        ("light", 320),
    ] {
        browser.look(scheme, width, 900);
        browser.picture(&format!("all-{name}-{scheme}-{width}.png"));
        assert_eq!(violations(browser), json!([]), "{name}, {scheme}, {width}");
        assert_eq!(browser.run(FAULTS), json!([]), "{name}, {scheme}, {width}");
    }
    assert_eq!(out_of_reach(browser), json!([]), "{name}");
}

fn push(server: &Server, secret: &str, name: &str) {
    let work = server.home.path().join("work");
    server.work("work");
    std::fs::write(work.join("README.md"), "# Hello\n\nSome *text* and a [link](https://x.example).\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
        .expect("written");
    let remote = server.remote("alice", secret, &format!("/alice/{name}.git"));
    for arguments in [
        &["-C", "work", "add", "."][..],
        &["-C", "work", "commit", "-q", "-m", "add a README"],
        &["-C", "work", "tag", "v1"],
        &["-C", "work", "push", "-q", &remote, "main", "v1"],
    ] {
        done(&server.git(arguments));
    }
}

#[test]
fn each_page_is_without_a_violation_and_works_by_keyboard_wide_and_narrow_light_and_dark() {
    let server = Server::start();
    let browser = Browser::start();
    browser.open(&server.url("/login"));
    look(&browser, "sign-in");
    browser.follow("Create an account");
    look(&browser, "sign-up");
    browser.fill("#username", "api");
    browser.fill("#email", "alice@example.com");
    browser.fill("#password", PASSWORD);
    browser.follow("Create account");
    look(&browser, "sign-up-refused");
    browser.fill("#username", "alice");
    browser.fill("#password", PASSWORD);
    browser.follow("Create account");
    for (path, name) in [
        ("/settings/tokens", "no-tokens"),
        ("/settings/repositories", "no-repositories"),
        ("/settings/activity?kind=tokens", "no-activity"),
        ("/settings/tokens/new", "new-token"),
    ] {
        browser.open(&server.url(path));
        look(&browser, name);
    }
    browser.fill("#name", "nightly build");
    browser.follow("Create token");
    look(&browser, "shown");

    let body = json!({ "username": "alice", "password": PASSWORD });
    let session = server.post("/api/auth/sign-in/username", "", body).json();
    let session = session["token"].as_str().expect("a token");
    let body = json!({ "username": "alice", "password": "wrong" });
    server.post("/api/auth/sign-in/username", "", body);
    for (name, days) in [("laptop", Some(3)), (&"x".repeat(100), None)] {
        let body = json!({
            "name": name,
            "scopes": ["repo:read", "repo:write", "repo:admin", "user:read", "user:write"],
            "expiresInDays": days,
        });
        server.post("/api/tokens", session, body);
    }
    let token = server.token(session, &["repo:read", "repo:write"]);
    let secret = token["token"].as_str().expect("a secret");
    let id = token["id"].as_str().expect("an id");
    server.sign_up("bob");
    for name in ["hello", "empty"] {
        server.repository(session, name, name == "empty");
    }
    push(&server, secret, "hello");
    let share = json!({ "username": "bob", "role": "write" });
    server.post("/api/repos/hello/collaborators", session, share);
    done(
        &server
            .home
            .run(WIT, &["user", "suspend", "alice", "--reason", "lost"], ""),
    );
    done(&server.home.run(WIT, &["user", "restore", "alice"], ""));
    let visitor = server.visit("alice");
    visitor.post(
        &format!("/settings/tokens/{id}/edit"),
        "name=ci&description=on+the+build+machine",
    );
    for (path, name) in [
        ("/settings/tokens".to_owned(), "tokens"),
        ("/settings/tokens?filter=zzz".to_owned(), "tokens-filtered"),
        (format!("/settings/tokens/{id}/edit"), "edit-token"),
        (format!("/settings/tokens/{id}/rotate"), "rotate"),
        (format!("/settings/tokens/{id}/revoke"), "revoke"),
        ("/settings/activity".to_owned(), "activity"),
        (format!("/settings/activity?token={id}"), "activity-token"),
        ("/settings/repositories".to_owned(), "repositories"),
        ("/settings/repositories/new".to_owned(), "new-repository"),
        (
            "/settings/repositories/hello".to_owned(),
            "repository-settings",
        ),
        ("/alice/hello".to_owned(), "repository"),
        ("/alice/empty".to_owned(), "empty-repository"),
        ("/device".to_owned(), "device"),
        ("/login/invitation/x".to_owned(), "invitation-gone"),
        ("/nowhere/at/all".to_owned(), "not-found"),
        ("/settings/account".to_owned(), "account"),
    ] {
        browser.open(&server.url(&path));
        look(&browser, name);
    }
    browser.fill("#current", "wrong horse");
    browser.fill("#password", "another horse");
    browser.fill("#repeated", "another horse");
    browser.follow("Change password");
    look(&browser, "account-refused");
    browser.open(&server.url("/settings/tokens/new"));
    browser.fill("#name", "x");
    browser.run("for (const box of document.querySelectorAll('[name=scope]')) box.checked = false");
    browser.follow("Create token");
    look(&browser, "new-token-refused");
}

#[test]
fn no_page_shows_a_button_that_needs_a_script_where_there_is_none() {
    let server = Server::start();
    let session = server.sign_up("alice");
    server.repository(&session, "hello", false);
    server.token(&session, &["repo:read"]);
    let browser = Browser::without_script();
    browser.open(&server.url("/settings/tokens"));
    browser.fill("#name", "alice");
    browser.fill("#password", PASSWORD);
    browser.follow("Sign in");
    for path in [
        "/settings/tokens",
        "/settings/tokens/new",
        "/settings/activity",
        "/settings/account",
        "/settings/repositories",
        "/settings/repositories/new",
        "/settings/repositories/hello",
        "/alice/hello",
        "/device",
    ] {
        browser.open(&server.url(path));
        let dead = browser.run(
            "return [...document.querySelectorAll('button[type=button]')]
                 .filter(one => one.checkVisibility()).map(one => one.outerHTML)",
        );
        assert_eq!(dead, json!([]), "{path}");
        assert!(!browser.text("h1").is_empty(), "{path}");
    }
    // The way back shows a new token no second time here either.
    browser.open(&server.url("/settings/tokens/new"));
    browser.fill("#name", "once");
    browser.follow("Create token");
    let secret = browser.value(".secret");
    browser.follow("Back to your tokens");
    browser.back();
    assert!(!browser.source().contains(&secret), "the history has it");
}
