//! `wit token rename`.

use serde_json::json;

use super::pick;
use crate::api::Change;
use crate::api::promises::require;
use crate::cli::output;
use crate::cli::session::{self, ServerArgs};
use crate::cli::{Context, Exit, Failure};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A token's id, the first characters of one, its prefix `wit_a1b2`, or its exact name
    id: String,
    /// Its new name
    #[arg(required_unless_present = "description")]
    name: Option<String>,
    /// A note on it, for yourself; an empty one removes it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    if pick::is_secret(&args.id) {
        let message = "that looks like a whole token, which must not be typed here: other programs \
                       and the shell's history can read it";
        return Err(Failure::new(Exit::Usage, message)
            .hint("wit token list, then wit token rename ID NAME")
            .into());
    }
    let api_session = session::api_session(context, &args.server)?;
    let api = api_session.api.as_ref();
    require(api, api.promises().change, "change the name of a token")?;
    let tokens = api.list()?;
    let token = pick::pick(&tokens, &args.id, "rename")?;
    if args.description.is_none() && args.name.as_ref() == Some(&token.name) {
        let message = format!("the token is already called '{}'", pick::shown(&token.name));
        let hint = "wit token rename ID NAME, with another name";
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    }
    let change = Change {
        name: args.name,
        description: args.description,
    };
    api_session.api.change(&token.id, &change)?;
    if context.json {
        output::json(&json!({
            "id": token.id,
            "name": change.name.as_ref().unwrap_or(&token.name),
            "description": change.description,
        }))?;
        return Ok(Exit::Done);
    }
    let label = pick::label(token);
    let text = match &change.name {
        Some(name) => format!("Renamed {label} to {}\n", output::escaped(name)),
        None => format!("Changed the description of {label}\n"),
    };
    output::print(text.as_bytes())?;
    Ok(Exit::Done)
}
