//! What becomes of what is no longer in Git, in words. Pure. What the operator does of the rules in docs/design.md (Plan
//! and Retirement). Every sentence about that stands here.

use imaas_operator::{names::CONFIRM_REMOVAL, source::held::Held, tenant::retire::HeldParts};

/// What happens. The periods are the operator's own settings, which nobody can read from a cluster.
const STAGES: &str = "It serves on, marked Orphaned, and the platform team is told; then it is scaled to zero; then it is removed with all that it has. Each stage ends after the period that the platform has set (24 h and 72 h by default)";

/// Of a tenant whose file is gone.
pub fn tenant() -> String {
    format!("{STAGES}. Put the file back before the end to undo it.")
}

/// Of services and environments that a tenant file no longer names.
pub fn part() -> String {
    format!("{STAGES}. Put the lines back before the end to undo it.")
}

/// Of a tenant among too many that are gone.
pub const HELD: &str =
    "Its file is gone with those of too many others: it serves on, unmarked, until somebody confirms.";

/// Too many tenants are gone at once to be meant. `source`: its name, where that is known.
pub fn held_tenants(held: &Held, of: usize, source: Option<&str>) -> String {
    let confirm = confirm("tsrc", source.unwrap_or("<TenantSource>"), &held.confirmation);
    format!(
        "{} of {of} tenants are gone at once, and held: {}. All serve on, the TenantSource stalls with that, and everything else goes on. If it was not meant, put the files back; if it is, the platform team confirms exactly this set: {confirm}{}",
        held.tenants.len(),
        held.doubt,
        if source.is_some() {
            "."
        } else {
            " (where others are gone already, the status of the TenantSource says another hash)."
        },
    )
}

/// Too much of one tenant is gone at once to be meant. `is_exact`: are its environments known?
pub fn held_services(tenant: &str, held: &HeldParts, is_exact: bool) -> String {
    let confirm = if is_exact {
        confirm("tn", tenant, &held.confirmation)
    } else {
        "the command is in the status of the Tenant".to_owned()
    };
    format!(
        "{} of {} running services (each counted in each environment) are gone at once, more than anybody means: all serve on. If it was not meant, put the lines back; if it is, the platform team confirms exactly this set: {confirm}.",
        held.gone, held.of
    )
}

fn confirm(kind: &str, name: &str, hash: &str) -> String {
    format!("`kubectl annotate {kind} {name} {CONFIRM_REMOVAL}={hash} --overwrite`")
}

/// It is marked already.
pub fn already(since: &str) -> String {
    format!("It is marked as gone already, since {since}.")
}

/// It was marked, and its file is back.
pub const BACK: &str = "Its file is back, so it is an orphan no more: it stays with all that it has, nothing is made anew, and what was scaled to zero starts again.";

/// Of services and environments that a tenant file names again before they were removed.
pub const RETURNS: &str = "What comes back was to go and is still there: it stays with all that it has, nothing is made anew, and what was scaled to zero starts again.";

/// A tenant under another name.
pub fn renamed_tenant(old: &str, new: &str) -> String {
    format!(
        "{old} → {new}: this is a retirement and an onboarding, not a rename. {new} begins empty (new namespaces, Secrets, registry area and addresses), and {old} is scaled to zero and removed with what it has. To keep it, keep the name."
    )
}

/// A service under another name, or another tenant.
pub fn renamed_service(old: &str, new: &str) -> String {
    format!(
        "{old} → {new} has the same repository: this is a retirement and an onboarding, not a rename. {new} begins without releases, images and history, under another address, and {old} is scaled to zero and removed. To keep it, keep the name."
    )
}
