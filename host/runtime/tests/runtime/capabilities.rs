//! What handlers get from the host.

use std::time::Duration;

use atelier_inference::ModelId;
use atelier_runtime::{AbsentModel, Grants, Limits, RouteSpec};

use crate::kit::{self, ask, deploy, fail, studio, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_is_generated_with_its_parameters_and_the_engines_notes() {
    let route = deploy(studio()).await;
    let answer = ask(&route, "/generate", "fake cat 3").await.unwrap();
    assert!(answer.starts_with("64x64 seed 7 made by the fake engine"), "{answer}");
    assert!(answer.contains(r#""prompt":"cat""#) && answer.contains(r#""steps":3"#), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_without_a_grant_is_denied_with_the_key_to_add() {
    let route = deploy(studio()).await;
    let answer = ask(&route, "/generate", "other cat 3").await.unwrap();
    assert!(answer.contains("AccessDenied") && answer.contains("`grants.models`"), "{answer}");
    assert!(answer.contains("`other`") && answer.contains("`/test`"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_value_is_named_by_its_field() {
    let route = deploy(studio()).await;
    let answer = ask(&route, "/generate", "fake cat 151").await.unwrap();
    assert!(
        answer.contains("InvalidRequest") && answer.contains("steps") && answer.contains("150"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_in_order_and_once() {
    let runtime = kit::runtime_with(Default::default(), kit::scheduler(Duration::from_millis(5)));
    let route = runtime.deploy(studio()).await.unwrap();
    let answer = ask(&route, "/events", "fake cat 3").await.unwrap();
    let (events, rest) = answer.split_once("; ").unwrap();
    let events: Vec<_> = events.split(", ").filter(|event| !event.starts_with("queued")).collect();
    let expected =
        ["started", "step 1/3", "preview 1 true", "step 2/3", "preview 2 true", "step 3/3", "preview 3 true"];
    assert_eq!(events, expected);
    assert_eq!(rest, "again true; outcome true; twice true");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_from_a_picture_is_scaled_to_the_requests_size_or_takes_its_own() {
    let route = deploy(studio()).await;
    let scaled = ask(&route, "/from-picture", "64x48").await.unwrap();
    assert!(scaled.starts_with("64x48 ") && scaled.contains(r#""strength":0.5"#), "{scaled}");
    assert!(ask(&route, "/from-picture", "").await.unwrap().starts_with("32x16 "));
    let wrong = ask(&route, "/from-picture", "4000x8").await.unwrap();
    assert!(wrong.contains("InvalidRequest") && wrong.contains("size"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_picture_is_scaled_to_the_request_and_named_where_it_is_wrong() {
    let route = deploy(studio()).await;
    // the picture is of 32x16, the model's own size of 64x64
    let steered = ask(&route, "/steered", "edges 0.8").await.unwrap();
    assert!(steered.contains(r#""width":64,"height":64"#), "{steered}");
    assert!(steered.contains(r#""controls":[{"id":"edges","picture_blake3":"#), "{steered}");
    assert!(steered.contains(r#""scale":0.8,"start":0.0,"end":0.5}]"#), "{steered}");
    for (asked, named) in [("pose 1", "it has edges, depth"), ("edges 11", "0 to 10")] {
        let wrong = ask(&route, "/steered", asked).await.unwrap();
        assert!(wrong.contains("field: \"controls\"") && wrong.contains(named), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_cache_is_echoed_and_named_where_it_is_wrong() {
    let route = deploy(studio()).await;
    let cached = ask(&route, "/cached", "3 1").await.unwrap();
    assert!(cached.contains("interval: 3, branch: 1"), "{cached}");
    assert!(cached.contains(r#""step_cache":"deep:3:1""#), "{cached}");
    for (asked, named) in [("0 0", "1 to 10"), ("2 4", "not below 4"), ("0.1", "takes deep:INTERVAL")] {
        let wrong = ask(&route, "/cached", asked).await.unwrap();
        assert!(wrong.contains("field: \"step-cache\"") && wrong.contains(named), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_granted_models_are_listed() {
    let route = deploy(studio()).await;
    assert!(ask(&route, "/models", "").await.unwrap().starts_with("fake "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refiner_needs_a_grant_as_well_and_is_not_even_named_without_one() {
    let runtime = kit::runtime_with(Default::default(), kit::scheduler_of(&["twin", "hidden"]));
    let mut spec = studio();
    spec.grants.models.push(ModelId::new("twin"));
    let route = runtime.deploy(spec).await.unwrap();
    let refined = ask(&route, "/generate", "fake cat 4 twin").await.unwrap();
    assert!(refined.contains(r#""refiner":{"model":"twin","model_source":"fake","share":0.5}"#), "{refined}");
    let denied = ask(&route, "/generate", "fake cat 4 hidden").await.unwrap();
    assert!(
        denied.contains("AccessDenied") && denied.contains("`hidden`; add it to `grants.models`"),
        "{denied}"
    );
    let wrong = ask(&route, "/generate", "fake cat 4 fake").await.unwrap();
    assert!(wrong.contains("field: \"refiner\"") && wrong.contains("; twin can"), "{wrong}");
    assert_eq!(ask(&route, "/models", "").await.unwrap(), "fake true twin,twin true fake");
    assert!(!wrong.contains("hidden"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_model_that_is_not_here_names_what_brings_it() {
    let spec = studio();
    let (source, fix) = ("hub:owner/sdxl".into(), "run `atelier models pull sdxl`".into());
    let absent = vec![AbsentModel { id: ModelId::new("sdxl"), source, fix }];
    let route = deploy(RouteSpec { grants: Grants { absent, ..spec.grants }, ..spec }).await;
    let told = ask(&route, "/absent-models", "").await.unwrap();
    assert_eq!(told, "sdxl of hub:owner/sdxl: run `atelier models pull sdxl`");
    let asked = ask(&route, "/generate", "sdxl cat 2").await.unwrap();
    assert!(asked.contains("UnknownModel") && asked.contains("run `atelier models pull sdxl`"), "{asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_picture_costs_neither_cpu_nor_wall_time() {
    let runtime = kit::runtime_with(Default::default(), kit::scheduler(Duration::from_millis(200)));
    // the job takes twice as long; what is left of it must do for a guest on a very busy machine
    let limits = Limits { wall: Duration::from_millis(1_500), ..Limits::default() };
    let route = runtime.deploy(RouteSpec { limits, ..studio() }).await.unwrap();
    assert!(ask(&route, "/generate", "fake cat 15").await.unwrap().starts_with("64x64"));
    assert!(ask(&route, "/events", "fake cat 15").await.unwrap().contains("outcome true"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_picture_has_a_limit_of_its_own() {
    let scheduler = kit::scheduler(Duration::from_millis(100));
    let runtime = kit::runtime_with(Default::default(), scheduler.clone());
    let limits = Limits { capability_wait: Duration::from_millis(250), ..Limits::default() };
    let route = runtime.deploy(RouteSpec { limits, ..studio() }).await.unwrap();
    let failure = fail(&route, "/generate", "fake cat 150").await;
    assert_eq!(failure.code(), "capability_wait_limit");
    assert!(failure.public().contains("limits.capability-wait-ms"), "{}", failure.public());
    until(|| scheduler.status().counters.cancelled == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_one_request_are_limited() {
    let runtime = kit::runtime_with(Default::default(), kit::scheduler(Duration::from_millis(50)));
    let route = runtime
        .deploy(RouteSpec { limits: Limits { jobs: 3, ..Limits::default() }, ..studio() })
        .await
        .unwrap();
    let answer = ask(&route, "/jobs", "").await.unwrap();
    assert!(answer.starts_with("3 ") && answer.contains("limits.jobs"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_are_scaled_encoded_and_shared() {
    let route = deploy(studio()).await;
    assert_eq!(
        ask(&route, "/pictures", "").await.unwrap(),
        "small 16x8 large 100x50 png true jpeg true webp true wrong true huge true"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_that_a_guest_holds_are_limited() {
    let limits = Limits { picture_bytes: 4 << 20, ..Limits::default() };
    let route = deploy(RouteSpec { limits, ..studio() }).await;
    let answer = ask(&route, "/hoard", "").await.unwrap();
    assert!(answer.starts_with("4 ") && answer.contains("limits.picture-bytes"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn untrusted_bytes_are_decoded_in_a_sandbox_of_their_own() {
    let route = deploy(studio()).await;
    assert_eq!(ask(&route, "/decode", "p\u{10}").await.unwrap(), "16x16");
    let refused = ask(&route, "/decode", "<svg/>").await.unwrap();
    assert!(refused.contains("Unsupported"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decoder_that_traps_lies_or_bursts_is_a_value_for_the_handler() {
    let route = deploy(studio()).await;
    assert!(ask(&route, "/decode", "trap").await.unwrap().contains("Malformed"));
    assert!(ask(&route, "/decode", "lie").await.unwrap().contains("no picture"));
    assert!(ask(&route, "/decode", "grow").await.unwrap().contains("TooLarge"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_grant_is_refused_and_a_granted_one_is_tried() {
    let route = deploy(studio()).await;
    let denied = ask(&route, "/fetch", "127.0.0.1:1").await.unwrap();
    assert!(denied.contains("HttpRequestDenied"), "{denied}");
    let tried = ask(&route, "/fetch", "127.0.0.1:9").await.unwrap();
    assert!(!tried.contains("HttpRequestDenied"), "{tried}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_server_answers() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 1_024]).await.unwrap();
        socket.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
    });
    let mut spec = studio();
    spec.grants.outbound = vec![atelier_runtime::Origin::parse(&origin).unwrap()];
    let route = deploy(spec).await;
    assert_eq!(ask(&route, "/fetch", origin.strip_prefix("http://").unwrap()).await.unwrap(), "204");
}
