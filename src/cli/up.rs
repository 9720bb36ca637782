//! `wit up`: the platform on this machine, its start and its operation.

mod background;
mod foreground;
mod options;
mod report;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Context, Exit, Failure};
use crate::config;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    start: options::Start,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    start(args.start, context)
}

fn start(args: options::Start, context: &Context) -> anyhow::Result<Exit> {
    if !args.listen.is_loopback() && !args.allow_http && args.tls_cert.is_none() {
        let message = format!(
            "{} is more than this machine, and http is not encrypted",
            args.listen
        );
        return Err(Failure::new(Exit::Usage, message)
            .hint(format!(
                "wit up --listen {} --tls-cert FILE --tls-key FILE, or --allow-http",
                args.listen
            ))
            .into());
    }
    let data_dir = data_dir(args.data_dir.as_deref(), context)?;
    refuse_sudo(&data_dir)?;
    let absolute = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
    let args = options::Start {
        // The server stands in another directory.
        tls_cert: absolute(args.tls_cert)?,
        tls_key: absolute(args.tls_key)?,
        repositories: absolute(args.repositories)?,
        ..args
    };
    match args.foreground {
        true => foreground::run(&args, data_dir, context),
        false => background::run(&args, &data_dir, context),
    }
}

/// The data directory that was named, made absolute, or the usual one.
pub fn data_dir(named: Option<&Path>, context: &Context) -> anyhow::Result<PathBuf> {
    match named {
        Some(dir) => std::path::absolute(dir).with_context(|| dir.display().to_string()),
        None => Ok(context.paths.platform_dir()),
    }
}

/// What git creates as root its owner could not change later, and git refuses root what is not root's.
/// A container's root, which no sudo has started, may have any home.
fn refuse_sudo(data_dir: &Path) -> anyhow::Result<()> {
    let existing = data_dir.ancestors().find(|dir| dir.exists());
    let owner = existing.and_then(config::heir);
    let by_sudo = config::variable("SUDO_UID");
    match owner.is_some_and(|owner| by_sudo == Some(owner.user.to_string())) {
        false => Ok(()),
        true => Err(Failure::new(
            Exit::Usage,
            format!("{} would become root's in part", data_dir.display()),
        )
        .hint("wit up, without sudo")
        .into()),
    }
}
