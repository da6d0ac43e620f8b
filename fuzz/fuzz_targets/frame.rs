//! The body is in engine/fuzzing, where the tests run it too.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| engine_fuzzing::body("frame").expect("it is a target")(input));
