//! `wit up`: the token service and git hosting on one machine.

mod account;
pub mod address;
mod api;
pub mod archive;
mod auth;
pub mod backup;
mod body_rate;
pub mod check;
mod client;
mod connection;
mod cross_site;
mod device;
pub mod first_user;
mod forwarded;
mod git;
mod health;
mod hosts;
mod hsts;
pub mod instance;
pub mod last_start;
mod last_used;
pub mod layout;
mod limits;
mod lock;
mod log;
pub mod log_file;
mod metrics;
mod origin;
mod page;
pub mod quota;
mod refusal;
mod reload;
mod renewal;
mod repos;
mod repositories;
pub mod restore;
mod run_to_end;
pub mod tls;
mod token_lookup;
mod user;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::from_fn_with_state;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;
use tower_http::set_header::SetResponseHeaderLayer;
use url::Url;

use crate::database::Database;
use connection::Connections;
use hosts::Hosts;
use hsts::Hsts;
use instance::Instance;
use last_start::LastStart;

/// Largest body of a request that is no git traffic, in bytes.
const BODY_LIMIT: usize = 64 * 1024;
/// Largest head of a request, in bytes.
const HEAD_LIMIT: usize = 32 * 1024;
/// Time limit for requests under way after the stop signal.
pub const LAST_REQUESTS: Duration = Duration::from_secs(30);

/// Time limit for handlers whose client has gone, after that.
const LAST_HANDLERS: Duration = Duration::from_secs(5);

/// State that every request can reach.
#[derive(Debug)]
struct Platform {
    database: Database,
    token_lookup: token_lookup::TokenLookup,
    git: git::Git,
    /// The handlers under way.
    handlers: TaskTracker,
    health: health::Health,
    hosts: hosts::Hosts,
    limits: limits::Limits,
    metrics: metrics::Metrics,
    quotas: quota::Quotas,
    tells_metrics: bool,
    takes_accounts: bool,
    /// True if it speaks TLS itself.
    is_tls: bool,
    last_used: last_used::LastUsed,
}

type Shared = Arc<Platform>;

/// Options of the platform.
#[derive(Debug)]
pub struct Options {
    pub data_dir: PathBuf,
    pub listen: IpAddr,
    /// `None` means the last one of the data directory, or 3000; 0 means the last or a free one.
    pub port: Option<u16>,
    /// A `postgres://` URL, or `None` for the SQLite file in the data directory.
    pub database_url: Option<String>,
    /// Directory of the repositories, which servers on one PostgreSQL may share; `None` for the data
    /// directory.
    pub repositories: Option<PathBuf>,
    /// An account to make where it is missing.
    pub first_user: Option<first_user::Wanted>,
    /// The URL that other machines reach it at, through a proxy.
    pub public_url: Option<Url>,
    /// Addresses of proxies that are believed when they name a client.
    pub proxies: Vec<IpAddr>,
    /// Bounds for each account.
    pub quota: quota::Quota,
    /// More names that it answers to.
    pub hosts: Vec<String>,
    /// Speak https with this certificate, or http without one.
    pub tls: Option<tls::Files>,
    /// True if repositories are looked after while nobody uses them.
    pub maintenance: bool,
    /// True if browsers are told to insist on https.
    pub hsts: bool,
    /// Log that is opened anew at SIGHUP. `None` leaves that signal as it is.
    pub log: Option<log_file::Log>,
    /// True if this machine is told `GET /metrics`.
    pub metrics: bool,
    /// True if whoever reaches it may make an account.
    pub sign_up: bool,
    /// Longest silence of a client in the middle of a request or an answer.
    pub patience: Duration,
    /// The options as the next start is to find them.
    pub last_start: LastStart,
}

/// Facts about a platform that is ready.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ready {
    pub address: SocketAddr,
    pub is_tls: bool,
    /// True if nobody has an account yet.
    pub is_empty: bool,
    /// The account that was asked for, or else the only one.
    pub user_id: Option<String>,
    /// True if the account that was asked for was there already.
    #[serde(default)]
    pub is_user_old: bool,
    /// File with the password that the server chose for a new account.
    pub password_file: Option<PathBuf>,
}

/// Data that a server does not start on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{} holds repositories, and the database has no account", .repositories.display())]
    NoDatabase {
        data_dir: PathBuf,
        repositories: PathBuf,
    },
    #[error("a restore of {} was interrupted when only its repositories were in place", .0.display())]
    RestoreUnfinished(PathBuf),
    #[error("the repositories were in {} at the last start, and that is not there", .0.display())]
    RepositoriesGone(PathBuf),
}

/// The certificate or its key can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't serve https")]
pub struct UnusableCertificate;

/// The PostgreSQL can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't open the database that DATABASE_URL names")]
pub struct UnusableDatabase;

/// Serves until SIGTERM or SIGINT, and calls `ready` once requests are answered.
pub fn serve(options: &Options, ready: impl FnOnce(Ready)) -> anyhow::Result<()> {
    crate::config::private_dir(&options.data_dir)
        .with_context(|| format!("can't make {}", options.data_dir.display()))?;
    layout::keep_private(&options.data_dir, layout::is_data_dir)?;
    let mut instance = Instance::start(&options.data_dir)?;
    let descriptors = raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the server's threads")?;
    let served = runtime.block_on(async {
        let tls = options.tls.clone().map(tls::Tls::start).transpose();
        let tls = tls.context(UnusableCertificate)?;
        let is_tls = tls.is_some();
        let listener = address::listen(&options.data_dir, options.listen, options.port).await?;
        let address = listener.local_addr()?;
        if options.data_dir.join(layout::UNFINISHED_RESTORE).exists() {
            return Err(StartError::RestoreUnfinished(options.data_dir.clone()).into());
        }
        let repositories = repositories(options)?;
        layout::keep_private(&repositories, |name| layout::repository_id(name).is_some())?;
        refuse_lost_database(options, &repositories)?;
        let database = open_database(options).await?;
        if database.first_users().await?.is_empty() {
            refuse_repositories_of_none(&options.data_dir, &repositories)?;
        }
        let ensured = match &options.first_user {
            Some(wanted) => Some(first_user::ensure(wanted, &database, &options.data_dir).await?),
            None => None,
        };
        let is_user_old = ensured.as_ref().is_some_and(|ensured| ensured.is_old);
        let (user, password_file) = ensured
            .map(|ensured| (ensured.user, ensured.password_file))
            .unzip();
        let password_file = password_file.flatten();
        let users = database.first_users().await?;
        let only = (users.len() == 1).then(|| users[0].id.clone());
        let platform = Arc::new(Platform {
            token_lookup: token_lookup::TokenLookup::start(database.clone()),
            database,
            git: git::Git::find(&repositories).await?,
            handlers: TaskTracker::new(),
            health: health::Health::default(),
            hosts: Hosts::new(
                address.ip(),
                &options.hosts,
                options.public_url.clone(),
                tls.as_ref().map(|tls| tls.certificate.clone()),
            ),
            limits: limits::Limits::default(),
            metrics: metrics::Metrics::default(),
            quotas: quota::Quotas::new(options.quota),
            tells_metrics: options.metrics,
            takes_accounts: options.sign_up,
            is_tls,
            last_used: last_used::LastUsed::default(),
        });
        tokio::spawn(last_used::write_down(Arc::downgrade(&platform)));
        tokio::spawn(limits::forget(Arc::downgrade(&platform)));
        if options.maintenance {
            platform.git.start_maintenance();
        }
        let stop = stop_signal()?;
        let stopping = platform.clone();
        let stop = async move {
            stop.await;
            // It ends while the last requests do.
            stopping.git.cancel_maintenance();
        };
        address::remember(&options.data_dir, address.port())?;
        options
            .last_start
            .clone()
            .with_repositories(&options.data_dir, &repositories)
            .remember(&options.data_dir)?;
        let hangup = match options.log {
            Some(_) => Some(signal(SignalKind::hangup())?),
            None => None,
        };
        let public_url = options.public_url.as_ref().map(Url::to_string);
        instance.announce(address, is_tls, public_url, hangup.is_some())?;
        ready(Ready {
            address,
            is_tls,
            is_empty: users.is_empty(),
            user_id: user.map(|user| user.id).or(only),
            is_user_old,
            password_file,
        });
        #[cfg(target_os = "linux")]
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            tracing::warn!(%error, "systemd can't be told that the server is ready");
        }
        if let Some((hangup, log)) = hangup.zip(options.log.clone()) {
            tokio::spawn(reload::at_each(hangup, log, tls.clone(), instance));
        }
        let hsts = match is_tls && !address.ip().to_canonical().is_loopback() {
            true if options.hsts => Hsts::On,
            true => Hsts::Forget,
            false => Hsts::Off,
        };
        let proxies: Arc<[IpAddr]> = options.proxies.iter().map(IpAddr::to_canonical).collect();
        let connections = Connections::new(descriptors, options.patience, proxies.clone());
        let tls = tls.map(|tls| tls.config);
        let router = router(platform.clone()).layer(from_fn_with_state(hsts, hsts::each_request));
        run(listener, router, connections, proxies, tls, stop).await?;
        platform.git.stop_maintenance().await;
        platform.handlers.close();
        if (tokio::time::timeout(LAST_HANDLERS, platform.handlers.wait()).await).is_err() {
            tracing::error!("some requests did not end");
        }
        platform.write_all_uses().await;
        platform.database.close().await;
        Ok(())
    });
    // What git still does for a client that went away ends with the runtime.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// Directory of the repositories. One that is remembered and gone is on a disk that is not there now.
fn repositories(options: &Options) -> anyhow::Result<PathBuf> {
    let named = options.repositories.as_deref();
    let directory = last_start::repositories(&options.data_dir, named)?;
    let is_usual = directory == options.data_dir.join(layout::REPOSITORIES);
    match named.is_none() && !is_usual && !directory.is_dir() {
        false => Ok(directory),
        true => Err(StartError::RepositoriesGone(directory).into()),
    }
}

/// An empty database beside repositories is not what anybody wants: the right one is lost, and each
/// of its accounts with it.
fn refuse_lost_database(options: &Options, repositories: &Path) -> anyhow::Result<()> {
    if options.database_url.is_some() {
        return Ok(());
    }
    match std::fs::metadata(sqlite_file(&options.data_dir)) {
        Ok(file) if file.len() > 0 => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => refuse_repositories_of_none(&options.data_dir, repositories),
    }
}

/// Refuses repositories that no account of the database can have.
fn refuse_repositories_of_none(data_dir: &Path, repositories: &Path) -> anyhow::Result<()> {
    let found = match layout::repositories(repositories) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error).with_context(|| repositories.display().to_string()),
    };
    match found {
        0 => Ok(()),
        _ => Err(StartError::NoDatabase {
            data_dir: data_dir.to_owned(),
            repositories: repositories.to_owned(),
        }
        .into()),
    }
}

async fn open_database(options: &Options) -> anyhow::Result<Database> {
    match &options.database_url {
        Some(url) => Database::open_postgres(url)
            .await
            .map_err(anyhow::Error::new)
            .context(UnusableDatabase),
        None => {
            let path = sqlite_file(&options.data_dir);
            Database::open_sqlite(&path)
                .await
                .map_err(anyhow::Error::new)
                .with_context(|| format!("can't open {}", path.display()))
        }
    }
}

/// SQLite database of a data directory.
pub fn sqlite_file(data_dir: &Path) -> PathBuf {
    data_dir.join(layout::DATABASE_FILE)
}

/// Address by which this machine reaches a server that listens at `address`.
pub fn reached_at(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Raises the number of open files as far as it goes, and returns it: each connection takes a
/// descriptor, and each git three.
fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::warn!(%error, "the number of open files can't be raised");
            limit.current
        }
    };
    // `None` is no limit at all.
    current.map_or(usize::MAX, |current| {
        usize::try_from(current).unwrap_or(usize::MAX)
    })
}

/// Resolves at the first SIGTERM or SIGINT; installed before the platform says that it is ready.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
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
    router: Router,
    connections: Connections,
    proxies: Arc<[IpAddr]>,
    tls: Option<RustlsConfig>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let handle = axum_server::Handle::new();
    let stopping = handle.clone();
    tokio::spawn(async move {
        stop.await;
        #[cfg(target_os = "linux")]
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        stopping.graceful_shutdown(Some(LAST_REQUESTS));
    });
    let patience = connections.patience();
    let connections = Arc::new(connections);
    let service = router
        .layer(from_fn_with_state(proxies, forwarded::each_request))
        .layer(from_fn_with_state(
            connections.clone(),
            connection::each_request,
        ))
        .into_make_service_with_connect_info::<SocketAddr>();
    // HTTP/2 would bring git nothing, and attackers a lot.
    let mut server = axum_server::from_tcp(listener.into_std()?)?
        .http1_only()
        .acceptor(connection::Bounded(connections))
        .handle(handle);
    server
        .http_builder()
        .http1()
        .header_read_timeout(patience)
        .max_buf_size(HEAD_LIMIT);
    let served = match tls {
        Some(config) => {
            let tls = RustlsAcceptor::new(config).handshake_timeout(patience);
            server
                .map(|bounded| tls.acceptor(bounded))
                .serve(service)
                .await
        }
        None => server.serve(service).await,
    };
    served.context("the server failed")
}

fn router(platform: Shared) -> Router {
    let always = |name, value| {
        SetResponseHeaderLayer::if_not_present(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    Router::new()
        .merge(health::routes())
        .merge(api::routes())
        .merge(account::routes())
        .merge(user::routes(&platform))
        .merge(repos::routes(&platform))
        .merge(metrics::routes())
        .merge(renewal::routes(&platform))
        .merge(git::routes())
        .merge(device::routes())
        .layer(from_fn_with_state(
            platform.clone(),
            cross_site::each_request,
        ))
        // Its forms are checked more closely, and answered by a page.
        .merge(page::routes())
        .fallback(async || refusal::Refusal::not_found())
        .layer(axum::middleware::from_fn(page::error_pages::for_browsers))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(platform.clone(), hosts::each_request))
        .layer(from_fn_with_state(platform.clone(), log::each_request))
        .layer(from_fn_with_state(
            platform.handlers.clone(),
            run_to_end::each_request,
        ))
        .layer(always("x-content-type-options", "nosniff"))
        .layer(always("referrer-policy", "no-referrer"))
        .layer(always(
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ))
        .layer(always("cache-control", "no-store"))
        .with_state(platform)
}
