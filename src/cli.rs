//! The commands of `wit`: one file each. The only printer.

use std::fmt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::api::ApiError;
use crate::config::Paths;

/// How a run of `wit` ends, the one table of exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Attention = 3,
    NotLoggedIn = 4,
    Unfinished = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// An error as a person sees it: what, why, and what to type next.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    pub hint: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// What every command is handed.
#[derive(Debug)]
pub struct Context {
    pub paths: Paths,
    /// `--json`: one JSON document on stdout, errors as JSON on stderr.
    pub json: bool,
}

/// Tokens for git: made narrow, kept in the keychain, renewed and revoked in time.
#[derive(Debug, Parser)]
#[command(
    name = "wit",
    version,
    infer_subcommands = false,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {}

/// Runs the parsed command.
pub fn run(cli: Cli) -> Result<Exit, anyhow::Error> {
    match cli.command {}
}

/// Maps any error to its exit code and hint.
pub fn failure(error: &anyhow::Error) -> Failure {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Failure {
            exit: failure.exit,
            message: failure.message.clone(),
            hint: failure.hint.clone(),
        };
    }
    let mut failure = Failure::new(Exit::Failed, format!("{error:#}"));
    for cause in error.chain() {
        if let Some(store) = cause.downcast_ref::<crate::store::StoreError>() {
            failure.hint = store.hint().map(str::to_owned);
        }
        if let Some(ApiError::Unauthorized) = cause.downcast_ref::<ApiError>() {
            failure.exit = Exit::NotLoggedIn;
            failure.hint = Some("wit login".to_owned());
        }
    }
    failure
}
