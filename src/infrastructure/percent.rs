//! Percent escapes (RFC 3986, 2.1).

/// Resolves them, and says whether each `%` began one. One that does not stays.
pub(super) fn decoded(text: &str) -> (Vec<u8>, bool) {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (mut bytes, mut good) = (Vec::with_capacity(text.len()), true);
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped = match behind {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        good &= *first != b'%' || escaped.is_some();
        bytes.push(escaped.map_or(*first, |(high, low)| (high << 4 | low) as u8));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    (bytes, good)
}

/// Escapes everything but letters, digits and what is `plain`.
pub(super) fn encoded(bytes: &[u8], plain: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || plain.contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
