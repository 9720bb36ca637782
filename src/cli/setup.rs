//! `wit setup`: makes git ask the helper, has tokens renewed daily, and takes both back.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

pub(super) mod chain;
mod git;
pub(super) mod helper;
mod record;
mod schedule;

use super::output;
use super::{Context, Exit, Failure, session};
use crate::config::{self, Config, Paths};
use crate::files::{self, Fault, FileError};
use crate::store::choice::{self, NAMES};
use crate::system;
use chain::{ANY_SITE, Place};
use git::{Addition, Located, Replacement, Scope};
use helper::{PORTABLE, first_word, is_ours, is_stale, name, shell_word};
use record::Record;
use schedule::Schedule;

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
    // Before git looks at it: it would wait for a FIFO.
    record::check_kind(&git::file(scope)?)?;
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
        (_, true) => shell_word(&own_path("git-credential-wit")?),
        _ => own_path("git-credential-wit")
            .ok()
            .filter(|path| is_safe(Path::new(path), scope))
            .map_or(PORTABLE.to_owned(), |path| shell_word(&path)),
    };
    let plan = Plan::make(scope, hosts(&args.host)?, &value)?;
    let record = Record::load(&context.paths);
    let wit = args.renew.map(|_| own_path("wit")).transpose()?;
    // What is there and works is left as it is.
    let current = record
        .as_ref()
        .ok()
        .and_then(|record| record.schedule.clone());
    let renew = wit.filter(|wit| {
        let current = current.as_ref();
        !current.is_some_and(|schedule| schedule.is_current(wit))
    });

    if args.dry_run {
        let mut commands = plan.commands()?;
        if let Some(wit) = &renew {
            commands.extend(Schedule::commands(wit, &context.paths));
        }
        return print_commands(&commands, context);
    }

    let mut record = match plan.changes_nothing() && renew.is_none() {
        // Then it is not needed, whatever is the matter with it.
        true => record.unwrap_or_default(),
        false => usable(record, context)?,
    };
    // The store first: where it can't be reached, git stays as it was.
    let decided = choice::decide(&context.paths, args.store.as_deref())?;
    if let Some(name) = args.store {
        Config::update(&context.paths, |config| config.store = Some(name))?;
    }
    plan.carry_out(&mut record, &context.paths)?;
    if let Some(wit) = renew {
        if let Some(old) = record.schedule.take() {
            old.take_back()?;
            record.save(&context.paths)?;
        }
        record.schedule = Some(Schedule::make(&wit, &context.paths)?);
        record.save(&context.paths)?;
    }

    let mut documents = Vec::new();
    let mut text = String::new();
    let mut found = true;
    for entry in &plan.entries {
        let report = entry.report(&plan, &mut text)?;
        found &= report["found"] == true;
        documents.push(report);
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
    if !found {
        eprintln!("wit: git-credential-wit is not in the PATH, so git will not find it");
        eprintln!("hint: wit doctor says what mends it");
    }
    Ok(Exit::Done)
}

/// The record, for a change of it. A damaged one is kept under another name, and a new one begun; one
/// of a newer version is left to that.
fn usable(read: Result<Record, FileError>, context: &Context) -> anyhow::Result<Record> {
    let error = match read {
        Ok(record) => return Ok(record),
        Err(error) => error,
    };
    if !matches!(error.fault, Fault::Damaged(_) | Fault::NotAFile) {
        return Err(Failure::new(Exit::Attention, error.to_string())
            .hint("wit doctor")
            .into());
    }
    let kept = files::set_aside(&error.path).with_context(|| error.path.display().to_string())?;
    if !context.json {
        eprintln!("wit: {error}; it is kept as {}", kept.display());
    }
    Ok(Record::default())
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

/// What is to be changed, so that git runs our helper.
struct Plan {
    scope: Scope,
    /// Values of ours that lead nowhere any more.
    stale: Vec<Replacement>,
    entries: Vec<Entry>,
}

impl Plan {
    /// Fails where git would not run the helper whatever this scope says.
    fn make(scope: Scope, hosts: Vec<Option<String>>, value: &str) -> anyhow::Result<Self> {
        let mut stale: Vec<Replacement> = Vec::new();
        let mut configured = Vec::new();
        for place in scope.places() {
            let mut entries = chain::entries(*place)?;
            for entry in &mut entries {
                let is_stale =
                    entry.scope == scope.name() && is_ours(&entry.value) && is_stale(&entry.value);
                let replacement = is_stale.then(|| Replacement::new(scope, entry, value));
                if let Some(replacement) = replacement.flatten() {
                    value.clone_into(&mut entry.value);
                    if !stale.contains(&replacement) {
                        stale.push(replacement);
                    }
                }
            }
            configured.push((*place, entries));
        }
        let entries = hosts
            .into_iter()
            .map(|host| Entry::find(scope, host, value, &configured))
            .collect::<anyhow::Result<_>>()?;
        Ok(Plan {
            scope,
            stale,
            entries,
        })
    }

    fn changes_nothing(&self) -> bool {
        self.stale.is_empty() && self.entries.iter().all(|entry| entry.addition.is_none())
    }

    fn commands(&self) -> anyhow::Result<Vec<String>> {
        let mut commands: Vec<String> = self.stale.iter().map(Replacement::command).collect();
        for addition in self
            .entries
            .iter()
            .filter_map(|entry| entry.addition.as_ref())
        {
            commands.extend(addition.commands()?);
        }
        Ok(commands)
    }

    /// Makes all changes, or none: what was made is taken back where git, asked afterwards, would
    /// not run the helper.
    fn carry_out(&self, record: &mut Record, paths: &Paths) -> anyhow::Result<()> {
        if self.changes_nothing() {
            return Ok(());
        }
        let before = record.changes.clone();
        let done = self.changed(record, paths);
        if done.is_err() {
            let made = std::mem::replace(&mut record.changes, before);
            for change in made.iter().rev() {
                if !record.changes.contains(change) {
                    git::take_back(change, &change.file)?;
                }
            }
            record.save(paths)?;
        }
        done
    }

    fn changed(&self, record: &mut Record, paths: &Paths) -> anyhow::Result<()> {
        for stale in &self.stale {
            let schedule = record.schedule.clone();
            stale.make(&mut record.changes, |changes| {
                let changes = changes.to_vec();
                Record { changes, schedule }.save(paths)
            })?;
        }
        for entry in &self.entries {
            let Some(addition) = &entry.addition else {
                continue;
            };
            add(addition, record, paths)?;
            let Err(blocked) = entry.check(self.scope) else {
                continue;
            };
            let Some(last) = addition.clone().at_end() else {
                return Err(blocked.into());
            };
            // Behind whatever the file includes it may be asked.
            if let Some(change) = record.changes.pop() {
                git::take_back(&change, &change.file)?;
            }
            record.save(paths)?;
            add(&last, record, paths)?;
            entry.check(self.scope)?;
        }
        Ok(())
    }
}

fn add(addition: &Addition, record: &mut Record, paths: &Paths) -> anyhow::Result<()> {
    let before = record.changes.len();
    let made = addition.make(|change| {
        record.changes.push(change);
        record.save(paths)
    });
    if made.is_err() {
        record.changes.truncate(before);
        record.save(paths)?;
    }
    made
}

/// A site, or all of them, for which git is to run our helper.
struct Entry {
    host: Option<String>,
    helper: String,
    /// `None` where git runs our helper already.
    addition: Option<Addition>,
}

impl Entry {
    fn find(
        scope: Scope,
        host: Option<String>,
        value: &str,
        configured: &[(Place, Vec<chain::Entry>)],
    ) -> anyhow::Result<Self> {
        let url = host.as_deref().unwrap_or(ANY_SITE);
        let mut present = Vec::new();
        let mut matching: Vec<&chain::Entry> = Vec::new();
        for (place, entries) in configured {
            let run = chain::run_for(entries, url, *place)?;
            let mut run = run.into_iter().filter_map(|at| entries.get(at));
            // For one host a setting of its own is wanted, with no helper but ours.
            let key = host.as_deref().map(|host| chain::key(Some(host)));
            let is_meant = |entry: &chain::Entry| key.as_ref().is_none_or(|key| entry.key == *key);
            let ours = run
                .find(|entry| entry.is_within(scope) && is_meant(entry) && is_valid(&entry.value));
            present.push(ours.map(|entry| entry.value.clone()));
            if ours.is_none() {
                reaches(scope, host.as_deref(), entries, url, *place)?;
            }
            let indices = chain::matching(entries, url, *place)?;
            let found = indices.into_iter().filter_map(|at| entries.get(at));
            // The last place sees all that the others see.
            matching = found.filter(|entry| entry.scope == scope.name()).collect();
        }
        let present: Option<Vec<String>> = present.into_iter().collect();
        let present = present.and_then(|values| values.into_iter().next());
        Ok(Entry {
            addition: match present {
                Some(_) => None,
                None => Some(Addition::new(scope, host.as_deref(), value, &matching)?),
            },
            helper: present.unwrap_or_else(|| value.to_owned()),
            host,
        })
    }

    fn url(&self) -> &str {
        self.host.as_deref().unwrap_or(ANY_SITE)
    }

    /// Fails where git, asked now, would not run our helper.
    fn check(&self, scope: Scope) -> Result<(), anyhow::Error> {
        for place in scope.places() {
            let entries = chain::entries(*place)?;
            let run = chain::run_for(&entries, self.url(), *place)?;
            let mut run = run.into_iter().filter_map(|at| entries.get(at));
            let key = chain::key(self.host.as_deref());
            if run.any(|entry| entry.value == self.helper && entry.key == key) {
                continue;
            }
            let file = git::file(scope)?;
            let ours = |entry: &&chain::Entry| entry.value == self.helper && entry.key == key;
            return Err(match entries.iter().rfind(ours) {
                Some(_) => match last_reset(&entries, self.url(), *place)? {
                    Some(reset) => blocked(reset, &entries, self.host.as_deref()).into(),
                    None => Failure::new(
                        Exit::Attention,
                        format!("git does not run the helper that {} names", file.display()),
                    )
                    .hint("wit doctor")
                    .into(),
                },
                None => unread(&file, scope).into(),
            });
        }
        Ok(())
    }

    /// What git does now, by its own answer: as JSON, and for a person in `text`.
    fn report(&self, plan: &Plan, text: &mut String) -> anyhow::Result<serde_json::Value> {
        let entries = chain::entries(Place::Here)?;
        let run = chain::run_for(&entries, self.url(), Place::Here)?;
        let chain = run.into_iter().filter_map(|at| entries.get(at));
        let chain: Vec<&str> = chain.map(|entry| entry.value.as_str()).collect();
        let at = chain.iter().position(|helper| is_ours(helper));
        let (before, after) = chain.split_at(at.unwrap_or(chain.len()));
        let others: Vec<String> = (before.iter().chain(after.iter().skip(1)))
            .map(|helper| shown(helper))
            .collect();
        let before: Vec<String> = before.iter().map(|helper| shown(helper)).collect();
        let exceptions = match self.host {
            Some(_) => Vec::new(),
            None => exceptions(&entries)?,
        };
        let found = first_word(&self.helper) != PORTABLE || helper_in_path();
        let (helper, name) = (shown(&self.helper), plan.scope.name());
        let replaced: Vec<String> = plan.stale.iter().map(|stale| shown(stale.old())).collect();
        let is_new = self.is_new(plan);
        let whom = match (&self.host, exceptions.is_empty()) {
            (Some(host), _) => host,
            (None, true) => "every site",
            (None, false) => "every other site",
        };
        for exception in &exceptions {
            let exception = shown_url(exception);
            *text += &format!(
                "git does not ask the helper for {exception}: settings of its own reset the helpers.\n"
            );
            *text += &format!(
                "For it too: wit setup --host {}\n",
                output::quoted(&exception)
            );
        }
        *text += &match (is_new, found) {
            (true, true) => {
                format!("git now asks the helper {helper} for {whom} ({name} configuration).\n")
            }
            (false, true) => {
                format!("git asks the helper {helper} for {whom} already; nothing to change.\n")
            }
            (_, false) => format!("git looks for the helper {helper} for {whom}.\n"),
        };
        for old in &replaced {
            *text += &format!("It takes the place of {old}, which leads nowhere.\n");
        }
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
        Ok(json!({
            "host": self.host,
            "helper": helper,
            "added": is_new && found,
            "found": found,
            "replaced": replaced,
            "before": before,
            "otherHelpers": others,
            "exceptions": exceptions.iter().map(|url| shown_url(url)).collect::<Vec<_>>(),
        }))
    }

    /// Whether git runs the helper because of what was changed now.
    fn is_new(&self, plan: &Plan) -> bool {
        let key = chain::key(self.host.as_deref());
        self.addition.is_some() || plan.stale.iter().any(|stale| stale.key() == key)
    }
}

/// Whether a value runs our helper, as far as that can be told.
fn is_valid(value: &str) -> bool {
    is_ours(value) && !is_stale(value)
}

/// Fails where git would not run a helper that was the last one that `scope` names.
fn reaches(
    scope: Scope,
    host: Option<&str>,
    entries: &[chain::Entry],
    url: &str,
    place: Place,
) -> anyhow::Result<()> {
    let (mut all, later): (Vec<_>, Vec<_>) = entries
        .iter()
        .cloned()
        .partition(|entry| entry.is_within(scope));
    let at = all.len();
    all.push(chain::Entry {
        scope: scope.name().to_owned(),
        file: None,
        key: chain::key(host),
        value: PORTABLE.to_owned(),
    });
    if later.is_empty() {
        return Ok(());
    }
    all.extend(later);
    if chain::run_for(&all, url, place)?.contains(&at) {
        return Ok(());
    }
    match last_reset(entries, url, place)? {
        Some(reset) => Err(blocked(reset, entries, host).into()),
        None => Ok(()),
    }
}

/// The last value that resets the helpers for a URL.
fn last_reset<'a>(
    entries: &'a [chain::Entry],
    url: &str,
    place: Place,
) -> anyhow::Result<Option<&'a chain::Entry>> {
    let matching = chain::matching(entries, url, place)?.into_iter();
    let mut matching = matching.rev().filter_map(|at| entries.get(at));
    Ok(matching.find(|entry| entry.is_reset()))
}

/// That a reset which git reads later forgets whatever could be added.
fn blocked(reset: &chain::Entry, all: &[chain::Entry], host: Option<&str>) -> Failure {
    let place = reset.place(all);
    let message = format!(
        "{place} resets git's helpers afterwards ({} is empty), so git would not ask this one; \
         nothing was changed",
        reset.key
    );
    let host = host.map(|host| format!(" --host {}", output::quoted(host)));
    let host = host.unwrap_or_default();
    let hint = match (reset.scope.as_str(), &reset.file) {
        ("global", _) => format!("wit setup{host}"),
        ("local", _) => format!("wit setup --local{host}"),
        (_, Some(file)) => format!(
            "git config --file {} --fixed-value --unset-all {} ''",
            output::quoted(file),
            output::quoted(&reset.key)
        ),
        (_, None) => format!("unset {}", chain::environment()),
    };
    Failure::new(Exit::Attention, message).hint(hint)
}

/// That git does not read the file that was written.
fn unread(file: &Path, scope: Scope) -> Failure {
    let variable = match scope {
        Scope::System if config::variable("GIT_CONFIG_NOSYSTEM").is_some() => "GIT_CONFIG_NOSYSTEM",
        Scope::System => "GIT_CONFIG_SYSTEM",
        _ => "GIT_CONFIG_GLOBAL",
    };
    let message = format!(
        "git does not read {}, so it would not ask the helper; nothing was changed",
        file.display()
    );
    Failure::new(Exit::Attention, message).hint(format!("unset {variable}"))
}

/// The URLs, among those that have settings of their own, for which git does not run our helper.
fn exceptions(entries: &[chain::Entry]) -> anyhow::Result<Vec<String>> {
    let mut urls: Vec<String> = (entries.iter())
        .filter_map(|entry| entry.pattern().map(chain::example))
        .collect();
    urls.sort();
    urls.dedup();
    let mut exceptions = Vec::new();
    for url in urls {
        let run = chain::run_for(entries, &url, Place::Here)?;
        let mut run = run.into_iter().filter_map(|at| entries.get(at));
        if !run.any(|entry| is_ours(&entry.value)) {
            exceptions.push(url);
        }
    }
    Ok(exceptions)
}

/// The command that has git ask our helper about `url`, or ends what keeps it from that.
pub(super) fn fix(url: &str) -> anyhow::Result<String> {
    let entries = chain::entries(Place::Here)?;
    let run = chain::run_for(&entries, ANY_SITE, Place::Here)?;
    let mut run = run.into_iter().filter_map(|at| entries.get(at));
    // Where every other site has it, this one has settings of its own.
    let host = run.any(|entry| is_ours(&entry.value)).then_some(url);
    let option = host.map(|url| format!(" --host {}", output::quoted(url)));
    let option = option.unwrap_or_default();
    let tried = [(Scope::Global, ""), (Scope::Local, " --local")];
    for (scope, name) in tried {
        let is_there = scope == Scope::Global || git::file(scope).is_ok();
        let reached = || reaches(scope, host, &entries, host.unwrap_or(ANY_SITE), Place::Here);
        if is_there && reached().is_ok() {
            return Ok(format!("wit setup{name}{option}"));
        }
    }
    let reset = last_reset(&entries, host.unwrap_or(ANY_SITE), Place::Here)?;
    let hint = reset.and_then(|reset| blocked(reset, &entries, host).hint);
    Ok(hint.unwrap_or_else(|| format!("wit setup{option}")))
}

/// A URL of git's configuration, which may hold a password.
fn shown_url(url: &str) -> String {
    let shown = match url.split_once("://").and_then(|(scheme, rest)| {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (_, host) = authority.rsplit_once('@')?;
        Some(format!("{scheme}://{host}{path}"))
    }) {
        Some(shown) => shown,
        None => url.to_owned(),
    };
    output::redacted(&output::escaped(&shown))
}

/// A helper as a person may be shown it.
fn shown(helper: &str) -> String {
    output::redacted(&output::escaped(&name(helper)))
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
    let read = Record::load(&context.paths);
    let is_lost = read.is_err();
    let mut record = match dry_run {
        true => read.unwrap_or_default(),
        false => usable(read, context)?,
    };
    let (ours, mut kept) = git::meant(std::mem::take(&mut record.changes), scope)?;
    let schedule = record.schedule.take_if(|_| scope == Scope::Global);
    if dry_run {
        let mut steps: Vec<String> = ours.iter().filter_map(Located::command).collect();
        steps.extend(schedule.map(|schedule| format!("# take back {}", schedule.place())));
        return print_commands(&steps, context);
    }
    let mut removed: Vec<PathBuf> = Vec::new();
    let mut failure = None;
    // The last one first, as they were put on top of one another.
    for located in ours.into_iter().rev() {
        match located.take_back() {
            Ok(()) => removed.extend(located.file),
            Err(error) => {
                failure = Some(error);
                kept.push(located.change);
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
    removed.dedup();
    let left = left(scope)?;
    if is_lost && !left.is_empty() {
        let (file, command) = &left[0];
        let message = format!(
            "what wit setup added can't be told any more, and {file} still names the helper"
        );
        return Err(Failure::new(Exit::Attention, message).hint(command).into());
    }
    let left: Vec<&String> = left.iter().map(|(file, _)| file).collect();
    if context.json {
        let schedule = schedule.as_ref().map(Schedule::place);
        output::json(&json!({
            "scope": scope,
            "removed": removed,
            "renew": schedule,
            "left": left,
        }))?;
        return Ok(Exit::Done);
    }
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
    for file in left {
        text += &format!("{file} still names the helper; wit setup did not add that.\n");
    }
    output::print(text.as_bytes())?;
    Ok(Exit::Done)
}

/// Where the scope still names our helper, by file and line, each with the command that ends it.
fn left(scope: Scope) -> anyhow::Result<Vec<(String, String)>> {
    let mut left = Vec::new();
    for place in scope.places() {
        let entries = chain::entries(*place)?;
        let ours = entries
            .iter()
            .filter(|entry| entry.scope == scope.name() && is_ours(&entry.value));
        for entry in ours {
            let file = entry.file.as_deref().unwrap_or(Path::new(""));
            let command = format!(
                "git config --file {} --fixed-value --unset-all {} {}",
                output::quoted(file),
                output::quoted(&entry.key),
                output::quoted(&entry.value)
            );
            let found = (output::escaped(&entry.place(&entries)), command);
            if !left.contains(&found) {
                left.push(found);
            }
        }
    }
    Ok(left)
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
