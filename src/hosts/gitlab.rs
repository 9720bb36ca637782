//! GitLab's token calls, and the token that replaces itself by one of them
//! (`POST /personal_access_tokens/self/rotate`).

use reqwest::Method;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use time::Date;
use time::macros::format_description;
use url::Url;
use zeroize::Zeroizing;

use super::account::end_of_date;
use super::api as api_url;
use crate::api::checked;
use crate::api::http::{Answer, Auth, Client, sentence, time};
use crate::api::promises::{Precision, Promises, SelfRotation};
use crate::api::server::ServerUrl;
use crate::api::{Account, ApiError, CreatedToken, Form, NewToken, Scope, Token, TokenApi};
use crate::expiry::{DAY, Expiry, UnixTime, iso_date};
use crate::oauth::Reach;
use crate::secret::Secret;
use crate::sign_in::HostType;

/// Path at which each personal access token may ask about itself, whatever its scopes.
pub const SELF: &str = "/personal_access_tokens/self";
/// The lifetime that every GitLab since 16.0 allows, in days; some allow 400.
const USUAL_MAX_DAYS: u32 = 365;

/// Abilities of GitLab for a token about itself, and nothing more.
pub const ITSELF: Promises = Promises {
    list: true,
    revoke_itself: true,
    expiry: Precision::Date,
    requires_end: true,
    self_rotation: SelfRotation::WithoutOverlap,
    describes_itself: true,
    ..Promises::NOTHING
};

/// A client of the API of one GitLab.
pub struct Calls {
    client: Client,
    server: ServerUrl,
}

impl Calls {
    /// For the server at its base URL; `reach` has its certificates.
    pub fn new(server: &ServerUrl, reach: &Reach) -> Result<Self, ApiError> {
        let client = Client::trusting(server, false, reach.ca_file.as_deref())?;
        Ok(Calls {
            client: match reach.limit {
                Some(limit) => client.within(limit),
                None => client,
            },
            server: server.clone(),
        })
    }

    /// The URL of a call; `path` begins with `/`.
    pub fn url(&self, path: &str) -> Result<Url, ApiError> {
        api_url(HostType::Gitlab, &self.server, path).ok_or(ApiError::NotFound)
    }

    /// A request, sent once, and its answer if that is a success.
    pub fn send(
        &self,
        method: Method,
        url: Url,
        auth: Auth,
        body: Option<&Value>,
    ) -> Result<Answer, ApiError> {
        let body = body.map(|body| Zeroizing::new(body.to_string().into_bytes()));
        let body = body.map(|body| ("application/json", body));
        let answer = self.client.request(method, url, auth, body)?;
        match error_of(&answer) {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// Answer of GitLab about a token. [`ApiError::Unauthorized`] if it has ended, and only then.
    pub fn about(&self, token: &Secret) -> Result<WireToken, ApiError> {
        let auth = Auth::Header("private-token", token);
        match self.send(Method::GET, self.url(SELF)?, auth, None) {
            Err(ApiError::NotFound) => Err(self.without("call about a token by itself")),
            other => other?.json(),
        }
    }

    /// The error where the server does not know a call: [`ApiError::NotFound`] would be a token's.
    pub fn without(&self, what: &str) -> ApiError {
        ApiError::Refused {
            message: format!(
                "{} has no {what}, which GitLab has from 15.5 on",
                self.server
            ),
        }
    }

    /// Server clock minus this machine's, in seconds; `None` before the first answer.
    pub fn clock_skew(&self) -> Option<i64> {
        self.client.clock_skew()
    }

    /// The date, as GitLab takes it, on whose beginning a token of so many days ends.
    pub fn date_in(&self, days: u32) -> String {
        let now = UnixTime::now().plus(self.clock_skew().unwrap_or(0));
        iso_date(now.plus(i64::from(days) * DAY))
    }

    /// `longest_lifetime`, by the server's clock.
    pub fn longest_lifetime(&self, asked: u32, refusal: &str) -> Option<u32> {
        let now = UnixTime::now().plus(self.clock_skew().unwrap_or(0));
        longest_lifetime(asked, refusal, now)
    }
}

/// A token as GitLab writes it; `token` only where it was just created.
#[derive(Deserialize)]
pub struct WireToken {
    id: u64,
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    created_at: Option<String>,
    last_used_at: Option<String>,
    expires_at: Option<String>,
    /// Account of the token.
    pub user_id: Option<u64>,
    /// True if it was revoked: GitLab goes on listing it.
    #[serde(default)]
    pub revoked: bool,
    /// `None` where the server keeps none, `Some(None)` where it is empty.
    #[serde(default, deserialize_with = "present")]
    pub description: Option<Option<String>>,
    /// Of project and group tokens.
    pub access_level: Option<u8>,
    token: Option<Secret>,
}

fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

impl WireToken {
    /// The token under the id that the caller gives it.
    pub fn into_token(self, id: String) -> Result<Token, ApiError> {
        let time = |text: &Option<String>| text.as_deref().and_then(|text| time(text).ok());
        let expiry = self.expires_at.as_deref().map(end_of_date).transpose()?;
        checked::listed(Token {
            id,
            name: self.name,
            // It tells nothing of the secret.
            prefix: String::new(),
            suffix: String::new(),
            scopes: self.scopes,
            repositories: Vec::new(),
            created: time(&self.created_at),
            last_used: time(&self.last_used_at),
            expiry,
            request_id: None,
            replaced_by: None,
        })
    }

    /// The number that GitLab knows it by.
    pub fn number(&self) -> u64 {
        self.id
    }

    /// The secret of a token that was just created.
    pub fn take_secret(&mut self) -> Result<Secret, ApiError> {
        let secret = self.token.take().ok_or_else(|| ApiError::Malformed {
            what: "a new token without its secret".into(),
        })?;
        checked::secret(secret)
    }
}

/// The error that an answer is; `None` for a success. GitLab's sentence is in `message`, as text or as
/// lists below names of fields, or in `error_description`.
fn error_of(answer: &Answer) -> Option<ApiError> {
    let error = answer.done().err()?;
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    Some(match error {
        ApiError::Forbidden { .. } if text("error") == Some("insufficient_scope") => {
            let scope = text("scope").unwrap_or("api");
            ApiError::Forbidden {
                message: sentence(&format!("this takes a token with the scope {scope}")),
            }
        }
        ApiError::Forbidden { message } => ApiError::Forbidden {
            message: said(&body).unwrap_or(message),
        },
        ApiError::Refused { message } => ApiError::Refused {
            message: said(&body).unwrap_or(match answer.status {
                405 => "GitLab has no such call for a token of this kind".to_owned(),
                _ => message,
            }),
        },
        other => other,
    })
}

/// GitLab's sentence, escaped and cut.
fn said(body: &Value) -> Option<String> {
    let text = match body.get("message") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(fields)) => {
            let said = fields.iter().map(|(field, said)| {
                let said: Vec<&str> = match said {
                    Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
                    other => other.as_str().into_iter().collect(),
                };
                format!("{field} {}", said.join(", "))
            });
            said.collect::<Vec<_>>().join("; ")
        }
        _ => {
            let named = ["error_description", "error"];
            let named = named.iter().find_map(|name| body.get(name)?.as_str());
            named?.to_owned()
        }
    };
    (!text.is_empty()).then(|| sentence(&text))
}

/// The lifetime to ask for after that refusal of `asked` days: 365, the usual maximum, then what the
/// sentence says, a date or a number of days. The date itself is not asked for: some say before
/// which the end has to be.
fn longest_lifetime(asked: u32, refusal: &str, now: UnixTime) -> Option<u32> {
    let words = || refusal.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let day = |at: UnixTime| at.0.div_euclid(DAY);
    let date = words().find_map(|word| {
        let date = Date::parse(word, format_description!("[year]-[month]-[day]")).ok()?;
        let end = UnixTime(date.midnight().assume_utc().unix_timestamp());
        u32::try_from(day(end) - day(now) - 1).ok()
    });
    let mut pairs = words().zip(words().skip(1));
    let days = pairs.find_map(|(number, unit)| {
        let is_days = unit.eq_ignore_ascii_case("days") || unit.eq_ignore_ascii_case("day");
        number.parse::<u32>().ok().filter(|_| is_days)
    });
    let is_shorter = |days: &u32| (1..asked).contains(days);
    let usual = Some(USUAL_MAX_DAYS).filter(is_shorter);
    usual.or(date.or(days).filter(is_shorter))
}

/// One token that replaces itself.
pub struct Itself {
    calls: Calls,
    token: Secret,
}

impl Itself {
    /// For a token of which the secret is at hand.
    pub fn new(server: &ServerUrl, token: Secret, reach: &Reach) -> Result<Self, ApiError> {
        Ok(Itself {
            calls: Calls::new(server, reach)?,
            token,
        })
    }

    fn auth(&self) -> Auth<'_> {
        Auth::Header("private-token", &self.token)
    }
}

const UNSUPPORTED: ApiError = ApiError::Unsupported {
    what: "do that for a token alone",
};

impl TokenApi for Itself {
    fn form(&self) -> Form {
        Form::SelfToken
    }

    fn promises(&self) -> Promises {
        ITSELF
    }

    /// Replaces the token, which has ended then: name and scopes stay. Sent once. The caller has seen
    /// that the token is alive: GitLab revokes the whole family of a dead one that asks for this.
    fn create(&self, new: &NewToken) -> Result<CreatedToken, ApiError> {
        let body = match new.expires_in_days {
            Some(days) => json!({ "expires_at": self.calls.date_in(days) }),
            None => json!({}),
        };
        let url = self.calls.url(&format!("{SELF}/rotate"))?;
        let sent = self.calls.send(Method::POST, url, self.auth(), Some(&body));
        let answer = sent.map_err(|error| match error {
            ApiError::Forbidden { message } if !message.contains("self_rotate") => {
                let why = "a token replaces itself with the scope self_rotate";
                ApiError::Forbidden {
                    message: format!("{message} ({why})"),
                }
            }
            other => other,
        })?;
        let mut wire: WireToken = answer.json()?;
        let secret = wire.take_secret()?;
        let id = wire.number().to_string();
        let token = wire.into_token(id)?;
        Ok(CreatedToken { token, secret })
    }

    fn longest_lifetime(&self, asked: u32, refusal: &str) -> Option<u32> {
        self.calls.longest_lifetime(asked, refusal)
    }

    fn list(&self) -> Result<Vec<Token>, ApiError> {
        let wire = self.calls.about(&self.token)?;
        let id = wire.number().to_string();
        Ok(vec![wire.into_token(id)?])
    }

    /// The old one has ended.
    fn revoke(&self, _id: &str) -> Result<(), ApiError> {
        Ok(())
    }

    fn verify(&self, token: &Secret) -> Result<Account, ApiError> {
        account_of(&self.calls.about(token)?)
    }

    fn scopes(&self) -> Result<Vec<Scope>, ApiError> {
        Err(UNSUPPORTED)
    }

    fn shorten(&self, _id: &str, _at: Expiry) -> Result<(), ApiError> {
        Err(UNSUPPORTED)
    }

    fn clock_skew(&self) -> Option<i64> {
        self.calls.clock_skew()
    }
}

/// User of a token, as GitLab tells it of the token itself: a number. A revoked one may still be
/// described, by an administrator's rights.
pub fn account_of(wire: &WireToken) -> Result<Account, ApiError> {
    if wire.revoked {
        return Err(ApiError::Unauthorized);
    }
    Ok(Account {
        id: wire.user_id.map(|id| id.to_string()).unwrap_or_default(),
        username: None,
        email: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_lifetime_is_what_a_refusal_tells() {
        // 2024-04-15, at ten.
        let now = UnixTime(1_713_175_200);
        let after = |asked, refusal| longest_lifetime(asked, refusal, now);
        let before = "expires_at must be before 2024-05-15";
        assert_eq!(after(400, before), Some(365));
        assert_eq!(after(365, before), Some(29));
        assert_eq!(after(29, before), None, "no end to asking");
        let most = "Expiration date can't be more than 60 days from now";
        assert_eq!(after(90, most), Some(60));
        assert_eq!(after(400, "400 Bad request"), Some(365));
        let legacy = "400 Bad request - Rotation of legacy personal access tokens is disabled.";
        assert_eq!(after(90, legacy), None);
    }

    #[test]
    fn each_form_of_a_refusal_is_said() {
        let said = |body| said(&body).expect("a sentence");
        assert_eq!(
            said(json!({ "message": "400 Bad request" })),
            "400 Bad request"
        );
        let fields = json!({ "message": { "name": ["is too long", "is bad"] } });
        assert_eq!(said(fields), "name is too long, is bad");
        let oauth = json!({ "error": "invalid_token", "error_description": "Token is expired" });
        assert_eq!(said(oauth), "Token is expired");
        assert_eq!(super::said(&json!({})), None);
    }
}
