//! Parse, dispatch, exit code.

use std::process::ExitCode;

use wit::cli;

fn main() -> ExitCode {
    cli::completion::answer();
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let json = cli.json;
    match cli::run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let failure = cli::failure(&error);
            failure.report(json);
            failure.exit.into()
        }
    }
}
