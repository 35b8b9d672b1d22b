//! Which requests are traced. A trace that came with a request is gone on with, as whoever began it decided; a request
//! without one begins a trace of its own, so many of a thousand. Without a collector nothing is recorded, and what came is
//! only passed on.

use std::sync::Arc;

use atelier_runtime::{Trace, TraceParent, TraceSink};
use http::HeaderMap;

/// Decides at the door.
#[derive(Clone)]
pub(crate) struct Tracer {
    sink: Option<Arc<dyn TraceSink>>,
    /// Of requests that belong to no trace yet, the part that begins one.
    ratio: f64,
}

impl Tracer {
    /// Gives a part of the traces, 0 to 1, and all that came sampled, to a sink.
    pub(crate) fn new(sink: Option<Arc<dyn TraceSink>>, ratio: f64) -> Self {
        Self { sink, ratio }
    }

    /// The trace of a request with these headers. They name none after this: the runtime names it to the component.
    pub(crate) fn begin(&self, headers: &mut HeaderMap) -> Option<Trace> {
        let came = TraceParent::take(headers);
        match (&self.sink, came) {
            (Some(sink), Some((parent, state))) if parent.sampled => {
                Some(Trace::recorded(Some(parent), state, sink.clone()))
            }
            (_, Some((parent, state))) => Some(Trace::passed_on(parent, state)),
            (Some(sink), None) if rand::random::<f64>() < self.ratio => {
                Some(Trace::recorded(None, None, sink.clone()))
            }
            (_, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use atelier_runtime::TraceParts;

    use super::*;

    struct Nobody;

    impl TraceSink for Nobody {
        fn take(&self, _: TraceParts) {}
    }

    fn begin(sink: bool, ratio: f64, header: Option<&str>) -> Option<String> {
        let sink: Option<Arc<dyn TraceSink>> = if sink { Some(Arc::new(Nobody)) } else { None };
        let mut headers = HeaderMap::new();
        headers.extend(header.map(|header| (atelier_runtime::TRACEPARENT, header.parse().unwrap())));
        let trace = Tracer::new(sink, ratio).begin(&mut headers);
        assert!(headers.is_empty(), "the component learns of it by the runtime");
        trace.map(|trace| trace.id())
    }

    #[test]
    fn a_trace_that_came_is_gone_on_with_and_a_broken_one_is_not() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        for flags in ["00", "01"] {
            let header = format!("00-{id}-b7ad6b7169203331-{flags}");
            for sink in [true, false] {
                assert_eq!(begin(sink, 0.0, Some(&header)).as_deref(), Some(id));
            }
        }
        assert_eq!(begin(false, 1.0, Some("00-nonsense")), None);
    }

    #[test]
    fn without_one_the_ratio_decides_and_without_a_collector_nothing_begins() {
        assert!(begin(true, 1.0, None).is_some_and(|id| id.len() == 32));
        assert_eq!(begin(true, 0.0, None), None);
        assert_eq!(begin(false, 1.0, None), None);
    }
}
