//! Child processes of the lab: each with a log file and a process group of its own, none outlives the lab.
//!
//! A child dies with the lab's process, also when that is ended by `kill -9`: the kernel signals it (Linux' parent
//! death signal). The kernel means the parent *thread*, so one thread that lives as long as the process starts them all.
use std::{
    ffi::OsString,
    fs::{self, File},
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const POLL: Duration = Duration::from_millis(30);
const TAIL_LINES: usize = 15;

/// A running child. Dropping it kills it and its process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    pid: u32,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `command` (program, arguments, environment and working directory are taken from it) in a new process
    /// group, standard output and error appended to the file `log`.
    ///
    /// # Errors
    /// When the log file cannot be opened or the program cannot be started.
    pub fn spawn(name: &str, command: &Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("log file {} of {name}", log.display()))?;
        let mut tied = tied_to_parent(command);
        tied.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        std::os::unix::process::CommandExt::process_group(&mut tied, 0);
        let child = start_on_lasting_thread(tied)
            .with_context(|| format!("start {name} ({})", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), pid: child.id(), child: Mutex::new(child) })
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The file that has its standard output and error.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, `None` while it runs.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// Resident memory in bytes, 0 once it has ended.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory that it ever had, in bytes; 0 once it has ended.
    pub fn peak_resident_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, line_name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix(line_name)?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
    }

    /// The last lines of its log, for error messages.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Asks it to end (SIGTERM) and kills it after `grace`; a `grace` of zero kills at once. Then waits for its end.
    pub async fn stop(&self, grace: Duration) {
        if !grace.is_zero() && self.signal(Signal::TERM) {
            let asked = Instant::now();
            while asked.elapsed() < grace && self.exited().is_none() {
                sleep(POLL).await;
            }
        }
        self.kill();
    }

    /// Kills it and its process group now and waits for its end.
    pub fn kill(&self) {
        if self.signal(Signal::KILL) {
            let _ended = self.child().wait();
        }
    }

    /// Signals the process group, unless the child has been reaped: then its id may belong to someone else.
    fn signal(&self, signal: Signal) -> bool {
        if self.exited().is_some() {
            return false;
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| rustix::process::kill_process_group(pid, signal).is_ok())
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The same command, killed by the kernel when its parent ends. `setpriv` (util-linux) replaces itself by the program.
fn tied_to_parent(command: &Command) -> Command {
    let mut tied = if cfg!(target_os = "linux") {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        setpriv
    } else {
        Command::new(command.get_program())
    };
    tied.args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(key, value),
            None => tied.env_remove(key),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        tied.current_dir(dir);
    }
    tied
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

fn start_on_lasting_thread(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                // The one who asked may be gone; then the child must not stay.
                if let Err(mpsc::SendError(Ok(mut child))) = answer.send(command.spawn()) {
                    let _killed = child.kill();
                }
            }
        });
        orders
    });
    let (answer, child) = mpsc::channel();
    let gone = |_| io::Error::other("the thread that starts processes has ended");
    starter
        .send((command, answer))
        .map_err(|_| io::Error::other("the thread that starts processes has ended"))?;
    child.recv().map_err(gone)?
}

/// The last lines of a log file, empty when it cannot be read.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Asks `ready` again and again until it says yes, and returns how long that took.
///
/// # Errors
/// At once when one of `children` has ended, and after `deadline`; both with the last log lines of the children.
pub async fn wait_until<Ready, Answer>(
    what: &str,
    deadline: Duration,
    children: &[&Process],
    mut ready: Ready,
) -> anyhow::Result<Duration>
where
    Ready: FnMut() -> Answer,
    Answer: Future<Output = bool>,
{
    let began = Instant::now();
    loop {
        if let Some((child, status)) = children.iter().find_map(|child| Some((child, child.exited()?))) {
            bail!(
                "{what}: {} ended ({status}); last lines of {}:\n{}",
                child.name(),
                child.log.display(),
                child.log_tail()
            );
        }
        let left = deadline.saturating_sub(began.elapsed());
        if timeout(left, ready()).await.unwrap_or(false) {
            return Ok(began.elapsed());
        }
        if began.elapsed() >= deadline {
            let logs: Vec<String> = children
                .iter()
                .map(|child| format!("last lines of {}:\n{}", child.log.display(), child.log_tail()))
                .collect();
            bail!("{what}: not ready after {} s; {}", deadline.as_secs(), logs.join("\n"));
        }
        sleep(POLL).await;
    }
}

/// A TCP port that nobody listens on, outside the ranges that the kernel gives to outgoing connections (32768 and up)
/// and that Kubernetes gives to node ports (30000–32767). Never the same one twice in a process.
///
/// # Errors
/// When all of the range is taken.
pub fn free_port() -> anyhow::Result<u16> {
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 10_000;
    // Processes start at different places, so that two labs at the same moment do not meet.
    let next = NEXT.get_or_init(|| AtomicU32::new(std::process::id().wrapping_mul(61)));
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = u16::try_from(port).context("port range")?;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free TCP port in {FIRST}–{}", FIRST + COUNT - 1)
}

/// The status of a plain `GET`, for health endpoints; `None` when there is no answer within a second.
pub async fn http_status(address: SocketAddr, path: &str) -> Option<u16> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut head = Vec::new();
        stream.take(64).read_to_end(&mut head).await.ok()?;
        String::from_utf8_lossy(&head).split_whitespace().nth(1)?.parse().ok()
    };
    timeout(Duration::from_secs(1), exchange).await.ok().flatten()
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// When it cannot be started or fails; then with its standard error.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let line = command_line(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn command_line(command: &Command) -> String {
    let words: Vec<OsString> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(ToOwned::to_owned).collect();
    words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn alive(pid: &str) -> bool {
        // A killed process that nobody has reaped yet is still listed, as a zombie.
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn a_child_that_ignores_sigterm_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let child =
            Process::spawn("stubborn", &sh("trap '' TERM; sleep 1000 & echo $!; wait; wait"), &log).unwrap();
        wait_until("its child", Duration::from_secs(5), &[&child], || async {
            fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n'))
        })
        .await
        .unwrap();
        let grandchild = fs::read_to_string(&log).unwrap().trim().to_owned();
        assert!(alive(&grandchild));

        child.stop(Duration::from_millis(100)).await;

        assert!(child.exited().is_some());
        sleep(Duration::from_millis(50)).await;
        assert!(!alive(&grandchild));
    }

    #[tokio::test]
    async fn waiting_for_a_child_that_died_fails_at_once_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let child =
            Process::spawn("shortlived", &sh("echo bad flag >&2; exit 3"), &dir.path().join("log")).unwrap();
        let error =
            wait_until("API", Duration::from_secs(30), &[&child], || async { false }).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("shortlived ended") && text.contains("bad flag"), "{text}");
    }

    #[tokio::test]
    async fn a_child_outlives_the_thread_that_asked_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let child = std::thread::spawn(move || Process::spawn("sleeper", &sh("sleep 1000"), &log).unwrap())
            .join()
            .unwrap();
        sleep(Duration::from_millis(200)).await;
        assert!(child.exited().is_none());
    }

    #[test]
    fn a_child_dies_with_a_parent_that_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let mut parent = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "process::tests::a_parent_that_waits_to_be_killed"])
            .env("CHILD_PID_FILE", &file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = loop {
            match fs::read_to_string(&file) {
                Ok(pid) if !pid.is_empty() => break pid,
                _ => std::thread::sleep(POLL),
            }
        };
        assert!(alive(&pid));
        parent.kill().unwrap();
        parent.wait().unwrap();
        let killed = Instant::now();
        while alive(&pid) {
            assert!(killed.elapsed() < Duration::from_secs(5), "process {pid} outlived its parent");
            std::thread::sleep(POLL);
        }
    }

    #[test]
    #[ignore = "started and killed by a_child_dies_with_a_parent_that_is_killed"]
    fn a_parent_that_waits_to_be_killed() {
        let file = PathBuf::from(std::env::var_os("CHILD_PID_FILE").unwrap());
        let child = Process::spawn("sleeper", &sh("exec sleep 30"), &file.with_extension("log")).unwrap();
        fs::write(file, child.pid().to_string()).unwrap();
        std::thread::sleep(Duration::from_secs(30));
    }

    #[test]
    fn a_port_is_given_once() {
        let ports: std::collections::BTreeSet<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|port| (20_000..30_000).contains(port)));
    }
}
