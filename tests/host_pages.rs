//! Each command that README.md and the pages of docs/hosts show for a git host, against that host's
//! stand-in.

#![cfg(all(target_os = "linux", feature = "platform"))]

use serde_json::{Value, json};

use crate::readme::{blocks, file};
use crate::support::cloud::{CONSUMER, Cloud, PASTED, person_agrees};
use crate::support::forge::github_app::{APP, Key};
use crate::support::forge::{CLIENT, Forge, Kind};
use crate::support::http_proxy::HttpProxy;
use crate::support::oidc::{Login, Provider};
use crate::support::platform::request;
use crate::support::tls::Certificate;
use crate::support::{HELPER, Home, WIT, done};

/// The commands of a page for which `is_ours`, without their comments.
fn commands(page: &str, is_ours: impl Fn(&str) -> bool) -> Vec<String> {
    let page = file(page);
    let lines = blocks(&page).into_iter().flatten();
    let commands = lines.map(|line| line.split("  #").next().unwrap_or(line).trim());
    let ours = commands.filter(|line| !line.is_empty() && is_ours(line));
    ours.map(str::to_owned).collect()
}

/// A person, and a stand-in in the place of a host of the pages.
struct Walk {
    home: Home,
    forge: Forge,
    host: &'static str,
    /// For github.com, which the stand-in answers for behind a proxy.
    github: Option<(Certificate, HttpProxy)>,
}

impl Walk {
    fn new(kind: Kind, host: &'static str) -> Self {
        let mut home = Home::new();
        let helper = format!("git config --global credential.helper {HELPER}");
        done(&home.run("sh", &["-c", &helper], ""));
        if kind != Kind::Github {
            let forge = Forge::start(kind);
            let github = None;
            return Walk {
                home,
                forge,
                host,
                github,
            };
        }
        let certificate = Certificate::new(&home, "tls", "DNS:github.com,DNS:api.github.com");
        let forge = Forge::github_com(&certificate);
        let proxy = HttpProxy::to(forge.server.address());
        home.set("HTTPS_PROXY", &proxy.url);
        home.set("GIT_SSL_CAINFO", certificate.path());
        Walk {
            home,
            forge,
            host,
            github: Some((certificate, proxy)),
        }
    }

    /// A command of a page, here.
    fn here(&self, command: &str) -> String {
        let command = command.replace(self.host, &self.forge.url);
        match &self.github {
            Some((certificate, _)) if command.starts_with("wit login") => {
                format!("{command} --ca-file {}", certificate.path())
            }
            _ => command,
        }
    }

    fn run(&self, command: &str) {
        match command.strip_prefix("wit login ") {
            Some(words) if command.contains("--client-id") => self.sign_in(words),
            _ => {
                let directory = std::path::Path::new(WIT).parent().expect("a directory");
                let line = format!("PATH={}:$PATH; {command}", directory.display());
                done(&self.home.run("sh", &["-c", &line], ""));
            }
        }
    }

    /// The person confirms the code, or says yes in the browser, which then comes back.
    fn sign_in(&self, words: &str) {
        let words = words.replace(" ID", &format!(" {CLIENT}"));
        let words: Vec<&str> = ["login"].into_iter().chain(words.split(' ')).collect();
        let mut login = Login::start(&self.home, &words);
        match self.forge.kind {
            Kind::Github | Kind::Gitlab => self.forge.person_says(&login.code(), true),
            Kind::Gitea | Kind::Forgejo => {
                let sent_to = self.forge.person_opens(&login.address());
                let rest = sent_to.strip_prefix("http://").expect("this machine");
                let (address, path) = rest.split_once('/').expect("a path");
                request(address, "GET", &format!("/{path}"), &[], "");
            }
        }
        let (code, said) = login.ends();
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
fn the_three_lines_of_each_host_in_the_readme_do_what_they_say() {
    for (kind, host) in [
        (Kind::Github, "https://github.com"),
        (Kind::Gitlab, "https://gitlab.com"),
        (Kind::Gitea, "https://codeberg.org"),
        (Kind::Forgejo, "https://codeberg.org"),
    ] {
        let walk = Walk::new(kind, host);
        let shown = commands("README.md", |line| line.contains(host));
        assert!(shown.len() >= 2, "{host}: {shown:?}");
        let mut cloned = false;
        for command in &shown {
            if command.starts_with("git clone") {
                // What the helper gave is what the host took.
                assert!(!walk.forge.alive().is_empty(), "{host}");
                cloned = true;
            }
            walk.run(&walk.here(command));
        }
        assert!(cloned, "{host}");
        if kind == Kind::Github {
            assert_eq!(
                shown.last().expect("three"),
                "wit logout https://github.com"
            );
            assert!(
                walk.forge.alive().is_empty(),
                "it revokes what the sign-in holds"
            );
        }
    }
}

#[test]
fn the_commands_of_githubs_page_do_what_they_say() {
    let walk = Walk::new(Kind::Github, "https://github.com");
    let key = Key::new(&walk.home, "builds");
    walk.forge.with(|state| state.apps.install(&key));
    let shown = commands("docs/hosts/github.md", |_| true);
    assert!(shown.len() >= 2, "{shown:?}");
    for command in shown {
        assert!(!command.contains("--app-id") || command.contains(APP));
        walk.run(&walk.here(&command).replace("builds.pem", key.path()));
    }
}

#[test]
fn the_commands_of_gitlabs_page_do_what_they_say() {
    let walk = Walk::new(Kind::Gitlab, "https://gitlab.com");
    let shown = commands("docs/hosts/gitlab.md", |_| true);
    assert!(shown.len() >= 6, "{shown:?}");
    let created = |home: &Home| {
        let list = ["token", "list", "--project", "ada/hello", "--json"];
        let listed: Value = serde_json::from_str(&done(&home.run(WIT, &list, ""))).expect("JSON");
        let all = listed.as_array().expect("a list").clone();
        let one = all.iter().find(|one| one["name"] == "ci").expect("created");
        one["id"].as_str().expect("an id").to_owned()
    };
    let mut has_token = false;
    for command in shown {
        if !has_token && command.starts_with("wit token") {
            // The page says that these take a personal token.
            let token = walk.forge.person_creates(&["api"]) + "\n";
            let login = ["login", &walk.forge.url, "--token-stdin"];
            done(&walk.home.run(WIT, &login, &token));
            has_token = true;
        }
        let mut command = command
            .replace("acme/site", "ada/hello")
            .replace("--group acme", "--group acme/tools")
            .replace("COMMAND", "cat");
        if command.contains("42@ada/hello") {
            command = command.replace("42@ada/hello", &created(&walk.home));
        }
        walk.run(&walk.here(&command));
    }
}

#[test]
fn the_command_of_the_page_on_other_servers_does_what_it_says() {
    let provider = Provider::start(&json!({}));
    let home = Home::new();
    let shown = commands("docs/hosts/oauth.md", |_| true);
    assert_eq!(shown.len(), 1, "{shown:?}");
    let command = shown[0]
        .replace("https://git.example.com", &provider.issuer)
        .replace(" ID", " public");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let mut login = Login::start(&home, &words);
    provider.approve(&login.code(), "ada");
    let (code, said) = login.ends();
    assert_eq!(code, Some(0), "{said}");
}

/// Runs the commands of a page at the stand-in for its host, with `provider` where the page has Entra.
/// `sign_in` brings a login by OAuth to its end.
fn walk_at_cloud(
    cloud: &Cloud,
    page: &str,
    swaps: &[(&str, &str)],
    sign_in: impl Fn(&mut Login, &str),
) {
    let shown = commands(page, |_| true);
    assert!(shown.len() >= 6, "{shown:?}");
    let mut sign_ins = 0;
    for command in shown {
        let command = (swaps.iter()).fold(command, |command, (shown, here)| {
            command.replace(shown, here)
        });
        let is_oauth = command.starts_with("wit login ") && !command.contains("--token-stdin");
        if !is_oauth {
            let directory = std::path::Path::new(WIT).parent().expect("a directory");
            let line = format!("PATH={}:$PATH; {command}", directory.display());
            done(&cloud.home.run("sh", &["-c", &line], ""));
            continue;
        }
        sign_ins += 1;
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let mut login = Login::start(&cloud.home, &words);
        sign_in(&mut login, &command);
        let (code, said) = login.ends();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("Access is renewed automatically"), "{said}");
    }
    assert_eq!(sign_ins, 1);
}

#[test]
fn the_commands_of_bitbuckets_page_do_what_they_say() {
    let cloud = Cloud::start();
    std::fs::write(cloud.home.path().join("token"), PASTED).expect("written");
    // Another test may have the port of the page.
    let key = "credential.https://bitbucket.org.oauthRedirectURL";
    let free = ["config", "--global", key, "http://localhost/back"];
    done(&cloud.home.run("git", &free, ""));
    // The stand-in has no screen, and the address is pasted.
    let swaps = [(" < secret", " --no-browser"), ("KEY", CONSUMER.0)];
    walk_at_cloud(&cloud, "docs/hosts/bitbucket.md", &swaps, |login, _| {
        login.types(CONSUMER.1);
        let sent_to = person_agrees(&login.address());
        login.types(&sent_to);
    });
    let page = file("docs/hosts/bitbucket.md");
    assert!(page.contains(&format!("`{}`", wit::hosts::BITBUCKET_REDIRECT)));
}

#[test]
fn the_commands_of_azures_page_do_what_they_say() {
    let cloud = Cloud::start();
    std::fs::write(cloud.home.path().join("token"), "octo").expect("written");
    let provider = Provider::start(&json!({}));
    let entra = "https://login.microsoftonline.com/TENANT/oauth2/v2.0";
    let (token, device) = (format!("{entra}/token"), format!("{entra}/devicecode"));
    let (own_token, own_device) = (
        format!("{}/token", provider.issuer),
        format!("{}/device/auth", provider.issuer),
    );
    let swaps = [
        ("oauthClientId ID", "oauthClientId public"),
        (&*token, &*own_token),
        (&*device, &*own_device),
        ("499b84ac-1321-427f-aa17-267ca6975798/.default", "openid"),
    ];
    walk_at_cloud(
        &cloud,
        "docs/hosts/azure-devops.md",
        &swaps,
        |login, command| {
            assert!(command.contains("--device"), "{command}");
            provider.approve(&login.code(), "ada");
        },
    );
    let url = "url=https://octo@dev.azure.com/octo/site/_git/hello\n";
    let answer = done(&cloud.home.run(HELPER, &["get"], url));
    let token = answer
        .lines()
        .find_map(|line| line.strip_prefix("password="));
    assert!(provider.takes(token.expect("a token")), "{answer}");
}

#[test]
fn each_organization_of_azures_page_has_its_own_token() {
    let cloud = Cloud::start();
    let shown = commands("docs/hosts/azure-devops.md", |line| {
        line.contains("--token-stdin") || line.contains("useHttpPath")
    });
    assert_eq!(shown.len(), 3, "{shown:?}");
    let directory = std::path::Path::new(WIT).parent().expect("a directory");
    for command in &shown {
        let rest = command.split("https://dev.azure.com/").nth(1);
        let name = rest.and_then(|rest| rest.split(' ').next());
        std::fs::write(cloud.home.path().join("token"), name.unwrap_or("")).expect("written");
        let line = format!("PATH={}:$PATH; {command}", directory.display());
        done(&cloud.home.run("sh", &["-c", &line], ""));
    }
    let helper = format!("credential.helper={HELPER}");
    for (url, token) in [
        ("https://octo@dev.azure.com/octo/site/_git/hello", "octo"),
        ("https://dev.azure.com/octo/site/_git/hello", "octo"),
        ("https://acme@dev.azure.com/acme/site/_git/hello", "acme"),
        ("https://dev.azure.com/ACME/site/_git/hello", "acme"),
    ] {
        let fill = ["-c", &helper, "credential", "fill"];
        let answer = done(&cloud.home.run("git", &fill, &format!("url={url}\n")));
        assert!(
            answer.contains(&format!("password={token}\n")),
            "{url}: {answer}"
        );
    }
}

#[test]
fn the_commands_of_giteas_and_forgejos_pages_do_what_they_say() {
    for (kind, host, page) in [
        (Kind::Gitea, "https://gitea.example.com", "gitea"),
        (Kind::Forgejo, "https://codeberg.org", "forgejo"),
    ] {
        let walk = Walk::new(kind, host);
        let shown = commands(&format!("docs/hosts/{page}.md"), |_| true);
        assert!(shown.len() >= 2, "{page}: {shown:?}");
        for command in &shown {
            walk.run(&walk.here(command));
        }
        assert!(!walk.forge.alive().is_empty(), "{page}");
    }
}

#[test]
fn every_page_of_a_host_is_walked() {
    let tests = file("tests/host_pages.rs") + &file("tests/readme.rs");
    let pages =
        crate::support::files(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hosts"));
    assert!(pages.len() > 7, "{pages:?}");
    for page in pages {
        let name = page.to_str().expect("text");
        let shown = commands(&format!("docs/hosts/{name}"), |_| true);
        let (stem, _) = name.split_once('.').expect("an extension");
        let is_walked =
            tests.contains(&format!("hosts/{name}")) || tests.contains(&format!("\"{stem}\")"));
        assert!(is_walked || shown.is_empty(), "{name}: {shown:?}");
    }
}
