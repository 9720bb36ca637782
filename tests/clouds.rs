//! Bitbucket and Azure DevOps, which are known by their names.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;

use serde_json::Value;

use crate::support::cloud::{CONSUMER, Cloud, PASTED, person_agrees};
use crate::support::oidc::Login;
use crate::support::stored::{expire_in, field, get, item};
use crate::support::terminal::Terminal;
use crate::support::{Home, WIT, done, refused, text};

const BITBUCKET: &str = "https://bitbucket.org";
const AZURE: &str = "https://dev.azure.com";

/// Signs in with a token on stdin; the `--json` document.
fn paste(home: &Home, words: &[&str], token: &str) -> Value {
    let login = [&["login"], words, &["--token-stdin", "--json"]].concat();
    serde_json::from_str(&done(&home.run(WIT, &login, &format!("{token}\n")))).expect("JSON")
}

fn clone(home: &Home, url: &str) {
    let remote = ["ls-remote", url];
    done(&home.run("git", &remote, ""));
}

#[test]
fn a_token_of_bitbucket_is_given_with_the_username_that_bitbucket_wants() {
    let Cloud { home, .. } = Cloud::start();
    // Any page of the host leads to it.
    let login = paste(&home, &["https://bitbucket.org/acme/site"], PASTED);
    assert_eq!(login["server"], BITBUCKET);
    assert_eq!(login["hostType"], "bitbucket");
    clone(&home, "https://bitbucket.org/acme/site.git");
    clone(&home, "https://ada@bitbucket.org/acme/site.git");
    let answer = done(&get(&home, BITBUCKET, "username=ada\n"));
    let name = field(&answer, "username");
    assert_eq!(name.as_deref(), Some("x-bitbucket-api-token-auth"));

    paste(&home, &[BITBUCKET, "--username", "x-token-auth"], PASTED);
    let answer = done(&get(&home, BITBUCKET, "username=x-token-auth\n"));
    assert_eq!(field(&answer, "username").as_deref(), Some("x-token-auth"));
}

#[test]
fn bitbucket_signs_in_with_a_consumer_and_refreshes() {
    let Cloud { home, .. } = Cloud::start();
    let key = "credential.https://bitbucket.org.oauthRedirectURL";
    // Another test may have the default port.
    let free = ["config", "--global", key, "http://localhost/back"];
    done(&home.run("git", &free, ""));
    let client = ["--client-id", CONSUMER.0, "--client-secret-stdin"];
    let words = [&["login", BITBUCKET, "--no-browser"], &client[..]].concat();
    let mut login = Login::start(&home, &words);
    login.types(CONSUMER.1);
    let sent_to = person_agrees(&login.address());
    login.types(&sent_to);
    let (code, said) = login.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Access is renewed automatically"), "{said}");
    let answer = done(&get(&home, BITBUCKET, ""));
    assert_eq!(field(&answer, "username").as_deref(), Some("x-token-auth"));
    assert_eq!(field(&answer, "password").as_deref(), Some("access-1"));
    clone(&home, "https://ada@bitbucket.org/acme/site.git");

    expire_in(&home, BITBUCKET, -60);
    let answer = done(&get(&home, BITBUCKET, ""));
    assert_eq!(field(&answer, "password").as_deref(), Some("access-2"));
}

#[test]
fn each_organization_of_azure_devops_has_its_own_sign_in() {
    let Cloud { home, .. } = Cloud::start();
    let login = paste(
        &home,
        &["https://dev.azure.com/Contoso/shop/_git/shop"],
        "contoso",
    );
    assert_eq!(login["server"], "https://dev.azure.com/contoso");
    assert_eq!(login["hostType"], "azure-devops");
    assert_eq!(login["account"], "contoso");
    let other = ["login", "https://dev.azure.com/fabrikam", "--token-stdin"];
    let output = home.run(WIT, &other, "fabrikam\n");
    let said = done(&output) + &text(&output.stderr);
    let useful = "git config --global credential.https://dev.azure.com.useHttpPath true";
    assert!(said.contains(useful), "{said}");
    // Without the paths the names before the @ tell them apart.
    clone(
        &home,
        "https://contoso@dev.azure.com/contoso/shop/_git/shop",
    );
    clone(&home, "https://fabrikam@dev.azure.com/fabrikam/_git/site");
    done(&home.run("sh", &["-c", useful], ""));
    clone(&home, "https://dev.azure.com/contoso/shop/_git/shop");
    clone(&home, "https://fabrikam@dev.azure.com/fabrikam/_git/site");
    clone(&home, "https://dev.azure.com/fabrikam/_git/site");

    let status = home.run(WIT, &["status"], "");
    let shown = text(&status.stdout);
    for name in [
        "https://dev.azure.com/contoso",
        "https://dev.azure.com/fabrikam",
    ] {
        assert!(shown.contains(name), "{shown}");
    }
    let said = refused(&home.run(WIT, &["logout", AZURE, "--yes"], ""), 4);
    assert!(
        said.contains("hint: wit logout https://dev.azure.com/contoso"),
        "{said}"
    );
    done(&home.run(
        WIT,
        &["logout", "https://dev.azure.com/contoso", "--yes"],
        "",
    ));
    let left = item(&home, AZURE).credentials.0;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].path.as_deref(), Some(&b"fabrikam"[..]));
    clone(&home, "https://dev.azure.com/fabrikam/_git/site");
}

#[test]
fn azure_devops_needs_an_organization_and_at_visualstudio_com_has_one() {
    let Cloud { home, server } = Cloud::start();
    let said = refused(
        &home.run(WIT, &["login", AZURE, "--token-stdin"], "pat\n"),
        2,
    );
    assert!(
        said.contains("hint: wit login https://dev.azure.com/ORGANIZATION"),
        "{said}"
    );
    assert!(!server.seen().concat().contains("pat"));
    let login = paste(&home, &["https://octo.visualstudio.com/site"], "octo");
    assert_eq!(login["server"], "https://octo.visualstudio.com");
    assert_eq!(login["account"], "octo");
    let entry = &item(&home, "https://octo.visualstudio.com").credentials.0[0];
    assert_eq!(entry.path, None);
}

#[test]
fn a_login_at_a_terminal_leads_to_the_page_of_the_token_without_a_menu() {
    for (url, page, token) in [
        (
            BITBUCKET,
            "https://id.atlassian.com/manage-profile/security/api-tokens",
            PASTED,
        ),
        (
            "https://dev.azure.com/contoso",
            "https://dev.azure.com/contoso/_usersSettings/tokens",
            "contoso",
        ),
    ] {
        let Cloud { home, .. } = Cloud::start();
        let said = refused(&home.run(WIT, &["login", url], ""), 2);
        let paste = format!("paste a token from {page}: wit login {url} --paste-token");
        assert!(said.contains(&paste), "{said}");
        let mut terminal = Terminal::run(&home, &format!("{WIT} login {url}"));
        terminal.shows("paste it here");
        terminal.hides();
        terminal.types(token);
        let (code, screen) = terminal.ends();
        assert_eq!(code, Some(0), "{screen}");
        assert!(
            screen.contains(page) && !screen.contains("Which"),
            "{screen}"
        );
    }
}

#[test]
fn what_these_hosts_have_no_call_for_is_refused_with_their_page() {
    for (url, title, page, token) in [
        (BITBUCKET, "Bitbucket", "https://id.atlassian.com/", PASTED),
        (
            "https://dev.azure.com/contoso",
            "Azure DevOps",
            "https://dev.azure.com/contoso/_usersSettings/tokens",
            "contoso",
        ),
    ] {
        let Cloud { home, server } = Cloud::start();
        paste(&home, &[url], token);
        let before = server.seen().len();
        for command in [
            &["token", "create", "x", "--expires", "30"][..],
            &["token", "list"],
            &["token", "rotate", "1"],
            &["token", "revoke", "1"],
            &["token", "audit"],
            &["token", "exec", "--", "true"],
            &["token", "scopes"],
        ] {
            let output = home.run(WIT, command, "");
            let said = text(&output.stderr);
            assert!(!output.status.success(), "{command:?}: {said}");
            assert!(
                said.contains(title) && said.contains(page),
                "{command:?}: {said}"
            );
        }
        assert_eq!(server.seen().len(), before, "something was sent");
    }
}

#[test]
fn a_sign_in_of_an_older_version_is_taken_over() {
    let Cloud { home, .. } = Cloud::start();
    let oauth = [BITBUCKET, "--host-type", "oauth", "--username", "ada"];
    assert_eq!(paste(&home, &oauth, PASTED)["hostType"], "oauth");
    let again = paste(&home, &[BITBUCKET, "--username", "ada"], PASTED);
    assert_eq!(again["hostType"], "bitbucket");
    assert_eq!(item(&home, BITBUCKET).credentials.0.len(), 1);
    clone(&home, "https://ada@bitbucket.org/acme/site.git");
}

#[test]
fn a_server_of_ones_own_is_not_taken_for_the_service() {
    let Cloud { home, .. } = Cloud::start();
    let own = "https://bitbucket.example.com";
    let login = paste(
        &home,
        &[own, "--host-type", "bitbucket", "--username", "ada"],
        PASTED,
    );
    assert_eq!(login["hostType"], "oauth");
    clone(&home, "https://bitbucket.example.com/scm/site.git");
    let config = fs::read_to_string(home.path().join(".config/wit/config.json"));
    assert!(config.expect("a configuration").contains(own));
}
