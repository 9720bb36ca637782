//! Text from outside as it may be shown: escaped for a terminal, without tokens, quoted for a shell.

use std::fmt;
use std::path::Path;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Longest sentence of a server's that is shown, in characters.
const MAX_SENTENCE: usize = 300;

/// Text without characters that act on a terminal or can't be seen. Controls, format characters
/// (bidirectional controls, zero-width characters and tags among them) and line separators are
/// written as `\u{1b}` (Unicode TR 36, section 2.4).
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_visible(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_unicode()),
        }
    }
    shown
}

/// Returns whether [`escaped`] leaves a text as it is.
pub fn is_plain(text: &str) -> bool {
    text.chars().all(is_visible)
}

fn is_visible(c: char) -> bool {
    // Most text by far, without a search in the tables.
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    !matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// Prefixes by which tokens can be recognised: ours, GitHub's and GitLab's.
const TOKEN_PREFIXES: [&str; 10] = [
    "wit_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gldt-",
    "gloas-",
];

/// Text without anything that looks like a token: `wit_`, or another host's prefix, and 12 or more
/// letters or digits become `wit_…`.
pub fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let next = |rest: &str| {
        let found = TOKEN_PREFIXES.map(|prefix| Some((rest.find(prefix)?, prefix.len())));
        found.into_iter().flatten().min()
    };
    while let Some((at, length)) = next(rest) {
        let (before, token) = rest.split_at(at + length);
        let is_ours = before.ends_with("wit_");
        let ends = |c: char| !(c.is_ascii_alphanumeric() || !is_ours && "_-.".contains(c));
        let length = token.find(ends).unwrap_or(token.len());
        shown.push_str(before);
        if length >= 12 {
            shown.push('…');
        } else {
            shown.push_str(&token[..length]);
        }
        rest = &token[length..];
    }
    shown.push_str(rest);
    shown
}

/// A sentence of a server's as it may be shown: cut, escaped and redacted.
pub fn sentence(text: &str) -> String {
    let cut: String = text.chars().take(MAX_SENTENCE).collect();
    redacted(&escaped(&cut))
}

/// A number of bytes for a person, such as `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (unit, name) in units {
        if bytes >= unit {
            let tenths = bytes.saturating_mul(10) / unit;
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} bytes")
}

/// A path or word as a shell reads it. Escape text from outside first: [`Suggestion`] does both.
pub fn quoted(word: impl AsRef<Path>) -> String {
    let word = word.as_ref().display().to_string();
    // `=` and `~` mean something to a shell at the start of a word.
    let starts = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
    let plain = |c: char| starts(c) || c == '=';
    match word.starts_with(starts) && word.chars().all(plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A command to paste into a shell. Each word is escaped and quoted where it is shown, so that no
/// word from outside can be more than one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// Run one after the other, each where those before it succeeded.
    commands: Vec<Vec<String>>,
}

impl Suggestion {
    /// A command that begins with fixed words, such as `wit token list`.
    pub fn new(words: &'static str) -> Self {
        Suggestion {
            commands: vec![words.split_whitespace().map(str::to_owned).collect()],
        }
    }

    /// Adds an argument.
    pub fn arg(self, word: impl Into<String>) -> Self {
        self.args([word])
    }

    /// Adds arguments.
    pub fn args(mut self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        if let Some(command) = self.commands.last_mut() {
            command.extend(words.into_iter().map(Into::into));
        }
        self
    }

    /// Adds an option with its value, in one word where the value looks like an option itself.
    pub fn option(self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        match value.starts_with('-') {
            true => self.arg(format!("{name}={value}")),
            false => self.arg(name).arg(value),
        }
    }

    /// Adds the last argument, which is none of the options whatever it begins with.
    pub fn last(self, word: impl Into<String>) -> Self {
        let word = word.into();
        match word.starts_with('-') {
            true => self.arg("--").arg(word),
            false => self.arg(word),
        }
    }

    /// Another command, to be run once this one has succeeded.
    pub fn and(mut self, next: Suggestion) -> Self {
        self.commands.extend(next.commands);
        self
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, command) in self.commands.iter().enumerate() {
            if number > 0 {
                f.write_str(" && ")?;
            }
            for (place, word) in command.iter().enumerate() {
                if place > 0 {
                    f.write_str(" ")?;
                }
                f.write_str(&quoted(escaped(word)))?;
            }
        }
        Ok(())
    }
}

/// The line after an error that says what to do next: fixed words and commands to paste.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint(String);

impl Hint {
    /// Adds fixed words.
    pub fn text(mut self, text: &'static str) -> Self {
        self.0.push_str(text);
        self
    }

    /// Adds a command.
    pub fn command(mut self, command: &Suggestion) -> Self {
        self.0.push_str(&command.to_string());
        self
    }
}

impl From<&'static str> for Hint {
    fn from(text: &'static str) -> Self {
        Hint(text.to_owned())
    }
}

impl From<Suggestion> for Hint {
    fn from(command: Suggestion) -> Self {
        Hint(command.to_string())
    }
}

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Hint(escaped(&text))
    }
}

impl From<&String> for Hint {
    fn from(text: &String) -> Self {
        Hint(escaped(text))
    }
}

impl From<Hint> for String {
    fn from(hint: Hint) -> Self {
        hint.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        assert_eq!(escaped("a\u{1b}[31mb\r\n"), "a\\u{1b}[31mb\\u{d}\\u{a}");
        assert_eq!(escaped("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(escaped("Grüße • 日本 🦀"), "Grüße • 日本 🦀");
        assert!(is_plain("Grüße") && !is_plain("a\u{9b}"));
    }

    #[test]
    fn no_character_that_can_not_be_seen_is_left() {
        // One or more of each kind of Cf in Unicode 16, and the separators.
        for c in [
            '\u{ad}',
            '\u{600}',
            '\u{61c}',
            '\u{6dd}',
            '\u{70f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{2060}',
            '\u{206a}',
            '\u{2066}',
            '\u{feff}',
            '\u{fff9}',
            '\u{110bd}',
            '\u{13430}',
            '\u{1bca0}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e007f}',
        ] {
            let shown = escaped(&format!("a{c}b"));
            assert_eq!(shown, format!("a\\u{{{:x}}}b", u32::from(c)));
        }
    }

    #[test]
    fn what_looks_like_a_token_is_not_shown() {
        let token = format!("wit_{}", "a1".repeat(20));
        assert_eq!(redacted(&format!("no '{token}' here")), "no 'wit_…' here");
        assert_eq!(redacted("wit_a1b2... is wit_"), "wit_a1b2... is wit_");
        let theirs = "ghp_abcdefghijklmnop, glpat-a-b_c0123456789";
        assert_eq!(redacted(theirs), "ghp_…, glpat-…");
    }

    // Windows has none.
    #[cfg(unix)]
    #[test]
    fn a_word_stays_one_word_of_a_shell() {
        for word in [
            "x; rm -rf $HOME",
            "$(id)",
            "`id`",
            "it's",
            "~",
            "=ls",
            "",
            "a b",
            "a\nb",
            "*",
            "\u{1b}[2J",
        ] {
            let command = Suggestion::new("printf %s").arg(word).to_string();
            let output = std::process::Command::new("sh")
                .args(["-c", &command])
                .output()
                .expect("a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), escaped(word));
        }
    }

    #[test]
    fn a_value_is_no_option() {
        let command = Suggestion::new("wit token list").option("--account", "--json");
        assert_eq!(command.to_string(), "wit token list --account=--json");
        let both = Suggestion::new("wit login")
            .arg("https://wit.example")
            .and(Suggestion::new("wit token rotate"));
        assert_eq!(
            both.to_string(),
            "wit login https://wit.example && wit token rotate"
        );
    }
}
