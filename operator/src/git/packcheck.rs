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
    /// All objects together, as they are stored in the pack but inflated, in bytes.
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
        if self.total > self.limits.total_bytes {
            return Err(PackError::TooLarge(self.limits.total_bytes));
        }
        if body.is_delta && self.head.len() < 20 {
            let made = usize::try_from(made).unwrap_or(usize::MAX).min(20);
            self.head.extend_from_slice(&self.scratch[..made]);
            self.check_delta()?;
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

    /// A delta starts with the sizes of its base and of its result.
    fn check_delta(&self) -> Result<(), PackError> {
        let Some(base) = varint_length(&self.head) else { return Ok(()) };
        let Some(result) = varint_length(&self.head[base..]) else { return Ok(()) };
        self.check_object(varint(&self.head[..base]))?;
        self.check_object(varint(&self.head[base..base + result]))
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
