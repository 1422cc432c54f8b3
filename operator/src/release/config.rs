//! The files of a configuration → the data of an immutable `ConfigMap` and where each file appears. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::KeyToPath};
use sha2::{Digest, Sha256};

use super::render::RenderError;
use crate::{
    api::RuntimeProfile,
    names::{content_hash, hex},
    runtime::check::is_relative,
};

/// What the API server takes in one `ConfigMap`, in bytes of content.
pub const LARGEST_CONFIG: usize = 1024 * 1024;
const LONGEST_KEY: usize = 253;
const READABLE: i32 = 0o444;
const EXECUTABLE: i32 = 0o555;

/// Path below the configuration directory → file.
pub type ConfigFiles = BTreeMap<String, ConfigFile>;

/// One file as Git has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    /// Content, of any encoding.
    pub bytes: Vec<u8>,
    /// Mode 100755.
    pub executable: bool,
}

/// What the `ConfigMap` holds and how the pod mounts it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    pub data: BTreeMap<String, String>,
    pub binary_data: BTreeMap<String, ByteString>,
    /// Key, path and mode of every file; empty where each key is its path and nothing is executable.
    pub items: Vec<KeyToPath>,
}

impl Config {
    /// Changes with any byte, path or mode of any file.
    pub fn hash(&self) -> String {
        content_hash(&(&self.data, &self.binary_data, &self.items))
    }
}

/// Changes with any byte, path or mode of the service's own files.
pub(super) fn files_hash(files: &ConfigFiles) -> String {
    let of_file = |file: &ConfigFile| (hex(&Sha256::digest(&file.bytes)), file.executable);
    content_hash(&files.iter().map(|(path, file)| (path, of_file(file))).collect::<BTreeMap<_, _>>())
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
    let mut config = Config { data: BTreeMap::new(), binary_data: BTreeMap::new(), items: Vec::new() };
    for (path, text) in &profile.files {
        config.put(path, text.as_bytes(), false);
    }
    for (path, file) in service.into_iter().flatten() {
        if !is_relative(path) {
            return Err(RenderError::ConfigPath(path.clone()));
        }
        if let Some(kept) = profile.files.keys().find(|kept| collides(path, kept)) {
            return Err(RenderError::ConfigReplaces { path: path.clone(), kept: kept.clone() });
        }
        config.put(path, &file.bytes, file.executable);
    }
    let size = config.data.values().map(String::len).sum::<usize>()
        + config.binary_data.values().map(|bytes| bytes.0.len()).sum::<usize>();
    if size > LARGEST_CONFIG {
        return Err(RenderError::ConfigTooLarge { size });
    }
    // The list is part of every pod: it is left out where it says nothing.
    if config.items.iter().all(|item| item.key == item.path && item.mode == Some(READABLE)) {
        config.items.clear();
    }
    Ok(Some(config))
}

impl Config {
    fn put(&mut self, path: &str, bytes: &[u8], executable: bool) {
        let key = key(path);
        let mode = Some(if executable { EXECUTABLE } else { READABLE });
        self.items.push(KeyToPath { key: key.clone(), path: path.to_owned(), mode });
        match std::str::from_utf8(bytes).ok().filter(|text| is_short_as_text(text)) {
            Some(text) => drop(self.data.insert(key, text.to_owned())),
            None => drop(self.binary_data.insert(key, ByteString(bytes.to_vec()))),
        }
    }
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
                ((*path).to_owned(), ConfigFile { bytes: bytes.to_vec(), executable: *executable })
            })
            .collect()
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
        let given =
            files(&[("conf/a.toml", b"x=1", false), ("run.sh", b"#!", true), ("b", b"\xff\x00", false)]);
        let config = config(&profile(&[]), Some(&given)).unwrap().unwrap();
        let items: Vec<_> =
            config.items.iter().map(|i| (i.key.as_str(), i.path.as_str(), i.mode.unwrap())).collect();
        assert_eq!(
            items,
            [("b", "b", 0o444), ("conf_2fa.toml", "conf/a.toml", 0o444), ("run.sh", "run.sh", 0o555)]
        );
        assert_eq!(config.data["conf_2fa.toml"], "x=1");
        assert_eq!(config.binary_data["b"].0, b"\xff\x00");
    }

    #[test]
    fn plain_files_need_no_list() {
        let config = config(&profile(&["kept.properties"]), Some(&files(&[("a.txt", b"1", false)])));
        let config = config.unwrap().unwrap();
        assert!(config.items.is_empty());
        assert_eq!(config.data.len(), 2);
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
        let given = files(&[("a", &vec![b'x'; LARGEST_CONFIG], false), ("b", b"\xff", false)]);
        let refused = config(&profile(&[]), Some(&given)).unwrap_err();
        assert_eq!(refused.to_string(), "config: 1048577 bytes, more than the 1048576 that fit a ConfigMap");
    }

    #[test]
    fn whatever_fits_a_config_map_fits_a_request() {
        const LARGEST_REQUEST: usize = 3 << 20;
        let mixed: Vec<_> = (0..LARGEST_CONFIG).map(|at| if at % 15 == 14 { 1 } else { b'\n' }).collect();
        for bytes in [vec![1; LARGEST_CONFIG], vec![b'\n'; LARGEST_CONFIG], mixed, vec![0xff; LARGEST_CONFIG]]
        {
            let config = config(&profile(&[]), Some(&files(&[("a", &bytes, false)]))).unwrap().unwrap();
            let sent = serde_json::to_vec(&(&config.data, &config.binary_data)).unwrap();
            assert!(sent.len() + 1024 < LARGEST_REQUEST, "{} of {:?}", sent.len(), &bytes[..2]);
        }
        let log = files(&[("a", b"\x1b[1mbold\x1b[0m, and more text that is plain", false)]);
        let config = config(&profile(&[]), Some(&log)).unwrap().unwrap();
        assert!(
            config.binary_data.is_empty(),
            "a text stays one, or an upgrade would restart what mounts it"
        );
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
