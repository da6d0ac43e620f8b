//! Encodes values in ggml's types, as `ggml-quants.c` lays them out: 32 values a block.

use half::f16;

/// A tensor type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(non_camel_case_types, reason = "the names are ggml's")]
pub enum WeightType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// `d · (q − 8)`, two 4-bit values a byte.
    Q4_0,
    /// `d · q + m`, two 4-bit values a byte.
    Q4_1,
    /// `d · q`, 8-bit values.
    Q8_0,
}

impl WeightType {
    /// The type's number in the file.
    pub fn ggml_id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q8_0 => 8,
        }
    }

    /// The values' bytes.
    pub fn encode(self, values: &[f32]) -> Vec<u8> {
        let encode = match self {
            Self::F32 => return values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => {
                return values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
            }
            Self::Q4_0 => q4_0,
            Self::Q4_1 => q4_1,
            Self::Q8_0 => q8_0,
        };
        let (blocks, []) = values.as_chunks::<32>() else {
            panic!("quantized types take multiples of 32 values");
        };
        blocks.iter().flat_map(encode).collect()
    }
}

fn nibbles(q: [u8; 32]) -> impl Iterator<Item = u8> {
    (0..16).map(move |i| q[i] | q[i + 16] << 4)
}

fn q4_0(block: &[f32; 32]) -> Vec<u8> {
    let peak = block.iter().copied().fold(0.0f32, |a, b| if b.abs() > a.abs() { b } else { a });
    let d = peak / -8.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let q = block.map(|value| (value * inverse + 8.5).clamp(0.0, 15.0) as u8);
    f16::from_f32(d).to_le_bytes().into_iter().chain(nibbles(q)).collect()
}

fn q4_1(block: &[f32; 32]) -> Vec<u8> {
    let low = block.iter().copied().fold(f32::INFINITY, f32::min);
    let high = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = (high - low) / 15.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let q = block.map(|value| ((value - low) * inverse + 0.5).clamp(0.0, 15.0) as u8);
    let scales = [f16::from_f32(d), f16::from_f32(low)];
    scales.iter().flat_map(|scale| scale.to_le_bytes()).chain(nibbles(q)).collect()
}

fn q8_0(block: &[f32; 32]) -> Vec<u8> {
    let peak = block.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let d = peak / 127.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let q = block.map(|value| (value * inverse).round() as i8 as u8);
    f16::from_f32(d).to_le_bytes().into_iter().chain(q).collect()
}
