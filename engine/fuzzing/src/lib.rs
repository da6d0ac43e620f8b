//! What a fuzzer does with its bytes, for everything in the engine that reads what others wrote.
//!
//! `fuzz/` drives these bodies with libFuzzer; the tests drive them with the corpus in
//! `fuzz/corpus` and with mutations of it, so that every build runs them. A body may refuse its
//! input. It must not panic, hang, or take more memory than [`memory_max`] allows.

mod gguf;
mod template;
mod tokenizer;

/// One kind of input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// What is done with an input.
    pub body: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "gguf", body: gguf::read },
    Target { name: "tokenizer", body: tokenizer::build },
    Target { name: "template", body: template::render },
    #[cfg(feature = "frames")]
    Target { name: "frame", body: frame::decode },
];

/// The body of a target, by its name.
pub fn body(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|target| target.name == name).map(|target| target.body)
}

/// Most bytes of memory that an input of so many bytes may make us take. What a header says of
/// sizes must not matter, only how long the input is.
pub fn memory_max(input_bytes: usize) -> usize {
    (8 << 20) + 128 * input_bytes
}

#[cfg(feature = "frames")]
mod frame {
    //! Frames between fleet and worker. The first byte chooses the direction.

    /// Reads a frame, and reads again what it became.
    pub fn decode(input: &[u8]) {
        let Some((direction, bytes)) = input.split_first() else { return };
        if direction % 2 == 0 {
            if let Ok(down) = engine_wire::bytes::read_down(bytes) {
                let again = engine_wire::bytes::read_down(&engine_wire::bytes::write_down(down));
                assert!(again.is_ok(), "what was read can be written and read: {again:?}");
            }
        } else if let Ok(up) = engine_wire::bytes::read_up(bytes) {
            let again = engine_wire::bytes::read_up(&engine_wire::bytes::write_up(up));
            assert!(again.is_ok(), "what was read can be written and read: {again:?}");
        }
    }
}
