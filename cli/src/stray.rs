//! IO: Tenant files that stand where no TenantSource, or hardly one, reads them.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use imaas_operator::{
    service::resolve::DESCRIPTOR,
    source::parse::{file_name, tenant_of},
};

use crate::{
    check::Told,
    history::Clone,
    subject::{self, TENANTS, Tenants, is_of_tenants, shown, shown_path},
    working,
};

/// How deep below PATH they are looked for.
const DEPTH: usize = 8;
/// Of more directories nobody reads.
const MOST: usize = 20;

/// What was found.
#[derive(Debug, Default)]
pub struct Strays {
    /// Files that no TenantSource can read.
    pub problems: Vec<Told>,
    /// Files that only a TenantSource of their own reads.
    pub warnings: Vec<Told>,
}

/// Looks at PATH, and below it where it is a directory.
pub fn strays(path: &Path, tenants: &Tenants) -> Strays {
    let mut found = BTreeMap::new();
    match &tenants.only {
        Some(file) => {
            let file = tenants.directory.join(file);
            if is_tenant(&file) && !is_read(&tenants.directory) {
                found.insert(tenants.directory.clone(), vec![file]);
            }
        }
        None => look(&subject::tidy(path), DEPTH, &mut found),
    }
    let mut strays = Strays::default();
    for (directory, mut files) in found.into_iter().take(MOST) {
        files.sort();
        if is_root(&directory) {
            strays.problems.extend(files.iter().map(|file| Told::whole(shown(file), &of_root(file))));
        } else if let Some(first) = files.first() {
            strays.warnings.push(Told::whole(shown(first), &elsewhere(&directory, files.len())));
        }
    }
    strays
}

/// Told of a tenant file there.
pub fn of_root(file: &Path) -> String {
    let tenant = file.file_name().and_then(OsStr::to_str).and_then(tenant_of).unwrap_or_default();
    let to = Path::new(TENANTS).join(file_name(&tenant));
    format!(
        "nobody reads a tenant file in the root of a repository: move it to {}",
        shown(&file.parent().unwrap_or(file).join(to))
    )
}

fn elsewhere(directory: &Path, count: usize) -> String {
    let others = if count > 1 { format!(" and {} more beside it", count - 1) } else { String::new() };
    format!(
        "this tenant file{others} is read only where the TenantSource's `spec.path` is {}; it is `{TENANTS}` unless the platform team says otherwise: if so, move it there",
        shown(directory)
    )
}

/// Tenant files by their directory, without those that are where they belong.
fn look(directory: &Path, depth: usize, found: &mut BTreeMap<PathBuf, Vec<PathBuf>>) {
    let Ok(entries) = fs::read_dir(shown_path(directory)) else { return };
    let is_read = is_read(directory);
    for entry in entries.flatten() {
        let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
        let path = directory.join(&name);
        if kind.is_dir() && depth > 0 && !name.to_string_lossy().starts_with('.') {
            look(&path, depth - 1, found);
        } else if kind.is_file() && !is_read && is_tenant(&path) {
            found.entry(directory.to_owned()).or_default().push(path);
        }
    }
}

fn is_read(directory: &Path) -> bool {
    std::path::absolute(shown_path(directory)).is_ok_and(|directory| is_of_tenants(&directory))
}

/// Is this the root of a repository, where no TenantSource reads?
pub fn is_root(directory: &Path) -> bool {
    let of_clone = || Clone::holding(directory).and_then(|clone| clone.relative(directory));
    directory.join(TENANTS).is_dir() || of_clone().is_ok_and(|path| path.is_empty())
}

fn is_tenant(file: &Path) -> bool {
    let is_yaml = file.file_name().and_then(OsStr::to_str).is_some_and(|name| tenant_of(name).is_some());
    let says_so = || {
        working::read(file).is_ok_and(|text| {
            let text = String::from_utf8_lossy(&text);
            subject::kind(&text) == Some("Tenant") && text.contains("imaas.dev/")
        })
    };
    is_yaml && file.file_name().is_some_and(|name| name != DESCRIPTOR) && says_so()
}
