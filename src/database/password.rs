//! Passwords in the platform's own form, so that an account made by either works at both.

use scrypt::{Params, scrypt};
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::random_bytes;
use crate::secret::Secret;

/// `<32 hex>:<128 hex>`: a salt, and scrypt of the NFKC-normalised password. Slow on purpose.
pub fn hash(password: &Secret) -> String {
    let salt = hex::encode(random_bytes::<16>());
    let key = derive(password, &salt);
    format!("{salt}:{}", hex::encode(&key[..]))
}

/// Returns whether `password` is the one that `stored` was made from. Slow on purpose.
pub fn matches(password: &Secret, stored: &str) -> bool {
    let Some((salt, key)) = stored.split_once(':') else {
        return false;
    };
    let ours = hex::encode(&derive(password, salt)[..]);
    ours.as_bytes().ct_eq(key.as_bytes()).into()
}

fn derive(password: &Secret, salt: &str) -> Zeroizing<[u8; 64]> {
    let normal: Zeroizing<String> =
        Zeroizing::new(String::from_utf8_lossy(password.expose()).nfkc().collect());
    let params = Params::new(14, 16, 1).expect("N 16384, r 16, p 1 are within scrypt's limits");
    let mut key = Zeroizing::new([0; 64]);
    // The salt is the hex text itself, not the bytes that it stands for.
    scrypt(normal.as_bytes(), salt.as_bytes(), &params, &mut *key)
        .expect("64 bytes are within scrypt's limits");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_the_platforms_form_and_matches_its_password_only() {
        let stored = hash(&Secret::from("correct horse".to_owned()));
        let (salt, key) = stored.split_once(':').expect("a colon");
        assert_eq!((salt.len(), key.len()), (32, 128));
        assert!(matches(&Secret::from("correct horse".to_owned()), &stored));
        assert!(!matches(&Secret::from("correct house".to_owned()), &stored));
    }

    #[test]
    fn a_password_that_the_platform_stored_is_known_again() {
        // As Python's hashlib.scrypt makes it of these parameters, with the salt taken as text.
        let stored = "00112233445566778899aabbccddeeff:13af89ff6a88bb0fb3277e79ba724c6c\
                      0731b15919ca892969d63abd1534b867d110179e3bc8af39995ede0f9b2ac14b\
                      2b97573df10ba3802c498dbeb61e4f64";
        assert!(matches(&Secret::from("correct horse".to_owned()), stored));
    }

    #[test]
    fn a_password_is_the_same_however_its_letters_are_composed() {
        let stored = hash(&Secret::from("caf\u{e9} au lait".to_owned()));
        assert!(matches(
            &Secret::from("cafe\u{301} au lait".to_owned()),
            &stored
        ));
    }

    #[test]
    fn a_stored_text_of_another_form_matches_nothing() {
        for stored in ["", ":", "abc", "00:"] {
            assert!(!matches(&Secret::from(String::new()), stored), "{stored:?}");
        }
    }
}
