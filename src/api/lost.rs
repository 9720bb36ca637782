//! The token of a create request whose response was lost.
//!
//! Names, scopes and times prove nothing: another machine of the same account may create a token
//! that is like it in all of them, at the same moment. Only the request's own id does.

use super::{ApiError, NewToken, Token, TokenApi};

/// The result of a [`search`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// The request created no token, so far.
    Nothing,
    /// The request created this one: it carries the request's id, and nobody has its secret.
    Ours(Token),
    /// The request may have created one of these, or none: the server keeps no request ids, and
    /// these have appeared since under the name that was asked for.
    Unclear(Vec<Token>),
}

/// Searches the account's tokens for the one that `request` created. `is_known` tells by id those
/// that can't be it: they were listed before it was sent, or their secret is not lost.
///
/// A server may change what it was asked for (scopes, lifetime, letters of a name), so that a new
/// token of that name is a candidate however it differs otherwise.
pub fn search(
    api: &dyn TokenApi,
    request: &NewToken,
    is_known: impl Fn(&str) -> bool,
) -> Result<Search, ApiError> {
    let tokens = api.list()?;
    Ok(pick(tokens, request, api.keeps_request_ids(), is_known))
}

fn pick(
    mut tokens: Vec<Token>,
    request: &NewToken,
    keeps_request_ids: bool,
    is_known: impl Fn(&str) -> bool,
) -> Search {
    let is_ours =
        |token: &Token| token.request_id.is_some() && token.request_id == request.request_id;
    if let Some(at) = tokens.iter().position(is_ours) {
        return Search::Ours(tokens.swap_remove(at));
    }
    if keeps_request_ids && request.request_id.is_some() {
        return Search::Nothing;
    }
    tokens.retain(|token| same_name(&token.name, &request.name) && !is_known(&token.id));
    match tokens.is_empty() {
        true => Search::Nothing,
        false => Search::Unclear(tokens),
    }
}

fn same_name(listed: &str, asked: &str) -> bool {
    listed.trim().to_lowercase() == asked.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::UnixTime;
    use uuid::Uuid;

    fn token(id: &str, name: &str, request_id: Option<Uuid>) -> Token {
        Token {
            id: id.into(),
            name: name.into(),
            prefix: "wit_0000".into(),
            scopes: vec!["repo:read".into()],
            created: UnixTime(0),
            last_used: None,
            expiry: None,
            request_id,
            replaced_by: None,
        }
    }

    fn request(request_id: Option<Uuid>) -> NewToken {
        NewToken {
            name: "CI".into(),
            scopes: vec!["repo:read".into()],
            expires_in_days: None,
            request_id,
        }
    }

    #[test]
    fn only_the_request_id_makes_a_token_ours() {
        let (ours, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let listed = || vec![token("a", "CI", Some(other)), token("b", "CI", Some(ours))];
        let found = pick(listed(), &request(Some(ours)), true, |_| false);
        assert_eq!(found, Search::Ours(token("b", "CI", Some(ours))));
        let found = pick(listed(), &request(Some(Uuid::from_u128(3))), true, |_| {
            false
        });
        assert_eq!(found, Search::Nothing);
    }

    #[test]
    fn without_request_ids_every_new_token_of_the_name_is_a_candidate() {
        let listed = vec![
            token("old", "CI", None),
            token("new", "CI", None),
            token("other", "laptop", None),
        ];
        let asked = request(Some(Uuid::from_u128(1)));
        let found = pick(listed.clone(), &asked, false, |id| id == "old");
        assert_eq!(found, Search::Unclear(vec![token("new", "CI", None)]));
        let found = pick(listed, &asked, false, |id| id != "other");
        assert_eq!(found, Search::Nothing);
    }

    #[test]
    fn a_request_that_was_sent_without_an_id_is_not_told_by_the_ids_of_others() {
        let listed = vec![token("new", "CI", Some(Uuid::from_u128(2)))];
        let found = pick(listed.clone(), &request(None), true, |_| false);
        assert_eq!(found, Search::Unclear(listed));
    }
}
