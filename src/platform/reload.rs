//! SIGHUP: the certificate is read again, and the log opened anew.

use tokio::signal::unix::Signal;

use super::instance::Instance;
use super::log_file::Log;
use super::tls::Tls;

/// Reloads at each signal, and writes down how that went. Holds the data directory meanwhile.
pub async fn at_each(mut hangup: Signal, log: Log, tls: Option<Tls>, mut instance: Instance) {
    while hangup.recv().await.is_some() {
        if let Err(error) = log.reopen() {
            tracing::error!(%error, "the log can't be reopened");
        }
        let reloaded = tls.as_ref().map_or(Ok(()), Tls::reload);
        let error = reloaded.err().map(|error| format!("{error:#}"));
        if let Err(error) = instance.reloaded(error) {
            tracing::error!(?error, "how the reload went can't be written down");
        }
    }
    // For as long as the runtime: without the lock another server could start.
    std::future::pending().await
}
