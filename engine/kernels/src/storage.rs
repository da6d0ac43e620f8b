//! Candle's storage as slices.

use candle_core::{CpuStorage, Layout, Result, WithDType, bail};

/// The elements of a contiguous tensor.
pub(crate) fn contiguous<'a, T: WithDType>(
    op: &'static str,
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("{op}: the tensor {:?} is not contiguous", layout.shape())
    };
    Ok(&storage.as_slice::<T>()?[start..end])
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::{Device, Tensor};
    use rand::{Rng, SeedableRng, rngs::StdRng};

    /// Where tests run: on what `HANSE_DEVICE` names.
    pub(crate) fn device() -> Device {
        crate::DeviceName::of_tests().unwrap().open().unwrap()
    }

    /// Numbers in -1..1, on the device of the tests.
    pub(crate) fn noise(shape: &[usize], seed: u64) -> Tensor {
        let mut random = StdRng::seed_from_u64(seed);
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| random.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, shape, &device()).unwrap()
    }

    /// The bits of all elements.
    pub(crate) fn bits(x: &Tensor) -> Vec<u32> {
        let values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }
}
