//! Git's pkt-line framing (gitprotocol-common): bytes as they arrive in, packets out. Holds at most one unfinished packet
//! beside what was pushed.

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Payload without the length, line break kept.
    Data(Vec<u8>),
    /// `0000`: end of a list or of the answer.
    Flush,
    /// `0001`: end of a section (protocol 2).
    Delimiter,
    /// `0002`: end of the answer (protocol 2, not over HTTP).
    ResponseEnd,
}

/// The stream is not made of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet has no valid length")]
pub struct BadLength;

/// Largest packet, length included.
const MAX_PACKET: usize = 65_520;

/// Cuts a stream into packets.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Adds bytes as they came from the network.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole packet, or `None` when more bytes are needed.
    pub fn packet(&mut self) -> Result<Option<Packet>, BadLength> {
        let rest = &self.buffer[self.start..];
        let Some(head) = rest.get(..4) else { return Ok(None) };
        let length = length(head)?;
        let (packet, used) = match length {
            0 => (Packet::Flush, 4),
            1 => (Packet::Delimiter, 4),
            2 => (Packet::ResponseEnd, 4),
            3 => return Err(BadLength),
            length => match rest.get(4..length) {
                Some(data) => (Packet::Data(data.to_vec()), length),
                None => return Ok(None),
            },
        };
        self.start += used;
        Ok(Some(packet))
    }
}

fn length(head: &[u8]) -> Result<usize, BadLength> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).ok_or(BadLength);
    let mut length = 0;
    for byte in head {
        length = length * 16 + digit(byte)? as usize;
    }
    if length > MAX_PACKET { Err(BadLength) } else { Ok(length) }
}

/// Writes packets. Lines are ours and short, so they always fit.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// One line; the line break is added.
    pub fn line(&mut self, text: &str) {
        self.bytes.extend_from_slice(format!("{:04x}{text}\n", text.len() + 5).as_bytes());
    }

    /// `0000`.
    pub fn flush(&mut self) {
        self.bytes.extend_from_slice(b"0000");
    }

    /// `0001`.
    pub fn delimiter(&mut self) {
        self.bytes.extend_from_slice(b"0001");
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_however_it_is_cut() {
        let mut encoder = Encoder::default();
        encoder.line("want it");
        encoder.delimiter();
        encoder.line("");
        encoder.flush();
        for size in 1..12 {
            let mut decoder = Decoder::default();
            let mut seen = vec![];
            for part in encoder.bytes.chunks(size) {
                decoder.push(part);
                while let Some(packet) = decoder.packet().unwrap() {
                    seen.push(packet);
                }
            }
            let data = |text: &str| Packet::Data(text.as_bytes().to_vec());
            assert_eq!(seen, [data("want it\n"), Packet::Delimiter, data("\n"), Packet::Flush]);
            assert_eq!(decoder.start, decoder.buffer.len());
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for bytes in ["0003", "fff1", "zzzz", "<htm", "+001", "-001"] {
            let mut decoder = Decoder::default();
            decoder.push(bytes.as_bytes());
            assert_eq!(decoder.packet(), Err(BadLength), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic_or_spin(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            let mut packets = 0;
            while let Ok(Some(_)) = decoder.packet() {
                packets += 1;
            }
            prop_assert!(packets <= bytes.len() / 4);
        }
    }
}
