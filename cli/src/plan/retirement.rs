//! What becomes of what is no longer in Git, in words. Pure. What the operator does of the rules in docs/design.md (Plan
//! and Retirement) today: it marks, tells and serves on. Every sentence about that stands here.

/// What happens.
const ORPHANED: &str =
    "It serves on, marked Orphaned, and the platform team is told: the operator removes nothing by itself";

/// Of a tenant whose file is gone.
pub fn tenant() -> String {
    format!("{ORPHANED}. Put the file back to undo it.")
}

/// Of services and environments that a tenant file no longer names.
pub fn part() -> String {
    format!("{ORPHANED}. Put the lines back to undo it.")
}

/// Of a tenant among too many that are gone.
pub const HELD: &str =
    "Its file is gone with those of too many others: it serves on, and the TenantSource stalls with that.";

/// Too many tenants are gone at once to be meant.
pub fn held_tenants(gone: usize, of: usize) -> String {
    format!(
        "{gone} of {of} tenants are gone at once, more than anybody means: all serve on, the TenantSource stalls with that, and everything else goes on. If it was not meant, put the files back."
    )
}

/// Too much of one tenant is gone at once to be meant.
pub fn held_services(gone: usize, of: usize) -> String {
    format!(
        "{gone} of {of} running services (each counted in each environment) are gone at once, more than anybody means: all serve on. If it was not meant, put the lines back."
    )
}

/// It is marked already.
pub fn already(since: &str) -> String {
    format!("It is marked as gone already, since {since}.")
}

/// It was marked, and its file is back.
pub const BACK: &str = "Its file is back, so it is an orphan no more.";

/// A tenant under another name.
pub fn renamed_tenant(old: &str, new: &str) -> String {
    format!(
        "{old} → {new} looks like a rename, and there is none: {new} begins empty (new namespaces, Secrets, registry area and addresses), and {old} is left behind with what it has. To keep it, keep the name."
    )
}

/// A service under another name, or another tenant.
pub fn renamed_service(old: &str, new: &str) -> String {
    format!(
        "{old} → {new} has the same repository, but is not the same service: {new} begins without releases, images and history, under another address, and {old} is left behind. To keep it, keep the name."
    )
}
