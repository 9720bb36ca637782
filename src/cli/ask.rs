//! Questions to a person at a terminal, and lines of stdin where a script answers.

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::time::Duration;

use anyhow::Context as _;
use zeroize::Zeroizing;

use super::confirm::confirm;
use super::login::browser::open_in_browser;
use super::output::{escaped, span};
use super::{Exit, Failure};
use crate::api::device;
use crate::api::login::Login;
use crate::app::{Ask, AskError};
use crate::hosts::tokens::AskPassword;
use crate::quote::{Hint, Suggestion};
use crate::secret::Secret;

/// Longest line that is read, in bytes.
const MAX_LINE: u64 = 4096;

/// The person at the terminal.
#[derive(Default)]
pub struct Terminal {
    /// The server that is signed in to, for what to type instead.
    pub server: String,
    /// True if a browser may be opened.
    pub opens_browser: bool,
    /// True if what would be asked was agreed to on the command line.
    pub agrees: bool,
}

impl Terminal {
    fn with_password(&self) -> Suggestion {
        let options = ["--username", "NAME", "--password-stdin"];
        Suggestion::new("wit login").arg(&self.server).args(options)
    }

    fn ask_login(&self, remembered: Option<&str>) -> anyhow::Result<Login> {
        if !io::stdin().is_terminal() {
            return match remembered {
                Some(name) => Ok(login(name)),
                None => Err(no_terminal(
                    Hint::from(self.with_password()).text(", or --device"),
                )),
            };
        }
        match remembered {
            Some(name) => eprint!("Username or email [{}]: ", escaped(name)),
            None => eprint!("Username or email: "),
        }
        io::stderr().flush()?;
        let mut line = String::new();
        io::stdin().lock().take(MAX_LINE).read_line(&mut line)?;
        match (line.trim(), remembered) {
            ("", Some(name)) => Ok(login(name)),
            ("", None) => Err(Failure::new(Exit::Usage, "no name was given")
                .hint(
                    Suggestion::new("wit login")
                        .arg(&self.server)
                        .args(["--username", "NAME"]),
                )
                .into()),
            (name, _) => Ok(login(name)),
        }
    }
}

impl Ask for Terminal {
    fn login(&self, remembered: Option<&str>) -> Result<Login, AskError> {
        self.ask_login(remembered).map_err(answer)
    }

    fn password(&self, account: &str, is_new: bool) -> Result<Secret, AskError> {
        let prompt = format!("Password for {} at {}", escaped(account), self.server);
        if is_new && io::stdin().is_terminal() {
            eprintln!("A password has 8 to 128 characters.");
        }
        prompted(&prompt, "password", is_new, self.with_password()).map_err(answer)
    }

    fn show_code(&self, code: &device::Asked) {
        let opened = self.opens_browser && open_in_browser(&code.address);
        tell_code(opened, &code.address, &code.user_code, code.life);
    }

    fn confirm(&self, question: &str) -> Result<(), AskError> {
        confirm(question, self.agrees).map_err(answer)
    }
}

/// Says where a code is to be entered.
pub fn tell_code(is_open: bool, address: impl Display, code: &str, lifetime: Duration) {
    let place = match is_open {
        true => "Go to the browser window that was opened, or to",
        false => "Open in a browser",
    };
    let lifetime = time(lifetime);
    eprintln!(
        "{place}\n\n  {address}\n\nand enter this code:\n\n  {code}\n\nIt expires in {lifetime}. Press Ctrl-C to cancel."
    );
}

/// The owner of an account whose host requires the password itself: at the terminal, or by the lines
/// of stdin, the password first.
pub struct Account {
    pub by_stdin: bool,
}

impl Account {
    fn answer(&self, what: &str, prompt: &str) -> Result<Secret, String> {
        let answer = match self.by_stdin {
            true => first_line(what),
            false if !io::stdin().is_terminal() => return Err("there is no terminal".to_owned()),
            false => asked(prompt, false, ""),
        };
        answer.map_err(|error| error.to_string())
    }
}

impl AskPassword for Account {
    fn password(&self, server: &str, username: &str) -> Result<Secret, String> {
        let prompt = format!("password of {} at {server}", escaped(username));
        self.answer("password", &prompt)
    }

    fn one_time_code(&self, server: &str, username: &str) -> Result<Secret, String> {
        let prompt = format!("one-time code of {} at {server}", escaped(username));
        self.answer("one-time code", &prompt)
    }
}

/// As an error that [`super::failure`] knows again.
pub fn answer(error: anyhow::Error) -> AskError {
    match error.downcast::<Failure>() {
        Ok(failure) => Box::new(failure),
        Err(other) => other.into(),
    }
}

/// A name as it is typed: an email has an `@`.
pub fn login(name: &str) -> Login {
    match name.contains('@') {
        true => Login::Email(name.to_owned()),
        false => Login::Username(name.to_owned()),
    }
}

/// Duration in words.
pub fn time(lasts: Duration) -> String {
    span(i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX))
}

/// The first line of stdin without its end. At a terminal it is asked for, and not shown.
pub fn first_line(what: &str) -> anyhow::Result<Secret> {
    if io::stdin().is_terminal() {
        return asked(what, false, "");
    }
    // Taken in one allocation, so that growing leaves no copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE as usize + 1));
    io::stdin()
        .lock()
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .with_context(|| format!("can't read the {what}"))?;
    while line
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        line.pop();
    }
    if line.contains(&0) {
        let why = format!("the {what} on stdin holds a NUL byte");
        return Err(Failure::new(Exit::Usage, why)
            .hint("write it to stdin as text")
            .into());
    }
    if line.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("no {what} on stdin"))
            .hint("write it to stdin, on its first line")
            .into());
    }
    Ok(Secret::from(line))
}

/// [`first_line`] of a new secret, which is asked for twice at a terminal.
pub fn first_line_of_new(what: &str) -> anyhow::Result<Secret> {
    match io::stdin().is_terminal() {
        true => asked(what, true, ""),
        false => first_line(what),
    }
}

/// The error where a person would be asked and there is no terminal; `hint` says what to type instead.
pub fn no_terminal(hint: impl Into<Hint>) -> anyhow::Error {
    Failure::new(Exit::Usage, "there is no terminal to ask on")
        .hint(hint)
        .into()
}

/// [`confirm`] of what can't be made again, such as repositories: where there is nobody to ask, `--yes`
/// has to be given. `again` is the command without it.
pub fn confirm_loss(question: &str, yes: bool, again: Suggestion) -> anyhow::Result<()> {
    match yes || io::stdin().is_terminal() {
        true => confirm(question, yes),
        false => Err(no_terminal(again.arg("--yes"))),
    }
}

/// Asks for a line, `what` being its name, until `check` has nothing to say against it: three times at
/// most. Where there is no terminal, `hint` says what to type instead.
pub fn line(
    what: &str,
    check: impl Fn(&str) -> Result<(), Failure>,
    hint: impl Into<Hint>,
) -> anyhow::Result<String> {
    let hint = hint.into();
    if !io::stdin().is_terminal() {
        return Err(no_terminal(hint));
    }
    let mut tries = 1..=3;
    loop {
        eprint!("{what}: ");
        io::stderr().flush()?;
        let mut line = String::new();
        io::stdin().lock().take(MAX_LINE).read_line(&mut line)?;
        let line = line.trim();
        if line.is_empty() {
            let message = format!("no {} was given", what.to_lowercase());
            return Err(Failure::new(Exit::Usage, message).hint(hint).into());
        }
        match check(line) {
            Ok(()) => return Ok(line.to_owned()),
            Err(failure) if tries.next().is_none() => return Err(failure.into()),
            Err(failure) => eprintln!("{failure}"),
        }
    }
}

/// Asks for a secret without showing it, and for a new one twice. Where there is no terminal, `hint`
/// says what to type instead.
pub fn asked(what: &str, new: bool, hint: impl Into<Hint>) -> anyhow::Result<Secret> {
    let prompt = format!("{}{}", what[..1].to_uppercase(), &what[1..]);
    prompted(&prompt, what, new, hint)
}

fn prompted(prompt: &str, what: &str, new: bool, hint: impl Into<Hint>) -> anyhow::Result<Secret> {
    if !io::stdin().is_terminal() {
        return Err(no_terminal(hint));
    }
    let typed = |prompt: String| match rpassword::prompt_password(prompt) {
        Ok(text) => Ok(Secret::from(text)),
        // Ctrl-D.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let message = format!("no {what} was given: end of input");
            Err(Failure::new(Exit::Usage, message).hint("run it again, and type one"))
        }
        Err(error) => {
            let message = format!("can't read the {what} from the terminal: {error}");
            Err(Failure::new(Exit::Failed, message).caused_by(error))
        }
    };
    let secret = typed(format!("{prompt}: "))?;
    if secret.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("no {what} was given"))
            .hint("run it again, and type one")
            .into());
    }
    if new && typed(format!("Repeat {what}: "))? != secret {
        return Err(Failure::new(Exit::Usage, format!("the two {what}s differ"))
            .hint("run it again, and type the same twice")
            .into());
    }
    Ok(secret)
}
