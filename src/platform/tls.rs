//! TLS with a certificate from files, which may be replaced while the server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;

use super::lock;

/// Interval at which the files are looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Files of the certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, and after it those up to the root's.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Files {
    fn load(&self) -> anyhow::Result<(Arc<ServerConfig>, CertificateDer<'static>)> {
        let bad = |path: &Path| format!("can't read {}", path.display());
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| bad(&self.certificate))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).with_context(|| bad(&self.key))?;
        let certificate = chain.first().cloned();
        let certificate = certificate.with_context(|| {
            format!("{} holds no certificate in PEM", self.certificate.display())
        })?;
        let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .with_context(|| {
                let (certificate, key) = (self.certificate.display(), self.key.display());
                format!("{certificate} and {key} don't go together")
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((Arc::new(config), certificate))
    }

    fn state(&self) -> State {
        [&self.certificate, &self.key].map(|path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        })
    }
}

/// State of the files, which differs once one has been replaced or written to.
type State = [Option<(SystemTime, u64)>; 2];

/// The certificate that new connections get.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<RwLock<CertificateDer<'static>>>);

impl Certificate {
    /// The certificate is for that name.
    pub fn covers(&self, name: &str) -> bool {
        let certificate = lock::read(&self.0);
        let (Ok(parsed), Ok(name)) = (
            ParsedCertificate::try_from(&*certificate),
            ServerName::try_from(name),
        ) else {
            return false;
        };
        verify_server_name(&parsed, &name).is_ok()
    }
}

/// TLS by files that are read again.
#[derive(Clone, Debug)]
pub struct Tls {
    files: Files,
    pub config: RustlsConfig,
    pub certificate: Certificate,
}

impl Tls {
    /// TLS by those files, from now on: for new connections it follows their changes.
    pub fn start(files: Files) -> anyhow::Result<Self> {
        let state = files.state();
        let (config, certificate) = files.load()?;
        let tls = Tls {
            files,
            config: RustlsConfig::from_config(config),
            certificate: Certificate(Arc::new(RwLock::new(certificate))),
        };
        tokio::spawn(tls.clone().follow(state));
        Ok(tls)
    }

    /// Reads the files again. While they make no sense, as between the writing of one and of the
    /// other, the old certificate is kept.
    pub fn reload(&self) -> anyhow::Result<()> {
        let (config, certificate) = self.files.load().inspect_err(|error| {
            tracing::error!(?error, "the old certificate is kept");
        })?;
        self.config.reload_from_config(config);
        *lock::write(&self.certificate.0) = certificate;
        tracing::info!("the certificate was loaded again");
        Ok(())
    }

    /// Reads the files again whenever they change.
    async fn follow(self, mut seen: State) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            // Before they are read, so that a change while they are is seen the next time.
            let state = self.files.state();
            if state != seen {
                seen = state;
                // It is in the log.
                let _ = self.reload();
            }
        }
    }
}
