//! Signing in a device that has no browser: the two requests that it makes (RFC 8628).

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Form, FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Shared;
use super::api::Account;
use super::client;
use super::origin::Origin;
use super::page;
use super::refusal::Refusal;
use crate::database::DatabaseError;
use crate::database::device::{Answer, INTERVAL, LIFE};
use crate::database::sessions::SESSION;
use crate::secret::Secret;

/// Grant type of a device's request for its token (RFC 8628, section 3.4).
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/auth/device/code", post(ask))
        .route("/api/auth/device/token", post(poll))
}

/// An answer that is a no, in OAuth's words (RFC 6749, section 5.2).
enum Refused {
    Because {
        error: &'static str,
        description: String,
    },
    Otherwise(Refusal),
}

fn because(error: &'static str, description: &str) -> Refused {
    Refused::Because {
        error,
        description: description.to_owned(),
    }
}

impl From<DatabaseError> for Refused {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Invalid(what) | DatabaseError::InvalidField(_, what) => {
                because("invalid_request", &what)
            }
            other => Refused::Otherwise(other.into()),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Refused::Because { error, description } => {
                let body = json!({ "error": error, "error_description": description });
                (StatusCode::BAD_REQUEST, Json(body)).into_response()
            }
            Refused::Otherwise(refusal) => refusal.into_response(),
        }
    }
}

/// A form, as the RFC says, or the same as JSON, as the rest of this API has it.
struct Input<T>(T);

impl<T: DeserializeOwned> FromRequest<Shared> for Input<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Refused> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let read = match is_json {
            true => Json::from_request(request, state)
                .await
                .ok()
                .map(|Json(input)| input),
            false => Form::from_request(request, state)
                .await
                .ok()
                .map(|Form(input)| input),
        };
        let unread = || {
            because(
                "invalid_request",
                "the request body is not what this call expects",
            )
        };
        read.map(Input).ok_or_else(unread)
    }
}

#[derive(Deserialize)]
struct Asking {
    client_id: String,
    /// Not the RFC's: where the client runs, for the person who is asked.
    device_name: Option<String>,
}

async fn ask(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    origin: Origin,
    Input(asking): Input<Asking>,
) -> Result<Json<Value>, Refused> {
    platform
        .limits
        .address(from.ip())
        .map_err(Refused::Otherwise)?;
    let name = match asking.device_name.filter(|device| !device.is_empty()) {
        Some(device) => format!("{} on {device}", asking.client_id),
        None => asking.client_id,
    };
    let codes = platform.database.ask_device(&name, from.ip()).await?;
    Ok(Json(json!({
        "device_code": codes.device.expose_str(),
        "user_code": codes.user,
        "verification_uri": format!("{}{}", origin.url(), page::DEVICE),
        "expires_in": LIFE.whole_seconds(),
        "interval": INTERVAL,
    })))
}

#[derive(Deserialize)]
struct Polling {
    grant_type: String,
    device_code: Secret,
}

async fn poll(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Input(polling): Input<Polling>,
) -> Result<Json<Value>, Refused> {
    if polling.grant_type != GRANT_TYPE {
        let known = format!("the one grant type known here is {GRANT_TYPE}");
        return Err(because("unsupported_grant_type", &known));
    }
    let (user, device) = match platform.database.poll_device(&polling.device_code).await? {
        Answer::Granted { user, device } => (user, device),
        Answer::Pending => {
            return Err(because(
                "authorization_pending",
                "the request has not been answered yet",
            ));
        }
        Answer::SlowDown => return Err(because("slow_down", "wait 5 seconds longer each time")),
        Answer::Denied => return Err(because("access_denied", "the request was denied")),
        Answer::Expired => return Err(because("expired_token", "the code is too old")),
        Answer::Unknown => return Err(because("invalid_grant", "there is no such device code")),
    };
    let client = client::device(device, from.ip());
    let session = platform.database.open_session(&user.id, &client).await?;
    Ok(Json(json!({
        "access_token": session.expose_str(),
        "token_type": "Bearer",
        "expires_in": SESSION.whole_seconds(),
        "user": Account::of(&user),
    })))
}
