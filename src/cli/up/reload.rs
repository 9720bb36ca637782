//! `wit up reload`: a server reloads its certificate and reopens its log.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::report;
use crate::cli::output;
use crate::cli::{Context, Exit, Failure};
use crate::platform::instance;
use crate::platform::last_start::LastStart;
use crate::quote::Hint;

/// Time limit for a server.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data directory of the server
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let data_dir = super::data_dir(args.data_dir.as_deref(), context)?;
    let reloaded = instance::reload(&data_dir, RELOAD_TIMEOUT).map_err(super::with_reach)?;
    let Some(reload) = reloaded else {
        let message = format!("no server is running on {}", data_dir.display());
        return Err(Failure::new(Exit::Failed, message)
            .hint(super::about("wit up", &data_dir, context))
            .into());
    };
    if let Some(error) = reload.error {
        return Err(Failure::new(
            Exit::Failed,
            format!("the old certificate stays in use: {error}"),
        )
        .hint(
            Hint::from("replace the file with a certificate, or its key, in PEM; then: ")
                .command(&super::about("wit up reload", &data_dir, context)),
        )
        .into());
    }
    if let Some(certificate) = LastStart::read(&data_dir)?.tls_cert {
        report::warn_of_certificate(&certificate);
    }
    let text = match reload.is_tls {
        true => "Certificate reloaded and log reopened.\n",
        false => "Log reopened; no certificate is configured.\n",
    };
    if context.json {
        output::json(&json!({ "reloaded": true, "dataDir": data_dir }))?;
    } else {
        output::print(text.as_bytes())?;
    }
    Ok(Exit::Done)
}
