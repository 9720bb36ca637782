//! `wit setup`: makes git ask the helper, has tokens renewed daily, and takes both back.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

pub(super) mod git;
pub(super) mod program;
mod record;
mod schedule;

use super::output;
use super::{Context, Exit, Failure, session};
use crate::config::{self, Config, Paths};
use crate::files::FileError;
use crate::store::choice::{self, NAMES};
use crate::system;
use git::{Addition, Scope};
use record::Record;
use schedule::Schedule;

/// What git calls the helper where its configuration does not say where it lies.
const PORTABLE: &str = "wit";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
    /// For this server only, and there no other helper; may be repeated
    #[arg(long, alias = "server", value_name = "URL", num_args = 1.., conflicts_with = "undo")]
    host: Vec<String>,
    /// Keep secrets in this store from now on: keychain, file or keyutils
    #[arg(long, value_name = "NAME", conflicts_with = "undo")]
    store: Option<String>,
    /// Name the helper by its absolute path, also where it would not be by default
    #[arg(long, conflicts_with = "undo")]
    absolute: bool,
    /// Write `wit`, which git looks for in the PATH: slower, but the same on every machine
    #[arg(long, conflicts_with_all = ["absolute", "undo"])]
    portable: bool,
    /// Also rotate once a day what runs out soon
    #[arg(long, value_name = "WHEN", conflicts_with_all = ["undo", "local", "system"])]
    renew: Option<Renew>,
    /// Print the commands without running them
    #[arg(long)]
    dry_run: bool,
    /// Take back what `wit setup` added to this configuration
    #[arg(long)]
    undo: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Renew {
    Daily,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct ScopeArgs {
    /// For this user: the default
    #[arg(long)]
    global: bool,
    /// For the repository in the current directory
    #[arg(long)]
    local: bool,
    /// For every user of this machine
    #[arg(long)]
    system: bool,
}

impl ScopeArgs {
    fn scope(&self) -> Scope {
        match (self.system, self.local) {
            (true, _) => Scope::System,
            (_, true) => Scope::Local,
            _ => Scope::Global,
        }
    }
}

/// An error where the record of what was changed can't be used.
pub(super) fn check_record(paths: &Paths) -> Result<(), FileError> {
    Record::load(paths).map(drop)
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let scope = args.scope.scope();
    if args.undo {
        return undo(scope, args.dry_run, context);
    }
    if let Some(name) = &args.store
        && !NAMES.contains(&name.as_str())
    {
        let message = format!(
            "no store is called {name:?}; there are {}",
            NAMES.join(", ")
        );
        return Err(Failure::new(Exit::Usage, message)
            .hint("wit setup --store file")
            .into());
    }
    let value = match (args.portable, args.absolute) {
        (true, _) => PORTABLE.to_owned(),
        (_, true) => git::shell_word(&own_path("git-credential-wit")?),
        _ => own_path("git-credential-wit")
            .ok()
            .filter(|path| is_safe(Path::new(path), scope))
            .map_or(PORTABLE.to_owned(), |path| git::shell_word(&path)),
    };
    let mut entries = Vec::new();
    for host in hosts(&args.host)? {
        entries.push(Entry::find(scope, host, &value)?);
    }
    let mut record = Record::load(&context.paths)?;
    // What is there already is left as it is.
    let renew = args.renew.filter(|_| record.schedule.is_none());

    if args.dry_run {
        let added = entries.iter().filter_map(|entry| entry.addition.as_ref());
        let mut commands: Vec<String> = added.flat_map(Addition::commands).collect();
        if renew.is_some() {
            commands.extend(Schedule::commands(&own_path("wit")?, &context.paths));
        }
        return print_commands(&commands, context);
    }

    // The store first: where it can't be reached, git stays as it was.
    let decided = choice::decide(&context.paths, args.store.as_deref())?;
    if let Some(name) = args.store {
        Config::update(&context.paths, |config| config.store = Some(name))?;
    }
    for addition in entries.iter().filter_map(|entry| entry.addition.as_ref()) {
        let before = record.changes.len();
        let made = addition.make(|change| {
            record.changes.push(change);
            record.save(&context.paths)
        });
        if made.is_err() {
            record.changes.truncate(before);
            record.save(&context.paths)?;
        }
        made?;
    }
    if renew.is_some() {
        record.schedule = Some(Schedule::make(&own_path("wit")?, &context.paths)?);
        record.save(&context.paths)?;
    }

    let mut documents = Vec::new();
    let mut text = String::new();
    for entry in &entries {
        let chain = git::chain(scope, entry.host.as_deref())?;
        documents.push(entry.report(&chain, scope, &mut text));
    }
    let schedule = record.schedule.as_ref();
    let asked = schedule.filter(|_| args.renew.is_some());
    let lasts = asked.and_then(Schedule::outlives_logout);
    let place = schedule.map(Schedule::place);
    let store = decided.store.as_ref();
    if context.json {
        output::json(&json!({
            "scope": scope,
            "helpers": documents,
            "store": store.name(),
            "location": store.location(),
            "caveat": store.caveat(),
            "renew": place,
            "renewOutlivesLogout": lasts,
        }))?;
        return Ok(Exit::Done);
    }
    let (name, location) = (store.name(), store.location());
    text += &format!("Secrets lie in the {name} store: {location}\n");
    if let Some(place) = place {
        text += &format!("What runs out within 7 days is rotated once a day, by {place}\n");
    }
    output::print(text.as_bytes())?;
    if let Some(caveat) = store.caveat() {
        eprintln!("wit: {caveat}\nhint: wit setup --store file");
    }
    if lasts == Some(false) {
        eprintln!("wit: systemd stops that when you log out of this machine");
        eprintln!("hint: loginctl enable-linger");
    }
    if entries.iter().any(|entry| entry.helper == PORTABLE) && !helper_in_path() {
        eprintln!("wit: git-credential-wit is not in the PATH, so git will not find it");
        eprintln!("hint: wit doctor says what mends it");
    }
    Ok(Exit::Done)
}

/// The sites that were named, as git names them; or the one `None` that stands for all.
fn hosts(named: &[String]) -> anyhow::Result<Vec<Option<String>>> {
    if named.is_empty() {
        return Ok(vec![None]);
    }
    let site = |url: &String| -> anyhow::Result<_> {
        Ok(Some(
            session::site_of(&session::parse_url(url)?)?.to_string(),
        ))
    };
    named.iter().map(site).collect()
}

/// One setting of git's that names our helper, or is going to.
struct Entry {
    host: Option<String>,
    helper: String,
    /// `None` where git asks our helper already.
    addition: Option<Addition>,
}

impl Entry {
    fn find(scope: Scope, host: Option<String>, value: &str) -> anyhow::Result<Self> {
        let mut chain = git::chain(scope, host.as_deref())?.into_iter();
        let present = chain.find(|helper| git::is_ours(helper));
        Ok(Entry {
            addition: match present {
                Some(_) => None,
                None => Some(Addition::new(scope, host.as_deref(), value)?),
            },
            helper: present.unwrap_or_else(|| value.to_owned()),
            host,
        })
    }

    /// What git does now by its `chain` of helpers: as JSON, and for a person in `text`.
    fn report(&self, chain: &[String], scope: Scope, text: &mut String) -> serde_json::Value {
        let at = chain.iter().position(|helper| git::is_ours(helper));
        let (before, after) = chain.split_at(at.unwrap_or(chain.len()));
        let others: Vec<String> = (before.iter().chain(after.iter().skip(1)))
            .map(|helper| shown(helper))
            .collect();
        let before: Vec<String> = before.iter().map(|helper| shown(helper)).collect();
        let (helper, name) = (shown(&self.helper), scope.name());
        let whom = self.host.as_deref().unwrap_or("every site");
        *text += &match &self.addition {
            Some(_) => {
                format!("git now asks the helper {helper} for {whom} ({name} configuration).\n")
            }
            None => {
                format!("git asks the helper {helper} for {whom} already; nothing to change.\n")
            }
        };
        if self.host.is_some() && others.is_empty() {
            *text += "It asks no other helper there.\n";
        }
        if !before.is_empty() {
            let names = before.join(", ");
            *text += &format!("These are asked before it, so what they know goes first: {names}\n");
            *text += "For a server without them: wit setup --host URL\n";
        }
        if !others.is_empty() {
            let names = others.join(", ");
            *text +=
                &format!("git hands what worked to these as well, and they may keep it: {names}\n");
        }
        if others.iter().any(|helper| helper == "store") {
            *text += "The helper store keeps what it is handed in plain text.\n";
        }
        json!({
            "host": self.host,
            "helper": helper,
            "added": self.addition.is_some(),
            "before": before,
            "otherHelpers": others,
        })
    }
}

/// A helper as a person may be shown it.
fn shown(helper: &str) -> String {
    output::redacted(&output::escaped(&git::name(helper)))
}

/// Where one of our two programs lies: by the PATH where that leads to the one beside this one,
/// since a package manager's links outlive its directories.
fn own_path(name: &str) -> anyhow::Result<String> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let own = std::env::current_exe().context("can't tell where wit itself lies")?;
    let beside = own.with_file_name(&file);
    let Ok(real) = beside.canonicalize() else {
        let message = format!("{} is not there", beside.display());
        return Err(Failure::new(Exit::Failed, message)
            .hint("./install.sh")
            .into());
    };
    let path = config::variable("PATH").unwrap_or_default();
    let mut linked = std::env::split_paths(&path).map(|dir| dir.join(&file));
    let found = linked
        .find(|path| path.is_absolute() && path.canonicalize().is_ok_and(|other| other == real));
    let path = found.unwrap_or(beside).into_os_string().into_string();
    path.ok()
        .filter(|path| !path.contains(char::is_control))
        .with_context(|| format!("the path of {name} holds what no configuration can"))
}

/// Whether git may be given this path by default: every user who reads the configuration must be
/// able to run it. Only Unix is tried out.
fn is_safe(helper: &Path, scope: Scope) -> bool {
    cfg!(unix) && (scope != Scope::System || system::is_runnable_by_all(helper))
}

fn helper_in_path() -> bool {
    let name = format!("git-credential-wit{}", std::env::consts::EXE_SUFFIX);
    config::variable("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(&name).is_file()))
}

/// Takes back what this program added to the scope's configuration, and only that.
fn undo(scope: Scope, dry_run: bool, context: &Context) -> anyhow::Result<Exit> {
    let mut record = Record::load(&context.paths)?;
    let (mut ours, mut kept) = (Vec::new(), Vec::new());
    for change in std::mem::take(&mut record.changes) {
        match git::is_meant(&change, scope)? {
            true => ours.push(change),
            false => kept.push(change),
        }
    }
    let schedule = record.schedule.take_if(|_| scope == Scope::Global);
    if dry_run {
        let mut steps: Vec<String> = ours.iter().map(git::removal).collect();
        steps.extend(schedule.map(|schedule| format!("# take back {}", schedule.place())));
        return print_commands(&steps, context);
    }
    let mut removed: Vec<PathBuf> = Vec::new();
    let mut failure = None;
    // The last one first, as they were put on top of one another.
    for change in ours.into_iter().rev() {
        match git::take_back(&change) {
            Ok(()) => removed.push(change.file),
            Err(error) => {
                failure = Some(error);
                kept.push(change);
            }
        }
    }
    if let Some(schedule) = &schedule
        && let Err(error) = schedule.take_back()
    {
        failure = Some(error);
        record.schedule = Some(schedule.clone());
    }
    record.changes = kept;
    record.save(&context.paths)?;
    if let Some(error) = failure {
        return Err(error);
    }
    if context.json {
        let schedule = schedule.as_ref().map(Schedule::place);
        output::json(&json!({ "scope": scope, "removed": removed, "renew": schedule }))?;
        return Ok(Exit::Done);
    }
    removed.dedup();
    let mut text = String::new();
    for file in &removed {
        let file = file.display();
        text += &format!("{file} is as if wit setup had not been there.\n");
    }
    if let Some(schedule) = &schedule {
        text += &format!("Nothing is rotated daily any more: {}\n", schedule.place());
    }
    text += &match text.is_empty() {
        true => format!(
            "wit setup has added nothing to the {} configuration; nothing to take back.\n",
            scope.name()
        ),
        false => "Secrets that were stored stay where they are.\n".to_owned(),
    };
    output::print(text.as_bytes())?;
    Ok(Exit::Done)
}

fn print_commands(commands: &[String], context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        output::json(&json!({ "commands": commands }))?;
    } else if commands.is_empty() {
        output::print(b"# nothing to change\n")?;
    } else {
        output::print(format!("{}\n", commands.join("\n")).as_bytes())?;
    }
    Ok(Exit::Done)
}
