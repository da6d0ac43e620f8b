//! The tests' poison: a prompt on which the worker dies. It exists where assertions do, and
//! in no release build.

use engine_api::TokenId;

use crate::WorkerArgs;

/// What the worker dies of, if anything.
pub(super) struct Fault(Option<TokenId>);

impl Fault {
    #[cfg(debug_assertions)]
    pub(super) fn of(args: &WorkerArgs) -> Self {
        Self(args.fault_token.map(TokenId))
    }

    #[cfg(not(debug_assertions))]
    pub(super) fn of(_args: &WorkerArgs) -> Self {
        Self(None)
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Dies of a prompt that has the token.
    pub(super) fn strike(&self, ids: &[TokenId]) {
        if self.0.is_some_and(|token| ids.contains(&token)) {
            std::process::abort();
        }
    }
}
