//! Checks of what a server says of tokens and accounts, before anything else sees it: an answer with an id,
//! scope or name that can't be one is malformed. It would reach terminals, shells, URLs and files.

use super::{Account, ApiError, Scope, Token};
use crate::quote::is_plain;
use crate::secret::Secret;

/// Longest id, prefix or scope, in bytes. The platform's ids are UUIDs and 32 letters.
const MAX_WORD: usize = 128;
/// Longest secret, in bytes.
const MAX_SECRET: usize = 4096;
/// Longest name of a token, in characters; servers take 100 at most.
const MAX_NAME: usize = 255;
/// Longest username or email, in characters (RFC 5321 section 4.5.3.1 bounds an address).
const MAX_ACCOUNT: usize = 320;
/// Most scopes of a token.
const MAX_SCOPES: usize = 64;

fn malformed(what: &str) -> ApiError {
    ApiError::Malformed {
        what: what.to_owned(),
    }
}

/// Returns whether a text is one word that means the same in a URL, a shell and a file name.
fn is_word(text: &str, more: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    text.len() <= MAX_WORD
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
}

/// An id: 1 to 128 letters, digits, `-`, `_` or `.`, the first a letter or digit.
pub(crate) fn id(id: String) -> Result<String, ApiError> {
    match is_word(&id, "-_.") {
        true => Ok(id),
        false => Err(malformed("an id that can't be one")),
    }
}

/// A new token's secret: what git's protocol, a header and a file of one line can hold.
pub(crate) fn secret(secret: Secret) -> Result<Secret, ApiError> {
    let bytes = secret.expose();
    let fits = (1..=MAX_SECRET).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    match fits {
        true => Ok(secret),
        false => Err(malformed("a new token that can't be one")),
    }
}

/// A username or email: plain text, of one line.
pub(crate) fn account_name(name: String) -> Result<String, ApiError> {
    let fits = !name.is_empty() && name.chars().count() <= MAX_ACCOUNT && is_plain(&name);
    match fits {
        true => Ok(name),
        false => Err(malformed("an account's name that can't be one")),
    }
}

fn scopes(scopes: &[String]) -> Result<(), ApiError> {
    let fits = |scope: &String| is_word(scope, ":-_./*");
    match scopes.len() <= MAX_SCOPES && scopes.iter().all(fits) {
        true => Ok(()),
        false => Err(malformed("a scope that can't be one")),
    }
}

/// A token of a list or just created. People choose its name, so that is only bounded.
pub(crate) fn token(token: Token) -> Result<Token, ApiError> {
    let token = Token {
        id: id(token.id)?,
        replaced_by: token.replaced_by.map(id).transpose()?,
        ..token
    };
    if !is_word(&token.prefix, "_-") {
        return Err(malformed("a token's prefix that can't be one"));
    }
    listed(token)
}

/// The same where no prefix is told.
pub(crate) fn listed(token: Token) -> Result<Token, ApiError> {
    if !token.suffix.is_empty() && !is_word(&token.suffix, "_-") {
        return Err(malformed("a token's last characters that can't be any"));
    }
    if token.name.chars().count() > MAX_NAME {
        return Err(malformed("a token's name that is too long"));
    }
    scopes(&token.scopes)?;
    Ok(token)
}

/// An account. An email may be missing.
pub(crate) fn account(account: Account) -> Result<Account, ApiError> {
    Ok(Account {
        id: id(account.id)?,
        username: account.username.map(account_name).transpose()?,
        email: match account.email.is_empty() {
            true => account.email,
            false => account_name(account.email)?,
        },
    })
}

/// A scope that a server offers.
pub(crate) fn scope(scope: Scope) -> Result<Scope, ApiError> {
    scopes(std::slice::from_ref(&scope.name))?;
    Ok(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_word_everywhere() {
        for good in [
            "cf44cc33-e69e-4554-a79f-6e9a48029c82",
            "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu",
            "1",
        ] {
            assert_eq!(id(good.to_owned()).expect("an id"), good);
        }
        let long = "x".repeat(129);
        for bad in [
            "",
            "-rf",
            ".",
            "..",
            "a b",
            "a/b",
            "$(id)",
            "a;b",
            "a\n",
            "\u{1b}[2J",
            "é",
            &long,
        ] {
            assert!(id(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_scope_is_one_argument() {
        let check = |scope: &str| scopes(&[scope.to_owned()]);
        for good in ["repo:read", "packages:write", "read_api", "admin/*"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["x$(id)", "a,b", "", "-x", "repo:read ", "a\u{202e}"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
