//! Parse, dispatch, exit code.

use std::process::ExitCode;

use wit::cli;

/// The server's threads free what others allocated, over which glibc has them wait for each other:
/// under load most futex calls of `wit up` were that. What a password's hash took is given back at once.
#[cfg(all(target_os = "linux", feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
