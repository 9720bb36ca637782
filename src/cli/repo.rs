//! `wit repo`: repositories on a server of `wit up`.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::ask::confirm_loss;
use super::output::escaped;
use super::session::{self, Login, ServerArgs};
use super::{Context, Exit, Failure, completion, examples};
use crate::api::ApiError;
use crate::expiry::{UnixTime, ago};
use crate::names::is_name;
use crate::quote::{Hint, Suggestion, size};

const PLACE: &str = "/api/repos";
/// Command that shows the names that can be given.
const LIST: &str = "wit repo list";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create an empty repository
    #[command(after_help = examples::REPO_CREATE)]
    Create(Create),
    /// Show your repositories, and those that are shared with you
    #[command(visible_alias = "ls", after_help = examples::REPO_LIST)]
    List(ServerArgs),
    /// Rename a repository; clones need its new address
    #[command(after_help = examples::REPO_RENAME)]
    Rename(Rename),
    /// Change who can see a repository, or its default branch
    #[command(after_help = examples::REPO_EDIT)]
    Edit(Edit),
    /// Give another account access to a repository; without --with, list who has access
    #[command(after_help = examples::REPO_SHARE)]
    Share(Share),
    /// Delete a repository and everything pushed to it
    #[command(visible_alias = "rm", after_help = examples::REPO_DELETE)]
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Its name
    name: String,
    /// Visible only to you and those you share it with [default]
    #[arg(long)]
    private: bool,
    /// Anyone who can reach the server can read it
    #[arg(long, conflicts_with = "private")]
    public: bool,
    /// The hash of its objects, which must be that of the history to be pushed
    #[arg(long, value_name = "HASH", value_parser = ["sha1", "sha256"], default_value = "sha1")]
    object_format: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
struct Rename {
    /// Its current name
    name: String,
    /// Its new name
    new_name: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
struct Edit {
    /// Its name
    name: String,
    /// Visible only to you and those you share it with
    #[arg(long)]
    private: bool,
    /// Anyone who can reach the server can read it
    #[arg(long, conflicts_with = "private")]
    public: bool,
    /// The branch that a clone checks out; it must have been pushed
    #[arg(long, value_name = "BRANCH")]
    default_branch: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
struct Share {
    /// Its name
    name: String,
    /// The username of the other account
    #[arg(long, value_name = "USER")]
    with: Option<String>,
    /// What it may do: fetch, or push too
    #[arg(long, requires = "with", value_parser = ["read", "write"], default_value = "read")]
    role: String,
    /// Remove its access
    #[arg(long, requires = "with", conflicts_with = "role")]
    remove: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// Its name
    name: String,
    /// Skip the confirmation prompt; required without a terminal
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        Command::Create(args) => create(args, context),
        Command::List(server) => list(&server, context),
        Command::Rename(args) => rename(args, context),
        Command::Edit(args) => edit(args, context),
        Command::Share(args) => share(args, context),
        Command::Delete(args) => delete(args, context),
    }
}

/// Answer of the server about a repository.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Repository {
    name: String,
    private: bool,
    path: String,
    #[serde(default)]
    default_branch: Option<String>,
    #[serde(flatten)]
    listed: Listed,
}

/// What a list of repositories has besides. A server that knows nothing of it leaves it out.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    owner: Option<String>,
    role: Option<String>,
    /// Bytes.
    size: Option<u64>,
    pushed_at: Option<String>,
}

impl Listed {
    /// Role in a repository of another's.
    fn shared(&self) -> Option<&str> {
        self.role.as_deref().filter(|role| *role != "owner")
    }

    /// Size and last push.
    fn facts(&self, now: UnixTime) -> Option<String> {
        let size = size(self.size?);
        let pushed = self.pushed_at.as_deref();
        let pushed = pushed.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        Some(match pushed {
            Some(at) => format!(
                "{size}, last push {}",
                ago(UnixTime(at.unix_timestamp()), now)
            ),
            None => format!("{size}, no pushes yet"),
        })
    }
}

/// An account that may use a repository of another's.
#[derive(Serialize, Deserialize)]
struct Collaborator {
    username: String,
    role: String,
}

impl Repository {
    fn url(&self, login: &Login) -> String {
        login.client.server().at(&self.path).to_string()
    }

    fn json(&self, login: &Login) -> Value {
        json!({
            "name": self.name,
            "private": self.private,
            "url": self.url(login),
            "defaultBranch": self.default_branch,
        })
    }

    /// Visibility.
    fn kind(&self) -> &'static str {
        match self.private {
            true => "private",
            false => "public",
        }
    }
}

/// A name as the server takes it, without the `.git` that a URL adds.
fn checked(name: &str, hint: impl Into<Hint>) -> Result<&str, Failure> {
    let name = name.strip_suffix(".git").unwrap_or(name);
    match is_name(name) {
        true => Ok(name),
        false => Err(Failure::new(
            Exit::Usage,
            "a repository's name is 1 to 100 characters of A-Z, a-z, 0-9, '.', '_' and '-', \
             must not start with '.' or '-', and must not contain '..'",
        )
        .hint(hint)),
    }
}

fn create(args: Create, context: &Context) -> anyhow::Result<Exit> {
    let name = checked(&args.name, "wit repo create demo")?;
    let login = session::login(context, &args.server)?;
    let body = json!({
        "name": name,
        "private": !args.public,
        "objectFormat": args.object_format,
    });
    let answer = (login.client).post_json(PLACE, Some(&login.session.token), &body)?;
    let made: Repository = answer
        .json()
        .map_err(|error| no_repositories(error, &login))?;
    let url = made.url(&login);
    seen(context, &login, |names| {
        names.retain(|known| known != name);
        names.push(name.to_owned());
    });
    let clone = Suggestion::new("git clone").arg(&url);
    let remote = Suggestion::new("git remote add origin").arg(&url);
    let kind = made.kind();
    let text = format!(
        "Created the {kind} repository {name}\n\n  {clone}\n\n\
         Or push a history that you have:\n\n  {remote}\n  git push -u origin HEAD\n"
    );
    context.answer(&made.json(&login), &text)
}

/// Remembers names for completions.
fn seen(context: &Context, login: &Login, change: impl FnOnce(&mut Vec<String>)) {
    let server = login.client.server().to_string();
    completion::repositories_seen(&context.paths, &server, change);
}

fn list(args: &ServerArgs, context: &Context) -> anyhow::Result<Exit> {
    let login = session::login(context, args)?;
    let mut place = login.client.server().at(PLACE);
    place.set_query(Some("affiliation=owner,collaborator"));
    let answer = login.client.get_url(place, Some(&login.session.token))?;
    let all: Vec<Repository> = answer
        .json()
        .map_err(|error| no_repositories(error, &login))?;
    seen(context, &login, |names| {
        let own = all.iter().filter(|one| one.listed.shared().is_none());
        *names = own.map(|one| one.name.clone()).collect();
    });
    let now = UnixTime::now();
    let mut text = format!("Repositories ({})\n", all.len());
    let mut documents = Vec::with_capacity(all.len());
    for one in &all {
        let (mut name, url) = (escaped(&one.name), escaped(&one.url(&login)));
        let mut kind = one.kind().to_owned();
        if let Some(role) = one.listed.shared() {
            let owner = one.listed.owner.as_deref().unwrap_or_default();
            name = format!("{}/{name}", escaped(owner));
            kind += match role {
                "write" => ", shared with you: fetch and push",
                _ => ", shared with you: fetch",
            };
        }
        // Writing to a String can't fail.
        let _ = write!(text, "\n{name}  ({kind})\n  {url}\n");
        if let Some(facts) = one.listed.facts(now) {
            let _ = writeln!(text, "  {facts}");
        }
        let mut document = one.json(&login);
        document["owner"] = json!(one.listed.owner);
        document["role"] = json!(one.listed.role);
        document["size"] = json!(one.listed.size);
        document["pushedAt"] = json!(one.listed.pushed_at);
        documents.push(document);
    }
    context.answer(&documents.into(), &text)?;
    if all.is_empty() && !context.json {
        eprintln!("hint: wit repo create NAME");
    }
    Ok(Exit::Done)
}

fn rename(args: Rename, context: &Context) -> anyhow::Result<Exit> {
    let name = checked(&args.name, LIST)?;
    let new_name = checked(
        &args.new_name,
        Suggestion::new("wit repo rename").args([name, "demo"]),
    )?;
    if name == new_name {
        let message = format!("the repository is already called {name}");
        return Err(Failure::new(Exit::Usage, message).hint(LIST).into());
    }
    let login = session::login(context, &args.server)?;
    let renamed = change(&login, name, &json!({ "name": new_name }))?;
    let set = Suggestion::new("git remote set-url origin").arg(renamed.url(&login));
    let text = format!("Renamed {name} to {new_name}\n\nIn each clone:\n\n  {set}\n");
    context.answer(&renamed.json(&login), &text)
}

fn edit(args: Edit, context: &Context) -> anyhow::Result<Exit> {
    let name = checked(&args.name, LIST)?;
    if !args.private && !args.public && args.default_branch.is_none() {
        let message = "say what to change: --private, --public or --default-branch BRANCH";
        let hint = format!("wit repo edit {name} --private");
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    }
    let login = session::login(context, &args.server)?;
    let mut body = serde_json::Map::new();
    if args.private || args.public {
        body.insert("private".to_owned(), args.private.into());
    }
    if let Some(branch) = &args.default_branch {
        let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        body.insert("defaultBranch".to_owned(), branch.into());
    }
    let changed = change(&login, name, &body.into())?;
    let mut text = String::new();
    if args.private || args.public {
        text += &format!("The repository {name} is now {}\n", changed.kind());
    }
    if args.default_branch.is_some() {
        let branch = changed.default_branch.as_deref().unwrap_or_default();
        let branch = escaped(branch);
        text += &format!("The default branch of {name} is now {branch}\n");
    }
    context.answer(&changed.json(&login), &text)
}

fn share(args: Share, context: &Context) -> anyhow::Result<Exit> {
    let name = checked(&args.name, LIST)?;
    let login = session::login(context, &args.server)?;
    let path = format!("{PLACE}/{name}/collaborators");
    let token = Some(&login.session.token);
    let Some(username) = &args.with else {
        let answer = login.client.get(&path, token)?;
        let all: Vec<Collaborator> = answer
            .json()
            .map_err(|error| no_such(error, name, &login))?;
        let mut text = format!("Accounts with access to {name} ({})\n", all.len());
        for one in &all {
            let _ = writeln!(text, "  {}  {}", escaped(&one.username), escaped(&one.role));
        }
        return context.answer(&json!(all), &text);
    };
    if !is_name(username) {
        let message = format!("not a username: {}", escaped(username));
        return Err(Failure::new(Exit::Usage, message).into());
    }
    if args.remove {
        let path = format!("{path}/{username}");
        let answer = login.client.delete(&path, token)?;
        answer.done().map_err(|error| match error {
            ApiError::NotFound => {
                let message = format!("{username} has no role in a repository {name} of yours");
                let hint = Suggestion::new("wit repo share").arg(name);
                Failure::new(Exit::Failed, message).hint(hint).into()
            }
            other => refused(other),
        })?;
        let text = format!("{username} no longer has access to {name}\n");
        return context.answer(&json!({ "name": name, "removed": username }), &text);
    }
    let body = json!({ "username": username, "role": args.role });
    let answer = login.client.post_json(&path, token, &body)?;
    answer.done().map_err(|error| match error {
        ApiError::Refused { message } => {
            let message = format!("not shared with {username}: {message}");
            let hint = Suggestion::new("wit repo share").arg(name);
            Failure::new(Exit::Failed, message).hint(hint).into()
        }
        other => no_such(other, name, &login),
    })?;
    let may = match args.role.as_str() {
        "write" => "fetch from and push to",
        _ => "fetch from",
    };
    let text = format!("{username} may {may} {name}\n");
    let document = json!({ "name": name, "username": username, "role": args.role });
    context.answer(&document, &text)
}

fn delete(args: Delete, context: &Context) -> anyhow::Result<Exit> {
    let name = checked(&args.name, LIST)?;
    let login = session::login(context, &args.server)?;
    let server = login.client.server();
    let question = format!("Delete {name} at {server} and everything pushed to it?");
    let again = Suggestion::new("wit repo delete").arg(name);
    confirm_loss(&question, args.yes, again)?;
    let place = format!("{PLACE}/{name}");
    let answer = (login.client).delete(&place, Some(&login.session.token))?;
    answer
        .done()
        .map_err(|error| no_such(error, name, &login))?;
    context.answer(
        &json!({ "deleted": name }),
        &format!("Deleted the repository {name}\n"),
    )
}

fn change(login: &Login, name: &str, change: &Value) -> anyhow::Result<Repository> {
    let place = format!("{PLACE}/{name}");
    let answer = (login.client).patch_json(&place, Some(&login.session.token), change)?;
    answer.json().map_err(|error| no_such(error, name, login))
}

/// A server without such an API, in words.
fn no_repositories(error: ApiError, login: &Login) -> anyhow::Error {
    let message = format!(
        "{} has no repository API of a wit server",
        login.client.server()
    );
    match error {
        ApiError::NotFound => Failure::new(Exit::Failed, message)
            .hint("only servers of wit up have one; elsewhere use the server's own pages")
            .into(),
        other => refused(other),
    }
}

fn no_such(error: ApiError, name: &str, login: &Login) -> anyhow::Error {
    let message = format!("you have no repository {name} at {}", login.client.server());
    match error {
        ApiError::NotFound => Failure::new(Exit::Failed, message).hint(LIST).into(),
        other => refused(other),
    }
}

/// A name that is taken, or one too many, is told with those that there are.
fn refused(error: ApiError) -> anyhow::Error {
    match error {
        ApiError::Refused { message } | ApiError::Forbidden { message } => {
            Failure::new(Exit::Failed, message).hint(LIST).into()
        }
        other => other.into(),
    }
}
