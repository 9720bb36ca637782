//! Deciding what has to change so that git runs our helper, and making sure that it then does.

use std::path::{Path, PathBuf};

use super::chain::{self, ANY_SITE};
use super::change::Change;
use super::edit::{self, Addition, Replacement};
use super::error::Error;
use super::helper::{PORTABLE, first_word, in_path, is_ours, is_stale};
use super::scope::{Place, Scope};
use crate::config;
use crate::quote::quoted;

/// The changes that have git run our helper.
#[derive(Debug)]
pub struct Plan {
    scope: Scope,
    stale: Vec<Replacement>,
    targets: Vec<Target>,
}

impl Plan {
    /// For every one of `hosts`, with `None` for all sites, under the name `value`. Fails where git
    /// would not run the helper whatever this scope says.
    pub fn make(scope: Scope, hosts: Vec<Option<String>>, value: &str) -> Result<Self, Error> {
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
        let targets = hosts
            .into_iter()
            .map(|host| Target::find(scope, host, value, &configured))
            .collect::<Result<_, Error>>()?;
        Ok(Plan {
            scope,
            stale,
            targets,
        })
    }

    /// The configuration file that is changed.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The sites, in the order in which they were named.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The values of ours that lead nowhere any more, and are replaced.
    pub fn replaced(&self) -> impl Iterator<Item = &str> {
        self.stale.iter().map(Replacement::old)
    }

    /// Returns whether git runs the helper already.
    pub fn changes_nothing(&self) -> bool {
        self.stale.is_empty() && self.targets.iter().all(|target| target.addition.is_none())
    }

    /// Returns whether git runs the helper for a site because of this plan.
    pub fn is_new(&self, target: &Target) -> bool {
        let key = chain::key(target.host.as_deref());
        target.addition.is_some() || self.stale.iter().any(|stale| stale.key() == key)
    }

    /// Equivalent shell commands.
    pub fn commands(&self) -> Result<Vec<String>, Error> {
        let mut commands: Vec<String> = self.stale.iter().map(Replacement::command).collect();
        let additions = self
            .targets
            .iter()
            .filter_map(|target| target.addition.as_ref());
        for addition in additions {
            commands.extend(addition.commands()?);
        }
        Ok(commands)
    }

    /// Makes all changes, or none: what was made is taken back where git, asked afterwards, would
    /// not run the helper. `changes` are those that were made before, and get the new ones; `save`
    /// writes them down, before each change of a file.
    pub fn carry_out(&self, changes: &mut Vec<Change>, save: &Save<'_>) -> Result<(), Error> {
        if self.changes_nothing() {
            return Ok(());
        }
        let before = changes.clone();
        let done = self.changed(changes, save);
        if done.is_err() {
            let made = std::mem::replace(changes, before);
            for change in made.iter().rev() {
                if !changes.contains(change) {
                    edit::take_back(change, &change.file)?;
                }
            }
            save(changes)?;
        }
        done
    }

    fn changed(&self, changes: &mut Vec<Change>, save: &Save<'_>) -> Result<(), Error> {
        for stale in &self.stale {
            stale.make(changes, save)?;
        }
        for target in &self.targets {
            let Some(addition) = &target.addition else {
                continue;
            };
            add(addition, changes, save)?;
            let Err(error) = target.check(self.scope) else {
                continue;
            };
            let Some(last) = addition.clone().at_end() else {
                return Err(error);
            };
            // Behind whatever the file includes it may be asked.
            if let Some(change) = changes.pop() {
                edit::take_back(&change, &change.file)?;
            }
            save(changes)?;
            add(&last, changes, save)?;
            target.check(self.scope)?;
        }
        Ok(())
    }
}

/// Writes down the changes that remain to be taken back.
pub type Save<'a> = dyn Fn(&[Change]) -> Result<(), Error> + 'a;

fn add(addition: &Addition, changes: &mut Vec<Change>, save: &Save<'_>) -> Result<(), Error> {
    let before = changes.len();
    let made = addition.make(|change| {
        changes.push(change);
        save(changes)
    });
    if made.is_err() {
        changes.truncate(before);
        save(changes)?;
    }
    made
}

/// A site, or all of them, for which git is to run our helper.
#[derive(Debug)]
pub struct Target {
    host: Option<String>,
    helper: String,
    /// `None` where git runs our helper already.
    addition: Option<Addition>,
}

/// The helpers that git runs for a site.
#[derive(Debug)]
pub struct Now {
    /// Those before ours.
    pub before: Vec<String>,
    /// Those before and behind ours.
    pub others: Vec<String>,
    /// The URLs with settings of their own that keep git from running ours first.
    pub exceptions: Vec<Exception>,
    /// Files that git reads in some places only, and that name helpers.
    pub conditional: Vec<chain::Conditional>,
    /// True if git finds ours, as far as that can be told.
    pub is_found: bool,
}

/// A URL whose own settings have git run other helpers before ours, or instead of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// A URL that the settings are for.
    pub url: String,
    /// The helpers before ours, or those instead of it.
    pub helpers: Vec<String>,
    /// True if git runs ours behind them.
    pub is_asked: bool,
    /// The command that has git run ours first.
    pub fix: String,
}

impl Target {
    fn find(
        scope: Scope,
        host: Option<String>,
        value: &str,
        configured: &[(Place, Vec<chain::Entry>)],
    ) -> Result<Self, Error> {
        let url = host.as_deref().unwrap_or(ANY_SITE);
        let mut present = Vec::new();
        let mut matching: Vec<&chain::Entry> = Vec::new();
        for (place, entries) in configured {
            let run = chain::run_for(entries, url, *place)?;
            let run = run.into_iter().filter_map(|at| entries.get(at));
            // For one host a setting of its own is wanted, with no helper but ours.
            let key = host.as_deref().map(|host| chain::key(Some(host)));
            let is_meant = |entry: &chain::Entry| key.as_ref().is_none_or(|key| entry.key == *key);
            let is_first = |entry: &&chain::Entry| key.is_none() || is_ours(&entry.value);
            let ours = run
                .take_while(is_first)
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
        Ok(Target {
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
    fn check(&self, scope: Scope) -> Result<(), Error> {
        for place in scope.places() {
            let entries = chain::entries(*place)?;
            let run = chain::run_for(&entries, self.url(), *place)?;
            let mut run = run.into_iter().filter_map(|at| entries.get(at));
            let key = chain::key(self.host.as_deref());
            if run.any(|entry| entry.value == self.helper && entry.key == key) {
                continue;
            }
            let file = scope.file()?;
            let ours = |entry: &&chain::Entry| entry.value == self.helper && entry.key == key;
            return Err(match entries.iter().rfind(ours) {
                Some(_) => match last_reset(&entries, self.url(), *place)? {
                    Some(reset) => blocked(reset, &entries, self.host.as_deref()),
                    None => Error::NotRun(file),
                },
                None => unread(file, scope),
            });
        }
        Ok(())
    }

    /// The site; `None` for all of them.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The value that names our helper.
    pub fn helper(&self) -> &str {
        &self.helper
    }

    /// Current behaviour of git, by its own answer.
    pub fn now(&self) -> Result<Now, Error> {
        let entries = chain::entries(Place::Here)?;
        let run = chain::run_for(&entries, self.url(), Place::Here)?;
        let chain = run.into_iter().filter_map(|at| entries.get(at));
        let chain: Vec<String> = chain.map(|entry| entry.value.clone()).collect();
        let at = chain.iter().position(|helper| is_ours(helper));
        let (before, after) = chain.split_at(at.unwrap_or(chain.len()));
        let others = before.iter().chain(after.iter().skip(1));
        let others = others.filter(|helper| !is_ours(helper));
        let mut exceptions = exceptions_among(&entries)?;
        let mut conditional = Vec::new();
        match &self.host {
            // Settings for a path below it.
            Some(host) => {
                let below = format!("{host}/");
                exceptions.retain(|exception| exception.url.starts_with(&below));
            }
            None => conditional = chain::conditional(&entries)?,
        }
        Ok(Now {
            others: others.cloned().collect(),
            exceptions,
            conditional,
            is_found: first_word(&self.helper) != PORTABLE
                || in_path("git-credential-wit").is_some(),
            before: before.to_vec(),
        })
    }
}

/// Returns whether a value runs our helper, as far as that can be told.
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
) -> Result<(), Error> {
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
        Some(reset) => Err(blocked(reset, entries, host)),
        None => Ok(()),
    }
}

/// The last value that resets the helpers for a URL.
fn last_reset<'a>(
    entries: &'a [chain::Entry],
    url: &str,
    place: Place,
) -> Result<Option<&'a chain::Entry>, Error> {
    let matching = chain::matching(entries, url, place)?.into_iter();
    let mut matching = matching.rev().filter_map(|at| entries.get(at));
    Ok(matching.find(|entry| entry.is_reset()))
}

/// That a reset which git reads later forgets whatever could be added.
fn blocked(reset: &chain::Entry, all: &[chain::Entry], host: Option<&str>) -> Error {
    let host = host.map(|host| format!(" --host {}", quoted(host)));
    let host = host.unwrap_or_default();
    let fix = match (reset.scope.as_str(), &reset.file) {
        ("global", _) => format!("wit setup{host}"),
        ("local", _) => format!("wit setup --local{host}"),
        (_, Some(file)) => format!(
            "git config --file {} --fixed-value --unset-all {} ''",
            quoted(file),
            quoted(&reset.key)
        ),
        (_, None) => format!("unset {}", chain::environment()),
    };
    Error::Reset {
        place: reset.place(all),
        key: reset.key.clone(),
        fix,
    }
}

/// That git does not read the file that was written.
fn unread(file: PathBuf, scope: Scope) -> Error {
    let variable = match scope {
        Scope::System if config::variable("GIT_CONFIG_NOSYSTEM").is_some() => "GIT_CONFIG_NOSYSTEM",
        Scope::System => "GIT_CONFIG_SYSTEM",
        _ => "GIT_CONFIG_GLOBAL",
    };
    Error::Unread { file, variable }
}

/// The URLs with settings of their own for which git does not run our helper, or others before it.
/// None where git runs ours for no other site either.
pub fn exceptions(entries: &[chain::Entry]) -> Result<Vec<Exception>, Error> {
    match chain::runs_ours(entries, ANY_SITE)? {
        true => exceptions_among(entries),
        false => Ok(Vec::new()),
    }
}

fn exceptions_among(entries: &[chain::Entry]) -> Result<Vec<Exception>, Error> {
    let patterns = chain::patterns(entries);
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let (everywhere, _) = split(entries, chain::run_for(entries, ANY_SITE, Place::Here)?);
    let mut exceptions = Vec::new();
    for pattern in patterns {
        let url = chain::example(pattern);
        let (mut before, is_asked) = split(entries, chain::run_for(entries, &url, Place::Here)?);
        if is_asked {
            // Those that run first for every site are told once.
            before.retain(|at| !everywhere.contains(at));
        }
        if is_asked && before.is_empty() {
            continue;
        }
        let helpers = before.iter().filter_map(|at| entries.get(*at));
        exceptions.push(Exception {
            helpers: helpers.map(|entry| entry.value.clone()).collect(),
            fix: match site(&url) {
                Some(host) if !pattern.contains('*') => setup(entries, Some(&host))?,
                _ => without(entries, pattern),
            },
            is_asked,
            url,
        });
    }
    Ok(exceptions)
}

/// Indexes of those before ours, or all where ours is not among them.
fn split(entries: &[chain::Entry], run: Vec<usize>) -> (Vec<usize>, bool) {
    let is_ours = |at: &usize| entries.get(*at).is_some_and(|entry| is_ours(&entry.value));
    let is_asked = run.iter().any(is_ours);
    let before = run.into_iter().take_while(|at| !is_ours(at)).collect();
    (before, is_asked)
}

/// The site of a URL without a path, as `wit setup --host` takes it; `None` where it has one.
fn site(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next()?;
    (path.is_empty() && !host.is_empty()).then(|| format!("{scheme}://{host}"))
}

/// The commands that take the helpers of a pattern out of their files.
fn without(entries: &[chain::Entry], pattern: &str) -> String {
    let mut commands: Vec<String> = Vec::new();
    for entry in entries
        .iter()
        .filter(|entry| entry.pattern() == Some(pattern))
    {
        let command = match &entry.file {
            // It may hold a password.
            Some(file) if pattern.contains('@') => {
                format!("git config --file {} --edit", quoted(file))
            }
            Some(file) => format!(
                "git config --file {} --unset-all {}",
                quoted(file),
                quoted(&entry.key)
            ),
            None => format!("unset {}", chain::environment()),
        };
        if !commands.contains(&command) {
            commands.push(command);
        }
    }
    commands.join(" && ")
}

/// The sites for which git runs no helper at all.
#[derive(Debug, Default)]
pub struct Unhelped {
    /// The URLs with settings of their own, and `None` for all others.
    pub urls: Vec<Option<String>>,
    /// The helpers that are configured, for whichever URL.
    pub configured: Vec<String>,
}

/// Finds the sites for which git runs no helper.
pub fn without_helper() -> Result<Unhelped, Error> {
    let entries = chain::entries(Place::Here)?;
    let patterns = chain::patterns(&entries).into_iter();
    let urls = patterns.map(|pattern| Some(chain::example(pattern)));
    let mut without = Vec::new();
    for url in std::iter::once(None).chain(urls) {
        let asked = url.as_deref().unwrap_or(ANY_SITE);
        if chain::run_for(&entries, asked, Place::Here)?.is_empty() {
            without.push(url);
        }
    }
    Ok(Unhelped {
        urls: without,
        configured: entries.into_iter().map(|entry| entry.value).collect(),
    })
}

/// The command that has git ask our helper about `url`, or ends what keeps it from that.
pub fn fix(url: &str) -> Result<String, Error> {
    let entries = chain::entries(Place::Here)?;
    // Where every other site has it, this one has settings of its own.
    let host = chain::runs_ours(&entries, ANY_SITE)?.then_some(url);
    setup(&entries, host)
}

/// The command that has git ask our helper about `url`, and no other before it.
pub fn fix_order(url: &str) -> Result<String, Error> {
    setup(&chain::entries(Place::Here)?, Some(url))
}

fn setup(entries: &[chain::Entry], host: Option<&str>) -> Result<String, Error> {
    let option = host.map(|url| format!(" --host {}", quoted(url)));
    let option = option.unwrap_or_default();
    let tried = [(Scope::Global, ""), (Scope::Local, " --local")];
    for (scope, name) in tried {
        let is_there = scope == Scope::Global || scope.file().is_ok();
        let reached = || reaches(scope, host, entries, host.unwrap_or(ANY_SITE), Place::Here);
        if is_there && reached().is_ok() {
            return Ok(format!("wit setup{name}{option}"));
        }
    }
    let reset = last_reset(entries, host.unwrap_or(ANY_SITE), Place::Here)?;
    let fix = reset.and_then(|reset| blocked(reset, entries, host).fix());
    Ok(fix.unwrap_or_else(|| format!("wit setup{option}")))
}

/// A place where a configuration file still names our helper.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// Its file and line.
    pub place: String,
    /// The command that takes it out.
    pub fix: String,
}

/// Places where the scope names our helper.
pub fn left(scope: Scope) -> Result<Vec<Left>, Error> {
    let mut left = Vec::new();
    for place in scope.places() {
        let entries = chain::entries(*place)?;
        let ours = entries
            .iter()
            .filter(|entry| entry.scope == scope.name() && is_ours(&entry.value));
        for entry in ours {
            let file = entry.file.as_deref().unwrap_or(Path::new(""));
            let found = Left {
                place: entry.place(&entries),
                fix: format!(
                    "git config --file {} --fixed-value --unset-all {} {}",
                    quoted(file),
                    quoted(&entry.key),
                    quoted(&entry.value)
                ),
            };
            if !left.contains(&found) {
                left.push(found);
            }
        }
    }
    Ok(left)
}
