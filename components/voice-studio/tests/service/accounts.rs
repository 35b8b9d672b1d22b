//! Accounts: what they lift, and what they keep apart.

use atelier_kit::Request;
use serde_json::{Value, json};

use crate::fake::{Browser, Fake, Script, post};

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

#[test]
fn wrong_logins_are_counted_by_the_address_and_the_name_whatever_the_browser_calls_itself() {
    let host = Script::default().host();
    host.browser().post(REGISTER, &json!({"name": "Ann", "password": "correct horse"}));
    let wrong = json!({"name": "Ann", "password": "wrong guess"});
    // one network, each time another address of it and another browser
    let addresses = ["2001:db8::1", "2001:db8::2"];
    let agents = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let statuses = agents.iter().enumerate().map(|(number, agent)| {
        let thief = host.browser_at(addresses[number % 2]);
        thief.agent.set(agent);
        thief.post(LOGIN, &wrong).0
    });
    assert_eq!(statuses.collect::<Vec<_>>(), [vec![401; 10], vec![429; 2]].concat());
    // a right one is no guess, however often it comes
    let ann = host.browser_at("192.0.2.5");
    for _ in 0..12 {
        assert_eq!(ann.post(LOGIN, &json!({"name": "Ann", "password": "correct horse"})).0, 200);
    }
    // as if others had guessed the name 99 times, each of them less often than it may
    let window = host.clock.get() / (15 * 60);
    let mut values = host.memory.values.borrow_mut();
    let key = values.keys().find(|(_, key)| key.starts_with("account/")).expect("an account").1.clone();
    for slot in 0..64 {
        let counts = json!({"window": window, "of": {key.clone(): 99}}).to_string().into_bytes();
        values.insert(("voice-studio".into(), format!("guesses/{slot}")), counts);
    }
    drop(values);
    assert_eq!(host.browser_at("203.0.113.1").post(LOGIN, &wrong).0, 401);
    let (status, answer) = host.browser_at("203.0.113.2").post(LOGIN, &wrong);
    assert_eq!((status, &answer["error"]["code"]), (429, &json!("too_many_guesses")));
    assert_eq!(
        host.browser_at("203.0.113.3").post(LOGIN, &json!({"name": "Bob", "password": "a password"})).0,
        401
    );
}

/// The account's standing under a cookie.
fn session(host: &Fake, cookie: &str) -> Value {
    let browser = host.browser();
    browser.cookie.replace(Some(cookie.to_owned()));
    browser.get("/kuvagen/api/session_info").1
}

fn cookie(browser: &Browser<'_>) -> String {
    browser.cookie.borrow().clone().expect("a cookie")
}

#[test]
fn a_cookie_from_before_an_account_or_after_its_session_opens_nothing() {
    let host = Script::default().host();
    let (browser, ann) = (host.browser(), json!({"name": "Ann", "password": "correct horse"}));
    let name = browser.command("create a boat").1["image"]["name"].as_str().expect("a name").to_owned();
    let before = cookie(&browser);
    assert_eq!(browser.post(REGISTER, &ann).0, 200);
    let (registered, path) = (cookie(&browser), format!("/kuvagen/api/images/{name}"));
    assert_eq!(session(&host, &registered)["name"], "Ann");
    assert_eq!(session(&host, &before)["logged_in"], false);
    // neither may it delete the files that went to the account
    let thief = host.browser();
    thief.cookie.replace(Some(before));
    let delete = Request { method: "DELETE".into(), path: path.clone(), ..Request::default() };
    assert_eq!(thief.answer(delete).status, 404);
    assert_eq!(browser.get(&format!("/kuvagen/images/{name}")).0, 200);
    browser.post(LOGOUT, &json!({}));
    assert_eq!(session(&host, &registered)["logged_in"], false);
    browser.command("create a house");
    let before = cookie(&browser);
    assert_eq!(browser.post(LOGIN, &ann).1["image_count"], 2);
    assert_eq!(session(&host, &before)["image_count"], session(&host, &registered)["image_count"]);
    thief.cookie.replace(Some(before));
    assert_eq!(thief.get("/kuvagen/gallery").1["images"], json!([]));
}

#[test]
fn an_account_has_twenty_sessions_and_the_oldest_goes() {
    let host = Script::default().host();
    let ann = json!({"name": "Ann", "password": "correct horse"});
    let first = host.browser();
    first.post(REGISTER, &ann);
    let others: Vec<_> = (0..20).map(|_| host.browser()).collect();
    for (number, other) in others.iter().enumerate() {
        assert_eq!(session(&host, &cookie(&first))["logged_in"], true, "{number}");
        assert_eq!(other.post(LOGIN, &ann).0, 200);
    }
    assert_eq!(session(&host, &cookie(&first))["logged_in"], false);
    assert!(others.iter().all(|other| session(&host, &cookie(other))["logged_in"] == true));
}

#[test]
fn a_page_of_another_site_changes_nothing_and_sets_no_cookie() {
    let host = Script::default().host();
    let json = |path: &str| post(path, &json!({"name": "Ann", "password": "correct horse"}));
    let form = || crate::fake::form(&[("text", "create a boat")]);
    for (name, value) in
        [("sec-fetch-site", "cross-site"), ("origin", "https://evil.test"), ("origin", "null")]
    {
        for mut request in [json(LOGOUT), json(LOGIN), json(REGISTER), json("/kuvagen/api/current"), form()] {
            request.authority = Some("studio.test:5001".into());
            request.headers.add(name, value);
            let response = host.browser().answer(request);
            assert_eq!((response.status, response.headers.get("set-cookie")), (403, None));
            assert!(String::from_utf8_lossy(&response.body).contains("other_site"));
        }
    }
    assert!(host.memory.values.borrow().keys().all(|(_, key)| key == "secret"), "nothing is kept");
    for (name, value) in [("sec-fetch-site", "same-origin"), ("origin", "http://studio.test:5001")] {
        let mut request = form();
        request.authority = Some("studio.test:5001".into());
        request.headers.add(name, value);
        assert_eq!(host.browser().answer(request).status, 200);
    }
}

#[test]
fn what_is_not_said_to_be_json_is_no_login() {
    let host = Script::default().host();
    let ann = json!({"name": "Ann", "password": "correct horse"});
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        let headers = [("content-type", kind)].into_iter().collect();
        let response = host.browser().answer(Request { headers, ..post(REGISTER, &ann) });
        assert_eq!(response.status, 415, "{kind}");
    }
    let headers = [("content-type", "Application/JSON; charset=utf-8")].into_iter().collect();
    assert_eq!(host.browser().answer(Request { headers, ..post(REGISTER, &ann) }).status, 200);
    let logout = Request { method: "POST".into(), path: LOGOUT.into(), ..Request::default() };
    assert_eq!(host.browser().answer(logout).status, 200, "nothing is of no type");
}
