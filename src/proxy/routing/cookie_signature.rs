//! The signature of our own cookies: an assignment that we did not make has none.

use ring::hmac::{self, HMAC_SHA256};
use std::fmt;
use subtle::ConstantTimeEq;

/// The hexadecimal digits of a signature: 128 bits, which cannot be guessed.
const DIGITS: usize = 32;

/// Signs the assignments of one service: HMAC-SHA-256 (RFC 2104), cut to 128 bits (its section 5).
#[derive(Clone)]
pub struct CookieSigner(hmac::Key);

impl CookieSigner {
    /// The signer of a service. Each service has a key of its own, so that a cookie of one is worth
    /// nothing at another.
    pub fn new(secret: &[u8], service: &str) -> CookieSigner {
        let all = hmac::Key::new(HMAC_SHA256, secret);
        let own = hmac::sign(&all, format!("sticky cookie of {service}").as_bytes());
        CookieSigner(hmac::Key::new(HMAC_SHA256, own.as_ref()))
    }

    /// The signature of a seat, and of the home that is not the seat itself, in lower-case hexadecimal digits.
    pub fn sign(&self, epoch: u32, seat: u16, home: Option<u16>) -> [u8; DIGITS] {
        const DIGIT: &[u8; 16] = b"0123456789abcdef";
        let mut message = [0; 8];
        message[..4].copy_from_slice(&epoch.to_be_bytes());
        message[4..6].copy_from_slice(&seat.to_be_bytes());
        message[6..].copy_from_slice(&home.unwrap_or_default().to_be_bytes());
        let length = if home.is_some() { 8 } else { 6 };
        let tag = hmac::sign(&self.0, &message[..length]);
        let mut text = [0; DIGITS];
        for (pair, byte) in text.chunks_exact_mut(2).zip(tag.as_ref()) {
            pair[0] = DIGIT[usize::from(byte >> 4)];
            pair[1] = DIGIT[usize::from(byte & 15)];
        }
        text
    }

    /// Whether this is the signature of that seat and home; the comparison takes constant time.
    pub fn holds(&self, epoch: u32, seat: u16, home: Option<u16>, given: &[u8]) -> bool {
        given.len() == DIGITS && self.sign(epoch, seat, home).ct_eq(given).into()
    }
}

impl fmt::Debug for CookieSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_its_service_its_epoch_and_its_seat() {
        let signer = CookieSigner::new(b"secret", "api");
        let signed = signer.sign(3, 17, None);
        assert!(signer.holds(3, 17, None, &signed));
        assert!(!signer.holds(4, 17, None, &signed) && !signer.holds(3, 18, None, &signed));
        let at_home = signer.sign(3, 17, Some(0));
        assert!(signer.holds(3, 17, Some(0), &at_home) && !signer.holds(3, 17, Some(1), &at_home));
        assert!(!signer.holds(3, 17, None, &at_home) && !signer.holds(3, 17, Some(0), &signed));
        for other in [
            CookieSigner::new(b"Secret", "api"),
            CookieSigner::new(b"secret", "web"),
        ] {
            assert!(!other.holds(3, 17, None, &signed));
        }
        for bit in 0..8 * DIGITS {
            let mut flipped = signed;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!signer.holds(3, 17, None, &flipped), "bit {bit}");
        }
        assert!(!signer.holds(3, 17, None, &signed[..DIGITS - 1]));
        assert!(!signer.holds(3, 17, None, b""));
    }
}
