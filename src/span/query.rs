//! Paths and queries that ask Tempo and Loki.

use super::TraceId;
use std::fmt::Write as _;

/// Where Tempo shows one trace as soon as it has it (version 2 of its endpoint: no 404, an empty trace instead).
pub fn trace_path(id: TraceId) -> String {
    format!("/api/v2/traces/{id}")
}

/// Where Tempo searches for traces of a service that started in `start_s..end_s` (seconds since the epoch).
///
/// Both ends are always sent: without them Tempo 2.9 searches its ingesters only and later ones a default window; and
/// an end that is not after the start makes it fall back to that window, so the end is moved then.
pub fn search_path(service: &str, start_s: u64, end_s: u64, limit: u32) -> String {
    let query = format!("{{resource.service.name={}}}", quoted(service));
    let (end_s, limit) = (end_s.max(start_s.saturating_add(1)), limit.max(1));
    format!("/api/search?q={}&start={start_s}&end={end_s}&limit={limit}", url_encoded(&query))
}

/// Where Loki runs a LogQL query over `start_ns..end_ns` (nanoseconds since the epoch, the end excluded), latest lines
/// first.
pub fn loki_query_path(query: &str, start_ns: u64, end_ns: u64, limit: u32) -> String {
    let (end_ns, limit) = (end_ns.max(start_ns.saturating_add(1)), limit.max(1));
    format!(
        "/loki/api/v1/query_range?query={}&start={start_ns}&end={end_ns}&limit={limit}&direction=backward",
        url_encoded(query)
    )
}

/// A string literal of TraceQL and LogQL, quotes included: both read it as Go does (`strconv.Unquote`).
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Percent-encoded for a query's value: everything but RFC 3986's unreserved characters.
fn url_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_what_the_services_read() {
        let id = TraceId::parse("af7651916cd43dd8448eb211c80319c").unwrap();
        insta::assert_snapshot!(trace_path(id), @"/api/v2/traces/0af7651916cd43dd8448eb211c80319c");
        insta::assert_snapshot!(search_path("tripit", 100, 400, 20),
            @"/api/search?q=%7Bresource.service.name%3D%22tripit%22%7D&start=100&end=400&limit=20");
        insta::assert_snapshot!(search_path("a\"}|{&\\\n", 100, 100, 0),
            @"/api/search?q=%7Bresource.service.name%3D%22a%5C%22%7D%7C%7B%26%5C%5C%5Cu000a%22%7D&start=100&end=101&limit=1");
        insta::assert_snapshot!(loki_query_path("{app=\"tripit\"} |= `x`", 1, 2, 100),
            @"/loki/api/v1/query_range?query=%7Bapp%3D%22tripit%22%7D%20%7C%3D%20%60x%60&start=1&end=2&limit=100&direction=backward");
    }

    proptest! {
        #[test]
        fn a_service_name_never_leaves_its_quotes(service in any::<String>()) {
            let literal = quoted(&service);
            let inside = &literal[1..literal.len() - 1];
            // Without what is escaped no quote, backslash or control character remains.
            let rest = inside.replace("\\\\", "").replace("\\\"", "").replace("\\u", "");
            prop_assert!(!rest.contains(['"', '\\']) && !rest.chars().any(char::is_control));
            let path = search_path(&service, 0, 1, 1);
            prop_assert!(path.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'#'));
            prop_assert_eq!(path.matches('&').count(), 3);
        }
    }
}
