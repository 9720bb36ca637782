//! Values of `credential.helper`: which of them run our helper, and whether they can.

use std::path::{Path, PathBuf};

use crate::{config, process, system};

/// Name of the helper where git's configuration does not give a path.
pub const PORTABLE: &str = "wit";

/// Returns whether this value of `credential.helper` runs our helper, whatever its options. A name in other
/// letters counts too: some file systems do not tell them apart.
pub fn is_ours(helper: &str) -> bool {
    let program = first_word(helper.strip_prefix('!').unwrap_or(helper));
    let name = program.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    program.eq_ignore_ascii_case(PORTABLE) || name.trim_end_matches(".exe") == "git-credential-wit"
}

/// A helper for display: a shell command may hold a password, and is not shown.
pub fn name(helper: &str) -> String {
    match helper.starts_with('!') {
        true => "!…".to_owned(),
        false => first_word(helper),
    }
}

/// The first word as git's shell reads it, as far as paths need it.
pub fn first_word(command: &str) -> String {
    let mut word = String::new();
    let mut quote = None;
    let mut letters = command.trim_start().chars();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => word.extend(letters.next()),
            (None, c) if c.is_whitespace() => break,
            (_, c) => word.push(c),
        }
    }
    word
}

/// A path as one word of git's shell. Not in quotes: git takes a value for a path by its first
/// character.
pub fn shell_word(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
    path.chars()
        .flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c]))
        .collect()
}

/// The program that a value of ours leads to.
#[derive(Debug)]
pub struct Program {
    /// `None` where there is no such program.
    pub path: Option<PathBuf>,
    /// True if anybody may run it.
    pub executable: bool,
    /// `None` where it does not answer as our helper does.
    pub version: Option<String>,
}

impl Program {
    /// Finds the program, and asks it for its version.
    pub fn of(value: &str) -> Self {
        let word = first_word(value.strip_prefix('!').unwrap_or(value));
        let path = match word.contains('/') {
            true => Some(PathBuf::from(word)).filter(|path| path.is_file()),
            false if value.starts_with('!') => in_path(&word),
            false => in_path(&format!("git-credential-{word}")),
        };
        let executable = path.as_deref().is_some_and(system::is_executable);
        let version = path.as_ref().filter(|_| executable).and_then(|path| {
            let output = process::run(path, &["--version"], "").ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Some(text.trim().strip_prefix("git-credential-wit ")?.to_owned())
        });
        Program {
            path,
            executable,
            version,
        }
    }

    /// Returns whether it is the helper that belongs to this program.
    pub fn is_current(&self) -> bool {
        self.version.as_deref() == Some(env!("CARGO_PKG_VERSION"))
    }
}

/// Returns whether a value of ours names a program by a path where it is no longer, or not in this version:
/// after a move or an update to another prefix. A name that is looked for in the PATH is not stale:
/// that differs from one place to another.
pub fn is_stale(value: &str) -> bool {
    let command = value.strip_prefix('!');
    let word = first_word(command.unwrap_or(value));
    match (word.contains('/') || word.contains('\\'), command) {
        // A shell expands it in a way that is not known here.
        (true, Some(_)) if !Path::new(&word).is_absolute() => false,
        // What git makes of a relative path is no program.
        (true, None) if !Path::new(&word).is_absolute() => true,
        (true, _) => !Program::of(value).is_current(),
        (false, Some(_)) => false,
        (false, None) => word != PORTABLE && !Program::of(value).is_current(),
    }
}

/// The file of that name that comes first in the PATH, executable or not; an executable one before
/// one that is not, as a shell takes them.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = config::variable("PATH")?;
    let name = match name.ends_with(std::env::consts::EXE_SUFFIX) {
        true => name.to_owned(),
        false => format!("{name}{}", std::env::consts::EXE_SUFFIX),
    };
    let files: Vec<PathBuf> = std::env::split_paths(&path)
        .map(|dir| dir.join(&name))
        .filter(|file| file.is_file())
        .collect();
    let executable = files.iter().find(|file| system::is_executable(file));
    executable.or(files.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_helper_is_known_by_its_name_and_by_its_path_whatever_its_options() {
        for ours in [
            "wit",
            "WIT",
            "wit --store file",
            "/usr/bin/git-credential-wit --store keyutils",
            "/opt/Git-Credential-Wit",
            "!git-credential-wit",
            r"/home/a\ b/git-credential-wit",
            r"!'/home/it'\''s/git-credential-wit' --store file",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "",
            "store",
            "without",
            "/bin/git-credential-without",
            "!f() { wit; }; f",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn a_path_is_one_word_again() {
        let path = r#"/home/it's "a" b/$x\y/git-credential-wit"#;
        assert_eq!(first_word(&shell_word(path)), path);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_where_nothing_is_is_stale_and_a_name_is_not() {
        for stale in [
            "/nowhere/bin/git-credential-wit",
            "!/nowhere/bin/git-credential-wit --store file",
            "bin/git-credential-wit",
            "/bin/sh/git-credential-wit",
        ] {
            assert!(is_stale(stale), "{stale}");
        }
        for kept in ["wit", "wit --store file", "!~/bin/git-credential-wit"] {
            assert!(!is_stale(kept), "{kept}");
        }
    }
}
