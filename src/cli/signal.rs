//! Signals: the first asks to stop at the next safe point, the second at once.

use super::output::say;
use crate::rollout::{Cause, Stop};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Listens for SIGINT, SIGTERM and SIGHUP for as long as the process lives.
pub fn listen() -> watch::Receiver<Stop> {
    let (send, receive) = watch::channel(Stop::No);
    tokio::spawn(async move {
        let streams =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()));
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = streams else {
            say("note: signals cannot be caught here; Ctrl-C ends the process at once");
            std::future::pending::<()>().await;
            return;
        };
        loop {
            let cause = tokio::select! {
                _ = interrupt.recv() => Cause::Interrupted,
                _ = terminate.recv() => Cause::Terminated,
                _ = hangup.recv() => Cause::Terminated,
            };
            let next = match *send.borrow() {
                Stop::No => {
                    say("stopping at the next safe point; once more stops at once");
                    Stop::Safe(cause)
                }
                Stop::Safe(_) | Stop::Now(_) => {
                    say("stopping at once; what is in flight is settled next time");
                    Stop::Now(cause)
                }
            };
            send.send_replace(next);
        }
    });
    receive
}
