//! The page, its files and the documentation.

use serde_json::Value;

use atelier_kit::Request;
use atelier_kit::fake::get;

use crate::fake::Script;

fn text(host: &crate::fake::Fake, path: &str) -> String {
    let response = host.browser().answer(get(path));
    assert_eq!(response.status, 200, "{path}");
    String::from_utf8(response.body).expect("text")
}

/// The names behind an attribute or keyword, in quotes.
fn named<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
}

#[test]
fn the_page_asks_for_nothing_that_is_not_here_and_all_of_it_is_small() {
    let host = Script::default().host();
    let page = text(&host, "/kuvagen/");
    let (mut open, mut seen, mut bytes) = (Vec::new(), Vec::<String>::new(), page.len());
    for mark in ["src=\"", "href=\""] {
        open.extend(named(&page, mark).filter(|name| name.starts_with("page/")).map(str::to_owned));
    }
    // the namespace of SVG is a name and no address
    let addresses = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!open.is_empty() && !addresses.contains("http:") && !addresses.contains("https:"));
    while let Some(file) = open.pop() {
        if seen.contains(&file) {
            continue;
        }
        let content = text(&host, &format!("/kuvagen/{file}"));
        bytes += content.len();
        open.extend(named(&content, "from \"./").map(|name| format!("page/{name}")));
        seen.push(file);
    }
    assert!(bytes < 200_000, "{bytes} bytes");
    assert!(!page.contains("<script>") && !page.contains("style=\""));
}

#[test]
fn the_page_is_sent_packed_and_once() {
    let host = Script::default().host();
    let ask = |path: &str, headers: &[(&str, &str)]| {
        host.browser().answer(Request { headers: headers.iter().copied().collect(), ..get(path) })
    };
    let page = text(&host, "/kuvagen/");
    let files = named(&page, "href=\"page/")
        .chain(named(&page, "src=\"page/"))
        .map(|name| format!("/kuvagen/page/{name}"));
    let mut bytes = 0;
    for path in files.chain(["/kuvagen/".to_owned()]) {
        let packed = ask(&path, &[("accept-encoding", "gzip, br")]);
        assert_eq!(packed.headers.get("content-encoding"), Some("gzip"), "{path}");
        assert_eq!(packed.headers.get("vary"), Some("accept-encoding"), "{path}");
        assert_eq!(packed.headers.get("cache-control"), Some("no-cache"), "{path}");
        bytes += packed.body.len();
        let tag = packed.headers.get("etag").expect("a tag").to_owned();
        let again = ask(&path, &[("if-none-match", tag.as_str())]);
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(ask(&path, &[("if-none-match", "\"of another version\"")]).status, 200, "{path}");
    }
    assert!(bytes < 50_000, "{bytes} bytes");
}

#[test]
fn every_script_is_known_before_another_asks_for_it() {
    let host = Script::default().host();
    let page = text(&host, "/kuvagen/");
    let early: Vec<&str> = named(&page, "modulepreload\" href=\"page/").collect();
    for script in early.iter().chain([&"app.js"]) {
        let content = text(&host, &format!("/kuvagen/page/{script}"));
        for name in named(&content, "from \"./") {
            assert!(early.contains(&name), "{script} asks for {name}");
        }
    }
}

#[test]
fn the_pages_policy_lets_nothing_else_in() {
    let response = Script::default().host().browser().answer(get("/kuvagen/"));
    let policy = response.headers.get("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
    assert!(!policy.contains("unsafe"));
}

#[test]
fn the_way_to_the_page_is_told() {
    let host = Script::default().host();
    for path in ["/", "/kuvagen"] {
        let mut request = get(path);
        request.headers = [("x-forwarded-prefix", "/studio")].into_iter().collect();
        let response = host.browser().answer(request);
        assert_eq!((response.status, response.headers.get("location")), (307, Some("/studio/kuvagen/")));
    }
}

#[test]
fn the_document_describes_every_path() {
    let host = Script::default().host();
    let document: Value = serde_json::from_str(&text(&host, "/openapi.json")).expect("json");
    for (path, method) in [
        ("/kuvagen/", "get"),
        ("/kuvagen/api/check_backend", "get"),
        ("/kuvagen/api/session_info", "get"),
        ("/kuvagen/process_command", "post"),
        ("/kuvagen/gallery", "get"),
        ("/kuvagen/images/{image}", "get"),
        ("/kuvagen/api/images/{image}", "delete"),
        ("/kuvagen/api/login", "post"),
    ] {
        assert!(document["paths"][path][method]["responses"]["4XX"].is_object(), "{path}");
    }
    assert!(document["paths"]["/kuvagen/"]["get"]["responses"]["304"].is_object());
    let form = &document["paths"]["/kuvagen/process_command"]["post"]["requestBody"]["content"]["multipart/form-data"];
    assert!(form["schema"]["properties"]["audio"].is_object());
    for path in ["/docs", "/redoc"] {
        text(&host, path);
    }
}
