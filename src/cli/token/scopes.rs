//! `wit token scopes`.

use std::fmt::Write;

use serde_json::json;

use crate::cli::output::{self, escaped};
use crate::cli::session::{self, ServerArgs};
use crate::cli::{Context, Exit};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let scopes = session::api_session(context, &args.server)?.api.scopes()?;
    if context.json {
        let all: Vec<_> = scopes
            .iter()
            .map(|scope| json!({"name": scope.name, "description": scope.description}))
            .collect();
        output::json(&all)?;
        return Ok(Exit::Done);
    }
    let mut text = String::from("Available Token Scopes\n");
    for scope in &scopes {
        let (name, description) = (escaped(&scope.name), escaped(&scope.description));
        write!(text, "\n{name}\n  {description}\n")?;
    }
    output::print(text.as_bytes())?;
    Ok(Exit::Done)
}
