//! Counter-based randomness: each draw is a pure function of its name.
//!
//! Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
//! 1, 2, 3" (SC 2011).

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

fn philox([mut a, mut b, mut c, mut d]: [u32; 4], [mut left, mut right]: [u32; 2]) -> [u32; 4] {
    let wide = |x: u32, y: u32| {
        let product = x as u64 * y as u64;
        ((product >> 32) as u32, product as u32)
    };
    for _ in 0..10 {
        let (high0, low0) = wide(MULTIPLIERS[0], a);
        let (high1, low1) = wide(MULTIPLIERS[1], c);
        [a, b, c, d] = [high1 ^ b ^ left, low1, high0 ^ d ^ right, low0];
        left = left.wrapping_add(WEYL[0]);
        right = right.wrapping_add(WEYL[1]);
    }
    [a, b, c, d]
}

/// A number in [0, 1) with 53 random bits, for one draw of one choice.
pub(super) fn uniform(seed: u64, choice: u8, index: u32) -> f64 {
    let key = [seed as u32, (seed >> 32) as u32];
    let [low, high, _, _] = philox([index, choice as u32, 0, 0], key);
    let bits = (high as u64) << 32 | low as u64;
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `kat_vectors` of the authors' Random123.
    #[test]
    fn known_answers() {
        let words = |text: &str| -> Vec<u32> {
            text.split(' ').map(|word| u32::from_str_radix(word, 16).expect("hex")).collect()
        };
        for (counter, key, answer) in [
            ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
            (
                "ffffffff ffffffff ffffffff ffffffff",
                "ffffffff ffffffff",
                "408f276d 41c83b0e a20bc7c6 6d5451fd",
            ),
            (
                "243f6a88 85a308d3 13198a2e 03707344",
                "a4093822 299f31d0",
                "d16cfe09 94fdcceb 5001e420 24126ea1",
            ),
        ] {
            let counter = words(counter).try_into().expect("four words");
            let key = words(key).try_into().expect("two words");
            assert_eq!(philox(counter, key).to_vec(), words(answer));
        }
    }

    #[test]
    fn seed_choice_and_index_each_name_another_draw() {
        let draws = [
            uniform(1, 0, 0),
            uniform(2, 0, 0),
            uniform(1 << 32, 0, 0),
            uniform(1, 1, 0),
            uniform(1, 0, 1),
        ];
        for (index, draw) in draws.iter().enumerate() {
            assert!((0.0..1.0).contains(draw));
            assert!(!draws[..index].contains(draw));
        }
    }
}
