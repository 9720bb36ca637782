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

/// Whether a text may be an owner's or a repository's name: 1 to 100 of A-Z, a-z, 0-9, `.`, `_`
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
