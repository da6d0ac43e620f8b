//! From the text of a grammar to guides.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use engine_api::{CacheNamespace, Constraint, EngineError, Submission};
use engine_text::Tokenizer;
use llguidance::api::{GrammarInit, ParserLimits, TopLevelGrammar};
use llguidance::{Matcher, ParserFactory};

use super::guide::Guide;
use super::recent::Recent;
use super::shape;
use super::vocabulary::Vocabulary;

/// Memory for grammars that may be asked for again, in bytes.
const RECENT_BYTES_MAX: usize = 256 << 20;
/// Longest message about a grammar, in bytes.
const MESSAGE_BYTES_MAX: usize = 500;

/// What compiling and following a grammar may take. It is counted in steps of work and not in
/// time, so that a grammar that is taken once is taken always.
fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 2_000,
        initial_lexer_fuel: 1_000_000,
        // about 7 ms of a step
        step_lexer_fuel: 100_000,
        step_max_items: 25_000,
        // 1 to 2 kB each, and each sequence has its own
        max_lexer_states: 16_000,
        max_grammar_size: 50_000,
        precompute_large_lexemes: true,
        // what clients wrote belongs in no log
        verbose_errors: false,
    }
}

/// The grammars of one model. It can be used from any thread.
pub struct Grammars {
    tokenizer: Arc<Tokenizer>,
    /// Made when the first grammar comes, since most models never see one.
    factory: OnceLock<Result<ParserFactory, String>>,
    recent: Mutex<Recent<Arc<Matcher>>>,
}

impl Grammars {
    /// Compiles nothing yet.
    pub(crate) fn new(tokenizer: Arc<Tokenizer>) -> Self {
        let recent = Mutex::new(Recent::new(RECENT_BYTES_MAX));
        Self { tokenizer, factory: OnceLock::new(), recent }
    }

    /// A guide for each choice of a request; none where anything goes. Takes milliseconds, and
    /// longer when it is the model's first grammar: not for a thread that steps.
    pub fn guides(&self, submission: &Submission) -> Result<Vec<Guide>, EngineError> {
        let Some(constraint) = &submission.constraint else {
            return Ok(Vec::new());
        };
        let matcher = self.compiled(submission.namespace, constraint)?;
        Ok((0..submission.choices.get()).map(|_| Guide::new(matcher.deep_clone())).collect())
    }

    pub(super) fn compiled(
        &self,
        namespace: CacheNamespace,
        constraint: &Constraint,
    ) -> Result<Arc<Matcher>, EngineError> {
        let key = (namespace, constraint.as_str().into());
        // whoever panicked here left no half an entry
        let recent = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(matcher) = recent().find(&key) {
            return Ok(matcher);
        }
        let begun = Instant::now();
        let (matcher, bytes) = self.compile(constraint.as_str())?;
        let micros = begun.elapsed().as_micros() as u64;
        tracing::debug!(bytes, text_bytes = constraint.as_str().len(), micros, "grammar compiled");
        let matcher = Arc::new(matcher);
        recent().keep(key, matcher.clone(), bytes);
        Ok(matcher)
    }

    /// The grammar at its start, and about how many bytes it takes.
    fn compile(&self, text: &str) -> Result<(Matcher, usize), EngineError> {
        shape::check(text).map_err(|error| invalid(&error.to_string()))?;
        let factory = self.factory()?;
        let grammar = GrammarInit::Serialized(TopLevelGrammar::from_lark(text.to_owned()));
        let parser = factory.create_parser_from_init_default(grammar);
        let parser = parser.map_err(|error| invalid(&format!("{error:#}")))?;
        let bytes = parser.parser.lexer_stats().num_bytes;
        let mut matcher = Matcher::new(Ok(parser));
        // whatever its beginning takes is not taken from a step
        match matcher.compute_mask_or_eos() {
            Ok(_) => Ok((matcher, bytes)),
            Err(error) => Err(invalid(&error.to_string())),
        }
    }

    fn factory(&self) -> Result<&ParserFactory, EngineError> {
        let factory = self.factory.get_or_init(|| {
            let begun = Instant::now();
            let vocabulary = Vocabulary::of(self.tokenizer.clone());
            let mut factory =
                ParserFactory::new_simple(&vocabulary).map_err(|error| error.to_string())?;
            factory.quiet();
            *factory.limits_mut() = limits();
            let tokens = self.tokenizer.vocabulary();
            let millis = begun.elapsed().as_millis() as u64;
            tracing::info!(tokens, millis, "vocabulary prepared for grammars");
            Ok(factory)
        });
        factory.as_ref().map_err(|error| {
            tracing::error!(error, "the vocabulary does not fit grammars");
            EngineError::Internal
        })
    }
}

/// Says what is wrong with a grammar, in few words.
fn invalid(why: &str) -> EngineError {
    // a panic's message is about the compiler, and behind it is where it happened
    let why = match why.starts_with("panic:") {
        true => "is more than the grammar's compiler can take",
        false => why.split("\n<").next().unwrap_or_default().trim(),
    };
    let why = &why[..why.floor_char_boundary(MESSAGE_BYTES_MAX)];
    let message = format!("made of `response_format` or `tools` cannot be used: {why}");
    EngineError::Invalid { param: "grammar", message }
}
