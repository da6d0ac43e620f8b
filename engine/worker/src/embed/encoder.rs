//! BERT (arXiv 1810.04805), and the mean of its last rows (arXiv 1908.10084).

use candle_core::{Result, Tensor};
use engine_kernels::{Activations, QMatrix, gelu, layer_norm, whole_attention};
use engine_text::EncoderConfig;

use super::load::Tensors;
use crate::model::LoadError;

/// An encoder with its weights, on the CPU.
pub(super) struct Encoder {
    config: EncoderConfig,
    tokens: QMatrix,
    positions: QMatrix,
    /// (1, width): what is added to every row, since every text is a first segment.
    segment: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
}

/// A layer normalization.
struct Norm {
    weight: Tensor,
    bias: Tensor,
}

/// A matrix and what is added after it.
struct Linear {
    matrix: QMatrix,
    bias: Tensor,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    output_norm: Norm,
    inner: Linear,
    outer: Linear,
    outer_norm: Norm,
}

impl Linear {
    fn read(
        tensors: &mut Tensors<'_>,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> std::result::Result<Self, LoadError> {
        let matrix = tensors.matrix(&format!("{name}.weight"), rows, columns)?;
        Ok(Self { matrix, bias: tensors.vector(&format!("{name}.bias"), rows)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.matrix.forward(x, Activations::F32)?.broadcast_add(&self.bias)
    }
}

impl Norm {
    fn read(
        tensors: &mut Tensors<'_>,
        name: &str,
        width: usize,
    ) -> std::result::Result<Self, LoadError> {
        Ok(Self {
            weight: tensors.vector(&format!("{name}.weight"), width)?,
            bias: tensors.vector(&format!("{name}.bias"), width)?,
        })
    }

    fn forward(&self, x: &Tensor, epsilon: f32) -> Result<Tensor> {
        layer_norm(x, &self.weight, &self.bias, epsilon)
    }
}

impl Layer {
    fn read(
        tensors: &mut Tensors<'_>,
        index: usize,
        config: &EncoderConfig,
    ) -> std::result::Result<Self, LoadError> {
        let EncoderConfig { width, inner, .. } = *config;
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        Ok(Self {
            query: Linear::read(tensors, &name("attention.self.query"), width, width)?,
            key: Linear::read(tensors, &name("attention.self.key"), width, width)?,
            value: Linear::read(tensors, &name("attention.self.value"), width, width)?,
            output: Linear::read(tensors, &name("attention.output.dense"), width, width)?,
            output_norm: Norm::read(tensors, &name("attention.output.LayerNorm"), width)?,
            inner: Linear::read(tensors, &name("intermediate.dense"), inner, width)?,
            outer: Linear::read(tensors, &name("output.dense"), width, inner)?,
            outer_norm: Norm::read(tensors, &name("output.LayerNorm"), width)?,
        })
    }

    fn forward(&self, x: &Tensor, config: &EncoderConfig, lengths: &[usize]) -> Result<Tensor> {
        let (query, key) = (self.query.forward(x)?, self.key.forward(x)?);
        let value = self.value.forward(x)?;
        let mixed = whole_attention(&query, &key, &value, config.heads, lengths)?;
        let x = (self.output.forward(&mixed)? + x)?;
        let x = self.output_norm.forward(&x, config.epsilon)?;
        let bent = gelu(&self.inner.forward(&x)?)?;
        let x = (self.outer.forward(&bent)? + x)?;
        self.outer_norm.forward(&x, config.epsilon)
    }
}

impl Encoder {
    /// Reads every layer.
    pub(super) fn read(
        tensors: &mut Tensors<'_>,
        config: EncoderConfig,
    ) -> std::result::Result<Self, LoadError> {
        let EncoderConfig { width, positions, vocabulary, segments, .. } = config;
        let name = |part: &str| format!("embeddings.{part}");
        let tokens = tensors.matrix(&name("word_embeddings.weight"), vocabulary, width)?;
        let positions = tensors.matrix(&name("position_embeddings.weight"), positions, width)?;
        let kinds = tensors.matrix(&name("token_type_embeddings.weight"), segments, width)?;
        let norm = Norm::read(tensors, &name("LayerNorm"), width)?;
        let mut layer = |index| Layer::read(tensors, index, &config);
        let layers = (0..config.layers).map(&mut layer).collect::<std::result::Result<_, _>>()?;
        Ok(Self { config, tokens, positions, segment: kinds.rows(&[0])?, norm, layers })
    }

    /// Its sizes.
    pub(super) fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The vector of each text: the mean of its rows, not normalized yet, in double precision. Texts have
    /// between 1 and [`EncoderConfig::positions`] ids below the vocabulary.
    pub(super) fn forward(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f64>>> {
        let lengths: Vec<usize> = texts.iter().map(|ids| ids.len()).collect();
        let ids = texts.concat();
        let positions: Vec<u32> = lengths.iter().flat_map(|length| 0..*length as u32).collect();
        let x = (self.tokens.rows(&ids)? + self.positions.rows(&positions)?)?;
        let mut x = self.norm.forward(&x.broadcast_add(&self.segment)?, self.config.epsilon)?;
        for layer in &self.layers {
            x = layer.forward(&x, &self.config, &lengths)?;
        }
        let rows = x.flatten_all()?.to_vec1::<f32>()?;
        let mut rows = rows.chunks_exact(self.config.width);
        Ok(lengths.iter().map(|length| mean(rows.by_ref().take(*length))).collect())
    }
}

/// Order: rows, ascending.
fn mean<'a>(rows: impl ExactSizeIterator<Item = &'a [f32]>) -> Vec<f64> {
    let count = rows.len() as f64;
    let mut sums: Vec<f64> = Vec::new();
    for row in rows {
        sums.resize(row.len(), 0.0);
        sums.iter_mut().zip(row).for_each(|(sum, number)| *sum += f64::from(*number));
    }
    sums.into_iter().map(|sum| sum / count).collect()
}

/// The first `dimensions` of a vector, of length 1; `None` where they have no direction.
pub(super) fn normalized(vector: &[f64], dimensions: usize) -> Option<Vec<f32>> {
    let part = &vector[..dimensions];
    let length = part.iter().map(|number| number * number).sum::<f64>().sqrt();
    let is_sound = length.is_finite() && length > 1e-12;
    is_sound.then(|| part.iter().map(|number| (number / length) as f32).collect())
}

#[cfg(test)]
mod tests;
