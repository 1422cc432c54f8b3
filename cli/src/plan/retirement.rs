//! What becomes of what is no longer in Git, in words. Pure. The rules are the operator's (docs/design.md, Plan and Retirement);
//! every sentence about them stands here.

/// The stages. Nothing is deleted before the last.
const STAGES: &str = "It serves on for 24 h and the platform team is told (Orphaned), then stands at zero instances for 72 h (Retiring), then it is removed with all that is in it";

/// Of a tenant whose file is gone.
pub fn tenant() -> String {
    format!("{STAGES}. Put the file back to undo it, at any stage.")
}

/// Of services and environments that a tenant file no longer names.
pub fn part() -> String {
    format!("Nothing that retires is deleted at once. {STAGES}. Put the lines back to undo it, at any stage.")
}

/// Of a tenant among too many that are gone.
pub const HELD: &str =
    "Its file is gone with those of too many others: it keeps what it has until somebody confirms that.";

/// Too many tenants are gone at once to be meant.
pub fn held_tenants(gone: usize, of: usize) -> String {
    format!(
        "{gone} of {of} tenants are gone at once, so nothing retires until the platform team confirms it (annotation imaas.dev/confirm-removal on the TenantSource). Everything else goes on. If it was not meant, put the files back."
    )
}

/// Too much of one tenant is gone at once to be meant.
pub fn held_services(gone: usize, of: usize) -> String {
    format!(
        "{gone} of {of} running services (each counted in each environment) are gone at once, so none of them retires until the platform team confirms it (annotation imaas.dev/confirm-removal on the Tenant). If it was not meant, put the lines back."
    )
}

/// It is marked already.
pub fn already(since: &str) -> String {
    format!("It is marked as gone already, since {since}.")
}

/// It was marked, and its file is back.
pub const BACK: &str = "Its file is back, so its retirement ends.";

/// A tenant under another name.
pub fn renamed_tenant(old: &str, new: &str) -> String {
    format!(
        "{old} → {new} looks like a rename, and there is none: {new} begins empty (new namespaces, Secrets, registry area and addresses), and {old} retires with what it has. To keep it, keep the name."
    )
}

/// A service under another name, or another tenant.
pub fn renamed_service(old: &str, new: &str) -> String {
    format!(
        "{old} → {new} has the same repository, but is not the same service: {new} begins without releases, images and history, under another address, and {old} retires. To keep it, keep the name."
    )
}
