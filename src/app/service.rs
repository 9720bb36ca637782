//! `wit up` as a service of systemd, of the whole system for root and of the user for others: its files,
//! its start, and its removal.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::schedule::lingers;
use crate::config::{self, Paths};
use crate::process;
use crate::quote::{escaped, quoted};
use crate::secret::Secret;
use crate::system;

/// The unit that packages have, which is the source of every other.
const UNIT: &str = include_str!("../../packaging/wit.service");
const ACCOUNT: &str = include_str!("../../packaging/wit.sysusers.conf");

/// The service, as systemd calls it.
pub const NAME: &str = "wit.service";
/// The program that the unit of packages names.
const PACKAGED_PROGRAM: &str = "/usr/bin/wit";
const PACKAGED_UNIT: &str = "/usr/lib/systemd/system/wit.service";
/// First line of each file that is written here, by which it is known again.
const MARK: &str = "# Created by `wit setup --server`; `wit setup --server --undo` removes it.\n";
/// Option that is given up by another option alone.
const NO_SIGN_UP: &str = "--no-sign-up";
/// Time limit of systemctl, which waits for the service: longer than the unit's own limits.
const SYSTEMCTL_TIMEOUT: Duration = Duration::from_secs(120);
/// Directory that exists where systemd is the init system (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Settings of the unit that the manager of a user can't apply: it has no privileges, and no mount
/// namespace without them.
const OF_THE_SYSTEM: [&str; 24] = [
    "Wants",
    "After",
    "User",
    "Group",
    "StateDirectory",
    "StateDirectoryMode",
    "Environment",
    "CapabilityBoundingSet",
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "PrivateDevices",
    "PrivateUsers",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectControlGroups",
    "ProtectClock",
    "ProtectHostname",
    "ProtectProc",
    "ProcSubset",
    "RemoveIPC",
    "KeyringMode",
    "LimitNOFILE",
];

/// Directories in whose place the unit puts empty ones (`ProtectHome`, `PrivateTmp`).
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// Extension of the file beside the unit that is there from the first change until the service runs
/// with all of them: setup may be killed in between, and would find nothing to change then.
const UNFINISHED: &str = "service.unfinished";

/// Why a service was not set up, or not removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The account of a service of the system can't run the program, or does not see it.
    #[error("the account wit can't run {program}")]
    OutOfReach {
        /// Its path.
        program: String,
    },
    /// A word that the file of options can't hold.
    #[error("an option of a service can't hold a space, a quote or a backslash")]
    OddOption,
    /// The file of options is somebody else's.
    #[error("{} is there already, and not from here", file.display())]
    OptionsTaken {
        /// The file.
        file: PathBuf,
        /// The options that it was to hold.
        words: String,
    },
    /// Another file is somebody else's.
    #[error("{} is there already, and not from here", file.display())]
    Taken {
        /// The file.
        file: PathBuf,
    },
    /// A server that is no service has the data directory.
    #[error("a server already runs on {}", data_dir.display())]
    Served {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The init system is another.
    #[error("systemd does not run here")]
    NoSystemd {
        /// The command that runs the server.
        command: String,
    },
    /// The user has no manager of their own.
    #[error("systemd does not run for this user")]
    NoUserManager {
        /// The command that starts the server.
        command: String,
    },
    /// A program of systemd's that does not run.
    #[error("can't run {program}")]
    NotRun {
        /// Its name.
        program: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A program of systemd's that says no.
    #[error("{command} failed: {said}")]
    Failed {
        /// Its name and arguments.
        command: String,
        /// Its stderr, escaped.
        said: String,
    },
    /// The service is set up, and does not start.
    #[error("{error}")]
    NotStarted {
        /// The log to look at.
        log: String,
        /// Why, as far as systemctl tells.
        error: Box<Error>,
    },
    /// A file that can't be read, written or removed.
    #[error("can't {what} {}", file.display())]
    Io {
        /// A verb.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl Error {
    /// The command that leads on, or what else does, where that is known.
    pub fn fix(&self) -> Option<String> {
        match self {
            Error::OutOfReach { program } => Some(format!(
                "install -m 755 {} /usr/local/bin && /usr/local/bin/wit setup --server",
                quoted(program)
            )),
            Error::OptionsTaken { words, .. } => {
                Some(format!("put the options there: WIT_OPTIONS='{words}'"))
            }
            Error::Taken { file } => Some(format!("cat {}", quoted(file))),
            Error::Served { data_dir } => Some(format!("wit down --data-dir {}", quoted(data_dir))),
            Error::NoSystemd { command } => Some(format!(
                "have your init system or container run, as a user of its own: {command}"
            )),
            Error::NoUserManager { command } => {
                Some(format!("crontab -e, with the line: @reboot {command}"))
            }
            Error::NotRun { .. } => Some("apt-get install systemd".to_owned()),
            Error::NotStarted { log, .. } => Some(log.clone()),
            Error::OddOption | Error::Failed { .. } | Error::Io { .. } => None,
        }
    }
}

/// Options of a service, and of the server that it runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Options of `wit up` as they would be typed, but for `--defaults`.
    pub arguments: Vec<String>,
    /// True if these are all, even where there are none; else none leave those of the file as they are.
    pub are_all: bool,
    /// True if they say whether sign-up is open; else `--no-sign-up` stays in the file.
    pub tell_sign_up: bool,
    /// The PostgreSQL; `None` leaves the one of the file. It may hold a password.
    pub database_url: Option<Secret>,
}

/// A service, and where its parts are.
#[derive(Clone, Debug)]
pub struct Service {
    is_system: bool,
    program: String,
    unit: PathBuf,
    /// Options and the URL of a database, for its owner alone.
    environment: PathBuf,
    /// The account of a service of the system, for systemd-sysusers(8).
    account: Option<PathBuf>,
    data_dir: PathBuf,
}

/// The texts of a service's files.
pub struct Plan {
    /// Options of the server, as they would be typed.
    words: String,
    /// True if it has a PostgreSQL.
    has_database_url: bool,
    /// `None` where the package's unit serves.
    unit: Option<String>,
    environment: Option<String>,
    account: Option<String>,
}

/// A service's removal.
#[derive(Debug)]
pub struct Removal {
    /// The files that were written here.
    pub files: Vec<PathBuf>,
    /// True if the unit is the package's, which stays and is disabled.
    pub disables_packaged: bool,
}

impl Removal {
    /// Returns whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.disables_packaged
    }
}

/// True for a program that the service's account may run, and sees.
fn is_in_reach(program: &Path) -> bool {
    let real = fs::canonicalize(program);
    let real = real.as_deref().unwrap_or(program);
    system::is_runnable_by_all(program)
        && !HIDDEN
            .iter()
            .any(|dir| program.starts_with(dir) || real.starts_with(dir))
}

impl Service {
    /// The service that runs `program`: of the system for root, of the user for others.
    pub fn new(program: String, paths: &Paths) -> Self {
        if system::is_root() {
            return Service {
                is_system: true,
                program,
                unit: Path::new("/etc/systemd/system").join(NAME),
                environment: "/etc/default/wit".into(),
                account: Some("/etc/sysusers.d/wit.conf".into()),
                data_dir: "/var/lib/wit/server".into(),
            };
        }
        Service {
            is_system: false,
            program,
            unit: paths.systemd_dir().join(NAME),
            environment: paths.config_file().with_file_name("server.env"),
            account: None,
            data_dir: paths.platform_dir(),
        }
    }

    /// Returns whether it is a service of the system.
    pub fn is_system(&self) -> bool {
        self.is_system
    }

    /// The unit's file, which is not there where the package's serves.
    pub fn unit(&self) -> &Path {
        &self.unit
    }

    /// The file of options, which is not there before the first.
    pub fn options_file(&self) -> &Path {
        &self.environment
    }

    /// The server's data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Returns whether it goes on when the user logs out; `None` where that can't be told.
    pub fn outlives_logout(&self) -> Option<bool> {
        match self.is_system {
            true => Some(true),
            false => lingers(),
        }
    }

    /// The package's unit serves its program.
    pub fn is_packaged(&self) -> bool {
        self.is_system && self.program == PACKAGED_PROGRAM && Path::new(PACKAGED_UNIT).exists()
    }

    /// The files as they have to be for a server with those options.
    pub fn plan(&self, options: &Options) -> Result<Plan, Error> {
        let environment = self.environment_text(options)?;
        let words = match &environment {
            Some(text) => text.clone(),
            None => read(&self.environment)?.unwrap_or_default(),
        };
        let is_packaged = self.is_packaged();
        let value = |name: &str| {
            let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
            plain_value(words.lines().filter_map(value).next_back()).unwrap_or_default()
        };
        Ok(Plan {
            words: value("WIT_OPTIONS"),
            has_database_url: !value("DATABASE_URL").is_empty(),
            unit: (!is_packaged).then(|| self.unit_text(&words)),
            environment,
            account: (self.is_system && !is_packaged).then(|| format!("{MARK}{ACCOUNT}")),
        })
    }

    /// The unit of packages with this program, directories and what the options need.
    fn unit_text(&self, environment: &str) -> String {
        let data_dir = word(&self.data_dir.to_string_lossy());
        let begin = UNIT.find("[Unit]").unwrap_or_default();
        let mut lines: Vec<String> = Vec::new();
        for line in UNIT[begin..].lines() {
            let key = line.split_once('=').map_or("", |(key, _)| key);
            if !self.is_system && OF_THE_SYSTEM.contains(&key) {
                continue;
            }
            let line = line
                .replace(PACKAGED_PROGRAM, &word(&self.program))
                .replace("/var/lib/wit/server", &data_dir);
            let line = match (key, self.is_system) {
                ("EnvironmentFile", _) => {
                    format!("EnvironmentFile=-{}", specifiers(&self.environment))
                }
                ("WantedBy", false) => "WantedBy=default.target".to_owned(),
                _ => line,
            };
            lines.push(line);
        }
        let mut text = lines.join("\n") + "\n";
        let value = |option: &str| {
            let mut words = environment.split([' ', '\'', '\n']);
            words.find(|word| *word == option)?;
            words.next().map(str::to_owned)
        };
        let port: Option<u16> = value("--port").and_then(|port| port.parse().ok());
        if self.is_system && port.is_some_and(|port| port != 0 && port < 1024) {
            text = text
                .replace(
                    "CapabilityBoundingSet=\n",
                    "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n\
                     AmbientCapabilities=CAP_NET_BIND_SERVICE\n",
                )
                .replace("PrivateUsers=yes\n", "PrivateUsers=no\n");
        }
        if let Some(directory) = value("--repositories").filter(|_| self.is_system) {
            let line = format!("ReadWritePaths={directory}\nUMask=");
            text = text.replace("UMask=", &line);
        }
        format!("{MARK}{text}")
    }

    /// The file of options; `None` where it stays as it is, or there is none.
    fn environment_text(&self, options: &Options) -> Result<Option<String>, Error> {
        let old = read(&self.environment)?;
        let mut words = options.arguments.clone();
        let database = options.database_url.as_ref();
        let database = database.and_then(|url| url.expose_str());
        let replaces = options.are_all && old.is_some();
        if words.is_empty() && database.is_none() && !replaces {
            return Ok(None);
        }
        for word in words.iter().map(String::as_str).chain(database) {
            if word.contains(|c: char| c.is_whitespace() || c.is_control() || "'\"\\".contains(c)) {
                return Err(Error::OddOption);
            }
        }
        if old.as_ref().is_some_and(|old| !old.starts_with(MARK)) {
            return Err(Error::OptionsTaken {
                file: self.environment.clone(),
                words: words.join(" "),
            });
        }
        let old = old.unwrap_or_default();
        let kept = |name: &str| {
            let begin = format!("{name}=");
            old.lines().find(|line| line.starts_with(&begin))
        };
        let was_closed = kept("WIT_OPTIONS").is_some_and(|line| line.contains(NO_SIGN_UP));
        if was_closed && !words.is_empty() && !options.tell_sign_up {
            words.push(NO_SIGN_UP.to_owned());
        }
        let line = |name: &str, new: Option<&str>| match new {
            Some(new) => format!("{name}='{new}'\n"),
            None => kept(name).map_or(String::new(), |kept| format!("{kept}\n")),
        };
        let words = match words.is_empty() {
            true if options.are_all => String::new(),
            true => line("WIT_OPTIONS", None),
            false => line("WIT_OPTIONS", Some(&words.join(" "))),
        };
        let database = line("DATABASE_URL", database);
        Ok(Some(format!("{MARK}{words}{database}")))
    }

    /// Files with their texts, and with what only their owner reads.
    fn files<'a>(&'a self, texts: &'a Plan) -> Vec<(&'a Path, &'a str, bool)> {
        let account = self.account.as_deref().zip(texts.account.as_deref());
        let unit = texts.unit.as_deref().map(|text| (&*self.unit, text));
        let environment = (texts.environment.as_deref()).map(|text| (&*self.environment, text));
        let shared = account.into_iter().chain(unit);
        let mut all: Vec<_> = shared.map(|(file, text)| (file, text, false)).collect();
        all.extend(environment.map(|(file, text)| (file, text, true)));
        all
    }

    /// Writes the files and has systemd run the service, now and from each boot on. `is_served` tells
    /// whether a server runs on the data directory. Returns whether anything had to be done.
    pub fn set_up(&self, plan: &Plan, is_served: bool) -> Result<bool, Error> {
        if self.is_system && !is_in_reach(Path::new(&self.program)) {
            let program = self.program.clone();
            return Err(Error::OutOfReach { program });
        }
        self.require_systemd(plan)?;
        let files = self.files(plan);
        let mut changed = Vec::new();
        for (file, text, is_private) in files {
            match read(file)? {
                Some(old) if old == text => continue,
                Some(old) if !old.starts_with(MARK) => {
                    let file = file.to_owned();
                    return Err(Error::Taken { file });
                }
                _ => changed.push((file, text, is_private)),
            }
        }
        let is_active = self.says_yes("is-active");
        if !is_active && is_served {
            let data_dir = self.data_dir.clone();
            return Err(Error::Served { data_dir });
        }
        let unfinished = self.unfinished();
        let is_finished = changed.is_empty() && !unfinished.exists();
        if is_finished && is_active && self.says_yes("is-enabled") && self.runs_by_its_file()? {
            return Ok(false);
        }
        write(&unfinished, MARK, false)?;
        for (file, text, is_private) in &changed {
            write(file, text, *is_private)?;
        }
        if self.is_system && !has_account()? {
            let file = match &plan.account {
                Some(_) => self.account.as_deref(),
                None => Some(Path::new("wit.conf")),
            };
            let file = file.unwrap_or(Path::new("wit.conf")).to_string_lossy();
            said("systemd-sysusers", &[&file])?;
        }
        self.systemctl(&["daemon-reload"])?;
        self.systemctl(&["enable", NAME])?;
        // An older attempt that failed too often would keep it from starting.
        let _ = self.systemctl(&["reset-failed", NAME]);
        self.systemctl(&["restart", NAME]).map_err(|error| {
            let user = if self.is_system { "" } else { "--user " };
            Error::NotStarted {
                log: format!("journalctl {user}-e -u {NAME}"),
                error: Box::new(error),
            }
        })?;
        remove(&unfinished)?;
        Ok(true)
    }

    /// Returns whether the server that runs was started with what the file of options holds now; also
    /// where that can't be told.
    fn runs_by_its_file(&self) -> Result<bool, Error> {
        let file = read(&self.environment)?.unwrap_or_default();
        let arguments = self.arguments(&["show", "--property=MainPID", "--value", NAME]);
        let Ok(shown) = process::run("systemctl", &arguments, "") else {
            return Ok(true);
        };
        let pid = String::from_utf8_lossy(&shown.stdout).trim().to_owned();
        let Ok(started) = fs::read(Path::new("/proc").join(pid).join("environ")) else {
            return Ok(true);
        };
        let started = String::from_utf8_lossy(&started);
        Ok(["WIT_OPTIONS", "DATABASE_URL"].iter().all(|name| {
            let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
            let Some(now) = plain_value(file.lines().filter_map(value).next_back()) else {
                return true;
            };
            now == started.split('\0').find_map(value).unwrap_or_default()
        }))
    }

    fn unfinished(&self) -> PathBuf {
        self.unit.with_extension(UNFINISHED)
    }

    /// Commands that a person could type instead. No secret is among them.
    pub fn commands(&self, plan: &Plan) -> Vec<String> {
        let mut all = Vec::new();
        for (file, text, is_private) in self.files(plan) {
            let secret = text.lines().any(|line| line.starts_with("DATABASE_URL="));
            let lines = text
                .lines()
                .filter(|line| !line.starts_with("DATABASE_URL="));
            let text: String = lines.map(|line| format!("{line}\n")).collect();
            let parent = file.parent().unwrap_or(Path::new("/"));
            all.push(format!("mkdir -p {}", quoted(parent)));
            if is_private {
                all.push(format!("install -m 600 /dev/null {}", quoted(file)));
            }
            all.push(format!("cat >{} <<'END'\n{text}END", quoted(file)));
            if secret {
                let file = quoted(file);
                all.push(format!(
                    "printf \"DATABASE_URL='%s'\\n\" \"$DATABASE_URL\" >>{file}"
                ));
            }
        }
        if let Some(account) = &self.account {
            all.push(format!("systemd-sysusers {}", quoted(account)));
        }
        for arguments in [
            &["daemon-reload"][..],
            &["enable", NAME],
            &["restart", NAME],
        ] {
            all.push(format!("systemctl {}", self.arguments(arguments).join(" ")));
        }
        all
    }

    /// What is to be removed.
    pub fn removal(&self) -> Result<Removal, Error> {
        let mut files = Vec::new();
        let all = [
            Some(self.unit.clone()),
            Some(self.environment.clone()),
            self.account.clone(),
            Some(self.unfinished()),
        ];
        for file in all.into_iter().flatten() {
            if read(&file)?.is_some_and(|text| text.starts_with(MARK)) {
                files.push(file);
            }
        }
        // The package's unit stays, and setup has enabled it.
        let is_on = || self.says_yes("is-enabled") || self.says_yes("is-active");
        Ok(Removal {
            disables_packaged: self.is_packaged() && is_on(),
            files,
        })
    }

    /// Commands that a person could type instead.
    pub fn removal_commands(&self, removal: &Removal) -> Vec<String> {
        if removal.is_empty() {
            return Vec::new();
        }
        let systemctl =
            |arguments: &[&str]| format!("systemctl {}", self.arguments(arguments).join(" "));
        let mut commands = vec![systemctl(&["disable", "--now", NAME])];
        let files = removal.files.iter();
        commands.extend(files.map(|file| format!("rm {}", quoted(file))));
        commands.push(systemctl(&["daemon-reload"]));
        commands
    }

    /// Stops the service, for good, and removes its files. Data and account stay.
    pub fn remove(&self, removal: &Removal) -> Result<(), Error> {
        if removal.is_empty() {
            return Ok(());
        }
        // It stops before its files go. Where systemd has no such unit it has nothing to stop.
        let stopped = self.systemctl(&["disable", "--now", NAME]);
        if self.says_yes("is-active") {
            stopped?;
        }
        for file in &removal.files {
            remove(file)?;
        }
        let _ = self.systemctl(&["daemon-reload"]);
        Ok(())
    }

    /// Refuses a machine where systemd can't run the service, with what runs the server there.
    pub fn require_systemd(&self, plan: &Plan) -> Result<(), Error> {
        let is_there = match self.is_system {
            true => Path::new(BOOTED).exists(),
            false => self.systemctl(&["show-environment"]).is_ok(),
        };
        let data_dir = quoted(&self.data_dir);
        let database = match plan.has_database_url {
            true => "DATABASE_URL=… ",
            false => "",
        };
        let up = format!("{database}{} up", quoted(&self.program));
        let words = match plan.words.is_empty() {
            true => String::new(),
            false => format!(" {}", plan.words),
        };
        match (is_there, self.is_system) {
            (true, _) => Ok(()),
            (false, true) => Err(Error::NoSystemd {
                command: format!("{up} --foreground --data-dir {data_dir}{words}"),
            }),
            (false, false) => Err(Error::NoUserManager {
                command: format!("{up}{words}"),
            }),
        }
    }

    fn arguments<'a>(&self, arguments: &[&'a str]) -> Vec<&'a str> {
        let user: &[&str] = if self.is_system { &[] } else { &["--user"] };
        [user, arguments].concat()
    }

    fn systemctl(&self, arguments: &[&str]) -> Result<(), Error> {
        said("systemctl", &self.arguments(arguments))
    }

    /// Asks for a state of the service.
    fn says_yes(&self, question: &str) -> bool {
        self.systemctl(&[question, "--quiet", NAME]).is_ok()
    }
}

/// A value of a file of options as systemd reads it (systemd.exec(5), `EnvironmentFile=`); empty where it
/// is not set, and `None` for one with quotes or escapes inside.
fn plain_value(written: Option<String>) -> Option<String> {
    let written = written.unwrap_or_default();
    let value = written.trim();
    let quoted = ['\'', '"'].iter().find_map(|quote| {
        let inner = value.strip_prefix(*quote)?;
        inner.strip_suffix(*quote)
    });
    let value = quoted.unwrap_or(value);
    (!value.contains(['\'', '"', '\\'])).then(|| value.to_owned())
}

/// Returns whether there is the account that the service runs as.
fn has_account() -> Result<bool, Error> {
    let asked = process::run("id", &["-u", "wit"], "");
    let asked = asked.map_err(|error| Error::NotRun {
        program: "id",
        error,
    })?;
    Ok(asked.status.success())
}

fn said(program: &'static str, arguments: &[&str]) -> Result<(), Error> {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = process::output(command, b"", SYSTEMCTL_TIMEOUT)
        .map_err(|error| Error::NotRun { program, error })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::Failed {
        command: format!("{program} {}", arguments.join(" ")),
        said: escaped(text.trim()),
    })
}

fn io_error<'a>(what: &'static str, file: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |error| Error::Io {
        what,
        file: file.to_owned(),
        error,
    }
}

fn read(file: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", file)(error)),
    }
}

fn remove(file: &Path) -> Result<(), Error> {
    fs::remove_file(file).map_err(io_error("remove", file))
}

fn write(file: &Path, text: &str, is_private: bool) -> Result<(), Error> {
    let written = || -> io::Result<()> {
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        config::write_private(file, text.as_bytes())?;
        match is_private {
            true => Ok(()),
            false => fs::set_permissions(file, fs::Permissions::from_mode(0o644)),
        }
    };
    written().map_err(io_error("write", file))
}

/// A word of a command line (systemd.service(5)): `%` and `$` are doubled, and quotes take C's escapes.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('%', "%%").replace('$', "$$"))
}

/// A path of a setting (systemd.unit(5)): `%` is doubled.
fn specifiers(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}
