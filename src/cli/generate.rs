//! `wit generate`: the man pages and completion scripts, from the same definitions as the parser.
//! Hidden: it serves whoever builds or packages.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{CommandFactory, Subcommand};

use super::{Cli, Context, EXIT_CODES, Exit, completion, output};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write one man page for each command to DIR
    Man { dir: PathBuf },
    /// Print the completion script of a shell: bash, zsh, fish, powershell or elvish
    Completions { shell: clap_complete::Shell },
}

pub fn run(args: Args, _context: &Context) -> anyhow::Result<Exit> {
    match args.what {
        What::Man { dir } => pages(&dir, Cli::command().display_name("wit"))?,
        What::Completions { shell } => {
            let script = completion::script(&shell.to_string()).context("no such shell")??;
            output::print(&script)?;
        }
    }
    Ok(Exit::Done)
}

/// Writes the page of `command` and, one each, those of the commands below it: `wit.1`,
/// `wit-token.1`, `wit-token-create.1`.
fn pages(dir: &Path, mut command: clap::Command) -> anyhow::Result<()> {
    command.build();
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let path = dir.join(format!("{name}.1"));
    let mut roff = Vec::new();
    // clap_mangen would make paragraphs of them.
    let plain = command.clone().after_help(None).after_long_help(None);
    clap_mangen::Man::new(plain)
        .manual("wit")
        .render(&mut roff)?;
    if command.get_after_long_help().is_some() {
        writeln!(roff, ".SH \"EXIT STATUS\"")?;
        for (exit, meaning) in EXIT_CODES {
            writeln!(roff, ".TP\n\\fB{}\\fR\n{meaning}", exit as u8)?;
        }
    }
    if let Some(examples) = command.get_after_help() {
        writeln!(roff, ".SH EXAMPLES\n.nf")?;
        for line in examples.to_string().lines().skip(1) {
            writeln!(roff, "{}", literal(line.strip_prefix("  ").unwrap_or(line)))?;
        }
        writeln!(roff, ".fi")?;
    }
    fs::write(&path, roff).with_context(|| path.display().to_string())?;
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        let name = format!("{name}-{}", below.get_name());
        pages(dir, below.clone().display_name(name))?;
    }
    Ok(())
}

/// A line of text as roff shows it unchanged (groff_char(7)); none of ours begins like a request.
fn literal(line: &str) -> String {
    line.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\*(Aq")
}
