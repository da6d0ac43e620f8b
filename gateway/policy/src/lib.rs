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
//! ```
//! use policy::{Candidate, Decision, Facts, Policies, ZoneId, decide};
//!
//! let tenant = r#"
//!     tenant = "clinic"
//!     jurisdictions = ["DE"]
//!     models = ["*"]
//!     [limits]
//!     requests_per_minute = 60
//!     concurrent_requests_max = 4
//!     output_tokens_max = 1024
//!     prompt_tokens_max = 4096
//! "#;
//! let policies = Policies::parse([("tenants/clinic.toml", tenant)])?;
//! let candidate = Candidate { zone: ZoneId::new("eu-fr-1"), jurisdiction: "FR".parse()? };
//! let facts = Facts {
//!     tenant: "clinic".parse()?,
//!     model: "small".into(),
//!     candidates: vec![candidate],
//!     narrowed: None,
//!     max_tokens: None,
//! };
//! let Decision::Deny(deny) = decide(&policies, &facts) else { panic!("FR is not DE") };
//! assert_eq!(deny.reason.code(), "residency_violation");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Permit`] cannot be made outside this crate, so whoever holds one has asked. Its fields
//! are private:
//!
//! ```compile_fail,E0451
//! fn widen(permit: policy::Permit, zones: Vec<policy::Candidate>) -> policy::Permit {
//!     policy::Permit { zones, ..permit }
//! }
//! ```
//!
//! and it can be neither copied nor made from nothing or from bytes:
//!
//! ```compile_fail,E0277
//! fn needs<T: Clone>() {}
//! needs::<policy::Permit>();
//! ```
//!
//! ```compile_fail,E0277
//! fn needs<T: Default>() {}
//! needs::<policy::Permit>();
//! ```
//!
//! ```compile_fail,E0277
//! fn needs<T: serde::de::DeserializeOwned>() {}
//! needs::<policy::Permit>();
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
