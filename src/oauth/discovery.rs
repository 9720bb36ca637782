//! A server's own description of its endpoints: OpenID Connect Discovery 1.0 and RFC 8414.

use reqwest::Method;
use serde::Deserialize;
use url::Url;

use super::{Endpoints, OAuthError, Reach, client};
use crate::api::ApiError;
use crate::api::http::{Answer, Auth, sentence};
use crate::api::server::ServerUrl;
use crate::sign_in::ClientAuth;

const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// The endpoints that `server` describes; `None` where it describes none.
pub fn discover(server: &ServerUrl, reach: &Reach) -> Result<Option<Endpoints>, OAuthError> {
    // RFC 8414, section 3.1, puts the words before the path, OpenID after it.
    let mut before = server.at("");
    let path = before.path().trim_end_matches('/').to_owned();
    before.set_path(&format!("{OAUTH}{path}"));
    for url in [server.at(OPENID), before] {
        if let Some(answer) = get(&url, Auth::Nobody, reach)?
            && let Some(endpoints) = parse(&answer, &url)?
        {
            return Ok(Some(endpoints));
        }
    }
    Ok(None)
}

/// GET of what may not be there, asked for once: `None` is an answer that says nothing, a redirect
/// among them. [`ApiError::Unreachable`] is all that stays an error.
pub fn get(url: &Url, auth: Auth, reach: &Reach) -> Result<Option<Answer>, OAuthError> {
    match client(url, reach)?.request(Method::GET, url.clone(), auth, None) {
        Ok(answer) => Ok(Some(answer)),
        Err(ApiError::Malformed { .. } | ApiError::Failed { .. } | ApiError::Lost { .. }) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The `url` crate reads no JSON by itself.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Endpoint(Url);

impl TryFrom<String> for Endpoint {
    type Error = url::ParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Url::parse(&text).map(Endpoint)
    }
}

fn parse(answer: &Answer, from: &Url) -> Result<Option<Endpoints>, OAuthError> {
    #[derive(Deserialize)]
    struct Wire {
        issuer: Option<String>,
        authorization_endpoint: Option<Endpoint>,
        token_endpoint: Endpoint,
        device_authorization_endpoint: Option<Endpoint>,
        revocation_endpoint: Option<Endpoint>,
        userinfo_endpoint: Option<Endpoint>,
        #[serde(default)]
        scopes_supported: Vec<String>,
        token_endpoint_auth_methods_supported: Option<Vec<String>>,
        #[serde(default)]
        authorization_response_iss_parameter_supported: bool,
    }
    if answer.status != 200 {
        return Ok(None);
    }
    let Ok(wire) = serde_json::from_slice::<Wire>(answer.body()) else {
        return Ok(None);
    };
    // A server that described another's endpoints beside its own could be handed that one's codes
    // (RFC 9207, section 1) and tokens: it speaks for itself, or for one other as a whole.
    let origin = |url: &Url| url.origin().ascii_serialization();
    let issuer = wire.issuer.as_deref();
    let home = match issuer.map(Url::parse) {
        Some(Ok(issuer)) => origin(&issuer),
        Some(Err(_)) => String::new(),
        None => origin(from),
    };
    let is_home = |endpoint: &Endpoint| origin(&endpoint.0) == home;
    let mut granting = std::iter::once(&wire.token_endpoint)
        .chain(&wire.authorization_endpoint)
        .chain(&wire.device_authorization_endpoint);
    if let Some(foreign) = granting.find(|endpoint| !is_home(endpoint)) {
        return Err(match issuer {
            Some(issuer) if home != origin(from) => OAuthError::Issuer {
                expected: origin(from),
                found: sentence(issuer),
            },
            _ => OAuthError::Endpoint {
                url: sentence(&origin(&foreign.0)),
                why: "the server describes it as its own, and it is another's",
            },
        });
    }
    let takes = |method: &str| {
        let methods = wire.token_endpoint_auth_methods_supported.as_ref();
        methods.is_none_or(|methods| methods.iter().any(|other| other == method))
    };
    let url = |endpoint: Option<Endpoint>| endpoint.map(|endpoint| endpoint.0);
    Ok(Some(Endpoints {
        authorization: url(wire.authorization_endpoint),
        device: url(wire.device_authorization_endpoint),
        // Both are sent tokens.
        revocation: url(wire.revocation_endpoint.filter(is_home)),
        userinfo: url(wire.userinfo_endpoint.filter(is_home)),
        issuer: wire.issuer,
        names_issuer: wire.authorization_response_iss_parameter_supported,
        scopes: wire.scopes_supported,
        client_auth: match (takes("client_secret_basic"), takes("client_secret_post")) {
            (true, _) => Some(ClientAuth::Basic),
            (false, true) => Some(ClientAuth::Body),
            (false, false) => None,
        },
        token: wire.token_endpoint.0,
    }))
}
