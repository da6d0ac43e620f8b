//! SentencePiece merges by what a pair becomes; `tokenizer.json` lists the pairs.

use std::collections::HashMap;

use super::{Pairs, refused};
use crate::folder::FolderError;

const OTHER: &str = "pairs are listed by what they become, and all of them";

/// A score for each token, so that merging by score is merging by the list.
///
/// That holds where the list has, for one piece after the other, every pair of tokens that makes it:
/// Hugging Face's converter writes it so. Any other list is refused.
pub(super) fn scores(model: &Pairs, texts: &[String]) -> Result<Vec<f32>, FolderError> {
    let mut places: HashMap<String, (usize, usize)> = HashMap::new();
    let mut rank = 0;
    let mut last = String::new();
    for merge in &model.merges {
        let (left, right) = merge.parts()?;
        let piece = format!("{left}{right}");
        let known = [left, right, &piece].iter().all(|text| model.vocab.contains_key(*text));
        if !known || super::is_byte(&piece) {
            return Err(refused(
                "merge",
                format!("`{left} {right}`"),
                "its tokens exist and spell text",
            ));
        }
        if piece != last {
            rank += 1;
            last.clone_from(&piece);
            if places.contains_key(&piece) {
                return Err(refused("order of merges", format!("at `{piece}`"), OTHER));
            }
        }
        places.entry(piece).or_insert((rank, 0)).1 += 1;
    }
    // floats count exactly up to here
    if rank >= 1 << 24 {
        return Err(refused("merges", rank, "there are fewer"));
    }
    for piece in model.vocab.keys() {
        let cuts = piece.char_indices().skip(1).filter(|(at, _)| {
            let (left, right) = piece.split_at(*at);
            model.vocab.contains_key(left) && model.vocab.contains_key(right)
        });
        let listed = places.get(piece).map_or(0, |(_, count)| *count);
        if cuts.count() != listed {
            return Err(refused("list of merges", format!("for `{piece}`"), OTHER));
        }
    }
    let score = |text: &String| places.get(text).map_or(0.0, |(rank, _)| -(*rank as f32));
    Ok(texts.iter().map(score).collect())
}
