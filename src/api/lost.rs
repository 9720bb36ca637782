//! The token of a create request whose response was lost.
//!
//! Names, scopes and times prove nothing: another machine of the same account may create a token
//! that is like it in all of them, at the same moment. Only the request's own id does, or, where
//! names are unique, that of a generation, which was chosen at random.

use uuid::Uuid;

use super::{ApiError, Token, TokenApi, promises};

/// The result of a [`search`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// The requests created no token, so far.
    Nothing,
    /// The requests created these: they carry a request's id, and nobody has their secrets.
    Ours(Vec<Token>),
    /// The requests may have created one of these, or none: the server keeps no request ids, and
    /// these have appeared since under the name that was asked for.
    Unclear(Vec<Token>),
}

/// Searches the account's tokens for those that requests for a token of that name created. There is
/// an id for each of the requests, or none at all where they were sent without. `is_known` tells by
/// id those that can't be meant: they were listed before, or their secret is not lost.
///
/// A server may change what it was asked for (scopes, lifetime, letters of a name), so that a new
/// token of that name is a candidate however it differs otherwise.
pub fn search(
    api: &dyn TokenApi,
    name: &str,
    request_ids: &[Uuid],
    is_known: impl Fn(&str) -> bool,
) -> Result<Search, ApiError> {
    let mut tokens = api.list()?;
    let promises = api.promises();
    // Nobody else has a generation's name, and no second token can.
    if promises.unique_names && promises::stem(name) != name {
        tokens.retain(|token| token.name == name && !is_known(&token.id));
        return Ok(match tokens.is_empty() {
            true => Search::Nothing,
            false => Search::Ours(tokens),
        });
    }
    let keeps_ids = promises.request_ids && !request_ids.is_empty();
    Ok(pick(&mut tokens, name, request_ids, keeps_ids, is_known))
}

fn pick(
    tokens: &mut Vec<Token>,
    name: &str,
    request_ids: &[Uuid],
    keeps_ids: bool,
    is_known: impl Fn(&str) -> bool,
) -> Search {
    let is_ours = |token: &Token| token.request_id.is_some_and(|id| request_ids.contains(&id));
    let ours: Vec<Token> = tokens.extract_if(.., |token| is_ours(token)).collect();
    if !ours.is_empty() {
        return Search::Ours(ours);
    }
    tokens.retain(|token| same_name(&token.name, name) && !is_known(&token.id));
    match keeps_ids || tokens.is_empty() {
        true => Search::Nothing,
        false => Search::Unclear(std::mem::take(tokens)),
    }
}

fn same_name(listed: &str, asked: &str) -> bool {
    listed.trim().to_lowercase() == asked.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::UnixTime;

    fn token(id: &str, name: &str, request_id: Option<Uuid>) -> Token {
        Token {
            id: id.into(),
            name: name.into(),
            prefix: "wit_0000".into(),
            scopes: vec!["repo:read".into()],
            created: Some(UnixTime(0)),
            last_used: None,
            expiry: None,
            request_id,
            replaced_by: None,
            suffix: String::new(),
            repositories: Vec::new(),
        }
    }

    const OURS: Uuid = Uuid::from_u128(1);
    const ANOTHER: Uuid = Uuid::from_u128(2);

    fn found(mut tokens: Vec<Token>, ids: &[Uuid], keeps_ids: bool, known: &str) -> Search {
        pick(&mut tokens, "CI", ids, keeps_ids, |id| id == known)
    }

    #[test]
    fn only_the_request_id_makes_a_token_ours() {
        let others = || token("a", "CI", Some(ANOTHER));
        let both = vec![others(), token("b", "CI", Some(OURS))];
        let ours = Search::Ours(vec![token("b", "CI", Some(OURS))]);
        assert_eq!(found(both, &[OURS], true, ""), ours);
        assert_eq!(found(vec![others()], &[OURS], true, ""), Search::Nothing);
    }

    #[test]
    fn without_request_ids_every_new_token_of_the_name_is_a_candidate() {
        let new = token("new", "ci", None);
        let tokens = vec![
            token("old", "CI", None),
            new.clone(),
            token("other", "laptop", None),
        ];
        let unclear = Search::Unclear(vec![new]);
        assert_eq!(found(tokens.clone(), &[OURS], false, "old"), unclear);
        let tokens = vec![tokens[0].clone(), tokens[2].clone()];
        assert_eq!(found(tokens, &[OURS], false, "old"), Search::Nothing);
    }
}
