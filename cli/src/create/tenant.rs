//! `tenant new`.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use imaas_operator::{
    api::{Environment, ServiceEntry, Tenant, TenantSpec, tenant::EnvironmentOverride},
    environment,
    names::{PUSH_SECRET, home_namespace},
    source::parse::{ENDING, Files, SourceFile, file_name},
    yaml,
};
use kube::ResourceExt;

use super::{arguments::unusual_runtime, not_written, text, write_new};
use crate::{
    Outcome,
    args::TenantNew,
    around,
    check::{Examined, examine},
    history::Clone,
    output,
    platform::Platform,
    subject::{TENANTS, is_of_tenants, shown, tidy},
};

/// Directory of the schema in a tenants repository, and the file there.
const SCHEMA: &str = "schemas/tenant.schema.json";

/// IO: writes the file, and the schema for editors where there is none yet.
pub fn run(options: &TenantNew) -> Result<Outcome> {
    let is_piped = options.out.as_deref() == Some(Path::new("-"));
    let path = if is_piped { PathBuf::from(file_name(&options.name)) } else { path(options)? };
    let repository = repository(&path);
    let platform = around::sound_platform(&options.around, repository.as_deref())?;
    let tenant = tenant(options, Clone::holding(&path).ok().and_then(|clone| clone.email()));
    let schema = options.schema.clone().or_else(|| repository.as_ref().map(|_| format!("../{SCHEMA}")));
    let text = text::tenant(&tenant, schema.as_deref().filter(|_| !is_piped || options.schema.is_some()));
    let examined = examined(options, &text, &platform);
    not_written(&examined.told(str::to_owned))?;
    let read = yaml::tenant(text.as_bytes()).ok().context("a valid file was not read")?;
    ensure!(read.spec == tenant.spec, "a value cannot be written as YAML: use fewer special characters");
    if is_piped {
        output::print(&text)?;
        return Ok(Outcome::Fine);
    }
    write_new(&path, &text)?;
    let mut written = vec![shown(&path)];
    if let Some(file) = repository
        .map(|repository| repository.join(SCHEMA))
        .filter(|file| options.schema.is_none() && !file.exists())
    {
        write_new(&file, &format!("{:#}\n", yaml::tenant_schema()))?;
        written.push(shown(&file));
    }
    output::print(&next(&tenant, &written, &platform, &examined))?;
    Ok(Outcome::Fine)
}

/// Where the file goes: as asked for, else into the directory of tenants that is here.
fn path(options: &TenantNew) -> Result<PathBuf> {
    let file = file_name(&options.name);
    let Some(out) = &options.out else {
        let here = std::env::current_dir().ok();
        let is_inside = here.is_some_and(|here| is_of_tenants(&here));
        return Ok(if is_inside { PathBuf::from(file) } else { Path::new(TENANTS).join(file) });
    };
    if out.is_dir() {
        return Ok(tidy(&out.join(file)));
    }
    if out.file_name().is_none_or(|name| name != file.as_str()) {
        bail!(
            "-o {}: the file of tenant {} must be named {file}, so that one name has one file",
            shown(out),
            options.name
        );
    }
    Ok(tidy(out))
}

/// The tenants repository around the file, where that shows.
fn repository(path: &Path) -> Option<PathBuf> {
    let directory = path.parent()?;
    if directory.as_os_str().is_empty() {
        let here = std::env::current_dir().ok()?;
        return is_of_tenants(&here).then(|| PathBuf::from(".."));
    }
    (directory.file_name()? == TENANTS).then(|| directory.parent().unwrap_or(Path::new("")).to_owned())
}

fn tenant(options: &TenantNew, email: Option<String>) -> Tenant {
    let omit =
        |name: &String| (name.clone(), EnvironmentOverride { omit: true, ..EnvironmentOverride::default() });
    let spec = TenantSpec {
        suspend: false,
        cordon: false,
        contact: options.contact.clone().or(email),
        members: options.members.iter().map(|member| member.0.clone()).collect(),
        environments: options.omitted.iter().map(omit).collect(),
        services: options.services.iter().map(|service| service.0.clone()).collect(),
        ..TenantSpec::default()
    };
    Tenant::new(&options.name, spec)
}

fn examined(options: &TenantNew, text: &str, platform: &Platform) -> Examined {
    let source = SourceFile { blob: String::new(), content: text.as_bytes().to_vec() };
    let files = Files { regular: [(format!("{}{ENDING}", options.name), source)].into(), ..Files::default() };
    examine(&files, platform, &around::urls(&options.around), &Examined::default())
}

/// What was written, and what to do next.
fn next(tenant: &Tenant, written: &[String], platform: &Platform, examined: &Examined) -> String {
    let name = tenant.metadata.name.clone().unwrap_or_default();
    let spec = &tenant.spec;
    let mut out = String::new();
    // Writing to a String cannot fail.
    for file in written {
        let _ = writeln!(out, "wrote {file}");
    }
    for note in platform.notes() {
        let _ = writeln!(out, "not checked: {note}");
    }
    for warning in spec.services.iter().filter_map(|entry| unusual_runtime(entry, platform)) {
        let _ = writeln!(out, "warning: {warning}");
    }
    out += "\nNext:\n";
    let missing: Vec<&str> = [("members", spec.members.is_empty()), ("services", spec.services.is_empty())]
        .into_iter()
        .filter_map(|(what, is_missing)| is_missing.then_some(what))
        .collect();
    if !missing.is_empty() {
        let _ =
            writeln!(out, "  edit {}: {} wait for you there, as comments", written[0], missing.join(" and "));
    }
    let _ = write!(
        out,
        "  kubectl imaas validate .\n  git switch -c tenant-{name}\n  git add {}\n  git commit -m \"feat: onboard {name}\"\n  git push -u origin HEAD     # then open a pull request\n",
        written.join(" ")
    );
    let _ = write!(
        out,
        "\nIn the repository of each service:\n  kubectl imaas service new NAME     # writes imaas.yaml, which says how it runs\n  commit it, and push a branch for each environment{}\n",
        branches(platform)
    );
    let spaces = examined.valid.get(&name).filter(|_| platform.knows_environments());
    let mut namespaces: Vec<String> =
        spaces.iter().flat_map(|space| &space.environments).map(|space| space.namespace.clone()).collect();
    namespaces.insert(0, home_namespace(&name));
    if spaces.is_none() {
        namespaces.push(format!("{name}-<environment> for each environment of the platform"));
    }
    let _ = write!(out, "\nAfter the merge:\n  namespaces {}\n", namespaces.join(", "));
    for secret in credentials(&spec.services) {
        let _ = writeln!(
            out,
            "  kubectl -n {name}-home create secret generic {secret} --from-literal=username=USER --from-file=password=FILE     # and --from-file=ca.crt=FILE where a private authority signs the host's certificate"
        );
    }
    let _ = write!(
        out,
        "  kubectl -n {name}-home get secret {PUSH_SECRET} -o jsonpath='{{.data.\\.dockerconfigjson}}' | base64 -d > config.json     # the registry login of your CI\n  kubectl -n {name}-home get isvc     # the board of your services\n"
    );
    out
}

/// The branches that the platform reads, in promotion order, where that is known.
fn branches(platform: &Platform) -> String {
    let branch = |one: &Environment| one.spec.branch.clone().unwrap_or_else(|| one.name_any());
    let order = environment::check(&platform.environments).chain(|_| true);
    let ordered = order
        .iter()
        .filter_map(|link| platform.environments.iter().find(|one| one.name_any() == link.environment));
    let branches: Vec<_> = ordered.map(branch).collect();
    if branches.is_empty() { String::new() } else { format!(": {}", branches.join(", ")) }
}

fn credentials(services: &[ServiceEntry]) -> Vec<&str> {
    let mut names: Vec<&str> =
        services.iter().filter_map(|entry| entry.spec.repository.credentials.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_stand_in_the_order_of_promotion() {
        let environment =
            |name: &str, spec: &str| Environment::new(name, serde_saphyr::from_str(spec).unwrap());
        let environments = vec![
            environment("dev", "{}"),
            environment("prod", "{promotesFrom: test, branch: main}"),
            environment("test", "{promotesFrom: dev}"),
        ];
        let platform = Platform::of(environments, vec![], "the cluster");
        assert_eq!(branches(&platform), ": dev, test, main");
        assert_eq!(branches(&Platform::default()), "");
    }
}
