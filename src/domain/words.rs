//! Enumerations of words: each variant is declared once, with the word that labels, files and people know it by.

/// Declares such an enumeration. Its words are in no other list: `ALL` has every variant in the order of its
/// declaration, `as_str` gives the word.
macro_rules! words {
    ($(#[$attribute:meta])* $visibility:vis enum $name:ident {
        $($(#[$note:meta])* $variant:ident = $word:literal,)*
    }) => {
        $(#[$attribute])*
        $visibility enum $name {
            $($(#[$note])* $variant,)*
        }

        impl $name {
            /// Every variant, in the order of the declaration.
            $visibility const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word of a variant.
            $visibility fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

pub(crate) use words;
