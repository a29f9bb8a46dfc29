//! The simulated API server: one request in, one answer out, over whatever carries them.

mod discovery;
mod object;
mod route;

use super::answer::{self, Body, Refusal};
use super::clock::SimClock;
use super::fault::{Faults, Verdict};
use super::network::Running;
use super::resource::Resource;
use super::store::{Key, Store};
use super::value::{has, items, number, text};
use super::watch::{Watch, stream};
use http::{Method, Request, Response};
use hyper::body::Bytes;
use route::{Query, Route, Target};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The version that the server says it has: the one that its schema and behaviour were taken from.
pub const VERSION: &str = "v1.34.4";

/// The connection broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection reset by peer")]
pub struct Reset;

/// The API server.
pub struct Server {
    store: Mutex<Store>,
    changed: watch::Sender<u64>,
    clock: SimClock,
    running: Arc<Running>,
    faults: Faults,
    /// Answers of access reviews: whether `(verb, group, resource, namespace)` is allowed.
    access: Mutex<Arc<AccessRule>>,
}

/// Decides an access review from its `resourceAttributes`.
pub type AccessRule = dyn Fn(&Value) -> bool + Send + Sync;

impl Server {
    /// A server over a store.
    pub fn new(store: Store, clock: SimClock, faults: Faults) -> Arc<Self> {
        let (changed, _) = watch::channel(store.version());
        let access: Arc<AccessRule> = Arc::new(|_: &Value| true);
        Arc::new(Self {
            store: Mutex::new(store),
            changed,
            clock,
            running: Arc::default(),
            faults,
            access: Mutex::new(access),
        })
    }

    /// Lets access reviews be answered otherwise than by yes.
    pub fn allow(&self, rule: Arc<AccessRule>) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = rule;
    }

    /// Answers a request. The body of a watch goes on until the client drops it or its time is over.
    ///
    /// # Errors
    /// A fault broke the connection, before or after the request was carried out.
    pub async fn handle(self: Arc<Self>, request: Request<Bytes>) -> Result<Response<Body>, Reset> {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let writes = request.method() != Method::GET && !query.has("dryRun");
        let path = request.uri().path().to_owned();
        // A review changes nothing, though it is posted.
        let writes = writes && !path.ends_with("reviews");
        let verdict = self.faults.judge(writes);
        match verdict {
            Verdict::Pass | Verdict::ResetAfter => {}
            Verdict::Busy { seconds } => return Ok(Refusal::too_many(seconds).response()),
            Verdict::ResetBefore => return Err(Reset),
        }
        let before = self.store().version();
        let answer = self.answer(&request, &path, &query).unwrap_or_else(|refusal| refusal.response());
        if self.store().version() != before {
            self.announce();
        }
        if verdict == Verdict::ResetAfter {
            return Err(Reset);
        }
        Ok(answer)
    }

    fn answer(
        self: &Arc<Self>,
        request: &Request<Bytes>,
        path: &str,
        query: &Query,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(answer) = discovery::answer(request, path) {
            return Ok(answer);
        }
        if request.method() == Method::POST && path.starts_with("/apis/authorization.k8s.io/v1/") {
            return self.review(path, request.body());
        }
        let route = route::route(path).ok_or_else(Refusal::no_such_path)?;
        match (&route.target, request.method()) {
            (Target::Collection, &Method::GET) => self.list_or_watch(&route, query),
            (Target::Collection, &Method::POST) => object::create(self, &route, query, request),
            (Target::Collection, &Method::DELETE) => object::delete_all(self, &route, query, request),
            (Target::Object { name, subresource: None }, &Method::GET) => {
                if query.flag("watch") {
                    return self.list_or_watch(
                        &route,
                        &query.with("fieldSelector", &format!("metadata.name={name}")),
                    );
                }
                let key = route.key(name);
                let store = self.store();
                let found = store.get(&key).ok_or_else(|| Refusal::not_found(route.resource, name))?;
                Ok(answer::json(200, found))
            }
            (Target::Object { name, subresource: Some("log") }, &Method::GET)
                if route.resource.kind == "Pod" =>
            {
                self.log(&route.key(name), query)
            }
            (Target::Object { name, subresource: Some(sub) }, &Method::GET) => {
                object::get_subresource(self, &route, name, sub)
            }
            (Target::Object { .. }, &Method::PUT) => object::replace(self, &route, query, request),
            (Target::Object { .. }, &Method::PATCH) => object::patch(self, &route, query, request),
            (Target::Object { subresource: None, .. }, &Method::DELETE) => {
                object::delete(self, &route, query, request)
            }
            _ => {
                let message = "the server does not allow this method on the requested resource";
                Err(Refusal::new(405, "MethodNotAllowed", message))
            }
        }
    }

    fn list_or_watch(self: &Arc<Self>, route: &Route<'_>, query: &Query) -> Result<Response<Body>, Refusal> {
        let selector = super::selector::Selector::parse(
            route.resource,
            query.get("labelSelector"),
            query.get("fieldSelector"),
        )?;
        if query.flag("watch") {
            let watch = Watch {
                resource: route.resource,
                namespace: route.namespace.map(str::to_owned),
                selector,
                bookmarks: query.flag("allowWatchBookmarks"),
                version: query.get("resourceVersion").to_owned(),
                seconds: query.get("timeoutSeconds").parse().ok(),
            };
            return stream(self, watch);
        }
        let store = self.store();
        let objects: Vec<&Value> = store
            .list(route.resource, route.namespace)
            .map(|(_, object)| object.as_ref())
            .filter(|object| selector.matches(object))
            .collect();
        // As the real server writes it: without kind and version on every item.
        let items: Vec<Value> = objects
            .into_iter()
            .map(|object| {
                let mut item = object.clone();
                super::value::map(&mut item).retain(|name, _| name != "kind" && name != "apiVersion");
                item
            })
            .collect();
        let list = json!({
            "kind": format!("{}List", route.resource.kind), "apiVersion": route.resource.api_version(),
            "metadata": {"resourceVersion": store.version().to_string()}, "items": items,
        });
        Ok(answer::json(200, &list))
    }

    fn review(&self, path: &str, body: &Bytes) -> Result<Response<Body>, Refusal> {
        if path != "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" {
            return Err(Refusal::no_such_path());
        }
        let mut review = object::body(body)?;
        let attributes = review.pointer("/spec/resourceAttributes").cloned().unwrap_or_default();
        let rule = self.access.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let status = super::value::member(&mut review, "status");
        status.insert("allowed".to_owned(), Value::from(rule(&attributes)));
        super::value::metadata(&mut review);
        Ok(answer::json(201, &review))
    }

    fn log(&self, key: &Key, query: &Query) -> Result<Response<Body>, Refusal> {
        let store = self.store();
        let pod = store.get(key).ok_or_else(|| Refusal::not_found(key.resource, &key.name))?;
        let names: Vec<&str> = items(pod, "/spec/containers").iter().map(|one| text(one, "/name")).collect();
        let container = match query.get("container") {
            "" => match names.as_slice() {
                [one] => *one,
                all => {
                    let message = format!(
                        "a container name must be specified for pod {}, choose one of: [{}]",
                        key.name,
                        all.join(" ")
                    );
                    return Err(Refusal::bad_request(message));
                }
            },
            named if names.contains(&named) => named,
            named => {
                return Err(Refusal::bad_request(format!(
                    "container {named} is not valid for pod {}",
                    key.name
                )));
            }
        };
        let previous = query.flag("previous");
        let lines = if previous {
            self.running.last_words(&key.namespace, &key.name, container).ok_or_else(|| {
                Refusal::bad_request(format!(
                    "previous terminated container {container:?} in pod {:?} not found",
                    key.name
                ))
            })?
        } else {
            match self.running.container(&key.namespace, &key.name, container) {
                Some(program) => program.log(),
                None => match waiting(pod, container) {
                    Some(reason) => {
                        let message = format!(
                            "container {container:?} in pod {:?} is waiting to start: {reason}",
                            key.name
                        );
                        return Err(Refusal::bad_request(message));
                    }
                    None => self.running.last_words(&key.namespace, &key.name, container).unwrap_or_default(),
                },
            }
        };
        let wanted: usize = query.get("tailLines").parse().unwrap_or(usize::MAX);
        let skipped = lines.len().saturating_sub(wanted);
        let mut whole: String = lines.iter().skip(skipped).flat_map(|line| [line.as_str(), "\n"]).collect();
        if let Ok(limit) = query.get("limitBytes").parse::<usize>() {
            let end = (0..=limit.min(whole.len())).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
            whole.truncate(end);
        }
        Ok(answer::text(200, whole))
    }

    /// The objects, for the controllers of the rehearsal and for tests. Nothing may be awaited while they are held.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock.
    pub fn clock(&self) -> &SimClock {
        &self.clock
    }

    /// The programs in pods.
    pub fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// What goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Tells watches and controllers that the store has changed.
    pub fn announce(&self) {
        let version = self.store().version();
        self.changed.send_replace(version);
    }

    /// The version of the newest change, now and later.
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether a pod of this name runs.
    pub fn pod_runs(&self, namespace: &str, pod: &str) -> bool {
        let Some(pods) = Resource::of("", "v1", "pods") else { return false };
        self.store()
            .get(&Key::new(pods, namespace, pod))
            .is_some_and(|pod| text(pod, "/status/phase") == "Running")
    }

    /// (namespace, pod, port) of a ready pod behind a host name.
    ///
    /// # Errors
    /// A sentence as Go programs say it.
    pub fn resolve(&self, namespace: &str, host: &str, port: u16) -> Result<(String, String, u16), String> {
        let unknown = || format!("dial tcp: lookup {host}: no such host");
        let bare = host.trim_end_matches('.');
        let bare =
            bare.strip_suffix(".svc.cluster.local").or_else(|| bare.strip_suffix(".svc")).unwrap_or(bare);
        let (name, namespace) = match bare.split_once('.') {
            Some((name, namespace)) if !namespace.contains('.') => (name, namespace),
            Some(_) => return Err(unknown()),
            None => (bare, namespace),
        };
        let (Some(services), Some(pods)) =
            (Resource::of("", "v1", "services"), Resource::of("", "v1", "pods"))
        else {
            return Err(unknown());
        };
        let store = self.store();
        let service = store.get(&Key::new(services, namespace, name)).ok_or_else(unknown)?;
        let refused = || format!("dial tcp {host}:{port}: connect: connection refused");
        let entry = items(service, "/spec/ports")
            .iter()
            .find(|entry| number(entry, "/port") == Some(i64::from(port)))
            // A Service drops what it has no port for.
            .ok_or_else(|| format!("dial tcp {host}:{port}: i/o timeout"))?;
        let wanted = service.pointer("/spec/selector").and_then(Value::as_object).ok_or_else(refused)?;
        let (key, pod) = store
            .list(pods, Some(namespace))
            .find(|(_, pod)| {
                wanted.iter().all(|(name, value)| {
                    pod.pointer("/metadata/labels").and_then(|labels| labels.get(name)) == Some(value)
                }) && is_ready(pod)
            })
            .ok_or_else(refused)?;
        let target = match entry.get("targetPort") {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(name)) => items(pod, "/spec/containers")
                .iter()
                .flat_map(|container| items(container, "/ports"))
                .find(|one| text(one, "/name") == name)
                .and_then(|one| one.get("containerPort")?.as_u64()),
            _ => Some(u64::from(port)),
        };
        let target = target.and_then(|target| u16::try_from(target).ok()).ok_or_else(refused)?;
        Ok((key.namespace.clone(), key.name.clone(), target))
    }
}

/// Whether a pod may receive requests.
fn is_ready(pod: &Value) -> bool {
    !has(pod, "/metadata/deletionTimestamp")
        && items(pod, "/status/conditions")
            .iter()
            .any(|condition| text(condition, "/type") == "Ready" && text(condition, "/status") == "True")
}

/// Why a container has not started.
fn waiting(pod: &Value, container: &str) -> Option<String> {
    let statuses = items(pod, "/status/containerStatuses");
    let Some(status) = statuses.iter().find(|status| text(status, "/name") == container) else {
        return Some("ContainerCreating".to_owned());
    };
    let reason = text(status, "/state/waiting/reason");
    // One that ran before has something to show.
    let fresh = number(status, "/restartCount").unwrap_or(0) == 0;
    (!reason.is_empty() && fresh).then(|| reason.to_owned())
}
