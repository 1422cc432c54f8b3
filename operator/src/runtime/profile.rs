//! The profile of a runtime for a version. Pure.

use kube::ResourceExt;
use semver::{Version, VersionReq};

use crate::api::{IntegrationRuntime, RuntimeProfile};

/// Why a runtime cannot run a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProfile {
    /// The descriptor's version is not one.
    #[error("runtimeVersion: {0:?} is not a version such as \"4.4\" or \"4.4.0\"")]
    NotAVersion(String),
    /// No range holds it.
    #[error("runtimeVersion: runtime {runtime} has no profile for {version}; it has {ranges}")]
    NoRange {
        /// Name of the runtime.
        runtime: String,
        /// What was asked for.
        version: String,
        /// What there is.
        ranges: String,
    },
}

/// The first profile whose `versions` holds `version`; without a version, the first of all.
///
/// `"4"` is 4.0.0 and `"4.4"` is 4.4.0. A pre-release (`4.4.0-rc1`) fits only a range that names one, as in Cargo.
pub fn profile<'a>(
    runtime: &'a IntegrationRuntime,
    version: Option<&str>,
) -> Result<&'a RuntimeProfile, NoProfile> {
    let profiles = &runtime.spec.profiles;
    let asked = version.map(|text| full_version(text).ok_or_else(|| NoProfile::NotAVersion(text.to_owned())));
    let asked = asked.transpose()?;
    let fits = |profile: &&RuntimeProfile| match &asked {
        None => true,
        Some(asked) => VersionReq::parse(&profile.versions).is_ok_and(|range| range.matches(asked)),
    };
    profiles.iter().find(fits).ok_or_else(|| NoProfile::NoRange {
        runtime: runtime.name_any(),
        version: version.unwrap_or("no version").to_owned(),
        ranges: profiles.iter().map(|p| p.versions.as_str()).collect::<Vec<_>>().join(" | "),
    })
}

/// `4` → 4.0.0, `4.4` → 4.4.0; what is more than numbers must be full already.
fn full_version(text: &str) -> Option<Version> {
    let numbers = text.split('.').count();
    let padded = match numbers {
        1 => format!("{text}.0.0"),
        2 => format!("{text}.0"),
        _ => text.to_owned(),
    };
    Version::parse(&padded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::IntegrationRuntimeSpec;

    fn runtime(ranges: &[&str]) -> IntegrationRuntime {
        let profiles = ranges
            .iter()
            .map(|range| RuntimeProfile { versions: (*range).to_owned(), ..RuntimeProfile::default() })
            .collect();
        IntegrationRuntime::new("mi", IntegrationRuntimeSpec { profiles })
    }

    fn chosen(ranges: &[&str], version: Option<&str>) -> Result<String, NoProfile> {
        profile(&runtime(ranges), version).map(|profile| profile.versions.clone())
    }

    #[test]
    fn the_first_range_that_holds_the_version_is_taken() {
        let ranges = [">=4.2", ">=1.1, <4.2"];
        for (version, range) in [
            (None, 0),
            (Some("4.4"), 0),
            (Some("4.2.0"), 0),
            (Some("4"), 1),
            (Some("4.1"), 1),
            (Some("1.1.0"), 1),
        ] {
            assert_eq!(chosen(&ranges, version).unwrap(), ranges[range], "{version:?}");
        }
    }

    #[test]
    fn a_version_that_no_range_holds_is_told_with_the_ranges() {
        let told = chosen(&[">=4.2", "4.1"], Some("3")).unwrap_err().to_string();
        assert_eq!(told, "runtimeVersion: runtime mi has no profile for 3; it has >=4.2 | 4.1");
    }

    #[test]
    fn what_is_not_a_version_is_told() {
        for bad in ["", "latest", "4.x", "v4.4", "4.4.0.1", "04.1"] {
            assert_eq!(chosen(&["*"], Some(bad)), Err(NoProfile::NotAVersion(bad.into())), "{bad}");
        }
    }
}
