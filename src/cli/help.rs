//! `wit help` and `wit version`, the commands in groups, and the first steps of a new user.

use std::io::{self, Write as _};

use clap::builder::StyledStr;
use clap::{CommandFactory, Subcommand};
use serde_json::json;

use super::{Cli, Command, Context, Exit, Failure, output};
use crate::config::{Config, Paths};

/// Commands by what they are for, in the order of their use.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Credentials",
        &[
            "login", "logout", "status", "store", "import", "unlock", "lock",
        ],
    ),
    ("Tokens", &["token", "account"]),
    ("Server", &["repo", "up", "down", "user"]),
    ("Setup", &["setup", "doctor", "help", "version"]),
];
/// The heading of a command in none of them.
const OTHERS: &str = "Other commands";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command, such as `token create`
    command: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let command = Cli::command();
    let mut found = &command;
    for word in &args.command {
        found = match found.find_subcommand(word) {
            Some(below) => below,
            None => {
                let message = format!("no command is called '{}'", output::escaped(word));
                return Err(Failure::new(Exit::Usage, message).hint("wit --help").into());
            }
        };
    }
    let typed = ["wit"].into_iter();
    let typed = typed.chain(args.command.iter().map(String::as_str));
    // As clap itself chooses and lays it out.
    let help = match command.try_get_matches_from(typed.chain(["--help"])) {
        Err(help) => help.render(),
        Ok(_) => StyledStr::new(),
    };
    if context.json {
        output::json(&json!({ "help": help.to_string() }))?;
        return Ok(Exit::Done);
    }
    print(&help)?;
    Ok(Exit::Done)
}

/// Writes a help to stdout.
pub fn print(help: &StyledStr) -> io::Result<()> {
    let text = match output::takes_colour() {
        true => help.ansi().to_string(),
        false => help.to_string(),
    };
    output::print(text.as_bytes())
}

pub fn version(context: &Context) -> anyhow::Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    match context.json {
        true => output::json(&json!({ "version": version }))?,
        false => output::print(format!("wit {version}\n").as_bytes())?,
    }
    Ok(Exit::Done)
}

/// The help of `wit` itself, whose commands are in groups: clap knows one list only.
pub fn template() -> StyledStr {
    let command = Command::augment_subcommands(clap::Command::new("wit"));
    let known: Vec<(&str, String)> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .map(|below| {
            let about = below.get_about().map(ToString::to_string);
            (below.get_name(), about.unwrap_or_default())
        })
        .collect();
    let width = known.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let others: Vec<&str> = known
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !grouped(name))
        .collect();
    let style = clap::builder::Styles::styled();
    let (heading, literal) = (style.get_header(), style.get_literal());
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (title, names) in GROUPS.into_iter().chain([(OTHERS, others.as_slice())]) {
        let lines: Vec<String> = names
            .iter()
            .filter_map(|name| known.iter().find(|(known, _)| known == name))
            .map(|(name, about)| {
                format!(
                    "  {literal}{name}{literal:#}{:1$}  {about}\n",
                    "",
                    width - name.len()
                )
            })
            .collect();
        if !lines.is_empty() {
            text += &format!("\n{heading}{title}:{heading:#}\n{}", lines.concat());
        }
    }
    text += &format!("\n{heading}Options:{heading:#}\n{{options}}{{after-help}}");
    text.into()
}

/// Returns whether `wit` knows no server yet.
pub fn is_new_here() -> bool {
    let config = Paths::from_environment().and_then(|paths| Config::load(&paths).ok());
    config.is_some_and(|config| config.servers.is_empty())
}

/// Prints steps from nothing to a push, and then the help without its examples.
pub fn first_steps() {
    let mut text = String::from(
        "To push to a git server:\n\n  \
           wit login https://git.example.com   # sign in\n  \
           wit setup                           # git asks wit for credentials from now on\n  \
           wit token create                    # at a wit server: a token for git\n  \
           git push\n\n",
    );
    if cfg!(all(feature = "platform", unix)) {
        text += "No server? `wit up --user ada` starts one on this machine.\n\n";
    }
    let help = Cli::command().after_help("").render_help();
    // As clap writes it: in the colours that stderr takes. Where that can't be written the exit code says it.
    let _ = write!(anstream::stderr(), "{text}{}", help.ansi());
}
