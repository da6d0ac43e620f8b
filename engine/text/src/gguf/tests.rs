#![allow(clippy::unwrap_used)]

use engine_tiny::TinyModel;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::draft::{Draft, array, text};
use super::*;

fn parse(bytes: &[u8]) -> Result<GgufHeader, GgufError> {
    GgufHeader::parse(bytes, bytes.len() as u64)
}

fn refuses(bytes: &[u8], expected: Expect) {
    expected.assert_eq(&parse(bytes).unwrap_err().to_string());
}

#[test]
fn the_tiny_model_is_read() {
    let bytes = TinyModel::default().to_bytes();
    let header = parse(&bytes).unwrap();
    assert_eq!(header.text("general.architecture"), Some("llama"));
    assert_eq!(header.number("llama.block_count"), Some(2));
    assert_eq!(header.number("general.architecture"), None);
    assert_eq!(header.float("llama.rope.freq_base"), Some(10_000.0));
    assert_eq!(header.bool("tokenizer.ggml.add_bos_token"), Some(false));
    assert_eq!(header.texts("tokenizer.ggml.tokens").unwrap()[2], "<|im_end|>");
    assert_eq!(header.integers("tokenizer.ggml.token_type").unwrap()[..4], [3, 3, 3, 1]);
    let norm = header.tensor("output_norm.weight").unwrap();
    assert_eq!((norm.kind, norm.shape.as_slice()), (GgmlType::F32, &[64][..]));
    let values = &bytes[norm.bytes.start as usize..norm.bytes.end as usize];
    assert_eq!(values[4..8], 1.01f32.to_le_bytes());
    assert_eq!(header.tensors().len(), 2 + 2 * 9);
}

#[test]
fn every_value_type_is_read() {
    let draft = Draft::default()
        .entry("u8", 0, &[200])
        .entry("i8", 1, &[0xff])
        .entry("u16", 2, &[1, 2])
        .entry("i16", 3, &[1, 2])
        .entry("u32", 4, &[1, 0, 0, 0])
        .entry("f32", 6, &1.5f32.to_le_bytes())
        .entry("u64", 10, &u64::MAX.to_le_bytes())
        .entry("i64", 11, &5i64.to_le_bytes())
        .entry("f64", 12, &2.5f64.to_le_bytes())
        .entry("floats", 9, &[array(6, 1), 1.5f32.to_le_bytes().to_vec()].concat())
        .entry("numbers", 9, &[array(2, 2), vec![1, 0, 2, 0]].concat())
        .entry("wide", 9, &[array(10, 1), vec![0xff; 8]].concat())
        .entry("bytes", 9, &[array(0, 3), vec![1, 2, 3]].concat())
        .entry("nested", 9, &[array(9, 2), array(4, 0), array(4, 1), vec![7, 0, 0, 0]].concat())
        .entry("last", 8, &text("here"));
    let header = parse(&draft.bytes()).unwrap();
    assert_eq!(header.number("u8"), Some(200));
    assert_eq!((header.number("i8"), header.float("i8")), (None, Some(-1.0)));
    assert_eq!(header.number("u16"), Some(513));
    assert_eq!(header.number("i16"), Some(513));
    assert_eq!(header.number("u64"), Some(u64::MAX));
    assert_eq!(header.number("i64"), Some(5));
    assert_eq!((header.float("f32"), header.float("f64")), (Some(1.5), Some(2.5)));
    assert_eq!(header.floats("floats"), Some(&[1.5][..]));
    assert_eq!(header.integers("numbers"), Some(&[1, 2][..]));
    assert_eq!((header.integers("wide"), header.has("wide")), (None, true));
    assert_eq!(header.text("last"), Some("here"));
}

#[test]
fn other_files_are_refused() {
    refuses(
        b"PK\x03\x04 and so on",
        expect![[r#"not a GGUF file: it begins with [50, 4b, 03, 04] instead of "GGUF""#]],
    );
    refuses(b"GG", expect!["`magic` at byte 0 needs 4 bytes, but the file has 2 in all"]);
    let with_version = |version: u32| [b"GGUF".as_slice(), &version.to_le_bytes()].concat();
    refuses(&with_version(1), expect!["GGUF version 1 is not supported, only 2 and 3"]);
    refuses(
        &with_version(3u32.swap_bytes()),
        expect![
            "GGUF version 50331648 is not supported, only 2 and 3 (the file seems to be for a big-endian machine)"
        ],
    );
    let mut old = Draft::default().bytes();
    old[4] = 2;
    assert!(parse(&old).is_ok());
}

#[test]
fn metadata_that_cannot_be_is_refused() {
    let draft = Draft::default;
    refuses(
        &draft().entry("a", 4, &[0; 4]).entry("a", 4, &[0; 4]).bytes(),
        expect!["metadata key `a` at byte 41 occurs twice"],
    );
    refuses(
        &draft().entry("a", 13, &[0; 4]).bytes(),
        expect!["`a` at byte 33 has the unknown type 13"],
    );
    refuses(
        &draft().entry("a", 7, &[2]).bytes(),
        expect!["`a` at byte 37 is 2, not a truth value"],
    );
    refuses(
        &draft().entry("a", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff]).bytes(),
        expect!["`a` at byte 37 is not UTF-8"],
    );
    refuses(
        &draft().entry("a", 8, &[0xff; 8]).bytes(),
        expect!["`a` at byte 37 is 18446744073709551615, at most 16777216 is accepted"],
    );
    refuses(
        &draft().entry("a", 9, &array(4, u64::MAX)).bytes(),
        expect!["`a` at byte 41 is 18446744073709551615, at most 4194304 is accepted"],
    );
    refuses(
        &draft().entry("a", 9, &array(8, 4_000_000)).bytes(),
        expect!["`a` at byte 49 needs 32000000 bytes, but the file has 64 in all"],
    );
    let nested: Vec<u8> = (0..8).flat_map(|_| array(9, 1)).collect();
    refuses(
        &draft().entry("a", 9, &nested).bytes(),
        expect!["`nesting of a` at byte 85 is 5, at most 4 is accepted"],
    );
    refuses(
        &draft().counts(0, 1 << 40).bytes(),
        expect!["`metadata count` at byte 16 is 1099511627776, at most 65536 is accepted"],
    );
}

#[test]
fn an_alignment_is_a_power_of_two() {
    for (alignment, is_accepted) in [(0u32, false), (1, true), (24, false), (64, true)] {
        let draft = Draft::default().entry("general.alignment", 4, &alignment.to_le_bytes());
        assert_eq!(parse(&draft.bytes()).is_ok(), is_accepted, "{alignment}");
    }
    refuses(
        &Draft::default().entry("general.alignment", 8, &text("x")).bytes(),
        expect!["`general.alignment` is 0, not a power of two up to 65536"],
    );
}

#[test]
fn tensors_that_cannot_be_are_refused() {
    let draft = Draft::default;
    refuses(
        &draft().tensor("a", &[4], 99, 0).bytes(),
        expect!["`a` at byte 45 has the unknown type 99"],
    );
    refuses(
        &draft().tensor("a", &[1; 5], 0, 0).bytes(),
        expect!["`a` at byte 33 is 5, at most 4 is accepted"],
    );
    for shape in [&[][..], &[0, 4], &[33], &[1 << 40, 1 << 40]] {
        let bytes = draft().tensor("a", shape, 2, 0).bytes();
        assert!(matches!(parse(&bytes), Err(GgufError::Shape { .. })), "{shape:?}");
    }
    refuses(
        &draft().tensor("a", &[8], 0, 0).tensor("a", &[8], 0, 32).data(64).bytes(),
        expect!["tensor `a` at byte 57 occurs twice"],
    );
    refuses(
        &draft().tensor("a", &[8], 0, 31).data(64).bytes(),
        expect!["tensor `a` begins at byte 31 of the data, not a multiple of 32"],
    );
    refuses(
        &draft().tensor("a", &[9], 0, 32).data(64).bytes(),
        expect!["tensor `a` needs bytes 96 to 132, but the file has 128"],
    );
    refuses(
        &draft().tensor("a", &[9], 0, u64::MAX - 31).data(64).bytes(),
        expect![
            "tensor `a` needs bytes 18446744073709551584 to 18446744073709551615, but the file has 128"
        ],
    );
    refuses(
        &draft().tensor("a", &[8], 0, 32).tensor("b", &[9], 0, 0).data(64).bytes(),
        expect!["tensors `b` and `a` overlap at byte 128"],
    );
    refuses(
        &draft().counts(1 << 50, 0).bytes(),
        expect!["`tensor count` at byte 8 is 1125899906842624, at most 65536 is accepted"],
    );
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = TinyModel::default().to_bytes();
    let data = parse(&bytes).unwrap().tensors()[0].bytes.start as usize;
    for length in 0..=data {
        assert!(parse(&bytes[..length]).is_err(), "{length}");
        // and when the file shrinks while it is read
        assert!(GgufHeader::parse(&bytes[..length.min(data - 32)], bytes.len() as u64).is_err());
    }
    assert!(parse(&bytes[..bytes.len() - 33]).is_err());
}

/// Numbers that overflow something.
const NASTY: [u64; 7] = [0, 1, u64::MAX, u64::MAX / 2, u64::MAX - 31, 1 << 32, (1 << 61) + 1];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_damage_makes_it_panic_or_lie(
        places in prop::collection::vec((0.0..1.0f64, any::<u8>(), 0..NASTY.len() + 1), 1..4),
    ) {
        let mut bytes = TinyModel::default().to_bytes();
        // the head: metadata and tensor table
        let head = parse(&bytes).unwrap().tensors()[0].bytes.start as usize - 8;
        for (place, byte, nasty) in places {
            let place = (place * head as f64) as usize;
            match NASTY.get(nasty) {
                Some(number) => bytes[place..place + 8].copy_from_slice(&number.to_le_bytes()),
                None => bytes[place] ^= byte,
            }
        }
        if let Ok(header) = parse(&bytes) {
            for tensor in header.tensors() {
                prop_assert!(tensor.bytes.start <= tensor.bytes.end);
                prop_assert!(tensor.bytes.end <= bytes.len() as u64);
            }
            let _ = crate::Tokenizer::from_gguf(&header);
        }
    }
}
