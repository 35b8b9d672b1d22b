//! Whose pictures are whose, and what becomes of them.

use serde_json::{Value, json};

use atelier_kit::Request;
use atelier_kit::fake::get;

use crate::fake::{Browser, Fake, Script};

/// Makes a picture and gives its name.
fn make(browser: &Browser<'_>, what: &str) -> String {
    let (status, done) = browser.command(&format!("create {what}"));
    assert_eq!(status, 200, "{done}");
    done["image"]["name"].as_str().expect("a name").to_owned()
}

fn names(gallery: &Value) -> Vec<String> {
    let images = gallery["images"].as_array().expect("a list").iter();
    images.map(|image| image["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn pictures_come_back_the_newest_first_with_their_files() {
    let host = Script::default().host();
    let browser = host.browser();
    let (first, second) = (make(&browser, "a boat"), make(&browser, "a house"));
    let (_, gallery) = browser.get("/kuvagen/gallery");
    assert_eq!((names(&gallery), &gallery["current"]), (vec![second.clone(), first], &json!(second)));
    let image = &gallery["images"][0];
    assert_eq!(image["url"], format!("images/{second}"));
    let file = browser.answer(get(&format!("/kuvagen/{}", image["url"].as_str().expect("a path"))));
    assert_eq!(
        (file.body.as_slice(), file.headers.get("content-type")),
        (&b"webp a house"[..], Some("image/webp"))
    );
    assert_eq!(file.headers.get("content-disposition"), None);
    let small = browser.answer(get(&format!("/kuvagen/{}", image["thumbnail"].as_str().expect("a path"))));
    assert_eq!(small.body, b"webp a house in 256");
    let saved = browser
        .answer(Request { query: Some("download".into()), ..get(&format!("/kuvagen/images/{second}")) });
    let disposition = format!("attachment; filename=\"{second}\"");
    assert_eq!(saved.headers.get("content-disposition"), Some(disposition.as_str()));
}

#[test]
fn another_visitor_sees_nothing_of_it() {
    let host = Script::default().host();
    let (mine, other) = (host.browser(), host.browser_at("192.0.2.2"));
    let name = make(&mine, "a boat");
    other.get("/kuvagen/api/session_info");
    assert_eq!(names(&other.get("/kuvagen/gallery").1), Vec::<String>::new());
    for path in [format!("/kuvagen/images/{name}"), format!("/kuvagen/images/thumbnails/{name}")] {
        assert_eq!(other.get(&path).0, 404);
    }
    let mut delete = get(&format!("/kuvagen/api/images/{name}"));
    delete.method = "DELETE".into();
    assert_eq!(other.answer(delete.clone()).status, 404);
    assert_eq!(other.post("/kuvagen/api/current", &json!({"image": name})).0, 404);
    let events = other.events(&[("text", "make it night"), ("image", &name)]);
    assert_eq!(events.last().map(|(name, _)| name.as_str()), Some("error"));
    // the first visitor's own is untouched
    assert_eq!(mine.get("/kuvagen/gallery").1["current"], json!(name));
    assert_eq!(mine.answer(delete).status, 204);
    assert_eq!(mine.get(&format!("/kuvagen/images/{name}")).0, 404);
    assert!(host.memory.objects.borrow().is_empty());
}

#[test]
fn a_cookie_that_nobody_signed_is_nobodys() {
    let host = Script::default().host();
    let browser = host.browser();
    let name = make(&browser, "a boat");
    let cookie = browser.cookie.borrow().clone().expect("a cookie");
    let (owner, _) = cookie.split_once('.').expect("a seal");
    let forger = host.browser_at("192.0.2.9");
    for forged in [format!("{owner}.{}", "0".repeat(64)), owner.to_owned(), "voice_studio=".into()] {
        forger.cookie.replace(Some(forged));
        assert_eq!(forger.get(&format!("/kuvagen/images/{name}")).0, 404);
    }
}

#[test]
fn a_picture_is_chosen_and_goes_on_from_there() {
    let host = Script::default().host();
    let browser = host.browser();
    let (first, second) = (make(&browser, "a boat"), make(&browser, "a house"));
    assert_eq!(
        browser.post("/kuvagen/api/current", &json!({"image": first})),
        (200, json!({"current": first}))
    );
    assert_eq!(browser.command("make it night").1["image"]["parent"], json!(first));
    browser.command("back");
    assert_eq!(browser.command("back").1["current"], json!(second));
}

fn limited(limit: &str) -> Fake {
    Script::default().with_config("MAX_IMAGES_WITHOUT_LOGIN", limit).host()
}

#[test]
fn the_limit_counts_the_place_and_not_the_cookie() {
    let host = limited("2");
    let browser = host.browser();
    make(&browser, "a boat");
    browser.cookie.replace(None);
    make(&browser, "a house");
    let (status, answer) = browser.command("create a tree");
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("image_limit")));
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("2 images")));
    // going back needs no pictures, and neither does another place
    assert_eq!(browser.command("back").0, 422);
    make(&host.browser_at("192.0.2.2"), "a tree");
    let (_, info) = browser.get("/kuvagen/api/session_info");
    assert_eq!(
        (&info["image_count"], &info["image_limit"], &info["images_left"]),
        (&json!(2), &json!(2), &json!(0))
    );
}

#[test]
fn pictures_that_do_not_come_about_are_not_counted() {
    let host = Script { stored_bytes: 40, ..Script::default() }.host();
    let browser = host.browser();
    make(&browser, "a boat");
    let (status, answer) = browser.command("create a house");
    assert_eq!((status, &answer["error"]["code"]), (507, &json!("storage_full")));
    assert_eq!(browser.get("/kuvagen/api/session_info").1["image_count"], 1);
    assert_eq!(host.memory.objects.borrow().len(), 2, "nothing is left of the second");
}

#[test]
fn whoever_only_looks_leaves_nothing_behind() {
    let host = Script::default().host();
    for agent in ["one", "another", "a third"] {
        let browser = host.browser();
        browser.agent.set(agent);
        assert_eq!(browser.get("/kuvagen/api/session_info").1["image_count"], 0);
        browser.get("/kuvagen/gallery");
    }
    assert!(host.memory.values.borrow().keys().all(|(_, key)| key == "secret"));
}

#[test]
fn nothing_is_drawn_for_a_gallery_that_is_full() {
    let host = Script::default().with_config("MAX_IMAGES_WITHOUT_LOGIN", "1000").host();
    let browser = host.browser();
    (0..400).for_each(|_| drop(make(&browser, "a boat")));
    let drawn = host.record.borrow().orders.len();
    let (status, answer) = browser.command("create a house");
    assert_eq!((status, &answer["error"]["code"]), (507, &json!("gallery_full")));
    assert_eq!(host.record.borrow().orders.len(), drawn);
}
