//! Which names promise a secret value: `DB_PASSWORD` does, `passwordPolicy` and `secretName` do not.
//!
//! A miss leaks and a false alarm only annoys, so a telling word anywhere in a name counts, unless the name's last word
//! says that the value is about a secret and not one itself.

/// Words that make a name secret wherever they stand in it.
const SECRET: &str = "password passwords passwd pwd passphrase passphrases passcode secret secrets token tokens credential \
    credentials cred creds apikey apikeys authorization jwt bearer htpasswd dsn psk dockerconfigjson \
    dockercfg netrc pgpass mnemonic cookie cookies kubeconfig";

/// Words that make `… key` secret when they stand before it.
const KEYS: &str = "api access private secret encryption encrypt signing sign shared master auth account storage license \
    licence ssh ssl tls client server ca session hmac aes rsa jwt app application deploy service root \
    admin webhook integration routing";

/// Other pairs of words that are secret.
const PAIRS: &[(&str, &str)] = &[
    ("header", "value"),
    ("connection", "string"),
    ("conn", "string"),
    ("conn", "str"),
    ("basic", "auth"),
    ("access", "code"),
    ("amz", "signature"),
];

/// Names that are secret as a whole.
const WHOLE: &str = "sig pass securejsondata";

/// Ends that make a name secret where it is written without any boundary between its words.
const ENDS: &str = "password passwd passphrase apikey secretkey accesskey privatekey authtoken accesstoken refreshtoken \
    clientsecret connectionstring userpass dbpass mysqlpwd credentials";

/// Last words that say that the value is about a secret: where it is, what it is called, how long it lives.
const ABOUT: &str = "name names ref refs reference references url urls uri uris endpoint endpoints path paths file files \
    filename dir directory folder policy policies ttl expiry expires expiration expire lifetime age \
    seconds minutes hours days duration timeout interval period length size count limit limits min max \
    type types kind kinds enabled enable disabled disable required optional allowed namespace namespaces \
    version mode format header headers field fields issuer audience audiences rotation store provider \
    providers template mount mounts volume volumes selector selectors pattern patterns regex regexp \
    class scope scopes rule rules strategy method methods algorithm alg env label labels annotation \
    annotations prefix suffix manager operator controller review reviews attempts retries rate bucket \
    index source sources location host port usage complexity strength hint prompt authentication \
    property";

/// Names that, inside a map with a secret name, do not hold the secret: `secret: { name: x, items: […] }`.
const HARMLESS: &str = "name namespace key path items optional mode username user create apiVersion kind existing property \
    version metadata description title";

/// Whether a value under this name is to be taken for a secret.
pub fn is_secret_key(name: &str) -> bool {
    let words = words(name);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    strip_number(&mut words);
    let Some(last) = words.last() else { return false };
    let whole = words.concat();
    if listed(WHOLE, &whole) {
        return true;
    }
    if listed(ABOUT, last) || is_reference(&words) {
        return false;
    }
    if words.len() == 1
        && !listed(SECRET, &whole)
        && ABOUT.split(' ').any(|about| about.len() > 2 && whole.ends_with(about))
    {
        return false;
    }
    words.iter().any(|word| listed(SECRET, word))
        || *last == "pass"
        || words.windows(2).any(|pair| match pair {
            [one, other] => {
                (matches!(*other, "key" | "keys") && listed(KEYS, one)) || PAIRS.contains(&(one, other))
            }
            _ => false,
        })
        || ENDS.split(' ').any(|end| whole.ends_with(end))
}

/// Whether the last word itself tells of a secret: the stricter form, for text in which anything can stand before a colon.
pub(super) fn ends_secret(name: &str) -> bool {
    let words = words(name);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    strip_number(&mut words);
    let tail = words.get(words.len().saturating_sub(2)..).unwrap_or_default();
    let last = tail.last().copied().unwrap_or_default();
    is_secret_key(name)
        && (listed(SECRET, last)
            || listed(WHOLE, &words.concat())
            || ENDS.split(' ').any(|end| last.ends_with(end))
            || (tail.len() == 2 && is_secret_key(&tail.join("_"))))
}

/// Whether everything in a map or list of this name is secret until its own name says otherwise. Blocks that configure
/// a way of authentication say by the names inside which of their values are secret.
pub(super) fn is_secret_container(name: &str) -> bool {
    const WAYS: &str = "auth authorization bearer jwt cookie cookies kubeconfig";
    is_secret_key(name) && !words(name).last().is_some_and(|last| listed(WAYS, last))
}

/// Whether a value under this name, inside a map whose own name is secret, is about the secret and not the secret.
pub(super) fn is_harmless_child(name: &str) -> bool {
    listed(HARMLESS, name) || (words(name).last().is_some_and(|last| listed(ABOUT, last)))
}

fn listed(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// `password2` is a password.
fn strip_number(words: &mut Vec<&str>) {
    while words.len() > 1 && words.last().is_some_and(|word| word.chars().all(|c| c.is_ascii_digit())) {
        words.pop();
    }
}

/// Names that hold the name of a Secret object (`imagePullSecrets`, `existingSecret`), or count tokens of a text.
fn is_reference(words: &[&str]) -> bool {
    let last = words.last().copied().unwrap_or_default();
    let first = words.first().copied().unwrap_or_default();
    (matches!(last, "secret" | "secrets") && words.iter().any(|word| matches!(*word, "pull" | "existing")))
        || (last == "tokens" && matches!(first, "max" | "min" | "num" | "total" | "prompt" | "completion"))
        || (last == "id" && words.iter().any(|word| matches!(*word, "credential" | "credentials")))
}

/// The words of a name in lower case: camel case, acronyms, digits and all other signs part them.
fn words(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for (index, &c) in chars.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| chars.get(index));
        let next = chars.get(index + 1);
        let boundary = before.is_some_and(|before| {
            (c.is_uppercase() && (before.is_lowercase() || next.is_some_and(|next| next.is_lowercase())))
                || (c.is_ascii_digit() != before.is_ascii_digit())
        });
        if !c.is_alphanumeric() || boundary {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "password",
            "DB_PASSWORD",
            "dbPassword",
            "DBPassword",
            "passwd",
            "PGPASSWORD",
            "userpass",
            "DB_PASS",
            "secret",
            "client_secret",
            "clientSecret",
            "token",
            "GITHUB_TOKEN",
            "authToken",
            "api_key",
            "apiKey",
            "APIKey",
            "apikey",
            "X-Api-Key",
            "AWS_SECRET_ACCESS_KEY",
            "accessKey",
            "privateKey",
            "private_key",
            "tls.key",
            "ca.key",
            "credential",
            "credentials",
            "authorization",
            "Authorization",
            "basicAuthPassword",
            "basic_auth",
            "httpHeaderValue1",
            "httpHeaderValue12",
            "connectionString",
            "SENTRY_DSN",
            "spring.datasource.password",
            "password2",
            "secret_id",
            "client-key-data",
            ".dockerconfigjson",
            "PasswordHash",
            "admin_password",
            "encryptionKey",
            "jwtSecret",
            "session_cookie_secret",
            "secureJsonData",
            "htpasswd",
            "old_password",
            "passwordBase64",
            "auth",
        ] {
            assert!(is_secret_key(name), "{name}");
        }
    }

    #[test]
    fn names_about_secrets_and_other_names() {
        for name in [
            "secretName",
            "secret_name",
            "secretKeyRef",
            "secretRef",
            "tokenUrl",
            "token_url",
            "passwordPolicy",
            "bearerTokenFile",
            "bearer_token_file",
            "passwordFile",
            "tls_key_file",
            "tokenExpirationSeconds",
            "tokenTTL",
            "imagePullSecrets",
            "imagePullSecret",
            "existingSecret",
            "secretStoreRef",
            "privateKeySecretRef",
            "tokenType",
            "max_tokens",
            "maxTokens",
            "tokenizer",
            "key",
            "keys",
            "topologyKey",
            "cacheKey",
            "publicKey",
            "name",
            "value",
            "authType",
            "authority",
            "author",
            "pass_through",
            "passThrough",
            "compass",
            "url",
            "data",
            "keepalive",
            "monkey",
            "credentialsId",
            "secretname",
            "tokenurl",
            "blocked_key_patterns",
            "matcherRegex",
            "trace_id",
            "sessionAffinity",
            "passwordAuthentication",
            "",
            "1",
            "--",
        ] {
            assert!(!is_secret_key(name), "{name}");
        }
    }

    #[test]
    fn the_stricter_form_wants_the_secret_last() {
        for name in ["password", "my-secret", "api_key", "token1", "DB_PASSWORD"] {
            assert!(ends_secret(name), "{name}");
        }
        for name in ["secret-reader", "token.example", "password-manager"] {
            assert!(!ends_secret(name), "{name}");
        }
    }
}
