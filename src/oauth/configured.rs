//! OAuth clients in git's configuration: by the keys of git-credential-oauth and by those of Git
//! Credential Manager, so that who comes from either changes nothing.

use url::Url;

use super::{OAuthError, parse_endpoint, split_scopes};
use crate::api::server::ServerUrl;
use crate::secret::Secret;
use crate::sign_in::{ClientAuth, HostType};

/// Configuration for one server, each part of it optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    pub client_id: Option<String>,
    pub client_secret: Option<Secret>,
    pub client_auth: Option<ClientAuth>,
    pub scopes: Option<Vec<String>>,
    pub authorization: Option<Url>,
    pub token: Option<Url>,
    pub device: Option<Url>,
    /// Address that the browser is sent back to.
    pub redirect: Option<Url>,
    /// The username that git has to send with a token (`oauthDefaultUserName`).
    pub git_username: Option<String>,
    /// `provider` of Git Credential Manager, where it is one of our types.
    pub host: Option<HostType>,
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
                // Git Credential Manager's own keys for a GitLab of one's own.
                "gitlabdevclientid" => other.client_id = words(),
                "gitlabdevclientsecret" => other.client_secret = secret(),
                "gitlabdevredirecturi" => other.redirect = Some(parse_endpoint(value)?),
                "provider" => {
                    found.host = match value.to_lowercase().as_str() {
                        "generic" => Some(HostType::Oauth),
                        name => HostType::parse(name),
                    }
                }
                "username" => found.username = words(),
                _ => {}
            }
        }
        Ok(Configured {
            client_id: found.client_id.or(other.client_id),
            client_secret: found.client_secret.or(other.client_secret),
            authorization: found.authorization.or(other.authorization),
            token: found.token.or(other.token),
            device: found.device.or(other.device),
            redirect: found.redirect.or(other.redirect),
            ..found
        })
    }
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
}
