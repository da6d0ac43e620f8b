//! The tokenizer of a model file.

use engine_text::{Control, GgufHeader, Tokenizer};

/// Text that is hard for one tokenizer or another.
const HARD: &str =
    "It's 12345 naïve  tabs\t\r\n\n 漢字 👩‍💻 e\u{301}\u{200d}<|im_end|></s> \u{feff}Ⅷ½";

/// Builds a tokenizer. One that is built can be used: its ids are its own, and text that it
/// reads comes back.
pub fn build(input: &[u8]) {
    let Ok(header) = GgufHeader::parse(input, input.len() as u64) else { return };
    let Ok(tokenizer) = Tokenizer::from_gguf(&header) else { return };
    for control in [Control::Never, Control::Except(&[])] {
        let ids = tokenizer.encode(HARD, control);
        assert!(ids.iter().all(|id| *id < tokenizer.vocabulary()), "{ids:?}");
        let _ = tokenizer.decode(&ids);
        if control == Control::Never {
            assert!(!ids.iter().any(|id| tokenizer.is_control(*id)), "text stays text: {ids:?}");
        }
    }
    for id in tokenizer.end_tokens().iter().copied().chain(tokenizer.bos()) {
        assert!(id < tokenizer.vocabulary());
    }
}
