//! `kubectl imaas`: the front door for those who write tenant files and services, and answer for what runs.
//!
//! ```text
//! PATH -> subject -> check, descriptor (with asked) -> validate | plan -> render       (rules: the operator's own)
//! ```
//! [`release`] is about what runs: it asks the operator by decisions, which alone changes it.
//! IO: [`subject`], [`stray`], [`guard`], [`working`], [`history`], [`around`], [`cluster`], [`output`], and the `run` of each command. The rest is
//! pure. Statuses: 0 fine, 1 problems found, 2 usage or something cannot be read.

mod adopt;
mod args;
mod around;
mod asked;
mod check;
mod cluster;
mod consumers;
mod cores;
mod create;
mod descriptor;
mod exposed;
mod guard;
mod history;
mod hot;
mod merged;
mod output;
mod owners;
mod plan;
mod platform;
mod release;
mod stray;
mod subject;
mod validate;
mod working;

use std::process::ExitCode;

use clap::Parser;
use imaas_operator::yaml;

use release::decide;

use args::{Cli, Command, RolloutCommand, SchemaKind, ServiceCommand, TenantCommand};

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing is wrong.
    Fine,
    /// A file is wrong, or something is held.
    Problems,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Problems) => ExitCode::from(1),
        Err(error) => {
            output::complain(&format!("error: {}", output::causes(&error)));
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Tenant(TenantCommand::New(options)) => create::tenant::run(&options),
        Command::Service(ServiceCommand::New(options)) => create::service::run(&options),
        Command::Validate(options) => validate::run(&options),
        Command::Check(options) => guard::run(&options),
        Command::Plan(options) => plan::run(&options),
        Command::Adopt(options) => adopt::run(&options),
        Command::Hold(options) => decide::run(&options.into()),
        Command::Resume(options) | Command::Rollout(RolloutCommand::Resume(options)) => {
            decide::run(&options.into())
        }
        Command::Rollout(RolloutCommand::Pause(options)) => decide::run(&options.into()),
        Command::Rollout(RolloutCommand::Skip(options)) => decide::run(&options.into()),
        Command::Rollout(RolloutCommand::Abort(options)) => decide::run(&options.into()),
        Command::Reject(options) => decide::run(&options.into()),
        Command::Rollback(options) => decide::run(&options.into()),
        Command::Retry(options) => decide::run(&options.into()),
        Command::Bypass(options) => decide::run(&options.into()),
        Command::Run(options) => decide::run(&options.into()),
        Command::Scale(options) => decide::run(&options.into()),
        Command::Sleep(options) => release::rest::sleep(&options),
        Command::Wake(options) => release::rest::wake(&options),
        Command::Approve(options) => decide::run(&options.into()),
        Command::Pass(options) => decide::run(&options.into()),
        Command::History(options) => release::history::run(&options),
        Command::Render(options) => merged::run(&options),
        Command::Instances(options) => release::instances::run(&options),
        Command::Why(options) | Command::Rollout(RolloutCommand::Status(options)) => {
            release::why::run(&options)
        }
        Command::Diff(options) => release::diff::run(&options),
        Command::Schema(options) => {
            let schema = match options.kind {
                SchemaKind::Tenant => yaml::tenant_schema(),
                SchemaKind::Limits => yaml::limits_schema(),
                SchemaKind::Descriptor => yaml::descriptor_schema(),
            };
            output::print(&format!("{schema:#}\n"))?;
            Ok(Outcome::Fine)
        }
    }
}
