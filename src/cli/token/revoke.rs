//! `wit token revoke`.

use serde_json::json;

use super::pick;
use crate::api::{ApiError, Token};
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, ServerArgs};
use crate::cli::{Context, Exit, Failure};
use crate::item::Item;
use crate::store;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A token's id, the first characters of one, its prefix `wit_a1b2`, or its exact name
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    if args.ids.iter().any(|text| pick::is_secret(text)) {
        return Err(Failure::new(
            Exit::Usage,
            "that looks like a whole token, which must not be typed here: other programs and the \
             shell's history can read it",
        )
        .hint("wit token list, then wit token revoke ID")
        .into());
    }
    let signed_in = session::signed_in(context, &args.server)?;
    let tokens = signed_in.api.list()?;
    // All are found before any is ended.
    let mut chosen: Vec<&Token> = Vec::new();
    for text in &args.ids {
        let token = pick::pick(&tokens, text)?;
        if !chosen.iter().any(|known| known.id == token.id) {
            chosen.push(token);
        }
    }
    let server = signed_in.server.to_string();
    for token in &chosen {
        match signed_in.api.revoke(&token.id) {
            // Somebody else was faster.
            Ok(()) | Err(ApiError::NotFound) => {}
            Err(error) => {
                let name = escaped(&token.name);
                return Err(anyhow::Error::from(error).context(format!("can't revoke '{name}'")));
            }
        }
        let here = held(&signed_in.item, &server, &token.id);
        if here {
            store::update(
                signed_in.store.as_ref(),
                &context.paths,
                &signed_in.site,
                |item| forget(item, &server, &token.id),
            )?;
        }
        if !context.json {
            let also = if here {
                ", also removed from this machine"
            } else {
                ""
            };
            let text = format!(
                "Revoked {}...  {}{also}\n",
                escaped(&token.prefix),
                escaped(&token.name)
            );
            output::print(text.as_bytes())?;
        }
    }
    if context.json {
        let ids: Vec<&str> = chosen.iter().map(|token| token.id.as_str()).collect();
        output::json(&json!({ "revoked": ids }))?;
    }
    Ok(Exit::Done)
}

/// Whether this machine keeps the token of that id.
pub fn held(item: &Item, server: &str, id: &str) -> bool {
    let all = [&item.credentials.0, &item.pending, &item.previous];
    let mut entries = all.into_iter().flatten();
    entries.any(|entry| {
        let token = entry.token.as_ref();
        token.is_some_and(|token| token.server == server && token.id == id)
    })
}

/// Removes the token of that id wherever the item has it.
pub fn forget(item: &mut Item, server: &str, id: &str) {
    for entries in [
        &mut item.credentials.0,
        &mut item.pending,
        &mut item.previous,
    ] {
        entries.retain(|entry| {
            let token = entry.token.as_ref();
            token.is_none_or(|token| token.server != server || token.id != id)
        });
    }
}
