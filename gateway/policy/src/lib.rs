//! Who may do what, where.
//!
//! [`decide`] takes the [`Policies`] that an operator wrote and the [`Facts`] of one request,
//! and answers with a [`Permit`] or a [`Deny`]. It is a pure function: no input or output, no
//! clock, no global state, so that an auditor can repeat any decision from its log entry and
//! the policy files of that date.
//!
//! Each rule has a stable id ([`RuleId`]). A permit lists the rules that made it, a denial the
//! one that stopped it. What no rule allows is denied.
//!
//! A [`Permit`] cannot be made outside this crate, so whoever holds one has asked:
//!
//! ```compile_fail,E0451
//! # fn zones() -> Vec<policy::Candidate> { Vec::new() }
//! let forged = policy::Permit { zones: zones(), ..unreachable!() };
//! ```
//!
//! ```compile_fail,E0277
//! fn needs_default<T: Default>() {}
//! needs_default::<policy::Permit>();
//! ```
//!
//! ```compile_fail,E0277
//! fn needs_deserialize<T: serde::de::DeserializeOwned>() {}
//! needs_deserialize::<policy::Permit>();
//! ```

#![forbid(unsafe_code)]

mod decide;
mod digest;
mod facts;
mod jurisdiction;
mod limits;
mod name;
mod narrowing;
mod policies;
mod source;
mod tenant;

pub use decide::{Decision, Deny, DenyReason, Permit, RuleId, decide};
pub use digest::PoliciesDigest;
pub use facts::{Candidate, Facts};
pub use jurisdiction::{Jurisdiction, JurisdictionError, Jurisdictions};
pub use limits::Limits;
pub use name::{TenantId, TenantIdError, ZoneId};
pub use narrowing::{Narrowing, NarrowingError};
pub use policies::Policies;
pub use source::PolicyError;
pub use tenant::{AllowedModels, Tenant};
