//! GPT-2's printable letters for bytes (`bytes_to_unicode` in openai/gpt-2's encoder.py):
//! vocabularies spell tokens in them, so that any byte is a letter and a space is `Ġ`.

use std::sync::LazyLock;

/// Letters beyond Latin-1 begin here.
const HIDDEN_FIRST: u32 = 256;

/// The letter of each byte.
static LETTERS: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut hidden = HIDDEN_FIRST..;
    std::array::from_fn(|byte| match byte as u8 {
        byte @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) => byte as char,
        _ => hidden.next().and_then(char::from_u32).expect("256 to 323 are letters"),
    })
});

/// The byte of each letter, by code point.
static BYTES: LazyLock<[Option<u8>; 324]> = LazyLock::new(|| {
    let mut bytes = [None; 324];
    for (byte, letter) in LETTERS.iter().enumerate() {
        bytes[*letter as usize] = Some(byte as u8);
    }
    bytes
});

/// The letter of a byte.
pub fn letter(byte: u8) -> char {
    LETTERS[byte as usize]
}

/// The byte of a letter.
pub fn byte(letter: char) -> Option<u8> {
    BYTES.get(letter as usize).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_letter_of_its_own() {
        for value in 0..=255 {
            assert_eq!(byte(letter(value)), Some(value));
        }
        assert_eq!(letter(b' '), 'Ġ');
        assert_eq!(letter(b'\n'), 'Ċ');
        assert_eq!(byte(' '), None);
        assert_eq!(byte('中'), None);
    }
}
