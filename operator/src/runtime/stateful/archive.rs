//! A carbon application, `.car`: a zip with one folder an artifact. Pure, and bounded, whatever the archive says of itself.
//!
//! Every XML in it is looked at, not only what its `artifacts.xml` lists: that decides only what a server of a given role
//! deploys.

use std::io::Read;

use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive, ZipSliceArchive};

use super::{FILE_BYTES, Look, xml};

/// Ending of what is looked at.
const XML: &str = ".xml";
/// Most entries.
const ENTRIES: usize = 5_000;
/// All that is unpacked of one archive, in bytes: an application of a thousand artifacts has a tenth.
const UNPACKED: u64 = 16 << 20;

/// Adds what the archive at `path` holds.
pub(super) fn look(look: &mut Look, path: &str, content: &[u8]) {
    if let Err(why) = read(look, path, content) {
        look.skipped(path, format!("the archive cannot be read further: {why}"));
    }
}

fn read(look: &mut Look, path: &str, content: &[u8]) -> Result<(), String> {
    let archive = ZipArchive::from_slice(content).map_err(|error| error.to_string())?;
    let mut left = UNPACKED;
    let mut entries = archive.entries();
    let mut count = 0;
    while let Some(entry) = entries.next_entry().map_err(|error| error.to_string())? {
        count += 1;
        if count > ENTRIES {
            return Err(format!("it has more than {ENTRIES} entries"));
        }
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        if entry.is_dir() || !name.ends_with(XML) || is_of_the_archive(&name) {
            continue;
        }
        let text = unpacked(&archive, &entry, left).map_err(|why| format!("{}: {why}", shown(&name)))?;
        left -= text.len() as u64;
        look.add(&format!("{path}!/{name}"), xml::find(&String::from_utf8_lossy(&text)));
    }
    Ok(())
}

/// What an entry holds. It is read until it is too much: the size that it says may be any.
fn unpacked(
    archive: &ZipSliceArchive<&[u8]>,
    entry: &rawzip::ZipFileHeaderRecord<'_>,
    left: u64,
) -> Result<Vec<u8>, String> {
    let packed = archive.get_entry(entry.wayfinder()).map_err(|error| error.to_string())?;
    let most = FILE_BYTES.min(left);
    let mut bytes = Vec::new();
    match entry.compression_method() {
        CompressionMethod::STORE => packed.data().take(most + 1).read_to_end(&mut bytes),
        CompressionMethod::DEFLATE => {
            DeflateDecoder::new(packed.data()).take(most + 1).read_to_end(&mut bytes)
        }
        _ => return Err("it is packed by another method than deflate".to_owned()),
    }
    .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most {
        return Err(format!(
            "it unpacks to more than {FILE_BYTES} bytes, or the archive to more than {UNPACKED}"
        ));
    }
    Ok(bytes)
}

/// The lists of what it holds.
fn is_of_the_archive(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    matches!(file, "artifact.xml" | "artifacts.xml" | "metadata.xml")
}

fn shown(name: &str) -> String {
    crate::git::names::printable(name)
}
