//! A certificate that nobody but the test trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Home, done};

/// The name, as OpenSSL has it, that a server on this machine is reached by.
pub const LOOPBACK: &str = "IP:127.0.0.1";

/// A certificate that is signed by itself, and its key, in the files of a home.
pub struct Certificate {
    pub file: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// In `FILE.pem` and `FILE.key`, for [`LOOPBACK`] or a name such as `DNS:wit.test`.
    pub fn new(home: &Home, file: &str, name: &str) -> Self {
        let alternative = format!("subjectAltName={name}");
        let subject = ["-days", "2", "-subj", "/CN=test", "-addext", &alternative];
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
        let leaf = ["-nodes", "-addext", "basicConstraints=critical,CA:FALSE"];
        let (key_file, file) = (format!("{file}.key"), format!("{file}.pem"));
        let files = ["-keyout", &key_file, "-out", &file];
        let words = [&["req", "-x509"], &subject[..], &key, &leaf, &files].concat();
        done(&home.run("openssl", &words, ""));
        Certificate {
            file: home.path().join(file),
            key: home.path().join(key_file),
        }
    }

    pub fn path(&self) -> &str {
        Path::to_str(&self.file).expect("text")
    }

    pub fn server(&self) -> Arc<rustls::ServerConfig> {
        let certificate = CertificateDer::from_pem_file(&self.file).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        Arc::new(config.expect("a key for the certificate"))
    }
}
