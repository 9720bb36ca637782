//! What git, or somebody in its place, says to the helper.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wit::helper::wire::{self, Answer};

fuzz_target!(|message: &[u8]| {
    let Ok(said) = wire::parse(message) else {
        return;
    };
    let _ = said.site().zip(said.to_credential());
    let mut answer = Answer::default();
    for (key, value) in [
        ("username", said.username.as_deref()),
        ("path", said.path.as_deref()),
        (
            "password",
            said.password.as_ref().map(|secret| secret.expose()),
        ),
        ("authtype", said.authtype.as_deref()),
    ] {
        if let Some(value) = value {
            answer.line(key, value);
        }
    }
    let mut written = Vec::new();
    answer.write(&mut written).unwrap();
    assert!(!written.contains(&0));
    if written.is_empty() {
        return;
    }
    let again = wire::parse(&written).unwrap();
    assert_eq!(again.username, said.username);
    assert_eq!(again.path, said.path);
    assert_eq!(again.password, said.password);
    assert_eq!(again.authtype, said.authtype);
});
