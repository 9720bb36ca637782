//! `wit up`: the token service and git hosting on one machine.

mod access;
mod api;
mod device;
mod git;
pub mod instance;
mod log;
mod origin;
mod page;
mod refusal;
mod uses;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue};
use axum::routing::get;
use tokio::net::TcpListener;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::database::Database;
use instance::Instance;

/// Largest body of a request that is no git traffic, in bytes.
const BODY_LIMIT: usize = 64 * 1024;
/// How long requests under way may take after the stop signal.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// How long a client may take to send the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(20);

/// What every request can reach.
#[derive(Debug)]
struct Platform {
    database: Database,
    git: git::Git,
    limits: access::Limits,
    uses: uses::Uses,
}

type Shared = Arc<Platform>;

/// How the platform is started.
#[derive(Debug)]
pub struct Options {
    pub data_dir: PathBuf,
    /// Port 0 means a free one.
    pub address: SocketAddr,
    /// A `postgres://` URL, or `None` for the SQLite file in the data directory.
    pub database_url: Option<String>,
}

/// What a platform that is ready says of itself.
#[derive(Debug)]
pub struct Ready {
    pub address: SocketAddr,
    /// Whether nobody has an account yet.
    pub is_empty: bool,
}

/// Serves until SIGTERM or SIGINT, and calls `ready` once requests are answered.
pub fn serve(options: &Options, ready: impl FnOnce(Ready)) -> anyhow::Result<()> {
    crate::config::private_dir(&options.data_dir)
        .with_context(|| format!("can't make {}", options.data_dir.display()))?;
    let mut instance = Instance::start(&options.data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the server's threads")?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(options.address)
            .await
            .with_context(|| format!("can't listen on {}", options.address))?;
        let address = listener.local_addr()?;
        let platform = Arc::new(Platform {
            database: open_database(options).await?,
            git: git::Git::find(&options.data_dir.join("repositories")).await?,
            limits: access::Limits::default(),
            uses: uses::Uses::default(),
        });
        tokio::spawn(uses::write_down(Arc::downgrade(&platform)));
        let stop = stop_signal()?;
        let is_empty = !platform.database.has_users().await?;
        instance.announce(address)?;
        ready(Ready { address, is_empty });
        run(listener, platform.clone(), stop).await?;
        platform.write_uses().await;
        platform.database.close().await;
        Ok(())
    });
    // What git still does for a client that went away ends with the runtime.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn open_database(options: &Options) -> anyhow::Result<Database> {
    match &options.database_url {
        Some(url) => Database::open_postgres(url)
            .await
            .map_err(anyhow::Error::new)
            .context("can't open the database that DATABASE_URL names"),
        None => {
            let path = sqlite_file(&options.data_dir);
            Database::open_sqlite(&path)
                .await
                .map_err(anyhow::Error::new)
                .with_context(|| format!("can't open {}", path.display()))
        }
    }
}

/// Where the SQLite database of a data directory is.
pub fn sqlite_file(data_dir: &Path) -> PathBuf {
    data_dir.join("wit.sqlite3")
}

/// Resolves at the first SIGTERM or SIGINT; installed before the platform says that it is ready.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn run(
    listener: TcpListener,
    platform: Shared,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let handle = axum_server::Handle::new();
    let stopping = handle.clone();
    tokio::spawn(async move {
        stop.await;
        stopping.graceful_shutdown(Some(LAST_REQUESTS));
    });
    let service = router(platform).into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(listener.into_std()?)?.handle(handle);
    // Whoever sends a head a byte at a time, or opens connections only to hold them.
    server
        .http_builder()
        .http1()
        .header_read_timeout(HEAD_PATIENCE);
    server.serve(service).await.context("the server failed")
}

fn router(platform: Shared) -> Router {
    let always = |name, value| {
        SetResponseHeaderLayer::if_not_present(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .merge(api::routes())
        .merge(git::routes())
        .merge(device::routes())
        .merge(page::routes())
        .fallback(async || refusal::Refusal::not_found())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(always("x-content-type-options", "nosniff"))
        .layer(always("referrer-policy", "no-referrer"))
        .layer(always(
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ))
        .layer(always("cache-control", "no-store"))
        .layer(axum::middleware::from_fn(log::each_request))
        .with_state(platform)
}
