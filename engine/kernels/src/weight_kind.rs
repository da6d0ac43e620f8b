//! How the weights of a matrix are written in a GGUF file.

/// A type of weights; ggml's numbering and block layout (`ggml-common.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are ggml's")]
pub enum WeightKind {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// Why weights cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// The file has a type that no kernel reads.
    #[error("weights of ggml type {id} ({name}) are not supported")]
    Unsupported {
        /// ggml's number of the type.
        id: u32,
        /// ggml's name of the type.
        name: &'static str,
    },
    /// The matrix has no rows or no columns.
    #[error("a matrix of {rows} rows and {columns} columns is empty")]
    Empty {
        /// Output width.
        rows: usize,
        /// Input width.
        columns: usize,
    },
    /// A row is not a whole number of blocks.
    #[error("a row of {columns} columns is not a whole number of {kind:?} blocks of {block}")]
    Ragged {
        /// The type of the weights.
        kind: WeightKind,
        /// Input width.
        columns: usize,
        /// Columns a block.
        block: usize,
    },
    /// The bytes are too few or too many.
    #[error("{rows} x {columns} {kind:?} weights take {expected} bytes, not {actual}")]
    Length {
        /// The type of the weights.
        kind: WeightKind,
        /// Output width.
        rows: usize,
        /// Input width.
        columns: usize,
        /// Bytes that the shape asks for.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// The device does not take them.
    #[error("the device does not take the weights: {message}")]
    Device {
        /// What it says.
        message: String,
    },
}

impl WeightKind {
    /// All kinds.
    pub const ALL: [WeightKind; 13] = [
        WeightKind::F32,
        WeightKind::F16,
        WeightKind::BF16,
        WeightKind::Q4_0,
        WeightKind::Q4_1,
        WeightKind::Q5_0,
        WeightKind::Q5_1,
        WeightKind::Q8_0,
        WeightKind::Q2K,
        WeightKind::Q3K,
        WeightKind::Q4K,
        WeightKind::Q5K,
        WeightKind::Q6K,
    ];

    /// The kind with ggml's number `id` (`enum ggml_type`).
    pub fn from_ggml_id(id: u32) -> Result<WeightKind, WeightError> {
        Ok(match id {
            0 => WeightKind::F32,
            1 => WeightKind::F16,
            2 => WeightKind::Q4_0,
            3 => WeightKind::Q4_1,
            6 => WeightKind::Q5_0,
            7 => WeightKind::Q5_1,
            8 => WeightKind::Q8_0,
            10 => WeightKind::Q2K,
            11 => WeightKind::Q3K,
            12 => WeightKind::Q4K,
            13 => WeightKind::Q5K,
            14 => WeightKind::Q6K,
            30 => WeightKind::BF16,
            _ => return Err(WeightError::Unsupported { id, name: ggml_name(id) }),
        })
    }

    /// Columns of a block.
    pub const fn block_columns(self) -> usize {
        match self {
            WeightKind::F32 | WeightKind::F16 | WeightKind::BF16 => 1,
            WeightKind::Q4_0
            | WeightKind::Q4_1
            | WeightKind::Q5_0
            | WeightKind::Q5_1
            | WeightKind::Q8_0 => 32,
            WeightKind::Q2K
            | WeightKind::Q3K
            | WeightKind::Q4K
            | WeightKind::Q5K
            | WeightKind::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            WeightKind::F32 => 4,
            WeightKind::F16 | WeightKind::BF16 => 2,
            WeightKind::Q4_0 => 18,
            WeightKind::Q4_1 => 20,
            WeightKind::Q5_0 => 22,
            WeightKind::Q5_1 => 24,
            WeightKind::Q8_0 => 34,
            WeightKind::Q2K => 84,
            WeightKind::Q3K => 110,
            WeightKind::Q4K => 144,
            WeightKind::Q5K => 176,
            WeightKind::Q6K => 210,
        }
    }

    /// Checks that `bytes` hold `rows` x `columns` weights.
    pub(crate) fn check(
        self,
        rows: usize,
        columns: usize,
        bytes: &[u8],
    ) -> Result<(), WeightError> {
        let block = self.block_columns();
        if rows == 0 || columns == 0 {
            return Err(WeightError::Empty { rows, columns });
        }
        if !columns.is_multiple_of(block) {
            return Err(WeightError::Ragged { kind: self, columns, block });
        }
        let expected = (columns / block).saturating_mul(self.block_bytes()).saturating_mul(rows);
        let actual = bytes.len();
        if expected != actual {
            return Err(WeightError::Length { kind: self, rows, columns, expected, actual });
        }
        Ok(())
    }
}

/// ggml's name of a type that we do not read.
fn ggml_name(id: u32) -> &'static str {
    match id {
        9 => "q8_1",
        15 => "q8_K",
        16 => "iq2_xxs",
        17 => "iq2_xs",
        18 => "iq3_xxs",
        19 => "iq1_s",
        20 => "iq4_nl",
        21 => "iq3_s",
        22 => "iq2_s",
        23 => "iq4_xs",
        24 => "i8",
        25 => "i16",
        26 => "i32",
        27 => "i64",
        28 => "f64",
        29 => "iq1_m",
        34 => "tq1_0",
        35 => "tq2_0",
        39 => "mxfp4",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_types_are_named() {
        let error = WeightKind::from_ggml_id(20).unwrap_err();
        assert_eq!(error.to_string(), "weights of ggml type 20 (iq4_nl) are not supported");
        assert_eq!(WeightKind::from_ggml_id(3), Ok(WeightKind::Q4_1));
    }

    #[test]
    fn lengths_are_checked() {
        let check = |rows, columns, bytes: usize| {
            WeightKind::Q4_1.check(rows, columns, &vec![0; bytes]).map_err(|e| e.to_string())
        };
        assert_eq!(check(2, 64, 80), Ok(()));
        for (rows, columns, bytes, message) in [
            (2, 64, 79, "2 x 64 Q4_1 weights take 80 bytes, not 79"),
            (2, 40, 50, "a row of 40 columns is not a whole number of Q4_1 blocks of 32"),
            (0, 32, 0, "a matrix of 0 rows and 32 columns is empty"),
            (
                usize::MAX,
                64,
                1,
                "18446744073709551615 x 64 Q4_1 weights take 18446744073709551615 bytes, not 1",
            ),
        ] {
            assert_eq!(check(rows, columns, bytes), Err(message.to_owned()));
        }
    }
}
