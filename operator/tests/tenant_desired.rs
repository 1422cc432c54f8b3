//! The objects of a tenant, as they were reviewed: one sample tenant in two environments, every object in full.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed; clippy only exempts #[test] bodies")]

use imaas_operator::{
    api::{Environment, Quantity, Quota, Tenant, tenant::EnvironmentOverride},
    environment::{Checked, check},
    names,
    registry::{
        accounts::AccountKey,
        generations::{Generations, Issued},
    },
    tenant::{
        desired::{Access, Children, DockerConfigs, Operator, Own, desired, kept, own},
        validate::{ValidTenant, access, validate},
    },
};
use k8s_openapi::{
    api::{networking::v1::NetworkPolicy, rbac::v1::RoleBinding},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::ResourceExt;
use serde_json::Value;

const ENVIRONMENTS: &str = r#"
- apiVersion: imaas.dev/v1alpha1
  kind: Environment
  metadata: {name: dev}
  spec:
    default: true
    quota: {default: {cpu: "2", memory: 4Gi, pods: 30}}
- apiVersion: imaas.dev/v1alpha1
  kind: Environment
  metadata: {name: prod}
  spec:
    default: true
    promotesFrom: dev
    quota: {default: {cpu: "4", memory: 8Gi, pods: 40}, max: {cpu: "16", memory: 32Gi, pods: 100}}
    roles: {developer: viewer}
    networks:
      - name: internet
        default: true
        cidrs: [0.0.0.0/0, "::/0"]
        except: [10.0.0.0/8, 169.254.0.0/16, "fc00::/7"]
      - {name: erp, cidrs: [10.20.0.0/16], ports: [443, 8443]}
"#;

const TENANT: &str = r#"
apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata: {name: acme, generation: 7, annotations: {imaas.dev/origin: central}}
spec:
  contact: integrations@acme.example
  members:
    - {kind: Group, name: acme-leads, role: owner}
    - {kind: User, name: jo@acme.example, role: developer}
    - {kind: ServiceAccount, name: ci, namespace: pipelines, role: developer}
  environments:
    prod: {quota: {cpu: "8", memory: 16Gi}}
  services:
    - name: orders
      repository: {url: "https://git.example.com/acme/orders.git", credentials: orders-git}
      runtime: wso2-mi
    - name: billing
      repository: {url: "https://git.example.com/acme/billing.git"}
      path: services/billing
      runtime: camel
      branches: {prod: release}
"#;

fn environments() -> Checked {
    let list: Vec<Environment> = serde_saphyr::from_str(ENVIRONMENTS).unwrap();
    check(&list)
}

fn acme() -> ValidTenant {
    let tenant: Tenant = serde_saphyr::from_str(TENANT).unwrap();
    validate(&tenant, &environments()).unwrap()
}

fn children(tenant: &ValidTenant) -> Vec<Children> {
    let operator = Operator { namespace: "imaas-system", service_account: "imaas-operator" };
    let issued = Issued { key: AccountKey::new([7; 32]).unwrap(), generations: Generations::default() };
    let logins = DockerConfigs::new(&issued, "registry.example.com", &tenant.name).unwrap();
    desired(tenant, &operator, &logins)
}

/// Every object, as YAML would be sent.
fn objects(children: Children) -> Vec<Value> {
    let Children { access, limits, quota, networks, secrets, services } = children;
    let Access { namespace, operator, members, no_members: _ } = access;
    let mut all = vec![value(namespace), value(operator), value(quota)];
    all.extend(limits.map(value));
    all.extend(networks.into_iter().map(value));
    all.extend(secrets.into_iter().map(value));
    all.extend(members.into_iter().map(value));
    all.extend(services.into_iter().map(value));
    all
}

fn value(object: impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

#[test]
fn the_objects_are_what_was_reviewed() {
    for space in children(&acme()) {
        let name = space.access.namespace.name_any();
        insta::assert_yaml_snapshot!(name, objects(space));
    }
    let Own { role, binding } = own(&acme());
    insta::assert_yaml_snapshot!("acme-own", [value(role), value(binding)]);
}

#[test]
fn a_second_computation_gives_the_same_objects() {
    assert_eq!(children(&acme()), children(&acme()));
}

#[test]
fn the_order_of_members_and_services_in_the_file_makes_no_difference() {
    let mut tenant: Tenant = serde_saphyr::from_str(TENANT).unwrap();
    tenant.spec.members.reverse();
    tenant.spec.services.reverse();
    let reversed = validate(&tenant, &environments()).unwrap();
    assert_eq!((children(&reversed), own(&reversed)), (children(&acme()), own(&acme())));
}

#[test]
fn a_role_that_nobody_has_is_named_for_removal() {
    let all = children(&acme());
    let [home, _, prod] = &all[..] else { panic!("home, dev, prod") };
    assert_eq!(home.access.no_members, ["imaas-viewer"]);
    assert_eq!(prod.access.no_members, ["imaas-developer"], "a developer is a viewer there");
}

#[test]
fn every_environment_is_closed_and_no_policy_opens_to_all_namespaces() {
    for space in children(&acme()) {
        let policies = &space.networks;
        assert!(policies.iter().any(closes), "{}", space.access.namespace.name_any());
        let text = serde_json::to_string(policies).unwrap();
        assert!(!text.contains(r#""namespaceSelector":{}"#), "{text}");
        for policy in policies {
            let spec = policy.spec.as_ref().unwrap();
            assert!(spec.ingress.is_none(), "what comes in is opened by a service's own policy");
            for rule in spec.egress.iter().flatten() {
                assert!(rule.to.as_ref().is_some_and(|to| !to.is_empty()), "no `to` means everywhere");
            }
        }
    }
}

fn closes(policy: &NetworkPolicy) -> bool {
    let spec = policy.spec.clone().unwrap_or_default();
    spec.pod_selector.is_none_or(|selector| selector == LabelSelector::default())
        && spec.policy_types.unwrap_or_default() == ["Ingress", "Egress"]
        && spec.ingress.is_none()
        && spec.egress.is_none()
}

#[test]
fn no_object_has_an_owner_and_every_object_says_whose_it_is() {
    for space in children(&acme()) {
        let namespace = space.access.namespace.name_any();
        for object in objects(space) {
            let metadata = &object["metadata"];
            assert_eq!(metadata["ownerReferences"], Value::Null);
            assert_eq!(metadata["labels"][names::MANAGED_BY], names::MANAGER);
            assert_eq!(metadata["labels"][names::TENANT], "acme");
            assert!(metadata["labels"][names::ENVIRONMENT].is_string());
            assert!(metadata["namespace"] == Value::Null || metadata["namespace"] == namespace.as_str());
        }
    }
}

#[test]
fn only_the_operator_itself_is_bound_to_its_role() {
    for space in children(&acme()) {
        assert_eq!(space.access.operator.role_ref.name, names::OPERATOR_ROLE);
        let subjects = value(&space.access.operator.subjects);
        assert_eq!(
            subjects,
            serde_json::json!([{ "kind": "ServiceAccount", "name": "imaas-operator", "namespace": "imaas-system" }])
        );
        for binding in &space.access.members {
            assert!(binding.role_ref.name.starts_with("imaas-tenant-"), "{}", binding.role_ref.name);
        }
    }
}

#[test]
fn who_gets_into_what_is_left_follows_the_file_and_the_role_map_there() {
    let operator = Operator { namespace: "imaas-system", service_account: "imaas-operator" };
    let list: Vec<Environment> =
        serde_saphyr::from_str(&ENVIRONMENTS.replace("cidrs: [10.20.0.0/16]", "cidrs: [wrong]")).unwrap();
    let environments = check(&list);
    assert!(environments.named("prod").unwrap().is_err());
    let namespaces = ["acme-gone", "acme-home", "acme-prod"].map(str::to_owned);
    let told: Vec<_> = kept(&acme(), &environments, &operator, &namespaces)
        .into_iter()
        .map(|access| {
            let subjects = |binding: &RoleBinding| binding.subjects.as_ref().map_or(0, Vec::len);
            let members = access.members.iter().map(|b| format!("{}: {}", b.name_any(), subjects(b)));
            (
                access.namespace.name_any(),
                members.collect::<Vec<_>>().join(", "),
                access.no_members.join(", "),
            )
        })
        .collect();
    let told: Vec<_> =
        told.iter().map(|(n, some, none)| (n.as_str(), some.as_str(), none.as_str())).collect();
    assert_eq!(
        told,
        [
            ("acme-gone", "imaas-viewer: 3", "imaas-owner, imaas-developer"),
            ("acme-home", "imaas-owner: 1, imaas-developer: 2", "imaas-viewer"),
            ("acme-prod", "imaas-owner: 1, imaas-viewer: 2", "imaas-developer"),
        ]
    );
}

#[test]
fn another_mistake_in_the_file_keeps_nobodys_access() {
    let mut tenant: Tenant = serde_saphyr::from_str(TENANT).unwrap();
    let quota = Some(Quota { cpu: Some(Quantity("0".into())), ..Quota::default() });
    tenant
        .spec
        .environments
        .insert("prod".into(), EnvironmentOverride { quota, ..EnvironmentOverride::default() });
    assert!(validate(&tenant, &environments()).is_err());
    let known = access(&tenant).unwrap();
    assert_eq!((known.members.clone(), known.environments.len()), (acme().members, 0));

    let mut twice = tenant.spec.members[0].clone();
    twice.role = imaas_operator::api::Role::Viewer;
    tenant.spec.members[1].name = "system:masters".into();
    tenant.spec.members.push(twice);
    let told: Vec<_> = access(&tenant)
        .unwrap()
        .members
        .into_iter()
        .map(|m| format!("{} {}", m.name, m.role.as_str()))
        .collect();
    assert_eq!(told, ["ci developer", "acme-leads viewer"], "a wrong line gives nothing, and two the lesser");
    tenant.metadata.name = Some("kube-system".into());
    assert!(access(&tenant).is_none());
}
