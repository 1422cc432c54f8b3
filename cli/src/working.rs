//! IO: files of the working tree, read by the rules by which the operator reads a commit: regular files with plain names only.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result};
use git2::{ObjectType, Oid};
use imaas_operator::{
    git::{self, Directory, names},
    release::ConfigFiles,
    runtime::stateful::{self, Look},
    service::resolve,
    source::{
        LIMITS,
        parse::{Files, SourceFile, tenant_of},
    },
};

use crate::subject::{Tenants, shown, shown_path};

/// The most files of a configuration, as in the operator.
const CONFIG_FILES: usize = 500;
/// Largest `.car`, in bytes: a built one lies in the working tree, with its libraries.
const ARCHIVE: u64 = 64 << 20;

/// The tenant files of a directory, and the limits beside it; none where there is no such directory any more.
pub fn tenant_files(tenants: &Tenants) -> Result<Files> {
    let mut files = self::files(&tenants.directory, tenants.only.as_ref())?;
    files.limits = Some(Box::new(self::files(&tenants.limits(), tenants.only.as_ref())?));
    Ok(files)
}

fn files(directory: &Path, only: Option<&String>) -> Result<Files> {
    let mut files = Files::default();
    let directory = shown_path(directory);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", shown(directory))),
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", shown(directory)))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if only.is_some_and(|only| *only != name) {
            continue;
        }
        let kind = entry.file_type()?;
        if let Some(problem) = names::entry_problem(entry.file_name().as_encoded_bytes()) {
            files.unreadable.push((names::printable(&name), problem));
        } else if kind.is_symlink() {
            files.unreadable.push((names::printable(&name), "is a symbolic link"));
        } else if kind.is_file() {
            // What is no tenant file and looks like none counts by its name only.
            let content = if tenant_of(&name).is_some() {
                read(&entry.path()).with_context(|| format!("cannot read {}", entry.path().display()))?
            } else {
                Vec::new()
            };
            // Git's own id, so that a file which is the same in a commit need not be read twice.
            let blob = Oid::hash_object(ObjectType::Blob, &content)?.to_string();
            files.regular.insert(name, SourceFile { blob, content });
        }
    }
    Ok(files)
}

/// A file, up to what the operator would read and a byte more, so that it shows as too large.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LIMITS.file_bytes + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// The files of a `config` directory, or what is wrong with it.
pub fn config_files(service: &Path, directory: &str) -> Result<ConfigFiles, String> {
    if !Path::new(directory).components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        return Err(format!("config: {directory:?} is not a plain path below imaas.yaml's directory"));
    }
    let root = service.join(directory);
    let is_there = fs::symlink_metadata(&root).is_ok_and(|found| found.is_dir());
    if !is_there {
        return Err(format!(
            "config: there is no directory {directory:?} beside imaas.yaml; Git keeps no empty one, so put a file into it"
        ));
    }
    let mut read = Directory::default();
    walk(&root, "", &mut read).map_err(|error| format!("config: cannot read {directory}: {error}"))?;
    if read.files.len() > CONFIG_FILES {
        return Err(format!("config: {directory} has more than {CONFIG_FILES} files"));
    }
    resolve::config(directory, read).map_err(|problem| problem.message)
}

/// Looks at the source of the service in `directory` as the operator looks at a commit, but for the size of archives, which
/// Git would not bring.
pub fn source(directory: &Path) -> io::Result<Look> {
    let mut look = Look::default();
    look_below(directory, ("", 0), &mut look)?;
    Ok(look)
}

/// The files of this name in `directory` and below, where the source is looked at, each with its path from there.
pub fn named(directory: &Path, file: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    named_below(directory, ("", 0), file, &mut found)?;
    found.sort();
    Ok(found)
}

fn named_below(
    directory: &Path,
    (prefix, depth): (&str, usize),
    file: &str,
    found: &mut Vec<(String, Vec<u8>)>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if kind.is_dir() && depth < names::MAX_DEPTH && Look::enters(&name) {
            named_below(&path, (&format!("{name}/"), depth + 1), file, found)?;
        } else if kind.is_file() && entry.file_name() == file {
            found.push((name, read(&path)?));
        }
    }
    Ok(())
}

fn look_below(directory: &Path, (prefix, depth): (&str, usize), look: &mut Look) -> io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if names::entry_problem(entry.file_name().as_encoded_bytes()).is_some() {
            continue;
        }
        if kind.is_dir() && depth < names::MAX_DEPTH && Look::enters(&name) {
            look_below(&entry.path(), (&format!("{name}/"), depth + 1), look)?;
        } else if kind.is_file() && Look::wants(&name) {
            let most = if name.ends_with(stateful::ARCHIVE) { ARCHIVE } else { stateful::FILE_BYTES };
            let mut content = Vec::new();
            File::open(entry.path())?.take(most + 1).read_to_end(&mut content)?;
            if content.len() as u64 > most {
                look.skipped(&name, format!("it has more than {most} bytes"));
            } else {
                look.file(&name, &content);
            }
        }
    }
    Ok(())
}

fn walk(directory: &Path, prefix: &str, read: &mut Directory) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if let Some(problem) = names::entry_problem(entry.file_name().as_encoded_bytes()) {
            read.ignored.push((names::printable(&name), problem));
        } else if kind.is_symlink() {
            read.ignored.push((names::printable(&name), "is a symbolic link"));
        } else if kind.is_dir() {
            walk(&entry.path(), &format!("{name}/"), read)?;
        } else if kind.is_file() && read.files.len() <= CONFIG_FILES {
            let size = entry.metadata()?.len();
            let file = git::File { mode: 0o100_644, blob: String::new(), size, content: Vec::new() };
            read.files.insert(name, file);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_other_endings_are_told_apart_from_files() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("tenants");
        fs::create_dir_all(directory.join("below")).unwrap();
        for name in ["acme.yaml", "README.md", "beta.yml"] {
            fs::write(directory.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", directory.join("globex.yaml")).unwrap();
        let files = tenant_files(&Tenants { directory: directory.clone(), only: None }).unwrap();
        let names: Vec<_> =
            files.regular.iter().map(|(name, file)| (name.as_str(), file.content.len())).collect();
        assert_eq!(names, [("README.md", 0), ("acme.yaml", 9), ("beta.yml", 8)]);
        assert_eq!(files.unreadable, [("globex.yaml".to_owned(), "is a symbolic link")]);
        let gone = Tenants { directory: directory.join("gone"), only: None };
        assert!(tenant_files(&gone).unwrap().regular.is_empty());
    }

    #[test]
    fn a_config_directory_is_read_as_the_operator_reads_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("config/nested")).unwrap();
        fs::write(root.path().join("config/nested/a.properties"), "a=1").unwrap();
        let files = config_files(root.path(), "config").unwrap();
        assert_eq!(files["nested/a.properties"].size, 3);
        assert!(config_files(root.path(), "conf").unwrap_err().contains("no directory \"conf\""));
        assert!(config_files(root.path(), "../config").unwrap_err().contains("plain path"));
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("config/passwd")).unwrap();
        assert!(
            config_files(root.path(), "config").unwrap_err().contains("config/passwd: is a symbolic link")
        );
    }
}
