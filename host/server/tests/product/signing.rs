//! Components of strangers are believed by their signatures alone: made by the binary or by openssl, checked at each load,
//! under keys that change while the host runs.

use std::path::Path;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::client::get;
use crate::host::{Host, atelier, example};
use crate::operator::{Operator, admin_key};

const HELLO_2: &str = "hello from wasi:http 0.2\n";
const HELLO_3: &str = "hello from wasi:http 0.3\n";

fn run(folder: &Path, arguments: &[&str]) -> Output {
    atelier(folder).args(["component"]).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Makes a key in `<name>.pem`; answers its line for the manifest.
fn new_key(folder: &Path, name: &str) -> String {
    let made = run(folder, &["key", "new", "--name", name, "--json"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    made["manifest"].as_str().unwrap().to_owned()
}

fn sign(folder: &Path, file: &str, key: &str) {
    let signed = run(folder, &["sign", file, "--key", &format!("{key}.pem")]);
    assert!(signed.status.success(), "{}", text(&signed.stderr));
}

fn manifest(signing: &str) -> String {
    format!(
        "{signing}\n[[route]]\nname = \"live\"\npath = \"/\"\ncomponent = \"live.wasm\"\n[[route]]\nname = \"own\"\n\
         path = \"/own\"\ncomponent = \"builtin:prompt-assist\"\ngrants = {{ models = [\"atelier-nano\"], outbound = \
         [\"http://127.0.0.1:1\"] }}\n[[model]]\nid = \"atelier-nano\"\nsource = \"builtin:atelier-nano\"\n"
    )
}

fn keys(lines: &[&str]) -> String {
    manifest(&format!("[signing]\nkeys = [{}]", lines.join(", ")))
}

/// What is said of the route that does not load; what answered before still does.
async fn refused(host: &Host, answer: &str, why: &str) {
    let told =
        |status: &serde_json::Value| status["routes"][0]["error"].as_str().unwrap_or_default().to_owned();
    host.until(why, |status| told(status).contains(why)).await;
    assert_eq!(get(host.edge, "/").await.text(), answer);
}

async fn loaded(host: &Host, answer: &str) {
    host.until("loaded", |status| status["routes"][0]["error"].is_null()).await;
    assert_eq!(get(host.edge, "/").await.text(), answer);
}

#[tokio::test]
async fn a_component_is_loaded_when_a_key_of_the_manifest_signed_these_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (release, other) = (new_key(folder.path(), "release"), new_key(folder.path(), "other"));
    let (two, three) = (
        example("any-component/hello-0.2", "hello_02.wasm"),
        example("any-component/hello-0.3", "hello_03.wasm"),
    );
    std::fs::write(folder.path().join("live.wasm"), &two).unwrap();
    sign(folder.path(), "live.wasm", "release");
    let host = Host::with(folder, Some(&keys(&[&release]))).await;
    let folder = host.folder.path().to_path_buf();
    loaded(&host, HELLO_2).await;
    // other bytes under the old signature, as of a byte that was changed after signing
    let mut changed = two.clone();
    changed.extend([0, 2, 1, b'x']);
    host.put("live.wasm", &changed);
    refused(&host, HELLO_2, "was signed by none of signing.keys (release), or was changed since").await;
    // a key that the manifest does not know, and then does
    host.put("live.wasm", &three);
    sign(&folder, "live.wasm", "other");
    refused(&host, HELLO_2, "was signed by none of signing.keys (release)").await;
    host.put("atelier.toml", keys(&[&release, &other]).as_bytes());
    loaded(&host, HELLO_3).await;
    // no signature, and what is none
    host.put("live.wasm.sig", b"short");
    refused(&host, HELLO_3, "live.wasm.sig is no signature: Ed25519 makes 64 bytes").await;
    std::fs::remove_file(folder.join("live.wasm.sig")).unwrap();
    host.put("live.wasm", &two);
    refused(&host, HELLO_3, "is not signed: there is no").await;
    // and when nobody asks any more
    host.put("atelier.toml", manifest("").as_bytes());
    loaded(&host, HELLO_2).await;
    let status = host.status().await;
    assert!(status["routes"][1]["error"].is_null(), "what the binary carries needs no signature: {status:#}");
}

#[tokio::test]
async fn where_signatures_are_not_required_one_that_is_there_must_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let release = new_key(folder.path(), "release");
    std::fs::write(folder.path().join("live.wasm"), example("any-component/hello-0.2", "hello_02.wasm"))
        .unwrap();
    let manifest = keys(&[&release]).replace("[signing]", "[signing]\nrequired = false");
    let host = Host::with(folder, Some(&manifest)).await;
    loaded(&host, HELLO_2).await;
    host.put("live.wasm.sig", &[7; 64]);
    host.put("live.wasm", &example("any-component/hello-0.3", "hello_03.wasm"));
    refused(&host, HELLO_2, "was signed by none").await;
    sign(host.folder.path(), "live.wasm", "release");
    loaded(&host, HELLO_3).await;
}

/// An operator of a host with these keys, whose `live.wasm` is signed with `release`.
async fn operator(folder: tempfile::TempDir, lines: &[&str]) -> Operator {
    std::fs::write(folder.path().join("live.wasm"), example("any-component/hello-0.2", "hello_02.wasm"))
        .unwrap();
    std::fs::write(folder.path().join("next.wasm"), example("any-component/hello-0.3", "hello_03.wasm"))
        .unwrap();
    sign(folder.path(), "live.wasm", "release");
    let (key, line) = admin_key();
    let signing = if lines.is_empty() { manifest("") } else { keys(lines) };
    let manifest = format!("[server]\n{line}\n{signing}");
    Operator { host: Host::with(folder, Some(&manifest)).await, key }
}

/// The manifest again, under other keys.
fn believe(operator: &Operator, lines: &[&str]) {
    let old = std::fs::read_to_string(operator.host.folder.path().join("atelier.toml")).unwrap();
    let server: Vec<&str> = old.lines().take(2).collect();
    operator.host.put("atelier.toml", format!("{}\n{}", server.join("\n"), keys(lines)).as_bytes());
}

fn in_base64(file: &Path) -> String {
    STANDARD.encode(std::fs::read(file).unwrap())
}

#[tokio::test]
async fn an_upload_is_taken_when_a_key_of_the_manifest_signed_these_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let release = new_key(folder.path(), "release");
    let operator = operator(folder, &[&release]).await;
    let folder = operator.host.folder.path().to_owned();
    let next = std::fs::read(folder.join("next.wasm")).unwrap();
    let refused = operator.upload(&next, "").await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "component_refused"));
    assert!(refused.text().contains("was uploaded without a signature"), "{}", refused.text());
    // a signature of other bytes: nothing of these is parsed, so it is not said that they are no component
    let of_live = in_base64(&folder.join("live.wasm.sig"));
    for bytes in [&next[..], b"no component"] {
        let refused = operator.upload_signed(bytes, &of_live).await;
        assert!(
            refused.text().contains("was signed by none of signing.keys (release)"),
            "{}",
            refused.text()
        );
    }
    for (wrong, why) in [("%", "is not base64"), ("AAAA", "is no Ed25519 signature of 64 bytes")] {
        let refused = operator.upload_signed(&next, wrong).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "bad_signature"));
        assert!(refused.text().contains(why), "{}", refused.text());
    }
    assert_eq!(get(operator.host.edge, "/").await.text(), HELLO_2);
    sign(&folder, "next.wasm", "release");
    let taken = operator.upload_signed(&next, &in_base64(&folder.join("next.wasm.sig"))).await;
    assert_eq!(taken.status.as_u16(), 201, "{}", taken.text());
    assert_eq!(get(operator.host.edge, "/").await.text(), HELLO_3);
}

#[tokio::test]
async fn an_upload_whose_key_is_gone_loads_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (release, other) = (new_key(folder.path(), "release"), new_key(folder.path(), "other"));
    let operator = operator(folder, &[&release, &other]).await;
    sign(operator.host.folder.path(), "next.wasm", "other");
    // the verb sends what lies beside the file
    assert_eq!(
        operator.printed(&["component", "upload", "live", "next.wasm"]).await,
        "live: version 2 is serving\n"
    );
    let operator = operator.restarted(|_| {}).await;
    assert_eq!(get(operator.host.edge, "/").await.text(), HELLO_3, "it is checked again, and holds");
    believe(&operator, &[&release]);
    let is_told = |route: &serde_json::Value| route["error"].to_string().contains("was signed by none");
    operator.until("told", is_told).await;
    assert_eq!(get(operator.host.edge, "/").await.text(), HELLO_3, "what runs is not stopped");
    let operator = operator.restarted(|_| {}).await;
    assert_eq!(get(operator.host.edge, "/").await.text(), HELLO_2, "the manifest's own answers");
    assert!(is_told(&operator.get("/v1/routes/live").await));
    let refused = operator.post("/v1/routes/live/versions/2/promote").await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "component_refused"));
    believe(&operator, &[&release, &other]);
    operator.until("believed", |route| route["error"].is_null()).await;
    assert_eq!(operator.post("/v1/routes/live/versions/2/promote").await.json()["state"], "serving");
    assert_eq!(get(operator.host.edge, "/").await.text(), HELLO_3);
}

#[tokio::test]
async fn a_signature_that_nobody_asked_for_counts_when_somebody_does() {
    let folder = tempfile::tempdir().unwrap();
    let release = new_key(folder.path(), "release");
    let operator = operator(folder, &[]).await;
    sign(operator.host.folder.path(), "next.wasm", "release");
    operator.printed(&["component", "upload", "live", "next.wasm"]).await;
    let before = operator.get("/v1/routes/live").await["deployment"]["generation"].clone();
    believe(&operator, &[&release]);
    let route = operator.until("checked", |route| route["deployment"]["generation"] != before).await;
    assert!(route["error"].is_null(), "{route:#}");
    let operator = operator.restarted(|_| {}).await;
    assert_eq!(get(operator.host.edge, "/").await.text(), HELLO_3);
}

fn openssl(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "openssl {arguments:?}: {}", text(&output.stderr));
    output.stdout
}

#[test]
fn openssl_makes_keys_and_signatures_that_hold_and_believes_ours() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("a.wasm"), example("any-component/hello-0.2", "hello_02.wasm")).unwrap();
    openssl(folder, &["genpkey", "-algorithm", "ed25519", "-out", "theirs.pem"]);
    openssl(
        folder,
        &["pkeyutl", "-sign", "-rawin", "-inkey", "theirs.pem", "-in", "a.wasm", "-out", "a.wasm.sig"],
    );
    let public = openssl(folder, &["pkey", "-in", "theirs.pem", "-pubout"]);
    let public = text(&public).lines().nth(1).unwrap();
    let verified = run(folder, &["verify", "a.wasm", "--public-key", public]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    let theirs = std::fs::read(folder.join("a.wasm.sig")).unwrap();
    // the same key in our hands signs the same
    sign(folder, "a.wasm", "theirs");
    assert_eq!(std::fs::read(folder.join("a.wasm.sig")).unwrap(), theirs);
    new_key(folder, "ours");
    sign(folder, "a.wasm", "ours");
    let check =
        ["pkeyutl", "-verify", "-rawin", "-inkey", "ours.pem", "-in", "a.wasm", "-sigfile", "a.wasm.sig"];
    openssl(folder, &check);
    let verified = run(folder, &["verify", "a.wasm", "--public-key", public]);
    assert_eq!(verified.status.code(), Some(1));
    assert!(text(&verified.stderr).contains("was signed by none"), "{}", text(&verified.stderr));
}

#[test]
fn a_key_is_private_and_never_written_over() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    new_key(folder, "mine");
    let key = folder.join("mine.pem");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&key).unwrap();
    let again = run(folder, &["key", "new", "--name", "mine"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("mine.pem"), "{}", text(&again.stderr));
    assert_eq!(std::fs::read(&key).unwrap(), before);
    std::fs::write(folder.join("note.txt"), "no component").unwrap();
    let signed = run(folder, &["sign", "note.txt", "--key", "mine.pem"]);
    assert_eq!(signed.status.code(), Some(1));
    assert!(!folder.join("note.txt.sig").exists());
}
