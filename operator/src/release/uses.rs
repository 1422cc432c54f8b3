//! The services that a release calls, and the addresses that it is told. Pure.

use super::{render::Input, render_error::RenderError};
use crate::{
    api::{Port, ReleaseUse, Use},
    names,
};

/// The services that are called, each with its port.
pub(super) fn uses(input: &Input) -> Result<Vec<ReleaseUse>, RenderError> {
    let one = |(index, (used, port)): (usize, (&Use, &Port))| {
        let refused = |problem: String| Err(RenderError::Use { index, problem });
        if used.tenant.as_deref() == Some(input.tenant) {
            return refused(format!("tenant: {} is the own tenant: remove `tenant`", input.tenant));
        }
        if used.tenant.is_none() && used.service == input.service {
            return refused(format!("service: {} is this service itself: remove the entry", input.service));
        }
        if input.settings.env.contains_key(&used.variable) {
            let variable = &used.variable;
            return refused(format!("as: {variable} stands in `env`, too: give one of them another name"));
        }
        Ok(ReleaseUse { tenant: used.tenant.clone(), service: used.service.clone(), port: port.clone() })
    };
    input.settings.uses.iter().zip(input.called).enumerate().map(one).collect()
}

/// Variable → address, for each of `uses`.
pub(super) fn addresses(input: &Input, uses: &[ReleaseUse]) -> Vec<(String, String)> {
    let one = |(asked, used): (&Use, &ReleaseUse)| {
        let tenant = used.tenant.as_deref().unwrap_or(input.tenant);
        let namespace = names::environment_namespace(tenant, input.environment);
        (asked.variable.clone(), format!("http://{}.{namespace}.svc:{}", used.service, used.port.port))
    };
    input.settings.uses.iter().zip(uses).map(one).collect()
}
