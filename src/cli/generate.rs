//! `wit generate`: the man pages and completion scripts, from the same definitions as the parser.
//! Hidden: it serves whoever builds or packages.

use anyhow::Context as _;
use clap::Subcommand;

use super::{Context, Exit, completion, output};

#[cfg(feature = "crash-points")]
mod man;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write one man page for each command to DIR
    #[cfg(feature = "crash-points")]
    Man { dir: std::path::PathBuf },
    /// Print the completion script of a shell: bash, zsh, fish, powershell or elvish
    Completions { shell: clap_complete::Shell },
}

pub fn run(args: Args, _context: &Context) -> anyhow::Result<Exit> {
    match args.what {
        #[cfg(feature = "crash-points")]
        What::Man { dir } => man::write(&dir)?,
        What::Completions { shell } => {
            let script = completion::script(&shell.to_string()).context("no such shell")??;
            output::print(&script)?;
        }
    }
    Ok(Exit::Done)
}
