//! Writes GGUF version 3 (ggml's docs/gguf.md).

use crate::WeightType;

/// Tensors begin at multiples of this many bytes.
pub const ALIGNMENT: usize = 32;

/// A metadata value.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs, reason = "the names are GGUF's")]
pub enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
}

/// Collects metadata and tensors, then lays them out.
#[derive(Default)]
pub struct Writer {
    metadata: Vec<u8>,
    metadata_count: u64,
    tensors: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl Writer {
    /// Adds a metadata entry.
    pub fn set(&mut self, key: &str, value: Value) {
        let out = &mut self.metadata;
        text(out, key);
        match value {
            Value::U32(value) => {
                out.extend(4u32.to_le_bytes());
                out.extend(value.to_le_bytes());
            }
            Value::F32(value) => {
                out.extend(6u32.to_le_bytes());
                out.extend(value.to_le_bytes());
            }
            Value::Bool(value) => {
                out.extend(7u32.to_le_bytes());
                out.push(value as u8);
            }
            Value::Text(value) => {
                out.extend(8u32.to_le_bytes());
                text(out, &value);
            }
            Value::Texts(values) => {
                array(out, 8, values.len());
                values.iter().for_each(|value| text(out, value));
            }
            Value::I32s(values) => {
                array(out, 5, values.len());
                values.iter().for_each(|value| out.extend(value.to_le_bytes()));
            }
        }
        self.metadata_count += 1;
    }

    /// Adds a tensor. `shape` is innermost first, as GGUF has it.
    pub fn tensor(&mut self, name: &str, shape: &[u32], kind: WeightType, values: &[f32]) {
        let out = &mut self.tensors;
        text(out, name);
        out.extend((shape.len() as u32).to_le_bytes());
        shape.iter().for_each(|size| out.extend((*size as u64).to_le_bytes()));
        out.extend(kind.ggml_id().to_le_bytes());
        out.extend((self.data.len() as u64).to_le_bytes());
        self.data.extend(kind.encode(values));
        pad(&mut self.data);
        self.tensor_count += 1;
    }

    /// The whole file.
    pub fn finish(self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend(self.tensor_count.to_le_bytes());
        out.extend(self.metadata_count.to_le_bytes());
        out.extend(self.metadata);
        out.extend(self.tensors);
        pad(&mut out);
        out.extend(self.data);
        out
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value.as_bytes());
}

fn array(out: &mut Vec<u8>, kind: u32, length: usize) {
    out.extend(9u32.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend((length as u64).to_le_bytes());
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}
