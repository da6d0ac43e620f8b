//! When the requests of an open loop leave.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::options::REQUESTS_MAX;

/// A Poisson process: the gaps are independent and exponential, so that requests come in
/// bursts as users' do. The times are offsets from the start, and a function of the seed.
pub fn poisson(rate: f64, duration: Duration, seed: u64) -> Vec<Duration> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut at = 0.0;
    let gaps = std::iter::repeat_with(|| -(1.0 - rng.random::<f64>()).ln() / rate);
    gaps.map(|gap| {
        at += gap;
        at
    })
    .take_while(|at| *at < duration.as_secs_f64())
    .take(REQUESTS_MAX as usize)
    .map(Duration::from_secs_f64)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_function_of_the_seed() {
        let minute = Duration::from_secs(60);
        let times = poisson(5.0, minute, 7);
        assert_eq!(times, poisson(5.0, minute, 7));
        assert_ne!(times, poisson(5.0, minute, 8));
        assert!(times.is_sorted() && times.iter().all(|at| *at < minute));
    }

    #[test]
    fn counts_and_gaps_are_those_of_a_poisson_process() {
        let (rate, seconds) = (50.0, 2000);
        let times = poisson(rate, Duration::from_secs(seconds), 1);
        let expected = rate * seconds as f64;
        // five standard deviations of the count
        assert!((times.len() as f64 - expected).abs() < 5.0 * expected.sqrt(), "{}", times.len());
        let gaps: Vec<f64> =
            times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // an exponential distribution's deviation equals its mean; a steady clock's is 0
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{}", variance.sqrt() / mean);
    }
}
