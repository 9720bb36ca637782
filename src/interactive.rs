//! Whether a person may be shown a prompt by a program that git runs.

use std::process::Command;
use std::time::Duration;

use crate::{config, process};

/// Time limit of git for saying what is configured.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Returns whether there is a screen that a prompt could be seen on.
pub fn has_screen() -> bool {
    cfg!(any(target_os = "macos", windows))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| config::variable(name).is_some())
}

/// Returns whether prompts are wanted: by `WIT_INTERACTIVE`, else by git's `credential.interactive`
/// (git-config(1)), which git hands to helpers in no other way. Asked only where a prompt is due,
/// since it takes a process. `GIT_TERMINAL_PROMPT` is about terminals: programs with windows set it.
pub fn is_wanted() -> bool {
    let said = config::variable("WIT_INTERACTIVE").or_else(|| git_config("credential.interactive"));
    !said.is_some_and(|word| is_no(&word))
}

/// Returns whether a person sees what is written: a terminal, or a screen for a browser.
pub fn has_person() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() || has_screen()
}

/// git's false, and the word that it takes beside that here.
fn is_no(word: &str) -> bool {
    ["false", "no", "off", "0", "never"]
        .iter()
        .any(|no| word.trim().eq_ignore_ascii_case(no))
}

/// Value that git has for `name` here and now: from its files, its `-c` and its environment.
fn git_config(name: &str) -> Option<String> {
    let mut git = Command::new("git");
    git.args(["config", "--type=bool-or-str", "--get", name]);
    let output = process::output(git, b"", TIMEOUT).ok()?;
    String::from_utf8(output.stdout).ok()
}
