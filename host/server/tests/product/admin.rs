//! The operators' address against strangers and operators: who may do what, keys that are made and revoked while the
//! host runs, the audit log, and the same by the verbs of the binary.

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use crate::client::{Answer, DEADLINE, get, send, with_method};
use crate::host::{Host, example};
use crate::operator::{Operator, admin_key, live};

const TENANT: &str = "[[tenant]]\nid = \"studio\"\n";

fn hello() -> Vec<u8> {
    example("any-component/hello-0.2", "hello_02.wasm")
}

/// A host with a tenant, and a route that wants its key.
async fn operator(tenant: &str) -> Operator {
    Operator::with(&hello(), "", &(tenant.to_owned() + &live("tenant = \"studio\""))).await
}

async fn with_key(host: &Host, key: &str) -> Answer {
    let request = Request::get("/").header("host", "test").header("x-api-key", key);
    send(host.edge, request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn without_the_key_nothing_is_shown_and_nothing_changes() {
    let operator = operator(TENANT).await;
    let paths = ["/v1/routes", "/v1/audit", "/v1/openapi.json", "/v1/nothing"];
    for path in paths {
        assert_eq!(get(operator.host.admin, path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    for (method, path) in [
        (Method::POST, "/v1/routes/live/versions"),
        (Method::POST, "/v1/routes/live/drain"),
        (Method::POST, "/v1/tenants/studio/keys"),
        (Method::DELETE, "/v1/queue/1"),
    ] {
        let answer = with_method(operator.host.admin, method, path).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::UNAUTHORIZED, "unauthorized"),
            "{path}"
        );
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    assert_eq!(operator.get("/v1/routes/live").await["closed"], false);
    assert_eq!(operator.get("/v1/audit").await["entries"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_wrong_key_is_not_called_a_missing_one() {
    let operator = operator(TENANT).await;
    let missing = get(operator.host.admin, "/v1/routes").await;
    assert!(missing.text().contains("key is wanted"), "{}", missing.text());
    let right = operator.key.clone();
    // another host's key, a slip, and something else
    let slip = format!("{}{}", &right[..right.len() - 1], if right.ends_with('0') { '1' } else { '0' });
    for (key, text) in [
        (admin_key().0, "this key opens nothing here"),
        (slip, "the key is mistyped"),
        ("letmein".to_owned(), "this is no key of this host"),
    ] {
        let request = Request::get("/v1/routes").header("host", "test");
        let request = request.header("authorization", format!("Bearer {key}")).body(Full::default()).unwrap();
        let answer = send(operator.host.admin, request).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.text().contains(text) && !answer.text().contains(&key), "{}", answer.text());
    }
}

#[tokio::test]
async fn every_operation_but_the_probes_wants_the_key() {
    let operator = operator(TENANT).await;
    let document = operator.get("/v1/openapi.json").await;
    let (mut open, mut closed) = (Vec::new(), 0);
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = with_method(operator.host.admin, method, &path.replace(['{', '}'], "")).await;
            if operation["security"].as_array().unwrap().is_empty() {
                open.push(path.as_str());
            } else {
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
                closed += 1;
            }
        }
    }
    assert_eq!(open, ["/health", "/ready", "/version"]);
    assert!(closed > 20, "{closed} operations");
    assert_eq!(operator.get("/v1/audit").await["entries"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_host_without_an_operators_key_can_be_looked_at_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("live.wasm"), hello()).unwrap();
    let host = Host::with(folder, Some(&live(""))).await;
    assert_eq!(get(host.admin, "/v1/routes").await.json()["routes"][0]["name"], "live");
    let refused = with_method(host.admin, Method::POST, "/v1/routes/live/drain").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "no_admin_key"));
    assert!(refused.text().contains("atelier admin key new"), "{}", refused.text());
    assert!(!host.folder.path().join(".atelier").exists(), "nothing is written before the first change");
}

#[tokio::test]
async fn a_key_made_at_run_time_opens_at_once_and_a_revoked_one_is_refused_at_once() {
    let operator = operator(TENANT).await;
    assert_eq!(operator.post("/v1/tenants/nobody/keys").await.code(), "no_tenant");
    let made = operator.post("/v1/tenants/studio/keys?name=laptop").await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let key = made.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(with_key(&operator.host, &key).await.status, StatusCode::OK);
    assert_eq!(operator.post("/v1/tenants/studio/keys?name=laptop").await.code(), "name_taken");
    assert_eq!(operator.post("/v1/tenants/studio/keys?name=a%20b").await.code(), "bad_parameter");
    let tenant = operator.get("/v1/tenants/studio").await;
    assert_eq!(
        (&tenant["keys"][0]["name"], &tenant["keys"][0]["source"]),
        (&"laptop".into(), &"minted".into())
    );
    let operator = operator.restarted(|_| {}).await;
    assert_eq!(with_key(&operator.host, &key).await.status, StatusCode::OK, "it survives a restart");
    let revoked = operator.ask(Method::DELETE, "/v1/tenants/studio/keys/laptop").await;
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.text());
    assert_eq!(with_key(&operator.host, &key).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(operator.ask(Method::DELETE, "/v1/tenants/studio/keys/laptop").await.code(), "no_key");
    let operator = operator.restarted(|_| {}).await;
    assert_eq!(with_key(&operator.host, &key).await.status, StatusCode::UNAUTHORIZED, "and so does that");
    no_secret_is_shown(&operator, &key).await;
}

async fn no_secret_is_shown(operator: &Operator, key: &str) {
    let secret = key.split('_').nth(2).unwrap();
    let admins = operator.key.split('_').nth(2).unwrap();
    let mut pages = vec![operator.host.log()];
    for path in ["/v1/status", "/v1/routes", "/v1/tenants", "/v1/tenants/studio", "/v1/audit", "/metrics"] {
        pages.push(operator.ask(Method::GET, path).await.text().to_owned());
    }
    for file in std::fs::read_dir(operator.host.folder.path().join(".atelier")).unwrap() {
        pages.push(String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()).into_owned());
    }
    assert!(pages.iter().all(|page| !page.contains(secret) && !page.contains(admins)));
    assert!(pages[5].contains("revokeKey"), "{}", pages[5]);
}

#[tokio::test]
async fn a_key_of_the_manifest_is_revoked_without_editing_it() {
    let output = crate::host::atelier(&std::env::temp_dir())
        .args(["tenant", "key", "new", "studio", "--name", "phone", "--json"])
        .output()
        .unwrap();
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let key = made["key"].as_str().unwrap();
    let operator = operator(&format!("{TENANT}keys = [{}]\n", made["manifest"].as_str().unwrap())).await;
    assert_eq!(with_key(&operator.host, key).await.status, StatusCode::OK);
    let revoked = operator.ask(Method::DELETE, "/v1/tenants/studio/keys/phone").await;
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.text());
    assert_eq!(with_key(&operator.host, key).await.status, StatusCode::UNAUTHORIZED);
    let operator = operator.restarted(|_| {}).await;
    assert_eq!(with_key(&operator.host, key).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_with_who_what_and_how_it_went() {
    let operator = operator(TENANT).await;
    operator.post("/v1/routes/live/drain").await;
    operator.post("/v1/routes/live/rollback?to=99").await;
    operator.post("/v1/tenants/studio/keys?name=laptop").await;
    operator.get("/v1/routes").await;
    let entries = operator.get("/v1/audit").await["entries"].clone();
    let seen: Vec<(&str, u64)> = entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["operation"].as_str().unwrap(), entry["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(seen, [("mintKey", 201), ("rollbackRoute", 404), ("drainRoute", 200)]);
    assert_eq!(
        (&entries[1]["by"], &entries[1]["target"]),
        (&"admin".into(), &"/v1/routes/live/rollback?to=99".into())
    );
    assert!(entries[1]["error"].as_str().unwrap().contains("no version 99"), "{entries:#}");
    assert!(entries[0]["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(operator.get("/v1/audit?limit=1").await["entries"].as_array().unwrap().len(), 1);
    for limit in ["0", "1001", "many"] {
        let answer = operator.ask(Method::GET, &format!("/v1/audit?limit={limit}")).await;
        assert_eq!(answer.code(), "bad_parameter", "{limit}");
    }
}

#[tokio::test]
async fn operators_with_keys_of_their_own_are_told_apart() {
    let output = crate::host::atelier(&std::env::temp_dir())
        .args(["admin", "key", "new", "--name", "ann", "--json"])
        .output()
        .unwrap();
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys = format!("admin-keys = [{}]", made["manifest"].as_str().unwrap());
    let first = Operator::with(&hello(), &keys, &live("")).await;
    assert_eq!(first.post("/v1/routes/live/drain").await.status, StatusCode::OK);
    let ann = Operator { key: made["key"].as_str().unwrap().to_owned(), ..first };
    assert_eq!(ann.post("/v1/routes/live/resume").await.status, StatusCode::OK);
    let entries = ann.get("/v1/audit").await["entries"].clone();
    assert_eq!((&entries[0]["by"], &entries[1]["by"]), (&"ann".into(), &"admin".into()));
}

#[tokio::test]
async fn an_operators_key_is_exchanged_without_a_restart_and_the_last_one_stays() {
    let leaked = Operator::with(&hello(), "", &live("")).await;
    let (key, line) = admin_key();
    leaked.host.put("atelier.toml", format!("[server]\n{line}\n{}", live("")).as_bytes());
    let end = Instant::now() + DEADLINE;
    while leaked.ask(Method::GET, "/v1/routes").await.status != StatusCode::UNAUTHORIZED {
        assert!(Instant::now() < end, "the old key still opens");
        sleep(Duration::from_millis(20)).await;
    }
    let refused = leaked.post("/v1/routes/live/drain").await;
    assert_eq!(refused.code(), "unauthorized", "{}", refused.text());
    let operator = Operator { key, ..leaked };
    assert_eq!(operator.post("/v1/routes/live/drain").await.status, StatusCode::OK);
    assert_eq!(operator.get("/v1/status").await["reload"]["restart_needed"], serde_json::json!([]));
    // a manifest that lost the line opens nothing
    operator.host.put("atelier.toml", live("").as_bytes());
    let end = Instant::now() + DEADLINE;
    while !operator.host.log().contains("names no operators' key any more") {
        assert!(Instant::now() < end, "never said");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(get(operator.host.admin, "/v1/routes").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(operator.get("/v1/status").await["reload"]["restart_needed"][0], "[server]");
}

#[tokio::test]
async fn a_host_that_keeps_nothing_refuses_changes_and_names_the_key() {
    let rest = "[store]\ndata-dir = \"off\"\n".to_owned() + &live("");
    let operator = Operator::with(&hello(), "", &rest).await;
    let refused = operator.post("/v1/routes/live/drain").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "store"));
    assert!(refused.text().contains("store.data-dir"), "{}", refused.text());
}

#[tokio::test]
async fn the_verbs_do_what_the_address_does() {
    let operator = operator(TENANT).await;
    let folder = operator.host.folder.path().to_owned();
    std::fs::write(folder.join("next.wasm"), example("any-component/hello-0.3", "hello_03.wasm")).unwrap();
    assert_eq!(operator.printed(&["audit"]).await, "nobody has changed anything on this host\n");
    let told = operator.printed(&["component", "upload", "live", "next.wasm"]).await;
    assert_eq!(told, "live: version 2 is serving\n");
    let listed = operator.printed(&["component", "list", "live"]).await;
    assert!(
        listed.contains("serving") && listed.contains("upload to component") && !listed.contains('\x1b'),
        "{listed}"
    );
    assert_eq!(operator.printed(&["component", "rollback", "live"]).await, "live: version 1 is serving\n");
    assert_eq!(
        operator.printed(&["component", "promote", "live", "2"]).await,
        "live: version 2 is serving\n"
    );
    let routes = operator.printed(&["route", "list"]).await;
    assert!(routes.starts_with("live  /  version 2"), "{routes}");
    assert!(operator.printed(&["route", "drain", "live"]).await.contains("takes no requests"));
    assert!(operator.printed(&["route", "resume", "live"]).await.contains("version 2"));
    let made =
        operator.printed(&["tenant", "key", "new", "studio", "--name", "tablet", "--apply", "--json"]).await;
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(with_key(&operator.host, made["key"].as_str().unwrap()).await.status, StatusCode::OK);
    assert!(operator.printed(&["tenant", "list"]).await.contains("studio  share 1  tablet"));
    assert_eq!(
        operator.printed(&["tenant", "key", "revoke", "studio", "tablet"]).await,
        "tablet is revoked\n"
    );
    assert_eq!(
        with_key(&operator.host, made["key"].as_str().unwrap()).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(operator.printed(&["queue", "list"]).await, "nothing waits and nothing runs\n");
    let audit = operator.printed(&["audit", "--limit", "2"]).await;
    assert!(
        audit.lines().count() == 2 && audit.contains("revokeKey") && audit.contains("mintKey"),
        "{audit}"
    );
    let audit: Value = serde_json::from_str(&operator.printed(&["audit", "--json"]).await).unwrap();
    assert_eq!(audit["entries"][0]["operation"], "revokeKey");
    verbs_that_fail_say_why(&operator).await;
}

#[tokio::test]
async fn the_verbs_load_and_pin_models_and_say_what_is_in_memory() {
    let nano = "[[model]]\nid = \"nano\"\nsource = \"builtin:atelier-nano\"\n".to_owned() + &live("");
    let operator = Operator::with(&hello(), "", &nano).await;
    let status = operator.printed(&["models", "status"]).await;
    assert!(status.starts_with("nano  unloaded  ") && status.contains("MB  never used\n"), "{status}");
    assert!(status.ends_with(" MB\n") && status.contains("models take 0.0 MB"), "{status}");
    let loaded = operator.printed(&["models", "load", "nano"]).await;
    assert!(loaded.starts_with("nano  loaded  ") && loaded.ends_with(" s ago\n"), "{loaded}");
    assert!(operator.printed(&["models", "pin", "nano"]).await.starts_with("nano  loaded, pinned  "));
    let output = operator.verb(&["models", "unload", "nano"]).await;
    assert!(String::from_utf8(output.stderr).unwrap().contains("`nano` is pinned; unpin it first"));
    assert!(operator.printed(&["models", "unpin", "nano"]).await.starts_with("nano  loaded  "));
    let unloaded = operator.printed(&["models", "unload", "nano", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&unloaded).unwrap()["state"], "unloaded");
    let output = operator.verb(&["models", "load", "other"]).await;
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no model `other`; known: nano"));
}

async fn verbs_that_fail_say_why(operator: &Operator) {
    for (arguments, code, text) in [
        (&["queue", "cancel", "none"][..], 1, "there is no job `none`"),
        (&["component", "rollback", "live", "--to", "9"], 1, "no version 9"),
        (&["component", "upload", "live", "nowhere.wasm"], 1, "nowhere.wasm"),
        (&["route", "list", "--admin", "https://127.0.0.1:1"], 2, "--admin wants"),
        (&["route", "list", "--admin", "http://127.0.0.1:1"], 1, "cannot reach a host"),
    ] {
        let output = operator.verb(arguments).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.starts_with("error: ") && error.contains(text), "{arguments:?}: {error}");
    }
}
