//! Certificates that `wit` trusts for a server (`wit login --ca-file`) and git does not yet: git has a
//! setting of its own for them.

use std::path::PathBuf;

use crate::config::{self, Config};
use crate::process;
use crate::quote::Suggestion;

/// A server whose certificate git may not trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// Its URL.
    pub server: String,
    /// The certificates (PEM) that `wit` trusts for it.
    pub file: PathBuf,
}

impl Untrusted {
    /// The command that has git trust it.
    pub fn fix(&self) -> Suggestion {
        Suggestion::new("git config --global")
            .arg(format!("http.{}.sslCAInfo", self.server))
            .arg(self.file.display().to_string())
    }
}

/// The known servers with certificates of their own for which git has no `http.sslCAInfo`
/// (git-config(1)).
pub fn untrusted(config: &Config) -> Vec<Untrusted> {
    if config::variable("GIT_SSL_CAINFO").is_some() {
        return Vec::new();
    }
    let own = config.servers.iter().filter_map(|(server, known)| {
        let file = known.ca_file.clone()?;
        let server = server.clone();
        server
            .starts_with("https:")
            .then_some(Untrusted { server, file })
    });
    own.filter(|one| !is_set(&one.server)).collect()
}

/// Returns whether git has the setting for a URL. Without git nothing is missing.
fn is_set(server: &str) -> bool {
    let asked = ["config", "--get-urlmatch", "http.sslCAInfo", server];
    process::run("git", &asked, "").map_or(true, |output| output.status.code() != Some(1))
}
