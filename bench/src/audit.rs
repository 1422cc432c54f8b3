//! The API server's audit log → who asked how often for what. Pure, but for [`Log`], which reads the file on.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::Deserialize;

/// One line of the log, as far as it is counted here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    response_status: Option<Status>,
}

#[derive(Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Debug, Default, Deserialize)]
struct ObjectRef {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// What became of the requests of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// All but watches, which stay open, and what is about leases.
    pub all: u64,
    /// Objects that are new: answered by 201, events left out.
    pub created: u64,
    /// Whatever may change something, also when it was refused; dry runs cannot.
    pub writes: u64,
    /// `GET` of one object or of a list.
    pub reads: u64,
    /// By verb, resource and status, such as `patch tenants/status 200`.
    pub kinds: BTreeMap<String, u64>,
}

impl Requests {
    /// Requests for each object that was created.
    #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
    pub fn per_object(&self) -> f64 {
        self.all as f64 / self.created.max(1) as f64
    }

    fn add(&mut self, line: &Line) {
        let ObjectRef { resource, subresource, namespace: _ } = &line.object_ref;
        let code = line.response_status.as_ref().map_or(0, |status| status.code);
        let is_dry = line.uri.contains("dryRun=All");
        let is_read = matches!(line.verb.as_str(), "get" | "list");
        self.all += 1;
        self.reads += u64::from(is_read);
        self.writes += u64::from(!is_read && !is_dry);
        self.created += u64::from(code == 201 && !is_dry && resource != "events");
        let slash = if subresource.is_empty() { "" } else { "/" };
        let dry = if is_dry { " (dry run)" } else { "" };
        let kind = format!("{} {resource}{slash}{subresource} {code}{dry}", line.verb);
        *self.kinds.entry(kind).or_default() += 1;
    }
}

/// The log of one API server, read on from where it was read last.
#[derive(Debug)]
pub struct Log {
    file: PathBuf,
    read: u64,
}

impl Log {
    /// From its beginning.
    pub fn new(file: PathBuf) -> Self {
        Self { file, read: 0 }
    }

    /// What `user` asked since the last time. What it asks in its own namespace (its Git login, each time that it looks at
    /// the repository) is counted, but does not make it busy: `is_busy` says whether there was anything else.
    pub fn next(&mut self, user: &str, own_namespace: &str) -> Result<(Requests, bool)> {
        let mut file = File::open(&self.file).with_context(|| format!("open {}", self.file.display()))?;
        file.seek(SeekFrom::Start(self.read)).context("audit log")?;
        let (mut requests, mut is_busy) = (Requests::default(), false);
        let (mut reader, mut text) = (BufReader::new(file), String::new());
        loop {
            text.clear();
            let length = reader.read_line(&mut text).context("audit log")?;
            // A line without an end is still being written.
            if length == 0 || !text.ends_with('\n') {
                return Ok((requests, is_busy));
            }
            self.read += length as u64;
            let line: Line = serde_json::from_str(&text).context("a line of the audit log")?;
            // By its lease an operator is known to live: so many requests a minute, whatever it does.
            let is_counted = line.verb != "watch" && line.object_ref.resource != "leases";
            if line.user.username == user && line.stage == "ResponseComplete" && is_counted {
                let is_own = line.object_ref.namespace == own_namespace;
                is_busy |= !is_own && !line.uri.contains("dryRun=All");
                requests.add(&line);
            }
        }
    }
}

/// Both, summed.
pub fn sum(one: Requests, other: &Requests) -> Requests {
    let Requests { all, created, writes, reads, kinds } = other;
    let mut sum = one;
    sum.all += all;
    sum.created += created;
    sum.writes += writes;
    sum.reads += reads;
    for (kind, count) in kinds {
        *sum.kinds.entry(kind.clone()).or_default() += count;
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &str = r#"{"stage":"ResponseComplete","verb":"create","requestURI":"/api/v1/namespaces?fieldManager=x","user":{"username":"op"},"objectRef":{"resource":"namespaces"},"responseStatus":{"code":201}}
{"stage":"ResponseComplete","verb":"patch","requestURI":"/a","user":{"username":"op"},"objectRef":{"resource":"secrets","namespace":"acme-dev"},"responseStatus":{"code":201}}
{"stage":"ResponseComplete","verb":"patch","requestURI":"/a","user":{"username":"op"},"objectRef":{"resource":"tenants","subresource":"status"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"patch","requestURI":"/a?dryRun=All","user":{"username":"op"},"objectRef":{"resource":"namespaces"},"responseStatus":{"code":403}}
{"stage":"ResponseComplete","verb":"create","requestURI":"/a","user":{"username":"op"},"objectRef":{"resource":"events"},"responseStatus":{"code":201}}
{"stage":"ResponseComplete","verb":"create","requestURI":"/a","user":{"username":"somebody"},"objectRef":{"resource":"secrets"},"responseStatus":{"code":201}}
{"stage":"ResponseComplete","verb":"watch","requestURI":"/a","user":{"username":"op"},"objectRef":{"resource":"secrets"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"update","requestURI":"/a","user":{"username":"op"},"objectRef":{"resource":"leases"},"responseStatus":{"code":200}}
"#;

    #[test]
    fn writes_creations_and_dry_runs_of_one_user_are_told_apart() {
        let dir = std::env::temp_dir().join(format!("bench-audit-{}", std::process::id()));
        std::fs::write(&dir, TEXT).unwrap();
        let mut log = Log::new(dir.clone());
        let (requests, is_busy) = log.next("op", "imaas-system").unwrap();
        assert_eq!((requests.all, requests.created, requests.writes, requests.reads), (5, 2, 4, 0));
        assert_eq!(requests.kinds["patch namespaces 403 (dry run)"], 1);
        assert_eq!(requests.kinds["patch tenants/status 200"], 1);
        assert!(is_busy);

        let own = r#"{"stage":"ResponseComplete","verb":"get","requestURI":"/a","user":{"username":"op"},"objectRef":{"resource":"secrets","namespace":"imaas-system"},"responseStatus":{"code":200}}"#;
        let mut file = File::options().append(true).open(&dir).unwrap();
        write!(file, "{own}\n{{\"half").unwrap();
        let (requests, is_busy) = log.next("op", "imaas-system").unwrap();
        std::fs::remove_file(&dir).unwrap();
        assert_eq!((requests.all, requests.reads, is_busy), (1, 1, false));
    }
}
