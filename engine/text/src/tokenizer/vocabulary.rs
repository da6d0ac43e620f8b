//! The tokens themselves.

use super::{TokenizerError, byte_letters};
use crate::GgufHeader;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPE: &str = "tokenizer.ggml.token_type";

/// Names of tokens that end an answer, whether or not the file's metadata points at them
/// (llama.cpp's list in llama-vocab.cpp, without `</s>`, which is HTML in Gemma).
const END_NAMES: [&str; 17] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
];

/// Which kind of tokenizer the file describes (`tokenizer.ggml.model`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Model {
    /// Byte-level byte pair encoding.
    Gpt2,
    /// SentencePiece's byte pair encoding by score.
    Llama,
}

/// What a token is for (`llama_token_type` in llama.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Text that merging leads to.
    Normal,
    /// Markup: no text, and no text leads to it unless the caller allows it.
    Control,
    /// Text that is found before any merging.
    UserDefined,
    /// No text, and nothing leads to it.
    Unused,
    /// One byte of a character that the vocabulary lacks.
    Byte,
}

/// Texts, kinds and special ids.
#[derive(Debug)]
pub struct Vocabulary {
    model: Model,
    kinds: Vec<Kind>,
    /// What each token stands for, end to end.
    bytes: Vec<u8>,
    /// Where each token's bytes end.
    ends: Vec<usize>,
    /// Spelled texts of control and user-defined tokens, by id.
    marked: Vec<(u32, String)>,
    end_tokens: Vec<u32>,
    unknown: Option<u32>,
    begin: Option<u32>,
    adds_begin: bool,
    bos_text: Option<String>,
    eos_text: Option<String>,
}

impl Vocabulary {
    /// Reads what both models have in common.
    pub fn from_gguf(header: &GgufHeader) -> Result<Self, TokenizerError> {
        let model = read_model(header)?;
        let texts = header.texts(TOKENS).ok_or(TokenizerError::Missing(TOKENS))?;
        let kinds = read_kinds(header, texts)?;
        let special = |key| read_id(header, key, texts.len());
        let end = special("tokenizer.ggml.eos_token_id")?.or(model.end_default(texts.len()));
        let begin = special("tokenizer.ggml.bos_token_id")?.or(model.begin_default(texts.len()));
        let mut end_tokens: Vec<u32> = end.into_iter().collect();
        end_tokens.extend(special("tokenizer.ggml.eot_token_id")?);
        end_tokens.extend(special("tokenizer.ggml.eom_token_id")?);
        end_tokens.extend(named_ends(texts, &kinds));
        end_tokens.sort_unstable();
        end_tokens.dedup();
        let text_of = |id: Option<u32>| id.map(|id| texts[id as usize].clone());
        let mut vocabulary = Self {
            model,
            kinds,
            bytes: Vec::new(),
            ends: Vec::with_capacity(texts.len()),
            marked: Vec::new(),
            end_tokens,
            unknown: special("tokenizer.ggml.unknown_token_id")?,
            begin,
            adds_begin: adds_begin(header, model),
            bos_text: text_of(begin),
            eos_text: text_of(end),
        };
        texts.iter().enumerate().try_for_each(|(id, text)| vocabulary.add(id, text))?;
        Ok(vocabulary)
    }

    pub fn model(&self) -> Model {
        self.model
    }

    pub fn len(&self) -> u32 {
        self.kinds.len() as u32
    }

    pub fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Unused)
    }

    pub fn is_control(&self, id: u32) -> bool {
        self.kind(id) == Kind::Control
    }

    pub fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(end) = self.ends.get(id) else {
            return &[];
        };
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..*end]
    }

    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// What stands for text that has no token.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    pub fn bos(&self) -> Option<u32> {
        self.begin.filter(|_| self.adds_begin)
    }

    pub fn bos_text(&self) -> Option<&str> {
        self.bos_text.as_deref()
    }

    pub fn eos_text(&self) -> Option<&str> {
        self.eos_text.as_deref()
    }

    /// Tokens that are found by their text before any merging: control and user-defined ones.
    pub fn marked(&self) -> impl Iterator<Item = (u32, &str)> {
        self.marked.iter().map(|(id, text)| (*id, text.as_str()))
    }

    pub fn control_text(&self, id: u32) -> Option<&str> {
        let place = self.marked.binary_search_by_key(&id, |(marked, _)| *marked).ok()?;
        self.is_control(id).then_some(self.marked[place].1.as_str())
    }

    pub fn control_strings(&self) -> impl Iterator<Item = &str> {
        self.marked().filter(|(id, _)| self.is_control(*id)).map(|(_, text)| text)
    }

    fn add(&mut self, id: usize, text: &str) -> Result<(), TokenizerError> {
        match (self.kinds[id], self.model) {
            (Kind::Control, _) => self.mark(id, text),
            (Kind::UserDefined, _) => {
                self.mark(id, text);
                self.bytes.extend_from_slice(text.as_bytes());
            }
            (Kind::Unused, _) => {}
            (Kind::Byte, _) => {
                let message = "is of the byte type, but not spelled like <0x0A>";
                let byte = byte_value(text).ok_or(TokenizerError::Token { id, message })?;
                self.bytes.push(byte);
            }
            (Kind::Normal, Model::Gpt2) => spell_out(text, &mut self.bytes),
            (Kind::Normal, Model::Llama) => {
                self.bytes.extend_from_slice(text.replace('▁', " ").as_bytes());
            }
        }
        self.ends.push(self.bytes.len());
        Ok(())
    }

    fn mark(&mut self, id: usize, text: &str) {
        if !text.is_empty() {
            self.marked.push((id as u32, text.to_owned()));
        }
    }
}

impl Model {
    /// SentencePiece's own numbers, where a file names none.
    fn begin_default(self, tokens: usize) -> Option<u32> {
        (self == Self::Llama && tokens > 2).then_some(1)
    }

    fn end_default(self, tokens: usize) -> Option<u32> {
        (self == Self::Llama && tokens > 2).then_some(2)
    }
}

fn read_model(header: &GgufHeader) -> Result<Model, TokenizerError> {
    const KEY: &str = "tokenizer.ggml.model";
    match header.text(KEY).ok_or(TokenizerError::Missing(KEY))? {
        "gpt2" => Ok(Model::Gpt2),
        "llama" => Ok(Model::Llama),
        other => Err(TokenizerError::UnknownModel(other.to_owned())),
    }
}

fn read_kinds(header: &GgufHeader, texts: &[String]) -> Result<Vec<Kind>, TokenizerError> {
    let types = header.integers(TOKEN_TYPE).ok_or(TokenizerError::Missing(TOKEN_TYPE))?;
    if types.len() != texts.len() {
        let (got, expected) = (types.len(), texts.len());
        return Err(TokenizerError::Length { key: TOKEN_TYPE, got, expected });
    }
    let kinds = types.iter().zip(texts).enumerate().map(|(id, (kind, text))| match kind {
        1 => Ok(Kind::Normal),
        // unknown and control
        2 | 3 => Ok(Kind::Control),
        // an end of turn must never come out of somebody's text
        4 if END_NAMES.contains(&text.as_str()) => Ok(Kind::Control),
        4 => Ok(Kind::UserDefined),
        5 => Ok(Kind::Unused),
        6 => Ok(Kind::Byte),
        _ => Err(TokenizerError::Token { id, message: "has a type that does not exist" }),
    });
    kinds.collect()
}

fn named_ends<'a>(texts: &'a [String], kinds: &'a [Kind]) -> impl Iterator<Item = u32> + 'a {
    let tokens = texts.iter().zip(kinds).enumerate();
    tokens
        .filter(|(_, (text, kind))| **kind == Kind::Control && END_NAMES.contains(&text.as_str()))
        .map(|(id, _)| id as u32)
}

/// Reads the id at `key`, and checks it.
fn read_id(
    header: &GgufHeader,
    key: &'static str,
    vocabulary: usize,
) -> Result<Option<u32>, TokenizerError> {
    match header.number(key) {
        None if header.has(key) => Err(TokenizerError::Missing(key)),
        None => Ok(None),
        Some(id) if id < vocabulary as u64 => Ok(Some(id as u32)),
        Some(id) => Err(TokenizerError::OutOfVocabulary { key, id, vocabulary }),
    }
}

/// Whether plain text begins with the begin token. Where a file does not say, these are
/// llama.cpp's defaults.
fn adds_begin(header: &GgufHeader, model: Model) -> bool {
    header.bool("tokenizer.ggml.add_bos_token").unwrap_or_else(|| match model {
        Model::Llama => true,
        Model::Gpt2 => {
            let pre = header.text("tokenizer.ggml.pre");
            matches!(pre, Some("llama3" | "llama-v3" | "llama-bpe" | "tekken"))
        }
    })
}

/// `<0x0A>` is the byte 10.
fn byte_value(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

/// Letters that stand for no byte stand for themselves: some files spell added tokens so.
fn spell_out(text: &str, out: &mut Vec<u8>) {
    for letter in text.chars() {
        match byte_letters::byte(letter) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}
