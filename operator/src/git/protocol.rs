//! Git's wire protocol for reading (gitprotocol-v2 and gitprotocol-pack), as far as we speak it: packets in, branches and
//! pack bytes out; requests as bytes. No IO. Version 2 is asked for, because the server then sends branches only; servers
//! that answer in version 0 are read as well. A fetch is one request: what we want, what we have, `done`.

use std::collections::{BTreeMap, BTreeSet};

use super::commit::CommitId;
use super::names;
use super::packet::{Encoder, Packet};

/// Why an answer is not used. Static text only: a server's own words may repeat what we sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Not what the protocol allows at this place.
    #[error("{0}")]
    Unexpected(&'static str),
    /// The server said `ERR` or used its error channel.
    #[error("it refused the request")]
    Refused,
}

/// What the server can do, as far as it matters here.
#[expect(clippy::struct_excessive_bools, reason = "four abilities that are told one by one")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Speaks version 2.
    pub v2: bool,
    /// Can leave large blobs out.
    pub filter: bool,
    /// Can send a part of the history.
    pub shallow: bool,
    /// Sends the pack in frames (always so in version 2).
    side_band: bool,
}

/// Branch to commit; only plain names.
pub type Heads = BTreeMap<String, CommitId>;

/// Reads the answer to `info/refs`: in version 2 the capabilities, in version 0 also the branches.
#[derive(Debug, Default)]
pub struct Advertisement {
    /// What the server can do.
    pub capabilities: Capabilities,
    /// Version 0 only.
    pub heads: Heads,
    stage: Stage,
}

/// How far an advertisement has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Nothing,
    /// `# service=git-upload-pack`, which a flush ends.
    Announced,
    /// After that flush.
    Ready,
    /// In the list.
    List,
}

impl Advertisement {
    /// Takes the next packet; true when the advertisement is complete.
    pub fn take(&mut self, packet: &Packet) -> Result<bool, ProtocolError> {
        let line = match packet {
            Packet::Flush if self.stage == Stage::Announced => {
                self.stage = Stage::Ready;
                return Ok(false);
            }
            Packet::Flush if self.stage != Stage::Nothing => return Ok(true),
            Packet::Data(line) => trimmed(line),
            Packet::Flush | Packet::Delimiter | Packet::ResponseEnd => return Err(NOT_REFS),
        };
        refused(line)?;
        match (self.stage, line) {
            (Stage::Nothing, b"# service=git-upload-pack") => self.stage = Stage::Announced,
            (Stage::Nothing | Stage::Ready, b"version 2") => {
                self.stage = Stage::List;
                self.capabilities.v2 = true;
                self.capabilities.side_band = true;
            }
            (Stage::Announced, _) => return Err(NOT_REFS),
            (Stage::List, line) if self.capabilities.v2 => self.capability_v2(line)?,
            (Stage::Nothing | Stage::Ready | Stage::List, line) => self.line_v0(line)?,
        }
        Ok(false)
    }

    fn capability_v2(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once('=').unwrap_or((&line, ""));
        match name {
            "fetch" => {
                self.capabilities.shallow = value.split(' ').any(|word| word == "shallow");
                self.capabilities.filter = value.split(' ').any(|word| word == "filter");
            }
            "object-format" if value != "sha1" => return Err(SHA256),
            _ => {}
        }
        Ok(())
    }

    fn line_v0(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        let (line, words) = match line.iter().position(|byte| *byte == 0) {
            Some(at) => (&line[..at], String::from_utf8_lossy(&line[at + 1..])),
            None => (line, "".into()),
        };
        if self.stage != Stage::List {
            self.stage = Stage::List;
            for word in words.split(' ') {
                match word {
                    "shallow" => self.capabilities.shallow = true,
                    "filter" => self.capabilities.filter = true,
                    "side-band-64k" => self.capabilities.side_band = true,
                    word if word.starts_with("object-format=") && word != "object-format=sha1" => {
                        return Err(SHA256);
                    }
                    _ => {}
                }
            }
        }
        head(&mut self.heads, line)
    }
}

const NOT_REFS: ProtocolError = ProtocolError::Unexpected("not a list of refs");
const SHA256: ProtocolError =
    ProtocolError::Unexpected("a repository with SHA-256 object ids is not supported");

/// Version 2's request for branches.
pub fn ls_refs() -> Vec<u8> {
    let mut request = Encoder::default();
    request.line("command=ls-refs");
    request.delimiter();
    request.line("ref-prefix refs/heads/");
    request.flush();
    request.into_bytes()
}

/// Takes a packet of the answer to `ls_refs`; true at its end.
pub fn take_ref(heads: &mut Heads, packet: &Packet) -> Result<bool, ProtocolError> {
    match packet {
        Packet::Flush => Ok(true),
        Packet::Data(line) => {
            refused(trimmed(line))?;
            head(heads, trimmed(line)).map(|()| false)
        }
        Packet::Delimiter | Packet::ResponseEnd => Err(NOT_REFS),
    }
}

/// Keeps `<id> refs/heads/<plain name>`; other refs and names that are not plain are passed over.
fn head(heads: &mut Heads, line: &[u8]) -> Result<(), ProtocolError> {
    let line = String::from_utf8_lossy(line);
    let (id, name) = line.split_once(' ').ok_or(NOT_REFS)?;
    let id = CommitId::parse(id).ok_or(NOT_REFS)?;
    let name = name.split(' ').next().unwrap_or_default();
    if let Some(branch) = name.strip_prefix("refs/heads/")
        && names::is_plain_branch(branch)
        && !branch.contains('\u{fffd}')
    {
        heads.insert(branch.to_owned(), id);
    }
    Ok(())
}

/// What a fetch asks for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Commits that the server listed.
    pub want: BTreeSet<CommitId>,
    /// Commits that are here.
    pub have: Vec<CommitId>,
    /// Commits that are here without their parents.
    pub shallow: BTreeSet<CommitId>,
    /// Only the wanted commits themselves, without their history.
    pub depth_one: bool,
    /// Blobs of this size and more are left out, where the server can.
    pub blob_limit: u64,
}

impl Wanted {
    /// The request's body.
    pub fn request(&self, capabilities: Capabilities) -> Result<Vec<u8>, ProtocolError> {
        if !capabilities.side_band {
            return Err(ProtocolError::Unexpected("the server cannot send packs in frames (side-band-64k)"));
        }
        if (self.depth_one || !self.shallow.is_empty()) && !capabilities.shallow {
            return Err(ProtocolError::Unexpected(
                "the server cannot send a commit without its history (shallow)",
            ));
        }
        let mut request = Encoder::default();
        if capabilities.v2 {
            request.line("command=fetch");
            request.delimiter();
            // Without it a server does not leave out what a commit without parents already brought.
            request.line("thin-pack");
            request.line("ofs-delta");
            request.line("no-progress");
        }
        let mut words =
            if capabilities.v2 { "" } else { " side-band-64k thin-pack ofs-delta no-progress" }.to_owned();
        if !capabilities.v2 {
            words.push_str(if capabilities.shallow { " shallow" } else { "" });
            words.push_str(if capabilities.filter { " filter" } else { "" });
        }
        for id in &self.want {
            request.line(&format!("want {id}{words}"));
            words.clear();
        }
        for id in &self.shallow {
            request.line(&format!("shallow {id}"));
        }
        if self.depth_one {
            request.line("deepen 1");
        }
        if capabilities.filter {
            request.line(&format!("filter blob:limit={}", self.blob_limit));
        }
        if !capabilities.v2 {
            request.flush();
        }
        for id in &self.have {
            request.line(&format!("have {id}"));
        }
        request.line("done");
        if capabilities.v2 {
            request.flush();
        }
        Ok(request.into_bytes())
    }
}

/// One step of the answer to a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing to keep.
    Skip,
    /// This commit comes without its parents.
    Shallow(CommitId),
    /// This commit's parents are now here.
    Unshallow(CommitId),
    /// Bytes of the pack.
    Pack(Vec<u8>),
    /// The pack is complete.
    End,
}

/// Reads the answer to a fetch, of either version.
#[derive(Debug, Default)]
pub struct FetchAnswer {
    in_pack: bool,
}

impl FetchAnswer {
    /// Takes the next packet.
    pub fn take(&mut self, packet: Packet) -> Result<Step, ProtocolError> {
        match packet {
            Packet::Data(data) if self.in_pack => frame(data),
            Packet::Data(line) => self.line(trimmed(&line)),
            Packet::Flush if self.in_pack => Ok(Step::End),
            Packet::Flush | Packet::Delimiter => Ok(Step::Skip),
            Packet::ResponseEnd => Err(ProtocolError::Unexpected("the answer ended before the pack")),
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Step, ProtocolError> {
        refused(line)?;
        let text = std::str::from_utf8(line).unwrap_or_default();
        let id = |id: &str| CommitId::parse(id).ok_or(ProtocolError::Unexpected("not an answer to a fetch"));
        match text.split_once(' ').unwrap_or((text, "")) {
            ("shallow-info", "") => Ok(Step::Skip),
            ("packfile" | "NAK", "") => {
                self.in_pack = true;
                Ok(Step::Skip)
            }
            ("ACK", rest) => {
                self.in_pack = !rest.contains(' ');
                Ok(Step::Skip)
            }
            ("shallow", rest) => Ok(Step::Shallow(id(rest)?)),
            ("unshallow", rest) => Ok(Step::Unshallow(id(rest)?)),
            _ => Err(ProtocolError::Unexpected("not an answer to a fetch")),
        }
    }
}

/// Side-band: 1 is the pack, 2 is progress, 3 is an error.
fn frame(mut data: Vec<u8>) -> Result<Step, ProtocolError> {
    match data.first() {
        Some(1) => {
            data.remove(0);
            Ok(Step::Pack(data))
        }
        Some(2) => Ok(Step::Skip),
        // In version 0 a server repeats itself for each commit that both have.
        Some(b'A') if data.starts_with(b"ACK ") => Ok(Step::Skip),
        Some(3) => Err(ProtocolError::Refused),
        _ => Err(ProtocolError::Unexpected("not a frame of a pack")),
    }
}

fn refused(line: &[u8]) -> Result<(), ProtocolError> {
    if line.starts_with(b"ERR ") { Err(ProtocolError::Refused) } else { Ok(()) }
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn data(text: &str) -> Packet {
        Packet::Data(text.as_bytes().to_vec())
    }

    fn advertisement(packets: &[Packet]) -> Result<Advertisement, ProtocolError> {
        let mut answer = Advertisement::default();
        for (at, packet) in packets.iter().enumerate() {
            if answer.take(packet)? {
                assert_eq!(at, packets.len() - 1);
            }
        }
        Ok(answer)
    }

    #[test]
    fn version_0_lists_branches_in_the_first_answer() {
        let answer = advertisement(&[
            data("# service=git-upload-pack\n"),
            Packet::Flush,
            data(&format!("{ONE} HEAD\0shallow side-band-64k filter symref=HEAD:refs/heads/main\n")),
            data(&format!("{ONE} refs/heads/main\n")),
            data(&format!("{TWO} refs/heads/../../x\n")),
            data(&format!("{TWO} refs/heads/-b\n")),
            data(&format!("{TWO} refs/tags/v1\n")),
            Packet::Flush,
        ])
        .unwrap();
        assert_eq!(answer.heads.keys().collect::<Vec<_>>(), ["main"]);
        assert_eq!(
            answer.capabilities,
            Capabilities { v2: false, filter: true, shallow: true, side_band: true }
        );
    }

    #[test]
    fn an_empty_repository_of_version_0_has_no_branches() {
        let zero = "0".repeat(40);
        let answer = advertisement(&[
            data("# service=git-upload-pack\n"),
            Packet::Flush,
            data(&format!("{zero} capabilities^{{}}\0shallow\n")),
            Packet::Flush,
        ]);
        assert!(answer.unwrap().heads.is_empty());
    }

    #[test]
    fn version_2_tells_what_the_server_can_do() {
        let answer = advertisement(&[
            data("# service=git-upload-pack\n"),
            Packet::Flush,
            data("version 2\n"),
            data("ls-refs=unborn\n"),
            data("fetch=shallow wait-for-done filter\n"),
            data("object-format=sha1\n"),
            Packet::Flush,
        ]);
        let wanted = Capabilities { v2: true, filter: true, shallow: true, side_band: true };
        assert_eq!(answer.unwrap().capabilities, wanted);
    }

    #[test]
    fn sha256_repositories_are_refused() {
        let answer = advertisement(&[data("version 2\n"), data("object-format=sha256\n")]);
        assert_eq!(answer.unwrap_err(), SHA256);
    }

    #[test]
    fn a_servers_words_are_never_repeated() {
        let error = advertisement(&[data("ERR hunter2\n")]).unwrap_err();
        assert_eq!(error, ProtocolError::Refused);
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn a_fetch_of_either_version_yields_the_pack() {
        let pack = |bytes: &[u8]| Packet::Data(bytes.to_vec());
        let shallow = Step::Shallow(CommitId::parse(ONE).unwrap());
        let v2 = [
            data("shallow-info\n"),
            data(&format!("shallow {ONE}\n")),
            Packet::Delimiter,
            data("packfile\n"),
            pack(b"\x02progress"),
            pack(b"\x01PACK"),
            Packet::Flush,
        ];
        let v0 = [
            data(&format!("shallow {ONE}\n")),
            Packet::Flush,
            data("NAK\n"),
            pack(b"\x01PACK"),
            Packet::Flush,
        ];
        for packets in [v2.to_vec(), v0.to_vec()] {
            let mut answer = FetchAnswer::default();
            let steps: Vec<_> = packets.into_iter().map(|packet| answer.take(packet).unwrap()).collect();
            let kept: Vec<_> = steps.into_iter().filter(|step| *step != Step::Skip).collect();
            assert_eq!(kept, [shallow.clone(), Step::Pack(b"PACK".to_vec()), Step::End]);
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..8)) {
            let mut advertisement = Advertisement::default();
            let mut heads = Heads::new();
            let mut answer = FetchAnswer::default();
            for line in lines {
                let packet = Packet::Data(line);
                let _ = advertisement.take(&packet);
                let _ = take_ref(&mut heads, &packet);
                let _ = answer.take(packet);
            }
        }
    }
}
