//! `wit setup`: makes git ask the helper, has tokens renewed daily, and takes both back.

#[cfg(all(feature = "platform", unix))]
mod server;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::output;
use super::{Context, Exit, Failure, session};
use crate::app::git_config::chain::Conditional;
use crate::app::git_config::helper::{Keeping, PORTABLE, in_path, name, program_name, shell_word};
use crate::app::git_config::{self, Located, Now, Plan, Scope, Target, Unhelped, without_user};
use crate::app::schedule::{self, Schedule};
use crate::app::setup_record::Record;
use crate::config::{self, Config};
use crate::files::{self, Fault, FileError};
use crate::store::{self, StoreKind, select};
use crate::system;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
    /// For this server only, and there no other helper; may be repeated
    #[arg(long, value_name = "URL", num_args = 1.., conflicts_with = "undo")]
    host: Vec<String>,
    /// Run `wit up` as a service of systemd: of the whole system for root, else of this user. With a
    /// URL it means --host
    #[arg(long, value_name = "URL", num_args = 0.., conflicts_with_all = ["host", "store", "renew", "absolute", "portable"])]
    server: Option<Vec<String>>,
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
    /// Undo what `wit setup` added to this configuration, or with --server the service
    #[arg(long)]
    undo: bool,
    #[cfg(all(feature = "platform", unix))]
    #[command(flatten, next_help_heading = "Options of --server")]
    serving: super::up::options::Serving,
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

pub fn run(mut args: Args, context: &Context) -> anyhow::Result<Exit> {
    let is_service = args.server.as_ref().is_some_and(Vec::is_empty);
    args.host.extend(args.server.take().unwrap_or_default());
    #[cfg(all(feature = "platform", unix))]
    match is_service {
        true => return server::run(args.serving, args.undo, args.dry_run, context),
        false if !args.serving.arguments().is_empty() => {
            let message = "an option of a server is given without --server";
            let hint = "wit setup --server, with the same options";
            return Err(Failure::new(Exit::Usage, message).hint(hint).into());
        }
        false => {}
    }
    #[cfg(not(all(feature = "platform", unix)))]
    if is_service {
        let message = "this wit was built without `wit up`";
        return Err(Failure::new(Exit::Failed, message).into());
    }
    if args.undo && !args.host.is_empty() {
        let message = "--undo is of the whole configuration: it takes no URL";
        return Err(Failure::new(Exit::Usage, message)
            .hint("wit setup --undo, or wit setup --server --undo for the service")
            .into());
    }
    let scope = args.scope.scope();
    // Before git looks at it: it would wait for a FIFO.
    git_config::check_kind(&scope.file().map_err(failed)?).map_err(failed)?;
    if args.undo {
        return undo(scope, args.dry_run, context);
    }
    if let Some(name) = &args.store
        && StoreKind::parse(name).is_err()
    {
        let message = format!("no store is called {name:?}; there are {}", store::names());
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
    let plan = Plan::make(scope, hosts(&args.host)?, &value).map_err(failed)?;
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
        let mut commands = plan.commands().map_err(failed)?;
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
    let decided = select::decide(&context.paths, args.store.as_deref())?;
    if let Some(name) = args.store {
        if StoreKind::parse(&name)?.is_some() {
            store::check(decided.store.as_ref())?;
        }
        Config::update(&context.paths, |config| config.store = Some(name))?;
    }
    let schedule = record.schedule.clone();
    let save = |changes: &[git_config::Change]| {
        let (changes, schedule) = (changes.to_vec(), schedule.clone());
        let saved = Record { changes, schedule }.save(&context.paths);
        saved.map_err(|error| git_config::Error::Record {
            file: Record::file(&context.paths),
            error,
        })
    };
    plan.carry_out(&mut record.changes, &save).map_err(failed)?;
    if let Some(wit) = renew {
        if let Some(old) = record.schedule.take() {
            old.take_back().map_err(unscheduled)?;
            record.save(&context.paths)?;
        }
        let made = Schedule::make(&wit, &context.paths).map_err(unscheduled)?;
        record.schedule = Some(made);
        record.save(&context.paths)?;
    }

    let mut documents = Vec::new();
    let mut text = String::new();
    let mut found = true;
    for target in plan.targets() {
        let report = report(target, &plan, &mut text)?;
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
    let (name, location) = (store.name(), output::tilde(&store.location()));
    text += &format!("Secrets are kept in the {name} store: {location}\n");
    if let Some(place) = place {
        text += &format!("Tokens that expire within 7 days are rotated once a day, by {place}\n");
    }
    output::print(text.as_bytes())?;
    if let Some(caveat) = store.caveat() {
        eprintln!("warning: {caveat}\nhint: wit setup --store file");
    }
    if lasts == Some(false) {
        eprintln!("warning: systemd stops that when you log out of this machine");
        eprintln!("hint: loginctl enable-linger");
    }
    if !found {
        eprintln!("warning: git-credential-wit is not in the PATH, so git will not find it");
        eprintln!("hint: wit doctor says how to fix it");
    }
    let config = Config::load(&context.paths).unwrap_or_default();
    output::warn_untrusted(&config, None);
    match config.servers.is_empty() {
        true => output::next(context, "wit login https://your.server"),
        false => output::next(context, "wit token create, or git push"),
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
            .caused_by(error)
            .into());
    }
    let kept = files::set_aside(&error.path).with_context(|| error.path.display().to_string())?;
    if !context.json {
        eprintln!("warning: {error}; it is kept as {}", kept.display());
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

/// Describes what git does now: as JSON, and for a person in `text`.
fn report(target: &Target, plan: &Plan, text: &mut String) -> anyhow::Result<serde_json::Value> {
    let now = target.now().map_err(failed)?;
    let all_shown = |helpers: &[String]| -> Vec<String> {
        helpers.iter().map(|helper| shown(helper)).collect()
    };
    let (before, others) = (all_shown(&now.before), all_shown(&now.others));
    let (found, is_new) = (now.is_found, plan.is_new(target));
    let (helper, name) = (shown(target.helper()), plan.scope().name());
    let replaced: Vec<String> = plan.replaced().map(shown).collect();
    let sites = match (target.host(), now.exceptions.is_empty()) {
        (Some(host), _) => host,
        (None, true) => "every site",
        (None, false) => "every other site",
    };
    for exception in &now.exceptions {
        let (url, fix) = (shown_url(&exception.url), &exception.fix);
        let names = all_shown(&exception.helpers).join(", ");
        let asked = match (names.as_str(), exception.is_asked) {
            ("", _) => "no helper".to_owned(),
            (names, true) => format!("{names} first"),
            (names, false) => format!("only {names}"),
        };
        *text += &format!("For {url} git asks {asked}, by settings for that URL alone.\n");
        *text += &format!(
            "To make it ask this helper there: {}\n",
            output::redacted(fix)
        );
    }
    for Conditional { condition, file } in &now.conditional {
        let (condition, file) = (
            output::escaped(condition),
            output::escaped(&file.display().to_string()),
        );
        *text += &format!(
            "Where {condition} holds, git also reads {file}, which names helpers too: run wit doctor there.\n"
        );
    }
    *text += &match (is_new, found) {
        (true, true) => {
            format!("git now asks the helper {helper} for {sites} ({name} configuration).\n")
        }
        (false, true) => {
            format!("git asks the helper {helper} for {sites} already; nothing to change.\n")
        }
        (_, false) => format!("git looks for the helper {helper} for {sites}.\n"),
    };
    for old in &replaced {
        *text += &format!("It takes the place of {old}, which leads nowhere.\n");
    }
    if target.host().is_some() && others.is_empty() {
        *text += "It asks no other helper there.\n";
    }
    if !before.is_empty() {
        let names = before.join(", ");
        *text += &format!("These helpers run first and take precedence: {names}\n");
        *text += "For a server without them: wit setup --host URL\n";
    }
    *text += &keeping(&now);
    Ok(json!({
        "host": target.host(),
        "helper": helper,
        "added": is_new && found,
        "found": found,
        "replaced": replaced,
        "before": before,
        "otherHelpers": others,
        "exceptions": (now.exceptions.iter())
            .filter(|exception| !exception.is_asked)
            .map(|exception| shown_url(&exception.url))
            .collect::<Vec<_>>(),
        "othersFirst": now.exceptions.iter().map(|exception| json!({
            "url": shown_url(&exception.url),
            "helpers": all_shown(&exception.helpers),
            "asked": exception.is_asked,
            "fix": output::redacted(&exception.fix),
        })).collect::<Vec<_>>(),
        "conditional": now.conditional.iter().map(|Conditional { condition, file }| json!({
            "condition": condition,
            "file": file,
        })).collect::<Vec<_>>(),
    }))
}

/// What the other helpers do with the credentials that git passes on to them.
fn keeping(now: &Now) -> String {
    let those = |wanted: Keeping| {
        let others = now
            .others
            .iter()
            .filter(|helper| Keeping::of(helper) == wanted);
        others
            .map(|helper| shown(helper))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut text = String::new();
    for (keeping, what) in [
        (Keeping::PlainText, "which write them to a plain-text file"),
        (Keeping::Memory, "which keep them in memory for a time"),
        (Keeping::Copies, "which store them"),
        (Keeping::Unknown, "which may store them"),
    ] {
        let names = those(keeping);
        if !names.is_empty() {
            text +=
                &format!("git also passes working credentials to these helpers, {what}: {names}\n");
        }
    }
    let names = those(Keeping::Nothing);
    if !names.is_empty() {
        text += &format!("These helpers store nothing; wit stores what works of theirs: {names}\n");
    }
    text
}

/// An error about git's configuration, for a person.
fn failed(error: git_config::Error) -> Failure {
    let exit = match error.needs_attention() {
        true => Exit::Attention,
        false => Exit::Failed,
    };
    with_fix(exit, &error, error.fix())
}

fn unscheduled(error: schedule::Error) -> Failure {
    with_fix(Exit::Failed, &error, error.fix())
}

fn with_fix(exit: Exit, error: &dyn std::error::Error, fix: Option<String>) -> Failure {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = chain.map(ToString::to_string).collect();
    let failure = Failure::new(exit, causes.join(": "));
    match fix {
        Some(fix) => failure.hint(fix),
        None => failure,
    }
}

/// A helper as a person may be shown it.
fn shown(helper: &str) -> String {
    output::redacted(&output::escaped(&name(helper)))
}

/// Path of one of our two programs: by the PATH where that leads to the one beside this one,
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

/// Returns whether git may be given this path by default: every user who reads the configuration must be
/// able to run it. Only Unix is tried out.
fn is_safe(helper: &Path, scope: Scope) -> bool {
    cfg!(unix) && (scope != Scope::System || system::is_runnable_by_all(helper))
}

/// Takes back what this program added to the scope's configuration, and only that.
fn undo(scope: Scope, dry_run: bool, context: &Context) -> anyhow::Result<Exit> {
    let read = Record::load(&context.paths);
    let is_lost = read.is_err();
    let mut record = match dry_run {
        true => read.unwrap_or_default(),
        false => usable(read, context)?,
    };
    let changes = std::mem::take(&mut record.changes);
    let (ours, mut kept) = git_config::meant(changes, scope).map_err(failed)?;
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
                failure = Some(failed(error));
                kept.push(located.change);
            }
        }
    }
    if let Some(schedule) = &schedule
        && let Err(error) = schedule.take_back()
    {
        failure = Some(unscheduled(error));
        record.schedule = Some(schedule.clone());
    }
    record.changes = kept;
    record.save(&context.paths)?;
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    removed.dedup();
    let left = git_config::left(scope).map_err(failed)?;
    if let Some(first) = left.first().filter(|_| is_lost) {
        let message = format!(
            "can't find what wit setup added, and {} still names the helper",
            output::escaped(&first.place)
        );
        return Err(Failure::new(Exit::Attention, message)
            .hint(&first.fix)
            .into());
    }
    let left: Vec<String> = (left.iter())
        .map(|left| output::escaped(&left.place))
        .collect();
    // Nothing that git can't say of its configuration fails what is done.
    let without = git_config::without_helper().unwrap_or_default();
    if context.json {
        let schedule = schedule.as_ref().map(Schedule::place);
        output::json(&json!({
            "scope": scope,
            "removed": removed,
            "renew": schedule,
            "left": left,
            "withoutHelper": without.urls.iter().map(|url| url.as_deref().map(shown_url)).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for file in &removed {
        let what = if file.exists() { "restored" } else { "removed" };
        text += &format!("{}: {what}.\n", file.display());
    }
    if let Some(schedule) = &schedule {
        text += &format!("Daily rotation is off; removed {}\n", schedule.place());
    }
    text += &match text.is_empty() {
        true => format!(
            "wit setup has added nothing to the {} configuration; nothing to undo.\n",
            scope.name()
        ),
        false => "Stored secrets were not changed.\n".to_owned(),
    };
    for file in left {
        text += &format!("{file} still names the helper; wit setup did not add that.\n");
    }
    text += &other_helpers(&without);
    output::print(text.as_bytes())?;
    Ok(Exit::Done)
}

/// The sites for which git asks nobody now, and how those that are installed make git ask them again.
fn other_helpers(without: &Unhelped) -> String {
    let sites = match without.urls.as_slice() {
        [] => return String::new(),
        [None, ..] => "except for a URL with settings of its own".to_owned(),
        urls => {
            let urls: Vec<String> = urls.iter().flatten().map(|url| shown_url(url)).collect();
            format!("for {}", urls.join(", "))
        }
    };
    let mut text = format!("git asks no helper now, {sites}.\n");
    for (program, command) in [
        ("manager", "git-credential-manager configure"),
        ("gh", "gh auth setup-git"),
    ] {
        let file = command.split(' ').next().unwrap_or_default();
        let is_asked = (without.configured.iter()).any(|helper| program_name(helper) == program);
        if in_path(file).is_some() && !is_asked {
            text += &format!("To make git ask {file} again: {command}\n");
        }
    }
    text
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

/// A URL of git's configuration, which may hold a password.
fn shown_url(url: &str) -> String {
    output::redacted(&output::escaped(&without_user(url)))
}
