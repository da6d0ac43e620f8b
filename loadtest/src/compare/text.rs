//! Words that are asked.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Words of a production line, all common enough to be one token or two.
const WORDS: [&str; 35] = [
    "valve", "pump", "sensor", "torque", "axis", "robot", "weld", "cell", "line", "pallet",
    "spindle", "coolant", "bearing", "shift", "batch", "quality", "camera", "drive", "motor",
    "fault", "alarm", "recipe", "order", "part", "station", "buffer", "conveyor", "gripper",
    "tool", "change", "setup", "cycle", "takt", "scrap", "rework",
];

/// The texts of one round: the same for each server, and others in each round, so that no cache
/// knows them.
#[derive(Clone, Copy, Debug)]
pub struct Texts(u64);

impl Texts {
    /// Those of a round, a function of the seed.
    pub fn of_round(seed: u64, round: u32) -> Self {
        Self(seed.wrapping_add(u64::from(round).wrapping_mul(0xd134_2543_de82_ef95)))
    }

    /// So many words, the text of that number.
    pub fn words(self, count: usize, number: u64) -> String {
        let mut rng = StdRng::seed_from_u64(self.0 ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let words = (0..count).filter_map(|_| WORDS.choose(&mut rng).copied());
        words.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_a_function_of_seed_round_and_number() {
        let texts = Texts::of_round(7, 1);
        let text = texts.words(50, 3);
        assert_eq!(text, Texts::of_round(7, 1).words(50, 3));
        assert_eq!(text.split(' ').count(), 50);
        for other in [
            texts.words(50, 4),
            Texts::of_round(7, 2).words(50, 3),
            Texts::of_round(8, 1).words(50, 3),
        ] {
            assert_ne!(other, text);
        }
    }
}
