//! `wit down`: stop the platform on this machine.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{Context, Exit, output};
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
