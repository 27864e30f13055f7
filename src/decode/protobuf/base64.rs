//! Base64 with the usual alphabet: some serializers register a schema as the descriptor's bytes in it, instead of as text.

/// `None` if it is none, or not whole.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end().trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 3);
    for chunk in digits.chunks(4) {
        let bits = chunk.iter().try_fold(0_u32, |bits, digit| Some(bits << 6 | value(*digit)?))?;
        match chunk.len() {
            4 => bytes.extend(&bits.to_be_bytes()[1..]),
            3 => bytes.extend(&(bits << 6).to_be_bytes()[1..3]),
            2 => bytes.extend(&(bits << 12).to_be_bytes()[1..2]),
            _ => return None,
        }
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whatever_their_number() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYmFy", b"foobar"),
            ("+/8A", &[0xfb, 0xff, 0x00]),
        ] {
            assert_eq!(decoded(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["A", "AAAAA", "Zm9 v", "syntax = \"proto3\";", "é"] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
