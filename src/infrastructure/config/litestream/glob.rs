//! The patterns of `dir` entries: Go's `filepath.Match` on the base name.

/// Whether `name` matches all of `pattern`. A malformed pattern is an error whatever the name, unlike in Go, where
/// it may go unnoticed.
pub(crate) fn matches(pattern: &str, name: &str) -> Result<bool, &'static str> {
    Ok(run(&parse(pattern)?, &name.chars().collect::<Vec<_>>()))
}

/// Whether a pattern is well formed.
pub(crate) fn check(pattern: &str) -> Result<(), &'static str> {
    parse(pattern).map(|_| ())
}

enum Token {
    /// `*`
    Any,
    /// `?`
    One,
    Literal(char),
    /// `[a-z]`, `[^a-z]`
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

fn parse(pattern: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Literal(characters.next().ok_or("a `\\` at the end")?),
            '[' => {
                let negated = characters.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || characters.next_if_eq(&']').is_none() {
                    let low = bound(&mut characters)?;
                    let high = if characters.next_if_eq(&'-').is_some() { bound(&mut characters)? } else { low };
                    ranges.push((low, high));
                }
                Token::Set { negated, ranges }
            }
            other => Token::Literal(other),
        });
    }
    Ok(tokens)
}

fn bound(characters: &mut impl Iterator<Item = char>) -> Result<char, &'static str> {
    match characters.next() {
        None => Err("a `[` without its `]`"),
        Some('-' | ']') => Err("an empty range in `[…]`"),
        Some('\\') => characters.next().ok_or("a `\\` at the end"),
        Some(character) => Ok(character),
    }
}

/// Greedy, going back to the last `*` only: at worst the product of the lengths.
fn run(tokens: &[Token], name: &[char]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (tokens.get(token), name.get(at)) {
            (None, None) => return true,
            (Some(Token::Any), _) => {
                retry = Some((token + 1, at));
                token += 1;
            }
            (Some(one), Some(&character)) if accepts(one, character) => {
                token += 1;
                at += 1;
            }
            _ => match retry {
                Some((after, from)) if from < name.len() && name[from] != '/' => {
                    retry = Some((after, from + 1));
                    (token, at) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

fn accepts(token: &Token, character: char) -> bool {
    match token {
        Token::Any => false,
        Token::One => character != '/',
        Token::Literal(literal) => *literal == character,
        Token::Set { negated, ranges } => {
            ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != *negated
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn matches_as_filepath_match() {
        for (pattern, name, expected) in [
            ("*.db", "app.db", true),
            ("*.db", ".db", true),
            ("*.db", "app.db-wal", false),
            ("*", "", true),
            ("app.??", "app.db", true),
            ("app.?", "app.db", false),
            ("[a-c]*.db", "b1.db", true),
            ("[^a-c]*.db", "b1.db", false),
            ("[abc]", "b", true),
            ("\\*.db", "*.db", true),
            ("\\*.db", "a.db", false),
            ("a*b*c", "aXXbYYbZc", true),
            ("a*b*c", "aXXbYYbZ", false),
            ("tenant-*[0-9].sqlite*", "tenant-a7.sqlite3", true),
            ("ä?.db", "äö.db", true),
        ] {
            assert_eq!(matches(pattern, name), Ok(expected), "{pattern} {name}");
        }
    }

    #[test]
    fn refuses_malformed_patterns() {
        for (pattern, expected) in [
            ("[", "a `[` without its `]`"),
            ("[a", "a `[` without its `]`"),
            ("[]a]", "an empty range in `[…]`"),
            ("[-a]", "an empty range in `[…]`"),
            ("a\\", "a `\\` at the end"),
        ] {
            assert_eq!(matches(pattern, "a"), Err(expected), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(pattern in "[\\[\\]*?^\\\\a-]{0,16}", name in "[a\\-*]{0,16}") {
            let _ = matches(&pattern, &name);
        }

        #[test]
        fn a_name_matches_itself(name in "[a-z.]{0,16}") {
            prop_assert_eq!(matches(&name, &name), Ok(true));
            prop_assert_eq!(matches(&format!("*{name}*"), &format!("x{name}y")), Ok(true));
        }
    }
}
