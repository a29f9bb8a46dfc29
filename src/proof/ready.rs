//! ready: does the service itself say that it is ready?

use super::Finding;
use crate::text::Clean;

/// Judges one answer of a readiness endpoint: `Ok((status, first line of the body))`, or why there was none.
pub fn judge(what: &str, answer: &Result<(u16, Clean), Clean>) -> Finding {
    match answer {
        Ok((status, _)) if (200..300).contains(status) => Finding::proven(format!("{what} answers {status}")),
        Ok((status, line)) => Finding::refuted(format!("{what} answers {status}: {line}")),
        Err(cause) => Finding::unknown(format!("{what} could not be asked: {cause}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Verdict;

    #[test]
    fn only_an_answer_that_says_so_is_ready() {
        assert_eq!(judge("tempo /ready", &Ok((200, Clean::from("ready")))).verdict, Verdict::Proven);
        assert_eq!(
            judge("tempo /ready", &Ok((503, Clean::from("Ingester not ready")))).verdict,
            Verdict::Refuted
        );
        assert_eq!(judge("tempo /ready", &Err(Clean::from("no ready pod"))).verdict, Verdict::Unknown);
    }
}
