//! The files of a configuration → the data of an immutable `ConfigMap` and where each file appears. Pure.
//!
//! A release needs to know which files there are; what they hold only goes into the `ConfigMap`, and is kept nowhere else.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, KeyToPath},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use sha2::{Digest, Sha256};

use super::render_error::RenderError;
use crate::{
    api::RuntimeProfile,
    names::{content_digest, content_hash, hex},
    runtime::check::is_relative,
};

/// What the API server takes in one `ConfigMap`, in bytes of content.
pub const LARGEST_CONFIG: u64 = 1024 * 1024;
/// Of a configuration that is too much, so many files are told, the largest first.
const TOLD_FILES: usize = 5;
const LONGEST_KEY: usize = 253;
const READABLE: i32 = 0o444;
const EXECUTABLE: i32 = 0o555;

/// Path below the configuration directory → file.
pub type ConfigFiles = BTreeMap<String, ConfigFile>;

/// One file as Git has it, but for what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    /// Id of its blob: another one for any other content.
    pub blob: String,
    /// In bytes.
    pub size: u64,
    /// Mode 100755.
    pub executable: bool,
}

/// Path below the configuration directory → what the file holds, of any encoding.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// What the `ConfigMap` is to hold and how the pod mounts it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    /// The runtime's own.
    kept: BTreeMap<String, String>,
    /// The service's.
    files: ConfigFiles,
    /// Key, path and mode of every file; empty where each key is its path and nothing is executable.
    pub items: Vec<KeyToPath>,
}

impl Config {
    /// Changes with any byte, path or mode of any file.
    pub fn hash(&self) -> String {
        content_hash(&(&self.kept, content_hash(&identity(&self.files))))
    }
}

/// What to tell of the files in `directory` where they are more than `largest` bytes. Each content that a release within
/// history has is a `ConfigMap` of its own, and etcd holds those of all tenants.
pub fn too_much(directory: &str, files: &ConfigFiles, largest: u64) -> Option<String> {
    let size: u64 = files.values().map(|file| file.size).sum();
    if size <= largest {
        return None;
    }
    let mut by_size: Vec<_> = files.iter().map(|(path, file)| (file.size, path)).collect();
    by_size.sort_by(|one, other| other.cmp(one));
    let told: Vec<_> =
        by_size.iter().take(TOLD_FILES).map(|(size, path)| format!("{path} has {size}")).collect();
    let told = told.join(", ");
    Some(format!(
        "config: the files in {directory} have {size} bytes together, and a service may have {largest} ({told}): put what is no configuration into the image, or ask the platform team for more (`tenants.largestConfig` of the chart)"
    ))
}

/// Changes with any byte, path or mode of the service's own files.
pub(super) fn files_digest(files: &ConfigFiles) -> String {
    content_digest(&identity(files))
}

fn identity(files: &ConfigFiles) -> BTreeMap<&String, (&String, bool)> {
    files.iter().map(|(path, file)| (path, (&file.blob, file.executable))).collect()
}

/// The `ConfigMap` of a release, but for what the service's files hold.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedConfig {
    pub(super) metadata: ObjectMeta,
    pub(super) config: Config,
}

impl PlannedConfig {
    /// Its name, which follows from all that it holds.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Does it hold files of the service?
    pub fn has_files(&self) -> bool {
        !self.config.files.is_empty()
    }

    /// The object; `None` when `contents` are not those of the files that were planned.
    pub fn with(&self, contents: &Contents) -> Option<ConfigMap> {
        let Config { kept, files, items: _ } = &self.config;
        let mut data: BTreeMap<_, _> = kept.iter().map(|(path, text)| (key(path), text.clone())).collect();
        let mut binary_data = BTreeMap::new();
        for (path, file) in files {
            let bytes = contents.get(path).filter(|bytes| bytes.len() as u64 == file.size)?;
            match std::str::from_utf8(bytes).ok().filter(|text| is_short_as_text(text)) {
                Some(text) => drop(data.insert(key(path), text.to_owned())),
                None => drop(binary_data.insert(key(path), ByteString(bytes.clone()))),
            }
        }
        Some(ConfigMap {
            metadata: self.metadata.clone(),
            data: Some(data).filter(|data| !data.is_empty()),
            binary_data: Some(binary_data).filter(|data| !data.is_empty()),
            immutable: Some(true),
        })
    }
}

/// The runtime's files and the service's in one; `None` when there are none.
pub(super) fn config(
    profile: &RuntimeProfile,
    service: Option<&ConfigFiles>,
) -> Result<Option<Config>, RenderError> {
    let service = service.filter(|files| !files.is_empty());
    if service.is_none() && profile.files.is_empty() {
        return Ok(None);
    }
    if profile.config_mount.is_none() {
        return Err(RenderError::NoConfigMount);
    }
    let files = service.cloned().unwrap_or_default();
    let mut items: Vec<_> = profile.files.keys().map(|path| item(path, false)).collect();
    for (path, file) in &files {
        if !is_relative(path) {
            return Err(RenderError::ConfigPath(path.clone()));
        }
        if let Some(kept) = profile.files.keys().find(|kept| collides(path, kept)) {
            return Err(RenderError::ConfigReplaces { path: path.clone(), kept: kept.clone() });
        }
        items.push(item(path, file.executable));
    }
    let size = profile.files.values().map(|text| text.len() as u64).sum::<u64>()
        + files.values().map(|file| file.size).sum::<u64>();
    if size > LARGEST_CONFIG {
        return Err(RenderError::ConfigTooLarge { size });
    }
    // The list is part of every pod: it is left out where it says nothing.
    if items.iter().all(|item| item.key == item.path && item.mode == Some(READABLE)) {
        items.clear();
    }
    Ok(Some(Config { kept: profile.files.clone(), files, items }))
}

fn item(path: &str, executable: bool) -> KeyToPath {
    let mode = Some(if executable { EXECUTABLE } else { READABLE });
    KeyToPath { key: key(path), path: path.to_owned(), mode }
}

/// JSON writes a control character with six bytes, which takes what fits a `ConfigMap` beyond what fits a request. Where
/// base64, a third more, is shorter, the file is no text; some such characters in a text leave it one.
fn is_short_as_text(text: &str) -> bool {
    let is_long = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r');
    text.bytes().filter(is_long).count() * 5 <= text.len() / 3
}

/// One is the other, or stands in the other's way as a directory.
fn collides(one: &str, other: &str) -> bool {
    let below = |path: &str, directory: &str| {
        path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(one, other) || below(other, one)
}

/// A `ConfigMap`'s key for a path, never the same for two: what a key cannot hold becomes `_` and two hexadecimal
/// digits, as does `_` itself; a path too long for a key becomes `__` and its hash.
fn key(path: &str) -> String {
    use std::fmt::Write;
    let mut key = String::with_capacity(path.len() + 8);
    for (index, byte) in path.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || byte == b'-' || (byte == b'.' && index > 0);
        if plain {
            key.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(key, "_{byte:02x}");
        }
    }
    if key.len() > LONGEST_KEY { format!("__{}", hex(&Sha256::digest(path.as_bytes()))) } else { key }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn profile(files: &[&str]) -> RuntimeProfile {
        RuntimeProfile {
            config_mount: Some("/etc/x".into()),
            files: files.iter().map(|path| ((*path).to_owned(), "kept".to_owned())).collect(),
            ..RuntimeProfile::default()
        }
    }

    fn files(list: &[(&str, &[u8], bool)]) -> ConfigFiles {
        list.iter()
            .map(|(path, bytes, executable)| {
                let (blob, size) = (hex(&Sha256::digest(bytes)), bytes.len() as u64);
                ((*path).to_owned(), ConfigFile { blob, size, executable: *executable })
            })
            .collect()
    }

    fn contents(list: &[(&str, &[u8], bool)]) -> Contents {
        list.iter().map(|(path, bytes, _)| ((*path).to_owned(), bytes.to_vec())).collect()
    }

    fn planned(config: Config) -> PlannedConfig {
        PlannedConfig { metadata: ObjectMeta::default(), config }
    }

    proptest! {
        #[test]
        fn two_paths_never_share_a_key(a in "[-._/a-f0-9é]{1,12}", b in "[-._/a-f0-9é]{1,12}") {
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }

        #[test]
        fn every_key_is_one_that_the_api_server_takes(path in ".{1,300}") {
            let key = key(&path);
            prop_assert!(key.len() <= LONGEST_KEY && !key.starts_with('.'));
            prop_assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)), "{}", key);
        }
    }

    #[test]
    fn nested_executable_and_binary_files_keep_path_mode_and_bytes() {
        let list: &[(&str, &[u8], bool)] =
            &[("conf/a.toml", b"x=1", false), ("run.sh", b"#!", true), ("b", b"\xff\x00", false)];
        let config = config(&profile(&[]), Some(&files(list))).unwrap().unwrap();
        let items: Vec<_> =
            config.items.iter().map(|i| (i.key.as_str(), i.path.as_str(), i.mode.unwrap())).collect();
        assert_eq!(
            items,
            [("b", "b", 0o444), ("conf_2fa.toml", "conf/a.toml", 0o444), ("run.sh", "run.sh", 0o555)]
        );
        let map = planned(config).with(&contents(list)).unwrap();
        assert_eq!(map.data.unwrap()["conf_2fa.toml"], "x=1");
        assert_eq!(map.binary_data.unwrap()["b"].0, b"\xff\x00");
    }

    #[test]
    fn what_is_not_all_there_makes_no_object() {
        let list: &[(&str, &[u8], bool)] = &[("a", b"1", false), ("b", b"2", false)];
        let planned = planned(config(&profile(&[]), Some(&files(list))).unwrap().unwrap());
        assert!(planned.has_files() && planned.with(&contents(list)).is_some());
        assert_eq!(planned.with(&contents(&list[..1])), None);
        assert_eq!(planned.with(&contents(&[("a", b"1", false), ("b", b"22", false)])), None);
    }

    #[test]
    fn plain_files_need_no_list() {
        let config = config(&profile(&["kept.properties"]), Some(&files(&[("a.txt", b"1", false)])));
        let config = config.unwrap().unwrap();
        assert!(config.items.is_empty());
        let map = planned(config).with(&contents(&[("a.txt", b"1", false)])).unwrap();
        assert_eq!(map.data.unwrap().len(), 2);
    }

    #[test]
    fn a_service_cannot_replace_or_shadow_a_file_of_the_runtime() {
        for path in ["d/kept", "d", "d/kept/x"] {
            let refused = config(&profile(&["d/kept"]), Some(&files(&[(path, b"", false)]))).unwrap_err();
            assert!(refused.to_string().contains("belongs to the runtime"), "{refused}");
        }
        assert!(config(&profile(&["d/kept"]), Some(&files(&[("d/keptlike", b"", false)]))).is_ok());
    }

    #[test]
    fn no_path_leaves_the_directory() {
        for path in ["../x", "/x", "a/../../x", "a//b", "..data", ".", ""] {
            let refused = config(&profile(&[]), Some(&files(&[(path, b"", false)])));
            assert_eq!(refused.unwrap_err(), RenderError::ConfigPath(path.into()));
        }
    }

    #[test]
    fn more_than_a_mebibyte_is_told_with_its_size() {
        let given = files(&[("a", &vec![b'x'; 1024 * 1024], false), ("b", b"\xff", false)]);
        let refused = config(&profile(&[]), Some(&given)).unwrap_err();
        assert_eq!(refused.to_string(), "config: 1048577 bytes, more than the 1048576 that fit a ConfigMap");
    }

    #[test]
    fn more_than_a_service_may_have_is_told_with_its_largest_files_and_the_way_out() {
        let sizes = [("a", 1), ("big.json", 70), ("b", 2), ("c", 3), ("d", 4), ("e", 5)];
        let file =
            |(path, size): (&str, u64)| (path.to_owned(), ConfigFile { size, ..ConfigFile::default() });
        let files: ConfigFiles = sizes.map(file).into();
        assert_eq!(too_much("config", &files, 85), None);
        assert_eq!(
            too_much("config", &files, 84).unwrap(),
            "config: the files in config have 85 bytes together, and a service may have 84 (big.json has 70, e has 5, \
             d has 4, c has 3, b has 2): put what is no configuration into the image, or ask the platform team for more \
             (`tenants.largestConfig` of the chart)"
        );
    }

    #[test]
    fn whatever_fits_a_config_map_fits_a_request() {
        const LARGEST_REQUEST: usize = 3 << 20;
        const LARGEST: usize = 1 << 20;
        let stored = |bytes: &[u8]| {
            let list: &[(&str, &[u8], bool)] = &[("a", bytes, false)];
            let config = config(&profile(&[]), Some(&files(list))).unwrap().unwrap();
            planned(config).with(&contents(list)).unwrap()
        };
        let mixed: Vec<_> = (0..LARGEST).map(|at| if at % 15 == 14 { 1 } else { b'\n' }).collect();
        for bytes in [vec![1; LARGEST], vec![b'\n'; LARGEST], mixed, vec![0xff; LARGEST]] {
            let sent = serde_json::to_vec(&stored(&bytes)).unwrap();
            assert!(sent.len() + 1024 < LARGEST_REQUEST, "{} of {:?}", sent.len(), &bytes[..2]);
        }
        let log = stored(b"\x1b[1mbold\x1b[0m, and more text that is plain");
        assert_eq!(log.binary_data, None, "a text stays one, or an upgrade would restart what mounts it");
    }

    #[test]
    fn a_runtime_without_a_mount_refuses_config() {
        let none = RuntimeProfile::default();
        assert_eq!(config(&none, None), Ok(None));
        assert_eq!(config(&none, Some(&files(&[]))), Ok(None));
        let given = files(&[("a", b"", false)]);
        assert_eq!(config(&none, Some(&given)), Err(RenderError::NoConfigMount));
    }
}
