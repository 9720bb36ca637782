//! The commands of `wit`: one file each. The only printer.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Paths;
use crate::progress;
use crate::quote::{Hint, Suggestion};
use crate::trace;

mod account;
mod ask;
pub mod completion;
mod confirm;
pub mod doctor;
#[cfg(all(feature = "platform", unix))]
mod down;
mod examples;
mod failure;
mod generate;
mod help;
mod import;
pub mod login;
pub mod logout;
pub mod output;
mod passphrase;
mod repo;
pub mod session;
mod setup;
pub mod status;
mod store;
mod table;
pub mod token;
#[cfg(all(feature = "platform", unix))]
mod up;
mod usage;
#[cfg(all(feature = "platform", unix))]
mod user;

pub use failure::{AtHost, failure};

/// Exit of a run of `wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    Usage,
    Attention,
    NotLoggedIn,
    Unfinished,
    /// That of the command of `wit token exec`.
    Command(u8),
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Attention => 3,
            Exit::NotLoggedIn => 4,
            Exit::Unfinished => 5,
            Exit::Command(code) => code,
        }
    }
}

/// The one table of exit codes, for the help and the man page.
const EXIT_CODES: [(Exit, &str); 6] = [
    (Exit::Done, "done"),
    (Exit::Failed, "failed"),
    (Exit::Usage, "wrong usage"),
    (
        Exit::Attention,
        "needs attention: something was found, or a person must decide",
    ),
    (Exit::NotLoggedIn, "not logged in"),
    (
        Exit::Unfinished,
        "unfinished: something was done and something is left to do",
    ),
];

/// That table as text.
fn exit_codes() -> String {
    let line = |(exit, meaning): (Exit, &str)| format!("\n  {}  {meaning}", exit.code());
    format!("Exit codes:{}", EXIT_CODES.map(line).concat())
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// An error as a person sees it: what, why, and what to type next.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    pub hint: Option<String>,
    /// The error that it comes from, for `WIT_TRACE`: the message says all to a person.
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure {
            exit,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// Keeps the error that it comes from.
    pub fn caused_by(mut self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(error.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<Hint>) -> Self {
        self.hint = Some(hint.into().into());
        self
    }

    /// Writes it to stderr, as text or as one JSON document. Whatever a command was given in the
    /// wrong place, no token is shown.
    pub fn report(&self, json: bool) {
        let message = output::redacted(&self.message);
        let hint = self.hint.as_deref().map(output::redacted);
        let mut text = match json {
            true => {
                let document = serde_json::json!({
                    "error": {"message": message, "hint": hint, "exit": self.exit.code()}
                });
                format!("{document}\n")
            }
            false => {
                let error = output::styled_error("error:", output::WRONG.bold());
                format!("{error} {message}\n")
            }
        };
        if let Some(hint) = hint.filter(|_| !json) {
            text += &format!("hint: {hint}\n");
        }
        // Where stderr can't be written the exit code says it.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// Context that every command is given.
#[derive(Debug)]
pub struct Context {
    pub paths: Paths,
    /// `--json`: one JSON document on stdout, errors as JSON on stderr.
    pub json: bool,
    /// The server that was asked last, for what is said where it refuses or fails.
    asked: RefCell<Option<Asked>>,
}

/// A server that a command asks.
#[derive(Clone, Debug)]
enum Asked {
    Wit(String),
    Host(AtHost),
}

impl Context {
    pub fn new(paths: Paths, json: bool) -> Self {
        Context {
            paths,
            json,
            asked: RefCell::default(),
        }
    }

    fn asks(&self, server: &str) {
        self.asked.replace(Some(Asked::Wit(server.to_owned())));
    }

    fn asks_host(&self, host: AtHost) {
        self.asked.replace(Some(Asked::Host(host)));
    }

    /// An error as a person is told of it, with a hint for the server that was asked.
    fn failure(&self, error: &anyhow::Error) -> Failure {
        match &*self.asked.borrow() {
            Some(Asked::Host(host)) => failure::at_host(error, host),
            _ => failure(error),
        }
    }

    /// Prints what a command has done: the document with `--json`, else the text.
    fn answer(&self, document: &serde_json::Value, text: &str) -> anyhow::Result<Exit> {
        match self.json {
            true => output::json(document)?,
            false => output::print(text.as_bytes())?,
        }
        Ok(Exit::Done)
    }

    /// What a git host refuses in words that are true of it, and a refused session with the login that
    /// replaces it: several servers may be known.
    fn told(&self, error: anyhow::Error) -> anyhow::Error {
        match self.asked.take() {
            Some(Asked::Host(host)) => failure::at_host(&error, &host).into(),
            Some(Asked::Wit(server)) if failure::is_refused_session(&error) => {
                Failure::new(Exit::NotLoggedIn, failure::message(&error))
                    .hint(Suggestion::new("wit login").arg(server))
                    .into()
            }
            _ => error,
        }
    }
}

/// Git credentials for any host: narrow, short-lived, and renewed before they expire.
#[derive(Debug, Parser)]
#[command(
    name = "wit",
    version,
    infer_subcommands = false,
    disable_help_subcommand = true,
    max_term_width = 80,
    help_template = help::template(),
    after_help = examples::WIT,
    after_long_help = format!("{}\n\n{}", examples::WIT, exit_codes())
)]
pub struct Cli {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign in to a server, or create an account there
    #[command(after_help = examples::LOGIN)]
    Login(login::Args),
    /// Log out of a server
    #[command(after_help = examples::LOGOUT)]
    Logout(logout::Args),
    /// Show who is logged in where, and what this machine stores
    #[command(after_help = examples::STATUS)]
    Status(status::Args),
    /// Create, list, rotate and revoke tokens
    #[command(after_help = examples::TOKEN)]
    Token(token::Args),
    /// Show and change your account on a wit server
    #[command(after_help = examples::ACCOUNT)]
    Account(account::Args),
    /// Create, list, edit, share and delete repositories on a wit server
    #[command(after_help = examples::REPO)]
    Repo(repo::Args),
    /// Make git use this helper, or undo that
    #[command(after_help = examples::SETUP)]
    Setup(setup::Args),
    /// Diagnose problems and suggest fixes
    #[command(after_help = examples::DOCTOR)]
    Doctor(doctor::Args),
    /// Show where secrets are stored; list, erase, move or protect them
    #[command(after_help = examples::STORE)]
    Store(store::Args),
    /// Import credentials from another helper
    #[command(after_help = examples::IMPORT)]
    Import(import::Args),
    /// Unlock the file store for a time, with its passphrase
    #[command(after_help = examples::UNLOCK)]
    Unlock(passphrase::UnlockArgs),
    /// Lock the file store before that time is over
    #[command(after_help = examples::LOCK)]
    Lock,
    /// Start a git hosting server on this machine
    #[cfg(all(feature = "platform", unix))]
    #[command(after_help = examples::UP)]
    Up(up::Args),
    /// Stop the server on this machine
    #[cfg(all(feature = "platform", unix))]
    #[command(after_help = examples::DOWN)]
    Down(down::Args),
    /// Manage accounts of the server on this machine, as its operator
    #[cfg(all(feature = "platform", unix))]
    #[command(after_help = examples::USER)]
    User(user::Args),
    /// Show the help of a command
    #[command(after_help = examples::HELP)]
    Help(help::Args),
    /// Print the version
    #[command(after_help = examples::VERSION)]
    Version,
    /// Write the man pages or a shell's completions
    #[command(hide = true)]
    Generate(generate::Args),
}

impl Command {
    /// Returns whether git waits for it.
    fn is_renewal(&self) -> bool {
        matches!(self, Command::Token(args) if args.is_renewal())
    }

    /// Returns whether it first ends what a rotation has left for later: not where git waits for it, and
    /// not where nothing is to be changed or asked of a server.
    fn ends_graces(&self) -> bool {
        match self {
            Command::Token(_) => !self.is_renewal(),
            Command::Logout(_) | Command::Status(_) | Command::Repo(_) | Command::Account(_) => {
                true
            }
            Command::Setup(_) | Command::Doctor(_) => true,
            // `wit login` does it once it has a login to do it with.
            _ => false,
        }
    }
}

/// Reads the command line; where it is wrong, says so and returns the exit code.
pub fn parse() -> Result<Cli, Exit> {
    Cli::try_parse().map_err(|error| {
        let typed: Vec<String> = std::env::args_os()
            .skip(1)
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        // What follows `--` is another command's.
        let ours = typed.split(|argument| argument == "--").next();
        let ours = ours.unwrap_or_default();
        let is_json = ours.iter().any(|argument| argument == "--json");
        if !error.use_stderr() {
            // Help and version.
            let Err(error) = help::print(&error.render()) else {
                return Exit::Done;
            };
            let failure = failure(&error.into());
            failure.report(is_json);
            return failure.exit;
        }
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            if std::env::args_os().len() == 1 && help::is_new_here() {
                help::first_steps();
            } else {
                let _ = error.print();
            }
            return Exit::Usage;
        }
        usage::failure(&error, &words(ours.iter().cloned()), &typed).report(is_json);
        Exit::Usage
    })
}

/// Runs the parsed command.
pub fn run(cli: Cli) -> Result<Exit, anyhow::Error> {
    let paths = Paths::from_environment().ok_or_else(|| {
        Failure::new(Exit::Failed, "there is no home directory").hint("set HOME to one")
    })?;
    let context = Context::new(paths, cli.json);
    if trace::is_on() {
        trace::note(format_args!("wit {}", words(std::env::args().skip(1))));
    }
    if !context.json && !cli.command.is_renewal() {
        progress::allow();
    }
    if cli.command.ends_graces() {
        token::end_due_graces(&context);
        token::end_abandoned(&context);
    }
    let done = match cli.command {
        Command::Login(args) => login::run(args, &context),
        Command::Logout(args) => logout::run(args, &context),
        Command::Status(args) => status::run(args, &context),
        Command::Token(args) => token::run(args, &context),
        Command::Account(args) => account::run(args, &context),
        Command::Repo(args) => repo::run(args, &context),
        Command::Setup(args) => setup::run(args, &context),
        Command::Doctor(args) => doctor::run(args, &context),
        Command::Store(args) => store::run(args, &context),
        Command::Import(args) => import::run(args, &context),
        Command::Unlock(args) => passphrase::unlock(args, &context),
        Command::Lock => passphrase::lock(&context),
        Command::Help(args) => help::run(&args, &context),
        Command::Version => help::version(&context),
        Command::Generate(args) => generate::run(args, &context),
        #[cfg(all(feature = "platform", unix))]
        Command::Up(args) => up::run(args, &context),
        #[cfg(all(feature = "platform", unix))]
        Command::Down(args) => down::run(args, &context),
        #[cfg(all(feature = "platform", unix))]
        Command::User(args) => user::run(args, &context),
    };
    done.map_err(|error| context.told(error))
}

/// The commands that were typed, without whatever else was: that may be a secret in the wrong place.
fn words(typed: impl Iterator<Item = String>) -> String {
    let mut command = Cli::command();
    let mut words = Vec::new();
    for word in typed {
        if let Some(below) = command.find_subcommand(&word) {
            command = below.clone();
            words.push(word);
        }
    }
    words.join(" ")
}
