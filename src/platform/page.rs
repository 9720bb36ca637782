//! The page for tokens: HTML made here, which needs no script and nothing from elsewhere.

mod account;
mod activity;
mod assets;
mod device;
mod edit_token;
mod error;
pub mod error_pages;
mod fields;
mod form;
mod layout;
mod markdown;
mod new_token;
mod paths;
mod repositories;
mod repository;
mod revoke;
mod session;
mod shown;
mod sign_in;
mod sign_up;
mod tokens;

use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::from_fn;
use axum::response::Redirect;
use axum::routing::get;
use tower_http::set_header::SetResponseHeaderLayer;

use super::Shared;
pub use paths::DEVICE;

/// Only what this server itself serves, and no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub fn routes() -> Router<Shared> {
    let always = |name, value| {
        SetResponseHeaderLayer::if_not_present(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    Router::new()
        .route("/", get(async || Redirect::to(paths::TOKENS)))
        .route("/settings", get(async || Redirect::to(paths::TOKENS)))
        .merge(sign_in::routes())
        .merge(sign_up::routes())
        .merge(account::routes())
        .merge(tokens::routes())
        .merge(new_token::routes())
        .merge(edit_token::routes())
        .merge(shown::routes())
        .merge(revoke::routes())
        .merge(activity::routes())
        .merge(repositories::routes())
        .merge(repository::routes())
        .merge(device::routes())
        .merge(assets::routes())
        .layer(from_fn(shown::forget))
        .layer(always("content-security-policy", POLICY))
        // With no-referrer a browser would not say which page a form came from.
        .layer(always("referrer-policy", "same-origin"))
        .layer(always("cross-origin-opener-policy", "same-origin"))
        .layer(always("cross-origin-resource-policy", "same-origin"))
}
