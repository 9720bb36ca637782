//! Facts about each kind of host: where its API and its OAuth endpoints are, what it wants
//! from git, and where its users register a client or create a token. Facts only;
//! [`recognition`] asks a server what it is, [`account`] whose a token is.

use url::Url;

use crate::api::server::ServerUrl;
use crate::credential::AZURE;
use crate::oauth::Endpoints;
use crate::sign_in::{ClientAuth, HostType};

pub mod account;
pub mod end;
pub mod github_app;
pub mod gitlab;
pub mod password;
pub mod place;
pub mod recognition;
pub mod renew;
pub mod scopes;
pub mod tokens;

/// The redirect that users register: any port counts (RFC 8252, section 7.3).
pub const REDIRECT: &str = "http://127.0.0.1/";

/// The redirect at Bitbucket, where the port counts.
pub const BITBUCKET_REDIRECT: &str = "http://localhost:34106/";

/// A public client that a host has built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltInClient {
    /// `client_id` (RFC 6749, section 2.2).
    pub client_id: &'static str,
    /// The name that the user sees on the host's page.
    pub name: &'static str,
}

impl BuiltInClient {
    /// The word for it where a client ID is asked for.
    pub const WORD: &'static str = "built-in";
}

/// Registration of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The page; `None` where it differs from server to server.
    pub page: Option<Url>,
    /// Boxes to tick and untick there.
    pub boxes: String,
    /// The redirect to register.
    pub redirect: &'static str,
}

/// The type of a host by its name alone, without asking it.
pub fn known(server: &ServerUrl) -> Option<HostType> {
    let url = server.at("");
    match url.host_str()? {
        "github.com" => Some(HostType::Github),
        name if name.ends_with(".ghe.com") => Some(HostType::Github),
        "gitlab.com" => Some(HostType::Gitlab),
        "gitea.com" => Some(HostType::Gitea),
        "codeberg.org" => Some(HostType::Forgejo),
        "bitbucket.org" => Some(HostType::Bitbucket),
        AZURE => Some(HostType::Azure),
        name if name.ends_with(".visualstudio.com") => Some(HostType::Azure),
        _ => None,
    }
}

/// The base URL of a host that is known by its name: its root, and at dev.azure.com that of the
/// organization. `None` where the URL names no organization.
pub fn home(server: &ServerUrl) -> Option<ServerUrl> {
    let url = server.at("");
    let mut home = url.origin().ascii_serialization();
    if url.host_str() == Some(AZURE) {
        home = format!("{home}/{}", organization(server)?);
    }
    ServerUrl::parse(&home).ok()
}

/// The organization of Azure DevOps that a URL is of, in lower case: its name is the first part of the
/// path, or of the host at visualstudio.com.
pub fn organization(server: &ServerUrl) -> Option<String> {
    let url = server.at("");
    let name = match url.host_str()? {
        AZURE => url.path_segments()?.next(),
        host => host.strip_suffix(".visualstudio.com"),
    };
    let name = name.filter(|name| !name.is_empty())?;
    Some(name.to_ascii_lowercase())
}

/// The path that git's requests are for, where the host has a credential for each.
pub fn path(server: &ServerUrl) -> Option<String> {
    let is_azure = server.at("").host_str() == Some(AZURE);
    is_azure.then(|| organization(server)).flatten()
}

/// Returns whether it is GitHub's own service, and not an Enterprise Server.
pub fn is_github_com(server: &ServerUrl) -> bool {
    known(server) == Some(HostType::Github)
}

/// The URL of a call of the host's API; `path` begins with `/`. `None` for a type without one.
pub fn api(host: HostType, server: &ServerUrl, path: &str) -> Option<Url> {
    match host {
        HostType::Github if is_github_com(server) => {
            let mut url = server.at(path);
            let name = format!("api.{}", url.host_str()?);
            url.set_host(Some(&name)).ok()?;
            Some(url)
        }
        HostType::Github => Some(server.at(&format!("/api/v3{path}"))),
        HostType::Gitlab => Some(server.at(&format!("/api/v4{path}"))),
        HostType::Gitea | HostType::Forgejo => Some(server.at(&format!("/api/v1{path}"))),
        HostType::Wit | HostType::Bitbucket | HostType::Azure | HostType::Oauth => None,
    }
}

/// The OAuth endpoints that each host of the type has; `None` where they have to be discovered.
pub fn endpoints(host: HostType, server: &ServerUrl) -> Option<Endpoints> {
    let at = |path: &str| server.at(path);
    let of = |authorization,
              token,
              device: Option<&str>,
              revocation: Option<&str>,
              userinfo: Option<&str>| {
        Endpoints {
            authorization: Some(at(authorization)),
            token: at(token),
            device: device.map(at),
            revocation: revocation.map(at),
            userinfo: userinfo.map(at),
            issuer: None,
            names_issuer: false,
            client_auth: Some(ClientAuth::Body),
            scopes: Vec::new(),
        }
    };
    match host {
        HostType::Github => Some(of(
            "/login/oauth/authorize",
            "/login/oauth/access_token",
            Some("/login/device/code"),
            None,
            None,
        )),
        HostType::Gitlab => Some(of(
            "/oauth/authorize",
            "/oauth/token",
            Some("/oauth/authorize_device"),
            Some("/oauth/revoke"),
            Some("/oauth/userinfo"),
        )),
        HostType::Gitea | HostType::Forgejo => Some(of(
            "/login/oauth/authorize",
            "/login/oauth/access_token",
            None,
            None,
            Some("/login/oauth/userinfo"),
        )),
        HostType::Bitbucket => Some(Endpoints {
            client_auth: Some(ClientAuth::Basic),
            ..of(
                "/site/oauth2/authorize",
                "/site/oauth2/access_token",
                None,
                None,
                None,
            )
        }),
        // Each directory has its own.
        HostType::Azure => None,
        HostType::Wit | HostType::Oauth => None,
    }
}

/// The least that clones and pushes. `offered` is what the server says it knows.
pub fn scopes(host: HostType, offered: &[String]) -> Vec<String> {
    let words: &[&str] = match host {
        // GitHub has nothing narrower for private repositories. `offline_access` asks for a token
        // that expires, with a refresh token; where it is not known, it counts for nothing.
        HostType::Github => &["repo", "offline_access"],
        HostType::Gitlab => &["read_repository", "write_repository"],
        HostType::Gitea | HostType::Forgejo => &["read:repository", "write:repository"],
        HostType::Bitbucket => &["repository", "repository:write"],
        HostType::Wit | HostType::Azure => &[],
        HostType::Oauth => {
            let known = |word: &&&str| offered.iter().any(|scope| scope == **word);
            let words = ["openid", "offline_access"];
            return words
                .iter()
                .filter(known)
                .map(|&word| word.to_owned())
                .collect();
        }
    };
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The username that git has to send with an OAuth token. Where any will do it is the account's.
pub fn git_username(host: HostType, account: Option<&str>) -> String {
    let name = match (host, account) {
        (HostType::Bitbucket, _) => BITBUCKET_OAUTH,
        (HostType::Gitlab, _) | (_, None) if host != HostType::Github => "oauth2",
        (_, Some(account)) => account,
        (_, None) => "x-access-token",
    };
    name.to_owned()
}

/// The username that Bitbucket requires with OAuth tokens, and with the tokens of a repository, project
/// or workspace.
const BITBUCKET_OAUTH: &str = "x-token-auth";

/// The username that git has to send with a token that was created on a page.
pub fn git_username_of_pasted(host: HostType, account: Option<&str>) -> String {
    match (host, account) {
        (HostType::Bitbucket, account) if account != Some(BITBUCKET_OAUTH) => {
            "x-bitbucket-api-token-auth".to_owned()
        }
        _ => git_username(host, account),
    }
}

/// Returns whether the host has a call that creates a token which git can keep.
pub fn creates_tokens(host: HostType) -> bool {
    matches!(
        host,
        HostType::Wit | HostType::Gitlab | HostType::Gitea | HostType::Forgejo
    )
}

/// Returns whether the host takes OAuth tokens from git as `Authorization: Bearer`.
pub fn takes_bearer(host: HostType) -> bool {
    matches!(host, HostType::Gitea | HostType::Forgejo)
}

/// The public client that each server of the type has, if there is one (`DEFAULT_APPLICATIONS` of
/// Gitea and Forgejo).
pub fn built_in_client(host: HostType) -> Option<BuiltInClient> {
    let client = BuiltInClient {
        client_id: "a4792ccc-144e-407e-86c9-5e7d8d9c3269",
        name: "git-credential-oauth",
    };
    matches!(host, HostType::Gitea | HostType::Forgejo).then_some(client)
}

/// Page for registering a client of one's own.
pub fn registration(host: HostType, server: &ServerUrl) -> Registration {
    let (page, boxes) = match host {
        HostType::Github => (
            Some("/settings/applications/new"),
            "tick \"Enable Device Flow\"",
        ),
        HostType::Gitlab => (
            Some("/-/user_settings/applications"),
            "untick \"Confidential\", tick read_repository and write_repository",
        ),
        HostType::Gitea | HostType::Forgejo => (
            Some("/user/settings/applications"),
            "untick \"Confidential Client\"",
        ),
        HostType::Bitbucket => (None, "tick \"Repositories: Read\" and \"Write\""),
        HostType::Azure => (None, "allow public client flows"),
        HostType::Wit | HostType::Oauth => (
            None,
            "as a public (native) client with the grants authorization_code and refresh_token, \
             and device_code where there is one",
        ),
    };
    Registration {
        page: page.map(|path| server.at(path)),
        boxes: boxes.to_owned(),
        redirect: match host {
            HostType::Bitbucket => BITBUCKET_REDIRECT,
            _ => REDIRECT,
        },
    }
}

/// The page on which a token is created by hand, filled in as far as the host can do that.
pub fn token_page(host: HostType, server: &ServerUrl, machine: &str) -> Option<Url> {
    let name = format!("git on {machine}");
    let filled = |path: &str, pairs: &[(&str, &str)]| {
        let mut url = server.at(path);
        url.query_pairs_mut().extend_pairs(pairs);
        url
    };
    match host {
        HostType::Github => Some(filled(
            "/settings/tokens/new",
            &[("description", &name), ("scopes", "repo")],
        )),
        HostType::Gitlab => Some(filled(
            "/-/user_settings/personal_access_tokens",
            &[("name", &name), ("scopes", "write_repository,self_rotate")],
        )),
        HostType::Gitea
        | HostType::Forgejo
        | HostType::Bitbucket
        | HostType::Azure
        | HostType::Wit
        | HostType::Oauth => tokens_page(host, server),
    }
}

/// The page on which a user lists, creates and revokes tokens by hand.
pub fn tokens_page(host: HostType, server: &ServerUrl) -> Option<Url> {
    let path = match host {
        HostType::Github => "/settings/tokens",
        HostType::Gitlab => "/-/user_settings/personal_access_tokens",
        HostType::Gitea | HostType::Forgejo => "/user/settings/applications",
        HostType::Bitbucket => {
            return Url::parse("https://id.atlassian.com/manage-profile/security/api-tokens").ok();
        }
        HostType::Azure => "/_usersSettings/tokens",
        HostType::Wit | HostType::Oauth => return None,
    };
    Some(server.at(path))
}

/// The page on which the user sees and ends what was granted or created.
pub fn grants_page(host: HostType, server: &ServerUrl) -> Option<Url> {
    let path = match host {
        HostType::Github => "/settings/applications",
        HostType::Gitlab => "/-/user_settings/applications",
        HostType::Gitea | HostType::Forgejo => "/user/settings/applications",
        HostType::Wit | HostType::Bitbucket | HostType::Azure | HostType::Oauth => return None,
    };
    Some(server.at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_where_each_host_has_it() {
        for (host, server, expected) in [
            (
                HostType::Github,
                "https://github.com",
                "https://api.github.com/user",
            ),
            (
                HostType::Github,
                "https://octo.ghe.com",
                "https://api.octo.ghe.com/user",
            ),
            (
                HostType::Github,
                "https://git.example",
                "https://git.example/api/v3/user",
            ),
            (
                HostType::Gitlab,
                "https://h.example/gitlab",
                "https://h.example/gitlab/api/v4/user",
            ),
            (
                HostType::Forgejo,
                "https://codeberg.org",
                "https://codeberg.org/api/v1/user",
            ),
        ] {
            let url = api(host, &ServerUrl::parse(server).unwrap(), "/user").unwrap();
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn git_is_given_the_username_that_the_host_wants() {
        for (host, account, expected) in [
            (HostType::Gitlab, Some("ada"), "oauth2"),
            (HostType::Gitlab, None, "oauth2"),
            (HostType::Github, Some("ada"), "ada"),
            (HostType::Github, None, "x-access-token"),
            (HostType::Forgejo, Some("ada"), "ada"),
            (HostType::Oauth, None, "oauth2"),
            (HostType::Bitbucket, Some("ada"), "x-token-auth"),
            (HostType::Azure, Some("contoso"), "contoso"),
        ] {
            assert_eq!(git_username(host, account), expected, "{host} {account:?}");
        }
        for (host, account, expected) in [
            (HostType::Bitbucket, None, "x-bitbucket-api-token-auth"),
            (
                HostType::Bitbucket,
                Some("ada"),
                "x-bitbucket-api-token-auth",
            ),
            (HostType::Bitbucket, Some("x-token-auth"), "x-token-auth"),
            (HostType::Gitlab, Some("ada"), "oauth2"),
        ] {
            let name = git_username_of_pasted(host, account);
            assert_eq!(name, expected, "{host} {account:?}");
        }
    }

    #[test]
    fn a_host_that_is_known_by_name_has_one_base_url() {
        for (given, expected, path_of_git) in [
            (
                "https://bitbucket.org/acme/site",
                Some("https://bitbucket.org"),
                None,
            ),
            ("https://dev.azure.com", None, None),
            (
                "https://dev.azure.com/Contoso/shop/_git/shop",
                Some("https://dev.azure.com/contoso"),
                Some("contoso"),
            ),
            (
                "https://contoso.visualstudio.com/shop",
                Some("https://contoso.visualstudio.com"),
                None,
            ),
        ] {
            let given = ServerUrl::parse(given).unwrap();
            let found = home(&given).map(|home| home.to_string());
            assert_eq!(found.as_deref(), expected, "{given}");
            assert_eq!(path(&given).as_deref(), path_of_git, "{given}");
        }
    }
}
