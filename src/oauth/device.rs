//! The device flow (RFC 8628): the user confirms a code in a browser, on this machine or any other.

use std::time::{Duration, Instant};

use serde::Deserialize;
use url::Url;

use super::{App, Endpoints, ErrorWire, Form, OAuthError, Reach, Tokens, grant, is_openable, post};
use crate::api::ApiError;
use crate::api::http::{escaped, sentence};
use crate::secret::Secret;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Bounds of the interval between two polls, in seconds.
const MIN_INTERVAL: u64 = 1;
const MAX_INTERVAL: u64 = 300;
/// The interval where the server names none (RFC 8628, section 3.2), and what `slow_down` adds to it
/// (section 3.5), in seconds.
const DEFAULT_INTERVAL: u64 = 5;
const SLOW_DOWN: u64 = 5;
/// Longest life of a code, in seconds.
const MAX_LIFETIME: u64 = 60 * 60;
/// Longest pause after a failed connection.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// A sign-in that waits for the user.
#[derive(Debug)]
pub struct Pending {
    device_code: Secret,
    /// Code that the user types, escaped.
    pub user_code: String,
    /// Address at which it is typed, escaped.
    pub address: String,
    /// The same with the code in it, for a browser on this machine.
    pub complete_address: Option<Url>,
    /// Lifetime of the code.
    pub lifetime: Duration,
    interval: Duration,
}

/// Begins. [`OAuthError::Unsupported`] where the server has no device flow.
pub fn begin(
    endpoints: &Endpoints,
    app: &App,
    scopes: &[String],
    reach: &Reach,
) -> Result<Pending, OAuthError> {
    #[derive(Deserialize)]
    struct Wire {
        device_code: Secret,
        user_code: String,
        #[serde(alias = "verification_url")]
        verification_uri: String,
        verification_uri_complete: Option<String>,
        expires_in: u64,
        interval: Option<u64>,
    }
    let unsupported = OAuthError::Unsupported {
        what: "device flow",
    };
    let Some(endpoint) = &endpoints.device else {
        return Err(unsupported);
    };
    let mut form = Form::new();
    if !scopes.is_empty() {
        form.add("scope", &scopes.join(" "));
    }
    let answer = post(endpoint, app, form, reach)?;
    // Before the error in it: GitLab's says nothing more than the status.
    if matches!(answer.status, 404 | 405) {
        return Err(unsupported);
    }
    if let Some(error) = ErrorWire::of(&answer) {
        return Err(error.into());
    }
    let wire: Wire = answer.json()?;
    let openable = |text: &str| Url::parse(text).ok().filter(is_openable);
    let Some(address) = openable(&wire.verification_uri) else {
        return Err(OAuthError::Endpoint {
            url: sentence(&wire.verification_uri),
            why: "the page for the code has to be https",
        });
    };
    let complete = wire.verification_uri_complete.as_deref().and_then(openable);
    Ok(Pending {
        device_code: wire.device_code,
        user_code: escaped(&wire.user_code),
        complete_address: Some(complete.unwrap_or(address)),
        address: escaped(&wire.verification_uri),
        lifetime: Duration::from_secs(wire.expires_in.min(MAX_LIFETIME)),
        interval: interval(wire.interval.unwrap_or(DEFAULT_INTERVAL)),
    })
}

fn interval(seconds: u64) -> Duration {
    Duration::from_secs(seconds.clamp(MIN_INTERVAL, MAX_INTERVAL))
}

impl Pending {
    /// Polls until the user has answered or the code has expired.
    pub fn wait(
        &self,
        endpoints: &Endpoints,
        app: &mut App,
        reach: &Reach,
    ) -> Result<Tokens, OAuthError> {
        let end = Instant::now() + self.lifetime;
        let mut interval = self.interval;
        let mut pause = interval;
        let mut failure = None;
        loop {
            if Instant::now() + pause >= end {
                std::thread::sleep(end.saturating_duration_since(Instant::now()));
                return Err(failure.map_or(OAuthError::Expired, OAuthError::ExpiredUnanswered));
            }
            std::thread::sleep(pause);
            let form = |form: &mut Form| {
                form.add("grant_type", GRANT);
                form.add_secret("device_code", &self.device_code);
            };
            let polled = self.poll(endpoints, app, form, reach)?;
            failure = None;
            match polled {
                Poll::Done(tokens) => return Ok(tokens),
                Poll::Pending => pause = interval,
                Poll::SlowDown(named) => {
                    let longer = interval + Duration::from_secs(SLOW_DOWN);
                    interval = longer.max(self::interval(named.unwrap_or_default()));
                    pause = interval;
                }
                Poll::Away(error) => {
                    failure = Some(error);
                    pause = (pause * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    fn poll(
        &self,
        endpoints: &Endpoints,
        app: &mut App,
        form: impl Fn(&mut Form),
        reach: &Reach,
    ) -> Result<Poll, OAuthError> {
        match grant(&endpoints.token, app, form, reach) {
            Ok(tokens) => Ok(Poll::Done(tokens)),
            Err(OAuthError::Refused { code, .. }) if code == "authorization_pending" => {
                Ok(Poll::Pending)
            }
            Err(OAuthError::SlowDown { interval }) => Ok(Poll::SlowDown(interval)),
            // A server that is away may come back while the code lives.
            Err(OAuthError::Api(
                error @ (ApiError::Unreachable { .. }
                | ApiError::Lost { .. }
                | ApiError::Failed { .. }
                | ApiError::Limited { .. }),
            )) => Ok(Poll::Away(error)),
            Err(error) => Err(error),
        }
    }
}

enum Poll {
    Done(Tokens),
    Pending,
    SlowDown(Option<u64>),
    Away(ApiError),
}
