//! Proxies of the environment, by the rules of Go's `net/http` that kubectl has.

use crate::text::Clean;
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use std::net::IpAddr;

/// The proxy for a server: HTTPS_PROXY or HTTP_PROXY by the server's scheme, unless NO_PROXY names the server or it is
/// on this machine (golang.org/x/net/http/httpproxy `useProxy`).
///
/// # Errors
/// A sentence, when the proxy is no URL.
pub(super) fn for_server(
    server: &Uri,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Uri>, Clean> {
    if is_loopback(server) {
        return Ok(None);
    }
    let either = |upper: &str, lower: &str| {
        variable(upper).or_else(|| variable(lower)).filter(|value| !value.trim().is_empty())
    };
    let name = if server.scheme_str() == Some("http") { "HTTP_PROXY" } else { "HTTPS_PROXY" };
    let Some(proxy) = either(name, &name.to_lowercase()) else {
        return Ok(None);
    };
    let none = either("NO_PROXY", "no_proxy").unwrap_or_default();
    // Only the decision is the matcher's: the proxy itself keeps its credentials.
    if Matcher::builder().all("http://proxy.invalid").no(none).build().intercept(server).is_none() {
        return Ok(None);
    }
    let proxy = if proxy.contains("://") { proxy } else { format!("http://{proxy}") };
    // The value may hold a password, so it is not shown.
    proxy.parse().map(Some).map_err(|_| Clean::new(format!("{name} is not a URL")))
}

/// Whether a server is on this machine.
pub(in crate::adapter) fn is_loopback(server: &Uri) -> bool {
    let Some(host) = server.host() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(server: &str, variables: &[(&str, &str)]) -> Result<Option<String>, Clean> {
        let found = for_server(&server.parse().unwrap(), |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        });
        found.map(|uri| uri.map(|uri| uri.to_string()))
    }

    const PROXY: (&str, &str) = ("HTTPS_PROXY", "http://proxy.example:3128");

    #[test]
    fn the_environment_names_a_proxy() {
        let there = Ok(Some("http://proxy.example:3128/".to_owned()));
        assert_eq!(proxy("https://api.example:6443", &[PROXY]), there);
        assert_eq!(proxy("https://api.example", &[("https_proxy", "proxy.example:3128")]), there);
        assert_eq!(proxy("https://api.example", &[]), Ok(None));
        assert_eq!(proxy("https://api.example", &[("HTTP_PROXY", "http://x")]), Ok(None));
    }

    #[test]
    fn no_proxy_names_the_server_and_loopback_has_none() {
        for no in ["*", "example", ".example", "api.example", "other, api.example"] {
            assert_eq!(proxy("https://api.example:6443", &[PROXY, ("NO_PROXY", no)]), Ok(None), "{no}");
        }
        assert_eq!(proxy("https://10.1.2.3:6443", &[PROXY, ("NO_PROXY", "10.0.0.0/8")]), Ok(None));
        // kube's own rule would look at the proxy's name here.
        assert!(proxy("https://api.example", &[PROXY, ("NO_PROXY", "proxy.example")]).unwrap().is_some());
        for here in ["https://127.0.0.1:6443", "https://localhost:6443", "https://[::1]:6443"] {
            assert_eq!(proxy(here, &[PROXY]), Ok(None), "{here}");
        }
    }

    #[test]
    fn a_proxy_that_is_none_is_said_without_its_value() {
        let said = proxy("https://api.example", &[("HTTPS_PROXY", "http://me:pass word@x")]).unwrap_err();
        assert_eq!(said.as_str(), "HTTPS_PROXY is not a URL");
    }
}
