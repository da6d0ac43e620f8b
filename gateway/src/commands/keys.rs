//! `gateway keys`: API keys. A running gateway takes changes over within a second.

use std::fmt::Write;

use clap::{Args, Subcommand};
use policy::{TenantId, TenantIdError};
use time::{Duration, OffsetDateTime};

use super::DataArg;
use crate::data_dir::DataDir;
use crate::identity::{KeyRecord, KeyRing, NewKey};

/// Arguments of `gateway keys`.
#[derive(Args, Debug)]
pub struct KeysArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Make a key and print it, this one time
    Create {
        #[command(flatten)]
        data: DataArg,
        /// Whose key: the name of a tenant in the policies
        #[arg(long, value_parser = tenant)]
        tenant: TenantId,
        /// What to call the key [default: the tenant's name]
        #[arg(long)]
        name: Option<String>,
        /// After how many days it expires [default: never]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=3650))]
        expires_days: Option<i64>,
    },
    /// Show every key, without its secret part
    List(DataArg),
    /// Take a key back, for good
    Revoke {
        #[command(flatten)]
        data: DataArg,
        /// The key's id, as `list` shows it
        id: String,
    },
}

fn tenant(text: &str) -> Result<TenantId, TenantIdError> {
    text.parse()
}

/// Does it.
pub fn run(args: KeysArgs) -> anyhow::Result<()> {
    let now = OffsetDateTime::now_utc();
    match args.action {
        Action::Create { data, tenant, name, expires_days } => {
            let data = DataDir::create(&data.data)?;
            let name = name.unwrap_or_else(|| tenant.as_str().to_owned());
            let expires = expires_days.map(|days| (now + Duration::days(days)).unix_timestamp());
            let created = now.unix_timestamp();
            let key = KeyRing::create(&data, NewKey { tenant, name, created, expires })?;
            // the key alone goes to the output, so that it can be piped into a secret store
            eprintln!("key {}, shown this one time; only a keyed hash of it is kept:", key.id());
            println!("{}", key.expose());
        }
        Action::List(data) => {
            let ring = KeyRing::open(&DataDir::open(&data.data)?)?;
            print!("{}", table(ring.records(), now));
        }
        Action::Revoke { data, id } => {
            let data = DataDir::open(&data.data)?;
            let record = KeyRing::revoke(&data, &id, now.unix_timestamp())?;
            println!("revoked key {} of tenant {}", record.id, record.tenant);
        }
    }
    Ok(())
}

fn table(records: &[KeyRecord], now: OffsetDateTime) -> String {
    let mut text = format!(
        "{:<8}  {:<18}  {:<18}  {:<10}  {:<10}  STATE\n",
        "ID", "TENANT", "NAME", "CREATED", "EXPIRES"
    );
    for record in records {
        let expires = record.expires.map_or_else(|| "never".to_owned(), date);
        let written = writeln!(
            text,
            "{:<8}  {:<18}  {:<18}  {:<10}  {:<10}  {}",
            record.id,
            record.tenant,
            record.name,
            date(record.created),
            expires,
            state(record, now.unix_timestamp())
        );
        written.expect("a string takes any text");
    }
    text
}

fn state(record: &KeyRecord, now: i64) -> String {
    match (record.revoked, record.expires) {
        (Some(at), _) => format!("revoked {}", date(at)),
        (None, Some(at)) if at <= now => "expired".into(),
        _ => "valid".into(),
    }
}

fn date(unix_s: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(unix_s) {
        Ok(time) => time.date().to_string(),
        Err(_) => "?".into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;

    use super::*;

    #[test]
    fn keys_are_listed_without_their_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(&folder.path().join("data")).unwrap();
        let day = 86_400;
        let made = [("a", None), ("b", Some(10 * day)), ("c", Some(30 * day))];
        let keys = made.map(|(name, expires)| {
            let tenant = "clinic".parse().unwrap();
            let new = NewKey { tenant, name: name.into(), created: 0, expires };
            KeyRing::create(&data, new).unwrap()
        });
        KeyRing::revoke(&data, keys[2].id(), 5 * day).unwrap();
        let now = OffsetDateTime::from_unix_timestamp(20 * day).unwrap();
        let mut text = table(KeyRing::open(&data).unwrap().records(), now);
        for (key, id) in keys.iter().zip(["id-of-a", "id-of-b", "id-of-c"]) {
            assert!(!text.contains(&key.expose()[15..]));
            text = text.replace(key.id(), &format!("{id} "));
        }
        expect![[r#"
            ID        TENANT              NAME                CREATED     EXPIRES     STATE
            id-of-a   clinic              a                   1970-01-01  never       valid
            id-of-b   clinic              b                   1970-01-01  1970-01-11  expired
            id-of-c   clinic              c                   1970-01-01  1970-01-31  revoked 1970-01-06
        "#]].assert_eq(&text);
        assert!(KeyRing::revoke(&data, "00000000", 0).is_err());
    }
}
