//! What kube-proxy and CNI write into the host's packet filter, and how it goes away again.
use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::process;

const FAMILIES: [&str; 2] = ["iptables", "ip6tables"];

/// The chains of Kubernetes and CNI that are there now, as `family table chain`.
pub(crate) fn chains() -> BTreeSet<String> {
    FAMILIES.iter().flat_map(|family| chains_in(family, &saved(family))).collect()
}

/// Removes those chains of Kubernetes and CNI, and the rules that lead to them, that are not in `before`.
pub(crate) fn remove_chains_since(before: &BTreeSet<String>) -> anyhow::Result<()> {
    for family in FAMILIES {
        let saved = saved(family);
        let added: BTreeSet<String> = chains_in(family, &saved).difference(before).cloned().collect();
        if !added.is_empty() {
            restore(family, &without(family, &saved, &added))?;
        }
    }
    Ok(())
}

fn saved(family: &str) -> String {
    process::run(&mut Command::new(format!("{family}-save"))).unwrap_or_default()
}

fn restore(family: &str, rules: &str) -> anyhow::Result<()> {
    let program = format!("{family}-restore");
    let mut child =
        Command::new(&program).stdin(Stdio::piped()).spawn().with_context(|| format!("start {program}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(rules.as_bytes()).with_context(|| format!("feed {program}"))?;
    }
    if !child.wait()?.success() {
        bail!("{program} refused the rules without those of the lab");
    }
    Ok(())
}

fn chains_in(family: &str, saved: &str) -> BTreeSet<String> {
    let mut table = "";
    let mut found = BTreeSet::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        }
        let chain = line.strip_prefix(':').and_then(|rest| rest.split(' ').next());
        if let Some(chain) = chain.filter(|chain| chain.starts_with("KUBE-") || chain.starts_with("CNI-")) {
            found.insert(format!("{family} {table} {chain}"));
        }
    }
    found
}

/// The saved rules without the named chains, their rules and the jumps to them.
fn without(family: &str, saved: &str, removed: &BTreeSet<String>) -> String {
    let mut table = "";
    let mut kept = String::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        }
        let gone = |chain: &str| removed.contains(&format!("{family} {table} {chain}"));
        let words: Vec<&str> = line.split(' ').collect();
        let after = |flag: &str| words.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1]);
        let declared = line.strip_prefix(':').and_then(|rest| rest.split(' ').next());
        let named = [declared, after("-A"), after("-j"), after("-g")];
        if !named.into_iter().flatten().any(gone) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_kubernetes_chains_go_with_the_rules_that_lead_to_them() {
        let before = "*nat\n:PREROUTING ACCEPT [0:0]\n:CNI-OLD - [0:0]\n:DOCKER - [0:0]\n\
                      -A PREROUTING -j DOCKER\n-A PREROUTING -j CNI-OLD\nCOMMIT\n";
        let now = "*nat\n:PREROUTING ACCEPT [0:0]\n:CNI-OLD - [0:0]\n:DOCKER - [0:0]\n:KUBE-SERVICES - [0:0]\n\
                   -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
                   -A PREROUTING -j DOCKER\n-A PREROUTING -j CNI-OLD\n\
                   -A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-1\nCOMMIT\n";
        let added: BTreeSet<String> =
            chains_in("iptables", now).difference(&chains_in("iptables", before)).cloned().collect();
        assert_eq!(without("iptables", now, &added), before);
    }

    #[test]
    fn the_same_chain_of_another_table_stays() {
        let saved = "*filter\n:KUBE-A - [0:0]\nCOMMIT\n*nat\n:KUBE-A - [0:0]\nCOMMIT\n";
        let removed = BTreeSet::from(["iptables nat KUBE-A".to_owned()]);
        assert_eq!(without("iptables", saved, &removed), "*filter\n:KUBE-A - [0:0]\nCOMMIT\n*nat\nCOMMIT\n");
    }
}
