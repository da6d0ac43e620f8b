//! What a numerics class promises: the bits that these kernels give for fixed inputs, on any machine
//! and in any version. Whoever changes one of these digests changes a result that an auditor may want
//! to replay, and gives the class (`engine_kernels::numerics_class`) a new name.
#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use engine_kernels::{
    Activations, AttentionBatch, AttentionOptions, AttentionRow, Gate, KvKind, QMatrix,
    RopeScaling, RopeStyle, RopeTable, WeightKind, gated, key_cache, numerics_class,
    paged_attention, rms_norm, rope, soft_cap, softmax, value_cache, write_keys, write_values,
};

/// Numbers in -1..1, exact in f32, the same everywhere (Knuth's MMIX generator).
fn numbers(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed;
    let count = shape.iter().product();
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 - 8_388_608.0) / 8_388_608.0
    };
    let values: Vec<f32> = (0..count).map(|_| next()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// FNV-1a over the bits of all elements.
fn digest(x: &Tensor) -> u64 {
    let values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let bytes = values.iter().flat_map(|x| x.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn product(kind: WeightKind, activations: Activations) -> Tensor {
    let (rows, columns) = (40, 512);
    let count = rows * columns / kind.block_columns() * kind.block_bytes();
    // every byte below 60, so that no half is large or not a number
    let bytes = numbers(&[count], 5).affine(30.0, 30.0).unwrap().to_vec1::<f32>().unwrap();
    let bytes: Vec<u8> = bytes.into_iter().map(|x| x as u8).collect();
    let matrix = QMatrix::from_ggml(kind, rows, columns, &bytes).unwrap();
    matrix.forward(&numbers(&[3, columns], 6), activations).unwrap()
}

fn attention(kind: KvKind, window: Option<u32>, softcap: Option<f32>) -> Tensor {
    let k = key_cache(20, 2, 32, kind, &Device::Cpu).unwrap();
    let v = value_cache(20, 2, 32, kind, &Device::Cpu).unwrap();
    let slots: Vec<u32> = (0..640).collect();
    write_keys(&k, &numbers(&[640, 2, 32], 1), &slots, None).unwrap();
    write_values(&v, &numbers(&[640, 2, 32], 2), &slots).unwrap();
    let rows = [0, 1, 255, 256, 600].map(|position| AttentionRow { table: 0, position });
    let table: Vec<u32> = (0..20).rev().collect();
    let batch = AttentionBatch::new(vec![table.into()], rows.to_vec()).unwrap();
    let options = AttentionOptions { scale: 0.5, window, softcap };
    paged_attention(&numbers(&[5, 6, 32], 3), &k, &v, &batch, &options).unwrap()
}

#[test]
fn the_bits_of_this_version() {
    assert_eq!(numerics_class(&Device::Cpu, KvKind::F16, Activations::Int8), "cpu-v2-f16");
    assert_eq!(numerics_class(&Device::Cpu, KvKind::Q8, Activations::Int8), "cpu-v3-q8");
    assert_eq!(numerics_class(&Device::Cpu, KvKind::F16, Activations::F32), "cpu-v2-f16-f32act");
    let (x, y) = (numbers(&[4, 100], 7), numbers(&[4, 100], 8));
    let weight = y.narrow(0, 0, 1).unwrap().squeeze(0).unwrap();
    let turned = |style, scaling| {
        let table = RopeTable::new(style, 20, 10_000.0, &scaling, 9000).unwrap();
        rope(&x.reshape((4, 5, 20)).unwrap(), &[0, 1, 77, 8191], &table).unwrap()
    };
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_context: 1024,
    };
    let yarn = RopeScaling::Yarn {
        factor: 4.0,
        original_context: 1024,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: 1.1,
    };
    let divisors = (0..10).map(|i| 1.0 + i as f32 / 8.0).collect();
    let factors = RopeScaling::Factors { divisors, attention_factor: 1.25 };
    let (int8, float) = (Activations::Int8, Activations::F32);
    let digests = [
        ("q4_0", product(WeightKind::Q4_0, int8)),
        ("q4_1", product(WeightKind::Q4_1, int8)),
        ("q5_0", product(WeightKind::Q5_0, int8)),
        ("q5_1", product(WeightKind::Q5_1, int8)),
        ("q8_0", product(WeightKind::Q8_0, int8)),
        ("q2_k", product(WeightKind::Q2K, int8)),
        ("q3_k", product(WeightKind::Q3K, int8)),
        ("q4_k", product(WeightKind::Q4K, int8)),
        ("q5_k", product(WeightKind::Q5K, int8)),
        ("q6_k", product(WeightKind::Q6K, int8)),
        ("f16", product(WeightKind::F16, int8)),
        ("q4_1 exact", product(WeightKind::Q4_1, float)),
        ("q6_k exact", product(WeightKind::Q6K, float)),
        ("rms norm", rms_norm(&x, &weight, 1e-5).unwrap()),
        ("silu", gated(&x.affine(9.0, 0.0).unwrap(), &y, Gate::Silu).unwrap()),
        ("gelu", gated(&x.affine(9.0, 0.0).unwrap(), &y, Gate::Gelu).unwrap()),
        ("soft cap", soft_cap(&x.affine(9.0, 0.0).unwrap(), 4.0).unwrap()),
        ("softmax", softmax(&x.affine(9.0, 0.0).unwrap()).unwrap()),
        ("rope interleaved", turned(RopeStyle::Interleaved, RopeScaling::None)),
        ("rope halves", turned(RopeStyle::Halves, RopeScaling::None)),
        ("rope linear", turned(RopeStyle::Halves, RopeScaling::Linear { factor: 8.0 })),
        ("rope llama3", turned(RopeStyle::Halves, llama3)),
        ("rope yarn", turned(RopeStyle::Halves, yarn)),
        ("rope factors", turned(RopeStyle::Halves, factors)),
        ("attention f16", attention(KvKind::F16, None, None)),
        ("attention f32", attention(KvKind::F32, None, None)),
        ("attention q8", attention(KvKind::Q8, None, None)),
        ("attention window", attention(KvKind::F16, Some(100), None)),
        ("attention cap", attention(KvKind::F16, None, Some(2.0))),
    ];
    for (name, result) in &digests {
        let values = result.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values.iter().all(|x| x.is_finite()), "{name} is finite");
    }
    let text: String =
        digests.iter().map(|(name, x)| format!("{name} {:016x}\n", digest(x))).collect();
    assert_eq!(text, EXPECTED);
}

const EXPECTED: &str = "\
q4_0 97969a8e10b8fbe8
q4_1 25d0d9cb8136598a
q5_0 d8829ca70bcdb38a
q5_1 8da01e0aae87de09
q8_0 9de7c8587ef5be77
q2_k 6e027c9d9e39faed
q3_k 90517bef557b1618
q4_k 1319748e7cf9c72d
q5_k 0b25918800dc3006
q6_k 62e5e6ab1ecae7f9
f16 071b5537beae0d0b
q4_1 exact 0e1c5e701144310a
q6_k exact f16172ba10d39444
rms norm b72a37d063d794c6
silu 21afb529f1b94748
gelu 49e32d14ae530c48
soft cap fcf66392637d5f25
softmax 5b8c1d5128c7d817
rope interleaved f51f799732208fba
rope halves a59ecac12ad76d04
rope linear e94029217516e4ff
rope llama3 9238f4a9e8025677
rope yarn 78bc77aae1c99165
rope factors c70f8793384d93e1
attention f16 29872c62450bb542
attention f32 5f26e6b17b34dfa8
attention q8 0836dcac9adb1c1f
attention window 4649e68dc06a0f5d
attention cap f482dbb9eb79ebad
";
