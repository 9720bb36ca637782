//! The encrypted session `dh-ietf1024-sha256-aes128-cbc-pkcs7` of the Secret Service specification:
//! what is on the bus is of no use to who only listens.

use std::hint::black_box;

use aes::Aes128;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, InnerIvInit, KeyInit};
use crypto_bigint::modular::ConstMontyForm;
use crypto_bigint::{U256, U1024, const_monty_params};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::secret::Secret;

pub const ALGORITHM: &str = "dh-ietf1024-sha256-aes128-cbc-pkcs7";

// The Second Oakley Group, RFC 2409 section 6.2. Its generator is 2.
const_monty_params!(
    Oakley2,
    U1024,
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
     020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437\
     4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF"
);
type Number = ConstMontyForm<Oakley2, { U1024::LIMBS }>;

/// Our half of the key agreement.
///
/// An exponent of 256 bits is enough: the prime is a safe one, so an exponent of twice the group's
/// strength loses nothing (van Oorschot and Wiener 1996, section 6; RFC 7919, section 5.2). RFC 7919
/// asks for 225 bits in its group of 2048 bits (appendix A.1), and this group is weaker than that.
/// Fewer would do, and save a hundredth of a `get`: not worth the argument.
pub struct Exchange {
    exponent: U256,
    pub public: [u8; 128],
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.exponent.zeroize();
    }
}

impl Exchange {
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *random)?;
        let exponent = U256::from_be_slice(&*random);
        let public = Number::new(&U1024::from_u8(2)).pow(&exponent).retrieve();
        Ok(Exchange {
            exponent,
            public: bytes_of(&public),
        })
    }

    /// The key that both sides now have; `None` where the other's number is no public key.
    pub fn agree(&self, theirs: &[u8]) -> Option<Key> {
        // Some services leave out leading zeros.
        let mut padded = [0; 128];
        padded
            .get_mut(128_usize.checked_sub(theirs.len())?..)?
            .copy_from_slice(theirs);
        let theirs = U1024::from_be_slice(&padded);
        let largest =
            <Oakley2 as crypto_bigint::modular::ConstMontyParams<{ U1024::LIMBS }>>::PARAMS
                .modulus()
                .get()
                .wrapping_sub(&U1024::ONE);
        // 0, 1 and p - 1 would make the key known to everybody.
        if theirs <= U1024::ONE || theirs >= largest {
            return None;
        }
        let mut shared = Number::new(&theirs).pow(&self.exponent).retrieve();
        let bytes = Zeroizing::new(bytes_of(&shared));
        shared.zeroize();
        Key::derive(&bytes)
    }
}

fn bytes_of(number: &U1024) -> [u8; 128] {
    let mut bytes = [0; 128];
    bytes.copy_from_slice(number.to_be_bytes().as_ref());
    bytes
}

/// Has the cipher's code ask what the processor can, which it does once. In a virtual machine each such
/// question costs 20 µs: they are to be spent while the service works.
pub fn ask_the_processor() {
    black_box(Key::derive(&[0; 128]));
}

/// The session's AES key. It wipes itself.
pub struct Key(Aes128);

impl Key {
    fn derive(shared: &[u8; 128]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 16]);
        Hkdf::<Sha256>::new(None, shared)
            .expand(&[], &mut *key)
            .ok()?;
        Some(Key(Aes128::new((&*key).into())))
    }

    /// The initialisation vector and the encrypted bytes.
    pub fn encrypt(&self, plain: &Secret) -> Result<([u8; 16], Vec<u8>), getrandom::Error> {
        let mut iv = [0; 16];
        getrandom::fill(&mut iv)?;
        let encrypted = cbc::Encryptor::inner_iv_init(self.0.clone(), (&iv).into())
            .encrypt_padded_vec_mut::<Pkcs7>(plain.expose());
        Ok((iv, encrypted))
    }

    /// `None` where it is not encrypted with this key.
    pub fn decrypt(&self, iv: &[u8], encrypted: &[u8]) -> Option<Secret> {
        let iv: [u8; 16] = iv.try_into().ok()?;
        // Decrypted in its place, so that there is one copy, which is wiped.
        let mut buffer = Zeroizing::new(encrypted.to_vec());
        let length = cbc::Decryptor::inner_iv_init(self.0.clone(), (&iv).into())
            .decrypt_padded_mut::<Pkcs7>(&mut buffer)
            .ok()?
            .len();
        buffer.truncate(length);
        Some(Secret::from(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_get_the_same_key() {
        let (ours, theirs) = (Exchange::new().unwrap(), Exchange::new().unwrap());
        let sender = ours.agree(&theirs.public).unwrap();
        let receiver = theirs.agree(&ours.public).unwrap();
        let (iv, encrypted) = sender.encrypt(&Secret::new(b"hush".to_vec())).unwrap();
        let plain = receiver.decrypt(&iv, &encrypted);
        assert_eq!(plain, Some(Secret::new(b"hush".to_vec())));
    }

    #[test]
    fn a_number_that_gives_the_key_away_is_refused() {
        let ours = Exchange::new().unwrap();
        assert!(ours.agree(&[]).is_none());
        assert!(ours.agree(&[1]).is_none());
        assert!(ours.agree(&[0xff; 128]).is_none());
        assert!(ours.agree(&[7; 129]).is_none());
    }
}
