//! The tokens that were created at a git host, and have to be revoked by their ids, at a logout.

use crate::api::ApiError;
use crate::api::promises::require;
use crate::cli::confirm::confirm;
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, ServerArgs};
use crate::cli::{Context, completion};
use crate::credential::{Credential, TokenInfo};
use crate::item::Item;
use crate::sign_in::Upkeep;
use crate::store;

/// Options of a logout.
pub struct Asked<'a> {
    /// The only account that is meant.
    pub account: Option<&'a str>,
    pub revoke: bool,
    pub yes: bool,
    pub password_stdin: bool,
}

/// A token to be revoked.
struct Created {
    id: String,
    name: String,
    account: String,
    /// True if it is the sign-in itself, which a password created.
    is_sign_in: bool,
}

/// Those of a server that an item has, of one account or all.
fn stored(item: &Item, server: &str, account: Option<&str>) -> Vec<TokenInfo> {
    let created = item.entries().filter(|entry| entry.sign_in.is_none());
    let tokens = created.filter_map(|entry| entry.token.as_ref());
    let is_meant = |token: &&TokenInfo| {
        token.server == server && account.is_none_or(|account| account == token.account)
    };
    tokens.filter(is_meant).cloned().collect()
}

/// The sign-ins that are tokens which a password created.
fn by_password(item: &Item, server: &str, account: Option<&str>) -> Vec<Created> {
    let created = |entry: &Credential| {
        let sign_in = entry.sign_in.as_ref()?;
        let Upkeep::Replace { id, name } = &sign_in.upkeep else {
            return None;
        };
        let is_meant = sign_in.server == server && account.is_none_or(|name| sign_in.is_of(name));
        is_meant.then(|| Created {
            id: id.clone(),
            name: name.clone(),
            account: (sign_in.account.clone()).unwrap_or_else(|| sign_in.git_username.clone()),
            is_sign_in: true,
        })
    };
    item.credentials.0.iter().filter_map(created).collect()
}

/// Revokes them, while there is a sign-in to do it by, and forgets each that is. Where one can't be
/// revoked the login is kept for another try; but a sign-in whose host wants a password that nobody
/// can be asked for is left to the person. Returns how many sign-ins were ended so.
pub fn revoke(
    server: &str,
    asked: &Asked,
    item: &Item,
    context: &Context,
) -> anyhow::Result<usize> {
    let Asked { account, .. } = *asked;
    let mut all: Vec<Created> = (stored(item, server, account).into_iter())
        .map(|token| Created {
            id: token.id,
            name: token.name,
            account: token.account,
            is_sign_in: false,
        })
        .collect();
    // Last: the others are revoked by it.
    all.extend(by_password(item, server, account));
    all.sort_by_key(|token| token.account.clone());
    if all.is_empty() {
        return Ok(0);
    }
    let names: Vec<String> = all.iter().map(|token| escaped(&token.name)).collect();
    confirm(&format!("Revoke {}?", names.join(", ")), asked.yes)?;
    let mut ended = 0;
    for of_account in all.chunk_by(|a, b| a.account == b.account) {
        // The password is asked for once.
        let api_session = session::api_session(
            context,
            &ServerArgs {
                server: Some(server.to_owned()),
                account: of_account.first().map(|token| token.account.clone()),
                password_stdin: asked.password_stdin,
                ..ServerArgs::default()
            },
        )?;
        let api = api_session.api.as_ref();
        let can_revoke = api.promises().revoke_others;
        require(api, can_revoke, "revoke tokens by their ids")?;
        for token in of_account {
            match api.revoke(&token.id) {
                Ok(()) | Err(ApiError::NotFound) => {}
                Err(ApiError::PasswordNeeded { .. }) if token.is_sign_in => continue,
                Err(error) => {
                    let what = format!("can't revoke {}", escaped(&token.name));
                    return Err(anyhow::Error::from(error).context(what));
                }
            }
            if let Some(place) = &api_session.place {
                store::update(
                    api_session.store.as_ref(),
                    &context.paths,
                    &place.site,
                    |item| item.forget(server, &token.id),
                )?;
            }
            completion::revoked(&context.paths, &api_session.name, &token.id);
            ended += usize::from(token.is_sign_in);
            if !context.json {
                output::print(format!("Revoked {}\n", escaped(&token.name)).as_bytes())?;
            }
        }
    }
    Ok(ended)
}

/// Says which of them git goes on with.
pub fn warn(server: &str, account: Option<&str>, item: &Item, context: &Context) {
    if context.json {
        return;
    }
    for token in stored(item, server, account) {
        let name = escaped(&token.name);
        eprintln!("warning: git still uses the token {name} here, which was not revoked");
        eprintln!("hint: wit logout --revoke revokes it first");
    }
}
