//! Changing a token's name and description.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};

use super::error::PageError;
use super::fields::{Field, Said, described_by, error};
use super::form::Posted;
use super::layout::{self, form_token};
use super::paths;
use super::revoke::{token, unknown};
use super::session::Visitor;
use super::tokens;
use crate::database::DatabaseError;
use crate::database::tokens::{TokenChange, TokenRecord};
use crate::platform::Shared;
use crate::platform::refusal::Refusal;

pub fn routes() -> Router<Shared> {
    Router::new().route("/settings/tokens/{id}/edit", get(edit).post(change))
}

async fn edit(
    State(platform): State<Shared>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Markup, PageError> {
    let token = token(&platform, &visitor, &id).await?;
    let description = token.description.clone().unwrap_or_default();
    Ok(form(
        &visitor,
        &token,
        &token.name,
        &description,
        &Said::nothing(),
    ))
}

fn form(
    visitor: &Visitor,
    token: &TokenRecord,
    name: &str,
    description: &str,
    said: &Said,
) -> Markup {
    let name = Field {
        value: name,
        is_first: true,
        ..Field::text("name", "Name", 100)
    };
    let is_wrong = said.of("description").is_some();
    let content = html! {
        form.card method="post" action={ (paths::TOKENS) "/" (token.id) "/edit" } {
            p.facts { span { "Token " code { (token.prefix) "…" } } }
            (name.render(said))
            div.field {
                label for="description" { "Description" }
                p.help #description-help { "For yourself, such as where it is used. At most 500 characters." }
                (error(said, "description"))
                textarea #description name="description" rows="3" maxlength="500"
                    aria-describedby=[described_by(said, "description", true)]
                    aria-invalid=[is_wrong.then_some("true")] autofocus[is_wrong] { (description) }
            }
            p.actions {
                button.primary type="submit" { "Save" }
                a.button href=(paths::TOKENS) { "Cancel" }
            }
            (form_token(&visitor.viewer))
        }
    };
    layout::page("Edit token", Some(&visitor.viewer), said.notice(), content)
}

async fn change(
    State(platform): State<Shared>,
    Path(id): Path<String>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let token = token(&platform, &visitor, &id).await?;
    let name = fields.text("name").trim();
    // A text area sends its line breaks, and a description is one line.
    let words: Vec<&str> = fields.text("description").split_whitespace().collect();
    let description = words.join(" ");
    let change = TokenChange {
        name: Some(name.to_owned()),
        description: Some(description.clone()),
    };
    let changed = (platform.database)
        .change_token(&visitor.user.id, token.id, &change)
        .await;
    match changed {
        Ok(()) => Ok(Redirect::to(tokens::CHANGED).into_response()),
        Err(DatabaseError::NotFound) => Err(unknown().into()),
        Err(error @ (DatabaseError::Invalid(_) | DatabaseError::InvalidField(..))) => {
            let said = Said::refused(&Refusal::from(error));
            let page = form(&visitor, &token, name, &description, &said);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(error) => Err(error.into()),
    }
}
