//! The largest things that a frame may hold. Both ends check them when they read.

/// Version of the protocol; both ends must have the same.
pub const PROTOCOL: u32 = 4;
/// Largest encoded frame in either direction, in bytes.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Longest name (model, zone, request, numerics class), in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest prompt, in tokens.
pub const PROMPT_TOKENS_MAX: usize = 1 << 20;
/// Most tokens that all choices of a resumed request bring along.
pub const RESUME_TOKENS_MAX: usize = 1 << 20;
/// Most zones that one request may run in.
pub const ZONES_MAX: usize = 256;
/// Most events in one step frame; a worker splits a larger step.
pub const STEP_EVENTS_MAX: usize = 4096;
/// Longest text of one event, in bytes: what a stop string held back, and one token.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Longest bytes of one token.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Most alternatives beside a drawn token.
pub const TOP_LOGPROBS_MAX: usize = 20;
/// Longest message to an operator or client, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// Longest `retry_after`, in milliseconds.
pub const RETRY_AFTER_MS_MAX: u64 = 60_000;
/// Longest time that a request may leave a worker for its first token, in milliseconds.
pub const TIME_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Most events that one credit frame may grant.
pub const CREDIT_MAX: u32 = 1 << 20;
/// Most inputs of one embedding request.
pub const INPUTS_MAX: usize = 2048;
/// Most tokens of all inputs of one embedding request.
pub const INPUT_TOKENS_MAX: usize = 1 << 20;
/// Longest vector of an embedding.
pub const DIMENSIONS_MAX: usize = 8192;
/// Most numbers of all vectors in one step frame; a worker splits a larger step.
pub const STEP_NUMBERS_MAX: usize = 1 << 20;
