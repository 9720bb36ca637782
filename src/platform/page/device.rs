//! Connecting a device: its code is typed, and then a question is answered.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::PageError;
use super::form::Posted;
use super::layout::{self, Notice, form_token};
use super::paths;
use super::session::Visitor;
use super::tokens::when;
use crate::database::DatabaseError;
use crate::database::sessions::SESSION;
use crate::expiry::{UnixTime, ago};
use crate::platform::Shared;
use crate::platform::refusal::Refusal;

/// Path at which the question is answered.
const ANSWER: &str = "/device/answer";

pub fn routes() -> Router<Shared> {
    Router::new()
        .route(paths::DEVICE, get(form).post(ask))
        .route(ANSWER, post(answer))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    done: String,
}

async fn form(Query(asked): Query<Asked>, visitor: Visitor) -> Markup {
    let notice = match asked.done.as_str() {
        "allowed" => Some("The device is signed in. You can go back to it."),
        "denied" => Some("The device was denied."),
        _ => None,
    };
    page(&visitor, notice.map(|text| Notice::Done(text.to_owned())))
}

fn page(visitor: &Visitor, notice: Option<Notice>) -> Markup {
    let is_first = notice.is_none();
    let content = html! {
        form.card.narrow method="post" action=(paths::DEVICE) {
            div.field {
                label for="code" { "Code" }
                p.help #code-help { "Eight letters, as " code { "wit login" } " shows them on the device." }
                input.code #code name="code" type="text" required maxlength="20"
                    aria-describedby="code-help" autocomplete="off" autocapitalize="characters"
                    spellcheck="false" autofocus[is_first];
            }
            p.actions { button.primary type="submit" { "Continue" } }
            (form_token(&visitor.viewer))
        }
    };
    layout::page("Connect a device", Some(&visitor.viewer), notice, content)
}

async fn ask(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    platform.limits.code(&visitor.user.id, from.ip())?;
    let waiting = platform.database.waiting_device(fields.text("code"));
    let Some(device) = waiting.await? else {
        return Ok(unknown(&visitor));
    };
    let now = UnixTime::now();
    let content = html! {
        form.card method="post" action=(ANSWER) {
            dl {
                dt { "Code" }
                dd { code { (device.user_code()) } }
                dt { "What asks" }
                dd { bdi { (device.name) } }
                dt { "From the address" }
                dd { (device.address) }
                dt { "Asked" }
                dd { (when(device.created_at, |at| ago(at, now))) }
            }
            p {
                "It will be able to do all that you can do as " strong { (visitor.name()) }
                ", for " (SESSION.whole_days()) " days. Allow it only if you have just started it yourself; its name is what it says of itself."
            }
            input type="hidden" name="code" value=(device.user_code());
            p.actions {
                button.primary type="submit" name="answer" value="allow" { "Allow" }
                button type="submit" name="answer" value="deny" { "Deny" }
            }
            (form_token(&visitor.viewer))
        }
    };
    Ok(layout::page("Connect this device?", Some(&visitor.viewer), None, content).into_response())
}

fn unknown(visitor: &Visitor) -> Response {
    let why = "No device is waiting for that code. A code expires after 15 minutes; start again on the device if it is older.";
    let page = page(visitor, Some(Notice::Failed(why.to_owned())));
    (StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
}

async fn answer(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    platform.limits.code(&visitor.user.id, from.ip())?;
    let (granted, done) = match fields.text("answer") {
        "allow" => (true, "/device?done=allowed"),
        "deny" => (false, "/device?done=denied"),
        _ => {
            let message = "the answer is neither yes nor no";
            return Err(Refusal::bad_request(message).into());
        }
    };
    let answered = (platform.database)
        .answer_device(fields.text("code"), &visitor.user.id, granted)
        .await;
    match answered {
        Ok(()) => Ok(Redirect::to(done).into_response()),
        Err(DatabaseError::NotFound) => Ok(unknown(&visitor)),
        Err(error) => Err(error.into()),
    }
}
