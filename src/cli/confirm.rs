//! Asking before something is destroyed.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use super::{Exit, Failure};

/// Longest answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 100;

/// Returns where the person says yes, and where there is nobody to ask: a script that gives a
/// command means it. `yes` is the option `--yes`.
pub fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes || !io::stdin().is_terminal() {
        return Ok(());
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .take(ANSWER_LIMIT)
        .read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Failed, "nothing was changed")
            .hint("answer y, or give --yes")
            .into()),
    }
}
