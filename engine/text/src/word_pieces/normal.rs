//! How a text is written before it is cut: as Google's BERT does it, by Hugging Face's library.

use unicode_categories::UnicodeCategories;
use unicode_normalization::UnicodeNormalization;

/// What is done to the letters of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Normal {
    /// Control characters go, and every space is the plain one.
    pub clean: bool,
    /// Each Chinese character is a word.
    pub ideographs_apart: bool,
    /// Marks above and below letters go.
    pub strip_accents: bool,
    /// Letters are small.
    pub lowercase: bool,
}

impl Normal {
    /// The text as it is cut.
    pub(super) fn apply(self, text: &str) -> String {
        let mut spaced = String::with_capacity(text.len() + text.len() / 8);
        for letter in text.chars() {
            let letter = match letter {
                '\t' | '\n' | '\r' if self.clean => ' ',
                '\0' | '\u{fffd}' if self.clean => continue,
                // the order is the library's: a space that is a control character goes
                letter if self.clean && letter.is_other() => continue,
                letter if self.clean && letter.is_whitespace() => ' ',
                letter => letter,
            };
            if self.ideographs_apart && is_ideograph(letter) {
                spaced.extend([' ', letter, ' ']);
            } else {
                spaced.push(letter);
            }
        }
        if self.strip_accents && !spaced.is_ascii() {
            spaced = spaced.nfd().filter(|letter| !letter.is_mark_nonspacing()).collect();
        }
        if self.lowercase {
            // letter by letter: what stands beside a sigma does not matter
            spaced = spaced.chars().flat_map(char::to_lowercase).collect();
        }
        spaced
    }
}

/// A mark that is a word of its own.
pub(super) fn is_punctuation(letter: char) -> bool {
    letter.is_ascii_punctuation() || letter.is_punctuation()
}

/// The blocks of Chinese characters that are cut apart. Two later ones, and those that Japanese and Korean
/// are spelled with, are not.
fn is_ideograph(letter: char) -> bool {
    matches!(
        u32::from(letter),
        0x3400..=0x4dbf
            | 0x4e00..=0x9fff
            | 0xf900..=0xfaff
            | 0x2_0000..=0x2_a6df
            | 0x2_a700..=0x2_b81f
            | 0x2_b920..=0x2_ceaf
            | 0x2_f800..=0x2_fa1f
    )
}
