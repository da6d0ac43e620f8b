//! A metadata value.

use std::io::Read;

use super::GgufError;
use super::source::Source;

/// Longest text in bytes. The longest in use are chat templates of some 30 kB.
const TEXT_BYTES_MAX: u64 = 1 << 24;
/// Longest array. The largest vocabularies in use have 262,144 tokens.
const ARRAY_MAX: u64 = 1 << 22;
/// How deep arrays may hold arrays. None in use do.
const NESTING_MAX: u32 = 4;

/// What an entry holds. Widths are forgotten, kinds are not.
#[derive(Debug)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<String>),
    /// Read so that the next entry is found; no key in use has one of these.
    Other,
}

/// The format's numbers for value types.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl Value {
    /// Reads type and value of the entry `key`.
    pub fn read(source: &mut Source<impl Read>, key: &str) -> Result<Self, GgufError> {
        match read_kind(source, key)? {
            Kind::Array => read_array(source, key, 1),
            kind => read_scalar(source, key, kind),
        }
    }

    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            Self::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub fn float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Unsigned(number) => Some(*number as f64),
            Self::Signed(number) => Some(*number as f64),
            _ => None,
        }
    }

    pub fn bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    pub fn texts(&self) -> Option<&[String]> {
        if let Self::Texts(texts) = self { Some(texts) } else { None }
    }

    pub fn integers(&self) -> Option<&[i64]> {
        if let Self::Integers(numbers) = self { Some(numbers) } else { None }
    }

    pub fn floats(&self) -> Option<&[f32]> {
        if let Self::Floats(numbers) = self { Some(numbers) } else { None }
    }
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::Text,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// Fewest bytes that one value takes.
    fn bytes_min(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::Text | Self::U64 | Self::I64 | Self::F64 => 8,
            // type and length
            Self::Array => 12,
        }
    }
}

fn read_kind(source: &mut Source<impl Read>, key: &str) -> Result<Kind, GgufError> {
    let offset = source.offset();
    let id = source.u32(key)?;
    let kind = Kind::ALL.get(id as usize).copied();
    kind.ok_or_else(|| GgufError::UnknownType { what: key.to_owned(), offset, id })
}

fn read_scalar(source: &mut Source<impl Read>, key: &str, kind: Kind) -> Result<Value, GgufError> {
    Ok(match kind {
        Kind::U8 => Value::Unsigned(u8::from_le_bytes(source.array(key)?).into()),
        Kind::U16 => Value::Unsigned(u16::from_le_bytes(source.array(key)?).into()),
        Kind::U32 => Value::Unsigned(source.u32(key)?.into()),
        Kind::U64 => Value::Unsigned(source.u64(key)?),
        Kind::I8 => Value::Signed(i8::from_le_bytes(source.array(key)?).into()),
        Kind::I16 => Value::Signed(i16::from_le_bytes(source.array(key)?).into()),
        Kind::I32 => Value::Signed(i32::from_le_bytes(source.array(key)?).into()),
        Kind::I64 => Value::Signed(i64::from_le_bytes(source.array(key)?)),
        Kind::F32 => Value::Float(f32::from_le_bytes(source.array(key)?).into()),
        Kind::F64 => Value::Float(f64::from_le_bytes(source.array(key)?)),
        Kind::Bool => Value::Bool(read_bool(source, key)?),
        Kind::Text => Value::Text(source.text(key, TEXT_BYTES_MAX)?),
        Kind::Array => unreachable!("arrays are read by read_array"),
    })
}

fn read_bool(source: &mut Source<impl Read>, key: &str) -> Result<bool, GgufError> {
    let offset = source.offset();
    match source.array::<1>(key)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [value] => Err(GgufError::NotBool { what: key.to_owned(), offset, value }),
    }
}

fn read_array(source: &mut Source<impl Read>, key: &str, depth: u32) -> Result<Value, GgufError> {
    if depth > NESTING_MAX {
        let (what, offset) = (format!("nesting of {key}"), source.offset());
        let (value, limit) = (depth.into(), NESTING_MAX.into());
        return Err(GgufError::TooLarge { what, offset, value, limit });
    }
    let kind = read_kind(source, key)?;
    let count = source.u64(key)?;
    source.limit(key, count, ARRAY_MAX)?;
    // so that no length in the file makes us allocate more than the file has
    source.require(key, count * kind.bytes_min())?;
    match kind {
        Kind::Text => {
            let texts = (0..count).map(|_| source.text(key, TEXT_BYTES_MAX));
            texts.collect::<Result<_, _>>().map(Value::Texts)
        }
        Kind::F32 => {
            let bytes = source.bytes(key, count * 4)?;
            let (floats, _) = bytes.as_chunks::<4>();
            Ok(Value::Floats(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
        }
        Kind::Array => {
            for _ in 0..count {
                read_array(source, key, depth + 1)?;
            }
            Ok(Value::Other)
        }
        Kind::U8 | Kind::I8 | Kind::Bool | Kind::F64 => {
            source.bytes(key, count * kind.bytes_min())?;
            Ok(Value::Other)
        }
        _ => read_integers(source, key, kind, count),
    }
}

/// An array with a number over 63 bits becomes [`Value::Other`].
fn read_integers(
    source: &mut Source<impl Read>,
    key: &str,
    kind: Kind,
    count: u64,
) -> Result<Value, GgufError> {
    let mut integers = Vec::with_capacity(count as usize);
    let mut all_fit = true;
    for _ in 0..count {
        integers.push(match read_scalar(source, key, kind)? {
            Value::Unsigned(number) => i64::try_from(number).unwrap_or_else(|_| {
                all_fit = false;
                i64::MAX
            }),
            Value::Signed(number) => number,
            _ => unreachable!("only whole numbers get here"),
        });
    }
    Ok(if all_fit { Value::Integers(integers) } else { Value::Other })
}
