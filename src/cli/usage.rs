//! clap's errors in the form of ours: one line that says what, then how it is used and what to type.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};

use super::{Cli, Exit, Failure, output};
use crate::quote::Suggestion;

/// Words of git's credential helpers, and of the programs of hosts, for what is called otherwise here.
const OTHER_WORDS: [(&str, &str); 19] = [
    ("auth login", "wit login URL"),
    ("auth logout", "wit logout"),
    ("auth status", "wit status"),
    ("auth token", "wit token print"),
    (
        "auth refresh",
        "wit token refresh, or wit login URL with other scopes",
    ),
    (
        "auth switch",
        "git config credential.URL.username NAME; wit store list shows the names",
    ),
    ("auth setup-git", "wit setup"),
    ("auth git-credential", GIT_RUNS),
    ("auth", "wit login, wit logout, wit status, wit token"),
    ("configure", "wit setup"),
    ("unconfigure", "wit setup --undo"),
    ("diagnose", "wit doctor"),
    ("whoami", "wit status; of one server: wit account"),
    (
        "list",
        "wit store list; of a server's tokens: wit token list",
    ),
    (
        "erase",
        "wit store erase URL; git itself runs git-credential-wit erase, see wit setup",
    ),
    ("get", GIT_RUNS),
    ("fill", "git credential fill"),
    ("approve", "git credential approve"),
    ("reject", "git credential reject"),
];

const GIT_RUNS: &str =
    "git runs git-credential-wit for that: wit setup; for a script: wit token print";

/// The command for what another program calls by the words that were typed.
fn other_words(typed: &[String]) -> Option<&'static str> {
    let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
    let mut known = OTHER_WORDS.into_iter();
    known.find_map(|(words, hint)| {
        let words: Vec<&str> = words.split(' ').collect();
        typed.starts_with(&words).then_some(hint)
    })
}

/// Failure for a wrong command line; `words` are the commands in it, and `typed` is all of it.
pub fn failure(error: &clap::Error, words: &str, typed: &[String]) -> Failure {
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
    let (name, command) = command(words);
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(other) = other_words(typed)
    {
        return Failure::new(Exit::Usage, message).hint(other);
    }
    if error.kind() == ErrorKind::MissingRequiredArgument
        && let Some(values) = missing_values(error, &command)
    {
        message = format!("{message}\n{values}");
    }
    if error.kind() == ErrorKind::MissingSubcommand {
        // clap lists hidden ones too.
        let shown = command
            .get_subcommands()
            .filter(|below| !below.is_hide_set());
        let shown: Vec<&str> = shown.map(Command::get_name).collect();
        let shown = shown.join(", ");
        message = format!("'{name}' needs a subcommand, one of: {shown}");
    }
    // An option that is not known is hardly ever meant as a value.
    hint = hint.filter(|tip| !tip.starts_with("to pass '--"));
    if let Some(similar) = shown_ones(error, &command) {
        let what = match error.kind() {
            ErrorKind::InvalidSubcommand => "subcommand",
            _ => "argument",
        };
        hint = match similar.as_slice() {
            [] => None,
            [one] => Some(format!("a similar {what} exists: {one}")),
            several => Some(format!(
                "some similar {what}s exist: {}",
                several.join(", ")
            )),
        };
    }
    let help = match words {
        "" => "wit --help".to_owned(),
        words => format!("wit {words} --help"),
    };
    let hint = match hint.or_else(|| after_dashes(error, words, typed)) {
        Some(tip) => format!("{tip}; {help}"),
        None => help,
    };
    Failure {
        hint: Some(hint),
        ..Failure::new(Exit::Usage, message)
    }
}

/// The command of those words, with its name.
fn command(words: &str) -> (String, Command) {
    let (mut command, mut name) = (Cli::command(), "wit".to_owned());
    for word in words.split_whitespace() {
        let Some(below) = command.find_subcommand(word).cloned() else {
            break;
        };
        command = below;
        name = format!("{name} {word}");
    }
    (name, command)
}

/// Of the commands and options that clap finds similar those that a help lists, the likeliest first: only
/// that one where it begins as what was typed, or is its singular. `None` where clap finds none.
fn shown_ones(error: &clap::Error, command: &Command) -> Option<Vec<String>> {
    let similar = error
        .get(ContextKind::SuggestedSubcommand)
        .or_else(|| error.get(ContextKind::SuggestedArg))?;
    let similar = match similar {
        ContextValue::String(one) => std::slice::from_ref(one),
        ContextValue::Strings(several) => several.as_slice(),
        _ => return None,
    };
    let is_shown = |name: &&String| match name.strip_prefix("--") {
        Some(long) => !(command.get_arguments())
            .any(|argument| argument.is_hide_set() && argument.get_long() == Some(long)),
        None => !(command.find_subcommand(name)).is_some_and(Command::is_hide_set),
    };
    // clap's likeliest is the last.
    let mut shown: Vec<&String> = similar.iter().rev().filter(is_shown).collect();
    if let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) {
        let is_meant = |name: &&&String| {
            name.starts_with(typed.as_str()) || typed.strip_suffix('s') == Some(name)
        };
        if let Some(meant) = shown.iter().find(is_meant).copied() {
            shown = vec![meant];
        }
    }
    Some(shown.iter().map(|name| format!("'{name}'")).collect())
}

/// The values that the arguments which are missing take.
fn missing_values(error: &clap::Error, command: &Command) -> Option<String> {
    let ContextValue::Strings(missing) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    // Else clap does not know how an argument is shown.
    let mut command = command.clone();
    command.build();
    let wanted = command.get_arguments().filter(|argument| {
        let name = argument.to_string();
        missing.contains(&name)
    });
    let mut lists = wanted.filter_map(|argument| {
        let values = argument.get_possible_values();
        let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        (!names.is_empty()).then(|| format!("{argument} is one of: {}", names.join(", ")))
    });
    lists.next()
}

/// The command of `wit token exec` after the `--` that was left out.
fn after_dashes(error: &clap::Error, words: &str, typed: &[String]) -> Option<String> {
    let is_left_out = words == "token exec"
        && error.kind() == ErrorKind::UnknownArgument
        && !typed.iter().any(|word| word == "--");
    let Some(ContextValue::String(first)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let at = typed.iter().position(|word| word == first)?;
    if !is_left_out || first.starts_with('-') {
        return None;
    }
    let (ours, others) = typed.split_at(at);
    let command = Suggestion::new("wit").args(ours).arg("--").args(others);
    Some(output::redacted(&command.to_string()))
}

/// Several lines as one: a list's entries follow its colon.
fn lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ").replace(" tip: ", "; ")
}
