//! The chat-server component on a whole host with the fake engine: who ends a picture, what a form that is wrong is told through
//! the real edge, and that a picture in the making holds up nobody. What it does with real models is among the product's tests.

use std::time::Duration;

use atelier_inference::fake::FakeEngine;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Answer, DEADLINE, get, send};
use crate::house::{House, folder, manifest};

/// Two models of which each can end what the other begins.
async fn house() -> House {
    let route = "[[model]]\nid = \"refiner\"\nsource = \"model\"\n\
                 [[route]]\nname = \"chat\"\npath = \"/chat\"\ncomponent = \"builtin:chat-server\"\n\
                 grants = { models = [\"fake\", \"refiner\"] }\nconfig = { models = \"sdxl=fake\" }\n";
    let engine =
        FakeEngine { others: &["refiner"], step: Duration::from_millis(20), ..FakeEngine::default() };
    House::serving(folder(), &manifest("", route), engine, Vec::new()).await
}

fn form(texts: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let part = |(name, text): &(&str, &str)| {
        format!("--cut\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let body = texts.iter().map(part).collect::<String>() + "--cut--\r\n";
    let request = Request::post("/chat/image/generate").header("host", "test");
    let request = request.header("content-type", "multipart/form-data; boundary=cut");
    request.body(Full::from(body)).unwrap()
}

async fn ask(house: &House, texts: &[(&str, &str)]) -> Answer {
    send(house.edge, form(texts)).await
}

/// The last event of a stream.
fn last(answer: &Answer) -> Value {
    let data = answer.text().lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    serde_json::from_str(data.unwrap_or_else(|| panic!("{answer:?}"))).unwrap()
}

/// README line: "`use_refiner` (`bool`, optional): Whether to use the SDXL refiner model."
#[tokio::test(flavor = "multi_thread")]
async fn the_refiner_ends_a_picture_only_where_it_is_asked_for() {
    let house = house().await;
    for (written, is_refined) in [("true", true), ("false", false)] {
        let result = last(&ask(&house, &[("prompt", "a boat"), ("use_refiner", written)]).await);
        let png = STANDARD.decode(result["image"].as_str().unwrap_or_else(|| panic!("{result}"))).unwrap();
        assert_eq!(result["request"]["use_refiner"], json!(is_refined));
        // the file says who drew it
        assert_eq!(String::from_utf8_lossy(&png).contains("refiner"), is_refined, "{written}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_fastapis_shape_before_a_stream_begins() {
    let house = house().await;
    let answer = ask(&house, &[("steps", "many"), ("use_refiner", "perhaps")]).await;
    let fields: Vec<_> =
        answer.json()["detail"].as_array().unwrap().iter().map(|fault| fault["loc"][1].clone()).collect();
    assert_eq!(
        (answer.status.as_u16(), fields),
        (422, vec![json!("prompt"), json!("steps"), json!("use_refiner")])
    );
    let answer = ask(&house, &[("prompt", "a boat"), ("model_name", "lcm")]).await;
    let text = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(answer.status.as_u16() == 502 && text.contains("`grants.models`"), "{text}");
    let answer = get(house.edge, "/chat/nowhere").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (404, json!({"detail": "Not Found"})));
    let answer = get(house.edge, "/chat/image/generate").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (405, json!({"detail": "Method Not Allowed"})));
    assert_eq!(answer.headers["allow"], "POST");
}

/// README line: "**Asynchronous by Design:** Offloads resource-intensive operations to a separate thread pool to keep the server
/// responsive."
#[tokio::test(flavor = "multi_thread")]
async fn a_picture_in_the_making_holds_up_no_other_request_and_ends_with_its_client() {
    let house = house().await;
    let stream = TcpStream::connect(house.edge).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut answer = sender.send_request(form(&[("prompt", "a boat"), ("steps", "150")])).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("event: progress") {
        let frame = timeout(DEADLINE, answer.frame()).await.expect("no event").expect("an end").unwrap();
        seen.push_str(&String::from_utf8_lossy(frame.data_ref().map_or(&[][..], |data| data)));
    }
    let list = get(house.edge, "/chat/image/models").await.json();
    assert_eq!((&list[0]["name"], &list[0]["loaded"]), (&json!("sdxl"), &json!(true)));
    connection.abort();
    house.until("cancelled", |status| status["queue"]["counters"]["cancelled"] == 1).await;
}
