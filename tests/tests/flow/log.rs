//! Every line that the operator logs, over all its pods and restarts: a log that kubectl shows begins with the last start.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;

/// The lines so far; the collection ends when this is dropped.
pub struct OperatorLog {
    lines: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl OperatorLog {
    /// Follows the files that the lab's kubelet writes.
    pub fn follow(lab: &Path) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (pods, into) = (lab.join("pod-logs"), lines.clone());
        let task = tokio::spawn(async move {
            let mut read = HashMap::new();
            loop {
                for file in files(&pods) {
                    let new = rest(&file, read.entry(file.clone()).or_default());
                    locked(&into).extend(new);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Self { lines, task }
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        locked(&self.lines).len()
    }

    /// The lines after the first `from` of which `wanted` is true.
    pub fn since(&self, from: usize, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        locked(&self.lines).iter().skip(from).filter(|line| wanted(line)).cloned().collect()
    }

    /// Forgets the lines after the first `from` of which `unwanted` is true.
    pub fn forget(&self, from: usize, unwanted: impl Fn(&str) -> bool) {
        let mut at = 0;
        locked(&self.lines).retain(|line| {
            at += 1;
            at <= from || !unwanted(line)
        });
    }

    /// The last `count` lines that tell more than that a pass happened.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.since(0, |line| !line.contains(" reconciled "));
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl Drop for OperatorLog {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(lines: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `<pods>/imaas-system_imaas-operator-…/operator/<restart>.log`
fn files(pods: &Path) -> Vec<PathBuf> {
    let below = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let of_operator = |path: &PathBuf| path.to_string_lossy().contains("imaas-system_imaas-operator-");
    let mut files: Vec<_> = below(pods)
        .filter(of_operator)
        .flat_map(|pod| below(&pod.join("operator")).collect::<Vec<_>>())
        .collect();
    files.sort();
    files
}

/// The whole lines after `read` bytes, without what the container runtime puts before each.
fn rest(file: &Path, read: &mut u64) -> Vec<String> {
    let mut text = Vec::new();
    let Ok(mut open) = fs::File::open(file) else { return vec![] };
    if open.seek(SeekFrom::Start(*read)).is_err() || open.read_to_end(&mut text).is_err() {
        return vec![];
    }
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    *read += whole as u64;
    let line = |line: &str| line.splitn(4, ' ').nth(3).unwrap_or(line).to_owned();
    String::from_utf8_lossy(&text[..whole]).lines().map(line).collect()
}
