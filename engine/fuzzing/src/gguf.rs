//! The head of a model file.

use engine_text::GgufHeader;

/// Reads a head. One that is taken keeps its promises: tensors lie within the file and apart.
pub fn read(input: &[u8]) {
    let length = input.len() as u64;
    let Ok(header) = GgufHeader::parse(input, length) else { return };
    let mut ends = Vec::new();
    for tensor in header.tensors() {
        assert!(tensor.bytes.start <= tensor.bytes.end && tensor.bytes.end <= length);
        assert!((1..=4).contains(&tensor.shape.len()) && !tensor.shape.contains(&0));
        assert!(header.tensor(&tensor.name).is_some());
        ends.push((tensor.bytes.start, tensor.bytes.end));
    }
    ends.sort_unstable();
    assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0), "tensors lie apart");
}
