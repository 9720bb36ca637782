//! `wit import`: brings in what another helper keeps, and leaves that as it is.

use std::fmt::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::output::{self, escaped, lossy, quoted};
use super::{Context, Exit, Failure};
use crate::app::import::{self, ImportError};
use crate::credential::{AZURE, Site, use_http_path};
use crate::import::{Fate, Findings, Found};
use crate::store::select;

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
    let (findings, files) = import::read(args.source.into(), &args.file)
        .map_err(|error| failure(error, args.source))?;
    let store = match args.dry_run {
        true => select::open(&context.paths, None)?,
        false => select::decide(&context.paths, None)?.store,
    };
    let done = import::store(
        &context.paths,
        store.as_ref(),
        &findings,
        args.force,
        args.dry_run,
    )?;
    let differing = done
        .iter()
        .filter(|(_, fate)| *fate == Fate::Differs)
        .count();
    let lost = findings.skipped.iter().filter(|skipped| skipped.matters);
    let left = differing + lost.count();
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
            text.push_str(&accounts(&findings));
            text.push_str(&organizations(&findings));
        }
        output::print(text.as_bytes())?;
    }
    Ok(match differing {
        0 => Exit::Done,
        _ => Exit::Attention,
    })
}

impl From<Source> for import::Source {
    fn from(source: Source) -> Self {
        match source {
            Source::Store => import::Source::Store,
            Source::Libsecret => import::Source::Libsecret,
            Source::Netrc => import::Source::Netrc,
            Source::Gcm => import::Source::Gcm,
            Source::Gh => import::Source::Gh,
            Source::Glab => import::Source::Glab,
        }
    }
}

fn failure(error: ImportError, source: Source) -> anyhow::Error {
    let hint = match &error {
        ImportError::Encoding(path, encoding) => {
            let name = match source {
                Source::Netrc => "netrc",
                Source::Gh => "gh",
                Source::Glab => "glab",
                _ => "store",
            };
            let (from, path) = (encoding.name, quoted(path));
            format!("iconv -f {from} -t UTF-8 {path} | wit import {name} --file /dev/stdin")
        }
        ImportError::NotOfCli(_) => {
            "gh has its accounts in hosts.yml, glab in config.yml".to_owned()
        }
        ImportError::NoFile(_) => "name the file with --file FILE".to_owned(),
        ImportError::NothingOfGcm {
            keyring: Some(_), ..
        } => "run it in the session of the desktop that has the keyring".to_owned(),
        ImportError::NothingOfGcm { .. } => {
            "what is in git's credential cache can't be listed: wit login URL".to_owned()
        }
        ImportError::Keyring(_) => {
            "run it in the session of the desktop that has the keyring".to_owned()
        }
        ImportError::NoSecretService => "wit import store, or wit import netrc".to_owned(),
        ImportError::Read(..) | ImportError::Store(_) => return error.into(),
    };
    Failure::new(Exit::Failed, error.to_string())
        .hint(hint)
        .caused_by(error)
        .into()
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
            let instead = skipped.sign_in.as_ref();
            let instead = instead.map(|url| format!("; to sign in: wit login {}", quoted(url)));
            line(format!(
                "Skipped {}: {}{}",
                escaped(&skipped.place),
                escaped(&skipped.why),
                instead.unwrap_or_default()
            ));
        }
        text
    }

    fn json(&self) -> Value {
        let entries: Vec<Value> = (self.done.iter())
            .map(|(found, fate)| {
                json!({
                    "site": found.site.to_string(),
                    "username": lossy(&found.credential.username),
                    "path": lossy(&found.credential.path),
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
            .map(|skipped| {
                json!({"place": skipped.place, "why": skipped.why, "signIn": skipped.sign_in})
            })
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
    let shown = |bytes| escaped(&lossy(bytes).unwrap_or_default());
    let mut words = found.site.to_string();
    if found.credential.path.is_some() {
        let _ = write!(words, "/{}", shown(&found.credential.path));
    }
    let _ = write!(words, "  {}", shown(&found.credential.username));
    words
}

/// Commands that choose among the accounts of a site, where there are several: the first of the source
/// answers git otherwise.
fn accounts(findings: &Findings) -> String {
    let mut text = String::new();
    for site in sites(findings) {
        let of_site = |found: &&Found| found.site == *site && found.credential.path.is_none();
        let names: Vec<_> = (findings.found.iter().filter(of_site))
            .filter_map(|found| lossy(&found.credential.username))
            .collect();
        if let [first, _, ..] = names.as_slice() {
            let key = quoted(format!("credential.{site}.username"));
            let first = escaped(first);
            let _ = writeln!(
                text,
                "Of {site} git is given the account {first}. To choose:"
            );
            for name in names {
                let _ = writeln!(text, "  git config --global {key} {}", quoted(name));
            }
        }
    }
    text
}

/// The command that has git say which organization of Azure DevOps it asks for.
fn organizations(findings: &Findings) -> String {
    let azure = sites(findings)
        .into_iter()
        .find(|site| site.host() == AZURE);
    let command = azure.map(use_http_path);
    let what = "For git to say which organization of Azure DevOps it asks for:";
    command.map_or(String::new(), |command| format!("{what}\n  {command}\n"))
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
            for found in &findings.found {
                let _ = writeln!(
                    text,
                    "  printf '%s\\n' {} | git-credential-manager erase",
                    erased_by_gcm(found)
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

/// The request by which Git Credential Manager erases an entry, as words for printf(1).
fn erased_by_gcm(found: &Found) -> String {
    let username = lossy(&found.credential.username);
    // Its username there is the person's, and ours the organization's.
    let username = username.filter(|_| found.site.host() != AZURE);
    let lines = [
        ("protocol", Some(found.site.protocol().to_owned())),
        ("host", Some(found.site.host().to_owned())),
        ("path", lossy(&found.credential.path)),
        ("username", username),
    ];
    let words = lines
        .into_iter()
        .filter_map(|(name, value)| Some(quoted(format!("{name}={}", value?))));
    words.collect::<Vec<_>>().join(" ")
}

/// The sites of what was found, each once.
fn sites(findings: &Findings) -> Vec<&Site> {
    let mut sites: Vec<_> = findings.found.iter().map(|found| &found.site).collect();
    sites.sort();
    sites.dedup();
    sites
}
