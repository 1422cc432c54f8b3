//! Files → one layer of an image. The same files give the same bytes: sorted, owned by root, all of one time.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, IntoInnerError, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use aws_lc_rs::digest;
use tempfile::TempPath;

/// The time of every file, in seconds. Not 0: some programs unpack that as another time, and the JVM's class archives
/// compare the times of jars.
pub(super) const TIME: u64 = 1;

/// The files of a layer by their path in the image.
#[derive(Debug, Default)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Directory { mode: u32 },
    File { mode: u32, content: Content },
    Link { target: PathBuf },
}

#[derive(Debug)]
enum Content {
    Here(Vec<u8>),
    On(PathBuf),
}

/// A finished layer: an uncompressed tar file, because the registry is on this machine and time counts more than size.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The tar file.
    pub file: PathBuf,
    /// `sha256:…` of the file.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
    /// Keeps a layer outside the cache until its last user is gone.
    _temporary: Option<Arc<TempPath>>,
}

impl Tree {
    /// A text file, mode 0644.
    #[must_use]
    pub fn text(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.insert(path, Entry::File { mode: 0o644, content: Content::Here(content.into()) });
        self
    }

    /// A directory, with its permissions.
    #[must_use]
    pub fn directory(mut self, path: &str, mode: u32) -> Self {
        self.insert(path, Entry::Directory { mode });
        self
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.insert(path, Entry::Link { target: target.into() });
        self
    }

    /// A copy of a file; of its mode only *executable* is kept.
    pub fn file(mut self, path: &str, source: &Path) -> Result<Self> {
        let metadata = fs::metadata(source).with_context(|| format!("read {}", source.display()))?;
        let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        self.insert(path, Entry::File { mode, content: Content::On(source.to_owned()) });
        Ok(self)
    }

    /// A copy of everything under `source`, links as links.
    pub fn copy(self, path: &str, source: &Path) -> Result<Self> {
        let mut tree = self.directory(path, 0o755);
        for entry in fs::read_dir(source).with_context(|| format!("list {}", source.display()))? {
            let entry = entry.with_context(|| format!("list {}", source.display()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { bail!("{}: name is not UTF-8", entry.path().display()) };
            let inside = format!("{}/{name}", path.trim_end_matches('/'));
            let kind = entry.file_type().context("kind of a file")?;
            tree = if kind.is_symlink() {
                let target = fs::read_link(entry.path()).context("read a link")?;
                tree.insert(&inside, Entry::Link { target });
                tree
            } else if kind.is_dir() {
                tree.copy(&inside, &entry.path())?
            } else {
                tree.file(&inside, &entry.path())?
            };
        }
        Ok(tree)
    }

    fn insert(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            let parent = path[..end].to_owned();
            self.entries.entry(parent).or_insert(Entry::Directory { mode: 0o755 });
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// Writes the layer to a temporary file, removed with the last copy of the layer.
    pub fn layer(&self) -> Result<Layer> {
        let file = tempfile::Builder::new().prefix("lab-layer-").suffix(".tar").tempfile();
        let path = file.context("temporary file for a layer")?.into_temp_path();
        let layer = self.layer_at(&path)?;
        Ok(Layer { _temporary: Some(Arc::new(path)), ..layer })
    }

    /// Writes the layer to `file`, which stays.
    pub fn layer_at(&self, file: &Path) -> Result<Layer> {
        let output = File::create(file).with_context(|| format!("create {}", file.display()))?;
        let output = Hashing { output, context: digest::Context::new(&digest::SHA256), size: 0 };
        let mut archive = tar::Builder::new(BufWriter::with_capacity(1 << 20, output));
        for (path, entry) in &self.entries {
            append(&mut archive, path, entry).with_context(|| format!("add /{path} to a layer"))?;
        }
        let buffered = archive.into_inner().context("end a layer")?;
        let hashed = buffered.into_inner().map_err(IntoInnerError::into_error).context("write a layer")?;
        let digest = format!("sha256:{}", hex(hashed.context.finish().as_ref()));
        Ok(Layer { file: file.to_owned(), digest, size: hashed.size, _temporary: None })
    }
}

impl Layer {
    /// A layer that was written before, from its file.
    pub fn open(file: &Path) -> Result<Self> {
        let mut input = BufReader::with_capacity(
            1 << 20,
            File::open(file).with_context(|| format!("open {}", file.display()))?,
        );
        let mut hashing =
            Hashing { output: io::sink(), context: digest::Context::new(&digest::SHA256), size: 0 };
        io::copy(&mut input, &mut hashing).with_context(|| format!("read {}", file.display()))?;
        let digest = format!("sha256:{}", hex(hashing.context.finish().as_ref()));
        Ok(Self { file: file.to_owned(), digest, size: hashing.size, _temporary: None })
    }
}

/// `sha256:…` of some bytes.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest::digest(&digest::SHA256, bytes).as_ref()))
}

fn append<W: Write>(archive: &mut tar::Builder<W>, path: &str, entry: &Entry) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(TIME);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match entry {
        Entry::Directory { mode } => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(*mode);
            archive.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Entry::Link { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            archive.append_link(&mut header, path, target)
        }
        Entry::File { mode, content } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(*mode);
            match content {
                Content::Here(bytes) => {
                    header.set_size(bytes.len() as u64);
                    archive.append_data(&mut header, path, bytes.as_slice())
                }
                Content::On(source) => {
                    let file = File::open(source)?;
                    let size = file.metadata()?.len();
                    header.set_size(size);
                    archive.append_data(&mut header, path, BufReader::with_capacity(1 << 20, file.take(size)))
                }
            }
        }
    }
}

struct Hashing<W> {
    output: W,
    context: digest::Context,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.context.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_digest_whatever_their_times_and_order() {
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("b"), "two").unwrap();
        fs::write(source.path().join("a"), "one").unwrap();
        let first = Tree::default().copy("/app", source.path()).unwrap().text("/z", "last").layer().unwrap();
        fs::write(source.path().join("a"), "one").unwrap();
        let second = Tree::default().text("/z", "last").copy("/app", source.path()).unwrap().layer().unwrap();
        assert_eq!(first.digest, second.digest);

        fs::write(source.path().join("a"), "One").unwrap();
        let third = Tree::default().text("/z", "last").copy("/app", source.path()).unwrap().layer().unwrap();
        assert_ne!(first.digest, third.digest);
    }

    #[test]
    fn a_layer_read_back_has_the_digest_it_was_written_with() {
        let layer = Tree::default().directory("/tmp", 0o1777).link("/bin", "usr/bin").layer().unwrap();
        let read = Layer::open(&layer.file).unwrap();
        assert_eq!((read.digest, read.size), (layer.digest, layer.size));
    }
}
