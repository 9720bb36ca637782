//! `wit import`: brings in what another helper keeps, and leaves that as it is.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::output::{self, escaped, quoted};
use super::{Context, Exit, Failure};
use crate::config::Paths;
use crate::credential::Site;
use crate::import::{self, Fate, Findings, Found, OtherEncoding};
use crate::progress;
use crate::secret::Secret;
#[cfg(target_os = "linux")]
use crate::store::StoreError;
use crate::store::{self, Store, select};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where from
    #[arg(value_enum)]
    source: Source,
    /// Another file than the usual one; may be repeated
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Say what would be taken
    #[arg(long)]
    dry_run: bool,
    /// Replace what is kept where its secret differs
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Source {
    /// The files of git's helper `store`
    Store,
    /// The keyring items of git's helper `libsecret`
    Libsecret,
    /// ~/.netrc
    Netrc,
    /// Git Credential Manager: plain files, files of pass, the keyring
    Gcm,
    /// The accounts of GitHub's `gh`
    Gh,
    /// The accounts of GitLab's `glab`
    Glab,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let without_file = match args.source {
        Source::Libsecret => Some(("libsecret keeps no file", "wit import libsecret")),
        Source::Gcm => Some(("Git Credential Manager keeps many files", "wit import gcm")),
        _ => None,
    };
    if let Some((message, hint)) = without_file.filter(|_| !args.file.is_empty()) {
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    }
    let (findings, files) = read(&args)?;
    let store = match args.dry_run {
        true => select::open(&context.paths, None)?,
        false => select::decide(&context.paths, None)?.store,
    };
    // What is put last is answered first: the source's first.
    let kept = progress::during("Taking credentials over", || {
        let from_last = findings.found.iter().rev();
        let fates =
            from_last.map(|found| Ok((found, keep(&args, store.as_ref(), found, context)?)));
        fates.collect::<anyhow::Result<Vec<_>>>()
    });
    let mut done = kept?;
    done.reverse();
    let differing = done
        .iter()
        .filter(|(_, fate)| *fate == Fate::Differs)
        .count();
    let left = differing + findings.skipped.len();
    let report = Report {
        done,
        findings: &findings,
        location: store.location(),
        dry_run: args.dry_run,
    };
    if context.json {
        output::json(&report.json())?;
    } else {
        let mut text = report.text();
        if !args.dry_run && !findings.found.is_empty() {
            text.push_str(&match left {
                0 => farewell(args.source, &files, &findings),
                1 => "1 entry was not imported.\n".into(),
                _ => format!("{left} entries were not imported.\n"),
            });
        }
        output::print(text.as_bytes())?;
    }
    Ok(match differing {
        0 => Exit::Done,
        _ => Exit::Attention,
    })
}

fn read(args: &Args) -> anyhow::Result<(Findings, Vec<PathBuf>)> {
    let usual = |path: Option<PathBuf>| path.into_iter().collect::<Vec<_>>();
    let (usual, parse): (_, fn(&str, &[u8], &mut Findings)) = match args.source {
        Source::Store => (Paths::git_credentials(), import::git_store::read),
        Source::Netrc => (Paths::netrc(), import::netrc::read),
        Source::Gh => (usual(Paths::gh_hosts()), gh),
        Source::Glab => (usual(Paths::glab_config()), glab),
        Source::Libsecret => return Ok((libsecret()?, Vec::new())),
        Source::Gcm => return Ok((gcm()?, Vec::new())),
    };
    let named = !args.file.is_empty();
    let mut findings = Findings::default();
    let mut files = Vec::new();
    for path in if named { &args.file } else { &usual } {
        match content(path) {
            Ok(text) => {
                let text = import::without_mark(&text)
                    .map_err(|error| unread(&args.source, path, error))?;
                if matches!(args.source, Source::Gh | Source::Glab)
                    && !import::cli_hosts::is_readable(text)
                {
                    let message = format!("{} is no file of gh or glab", path.display());
                    return Err(Failure::new(Exit::Failed, message)
                        .hint("gh has its accounts in hosts.yml, glab in config.yml")
                        .into());
                }
                parse(&path.display().to_string(), text, &mut findings);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("can't read {}", path.display()));
            }
        }
        files.push(path.clone());
    }
    if files.is_empty() {
        let usual: Vec<String> = usual
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let message = format!("there is no {}", usual.join(", nor "));
        return Err(Failure::new(Exit::Failed, message)
            .hint("name the file with --file FILE")
            .into());
    }
    Ok((findings, files))
}

/// A file in another encoding is not read in part: what looks right there may be half of a password.
fn unread(source: &Source, path: &Path, error: OtherEncoding) -> Failure {
    let name = match source {
        Source::Netrc => "netrc",
        Source::Gh => "gh",
        Source::Glab => "glab",
        _ => "store",
    };
    Failure::new(
        Exit::Failed,
        format!(
            "can't read {}: {error}; nothing was imported",
            path.display()
        ),
    )
    .hint(format!(
        "iconv -f {} -t UTF-8 {} | wit import {name} --file /dev/stdin",
        error.name,
        quoted(path)
    ))
}

fn gh(name: &str, text: &[u8], findings: &mut Findings) {
    import::cli_hosts::gh(name, text, &in_keyring, findings);
}

fn glab(name: &str, text: &[u8], findings: &mut Findings) {
    import::cli_hosts::glab(name, text, &in_keyring, findings);
}

/// Password that go-keyring keeps for a service and a user.
#[cfg(target_os = "linux")]
fn in_keyring(service: &str, user: &str) -> Result<Option<Secret>, ()> {
    let wanted = [("service", service), ("username", user)];
    let items = progress::during("Waiting for the keyring", || {
        crate::store::secret_service::SecretService::new().items_with(&wanted)
    });
    let item = items.map_err(drop)?.into_iter().next();
    Ok(item.map(|item| item.secret))
}

#[cfg(not(target_os = "linux"))]
fn in_keyring(_service: &str, _user: &str) -> Result<Option<Secret>, ()> {
    Err(())
}

/// All that Git Credential Manager may have kept here, wherever it was told to.
fn gcm() -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    if let Some(dir) = Paths::gcm_store() {
        import::gcm::plain_files(&dir, &mut findings);
    }
    if let Some(dir) = Paths::password_store() {
        progress::during("Waiting for gpg", || {
            import::gcm::pass_files(&dir, &mut findings);
        });
    }
    #[cfg(target_os = "linux")]
    {
        let read = progress::during("Waiting for the keyring", || {
            import::gcm::keyring(&mut findings)
        });
        let has_files = !findings.found.is_empty() || !findings.skipped.is_empty();
        match read {
            // Without a desktop there is none, and it was told to use files.
            Err(StoreError::Unavailable { .. } | StoreError::TimedOut { .. }) if has_files => {}
            other => other.map_err(unread_keyring)?,
        }
    }
    if findings.found.is_empty() && findings.skipped.is_empty() {
        return Err(
            Failure::new(Exit::Failed, "Git Credential Manager keeps nothing here")
                .hint("what is in git's credential cache can't be listed: wit login URL")
                .into(),
        );
    }
    Ok(findings)
}

#[cfg(target_os = "linux")]
fn libsecret() -> anyhow::Result<Findings> {
    let read = progress::during("Waiting for the keyring", import::libsecret::read);
    read.map_err(unread_keyring)
}

/// It is the source that can't be reached; the store of our own may be another.
#[cfg(target_os = "linux")]
fn unread_keyring(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Unavailable { reason } => {
            Failure::new(Exit::Failed, format!("can't read the keyring: {reason}"))
                .hint("run it in the session of the desktop that has the keyring")
                .into()
        }
        other => other.into(),
    }
}

#[cfg(not(target_os = "linux"))]
fn libsecret() -> anyhow::Result<Findings> {
    Err(
        Failure::new(Exit::Failed, "there is no Secret Service on this system")
            .hint("wit import store, or wit import netrc")
            .into(),
    )
}

fn content(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut text = Zeroizing::new(Vec::with_capacity(length.min(MAX_FILE) as usize + 1));
    file.take(MAX_FILE + 1).read_to_end(&mut text)?;
    match text.len() as u64 > MAX_FILE {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is too large",
        )),
        false => Ok(text),
    }
}

fn keep(args: &Args, store: &dyn Store, found: &Found, context: &Context) -> anyhow::Result<Fate> {
    let take = |item: &mut _| import::take(item, &found.credential, args.force);
    Ok(match args.dry_run {
        true => take(&mut store::load(store, &found.site)?),
        false => store::update(store, &context.paths, &found.site, take)?,
    })
}

struct Report<'a> {
    done: Vec<(&'a Found, Fate)>,
    findings: &'a Findings,
    location: String,
    dry_run: bool,
}

impl Report<'_> {
    fn with(&self, fates: &[Fate]) -> Vec<&(&Found, Fate)> {
        let of_these = |done: &&(&Found, Fate)| fates.contains(&done.1);
        self.done.iter().filter(of_these).collect()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |words: String| {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{words}");
        };
        let taken = self.with(&[Fate::Taken, Fate::Replaced]);
        let s = if taken.len() == 1 { "" } else { "s" };
        line(match self.dry_run {
            true => format!("{} credential{s} would be imported.", taken.len()),
            false => format!(
                "Imported {} credential{s} into {}.",
                taken.len(),
                output::tilde(&self.location)
            ),
        });
        for (found, fate) in taken {
            let in_place = match fate {
                Fate::Replaced => "  (replaced)",
                _ => "",
            };
            line(format!("  {}{in_place}", in_words(found)));
        }
        let held = self.with(&[Fate::Held]).len();
        if held > 0 {
            line(format!("{held} already stored."));
        }
        for (found, _) in self.with(&[Fate::Differs]) {
            line(format!(
                "Skipped {}: another secret is stored for it; --force replaces it",
                in_words(found)
            ));
        }
        for skipped in &self.findings.skipped {
            line(format!(
                "Skipped {}: {}",
                escaped(&skipped.place),
                skipped.why
            ));
        }
        text
    }

    fn json(&self) -> Value {
        let entries: Vec<Value> = (self.done.iter())
            .map(|(found, fate)| {
                let text = |bytes: &Option<Vec<u8>>| {
                    bytes
                        .as_deref()
                        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                };
                json!({
                    "site": found.site.to_string(),
                    "username": text(&found.credential.username),
                    "path": text(&found.credential.path),
                    "result": match fate {
                        Fate::Taken => "taken",
                        Fate::Replaced => "replaced",
                        Fate::Held => "held",
                        Fate::Differs => "differs",
                    },
                })
            })
            .collect();
        let skipped: Vec<Value> = (self.findings.skipped.iter())
            .map(|skipped| json!({"place": skipped.place, "why": skipped.why}))
            .collect();
        json!({
            "dryRun": self.dry_run,
            "location": self.location,
            "credentials": entries,
            "skipped": skipped,
        })
    }
}

/// The site, path and username, without control characters.
fn in_words(found: &Found) -> String {
    let shown = |bytes: &Option<Vec<u8>>| {
        let text = bytes.as_deref().map(String::from_utf8_lossy);
        escaped(&text.unwrap_or_default())
    };
    let mut words = found.site.to_string();
    if found.credential.path.is_some() {
        let _ = write!(words, "/{}", shown(&found.credential.path));
    }
    let _ = write!(words, "  {}", shown(&found.credential.username));
    words
}

/// Commands that remove the source, which was left as it is.
fn farewell(source: Source, files: &[PathBuf], findings: &Findings) -> String {
    let mut text = String::from("The source is unchanged. To remove it:\n");
    match source {
        Source::Store => {
            for file in files {
                let _ = writeln!(text, "  rm {}", quoted(file));
            }
            text.push_str("  git config --global --unset-all credential.helper '^store( |$)'\n");
        }
        Source::Netrc => {
            let files: Vec<_> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            let _ = writeln!(
                text,
                "  remove the lines from {}; other programs read it too",
                files.join(", ")
            );
        }
        Source::Gh | Source::Glab => {
            let program = match source {
                Source::Gh => "gh",
                _ => "glab",
            };
            text = format!("{program} itself still uses them. To have git not ask it any more:\n");
            for site in sites(findings) {
                let key = quoted(format!("credential.{site}.helper"));
                let _ = writeln!(text, "  git config --global --unset-all {key}");
            }
        }
        Source::Gcm => {
            for site in sites(findings) {
                let lines = format!("protocol={}\\nhost={}\\n\\n", site.protocol(), site.host());
                let _ = writeln!(
                    text,
                    "  printf {} | git-credential-manager erase",
                    quoted(lines)
                );
            }
            text.push_str("  git-credential-manager unconfigure\n");
        }
        Source::Libsecret => {
            for site in sites(findings) {
                let (protocol, host) = (site.protocol(), site.host());
                let _ = writeln!(
                    text,
                    "  printf '%s\\n' {} {} | git credential-libsecret erase",
                    quoted(format!("protocol={protocol}")),
                    quoted(format!("host={host}"))
                );
            }
        }
    }
    text
}

/// The sites of what was found, each once.
fn sites(findings: &Findings) -> Vec<&Site> {
    let mut sites: Vec<_> = findings.found.iter().map(|found| &found.site).collect();
    sites.sort();
    sites.dedup();
    sites
}
