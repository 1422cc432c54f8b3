//! The program on real Git repositories, by its exit status, output and files.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;

use serde_json::Value;
use support::{Repository, root};

const SERVICE: &str = "orders=https://git.example.com/acme/orders.git,runtime=camel,credentials=orders-git";

fn tenant(name: &str) -> String {
    format!(
        "apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec:\n  contact: {name}@example.com\n  members: [{{kind: Group, name: {name}-leads, role: owner}}]\n"
    )
}

/// A tenants repository with three tenants on `main`, also at its origin, and what the platform defines.
fn central() -> Repository {
    let repository = Repository::new();
    std::fs::copy(root().join("tenants/platform.yaml"), repository.path("platform.yaml")).unwrap();
    for name in ["acme", "beta", "globex"] {
        repository.write(&format!("tenants/{name}.yaml"), &tenant(name));
    }
    repository.commit("three tenants");
    repository.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
    repository.git(&["switch", "--quiet", "--create", "change"]);
    repository
}

#[test]
fn from_an_empty_directory_to_a_plan() {
    let repository = Repository::new();
    let new = [
        "tenant",
        "new",
        "acme",
        "--member",
        "group:acme-leads:owner",
        "--service",
        SERVICE,
        "--omit",
        "test",
    ];
    let written = repository.run(&new).expect_status(0);
    for step in [
        "wrote tenants/acme.yaml",
        "wrote schemas/tenant.schema.json",
        "git add tenants/acme.yaml",
        "create secret generic orders-git",
    ] {
        assert!(written.stdout.contains(step), "{step}: {}", written.stdout);
    }
    let file = repository.read("tenants/acme.yaml");
    assert!(file.starts_with("# yaml-language-server: $schema=../schemas/tenant.schema.json\n"), "{file}");
    assert!(file.contains("contact: jo@acme.example"), "Git knows who writes: {file}");
    let valid = repository.run(&["validate"]).expect_status(0);
    assert!(valid.stdout.starts_with("1 tenant, 1 service: no problems\nnot checked: "), "{}", valid.stdout);
    let plan =
        repository.run(&["plan", "--platform", &root().join("tenants/platform.yaml").display().to_string()]);
    let plan = plan.expect_status(0).stdout;
    assert!(
        plan.contains("+ tenant acme: new")
            && plan.contains("+ namespace  acme-prod")
            && !plan.contains("acme-test"),
        "{plan}"
    );
    repository.commit("onboard acme");
    assert!(repository.run(&["plan"]).expect_status(0).stdout.contains("Nothing changes (1 tenant)"));
}

/// The first block of `language` in a text that holds `word`.
fn block<'a>(text: &'a str, language: &str, word: &str) -> &'a str {
    let mut blocks = text.split(language).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.find(|block| block.contains(word)).unwrap()
}

#[test]
fn the_readme_s_commands_write_the_readme_s_file() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let repository = Repository::new();
    let programs = Path::new(env!("CARGO_BIN_EXE_kubectl-imaas")).parent().unwrap();
    let script = block(&readme, "```sh\n", "tenant new").replace("kubectl imaas", "kubectl-imaas");
    let mut shell = support::neutral("bash", repository.root());
    shell
        .args(["-ec", &script])
        .env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
    support::finish(&mut shell).expect_status(0);
    let value = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    let shown = block(&readme, "```yaml\n", "kind: Tenant");
    assert_eq!(value(&repository.read("tenants/acme.yaml")), value(shown));
}

#[test]
fn a_clone_that_is_called_tenants_is_no_directory_of_tenants() {
    let repository = central();
    repository.git(&["clone", "--quiet", ".", "mine/tenants"]);
    for (below, name) in [("mine/tenants", "stark"), ("mine/tenants/tenants", "wayne")] {
        repository.run_in(below, &["tenant", "new", name]).expect_status(0);
        assert!(repository.path(&format!("mine/tenants/tenants/{name}.yaml")).exists(), "{name} in {below}");
    }
    assert!(repository.path("mine/tenants/schemas/tenant.schema.json").exists());
    let seen = repository.run_in("mine/tenants", &["validate"]).expect_status(0);
    assert!(seen.stdout.contains("\n5 tenants"), "{}", seen.stdout);
}

#[test]
fn a_runtime_that_the_chart_does_not_bring_is_told_and_may_be_the_platforms() {
    let repository = Repository::new();
    let with = |name: &str, runtime: &str| {
        let service = format!("orders=https://git.example.com/a/orders.git,runtime={runtime}");
        repository.run(&["tenant", "new", name, "--service", &service]).expect_status(0).stdout
    };
    let told = with("acme", "camle");
    let warning = "warning: service orders: runtime \"camle\" is none of camel, container, wso2-mi";
    assert!(told.contains(warning), "{told}");
    assert!(!with("beta", "camel").contains("warning"));
    let service = |directory: &str, runtime: &str| {
        let new = ["service", "new", "orders", "--runtime", runtime, directory];
        repository.run(&new).expect_status(0).stdout
    };
    assert!(service("a", "camle").contains(warning));
    assert!(!service("b", "camel").contains("warning"));
}

#[test]
fn what_is_wrong_in_the_platforms_file_is_told_at_its_place_beside_what_is_wrong_with_tenants() {
    let repository = central();
    let platform = repository.read("platform.yaml").replacen("  default: true\n", "  defualt: true\n", 1);
    repository.write("platform.yaml", &platform.replacen("promotesFrom: test", "promotesFrom: 30", 1));
    repository.write("tenants/acme.yaml", &tenant("acme").replace("contact", "contcat"));
    let told = repository.run(&["validate"]).expect_status(1).stdout;
    for line in [
        "platform.yaml:11:3: spec.defualt: unknown field, did you mean \"default\"?",
        "spec.promotesFrom: expected text, found 30",
        "tenants/acme.yaml:5:3: spec.contcat: unknown field, did you mean \"contact\"?",
        "3 problems in 2 files",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let plan = repository.run(&["plan"]).expect_status(2).stderr;
    assert!(plan.contains("error: platform.yaml:11:3: spec.defualt") && plan.contains("validate"), "{plan}");
}

#[test]
fn nothing_is_overwritten() {
    let repository = central();
    for (arguments, file) in [
        (&["tenant", "new", "acme"][..], "tenants/acme.yaml"),
        (&["service", "new", "orders", "tenants"], "tenants/imaas.yaml"),
    ] {
        if !repository.path(file).exists() {
            repository.write(file, "mine");
        }
        let before = repository.read(file);
        let refused = repository.run(arguments).expect_status(2);
        assert!(
            refused.stderr.contains("is there already, and nothing is overwritten"),
            "{}",
            refused.stderr
        );
        assert_eq!(repository.read(file), before);
    }
}

#[test]
fn nothing_is_written_below_a_file() {
    let repository = central();
    repository.write("orders", "mine");
    for (arguments, file) in [
        (&["service", "new", "orders", "orders"][..], "orders/imaas.yaml"),
        (&["service", "new", "orders", "orders/a/b"], "orders/a/b/imaas.yaml"),
        (&["tenant", "new", "stark", "--out", "orders/stark.yaml"], "orders/stark.yaml"),
    ] {
        let refused = repository.run(arguments).expect_status(2).stderr;
        let told = format!("orders is no directory, so {file} cannot be written: name a directory");
        assert!(refused.contains(&told), "{refused}");
        assert_eq!(repository.read("orders"), "mine");
    }
}

#[test]
fn a_wrong_wish_is_refused_before_anything_is_written() {
    let repository = central();
    for (arguments, told) in [
        (&["tenant", "new", "Acme"][..], "metadata.name"),
        (&["tenant", "new", "stark", "--omit", "stage"], "there is no Environment \"stage\""),
        (&["tenant", "new", "stark", "--member", "group:system:masters:owner"], "system"),
        (
            &["tenant", "new", "stark", "--service", "a=https://git.example.com/a,runtime=mule"],
            "there is no IntegrationRuntime \"mule\"",
        ),
        (
            &["service", "new", "orders", "--platform", "platform.yaml", "--runtime", "mule"],
            "not written: there is no IntegrationRuntime \"mule\"",
        ),
        (&["service", "new", "Dunning_x"], "not written: name: \"Dunning_x\" is not a name"),
        (&["service", "new", "o\u{1b}]0;x\u{7}"], "not written: "),
        (&["service", "new", "orders-canary"], "not written: name: must not end in -canary"),
        (
            &[
                "service",
                "new",
                "orders",
                "--platform",
                "platform.yaml",
                "--runtime",
                "camel",
                "--port",
                "9876",
            ],
            "ports",
        ),
    ] {
        let refused = repository.run(arguments).expect_status(2);
        assert!(
            refused.stderr.contains("not written: ") && refused.stderr.contains(told),
            "{arguments:?}: {}",
            refused.stderr
        );
        assert_eq!(repository.git(&["status", "--porcelain"]), "", "{arguments:?}");
    }
}

#[test]
fn every_mistake_of_every_file_is_told_at_once() {
    let repository = central();
    repository.write("tenants/acme.yaml", &tenant("acme").replace("contact", "contcat"));
    repository.write("tenants/beta.yaml", &tenant("gamma"));
    repository.write("tenants/delta.yml", &tenant("delta"));
    repository.write("tenants/UP.YAML", &tenant("up"));
    repository.write(
        "tenants/globex.yaml",
        &(tenant("globex") + "  environments: {tset: {omit: true}, dev: {quota: {cpu: 99}}}\n  x: [\n"),
    );
    let told = repository.run(&["validate", "."]).expect_status(1).stdout;
    for line in [
        "tenants/acme.yaml:5:3: spec.contcat: unknown field, did you mean \"contact\"?",
        "tenants/beta.yaml:3:18: metadata.name: \"gamma\" is not the file's name",
        "tenants/UP.YAML: this ending is not read: the file of tenant up must be a regular file named up.yaml",
        "tenants/delta.yml: this ending is not read: the file of tenant delta must be a regular file named delta.yaml",
        "tenants/globex.yaml:8:6: unclosed bracket",
        "   5 |   contcat: acme@example.com",
    ] {
        assert!(told.contains(line.trim_start()), "{line}: {told}");
    }
    repository.write(
        "tenants/globex.yaml",
        &(tenant("globex") + "  environments: {tset: {omit: true}, dev: {quota: {cpu: 99}}}\n"),
    );
    let json = repository.run(&["validate", ".", "--output", "json"]).expect_status(1);
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["checked"], serde_json::json!({ "tenants": 3, "services": 0 }));
    let of_globex: Vec<_> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["file"] == "tenants/globex.yaml")
        .collect();
    assert_eq!(of_globex.len(), 2, "{report}");
    assert_eq!(
        (&of_globex[0]["line"], &of_globex[0]["field"]),
        (&7.into(), &"spec.environments.tset".into())
    );
    // From below, GitHub still gets the path from the root of the repository.
    let github =
        repository.run_in("tenants", &["validate", "acme.yaml", "-o", "github"]).expect_status(1).stdout;
    assert!(
        github.starts_with("::error file=tenants/acme.yaml,line=5,col=3::spec.contcat: unknown field"),
        "{github}"
    );
}

#[test]
fn what_an_export_names_and_is_not_there_is_a_warning() {
    let repository = central();
    let exports = "exportTo: [{tenant: beta, service: billing}, {tenant: nobody, service: x}]";
    let service = format!(
        "  services:\n    - {{name: orders, repository: {{url: 'https://git.example.com/a/b.git'}}, runtime: camel, {exports}}}\n"
    );
    repository.write("tenants/acme.yaml", &(tenant("acme") + &service));
    let place = "tenants/acme.yaml:8:";
    for path in [".", "tenants/acme.yaml"] {
        let told = repository.run(&["validate", path]).expect_status(0).stdout;
        for part in [
            place,
            "warning: spec.services[0].exportTo[0].service: tenant beta has no service \"billing\", none",
            "warning: spec.services[0].exportTo[1].tenant: there is no tenant \"nobody\" here",
            "no problems, 2 warnings",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    let other = repository.run(&["validate", "tenants/beta.yaml"]).expect_status(0).stdout;
    assert!(!other.contains("warning"), "another file's: {other}");
    let github = repository.run(&["validate", "-o", "github"]).expect_status(0).stdout;
    assert!(github.starts_with("::warning file=tenants/acme.yaml,line=8,"), "{github}");
}

#[test]
fn a_tenant_file_that_nobody_reads_is_told_with_the_way_out() {
    let repository = central();
    repository.write("stark.yml", &tenant("stark"));
    repository.write("units/initech.yaml", &tenant("initech"));
    repository.write("tenants/emea/hooli.yaml", &tenant("hooli"));
    repository.write("emea/tenants/pied.yaml", &tenant("pied"));
    repository.write("tenants/acme.yml", &tenant("acme"));
    repository.write("notes/list.yaml", "kind: Tenant\n");
    let told = repository.run(&["validate", "."]).expect_status(1).stdout;
    for line in [
        "stark.yml: nobody reads a tenant file in the root of a repository: move it to tenants/stark.yaml",
        "units/initech.yaml: warning: this tenant file is read only where the TenantSource's `spec.path` is units;",
        "tenants/emea/hooli.yaml: warning: this tenant file is read only where",
        "tenants/acme.yml: this ending is not read: the file of tenant acme is acme.yaml beside it, so remove this one",
        "2 problems in 2 files, 2 warnings",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!told.contains("pied") && !told.contains("notes"), "{told}");
    let plan = repository.run(&["plan", "stark.yml"]).expect_status(2).stderr;
    assert!(
        plan.contains("stark.yml: nobody reads a tenant file in the root of a repository: move it"),
        "{plan}"
    );
    let alone = repository.run(&["validate", "stark.yml"]).expect_status(1).stdout;
    assert!(alone.contains("stark.yml: nobody reads a tenant file in the root"), "{alone}");
    let units = repository.run(&["validate", "units"]).expect_status(0).stdout;
    assert!(units.contains("warning: this tenant file is read only where"), "{units}");
}

#[test]
fn a_plan_of_a_misnamed_file_is_of_the_tenants_that_it_holds() {
    let repository = central();
    repository.git(&["mv", "tenants/acme.yaml", "tenants/BILLING.YAML"]);
    repository.write("tenants/globex.yaml", &tenant("globex").replace("globex@", "ops@"));
    let whole = repository.run(&["plan"]).expect_status(1).stdout;
    assert!(whole.contains("! tenant acme: held") && !whole.contains("retires"), "{whole}");
    let one = repository.run(&["plan", "tenants/BILLING.YAML"]).expect_status(1).stdout;
    for part in [
        "! tenant acme: held",
        "! tenant billing: held",
        "tenants/BILLING.YAML: this ending is not read: the file of tenant acme must be a regular file named acme.yaml",
        "so it keeps what it has",
        "Tenants: 2 held\n",
    ] {
        assert!(one.contains(part), "{part}: {one}");
    }
    let told = repository.run(&["validate"]).expect_status(1).stdout;
    assert!(told.contains("1 problem in 1 file"), "once: {told}");
    let other = repository.run(&["plan", "tenants/globex.yaml"]).expect_status(0).stdout;
    assert!(other.contains("~ tenant globex: changes") && !other.contains("acme"), "{other}");
}

#[test]
fn a_link_in_place_of_a_file_is_told_and_not_followed() {
    let repository = central();
    repository.write("secret.yaml", &tenant("stark"));
    std::os::unix::fs::symlink("../secret.yaml", repository.path("tenants/stark.yaml")).unwrap();
    let told = repository.run(&["validate"]).expect_status(1).stdout;
    assert!(told.contains("tenants/stark.yaml: is a symbolic link"), "{told}");
}

#[test]
fn what_others_merged_meanwhile_is_not_in_the_plan() {
    let repository = central();
    repository.write("tenants/stark.yaml", &tenant("stark"));
    repository.commit("onboard stark");
    repository.git(&["switch", "--quiet", "main"]);
    repository.write("tenants/other.yaml", &tenant("other"));
    repository.commit("onboard other");
    repository.git(&["push", "--quiet", "origin", "main"]);
    repository.git(&["switch", "--quiet", "change"]);
    for against in [&["plan"][..], &["plan", "--against", "origin/main"], &["plan", "tenants"]] {
        let plan = repository.run(against).expect_status(0).stdout;
        assert!(plan.contains("+ tenant stark: new") && plan.contains("has moved on"), "{plan}");
        assert!(!plan.contains("other: "), "neither new nor gone: {plan}");
        assert!(plan.contains("Tenants: 1 to create, 3 unchanged"), "{plan}");
    }
    let one = repository.run(&["plan", "tenants/acme.yaml"]).expect_status(0).stdout;
    assert!(one.contains("Nothing changes (1 tenant)"), "{one}");
}

#[test]
fn what_is_not_committed_yet_counts() {
    let repository = central();
    repository.write("tenants/acme.yaml", &tenant("acme").replace("acme@example.com", "new@example.com"));
    std::fs::remove_file(repository.path("tenants/beta.yaml")).unwrap();
    let plan = repository.run(&["plan", "."]).expect_status(0).stdout;
    assert!(plan.contains("~ contact    acme@example.com → new@example.com"), "{plan}");
    assert!(
        plan.contains("- tenant beta: retires") && plan.contains("1 to change, 1 to retire, 1 unchanged"),
        "{plan}"
    );
    let gone = repository.run(&["plan", "tenants/beta.yaml"]).expect_status(0).stdout;
    assert!(gone.contains("- tenant beta: retires") && !gone.contains("acme"), "{gone}");
}

#[test]
fn what_was_broken_where_the_branch_began_is_told_to_be_unknown() {
    let repository = central();
    repository.write("tenants/acme.yaml", &tenant("acme").replace("contact", "contcat"));
    repository.commit("break acme");
    repository.write("tenants/acme.yaml", &tenant("acme"));
    let plan = repository.run(&["plan", "--against", "HEAD"]).expect_status(0).stdout;
    assert!(
        plan.contains("~ tenant acme: changes") && plan.contains("Its file was invalid at HEAD"),
        "{plan}"
    );
}

#[test]
fn an_emptied_repository_is_held() {
    let repository = central();
    repository.git(&["rm", "-r", "--quiet", "tenants"]);
    repository.commit("remove everything");
    for path in [".", "tenants"] {
        let plan = repository.run(&["plan", path, "--output", "json"]).expect_status(1).stdout;
        let plan: Value = serde_json::from_str(&plan).unwrap();
        assert_eq!(plan["summary"]["hold"], 3, "{plan}");
        assert_eq!(plan["against"], "origin/main");
    }
}

#[test]
fn what_cannot_be_done_is_told_with_the_way_out() {
    let repository = central();
    let service = Repository::new();
    service.run(&["service", "new", "orders"]).expect_status(0);
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir(outside.path().join("tenants")).unwrap();
    std::fs::write(outside.path().join("tenants/acme.yaml"), tenant("acme")).unwrap();
    for (place, arguments, told) in [
        (repository.root(), &["plan", "--against", "origin/next"][..], "git fetch origin next"),
        (repository.root(), &["validate", "nowhere"], "cannot read nowhere"),
        (
            repository.root(),
            &["validate", "--platform", "nowhere.yaml"],
            "cannot read the platform's definitions in nowhere.yaml",
        ),
        (repository.root(), &["plan", "--against", "cluster"], "no cluster"),
        (repository.root(), &["validate", "--cluster", "--context", "x"], "no cluster"),
        (service.root(), &["plan"], "for a service use `kubectl imaas validate`"),
        (service.root(), &["validate", "--runtime", "mule", "--platform", "p.yaml"], "p.yaml"),
        (outside.path(), &["plan"], "is in no Git repository"),
        (outside.path(), &["tenant", "new", "beta", "-o", "x.yaml"], "must be named beta.yaml"),
        (outside.path(), &["frobnicate"], "unrecognized subcommand"),
    ] {
        let refused = support::run(place, arguments).expect_status(2);
        assert!(refused.stderr.contains(told), "{arguments:?}: {}", refused.stderr);
        assert_eq!(refused.stdout, "", "{arguments:?}");
    }
}

#[test]
fn a_service_repository_is_checked_as_its_runtime_would_run_it() {
    let repository = Repository::new();
    repository.git(&["remote", "set-url", "origin", "https://git.example.com/acme/integrations.git"]);
    let platform = root().join("tenants/platform.yaml").display().to_string();
    let new = repository
        .run(&["service", "new", "orders", "--runtime", "camel", "services/orders"])
        .expect_status(0);
    for line in [
        "repository: {url: \"https://git.example.com/acme/integrations.git\"}",
        "path: services/orders",
        "runtime: camel",
    ] {
        assert!(new.stdout.contains(line), "{line}: {}", new.stdout);
    }
    let validate = ["validate", ".", "--platform", &platform, "--runtime", "camel"];
    let told = repository.run(&validate).expect_status(0).stdout;
    assert!(
        told.starts_with("1 service descriptor") && told.ends_with("no problems\n"),
        "nothing is left out: {told}"
    );
    repository.run(&["service", "new", "billing", "--type", "batch", "services/billing"]).expect_status(0);
    let told = repository.run(&validate).expect_status(0).stdout;
    assert!(told.starts_with("2 service descriptors"), "{told}");
    let file = "services/orders/imaas.yaml";
    repository
        .write(file, &(repository.read(file) + "config: conf\nenvironments:\n  prd: {scaling: {min: 2}}\n"));
    let told = repository.run(&validate).expect_status(1).stdout;
    assert!(
        told.contains("config: there is no directory \"conf\"")
            && told.contains("there is no Environment \"prd\""),
        "{told}"
    );
}

#[test]
fn the_samples_of_this_project_have_no_problems() {
    let platform = root().join("tenants/platform.yaml").display().to_string();
    for (arguments, checked) in [
        (vec!["validate", "tenants"], "3 tenants, 4 services, beside tenants/platform.yaml: no problems\n"),
        (vec!["validate", "tenants/platform.yaml"], "3 Environments, 3 IntegrationRuntimes: no problems\n"),
        (
            vec!["validate", "examples/environments/three-stages.yaml"],
            "3 Environments, 0 IntegrationRuntimes: no problems\n",
        ),
        (
            vec!["validate", "examples/services/orders", "--platform", &platform, "--runtime", "camel"],
            "1 service descriptor, beside ",
        ),
        (
            vec![
                "validate",
                "examples/services/inventory",
                "--platform",
                &platform,
                "--runtime",
                "container",
            ],
            "1 service descriptor, beside ",
        ),
    ] {
        let told = support::run(&root(), &arguments).expect_status(0).stdout;
        assert!(told.starts_with(checked) && told.ends_with("no problems\n"), "{arguments:?}: {told}");
    }
}

#[test]
fn schemas_are_those_that_are_published() {
    for (kind, file) in
        [("tenant", "schemas/tenant.schema.json"), ("descriptor", "schemas/descriptor.schema.json")]
    {
        let printed = support::run(Path::new("."), &["schema", kind]).expect_status(0).stdout;
        assert_eq!(printed, std::fs::read_to_string(root().join(file)).unwrap());
    }
}

#[test]
fn what_a_file_is_called_hides_nothing_of_a_plan_and_steers_no_terminal() {
    let repository = central();
    repository.write("tenants/acme.yaml", &tenant("acme").replace("acme-leads", "evil"));
    repository.write("tenants/0`: held**\n\n## Nothing changes\n\n<!--.yaml", "x");
    repository.write("tenants/x\u{1b}[31m\n::stop-commands::x.yaml", "x");
    let hidden = |text: &str| {
        text.contains(['\u{1b}', '\u{200b}'])
            || text.lines().any(|line| line.starts_with(['#', '<', ':']) && !line.starts_with("### Tenants"))
    };
    for arguments in [
        &["plan", "--against", "main", "--output", "markdown"][..],
        &["plan", "--against", "main"],
        &["validate"],
        &["validate", "--output", "github"],
    ] {
        let told = repository.run(arguments).expect_status(1).stdout;
        let told = told.replace("::error file=", "");
        assert!(!hidden(&told) && told.contains("Nothing changes"), "{arguments:?}: {told}");
    }
    repository.commit("polluted");
    repository.git(&["switch", "--quiet", "--create", "next"]);
    let told = repository.run(&["plan", "--against", "change"]).expect_status(1).stdout;
    assert!(!told.contains("retires"), "a file that is no tenant's is none on either side: {told}");
}

#[test]
fn the_name_of_an_environment_alone_is_one_of_the_service_that_is_here() {
    let repository = Repository::new();
    repository.run(&["service", "new", "orders", "--runtime", "container"]).expect_status(0);
    let whole = repository.run(&["render", ".", "dev"]).expect_status(0).stdout;
    assert_eq!(repository.run(&["render", "dev"]).expect_status(0).stdout, whole);
    let told = repository.run(&["render", "no/such"]).expect_status(2).stderr;
    assert!(told.contains("cannot read no/such"), "{told}");
}
