//! The tokens that `wit token create` stored for a git host, at a logout.

use crate::api::ApiError;
use crate::api::promises::require;
use crate::cli::confirm::confirm;
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, ServerArgs};
use crate::cli::{Context, completion};
use crate::credential::TokenInfo;
use crate::item::Item;
use crate::store;

/// Those of a server that an item has, of one account or all.
fn stored(item: &Item, server: &str, account: Option<&str>) -> Vec<TokenInfo> {
    let created = item.entries().filter(|entry| entry.sign_in.is_none());
    let tokens = created.filter_map(|entry| entry.token.as_ref());
    let is_meant = |token: &&TokenInfo| {
        token.server == server && account.is_none_or(|account| account == token.account)
    };
    tokens.filter(is_meant).cloned().collect()
}

/// Revokes them, while there is a sign-in to do it by, and forgets each that is. Where one can't be
/// revoked the login is kept for another try.
pub fn revoke(
    server: &str,
    account: Option<&str>,
    item: &Item,
    yes: bool,
    context: &Context,
) -> anyhow::Result<()> {
    let tokens = stored(item, server, account);
    if tokens.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = tokens.iter().map(|token| escaped(&token.name)).collect();
    confirm(&format!("Revoke {}?", names.join(", ")), yes)?;
    for token in &tokens {
        let args = ServerArgs {
            server: Some(server.to_owned()),
            account: Some(token.account.clone()),
            ..ServerArgs::default()
        };
        let acting = session::acting(context, &args)?;
        let api = acting.api.as_ref();
        require(
            api,
            api.promises().revoke_others,
            "revoke tokens by their ids",
        )?;
        match api.revoke(&token.id) {
            Ok(()) | Err(ApiError::NotFound) => {}
            Err(error) => {
                let what = format!("can't revoke {}", escaped(&token.name));
                return Err(anyhow::Error::from(error).context(what));
            }
        }
        if let Some(place) = &acting.place {
            store::update(acting.store.as_ref(), &context.paths, &place.site, |item| {
                item.forget(server, &token.id)
            })?;
        }
        completion::revoked(&context.paths, &acting.name, &token.id);
        if !context.json {
            output::print(format!("Revoked {}\n", escaped(&token.name)).as_bytes())?;
        }
    }
    Ok(())
}

/// Says which of them git goes on with.
pub fn warn(server: &str, account: Option<&str>, item: &Item, context: &Context) {
    if context.json {
        return;
    }
    for token in stored(item, server, account) {
        let name = escaped(&token.name);
        eprintln!("warning: git still uses the token {name} here, which works on");
        eprintln!("hint: wit logout --revoke revokes it first");
    }
}
