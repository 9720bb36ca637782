//! `wit up backup`: one archive of a server.

mod unfinished;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::Place;
use crate::cli::output;
use crate::cli::{Context, Exit, Failure};
use crate::expiry::UnixTime;
use crate::platform::archive;
use crate::platform::backup::{self, Source, Summary};
use crate::platform::layout;
use crate::progress;
use crate::quote::Hint;
use crate::system;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The archive to write, readable by you alone, which may replace an earlier backup; - means stdout
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Leave the database out, which is in PostgreSQL: dump it first, with pg_dump
    #[arg(long)]
    repositories_only: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let data_dir = args.place.data_dir(context)?;
    let command = |words| args.place.command(words, &data_dir, context);
    if !args.repositories_only {
        let backup = command("wit up backup")?.args(["--repositories-only", "FILE"]);
        let dump = Hint::from("pg_dump --format=custom --file=wit.dump, then ");
        super::require_sqlite(dump.command(&backup))?;
    }
    super::require_owner(&data_dir)?;
    let repositories = args.place.repositories(&data_dir)?;
    match args.repositories_only {
        true if !repositories.is_dir() => {
            return Err(super::no_data(&repositories, command("wit up")?.into()));
        }
        true => {}
        false => super::require_data(&data_dir, context)?,
    }
    let source = Source {
        data_dir: data_dir.clone(),
        repositories: repositories.clone(),
        repositories_only: args.repositories_only,
    };
    let runtime = super::runtime()?;
    let write = |out: &mut dyn Write| -> anyhow::Result<Summary> {
        progress::during("Writing the backup", || {
            let writing = backup::write(&source, out, UnixTime::now());
            Ok(runtime.block_on(writing)?.0)
        })
    };
    if args.file == Path::new("-") {
        if io::stdout().is_terminal() {
            return Err(
                Failure::new(Exit::Usage, "a backup can't be written to a terminal")
                    .hint(command("wit up backup")?.arg("FILE"))
                    .into(),
            );
        }
        let summary = write(&mut BufWriter::new(io::stdout().lock()))
            .with_context(|| format!("can't back up {} to stdout", data_dir.display()))?;
        warn(&summary);
        return Ok(exit(&summary));
    }
    let file = destination(&args.file)?;
    let directory = file.parent().unwrap_or(Path::new("/"));
    let failed = || format!("can't write {}", args.file.display());
    let mut temporary = unfinished::create(&file).with_context(failed)?;
    let mut archive = BufWriter::new(Blamed::new(temporary.as_file_mut()));
    let written = write(&mut archive);
    let summary = written.with_context(|| match archive.get_ref().has_failed {
        true => failed(),
        false => format!("can't back up {}", data_dir.display()),
    })?;
    drop(archive);
    temporary.as_file().sync_all().with_context(failed)?;
    let size = temporary.as_file().metadata()?.len();
    // The last good backup is worth more than one that lacks something.
    let file = match summary.is_whole() {
        true => file.clone(),
        false => incomplete(&file),
    };
    system::put_in_place(temporary, &file).with_context(failed)?;
    system::sync_dir(directory).with_context(failed)?;
    warn(&summary);
    if context.json {
        let damaged = summary.damaged.iter();
        let damaged: Vec<_> = damaged
            .map(|(id, what)| json!({ "id": id, "what": what }))
            .collect();
        output::json(&json!({
            "file": file,
            "bytes": size,
            "repositories": summary.repositories,
            "leftOut": summary.left_out,
            "damaged": damaged,
        }))?;
        return Ok(exit(&summary));
    }
    if !summary.is_whole() {
        let text = format!(
            "Wrote an incomplete backup to {} ({})\n\n{} was not written.\n",
            file.display(),
            super::repositories(summary.repositories),
            args.file.display(),
        );
        output::print(text.as_bytes())?;
        let check = command("wit up check")?;
        eprintln!("hint: {check}; where the repositories are elsewhere, --repositories DIR");
        return Ok(exit(&summary));
    }
    // To the places that it comes from.
    let mut restore = super::about("wit up restore", &data_dir, context);
    if repositories != data_dir.join(layout::REPOSITORIES) {
        restore = restore.option("--repositories", repositories.display().to_string());
    }
    let contents = match args.repositories_only {
        true => {
            restore = restore.arg("--repositories-only");
            "It contains the repositories, including private ones, and no accounts: those are in the dump of \
             the database.\nTo restore both, pg_restore and then"
        }
        false => {
            "It contains all of the server's data, including private repositories. To restore it"
        }
    };
    let text = format!(
        "Wrote {} ({})\n\n{contents}:\n\n  {}\n",
        args.file.display(),
        super::repositories(summary.repositories),
        restore.last(args.file.display().to_string()),
    );
    output::print(text.as_bytes())?;
    Ok(Exit::Done)
}

/// A writer that knows whether it has failed: else an error is one of what was to be read.
struct Blamed<W> {
    inner: W,
    has_failed: bool,
}

impl<W> Blamed<W> {
    fn new(inner: W) -> Self {
        Blamed {
            inner,
            has_failed: false,
        }
    }
}

impl<W: Write> Write for Blamed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        written.inspect_err(|_| self.has_failed = true)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        flushed.inspect_err(|_| self.has_failed = true)
    }
}

fn exit(summary: &Summary) -> Exit {
    match summary.is_whole() {
        true => Exit::Done,
        false => Exit::Attention,
    }
}

/// Name beside a file for a backup that lacks something.
fn incomplete(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".incomplete");
    name.into()
}

/// The file that is written, behind links. Nothing but an earlier backup, or an empty file, is replaced.
fn destination(file: &Path) -> anyhow::Result<PathBuf> {
    let path = match file.canonicalize() {
        Ok(path) => path,
        Err(_) => std::path::absolute(file)?,
    };
    match std::fs::metadata(&path) {
        Ok(metadata) if !metadata.is_file() => {
            let message = format!("{} is not a regular file", file.display());
            Err(Failure::new(Exit::Usage, message).into())
        }
        Ok(metadata) if metadata.len() > 0 && !is_backup(&path)? => {
            let message = format!("{} is not a backup and was not replaced", file.display());
            Err(Failure::new(Exit::Usage, message)
                .hint("give the backup another name, or remove that file first")
                .into())
        }
        _ => Ok(path),
    }
}

fn is_backup(file: &Path) -> anyhow::Result<bool> {
    let open = File::open(file).with_context(|| format!("can't read {}", file.display()))?;
    Ok(archive::is_ours(BufReader::new(open)))
}

fn warn(summary: &Summary) {
    for id in &summary.left_out {
        eprintln!("warning: the repository {id} has no directory; the backup is without it");
    }
    for (id, what) in &summary.damaged {
        eprintln!("warning: the repository {id} is damaged, and so is its backup: {what}");
    }
}
