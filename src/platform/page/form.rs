//! Forms that only a page of this server can have sent.

use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;

use super::error::PageError;
use super::session::Visitor;
use crate::platform::Shared;
use crate::platform::origin::{Origin, Sender};
use crate::platform::refusal::Refusal;
use crate::secret::Secret;

/// The fields of a form that a page of this server sent. Any of them may be a password.
#[derive(Debug)]
pub struct Fields(Vec<(String, Secret)>);

impl Fields {
    /// The first field of that name; empty where there is none, or none that is text.
    pub fn text(&self, name: &str) -> &str {
        let value = self.all(name).next();
        value.and_then(Secret::expose_str).unwrap_or_default()
    }

    /// Every field of that name, such as those of ticked boxes.
    pub fn texts(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.all(name).filter_map(Secret::expose_str)
    }

    /// The first field of that name, as the secret that it is.
    pub fn secret(&self, name: &str) -> Secret {
        let value = self.all(name).next();
        value.cloned().unwrap_or_else(|| Secret::new(Vec::new()))
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Secret> {
        let named = self.0.iter().filter(move |(other, _)| other == name);
        named.map(|(_, value)| value)
    }
}

impl FromRequest<Shared> for Fields {
    type Rejection = PageError;

    async fn from_request(request: Request, platform: &Shared) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let origin = Origin::from_request_parts(&mut parts, platform).await?;
        if origin.sender(&parts.headers) != Sender::ThisSite {
            return Err(forged("it came from another site"));
        }
        let request = Request::from_parts(parts, body);
        match Form::from_request(request, platform).await {
            Ok(Form(fields)) => Ok(Fields(fields)),
            Err(rejection) => Err(PageError::Refused(Refusal::new(
                rejection.status(),
                "BAD_REQUEST",
                "the form can't be read",
            ))),
        }
    }
}

/// A form that the visitor sent from one of the pages made for this session.
#[derive(Debug)]
pub struct Posted {
    pub visitor: Visitor,
    pub fields: Fields,
}

impl FromRequest<Shared> for Posted {
    type Rejection = PageError;

    async fn from_request(request: Request, platform: &Shared) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, platform).await?;
        let fields = Fields::from_request(Request::from_parts(parts, body), platform).await?;
        match visitor.sent(fields.text("form")) {
            true => Ok(Posted { visitor, fields }),
            false => Err(forged("it is not from a page of this sign-in")),
        }
    }
}

fn forged(why: &str) -> PageError {
    PageError::Refused(Refusal::new(
        StatusCode::FORBIDDEN,
        "FORBIDDEN",
        format!("the form was not accepted: {why}"),
    ))
}
