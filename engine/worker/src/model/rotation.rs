//! Rotary positions, as the metadata describes them.

use std::thread::{Builder, JoinHandle};

use engine_kernels::{RopeScaling, RopeStyle, RopeTable};

use super::sizes::{CONTEXT_MAX, Sizes};
use super::{LoadError, Weights};

/// The base where a file names none.
pub(super) const BASE: f32 = 10_000.0;

/// A table that is computed while weights are read: it has an angle for each position of the
/// context.
pub(super) struct Turning(JoinHandle<candle_core::Result<RopeTable>>);

impl Turning {
    /// Begins with a table of `positions` for heads of which `width` elements are turned.
    pub(super) fn start(
        style: RopeStyle,
        width: usize,
        base: f32,
        scaling: RopeScaling,
        positions: usize,
    ) -> Result<Self, LoadError> {
        let compute = move || RopeTable::new(style, width, base, &scaling, positions);
        Builder::new().name("angles".into()).spawn(compute).map(Self).map_err(LoadError::Thread)
    }

    /// Waits for the table.
    pub(super) fn finish(self) -> Result<RopeTable, LoadError> {
        let table = self.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(table?)
    }
}

/// The table of a model whose layers all turn alike.
pub(super) fn read(
    weights: &mut Weights<'_>,
    style: RopeStyle,
    sizes: &Sizes,
) -> Result<Turning, LoadError> {
    let key = "rope.dimension_count";
    let width = weights.count_or(key, sizes.head_width, sizes.head_width)?;
    if !width.is_multiple_of(2) {
        return Err(weights.wrong(key, width, "it must be even"));
    }
    let base = weights.float_or("rope.freq_base", BASE)?;
    let scaling = scaling(weights, width, sizes.context)?;
    Turning::start(style, width, base, scaling, sizes.context)
}

/// How the first `width` elements of heads are turned in a context of that many positions.
///
/// LongRoPE has two lists of divisors. Which one holds is decided here, by the configured
/// context, and never by the length of a sequence: a key in the cache would change with it.
fn scaling(
    weights: &mut Weights<'_>,
    width: usize,
    context: usize,
) -> Result<RopeScaling, LoadError> {
    weights.refuse_unless("rope.scale_linear", "1")?;
    let key = "rope.scaling.type";
    match weights.text(key) {
        Some("longrope") => long_rope(weights, width, context),
        // the converter of Phi 3 names no type
        None | Some("none") if weights.has("rope_factors_long.weight") => {
            long_rope(weights, width, context)
        }
        None | Some("none" | "default") if weights.has("rope_freqs.weight") => {
            let divisors = weights.vector("rope_freqs.weight", width / 2)?.to_vec1()?;
            Ok(RopeScaling::Factors { divisors, attention_factor: 1.0 })
        }
        None | Some("none" | "default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: weights.float("rope.scaling.factor")? }),
        Some("yarn") => yarn(weights),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: weights.float("rope.scaling.factor")?,
            low_frequency_factor: weights.float("rope.scaling.low_freq_factor")?,
            high_frequency_factor: weights.float("rope.scaling.high_freq_factor")?,
            original_context: original_context(weights)?,
        }),
        Some(other) => {
            let expected = "this build knows none, linear, llama3, yarn and longrope";
            Err(weights.wrong(key, other, expected))
        }
    }
}

fn original_context(weights: &Weights<'_>) -> Result<u32, LoadError> {
    Ok(weights.count("rope.scaling.original_context_length", CONTEXT_MAX)? as u32)
}

fn yarn(weights: &Weights<'_>) -> Result<RopeScaling, LoadError> {
    weights.refuse_unless("rope.scaling.yarn_ext_factor", "1")?;
    weights.refuse_unless("rope.scaling.yarn_log_multiplier", "0")?;
    let factor = weights.float("rope.scaling.factor")?;
    let attention_factor = match weights.float_if_any("rope.scaling.attention_factor")? {
        Some(whole) => whole,
        None => {
            let extra = weights.float_or("rope.scaling.attn_factor", 1.0)?;
            extra * RopeScaling::yarn_attention_factor(factor)
        }
    };
    Ok(RopeScaling::Yarn {
        factor,
        original_context: original_context(weights)?,
        beta_fast: weights.float_or("rope.scaling.yarn_beta_fast", 32.0)?,
        beta_slow: weights.float_or("rope.scaling.yarn_beta_slow", 1.0)?,
        attention_factor,
    })
}

fn long_rope(
    weights: &mut Weights<'_>,
    width: usize,
    context: usize,
) -> Result<RopeScaling, LoadError> {
    let original = original_context(weights)?;
    let long = weights.vector("rope_factors_long.weight", width / 2)?;
    let short = weights.vector("rope_factors_short.weight", width / 2)?;
    let divisors = if context > original as usize { long } else { short };
    // GGUF files say what the makers' settings leave to be computed
    let extension = weights.float_or("rope.scaling.extension", 1.0)?;
    let computed = RopeScaling::long_attention_factor(extension, original);
    let attention_factor = match weights.float_if_any("rope.scaling.attention_factor")? {
        Some(factor) => factor,
        None => weights.float_or("rope.scaling.attn_factor", computed)?,
    };
    Ok(RopeScaling::Factors { divisors: divisors.to_vec1()?, attention_factor })
}
