//! What a tenant may use at once and per minute, held while a request runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use policy::{Limits, TenantId};

/// The window of every rate.
const MINUTE: Duration = Duration::from_secs(60);

/// A limit is reached. Nothing was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LimitReached {
    /// Too many at once.
    #[error("{max} requests of this tenant run already, which is its limit; retry when one ends")]
    Concurrent {
        /// The limit.
        max: u32,
    },
    /// Too many in a minute.
    #[error(
        "the limit of {max} requests per minute is reached; retry after {} ms",
        retry_after.as_millis()
    )]
    PerMinute {
        /// The limit.
        max: u32,
        /// When the next one may begin.
        retry_after: Duration,
    },
}

impl LimitReached {
    /// When it may go better; at most a minute.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Concurrent { .. } => Duration::from_secs(1),
            Self::PerMinute { retry_after, .. } => *retry_after,
        }
    }
}

/// What is left of a tenant's rate after a request was let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLeft {
    /// The limit, in requests per minute.
    pub max: u32,
    /// Requests that may begin right now.
    pub left: u32,
    /// When all of the limit is there again.
    pub full_after: Duration,
}

/// The use of all tenants in this process; several gateways each count their own.
#[derive(Default)]
pub struct Reservations {
    /// Bounded by the number of tenants with a policy: only a permit leads here.
    tenants: Mutex<HashMap<TenantId, TenantUse>>,
}

#[derive(Default)]
struct TenantUse {
    running: u32,
    /// When the rate, if it were used no more, would be whole again (the theoretical arrival
    /// time of the generic cell rate algorithm, ITU-T I.371).
    whole_at: Option<Instant>,
}

/// One request's part of the limits. Dropping it gives its place to the next.
pub struct Reservation {
    reservations: Arc<Reservations>,
    tenant: TenantId,
    rate: RateLeft,
}

impl Reservations {
    /// Takes a place for one request of the tenant, or nothing.
    pub fn reserve(
        self: &Arc<Self>,
        tenant: &TenantId,
        limits: &Limits,
        now: Instant,
    ) -> Result<Reservation, LimitReached> {
        let mut tenants = self.lock();
        let used = tenants.entry(tenant.clone()).or_default();
        let max = limits.concurrent_requests_max;
        if used.running >= max {
            return Err(LimitReached::Concurrent { max });
        }
        let rate = used.take(limits.requests_per_minute, now)?;
        used.running += 1;
        Ok(Reservation { reservations: Arc::clone(self), tenant: tenant.clone(), rate })
    }

    /// How many requests of the tenant hold a place.
    pub fn running(&self, tenant: &TenantId) -> u32 {
        self.lock().get(tenant).map_or(0, |used| used.running)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, TenantUse>> {
        // the counts change in single statements, so a panic elsewhere leaves them whole
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TenantUse {
    /// A minute's requests may come at once; after that they come back evenly spaced.
    fn take(&mut self, max: u32, now: Instant) -> Result<RateLeft, LimitReached> {
        let spacing = MINUTE.checked_div(max).unwrap_or(MINUTE);
        let whole_at = self.whole_at.map_or(now, |at| at.max(now)) + spacing;
        let full_after = whole_at - now;
        let Some(room) = MINUTE.checked_sub(full_after) else {
            return Err(LimitReached::PerMinute { max, retry_after: full_after - MINUTE });
        };
        self.whole_at = Some(whole_at);
        let left = room.as_nanos() / spacing.as_nanos().max(1);
        Ok(RateLeft { max, left: (left as u32).min(max), full_after })
    }
}

impl Reservation {
    /// What is left of the tenant's rate.
    pub fn rate(&self) -> RateLeft {
        self.rate
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut tenants = self.reservations.lock();
        if let Some(used) = tenants.get_mut(&self.tenant) {
            debug_assert!(used.running > 0, "every reservation was counted once");
            used.running -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(concurrent_requests_max: u32, requests_per_minute: u32) -> Limits {
        let (output_tokens_max, prompt_tokens_max) = (1, 1);
        Limits {
            requests_per_minute,
            concurrent_requests_max,
            output_tokens_max,
            prompt_tokens_max,
        }
    }

    fn tenant(name: &str) -> TenantId {
        name.parse().expect("a tenant's name")
    }

    #[test]
    fn a_place_is_held_until_it_is_dropped_and_each_tenant_has_its_own() {
        let reservations = Arc::new(Reservations::default());
        let (now, two) = (Instant::now(), limits(2, 1000));
        let (a, b) = (tenant("a"), tenant("b"));
        let first = reservations.reserve(&a, &two, now).expect("free");
        let _second = reservations.reserve(&a, &two, now).expect("free");
        let refused = reservations.reserve(&a, &two, now).err().expect("full");
        assert_eq!(refused, LimitReached::Concurrent { max: 2 });
        assert!(reservations.reserve(&b, &two, now).is_ok());
        assert_eq!((reservations.running(&a), reservations.running(&b)), (2, 0));
        drop(first);
        assert!(reservations.reserve(&a, &two, now).is_ok());
        assert_eq!(reservations.running(&a), 1);
    }

    #[test]
    fn a_minute_of_requests_may_come_at_once_and_return_evenly() {
        let reservations = Arc::new(Reservations::default());
        let (start, sixty, a) = (Instant::now(), limits(100, 60), tenant("a"));
        for expected in (0..60).rev() {
            let taken = reservations.reserve(&a, &sixty, start).expect("within the rate");
            assert_eq!(taken.rate().left, expected);
        }
        let refused = reservations.reserve(&a, &sixty, start).err().expect("used up");
        assert_eq!(refused.retry_after(), Duration::from_secs(1));
        let almost = start + Duration::from_millis(999);
        assert!(reservations.reserve(&a, &sixty, almost).is_err());
        let later = start + Duration::from_secs(1);
        assert!(reservations.reserve(&a, &sixty, later).is_ok());
        assert!(reservations.reserve(&a, &sixty, later).is_err());
        assert!(reservations.reserve(&a, &sixty, start + 2 * MINUTE).is_ok());
    }

    #[test]
    fn any_rate_lets_in_exactly_its_number() {
        for max in [1, 2, 7, 59, 601, 90_001] {
            let reservations = Arc::new(Reservations::default());
            let (now, a) = (Instant::now(), tenant("a"));
            let within = |_: &u32| reservations.reserve(&a, &limits(10, max), now).is_ok();
            assert_eq!((0..max + 5).filter(within).count(), max as usize, "{max} per minute");
        }
    }

    #[test]
    fn a_refused_request_takes_no_part_of_the_rate() {
        let reservations = Arc::new(Reservations::default());
        let (now, both, a) = (Instant::now(), limits(1, 2), tenant("a"));
        let first = reservations.reserve(&a, &both, now).expect("free");
        assert!(reservations.reserve(&a, &both, now).is_err());
        drop(first);
        assert!(reservations.reserve(&a, &both, now).is_ok());
    }
}
