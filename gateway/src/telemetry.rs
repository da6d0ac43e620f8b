//! The gateway's `telemetry`.
