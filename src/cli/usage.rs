//! clap's errors in the form of ours: one line that says what, then how it is used and what to type.

use clap::error::ErrorKind;

use super::{Exit, Failure, output};

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
