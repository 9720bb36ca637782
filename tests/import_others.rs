//! `wit import gcm`, `gh` and `glab`: what these programs keep, by their own hands where Debian has them.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::session::Session;
use crate::support::{HELPER, Home, WIT, done, feed, refused, text};

fn write(home: &Home, name: &str, content: &str) {
    let path = home.path().join(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    fs::write(&path, content).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("private");
}

fn get(home: &Home, host: &str) -> String {
    let asked = format!("protocol=https\nhost={host}\n");
    done(&home.run(HELPER, &["get"], &asked))
}

fn keep(home: &Home, label: &str, attributes: &[&str], secret: &str) {
    let mut tool = home.command("secret-tool");
    tool.args(["store", "--label", label]).args(attributes);
    let output = feed(tool, secret.as_bytes());
    assert!(
        output.status.success(),
        "apt-get install libsecret-tools: {output:?}"
    );
}

/// A home with a keyring, in which nothing of this machine is found.
fn with_keyring(session: &Session) -> Home {
    let mut home = Home::new();
    home.set("DBUS_SESSION_BUS_ADDRESS", session.address());
    home
}

#[test]
fn the_account_that_gh_answers_git_with_is_imported() {
    let home = Home::new();
    write(
        &home,
        ".config/gh/hosts.yml",
        "github.com:\n    user: ada\n    oauth_token: gho_one\n    git_protocol: https\n\
         ghe.example:\n    user: bob\n    oauth_token: \"gho_two\"\n",
    );
    let imported = done(&home.run(WIT, &["import", "gh"], ""));
    assert!(imported.starts_with("Imported 2 credentials"), "{imported}");
    assert!(
        imported.contains("unset-all credential.https://github.com.helper"),
        "{imported}"
    );
    assert!(!imported.contains("gho_"), "{imported}");
    for host in ["github.com", "ghe.example"] {
        let asked = format!("protocol=https\nhost={host}\n\n");
        let answer = home.run("gh", &["auth", "git-credential", "get"], &asked);
        let answer = text(&answer.stdout);
        assert!(
            answer.contains("password=gho_"),
            "apt-get install gh: {answer}"
        );
        for line in get(&home, host).lines() {
            assert!(
                answer.lines().any(|theirs| theirs == line),
                "{line}: {answer}"
            );
        }
    }
    let list = done(&home.run(WIT, &["store", "list"], ""));
    assert!(list.contains("imported"), "{list}");
}

#[test]
fn accounts_of_gh_in_the_keyring_are_imported_the_active_one_first() {
    let session = Session::with_keyring();
    let home = with_keyring(&session);
    write(
        &home,
        ".config/gh/hosts.yml",
        "github.com:\n    git_protocol: https\n    users:\n        bob:\n        ada:\n        eve:\n    user: ada\n",
    );
    for (user, token) in [("ada", "gho_ada"), ("bob", "gho_bob")] {
        let attributes = ["service", "gh:github.com", "username", user];
        keep(&home, "gh", &attributes, token);
    }
    let output = home.run(WIT, &["import", "gh"], "");
    let said = done(&output);
    assert!(said.starts_with("Imported 2 credentials"), "{said}");
    assert!(
        said.contains("eve at github.com: its token is neither"),
        "{said}"
    );
    assert_eq!(get(&home, "github.com"), "username=ada\npassword=gho_ada\n");
}

#[test]
fn without_a_keyring_what_is_there_is_skipped_with_the_reason() {
    let home = Home::new();
    write(
        &home,
        ".config/gh/hosts.yml",
        "github.com:\n    user: ada\n",
    );
    let said = done(&home.run(WIT, &["import", "gh"], ""));
    assert!(
        said.contains("ada at github.com: its token is not in the file, and the keyring"),
        "{said}"
    );
}

#[test]
fn what_can_not_be_taken_of_gh_and_glab_is_named() {
    let home = Home::new();
    write(
        &home,
        ".config/gh/hosts.yml",
        "github.com:\n    users:\n        one:\n            oauth_token: gho_one\n        two: {}\n        \
         three:\n            oauth_token: [gho_three]\n    user: one\n    oauth_token: gho_one\n\
         old.example:\n    oauth_token: gho_four\nflow.example: {oauth_token: gho_five}\n",
    );
    let said = done(&home.run(WIT, &["import", "gh"], ""));
    assert!(said.starts_with("Imported 1 credential"), "{said}");
    for skipped in [
        "two at github.com: its token is not in the file",
        "three at github.com: it is written in a form of YAML",
        "old.example: it names no account",
        "flow.example: it is written in a form of YAML",
    ] {
        assert!(said.contains(skipped), "{skipped}: {said}");
    }
    write(
        &home,
        ".config/glab-cli/config.yml",
        "hosts:\n    gitlab.com:\n        token: glpat-one\n    \
         block.example:\n        token: |\n            glpat-two\n    \
         escaped.example:\n        token: \"glpat\\x2dthree\"\n    flow.example: {token: glpat-four}\n    \
         none.example:\n        token: null\n",
    );
    let said = done(&home.run(WIT, &["import", "glab"], ""));
    assert!(said.starts_with("Imported 1 credential"), "{said}");
    for host in ["block.example", "escaped.example", "flow.example"] {
        let skipped = format!("{host}: it is written in a form of YAML");
        assert!(said.contains(&skipped), "{skipped}: {said}");
    }
    assert!(!said.contains("none.example"), "{said}");
    assert!(!said.contains("glpat-"), "{said}");
}

#[test]
fn personal_access_tokens_of_glab_are_imported_and_no_others() {
    let session = Session::with_keyring();
    let home = with_keyring(&session);
    write(
        &home,
        ".config/glab-cli/config.yml",
        "# What protocol to use\ngit_protocol: ssh\nhosts:\n    gitlab.com:\n        api_protocol: https\n        \
         token: !!null glpat-one\n        user: ada\n    oauth.example:\n        is_oauth2: \"true\"\n        \
         token: short\n    kept.example:\n        use_keyring: \"true\"\n    other.example:\n        token:\n",
    );
    keep(
        &home,
        "glab",
        &["service", "glab:kept.example", "username", ""],
        "glpat-two",
    );
    let said = done(&home.run(WIT, &["import", "glab"], ""));
    assert!(said.starts_with("Imported 2 credentials"), "{said}");
    assert!(
        said.contains("oauth.example: an OAuth token of two hours"),
        "{said}"
    );
    assert_eq!(
        get(&home, "gitlab.com"),
        "username=ada\npassword=glpat-one\n"
    );
    assert_eq!(
        get(&home, "kept.example"),
        "username=oauth2\npassword=glpat-two\n"
    );
}

#[test]
fn plain_files_and_the_keyring_of_git_credential_manager_are_imported() {
    let session = Session::with_keyring();
    let home = with_keyring(&session);
    write(
        &home,
        ".gcm/store/git/https/a.example/ada.credential",
        "p@ss=word\nservice=https://a.example\naccount=ada\n",
    );
    write(
        &home,
        ".gcm/store/git/https/oauth-refresh-token.a.example/ada.credential",
        "again\nservice=https://oauth-refresh-token.a.example/\naccount=ada\n",
    );
    // Of any OAuth server but GitLab's and Bitbucket's.
    write(
        &home,
        ".gcm/store/git/https/refresh_token.a.example/ada.credential",
        "again\nservice=https://refresh_token.a.example\naccount=ada\n",
    );
    write(
        &home,
        ".gcm/store/git/https/a.example/torn.credential",
        "half",
    );
    let schema = ["xdg:schema", "com.microsoft.GitCredentialManager"];
    let attributes = [
        "service",
        "git:https://b.example:8443/team",
        "account",
        "bob",
    ];
    keep(
        &home,
        "git:https://b.example",
        &[&schema[..], &attributes].concat(),
        "two",
    );
    let output = home.run(WIT, &["import", "gcm"], "");
    let said = done(&output);
    assert!(said.starts_with("Imported 2 credentials"), "{said}");
    let refresh_tokens = said.matches("a refresh token, which").count();
    assert_eq!(refresh_tokens, 2, "{said}");
    assert!(said.contains("torn.credential: it is damaged"), "{said}");
    assert_eq!(
        get(&home, "a.example"),
        "username=ada\npassword=p@ss=word\n"
    );
    let asked = "protocol=https\nhost=b.example:8443\npath=team\n";
    let answer = done(&home.run(HELPER, &["get"], asked));
    assert_eq!(answer, "username=bob\npassword=two\n");
    refused(&home.run(WIT, &["import", "gcm", "--file", "x"], ""), 2);
}

#[test]
fn each_organization_of_azure_devops_has_its_token() {
    let home = Home::new();
    for (org, secret) in [("contoso", "one"), ("fabrikam", "two")] {
        let file = format!(".gcm/store/git/https/dev.azure.com/{org}/ada@example.com.credential");
        let service = format!("https://dev.azure.com/{org}");
        let text = format!("{secret}\nservice={service}\naccount=ada@example.com\n");
        write(&home, &file, &text);
    }
    write(
        &home,
        ".gcm/store/git/https/old.visualstudio.com/ada@example.com.credential",
        "three\nservice=https://old.visualstudio.com\naccount=ada@example.com\n",
    );
    let said = done(&home.run(WIT, &["import", "gcm"], ""));
    assert!(said.starts_with("Imported 3 credentials"), "{said}");
    let erase = "printf '%s\\n' protocol=https host=dev.azure.com path=fabrikam | git-credential-manager erase";
    assert!(said.contains(erase), "{said}");
    done(&home.run(WIT, &["setup"], ""));
    let fill = |url: &str| {
        let output = home.run("git", &["credential", "fill"], &format!("url={url}\n\n"));
        let text = done(&output);
        let line = text.lines().find_map(|line| line.strip_prefix("password="));
        line.unwrap_or_default().to_owned()
    };
    let key = "credential.https://dev.azure.com.useHttpPath";
    for path in ["true", "false"] {
        done(&home.run("git", &["config", "--global", key, path], ""));
        // As Azure DevOps shows the URL.
        assert_eq!(
            fill("https://contoso@dev.azure.com/contoso/p/_git/r"),
            "one"
        );
        assert_eq!(
            fill("https://fabrikam@dev.azure.com/fabrikam/p/_git/r"),
            "two"
        );
    }
    assert_eq!(fill("https://old.visualstudio.com/p/_git/r"), "three");
    // Nothing says whose it is: another organization's token would be refused, and then erased.
    let asked = "url=https://dev.azure.com/contoso/p/_git/r\n\n";
    let said = refused(&home.run("git", &["credential", "fill"], asked), 128);
    let command = format!("git config --global {key} true");
    assert!(said.contains(&command), "{said}");
    done(&home.run("sh", &["-ec", &command], ""));
    assert_eq!(fill("https://dev.azure.com/contoso/p/_git/r"), "one");
    assert_eq!(fill("https://dev.azure.com/Fabrikam/p/_git/r"), "two");
    assert_eq!(fill("https://ada@dev.azure.com/fabrikam/p/_git/r"), "two");

    // One that is not known gets nothing, and its refusal erases nothing.
    let third = "url=https://dev.azure.com/third/p/_git/r\n";
    refused(
        &home.run("git", &["credential", "fill"], &format!("{third}\n")),
        128,
    );
    let refusal = format!("{third}username=contoso\npassword=one\n\n");
    done(&home.run("git", &["credential", "reject"], &refusal));
    assert_eq!(fill("https://dev.azure.com/contoso/p/_git/r"), "one");
    // A new one is kept for all repositories of the organization.
    let new = format!("{third}username=ada\npassword=four\n\n");
    done(&home.run("git", &["credential", "approve"], &new));
    assert_eq!(fill("https://dev.azure.com/third/other/_git/s"), "four");
    assert_eq!(fill("https://dev.azure.com/contoso/p/_git/r"), "one");
    let refusal = "url=https://dev.azure.com/contoso/p/_git/r\nusername=contoso\npassword=one\n\n";
    done(&home.run("git", &["credential", "reject"], refusal));
    refused(&home.run("git", &["credential", "fill"], asked), 128);
    assert_eq!(fill("https://dev.azure.com/fabrikam/p/_git/r"), "two");
}

#[test]
fn what_git_credential_manager_was_told_to_use_goes_before_what_it_left_behind() {
    let session = Session::with_keyring();
    let home = with_keyring(&session);
    write(
        &home,
        ".gcm/store/git/https/a.example/ada.credential",
        "old\nservice=https://a.example\naccount=ada\n",
    );
    let schema = ["xdg:schema", "com.microsoft.GitCredentialManager"];
    let attributes = ["service", "git:https://a.example", "account", "ada"];
    keep(
        &home,
        "git:https://a.example",
        &[&schema[..], &attributes].concat(),
        "new",
    );
    let chosen = [
        "config",
        "--global",
        "credential.credentialStore",
        "secretservice",
    ];
    done(&home.run("git", &chosen, ""));
    done(&home.run(WIT, &["import", "gcm"], ""));
    assert_eq!(get(&home, "a.example"), "username=ada\npassword=new\n");
}

#[test]
fn nothing_of_git_credential_manager_is_left_out_silently() {
    let home = Home::new();
    let file = |name: &str, content: &str| {
        let name = format!(".gcm/store/git/https/{name}");
        write(&home, &name, content);
        home.path().join(name)
    };
    file(
        "a.example/octo.credential",
        "one\nservice=https://a.example\naccount=octo\n",
    );
    file(
        "a.example/work.credential",
        "two\nservice=https://a.example\naccount=work\n",
    );
    file(
        "b.example/no.credential",
        "\nservice=https://b.example\naccount=ada\n",
    );
    file("b.example/torn.credential", "half");
    file(
        "b.example/.credential",
        "three\nservice=https://b.example\n",
    );
    file(
        "oauth-refresh-token.c.example/ada.credential",
        "four\nservice=https://oauth-refresh-token.c.example/\naccount=ada\n",
    );
    std::os::unix::fs::symlink("/nonexistent/x", home.path().join(".gcm/store/loop"))
        .expect("made");
    let said = done(&home.run(WIT, &["import", "gcm"], ""));
    for expected in [
        "no.credential: it has no password",
        "torn.credential: it is damaged",
        "b.example/.credential: no username",
        "to sign in: wit login https://c.example",
        "3 entries were not imported",
        "Of https://a.example git is given the account octo",
        "git config --global credential.https://a.example.username work",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(get(&home, "a.example"), "username=octo\npassword=one\n");
}

#[test]
fn a_refresh_token_alone_does_not_keep_the_source_from_being_removed() {
    let home = Home::new();
    for (host, secret) in [
        ("a.example", "one"),
        ("oauth-refresh-token.a.example", "two"),
    ] {
        let name = format!(".gcm/store/git/https/{host}/ada.credential");
        let content = format!("{secret}\nservice=https://{host}\naccount=ada\n");
        write(&home, &name, &content);
    }
    let said = done(&home.run(WIT, &["import", "gcm"], ""));
    assert!(
        said.contains("git-credential-manager unconfigure"),
        "{said}"
    );
}

#[test]
fn the_settings_of_git_credential_manager_say_where_it_keeps_them() {
    let session = Session::with_keyring();
    let home = with_keyring(&session);
    write(
        &home,
        "elsewhere/corp/https/a.example/ada.credential",
        "one\nservice=https://a.example\naccount=ada\n",
    );
    let path = "credential.plaintextStorePath";
    done(&home.run("git", &["config", "--global", path, "~/elsewhere"], ""));
    done(&home.run(
        "git",
        &["config", "--global", "credential.namespace", "corp"],
        "",
    ));
    let schema = ["xdg:schema", "com.microsoft.GitCredentialManager"];
    for (service, secret) in [
        ("corp:https://b.example", "two"),
        ("https://c.example", "three"),
    ] {
        let attributes = ["service", service, "account", "ada"];
        keep(&home, service, &[&schema[..], &attributes].concat(), secret);
    }
    let said = done(&home.run(WIT, &["import", "gcm"], ""));
    assert!(said.starts_with("Imported 3 credentials"), "{said}");
    for (host, secret) in [
        ("a.example", "one"),
        ("b.example", "two"),
        ("c.example", "three"),
    ] {
        let expected = format!("username=ada\npassword={secret}\n");
        assert_eq!(get(&home, host), expected);
    }
}

#[test]
fn files_of_pass_are_decrypted_by_gpg_or_named() {
    let mut home = Home::new();
    home.set("GNUPGHOME", home.path().join("gnupg").display().to_string());
    let script = "
        mkdir -m 700 gnupg
        gpg --batch --quiet --passphrase '' --quick-generate-key ada@example.com default default never
        pass init ada@example.com >/dev/null
        printf 'three\\nservice=https://c.example\\naccount=carl\\n' |
            pass insert --multiline git/https/c.example/carl >/dev/null
        cp -r gnupg other";
    let made = home.run("sh", &["-ec", script], "");
    assert!(
        made.status.success(),
        "apt-get install pass gnupg: {made:?}"
    );
    let said = done(&home.run(WIT, &["import", "gcm"], ""));
    assert!(said.starts_with("Imported 1 credential "), "{said}");
    assert_eq!(get(&home, "c.example"), "username=carl\npassword=three\n");

    // Without the key.
    home.set("GNUPGHOME", home.path().join("empty").display().to_string());
    fs::create_dir(home.path().join("empty")).expect("made");
    let said = done(&home.run(WIT, &["import", "gcm"], ""));
    assert!(
        said.contains("carl.gpg: gpg could not decrypt it"),
        "{said}"
    );
    home.run("gpgconf", &["--kill", "all"], "");
}

#[test]
fn a_machine_without_git_credential_manager_is_told_so() {
    let session = Session::with_keyring();
    let home = with_keyring(&session);
    let said = refused(&home.run(WIT, &["import", "gcm"], ""), 1);
    assert!(
        said.contains("Git Credential Manager keeps nothing here"),
        "{said}"
    );
    assert!(said.contains("hint: "), "{said}");
}

#[test]
fn a_keyring_out_of_reach_is_said_of_the_source() {
    let home = Home::new();
    for (source, expected) in [
        ("gcm", "nor in the keyring ("),
        ("libsecret", "can't read the keyring: "),
    ] {
        let said = refused(&home.run(WIT, &["import", source], ""), 1);
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("wit setup --store file"), "{said}");
    }
}
