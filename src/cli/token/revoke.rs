//! `wit token revoke`.

use serde_json::json;

use super::pick;
use crate::api::promises::require;
use crate::api::{AlsoRevoked, ApiError, Token};
use crate::cli::ask::first_line;
use crate::cli::confirm::confirm;
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, ApiSession, PlaceArgs, ServerArgs};
use crate::cli::{Context, Exit, Failure, completion};
use crate::credential::Credential;
use crate::secret::Secret;
use crate::store;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A token's id, the first characters of one, its prefix `wit_a1b2`, or its exact name
    #[arg(value_name = "ID", required_unless_present = "token_stdin")]
    ids: Vec<String>,
    /// Read the token itself from the first line of stdin
    #[arg(long, conflicts_with = "ids")]
    token_stdin: bool,
    /// Skip the confirmation prompt, which is shown for several tokens
    #[arg(long)]
    yes: bool,
    /// Read the account's password from the first line of stdin, and a one-time code from the
    /// second, for a host that requires them
    #[arg(long, conflicts_with = "token_stdin")]
    password_stdin: bool,
    #[command(flatten)]
    places: PlaceArgs,
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
        .hint("wit token list, then wit token revoke ID; or --token-stdin")
        .into());
    }
    let whole = match args.token_stdin {
        true => Some(first_line("token")?),
        false => None,
    };
    let api_session = session::api_session(
        context,
        &(args.server.at(&args.places, &args.ids)).with_password(args.password_stdin),
    )?;
    let promises = api_session.api.promises();
    let api = api_session.api.as_ref();
    if let Some(whole) = &whole
        && promises.revoke_itself
    {
        return end_itself(&api_session, whole, context);
    }
    require(
        api,
        promises.list && promises.revoke_others,
        "revoke tokens by their ids",
    )?;
    let tokens = api.list()?;
    if let Some(whole) = whole {
        end(
            &api_session,
            &[pick_whole(&api_session, &tokens, &whole)?],
            context,
        )?;
        return Ok(Exit::Done);
    }
    // All are found before any is ended.
    let mut chosen: Vec<&Token> = Vec::new();
    for text in &args.ids {
        let token = pick::pick(&tokens, text, "revoke")?;
        if !chosen.iter().any(|known| known.id == token.id) {
            chosen.push(token);
        }
    }
    if chosen.len() > 1 {
        let labels: Vec<String> = chosen.iter().map(|token| pick::label(token)).collect();
        confirm(&format!("Revoke {}?", labels.join(", ")), args.yes)?;
    }
    end(&api_session, &chosen, context)?;
    Ok(Exit::Done)
}

/// Has a token that is shown end itself, whoever's it is. It may have no id to be named by.
fn end_itself(api_session: &ApiSession, whole: &Secret, context: &Context) -> anyhow::Result<Exit> {
    match api_session.api.revoke_by_secret("", whole) {
        Ok(()) => {}
        Err(ApiError::NotFound) if api_session.api.promises().describes_itself => {
            return Err(unknown(api_session).into());
        }
        Err(ApiError::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    // What a sign-in is renewed by is another secret.
    let held = (api_session.item.entries())
        .find(|entry| entry.auth.secret() == whole && !entry.is_refreshable());
    let id = held.and_then(|entry| Some(entry.token.as_ref()?.id.clone()));
    if let Some(id) = &id {
        ended_here(api_session, id, "Revoked the token", context)?;
    } else if !context.json {
        output::print(b"Revoked the token.\n")?;
    }
    if context.json {
        output::json(&json!({ "revoked": [id.unwrap_or_default()], "alsoRevoked": [] }))?;
    }
    Ok(Exit::Done)
}

fn unknown(api_session: &ApiSession) -> Failure {
    let why = "the server does not know this token; it may have ended already";
    let failure = Failure::new(Exit::Failed, why);
    match api_session.api.promises().list {
        true => failure.hint(api_session.suggest("wit token list")),
        false => failure,
    }
}

/// The token of this account that `whole` is. The server does not say a token's id, so it must
/// accept it as this account's, and only one token may have its prefix.
fn pick_whole<'a>(
    api_session: &ApiSession,
    tokens: &'a [Token],
    whole: &Secret,
) -> anyhow::Result<&'a Token> {
    if let Ok(Some(token)) = api_session.api.identify(tokens, whole) {
        return Ok(token);
    }
    let account = api_session.api.verify(whole).map_err(|error| match error {
        ApiError::Unauthorized => unknown(api_session).into(),
        other => anyhow::Error::from(other),
    })?;
    if account.username.as_ref() != Some(&api_session.account)
        && account.email != api_session.account
    {
        return Err(
            Failure::new(Exit::Failed, "this token is of another account")
                .hint("wit login as that account, then try again")
                .into(),
        );
    }
    let text = whole.expose_str().unwrap_or_default();
    let has_suffixes = tokens.iter().any(|token| !token.suffix.is_empty());
    let known = match has_suffixes {
        true => text.get(text.len().saturating_sub(8)..),
        false => text.get(..8),
    };
    Ok(pick::pick(tokens, known.unwrap_or_default(), "revoke")?)
}

/// Revokes tokens one after the other with those that came of them, removes them from this machine,
/// and says so. Where one can't be, the rest is left.
pub fn end(api_session: &ApiSession, chosen: &[&Token], context: &Context) -> anyhow::Result<()> {
    end_by(api_session, chosen, context, |id| {
        api_session.api.revoke_all(id)
    })
}

/// The same, but what replaced them lives on: they have expired, or nobody uses them.
pub fn end_alone(
    api_session: &ApiSession,
    chosen: &[&Token],
    context: &Context,
) -> anyhow::Result<()> {
    let revoke = |id: &str| api_session.api.revoke_alone(id).map(|()| Vec::new());
    end_by(api_session, chosen, context, revoke)
}

fn end_by(
    api_session: &ApiSession,
    chosen: &[&Token],
    context: &Context,
    revoke: impl Fn(&str) -> Result<Vec<AlsoRevoked>, ApiError>,
) -> anyhow::Result<()> {
    let mut ended = Vec::new();
    let mut also_ended = Vec::new();
    let failed = chosen.iter().find_map(|token| {
        let also = match revoke(&token.id) {
            Ok(also) => also,
            // Somebody else was faster.
            Err(ApiError::NotFound) => Vec::new(),
            Err(error) => {
                let name = escaped(&token.name);
                let error = anyhow::Error::from(error);
                return Some(error.context(format!("can't revoke '{name}'")));
            }
        };
        ended.push(token.id.as_str());
        let said = format!("Revoked {}", pick::label(token));
        if let Err(error) = ended_here(api_session, &token.id, &said, context) {
            return Some(error);
        }
        for token in also {
            let (prefix, name) = (escaped(&token.token_prefix), escaped(&token.name));
            let said = format!("Also revoked {prefix}...  {name}, which came of it");
            let ended = ended_here(api_session, &token.id, &said, context);
            also_ended.push(token.id);
            if let Err(error) = ended {
                return Some(error);
            }
        }
        None
    });
    if context.json && (failed.is_none() || !ended.is_empty()) {
        output::json(&json!({ "revoked": ended, "alsoRevoked": also_ended }))?;
    }
    let Some(error) = failed else { return Ok(()) };
    if ended.is_empty() {
        return Err(error);
    }
    let exit = Exit::Unfinished;
    Err(Failure {
        exit,
        ..context.failure(&error)
    }
    .into())
}

/// Removes a token that has ended at its server from this machine, and says what was done.
fn ended_here(
    api_session: &ApiSession,
    id: &str,
    said: &str,
    context: &Context,
) -> anyhow::Result<()> {
    completion::revoked(&context.paths, &api_session.name, id);
    let here = api_session.place.as_ref().filter(|_| api_session.holds(id));
    if let Some(place) = here {
        let server = place.server.to_string();
        store::update(
            api_session.store.as_ref(),
            &context.paths,
            &place.site,
            |item| item.forget(&server, id),
        )?;
    }
    if !context.json {
        let server = api_session
            .place
            .as_ref()
            .map(|place| place.server.to_string());
        let server = server.unwrap_or_default();
        let is_signed_in =
            |entry: &Credential| entry.sign_in.is_some() && !entry.is_token(&server, id);
        let also = match here {
            Some(_)
                if api_session.stores(id)
                    && api_session.item.credentials.0.iter().any(is_signed_in) =>
            {
                ", also removed from this machine; git uses the sign-in again"
            }
            Some(_) => ", also removed from this machine",
            None => "",
        };
        output::print(format!("{said}{also}\n").as_bytes())?;
    }
    Ok(())
}
