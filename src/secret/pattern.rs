//! Secrets that are known by their form, wherever they stand.

/// Whether a value at a secret place is plainly none: a reference to elsewhere, or masked already.
pub(super) fn is_no_secret(text: &str) -> bool {
    text.is_empty()
}

/// The text that base64 stands for, if it is base64 of text.
pub(super) fn decoded(_text: &str) -> Option<String> {
    None
}
