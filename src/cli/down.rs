//! `wit down`: stop the platform on this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::{Context, Exit, output};
use crate::config::Config;
use crate::platform::{LAST_REQUESTS, instance};
use crate::progress;

/// Time limit for the server to finish the requests under way, and stop.
const STOP_TIMEOUT: Duration = LAST_REQUESTS.saturating_add(Duration::from_secs(10));

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data directory of the server to stop
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let data_dir = super::up::data_dir(args.data_dir.as_deref(), context)?;
    let stopped = progress::during("Waiting for requests under way", || {
        instance::stop(&data_dir, STOP_TIMEOUT)
    });
    let stopped = stopped.map_err(super::up::with_reach)?;
    forget(&data_dir, context)?;
    let place = output::tilde(&data_dir.display().to_string());
    let text = match stopped {
        _ if context.json => {
            let stopped = stopped.is_some();
            output::json(&json!({ "stopped": stopped, "dataDir": data_dir }))?;
            return Ok(Exit::Done);
        }
        Some(_) => format!("wit stopped. Data kept in {place}\n"),
        None => format!("wit does not run on {place}\n"),
    };
    output::print(text.as_bytes())?;
    Ok(Exit::Done)
}

/// Forgets the servers of that directory that nobody is logged in to: `wit up` makes them known again, and
/// until then no command can reach them.
fn forget(data_dir: &Path, context: &Context) -> anyhow::Result<()> {
    let unused = |config: &Config| -> Vec<String> {
        let servers = config.servers.iter();
        let unused = servers.filter(|(_, known)| {
            known.data_dir.as_deref() == Some(data_dir) && known.account.is_none()
        });
        unused.map(|(url, _)| url.clone()).collect()
    };
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    if unused(&config).is_empty() {
        return Ok(());
    }
    let forgotten = Config::update(&context.paths, |config| {
        for url in unused(config) {
            config.forget(&url);
        }
    });
    forgotten.context("can't remove the server from the configuration")
}
