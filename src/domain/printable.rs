//! Text from outside, as it may be shown: a file name must not be able to drive a terminal, or to turn its line around.

use std::borrow::Cow;

/// Control characters, line ends, and the marks that change the direction of text (Unicode's `Bidi_Control`): what would
/// move the cursor or turn the text around.
pub fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with what is unseen spelled out, and everything else as it is: for names and labels, which have to stay what
/// they are.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unseen) {
        return text.into();
    }
    let spelled = |character: char| match is_unseen(character) {
        true => character.escape_unicode().to_string(),
        false => character.to_string(),
    };
    text.chars().map(spelled).collect::<String>().into()
}

/// The text with what is not printable written as an escape: control characters, and those that change the direction
/// of text.
pub fn printable(text: &str) -> String {
    text.chars().flat_map(printable_character).collect()
}

/// One character, or its escape.
pub fn printable_character(character: char) -> impl Iterator<Item = char> {
    // `escape_debug` also escapes quotes and backslashes, which are harmless and would no longer match what is stored.
    let plain = !character.is_control() && (character.is_ascii() || character.escape_debug().len() == 1);
    let escaped = (!plain).then(|| character.escape_debug());
    escaped.into_iter().flatten().chain(plain.then_some(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n\u{9b}ü"), "a\\u{1b}[2Jb\\r\\n\\u{9b}ü");
        assert_eq!(printable("gpj.\u{202e}bd.ppa\u{2066}"), "gpj.\\u{202e}bd.ppa\\u{2066}");
        assert_eq!(printable("it's \"C:\\x\" 日本"), "it's \"C:\\x\" 日本");
    }
}
