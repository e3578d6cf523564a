//! Paths as routing compares them: spellings that an application treats as one path are equal here, too.

use std::borrow::Cow;

/// A path with unreserved characters decoded, without empty and dot segments (RFC 3986, 6.2.2.2 and 6.2.2.3).
///
/// For comparison only: the backend gets the path as it came. A slash that is written `%2F` stays as it is.
/// A path in the usual spelling is returned without a copy.
pub fn comparable(path: &str) -> Cow<'_, str> {
    let usual = |bytes: &[u8]| !bytes.contains(&b'%') && !bytes.windows(2).any(unusual);
    if usual(path.as_bytes()) || !path.starts_with('/') {
        return Cow::Borrowed(path);
    }
    let decoded = decoded(path);
    let mut kept: Vec<&str> = vec![];
    let mut open = false;
    for segment in decoded.split('/') {
        // A path that ends with a slash, or with a dot segment, is a folder.
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let mut plain = String::with_capacity(decoded.len() + 1);
    for segment in &kept {
        plain.push('/');
        plain.push_str(segment);
    }
    if open || kept.is_empty() {
        plain.push('/');
    }
    Cow::Owned(plain)
}

fn unusual(pair: &[u8]) -> bool {
    matches!(pair, b"//" | b"/.")
}

/// Decodes `%41` to `A`: letters, digits, `-`, `.`, `_` and `~` mean the same either way (RFC 3986, 2.3).
fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let hex = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut plain = String::with_capacity(path.len());
    let mut rest = path.char_indices();
    while let Some((at, letter)) = rest.next() {
        let coded = (letter == '%').then(|| Some(hex(at + 1)? * 16 + hex(at + 2)?));
        let unreserved = coded
            .flatten()
            .and_then(char::from_u32)
            .filter(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '.' | '_' | '~'));
        match unreserved {
            Some(one) => {
                plain.push(one);
                rest.nth(1);
            }
            None => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_compare_alike() {
        for (path, expected) in [
            ("/", "/"),
            ("/api/x", "/api/x"),
            ("/api/", "/api/"),
            ("/%61pi/x", "/api/x"),
            ("//api//x", "/api/x"),
            ("/public/../api/x", "/api/x"),
            ("/./api/x", "/api/x"),
            ("/%2e/api/%2E%2e/api/x", "/api/x"),
            ("/api/.", "/api/"),
            ("/api/x/..", "/api/"),
            ("/..", "/"),
            ("/../../etc", "/etc"),
            ("/api%2Fx", "/api%2Fx"),
            ("/%7Euser/%C3%A4", "/~user/%C3%A4"),
            ("/50%", "/50%"),
            ("/%4", "/%4"),
            ("/%zz/..", "/"),
            ("/a.b/.well-known/x", "/a.b/.well-known/x"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(comparable(path), expected, "{path}");
        }
    }

    #[test]
    fn the_usual_spelling_is_not_copied() {
        for path in ["/", "/api/users/17", "/a-b_c~d.html", "*"] {
            assert!(matches!(comparable(path), Cow::Borrowed(_)), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn comparing_twice_changes_nothing(path in "/[a-z%0-9./]{0,40}") {
            let once = comparable(&path).into_owned();
            // `%252e` is `%2e` only after two decodings; applications decode once, and so does this function.
            if !once.contains('%') {
                proptest::prop_assert_eq!(comparable(&once).into_owned(), once);
            }
        }
    }
}
