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
use tokio::sync::{Notify, mpsc};

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
    /// The number of exchanges that make a batch with the one that the exporter took first.
    others: usize,
    /// Told when so many are in the queue.
    filled: Arc<Notify>,
    dropped: IntCounter,
}

/// The number of exchanges that a queue holds, and the number that is sent at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Maximum number of exchanges that wait.
    pub capacity: usize,
    /// Number of exchanges in a batch, at most `capacity`.
    pub batch: usize,
}

impl Tracer {
    /// Creates a tracer with a queue. `dropped` counts the exchanges for which there is no room.
    pub fn new(
        sampler: Sampler,
        bounds: QueueBounds,
        dropped: IntCounter,
    ) -> (Arc<Tracer>, FinishedExchanges) {
        let QueueBounds { capacity, batch } = bounds;
        let (finished, queue) = mpsc::channel(capacity.max(1));
        let filled = Arc::new(Notify::new());
        // If the queue holds one batch only, there must be room until the exporter runs.
        let others = batch.saturating_sub(1).min(capacity / 2);
        let exchanges = FinishedExchanges { queue, others, filled: Arc::clone(&filled) };
        (Arc::new(Tracer { sampler, finished, others, filled, dropped }), exchanges)
    }

    fn sampler(&self) -> Sampler {
        self.sampler
    }

    /// Queues an exchange, or drops it if the queue is full or the exporter has ended.
    fn queue(&self, exchange: FinishedExchange) {
        if self.finished.try_send(exchange).is_err() {
            self.dropped.inc();
        } else if self.finished.max_capacity() - self.finished.capacity() >= self.others {
            self.filled.notify_one();
        }
    }
}

/// The exchanges that have ended and wait for the exporter.
#[derive(Debug)]
pub struct FinishedExchanges {
    queue: mpsc::Receiver<FinishedExchange>,
    others: usize,
    filled: Arc<Notify>,
}

impl FinishedExchanges {
    /// Waits for an exchange. `None` if the queue is closed and empty.
    pub async fn first(&mut self) -> Option<FinishedExchange> {
        self.queue.recv().await
    }

    /// Waits until those in the queue make a batch with the first one, which was taken. Exchanges that end in the meantime wake
    /// nobody: a task that each of them woke would cost more than its spans.
    pub async fn filled(&self) {
        while self.queue.len() < self.others && !self.queue.is_closed() {
            self.filled.notified().await;
        }
    }

    /// Takes an exchange without waiting.
    pub fn take(&mut self) -> Option<FinishedExchange> {
        self.queue.try_recv().ok()
    }

    /// True once the queue takes no more exchanges.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Ends the queue: no more exchanges enter it.
    pub fn close(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Instant;

    use http::{HeaderMap, Version};
    use jiff::Timestamp;

    use super::*;

    fn queue_one(tracer: &Arc<Tracer>) {
        let request = TracedRequest { method: "GET", scheme: None, version: Version::HTTP_11 };
        let headers = HeaderMap::new();
        let trace = ExchangeTrace::begin(tracer, &headers, request, Instant::now(), Timestamp::UNIX_EPOCH);
        trace.unwrap().end(Some(200), "released");
    }

    #[test]
    fn a_waiting_exporter_is_woken_by_a_batch_and_not_by_each_exchange() {
        let sampler = Sampler::named("always_on", None).unwrap();
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let bounds = QueueBounds { capacity: 8, batch: 3 };
        let (tracer, mut finished) = Tracer::new(sampler, bounds, dropped);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            queue_one(&tracer);
            assert!(finished.take().is_some());
            {
                let mut filled = pin!(finished.filled());
                queue_one(&tracer);
                assert_eq!(filled.as_mut().poll(&mut context), Poll::Pending, "one is taken, one waits");
                queue_one(&tracer);
                assert_eq!(filled.as_mut().poll(&mut context), Poll::Ready(()));
            }
            // A notice that nobody waits for is of no use later: what is there is counted.
            queue_one(&tracer);
            while finished.take().is_some() {}
        }
        finished.close();
        assert_eq!(pin!(finished.filled()).poll(&mut context), Poll::Ready(()), "nothing more can come");
    }
}
