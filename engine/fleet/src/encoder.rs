//! A model that embeds, as far as the fleet knows it: everything but the weights.

use std::sync::Arc;

use engine_api::{
    EmbeddingInputs, EmbeddingRequest, EmbeddingSource, EngineError, ModelCard, ModelKind, TokenId,
};
use engine_text::{WordPieces, read_encoder};
use engine_wire::bounds::{INPUT_TOKENS_MAX, INPUTS_MAX};

use crate::{FleetError, FleetModel};

/// Tokenizer and numbers of one model.
#[derive(Debug)]
pub(crate) struct Encoder {
    card: ModelCard,
    pieces: WordPieces,
    /// Length of a whole vector.
    width: u32,
    input_bytes_max: usize,
}

impl Encoder {
    /// Reads the small files of the folder; the weights are the workers' business.
    pub(crate) fn load(config: &FleetModel, input_bytes_max: usize) -> Result<Self, FleetError> {
        let (sizes, pieces) = read_encoder(&config.path).map_err(|error| FleetError::Model {
            model: config.id.clone(),
            path: config.path.clone(),
            source: error.into(),
        })?;
        let card = ModelCard {
            id: config.id.clone(),
            kind: ModelKind::Embed,
            digest: config.digest,
            context: config.context_max.map_or(sizes.context, |max| sizes.context.min(max)),
            vocabulary: pieces.vocabulary(),
            created: config.created,
        };
        Ok(Self { card, pieces, width: sizes.width as u32, input_bytes_max })
    }

    pub(crate) fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Tokenizes and counts.
    pub(crate) fn prepare(
        &self,
        request: EmbeddingRequest,
    ) -> Result<EmbeddingInputs, EngineError> {
        let dimensions = match request.dimensions.map(std::num::NonZeroU32::get) {
            None => self.width,
            Some(asked) if asked <= self.width => asked,
            Some(asked) => {
                let width = self.width;
                let message = format!("is {asked}, but this model's vectors have {width}");
                return Err(EngineError::Invalid { param: "dimensions", message });
            }
        };
        self.check_size(size(&request.source), "input")?;
        let inputs = match request.source {
            EmbeddingSource::Texts(texts) => {
                let ids = texts.iter().map(|text| self.pieces.encode(text));
                self.frame(ids)?
            }
            EmbeddingSource::Tokens(inputs) => {
                inputs.iter().try_for_each(|ids| self.check_ids(ids, "input"))?;
                self.frame(inputs.iter().map(|ids| numbers(ids)))?
            }
        };
        let tokens: usize = inputs.iter().map(|ids| ids.len()).sum();
        if inputs.is_empty() || inputs.len() > INPUTS_MAX || tokens > INPUT_TOKENS_MAX {
            let message = format!(
                "has {} texts of {tokens} tokens; 1 to {INPUTS_MAX} of {INPUT_TOKENS_MAX} tokens \
                 together are taken",
                inputs.len()
            );
            return Err(EngineError::Invalid { param: "input", message });
        }
        let (model, model_digest) = (self.card.id.clone(), self.card.digest);
        Ok(EmbeddingInputs { model, model_digest, inputs, dimensions })
    }

    /// Inputs as the model reads them. One that is empty or too long is refused: nothing is cut off.
    fn frame(
        &self,
        inputs: impl ExactSizeIterator<Item = Vec<u32>>,
    ) -> Result<Vec<Arc<[TokenId]>>, EngineError> {
        let context = self.card.context as usize;
        let alone = inputs.len() == 1;
        let framed = |(place, ids): (usize, Vec<u32>)| {
            let name = || if alone { "the text".into() } else { format!("text {place}") };
            let ids = if ids.is_empty() { ids } else { self.pieces.framed(&ids) };
            match ids.len() {
                0 => Err(format!("has no tokens in {}; a text needs at least one", name())),
                // the frame alone
                2 => Err(format!("has nothing but a frame in {}", name())),
                tokens if tokens > context => Err(format!(
                    "has {tokens} tokens in {}, the two that frame it included; this model reads \
                     at most {context}, so split the text",
                    name()
                )),
                _ => Ok(ids.into_iter().map(TokenId).collect()),
            }
        };
        let inputs: Result<_, String> = inputs.enumerate().map(framed).collect();
        inputs.map_err(|message| EngineError::Invalid { param: "input", message })
    }

    /// The ids of a text, without its frame.
    pub(crate) fn tokenize(&self, text: &str) -> Result<Vec<TokenId>, EngineError> {
        self.check_size(text.len(), "input")?;
        Ok(self.pieces.encode(text).into_iter().map(TokenId).collect())
    }

    /// The words of ids, in the letters that the model reads.
    pub(crate) fn detokenize(&self, ids: &[TokenId]) -> Result<String, EngineError> {
        self.check_size(size_of_val(ids), "tokens")?;
        self.check_ids(ids, "tokens")?;
        Ok(self.pieces.decode(&numbers(ids)))
    }

    fn check_size(&self, size: usize, param: &'static str) -> Result<(), EngineError> {
        let max = self.input_bytes_max;
        if size > max {
            let message = format!("is too large: {size} bytes, at most {max} are accepted");
            return Err(EngineError::Invalid { param, message });
        }
        Ok(())
    }

    fn check_ids(&self, ids: &[TokenId], param: &'static str) -> Result<(), EngineError> {
        let last = self.card.vocabulary - 1;
        match ids.iter().find(|id| id.0 > last) {
            Some(TokenId(id)) => {
                let message = format!("has token {id}, but this model's tokens are 0 to {last}");
                Err(EngineError::Invalid { param, message })
            }
            None => Ok(()),
        }
    }
}

fn numbers(ids: &[TokenId]) -> Vec<u32> {
    ids.iter().map(|id| id.0).collect()
}

/// What is to be read, in bytes.
fn size(source: &EmbeddingSource) -> usize {
    match source {
        EmbeddingSource::Texts(texts) => texts.iter().map(String::len).sum(),
        EmbeddingSource::Tokens(inputs) => {
            inputs.iter().map(|ids| size_of_val(ids.as_slice())).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::num::NonZeroU32;

    use engine_api::{ModelDigest, ModelId};
    use engine_tiny::TinyEncoder;

    use super::*;

    fn encoder() -> Encoder {
        let folder = tempfile::tempdir().unwrap();
        TinyEncoder::default().write(folder.path()).unwrap();
        let config = FleetModel {
            id: ModelId::new("tiny"),
            kind: ModelKind::Embed,
            path: folder.path().to_owned(),
            digest: ModelDigest([1; 32]),
            context_max: Some(8),
            template: None,
            calls: None,
            reasoning: None,
            created: 0,
        };
        Encoder::load(&config, 1000).unwrap()
    }

    fn prepare(source: EmbeddingSource, dimensions: u32) -> Result<EmbeddingInputs, String> {
        let dimensions = NonZeroU32::new(dimensions);
        let request = EmbeddingRequest { model: ModelId::new("tiny"), source, dimensions };
        encoder().prepare(request).map_err(|error| error.to_string())
    }

    fn texts(texts: &[&str]) -> EmbeddingSource {
        EmbeddingSource::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    fn tokens(inputs: &[&[u32]]) -> EmbeddingSource {
        let ids = |ids: &&[u32]| ids.iter().map(|id| TokenId(*id)).collect();
        EmbeddingSource::Tokens(inputs.iter().map(ids).collect())
    }

    #[test]
    fn texts_and_their_ids_are_the_same_inputs() {
        let of_texts = prepare(texts(&["ab", "A c"]), 0).unwrap();
        assert_eq!((of_texts.dimensions, of_texts.tokens()), (48, 8));
        let ids: Vec<Vec<u32>> = of_texts.inputs.iter().map(|ids| numbers(ids)).collect();
        let bare: Vec<&[u32]> = ids.iter().map(|ids| &ids[1..ids.len() - 1]).collect();
        assert_eq!(prepare(tokens(&bare), 0).unwrap(), of_texts, "without the frame");
        let framed: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        assert_eq!(prepare(tokens(&framed), 0).unwrap(), of_texts, "with it");
        assert_eq!(prepare(texts(&["ab"]), 7).unwrap().dimensions, 7);
        let tokenizer = encoder();
        assert_eq!(numbers(&tokenizer.tokenize("ab").unwrap()), bare[0]);
        assert_eq!(tokenizer.detokenize(&tokenizer.tokenize("AB c").unwrap()).unwrap(), "ab c");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        for (source, dimensions, expected) in [
            (texts(&[""]), 0, "`input` has no tokens in the text; a text needs at least one"),
            (texts(&["a", " \n"]), 0, "`input` has no tokens in text 1; a text needs at least one"),
            (tokens(&[&[2, 3]]), 0, "`input` has nothing but a frame in the text"),
            (
                texts(&["a", "abcdefg"]),
                0,
                "`input` has 9 tokens in text 1, the two that frame it included; this model reads \
                 at most 8, so split the text",
            ),
            (tokens(&[&[999]]), 0, "`input` has token 999, but this model's tokens are 0 to 76"),
            (texts(&["a"]), 49, "`dimensions` is 49, but this model's vectors have 48"),
            (
                texts(&[&"a ".repeat(501)]),
                0,
                "`input` is too large: 1002 bytes, at most 1000 are accepted",
            ),
            (
                texts(&[]),
                0,
                "`input` has 0 texts of 0 tokens; 1 to 2048 of 1048576 tokens together are taken",
            ),
        ] {
            assert_eq!(prepare(source, dimensions).unwrap_err(), expected);
        }
    }
}
