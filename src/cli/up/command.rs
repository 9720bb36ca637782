//! Commands about one server, as they are suggested: with what tells it from the others of a machine.

use std::ffi::OsStr;
use std::path::Path;

use super::options::Start;
use crate::cli::Context;
use crate::platform::instance;
use crate::platform::last_start::LastStart;
use crate::quote::{Hint, Suggestion};

/// A command about the server of a data directory. `words` are those before the options, such as
/// `wit up backup`.
pub fn about(words: &'static str, data_dir: &Path, context: &Context) -> Suggestion {
    let command = Suggestion::new(words);
    match data_dir == context.paths.platform_dir() {
        true => command,
        false => command.option("--data-dir", data_dir.display().to_string()),
    }
}

/// A start with all the options of this one, which came after `last`. Not `--foreground`, which a service
/// has from its unit.
pub fn start(args: &Start, data_dir: &Path, last: &LastStart, context: &Context) -> Suggestion {
    let text = |word: &OsStr| word.to_string_lossy().into_owned();
    let words = args.serving.typed(last);
    let mut command = about("wit up", data_dir, context).args(words.iter().map(|word| text(word)));
    for (option, value) in [("--user", &args.user), ("--email", &args.email)] {
        if let Some(value) = value {
            command = command.option(option, value);
        }
    }
    if args.password_stdin {
        command = command.arg("--password-stdin");
    }
    command
}

/// The way to stop the server of a data directory.
pub fn stop(data_dir: &Path, context: &Context) -> Hint {
    match instance::running(data_dir) {
        Ok(Some(running)) if running.is_in_another_namespace() => {
            "stop it where it runs, in another PID namespace such as a container's".into()
        }
        _ => about("wit down", data_dir, context).into(),
    }
}
