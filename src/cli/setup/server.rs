//! `wit setup --server`: `wit up` as a service of systemd, of the whole system for root and of the user
//! for others, and its removal.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::{own_path, print_commands};
use crate::app::schedule::lingers;
use crate::cli::output::{self, quoted};
use crate::cli::up::options::Serving;
use crate::cli::up::{require_database, url};
use crate::cli::{Context, Exit, Failure};
use crate::config;
use crate::platform::instance;
use crate::platform::last_start::LastStart;
use crate::process;
use crate::quote::escaped;
use crate::system;

/// The unit that packages have, which is the source of every other.
const UNIT: &str = include_str!("../../../packaging/wit.service");
const ACCOUNT: &str = include_str!("../../../packaging/wit.sysusers.conf");

const NAME: &str = "wit.service";
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

/// A service, and where its parts are.
struct Service {
    is_system: bool,
    program: String,
    unit: PathBuf,
    /// Options and the URL of a database, for its owner alone.
    environment: PathBuf,
    /// The account of a service of the system, for systemd-sysusers(8).
    account: Option<PathBuf>,
    data_dir: PathBuf,
}

/// Extension of the file beside the unit that is there from the first change until the service runs
/// with all of them: setup may be killed in between, and would find nothing to change then.
const UNFINISHED: &str = "service.unfinished";

/// The texts of the files.
struct Texts {
    /// `None` where the package's unit serves.
    unit: Option<String>,
    environment: Option<String>,
    account: Option<String>,
}

pub fn run(options: Serving, undo: bool, dry_run: bool, context: &Context) -> anyhow::Result<Exit> {
    let service = Service::new(context)?;
    if undo {
        return service.undo(dry_run, context);
    }
    let texts = service.texts(&service.with_last_start(options.absolute()?)?)?;
    if dry_run {
        return print_commands(&service.commands(&texts), context);
    }
    if service.is_system && !is_in_reach(Path::new(&service.program)) {
        let message = format!("the account wit can't run {}", service.program);
        let install = format!("install -m 755 {} /usr/local/bin", quoted(&service.program));
        let hint = format!("{install} && /usr/local/bin/wit setup --server");
        return Err(Failure::new(Exit::Failed, message).hint(hint).into());
    }
    service.require_systemd()?;
    let changed = service.set_up(&texts)?;
    service.report(changed, context)
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
    fn new(context: &Context) -> anyhow::Result<Self> {
        let program = own_path("wit")?;
        if system::is_root() {
            return Ok(Service {
                is_system: true,
                program,
                unit: Path::new("/etc/systemd/system").join(NAME),
                environment: "/etc/default/wit".into(),
                account: Some("/etc/sysusers.d/wit.conf".into()),
                data_dir: "/var/lib/wit/server".into(),
            });
        }
        let paths = &context.paths;
        Ok(Service {
            is_system: false,
            program,
            unit: paths.systemd_dir().join(NAME),
            environment: paths.config_file().with_file_name("server.env"),
            account: None,
            data_dir: paths.platform_dir(),
        })
    }

    /// The package's unit serves its program.
    fn is_packaged(&self) -> bool {
        self.is_system && self.program == PACKAGED_PROGRAM && Path::new(PACKAGED_UNIT).exists()
    }

    /// The options with those of the last start, where there is no file of options yet: from then on
    /// the service goes by that file alone.
    fn with_last_start(&self, options: Serving) -> anyhow::Result<Serving> {
        if self.environment.exists() {
            return Ok(options);
        }
        let last = LastStart::read(&self.data_dir)?;
        require_database(&options, &last)?;
        let repositories = options.repositories.clone();
        Ok(Serving {
            repositories: repositories.or_else(|| last.repositories.clone()),
            ..options.after(&last)
        })
    }

    fn texts(&self, options: &Serving) -> anyhow::Result<Texts> {
        let environment = self.environment_text(options)?;
        let words = match &environment {
            Some(text) => text.clone(),
            None => read(&self.environment)?.unwrap_or_default(),
        };
        let is_packaged = self.is_packaged();
        Ok(Texts {
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
    fn environment_text(&self, options: &Serving) -> anyhow::Result<Option<String>> {
        let old = read(&self.environment)?;
        // The unit has it.
        let given = Serving {
            defaults: false,
            ..options.clone()
        };
        let mut words: Vec<String> = (given.arguments().into_iter())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let database = config::variable("DATABASE_URL");
        let replaces = options.defaults && old.is_some();
        if words.is_empty() && database.is_none() && !replaces {
            return Ok(None);
        }
        for word in words.iter().chain(&database) {
            if word.contains(|c: char| c.is_whitespace() || c.is_control() || "'\"\\".contains(c)) {
                let message = "an option of a service can't hold a space, a quote or a backslash";
                return Err(Failure::new(Exit::Usage, message).into());
            }
        }
        if old.as_ref().is_some_and(|old| !old.starts_with(MARK)) {
            let file = self.environment.display();
            let message = format!("{file} is there already, and not from here");
            let hint = format!("put the options there: WIT_OPTIONS='{}'", words.join(" "));
            return Err(Failure::new(Exit::Failed, message).hint(hint).into());
        }
        let old = old.unwrap_or_default();
        let kept = |name: &str| {
            let begin = format!("{name}=");
            old.lines().find(|line| line.starts_with(&begin))
        };
        let was_closed = kept("WIT_OPTIONS").is_some_and(|line| line.contains(NO_SIGN_UP));
        let says_so = options.no_sign_up || options.sign_up || options.defaults;
        if was_closed && !words.is_empty() && !says_so {
            words.push(NO_SIGN_UP.to_owned());
        }
        let line = |name: &str, new: Option<String>| match new {
            Some(new) => format!("{name}='{new}'\n"),
            None => kept(name).map_or(String::new(), |kept| format!("{kept}\n")),
        };
        let words = match words.is_empty() {
            true if options.defaults => String::new(),
            true => line("WIT_OPTIONS", None),
            false => line("WIT_OPTIONS", Some(words.join(" "))),
        };
        let database = line("DATABASE_URL", database);
        Ok(Some(format!("{MARK}{words}{database}")))
    }

    /// Files with their texts, and with what only their owner reads.
    fn files<'a>(&'a self, texts: &'a Texts) -> Vec<(&'a Path, &'a str, bool)> {
        let account = self.account.as_deref().zip(texts.account.as_deref());
        let unit = texts.unit.as_deref().map(|text| (&*self.unit, text));
        let environment = (texts.environment.as_deref()).map(|text| (&*self.environment, text));
        let shared = account.into_iter().chain(unit);
        let mut all: Vec<_> = shared.map(|(file, text)| (file, text, false)).collect();
        all.extend(environment.map(|(file, text)| (file, text, true)));
        all
    }

    fn set_up(&self, texts: &Texts) -> anyhow::Result<bool> {
        let files = self.files(texts);
        let mut changed = Vec::new();
        for (file, text, is_private) in files {
            match read(file)? {
                Some(old) if old == text => continue,
                Some(old) if !old.starts_with(MARK) => {
                    let message = format!("{} is there already, and not from here", file.display());
                    let hint = format!("cat {}", quoted(file));
                    return Err(Failure::new(Exit::Failed, message).hint(hint).into());
                }
                _ => changed.push((file, text, is_private)),
            }
        }
        let is_active = self.says_yes("is-active");
        if !is_active && instance::running(&self.data_dir)?.is_some() {
            let message = format!("a server already runs on {}", self.data_dir.display());
            let hint = format!("wit down --data-dir {}", quoted(&self.data_dir));
            return Err(Failure::new(Exit::Failed, message).hint(hint).into());
        }
        let unfinished = self.unfinished();
        let is_finished = changed.is_empty() && !unfinished.exists();
        if is_finished && is_active && self.says_yes("is-enabled") {
            return Ok(false);
        }
        write(&unfinished, MARK, false)?;
        for (file, text, is_private) in &changed {
            write(file, text, *is_private)?;
        }
        if self.is_system && !has_account()? {
            let file = match &texts.account {
                Some(_) => self.account.as_deref(),
                None => Some(Path::new("wit.conf")),
            };
            let file = file.unwrap_or(Path::new("wit.conf")).to_string_lossy();
            said("systemd-sysusers", &[&file], SYSTEMCTL_TIMEOUT)?;
        }
        self.systemctl(&["daemon-reload"])?;
        self.systemctl(&["enable", NAME])?;
        // An older attempt that failed too often would keep it from starting.
        let _ = self.systemctl(&["reset-failed", NAME]);
        if let Err(failure) = self.systemctl(&["restart", NAME]) {
            let user = if self.is_system { "" } else { "--user " };
            let hint = format!("journalctl {user}-e -u {NAME}");
            return Err(Failure::new(Exit::Failed, failure.to_string())
                .hint(hint)
                .into());
        }
        fs::remove_file(&unfinished).with_context(|| unfinished.display().to_string())?;
        Ok(true)
    }

    fn unfinished(&self) -> PathBuf {
        self.unit.with_extension(UNFINISHED)
    }

    fn report(&self, changed: bool, context: &Context) -> anyhow::Result<Exit> {
        let running = instance::running(&self.data_dir)?;
        let url = running.map(|running| url(running.address, running.is_tls));
        let url = url.transpose()?;
        let lasts = if self.is_system {
            Some(true)
        } else {
            lingers()
        };
        if context.json {
            output::json(&json!({
                "service": NAME,
                "scope": if self.is_system { "system" } else { "user" },
                "changed": changed,
                "unit": self.unit,
                "options": self.environment,
                "dataDir": self.data_dir,
                "url": url,
                "outlivesLogout": lasts,
            }))?;
            return Ok(Exit::Done);
        }
        let (unit, data_dir) = (self.unit.display(), self.data_dir.display());
        let mut text = match changed {
            true => format!("wit up runs as the service {NAME} now, and from each boot on.\n"),
            false => format!("wit up runs as the service {NAME} already; nothing to change.\n"),
        };
        if !self.is_packaged() {
            text += &format!("Unit: {unit}\n");
        }
        text += &format!("Data directory: {data_dir}\n");
        if let Some(url) = &url {
            text += &format!("Address: {url}\n");
        }
        if self.environment.exists() {
            text += &format!("Options: {}\n", self.environment.display());
        }
        output::print(text.as_bytes())?;
        if lasts == Some(false) {
            eprintln!("warning: systemd stops it when you log out of this machine");
            eprintln!("hint: loginctl enable-linger");
        }
        if let Some(url) = url.filter(|_| changed) {
            output::next(context, format!("wit login {url}"));
        }
        Ok(Exit::Done)
    }

    /// Commands that a person could type instead. No secret is among them.
    fn commands(&self, texts: &Texts) -> Vec<String> {
        let mut all = Vec::new();
        for (file, text, is_private) in self.files(texts) {
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

    fn undo(&self, dry_run: bool, context: &Context) -> anyhow::Result<Exit> {
        let mut ours = Vec::new();
        let all = [
            Some(self.unit.clone()),
            Some(self.environment.clone()),
            self.account.clone(),
            Some(self.unfinished()),
        ];
        for file in all.into_iter().flatten() {
            if read(&file)?.is_some_and(|text| text.starts_with(MARK)) {
                ours.push(file);
            }
        }
        // The package's unit stays, and setup has enabled it.
        let disables =
            self.is_packaged() && (self.says_yes("is-enabled") || self.says_yes("is-active"));
        let is_done = ours.is_empty() && !disables;
        if dry_run {
            let mut commands = Vec::new();
            if !is_done {
                let words = self.arguments(&["disable", "--now", NAME]).join(" ");
                commands.push(format!("systemctl {words}"));
                commands.extend(ours.iter().map(|file| format!("rm {}", quoted(file))));
                let words = self.arguments(&["daemon-reload"]).join(" ");
                commands.push(format!("systemctl {words}"));
            }
            return print_commands(&commands, context);
        }
        if !is_done {
            // It stops before its files go. Where systemd has no such unit it has nothing to stop.
            let stopped = self.systemctl(&["disable", "--now", NAME]);
            if self.says_yes("is-active") {
                stopped?;
            }
            for file in &ours {
                fs::remove_file(file).with_context(|| file.display().to_string())?;
            }
            let _ = self.systemctl(&["daemon-reload"]);
        }
        if context.json {
            output::json(&json!({
                "service": NAME,
                "removed": ours,
                "disabled": !is_done,
                "dataDir": self.data_dir,
            }))?;
            return Ok(Exit::Done);
        }
        let mut text = String::new();
        if disables {
            text += &format!("Stopped and disabled {NAME}; the package's unit stays\n");
        }
        for file in &ours {
            text += &format!("Removed {}\n", file.display());
        }
        text += &match is_done {
            true => "wit setup --server has added nothing here; nothing to undo.\n".to_owned(),
            false => format!("The data stays in {}\n", self.data_dir.display()),
        };
        output::print(text.as_bytes())?;
        Ok(Exit::Done)
    }

    fn require_systemd(&self) -> Result<(), Failure> {
        let is_there = match self.is_system {
            true => Path::new(BOOTED).exists(),
            false => self.systemctl(&["show-environment"]).is_ok(),
        };
        if is_there {
            return Ok(());
        }
        let (program, data_dir) = (quoted(&self.program), quoted(&self.data_dir));
        let start = format!("{program} up --foreground --data-dir {data_dir}");
        let (message, hint) = match self.is_system {
            true => (
                "systemd does not run here",
                format!("have your init system or container run, as a user of its own: {start}"),
            ),
            false => (
                "systemd does not run for this user",
                format!("crontab -e, with the line: @reboot {program} up"),
            ),
        };
        Err(Failure::new(Exit::Failed, message).hint(hint))
    }

    fn arguments<'a>(&self, arguments: &[&'a str]) -> Vec<&'a str> {
        let user: &[&str] = if self.is_system { &[] } else { &["--user"] };
        [user, arguments].concat()
    }

    fn systemctl(&self, arguments: &[&str]) -> Result<(), Failure> {
        said("systemctl", &self.arguments(arguments), SYSTEMCTL_TIMEOUT)
    }

    /// Asks for a state of the service.
    fn says_yes(&self, question: &str) -> bool {
        self.systemctl(&[question, "--quiet", NAME]).is_ok()
    }
}

/// Returns whether there is the account that the service runs as.
fn has_account() -> anyhow::Result<bool> {
    let asked = process::run("id", &["-u", "wit"], "").context("can't run id")?;
    Ok(asked.status.success())
}

fn said(program: &str, arguments: &[&str], timeout: Duration) -> Result<(), Failure> {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = process::output(command, b"", timeout).map_err(|error| {
        let message = format!("can't run {program}: {error}");
        Failure::new(Exit::Failed, message).hint("apt-get install systemd")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let text = escaped(text.trim());
    Err(Failure::new(
        Exit::Failed,
        format!("{program} {} failed: {text}", arguments.join(" ")),
    ))
}

fn read(file: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}

fn write(file: &Path, text: &str, is_private: bool) -> anyhow::Result<()> {
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
    written().with_context(|| format!("can't write {}", file.display()))
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
