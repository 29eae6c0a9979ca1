//! The stages of a gateway from its start to its end, and the handle that ends it.

use tokio::sync::watch;

/// The stages of a gateway, in their order. A gateway never returns to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It serves.
    Serving,
    /// It serves everything, but `/readyz` answers 503 and clients are told to leave their connections.
    DrainNotice,
    /// The public listeners accept no connections, and the exchanges under way end.
    Draining,
    /// No exchange is under way, and the admin listener accepts no connections.
    Closing,
}

/// Moves the gateway on to a stage, unless it has reached that stage.
pub(super) fn advance(stage: &watch::Sender<Stage>, to: Stage) {
    stage.send_if_modified(|now| {
        let is_later = *now < to;
        *now = to.max(*now);
        is_later
    });
}

/// Returns when the gateway has reached a stage, or no longer exists.
pub(super) async fn reached(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
    let _ = stage.wait_for(|now| *now >= wanted).await;
}

/// Ends a running gateway. Dropping it does not.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<Stage>);

impl Stop {
    pub(super) fn new(stage: watch::Sender<Stage>) -> Stop {
        Stop(stage)
    }

    /// Begins the drain notice (`drain-notice` of the configuration): the gateway is not ready, but serves until the notice
    /// is over. Then it stops as after [`Stop::stop`].
    pub fn announce(&self) {
        advance(&self.0, Stage::DrainNotice);
    }

    /// Makes [`Gateway::run`](super::Gateway::run) accept no more connections, without a notice, and return as soon as the
    /// exchanges under way have ended, or when the drain time is over.
    pub fn stop(&self) {
        advance(&self.0, Stage::Draining);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_never_left_for_an_earlier_one() {
        let stage = watch::Sender::new(Stage::Serving);
        let stop = Stop::new(stage.clone());
        stop.announce();
        assert_eq!(*stage.borrow(), Stage::DrainNotice);
        stop.stop();
        stop.announce();
        assert_eq!(*stage.borrow(), Stage::Draining);
    }
}
