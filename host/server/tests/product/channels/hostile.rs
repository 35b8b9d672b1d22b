//! Clients that mean harm, or are slow, silent or many: each meets its bound, and a client beside them hears everything.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::clients::{Listener, Poller, Socket, SocketIo, Talker, get};
use super::{host, host_with, tell, until_there};
use crate::client::DEADLINE;
use crate::host::Host;

/// A healthy client, in the room `us`.
async fn healthy(host: &Host) -> Talker {
    Talker::open(host.edge, "/r/ws?room=us", &[]).await.unwrap()
}

/// It still hears what is sent to its room.
async fn still_hears(host: &Host, talker: &mut Talker, what: u32) {
    assert!(tell(host, &format!("publish us check {what}")).await.parse::<u32>().unwrap() >= 1);
    loop {
        let heard = talker.hear().await;
        if heard["event"] == "check" {
            assert_eq!(heard["data"], what);
            return;
        }
    }
}

#[tokio::test]
async fn so_many_clients_come_in_from_one_address_and_so_many_in_all() {
    let host = host_with("", "max-channels-per-ip = 6\nmax-channels = 5").await;
    let mut healthy = healthy(&host).await;
    let listener = Listener::open(host.edge, "/r/events", &[]).await.unwrap();
    let polling =
        [Poller::open(host.edge, "/r/socket.io").await, Poller::open(host.edge, "/r/socket.io").await];
    let (socket, _) = SocketIo::open(host.edge, "/r/socket.io", &[]).await.unwrap();
    for refused in [
        Talker::open(host.edge, "/r/ws", &[]).await.err().unwrap(),
        Listener::open(host.edge, "/r/events", &[]).await.err().unwrap(),
        Poller::open(host.edge, "/r/socket.io").await.err().unwrap(),
    ] {
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "channels_full"));
        assert!(refused.text().contains("server.max-channels"), "{}", refused.text());
    }
    // a seat is given back, and a session that is there needs none for its next request
    drop(socket);
    let end = Instant::now() + DEADLINE;
    while Talker::open(host.edge, "/r/ws?room=them", &[]).await.is_err() {
        assert!(Instant::now() < end, "the seat was not given back");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(polling[0].as_ref().unwrap().post("40").await.unwrap().status, StatusCode::OK);
    still_hears(&host, &mut healthy, 1).await;
    drop(listener);
}

#[tokio::test]
async fn two_thousand_connects_from_one_address_leave_its_bound_of_them() {
    let host = host().await;
    let mut first = healthy(&host).await;
    let (mut seated, mut refused) = (Vec::new(), 0);
    for _ in 0..2_000 {
        match Poller::open(host.edge, "/r/socket.io").await {
            Ok(poller) => seated.push(poller),
            Err(answer) => {
                assert_eq!(answer.code(), "channels_of_address");
                assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
                refused += 1;
            }
        }
    }
    assert_eq!((seated.len(), refused), (31, 1_969));
    still_hears(&host, &mut first, 2).await;
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_its_client_and_no_other() {
    let host = host().await;
    let mut healthy = healthy(&host).await;
    let large = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    let mut talker = Talker::open(host.edge, "/r/ws", &[]).await.unwrap();
    let whole = format!("{{\"event\":\"echo\",\"data\":{},\"id\":1}}", large((1 << 20) - 2));
    talker.0.say(whole).await;
    assert_eq!(talker.hear().await["data"].as_str().unwrap().len(), (1 << 20) - 2);
    for bytes in [(1 << 20) - 1, 10 << 20] {
        let mut talker = Talker::open(host.edge, "/r/ws", &[]).await.unwrap();
        // the rest of it is lost when the host hangs up in its midst
        let text = format!("{{\"event\":\"echo\",\"data\":{}}}", large(bytes));
        let _ = futures::SinkExt::send(&mut talker.0.0, tokio_tungstenite::tungstenite::Message::text(text))
            .await;
        assert!(matches!(talker.0.ended().await, None | Some(1009)));
        let (mut socket, _) = SocketIo::open(host.edge, "/r/socket.io", &[]).await.unwrap();
        let text = format!("42[\"echo\",{}]", large(bytes));
        let _ = futures::SinkExt::send(&mut socket.0.0, tokio_tungstenite::tungstenite::Message::text(text))
            .await;
        assert!(socket.ended().await.iter().all(|text| text == "41"));
        let mut poller = Poller::open(host.edge, "/r/socket.io").await.unwrap();
        poller.connect().await;
        // refused at once, or what is polled next is the end
        let posted = poller.post(format!("42[\"echo\",{}]", large(bytes))).await;
        let is_taken = posted.is_ok_and(|answer| answer.status.is_success());
        let last = poller.poll().await;
        assert!(!is_taken || ["41", "1", ""].iter().any(|end| last.text().starts_with(end)), "{last:?}");
        assert!(!last.text().contains("echo") && !last.text().starts_with("43"), "{last:?}");
    }
    assert!(host.peak_memory() < 512 << 20, "{}", host.peak_memory());
    still_hears(&host, &mut healthy, 3).await;
}

#[tokio::test]
async fn binary_and_attachments_and_what_is_no_packet_end_a_session() {
    let host = host().await;
    let mut healthy = healthy(&host).await;
    for packet in ["4520000-[\"echo\",{\"_placeholder\":true,\"num\":0}]", "42[\"echo\"", "42{}", "49", "47"]
    {
        let (mut socket, _) = SocketIo::open(host.edge, "/r/socket.io", &[]).await.unwrap();
        socket.0.say(packet).await;
        assert_eq!(socket.ended().await, Vec::<String>::new(), "{packet}");
    }
    let mut talker = Talker::open(host.edge, "/r/ws", &[]).await.unwrap();
    talker.0.say("no json").await;
    assert_eq!(talker.0.ended().await, Some(1003));
    // events before it is let in, and a second namespace
    let mut early =
        Socket::open(host.edge, "/r/socket.io/?EIO=4&transport=websocket", &[]).await.ok().unwrap();
    early.hear().await.unwrap();
    let mut early = SocketIo(early);
    early.0.say("40/admin,").await;
    assert_eq!(early.hear().await.unwrap(), "44/admin,{\"message\":\"Invalid namespace\"}");
    early.0.say("42[\"echo\",1]").await;
    early.ended().await;
    still_hears(&host, &mut healthy, 4).await;
}

#[tokio::test]
async fn who_sends_too_much_is_ended() {
    let host = host_with(", events-per-second = 5", "").await;
    let mut talker = Talker::open(host.edge, "/r/ws", &[]).await.unwrap();
    for number in 0..6 {
        talker.say("echo", json!(number)).await;
    }
    assert_eq!(talker.0.ended().await, Some(1008));
    let (mut socket, _) = SocketIo::open(host.edge, "/r/socket.io", &[]).await.unwrap();
    for number in 0..6 {
        socket.0.say(format!("42[\"none\",{number}]")).await;
    }
    assert_eq!(socket.ended().await, ["41"]);
    // what waits is bounded as well, at whatever pace it came
    let slow = host_with(", events-per-second = 1000", "").await;
    let mut talker = Talker::open(slow.edge, "/r/ws", &[]).await.unwrap();
    for _ in 0..18 {
        talker.say("wait", json!(20_000)).await;
    }
    assert_eq!(talker.0.ended().await, Some(1008));
}

#[tokio::test]
async fn a_slow_reader_is_ended_and_holds_nobody_up() {
    let host = host_with(", message-bytes = \"256 KiB\"", "write-idle-timeout-ms = 2000").await;
    let mut healthy = healthy(&host).await;
    // they take nothing that comes
    let deaf = Talker::open(host.edge, "/r/ws?room=us", &[]).await.unwrap();
    let (deaf_too, _) = SocketIo::open(host.edge, "/r/socket.io?room=us", &[]).await.unwrap();
    let listener = Listener::open(host.edge, "/r/events?room=us", &[]).await.unwrap();
    let poller = Poller::open(host.edge, "/r/socket.io?room=us").await;
    assert!(poller.is_err(), "the path is the engine's");
    until_there(&host, "us", "4").await;
    let hearing = tokio::spawn(async move {
        for _ in 0..300 {
            while healthy.hear().await["event"] != "large" {}
        }
        healthy
    });
    let since = Instant::now();
    for _ in 0..300 {
        tell(&host, "large us 200000").await;
    }
    let mut healthy = timeout(DEADLINE, hearing).await.expect("the healthy one was held up").unwrap();
    assert!(since.elapsed() < DEADLINE);
    host.until_counted("atelier_channel_clients_slow_total", 3).await;
    still_hears(&host, &mut healthy, 5).await;
    drop((deaf, deaf_too, listener));
}

#[tokio::test]
async fn who_gives_no_sign_of_life_is_gone_after_a_while() {
    let host = host_with(", ping-interval-ms = 300, ping-timeout-ms = 200", "").await;
    let mut watcher = Listener::open(host.edge, "/r/events?room=watchers", &[]).await.unwrap();
    let mut mute =
        Socket::open(host.edge, "/r/socket.io/?EIO=4&transport=websocket", &[]).await.ok().unwrap();
    mute.say("40").await;
    // pings are heard and never answered
    let since = Instant::now();
    while mute.hear().await.is_ok() {}
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    assert_eq!(watcher.hear().await.unwrap().1, "gone");
    // a WebSocket whose other end does not even read is as silent
    let quiet = Talker::open(host.edge, "/r/ws", &[]).await.unwrap();
    assert_eq!(watcher.hear().await.unwrap().1, "gone");
    drop(quiet);
}

#[tokio::test]
async fn polls_beside_each_other_and_a_way_to_a_websocket_lose_nothing_and_end_one_session_at_most() {
    let host = host().await;
    let mut healthy = healthy(&host).await;
    let mut poller = Poller::open(host.edge, "/r/socket.io").await.unwrap();
    poller.connect().await;
    let (edge, address) = (host.edge, poller.address("polling"));
    let waiting = tokio::spawn(async move { get(edge, &address).await });
    sleep(Duration::from_millis(50)).await;
    let mut socket = Socket::open(host.edge, &poller.address("websocket"), &[]).await.ok().unwrap();
    socket.say("2probe").await;
    assert_eq!(socket.hear().await.unwrap(), "3probe");
    // the poll that waited gives way
    assert_eq!(waiting.await.unwrap().text(), "6");
    socket.say("5").await;
    socket.say("421[\"echo\",\"upgraded\"]").await;
    assert_eq!(socket.hear().await.unwrap(), "431[\"upgraded\"]");
    // a poll of what is a WebSocket now, a second WebSocket, and two polls at a time
    assert_eq!(poller.poll().await.status, StatusCode::BAD_REQUEST);
    let mut second = Socket::open(host.edge, &poller.address("websocket"), &[]).await.ok().unwrap();
    second.ended().await;
    socket.say("422[\"echo\",2]").await;
    assert_eq!(socket.hear().await.unwrap(), "432[2]");
    let mut twice = Poller::open(host.edge, "/r/socket.io").await.unwrap();
    twice.connect().await;
    let both = futures::future::join(twice.poll(), twice.poll()).await;
    assert!([both.0.status, both.1.status].contains(&StatusCode::BAD_REQUEST), "{both:?}");
    still_hears(&host, &mut healthy, 6).await;
}

#[tokio::test]
async fn a_way_to_a_websocket_that_breaks_off_ends_its_session_and_frees_its_seat() {
    let host = host_with("", "max-channels-per-ip = 2").await;
    let mut watcher = Listener::open(host.edge, "/r/events?room=watchers", &[]).await.unwrap();
    for is_probed in [false, true] {
        let end = Instant::now() + DEADLINE;
        let mut poller = loop {
            match Poller::open(host.edge, "/r/socket.io").await {
                Ok(poller) => break poller,
                Err(_) => assert!(Instant::now() < end, "the seat was not given back"),
            }
            sleep(Duration::from_millis(20)).await;
        };
        poller.connect().await;
        let mut socket = Socket::open(host.edge, &poller.address("websocket"), &[]).await.ok().unwrap();
        if is_probed {
            socket.say("2probe").await;
            assert_eq!(socket.hear().await.unwrap(), "3probe");
        }
        drop(socket);
        assert_eq!(watcher.hear().await.unwrap().1, "gone", "probed: {is_probed}");
        let last = poller.poll().await;
        assert!(last.status.is_client_error(), "{last:?}");
    }
}

/// Case 36 of the list of attacks: clients of the protocol before the one that is spoken here.
#[tokio::test]
async fn clients_of_the_old_protocol_and_unknown_sessions_are_told_so() {
    let host = host().await;
    let told = async |edge: SocketAddr, query: &str| -> Value {
        let answer = get(edge, &format!("/r/socket.io/?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        answer.json()["message"].clone()
    };
    for (query, message) in [
        ("EIO=3&transport=polling", "Unsupported protocol version"),
        ("EIO=3&transport=websocket", "Unsupported protocol version"),
        ("transport=polling", "Unsupported protocol version"),
        ("EIO=4&transport=carrier-pigeon", "Transport unknown"),
        ("EIO=4&transport=polling&sid=nobody", "Session ID unknown"),
    ] {
        assert_eq!(told(host.edge, query).await, message, "{query}");
    }
    let gone = get(host.edge, "/r/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAHs").await;
    assert!(gone.status.is_client_error(), "{}", gone.status);
}

#[tokio::test]
async fn over_http_2_there_are_polls_and_no_websockets() {
    let host = host().await;
    let stream = TcpStream::connect(host.edge).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = async |path: &str| {
        let request =
            Request::get(format!("http://{}{path}", host.edge)).body(Full::<Bytes>::default()).unwrap();
        let (head, body) = sender.clone().send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, String::from_utf8(body.to_vec()).unwrap())
    };
    let (status, open) = ask("/r/socket.io/?EIO=4&transport=polling").await;
    assert!(status == StatusCode::OK && open.starts_with("0{\"sid\""), "{open}");
    for path in ["/r/ws", "/r/socket.io/?EIO=4&transport=websocket"] {
        let (status, told) = ask(path).await;
        assert!(status == StatusCode::UPGRADE_REQUIRED && told.contains("upgrade_required"), "{told}");
    }
}
