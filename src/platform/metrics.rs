//! Metrics of the server, for Prometheus.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{Method, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Shared;
use super::refusal::Refusal;

/// Upper bounds of the durations told apart, in seconds.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0];

/// Requests, how they ended and how long they took. Every label has few values, whatever a
/// client sends: the route's pattern stands for the path.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Ending, Counter>,
    seconds: Family<Route, Histogram>,
    under_way: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ending {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("wit");
        let requests = Family::default();
        let seconds = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> _);
        let under_way = Gauge::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let told = "Seconds until an answer began";
        registry.register("http_request_duration_seconds", told, seconds.clone());
        registry.register(
            "http_requests_under_way",
            "Requests under way",
            under_way.clone(),
        );
        Metrics {
            registry,
            requests,
            seconds,
            under_way,
        }
    }
}

impl Metrics {
    /// Counts a request as under way until what is returned is dropped.
    pub fn begun(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    /// Counts a request that was answered.
    pub fn answered(&self, method: &'static str, route: &str, status: StatusCode, took: Duration) {
        let route = route.to_owned();
        let status = status.as_u16();
        let label = Route {
            route: route.clone(),
        };
        self.seconds
            .get_or_create(&label)
            .observe(took.as_secs_f64());
        let label = Ending {
            method,
            route,
            status,
        };
        self.requests.get_or_create(&label).inc();
    }
}

/// A request under way.
#[derive(Debug)]
pub struct UnderWay(Gauge);

impl Drop for UnderWay {
    // Also where the client goes away before it is answered.
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A method's name; all that are not used here have one together, for a client may make them up.
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

/// `GET /metrics`, where it was asked for, and to this machine only.
pub fn routes() -> Router<Shared> {
    Router::new().route("/metrics", get(told))
}

async fn told(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
) -> Result<impl IntoResponse, Refusal> {
    // A proxy on this machine makes all the world look like this machine: hence the setting.
    if !platform.tells_metrics || !from.ip().to_canonical().is_loopback() {
        return Err(Refusal::not_found());
    }
    let mut text = String::new();
    prometheus_text::encode(&mut text, &platform.metrics.registry)
        .map_err(|_| Refusal::failed())?;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text))
}
