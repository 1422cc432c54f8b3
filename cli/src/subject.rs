//! IO: what PATH is. Decided by what is there, so nobody has to say it.

use std::{
    ffi::OsStr,
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Error, Result, anyhow, bail};
use imaas_operator::{
    service::resolve::{DESCRIPTOR, is_misnamed},
    source::{limits, parse::tenant_of},
};

/// Directory of the tenant files in a tenants repository.
pub const TENANTS: &str = "tenants";
/// What the platform defines, beside it.
pub const PLATFORM: &str = "platform.yaml";
/// How deep below PATH descriptors are looked for.
const DEPTH: usize = 8;

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Tenant files.
    Tenants(Tenants),
    /// Descriptors, each the path of an `imaas.yaml`.
    Descriptors(Vec<PathBuf>),
    /// A file with definitions of the platform.
    Platform(PathBuf),
}

/// Tenant files of one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants {
    /// Where they are.
    pub directory: PathBuf,
    /// The only one that was asked for.
    pub only: Option<String>,
}

impl Tenants {
    /// The directory beside which a `platform.yaml` would be.
    pub fn repository(&self) -> PathBuf {
        match self.directory.parent() {
            Some(parent) if self.directory.file_name().is_some() => parent.to_owned(),
            _ => self.directory.join(".."),
        }
    }

    /// The directory of the limits.
    pub fn limits(&self) -> PathBuf {
        tidy(&self.repository().join(limits::DIRECTORY))
    }

    /// The path of one file, as it is told; `../` leads to what is beside the directory.
    pub fn path(&self, file: &str) -> String {
        match file.strip_prefix("../") {
            Some(beside) => tidy(&self.repository().join(beside)).display().to_string(),
            None => self.directory.join(file).display().to_string(),
        }
    }

    /// The tenant file whose limits are at `path`.
    fn limited(path: &Path) -> Option<Self> {
        let only = Some(path.file_name()?.to_str()?.to_owned());
        let of_limits = Self { directory: tidy(path.parent()?), only: None };
        Some(Self { directory: tidy(&of_limits.repository().join(TENANTS)), only })
    }

    /// The tenant file at `path`.
    pub fn one(path: &Path) -> Option<Self> {
        let file = path.file_name()?.to_str()?.to_owned();
        Some(Self { directory: tidy(path.parent()?), only: Some(file) })
    }
}

/// Finds out what `path` is.
pub fn find(path: &Path) -> Result<Subject> {
    let path = &tidy(path);
    let read = || format!("cannot read {}", shown(path));
    if fs::metadata(shown_path(path)).with_context(read)?.is_file() {
        if path.file_name().and_then(OsStr::to_str).is_some_and(is_misnamed) {
            return Err(of_misnamed(path));
        }
        return file(path).with_context(read);
    }
    let below = path.join(TENANTS);
    for directory in [&below, path] {
        if holds_tenants(directory).with_context(read)? {
            return Ok(Subject::Tenants(Tenants { directory: directory.clone(), only: None }));
        }
    }
    let mut found = Found::default();
    collect(path, DEPTH, &mut found);
    let Found { mut descriptors, misnamed } = found;
    descriptors.sort();
    let is_empty_repository = || shown_path(&below).is_dir() || path.join(PLATFORM).exists();
    if descriptors.is_empty() && is_empty_repository() {
        return Ok(Subject::Tenants(Tenants { directory: below, only: None }));
    }
    if let Some(file) = misnamed.iter().min() {
        return Err(of_misnamed(file));
    }
    if descriptors.is_empty() {
        bail!(
            "{} holds neither tenant files (`tenants/<name>.yaml`) nor an imaas.yaml; begin with `kubectl imaas tenant new` or `kubectl imaas service new`",
            shown(path)
        );
    }
    Ok(Subject::Descriptors(descriptors))
}

/// The operator reads one name only.
fn of_misnamed(file: &Path) -> Error {
    anyhow!("nobody reads {}: rename it to {DESCRIPTOR}", shown(file))
}

fn file(path: &Path) -> std::io::Result<Subject> {
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    let is_descriptor = path.file_name().is_some_and(|name| name == DESCRIPTOR);
    Ok(match kind(&text) {
        Some("Environment" | "IntegrationRuntime" | "List") => Subject::Platform(path.to_owned()),
        Some("ServiceDescriptor") => Subject::Descriptors(vec![path.to_owned()]),
        Some("Tenant") => tenant(path),
        Some("TenantLimits") => Tenants::limited(path).map_or_else(|| tenant(path), Subject::Tenants),
        _ if is_descriptor => Subject::Descriptors(vec![path.to_owned()]),
        _ => tenant(path),
    })
}

fn tenant(path: &Path) -> Subject {
    let alone = || Tenants { directory: tidy(path), only: None };
    Subject::Tenants(Tenants::one(path).unwrap_or_else(alone))
}

/// The kind that a file says it is, however broken the rest may be.
pub fn kind(text: &str) -> Option<&str> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.trim_start_matches('{').split("kind:").nth(1))?;
    line.split([',', '}', '#']).next().map(|kind| kind.trim().trim_matches(['"', '\'']))
}

fn holds_tenants(directory: &Path) -> std::io::Result<bool> {
    let entries = match fs::read_dir(shown_path(directory)) {
        Ok(entries) => entries,
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let is_named_so = is_of_tenants(directory);
        let says_so = || {
            fs::read(entry.path()).is_ok_and(|text| kind(&String::from_utf8_lossy(&text)) == Some("Tenant"))
        };
        // One of another ending is not read, and told.
        let is_yaml = name.to_str().is_some_and(|name| tenant_of(name).is_some());
        if is_yaml && entry.file_type()?.is_file() && name != DESCRIPTOR && (is_named_so || says_so()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Is this the directory of tenant files of a repository? A clone may bear the same name.
pub fn is_of_tenants(directory: &Path) -> bool {
    let is_root = || directory.join(".git").exists() || directory.join(TENANTS).is_dir();
    directory.file_name().is_some_and(|name| name == TENANTS) && !is_root()
}

/// Descriptors, and what stands where there is none and was probably meant for one.
#[derive(Default)]
struct Found {
    descriptors: Vec<PathBuf>,
    misnamed: Vec<PathBuf>,
}

/// Every descriptor below `directory`, without hidden directories and links. What cannot be read holds none.
fn collect(directory: &Path, depth: usize, found: &mut Found) {
    let Ok(entries) = fs::read_dir(shown_path(directory)) else { return };
    let has_none = !shown_path(&directory.join(DESCRIPTOR)).is_file();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_file() && name == DESCRIPTOR {
            found.descriptors.push(directory.join(name));
        } else if kind.is_file() && has_none && name.to_str().is_some_and(is_misnamed) {
            found.misnamed.push(directory.join(name));
        } else if kind.is_dir() && depth > 0 && !name.to_string_lossy().starts_with('.') {
            collect(&directory.join(name), depth - 1, found);
        }
    }
}

/// Without `.` parts; the current directory is the empty path.
pub fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// As it is told: the empty path is `.`.
pub fn shown(path: &Path) -> String {
    shown_path(path).display().to_string()
}

/// As the system takes it.
pub fn shown_path(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)], path: &str) -> String {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let relative = |path: &Path| path.strip_prefix(root.path()).unwrap().display().to_string();
        match find(&root.path().join(path)) {
            Ok(Subject::Tenants(tenants)) => {
                format!("tenants {} {}", relative(&tenants.directory), tenants.only.unwrap_or_default())
            }
            Ok(Subject::Descriptors(list)) => {
                format!(
                    "descriptors {}",
                    list.iter().map(|path| relative(path)).collect::<Vec<_>>().join(" ")
                )
            }
            Ok(Subject::Platform(file)) => format!("platform {}", relative(&file)),
            Err(error) => format!("{error:#}").replace(&root.path().display().to_string(), ""),
        }
    }

    #[test]
    fn what_a_path_is_shows_in_its_content() {
        let tenant = "apiVersion: imaas.dev/v1alpha1\nkind: Tenant\n";
        let broken = "apiVersion: imaas.dev/v1alpha1\nkind: Tenant # mine\n  : [";
        let descriptor = "{apiVersion: imaas.dev/v1alpha1, kind: ServiceDescriptor}";
        let central = [("tenants/acme.yaml", tenant), ("platform.yaml", "kind: List\n")];
        assert_eq!(found(&central, "."), "tenants tenants ");
        assert_eq!(found(&central, "tenants"), "tenants tenants ");
        assert_eq!(found(&central, "tenants/acme.yaml"), "tenants tenants acme.yaml");
        assert_eq!(found(&central, "platform.yaml"), "platform platform.yaml");
        assert_eq!(found(&[("tenants/README.md", "")], "."), "tenants tenants ", "none yet");
        assert_eq!(found(&[("platform.yaml", "")], "."), "tenants tenants ", "none any more");
        assert_eq!(found(&[("units/acme.yaml", broken)], "units"), "tenants units ");
        assert_eq!(found(&[("imaas.yaml", descriptor)], "."), "descriptors imaas.yaml");
        assert_eq!(found(&[("imaas.yaml", "nonsense")], "imaas.yaml"), "descriptors imaas.yaml");
        assert_eq!(found(&[("x.yaml", descriptor)], "x.yaml"), "descriptors x.yaml");
        let misnamed = "nobody reads /imaas.yml: rename it to imaas.yaml";
        assert_eq!(found(&[("imaas.yml", descriptor)], "imaas.yml"), misnamed);
        assert_eq!(found(&[("imaas.yml", descriptor)], ""), misnamed);
        let upper = "nobody reads /b/Imaas.YAML: rename it to imaas.yaml";
        assert_eq!(found(&[("b/Imaas.YAML", descriptor)], "b/Imaas.YAML"), upper);
        assert_eq!(
            found(&[("b/Imaas.YAML", ""), ("a/imaas.yaml", descriptor)], ""),
            upper,
            "in one of several"
        );
        assert_eq!(found(&[("imaas.yml", ""), ("imaas.yaml", descriptor)], ""), "descriptors imaas.yaml");
        let several = [("b/imaas.yaml", descriptor), ("a/imaas.yaml", descriptor), (".git/imaas.yaml", "")];
        assert_eq!(found(&several, "."), "descriptors a/imaas.yaml b/imaas.yaml");
        assert!(found(&[("README.md", "")], ".").contains("holds neither tenant files"));
        assert!(found(&[], "gone").starts_with("cannot read /gone"));
    }
}
