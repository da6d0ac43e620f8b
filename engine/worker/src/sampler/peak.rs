//! The largest of many values.

/// Values that are looked through at once.
const PART: usize = 1024;
/// Largest values that are kept side by side: as many as the widest registers have lanes.
const LANES: usize = 16;
/// All bits but the sign.
const MAGNITUDE: u32 = 0x7fff_ffff;

/// Index of the largest value, none of which is NaN; ties go to the lowest, and so does a list of
/// nothing but minus infinity.
pub(super) fn argmax(values: &[f32]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (number, part) in values.chunks(PART).enumerate() {
        let largest = largest(part);
        if largest > best.1 {
            best = (number, largest);
        }
    }
    let (number, largest) = best;
    let start = number * PART;
    let place = values.get(start..).unwrap_or_default().iter().position(|value| *value == largest);
    start + place.unwrap_or(0)
}

fn largest(part: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = part.as_chunks::<LANES>();
    for values in whole {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |most, value| most.max(*value))
}

/// Whether every value is a number, and not infinite.
pub(super) fn are_finite(values: &[f32]) -> bool {
    // without a branch for each value: most are finite
    let infinite = f32::INFINITY.to_bits() as i32;
    values.chunks(PART).all(|part| {
        let magnitudes = part.iter().map(|value| (value.to_bits() & MAGNITUDE) as i32);
        magnitudes.fold(0, i32::max) < infinite
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest_wins() {
        for length in [1, 5, 16, 17, 1024, 1025, 5000] {
            let mut values: Vec<f32> =
                (0..length as u32).map(|n| -(((n * 7919) % 97) as f32) - 1.0).collect();
            for place in [length - 1, length / 2, 0] {
                values[place] = 3.0;
                assert_eq!(argmax(&values), place, "of {length}");
            }
        }
        assert_eq!(argmax(&[f32::NEG_INFINITY; 20]), 0);
        assert_eq!(argmax(&[f32::NEG_INFINITY, -5.0, f32::INFINITY, f32::INFINITY]), 2);
    }

    #[test]
    fn one_that_is_no_number_is_found_anywhere() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 15, 1023, 1024, 2999] {
                let mut values = vec![f32::MAX; 3000];
                assert!(are_finite(&values));
                values[place] = bad;
                assert!(!are_finite(&values), "{bad} at {place}");
            }
        }
    }
}
