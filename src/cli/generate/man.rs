//! The man pages, which are kept in `man/`: no release needs what makes them.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory;

use crate::cli::{Cli, EXIT_CODES};

/// Writes one page for each command to `dir`.
pub fn write(dir: &Path) -> anyhow::Result<()> {
    pages(dir, Cli::command().display_name("wit"))
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
            writeln!(roff, ".TP\n\\fB{}\\fR\n{meaning}", exit.code())?;
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
