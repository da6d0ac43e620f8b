//! How a tensor's values are stored (`ggml_type` in ggml.h, block sizes from ggml-common.h).

/// Name, number in the file, values in a block, bytes of a block.
macro_rules! types {
    ($($name:ident = $id:literal: $values:literal values in $bytes:literal bytes,)*) => {
        /// A tensor type that can be in a file. Values are stored in blocks.
        #[allow(non_camel_case_types, missing_docs, reason = "the names are ggml's")]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum GgmlType { $($name,)* }

        impl GgmlType {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The type's number in the file.
            pub fn id(self) -> u32 {
                match self { $(Self::$name => $id,)* }
            }

            /// Values in a block.
            pub fn block_values(self) -> u64 {
                match self { $(Self::$name => $values,)* }
            }

            /// Bytes of a block.
            pub fn block_bytes(self) -> u64 {
                match self { $(Self::$name => $bytes,)* }
            }
        }
    };
}

types! {
    F32 = 0: 1 values in 4 bytes,
    F16 = 1: 1 values in 2 bytes,
    Q4_0 = 2: 32 values in 18 bytes,
    Q4_1 = 3: 32 values in 20 bytes,
    Q5_0 = 6: 32 values in 22 bytes,
    Q5_1 = 7: 32 values in 24 bytes,
    Q8_0 = 8: 32 values in 34 bytes,
    Q2_K = 10: 256 values in 84 bytes,
    Q3_K = 11: 256 values in 110 bytes,
    Q4_K = 12: 256 values in 144 bytes,
    Q5_K = 13: 256 values in 176 bytes,
    Q6_K = 14: 256 values in 210 bytes,
    IQ2_XXS = 16: 256 values in 66 bytes,
    IQ2_XS = 17: 256 values in 74 bytes,
    IQ3_XXS = 18: 256 values in 98 bytes,
    IQ1_S = 19: 256 values in 50 bytes,
    IQ4_NL = 20: 32 values in 18 bytes,
    IQ3_S = 21: 256 values in 110 bytes,
    IQ2_S = 22: 256 values in 82 bytes,
    IQ4_XS = 23: 256 values in 136 bytes,
    I8 = 24: 1 values in 1 bytes,
    I16 = 25: 1 values in 2 bytes,
    I32 = 26: 1 values in 4 bytes,
    I64 = 27: 1 values in 8 bytes,
    F64 = 28: 1 values in 8 bytes,
    IQ1_M = 29: 256 values in 56 bytes,
    BF16 = 30: 1 values in 2 bytes,
    TQ1_0 = 34: 256 values in 54 bytes,
    TQ2_0 = 35: 256 values in 66 bytes,
    MXFP4 = 39: 32 values in 17 bytes,
}

impl GgmlType {
    /// The type of that number.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.id() == id)
    }
}
