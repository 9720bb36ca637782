//! The man pages, which are kept in `man/`: no release needs what makes them.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use clap::{Arg, CommandFactory};

use crate::cli::session::CONNECTION;
use crate::cli::{Cli, EXIT_CODES};

/// The date in the footer: that of the version.
const DATE: &str = "2026-11-26";
const SOURCE: &str = concat!("wit ", env!("CARGO_PKG_VERSION"));

/// Definition of an apostrophe, for groff and others.
const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Description of wit(1).
const DESCRIPTION: &str = "\
wit signs in to git hosts, and creates, rotates and revokes the tokens that git uses there. It keeps
them in the keychain of the desktop or in encrypted files, from which
.BR git\\-credential\\-wit (1)
answers git. wit up starts a git hosting server on this machine.
.PP
Each command has a page of its own, such as
.BR wit\\-login (1).
";

/// Variables, with their effects. docs/configuration.md has all of them.
const ENVIRONMENT: [(&str, &str); 12] = [
    ("WIT_STORE", "The store to use, over the configuration."),
    (
        "WIT_URL",
        "The server that commands mean where none is named.",
    ),
    (
        "WIT_TOKEN",
        "A token that the helper answers with, at the origin in WIT_URL.",
    ),
    ("WIT_INTERACTIVE", "false: no prompt of the keychain."),
    (
        "WIT_QUIET",
        "Set: the helper does not warn of tokens that expire soon or were not renewed.",
    ),
    (
        "WIT_TRACE",
        "1 for stderr, or an absolute path: each step, without secrets.",
    ),
    (
        "WIT_KEYCHAIN_TIMEOUT",
        "Seconds that a keychain may take; 3.",
    ),
    ("WIT_HTTP_TIMEOUT", "Seconds that a request may take; 30."),
    (
        "WIT_DELIVER_TIMEOUT",
        "Seconds that a receiver's command may take; 60.",
    ),
    (
        "DATABASE_URL",
        "The platform's database, for direct mode and wit up.",
    ),
    ("WIT_USER_ID", "The account of direct mode."),
    ("NO_COLOR", "No colour, as no-color.org has it."),
];

/// Paths of files on Linux.
const FILES: [(&str, &str); 4] = [
    (
        "~/.config/wit/config.json",
        "Settings and known servers; no secret.",
    ),
    ("~/.local/share/wit/store/", "The file store."),
    ("~/.local/share/wit/platform/", "Data of wit up."),
    (
        "~/.local/state/wit/",
        "Locks, journals, what wit setup changed; no secret.",
    ),
];

/// Files that a command is about, besides those of wit(1).
const FILES_OF: [(&str, &[(&str, &str)]); 6] = [
    ("wit-login", &[FILES[0]]),
    (
        "wit-setup",
        &[
            (
                "~/.gitconfig",
                "What is changed, unless --local or --system says otherwise.",
            ),
            ("~/.local/state/wit/setup.json", "What --undo takes back."),
        ],
    ),
    ("wit-store", &[FILES[1]]),
    (
        "wit-import",
        &[
            (
                "~/.git-credentials, ~/.config/git/credentials",
                "Read by wit import store.",
            ),
            ("~/.netrc", "Read by wit import netrc."),
            (
                "~/.gcm/store, ~/.password-store/git",
                "Read by wit import gcm.",
            ),
            ("~/.config/gh/hosts.yml", "Read by wit import gh."),
            ("~/.config/glab-cli/config.yml", "Read by wit import glab."),
        ],
    ),
    (
        "wit-unlock",
        &[(
            "~/.local/share/wit/store/identity.txt",
            "The protected identity.",
        )],
    ),
    ("wit-up", &[FILES[2]]),
];

/// Writes one page for each command to `dir`.
pub fn write(dir: &Path) -> anyhow::Result<()> {
    pages(dir, Cli::command().display_name("wit"), None)
}

/// Writes the page of `command` and, one each, those of the commands below it: `wit.1`,
/// `wit-token.1`, `wit-token-create.1`.
fn pages(dir: &Path, mut command: clap::Command, parent: Option<&str>) -> anyhow::Result<()> {
    command.build();
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let path = dir.join(format!("{name}.1"));
    let mut roff = Vec::new();
    // clap_mangen would make paragraphs of them.
    let plain = command.clone().after_help(None).after_long_help(None);
    let man = clap_mangen::Man::new(plain)
        .date(DATE)
        .source(SOURCE)
        .manual("wit");
    man.render_title(&mut roff)?;
    man.render_name_section(&mut roff)?;
    synopsis(&command, &name, &mut roff)?;
    match parent {
        // clap_mangen would repeat the line after the name.
        None => write!(roff, ".SH DESCRIPTION\n{DESCRIPTION}")?,
        Some(_) => man.render_description_section(&mut roff)?,
    }
    man.render_options_section(&mut roff)?;
    let below: Vec<clap::Command> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .cloned()
        .collect();
    if !below.is_empty() {
        man.render_subcommands_section(&mut roff)?;
    }
    if parent.is_none() {
        writeln!(roff, ".SH \"EXIT STATUS\"")?;
        for (exit, meaning) in EXIT_CODES {
            writeln!(roff, ".TP\n\\fB{}\\fR\n{meaning}", exit.code())?;
        }
    }
    let reaches_a_server =
        (command.get_arguments()).any(|argument| argument.get_help_heading() == Some(CONNECTION));
    match (parent, reaches_a_server) {
        (None, _) => entries("ENVIRONMENT", &ENVIRONMENT, &mut roff)?,
        (_, true) => {
            let about = |name: &&(&str, &str)| {
                matches!(
                    name.0,
                    "WIT_URL" | "WIT_HTTP_TIMEOUT" | "DATABASE_URL" | "WIT_USER_ID"
                )
            };
            let some: Vec<(&str, &str)> = ENVIRONMENT.iter().filter(about).copied().collect();
            entries("ENVIRONMENT", &some, &mut roff)?;
        }
        _ => {}
    }
    let files = FILES_OF.iter().find(|(of, _)| *of == name);
    match (parent, files) {
        (None, _) => entries("FILES", &FILES, &mut roff)?,
        (_, Some((_, files))) => entries("FILES", files, &mut roff)?,
        _ => {}
    }
    if let Some(examples) = command.get_after_help() {
        writeln!(roff, ".SH EXAMPLES\n.nf")?;
        for line in examples.to_string().lines().skip(1) {
            writeln!(roff, "{}", literal(line.strip_prefix("  ").unwrap_or(line)))?;
        }
        writeln!(roff, ".fi")?;
    }
    see_also(&name, parent, &below, &mut roff)?;
    let text = String::from_utf8(roff).context("a page is text")?;
    // clap_mangen puts its definition of an apostrophe before each section.
    let text = format!("{APOSTROPHE}{}", text.replace(APOSTROPHE, ""));
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    for below in below {
        let own = format!("{name}-{}", below.get_name());
        pages(dir, below.display_name(own), Some(&name))?;
    }
    Ok(())
}

/// Each option with its value, and each argument; `--help` and `--version` go without saying.
fn synopsis(command: &clap::Command, name: &str, roff: &mut Vec<u8>) -> anyhow::Result<()> {
    let words = name
        .replace('-', " ")
        .replace("reset password", "reset-password");
    write!(roff, ".SH SYNOPSIS\n\\fB{}\\fR", literal(&words))?;
    let shown = |argument: &&Arg| {
        !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
    };
    let (arguments, options): (Vec<&Arg>, Vec<&Arg>) =
        (command.get_arguments().filter(shown)).partition(|argument| argument.is_positional());
    for argument in options.into_iter().chain(arguments) {
        let text = spelt(argument);
        match argument.is_required_set() {
            true => write!(roff, " {text}")?,
            false => write!(roff, " [{text}]")?,
        }
    }
    if command.has_subcommands() {
        match command.is_subcommand_required_set() {
            true => write!(roff, " \\fICOMMAND\\fR")?,
            false => write!(roff, " [\\fICOMMAND\\fR]")?,
        }
    }
    writeln!(roff)?;
    Ok(())
}

fn spelt(argument: &Arg) -> String {
    let takes_values = argument.get_action().takes_values();
    let names = argument.get_value_names().unwrap_or_default();
    let mut value: Vec<String> = (names.iter())
        .map(|name| format!("\\fI{}\\fR", literal(name)))
        .collect();
    if value.is_empty() {
        let name = argument.get_id().as_str().to_uppercase();
        value.push(format!("\\fI{}\\fR", literal(&name)));
    }
    let many = argument
        .get_num_args()
        .is_some_and(|range| range.max_values() > 1);
    let repeated = matches!(argument.get_action(), clap::ArgAction::Append);
    let dots = if many || repeated && argument.is_positional() {
        "..."
    } else {
        ""
    };
    let value = format!("{}{dots}", value.join(" "));
    let short = argument
        .get_short()
        .map(|short| format!("\\fB\\-{short}\\fR"));
    let long = argument
        .get_long()
        .map(|long| format!("\\fB\\-\\-{}\\fR", literal(long)));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    match (names.is_empty(), takes_values) {
        (true, _) => value,
        (false, true) => format!("{} {value}", names.join("|")),
        (false, false) => names.join("|"),
    }
}

fn entries(title: &str, all: &[(&str, &str)], roff: &mut Vec<u8>) -> anyhow::Result<()> {
    writeln!(roff, ".SH {title}")?;
    for (name, words) in all {
        writeln!(roff, ".TP\n\\fB{}\\fR\n{}", literal(name), literal(words))?;
    }
    Ok(())
}

fn see_also(
    name: &str,
    parent: Option<&str>,
    below: &[clap::Command],
    roff: &mut Vec<u8>,
) -> anyhow::Result<()> {
    let mut pages: Vec<String> = parent.into_iter().map(str::to_owned).collect();
    if parent.is_some_and(|parent| parent != "wit") {
        pages.insert(0, "wit".to_owned());
    }
    pages.extend(
        below
            .iter()
            .map(|below| format!("{name}-{}", below.get_name())),
    );
    if matches!(
        name,
        "wit" | "wit-setup" | "wit-doctor" | "wit-login" | "wit-store"
    ) {
        pages.push("git-credential-wit".to_owned());
    }
    let mut all: Vec<String> = pages
        .iter()
        .map(|page| format!("\\fB{}\\fR(1)", literal(page)))
        .collect();
    if matches!(name, "wit" | "wit-setup") {
        all.push("\\fBgitcredentials\\fR(7)".to_owned());
    }
    writeln!(roff, ".SH \"SEE ALSO\"\n{}", all.join(",\n"))?;
    Ok(())
}

/// A line of text as roff shows it unchanged (groff_char(7)); none of ours begins like a request.
fn literal(line: &str) -> String {
    line.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('~', "\\(ti")
        .replace('\'', "\\*(Aq")
}
