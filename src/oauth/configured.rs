//! OAuth clients in git's configuration: by the keys of git-credential-oauth and by those of Git
//! Credential Manager, so that who comes from either changes nothing.

use url::Url;

use super::{OAuthError, parse_endpoint, split_scopes};
use crate::api::server::ServerUrl;
use crate::secret::Secret;
use crate::sign_in::{ClientAuth, HostType};

/// A way to sign in, in the words of Git Credential Manager's `gitHubAuthModes` and
/// `gitLabAuthModes`. Its `basic`, a password, is none at either host today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// OAuth in a browser of this machine.
    Browser,
    /// OAuth by a code that is confirmed anywhere (RFC 8628).
    Device,
    /// A token that was created elsewhere.
    Token,
}

/// Configuration for one type of host, by keys of Git Credential Manager's that name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfHost {
    client_id: Option<String>,
    client_secret: Option<Secret>,
    redirect: Option<Url>,
    modes: Vec<Mode>,
}

/// Configuration for one server, each part of it optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// `oauthClientId`.
    pub client_id: Option<String>,
    /// `oauthClientSecret`.
    pub client_secret: Option<Secret>,
    /// `oauthUseClientAuthHeader`.
    pub client_auth: Option<ClientAuth>,
    /// `oauthScopes`.
    pub scopes: Option<Vec<String>>,
    /// `oauthAuthURL` or `oauthAuthorizeEndpoint`.
    pub authorization: Option<Url>,
    /// `oauthTokenURL` or `oauthTokenEndpoint`.
    pub token: Option<Url>,
    /// `oauthDeviceAuthURL` or `oauthDeviceEndpoint`.
    pub device: Option<Url>,
    /// Address that the browser is sent back to.
    pub redirect: Option<Url>,
    /// The username that git has to send with a token (`oauthDefaultUserName`).
    pub git_username: Option<String>,
    /// `provider` of Git Credential Manager, or `authority` before that, where it is one of our types.
    pub host: Option<HostType>,
    /// `provider`, where it says nothing but that the host is none of our types.
    pub provider: Option<String>,
    /// `useHttpPath`.
    pub use_http_path: bool,
    /// The only ways in that are wanted; all of them where it is empty.
    pub modes: Vec<Mode>,
    github: OfHost,
    gitlab: OfHost,
    /// `credential.username`.
    pub username: Option<String>,
}

impl Configured {
    /// The arguments that have git print what counts for `server`.
    pub fn git_arguments(server: &ServerUrl) -> [String; 5] {
        let words = ["config", "-z", "--get-urlmatch", "credential"].map(str::to_owned);
        let [config, nul, urlmatch, section] = words;
        [config, nul, urlmatch, section, server.to_string()]
    }

    /// The arguments that have git print what is configured for a URL or a part of one. Git Credential
    /// Manager takes a host without a scheme too, such as `credential.ghe.example.com.provider`, which
    /// git does not match.
    pub const GIT_SCOPED: [&'static str; 4] =
        ["config", "-z", "--get-regexp", r"^credential\..+\..+"];

    /// Of what git printed for [`Configured::GIT_SCOPED`] the part for the host of `server`, with the
    /// more specific last, in the form of the other.
    pub fn scoped(server: &ServerUrl, printed: &[u8]) -> Vec<u8> {
        let url = server.at("/");
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!("{host}:{port}"));
        let is_meant = |scope: &str| {
            let is_parent = |scope: &str| {
                let below = host.strip_suffix(scope);
                below.is_some_and(|below| below.ends_with('.')) && scope.contains('.')
            };
            !scope.contains("://")
                && (scope == host || port.as_deref() == Some(scope) || is_parent(scope))
        };
        let mut found: Vec<(&str, String)> = Vec::new();
        let text = String::from_utf8_lossy(printed);
        for entry in text.split('\0') {
            let Some((key, value)) = entry.split_once('\n') else {
                continue;
            };
            let scope = key
                .strip_prefix("credential.")
                .and_then(|key| key.rsplit_once('.'));
            if let Some((scope, key)) = scope.filter(|(scope, _)| is_meant(scope)) {
                found.push((scope, format!("credential.{key}\n{value}\0")));
            }
        }
        found.sort_by_key(|(scope, _)| scope.len());
        let entries = found.into_iter().map(|(_, entry)| entry);
        entries.collect::<String>().into_bytes()
    }

    /// The same with what is for hosts of that type alone.
    pub fn of(self, host: HostType) -> Self {
        let of_host = match host {
            HostType::Github => self.github.clone(),
            HostType::Gitlab => self.gitlab.clone(),
            _ => OfHost::default(),
        };
        let has_client = self.client_id.is_some();
        Configured {
            // A secret is the client's that it was given with.
            client_secret: self.client_secret.or(match has_client {
                true => None,
                false => of_host.client_secret,
            }),
            client_id: self.client_id.or(of_host.client_id),
            redirect: self.redirect.or(of_host.redirect),
            modes: of_host.modes,
            ..self
        }
    }

    /// Reads what git printed: `KEY LF VALUE NUL`, with keys in lower case. Where both sets name an
    /// endpoint, git-credential-oauth's goes first.
    pub fn parse(server: &ServerUrl, printed: &[u8]) -> Result<Self, OAuthError> {
        let mut found = Configured::default();
        let mut other = Configured::default();
        for entry in printed.split(|byte| *byte == 0) {
            let text = String::from_utf8_lossy(entry);
            let Some((key, value)) = text.split_once('\n') else {
                continue;
            };
            let key = key.strip_prefix("credential.").unwrap_or(key);
            if value.is_empty() {
                continue;
            }
            let words = || Some(value.to_owned());
            let secret = || Some(Secret::from(value.to_owned()));
            match key {
                "oauthclientid" => found.client_id = words(),
                "oauthclientsecret" => found.client_secret = secret(),
                "oauthscopes" => found.scopes = Some(split_scopes(value)),
                "oauthauthurl" => found.authorization = Some(endpoint(server, value)?),
                "oauthtokenurl" => found.token = Some(endpoint(server, value)?),
                "oauthdeviceauthurl" => found.device = Some(endpoint(server, value)?),
                "oauthredirecturl" => found.redirect = Some(parse_endpoint(value)?),
                "oauthauthorizeendpoint" => other.authorization = Some(endpoint(server, value)?),
                "oauthtokenendpoint" => other.token = Some(endpoint(server, value)?),
                "oauthdeviceendpoint" => other.device = Some(endpoint(server, value)?),
                "oauthredirecturi" => other.redirect = Some(parse_endpoint(value)?),
                "oauthuseclientauthheader" => {
                    let is_off = ["false", "no", "off", "0"].contains(&&*value.to_lowercase());
                    found.client_auth = Some(match is_off {
                        true => ClientAuth::Body,
                        false => ClientAuth::Basic,
                    });
                }
                "oauthdefaultusername" => found.git_username = words(),
                // Git Credential Manager's own keys for a client of one's own.
                "gitlabdevclientid" => found.gitlab.client_id = words(),
                "gitlabdevclientsecret" => found.gitlab.client_secret = secret(),
                "gitlabdevredirecturi" => found.gitlab.redirect = Some(parse_endpoint(value)?),
                "gitlabauthmodes" => found.gitlab.modes = modes(value),
                "githubdevclientid" => found.github.client_id = words(),
                "githubdevclientsecret" => found.github.client_secret = secret(),
                "githubdevredirecturi" => found.github.redirect = Some(parse_endpoint(value)?),
                "githubauthmodes" => found.github.modes = modes(value),
                "provider" => {
                    found.host = match value.to_lowercase().as_str() {
                        // A username and a password, or OAuth where a client is given.
                        "generic" | "bitbucket" | "azure-repos" => {
                            found.provider = words();
                            None
                        }
                        name => HostType::parse(name),
                    }
                }
                // Deprecated; the others are of Azure, or of any host.
                "authority" => {
                    other.host = HostType::parse(&value.to_lowercase())
                        .filter(|host| matches!(host, HostType::Github | HostType::Gitlab));
                }
                "username" => found.username = words(),
                "usehttppath" => {
                    let is_off = ["false", "no", "off", "0"].contains(&&*value.to_lowercase());
                    found.use_http_path = !is_off;
                }
                _ => {}
            }
        }
        let has_client =
            found.client_id.is_some() || found.token.is_some() || other.token.is_some();
        let oauth = (found.provider.is_some() && has_client).then_some(HostType::Oauth);
        Ok(Configured {
            host: found.host.or(oauth).or(other.host),
            authorization: found.authorization.or(other.authorization),
            token: found.token.or(other.token),
            device: found.device.or(other.device),
            redirect: found.redirect.or(other.redirect),
            ..found
        })
    }
}

/// The ways in a list with commas. What is none that we have is left out.
fn modes(value: &str) -> Vec<Mode> {
    let words = value.split(',').map(|word| word.trim().to_lowercase());
    let modes = words.flat_map(|word| match word.as_str() {
        "oauth" => vec![Mode::Browser, Mode::Device],
        "browser" => vec![Mode::Browser],
        "device" => vec![Mode::Device],
        "pat" => vec![Mode::Token],
        _ => Vec::new(),
    });
    modes.collect()
}

/// A configured endpoint; a relative one is of the host.
fn endpoint(server: &ServerUrl, value: &str) -> Result<Url, OAuthError> {
    if value.contains("://") {
        return parse_endpoint(value);
    }
    let host = server.at("/").join("/");
    let joined = host.and_then(|host| host.join(value));
    joined.map_err(|_| OAuthError::Endpoint {
        url: crate::api::http::sentence(value),
        why: "it is not a URL",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sets_of_keys_are_read_and_relative_urls_are_of_the_host() {
        let server = ServerUrl::parse("https://git.example/sub").unwrap();
        let url = |text: &str| Some(Url::parse(text).unwrap());
        let oauth = Configured::parse(
            &server,
            b"credential.oauthclientid\nid\0credential.oauthscopes\nread write\0\
              credential.oauthauthurl\n/login/oauth/authorize\0\
              credential.oauthtokenurl\nhttps://other.example/token\0\
              credential.oauthdeviceauthurl\n/device\0credential.helper\n\0",
        );
        let oauth = oauth.unwrap();
        assert_eq!(oauth.client_id.as_deref(), Some("id"));
        assert_eq!(oauth.scopes, Some(vec!["read".into(), "write".into()]));
        assert_eq!(
            oauth.authorization,
            url("https://git.example/login/oauth/authorize")
        );
        assert_eq!(oauth.token, url("https://other.example/token"));
        assert_eq!(oauth.device, url("https://git.example/device"));

        let manager = Configured::parse(
            &server,
            b"credential.provider\ngeneric\0credential.oauthclientid\nid\0\
              credential.oauthclientsecret\nshh\0credential.oauthauthorizeendpoint\n/a\0\
              credential.oauthtokenendpoint\n/t\0credential.oauthredirecturi\nhttp://localhost:7/\0\
              credential.oauthuseclientauthheader\nfalse\0credential.oauthdefaultusername\nX\0",
        );
        let manager = manager.unwrap();
        assert_eq!(manager.host, Some(HostType::Oauth));
        assert_eq!(manager.client_secret, Some(Secret::from("shh".to_owned())));
        assert_eq!(manager.client_auth, Some(ClientAuth::Body));
        assert_eq!(manager.authorization, url("https://git.example/a"));
        assert_eq!(manager.redirect, url("http://localhost:7/"));
        assert_eq!(manager.git_username.as_deref(), Some("X"));
    }

    #[test]
    fn what_is_for_one_type_of_host_counts_there_alone() {
        let server = ServerUrl::parse("https://git.example").unwrap();
        let printed = b"credential.gitlabdevclientid\nlab\0credential.gitlabdevclientsecret\ns\0\
            credential.githubdevclientid\nhub\0credential.githubauthmodes\nDevice, basic,pat\0\
            credential.gitlabauthmodes\nbrowser\0credential.authority\ngithub\0";
        let both = Configured::parse(&server, printed).unwrap();
        assert_eq!(both.host, Some(HostType::Github));
        let lab = both.clone().of(HostType::Gitlab);
        assert_eq!(lab.client_id.as_deref(), Some("lab"));
        assert!(lab.client_secret.is_some());
        assert_eq!(lab.modes, [Mode::Browser]);
        let hub = both.clone().of(HostType::Github);
        assert_eq!(hub.client_id.as_deref(), Some("hub"));
        assert_eq!(hub.client_secret, None);
        assert_eq!(hub.modes, [Mode::Device, Mode::Token]);
        let other = both.of(HostType::Gitea);
        assert_eq!((other.client_id, other.modes), (None, Vec::new()));
    }

    #[test]
    fn a_scope_without_a_scheme_is_a_hosts_or_its_parents() {
        let printed = b"credential.example.com.provider\ngitlab\0\
            credential.ghe.example.com.provider\ngithub\0\
            credential.ghe.example.com:8443.oauthclientid\nid\0\
            credential.https://ghe.example.com.oauthscopes\nx\0\
            credential.he.example.com.provider\ngeneric\0credential.com.provider\ngeneric\0";
        let scoped = |url: &str| {
            let server = ServerUrl::parse(url).unwrap();
            let scoped = Configured::scoped(&server, printed);
            Configured::parse(&server, &scoped).unwrap()
        };
        let found = scoped("https://ghe.example.com:8443");
        assert_eq!(found.host, Some(HostType::Github));
        assert_eq!(found.client_id.as_deref(), Some("id"));
        assert_eq!(found.scopes, None);
        assert_eq!(scoped("https://ghe.example.com").client_id, None);
        assert_eq!(
            scoped("https://lab.example.com").host,
            Some(HostType::Gitlab)
        );
        assert_eq!(scoped("https://other.com"), Configured::default());
    }
}
