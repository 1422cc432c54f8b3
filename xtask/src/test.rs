#![expect(clippy::print_stdout, reason = "reports to the person who runs it")]
//! `cargo xtask test`: every test, then the linters; prints run, skipped and failed.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use lab::{Progress, cache};

/// The linter of licences, bans and sources; built once into the lab's cache.
const CARGO_DENY: &str = "0.20.2";

/// What the runs of a test binary add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Sum {
    /// Adds what libtest said in `output`.
    fn add(&mut self, output: &str) {
        for line in output.lines().filter(|line| line.starts_with("test result:")) {
            let count = |what: &str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words
                    .windows(2)
                    .find(|pair| pair[1].trim_end_matches([';', '.']) == what)
                    .and_then(|pair| pair[0].parse::<u32>().ok())
                    .unwrap_or(0)
            };
            self.passed += count("passed");
            self.failed += count("failed");
            self.skipped += count("ignored");
        }
    }
}

/// Runs everything; an error means that something failed or was skipped that must not be.
pub fn run() -> Result<()> {
    let begun = Instant::now();
    let mut sum = Sum::default();
    let mut failed = Vec::new();
    // Doc tests are run by `cargo test` too. One binary after the other: those with real pods have the machine for themselves.
    let tests = step("tests", cargo(&["test", "--workspace", "--no-fail-fast"]), &mut failed)?;
    sum.add(&tests);
    let skipped: Vec<&str> = tests.lines().filter(|line| line.starts_with("skipped: ")).collect();
    sum.skipped += u32::try_from(skipped.len()).unwrap_or(u32::MAX);
    step("fmt", cargo(&["fmt", "--all", "--check"]), &mut failed)?;
    step("clippy", cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]), &mut failed)?;
    step("generated files", cargo(&["xtask", "crds", "--check"]), &mut failed)?;
    let mut deny = Command::new(cargo_deny()?);
    deny.args(["--log-level", "error", "check", "licenses", "bans", "sources"]).current_dir(root());
    step("licences, bans, sources", deny, &mut failed)?;
    println!("\n{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    println!("in {:.0} s", begun.elapsed().as_secs_f64());
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    ensure!(sum.passed > 0, "no test ran");
    ensure!(!lab::is_root() || skipped.is_empty(), "skipped although this is Linux and root: {skipped:?}");
    Ok(())
}

/// Runs `command` with its output shown as it comes; returns the output too.
fn step(name: &'static str, mut command: Command, failed: &mut Vec<&'static str>) -> Result<String> {
    use std::io::{BufRead, BufReader};
    println!("\n=== {name}");
    let begun = Instant::now();
    let (reader, writer) = std::io::pipe().context("a pipe")?;
    command.stdout(writer.try_clone().context("a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    // Our own ends of the pipe, without which it would never close.
    drop(command);
    let mut output = String::new();
    for line in BufReader::new(reader).lines() {
        let line = line.context("read the output")?;
        println!("{line}");
        output.push_str(&line);
        output.push('\n');
    }
    let ok = child.wait().context("wait")?.success();
    println!("=== {name}: {} ({:.0} s)", if ok { "ok" } else { "FAILED" }, begun.elapsed().as_secs_f64());
    if !ok {
        failed.push(name);
    }
    Ok(output)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo_deny() -> Result<PathBuf> {
    let progress = Progress::new(|line| println!("{line}"));
    let entry = cache::entry("cargo-deny", CARGO_DENY, &progress, |directory| {
        progress.say("building cargo-deny (about 4 min, once) …");
        let mut install =
            cargo(&["install", "--quiet", "--locked", "--version", CARGO_DENY, "cargo-deny", "--root"]);
        ensure!(
            install.arg(directory).status().context("cargo install")?.success(),
            "cargo install cargo-deny failed"
        );
        Ok(())
    })?;
    Ok(entry.join("bin/cargo-deny"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_binaries_add_up() {
        let mut sum = Sum::default();
        sum.add("running 3 tests\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\nnoise\n");
        sum.add("test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2s\n");
        assert_eq!(sum, Sum { passed: 7, failed: 1, skipped: 1 });
    }
}
