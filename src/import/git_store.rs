//! The file of git-credential-store(1): a URL a line, the newest first.

use super::{Findings, Skipped};
use crate::helper::wire;

/// Reads the file's content. Empty lines and comments say nothing.
pub fn read(name: &str, text: &[u8], findings: &mut Findings) {
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let place = format!("{name}, line {}", index + 1);
        match wire::parse(&[b"url=", line].concat()) {
            Ok(said) => findings.add(place, &said),
            Err(_) => {
                let skipped = Skipped::new(place, "not a URL that git would read");
                findings.skipped.push(skipped);
            }
        }
    }
}
