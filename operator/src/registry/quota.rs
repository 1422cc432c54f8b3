//! How much of the registry a tenant may use, what it is told of it, and what the token service is told. Pure.
//!
//! Counting is eventual, so a quota is too: it ends the next push, not the one that goes over it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::usage::{Usage, rounded};
use crate::{
    api::{Quantity, RegistryUsage, Tenant},
    conditions::{Claim, PUSH_ALLOWED, Reason},
};

/// What the platform gives each tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageBounds {
    /// For a tenant that asks for nothing; none means no quota.
    pub default: Option<Quantity>,
    /// The most that a tenant may ask for; without it, the default is the most.
    pub max: Option<Quantity>,
}

impl StorageBounds {
    /// What `usage` of `tenant` is, against what it may be. Who asks for more than the max has the max. A max of its own
    /// counts instead of everybody's, and bounds the default too.
    pub fn judged(&self, tenant: &Tenant, usage: &Usage) -> RegistryUsage {
        let asked = tenant.spec.registry.as_ref().and_then(|registry| registry.storage.clone());
        let own = tenant.spec.limits.as_ref().and_then(|limits| limits.registry.as_ref());
        let max = own.map(|own| &own.storage).or(self.max.as_ref()).or(self.default.as_ref());
        let is_above = |asked: &&Quantity| max.is_some_and(|max| asked.millis() > max.millis());
        let above = asked.as_ref().filter(is_above).cloned();
        let wanted = asked.as_ref().or(self.default.as_ref());
        let quota = if wanted.as_ref().is_some_and(is_above) { max } else { wanted };
        // A bound of its own is one also where nobody has any.
        let quota = quota.or(own.map(|own| &own.storage)).cloned();
        let Usage { bytes, images, repositories, uncounted } = usage;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        RegistryUsage {
            used: rounded(*bytes),
            quota,
            asked: above,
            images: number(*images),
            repositories: number(*repositories),
            uncounted: uncounted.as_ref().map(ToString::to_string),
            removable: None,
        }
    }
}

/// Whether the tenant may push, for its status.
pub fn claim(usage: &RegistryUsage) -> Claim {
    let RegistryUsage { used, quota, asked, images, repositories: _, uncounted, removable: _ } = usage;
    let (used, is_over) = (&used.0, usage.is_over());
    let mut message = match quota {
        Some(quota) => format!("{images} images take {used} of {}", quota.0),
        None => format!("{images} images take {used}"),
    };
    if let Some(uncounted) = uncounted {
        message += ", and not all is counted: ";
        message += uncounted;
    }
    if let (Some(asked), Some(quota)) = (asked, quota) {
        let more =
            format!("; spec.registry.storage asks for {}, and the platform's max is {}", asked.0, quota.0);
        message.push_str(&more);
    }
    if is_over {
        message += match uncounted {
            Some(_) => "; pushes are refused until then",
            None => ": pushes are refused until retention made room or spec.registry.storage is raised",
        };
    }
    let reason = if is_over { Reason::QuotaExceeded } else { Reason::Succeeded };
    Claim { type_: PUSH_ALLOWED, status: !is_over, reason, message }
}

/// The tenants that may not push now, as the token service reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OverQuota(BTreeMap<String, Excess>);

/// By how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess {
    /// Such as `21504Mi`.
    pub used: String,
    /// Such as `20Gi`.
    pub quota: String,
    /// What is not counted, and what helps: then the rest does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncounted: Option<String>,
}

/// As the one is told who pushes.
impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used, quota, uncounted } = self;
        match uncounted {
            Some(uncounted) => {
                write!(f, "are not all counted: {uncounted}; pushes are refused until then")
            }
            None => write!(
                f,
                "take {used} of {quota}: pushes are refused until retention made room or the tenant's quota is raised (spec.registry.storage in its file)"
            ),
        }
    }
}

impl OverQuota {
    /// Adds `tenant`, where its images take more than they may.
    pub fn add(&mut self, tenant: &str, usage: &RegistryUsage) {
        if let Some(quota) = usage.quota.as_ref().filter(|_| usage.is_over()) {
            let (used, quota) = (usage.used.0.clone(), quota.0.clone());
            let excess = Excess { used, quota, uncounted: usage.uncounted.clone() };
            self.0.insert(tenant.to_owned(), excess);
        }
    }

    /// By how much `tenant` is over; none where it may push.
    pub fn of(&self, tenant: &str) -> Option<&Excess> {
        self.0.get(tenant)
    }

    /// How many tenants these are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::usage::{Cut, Uncounted};

    fn tenant(registry: &str) -> Tenant {
        let yaml = format!(
            "{{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {{name: acme}}, spec: {{{registry}}}}}"
        );
        serde_saphyr::from_str(&yaml).unwrap()
    }

    fn quantity(text: &str) -> Quantity {
        Quantity(text.to_owned())
    }

    fn mebibytes(mebibytes: u64) -> Usage {
        Usage { bytes: mebibytes << 20, images: 3, repositories: 1, uncounted: None }
    }

    #[test]
    fn a_tenant_has_the_default_or_what_it_asks_for_up_to_the_max() {
        let quota = |default: Option<&str>, max: Option<&str>, asked: &str| {
            let bounds = StorageBounds { default: default.map(quantity), max: max.map(quantity) };
            let usage = bounds.judged(&tenant(asked), &mebibytes(1));
            (usage.quota.map(|quota| quota.0), usage.asked.map(|asked| asked.0))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(quota(Some("20Gi"), Some("100Gi"), ""), (some("20Gi"), None));
        assert_eq!(quota(Some("20Gi"), Some("100Gi"), "registry: {storage: 1Gi}"), (some("1Gi"), None));
        assert_eq!(quota(Some("20Gi"), Some("100Gi"), "registry: {storage: 100Gi}"), (some("100Gi"), None));
        assert_eq!(
            quota(Some("20Gi"), Some("100Gi"), "registry: {storage: 1Ti}"),
            (some("100Gi"), some("1Ti"))
        );
        assert_eq!(quota(Some("20Gi"), None, "registry: {storage: 21Gi}"), (some("20Gi"), some("21Gi")));
        assert_eq!(quota(None, None, ""), (None, None));
        assert_eq!(quota(None, None, "registry: {storage: 5Gi}"), (some("5Gi"), None));
    }

    #[test]
    fn a_max_of_its_own_counts_instead_of_everybodys_and_bounds_the_default_too() {
        let quota = |bounds: [Option<&str>; 2], asked: &str| {
            let [default, max] = bounds.map(|bound| bound.map(quantity));
            let usage = StorageBounds { default, max }.judged(&tenant(asked), &mebibytes(1));
            (usage.quota.map(|quota| quota.0), usage.asked.map(|asked| asked.0))
        };
        let some = |text: &str| Some(text.to_owned());
        let (usual, more, less) = (
            [Some("20Gi"), Some("100Gi")],
            "limits: {registry: {storage: 500Gi}}",
            "limits: {registry: {storage: 5Gi}}",
        );
        assert_eq!(quota(usual, more), (some("20Gi"), None), "nothing is given that nobody asked for");
        let asked = |storage: &str, limits: &str| format!("registry: {{storage: {storage}}}, {limits}");
        assert_eq!(quota(usual, &asked("400Gi", more)), (some("400Gi"), None));
        assert_eq!(quota(usual, &asked("1Ti", more)), (some("500Gi"), some("1Ti")));
        assert_eq!(quota(usual, &asked("6Gi", less)), (some("5Gi"), some("6Gi")));
        assert_eq!(quota(usual, less), (some("5Gi"), None));
        assert_eq!(quota([Some("20Gi"), None], &asked("30Gi", more)), (some("30Gi"), None));
        assert_eq!(quota([None, None], more), (some("500Gi"), None));
        assert_eq!(quota([None, None], &asked("1Ti", more)), (some("500Gi"), some("1Ti")));
    }

    #[test]
    fn what_is_over_may_not_push_and_what_is_full_may() {
        let bounds = StorageBounds { default: Some(quantity("20Mi")), max: Some(quantity("30Mi")) };
        let mut over = OverQuota::default();
        for (name, mebibytes_used, cut, is_over) in
            [("full", 20, false, false), ("over", 21, false, true), ("cut", 1, true, true)]
        {
            let uncounted = cut.then_some(Uncounted::Cut(Cut::Repositories));
            let usage = bounds.judged(&tenant(""), &Usage { uncounted, ..mebibytes(mebibytes_used) });
            let claim = claim(&usage);
            assert_eq!((usage.is_over(), claim.status), (is_over, !is_over), "{name}");
            assert_eq!(claim.message.contains("pushes are refused"), is_over, "{}", claim.message);
            over.add(name, &usage);
        }
        let uncounted = Some(Uncounted::Cut(Cut::Repositories));
        let unbounded =
            StorageBounds::default().judged(&tenant(""), &Usage { uncounted, ..mebibytes(1 << 20) });
        over.add("unbounded", &unbounded);
        let json = serde_json::to_string(&over).unwrap();
        let why = "there are more than 5000 repositories: the platform team deletes what is too much";
        let cut = format!(r#"{{"used":"1Mi","quota":"20Mi","uncounted":"{why}"}}"#);
        assert_eq!(json, format!(r#"{{"cut":{cut},"over":{{"used":"21Mi","quota":"20Mi"}}}}"#));
        assert_eq!(serde_json::from_str::<OverQuota>(&json).unwrap(), over);
        let told = format!("are not all counted: {why}; pushes are refused until then");
        assert_eq!(over.of("cut").unwrap().to_string(), told);
    }

    #[test]
    fn who_asks_for_more_than_there_is_is_told() {
        let bounds = StorageBounds { default: Some(quantity("20Mi")), max: Some(quantity("30Mi")) };
        let usage = bounds.judged(&tenant("registry: {storage: 1Gi}"), &mebibytes(3));
        assert_eq!(
            claim(&usage).message,
            "3 images take 3Mi of 30Mi; spec.registry.storage asks for 1Gi, and the platform's max is 30Mi"
        );
    }
}
