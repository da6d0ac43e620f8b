//! Chats as models read them.
//!
//! [`Template`] renders a conversation by the model's own template (the Jinja that Hugging Face
//! uses), within bounds on time and memory. What a client wrote can never act as markup: the
//! places where its text reads like a control token come out with the rendering, and the
//! tokenizer leaves them text.
//!
//! [`OutputParser`] reads what the model answers: content, reasoning and tool calls, in the
//! format that [`detect`] finds in the template. [`plan`] makes the grammar that forces tool
//! calls and JSON.

mod format;
mod grammar;
mod marks;
mod template;

pub use format::{
    Detected, OutputParser, ParserLimits, ParserOptions, Reply, ReplyCall, Tools,
    begins_in_reasoning, control_texts, describe_tools, detect, told_calls,
};
pub use grammar::{
    Assignment, CALLS_MAX, GrammarError, GrammarRefused, Plan, ResponseError, SchemaError, plan,
    write_calls,
};
pub use template::{Rendered, Template, TemplateError, TemplateLimits, TemplateOptions};
