//! WebSockets as RFC 6455 has them, as far as an echo needs them.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

/// What the server must answer to a `Sec-WebSocket-Key` (RFC 6455, 4.2.2).
pub fn accept(key: &str) -> String {
    base64(&sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()))
}

/// Sends back every frame, until the other side ends.
pub fn echo(reader: &mut BufReader<TcpStream>, out: &mut TcpStream) -> std::io::Result<()> {
    const CLOSE: u8 = 8;
    const PING: u8 = 9;
    const PONG: u8 = 10;
    loop {
        let [first, second] = take(reader)?;
        let length = match second & 127 {
            126 => u64::from(u16::from_be_bytes(take(reader)?)),
            127 => u64::from_be_bytes(take(reader)?),
            short => u64::from(short),
        };
        let mask: [u8; 4] = take(reader)?;
        let mut body = vec![0; length.min(1 << 20) as usize];
        reader.read_exact(&mut body)?;
        body.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        let kind = if first & 15 == PING { PONG } else { first & 15 };
        let mut frame = vec![128 | kind];
        match body.len() {
            short @ ..126 => frame.push(short as u8),
            long @ ..65_536 => frame.extend([&[126][..], &(long as u16).to_be_bytes()].concat()),
            huge => frame.extend([&[127][..], &(huge as u64).to_be_bytes()].concat()),
        }
        frame.extend(body);
        out.write_all(&frame)?;
        if kind == CLOSE {
            return Ok(());
        }
    }
}

fn take<const N: usize>(reader: &mut BufReader<TcpStream>) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// FIPS 180-4, 6.1.
fn sha1(text: &[u8]) -> [u8; 20] {
    let mut state = [0x6745_2301_u32, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
    let mut bytes = text.to_vec();
    bytes.push(128);
    bytes.resize(bytes.len().next_multiple_of(64), 0);
    if bytes.len() < text.len() + 9 {
        bytes.resize(bytes.len() + 64, 0);
    }
    let end = bytes.len() - 8;
    bytes[end..].copy_from_slice(&(text.len() as u64 * 8).to_be_bytes());
    for block in bytes.chunks(64) {
        let mut w: Vec<u32> = block.chunks(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]])).collect();
        for t in 16..80 {
            w.push((w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16]).rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (t, word) in w.into_iter().enumerate() {
            let (f, k) = match t / 20 {
                0 => (b & c | !b & d, 0x5A82_7999),
                1 => (b ^ c ^ d, 0x6ED9_EBA1),
                2 => (b & c | b & d | c & d, 0x8F1B_BCDC),
                _ => (b ^ c ^ d, 0xCA62_C1D6_u32),
            };
            let sum = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(word);
            (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
        }
        for (old, new) in state.iter_mut().zip([a, b, c, d, e]) {
            *old = old.wrapping_add(new);
        }
    }
    let mut digest = [0; 20];
    digest.chunks_mut(4).zip(state).for_each(|(four, word)| four.copy_from_slice(&word.to_be_bytes()));
    digest
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let part = |at: usize| u32::from(*three.get(at).unwrap_or(&0));
        let all = part(0) << 16 | part(1) << 8 | part(2);
        for at in 0..4 {
            let sign = SIGNS[(all >> (18 - 6 * at)) as usize & 63] as char;
            text.push(if at > three.len() { '=' } else { sign });
        }
    }
    text
}
