//! Bytes as the corpora write them.

/// Reads `\r`, `\x00`, `\(A*3)`; inside of the last up to its end.
pub fn unescaped(text: &mut &[u8], inside: bool) -> Vec<u8> {
    let mut bytes = vec![];
    while let [first, rest @ ..] = *text {
        *text = rest;
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if inside && *first == b'*' && rest.get(count) == Some(&b')') {
            let times: usize = std::str::from_utf8(&rest[..count])
                .unwrap()
                .parse()
                .unwrap();
            *text = &rest[count + 1..];
            return bytes.repeat(times);
        }
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        *text = &rest[1..];
        match rest[0] {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'\\' => bytes.push(b'\\'),
            b'(' => bytes.extend(unescaped(text, true)),
            b'x' => {
                let digits = std::str::from_utf8(&rest[1..3]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                *text = &rest[3..];
            }
            other => panic!("\\{} means nothing", other as char),
        }
    }
    bytes
}
