//! Signing in to GitHub, GitLab, Gitea and Forgejo, as far as stand-ins show it: each refuses what
//! the real one refuses.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::process::Output;

use serde_json::Value;

use crate::support::forge::{CLIENT, CLIENT_SECRET, Forge, Kind, ONE_TIME_CODE, PASSWORD, Sort};
use crate::support::http_proxy::HttpProxy;
use crate::support::oidc::Login;
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::{Server, answer};
use crate::support::stored::get;
use crate::support::terminal::Terminal;
use crate::support::tls::Certificate;
use crate::support::{HELPER, Home, WIT, done, refused, text};

/// `git ls-remote` of the stand-in, with this helper alone.
fn ls_remote(home: &Home, url: &str) -> Output {
    let helper = format!("credential.helper={HELPER}");
    let repository = format!("{url}/ada/work.git");
    let arguments = [
        "-c",
        "credential.helper=",
        "-c",
        &helper,
        "ls-remote",
        &repository,
    ];
    home.run("git", &arguments, "")
}

fn status(home: &Home) -> Value {
    let output = home.run(WIT, &["status", "--json"], "");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Signs in by the device flow, with a person who says yes.
fn by_device(home: &Home, forge: &Forge, more: &[&str]) -> String {
    let words = [
        "login",
        &forge.url,
        "--client-id",
        CLIENT,
        "--device",
        "--no-browser",
    ];
    let mut login = Login::start(home, &[&words[..], more].concat());
    forge.person_says(&login.code(), true);
    let (code, said) = login.ends();
    assert_eq!(code, Some(0), "{said}");
    said
}

/// Signs in by a code, with a browser that can't reach this machine.
fn by_pasted_address(home: &Home, forge: &Forge, client: &str) -> String {
    let words = ["login", &forge.url, "--client-id", client, "--no-browser"];
    let mut login = Login::start(home, &words);
    let sent_to = forge.person_opens(&login.address());
    login.types(&sent_to);
    let (code, said) = login.ends();
    assert_eq!(code, Some(0), "{said}");
    said
}

#[test]
fn each_server_is_recognized_and_nothing_secret_is_sent() {
    for (kind, title) in [
        (Kind::Github, "GitHub"),
        (Kind::Gitlab, "GitLab"),
        (Kind::Gitea, "Gitea 1.26.4"),
        (Kind::Forgejo, "Forgejo 16.0.0"),
    ] {
        let forge = Forge::start(kind);
        let home = Home::new();
        let said = refused(&home.run(WIT, &["login", &forge.url], ""), 2);
        assert!(
            said.contains(&format!("{} is {title}", forge.url)),
            "{said}"
        );
        assert!(
            said.contains("no OAuth client") && said.contains("http://127.0.0.1/"),
            "{said}"
        );
        for seen in forge.server.seen() {
            let seen = seen.to_lowercase();
            assert!(
                seen.starts_with("get ") && !seen.contains("\nauthorization:"),
                "{seen}"
            );
        }
    }
}

#[test]
fn a_server_that_is_none_of_them_is_given_no_token() {
    let server = Server::reading(|_, _| answer(200, "<html>"));
    let home = Home::new();
    for way in [&["--token-stdin"][..], &["--device"], &[]] {
        let login = [&["login", &server.url][..], way].concat();
        let said = refused(&home.run(WIT, &login, "t0k3n-of-ada\n"), 2);
        assert!(
            said.contains("is not a git server that wit recognizes"),
            "{said}"
        );
        assert!(said.contains("--host-type TYPE"), "{said}");
    }
    let sent = server.seen().concat();
    assert!(!sent.contains("t0k3n"), "{sent}");
}

#[test]
fn a_token_is_stored_only_where_the_host_says_whose_it_is() {
    for body in ["[]", "\"x\"", "{}", r#"{"login":7}"#] {
        for kind in ["gitea", "forgejo", "github"] {
            let server = Server::new(move |_, _| answer(200, body));
            let home = Home::new();
            let login = ["login", &server.url, "--host-type", kind, "--token-stdin"];
            refused(&home.run(WIT, &login, "t0k3n-of-ada\n"), 1);
            assert_eq!(
                text(&get(&home, &server.url, "").stdout),
                "",
                "{kind}: {body}"
            );
        }
    }
}

#[test]
fn github_signs_in_by_a_code_and_refreshes() {
    let forge = Forge::start(Kind::Github);
    let home = Home::new();
    let said = by_device(&home, &forge, &[]);
    assert!(
        said.contains("Logged in to") && said.contains("as ada"),
        "{said}"
    );
    done(&ls_remote(&home, &forge.url));
    let answer = done(&get(&home, &forge.url, "capability[]=authtype\n"));
    assert!(
        answer.contains("username=ada") && answer.contains("ephemeral=1"),
        "{answer}"
    );
    // The page's device code has scopes that are none of GitHub's dropped.
    let scopes = &status(&home)["servers"][0]["signIns"][0]["scopes"];
    assert_eq!(scopes[0], "repo");

    // 401 for a token that was revoked early: the next git refreshes it.
    forge.with(|state| {
        let tokens = state.tokens.values_mut();
        tokens
            .filter(|token| token.sort == Sort::Access)
            .for_each(|token| token.alive = false);
    });
    ls_remote(&home, &forge.url);
    done(&ls_remote(&home, &forge.url));
    assert_eq!(forge.with(|state| state.refreshes), 1);
}

#[test]
fn github_takes_a_code_with_the_clients_secret_and_an_enterprise_server_ends_the_pair_by_it() {
    let forge = Forge::start(Kind::Github);
    let home = Home::new();
    let sign_in = |secret: &str| {
        let words = ["login", &forge.url, "--client-id", CLIENT, "--no-browser"];
        let mut login = Login::start(&home, &[&words[..], &["--client-secret-stdin"]].concat());
        login.types(secret);
        let sent_to = forge.person_opens(&login.address());
        login.types(&sent_to);
        login.ends()
    };
    let (code, said) = sign_in("another");
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("incorrect_client_credentials"), "{said}");
    let again = format!(
        "wit login {} --client-id ID --client-secret-stdin",
        forge.url
    );
    assert!(said.contains(&again), "{said}");
    let (code, said) = sign_in(CLIENT_SECRET);
    assert_eq!(code, Some(0), "{said}");
    done(&ls_remote(&home, &forge.url));
    assert_eq!(forge.alive().len(), 2);
    let said = done(&home.run(WIT, &["logout", &forge.url], ""));
    assert!(said.contains("ended there"), "{said}");
    assert!(forge.alive().is_empty());
    for seen in forge.server.seen() {
        let first = seen.lines().next().unwrap_or_default();
        assert!(!first.contains(CLIENT_SECRET), "{first}");
    }
}

#[test]
fn githubs_odd_answers_are_understood() {
    let forge = Forge::start(Kind::Github);
    let login = [
        "login",
        &forge.url,
        "--client-id",
        CLIENT,
        "--device",
        "--no-browser",
    ];
    let home = Home::new();

    forge.with(|state| state.no_device_flow = true);
    let said = refused(&home.run(WIT, &login, ""), 4);
    assert!(
        said.contains("device_flow_disabled") && said.contains("Enable Device Flow"),
        "{said}"
    );
    forge.with(|state| state.no_device_flow = false);

    forge.with(|state| state.slow_down = true);
    let mut waiting = Login::start(&home, &login);
    let code = waiting.code();
    crate::support::until("a poll", || forge.with(|state| !state.slow_down));
    forge.person_says(&code, true);
    let (exit, said) = waiting.ends();
    assert_eq!(exit, Some(0), "{said}");
    let pauses = forge.with(|state| state.pauses.clone());
    assert!(
        pauses.iter().all(|pause| *pause > 6.9),
        "slow_down names 7 s: {pauses:?}"
    );

    let mut waiting = Login::start(&home, &login);
    forge.person_says(&waiting.code(), false);
    let (exit, said) = waiting.ends();
    assert_eq!(exit, Some(4), "{said}");
    assert!(said.contains("the sign-in was denied"), "{said}");

    let mut waiting = Login::start(&home, &login);
    waiting.code();
    forge.expire_codes();
    let (exit, said) = waiting.ends();
    assert_eq!(exit, Some(4), "{said}");
    assert!(said.contains("not confirmed in time"), "{said}");

    let unknown = ["login", &forge.url, "--client-id", "other", "--device"];
    let said = refused(&home.run(WIT, &unknown, ""), 4);
    assert!(said.contains("does not know this client ID"), "{said}");
}

#[test]
fn gitlab_signs_in_either_way_and_is_given_the_username_that_it_wants() {
    let forge = Forge::start(Kind::Gitlab);
    for way in ["device", "code"] {
        let home = Home::new();
        match way {
            "device" => drop(by_device(&home, &forge, &[])),
            _ => drop(by_pasted_address(&home, &forge, CLIENT)),
        }
        done(&ls_remote(&home, &forge.url));
        let answer = done(&get(
            &home,
            &forge.url,
            "username=ada\ncapability[]=authtype\n",
        ));
        assert!(
            answer.contains("username=oauth2") && !answer.contains("Bearer"),
            "{answer}"
        );
    }
    // One that is too old for the device flow still has the code.
    forge.with(|state| state.no_device_flow = true);
    let home = Home::new();
    let said = refused(
        &home.run(
            WIT,
            &["login", &forge.url, "--client-id", CLIENT, "--device"],
            "",
        ),
        4,
    );
    assert!(
        said.contains("no device flow") && said.contains("--browser"),
        "{said}"
    );
}

#[test]
fn gitea_and_forgejo_sign_in_with_the_client_that_they_have_built_in() {
    for kind in [Kind::Gitea, Kind::Forgejo] {
        let forge = Forge::start(kind);
        let home = Home::new();
        let said = refused(&home.run(WIT, &["login", &forge.url], ""), 2);
        assert!(said.contains("--client-id built-in"), "{said}");
        assert!(said.contains("\"git-credential-oauth\""), "{said}");
        by_pasted_address(&home, &forge, "built-in");
        done(&ls_remote(&home, &forge.url));
        let answer = done(&get(&home, &forge.url, "capability[]=authtype\n"));
        assert!(answer.contains("authtype=Bearer"), "{answer}");
        let answer = done(&get(&home, &forge.url, "username=ada\n"));
        assert!(answer.contains("username=ada\npassword="), "{answer}");
    }
}

#[test]
fn the_built_in_client_is_offered_at_the_prompt_by_the_name_that_is_seen_there() {
    let forge = Forge::start(Kind::Forgejo);
    let home = Home::new();
    let mut terminal = Terminal::run(&home, &format!("{WIT} login {}", forge.url));
    terminal.shows("Which [1]? ");
    let screen = terminal.screen();
    assert!(screen.contains("\"git-credential-oauth\""), "{screen}");
    terminal.types("2");
    terminal.shows("paste it here");
    terminal.presses(3);
    terminal.ends();

    // With one way there is nothing to choose.
    let line = format!("{WIT} login {} --no-browser", forge.url);
    let mut terminal = Terminal::run(&home, &line);
    terminal.shows("paste the address");
    let screen = terminal.screen();
    assert!(screen.contains("\"git-credential-oauth\""), "{screen}");
    let screen = terminal.screen();
    let mut lines = screen.lines().map(str::trim);
    let address = lines.find(|line| line.contains("/login/oauth/authorize?"));
    let sent_to = forge.person_opens(address.expect("an address"));
    terminal.types(&sent_to);
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    done(&ls_remote(&home, &forge.url));
}

#[test]
fn a_pasted_token_needs_no_username_and_is_ended_only_where_that_is_asked_for() {
    for (kind, scopes) in [
        (Kind::Github, &["repo"][..]),
        (
            Kind::Gitlab,
            &["write_repository", "read_user", "self_rotate"],
        ),
        (Kind::Gitea, &["write:repository", "read:user"]),
        (Kind::Forgejo, &["write:repository", "read:user"]),
    ] {
        let forge = Forge::start(kind);
        let home = Home::new();
        let login = ["login", &forge.url, "--token-stdin"];
        let said = refused(&home.run(WIT, &login, "0123456789abcdef\n"), 4);
        assert!(said.contains("does not accept this token"), "{said}");
        let token = forge.person_creates(scopes) + "\n";
        let said = done(&home.run(WIT, &login, &token));
        assert!(said.contains("as ada"), "{kind:?}: {said}");
        done(&ls_remote(&home, &forge.url));
        let shown = status(&home);
        let sign_in = &shown["servers"][0]["signIns"][0];
        assert_eq!(sign_in["account"], "ada");
        assert_eq!(sign_in["renewed"], kind == Kind::Gitlab);
        assert_eq!(
            sign_in["expiresAt"].is_null(),
            matches!(kind, Kind::Gitea | Kind::Forgejo)
        );

        let out = home.run(WIT, &["logout", &forge.url], "");
        let said = done(&out) + &text(&out.stderr);
        assert!(said.contains("still works"), "{said}");
        assert_eq!(forge.alive().len(), 1);

        done(&home.run(WIT, &login, &token));
        let out = home.run(WIT, &["logout", &forge.url, "--revoke"], "");
        // An Enterprise Server, Gitea and Forgejo have no call for it.
        let ends = kind == Kind::Gitlab;
        assert_eq!(
            out.status.code(),
            Some(if ends { 0 } else { 5 }),
            "{}",
            text(&out.stderr)
        );
        assert_eq!(forge.alive().is_empty(), ends);
        assert!(get(&home, &forge.url, "").stdout.is_empty());
    }
}

#[test]
fn a_password_creates_a_token_and_is_not_kept() {
    for kind in [Kind::Gitea, Kind::Forgejo] {
        let forge = Forge::start(kind);
        forge.with(|state| state.second_factor = true);
        let home = Home::new();
        let login = ["login", &forge.url, "--username", "ada", "--password-stdin"];
        let said = refused(&home.run(WIT, &login, &format!("{PASSWORD}\n")), 4);
        assert!(said.contains("one-time code"), "{said}");
        done(&home.run(WIT, &login, &format!("{PASSWORD}\n{ONE_TIME_CODE}\n")));
        let [token] = &forge.alive()[..] else {
            panic!("one token: {:?}", forge.alive());
        };
        assert!(
            token.name.starts_with("git on ") && token.name.ends_with(')'),
            "{}",
            token.name
        );
        assert_eq!(
            token.scopes.iter().collect::<Vec<_>>(),
            ["write:repository"]
        );
        done(&ls_remote(&home, &forge.url));
        for file in crate::support::files(home.path()) {
            let kept = std::fs::read(home.path().join(&file)).unwrap_or_default();
            assert!(!text(&kept).contains(PASSWORD), "{}", file.display());
        }
        let out = home.run(WIT, &["logout", &forge.url], "");
        assert_eq!(out.status.code(), Some(5), "{}", text(&out.stderr));
        assert!(text(&out.stderr).contains("/user/settings/applications"));
    }
}

#[test]
fn a_second_login_by_password_revokes_the_token_of_the_first() {
    for kind in [Kind::Gitea, Kind::Forgejo] {
        let forge = Forge::start(kind);
        let home = Home::new();
        let login = ["login", &forge.url, "--username", "ada", "--password-stdin"];
        done(&home.run(WIT, &login, &format!("{PASSWORD}\n")));
        let first = forge.alive()[0].name.clone();
        let second = home.run(WIT, &login, &format!("{PASSWORD}\n"));
        done(&second);
        let [left] = &forge.alive()[..] else {
            panic!("one token: {:?}", forge.alive());
        };
        assert_ne!(left.name, first);
        assert!(text(&second.stderr).contains(&first));
        done(&ls_remote(&home, &forge.url));
    }
}

/// A home with a user's configuration of Git Credential Manager, for a host without a scheme as its
/// documentation has it, and for a URL.
fn of_manager(forge: &Forge, keys: &[(&str, &str)]) -> Home {
    let home = Home::new();
    let host = forge.url.strip_prefix("http://").expect("http");
    let usual = [
        ("credential.credentialStore", "cache"),
        ("credential.namespace", "work"),
        ("credential.guiPrompt", "false"),
        ("credential.autoDetectTimeout", "-1"),
        ("credential.msauthFlow", "devicecode"),
        ("credential.bitbucketAuthModes", "oauth,basic"),
        ("credential.gitHubAccountFiltering", "false"),
        ("credential.cacheOptions", "--timeout 300"),
    ];
    for (key, value) in usual.iter().chain(keys) {
        let key = key.replace("HOST", host).replace("URL", &forge.url);
        done(&home.run("git", &["config", "--global", &key, value], ""));
    }
    home
}

#[test]
fn the_configuration_of_gits_credential_manager_is_taken_as_it_is() {
    // A GitLab with a client of its own, and no device flow wanted.
    let forge = Forge::start(Kind::Gitlab);
    let keys = [
        ("credential.HOST.provider", "gitlab"),
        ("credential.URL.gitLabDevClientId", CLIENT),
        ("credential.gitLabAuthModes", "browser,basic"),
        ("credential.gitHubDevClientId", "of-github"),
    ];
    let home = of_manager(&forge, &keys);
    let mut login = Login::start(&home, &["login", &forge.url]);
    let sent_to = forge.person_opens(&login.address());
    login.types(&sent_to);
    let (code, said) = login.ends();
    assert_eq!(code, Some(0), "{said}");
    let asked = forge.server.seen();
    assert!(
        !asked.iter().any(|one| one.contains("version")),
        "it was asked what it is"
    );
    done(&ls_remote(&home, &forge.url));

    // A GitHub of one's own: by a code, although there is a secret.
    let forge = Forge::start(Kind::Github);
    let keys = [
        ("credential.HOST.provider", "github"),
        ("credential.gitHubDevClientId", CLIENT),
        ("credential.gitHubDevClientSecret", CLIENT_SECRET),
        ("credential.gitHubAuthModes", "device"),
        ("credential.gitLabDevClientId", "of-gitlab"),
    ];
    let home = of_manager(&forge, &keys);
    let mut login = Login::start(&home, &["login", &forge.url]);
    forge.person_says(&login.code(), true);
    assert_eq!(login.ends().0, Some(0));
    // In a browser where that alone is wanted.
    let browser = [
        "config",
        "--global",
        "credential.gitHubAuthModes",
        "browser",
    ];
    done(&home.run("git", &browser, ""));
    let mut login = Login::start(&home, &["login", &forge.url]);
    let sent_to = forge.person_opens(&login.address());
    login.types(&sent_to);
    assert_eq!(login.ends().0, Some(0));

    // By a token alone: nobody is sent to a browser, and a terminal is asked.
    let keys = [
        ("credential.HOST.authority", "github"),
        ("credential.HOST.oauthClientId", CLIENT),
        ("credential.gitHubAuthModes", "pat"),
    ];
    let home = of_manager(&forge, &keys);
    // What is said now goes before it.
    let mut login = Login::start(&home, &["login", &forge.url, "--device"]);
    forge.person_says(&login.code(), true);
    assert_eq!(login.ends().0, Some(0));
    let home = of_manager(&forge, &keys);
    let mut terminal = Terminal::run(&home, &format!("{WIT} login {}", forge.url));
    terminal.shows("paste it here");
    terminal.hides();
    terminal.types(&forge.person_creates(&["repo"]));
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
}

#[test]
fn a_second_sign_in_ends_what_the_first_was_granted() {
    let forge = Forge::start(Kind::Gitlab);
    let home = Home::new();
    by_device(&home, &forge, &[]);
    let first = done(&get(&home, &forge.url, ""));
    let said = by_device(&home, &forge, &[]);
    assert!(
        said.contains("Ended the sign-in that it replaces"),
        "{said}"
    );
    assert_ne!(done(&get(&home, &forge.url, "")), first);
    assert_eq!(forge.alive().len(), 2, "one pair");
    done(&ls_remote(&home, &forge.url));
    // Another account's stays.
    by_device(&home, &forge, &["--username", "grace"]);
    assert_eq!(forge.alive().len(), 4, "two pairs");
    by_device(&home, &forge, &["--username", "grace"]);
    assert_eq!(forge.alive().len(), 4, "two pairs");
    // One that is refused replaces nothing.
    let words = [
        "login",
        &forge.url,
        "--client-id",
        CLIENT,
        "--device",
        "--no-browser",
    ];
    let mut login = Login::start(&home, &words);
    forge.person_says(&login.code(), false);
    assert_eq!(login.ends().0, Some(4));
    assert_eq!(forge.alive().len(), 4);

    // With the client's secret, and by the host's own call.
    let forge = Forge::start(Kind::Github);
    let home = Home::new();
    let words = [
        "login",
        &forge.url,
        "--host-type",
        "github",
        "--client-id",
        CLIENT,
    ];
    let words = [
        &words[..],
        &["--client-secret-stdin", "--device", "--no-browser"],
    ]
    .concat();
    let sign_in = || {
        let mut login = Login::start(&home, &words);
        login.types(CLIENT_SECRET);
        forge.person_says(&login.code(), true);
        let (code, said) = login.ends();
        assert_eq!(code, Some(0), "{said}");
        said
    };
    sign_in();
    let said = sign_in();
    assert!(
        said.contains("Ended the sign-in that it replaces"),
        "{said}"
    );
    let access = |token: &crate::support::forge::Token| token.sort == Sort::Access;
    assert_eq!(forge.alive().iter().filter(|one| access(one)).count(), 1);
}

#[test]
fn what_a_second_sign_in_can_not_end_is_said() {
    for kind in [Kind::Gitea, Kind::Forgejo] {
        let forge = Forge::start(kind);
        let home = Home::new();
        by_pasted_address(&home, &forge, "built-in");
        let said = by_pasted_address(&home, &forge, "built-in");
        assert!(
            said.contains("lets no program end the sign-in that it replaces")
                && said.contains("/user/settings/applications"),
            "{kind:?}: {said}"
        );
        done(&ls_remote(&home, &forge.url));
    }
    let forge = Forge::start(Kind::Gitlab);
    let proxy = Proxy::to(forge.server.address());
    let home = Home::new();
    let words = [
        "login",
        &proxy.url,
        "--client-id",
        CLIENT,
        "--device",
        "--no-browser",
    ];
    let sign_in = || {
        let mut login = Login::start(&home, &words);
        forge.person_says(&login.code(), true);
        login.ends()
    };
    assert_eq!(sign_in().0, Some(0));
    proxy.set(|first| match first.contains("/oauth/revoke") {
        true => Fate::Refused(500),
        false => Fate::Forwarded,
    });
    let (code, said) = sign_in();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("may still work: the server failed"), "{said}");
    // A server that ends every sign-in with one of them.
    proxy.set(|_| Fate::Forwarded);
    forge.with(|state| state.is_one_grant = true);
    let (code, said) = sign_in();
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("has ended the new sign-in together with"),
        "{said}"
    );
    let asked = get(&home, &proxy.url, "");
    assert!(asked.stdout.is_empty(), "{}", text(&asked.stdout));
    // Once more, as it says: there is nothing to end now.
    let (code, said) = sign_in();
    assert_eq!(code, Some(0), "{said}");
    done(&ls_remote(&home, &proxy.url));
}

#[test]
fn a_pasted_token_that_another_login_replaces_is_told_of() {
    for (kind, scopes) in [
        (Kind::Gitlab, &["write_repository", "read_user"][..]),
        (Kind::Gitea, &["write:repository", "read:user"]),
        (Kind::Github, &["repo"]),
    ] {
        let forge = Forge::start(kind);
        let home = Home::new();
        let login = ["login", &forge.url, "--token-stdin"];
        let [one, two, three] = [(); 3].map(|()| forge.person_creates(scopes) + "\n");
        done(&home.run(WIT, &login, &one));
        // The same once more is nothing new.
        let again = home.run(WIT, &login, &one);
        done(&again);
        assert!(
            !text(&again.stderr).contains("pasted"),
            "{}",
            text(&again.stderr)
        );
        let replaced = |token: &str| {
            let output = home.run(WIT, &login, token);
            done(&output);
            let said = text(&output.stderr);
            let mut lines = said.lines().filter(|line| line.contains("pasted before"));
            let line = lines.next().expect("a line").to_owned();
            assert_eq!(lines.next(), None, "{said}");
            line
        };
        let said = replaced(&two);
        assert!(
            said.contains("still works; revoke it at http://"),
            "{kind:?}: {said}"
        );
        // Only GitLab says what it is called.
        assert_eq!(said.contains("'by hand'"), kind == Kind::Gitlab, "{said}");
        forge.with(|state| {
            let held = state.tokens.get_mut(two.trim()).expect("a token");
            held.alive = false;
        });
        let said = replaced(&three);
        assert!(said.ends_with("it has ended."), "{kind:?}: {said}");
        assert_eq!(forge.alive().len(), 2, "nothing of the person's was ended");
    }
    // By a password, too.
    let forge = Forge::start(Kind::Gitea);
    let home = Home::new();
    let token = forge.person_creates(&["write:repository", "read:user"]) + "\n";
    done(&home.run(WIT, &["login", &forge.url, "--token-stdin"], &token));
    let login = ["login", &forge.url, "--username", "ada", "--password-stdin"];
    let output = home.run(WIT, &login, &format!("{PASSWORD}\n"));
    done(&output);
    assert!(text(&output.stderr).contains("that was pasted before is kept here no longer"));
}

#[test]
fn a_logout_ends_the_sign_in_at_the_host_or_says_that_it_can_not() {
    let forge = Forge::start(Kind::Gitlab);
    let home = Home::new();
    by_device(&home, &forge, &[]);
    let said = done(&home.run(WIT, &["logout", &forge.url], ""));
    assert!(said.contains("ended there"), "{said}");
    assert!(forge.alive().is_empty(), "{:?}", forge.alive());
    refused(&home.run(WIT, &["status"], ""), 4);

    let forge = Forge::start(Kind::Forgejo);
    let home = Home::new();
    by_pasted_address(&home, &forge, "built-in");
    let out = home.run(WIT, &["logout", "--server", &forge.url], "");
    assert_eq!(out.status.code(), Some(5));
    let said = text(&out.stderr);
    assert!(
        said.contains("lets no program end") && said.contains("/user/settings"),
        "{said}"
    );
}

#[test]
fn a_refresh_token_that_is_refused_ends_the_sign_in_in_each_hosts_words() {
    for kind in [Kind::Github, Kind::Gitlab, Kind::Gitea, Kind::Forgejo] {
        let forge = Forge::start(kind);
        forge.with(|state| state.lifetime = 1);
        let home = Home::new();
        match kind {
            Kind::Github | Kind::Gitlab => drop(by_device(&home, &forge, &[])),
            _ => drop(by_pasted_address(&home, &forge, CLIENT)),
        }
        forge.with(|state| {
            state
                .tokens
                .values_mut()
                .for_each(|token| token.alive = false)
        });
        let mut said = String::new();
        crate::support::until("the access token expires", || {
            let output = get(&home, &forge.url, "");
            said = text(&output.stderr);
            output.stdout.is_empty()
        });
        let typed = format!("has ended; type: wit login {}", forge.url);
        assert!(
            said.contains(&typed) && said.lines().count() == 1,
            "{kind:?}: {said}"
        );
        let shown = home.run(WIT, &["status"], "");
        assert_eq!(shown.status.code(), Some(3));
        assert!(text(&shown.stdout).contains("the server has ended it"));
        let doctor = text(&home.run(WIT, &["doctor"], "").stdout);
        let finding = format!("WRONG the sign-in to {} as ", forge.url);
        assert!(doctor.contains(&finding), "{doctor}");
    }
}

#[test]
fn github_com_is_asked_at_its_api_and_ends_the_pair_by_its_own_call() {
    let mut home = Home::new();
    let certificate = Certificate::new(&home, "tls", "DNS:github.com,DNS:api.github.com");
    let forge = Forge::github_com(&certificate);
    let proxy = HttpProxy::to(forge.server.address());
    home.set("HTTPS_PROXY", &proxy.url);
    let ca_file = ["--ca-file", certificate.path()];
    let said = by_device(&home, &forge, &ca_file);
    assert!(said.contains("https://github.com is GitHub."), "{said}");
    assert!(said.contains("as ada"), "{said}");
    assert!(proxy.seen().contains("CONNECT api.github.com:443"));
    done(&home.run(WIT, &["logout", "https://github.com"], ""));
    let left: Vec<_> =
        forge.with(|state| state.tokens.values().filter(|t| t.alive).cloned().collect());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn several_accounts_of_one_host_stay_apart() {
    let forge = Forge::start(Kind::Gitea);
    let home = Home::new();
    let login = |name: &str| {
        let token = forge.person_creates(&["write:repository"]);
        let words = ["login", &forge.url, "--token-stdin", "--username", name];
        done(&home.run(WIT, &words, &format!("{token}\n")));
        token
    };
    let (ada, grace) = (login("ada"), login("grace"));
    for (name, token) in [("ada", &ada), ("grace", &grace)] {
        let answer = done(&get(&home, &forge.url, &format!("username={name}\n")));
        assert!(answer.contains(token.as_str()), "{name}: {answer}");
    }
    assert!(
        done(&get(&home, &forge.url, "")).contains(grace.as_str()),
        "the newest"
    );
    // One for a single repository goes before both there, and nowhere else.
    let only = forge.person_creates(&["write:repository"]);
    let words = [
        "login",
        &forge.url,
        "--token-stdin",
        "--path",
        "ada/work.git",
    ];
    done(&home.run(WIT, &words, &format!("{only}\n")));
    let answer = done(&get(&home, &forge.url, "path=ada/work.git\n"));
    assert!(answer.contains(only.as_str()), "{answer}");
    let answer = done(&get(
        &home,
        &forge.url,
        "path=ada/other.git\nusername=ada\n",
    ));
    assert!(answer.contains(ada.as_str()), "{answer}");
    done(&home.run(WIT, &["logout", &forge.url, "--account", "grace"], ""));
    assert!(done(&get(&home, &forge.url, "")).contains(ada.as_str()));
}

#[test]
fn a_server_below_a_path_that_is_none_is_found_at_its_root() {
    let forge = Forge::start(Kind::Forgejo);
    let home = Home::new();
    let url = format!("{}/ada/work", forge.url);
    let token = forge.person_creates(&["write:repository", "read:user"]);
    let output = home.run(
        WIT,
        &["login", &url, "--token-stdin"],
        &format!("{token}\n"),
    );
    let said = done(&output);
    assert!(
        said.contains(&format!("Logged in to {} as ada", forge.url)),
        "{said}"
    );
}

#[test]
fn plain_http_to_another_machine_is_refused_before_anything_is_sent() {
    let home = Home::new();
    let login = [
        "login",
        "http://git.example.com",
        "--host-type",
        "gitea",
        "--token-stdin",
    ];
    let said = refused(&home.run(WIT, &login, "0123456789abcdef\n"), 1);
    assert!(said.contains("plain http"), "{said}");
}
