//! The page of `wit up`: in a real browser, and word for word.

#![cfg(feature = "platform")]

use crate::support::browser::{Browser, ENTER, SPACE, TAB};
use crate::support::platform::{FORM, PASSWORD, Reply, Server};
use crate::support::tls::{Certificate, LOOPBACK};
use crate::support::{Home, WIT, text};
use serde_json::{Value, json};

/// Signs alice in, from wherever the server sends a stranger.
fn sign_in(server: &Server, browser: &Browser) {
    browser.open(&server.url("/"));
    browser.fill("#name", "alice");
    browser.fill("#password", PASSWORD);
    browser.follow("Sign in");
    assert_eq!(browser.text("h1"), "Tokens");
}

/// Makes a token and returns its secret.
fn make(browser: &Browser, name: &str) -> String {
    browser.follow("New token");
    browser.fill("#name", name);
    browser.follow("Create token");
    assert_eq!(browser.text("h1"), "Token created");
    browser.value(".secret")
}

/// Whether the API takes a token.
fn works(server: &Server, secret: &str) -> bool {
    match server.bearing("GET", "/api/v1/user", secret).status {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

/// Nothing was asked of anybody else, and nothing was refused by the page's own policy.
fn is_clean(server: &Server, browser: &Browser) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let own = server.url("/");
    let elsewhere = |request: &String| {
        let of_browser = request.starts_with("chrome:") || request.starts_with("data:");
        !of_browser && !request.starts_with(&own)
    };
    let requests = browser.requests();
    assert!(requests.contains(&own), "{requests:?}");
    let telling = |request: &&String| request.contains("wit_");
    assert_eq!(requests.iter().find(telling), None, "a token in a URL");
    let elsewhere: Vec<_> = requests.into_iter().filter(elsewhere).collect();
    assert_eq!(elsewhere, Vec::<String>::new());
}

#[test]
fn a_token_is_made_copied_rotated_and_revoked() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let browser = Browser::start();
    sign_in(&server, &browser);

    let account = server.bearing(
        "GET",
        "/api/v1/user",
        &server.secret(&session, &["user:read"]),
    );
    let id = account.json()["id"].as_str().expect("an id").to_owned();
    browser.follow("Account");
    let id = format!("export WIT_USER_ID={id}");
    assert!(browser.text("main").contains(&id));
    browser.follow("Tokens");
    let first = make(&browser, "laptop");
    assert!(works(&server, &first));
    browser.press("Copy token");
    assert_eq!(browser.text(".copy [role=status]"), "Copied.");
    browser.follow("Back to your tokens");
    assert!(!browser.source().contains(&first));
    browser.back();
    assert!(!browser.source().contains(&first), "the history has it");
    assert!(browser.text(".notice").contains("shown before"));
    browser.open(&server.url("/"));
    assert_eq!(browser.text(".tokens h2"), "laptop");
    browser.follow("New token");
    browser.paste("#name");
    assert_eq!(browser.value("#name"), first, "what was copied");

    browser.follow("Cancel");
    browser.follow("Rotate laptop");
    browser.follow("Rotate token");
    let second = browser.value(".secret");
    assert!(works(&server, &second) && !works(&server, &first));

    browser.follow("Back to your tokens");
    browser.follow("Revoke laptop");
    assert_eq!(browser.text("h1"), "Revoke this token?");
    assert!(
        works(&server, &second),
        "the request has not been answered yet"
    );
    browser.follow("Revoke token");
    assert_eq!(browser.text("h1"), "Tokens");
    assert!(browser.text("[role=status]").contains("revoked"));
    assert!(!works(&server, &second));

    browser.follow("Activity");
    let events = browser.text(".events");
    for event in ["Created laptop", "Rotated laptop", "Revoked laptop"] {
        assert!(events.contains(event), "{events}");
    }
    browser.follow("Sign out");
    browser.open(&server.url("/settings/tokens"));
    assert_eq!(browser.text("h1"), "Sign in");
    is_clean(&server, &browser);
}

#[test]
fn everything_works_without_script() {
    let server = Server::start();
    server.sign_up("alice");
    let browser = Browser::without_script();
    sign_in(&server, &browser);
    let first = make(&browser, "laptop");
    assert!(
        !browser.source().contains("<button type=\"button\">"),
        "a dead button"
    );
    browser.follow("Back to your tokens");
    browser.follow("Rotate laptop");
    browser.follow("Rotate token");
    let second = browser.value(".secret");
    assert!(works(&server, &second) && !works(&server, &first));
    browser.follow("Back to your tokens");
    browser.follow("Revoke laptop");
    browser.follow("Revoke token");
    assert!(!works(&server, &second));
    browser.follow("Sign out");
    assert_eq!(browser.text("h1"), "Sign in");
}

#[test]
fn everything_works_from_the_keyboard_and_each_page_says_where_one_is() {
    let server = Server::start();
    server.sign_up("alice");
    let browser = Browser::start();
    browser.open(&server.url("/"));
    assert_eq!(browser.focused(), "Username or email");
    browser.strike("alice");
    browser.tab_to("Password");
    browser.strike("wrong horse");
    browser.leave(|| browser.strike(ENTER));
    assert_eq!(
        browser.text("[role=alert]"),
        "Invalid username or password."
    );
    assert_eq!(browser.value("#name"), "alice");
    browser.tab_to("Password");
    browser.strike(PASSWORD);
    browser.leave(|| browser.strike(ENTER));

    browser.tab_to("Skip to content");
    browser.strike(ENTER);
    browser.strike(TAB);
    assert_eq!(browser.focused(), "New token");
    browser.leave(|| browser.strike(ENTER));
    assert_eq!(browser.focused(), "Name");
    browser.strike("nightly");
    browser.tab_to("repo:write Push to repositories");
    browser.strike(SPACE);
    browser.tab_to("Create token");
    browser.leave(|| browser.strike(ENTER));
    assert!(browser.focused_text().contains("not shown again"));
    let secret = browser.value(".secret");
    assert_eq!(browser.text(".scopes"), "repo:read");
    browser.tab_to("Token");
    browser.tab_to("Copy token");
    browser.tab_to("Back to your tokens");
    browser.leave(|| browser.strike(ENTER));
    browser.tab_to("Revoke nightly");
    browser.leave(|| browser.strike(ENTER));
    browser.tab_to("Revoke token");
    browser.leave(|| browser.strike(SPACE));
    assert!(browser.focused_text().contains("was revoked"));
    assert!(!works(&server, &secret));
    browser.tab_to("Sign out");
    browser.leave(|| browser.strike(ENTER));
    assert_eq!(browser.text("[role=status]"), "You are signed out.");
}

/// Finds text whose contrast is below 4.5 (WCAG 2.2, 1.4.3), fields and buttons without a name,
/// and a page that is wider than its window.
pub const FAULTS: &str = r#"
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const colour = text => text.match(/[\d.]+/g).map(Number);
const ground = element => {
  for (; element; element = element.parentElement) {
    const [r, g, b, a = 1] = colour(getComputedStyle(element).backgroundColor);
    if (a === 1) return [r, g, b];
  }
  return [255, 255, 255];
};
const faults = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
  const [one, other] = [light(colour(getComputedStyle(element).color)), light(ground(element))];
  const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (contrast < 4.5) faults.push(`${contrast.toFixed(2)}: ${walker.currentNode.textContent}`);
}
for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
  if (!field.labels.length && !field.ariaLabel) faults.push(`no label: ${field.name}`);
if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
if (document.documentElement.scrollWidth > innerWidth)
  faults.push(`${document.documentElement.scrollWidth} wide`);
return faults;
"#;

#[test]
fn each_page_can_be_read_in_light_and_dark_and_on_a_small_screen() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let body = json!({
        "name": format!("a rather long name {}", "x".repeat(80)),
        "scopes": ["repo:read", "repo:write", "repo:admin", "user:read", "packages:write"],
        "expiresInDays": 1,
    });
    assert_eq!(server.post("/api/tokens", &session, body).status, 201);
    let browser = Browser::start();
    let look = |name: &str| {
        for (scheme, width) in [
            ("light", 1200),
            ("dark", 1200),
            ("dark", 360),
            ("light", 320),
        ] {
            browser.look(scheme, width, 800);
            browser.picture(&format!("{name}-{scheme}-{width}.png"));
            assert_eq!(browser.run(FAULTS), json!([]), "{name}, {scheme}, {width}");
        }
    };
    browser.open(&server.url("/"));
    look("sign-in");
    sign_in(&server, &browser);
    browser.follow("New token");
    look("new");
    browser.fill("#name", "nightly build");
    browser.follow("Create token");
    browser.press("Copy token");
    look("created");
    browser.follow("Back to your tokens");
    look("tokens");
    browser.follow("Rotate nightly build");
    look("rotate");
    browser.follow("Keep it");
    browser.follow("Revoke nightly build");
    look("revoke");
    browser.follow("Revoke token");
    look("revoked");
    browser.follow("Activity");
    look("activity");
    browser.follow("Connect a device");
    look("device");
    let asked = json!({ "client_id": "wit", "device_name": "laptop" });
    let codes = server.post("/api/auth/device/code", "", asked).json();
    browser.fill("#code", codes["user_code"].as_str().expect("a code"));
    browser.follow("Continue");
    look("device-question");
}

#[test]
fn a_form_is_taken_only_from_a_page_of_the_same_sign_in() {
    let server = Server::start();
    server.sign_up("alice");
    let (visitor, other) = (server.visit("alice"), server.visit("alice"));
    let origin = server.url("");
    let good = ("Origin", origin.as_str());
    let path = "/settings/tokens/new";
    let body = |token: &str| format!("name=x&scope=repo:read&expires=30&form={token}");
    let right = body(&visitor.form);
    let cases: [(&str, u16, Reply); 8] = [
        ("no form token", 403, visitor.send(path, &[good], &body(""))),
        (
            "a wrong one",
            403,
            visitor.send(path, &[good], &body("AAAA")),
        ),
        ("another session's", 403, other.send(path, &[good], &right)),
        ("no origin", 403, visitor.send(path, &[], &right)),
        (
            "another site",
            403,
            visitor.send(path, &[("Origin", "http://evil.example")], &right),
        ),
        (
            "a sandbox",
            403,
            visitor.send(path, &[("Origin", "null")], &right),
        ),
        (
            "another site, as the browser tells",
            403,
            visitor.send(path, &[good, ("Sec-Fetch-Site", "same-site")], &right),
        ),
        ("the page's own", 303, visitor.send(path, &[good], &right)),
    ];
    for (case, status, reply) in cases {
        assert_eq!(reply.status, status, "{case}: {}", reply.body);
    }
    let list = server.bearing(
        "GET",
        "/api/tokens",
        visitor.cookie.split_once('=').expect("=").1,
    );
    assert_eq!(
        list.json().as_array().map(Vec::len),
        Some(1),
        "{}",
        list.body
    );
    let stranger = server.request("POST", path, &[FORM, good], &right);
    assert_eq!(stranger.status, 303);
    assert!(
        stranger.head.contains("location: /login"),
        "{}",
        stranger.head
    );
    let sign_in = server.request(
        "POST",
        "/login",
        &[FORM, ("Origin", "http://evil.example")],
        "",
    );
    assert_eq!(sign_in.status, 403);
}

#[test]
fn the_cookie_is_for_this_server_alone_and_no_script_can_read_it() {
    let server = Server::start();
    server.sign_up("alice");
    let plain = server.cookie("alice", &[]);
    assert!(plain.starts_with("wit_session="), "{plain}");
    assert!(
        plain.ends_with("; HttpOnly; SameSite=Lax; Path=/"),
        "{plain}"
    );
    let tls = server.cookie("alice", &[("X-Forwarded-Proto", "https")]);
    assert!(tls.starts_with("__Host-wit_session="), "{tls}");
    assert!(
        tls.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"),
        "{tls}"
    );
    let pair = plain.split(';').next().expect("a pair");
    let headers = [("Cookie", pair), ("X-Forwarded-Proto", "https")];
    let planted = server.request("GET", "/settings/tokens", &headers, "");
    assert_eq!(
        planted.status, 303,
        "a cookie that a neighbour could have set"
    );
}

#[test]
fn over_tls_the_cookie_is_held_for_tls_and_for_this_host() {
    let home = Home::new();
    Certificate::new(&home, "own", LOOPBACK);
    let up = [
        &["up", "--port", "0", "--json", "--user", "alice"][..],
        &[
            "--password-stdin",
            "--tls-cert",
            "own.pem",
            "--tls-key",
            "own.key",
        ],
    ];
    let up = home.run(WIT, &up.concat(), PASSWORD);
    assert!(up.status.success(), "{}", text(&up.stderr));
    let up: Value = serde_json::from_slice(&up.stdout).expect("JSON");
    let url = up["url"].as_str().expect("a URL").to_owned();
    let address = url.strip_prefix("https://").expect("https").to_owned();
    let server = Server { home, address };
    let browser = Browser::start();
    browser.open(&url);
    browser.fill("#name", "alice");
    browser.fill("#password", PASSWORD);
    browser.follow("Sign in");
    let cookie = &browser.cookies()[0];
    assert_eq!(cookie["name"], "__Host-wit_session");
    assert_eq!(
        (&cookie["secure"], &cookie["httpOnly"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(cookie["sameSite"], "Lax");
    assert!(make(&browser, "laptop").starts_with("wit_"));
    assert!(
        browser
            .text("main")
            .contains(&format!("https://{}", server.address))
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn each_page_forbids_what_it_does_not_need() {
    let server = Server::start();
    for path in ["/login", "/settings/tokens", "/settings/page.css"] {
        let head = server.request("GET", path, &[], "").head;
        for header in [
            "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'; \
             img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            "referrer-policy: same-origin",
            "x-content-type-options: nosniff",
            "cross-origin-opener-policy: same-origin",
        ] {
            assert!(head.contains(header), "{path}: {head}");
        }
        let kept = path.ends_with(".css");
        assert_ne!(head.contains("cache-control: no-store"), kept, "{head}");
    }
}

#[test]
fn a_form_tries_passwords_no_more_often_than_the_api() {
    let server = Server::start();
    server.sign_up("alice");
    let wrong = json!({ "username": "alice", "password": "wrong horse" });
    for _ in 0..5 {
        assert_eq!(
            server
                .post("/api/auth/sign-in/username", "", wrong.clone())
                .status,
            401
        );
    }
    let origin = server.url("");
    let headers = [FORM, ("Origin", origin.as_str())];
    let body = "name=alice&password=wrong+horse";
    let tried = || server.request("POST", "/login", &headers, body);
    let limited = (0..6).map(|_| tried()).find(|reply| reply.status != 403);
    let limited = limited.expect("an end");
    assert_eq!(limited.status, 429, "{}", limited.body);
    assert!(
        limited.head.contains("\r\nretry-after: "),
        "{}",
        limited.head
    );
    assert!(!limited.body.contains("wrong horse"));
}

#[test]
fn a_refused_form_comes_back_as_it_was_filled_in_and_only_as_text() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let visitor = server.visit("alice");
    let new = "/settings/tokens/new";
    let name = "%22%3E%3Cimg+src=x%3E";
    let refused = visitor.post(new, &format!("name={name}&expires=90"));
    assert_eq!(refused.status, 422);
    let says = |part: &str| assert!(refused.body.contains(part), "{part}: {}", refused.body);
    says("A token needs at least one scope.");
    says(r#"value="&quot;&gt;&lt;img src=x&gt;""#);
    says(r#"<option value="90" selected>"#);
    let cases = [
        ("expires=0", 422),
        ("expires=366", 422),
        ("expires=soon", 422),
        ("expires=", 422),
        ("expires=365", 303),
        ("expires=never", 303),
    ];
    for (expires, status) in cases {
        let body = format!("name={name}&scope=repo:read&{expires}");
        assert_eq!(visitor.post(new, &body).status, status, "{expires}");
    }
    let tokens = server.bearing("GET", "/api/tokens", &session).json();
    // Two of one millisecond are in no order.
    let mut tokens = tokens.as_array().expect("a list").iter();
    let endless = tokens.find(|token| token["expiresAt"] == Value::Null);
    assert_eq!(
        endless.expect("one without an end")["scopes"],
        json!(["repo:read"])
    );
    for path in ["/settings/tokens", "/settings/activity"] {
        let page = server.request("GET", path, &[("Cookie", &visitor.cookie)], "");
        assert!(page.body.contains("&lt;img src=x&gt;"), "{}", page.body);
        assert!(!page.body.contains("<img"), "{}", page.body);
    }
}

#[test]
fn a_form_that_is_sent_again_makes_no_second_token() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let browser = Browser::start();
    sign_in(&server, &browser);
    let secret = make(&browser, "once");
    for again in [Browser::reload, Browser::back] {
        again(&browser);
        assert!(!browser.source().contains(&secret), "shown twice");
    }
    let tokens = server.bearing("GET", "/api/tokens", &session).json();
    assert_eq!(tokens.as_array().map(Vec::len), Some(1));
    assert!(works(&server, &secret));
}

#[test]
fn another_accounts_token_can_be_neither_seen_rotated_nor_revoked() {
    let server = Server::start();
    server.sign_up("alice");
    let bob = server.sign_up("bob");
    let theirs = server.token(&bob, &["repo:read"]);
    let id = theirs["id"].as_str().expect("an id");
    let visitor = server.visit("alice");
    for path in ["rotate", "revoke"] {
        let path = format!("/settings/tokens/{id}/{path}");
        let reply = server.request("GET", &path, &[("Cookie", &visitor.cookie)], "");
        assert_eq!(reply.status, 404, "{}", reply.body);
        assert!(!reply.body.contains("test"), "its name");
        assert_eq!(visitor.post(&path, "expires=30").status, 404);
    }
    assert!(works(
        &server,
        theirs["token"].as_str().expect("the secret")
    ));
}

#[test]
fn a_token_that_was_replaced_is_marked_while_it_still_works() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let create = |name: &str, days: Option<i64>| {
        let body = json!({ "name": name, "scopes": ["repo:read"], "expiresInDays": days });
        server.post("/api/tokens", &session, body).json()
    };
    let shorten = |token: &Value| {
        let soon = time::OffsetDateTime::now_utc() + time::Duration::minutes(90);
        let soon = soon
            .format(&time::format_description::well_known::Rfc3339)
            .expect("a time");
        let authorization = format!("Bearer {session}");
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", authorization.as_str()),
        ];
        let path = format!("/api/tokens/{}", token["id"].as_str().expect("an id"));
        let body = json!({ "expiresAt": soon }).to_string();
        let reply = server.request("PATCH", &path, &headers, &body);
        assert_eq!(reply.status, 200, "{}", reply.body);
    };
    // As `wit token rotate --grace 90m` does it.
    shorten(&create("laptop", Some(30)));
    create("laptop", Some(30));
    // One that only ends soon, and one that never does.
    shorten(&create("other", None));
    create("wide", None);
    let visitor = server.visit("alice");
    let page = server.request(
        "GET",
        "/settings/tokens",
        &[("Cookie", &visitor.cookie)],
        "",
    );
    assert_eq!(
        page.body.matches("Rotated, ends in ").count(),
        1,
        "{}",
        page.body
    );
    assert_eq!(page.body.matches("Expires in ").count(), 1, "{}", page.body);
    assert_eq!(
        page.body.matches("Expires: Never").count(),
        1,
        "{}",
        page.body
    );
}

#[test]
fn an_account_is_created_on_the_page_and_leads_to_what_was_wanted() {
    let server = Server::start();
    for (browser, name) in [
        (Browser::start(), "ada"),
        (Browser::without_script(), "bob"),
    ] {
        browser.open(&server.url("/"));
        browser.open(&server.url("/settings/activity"));
        assert_eq!(browser.text("h1"), "Sign in");
        browser.follow("Create an account");
        browser.fill("#username", name);
        browser.fill("#email", &format!("{name}@example.com"));
        browser.fill("#password", PASSWORD);
        browser.follow("Create account");
        assert_eq!(browser.text("h1"), "Activity");
        assert!(browser.text(".account").contains(name));
        is_clean(&server, &browser);
        // The same name once more keeps what was typed.
        browser.follow("Sign out");
        browser.open(&server.url("/login/sign-up"));
        browser.fill("#username", name);
        browser.fill("#email", "other@example.com");
        browser.fill("#password", PASSWORD);
        browser.follow("Create account");
        assert!(browser.text("[role=alert]").contains("already"));
        assert_eq!(browser.value("#email"), "other@example.com");
        assert_eq!(browser.value("#password"), "");
    }
}

#[test]
fn a_server_without_sign_up_offers_none_on_its_page() {
    let server = Server::start_with(Home::new(), &["--no-sign-up"]);
    let page = server.request("GET", "/login", &[], "");
    assert!(!page.body.contains("/login/sign-up"), "{}", page.body);
    let origin = server.url("");
    let body = "username=ada&email=ada%40example.com&password=correct+horse";
    for reply in [
        server.request("GET", "/login/sign-up", &[], ""),
        server.request("POST", "/login/sign-up", &[FORM, ("Origin", &origin)], body),
    ] {
        assert_eq!(reply.status, 403, "{}", reply.body);
    }
    // Nor does a page of another site create one elsewhere.
    let server = Server::start();
    let evil = ("Origin", "http://evil.example");
    let reply = server.request("POST", "/login/sign-up", &[FORM, evil], body);
    assert_eq!(reply.status, 403, "{}", reply.body);
}

#[test]
fn a_rotation_with_a_grace_leaves_the_old_token_working_for_that_long() {
    let server = Server::start();
    server.sign_up("alice");
    let browser = Browser::start();
    sign_in(&server, &browser);
    let first = make(&browser, "laptop");
    browser.follow("Back to your tokens");
    browser.follow("Rotate laptop");
    browser.run("document.querySelector('#grace').value = '3600'");
    browser.follow("Rotate token");
    let second = browser.value(".secret");
    assert!(works(&server, &second) && works(&server, &first));
    browser.follow("Back to your tokens");
    let list = browser.text(".tokens");
    assert!(list.contains("Rotated, ends in "), "{list}");

    // The form once more, as a reload sends it, creates no third.
    let visitor = server.visit("alice");
    let rows = server.request(
        "GET",
        "/settings/tokens",
        &[("Cookie", &visitor.cookie)],
        "",
    );
    let (_, rest) = rows
        .body
        .rsplit_once("/rotate\"")
        .map_or(("", ""), |(before, _)| {
            before.rsplit_once("/settings/tokens/").expect("an id")
        });
    let id = uuid::Uuid::new_v4();
    let path = format!("/settings/tokens/{rest}/rotate");
    let body = format!("grace=86400&expires=30&id={id}");
    let first = visitor.post(&path, &body);
    assert!(first.head.contains("/shown?done=rotated"), "{}", first.head);
    let second = visitor.post(&path, &body);
    assert!(second.head.contains("done=made-before"), "{}", second.head);
    is_clean(&server, &browser);
}

#[test]
fn an_expiry_may_be_any_date_of_the_next_year() {
    let server = Server::start();
    server.sign_up("alice");
    let visitor = server.visit("alice");
    let day = |days| {
        let day = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        day.date().to_string()
    };
    let create = |until: &str| {
        let body = format!("name=x&scope=repo:read&expires=never&until={until}");
        visitor.post("/settings/tokens/new", &body)
    };
    assert_eq!(create(&day(45)).status, 303);
    let session = visitor.cookie.split_once('=').expect("=").1;
    let list = server.bearing("GET", "/api/tokens", session).json();
    assert!(
        list[0]["expiresAt"]
            .as_str()
            .expect("an end")
            .starts_with(&day(45))
    );
    for bad in [day(-1), day(0), day(400), "soon".to_owned()] {
        let reply = create(&bad);
        assert_eq!(reply.status, 422, "{bad}: {}", reply.body);
        assert!(
            reply.body.contains(&format!("value=\"{bad}\"")),
            "{}",
            reply.body
        );
    }
}

#[test]
fn many_tokens_are_filtered_by_name_scope_prefix_or_id() {
    let server = Server::start();
    let session = server.sign_up("alice");
    let mut last = Value::Null;
    for name in ["laptop", "desktop", "ci one", "ci two", "phone", "server"] {
        let scope = if name == "phone" {
            "user:read"
        } else {
            "repo:read"
        };
        let body = json!({ "name": name, "scopes": [scope], "expiresInDays": 30 });
        last = server.post("/api/tokens", &session, body).json();
    }
    let visitor = server.visit("alice");
    let shown = |filter: &str| {
        let path = format!("/settings/tokens?filter={filter}");
        let page = server
            .request("GET", &path, &[("Cookie", &visitor.cookie)], "")
            .body;
        page.matches("<li class=\"card\">").count()
    };
    let text = |key: &str| last[key].as_str().expect("text").to_owned();
    assert_eq!(shown(""), 6);
    assert_eq!(shown("top"), 2);
    assert_eq!(shown("CI+two"), 1);
    assert_eq!(shown("user:read"), 1);
    assert_eq!(shown(&text("id")), 1);
    assert_eq!(shown(&text("tokenPrefix")), 1);
    assert_eq!(shown("%3Cb%3E"), 0);
    let new = server.request(
        "GET",
        "/settings/tokens/new",
        &[("Cookie", &visitor.cookie)],
        "",
    );
    assert!(!new.body.contains("packages:"), "{}", new.body);
}
