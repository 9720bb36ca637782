//! Whether a person may be shown a prompt by a program that git runs.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::config;

/// How long git may take to say what is configured.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it is waited between two looks at git.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Whether there is a screen that a prompt could be seen on.
pub fn has_screen() -> bool {
    cfg!(any(target_os = "macos", windows))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| config::variable(name).is_some())
}

/// Whether prompts are wanted: by `WIT_INTERACTIVE`, else by git's `credential.interactive`
/// (git-config(1)), which git hands to helpers in no other way. Asked only where a prompt is due,
/// since it takes a process. `GIT_TERMINAL_PROMPT` is about terminals: programs with windows set it.
pub fn is_wanted() -> bool {
    let said = config::variable("WIT_INTERACTIVE").or_else(|| git_config("credential.interactive"));
    !said.is_some_and(|word| is_no(&word))
}

/// Whether a person sees what is written: a terminal, or a screen for a browser.
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

/// What git has for `name` here and now: from its files, its `-c` and its environment.
fn git_config(name: &str) -> Option<String> {
    let mut git = Command::new("git")
        .args(["config", "--type=bool-or-str", "--get", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let begun = Instant::now();
    while git.try_wait().ok()?.is_none() {
        if begun.elapsed() >= PATIENCE {
            let _ = git.kill();
            let _ = git.wait();
            return None;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    let mut said = String::new();
    git.stdout.take()?.take(64).read_to_string(&mut said).ok()?;
    Some(said)
}
