//! OpenTelemetry traces: what an exchange remembers of its own course, and the queue in which it waits to be exported.
//!
//! An exchange collects times and names in an [`ExchangeTrace`]. Its spans are made of them when a batch is encoded, on the
//! exporter's task. Nothing here sends anything.
//!
//! Invariants: an exchange never waits for the exporter (a full queue drops the exchange's spans, and counts them); a trace
//! holds configured names, problem codes, times and numbers, and no path, query, field value, or id of a person or a decision.
//! Of what callers send, it holds at most the two ids of a `traceparent`.

mod context;
mod exchange_trace;
mod sampler;

use std::sync::Arc;

use prometheus::IntCounter;
use tokio::sync::mpsc;

pub use self::context::{CallerContext, SpanId, TraceId};
pub use self::exchange_trace::{
    ExchangeNames, ExchangeTrace, FinishedExchange, LogWaits, TraceIdentity, TracedRequest, UpstreamCall,
};
pub use self::sampler::{Sampler, UnknownSampler};

/// Decides which exchanges are traced, and queues those that have ended.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    finished: mpsc::Sender<FinishedExchange>,
    dropped: IntCounter,
}

impl Tracer {
    /// Creates a tracer with a queue for so many exchanges. `dropped` counts those for which there is no room.
    pub fn new(
        sampler: Sampler,
        queue: usize,
        dropped: IntCounter,
    ) -> (Arc<Tracer>, mpsc::Receiver<FinishedExchange>) {
        let (finished, receiver) = mpsc::channel(queue.max(1));
        (Arc::new(Tracer { sampler, finished, dropped }), receiver)
    }

    fn sampler(&self) -> Sampler {
        self.sampler
    }

    /// Queues an exchange, or drops it if the queue is full or the exporter has ended.
    fn queue(&self, exchange: FinishedExchange) {
        if self.finished.try_send(exchange).is_err() {
            self.dropped.inc();
        }
    }
}
