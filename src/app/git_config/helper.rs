//! Values of `credential.helper`: which of them run our helper, and whether they can.

use std::path::{Path, PathBuf};

use crate::{config, process, system};

/// Name of the helper where git's configuration does not give a path.
pub const PORTABLE: &str = "wit";

/// Returns whether this value of `credential.helper` runs our helper, whatever its options. A name in other
/// letters counts too: some file systems do not tell them apart.
pub fn is_ours(helper: &str) -> bool {
    let program = first_word(helper.strip_prefix('!').unwrap_or(helper));
    program.eq_ignore_ascii_case(PORTABLE) || file_stem(&program) == "git-credential-wit"
}

/// A helper for display: a shell command may hold a password, and is shown only where it is known.
pub fn name(helper: &str) -> String {
    match helper.starts_with('!') {
        true => host_cli(helper).unwrap_or("!…").to_owned(),
        false => first_word(helper),
    }
}

/// The program of a host's own, as `gh auth setup-git` and `glab auth login` write it.
fn host_cli(helper: &str) -> Option<&'static str> {
    let command = helper.strip_prefix('!')?.trim_end();
    command.strip_suffix(" auth git-credential")?;
    let program = file_stem(&first_word(command));
    ["gh", "glab"].into_iter().find(|known| *known == program)
}

/// The name of a program without its directory and the ending that Windows gives it.
fn file_stem(program: &str) -> String {
    let name = program.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    name.strip_suffix(".exe").unwrap_or(&name).to_owned()
}

/// The name of a helper, by whichever path git is to run it; empty for an unknown shell command.
pub fn program_name(helper: &str) -> String {
    if helper.starts_with('!') {
        return host_cli(helper).unwrap_or_default().to_owned();
    }
    let program = file_stem(&first_word(helper));
    let name = program.strip_prefix("git-credential-");
    name.unwrap_or(&program).to_owned()
}

/// What another helper does with a credential that git hands to it because it worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Writes it into a plain file: git-credential-store(1).
    PlainText,
    /// Keeps it in memory for a time: git-credential-cache(1).
    Memory,
    /// Stores it.
    Copies,
    /// Nothing: it answers with what it generates, or has from elsewhere.
    Nothing,
    /// Not known.
    Unknown,
}

impl Keeping {
    /// What the helper of this value does, as its own documentation says.
    pub fn of(helper: &str) -> Self {
        match program_name(helper).as_str() {
            "store" => Keeping::PlainText,
            "cache" => Keeping::Memory,
            "manager" | "manager-core" | "libsecret" | "gnome-keyring" | "osxkeychain"
            | "wincred" => Keeping::Copies,
            "oauth" | "gh" | "glab" | "netrc" => Keeping::Nothing,
            _ => Keeping::Unknown,
        }
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
    fn what_a_helper_keeps_is_known_by_its_name_and_by_its_path() {
        for (helper, name_shown, keeping) in [
            ("store --file ~/x", "store", Keeping::PlainText),
            (
                "/usr/lib/git-core/git-credential-store",
                "",
                Keeping::PlainText,
            ),
            ("cache --timeout 60", "cache", Keeping::Memory),
            ("/opt/gcm/git-credential-manager", "", Keeping::Copies),
            ("oauth", "oauth", Keeping::Nothing),
            ("!/usr/bin/gh auth git-credential", "gh", Keeping::Nothing),
            (
                r"!'C:\Program Files\glab.exe' auth git-credential",
                "glab",
                Keeping::Nothing,
            ),
            ("!gh auth git-credential password=x", "!…", Keeping::Unknown),
            ("!f() { echo password=x; }; f", "!…", Keeping::Unknown),
            ("mine", "mine", Keeping::Unknown),
        ] {
            assert_eq!(Keeping::of(helper), keeping, "{helper}");
            assert!(
                name_shown.is_empty() || name(helper) == name_shown,
                "{helper}"
            );
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
