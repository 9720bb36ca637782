//! clap's errors in the form of ours: one line that says what, then how it is used and what to type.

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::{Cli, Exit, Failure, output};

/// Failure for a wrong command line; `words` are the commands in it.
pub fn failure(error: &clap::Error, words: &str) -> Failure {
    // clap repeats what it was given, and that may be a token in the wrong place.
    let text = output::redacted(&error.render().to_string());
    let mut paragraphs = text.trim_end().split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let mut message = lines(first);
    let mut hint = None;
    for paragraph in paragraphs {
        let paragraph = paragraph.trim();
        if let Some(tip) = paragraph.strip_prefix("tip: ") {
            hint.get_or_insert(lines(tip));
        } else if let Some(usage) = paragraph.strip_prefix("Usage: ")
            && error.kind() == ErrorKind::MissingRequiredArgument
        {
            message = format!("{message}\nusage: {usage}");
        }
    }
    if error.kind() == ErrorKind::MissingSubcommand {
        // clap lists hidden ones too.
        let (mut command, mut name) = (Cli::command(), "wit".to_owned());
        for word in words.split_whitespace() {
            let Some(below) = command.find_subcommand(word).cloned() else {
                break;
            };
            command = below;
            name = format!("{name} {word}");
        }
        let shown = command
            .get_subcommands()
            .filter(|below| !below.is_hide_set());
        let shown: Vec<&str> = shown.map(clap::Command::get_name).collect();
        let shown = shown.join(", ");
        message = format!("'{name}' needs a subcommand, one of: {shown}");
    }
    let help = match words {
        "" => "wit --help".to_owned(),
        words => format!("wit {words} --help"),
    };
    let hint = match hint {
        Some(tip) => format!("{tip}; {help}"),
        None => help,
    };
    Failure {
        hint: Some(hint),
        ..Failure::new(Exit::Usage, message)
    }
}

/// Several lines as one: a list's entries follow its colon.
fn lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ").replace(" tip: ", "; ")
}
