//! Bitbucket and Azure DevOps as git and `wit login` meet them, behind a proxy that leads to them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::http_proxy::HttpProxy;
use super::server::{Server, answer, with_header};
use super::tls::Certificate;
use super::{HELPER, Home, done};

/// Key and secret of the one consumer at Bitbucket.
pub const CONSUMER: (&str, &str) = ("k3y", "c0nsumer-s3cret");
/// A token that was created on a page of Bitbucket.
pub const PASTED: &str = "ATATT3-pasted";

/// A home for which bitbucket.org and dev.azure.com are stand-ins, and the helper is set up.
pub struct Cloud {
    pub home: Home,
    pub server: Server,
}

impl Cloud {
    pub fn start() -> Self {
        let mut home = Home::new();
        let names = "DNS:bitbucket.org,DNS:bitbucket.example.com,DNS:dev.azure.com,\
                     DNS:octo.visualstudio.com";
        let certificate = Certificate::new(&home, "tls", names);
        let server = Server::reading_tls(&certificate, answers);
        let proxy = HttpProxy::to(server.address());
        home.set("HTTPS_PROXY", &proxy.url);
        home.set("GIT_SSL_CAINFO", certificate.path());
        home.set("SSL_CERT_FILE", certificate.path());
        let helper = format!("git config --global credential.helper {HELPER}");
        done(&home.run("sh", &["-c", &helper], ""));
        Cloud { home, server }
    }
}

/// The address that Bitbucket's page sends the browser to once the person has said yes.
pub fn person_agrees(address: &str) -> String {
    let url = url::Url::parse(address).expect("an address");
    assert_eq!(url.host_str(), Some("bitbucket.org"));
    assert_eq!(url.path(), "/site/oauth2/authorize");
    let value = |name: &str| {
        let mut pairs = url.query_pairs();
        let found = pairs.find(|(key, _)| key == name);
        found.expect(name).1.into_owned()
    };
    assert_eq!(value("scope"), "repository repository:write");
    assert_eq!(value("client_id"), CONSUMER.0);
    format!(
        "{}?code=c0de&state={}",
        value("redirect_uri"),
        value("state")
    )
}

fn is_git(head: &str) -> bool {
    head.contains("/info/refs?service=git-upload-pack")
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Whether git may read: at Bitbucket by the usernames that it requires, at Azure DevOps by a token that
/// is called as its organization.
fn is_let_in(host: &str, path: &str, authorization: &str) -> bool {
    let is = |user: &str, password: &str| authorization == basic(user, password);
    if host.starts_with("bitbucket.org") {
        return is("x-bitbucket-api-token-auth", PASTED)
            || is("x-token-auth", PASTED)
            || is("x-token-auth", "access-1")
            || is("x-token-auth", "access-2");
    }
    if host.starts_with("bitbucket.example.com") {
        return is("ada", PASTED);
    }
    let organization = path.split('/').nth(1).unwrap_or_default();
    is(organization, organization)
}

fn answers(head: &str, body: &str) -> Option<String> {
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let host = header(head, "host").unwrap_or_default();
    let authorization = header(head, "authorization").unwrap_or_default();
    if is_git(head) {
        if !is_let_in(host, path, authorization) {
            let realm = "WWW-Authenticate: Basic realm=\"git\"";
            return with_header(401, realm, "");
        }
        // A repository without a commit.
        let line = format!("{} capabilities^{{}}\0agent=test\n", "0".repeat(40));
        let refs = format!(
            "001e# service=git-upload-pack\n0000{:04x}{line}0000",
            line.len() + 4
        );
        let kind = "Content-Type: application/x-git-upload-pack-advertisement";
        return with_header(200, kind, &refs);
    }
    if method == "POST" && path == "/site/oauth2/access_token" {
        if authorization != basic(CONSUMER.0, CONSUMER.1) {
            return answer(401, r#"{"error":"invalid_client"}"#);
        }
        let number = match () {
            () if body.contains("grant_type=authorization_code") && body.contains("code=c0de") => 1,
            () if body.contains("refresh_token=refresh-1") => 2,
            () => return answer(400, r#"{"error":"invalid_grant"}"#),
        };
        let tokens = format!(
            r#"{{"access_token":"access-{number}","refresh_token":"refresh-1","expires_in":7200,
                "token_type":"bearer","scopes":"repository:write repository"}}"#
        );
        return answer(200, &tokens);
    }
    with_header(404, "Content-Type: text/html", "<html>not here</html>")
}
