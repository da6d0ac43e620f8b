//! A model's chat template.

mod clock;
mod completion;
mod concatenation;
mod context;
mod depth;
mod environment;
mod error;
mod from_json;
mod outline;
mod python;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use engine_api::{Conversation, TemplateArguments};
use engine_text::{GgufHeader, Tokenizer};
use minijinja::Environment;

pub use error::TemplateError;
pub(crate) use outline::reads;

use crate::marks::ControlMarks;
use completion::Completion;

/// The name under which the environment knows the one template.
const NAME: &str = "chat";

/// What a template may cost. A template is read from a model file, and what it does depends on
/// what clients send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TemplateLimits {
    /// Longest source in bytes.
    pub source_bytes_max: usize,
    /// Deepest nesting of blocks and brackets. An `elif` counts as a level, as it does in the
    /// parser's tree.
    pub nesting_max: usize,
    /// Most operators in one tag: a chain of them is a deep tree, too.
    pub operators_max: usize,
    /// Work of one rendering: instructions, plus one for every 64 bytes that are made. It
    /// bounds the memory to about 64 times as many bytes.
    pub fuel: u64,
    /// Longest rendering in bytes.
    pub output_bytes_max: usize,
}

impl Default for TemplateLimits {
    fn default() -> Self {
        Self {
            source_bytes_max: 256 * 1024,
            nesting_max: 64,
            operators_max: 400,
            fuel: 2_000_000,
            output_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// What a template needs to know of its model.
#[derive(Clone, Debug, Default)]
pub struct TemplateOptions {
    /// Texts of the control tokens.
    pub control_strings: Vec<String>,
    /// What the template knows as `bos_token`.
    pub bos: Option<String>,
    /// What the template knows as `eos_token`.
    pub eos: Option<String>,
    /// Bounds.
    pub limits: TemplateLimits,
}

impl TemplateOptions {
    /// What a tokenizer says, under the default limits.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        Self {
            control_strings: tokenizer.control_strings().map(str::to_owned).collect(),
            bos: tokenizer.bos_text().map(str::to_owned),
            eos: tokenizer.eos_text().map(str::to_owned),
            limits: TemplateLimits::default(),
        }
    }
}

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    marks: Arc<ControlMarks>,
    bos: Option<String>,
    eos: Option<String>,
    limits: TemplateLimits,
    digest: [u8; 32],
}

/// A conversation as the model reads it, before tokenization.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rendered {
    /// The text, with control tokens spelled out.
    pub text: String,
    /// Ascending byte offsets at which the text of a control token begins that did not come
    /// from the template. They belong into `engine_text::Control::Except`.
    pub literal_at: Vec<usize>,
}

impl Template {
    /// Compiles a template that needs no `bos_token`, under the default limits.
    pub fn compile<'a>(
        source: &str,
        control_strings: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, TemplateError> {
        let control_strings = control_strings.into_iter().map(str::to_owned).collect();
        Self::compile_with(source, TemplateOptions { control_strings, ..Default::default() })
    }

    /// Compiles the template in the model's file, or the one that is configured instead of it.
    pub fn of_model(
        header: &GgufHeader,
        tokenizer: &Tokenizer,
        configured: Option<&str>,
    ) -> Result<Self, TemplateError> {
        let source = configured.or_else(|| header.text("tokenizer.chat_template"));
        Self::compile_with(source.unwrap_or(""), TemplateOptions::of(tokenizer))
    }

    /// Compiles a template. Its size and depth are checked before it is parsed.
    pub fn compile_with(source: &str, options: TemplateOptions) -> Result<Self, TemplateError> {
        if source.trim().is_empty() {
            return Err(TemplateError::Absent);
        }
        let limits = options.limits;
        outline::check(source, &limits)?;
        let marks = Arc::new(ControlMarks::new(&options.control_strings, source)?);
        let mut environment = environment::new(limits.fuel);
        from_json::add(&mut environment, &marks);
        environment
            .add_template_owned(NAME, outline::rewritten(source))
            .map_err(|error| TemplateError::of_compiling(&error))?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, source.as_bytes());
        Ok(Self {
            environment,
            marks,
            bos: options.bos,
            eos: options.eos,
            limits,
            digest: digest.as_ref().try_into().expect("SHA-256 has 32 bytes"),
        })
    }

    /// SHA-256 of the source.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Renders a conversation up to where the assistant answers. `now_unix`, in seconds, is
    /// what the template's clock reads, in UTC.
    pub fn render(
        &self,
        conversation: &Conversation,
        now_unix: i64,
    ) -> Result<Rendered, TemplateError> {
        self.render_with(conversation, &TemplateArguments::default(), now_unix)
    }

    /// Renders a conversation with arguments.
    pub fn render_with(
        &self,
        conversation: &Conversation,
        arguments: &TemplateArguments,
        now_unix: i64,
    ) -> Result<Rendered, TemplateError> {
        let input = context::of(conversation, arguments);
        let first = self.render_input(input.clone(), arguments, now_unix);
        // many templates want the arguments of calls as texts, or were never tried with a turn
        // that only calls or with a tool that nobody described
        for completion in Completion::all() {
            let Err(TemplateError::Failed { .. } | TemplateError::Raised(_)) = first else { break };
            if let Some(completed) = completion.of(&input, conversation)
                && let Ok(rendered) = self.render_input(completed, arguments, now_unix)
            {
                return Ok(rendered);
            }
        }
        first
    }

    fn render_input(
        &self,
        mut input: serde_json::Value,
        arguments: &TemplateArguments,
        now_unix: i64,
    ) -> Result<Rendered, TemplateError> {
        let marker = self.marks.mark(&mut input)?;
        let variables = context::variables(input, self, arguments, now_unix, marker);
        let template = self.environment.get_template(NAME).expect("it was added");
        let mut output = Bounded { bytes: Vec::new(), limit: self.output_limit(marker) };
        template.render_captured_to(variables, &mut output).map_err(|error| {
            if output.limit == 0 {
                return TemplateError::OutputTooLong { limit: self.limits.output_bytes_max };
            }
            TemplateError::of_rendering(&error)
        })?;
        let text = String::from_utf8(output.bytes).expect("templates write text");
        let rendered = self.marks.unmark(text, marker);
        // markers made room for more than themselves
        let limit = self.limits.output_bytes_max;
        if rendered.text.len() > limit {
            return Err(TemplateError::OutputTooLong { limit });
        }
        Ok(rendered)
    }

    /// The bound while rendering; the markers come on top.
    fn output_limit(&self, marker: Option<char>) -> usize {
        self.limits.output_bytes_max.saturating_mul(if marker.is_some() { 2 } else { 1 })
    }
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    /// 0 once it was passed.
    limit: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            self.limit = 0;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
