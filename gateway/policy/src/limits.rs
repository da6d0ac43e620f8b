//! How much a tenant may use.

/// A tenant's limits. All are required in a tenant's file: an absent number is a mistake,
/// never "unlimited".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Requests that may begin in any minute.
    pub requests_per_minute: u32,
    /// Requests that may run at the same time.
    pub concurrent_requests_max: u32,
    /// Longest answer, in tokens per choice.
    pub output_tokens_max: u32,
    /// Longest prompt, in tokens.
    pub prompt_tokens_max: u32,
}

impl Limits {
    /// The largest value of `requests_per_minute`.
    pub const REQUESTS_PER_MINUTE_MAX: u32 = 1_000_000;
    /// The largest value of `concurrent_requests_max`.
    pub const CONCURRENT_REQUESTS_MAX: u32 = 100_000;
    /// The largest value of `output_tokens_max` and `prompt_tokens_max`.
    pub const TOKENS_MAX: u32 = 16_777_216;
    /// The largest value of a tenant's `weight`.
    pub const WEIGHT_MAX: u32 = 1000;
}
