//! What tells the quantized kinds apart once they are repacked, as types, so that each kind gets a
//! kernel of its own.

use half::f16;

use crate::activations::Wanted;
use crate::lanes::{Codes, FullBytes, LANES, Lanes, Nibbles, SmallBytes};
use crate::weight_kind::WeightKind;

use super::block_tiles::{BlockTiles, Scales};
use super::packed::{Number, Packed};

/// A number that scales are kept as.
pub(super) trait ScaleNumber: Number {
    fn from_f32(x: f32) -> Self;
    fn to_f32(self) -> f32;
    fn load<L: Lanes>(lanes: L, from: &[Self; LANES]) -> L::F;
    fn of(tiles: &BlockTiles) -> &[[Self; LANES]];
    fn wrap(scales: Packed<[Self; LANES]>) -> Scales;
}

/// A quantized kind.
pub(super) trait Format: Send + Sync + 'static {
    type Codes: Codes;
    /// f16 where the file has one f16 a block; f32 where a scale is a product (K-quants).
    type Scale: ScaleNumber;
    /// Scales per 32 columns: 1 or 2.
    const SUBS: usize;
    /// The code that means 0; 0 for kinds with lows.
    const ZERO: i32;
    /// Whether each scale has a low end beside it.
    const LOWS: bool;
    /// Vectors of 16 scales and lows per 32 columns.
    const VECTORS: usize = Self::SUBS * (1 + Self::LOWS as usize);
    const WANTED: Wanted = Wanted { subs: Self::SUBS, zero: Self::ZERO };
}

macro_rules! formats {
    ($($name:ident: $codes:ty, $scale:ty, subs $subs:literal, zero $zero:literal, lows $lows:literal;)*) => {
        $(
            pub(super) struct $name;
            impl Format for $name {
                type Codes = $codes;
                type Scale = $scale;
                const SUBS: usize = $subs;
                const ZERO: i32 = $zero;
                const LOWS: bool = $lows;
            }
        )*

        /// Calls `visitor` with the type of `kind`.
        ///
        /// # Panics
        /// If `kind` is not quantized.
        pub(super) fn visit<V: Visitor>(kind: WeightKind, visitor: V) -> V::Output {
            match kind {
                $(WeightKind::$name => visitor.visit::<$name>(),)*
                WeightKind::F32 | WeightKind::F16 | WeightKind::BF16 => {
                    panic!("{kind:?} is not quantized")
                }
            }
        }
    };
}

formats! {
    Q4_0: Nibbles, f16, subs 1, zero 8, lows false;
    Q4_1: Nibbles, f16, subs 1, zero 0, lows true;
    Q5_0: SmallBytes, f16, subs 1, zero 16, lows false;
    Q5_1: SmallBytes, f16, subs 1, zero 0, lows true;
    Q8_0: FullBytes, f16, subs 1, zero 128, lows false;
    Q2K: Nibbles, f32, subs 2, zero 0, lows true;
    Q3K: Nibbles, f32, subs 2, zero 4, lows false;
    Q4K: Nibbles, f32, subs 1, zero 0, lows true;
    Q5K: SmallBytes, f32, subs 1, zero 0, lows true;
    Q6K: SmallBytes, f32, subs 2, zero 32, lows false;
}

/// What the products of `kind` want to know of the activations.
pub(super) fn wanted(kind: WeightKind) -> Wanted {
    struct Ask;
    impl Visitor for Ask {
        type Output = Wanted;

        fn visit<F: Format>(self) -> Wanted {
            F::WANTED
        }
    }
    visit(kind, Ask)
}

/// What to do with the type of a kind.
pub(super) trait Visitor {
    type Output;
    fn visit<F: Format>(self) -> Self::Output;
}

impl ScaleNumber for f16 {
    fn from_f32(x: f32) -> f16 {
        f16::from_f32(x)
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    fn load<L: Lanes>(lanes: L, from: &[f16; LANES]) -> L::F {
        lanes.load_f16(from)
    }
    #[inline(always)]
    fn of(tiles: &BlockTiles) -> &[[f16; LANES]] {
        tiles.scales.halves()
    }
    fn wrap(scales: Packed<[f16; LANES]>) -> Scales {
        Scales::Halves(scales)
    }
}

impl ScaleNumber for f32 {
    fn from_f32(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn load<L: Lanes>(lanes: L, from: &[f32; LANES]) -> L::F {
        lanes.load(from)
    }
    #[inline(always)]
    fn of(tiles: &BlockTiles) -> &[[f32; LANES]] {
        tiles.scales.singles()
    }
    fn wrap(scales: Packed<[f32; LANES]>) -> Scales {
        Scales::Singles(scales)
    }
}
