//! `WIT_TRACE`: what was done and how long it took, one line a step, after git's `GIT_TRACE`.
//!
//! A value of 1, 2 or `true` means stderr, an absolute path a file that is appended to; anything
//! else is off, and then a step costs a look at one variable. What is written is formatted by
//! `Display`, which a [`Secret`](crate::secret::Secret) does not have.

use std::fmt::{self, Arguments, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{config, system};

enum Sink {
    Off,
    Stderr,
    File(File),
}

fn sink() -> &'static Sink {
    static SINK: OnceLock<Sink> = OnceLock::new();
    SINK.get_or_init(|| match config::variable("WIT_TRACE").as_deref() {
        Some("1" | "2" | "true") => Sink::Stderr,
        Some(path) if Path::new(path).is_absolute() => match open(Path::new(path)) {
            Ok(file) => Sink::File(file),
            Err(error) => {
                tell(format_args!("can't write the trace: {error}"));
                Sink::Off
            }
        },
        _ => Sink::Off,
    })
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true);
    system::only_owner_reads(&mut options);
    config::open_or_create(path, &options)
}

/// True where there is a trace: for what is costly to tell.
pub fn is_on() -> bool {
    !matches!(sink(), Sink::Off)
}

/// Tells a person something on stderr, whether there is a trace or not. That nobody can read it is
/// no reason to fail at what was asked.
pub fn tell(what: Arguments) {
    let _ = io::stderr().write_all(format!("{}: {what}\n", program()).as_bytes());
}

/// Tells something that takes no time.
pub fn note(what: Arguments) {
    if is_on() {
        write(what, None);
    }
}

/// A step that takes time, from [`begin`] to [`Step::end`].
pub struct Step(Option<Instant>);

/// Begins a step.
pub fn begin() -> Step {
    Step(is_on().then(Instant::now))
}

impl Step {
    /// Tells what was done and how long it took.
    pub fn end(self, what: Arguments) {
        if let Some(begun) = self.0 {
            write(what, Some(begun.elapsed()));
        }
    }
}

/// The outcome of a step for its line. An error's text is for a person, and holds no secret.
pub struct Outcome<'a, T, E>(pub &'a Result<T, E>);

impl<T, E: fmt::Display> fmt::Display for Outcome<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(_) => f.write_str("ok"),
            Err(error) => write!(f, "failed: {error}"),
        }
    }
}

fn write(what: Arguments, took: Option<Duration>) {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut line = line(since, &program(), what);
    if let Some(took) = took {
        // Writing to a String can't fail.
        let _ = write!(line, ", {:.3} ms", took.as_secs_f64() * 1000.0);
    }
    line.push('\n');
    // In one call, so that the lines of several processes do not mix. A trace that can't be written
    // must not change what is traced.
    let _ = match sink() {
        Sink::Off => Ok(()),
        Sink::Stderr => io::stderr().write_all(line.as_bytes()),
        Sink::File(file) => (&*file).write_all(line.as_bytes()),
    };
}

/// Name by which this program was called.
fn program() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// `12:51:41.123456 wit[4711]: what`, in UTC, on one line whatever is in it.
fn line(since: Duration, program: &str, what: Arguments) -> String {
    let day = since.as_secs() % 86_400;
    let (hour, minute, second) = (day / 3600, day / 60 % 60, day % 60);
    let (micros, process) = (since.subsec_micros(), std::process::id());
    let text =
        format!("{hour:02}:{minute:02}:{second:02}.{micros:06} {program}[{process}]: {what}");
    text.replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_time_the_program_and_no_line_break_of_its_own() {
        let since = Duration::new(86_400 + 3_723, 45_000);
        let line = line(since, "wit", format_args!("a\nb\u{1b}"));
        let (time, rest) = line.split_once(' ').expect("words");
        assert_eq!(time, "01:02:03.000045");
        assert!(
            rest.starts_with("wit[") && rest.ends_with("]: a b "),
            "{rest}"
        );
    }
}
