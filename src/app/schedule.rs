//! Rotating once a day what runs out soon: by systemd where it runs for this user, else by cron.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde::{Deserialize, Serialize};

use super::git_config::helper::shell_word;
use crate::config::{self, Paths};
use crate::process;
use crate::quote::quoted;

/// Daily command. The days are those from which the helper renews, too.
const ROTATE: &str = "token rotate --due 7 --all";
/// Many machines are not to ask one server at once.
const SPREAD: &str = "1h";
const SERVICE: &str = "wit-renew.service";
const TIMER: &str = "wit-renew.timer";

/// Why a schedule was not set up, or not taken back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A unit or a line of the same name, which is somebody else's.
    #[error("{what} is there already, and not from here")]
    Taken {
        /// The unit's file, or the line.
        what: String,
        /// The command that leads on.
        fix: String,
    },
    /// Neither systemd nor cron.
    #[error("neither systemd nor cron can be used here: crontab")]
    NoScheduler(#[source] io::Error),
    /// A file that can't be written or removed.
    #[error("{}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A program that does not run.
    #[error("can't run {program}")]
    NotRun {
        /// Its name.
        program: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A program that says no.
    #[error("{program} failed: {said}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// Its stderr, escaped.
        said: String,
    },
    /// A table of cron's that is not text.
    #[error("your crontab is not UTF-8")]
    NotText,
}

impl Error {
    /// The command that leads on, where one is known.
    pub fn fix(&self) -> Option<String> {
        match self {
            Error::Taken { fix, .. } => Some(fix.clone()),
            Error::NoScheduler(_) => Some(format!(
                "sudo apt-get install cron, or run daily by other means: wit {ROTATE}"
            )),
            _ => None,
        }
    }
}

/// Schedule that was set up, for `--undo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// A timer of this user.
    Systemd {
        /// The directory of its units.
        units: PathBuf,
        /// The directories that were made for them, the innermost first.
        made: Vec<PathBuf>,
    },
    /// A line in the crontab of this user.
    Cron {
        /// The line.
        line: String,
        /// True if there was a table before.
        had_table: bool,
    },
}

impl Schedule {
    /// Returns whether it still runs the `wit` at `program`, as [`Schedule::make`] would write it.
    pub fn is_current(&self, program: &str) -> bool {
        match self {
            Schedule::Systemd { units, .. } => {
                let reads = |name: &str| fs::read_to_string(units.join(name)).ok();
                reads(SERVICE) == Some(service(program)) && reads(TIMER) == Some(timer())
            }
            Schedule::Cron { .. } => {
                let line = cron_line(program);
                let table = crontab().ok().flatten().unwrap_or_default();
                table.lines().any(|known| known == line)
            }
        }
    }

    /// In words, for a person.
    pub fn place(&self) -> String {
        match self {
            Schedule::Systemd { units, .. } => format!("{} in {}", TIMER, units.display()),
            Schedule::Cron { line, .. } => format!("the line of your crontab {line}"),
        }
    }

    /// Returns whether it goes on when the person logs out; `None` where that can't be told.
    pub fn outlives_logout(&self) -> Option<bool> {
        match self {
            Schedule::Systemd { .. } => lingers(),
            Schedule::Cron { .. } => Some(true),
        }
    }

    /// Sets it up for the `wit` at `program`: by systemd where it runs for this user, else by cron.
    pub fn make(program: &str, paths: &Paths) -> Result<Self, Error> {
        if has_systemd() {
            return by_systemd(program, &paths.systemd_dir());
        }
        by_cron(program)
    }

    /// Commands that a person could type instead.
    pub fn commands(program: &str, paths: &Paths) -> Vec<String> {
        if has_systemd() {
            let units = paths.systemd_dir();
            let write = |name: &str, text: &str| {
                format!("cat >{} <<'END'\n{text}END", quoted(units.join(name)))
            };
            return vec![
                format!("mkdir -p {}", quoted(&units)),
                write(SERVICE, &service(program)),
                write(TIMER, &timer()),
                "systemctl --user daemon-reload".to_owned(),
                format!("systemctl --user enable --now {TIMER}"),
            ];
        }
        let line = quoted(cron_line(program));
        vec![format!(
            "{{ crontab -l; printf '%s\\n' {line}; }} | crontab -"
        )]
    }

    /// Leaves everything as it was before.
    pub fn take_back(&self) -> Result<(), Error> {
        match self {
            Schedule::Systemd { units, made } => {
                // A timer that is already gone is what is wanted.
                let _ = process::run("systemctl", &["--user", "disable", "--now", TIMER], "");
                for name in [SERVICE, TIMER] {
                    remove(&units.join(name))?;
                }
                for dir in made {
                    // Whatever else lies there by now stays.
                    let _ = fs::remove_dir(dir);
                }
                systemctl(&["daemon-reload"])
            }
            Schedule::Cron { line, had_table } => {
                let Some(table) = crontab()? else {
                    return Ok(());
                };
                let lines = table.split_inclusive('\n');
                let kept: String = lines.filter(|known| known.trim_end() != line).collect();
                if kept.is_empty() && !had_table {
                    return cron(&["-r"], "");
                }
                cron(&["-"], &kept)
            }
        }
    }
}

/// Returns whether systemd keeps this user's services without a session (loginctl(1)).
#[cfg(unix)]
pub fn lingers() -> Option<bool> {
    let user = rustix::process::getuid().as_raw().to_string();
    let arguments = ["show-user", &user, "--property=Linger"];
    let said = process::run("loginctl", &arguments, "").ok()?;
    match String::from_utf8_lossy(&said.stdout).trim() {
        "Linger=yes" => Some(true),
        "Linger=no" => Some(false),
        _ => None,
    }
}

/// Never known.
#[cfg(not(unix))]
pub fn lingers() -> Option<bool> {
    None
}

fn io_error(path: &Path, error: io::Error) -> Error {
    Error::Io {
        file: path.to_owned(),
        error,
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, error)),
        _ => Ok(()),
    }
}

fn has_systemd() -> bool {
    process::run("systemctl", &["--user", "show-environment"], "")
        .is_ok_and(|output| output.status.success())
}

fn by_systemd(program: &str, units: &Path) -> Result<Schedule, Error> {
    let files = [(SERVICE, service(program)), (TIMER, timer())];
    for (name, _) in &files {
        let path = units.join(name);
        if path.exists() {
            return Err(Error::Taken {
                what: path.display().to_string(),
                fix: format!("rm {}", quoted(&path)),
            });
        }
    }
    let missing = |dir: &&Path| !dir.exists();
    let made = units.ancestors().take_while(missing).map(PathBuf::from);
    let schedule = Schedule::Systemd {
        made: made.collect(),
        units: units.to_owned(),
    };
    let set_up = || -> Result<(), Error> {
        for (name, text) in &files {
            let file = units.join(name);
            config::write_private(&file, text.as_bytes())
                .map_err(|error| io_error(&file, error))?;
        }
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", "--now", TIMER])
    };
    match set_up() {
        Ok(()) => Ok(schedule),
        Err(error) => {
            // The error is what a person can mend.
            let _ = schedule.take_back();
            Err(error)
        }
    }
}

fn systemctl(arguments: &[&str]) -> Result<(), Error> {
    let all = [&["--user"], arguments].concat();
    let output = run("systemctl", &all, "")?;
    said("systemctl", &output)
}

fn run(program: &'static str, arguments: &[&str], input: &str) -> Result<Output, Error> {
    let ran = process::run(program, arguments, input);
    ran.map_err(|error| Error::NotRun { program, error })
}

fn said(program: &'static str, output: &Output) -> Result<(), Error> {
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::Failed {
        program,
        said: text.trim().escape_debug().to_string(),
    })
}

/// systemd.service(5): `%` and `$` are doubled, and quotes take C's escapes.
fn service(program: &str) -> String {
    let program = program
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    format!(
        "[Unit]\nDescription=Rotate the git tokens that expire soon\n\n\
         [Service]\nType=oneshot\nEnvironment=WIT_INTERACTIVE=0\nExecStart=\"{program}\" {ROTATE}\n"
    )
}

fn timer() -> String {
    format!(
        "[Unit]\nDescription=Rotate the git tokens that expire soon, once a day\n\n\
         [Timer]\nOnCalendar=daily\nRandomizedDelaySec={SPREAD}\nPersistent=true\n\n\
         [Install]\nWantedBy=timers.target\n"
    )
}

/// crontab(5): `%` would be a line's end.
fn cron_line(program: &str) -> String {
    let program = shell_word(program).replace('%', r"\%");
    format!("17 4 * * * {program} {ROTATE} --jitter {SPREAD}")
}

fn by_cron(program: &str) -> Result<Schedule, Error> {
    let table = crontab()?;
    let line = cron_line(program);
    let had_table = table.is_some();
    let table = table.unwrap_or_default();
    if table.lines().any(|known| known == line) {
        return Err(Error::Taken {
            what: format!("this line of your crontab: {line}"),
            fix: "crontab -e".to_owned(),
        });
    }
    let gap = match table.is_empty() || table.ends_with('\n') {
        true => "",
        false => "\n",
    };
    cron(&["-"], &format!("{table}{gap}{line}\n"))?;
    Ok(Schedule::Cron { line, had_table })
}

/// This user's table; `None` where there is none.
fn crontab() -> Result<Option<String>, Error> {
    let output = process::run("crontab", &["-l"], "").map_err(Error::NoScheduler)?;
    if output.status.code() == Some(1) {
        return Ok(None);
    }
    said("crontab", &output)?;
    let table = String::from_utf8(output.stdout).map_err(|_| Error::NotText)?;
    Ok(Some(table))
}

fn cron(arguments: &[&str], table: &str) -> Result<(), Error> {
    said("crontab", &run("crontab", arguments, table)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_reach_the_program_whole() {
        let odd = r#"/a b/50%/"x"/wit"#;
        assert!(service(odd).contains(r#"ExecStart="/a b/50%%/\"x\"/wit" token"#));
        assert!(cron_line(odd).contains(r#" /a\ b/50\%/\"x\"/wit token"#));
    }
}
