//! A pack's bytes in, whether it stays within bounds out (gitformat-pack). libgit2 unpacks a delta and its base in memory,
//! so a few kilobytes could claim gigabytes; here the size that each object claims, and the size that each delta's result
//! claims, are held against a limit before libgit2 sees the bytes. Memory: one 16 KiB buffer.

use flate2::{Decompress, FlushDecompress, Status};

/// Bounds of one pack.
#[derive(Clone, Copy, Debug)]
pub struct PackLimits {
    /// Most objects.
    pub objects: u64,
    /// Largest object, unpacked, in bytes.
    pub object_bytes: u64,
    /// All objects together, in bytes: what is inflated, and what deltas say that they make of it.
    pub total_bytes: u64,
}

/// Why a pack is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Not the format.
    #[error("the pack is broken")]
    Broken,
    /// Too many objects.
    #[error("more than {0} objects")]
    TooManyObjects(u64),
    /// One object.
    #[error("an object of more than {0} bytes")]
    ObjectTooLarge(u64),
    /// All objects.
    #[error("more than {0} bytes unpacked")]
    TooLarge(u64),
}

/// Reads a pack as it arrives.
pub struct PackCheck {
    limits: PackLimits,
    place: Place,
    /// Bytes of a header that is not complete yet.
    head: Vec<u8>,
    objects_left: u64,
    total: u64,
    inflate: Decompress,
    scratch: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Place {
    Header,
    Entry,
    Body(Body),
    Trailer(usize),
    Done,
}

#[derive(Clone, Copy)]
struct Body {
    claimed: u64,
    seen: u64,
    /// Its sizes were not seen yet.
    is_delta: bool,
}

const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;

impl PackCheck {
    /// Nothing read yet.
    pub fn new(limits: PackLimits) -> Self {
        Self {
            limits,
            place: Place::Header,
            head: vec![],
            objects_left: 0,
            total: 0,
            inflate: Decompress::new(true),
            scratch: vec![0; 16 * 1024],
        }
    }

    /// Looks at the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), PackError> {
        while !bytes.is_empty() {
            let used = match self.place {
                Place::Header => self.header(bytes)?,
                Place::Entry => self.entry(bytes[0])?,
                Place::Body(body) => self.body(bytes, body)?,
                Place::Trailer(left) => {
                    let used = left.min(bytes.len());
                    self.place = if used == left { Place::Done } else { Place::Trailer(left - used) };
                    used
                }
                Place::Done => return Err(PackError::Broken),
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Fails when the pack is not complete.
    pub fn finish(&self) -> Result<(), PackError> {
        match self.place {
            Place::Done => Ok(()),
            _ => Err(PackError::Broken),
        }
    }

    /// `PACK`, version 2, number of objects.
    fn header(&mut self, bytes: &[u8]) -> Result<usize, PackError> {
        let used = (12 - self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..used]);
        let Ok([b'P', b'A', b'C', b'K', 0, 0, 0, 2, count @ ..]) = <[u8; 12]>::try_from(&self.head[..])
        else {
            return if self.head.len() < 12 { Ok(used) } else { Err(PackError::Broken) };
        };
        self.objects_left = u32::from_be_bytes(count).into();
        if self.objects_left > self.limits.objects {
            return Err(PackError::TooManyObjects(self.limits.objects));
        }
        self.next_entry();
        Ok(used)
    }

    fn next_entry(&mut self) {
        self.head.clear();
        self.inflate.reset(true);
        self.place = if self.objects_left == 0 { Place::Trailer(20) } else { Place::Entry };
    }

    /// Type and size, and for a delta where its base is; byte by byte, because it may be cut anywhere.
    fn entry(&mut self, byte: u8) -> Result<usize, PackError> {
        self.head.push(byte);
        let Some(size_length) = varint_length(&self.head) else { return self.unfinished() };
        let kind = (self.head[0] >> 4) & 7;
        let rest = &self.head[size_length..];
        let complete = match kind {
            1..=4 => true,
            OFS_DELTA => varint_length(rest).is_some(),
            REF_DELTA => rest.len() == 20,
            _ => return Err(PackError::Broken),
        };
        if !complete {
            return self.unfinished();
        }
        let claimed = entry_size(&self.head[..size_length]);
        self.check_object(claimed)?;
        self.head.clear();
        self.objects_left -= 1;
        self.place = Place::Body(Body { claimed, seen: 0, is_delta: kind == OFS_DELTA || kind == REF_DELTA });
        Ok(1)
    }

    fn unfinished(&self) -> Result<usize, PackError> {
        if self.head.len() > 40 { Err(PackError::Broken) } else { Ok(1) }
    }

    fn check_object(&self, size: u64) -> Result<(), PackError> {
        if size > self.limits.object_bytes {
            Err(PackError::ObjectTooLarge(self.limits.object_bytes))
        } else {
            Ok(())
        }
    }

    /// Inflates to nowhere, counting; the first bytes of a delta say how large its result is.
    fn body(&mut self, bytes: &[u8], mut body: Body) -> Result<usize, PackError> {
        let (read_before, made_before) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(bytes, &mut self.scratch, FlushDecompress::None);
        let status = status.map_err(|_| PackError::Broken)?;
        let used = usize::try_from(self.inflate.total_in() - read_before).map_err(|_| PackError::Broken)?;
        let made = self.inflate.total_out() - made_before;
        body.seen += made;
        self.total += made;
        if body.seen > body.claimed {
            return Err(PackError::Broken);
        }
        if body.is_delta {
            let made = usize::try_from(made).unwrap_or(usize::MAX).min(20);
            self.head.extend_from_slice(&self.scratch[..made]);
            body.is_delta = !self.check_delta()?;
        }
        if self.total > self.limits.total_bytes {
            return Err(PackError::TooLarge(self.limits.total_bytes));
        }
        self.place = Place::Body(body);
        match status {
            Status::StreamEnd if body.seen == body.claimed => self.next_entry(),
            Status::StreamEnd => return Err(PackError::Broken),
            Status::Ok | Status::BufError if used == 0 && made == 0 => return Err(PackError::Broken),
            Status::Ok | Status::BufError => {}
        }
        Ok(used)
    }

    /// A delta starts with the sizes of its base and of its result. True when both were seen.
    fn check_delta(&mut self) -> Result<bool, PackError> {
        let Some(base) = varint_length(&self.head) else { return Ok(false) };
        let Some(result) = varint_length(&self.head[base..]) else { return Ok(false) };
        let (base, result) = (varint(&self.head[..base]), varint(&self.head[base..base + result]));
        self.check_object(base)?;
        self.check_object(result)?;
        self.total = self.total.saturating_add(result);
        Ok(true)
    }
}

/// Length of the number at the start, whose last byte has its top bit clear.
fn varint_length(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| byte & 0x80 == 0).map(|at| at + 1)
}

fn varint(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0_u64, |value, byte| shifted(value, 7) | u64::from(byte & 0x7f))
}

/// Four bits in the first byte, seven in each that follows, low ones first.
fn entry_size(bytes: &[u8]) -> u64 {
    let [first, rest @ ..] = bytes else { return 0 };
    shifted(varint(rest), 4) | u64::from(first & 0x0f)
}

/// Shifts, and stays at the largest value instead of losing bits.
fn shifted(value: u64, by: u32) -> u64 {
    if value.leading_zeros() < by { u64::MAX } else { value << by }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;

    use super::*;

    const LIMITS: PackLimits = PackLimits { objects: 3, object_bytes: 1000, total_bytes: 1500 };

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(vec![], Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn number(mut value: u64, first_bits: u32, first: u8) -> Vec<u8> {
        let mut bytes = vec![first | u8::try_from(value & ((1 << first_bits) - 1)).unwrap()];
        value >>= first_bits;
        while value > 0 {
            *bytes.last_mut().unwrap() |= 0x80;
            bytes.push(u8::try_from(value & 0x7f).unwrap());
            value >>= 7;
        }
        bytes
    }

    fn entry(kind: u8, claimed: usize, content: &[u8]) -> Vec<u8> {
        let base: &[u8] = if kind == REF_DELTA { &[7; 20] } else { &[] };
        [&number(claimed as u64, 4, kind << 4)[..], base, &deflated(content)].concat()
    }

    fn delta(result: u64) -> Vec<u8> {
        let content = [number(10, 7, 0), number(result, 7, 0), vec![1, b'x']].concat();
        entry(REF_DELTA, content.len(), &content)
    }

    fn pack(entries: &[Vec<u8>]) -> Vec<u8> {
        let count = u32::try_from(entries.len()).unwrap().to_be_bytes();
        [b"PACK\0\0\0\x02", &count[..], &entries.concat(), &[9; 20]].concat()
    }

    fn outcome(bytes: &[u8], size: usize) -> Result<(), PackError> {
        let mut check = PackCheck::new(LIMITS);
        bytes.chunks(size).try_for_each(|part| check.push(part))?;
        check.finish()
    }

    #[test]
    fn an_honest_pack_passes_however_it_is_cut() {
        let bytes = pack(&[entry(3, 900, &[b'a'; 900]), delta(300), entry(3, 0, b"")]);
        for size in 1..bytes.len() {
            assert_eq!(outcome(&bytes, size), Ok(()), "{size}");
        }
        assert_eq!(outcome(&bytes[..bytes.len() - 1], 7), Err(PackError::Broken), "cut off");
        assert_eq!(outcome(&[&bytes[..], b"x"].concat(), 7), Err(PackError::Broken), "too long");
    }

    #[test]
    fn what_a_pack_claims_is_held_against_the_limits() {
        let tiny = entry(3, 1, b"a");
        for (entries, wanted) in [
            (vec![entry(3, 1001, b"")], PackError::ObjectTooLarge(1000)),
            (vec![delta(1 << 40)], PackError::ObjectTooLarge(1000)),
            (vec![delta(u64::MAX)], PackError::ObjectTooLarge(1000)),
            (vec![delta(800), delta(800)], PackError::TooLarge(1500)),
            (vec![entry(3, 800, &[0; 800]), entry(3, 800, &[0; 800])], PackError::TooLarge(1500)),
            (vec![entry(3, 5, &[0; 900])], PackError::Broken),
            (vec![entry(3, 900, &[0; 5])], PackError::Broken),
            (vec![entry(5, 1, b"a")], PackError::Broken),
            (vec![tiny; 4], PackError::TooManyObjects(3)),
        ] {
            for size in [1, 7, 10_000] {
                assert_eq!(outcome(&pack(&entries), size), Err(wanted));
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_spin(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1..40_usize) {
            let whole = [&pack(&[entry(3, 5, b"hello"), delta(3)])[..40], &bytes].concat();
            let _ = outcome(&whole, size);
            let _ = outcome(&bytes, size);
        }
    }
}
