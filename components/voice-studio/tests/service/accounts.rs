//! Accounts: what they lift, and what they keep apart.

use serde_json::json;

use crate::fake::Script;

const REGISTER: &str = "/kuvagen/api/register";
const LOGIN: &str = "/kuvagen/api/login";
const LOGOUT: &str = "/kuvagen/api/logout";

#[test]
fn an_account_has_no_limit_and_keeps_its_pictures_for_the_next_browser() {
    let host = Script::default().with_config("MAX_IMAGES_WITHOUT_LOGIN", "1").host();
    let (browser, ann) = (host.browser(), json!({"name": "Ann", "password": "correct horse"}));
    browser.command("create a boat");
    assert_eq!(browser.command("create a house").0, 403);
    let (status, info) = browser.post(REGISTER, &ann);
    assert_eq!((status, &info["name"], &info["image_limit"]), (200, &json!("Ann"), &json!(null)));
    assert_eq!(browser.command("create a house").0, 200);
    // elsewhere, with a picture of one's own
    let other = host.browser_at("192.0.2.7");
    other.command("create a tree");
    let (status, info) = other.post(LOGIN, &json!({"name": "ann", "password": "correct horse"}));
    assert_eq!((status, &info["image_count"]), (200, &json!(3)));
    let (_, gallery) = browser.get("/kuvagen/gallery");
    assert_eq!(gallery["images"][0]["prompt"], "a tree");
    let (_, info) = other.post(LOGOUT, &json!({}));
    assert_eq!((&info["logged_in"], &info["current"]), (&json!(false), &json!(null)));
    assert_eq!(other.get("/kuvagen/gallery").1["images"], json!([]));
}

#[test]
fn names_are_taken_once_and_passwords_are_kept_as_hashes_alone() {
    let host = Script::default().host();
    let ann = json!({"name": "Ann", "password": "correct horse"});
    assert_eq!(host.browser().post(REGISTER, &ann).0, 200);
    let (status, answer) =
        host.browser_at("192.0.2.3").post(REGISTER, &json!({"name": "aNN", "password": "battery staple"}));
    assert_eq!(
        (status, &answer["error"]["code"], &answer["error"]["field"]),
        (409, &json!("name_taken"), &json!("name"))
    );
    for value in host.memory.values.borrow().values() {
        assert!(!String::from_utf8_lossy(value).contains("correct horse"));
    }
}

#[test]
fn a_wrong_login_is_refused_and_too_many_for_a_while() {
    let host = Script::default().host();
    let browser = host.browser();
    browser.post(REGISTER, &json!({"name": "Ann", "password": "correct horse"}));
    let thief = host.browser_at("192.0.2.66");
    let wrong = json!({"name": "Ann", "password": "wrong guess"});
    for _ in 0..10 {
        let (status, answer) = thief.post(LOGIN, &wrong);
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("wrong_login")));
    }
    let right = json!({"name": "Ann", "password": "correct horse"});
    let (status, answer) = thief.post(LOGIN, &right);
    assert_eq!((status, &answer["error"]["code"]), (429, &json!("too_many_guesses")));
    assert_eq!(host.browser_at("192.0.2.8").post(LOGIN, &right).0, 200, "others are not held up");
    host.clock.set(host.clock.get() + 15 * 60);
    assert_eq!(thief.post(LOGIN, &right).0, 200);
}

#[test]
fn what_is_no_account_is_refused_by_field() {
    let host = Script::default().host();
    for (body, field) in [
        (json!({"name": "Ann", "password": "short"}), "password"),
        (json!({"name": " ", "password": "correct horse"}), "name"),
        (json!({"name": "Ann", "password": "correct horse", "admin": true}), "admin"),
    ] {
        let (status, answer) = host.browser().post(REGISTER, &body);
        assert_eq!((status, &answer["error"]["field"]), (422, &json!(field)), "{answer}");
    }
}
