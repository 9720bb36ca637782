//! `wit repo`: repositories on a server of `wit up`.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;

use super::output::{self, escaped};
use super::session::{self, ServerArgs};
use super::{Context, Exit, Failure, examples};
use crate::api::ApiError;
use crate::config::Config;
use crate::database::repositories::is_name;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an empty repository
    #[command(after_help = examples::REPO_CREATE)]
    Create(Create),
}

#[derive(Debug, clap::Args)]
struct Create {
    name: String,
    /// Only its owner can see it
    #[arg(long)]
    private: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        Command::Create(args) => create(args, context),
    }
}

/// What the server answers of a repository.
#[derive(Deserialize)]
struct Repository {
    path: String,
}

fn create(args: Create, context: &Context) -> anyhow::Result<Exit> {
    let name = args.name.strip_suffix(".git").unwrap_or(&args.name);
    if !is_name(name) {
        return Err(Failure::new(
            Exit::Usage,
            "a repository's name is 1 to 100 characters of A-Z, a-z, 0-9, '.', '_' and '-', \
             starts with no '.' or '-' and holds no '..'",
        )
        .hint("wit repo create demo")
        .into());
    }
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let login = session::login(&config, context, &args.server)?;
    let body = json!({ "name": name, "private": args.private });
    let answer = (login.client).post_json("/api/repos", Some(&login.session.token), &body)?;
    let repository: Repository = answer.json().map_err(|error| match error {
        ApiError::NotFound => anyhow::Error::new(
            Failure::new(
                Exit::Failed,
                format!("{} can't make repositories this way", login.client.server()),
            )
            .hint("servers of wit up can; elsewhere the server's own page may"),
        ),
        error => error.into(),
    })?;
    let url = login.client.server().at(&repository.path).to_string();
    if context.json {
        output::json(&json!({ "name": name, "private": args.private, "url": url }))?;
    } else {
        let url = escaped(&url);
        let kind = if args.private { "private " } else { "" };
        output::print(
            format!("Created the {kind}repository {name}\n\n  git clone {url}\n").as_bytes(),
        )?;
    }
    Ok(Exit::Done)
}
