//! The server's certificate: made at the first start, renewed at later ones and in between.

use std::time::Duration;

use time::OffsetDateTime;

use crate::certs::{self, CertsConfig, CertsError, Prepared};
use crate::data_dir::DataDir;
use crate::telemetry::causes;

/// How often a running gateway looks whether its certificate is due.
const LOOK_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// Makes or renews it, and says so.
pub(super) fn prepare(data: &DataDir, config: &CertsConfig) -> Result<(), CertsError> {
    match look(data, config)? {
        Prepared::Made => eprintln!("made a development CA and a server certificate"),
        Prepared::Renewed(due) => eprintln!("renewed the server certificate: {due}"),
        Prepared::Kept => {}
        Prepared::Foreign { days_left } if days_left < config.server.renew_days.into() => {
            eprintln!(
                "warning: {days_left} days are left to the server certificate, which another CA \
                 signed and must renew"
            );
        }
        Prepared::Foreign { .. } => {}
    }
    Ok(())
}

fn look(data: &DataDir, config: &CertsConfig) -> Result<Prepared, CertsError> {
    let names = config.server.all_names(certs::hostname().as_deref());
    certs::prepare(data, config, &names, OffsetDateTime::now_utc())
}

/// Keeps it from expiring while the gateway runs. The listener notices a new one by itself.
pub(super) async fn watch(data: DataDir, config: CertsConfig) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    // the first one is now, and a start has just looked
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match look(&data, &config) {
            Ok(Prepared::Foreign { days_left }) => {
                tracing::info!(days_left, "the server certificate is of another CA");
            }
            Ok(prepared) => tracing::info!(?prepared, "looked at the server certificate"),
            Err(error) => {
                tracing::error!(error = causes(&error), "cannot renew the server certificate");
            }
        }
    }
}
