//! The names and scopes that a server takes: `wit` says so before it asks.

/// The scopes that the server knows, with what it says of them.
pub const SCOPES: [(&str, &str); 7] = [
    ("repo:read", "Clone and pull repositories"),
    ("repo:write", "Push to repositories"),
    (
        "repo:admin",
        "Manage repository settings, collaborators, and deletion",
    ),
    ("user:read", "Read your profile information"),
    ("user:write", "Update your profile"),
    ("packages:read", "Download packages"),
    ("packages:write", "Publish packages"),
];

/// The scopes that are offered: nothing here asks for those of the platform's packages.
pub fn offered_scopes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let scopes = SCOPES.into_iter();
    scopes.filter(|(scope, _)| !scope.starts_with("packages:"))
}

/// Returns whether a text may be an owner's or a repository's name: 1 to 100 of A-Z, a-z, 0-9, `.`, `_`
/// and `-`, without a leading `.` or `-`, `..`, or the ending `.git` that a URL adds.
pub fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty()
        && text.len() <= 100
        && text.bytes().all(letter)
        && !text.starts_with(['.', '-'])
        && !text.contains("..")
        && !text.ends_with(".git")
}

/// The rule of [`is_username`], for a person.
pub const USERNAME_RULE: &str = "a username is 3 to 30 characters of A-Z, a-z, 0-9, '.', '_' and '-', and must not start with '.'";

/// Returns whether a text may be a username, which is the first part of a repository's path.
pub fn is_username(text: &str) -> bool {
    (3..=30).contains(&text.len()) && is_name(text)
}

/// Returns whether a text may be an email address: something on both sides of one `@`, without spaces.
pub fn is_email(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    match text.split_once('@') {
        Some((name, domain)) => {
            let is_whole = !name.is_empty() && !domain.is_empty() && !domain.contains('@');
            is_whole && text.len() <= 254 && !text.contains(odd)
        }
        None => false,
    }
}
