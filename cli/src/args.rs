//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use imaas_operator::args::{LARGEST_CONFIG_BY_DEFAULT, config_size};

use crate::{
    create::arguments::{Member, Service},
    release::args as release,
};

const STATUSES: &str = "\
Exit status:
  0  done, and nothing is wrong
  1  a file has problems, part of a plan is held or refused, a decision is refused, or something is awaited
  2  wrong usage, or something could not be read";

/// From an empty editor to a running service: writes the files, finds every mistake in them, and says what a change
/// would do before it is merged.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-imaas",
    bin_name = "kubectl imaas",
    version,
    propagate_version = true,
    after_help = format!("The usual way:
  kubectl imaas tenant new acme --member group:acme-leads:owner
  kubectl imaas service new orders --runtime camel services/orders
  kubectl imaas validate .
  kubectl imaas plan .

{STATUSES}")
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Begins a tenant: its file in the tenants repository.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Begins a service: the `imaas.yaml` of its repository.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Finds every mistake at once, with file, line, column and what to write instead.
    Validate(Validate),
    /// Checks a service repository: what `validate` says of its `imaas.yaml`, and what in its source must not run as many.
    #[command(after_help = format!("Looked for, in the directory of each `imaas.yaml`: scheduled tasks, message processors and inbound endpoints that poll of
WSO2 Micro Integrator (XML and .car), and routes of Camel from timers, files and the like (YAML, XML, Java, Kotlin).
Each needs `instances: one`, or a word in `coordination` on how several instances agree; the operator asks for the same.
What cannot be told from the source is listed as not checked.

Examples:
  kubectl imaas check .
  kubectl imaas check services/orders --platform ../tenants/platform.yaml --runtime wso2-mi
  kubectl imaas check . --output json

{STATUSES}"))]
    Check(Validate),
    /// Prints an `imaas.yaml` as each environment sees it: its lines laid over the rest, and the defaults.
    Render(Render),
    /// Says what a change of tenant files would create, change, retire and hold back.
    Plan(Plan),
    /// Makes namespaces a tenant's own again that lost whose they are, as after a restore.
    Adopt(Adopt),
    /// Says why a service is as it is in an environment: everything that is awaited, and who holds it.
    #[command(visible_alias = "status")]
    Why(release::Why),
    /// Lists every instance of a service: where it runs, of which version, since when, and whether it is healthy.
    Instances(release::Instances),
    /// Lists releases and decisions of a service.
    History(release::History),
    /// Says what differs between two releases.
    Diff(release::Diff),
    /// Goes back to an older release, which stays until Git asks for something else.
    Rollback(release::Rollback),
    /// Lets nothing new run in an environment.
    Hold(release::Hold),
    /// Ends a hold, a pause, a rollback and a scale.
    Resume(release::Resume),
    /// Says how far what is tried beside what runs is, as a canary or by blue/green, and leads it.
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Lets a release never run again in an environment.
    Reject(release::Reject),
    /// Tries a release once more that failed.
    Retry(release::Retry),
    /// Lets in what was never healthy in the environment before.
    Bypass(release::Bypass),
    /// Runs a batch now, whatever its schedule says.
    Run(release::Run),
    /// Lets so many instances run for a time, whatever the load.
    Scale(release::Scale),
    /// Lets all services of an environment sleep for a time: no instance runs.
    Sleep(release::Sleep),
    /// Wakes all services of an environment that sleep.
    Wake(release::Wake),
    /// Lets a commit run where the environment asks for approval.
    Approve(release::Approve),
    /// Says for a check outside of the cluster that a release passed it.
    Pass(release::Pass),
    /// Prints the JSON Schema of a file, for editors.
    Schema(Schema),
}

/// Below `tenant`.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Writes a valid tenant file and says what comes next. Never overwrites a file.
    New(Box<TenantNew>),
}

/// Below `rollout`.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// As `kubectl imaas why`: its step, its share of the requests, and what is awaited.
    Status(release::Why),
    /// Keeps it at its step.
    Pause(release::Pause),
    /// As `kubectl imaas resume`: ends a pause, and a hold, a rollback and a scale.
    Resume(release::Resume),
    /// Ends the pause of its step: it goes on once its instances are ready.
    Skip(release::Skip),
    /// Gives it up: what ran before stays.
    Abort(release::Abort),
}

/// Below `service`.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Writes a valid `imaas.yaml` and says what comes next. Never overwrites a file.
    New(ServiceNew),
}

/// What the platform defines, and where that is read.
#[derive(Debug, Default, Args)]
pub struct Around {
    /// File or directory with what the platform defines: its environments and runtimes. Without it, `platform.yaml` or
    /// `platform/` beside the directory `tenants`.
    #[arg(long, value_name = "PATH", help_heading = "Platform")]
    pub platform: Option<PathBuf>,
    /// Asks the cluster of the current kubeconfig context for them.
    #[arg(long, conflicts_with = "platform", help_heading = "Platform")]
    pub cluster: bool,
    /// Another context of the kubeconfig.
    #[arg(long, value_name = "NAME", help_heading = "Platform")]
    pub context: Option<String>,
    /// Git host with a private address that the platform allows, as in the chart's `git.allowedHosts`. Repeat it, or
    /// separate by commas.
    #[arg(
        long = "allowed-git-host",
        value_name = "HOST",
        env = "IMAAS_ALLOWED_GIT_HOSTS",
        value_delimiter = ',',
        help_heading = "Platform"
    )]
    pub allowed_git_hosts: Vec<String>,
}

/// Options of `validate`.
#[derive(Debug, Args)]
#[command(after_help = format!("PATH is a tenants repository, its directory `tenants`, one tenant file, a service repository or an
`imaas.yaml`; what it is shows in its content.

Examples:
  kubectl imaas validate .
  kubectl imaas validate tenants/acme.yaml --cluster
  kubectl imaas validate services/orders --platform ../tenants/platform.yaml --runtime camel
  kubectl imaas validate . --output github      # annotations in a pull request

The platform team writes platform.yaml by
  kubectl get environments.imaas.dev,integrationruntimes.imaas.dev -o yaml > platform.yaml

{STATUSES}"))]
pub struct Validate {
    /// What to check.
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// The runtime that the tenant file names for the service; it decides about ports and `config` of an `imaas.yaml`.
    #[arg(long, value_name = "NAME")]
    pub runtime: Option<String>,
    /// The most that the files of a service's `config` may have together, as in the chart's `tenants.largestConfig`.
    #[arg(
        long,
        value_name = "SIZE",
        env = "IMAAS_LARGEST_CONFIG",
        default_value = LARGEST_CONFIG_BY_DEFAULT,
        value_parser = config_size
    )]
    pub largest_config: u64,
    /// How problems are told.
    #[arg(long, short, value_enum, default_value_t = ValidateOutput::Text)]
    pub output: ValidateOutput,
    /// The platform.
    #[command(flatten)]
    pub around: Around,
}

/// How `validate` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ValidateOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Annotations of GitHub Actions, shown beside the lines of a pull request.
    Github,
}

/// Options of `render`.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:
  kubectl imaas render                     every environment of ./imaas.yaml
  kubectl imaas render services/orders prod

{STATUSES}"))]
pub struct Render {
    /// A service repository with one `imaas.yaml`, or the file.
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Only this environment.
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,
}

/// Options of `plan`.
#[derive(Debug, Args)]
#[command(after_help = format!("A Git reference is compared where this branch left it, so that what others merged meanwhile is not in the plan.

Examples:
  kubectl imaas plan .                              # what this branch changes
  kubectl imaas plan . --against v2026.11 --output json
  kubectl imaas plan . --against origin/main --output markdown > comment.md
  kubectl imaas plan . --against cluster            # what a merge would change there now

{STATUSES}"))]
pub struct Plan {
    /// A tenants repository, its directory `tenants`, or one tenant file.
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// `cluster`, or a Git reference of this clone. Without it, the default branch of `origin`, else HEAD.
    #[arg(long, value_name = "cluster|REF")]
    pub against: Option<String>,
    /// With `--against cluster`: the TenantSource of this repository, where there are several.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// How it is told.
    #[arg(long, short, value_enum, default_value_t = PlanOutput::Text)]
    pub output: PlanOutput,
    /// The platform.
    #[command(flatten)]
    pub around: Around,
}

/// How `plan` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For a comment in a pull request.
    Markdown,
}

/// Options of `adopt`.
#[derive(Debug, Args)]
#[command(after_help = format!("Namespaces of a backup come back without the marks by which the operator knows them, or with those of another origin.
This gives NAME-home and NAME-<environment> the labels and the origin of the Tenant NAME, as you, who needs the verb
`adopt` on tenants.imaas.dev. A namespace of another owner is refused, and nothing is changed then.

Examples:
  kubectl imaas adopt acme --dry-run
  kubectl imaas adopt acme

{STATUSES}"))]
pub struct Adopt {
    /// The tenant; the Tenant must be there.
    #[arg(value_name = "TENANT")]
    pub tenant: String,
    /// Says what it would do, and does nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Another context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Options of `tenant new`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas tenant new acme
  kubectl imaas tenant new acme --contact integrations@acme.example \\
    --member group:acme-leads:owner --member group:acme-developers:developer \\
    --service orders=https://git.example.com/acme/orders.git,runtime=camel,credentials=orders-git \\
    --omit test")]
pub struct TenantNew {
    /// Name of the tenant: lower-case letters, digits and `-`. Its namespaces are NAME-dev and so on.
    pub name: String,
    /// How to reach the people behind it; without it, Git's `user.email`.
    #[arg(long)]
    pub contact: Option<String>,
    /// Who may do what: `user|group|serviceaccount`, the name (`NAMESPACE/NAME` of a service account), and
    /// `owner|developer|viewer`. Repeat it.
    #[arg(long = "member", value_name = "KIND:NAME:ROLE")]
    pub members: Vec<Member>,
    /// A service and its repository. After the URL, separated by commas: `runtime=` (without it, container),
    /// `credentials=`, `path=`, `branch.<environment>=`. Repeat it.
    #[arg(long = "service", value_name = "NAME=URL[,KEY=VALUE]…")]
    pub services: Vec<Service>,
    /// An environment that the tenant is not to be in. Repeat it.
    #[arg(long = "omit", value_name = "ENVIRONMENT")]
    pub omitted: Vec<String>,
    /// File to write, or the directory for it, or `-` for standard output. Without it, `tenants/NAME.yaml`.
    #[arg(long, short = 'o', value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Where editors find the schema, a URL or a path from the file; without it, a copy in `schemas/` beside `tenants/`.
    #[arg(long, value_name = "URL")]
    pub schema: Option<String>,
    /// The platform.
    #[command(flatten)]
    pub around: Around,
}

/// Options of `service new`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas service new orders --runtime camel --port 8080
  kubectl imaas service new invoices --runtime container --type worker services/invoices
  kubectl imaas service new billing --type batch")]
pub struct ServiceNew {
    /// Name of the service, as in the tenant file.
    pub name: String,
    /// The directory for `imaas.yaml`.
    #[arg(default_value = ".")]
    pub directory: PathBuf,
    /// Name of an IntegrationRuntime: `container`, `camel`, `wso2-mi`, or one of the platform's own.
    #[arg(long, default_value = "container")]
    pub runtime: String,
    /// `api` serves requests, `worker` consumes, `batch` runs by its schedule.
    #[arg(long = "type", value_enum, default_value_t = WorkloadType::Api)]
    pub type_: WorkloadType,
    /// The port that it listens on. Without it, 8080 for runtime `container`, the runtime's own for others.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Where editors find the schema, a URL or a path from the file.
    #[arg(long, value_name = "URL")]
    pub schema: Option<String>,
    /// The platform.
    #[command(flatten)]
    pub around: Around,
}

/// As in `imaas.yaml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WorkloadType {
    /// Serves requests.
    Api,
    /// Consumes.
    Worker,
    /// Runs by its schedule.
    Batch,
}

/// Options of `schema`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas schema tenant > schemas/tenant.schema.json
  kubectl imaas schema limits > schemas/limits.schema.json
  kubectl imaas schema descriptor > imaas.schema.json

Editors with the YAML language server (VS Code, Neovim, IntelliJ and others) use it by a first line such as
  # yaml-language-server: $schema=../schemas/tenant.schema.json")]
pub struct Schema {
    /// Of which file.
    #[arg(value_enum)]
    pub kind: SchemaKind,
}

/// A file with a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    /// A tenant file.
    Tenant,
    /// Limits of a tenant, which the platform team writes.
    Limits,
    /// `imaas.yaml`.
    Descriptor,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
