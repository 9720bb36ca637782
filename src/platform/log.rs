//! One line and one count for each request: what was asked for and how it ended, never with what.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use super::Shared;
use super::metrics::method_name;

/// Logs a request under an id that its answer carries too, as `X-Request-Id`.
///
/// The route's pattern stands for the path, and the query is left out: a person pastes a token in
/// the strangest of places.
pub async fn each_request(
    State(platform): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let id = Uuid::new_v4().to_string();
    let method = method_name(request.method());
    let extensions = request.extensions();
    let route = extensions.get::<MatchedPath>().cloned();
    let from = extensions.get::<ConnectInfo<SocketAddr>>();
    let from = from.map(|ConnectInfo(from)| from.ip());
    let under_way = platform.metrics.begun();
    let mut response = next.run(request).await;
    drop(under_way);
    let took = begun.elapsed();
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    (platform.metrics).answered(method, route, response.status(), took);
    if !platform.limits.log_line(route, response.status(), from) {
        return response;
    }
    tracing::info!(
        request = id,
        method,
        route,
        from = from.map(|from| from.to_string()),
        status = response.status().as_u16(),
        // Of a streamed answer, until its first byte.
        ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    );
    response
}
