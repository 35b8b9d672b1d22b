//! Visitors of the studio who stay connected, over socket.io at the path that the original's clients know.

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::channels::clients::SocketIo;
use crate::client::send;
use crate::form::form;
use crate::host::{Host, JSON};

const STUDIO: &str = "/studio/kuvagen";
const SOCKET: &str = "/studio/kuvagen/socket.io";

/// The cookie of a visitor who has just come.
async fn cookie(host: &Host) -> String {
    let request = Request::get(format!("{STUDIO}/api/session_info")).header("host", "test");
    let answer = send(host.edge, request.body(Full::default()).unwrap()).await;
    answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

/// The next event: its name and what it says.
async fn heard(client: &mut SocketIo) -> (String, Value) {
    let packet = client.hear().await.unwrap();
    let event: Value = serde_json::from_str(packet.strip_prefix("42").expect(&packet)).unwrap();
    (event[0].as_str().unwrap().to_owned(), event[1].clone())
}

/// README lines: "`WebSocket /kuvagen/socket.io` - Real-time updates", "Real-time progress updates with partial image previews".
#[tokio::test]
async fn a_visitor_hears_every_step_of_its_commands_and_another_hears_nothing() {
    let host = Host::start().await;
    let (mine, others) = (cookie(&host).await, cookie(&host).await);
    let (mut me, answer) = SocketIo::open(host.edge, SOCKET, &[("cookie", &mine)]).await.unwrap();
    assert!(answer.starts_with("40{\"sid\""), "{answer}");
    let (mut other, _) = SocketIo::open(host.edge, SOCKET, &[("cookie", &others)]).await.unwrap();
    let (mut nobody, _) = SocketIo::open(host.edge, SOCKET, &[]).await.unwrap();
    let text: (&str, Option<&str>, &[u8]) = ("text", None, b"create a red circle on a blue background");
    let headers = [("accept", JSON), ("cookie", mine.as_str())];
    let command =
        tokio::spawn(send(host.edge, form(&format!("{STUDIO}/process_command"), &headers, &[text])));
    let mut names = Vec::new();
    let done = loop {
        let (name, said) = heard(&mut me).await;
        names.push(name);
        match names.last().map(String::as_str) {
            Some("preview") => {
                assert!(said["image"].as_str().unwrap().starts_with("data:image/png;base64,"));
            }
            Some("done") => break said,
            Some("error") => panic!("{said}"),
            _ => {}
        }
    };
    names.dedup();
    assert_eq!(&names[..3], ["accepted", "transcript", "understood"], "{names:?}");
    assert!(names.iter().any(|name| name == "progress") && names.iter().any(|name| name == "preview"));
    let answer = command.await.unwrap().json();
    assert_eq!(answer, done, "the room hears what the client is answered");
    // a command over the connection; its acknowledgement is the answer
    me.0.say(format!("427[\"process_command\",{}]", json!({"text": "go back to the previous image"}))).await;
    let acknowledged = loop {
        let packet = me.hear().await.unwrap();
        if let Some(answer) = packet.strip_prefix("437") {
            break serde_json::from_str::<Value>(answer).unwrap();
        }
    };
    assert!(acknowledged[0]["action"] == "undo" || acknowledged[0]["error"].is_string(), "{acknowledged}");
    // whoever else is connected has heard nothing of it: the first thing is the answer to its own
    for client in [&mut other, &mut nobody] {
        client.0.say("428[\"look\",1]").await;
        let packet = client.hear().await.unwrap();
        assert!(packet.starts_with("438[{\"error\":\"there is no event `look`"), "{packet}");
    }
}
