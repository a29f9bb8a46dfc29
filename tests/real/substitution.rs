//! What the harness changes in a configuration before a real program reads it, and nothing else.
//!
//! | change | from | to |
//! | --- | --- | --- |
//! | listen address with its port | `0.0.0.0:4317`, `[::]:4317`, `${env:MY_POD_IP}:4317` | `127.0.0.1:` and a free port |
//! | listen address alone | `http_listen_address: 0.0.0.0` | `127.0.0.1` |
//! | listen port alone | `http_listen_port: 3200`; `port: 8888` right after a `host:` of all addresses | a free port |
//! | storage path | a mount path of a volume, as the pod names it | a folder of the test |
//! | host name of a Service | `tempo.monitoring.svc:4317` | the relay for that name, see `network.rs` |
//!
//! Comments are left alone.

use std::net::SocketAddr;

/// Everything that a substitution needs from its surroundings.
pub trait Surroundings {
    /// The local port for a port that the program listens on.
    fn listen(&mut self, port: u16) -> u16;
    /// The local address that stands for a host name and port.
    fn name(&mut self, host: &str, port: u16) -> SocketAddr;
    /// The local folder for a path at or below a mounted volume.
    fn path(&mut self, path: &str) -> Option<String>;
}

/// Addresses that mean: on every interface of the pod.
const ALL: [&str; 3] = ["0.0.0.0", "[::]", "${env:MY_POD_IP}"];

/// The text with the listed changes.
pub fn substitute(text: &str, surroundings: &mut dyn Surroundings) -> String {
    let mut result = String::with_capacity(text.len());
    let mut host_of_all = false;
    for line in text.split_inclusive('\n') {
        let (content, end) = line.strip_suffix('\n').map_or((line, ""), |content| (content, "\n"));
        if content.trim_start().starts_with('#') {
            result.push_str(line);
            continue;
        }
        let changed = setting(content, host_of_all, surroundings);
        host_of_all = value_of(content, "host").is_some_and(|value| ALL.contains(&unquoted(value)));
        result.push_str(&changed.unwrap_or_else(|| words(content, surroundings)));
        result.push_str(end);
    }
    result
}

/// A line that sets a listen address or port by itself.
fn setting(line: &str, host_of_all: bool, surroundings: &mut dyn Surroundings) -> Option<String> {
    let (head, value) = line.split_once(": ")?;
    let key = head.trim_start().trim_start_matches("- ");
    let value = value.trim();
    if key.ends_with("listen_address") || (key == "host" && ALL.contains(&unquoted(value))) {
        return Some(format!("{head}: 127.0.0.1"));
    }
    if key.ends_with("listen_port") || (key == "port" && host_of_all) {
        return Some(format!("{head}: {}", surroundings.listen(value.parse().ok()?)));
    }
    None
}

/// The value of a key, where the line sets that key.
fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.trim_start().strip_prefix(key)?.strip_prefix(':').map(str::trim)
}

/// A scalar without its quotes.
fn unquoted(value: &str) -> &str {
    value.trim_matches(['"', '\''])
}

/// Changes each word of a line; a word is what stands between blanks, quotes, commas, brackets and equals signs.
fn words(line: &str, surroundings: &mut dyn Surroundings) -> String {
    let mut result = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let start = rest.find(|one: char| !is_separator(one)).unwrap_or(rest.len());
        result.push_str(rest.get(..start).unwrap_or_default());
        rest = rest.get(start..).unwrap_or_default();
        let end = rest.find(is_separator).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default();
        result.push_str(&changed_word(word, surroundings).unwrap_or_else(|| word.to_owned()));
        rest = rest.get(end..).unwrap_or_default();
    }
    result
}

fn is_separator(one: char) -> bool {
    one.is_whitespace() || ['"', '\'', ',', '='].contains(&one)
}

fn changed_word(word: &str, surroundings: &mut dyn Surroundings) -> Option<String> {
    if word.starts_with('/') {
        return surroundings.path(word);
    }
    let (scheme, rest) = word.split_once("://").map_or(("", word), |(scheme, rest)| (scheme, rest));
    let (authority, path) =
        rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let (host, port) = authority.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let address = if ALL.contains(&host) {
        format!("127.0.0.1:{}", surroundings.listen(port))
    } else if is_name(host) {
        surroundings.name(host, port).to_string()
    } else {
        return None;
    };
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    let path = path.map(|path| format!("/{path}")).unwrap_or_default();
    Some(format!("{scheme}{address}{path}"))
}

/// Whether this is a DNS name of at least two labels that is no IP address. `localhost` is the pod's own and stays.
fn is_name(host: &str) -> bool {
    let label = |one: &str| {
        !one.is_empty()
            && one.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !one.starts_with('-')
            && !one.ends_with('-')
    };
    let labels: Vec<&str> = host.split('.').collect();
    labels.len() > 1
        && labels.iter().all(|one| label(one))
        && labels.last().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Table {
        asked: Vec<String>,
    }

    impl Surroundings for Table {
        fn listen(&mut self, port: u16) -> u16 {
            self.asked.push(format!("listen {port}"));
            port.wrapping_add(10_000)
        }

        fn name(&mut self, host: &str, port: u16) -> SocketAddr {
            self.asked.push(format!("name {host}:{port}"));
            SocketAddr::from(([127, 0, 0, 1], 999))
        }

        fn path(&mut self, path: &str) -> Option<String> {
            let rest = path.strip_prefix("/var/tempo")?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("/data{rest}"))
        }
    }

    /// Every line of the table in the head of this file, and the lines beside them that must stay.
    #[test]
    fn only_addresses_paths_and_names_change() {
        let before = "\
# 0.0.0.0:1 and /var/tempo stay in a comment
server:
  http_listen_address: 0.0.0.0
  http_listen_port: 3200
endpoint: 0.0.0.0:4317
quoted: \"[::]:4318\"
pod: ${env:MY_POD_IP}:13133
path: /var/tempo/wal
other: /var/tempos /etc/x
exporter: tempo.monitoring.svc:4317
url: http://loki.monitoring.svc.cluster.local:3100/loki/api/v1/push
prometheus:
  host: 0.0.0.0
  port: 8888
plain:
  port: 8888
ip: 10.0.0.1:80
local: localhost:80
time: 12:30
retention: 720h
regex: '(?i)\\bbearer(?:[\\s:=+]|%20)+'
last: x";
        let mut table = Table::default();
        let after = substitute(before, &mut table);
        let expected = before
            .replace("listen_address: 0.0.0.0", "listen_address: 127.0.0.1")
            .replace("listen_port: 3200", "listen_port: 13200")
            .replace("endpoint: 0.0.0.0:4317", "endpoint: 127.0.0.1:14317")
            .replace("[::]:4318", "127.0.0.1:14318")
            .replace("${env:MY_POD_IP}:13133", "127.0.0.1:23133")
            .replace("path: /var/tempo/wal", "path: /data/wal")
            .replace("tempo.monitoring.svc:4317", "127.0.0.1:999")
            .replace("loki.monitoring.svc.cluster.local:3100", "127.0.0.1:999")
            .replace("host: 0.0.0.0\n  port: 8888", "host: 127.0.0.1\n  port: 18888");
        assert_eq!(after, expected);
        assert_eq!(
            table.asked,
            [
                "listen 3200",
                "listen 4317",
                "listen 4318",
                "listen 13133",
                "name tempo.monitoring.svc:4317",
                "name loki.monitoring.svc.cluster.local:3100",
                "listen 8888"
            ]
        );
    }

    /// The shipped configurations: no line changes but those that name an address, a path or a Service.
    #[test]
    fn shipped_configurations_keep_everything_else() {
        for text in [
            include_str!("../../assets/tempo/configmap.yaml"),
            include_str!("../../assets/collector/configmap.yaml"),
        ] {
            let after = substitute(text, &mut Table::default());
            assert_eq!(text.lines().count(), after.lines().count());
            for (before, after) in text.lines().zip(after.lines()).filter(|(before, after)| before != after) {
                let listed = ["listen_", "endpoint: ", "path: /var/tempo", "host: 0.0.0.0", "port: 8888"];
                assert!(listed.iter().any(|part| before.contains(part)), "{before:?} became {after:?}");
            }
            assert!(!after.lines().any(|line| line.contains("0.0.0.0")), "{after}");
        }
    }
}
