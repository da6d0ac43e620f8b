#![allow(clippy::unwrap_used)]

use expect_test::expect;

use super::*;
use crate::activations::Activations;
use crate::q_matrix::tests::weights;
use crate::storage::tests::{bits, noise};

/// Bytes that begin on a cache line, or so many behind one.
struct Aligned {
    lines: Vec<Line>,
    shift: usize,
    length: usize,
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        &self.lines.as_flattened_bytes()[self.shift..][..self.length]
    }
}

// SAFETY: the vector is never changed.
unsafe impl Unchanging for Aligned {}

trait Flattened {
    fn as_flattened_bytes(&self) -> &[u8];
}

impl Flattened for Vec<Line> {
    fn as_flattened_bytes(&self) -> &[u8] {
        // SAFETY: a line is 64 bytes without padding.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), self.len() * 64) }
    }
}

fn shared(bytes: &[u8], shift: usize) -> SharedBytes {
    let mut lines = vec![Line([0; 64]); (bytes.len() + shift).div_ceil(64)];
    for (place, byte) in bytes.iter().enumerate() {
        let place = place + shift;
        lines[place / 64].0[place % 64] = *byte;
    }
    let owner = Arc::new(Aligned { lines, shift, length: bytes.len() });
    SharedBytes::new(owner, 0..bytes.len()).unwrap()
}

fn packed(matrix: &QMatrix) -> Vec<u8> {
    let parts = matrix.packed().unwrap();
    let whole = |part: &PackedPart| (**part).as_ref().len().is_multiple_of(PACKED_ALIGNMENT);
    assert!(parts[..parts.len() - 1].iter().all(whole));
    parts.iter().flat_map(|part| (**part).as_ref().to_vec()).collect()
}

fn matrix(kind: WeightKind, rows: usize, columns: usize) -> QMatrix {
    QMatrix::from_ggml(kind, rows, columns, &weights(kind, rows, columns, 11)).unwrap()
}

#[test]
fn what_was_packed_is_the_same_matrix_bit_for_bit() {
    for kind in WeightKind::ALL {
        let (rows, columns) = (53, 512);
        let ours = matrix(kind, rows, columns);
        let bytes = packed(&ours);
        assert_eq!(bytes.len(), ours.bytes());
        let theirs = QMatrix::from_packed(kind, rows, columns, shared(&bytes, 0)).unwrap();
        assert_eq!(packed(&theirs), bytes, "{kind:?}");
        let ids: Vec<u32> = (0..rows as u32).collect();
        assert_eq!(bits(&ours.rows(&ids).unwrap()), bits(&theirs.rows(&ids).unwrap()), "{kind:?}");
        let x = noise(&[9, columns], 12).to_device(&candle_core::Device::Cpu).unwrap();
        for mode in [Activations::Int8, Activations::F32] {
            let [one, other] = [&ours, &theirs].map(|matrix| matrix.forward(&x, mode).unwrap());
            assert_eq!(bits(&one), bits(&other), "{kind:?} {mode:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for kind in WeightKind::ALL {
        let (rows, columns) = (20, 256);
        let bytes = packed(&matrix(kind, rows, columns));
        let read = |rows, columns, bytes: SharedBytes| {
            QMatrix::from_packed(kind, rows, columns, bytes).map(drop).unwrap_err()
        };
        for wrong in [&bytes[..bytes.len() - 64], &[&bytes[..], &[0; 64]].concat()] {
            let error = read(rows, columns, shared(wrong, 0));
            let (expected, actual) = (bytes.len(), wrong.len());
            assert_eq!(error, PackedError::Length { expected, actual });
        }
        // a shape that takes another number of tiles, and the next that takes as many
        assert!(matches!(read(33, columns, shared(&bytes, 0)), PackedError::Length { .. }));
        assert!(QMatrix::from_packed(kind, 32, columns, shared(&bytes, 0)).is_ok());
        assert_eq!(read(rows, columns, shared(&bytes, 32)), PackedError::Unaligned);
        let shape = PackedError::Shape { kind, rows: 0, columns };
        assert_eq!(read(0, columns, shared(&bytes, 0)), shape);
        let huge = read(usize::MAX, usize::MAX / 256 * 256, shared(&bytes, 0));
        assert!(matches!(huge, PackedError::Length { .. }), "{huge}");
    }
    let bytes = shared(&[0; 64], 0);
    assert!(SharedBytes::new(bytes.owner, 0..65).is_none());
}

/// The same bytes on every machine and with every version of every crate.
fn pinned_weights(kind: WeightKind, rows: usize, columns: usize) -> Vec<u8> {
    let bytes = rows * columns / kind.block_columns() * kind.block_bytes();
    // below 64, so that no scale is infinite or not a number
    let byte = |place: u32| (place.wrapping_mul(2_654_435_761) >> 21) as u8 & 0x3f;
    (0..bytes as u32).map(byte).collect()
}

/// FNV-1a of 64 bits.
fn fingerprint(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Whoever changes what is here must raise [`PACKING_VERSION`] first: files of the old layout would be
/// taken for ones of the new.
#[test]
fn the_layout_is_that_of_its_version() {
    let mut lines = vec![format!("version {PACKING_VERSION}")];
    for kind in WeightKind::ALL {
        let bytes = pinned_weights(kind, 21, 512);
        let bytes = packed(&QMatrix::from_ggml(kind, 21, 512, &bytes).unwrap());
        lines.push(format!("{kind:?} {} bytes {:016x}", bytes.len(), fingerprint(&bytes)));
    }
    expect![[r#"
        version 1
        F32 65536 bytes 2cd592ddfb32f74b
        F16 32768 bytes c736c07059fad578
        BF16 32768 bytes c736c07059fad578
        Q4_0 9216 bytes 0876bbc2dc439970
        Q4_1 10240 bytes d5e13f69598b6102
        Q5_0 17408 bytes 40b88c0eb3adf421
        Q5_1 18432 bytes ff1331467805263d
        Q8_0 17408 bytes b0e12a99a8e57285
        Q2K 16384 bytes 3967043876132fc4
        Q3K 12288 bytes 9754737d025af563
        Q4K 12288 bytes b08c296a60e97801
        Q5K 20480 bytes 2972ef72ea03cc72
        Q6K 20480 bytes 9c23e5f0a4fdd612"#]]
    .assert_eq(&lines.join("\n"));
}
