//! ggml's quantized blocks, taken apart.
//!
//! Every quantized weight is `scale * (code - zero) + low`, with an unsigned code, one zero point for
//! the whole kind and a scale and a low end for each 16 or 32 columns. Source of the layouts:
//! `ggml-common.h` and `ggml-quants.c` (`dequantize_row_*`).

use half::f16;

use crate::weight_kind::WeightKind;

/// 32 columns of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Columns32 {
    pub(crate) codes: [u8; 32],
    /// Of the first and the last 16 columns; equal where the kind scales 32 at once.
    pub(crate) scale: [f32; 2],
    /// What is added after scaling; 0 where the kind has a zero point instead.
    pub(crate) low: [f32; 2],
}

/// Takes the blocks of one row apart: `bytes` are whole blocks, `out` has one entry per 32 columns.
///
/// # Panics
/// If the lengths do not fit, or if `kind` is not quantized.
pub(crate) fn unpack_row(kind: WeightKind, bytes: &[u8], out: &mut [Columns32]) {
    let per_block = kind.block_columns() / 32;
    assert!(per_block > 0, "{kind:?} has no blocks");
    let blocks = bytes.chunks_exact(kind.block_bytes());
    assert_eq!(blocks.len() * per_block, out.len());
    for (block, out) in blocks.zip(out.chunks_exact_mut(per_block)) {
        match kind {
            WeightKind::Q4_0 => out[0] = small(&block[..2], None, None, &block[2..]),
            WeightKind::Q4_1 => out[0] = small(&block[..2], Some(&block[2..4]), None, &block[4..]),
            WeightKind::Q5_0 => out[0] = small(&block[..2], None, Some(&block[2..6]), &block[6..]),
            WeightKind::Q5_1 => {
                out[0] = small(&block[..2], Some(&block[2..4]), Some(&block[4..8]), &block[8..]);
            }
            WeightKind::Q8_0 => out[0] = q8_0(block),
            WeightKind::Q2K => q2k(block, out),
            WeightKind::Q3K => q3k(block, out),
            WeightKind::Q4K => q4k(block, out),
            WeightKind::Q5K => q5k(block, out),
            WeightKind::Q6K => q6k(block, out),
            WeightKind::F32 | WeightKind::F16 | WeightKind::BF16 => unreachable!("asserted above"),
        }
    }
}

fn half_at(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// Q4_0, Q4_1, Q5_0, Q5_1: byte `j` has columns `j` and `j + 16`, `high` a fifth bit for each column.
fn small(scale: &[u8], low: Option<&[u8]>, high: Option<&[u8]>, nibbles: &[u8]) -> Columns32 {
    let high = high.map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let mut codes = [0; 32];
    for (column, code) in codes.iter_mut().enumerate() {
        let nibble = (nibbles[column % 16] >> (column / 16 * 4)) & 0x0f;
        *code = nibble | ((high >> column & 1) << 4) as u8;
    }
    Columns32 { codes, scale: [half_at(scale); 2], low: [low.map_or(0.0, half_at); 2] }
}

fn q8_0(block: &[u8]) -> Columns32 {
    let mut codes = [0; 32];
    for (code, byte) in codes.iter_mut().zip(&block[2..]) {
        *code = byte ^ 0x80;
    }
    Columns32 { codes, scale: [half_at(block); 2], low: [0.0; 2] }
}

/// 16 bytes of scales and lows, 64 of 2-bit codes, scale, scale of the lows.
fn q2k(block: &[u8], out: &mut [Columns32]) {
    let (scales, codes, d, dmin) =
        (&block[..16], &block[16..80], half_at(&block[80..]), half_at(&block[82..]));
    for (i, out) in out.iter_mut().enumerate() {
        let (bytes, shift) = (&codes[i / 4 * 32..], i % 4 * 2);
        for (code, byte) in out.codes.iter_mut().zip(bytes) {
            *code = (byte >> shift) & 3;
        }
        for sub in 0..2 {
            let packed = scales[2 * i + sub];
            out.scale[sub] = d * f32::from(packed & 15);
            out.low[sub] = -(dmin * f32::from(packed >> 4));
        }
    }
}

/// 32 bytes of third bits, 64 of 2-bit codes, 16 scales of 6 bits, scale.
fn q3k(block: &[u8], out: &mut [Columns32]) {
    let (high, codes, packed, d) =
        (&block[..32], &block[32..96], &block[96..108], half_at(&block[108..]));
    let scale = |i: usize| {
        let low = (packed[i % 8] >> (i / 8 * 4)) & 15;
        let high = (packed[8 + i % 4] >> (i / 4 * 2)) & 3;
        d * f32::from(i16::from(low | high << 4) - 32)
    };
    for (i, out) in out.iter_mut().enumerate() {
        for (j, code) in out.codes.iter_mut().enumerate() {
            let low = (codes[i / 4 * 32 + j] >> (i % 4 * 2)) & 3;
            *code = low | (high[j] >> i & 1) << 2;
        }
        out.scale = [scale(2 * i), scale(2 * i + 1)];
        out.low = [0.0; 2];
    }
}

/// Scale and low `i` of 8, of 6 bits each, in 12 bytes.
fn scale_and_low(i: usize, packed: &[u8]) -> (u8, u8) {
    if i < 4 {
        return (packed[i] & 63, packed[i + 4] & 63);
    }
    let scale = (packed[i + 4] & 15) | (packed[i - 4] >> 6) << 4;
    let low = (packed[i + 4] >> 4) | (packed[i] >> 6) << 4;
    (scale, low)
}

/// Scale, scale of the lows, 8 scales and lows, 128 bytes of nibbles.
fn q4k(block: &[u8], out: &mut [Columns32]) {
    let (d, dmin, packed, nibbles) =
        (half_at(block), half_at(&block[2..]), &block[4..16], &block[16..]);
    for (i, out) in out.iter_mut().enumerate() {
        let (scale, low) = scale_and_low(i, packed);
        out.scale = [d * f32::from(scale); 2];
        out.low = [-(dmin * f32::from(low)); 2];
        for (code, byte) in out.codes.iter_mut().zip(&nibbles[i / 2 * 32..]) {
            *code = (byte >> (i % 2 * 4)) & 15;
        }
    }
}

/// As Q4_K, with 32 bytes of fifth bits before the nibbles.
fn q5k(block: &[u8], out: &mut [Columns32]) {
    let high = &block[16..48];
    let (d, dmin, packed, nibbles) =
        (half_at(block), half_at(&block[2..]), &block[4..16], &block[48..]);
    for (i, out) in out.iter_mut().enumerate() {
        let (scale, low) = scale_and_low(i, packed);
        out.scale = [d * f32::from(scale); 2];
        out.low = [-(dmin * f32::from(low)); 2];
        for (j, code) in out.codes.iter_mut().enumerate() {
            *code = (nibbles[i / 2 * 32 + j] >> (i % 2 * 4)) & 15 | (high[j] >> i & 1) << 4;
        }
    }
}

/// 128 bytes of low nibbles, 64 of upper 2 bits, 16 signed scales, scale.
fn q6k(block: &[u8], out: &mut [Columns32]) {
    let (low, high, scales, d) =
        (&block[..128], &block[128..192], &block[192..208], half_at(&block[208..]));
    let scale = |i: usize| d * f32::from(scales[i] as i8);
    for (i, out) in out.iter_mut().enumerate() {
        // each half of 128 columns has four parts of 32
        let (half, part) = (i / 4, i % 4);
        for (j, code) in out.codes.iter_mut().enumerate() {
            let nibble = (low[half * 64 + part % 2 * 32 + j] >> (part / 2 * 4)) & 15;
            *code = nibble | ((high[half * 32 + j] >> (part * 2)) & 3) << 4;
        }
        out.scale = [scale(2 * i), scale(2 * i + 1)];
        out.low = [0.0; 2];
    }
}
