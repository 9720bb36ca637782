//! What the shipped helper is made of, seen in the release build.

mod support;

use std::process::Command;

use support::release;

/// Words that stand in a program's strings where the library is linked in.
const NETWORK: [&str; 7] = [
    "reqwest", "rustls", "hyper", "tokio", "HTTP/1.1", "sqlx", "clap",
];

fn holds(program: &[u8], word: &str) -> bool {
    program
        .windows(word.len())
        .any(|window| window == word.as_bytes())
}

#[test]
fn the_helper_holds_no_network_code_no_runtime_and_no_clap() {
    let release = release();
    let helper = std::fs::read(release.join("git-credential-wit")).unwrap();
    let wit = std::fs::read(release.join("wit")).unwrap();
    for word in NETWORK {
        // The front end shows that the word would be found.
        assert!(holds(&wit, word), "{word} says nothing");
        assert!(!holds(&helper, word), "{word} is linked into the helper");
    }
    assert!(helper.len() <= 2_500_000, "{} bytes", helper.len());
    let libraries = Command::new("ldd")
        .arg(release.join("git-credential-wit"))
        .output()
        .unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    for library in libraries.lines() {
        let expected = ["linux-vdso", "libc.so", "ld-linux"];
        assert!(
            expected.iter().any(|name| library.contains(name)),
            "{library}"
        );
    }
}
