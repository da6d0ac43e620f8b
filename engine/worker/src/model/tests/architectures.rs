//! Every architecture on small random weights: logits against candle-transformers on the same tensors,
//! and the same bits however a prompt is cut.

mod folders;
mod kinds;
mod reference;

use engine_tiny::{Architecture, TinyModel, Value, WeightType};

use super::super::*;
use super::{KvKind, reserved, setup};
use reference::Reference;

/// Longer than every window here, and than a span of attention.
const TOKENS: usize = 300;
const WINDOW: u32 = 40;
/// Lengths of the prompts whose last logits are compared: around the beginning, the window and the span.
const LENGTHS: [usize; 9] = [1, 2, 31, 40, 41, 42, 100, 257, 300];

fn tiny(architecture: Architecture) -> TinyModel {
    TinyModel {
        architecture,
        layers: 3,
        context: 512,
        weights: WeightType::F32,
        embedding: WeightType::F32,
        ..TinyModel::default()
    }
}

fn prompt(model: &TinyModel) -> Vec<u32> {
    (0..TOKENS as u32)
        .map(|i| i.wrapping_mul(2_654_435_761) >> 7)
        .map(|x| x % model.vocabulary())
        .collect()
}

fn loaded(model: &TinyModel, setup: Setup) -> Loaded {
    let file = tempfile::NamedTempFile::new().unwrap();
    model.write(file.path()).unwrap();
    load(file.path(), setup, &mut |_| {}).unwrap()
}

/// The logits of every position, computed in chunks of these lengths (the last again and again).
fn logits(model: &dyn Model, prompt: &[u32], chunks: &[usize]) -> Vec<Vec<f32>> {
    let (cache, tables) = reserved(model, prompt.len() as u32, KvKind::F16);
    let mut lengths = chunks.iter().chain(std::iter::repeat(chunks.last().unwrap()));
    let (mut rows, mut start) = (Vec::new(), 0);
    while start < prompt.len() {
        let end = prompt.len().min(start + lengths.next().unwrap());
        let mut batch = Batch::default();
        let ids = prompt[start..end].iter().copied();
        batch.push(ids, start as u32, &tables, (end - start) as u32);
        rows.extend(model.forward(&batch, &cache).unwrap().to_vec2::<f32>().unwrap());
        start = end;
    }
    rows
}

/// Whole, in chunks and token by token are one; with floats, the reference is near.
fn check(model: &TinyModel) {
    check_loaded(model, &*loaded(model, setup(Activations::F32)).model);
}

fn check_loaded(model: &TinyModel, exact: &dyn Model) {
    let prompt = prompt(model);
    let what = format!("{:?} {:?}", model.architecture, model.metadata);
    let whole = logits(exact, &prompt, &[TOKENS]);
    assert!(logits(exact, &prompt, &[100, 1, 37]) == whole, "{what}: chunks");
    assert!(logits(exact, &prompt, &[1]) == whole, "{what}: token by token");
    let mut reference = Reference::new(model);
    for length in LENGTHS {
        let expected = reference.last_logits(&prompt[..length]);
        let away = distance(&expected, &whole[length - 1]);
        // keys and values are rounded to 11 bits
        assert!(away < 5e-3, "{what}, {length} tokens: {away}");
    }
}

/// How long the difference is, of the length of what is expected.
fn distance(expected: &[f32], ours: &[f32]) -> f32 {
    let size = expected.iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!(size > 1.0, "logits of {size} say nothing");
    expected.iter().zip(ours).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt() / size
}

#[test]
fn llama_is_the_reference() {
    check(&tiny(Architecture::Llama));
    check(&TinyModel { kv_heads: 1, is_tied: false, ..tiny(Architecture::Llama) });
    let base = ("rope.freq_base", Value::F32(500_000.0));
    check(&TinyModel { metadata: vec![base], ..tiny(Architecture::Llama) });
}

/// Llama 3.1 as GGUF has it: a divisor a pair.
#[test]
fn llama3_scaling_is_the_reference() {
    let vectors = vec![("rope_freqs.weight", reference::llama3_divisors(16))];
    check(&TinyModel { vectors, ..tiny(Architecture::Llama) });
}

#[test]
fn a_window_on_every_layer_is_the_reference() {
    let window = ("attention.sliding_window", Value::U32(WINDOW));
    check(&TinyModel { metadata: vec![window], ..tiny(Architecture::Llama) });
}

#[test]
fn qwen2_is_the_reference() {
    check(&tiny(Architecture::Qwen2));
    check(&TinyModel { is_tied: false, kv_heads: 4, ..tiny(Architecture::Qwen2) });
}

#[test]
fn qwen3_is_the_reference() {
    check(&TinyModel { head_width: Some(32), ..tiny(Architecture::Qwen3) });
    check(&TinyModel { is_tied: false, ..tiny(Architecture::Qwen3) });
}

#[test]
fn phi3_is_the_reference() {
    check(&TinyModel { is_tied: false, ..tiny(Architecture::Phi3) });
    // part of each head is turned, as in Phi-4-mini
    let part = ("rope.dimension_count", Value::U32(8));
    check(&TinyModel { metadata: vec![part], is_tied: false, ..tiny(Architecture::Phi3) });
}

fn gemma(more: Vec<(&'static str, Value)>) -> TinyModel {
    let mut metadata = vec![
        ("attention.sliding_window", Value::U32(WINDOW)),
        ("attention.sliding_window_pattern", Value::U32(3)),
        ("rope.freq_base", Value::F32(1_000_000.0)),
    ];
    metadata.extend(more);
    // the reference's cache takes one head only
    let heads = TinyModel { kv_heads: 1, head_width: Some(32), ..tiny(Architecture::Gemma3) };
    TinyModel { metadata, layers: 4, ..heads }
}

#[test]
fn gemma3_is_the_reference() {
    check(&gemma(vec![]));
    check(&gemma(vec![("final_logit_softcapping", Value::F32(5.0))]));
    check(&gemma(vec![("attn_logit_softcapping", Value::F32(2.0))]));
}

#[test]
fn layers_with_a_window_forget() {
    let shape = loaded(&gemma(vec![]), setup(Activations::Int8)).model.cache_shape();
    let windows: Vec<_> = shape.layers.iter().map(|layer| layer.window).collect();
    assert_eq!(windows, [Some(WINDOW), Some(WINDOW), None, Some(WINDOW)]);
}

/// Which of LongRoPE's lists holds is a matter of the configured context, so that the keys of a
/// sequence never change: not at the original context, and not when it is passed.
#[test]
fn longrope_goes_by_the_configured_context() {
    let (short, long) = (vec![1.5; 8], vec![4.0; 8]);
    let metadata = vec![
        ("rope.scaling.original_context_length", Value::U32(256)),
        ("rope.scaling.attn_factor", Value::F32(1.2)),
    ];
    let vectors = vec![
        ("rope_factors_long.weight", long.clone()),
        ("rope_factors_short.weight", short.clone()),
    ];
    let model = TinyModel { metadata, vectors, ..tiny(Architecture::Phi3) };
    let prompt = prompt(&model);
    let with_context = |context_max: u32, tokens: usize| {
        let setup = Setup { context_max: NonZeroU32::new(context_max), ..setup(Activations::F32) };
        let model = loaded(&model, setup).model;
        assert_eq!(model.cache_shape().context, context_max);
        let whole = logits(&*model, &prompt[..tokens], &[TOKENS]);
        assert!(logits(&*model, &prompt[..tokens], &[64, 1, 37]) == whole);
        whole
    };
    let (below, above) = (with_context(256, 256), with_context(512, 300));
    let mut reference = Reference::new(&model);
    for (ours, divisors) in [(&below, short), (&above, long)] {
        reference.divide(&divisors, 1.2);
        for length in [1, 100, ours.len()] {
            let expected = reference.last_logits(&prompt[..length]);
            let away = distance(&expected, &ours[length - 1]);
            assert!(away < 5e-3, "{length} of {}: {away}", ours.len());
        }
    }
}

#[test]
fn what_a_file_asks_for_in_vain_is_named() {
    let refusal = |model: TinyModel| {
        let file = tempfile::NamedTempFile::new().unwrap();
        model.write(file.path()).unwrap();
        load(file.path(), setup(Activations::F32), &mut |_| {}).err().unwrap().to_string()
    };
    let with = |architecture, key, value| {
        refusal(TinyModel { metadata: vec![(key, value)], ..tiny(architecture) })
    };
    let errors = [
        with(Architecture::Qwen3, "rope.scaling.type", Value::Text("dynamic".into())),
        with(Architecture::Llama, "rope.scaling.type", Value::Text("linear".into())),
        with(Architecture::Qwen2, "rope.scale_linear", Value::F32(4.0)),
        with(Architecture::Llama, "attention.sliding_window", Value::Text("wide".into())),
        with(Architecture::Gemma3, "final_logit_softcapping", Value::F32(-1.0)),
        with(Architecture::Qwen2, "expert_count", Value::U32(8)),
        refusal(TinyModel { head_width: Some(24), ..tiny(Architecture::Qwen3) }),
        refusal(TinyModel {
            vectors: vec![("blk.0.attn_output.bias", vec![0.0; 64])],
            ..tiny(Architecture::Qwen2)
        }),
    ];
    expect_test::expect![[r#"
        metadata key `qwen3.rope.scaling.type` is dynamic: this build knows none, linear, llama3, yarn and longrope
        metadata key `llama.rope.scaling.factor` is missing or of another type
        metadata key `qwen2.rope.scale_linear` is 4: it is not supported
        metadata key `llama.attention.sliding_window` is missing or of another type
        metadata key `gemma3.final_logit_softcapping` is -1: it must be a positive number
        metadata key `qwen2.expert_count` is 8: it is not supported
        metadata key `qwen3.attention.key_length` is 24: heads must be multiples of 16 wide
        tensor `blk.0.attn_output.bias` does not belong to this architecture as it is implemented here"#]].assert_eq(&errors.join("\n"));
}
