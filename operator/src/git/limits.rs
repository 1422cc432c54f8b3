//! How much one operation may take, and how many may run. Pure.

use std::time::Duration;

use super::packcheck::PackLimits;

/// Bounds of every operation.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of one operation over the network, from its start. Waiting for a turn does not count.
    pub deadline: Duration,
    /// Of one TCP and TLS connection.
    pub connect: Duration,
    /// Of one request to a host's API.
    pub call: Duration,
    /// Most bytes that are read of its answer.
    pub call_bytes: u64,
    /// Most bytes of a list of branches.
    pub heads_bytes: u64,
    /// Most bytes of one fetch.
    pub fetch_bytes: u64,
    /// Blobs from this size on are left out of a fetch, where the server can.
    pub blob_bytes: u64,
    /// Largest object that is taken, unpacked.
    pub object_bytes: u64,
    /// All objects of one fetch together, unpacked: bounds the work that a pack can cause.
    pub unpacked_bytes: u64,
    /// Most objects of one fetch.
    pub objects: u64,
    /// A mirror with more packs than this, or of twice `fetch_bytes`, is made anew: that drops what nobody needs any more.
    pub packs: usize,
    /// All mirrors together on disk; those of one owner get a quarter.
    pub mirrors_bytes: u64,
    /// Operations over the network at a time: as many lists of branches, and as many fetches.
    pub operations: usize,
    /// Of these, to one host.
    pub operations_per_host: usize,
    /// Lists of branches of one owner at a time.
    pub heads_per_owner: usize,
    /// Fetches of one owner at a time.
    pub fetches_per_owner: usize,
    /// Requests to the APIs of hosts at a time.
    pub calls: usize,
    /// Of these, to one host.
    pub calls_per_host: usize,
    /// Reads from mirrors at a time: each may hold what it reads.
    pub reads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_mins(1),
            connect: Duration::from_secs(10),
            call: Duration::from_secs(15),
            call_bytes: 4 << 10,
            heads_bytes: 16 << 20,
            fetch_bytes: 256 << 20,
            blob_bytes: 1 << 20,
            object_bytes: 32 << 20,
            unpacked_bytes: 8 << 30,
            objects: 1_000_000,
            packs: 50,
            mirrors_bytes: 3 << 29,
            operations: 64,
            operations_per_host: 8,
            heads_per_owner: 4,
            fetches_per_owner: 2,
            calls: 16,
            calls_per_host: 4,
            reads: 4,
        }
    }
}

impl Limits {
    /// Of one pack.
    pub(super) fn pack(&self) -> PackLimits {
        PackLimits {
            objects: self.objects,
            object_bytes: self.object_bytes,
            total_bytes: self.unpacked_bytes,
        }
    }
}
