//! Every type of weights, as Candle writes it: the same logits as from what Candle reads back.

use std::fs::File;

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, write};
use candle_core::quantized::{GgmlDType, QTensor};

use super::*;
use engine_api::ModelDigest;

const KINDS: [GgmlDType; 13] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

/// A file with the matrices in one type, and one with what Candle makes of those as floats.
fn written(plain: &Content, source: &mut File, kind: GgmlDType) -> [tempfile::NamedTempFile; 2] {
    let metadata: Vec<_> =
        plain.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let mut tensors = [Vec::new(), Vec::new()];
    for name in plain.tensor_infos.keys() {
        let tensor = plain.tensor(source, name, &Device::Cpu).unwrap();
        let floats = tensor.dequantize(&Device::Cpu).unwrap();
        let kind = if floats.rank() == 1 { GgmlDType::F32 } else { kind };
        let packed = QTensor::quantize(&floats, kind).unwrap();
        let read = packed.dequantize(&Device::Cpu).unwrap();
        tensors[0].push((name.as_str(), packed));
        tensors[1].push((name.as_str(), QTensor::quantize(&read, GgmlDType::F32).unwrap()));
    }
    tensors.map(|tensors| {
        let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write(file.as_file_mut(), &metadata, &tensors).unwrap();
        file
    })
}

#[test]
fn every_type_is_read_as_candle_reads_it() {
    let model = TinyModel { width: 256, feed_forward: 256, ..tiny(Architecture::Llama) };
    let file = tempfile::NamedTempFile::new().unwrap();
    model.write(file.path()).unwrap();
    let mut source = File::open(file.path()).unwrap();
    let plain = Content::read(&mut source).unwrap();
    let prompt = &prompt(&model)[..50];
    for kind in KINDS {
        let [packed, floats] = written(&plain, &mut source, kind).map(|file| {
            let loaded = load(file.path(), setup(Activations::F32), &mut |_| {}).unwrap();
            logits(&*loaded.model, prompt, &[50])
        });
        let away = distance(&floats[49], &packed[49]);
        assert!(away < 1e-3, "{kind:?}: {away}");
    }
}

/// Packed by a first start and mapped by a second one, each type gives the same bits.
#[test]
fn every_type_is_the_same_from_packed_weights() {
    let model = TinyModel { width: 256, feed_forward: 256, layers: 1, ..tiny(Architecture::Llama) };
    let file = tempfile::NamedTempFile::new().unwrap();
    model.write(file.path()).unwrap();
    let mut source = File::open(file.path()).unwrap();
    let plain = Content::read(&mut source).unwrap();
    let prompt = &prompt(&model)[..20];
    for kind in KINDS {
        let [file, _] = written(&plain, &mut source, kind);
        let folder = tempfile::tempdir().unwrap();
        let mut dir = PackedDir {
            path: folder.path().into(),
            model: ModelDigest([0; 32]),
            bytes_max: 1 << 30,
        };
        for activations in [Activations::F32, Activations::Int8] {
            let setup = Setup { device: DeviceName::Cpu, ..setup(activations) };
            let plain = load(file.path(), setup, &mut |_| {}).unwrap();
            dir.model = ModelDigest(plain.digest);
            let expected = logits(&*plain.model, prompt, &[20]);
            for is_first in [activations == Activations::F32, false] {
                let mut loaded = load_packed(file.path(), setup, Some(&dir), &mut |_| {}).unwrap();
                assert_eq!(loaded.save.is_some(), is_first, "{kind:?} {activations:?}");
                assert!(logits(&*loaded.model, prompt, &[20]) == expected, "{kind:?}");
                if let Some(save) = loaded.save.take() {
                    save.run();
                }
            }
        }
    }
}
