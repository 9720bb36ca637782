//! Picks the token that a person means.

use crate::api::Token;
use crate::api::promises::stem;
use crate::cli::output::{self, escaped};
use crate::cli::{Exit, Failure};

/// Fewest characters of an id that name a token.
const SHORTEST_ID: usize = 4;

/// The one token that `text` names: its full id, its prefix `wit_a1b2`, its exact name, or the
/// first characters of its id. The first of these that matches anything decides. `verb` is the command
/// that asks.
pub fn pick<'a>(tokens: &'a [Token], text: &str, verb: &str) -> Result<&'a Token, Failure> {
    pick_except(tokens, text, verb, &[])
}

/// The same among the tokens without those of these ids.
pub fn pick_except<'a>(
    tokens: &'a [Token],
    text: &str,
    verb: &str,
    except: &[&str],
) -> Result<&'a Token, Failure> {
    let is_meant = |token: &&Token| !except.contains(&token.id.as_str());
    let prefix = text.trim_matches(['.', '…']);
    let ways: [&dyn Fn(&Token) -> bool; 5] = [
        &|token| token.id == text,
        &|token| [&token.prefix, &token.suffix].contains(&&prefix.to_owned()) && !prefix.is_empty(),
        &|token| token.name == text,
        // Whatever its generation.
        &|token| stem(&token.name) == text,
        &|token| text.len() >= SHORTEST_ID && token.id.starts_with(text),
    ];
    for way in ways {
        let fitting = tokens.iter().filter(is_meant).filter(|token| way(token));
        let fitting: Vec<&Token> = fitting.collect();
        match fitting.as_slice() {
            [] => continue,
            [one] => return Ok(one),
            several => {
                let lines: Vec<String> = several.iter().map(|token| line(token)).collect();
                return Err(Failure::new(
                    Exit::Failed,
                    format!(
                        "'{}' matches {} tokens; nothing was changed\n{}",
                        shown(text),
                        several.len(),
                        lines.join("\n")
                    ),
                )
                .hint(match verb {
                    "rotate" => "name one by its id: wit token rotate ID",
                    "rename" => "name one by its id: wit token rename ID NAME",
                    _ => "name one by its id: wit token revoke ID",
                }));
            }
        }
    }
    Err(
        Failure::new(Exit::Failed, format!("no token matches '{}'", shown(text)))
            .hint("wit token list"),
    )
}

fn line(token: &Token) -> String {
    format!("  {}  {}", escaped(&token.id), label(token))
}

/// Label of a token for people: its prefix and its name.
pub fn label(token: &Token) -> String {
    let label = format!("{}  {}", hint(token), escaped(&token.name));
    label.trim_start().to_owned()
}

/// The characters of the secret that the host tells: its first, its last, or none.
pub fn hint(token: &Token) -> String {
    match (token.prefix.is_empty(), token.suffix.is_empty()) {
        (_, false) => format!("...{}", escaped(&token.suffix)),
        (false, true) => format!("{}...", escaped(&token.prefix)),
        (true, true) => String::new(),
    }
}

/// Text that a person typed, as it may be repeated to them.
pub fn shown(text: &str) -> String {
    let cut: String = text.chars().take(100).collect();
    output::redacted(&escaped(&cut))
}

/// Returns whether it is a secret rather than a name for one: a token, or a session.
pub fn is_secret(text: &str) -> bool {
    let all = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    output::redacted(text) != text || (text.len() == 32 && all(text))
}

/// The shortest form of an id that names no other token: 8 characters of a UUID, or all of it.
pub fn short_id<'a>(token: &'a Token, tokens: &[Token]) -> &'a str {
    let is_hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    let short = match token.id.get(..8) {
        Some(short) if token.id.chars().all(is_hex) => short,
        _ => return &token.id,
    };
    let fits = |other: &&Token| {
        other.id.starts_with(short) || other.name == short || other.prefix == short
    };
    match tokens.iter().filter(fits).count() > 1 {
        true => &token.id,
        false => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::UnixTime;

    fn token(id: &str, name: &str, prefix: &str) -> Token {
        Token {
            id: id.into(),
            name: name.into(),
            prefix: prefix.into(),
            scopes: Vec::new(),
            created: Some(UnixTime(0)),
            last_used: None,
            expiry: None,
            request_id: None,
            replaced_by: None,
            suffix: String::new(),
            repositories: Vec::new(),
        }
    }

    #[test]
    fn one_token_is_named_in_four_ways() {
        let tokens = [
            token("cf44cc33-e69e", "ci", "wit_8432"),
            token("cf44aaaa-0000", "other", "wit_a1b2"),
        ];
        for text in ["cf44cc33-e69e", "cf44c", "wit_8432", "wit_8432...", "ci"] {
            assert_eq!(pick(&tokens, text, "revoke").unwrap().name, "ci", "{text}");
        }
        for text in ["", "wit_", "c", "nobody", "CI"] {
            assert_eq!(
                pick(&tokens, text, "revoke").unwrap_err().exit,
                Exit::Failed,
                "{text}"
            );
        }
    }

    #[test]
    fn what_fits_several_is_listed_and_none_is_taken() {
        let tokens = [
            token("cf44cc33", "ci", "wit_8432"),
            token("cf44aaaa", "ci", "wit_8432"),
        ];
        for text in ["cf44", "ci", "wit_8432"] {
            let failure = pick(&tokens, text, "revoke").unwrap_err();
            assert!(failure.message.contains("cf44cc33"), "{text}");
            assert!(failure.message.contains("cf44aaaa"), "{text}");
        }
        assert_eq!(short_id(&tokens[0], &tokens), "cf44cc33");
        // What would mean another token, by its name, is no id to print.
        let tokens = [
            token("cf44cc33-e69e", "ci", "wit_8432"),
            token("ffffffff-e69e", "cf44cc33", "wit_a1b2"),
        ];
        assert_eq!(short_id(&tokens[0], &tokens), "cf44cc33-e69e");
        let of_project = [token("1042@ada/hello", "ci", "")];
        assert_eq!(short_id(&of_project[0], &of_project), "1042@ada/hello");
        assert_eq!(label(&of_project[0]), "ci");
    }
}
