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
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use webpki::{EndEntityCert, KeyUsage};

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
        if let Some(reason) = refusal(&certificate) {
            tracing::warn!(%reason, "clients refuse the certificate");
        }
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

/// Reason for which clients refuse a certificate, whoever has signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is the certificate of a CA (CA:TRUE), and not of a server")]
    Authority,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it is not of the form that clients take")]
    Malformed,
}

fn refusal(certificate: &CertificateDer<'_>) -> Option<Refused> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else {
        return Some(Refused::Malformed);
    };
    // No root is trusted here, which comes after what is wrong with the certificate itself.
    let usage = KeyUsage::server_auth();
    let checked = certificate.verify_for_usage(&[], &[], &[], UnixTime::now(), usage, None, None);
    match checked.err()? {
        webpki::Error::CaUsedAsEndEntity => Some(Refused::Authority),
        webpki::Error::CertExpired { .. } => Some(Refused::Expired),
        webpki::Error::CertNotValidYet { .. } => Some(Refused::NotYet),
        _ => None,
    }
}

/// Facts about the certificate of a server, for its operator.
#[derive(Debug)]
pub struct Facts {
    certificate: CertificateDer<'static>,
}

impl Facts {
    /// `None` for a file without a certificate, which no server starts with.
    pub fn read(file: &Path) -> Option<Self> {
        let certificate = CertificateDer::from_pem_file(file).ok()?;
        Some(Facts { certificate })
    }

    /// Reason for which clients refuse it.
    pub fn refused(&self) -> Option<Refused> {
        refusal(&self.certificate)
    }

    /// The first name of a host that it is for, without a wildcard.
    pub fn name(&self) -> Option<String> {
        let certificate = EndEntityCert::try_from(&self.certificate).ok()?;
        let mut names = certificate.valid_dns_names();
        names
            .find(|name| !name.starts_with('*') && *name != "localhost")
            .map(str::to_owned)
    }

    /// Returns whether it is for a host of that name or address.
    pub fn covers(&self, name: &str) -> bool {
        covers(&self.certificate, name)
    }
}

fn covers(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let (Ok(parsed), Ok(name)) = (
        ParsedCertificate::try_from(certificate),
        ServerName::try_from(name),
    ) else {
        return false;
    };
    verify_server_name(&parsed, &name).is_ok()
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
        covers(&certificate, name)
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
