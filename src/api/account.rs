//! An account and its sign-ins, at a server of `wit up`.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ApiError;
use super::checked;
use super::http::{Client, time};
use crate::expiry::UnixTime;
use crate::secret::Secret;

const PLACE: &str = "/api/account";
const SIGN_INS: &str = "/api/account/sign-ins";

/// An account as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Profile {
    /// Id of the account.
    pub id: String,
    /// Email address, by which the account signs in.
    pub email: String,
    /// Username; `None` until one was chosen.
    #[serde(default)]
    pub username: Option<String>,
}

/// A browser or program that is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// Id, by which it is ended.
    pub id: String,
    /// Name that the device gave itself.
    pub name: Option<String>,
    /// Address from which it was begun, where the server keeps addresses.
    pub address: Option<String>,
    /// Time of the sign-in.
    pub created: UnixTime,
    /// Time at which it ends by itself.
    pub expires: UnixTime,
    /// Time of the last request; `None` before the first.
    pub last_used: Option<UnixTime>,
    /// Address of the last request, where the server keeps addresses.
    pub last_address: Option<String>,
    /// True if the question was asked by it.
    pub is_current: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSignIn {
    id: String,
    name: Option<String>,
    address: Option<String>,
    created_at: String,
    expires_at: String,
    last_used_at: Option<String>,
    last_address: Option<String>,
    current: bool,
}

impl WireSignIn {
    fn into_sign_in(self) -> Result<SignIn, ApiError> {
        Ok(SignIn {
            id: checked::id(self.id)?,
            name: self.name.filter(|name| !name.is_empty()),
            address: self.address,
            created: time(&self.created_at)?,
            expires: time(&self.expires_at)?,
            last_used: self.last_used_at.as_deref().map(time).transpose()?,
            last_address: self.last_address,
            is_current: self.current,
        })
    }
}

/// The account of a session. [`ApiError::NotFound`] at a server without such an API, as for all below.
pub fn show(client: &Client, session: &Secret) -> Result<Profile, ApiError> {
    client.get(PLACE, Some(session))?.json()
}

/// Sends a document with a password in it; nothing of it is left in memory here.
fn post<T: Serialize>(
    client: &Client,
    path: &str,
    session: &Secret,
    document: &T,
) -> Result<super::http::Answer, ApiError> {
    let mut body = Zeroizing::new(Vec::with_capacity(2048));
    serde_json::to_writer(&mut *body, document).map_err(|_| ApiError::Malformed {
        what: "a password that is no text".to_owned(),
    })?;
    client.post_bytes(path, Some(session), std::mem::take(&mut *body))
}

fn text(secret: &Secret) -> Result<&str, ApiError> {
    secret.expose_str().ok_or_else(|| ApiError::Refused {
        message: "a password is text in UTF-8".to_owned(),
    })
}

/// Sets a new password; how many other sign-ins were ended with it.
pub fn change_password(
    client: &Client,
    session: &Secret,
    current: &Secret,
    new: &Secret,
) -> Result<u64, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Change<'a> {
        current_password: &'a str,
        new_password: &'a str,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Changed {
        ended_sign_ins: u64,
    }
    let change = Change {
        current_password: text(current)?,
        new_password: text(new)?,
    };
    let answer = post(client, "/api/account/password", session, &change)?;
    Ok(answer.json::<Changed>()?.ended_sign_ins)
}

/// Gives the account another email.
pub fn change_email(
    client: &Client,
    session: &Secret,
    email: &str,
    current: &Secret,
) -> Result<Profile, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Change<'a> {
        email: &'a str,
        current_password: &'a str,
    }
    let change = Change {
        email,
        current_password: text(current)?,
    };
    post(client, "/api/account/email", session, &change)?.json()
}

/// Sign-ins of the account, the one used last first.
pub fn sign_ins(client: &Client, session: &Secret) -> Result<Vec<SignIn>, ApiError> {
    let all: Vec<WireSignIn> = client.get(SIGN_INS, Some(session))?.json()?;
    all.into_iter().map(WireSignIn::into_sign_in).collect()
}

/// Ends one sign-in. [`ApiError::NotFound`] where the account has none of that id.
pub fn end(client: &Client, session: &Secret, id: &str) -> Result<(), ApiError> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(ApiError::NotFound);
    }
    let path = format!("{SIGN_INS}/{id}");
    client.delete(&path, Some(session))?.done()
}

/// Ends all sign-ins, or all but the one that asks; how many.
pub fn end_all(client: &Client, session: &Secret, keeps_current: bool) -> Result<u64, ApiError> {
    #[derive(Deserialize)]
    struct Ended {
        ended: u64,
    }
    let query: &[(&str, &str)] = match keeps_current {
        true => &[("keep", "current")],
        false => &[],
    };
    let answer = client.delete_with(SIGN_INS, query, Some(session))?;
    Ok(answer.json::<Ended>()?.ended)
}
