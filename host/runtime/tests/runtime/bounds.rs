//! Limits at their edge: what is just within passes, what is just past does not. The guests are small enough to be written
//! by hand, so that their memories, tables and instances are known to the byte.

use std::time::{Duration, Instant};

use atelier_runtime::{Code, Deployment, Failure, Limits, RouteSpec};

use crate::kit::{ask, deploy, fail, guest, runtime, spec, studio, text};

const PAGE: usize = 64 << 10;

/// A handler of `wasi:http` 0.2 made of these core modules; the first one is called, and answers nothing.
fn handler(modules: &[&str]) -> Code {
    let entry = "(func (export \"handle\") (param i32 i32))";
    let module = |(index, body): (usize, &&str)| {
        let entry = if index == 0 { entry } else { "" };
        format!("(core module $m{index} {body} {entry}) (core instance $i{index} (instantiate $m{index}))")
    };
    let modules: String = modules.iter().enumerate().map(module).collect();
    let component = format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $answer))
            {modules}
            (func $handle (param "request" (own $request)) (param "response-out" (own $answer))
                (canon lift (core func $i0 "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    );
    text("by-hand.wasm", &component)
}

async fn outcome(code: Code, limits: Limits) -> Failure {
    let route = deploy(RouteSpec { limits, ..spec(code) }).await;
    fail(&route, "/", "").await
}

fn assert_silent(failure: &Failure) {
    // it ran to its end, and answered nothing as it is written to
    assert_eq!(failure.code(), "no_response", "{}", failure.internal());
}

fn assert_past(failure: &Failure, key: &str) {
    assert!(matches!(failure.code(), "memory_limit" | "resource_limit"), "{}", failure.internal());
    assert!(failure.public().contains(key), "{}", failure.public());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_summed_over_all_memories_of_all_parts() {
    let parts = handler(&["(memory 16)", "(memory 8)", "(memory 8)"]);
    let limits = |memory_bytes| Limits { memory_bytes, ..Limits::default() };
    assert_silent(&outcome(parts.clone(), limits(32 * PAGE)).await);
    assert_past(&outcome(parts, limits(32 * PAGE - 1)).await, "limits.memory-bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_grows_counts_like_memory_that_was_there() {
    // an answer other than the pages before is -1: there the guest traps
    let grow = |pages: u32| {
        format!(
            "(memory 1) (func $start (if (i32.ne (memory.grow (i32.const {pages})) (i32.const 1)) \
             (then unreachable))) (start $start)"
        )
    };
    let limits = Limits { memory_bytes: 10 * PAGE, ..Limits::default() };
    assert_silent(&outcome(handler(&[&grow(8), "(memory 1)"]), limits.clone()).await);
    assert_past(&outcome(handler(&["(memory 1)", &grow(9)]), limits).await, "limits.memory-bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_elements_are_summed_over_all_tables() {
    let parts = handler(&["(table 60 funcref)", "(table 40 funcref)"]);
    let limits = |table_elements| Limits { table_elements, ..Limits::default() };
    assert_silent(&outcome(parts.clone(), limits(100)).await);
    assert_past(&outcome(parts, limits(99)).await, "limits.table-elements");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_instances_count_one_by_one() {
    let parts = handler(&["", "", ""]);
    let limits = |instances| Limits { instances, ..Limits::default() };
    assert_silent(&outcome(parts.clone(), limits(3)).await);
    assert_past(&outcome(parts, limits(2)).await, "limits.instances");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_may_allow_larger_tables_than_most_need() {
    let large = handler(&["(table 500_000 funcref)"]);
    let limits = Limits { table_elements: 500_000, ..Limits::default() };
    assert_silent(&outcome(large.clone(), limits).await);
    assert_past(&outcome(large, Limits::default()).await, "limits.table-elements");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_giant_table_or_memory_is_refused_whatever_a_route_allows() {
    let limits = Limits { table_elements: usize::MAX, memory_bytes: usize::MAX, ..Limits::default() };
    for giant in ["(table 4_000_000_000 funcref)", "(memory i64 65_537)"] {
        let refused = runtime().deploy(RouteSpec { limits: limits.clone(), ..spec(handler(&[giant])) }).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("`by-hand.wasm` does not load"), "{refused}");
    }
    assert_past(&outcome(handler(&["(memory 65_536)"]), Limits::default()).await, "limits.memory-bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_limited_by_their_bytes_in_both_generations() {
    let limits = Limits { header_bytes: 20_000, ..Limits::default() };
    // each is at least 1,000 bytes of value
    let p3 = deploy(RouteSpec { limits: limits.clone(), ..studio() }).await;
    let told = ask(&p3, "/headers", "").await.unwrap();
    let (kept, error) = told.split_once(' ').unwrap();
    assert!((15..20).contains(&kept.parse::<u32>().unwrap()) && error.contains("SizeExceeded"), "{told}");
    // 0.2 has no word for it: the guest is stopped
    let p2 = deploy(RouteSpec { limits, ..spec(guest("plain2")) }).await;
    assert_past(&fail(&p2, "/headers", "").await, "20000 bytes of headers (limits.header-bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_guest_that_sleeps_behind_a_wait_is_bounded_by_both_limits_together() {
    use tokio::net::TcpListener;
    // takes connections and says nothing
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let (wall, capability_wait) = (Duration::from_millis(300), Duration::from_millis(600));
    let mut guest = studio();
    guest.grants.outbound = vec![atelier_runtime::Origin::parse(&format!("http://{target}")).unwrap()];
    let route =
        deploy(RouteSpec { limits: Limits { wall, capability_wait, ..Limits::default() }, ..guest }).await;
    let began = Instant::now();
    let failure = fail(&route, "/hide", &target).await;
    assert_eq!(failure.code(), "capability_wait_limit", "{}", failure.internal());
    assert!(began.elapsed() >= capability_wait, "waiting is not the guest's own time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_without_end_is_a_trap() {
    let route: std::sync::Arc<Deployment> = deploy(spec(guest("plain2"))).await;
    for _ in 0..3 {
        let failure = fail(&route, "/recurse", "").await;
        assert_eq!(failure.code(), "guest_trap");
        assert!(failure.internal().contains("call stack exhausted"), "{}", failure.internal());
    }
    assert_eq!(ask(&route, "/", "").await.unwrap(), "hello from 0.2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_nested_without_end_are_refused_when_the_component_loads() {
    let nested: String = (1..10_000).map(|n| format!("(type $t{n} (list $t{}))", n - 1)).collect();
    let component =
        format!("(component (type $t0 (list u8)) {nested} (import \"a:b/c\" (func (param \"x\" $t9999))))");
    let refused = runtime().deploy(spec(text("nested.wasm", &component))).await.unwrap_err();
    assert!(refused.to_string().contains("`nested.wasm`"), "{refused}");
}
