//! `GET /health`, for probes: 200 while the server and its database answer, else 503.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::Mutex;

use super::Shared;
use crate::database::Database;

/// Time limit for the database.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for which an answer of the database is told to others: anybody may ask.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The last answer of the database, and its time.
#[derive(Debug, Default)]
pub struct Health(Mutex<Option<(Instant, bool)>>);

impl Health {
    async fn is_good(&self, database: &Database) -> bool {
        // Those that ask meanwhile wait for the same answer.
        let mut last = self.0.lock().await;
        if let Some((at, is_good)) = *last
            && at.elapsed() < MAX_AGE
        {
            return is_good;
        }
        let ping = tokio::time::timeout(PING_TIMEOUT, database.ping()).await;
        let is_good = matches!(ping, Ok(Ok(())));
        *last = Some((Instant::now(), is_good));
        is_good
    }
}

pub fn routes() -> Router<Shared> {
    Router::new().route("/health", get(told))
}

async fn told(State(platform): State<Shared>) -> (StatusCode, &'static str) {
    match platform.health.is_good(&platform.database).await {
        true => (StatusCode::OK, "ok\n"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer\n",
        ),
    }
}
