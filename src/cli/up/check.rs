//! `wit up check`: what is wrong with the data of a server.

use std::fmt::Write;
use std::fs::File;

use anyhow::Context as _;
use serde_json::json;

use super::Place;
use crate::cli::output;
use crate::cli::{Context, Exit};
use crate::config;
use crate::database::Database;
use crate::platform::check::{self, Finding, Kind, Subject};
use crate::platform::sqlite_file;
use crate::progress;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Skip the objects of the repositories, which take long to read
    #[arg(long)]
    quick: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let data_dir = args.place.data_dir(context)?;
    super::require_owner(&data_dir)?;
    let repositories = args.place.repositories(&data_dir)?;
    if config::variable("DATABASE_URL").is_some() {
        super::require_data_of_postgres(&data_dir, args.place.repositories.as_deref())?;
    }
    let runtime = super::runtime()?;
    let url = config::variable("DATABASE_URL");
    let checked = progress::during("Checking the server's data", || {
        runtime.block_on(async {
            let mut damage = None;
            let database = match &url {
                Some(url) => {
                    let opened = Database::connect_postgres(url).await;
                    Some(opened.context("can't open the database that DATABASE_URL names")?)
                }
                None => {
                    super::require_data(&data_dir, context)?;
                    let file = sqlite_file(&data_dir);
                    let failed = || format!("can't open {}", file.display());
                    // SQLite's own words for a file that may not be read are those for damage.
                    File::open(&file).with_context(failed)?;
                    match Database::connect_sqlite(&file).await {
                        Ok(database) => Some(database),
                        Err(error) => {
                            damage = Some(check::damage(&file, error).with_context(failed)?);
                            None
                        }
                    }
                }
            };
            let subject = Subject {
                data_dir: &data_dir,
                repositories: &repositories,
                database: database.as_ref(),
                is_sqlite: url.is_none(),
                quick: args.quick,
            };
            let (count, mut findings) = check::check(&subject).await?;
            findings.extend(damage);
            anyhow::Ok((count, findings))
        })
    });
    let (count, findings) = checked?;
    let exit = match findings.is_empty() {
        true => Exit::Done,
        false => Exit::Attention,
    };
    if context.json {
        output::json(&json!({
            "dataDir": data_dir,
            "repositories": count,
            "findings": findings.iter().map(document).collect::<Vec<_>>(),
        }))?;
        return Ok(exit);
    }
    let place = output::tilde(&data_dir.display().to_string());
    let mut text = format!("Checked {place} ({})\n", super::repositories(count));
    for finding in &findings {
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "\n{}\n  {}\n  fix: {}\n",
            output::escaped(&finding.path.to_string_lossy()),
            output::escaped(&finding.what),
            fix(finding.kind)
        );
    }
    if findings.is_empty() {
        text += "No problems found.\n";
    }
    output::print(text.as_bytes())?;
    Ok(exit)
}

fn document(finding: &Finding) -> serde_json::Value {
    json!({
        "kind": finding.kind,
        "path": finding.path,
        "what": finding.what,
        "fix": fix(finding.kind),
    })
}

fn fix(kind: Kind) -> &'static str {
    match kind {
        Kind::Database | Kind::Repository => {
            "restore a backup into another directory, and compare: wit up restore FILE --data-dir DIR"
        }
        Kind::MissingDirectory => {
            "restore it from a backup, or have its owner delete it: wit repo delete NAME; where the \
             repositories are elsewhere, name their directory: --repositories DIR"
        }
        Kind::Unreferenced => "look what it is, then remove it",
        Kind::Leftover => "remove it; the server does so once it is sure that nobody uses it",
        Kind::Permissions => "chmod go= and chown, as of the data directory",
    }
}
