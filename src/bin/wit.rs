//! Parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;
use wit::cli;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let failure = cli::failure(&error);
            eprintln!("wit: {}", failure.message);
            if let Some(hint) = failure.hint {
                eprintln!("hint: {hint}");
            }
            failure.exit.into()
        }
    }
}
