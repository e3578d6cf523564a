//! Checks of the parts of an HTTP/1 request (RFC 9110 and 9112).

use http::Method;

/// The most digits of a length: more would not fit in 63 bits.
const DIGITS_MAX: usize = 18;

/// The most hexadecimal digits of a chunk's size: more would not fit in 63 bits.
const HEX_DIGITS_MAX: usize = 15;

/// Whether a byte is a control character other than tab, which no line may have.
pub fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// Whether a text is a token (RFC 9110, 5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    let fits = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.iter().all(fits)
}

/// Whether a text is a request target (RFC 9112, 3.2): a path, a whole URL without a user, or the
/// asterisk of OPTIONS.
///
/// Characters that should be percent-encoded and that browsers send as they are, such as `|`, are
/// accepted.
pub fn is_target(target: &[u8], method: &[u8]) -> bool {
    let fits = |&byte: &u8| byte.is_ascii_graphic() && byte != b'#';
    let absolute = |scheme: &[u8]| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        let end = rest.iter().position(|byte| b"/?".contains(byte));
        let authority = &rest[..end.unwrap_or(rest.len())];
        start
            .eq_ignore_ascii_case(scheme)
            .then(|| is_host(authority) && !authority.is_empty())
    };
    target.iter().all(fits)
        && match target.first() {
            Some(b'/') => true,
            Some(b'*') => target.len() == 1 && method == Method::OPTIONS.as_str().as_bytes(),
            _ => absolute(b"http://")
                .or_else(|| absolute(b"https://"))
                .unwrap_or(false),
        }
}

/// Whether a text is a host name or an address, perhaps with a port; may be empty (RFC 9112, 3.2).
pub fn is_host(host: &[u8]) -> bool {
    let (name, port) = if host.first() == Some(&b'[') {
        let Some(end) = host.iter().position(|&byte| byte == b']') else {
            return false;
        };
        let inside = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
        if end < 3 || !host[1..end].iter().all(inside) {
            return false;
        }
        (&b""[..], &host[end + 1..])
    } else {
        let colon = host.iter().position(|&byte| byte == b':');
        host.split_at(colon.unwrap_or(host.len()))
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let digits = match port {
        [] => return name.iter().all(plain),
        [b':', digits @ ..] => digits,
        _ => return false,
    };
    name.iter().all(plain)
        && (digits.is_empty() || decimal(digits).is_some_and(|port| port <= u64::from(u16::MAX)))
}

/// Parses a decimal number of 1 to 18 digits; `None` for anything else.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if !(1..=DIGITS_MAX).contains(&text.len()) || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        text.iter()
            .fold(0, |sum, digit| 10 * sum + u64::from(digit - b'0')),
    )
}

/// Parses a hexadecimal number of 1 to 15 digits; `None` for anything else.
pub fn hexadecimal(text: &[u8]) -> Option<u64> {
    if !(1..=HEX_DIGITS_MAX).contains(&text.len()) {
        return None;
    }
    text.iter().try_fold(0, |sum, &digit| {
        let value = char::from(digit).to_digit(16)?;
        Some(16 * sum + u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for (host, good) in [
            ("app", true),
            ("", true),
            ("app:80", true),
            ("app:", true),
            ("a_b.c-d.~e.", true),
            ("[::1]", true),
            ("[2001:db8::1]:65535", true),
            ("app:65536", false),
            ("app:80:81", false),
            ("app:-1", false),
            ("a b", false),
            ("a/b", false),
            ("a,b", false),
            ("a@b", false),
            ("[::1", false),
            ("[]", false),
            ("[app]", false),
            ("[::1]x", false),
            ("\u{e9}", false),
        ] {
            assert_eq!(is_host(host.as_bytes()), good, "{host:?}");
        }
    }

    #[test]
    fn numbers_are_digits_and_fit() {
        assert_eq!(decimal(b"005"), Some(5));
        assert_eq!(
            decimal(b"999999999999999999"),
            Some(999_999_999_999_999_999)
        );
        assert_eq!(hexadecimal(b"0fF"), Some(255));
        for bad in [
            "",
            "+5",
            "-5",
            " 5",
            "5 ",
            "0x5",
            "1_0",
            "1000000000000000000",
            "\u{665}",
        ] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
        for bad in ["", "g", "+5", "0x5", "1000000000000000"] {
            assert_eq!(hexadecimal(bad.as_bytes()), None, "{bad}");
        }
    }
}
