//! The set of policies that is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use serde::Deserialize;
use toml::Spanned;

use crate::jurisdiction::listed;
use crate::source::{Source, closest};
use crate::{
    AllowedModels, Jurisdictions, Limits, PoliciesDigest, PolicyError, Tenant, TenantId, digest,
};

/// Everything that `policies/` says, checked. It never changes: a reload makes a new one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policies {
    groups: BTreeMap<String, Jurisdictions>,
    tenants: BTreeMap<TenantId, Tenant>,
    digest: PoliciesDigest,
}

impl Policies {
    /// Reads `jurisdictions.toml` and every `tenants/<name>.toml`, given as names (relative to
    /// the directory of policies) and texts, in any order.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its file and line. A set with one wrong file is
    /// not used at all, so that no tenant's restriction can get lost.
    pub fn parse<N, T>(files: impl IntoIterator<Item = (N, T)>) -> Result<Self, PolicyError>
    where
        N: AsRef<str>,
        T: AsRef<str>,
    {
        let files: Vec<(N, T)> = files.into_iter().collect();
        let mut tenants_sources = Vec::new();
        let mut groups = BTreeMap::new();
        for (file, text) in &files {
            let source = Source { file: file.as_ref(), text: text.as_ref() };
            match place(source.file) {
                Place::Jurisdictions => groups = parse_groups(source)?,
                Place::Tenant => tenants_sources.push(source),
                Place::Unknown => {
                    let message = "this file is no policy: tenants are in tenants/<name>.toml \
                                   and groups of countries in jurisdictions.toml";
                    return Err(source.error(0..0, message));
                }
            }
        }
        let tenants = parse_tenants(&tenants_sources, &groups)?;
        let digest = digest::digest(&groups, &tenants);
        Ok(Self { groups, tenants, digest })
    }

    /// A tenant's policy.
    pub fn tenant(&self, id: &TenantId) -> Option<&Tenant> {
        self.tenants.get(id)
    }

    /// Every tenant, by name.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.values()
    }

    /// The countries of a group, for example `EU`.
    pub fn group(&self, name: &str) -> Option<&Jurisdictions> {
        self.groups.get(name)
    }

    /// The names of all groups.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// A name for this set by what it means.
    pub fn digest(&self) -> PoliciesDigest {
        self.digest
    }
}

enum Place {
    Jurisdictions,
    Tenant,
    Unknown,
}

fn place(file: &str) -> Place {
    let mut parts = file.rsplit(['/', '\\']);
    let (name, folder) = (parts.next().unwrap_or(""), parts.next());
    match (name, folder) {
        ("jurisdictions.toml", folder) if folder != Some("tenants") => Place::Jurisdictions,
        (name, Some("tenants")) if name.ends_with(".toml") => Place::Tenant,
        _ => Place::Unknown,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JurisdictionsFile {
    groups: BTreeMap<Spanned<String>, GroupTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupTable {
    /// The law that says who belongs to it; for readers only.
    source: Spanned<String>,
    members: Vec<Spanned<String>>,
}

fn parse_groups(source: Source<'_>) -> Result<BTreeMap<String, Jurisdictions>, PolicyError> {
    let file: JurisdictionsFile = source.parse()?;
    let mut groups = BTreeMap::new();
    for (name, table) in file.groups {
        let country = name.get_ref().parse::<crate::Jurisdiction>();
        if country.is_ok_and(|country| !country.is_union()) {
            let message = format!("`{}` is a country, so no group can be named so", name.get_ref());
            return Err(source.error(name.span(), message));
        }
        if table.source.get_ref().trim().is_empty() {
            let message = "`source` must name the law that says who belongs to the group";
            return Err(source.error(table.source.span(), message));
        }
        let mut members = Jurisdictions::new();
        for member in &table.members {
            let country = member.get_ref().parse();
            let country = country.map_err(|error: crate::JurisdictionError| {
                source.error(member.span(), error.to_string())
            })?;
            if !members.insert(country) {
                let message = format!("`{country}` is listed twice");
                return Err(source.error(member.span(), message));
            }
        }
        groups.insert(name.into_inner(), members);
    }
    Ok(groups)
}

/// A tenant's file as it is written. Its comments are in `policies/tenants/development.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantFile {
    tenant: Spanned<String>,
    #[serde(default = "enabled")]
    enabled: bool,
    jurisdictions: Spanned<Vec<Spanned<String>>>,
    models: Spanned<Vec<Spanned<String>>>,
    weight: Option<Spanned<i64>>,
    limits: LimitsTable,
}

fn enabled() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    requests_per_minute: Spanned<i64>,
    concurrent_requests_max: Spanned<i64>,
    output_tokens_max: Spanned<i64>,
    prompt_tokens_max: Spanned<i64>,
}

fn parse_tenants(
    sources: &[Source<'_>],
    groups: &BTreeMap<String, Jurisdictions>,
) -> Result<BTreeMap<TenantId, Tenant>, PolicyError> {
    let mut tenants = BTreeMap::new();
    let mut places: BTreeMap<TenantId, String> = BTreeMap::new();
    for source in sources {
        let file: TenantFile = source.parse()?;
        let span = file.tenant.span();
        let tenant = parse_tenant(*source, file, groups)?;
        if let Some(first) = places.get(&tenant.id) {
            let message = format!("tenant `{}` is already in {first}", tenant.id);
            return Err(source.error(span, message));
        }
        let place = format!("{}:{}", source.file, source.line(span.start));
        places.insert(tenant.id.clone(), place);
        tenants.insert(tenant.id.clone(), tenant);
    }
    Ok(tenants)
}

fn parse_tenant(
    source: Source<'_>,
    file: TenantFile,
    groups: &BTreeMap<String, Jurisdictions>,
) -> Result<Tenant, PolicyError> {
    let id = file.tenant.get_ref().parse();
    let id = id.map_err(|error: crate::TenantIdError| {
        source.error(file.tenant.span(), error.to_string())
    })?;
    let jurisdictions = parse_jurisdictions(source, &file.jurisdictions, groups)?;
    let models = parse_models(source, &file.models)?;
    let limits = parse_limits(source, &file.limits)?;
    let weight = match &file.weight {
        Some(weight) => number(source, "weight", weight, Limits::WEIGHT_MAX)?,
        None => 1,
    };
    let weight = NonZeroU32::new(weight).expect("numbers begin at 1");
    Ok(Tenant { id, enabled: file.enabled, jurisdictions, models, limits, weight })
}

fn parse_jurisdictions(
    source: Source<'_>,
    list: &Spanned<Vec<Spanned<String>>>,
    groups: &BTreeMap<String, Jurisdictions>,
) -> Result<Jurisdictions, PolicyError> {
    let mut jurisdictions = Jurisdictions::new();
    for item in list.get_ref() {
        let name = item.get_ref();
        if let Some(members) = groups.get(name) {
            jurisdictions.extend(members);
            continue;
        }
        let country = name.parse().map_err(|error: crate::JurisdictionError| {
            let message = match closest(name, groups.keys().map(String::as_str)) {
                Some(group) => format!("there is no group `{name}`; did you mean `{group}`?"),
                None => format!("{error}; groups in jurisdictions.toml: {}", listed(groups.keys())),
            };
            source.error(item.span(), message)
        })?;
        jurisdictions.insert(country);
    }
    if jurisdictions.is_empty() {
        let message = "`jurisdictions` is empty, so that nothing could ever run; write a country \
                       such as \"DE\", a group such as \"EU\", or `enabled = false`";
        return Err(source.error(list.span(), message));
    }
    Ok(jurisdictions)
}

fn parse_models(
    source: Source<'_>,
    list: &Spanned<Vec<Spanned<String>>>,
) -> Result<AllowedModels, PolicyError> {
    let mut names = BTreeSet::new();
    for item in list.get_ref() {
        let name = item.get_ref();
        if name == "*" && list.get_ref().len() == 1 {
            return Ok(AllowedModels::Every);
        }
        if name.is_empty() || name.contains('*') {
            let message = "a model is written out by its name; only `[\"*\"]` alone stands for \
                           every model";
            return Err(source.error(item.span(), message));
        }
        names.insert(name.clone());
    }
    if names.is_empty() {
        let message = "`models` is empty; write names of models, `[\"*\"]`, or `enabled = false`";
        return Err(source.error(list.span(), message));
    }
    Ok(AllowedModels::Only(names))
}

fn parse_limits(source: Source<'_>, table: &LimitsTable) -> Result<Limits, PolicyError> {
    let requests = Limits::REQUESTS_PER_MINUTE_MAX;
    let concurrent = Limits::CONCURRENT_REQUESTS_MAX;
    let tokens = Limits::TOKENS_MAX;
    Ok(Limits {
        requests_per_minute: number(
            source,
            "requests_per_minute",
            &table.requests_per_minute,
            requests,
        )?,
        concurrent_requests_max: number(
            source,
            "concurrent_requests_max",
            &table.concurrent_requests_max,
            concurrent,
        )?,
        output_tokens_max: number(source, "output_tokens_max", &table.output_tokens_max, tokens)?,
        prompt_tokens_max: number(source, "prompt_tokens_max", &table.prompt_tokens_max, tokens)?,
    })
}

fn number(
    source: Source<'_>,
    field: &str,
    value: &Spanned<i64>,
    max: u32,
) -> Result<u32, PolicyError> {
    let number = *value.get_ref();
    match u32::try_from(number) {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => {
            let message = format!("`{field}` must be between 1 and {max}, got {number}");
            Err(source.error(value.span(), message))
        }
    }
}

#[cfg(test)]
mod tests;
