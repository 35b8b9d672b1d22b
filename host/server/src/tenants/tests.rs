//! Who gets in, who does not, and what is left of the headers.

use atelier_inference::metrics::Labelled;
use atelier_inference::{Priority, TenantId};
use http::HeaderMap;

use super::{Denied, Directory};
use crate::config::{Access, ApiKey, Quotas, Route, Tenant};
use crate::failure::Refusal;
use crate::keys::Key;
use crate::metrics::TenantCounts;

fn id(text: &str) -> TenantId {
    TenantId::new(text).unwrap()
}

fn tenant(name: &str, keys: &[&Key]) -> Tenant {
    let key = |(index, key): (usize, &&Key)| ApiKey { name: format!("key-{index}"), hash: key.hash() };
    let keys = keys.iter().enumerate().map(key).collect();
    Tenant { id: id(name), share: 1, priority: Priority::Normal, quotas: Quotas::default(), keys }
}

fn counts() -> Labelled<TenantCounts> {
    Labelled::new(8)
}

fn route(owner: Option<&str>, access: Access) -> Route {
    Route { tenant: owner.map(id), access, ..Route::for_tests("r", "/") }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

/// Who is let in and by which key; or why not.
fn ask(directory: &Directory, route: &Route, headers: &mut HeaderMap) -> Result<(String, bool), Refusal> {
    let caller = directory.admit(route, headers)?;
    Ok((caller.member.tenant.id.to_string(), caller.may_enter))
}

#[test]
fn a_key_opens_its_tenants_routes_and_routes_of_nobody_and_hides_the_others() {
    let (a, b) = (Key::mint("a"), Key::mint("b"));
    let directory = Directory::new(&[tenant("a", &[&a]), tenant("b", &[&b])], &[], None, &counts());
    let bearer = format!("Bearer {}", a.reveal());
    for given in [("authorization", bearer.as_str()), ("x-api-key", a.reveal())] {
        let with = || headers(&[given]);
        let own = route(Some("a"), Access::Key);
        assert_eq!(ask(&directory, &own, &mut with()), Ok(("a".into(), true)));
        let any = route(None, Access::Key);
        assert_eq!(ask(&directory, &any, &mut with()), Ok(("a".into(), true)));
        let other = route(Some("b"), Access::Key);
        assert_eq!(ask(&directory, &other, &mut with()), Ok(("a".into(), false)));
    }
}

#[test]
fn what_opens_nothing_is_told_apart_for_the_log() {
    let (a, revoked) = (Key::mint("a"), Key::mint("a"));
    let directory = Directory::new(&[tenant("a", &[&a])], &[], None, &counts());
    let slip = a.reveal().replace("atl_a", "atl_b");
    let basic = "Basic YTpi";
    let cases: [(&[(&'static str, &str)], Denied); 6] = [
        (&[], Denied::Missing),
        (&[("authorization", basic)], Denied::Form),
        (&[("x-api-key", "sk-123")], Denied::Form),
        (&[("x-api-key", &slip)], Denied::Mistyped),
        (&[("x-api-key", revoked.reveal())], Denied::Unknown),
        (&[("x-api-key", a.reveal()), ("authorization", a.reveal())], Denied::Several),
    ];
    for (pairs, denied) in cases {
        let mut headers = headers(pairs);
        let told = ask(&directory, &route(None, Access::Key), &mut headers);
        assert_eq!(told, Err(Refusal::Unauthorized(denied)));
        assert!(headers.is_empty(), "{denied:?}");
    }
}

#[test]
fn an_open_route_goes_to_its_owners_account_and_else_to_nobodys() {
    let directory = Directory::new(&[tenant("a", &[])], &[route(None, Access::Open)], None, &counts());
    let nothing = || HeaderMap::new();
    assert_eq!(ask(&directory, &route(Some("a"), Access::Open), &mut nothing()), Ok(("a".into(), true)));
    assert_eq!(ask(&directory, &route(None, Access::Open), &mut nothing()), Ok(("default".into(), true)));
    let shares: Vec<u32> = directory.members().map(|member| member.runtime.share.total).collect();
    assert_eq!(shares, [2, 2]);
}

#[test]
fn a_key_never_reaches_a_component_and_a_components_own_credentials_do() {
    let key = Key::mint("a");
    let directory = Directory::new(&[tenant("a", &[&key])], &[], None, &counts());
    let open = route(None, Access::Open);
    let mut own = headers(&[("authorization", "Bearer of-the-component"), ("x-api-key", "mine")]);
    ask(&directory, &open, &mut own).unwrap();
    assert_eq!(own.len(), 2);
    let mut ours = headers(&[("authorization", key.reveal()), ("x-api-key", "mine")]);
    ask(&directory, &open, &mut ours).unwrap();
    assert_eq!((ours.len(), ours.contains_key("x-api-key")), (1, true));
}

#[test]
fn a_tenant_without_keys_closes_its_routes() {
    let key = Key::mint("a");
    let route = route(Some("a"), Access::Key);
    let before = Directory::new(&[tenant("a", &[&key])], &[], None, &counts());
    let after = Directory::new(&[tenant("a", &[])], &[], Some(&before), &counts());
    let mut with = headers(&[("x-api-key", key.reveal())]);
    assert_eq!(ask(&after, &route, &mut with), Err(Refusal::Unauthorized(Denied::Unknown)));
}

#[test]
fn a_reload_keeps_the_accounts() {
    let limited = |burst| Tenant {
        quotas: Quotas { requests_per_second: Some(1), burst: Some(burst), ..Quotas::default() },
        ..tenant("a", &[])
    };
    let before = Directory::new(&[limited(1)], &[], None, &counts());
    let member = |directory: &Directory| directory.members().next().unwrap().clone();
    member(&before).begin().unwrap();
    let after = Directory::new(&[limited(1)], &[], Some(&before), &counts());
    assert!(matches!(member(&after).begin(), Err(Refusal::OverQuota(_))), "the burst is used");
    assert_eq!(member(&after).usage().requests, 1);
    let wider = Directory::new(&[limited(3)], &[], Some(&after), &counts());
    assert!(member(&wider).begin().is_ok(), "a wider quota holds at once");
}
