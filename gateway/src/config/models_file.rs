//! `models.toml`: what runs where.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::digest;
use engine_api::{ModelDigest, ModelKind, UnknownFormat};
use serde::Deserialize;
use toml::Spanned;

use super::document::closest;
use super::model::ModelEntry;
use super::partition::Kind;
use super::{ConfigError, Document, ModelConfig, Name, PartitionConfig, ZoneConfig};

/// Everything that `models.toml` says: at least one zone, model and partition, every name
/// unique and every reference resolved, and no model without a partition.
#[derive(Clone, Debug)]
pub struct ModelsConfig {
    /// Places.
    pub zones: Vec<ZoneConfig>,
    /// What can run.
    pub models: Vec<ModelConfig>,
    /// What runs where.
    pub partitions: Vec<PartitionConfig>,
    /// SHA-256 of the file, for the audit log.
    pub digest: [u8; 32],
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelsFile {
    /// Places, each under one law.
    #[serde(default, rename = "zone")]
    zones: Vec<ZoneConfig>,
    /// Models, each with its weights' digest.
    #[serde(default, rename = "model")]
    models: Vec<ModelEntry>,
    /// Shares of a machine, each running one model in one zone.
    #[serde(default, rename = "partition")]
    partitions: Vec<PartitionConfig>,
}

impl ModelsConfig {
    /// Reads and checks a file.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let hint = "name it with --models, or start where models.toml is";
        Self::check(&Document::read(file, hint)?)
    }

    /// Checks a file that has been read.
    pub fn check(document: &Document) -> Result<Self, ConfigError> {
        let file: ModelsFile = document.parse()?;
        let lists = [
            ("zone", file.zones.len()),
            ("model", file.models.len()),
            ("partition", file.partitions.len()),
        ];
        for (list, length) in lists {
            if length == 0 {
                let message = format!("no [[{list}]] is configured");
                return Err(document.complain(0..0, message, None));
            }
        }
        let zones = unique(document, "zone", file.zones.iter().map(|zone| &zone.id))?;
        let models = unique(document, "model", file.models.iter().map(|model| &model.id))?;
        unique(document, "partition", file.partitions.iter().map(|one| &one.id))?;
        for partition in &file.partitions {
            resolve(document, "zone", &partition.zone, &zones)?;
            resolve(document, "model", &partition.model, &models)?;
            partition.check().map_err(|(message, hint)| {
                document.complain(partition.id.span(), message, Some(hint))
            })?;
        }
        for model in &file.models {
            used(document, &model.id, &file.partitions)?;
        }
        let models = file
            .models
            .into_iter()
            .map(|entry| {
                let kind = kind(document, &entry, &file.partitions)?;
                check_model(document, entry, kind)
            })
            .collect::<Result<_, _>>()?;
        let digest = digest::digest(&digest::SHA256, document.text().as_bytes());
        let digest = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
        Ok(Self { zones: file.zones, models, partitions: file.partitions, digest })
    }
}

/// The names of one kind, when no two are the same.
fn unique<'a>(
    document: &Document,
    kind: &str,
    ids: impl Iterator<Item = &'a Spanned<Name>>,
) -> Result<BTreeSet<String>, ConfigError> {
    let mut seen = BTreeSet::new();
    for id in ids {
        let name = id.get_ref().as_str();
        if !seen.insert(name.to_owned()) {
            let message = format!("the {kind} `{name}` is configured twice");
            return Err(document.complain(id.span(), message, None));
        }
    }
    Ok(seen)
}

fn resolve(
    document: &Document,
    kind: &str,
    reference: &Spanned<Name>,
    known: &BTreeSet<String>,
) -> Result<(), ConfigError> {
    let name = reference.get_ref().as_str();
    if known.contains(name) {
        return Ok(());
    }
    let hint = match closest(name, known.iter().map(String::as_str)) {
        Some(close) => format!("did you mean `{close}`?"),
        None => {
            let names: Vec<String> = known.iter().map(|one| format!("`{one}`")).collect();
            format!("the {kind}s are {}", names.join(", "))
        }
    };
    let message = format!("there is no {kind} `{name}`");
    Err(document.complain(reference.span(), message, Some(hint)))
}

/// A model that nothing runs could be asked for and would never answer.
fn used(
    document: &Document,
    id: &Spanned<Name>,
    partitions: &[PartitionConfig],
) -> Result<(), ConfigError> {
    if partitions.iter().any(|partition| partition.model.get_ref() == id.get_ref()) {
        return Ok(());
    }
    let name = id.get_ref().as_str();
    let message = format!("no [[partition]] runs the model `{name}`");
    let hint = format!("add one with model = \"{name}\", or remove the model");
    Err(document.complain(id.span(), message, Some(hint)))
}

/// What the partitions of a model, of which there is one, are for.
fn kind(
    document: &Document,
    model: &ModelEntry,
    partitions: &[PartitionConfig],
) -> Result<ModelKind, ConfigError> {
    let name = model.id.get_ref().as_str();
    let mut its = partitions.iter().filter(|one| one.model.get_ref().as_str() == name);
    let kind = its.next().map(|one| one.kind).unwrap_or_default();
    if let Some(other) = its.find(|one| one.kind != kind) {
        let message = format!("the partitions of the model `{name}` are of two kinds");
        let hint = "a model generates or embeds: give all of them the same kind";
        return Err(document.complain(other.id.span(), message, Some(hint.into())));
    }
    if let (Kind::Embed, Some(template)) = (kind, &model.template) {
        let message = format!("the model `{name}` makes embeddings and has no use for a template");
        return Err(document.complain(template.span(), message, None));
    }
    Ok(kind.into())
}

fn check_model(
    document: &Document,
    entry: ModelEntry,
    kind: ModelKind,
) -> Result<ModelConfig, ConfigError> {
    let Some(sha256) = ModelDigest::from_hex(entry.sha256.get_ref()) else {
        let message = "sha256 is 64 hexadecimal digits";
        let hint = Some("`sha256sum FILE` prints it".into());
        return Err(document.complain(entry.sha256.span(), message, hint));
    };
    let span = entry.source.span();
    let source = entry
        .source
        .into_inner()
        .check(document.folder())
        .map_err(|message| document.complain(span, message, None))?;
    let read_template = |path: Spanned<std::path::PathBuf>| {
        let file = document.folder().join(path.get_ref());
        fs::read_to_string(&file).map_err(|error| {
            let message = format!("cannot read the template {}: {error}", file.display());
            document.complain(path.span(), message, None)
        })
    };
    Ok(ModelConfig {
        id: entry.id.into_inner(),
        kind,
        source,
        sha256,
        context_max: entry.context_max,
        template: entry.template.map(read_template).transpose()?,
        tool_calls: entry.tool_calls.map(|name| format_of(document, &name)).transpose()?,
        reasoning: entry.reasoning.map(|name| format_of(document, &name)).transpose()?,
    })
}

/// A format by its name.
fn format_of<F: FromStr<Err = UnknownFormat>>(
    document: &Document,
    name: &Spanned<String>,
) -> Result<F, ConfigError> {
    let parsed = name.get_ref().parse();
    parsed
        .map_err(|unknown: UnknownFormat| document.complain(name.span(), unknown.to_string(), None))
}

#[cfg(test)]
mod tests;
