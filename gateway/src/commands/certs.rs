//! `gateway certs`: certificates of the development CA, and requests to other CAs.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use time::OffsetDateTime;

use super::{CertsArg, DataArg};
use crate::certs::{self, Authority, CertificateCard, CertsConfig, Prepared, ServerFiles};
use crate::data_dir::{DataDir, Overwrite};

/// Arguments of `gateway certs`.
#[derive(Args, Debug)]
pub struct CertsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Make a development CA and a server certificate where there are none
    Init {
        #[command(flatten)]
        place: Place,
        /// Replace both, keys included: every client must trust the new CA
        #[arg(long)]
        force: bool,
    },
    /// Make a key and a request for a CA of your own
    Csr {
        #[command(flatten)]
        place: Place,
        /// A DNS name or address, the main one first [default: those of certs.toml]
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// Replace the key of an earlier request
        #[arg(long)]
        force: bool,
    },
    /// Make a new server certificate from the development CA
    Renew {
        #[command(flatten)]
        place: Place,
        /// Make a new key, too, and replace a certificate that another CA signed
        #[arg(long)]
        force: bool,
    },
    /// Show names, expiry and fingerprints
    Show(DataArg),
}

#[derive(Args, Debug)]
struct Place {
    #[command(flatten)]
    data: DataArg,
    #[command(flatten)]
    certs: CertsArg,
}

impl Place {
    fn open(&self) -> anyhow::Result<(DataDir, CertsConfig, Vec<String>)> {
        let config = self.certs.load()?;
        let names = config.server.all_names(certs::hostname().as_deref());
        Ok((DataDir::create(&self.data.data)?, config, names))
    }
}

/// Does it.
pub fn run(args: CertsArgs) -> anyhow::Result<()> {
    let now = OffsetDateTime::now_utc();
    match args.action {
        Action::Init { place, force } => init(&place, force, now),
        Action::Csr { place, names, force } => csr(&place, names, force),
        Action::Renew { place, force } => renew(&place, force, now),
        Action::Show(data) => show(&data, now),
    }
}

fn init(place: &Place, force: bool, now: OffsetDateTime) -> anyhow::Result<()> {
    let (data, config, names) = place.open()?;
    if force {
        let authority = Authority::make(&data, &config.authority, now, Overwrite::Replace)?;
        replace_server(&data, &authority, &config, &names, now)?;
    } else {
        match certs::prepare(&data, &config, &names, now)? {
            Prepared::Made => println!("made a server certificate"),
            Prepared::Renewed(_) => println!("renewed the server certificate"),
            Prepared::Kept => println!("everything is there; --force replaces it, keys included"),
            Prepared::Foreign { .. } => println!("the server certificate is of another CA: kept"),
        }
    }
    print_all(&data, now)
}

fn replace_server(
    data: &DataDir,
    authority: &Authority,
    config: &CertsConfig,
    names: &[String],
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    let files = ServerFiles::of(data);
    for file in [&files.key, &files.certificate] {
        if file.exists() {
            fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    certs::issue(data, authority, config, names, now)?;
    Ok(())
}

fn csr(place: &Place, names: Vec<String>, force: bool) -> anyhow::Result<()> {
    let (data, _, usual) = place.open()?;
    if let Some(wrong) = names.iter().find(|name| !certs::is_name(name)) {
        bail!("{wrong:?} is no DNS name and no address");
    }
    let names = if names.is_empty() { usual } else { names };
    let over = if force { Overwrite::Replace } else { Overwrite::Never };
    let files = certs::request(&data, &names, over)?;
    println!("request for your CA:  {}", files.request.display());
    println!("key, which stays here: {}", files.key.display());
    println!(
        "\nwith the certificate that the CA gives you, start\n\n  gateway --tls-certificate \
         CHAIN.pem --tls-key {}",
        files.key.display()
    );
    Ok(())
}

fn renew(place: &Place, force: bool, now: OffsetDateTime) -> anyhow::Result<()> {
    let (data, config, names) = place.open()?;
    let Some(authority) = Authority::open(&data)? else {
        bail!(
            "there is no development CA in {}; `gateway certs init` makes one",
            data.root().display()
        );
    };
    let files = ServerFiles::of(&data);
    if force {
        replace_server(&data, &authority, &config, &names, now)?;
    } else {
        if let Some(card) = read_card(&files.certificate)? {
            ensure!(
                card.was_signed_by(authority.card()),
                "{} was signed by another CA, which must renew it; --force replaces it",
                files.certificate.display()
            );
        }
        certs::issue(&data, &authority, &config, &names, now)?;
    }
    println!("a running gateway takes the new certificate within seconds");
    print_all(&data, now)
}

fn show(data: &DataArg, now: OffsetDateTime) -> anyhow::Result<()> {
    print_all(&DataDir::open(&data.data)?, now)
}

fn print_all(data: &DataDir, now: OffsetDateTime) -> anyhow::Result<()> {
    let files = [Authority::certificate_file(data), ServerFiles::of(data).certificate];
    for file in files {
        match read_card(&file)? {
            Some(card) => {
                let days = card.days_left(now);
                let left = if days < 0 { "EXPIRED".into() } else { format!("{days} days left") };
                println!("{} ({left})\n{card}", file.display());
            }
            None => println!("{} is not there", file.display()),
        }
    }
    Ok(())
}

fn read_card(file: &Path) -> anyhow::Result<Option<CertificateCard>> {
    if !file.exists() {
        return Ok(None);
    }
    let pem =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Some(CertificateCard::from_pem(&pem, file)?))
}
