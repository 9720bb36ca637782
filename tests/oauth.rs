//! Signing in to a real OAuth 2 server, and what git is given then.

#![cfg(all(unix, feature = "platform"))]

use std::process::Stdio;

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::forge::{Forge, Kind};
use crate::support::oidc::{Login, Provider};
use crate::support::platform::request;
use crate::support::server::{Server, answer};
use crate::support::stored::{change, expire_in, field, get, item, put_opener, site};
use crate::support::{HELPER, Home, WIT, done, kill_within, refused, text, until};
use wit::expiry::{Expiry, UnixTime};

/// The access token that git is given.
fn token(home: &Home, url: &str) -> Option<String> {
    field(&text(&get(home, url, "").stdout), "password")
}

#[test]
fn a_code_that_is_confirmed_elsewhere_signs_in_and_git_clones() {
    let provider = Provider::start(&json!({}));
    let home = provider.signed_in_home();
    let answer = done(&get(&home, &provider.git, ""));
    assert_eq!(
        field(&answer, "username").as_deref(),
        Some("ada"),
        "{answer}"
    );
    let expiry = field(&answer, "password_expiry_utc").expect("an expiry");
    let left = expiry.parse::<i64>().expect("a number") - UnixTime::now().0;
    assert!((3500..=3600).contains(&left), "{left}");
    assert!(!answer.contains("refresh"), "{answer}");
    let remote = format!("{}/work.git", provider.git);
    let helper = format!("credential.helper={HELPER}");
    done(&home.run("git", &["-c", &helper, "clone", "-q", &remote, "work"], ""));
    // What git stores after that changes nothing: the sign-in stays the only entry.
    assert_eq!(item(&home, &provider.git).credentials.0.len(), 1);
    assert_eq!(provider.seen("refreshed"), 0);
}

#[test]
fn a_code_that_is_denied_or_expires_is_one_line() {
    let login = |provider: &Provider, home: &Home| {
        provider.configure(home);
        let login = ["login", &provider.git, "--host-type", "oauth", "--device"];
        Login::start(home, &login)
    };
    let home = Home::new();
    let provider = Provider::start(&json!({}));
    let mut waiting = login(&provider, &home);
    provider.deny(&waiting.code());
    let (code, said) = waiting.ends();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("error: the sign-in was denied\n"), "{said}");
    // A code of its own server: one that expires this soon may do so before it is denied.
    let provider = Provider::start(&json!({ "deviceCode": 2 }));
    let (code, said) = login(&provider, &home).ends();
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("error: the sign-in was not confirmed in time\n"),
        "{said}"
    );
}

#[test]
fn a_code_that_a_failing_server_could_not_confirm_says_how_it_failed() {
    for (status, why) in [
        (500, "the server failed with status 500"),
        (429, "too many requests"),
    ] {
        let server = Server::new(move |first, _| match first {
            "POST /device HTTP/1.1" => answer(
                200,
                r#"{"device_code":"d","user_code":"AB","expires_in":3,"interval":1,
                    "verification_uri":"https://host.example/device"}"#,
            ),
            "POST /token HTTP/1.1" => answer(status, "{}"),
            _ => answer(404, "{}"),
        });
        let home = Home::new();
        for (key, value) in [
            ("oauthClientId", "public".to_owned()),
            ("oauthTokenURL", format!("{}/token", server.url)),
            ("oauthDeviceAuthURL", format!("{}/device", server.url)),
        ] {
            let key = format!("credential.{}.{key}", server.url);
            done(&home.run("git", &["config", "--global", &key, &value], ""));
        }
        let words = ["login", &server.url, "--host-type", "oauth", "--device"];
        let said = refused(&home.run(WIT, &words, ""), 4);
        assert!(said.contains("not confirmed in time"), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_login_by_browser_ends_where_nobody_can_bring_the_address() {
    let provider = Provider::start(&json!({}));
    let gitea = Forge::start(Kind::Gitea);
    for (url, client, hint) in [
        (&provider.issuer, "public", "--device, or --token-stdin"),
        (&gitea.url, "built-in", "--token-stdin"),
    ] {
        let words = ["login", url, "--client-id", client, "--no-browser"];
        let said = refused(&Home::new().run(WIT, &words, ""), 4);
        assert!(said.contains("stdin has ended"), "{said}");
        let hint = format!("hint: wit login {url} {hint}\n");
        assert!(said.contains(&hint), "{said}");
    }
}

#[test]
fn a_login_by_browser_waits_for_the_browser_of_this_machine_without_stdin() {
    let provider = Provider::start(&json!({}));
    let mut home = Home::new();
    home.set("DISPLAY", ":0");
    let words = [
        "login",
        &provider.issuer,
        "--client-id",
        "public",
        "--no-browser",
    ];
    let mut login = Login::start(&home, &words);
    login.closes_stdin();
    let sent_to = provider.person_opens(&login.address());
    let (address, path) = sent_to
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .expect("an address");
    let reply = request(address, "GET", &format!("/{path}"), &[], "");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let (code, said) = login.ends();
    assert_eq!(code, Some(0), "{said}");
}

/// The address that was to be opened, once.
fn opened(home: &Home) -> String {
    let opened = home.path().join("opened");
    until("the browser is opened", || opened.exists());
    let address = std::fs::read_to_string(&opened).expect("an address");
    std::fs::remove_file(opened).expect("removed");
    address.trim().to_owned()
}

#[test]
fn a_browser_signs_in_and_comes_back_to_this_machine() {
    let provider = Provider::start(&json!({}));
    let mut home = Home::new();
    provider.configure(&home);
    put_opener(&mut home);
    let login = Login::start(&home, &["login", &provider.git, "--host-type", "oauth"]);
    let address = opened(&home);
    assert!(address.contains("code_challenge_method=S256"), "{address}");
    let browser = Browser::start();
    browser.open(&address);
    browser.fill("[name=login]", "ada");
    browser.fill("[name=password]", "x");
    browser.follow("Sign-in");
    browser.follow("Continue");
    assert_eq!(browser.text("p"), "Done. You can close this page.");
    let (code, said) = login.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("as ada. Access is renewed automatically."),
        "{said}"
    );
    done(&provider.ls_remote(&home).output().expect("git runs"));
}

#[test]
fn the_address_that_a_browser_elsewhere_was_sent_to_is_pasted() {
    let provider = Provider::start(&json!({}));
    let home = Home::new();
    // The server describes itself: a client is all that it takes.
    let arguments = [
        "login",
        &provider.issuer,
        "--client-id",
        "public",
        "--no-browser",
    ];
    let mut login = Login::start(&home, &arguments);
    let sent_to = provider.person_opens(&login.address());
    assert!(
        sent_to.starts_with("http://127.0.0.1:") && sent_to.contains("iss="),
        "{sent_to}"
    );
    login.types(&sent_to);
    let (code, said) = login.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("is an OAuth 2 server"), "{said}");
    assert!(token(&home, &provider.issuer).is_some_and(|token| provider.takes(&token)));

    for (change, why) in [
        (("&state=", "&state=x"), "its state does not match"),
        (("&iss=http%3A", "&iss=https%3A"), "iss does not match"),
        (
            ("?code=", "?c="),
            "not the address that the browser was sent to",
        ),
    ] {
        let mut login = Login::start(&home, &arguments);
        let sent_to = provider.person_opens(&login.address());
        login.types(&sent_to.replace(change.0, change.1));
        let (code, said) = login.ends();
        assert_eq!(code, Some(4), "{said}");
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert!(lines.len() == 1 && lines[0].contains(why), "{said}");
    }
}

#[test]
fn configurations_of_other_helpers_are_taken_as_they_are() {
    let provider = Provider::start(&json!({}));
    // git-credential-oauth, and Git Credential Manager with a secret in a header.
    let issuer = &provider.issuer;
    let oauth = [
        ("oauthClientId", "post".to_owned()),
        ("oauthClientSecret", "of-post".to_owned()),
        ("oauthScopes", "openid offline_access".to_owned()),
        ("oauthAuthURL", format!("{issuer}/auth")),
        ("oauthTokenURL", format!("{issuer}/token")),
    ];
    let manager = [
        ("provider", "generic".to_owned()),
        ("oauthClientId", "basic".to_owned()),
        ("oauthClientSecret", "of-basic".to_owned()),
        ("oauthRedirectUri", "http://localhost/back".to_owned()),
        ("oauthAuthorizeEndpoint", format!("{issuer}/auth")),
        ("oauthTokenEndpoint", format!("{issuer}/token")),
        ("oauthScopes", "openid offline_access".to_owned()),
        ("oauthUseClientAuthHeader", "true".to_owned()),
        ("oauthDefaultUserName", "OAUTH_USER".to_owned()),
    ];
    for (keys, username) in [(&oauth[..], "ada"), (&manager[..], "OAUTH_USER")] {
        let home = Home::new();
        for (key, value) in keys {
            provider.git_config(&home, key, value);
        }
        let mut login = Login::start(&home, &["login", &provider.git, "--no-browser"]);
        let sent_to = provider.person_opens(&login.address());
        login.types(&sent_to);
        let (code, said) = login.ends();
        assert_eq!(code, Some(0), "{said}");
        expire_in(&home, &provider.git, -1);
        let answer = done(&get(&home, &provider.git, ""));
        assert_eq!(
            field(&answer, "username").as_deref(),
            Some(username),
            "{answer}"
        );
        done(&provider.ls_remote(&home).output().expect("git runs"));
    }
    assert_eq!(provider.seen("refreshed"), 2);
}

#[test]
fn a_token_is_refreshed_before_git_gets_it_and_one_of_the_past_is_not_stored_again() {
    let provider = Provider::start(&json!({}));
    let home = provider.signed_in_home();
    let old = token(&home, &provider.git).expect("a token");
    assert_eq!(provider.seen("refreshed"), 0);
    expire_in(&home, &provider.git, 115);
    let new = token(&home, &provider.git).expect("a token");
    assert_ne!(old, new);
    assert_eq!(provider.seen("refreshed"), 1);
    assert!(provider.takes(&new));
    // A git that was given the old one stores it now, as an older git says it.
    let site = site(&provider.git);
    let host = site.host();
    let stores = format!("protocol=http\nhost={host}\nusername=ada\npassword={old}\n\n");
    done(&home.run(HELPER, &["store"], &stores));
    assert_eq!(token(&home, &provider.git).as_ref(), Some(&new));
    // And one that was refused is not what is there now.
    done(&home.run(HELPER, &["erase"], &stores));
    assert_eq!(token(&home, &provider.git).as_ref(), Some(&new));
    assert_eq!(provider.seen("refreshed"), 1);
    // The person who has it forgotten has it forgotten whole.
    let request = format!("protocol=http\nhost={host}\n\n");
    done(&home.run(HELPER, &["erase"], &request));
    assert_eq!(token(&home, &provider.git), None);
}

#[test]
fn sixty_four_gits_at_once_refresh_once() {
    let provider = Provider::start(&json!({}));
    let home = provider.signed_in_home();
    expire_in(&home, &provider.git, -1);
    let gits: Vec<_> = (0..64)
        .map(|_| {
            let mut git = provider.ls_remote(&home);
            git.stdout(Stdio::piped()).stderr(Stdio::piped());
            git.spawn().expect("git runs")
        })
        .collect();
    for git in gits {
        let output = git.wait_with_output().expect("an end");
        assert!(done(&output).contains("refs/heads/main"));
    }
    assert_eq!(provider.seen("refreshed"), 1);
    assert_eq!(provider.seen("refused"), 0);
}

#[test]
fn a_server_that_is_away_is_waited_for_once() {
    let provider = Provider::start(&json!({}));
    let mut home = provider.signed_in_home();
    home.set("WIT_HTTP_TIMEOUT", "6");
    // The token that has its last minute is given all the same.
    expire_in(&home, &provider.git, 60);
    provider.set("away", 1);
    let output = get(&home, &provider.git, "");
    assert!(field(&done(&output), "password").is_some());
    let asked = provider.seen("tokenRequests");
    expire_in(&home, &provider.git, -1);
    for _ in 0..3 {
        let output = get(&home, &provider.git, "");
        let said = text(&output.stderr);
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
        assert!(
            said.contains("was not renewed: ") && said.lines().count() == 1,
            "{said}"
        );
    }
    assert_eq!(provider.seen("tokenRequests"), asked);
    // It is back, and the pause over.
    provider.set("away", 0);
    let renewals = home.path().join(".local/state/wit/renewals");
    until("the refresh that hung gives up", || {
        let lock = format!(
            "{}.rotation.lock",
            wit::store::lock::name_of(&site(&provider.git))
        );
        let lock = home.path().join(".local/state/wit/locks").join(lock);
        std::fs::File::open(lock).is_ok_and(|file| file.try_lock().is_ok())
    });
    for file in std::fs::read_dir(renewals).expect("a directory").flatten() {
        std::fs::remove_file(file.path()).expect("removed");
    }
    assert!(token(&home, &provider.git).is_some_and(|token| provider.takes(&token)));
}

#[test]
fn a_logout_leaves_nothing_at_the_server() {
    let provider = Provider::start(&json!({}));
    let home = Home::new();
    let login = [
        "login",
        &provider.issuer,
        "--client-id",
        "public",
        "--device",
        "--no-browser",
    ];
    let mut waiting = Login::start(&home, &login);
    provider.approve(&waiting.code(), "ada");
    let (code, said) = waiting.ends();
    assert_eq!(code, Some(0), "{said}");
    let token = token(&home, &provider.issuer).expect("a token");
    assert!(provider.takes(&token));
    let said = done(&home.run(WIT, &["logout", &provider.issuer], ""));
    assert!(said.contains("ended there"), "{said}");
    assert!(!provider.takes(&token));
    refused(&home.run(WIT, &["logout", &provider.issuer], ""), 4);
}

#[test]
fn a_second_sign_in_ends_the_first_at_the_server_and_no_other_accounts() {
    let provider = Provider::start(&json!({}));
    let home = provider.signed_in_home();
    let first = token(&home, &provider.git).expect("a token");
    provider.sign_in(&home, "grace");
    let other = token(&home, &provider.git).expect("a token");
    provider.sign_in(&home, "ada");
    let second = token(&home, &provider.git).expect("a token");
    assert!(!provider.takes(&first), "it lives on");
    assert!(provider.takes(&other) && provider.takes(&second));
    done(&provider.ls_remote(&home).output().expect("run"));
    // The one that is left is refreshed as ever.
    expire_in(&home, &provider.git, -1);
    assert!(provider.takes(&token(&home, &provider.git).expect("a token")));
    assert_eq!(item(&home, &provider.git).credentials.0.len(), 2);
}

#[test]
fn a_refreshed_entry_stays_its_accounts() {
    let provider = Provider::start(&json!({}));
    let home = provider.signed_in_home();
    provider.sign_in(&home, "grace");
    let ask = |name: &str| done(&get(&home, &provider.git, &format!("username={name}\n")));
    let before = (ask("ada"), ask("grace"));
    expire_in(&home, &provider.git, -1);
    let after = (ask("ada"), ask("grace"));
    for (answer, old, name) in [(&after.0, &before.0, "ada"), (&after.1, &before.1, "grace")] {
        assert_eq!(field(answer, "username").as_deref(), Some(name));
        assert_ne!(field(answer, "password"), field(old, "password"));
    }
    assert_eq!(item(&home, &provider.git).credentials.0.len(), 2);
    assert_eq!(provider.seen("refreshed"), 2);
}

#[test]
fn git_has_a_person_sign_in_again_and_a_refusal_is_remembered() {
    let provider = Provider::start(&json!({}));
    let mut home = provider.signed_in_home();
    put_opener(&mut home);
    let end = |home: &Home| {
        change(home, &provider.git, |entry| {
            entry.expiry = Some(Expiry(UnixTime(1)));
            entry.sign_in.as_mut().expect("a sign-in").ended = true;
        });
    };
    let git = |home: &Home| {
        let mut git = provider.ls_remote(home);
        git.env("GIT_TERMINAL_PROMPT", "1")
            .env("GIT_ASKPASS", "false");
        git.stdout(Stdio::null()).stderr(Stdio::null());
        git.spawn().expect("git runs")
    };
    let browser_goes_to = |address: &str| {
        let rest = address.strip_prefix("http://").expect("this machine");
        let (host, path) = rest.split_once('/').expect("a path");
        request(host, "GET", &format!("/{path}"), &[], "").status
    };
    end(&home);
    let mut waiting = git(&home);
    let sent_to = provider.person_opens(&opened(&home));
    assert_eq!(browser_goes_to(&sent_to), 200);
    assert!(waiting.wait().expect("an end").success());

    end(&home);
    let mut waiting = git(&home);
    let sent_to = provider.person_opens(&opened(&home));
    assert_eq!(
        browser_goes_to(&sent_to.replace("code=", "error=access_denied&x=")),
        400
    );
    assert!(!waiting.wait().expect("an end").success());
    // It was refused a moment ago: nothing is opened.
    assert!(!git(&home).wait().expect("an end").success());
    assert!(!home.path().join("opened").exists());

    // Neither where git is told to ask nothing, nor where that is configured.
    let refused = home.path().join(".local/state/wit/renewals");
    std::fs::remove_dir_all(refused).expect("removed");
    let mut silent = provider.ls_remote(&home);
    assert!(
        !silent.output().expect("git runs").status.success(),
        "GIT_TERMINAL_PROMPT=0"
    );
    let file = home.path().join(".config/wit/config.json");
    let config = std::fs::read_to_string(&file).expect("a config");
    std::fs::write(&file, config.replacen('{', r#"{"sign_in": "never","#, 1)).expect("written");
    assert!(!git(&home).wait().expect("an end").success());
    assert!(!home.path().join("opened").exists());
}

#[test]
fn a_refresh_is_killed_at_any_moment_and_at_most_its_own_sign_in_is_lost() {
    // More of them where somebody asks for that.
    let rounds = std::env::var("WIT_TEST_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let rounds: usize = rounds.unwrap_or(20);
    // The answer takes its time, or hardly a kill would fall between it and the write.
    let delay = std::env::var("WIT_TEST_DELAY")
        .ok()
        .and_then(|text| text.parse().ok());
    let delay: u64 = delay.unwrap_or(40);
    let provider = Provider::start(&json!({ "delay": delay }));
    let home = provider.signed_in_home();
    let site = site(&provider.git).to_string();
    let renew = ["token", "renew", "--site", &site];
    expire_in(&home, &provider.git, -1);
    let begun = std::time::Instant::now();
    done(&home.run(WIT, &renew, ""));
    let mut usual = begun.elapsed();
    let mut random = fastrand::Rng::with_seed(1);
    let (mut killed, mut lost) = (0, 0);
    for round in 0..rounds {
        expire_in(&home, &provider.git, -1);
        let reused = provider.seen("reused");
        let begun = std::time::Instant::now();
        let mut process = (home.command(WIT).args(renew))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let was_killed = kill_within(&mut process, usual, &mut random);
        match was_killed {
            false => usual = (usual * 3 + begun.elapsed()) / 4,
            true => killed += 1,
        }
        // It can be read, whatever happened.
        assert_eq!(
            item(&home, &provider.git).credentials.0.len(),
            1,
            "round {round}"
        );
        let works = token(&home, &provider.git).is_some_and(|token| provider.takes(&token));
        let reuses = provider.seen("reused") - reused;
        if works {
            assert_eq!(reuses, 0, "round {round}: a refresh token was used twice");
            continue;
        }
        // The answer was on its way: the one loss that one-time refresh tokens leave.
        assert_eq!(reuses, 1, "round {round}: it was lost without need");
        assert!(was_killed, "round {round}: nothing was killed");
        lost += 1;
        provider.sign_in(&home, "ada");
    }
    println!("{rounds} refreshes: {killed} killed before their end, {lost} sign-ins lost");
    assert!(
        killed > rounds / 4,
        "only {killed} were killed before their end"
    );
}
