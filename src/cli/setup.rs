//! `wit setup`: makes git ask the helper, and takes that back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{Context, Exit, Failure};
use crate::config::{self, Config, Paths};
use crate::store::choice::{self, NAMES};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Keep secrets in this store from now on: keychain, file or keyutils
    #[arg(long, value_name = "NAME", conflicts_with = "undo")]
    store: Option<String>,
    /// Name the helper by its absolute path: faster, and needs no PATH
    #[arg(long, conflicts_with = "undo")]
    absolute: bool,
    /// Print the git commands without running them
    #[arg(long)]
    dry_run: bool,
    /// Take back what `wit setup` added to this configuration
    #[arg(long)]
    undo: bool,
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

/// Which of git's configuration files is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    System,
    Global,
    Local,
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

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Scope::System => "system",
            Scope::Global => "global",
            Scope::Local => "local",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Scope::System => "--system",
            Scope::Global => "--global",
            Scope::Local => "--local",
        }
    }

    /// git reads system, then global, then local: what this scope adds comes after these.
    fn comes_after(self, name: &str) -> bool {
        match self {
            Scope::System => name == "system",
            Scope::Global => matches!(name, "system" | "global"),
            Scope::Local => matches!(name, "system" | "global" | "local"),
        }
    }
}

/// One line that `wit setup` added, for `--undo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    scope: Scope,
    /// The file that git wrote to.
    file: PathBuf,
    /// Whether git made that file for it.
    made_file: bool,
    value: String,
}

/// What `wit setup` changed and has not taken back.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    changes: Vec<Change>,
}

impl Record {
    fn path(paths: &Paths) -> PathBuf {
        paths.state_dir().join("setup.json")
    }

    fn load(paths: &Paths) -> anyhow::Result<Self> {
        let path = Record::path(paths);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    fn save(&self, paths: &Paths) -> anyhow::Result<()> {
        let path = Record::path(paths);
        if self.changes.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).with_context(|| path.display().to_string())
                }
                _ => Ok(()),
            };
        }
        let text = serde_json::to_vec_pretty(self)?;
        config::write_private(&path, &text).with_context(|| path.display().to_string())
    }
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
    let value = if args.absolute {
        absolute_helper()?
    } else {
        "wit".to_owned()
    };
    let chain = chain(scope)?;
    let present = chain.iter().find(|helper| is_ours(helper)).cloned();
    let others: Vec<String> = chain
        .into_iter()
        .filter(|helper| !is_ours(helper))
        .collect();

    if args.dry_run {
        let commands = match present {
            Some(_) => Vec::new(),
            None => vec![format!(
                "git config {} --add credential.helper '{value}'",
                scope.option()
            )],
        };
        return print_commands(&commands, context);
    }

    // The store first: where it can't be reached, git stays as it was.
    let decided = choice::decide(&context.paths, args.store.as_deref())?;
    if let Some(name) = args.store {
        Config::update(&context.paths, |config| config.store = Some(name))?;
    }
    let added = present.is_none();
    if added {
        add(scope, &value, &context.paths)?;
    }
    let helper = present.unwrap_or(value);

    if context.json {
        let answer = serde_json::json!({
            "scope": scope,
            "helper": helper,
            "added": added,
            "store": decided.store.name(),
            "location": decided.store.location(),
            "other_helpers": others,
        });
        println!("{answer}");
        return Ok(Exit::Done);
    }
    if added {
        println!(
            "git now asks the helper {helper} for credentials ({} configuration).",
            scope.name()
        );
    } else {
        println!("git asks the helper {helper} already; nothing to change.");
    }
    println!(
        "Secrets lie in the {} store: {}",
        decided.store.name(),
        decided.store.location()
    );
    if !others.is_empty() {
        println!(
            "git asks these helpers before it, and hands each of them what worked: {}",
            others.join(", ")
        );
        if others
            .iter()
            .any(|helper| helper.split_whitespace().next() == Some("store"))
        {
            println!("The helper store keeps what it is handed in plain text.");
        }
    }
    if helper == "wit" && !helper_in_path() {
        eprintln!("wit: git-credential-wit is not in the PATH, so git will not find it");
        eprintln!("hint: wit setup --undo && wit setup --absolute");
    }
    Ok(Exit::Done)
}

/// Runs git and waits for it. It asks nobody anything: its stdin is empty.
fn git(args: &[&str]) -> anyhow::Result<Output> {
    Command::new("git")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Failure::new(Exit::Failed, format!("can't run git: {error}"))
                .hint("install git, for example: sudo apt-get install git")
                .into()
        })
}

/// What git said on stderr, as the reason of a failure.
fn refused(what: &str, output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr);
    Failure::new(
        Exit::Failed,
        format!("{what}: {}", said.trim().escape_debug()),
    )
}

/// The helpers that git would ask, in order, as far as this scope's configuration decides. An empty
/// value forgets those before it (gitcredentials(7)).
fn chain(scope: Scope) -> anyhow::Result<Vec<String>> {
    let output = git(&[
        "config",
        "--show-scope",
        "-z",
        "--get-all",
        "credential.helper",
    ])?;
    // 1: there is none.
    if !output.status.success() && output.status.code() != Some(1) {
        return Err(refused("can't read git's configuration", &output).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let fields: Vec<&str> = text.split('\0').collect();
    let mut helpers = Vec::new();
    for pair in fields.chunks_exact(2) {
        match (scope.comes_after(pair[0]), pair[1]) {
            (false, _) => {}
            (true, "") => helpers.clear(),
            (true, helper) => helpers.push(helper.to_owned()),
        }
    }
    Ok(helpers)
}

/// Whether this value of `credential.helper` runs our helper, whatever its options.
fn is_ours(helper: &str) -> bool {
    let program = helper.split_whitespace().next().unwrap_or_default();
    program == "wit" || program.rsplit('/').next() == Some("git-credential-wit")
}

/// The helper beside this program, written so that git's shell takes it as one word.
fn absolute_helper() -> anyhow::Result<String> {
    let program = std::env::current_exe().context("can't tell where wit itself lies")?;
    let helper = program.with_file_name(format!(
        "git-credential-wit{}",
        std::env::consts::EXE_SUFFIX
    ));
    if !helper.is_file() {
        let message = format!("{} is not there", helper.display());
        return Err(Failure::new(Exit::Failed, message)
            .hint("./install.sh")
            .into());
    }
    let path = helper.to_str().context("the helper's path is not UTF-8")?;
    // Not in quotes: git takes a value for a path by its first character.
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
    Ok(path
        .chars()
        .flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c]))
        .collect())
}

fn helper_in_path() -> bool {
    let name = format!("git-credential-wit{}", std::env::consts::EXE_SUFFIX);
    config::variable("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(&name).is_file()))
}

/// Has git add the line, and records it for `--undo`.
fn add(scope: Scope, value: &str, paths: &Paths) -> anyhow::Result<()> {
    // git can't list a file that is not there.
    let made_file = !git(&["config", scope.option(), "--list"])?.status.success();
    let output = git(&[
        "config",
        scope.option(),
        "--add",
        "credential.helper",
        value,
    ])?;
    if !output.status.success() {
        let failure = refused("git did not change its configuration", &output);
        return Err(match scope {
            Scope::System => failure.hint("sudo wit setup --system").into(),
            _ => failure.into(),
        });
    }
    let file = written_file(scope)?;
    let mut record = Record::load(paths)?;
    record.changes.push(Change {
        scope,
        file,
        made_file,
        value: value.to_owned(),
    });
    record.save(paths)
}

/// The file that holds the scope's last `credential.helper`.
fn written_file(scope: Scope) -> anyhow::Result<PathBuf> {
    if scope == Scope::Local {
        // `--show-origin` would name it relative to the top of the working tree.
        return local_file();
    }
    let output = git(&[
        "config",
        scope.option(),
        "--show-origin",
        "-z",
        "--get-all",
        "credential.helper",
    ])?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split('\0')
        .filter_map(|field| field.strip_prefix("file:"))
        .next_back()
        .map(PathBuf::from)
        .context("git does not say which file it changed")
}

fn local_file() -> anyhow::Result<PathBuf> {
    let output = git(&["rev-parse", "--path-format=absolute", "--git-common-dir"])?;
    if !output.status.success() {
        return Err(refused("this directory is in no repository", &output).into());
    }
    let dir = String::from_utf8(output.stdout).context("the repository's path is not UTF-8")?;
    Ok(Path::new(dir.trim_end_matches('\n')).join("config"))
}

/// Takes back what this program added to the scope's configuration, and only that.
fn undo(scope: Scope, dry_run: bool, context: &Context) -> anyhow::Result<Exit> {
    let record = Record::load(&context.paths)?;
    let local = match scope {
        Scope::Local => Some(local_file()?),
        _ => None,
    };
    let (ours, kept): (Vec<Change>, Vec<Change>) = record.changes.into_iter().partition(|change| {
        change.scope == scope && local.as_ref().is_none_or(|file| *file == change.file)
    });
    if dry_run {
        let commands: Vec<String> = ours
            .iter()
            .map(|change| {
                let (file, value) = (change.file.display(), &change.value);
                format!("git config --file '{file}' --fixed-value --unset-all credential.helper '{value}'")
            })
            .collect();
        return print_commands(&commands, context);
    }
    for change in &ours {
        take_back(change)?;
    }
    Record { changes: kept }.save(&context.paths)?;
    if context.json {
        let values: Vec<&str> = ours.iter().map(|change| change.value.as_str()).collect();
        println!(
            "{}",
            serde_json::json!({ "scope": scope, "removed": values })
        );
    } else if ours.is_empty() {
        println!(
            "wit setup has added nothing to the {} configuration; nothing to take back.",
            scope.name()
        );
    } else {
        for change in &ours {
            println!(
                "git no longer asks the helper {} ({}).",
                change.value,
                change.file.display()
            );
        }
        println!("Secrets that were stored stay where they are.");
    }
    Ok(Exit::Done)
}

fn take_back(change: &Change) -> anyhow::Result<()> {
    if !change.file.exists() {
        return Ok(());
    }
    let file = change
        .file
        .to_str()
        .context("the path of git's configuration is not UTF-8")?;
    let output = git(&[
        "config",
        "--file",
        file,
        "--fixed-value",
        "--unset-all",
        "credential.helper",
        &change.value,
    ])?;
    // 5: somebody has removed it already.
    if !output.status.success() && output.status.code() != Some(5) {
        return Err(refused("git did not change its configuration", &output).into());
    }
    let empty = || fs::read_to_string(&change.file).is_ok_and(|text| text.trim().is_empty());
    if change.made_file && empty() {
        fs::remove_file(&change.file).with_context(|| change.file.display().to_string())?;
    }
    Ok(())
}

fn print_commands(commands: &[String], context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        println!("{}", serde_json::json!({ "commands": commands }));
    } else if commands.is_empty() {
        println!("# nothing to change");
    } else {
        for command in commands {
            println!("{command}");
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn our_helper_is_known_by_its_name_and_by_its_path_whatever_its_options() {
        for ours in [
            "wit",
            "wit --store file",
            "/usr/bin/git-credential-wit",
            "/a/git-credential-wit --store file",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in ["", "store", "wits", "/usr/bin/wit", "!wit", "manager"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
