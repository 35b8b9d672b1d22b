//! Instances that answer several requests at a time: what requests share, what they never do, and that everything that a
//! request does, uses up or leaves behind is its own. `/hold` says in which instance it is, and then does what it was told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atelier_inference::TenantId;
use atelier_runtime::{
    Body, Deployment, Grants, Limits, LoadProblem, RequestContext, Reuse, RouteSpec, Runtime, Tenant, Trace,
    TraceParts, TraceSink,
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use crate::kit::{self, Logs, ask, deploy, fail, guest, runtime, send, spec, studio, until, within};
use crate::outbound::{Target, origins};

/// Instances live as long as the test, however slow the machine.
fn concurrent(limits: Limits) -> RouteSpec {
    let long = Duration::from_secs(600);
    let limits = Limits { reuse_age: long, reuse_idle: long, reuse_requests: 10_000, ..limits };
    RouteSpec { reuse: Reuse::Concurrent, limits, ..studio() }
}

/// A request that is being answered, and the instance that does it.
struct Held {
    instance: String,
    body: Body,
}

impl Held {
    async fn begin(route: &Arc<Deployment>, then: &str) -> Self {
        Self::begin_as(route, "", then).await
    }

    /// A request of this id.
    async fn begin_as(route: &Arc<Deployment>, id: &str, then: &str) -> Self {
        let mut request =
            Request::post("http://test.invalid/hold").body(Full::from(then.to_owned())).unwrap();
        request.extensions_mut().insert(RequestContext::new(id, None));
        let mut body = within(route.handle(request)).await.unwrap().into_body();
        let first = within(body.frame()).await.unwrap().unwrap().into_data().unwrap();
        Self { instance: String::from_utf8(first.to_vec()).unwrap(), body }
    }

    /// Another one in the same instance. One that computes at the moment takes nobody; what went elsewhere is given up.
    async fn join(&self, route: &Arc<Deployment>, then: &str) -> Self {
        loop {
            let other = Self::begin(route, then).await;
            if other.instance == self.instance {
                return other;
            }
        }
    }

    async fn end(self) -> String {
        String::from_utf8(within(self.body.collect()).await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn fail(self) -> &'static str {
        within(self.body.collect()).await.expect_err("the answer should have broken off").code()
    }
}

async fn who(route: &Arc<Deployment>) -> String {
    ask(route, "/who", "").await.unwrap()
}

/// A runtime whose engine takes so long for a step.
fn painting(step: Duration) -> (Runtime, atelier_inference::Scheduler) {
    let scheduler = kit::scheduler(step);
    (kit::runtime_with(Default::default(), scheduler.clone()), scheduler)
}

fn held_doors(runtime: &Runtime) -> u32 {
    let doors = runtime.doors();
    doors.iter().filter(|door| door.name.contains("instances")).map(|door| door.held).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_a_tenant_share_an_instance_while_it_waits() {
    let route = deploy(concurrent(Limits::default())).await;
    let first = Held::begin(&route, "/sleep").await;
    let others = [first.join(&route, "/sleep").await, first.join(&route, "/sleep").await];
    assert_eq!(first.join(&route, "/nap").await.end().await, "survived");
    drop((first, others));
    until(|| route.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_of_0_2_is_refused_with_the_word_that_helps() {
    let spec = RouteSpec { reuse: Reuse::Concurrent, ..spec(guest("plain2")) };
    let problems = runtime().deploy(spec).await.unwrap_err().problems;
    assert!(matches!(problems[..], [LoadProblem::NotConcurrent { .. }]), "{problems:?}");
    assert!(problems[0].to_string().contains("write reuse = \"serial\""), "{}", problems[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tenant_and_no_other_deployment_is_ever_in_the_same_instance() {
    let [route, other] =
        [deploy(concurrent(Limits::default())).await, deploy(concurrent(Limits::default())).await];
    let [a, b] = ["a", "b"].map(|id| {
        let id = TenantId::new(id).unwrap();
        Arc::new(Tenant { id, ..Tenant::default() })
    });
    let who_is_asked = async |route: &Arc<Deployment>, tenant: &Arc<Tenant>| {
        let request = Request::get("http://test.invalid/who").body(Full::<Bytes>::default()).unwrap();
        let answer = within(route.handle_for(tenant, request)).await.unwrap();
        within(answer.into_body().collect()).await.unwrap().to_bytes()
    };
    let mut seen = [(&route, &a), (&route, &b), (&other, &a)].map(|asked| (asked, Vec::new()));
    for _ in 0..10 {
        for ((route, tenant), instances) in &mut seen {
            instances.push(who_is_asked(route, tenant).await);
        }
    }
    let [(_, a), (_, b), (_, elsewhere)] = seen;
    assert!(a.iter().all(|instance| !b.contains(instance) && !elsewhere.contains(instance)));
    assert!([a, b, elsewhere].iter().all(|all| all[1..].contains(&all[0])), "each asks its own again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_its_client_has_not_taken_yet_outlives_later_requests() {
    let route = deploy(concurrent(Limits::default())).await;
    let slow = send(&route, "/hello", "").await.unwrap();
    for _ in 0..5 {
        assert_eq!(ask(&route, "/hello", "").await.unwrap(), "hello");
    }
    let body = within(slow.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(body, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_ends_all_requests_of_the_instance_and_is_told_as_one_failure() {
    let spec = concurrent(Limits { cpu: Duration::from_millis(100), ..Limits::default() });
    for (then, code) in [("/trap", "guest_trap"), ("/spin", "cpu_limit")] {
        let metrics = Arc::<atelier_runtime::RouteMetrics>::default();
        let route = deploy(RouteSpec { metrics: metrics.clone(), ..spec.clone() }).await;
        let innocent = Held::begin(&route, "/sleep").await;
        let (instance, guilty) = (innocent.instance.clone(), innocent.join(&route, then).await);
        assert_eq!((guilty.fail().await, innocent.fail().await), (code, "instance_lost"));
        until(|| route.in_flight() == 0).await;
        assert_ne!(who(&route).await, instance);
        let lost = metrics.failures.all().into_iter().filter(|(kind, _)| *kind == "instance_lost");
        assert_eq!(lost.map(|(_, count)| count).sum::<u64>(), 1, "{:?}", metrics.failures.all());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_ends_its_own_jobs_and_the_others_go_on() {
    let (runtime, scheduler) = painting(Duration::from_millis(60));
    let route = runtime.deploy(concurrent(Limits::default())).await.unwrap();
    let stays = Held::begin(&route, "/generate fake cat 150").await;
    let leaves = stays.join(&route, "/generate fake cat 150").await;
    let instance = stays.instance.clone();
    let jobs = || {
        let counters = scheduler.status().counters;
        counters.submitted - counters.completed - counters.cancelled
    };
    // those that went to other instances are gone, and both that are left have their jobs
    until(|| route.in_flight() == 2 && jobs() == 2).await;
    drop(leaves);
    until(|| jobs() == 1).await;
    // the instance takes nobody any more while it answers the other one
    assert_ne!(who(&route).await, instance);
    assert!(stays.end().await.starts_with("64x64"));
    until(|| route.in_flight() == 0).await;
    assert_ne!(who(&route).await, instance);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requests_own_deadline_stops_that_request() {
    let (runtime, _) = painting(Duration::from_millis(20));
    let limits = Limits { wall: Duration::from_secs(2), ..Limits::default() };
    let route = runtime.deploy(concurrent(limits)).await.unwrap();
    let paints = Held::begin(&route, "/generate fake cat 150").await;
    let sleeps = paints.join(&route, "/sleep").await;
    assert_eq!(sleeps.fail().await, "wall_limit");
    assert!(paints.end().await.starts_with("64x64"), "waiting for a picture is not its own time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_holds_up_all_requests_inside_of_one_call_is_stopped() {
    let (runtime, scheduler) = painting(Duration::from_secs(1));
    let limits = Limits { wall: Duration::from_secs(1), ..Limits::default() };
    let route = runtime.deploy(concurrent(limits)).await.unwrap();
    let paints = Held::begin(&route, "/generate fake cat 150").await;
    // its own time stands still from now on
    until(|| scheduler.status().running).await;
    let blocks = paints.join(&route, "/block").await;
    assert_eq!((blocks.fail().await, paints.fail().await), ("wall_limit", "instance_lost"));
    until(|| route.in_flight() == 0 && held_doors(&runtime) == 0).await;
    who(&route).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_limited_for_each_request_by_itself() {
    let (runtime, _) = painting(Duration::from_millis(5));
    let route = runtime.deploy(concurrent(Limits { jobs: 1, ..Limits::default() })).await.unwrap();
    let first = Held::begin(&route, "/generate fake cat 150").await;
    let second = first.join(&route, "/generate fake cat 1").await;
    let third = first.join(&route, "/jobs").await;
    assert!(second.end().await.starts_with("64x64"));
    assert!(first.end().await.starts_with("64x64"));
    assert!(third.end().await.starts_with("1 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_servers_are_limited_for_each_request_by_itself() {
    let target = Target::open().await;
    let to = target.at("127.0.0.1");
    let grants = Grants { outbound: origins(std::slice::from_ref(&to)), ..studio().grants };
    let limits = Limits { outbound_requests: 2, ..Limits::default() };
    let route = deploy(RouteSpec { grants, ..concurrent(limits) }).await;
    let waits = Held::begin(&route, "/sleep").await;
    for _ in 0..3 {
        let answer = waits.join(&route, &format!("/call to={to}\ntimes=2")).await.end().await;
        assert!(answer.starts_with("200"), "{answer}");
    }
    let answer = waits.join(&route, &format!("/call to={to}\ntimes=3")).await.end().await;
    assert!(answer.contains("ConnectionLimitReached at 3"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_hangs_up_on_its_servers() {
    let target = Target::open().await;
    let to = target.at("127.0.0.1");
    let grants = Grants { outbound: origins(std::slice::from_ref(&to)), ..studio().grants };
    let route = deploy(RouteSpec { grants, ..concurrent(Limits::default()) }).await;
    let waits = Held::begin(&route, "/sleep").await;
    let asks = waits.join(&route, &format!("/call to={to}\npath=/silent")).await;
    until(|| target.connections() > target.left()).await;
    drop(asks);
    until(|| target.left() == target.connections() && route.in_flight() == 1).await;
    drop(waits);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_and_their_limit_belong_to_the_request_that_prints_them() {
    let logs = Logs::of("/prints");
    let spec = concurrent(Limits { log_bytes: 60, ..Limits::default() });
    let route = deploy(RouteSpec { route: "/prints".into(), ..spec }).await;
    // each waits in the middle of its line until the other one is there
    let first = Held::begin_as(&route, "first", "/print first").await;
    let mut attempts = 0;
    let (id, second) = loop {
        attempts += 1;
        let id = format!("second{attempts}");
        let other = Held::begin_as(&route, &id, &format!("/print {id}")).await;
        if other.instance == first.instance {
            break (id, other);
        }
    };
    assert_eq!((first.end().await, second.end().await), ("printed".into(), "printed".into()));
    for id in ["first", &id] {
        until(|| !logs.of_request(id).is_empty()).await;
        assert_eq!(logs.of_request(id), [format!("{id} begins, {id} ends{}", ".".repeat(20))]);
    }
}

/// Keeps what it is given.
#[derive(Default)]
struct Kept(Mutex<Vec<TraceParts>>);

impl TraceSink for Kept {
    fn take(&self, trace: TraceParts) {
        self.0.lock().unwrap().push(trace);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_lets_go_of_its_trace_while_its_instance_waits_for_others() {
    for reuse in [Reuse::Serial, Reuse::Concurrent] {
        let route = deploy(RouteSpec { reuse, ..concurrent(Limits::default()) }).await;
        let kept = Arc::new(Kept::default());
        for _ in 0..3 {
            let trace = Trace::recorded(None, None, kept.clone());
            let mut request =
                Request::get("http://test.invalid/models").body(Full::<Bytes>::default()).unwrap();
            request.extensions_mut().insert(RequestContext::new("id", Some(trace)));
            let answer = within(route.handle(request)).await.unwrap();
            within(answer.into_body().collect()).await.unwrap();
        }
        until(|| kept.0.lock().unwrap().len() == 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_has_so_many_requests_at_a_time() {
    let route = deploy(concurrent(Limits { reuse_at_a_time: 2, ..Limits::default() })).await;
    let first = Held::begin(&route, "/sleep").await;
    let second = first.join(&route, "/sleep").await;
    for _ in 0..10 {
        assert_ne!(who(&route).await, first.instance);
    }
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_answers_so_many_requests_in_all() {
    let spec = concurrent(Limits::default());
    let limits = Limits { reuse_requests: 3, ..spec.limits };
    let route = deploy(RouteSpec { limits, ..spec }).await;
    let first = Held::begin(&route, "/sleep").await;
    let (_second, _third) = (first.join(&route, "/nap").await, first.join(&route, "/nap").await);
    for _ in 0..10 {
        assert_ne!(who(&route).await, first.instance);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_waits_so_long_and_lives_so_long() {
    let short = Duration::from_millis(300);
    let default = concurrent(Limits::default()).limits;
    for limits in [Limits { reuse_idle: short, ..default.clone() }, Limits { reuse_age: short, ..default }] {
        let runtime = kit::runtime_with(Default::default(), kit::scheduler(Duration::ZERO));
        let spec = concurrent(Limits::default());
        let route = runtime.deploy(RouteSpec { limits, ..spec }).await.unwrap();
        let first = who(&route).await;
        tokio::time::sleep(short + Duration::from_millis(50)).await;
        assert_ne!(who(&route).await, first);
        until(|| held_doors(&runtime) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_of_every_kind_leave_nothing_behind() {
    let (runtime, _) = painting(Duration::from_millis(1));
    let spec = concurrent(Limits { wall: Duration::from_secs(20), ..Limits::default() });
    let route = runtime.deploy(spec).await.unwrap();
    let client = async |n: usize| {
        for turn in 0..12 {
            match (n + turn) % 6 {
                0 => drop(ask(&route, "/trap", "").await),
                1 => drop(send(&route, "/stream", "/sleep").await),
                2 => drop(ask(&route, "/error", "").await),
                3 => drop(ask(&route, "/generate", "fake cat 5").await),
                // lost when its instance traps, and whole otherwise
                _ => match ask(&route, "/hello", "").await {
                    Ok(answer) => assert_eq!(answer, "hello"),
                    Err(failure) => assert_eq!(failure.code(), "instance_lost"),
                },
            }
        }
    };
    within(futures::future::join_all((0..8).map(client))).await;
    drop(fail(&route, "/trap", "").await);
    until(|| route.in_flight() == 0).await;
    drop(route);
    until(|| held_doors(&runtime) == 0).await;
}
