//! `wit down`: stop the platform on this machine.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{Context, Exit};
use crate::platform::{LAST_REQUESTS, instance};
use crate::progress;

/// How long the server may take to finish the requests under way, and stop.
const PATIENCE: Duration = LAST_REQUESTS.saturating_add(Duration::from_secs(10));

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data directory of the server to stop
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let data_dir = super::up::data_dir(args.data_dir.as_deref(), context)?;
    let stopped = progress::during("Waiting for requests under way", || {
        instance::stop(&data_dir, PATIENCE)
    })?;
    if context.json {
        println!(
            "{}",
            json!({ "stopped": stopped.is_some(), "data_dir": data_dir })
        );
    } else if stopped.is_some() {
        println!("wit stopped. Its data stay in {}", data_dir.display());
    } else {
        println!("wit does not run on {}", data_dir.display());
    }
    Ok(Exit::Done)
}
