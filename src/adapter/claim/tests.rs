//! Contenders on a store of Leases in memory, under paused time.

use super::*;
use crate::object::ObjectRef;
use crate::port::{Access, ClusterIdentity, ClusterResult, Selection, WatchEvent};
use futures::stream::BoxStream;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use tokio::time::Instant;

/// Wall time at the beginning of every test.
const EPOCH: u64 = 1_791_072_000_000;

/// Boot time and sleep are tokio's; the wall clock is off by `skew` milliseconds.
struct TestClock {
    start: Instant,
    skew: i64,
}

#[async_trait]
impl Clock for TestClock {
    fn wall(&self) -> u64 {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        (EPOCH + elapsed).saturating_add_signed(self.skew)
    }
    fn boot(&self) -> Duration {
        Duration::from_secs(1000) + self.start.elapsed()
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

struct Numbered(u8);

impl Entropy for Numbered {
    fn bytes(&self) -> [u8; 16] {
        [self.0; 16]
    }
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It is lost before it is carried out.
    Lost,
    /// It never leaves.
    Unsent,
}

#[derive(Default)]
struct Leases {
    stored: Mutex<(BTreeMap<ObjectRef, Value>, u64)>,
    /// Fates and delays (in milliseconds) of the requests to come; fine and quick when it is empty.
    fates: Mutex<VecDeque<(Fate, u64)>>,
    writes: Mutex<u64>,
}

impl Leases {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    async fn request<T>(
        &self,
        act: impl FnOnce(&mut BTreeMap<ObjectRef, Value>, &mut u64) -> ClusterResult<T>,
    ) -> ClusterResult<T> {
        let (fate, delay) = self.fates.lock().unwrap().pop_front().unwrap_or((Fate::Fine, 1));
        let lost = |sent| Err(ClusterError::Unavailable { message: "lost".into(), sent });
        tokio::time::sleep(Duration::from_millis(delay)).await;
        if fate == Fate::Unsent {
            return lost(false);
        }
        if fate == Fate::Lost {
            return lost(true);
        }
        let done = {
            let mut stored = self.stored.lock().unwrap();
            let (objects, version) = &mut *stored;
            act(objects, version)
        };
        tokio::time::sleep(Duration::from_millis(delay)).await;
        if fate == Fate::AnswerLost { lost(true) } else { done }
    }

    fn fate(&self, fates: &[Fate]) {
        self.fates.lock().unwrap().extend(fates.iter().map(|fate| (*fate, 1)));
    }

    fn lease(&self, name: &str) -> Option<Value> {
        self.stored.lock().unwrap().0.get(&reference(name)).cloned()
    }

    fn edit(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut stored = self.stored.lock().unwrap();
        stored.1 += 1;
        let version = stored.1.to_string();
        let lease = stored.0.entry(reference(name)).or_insert_with(|| serde_json::json!({ "metadata": {} }));
        edit(lease);
        lease["metadata"]["resourceVersion"] = Value::from(version);
    }

    fn delete(&self, name: &str) {
        self.stored.lock().unwrap().0.remove(&reference(name));
    }
}

fn stored(body: &Value, version: &mut u64) -> Value {
    *version += 1;
    let mut body = body.clone();
    body["metadata"]["resourceVersion"] = Value::from(version.to_string());
    body
}

#[async_trait]
impl Cluster for Leases {
    async fn get(&self, object: &ObjectRef) -> ClusterResult<Option<Value>> {
        self.request(|objects, _| Ok(objects.get(object).cloned())).await
    }
    async fn create(
        &self,
        object: &ObjectRef,
        body: &Value,
        manager: &str,
        dry: bool,
    ) -> ClusterResult<Value> {
        assert_eq!((manager, dry), (MANAGER, false));
        *self.writes.lock().unwrap() += 1;
        self.request(|objects, version| {
            if objects.contains_key(object) {
                return Err(ClusterError::AlreadyExists("there".into()));
            }
            let made = stored(body, version);
            objects.insert(object.clone(), made.clone());
            Ok(made)
        })
        .await
    }
    async fn replace(&self, object: &ObjectRef, body: &Value, manager: &str) -> ClusterResult<Value> {
        assert_eq!(manager, MANAGER);
        *self.writes.lock().unwrap() += 1;
        self.request(|objects, version| {
            let Some(existing) = objects.get(object) else {
                return Err(ClusterError::NotFound("not there".into()));
            };
            let wanted =
                body["metadata"]["resourceVersion"].as_str().expect("every replacement names its version");
            if existing["metadata"]["resourceVersion"] != wanted {
                return Err(ClusterError::Stale("changed".into()));
            }
            let made = stored(body, version);
            objects.insert(object.clone(), made.clone());
            Ok(made)
        })
        .await
    }
    async fn identity(&self) -> ClusterResult<ClusterIdentity> {
        unreachable!()
    }
    async fn list(&self, _: &Selection) -> ClusterResult<Vec<Value>> {
        unreachable!()
    }
    async fn apply(&self, _: &ObjectRef, _: &Value, _: &str, _: bool, _: bool) -> ClusterResult<Value> {
        unreachable!()
    }
    async fn patch(&self, _: &ObjectRef, _: &Value, _: &str, _: bool) -> ClusterResult<Value> {
        unreachable!()
    }
    async fn delete(&self, _: &ObjectRef, _: &str, _: Option<&str>) -> ClusterResult<()> {
        unreachable!()
    }
    fn watch(&self, _: &Selection) -> BoxStream<'static, WatchEvent> {
        unreachable!()
    }
    async fn logs(&self, _: &str, _: &str, _: &str, _: u32, _: bool) -> ClusterResult<String> {
        unreachable!()
    }
    async fn may(&self, _: &Access) -> ClusterResult<bool> {
        unreachable!()
    }
}

/// Processes by pid: these have ended.
struct Ended(Vec<u32>);

impl Processes for Ended {
    fn has_ended(&self, holder: &Holder, _: &Holder) -> bool {
        self.0.contains(&holder.pid)
    }
}

struct Contender {
    claim: LeaseClaim,
    said: Arc<Mutex<Vec<String>>>,
}

struct Setup<'a> {
    names: &'a [&'a str],
    skew: i64,
    ended: Vec<u32>,
}

const ONE: Setup<'_> = Setup { names: &["stack:monitoring"], skew: 0, ended: Vec::new() };

fn contender(leases: &Arc<Leases>, start: Instant, number: u8, setup: Setup<'_>) -> Contender {
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&said);
    let me = Holder {
        user: "ada".into(),
        host: "desk".into(),
        pid: number.into(),
        run: format!("R{number}"),
        plan: "p".into(),
        ..Holder::default()
    };
    let claim = LeaseClaim::with_processes(
        Arc::clone(leases) as Arc<dyn Cluster>,
        Arc::new(TestClock { start, skew: setup.skew }),
        &Numbered(number),
        setup.names.iter().map(|name| (*name).to_owned()).collect(),
        me,
        Arc::new(move |text: Clean| log.lock().unwrap().push(text.as_str().to_owned())),
        Arc::new(Ended(setup.ended)),
    );
    Contender { claim, said }
}

const NAME: &str = "stack:monitoring";

fn holder(result: Result<impl std::fmt::Debug, ClaimError>) -> String {
    match result {
        Err(ClaimError::Held { holder, .. }) => holder.as_str().to_owned(),
        other => panic!("not held by another: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn one_has_it_and_the_other_is_told_who_at_once() {
    let (leases, start) = (Leases::new(), Instant::now());
    let (one, two) = (contender(&leases, start, 1, ONE), contender(&leases, start, 2, ONE));
    assert_eq!(one.claim.take().await.unwrap(), [Clean::new(NAME)]);
    let before = Instant::now();
    let who = holder(two.claim.take().await);
    assert_eq!(who, "ada@desk pid 1 run R1, plan p, since 2026-10-04T00:00:00.002000Z");
    assert!(before.elapsed() < Duration::from_secs(1));
    two.claim.confirm().await.unwrap_err();
    one.claim.confirm().await.unwrap();
    // Given back, it is free at once.
    one.claim.release().await;
    two.claim.take().await.unwrap();
    one.claim.confirm().await.unwrap_err();
    assert_eq!(leases.lease(NAME).unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_renewed_for_as_long_as_it_is_held() {
    let (leases, start) = (Leases::new(), Instant::now());
    let (one, two) = (contender(&leases, start, 1, ONE), contender(&leases, start, 2, ONE));
    one.claim.take().await.unwrap();
    let acquired = leases.lease(NAME).unwrap()["spec"]["acquireTime"].clone();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        holder(two.claim.take().await);
        // From memory: the renewals are recent enough.
        let writes = *leases.writes.lock().unwrap();
        one.claim.confirm().await.unwrap();
        assert_eq!(*leases.writes.lock().unwrap(), writes);
    }
    assert_eq!(leases.lease(NAME).unwrap()["spec"]["acquireTime"], acquired);
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_elsewhere_is_waited_for_and_then_followed() {
    let (leases, start) = (Leases::new(), Instant::now());
    let (one, two) = (contender(&leases, start, 1, ONE), contender(&leases, start, 2, ONE));
    one.claim.take().await.unwrap();
    drop(one);
    holder(two.claim.take().await);
    tokio::time::sleep(Duration::from_secs(31)).await;
    let before = Instant::now();
    two.claim.take().await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 30);
    let said = two.said.lock().unwrap();
    assert!(
        said[0].starts_with("stack:monitoring was last renewed long ago by ada@desk pid 1 run R1"),
        "{said:?}"
    );
    assert!(said[0].ends_with("watching for 30 s more whether it still is"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_on_this_machine_is_followed_at_once() {
    let (leases, start) = (Leases::new(), Instant::now());
    let one = contender(&leases, start, 1, ONE);
    one.claim.take().await.unwrap();
    drop(one);
    let two = contender(&leases, start, 2, Setup { ended: vec![1], ..ONE });
    let before = Instant::now();
    two.claim.take().await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn clocks_that_disagree_take_nothing_from_the_living() {
    for skew in [-3_600_000, -60_000, 60_000, 3_600_000, 86_400_000 * 365] {
        let (leases, start) = (Leases::new(), Instant::now());
        let one = contender(&leases, start, 1, ONE);
        let two = contender(&leases, start, 2, Setup { skew, ..ONE });
        one.claim.take().await.unwrap();
        holder(two.claim.take().await);
        one.claim.confirm().await.unwrap();
        // And the dead are followed all the same, in the end.
        drop(one);
        tokio::time::sleep(Duration::from_secs(31)).await;
        while two.claim.take().await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(200), "{skew}");
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_the_lease_is_asked() {
    let (leases, start) = (Leases::new(), Instant::now());
    let one = contender(&leases, start, 1, ONE);
    one.claim.take().await.unwrap();
    // Asleep: nothing is renewed while the clock of the machine runs on.
    one.claim.held()[0].renewal.abort();
    tokio::time::sleep(Duration::from_secs(9)).await;
    let writes = *leases.writes.lock().unwrap();
    one.claim.confirm().await.unwrap();
    assert_eq!(*leases.writes.lock().unwrap(), writes);
    tokio::time::sleep(Duration::from_secs(2)).await;
    one.claim.confirm().await.unwrap();
    assert_eq!(*leases.writes.lock().unwrap(), writes + 1);
    // While it sleeps on, another takes it.
    tokio::time::sleep(Duration::from_secs(100)).await;
    let two = contender(&leases, start, 2, ONE);
    two.claim.take().await.unwrap();
    assert_eq!(&holder(one.claim.confirm().await)[..24], "ada@desk pid 2 run R2, p");
    // Once lost, lost: also when the other gives it back.
    two.claim.release().await;
    holder(one.claim.confirm().await);
    // And giving back what is lost touches nothing.
    let writes = *leases.writes.lock().unwrap();
    one.claim.release().await;
    assert_eq!(*leases.writes.lock().unwrap(), writes);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_cannot_be_asked_is_doubt() {
    let (leases, start) = (Leases::new(), Instant::now());
    let one = contender(&leases, start, 1, ONE);
    leases.fate(&[Fate::Unsent]);
    assert!(matches!(one.claim.take().await, Err(ClaimError::CouldNotTell { .. })));
    one.claim.take().await.unwrap();
    one.claim.held()[0].renewal.abort();
    tokio::time::sleep(Duration::from_secs(11)).await;
    leases.fate(&[Fate::Unsent]);
    assert!(matches!(one.claim.confirm().await, Err(ClaimError::CouldNotTell { .. })));
    // Doubt passes when the cluster answers again.
    one.claim.confirm().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_looked_up() {
    for fate in [Fate::AnswerLost, Fate::Lost] {
        let (leases, start) = (Leases::new(), Instant::now());
        let one = contender(&leases, start, 1, ONE);
        leases.fate(&[Fate::Fine, fate]);
        one.claim.take().await.unwrap();
        one.claim.held()[0].renewal.abort();
        tokio::time::sleep(Duration::from_secs(11)).await;
        leases.fate(&[fate]);
        one.claim.confirm().await.unwrap();
        leases.fate(&[fate]);
        one.claim.release().await;
        assert_eq!(leases.lease(NAME).unwrap()["spec"]["holderIdentity"], "", "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_a_lost_claim() {
    let (leases, start) = (Leases::new(), Instant::now());
    let one = contender(&leases, start, 1, ONE);
    one.claim.take().await.unwrap();
    leases.delete(NAME);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(holder(one.claim.confirm().await), "nobody: its Lease was deleted");
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_annotation_on_the_lease_does_no_harm() {
    let (leases, start) = (Leases::new(), Instant::now());
    let one = contender(&leases, start, 1, ONE);
    one.claim.take().await.unwrap();
    leases.edit(NAME, |lease| lease["metadata"]["annotations"]["note"] = "hello".into());
    tokio::time::sleep(Duration::from_secs(11)).await;
    one.claim.confirm().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_no_claim_is_left_alone() {
    let (leases, start) = (Leases::new(), Instant::now());
    leases.edit(NAME, |lease| lease["spec"] = serde_json::json!({ "holderIdentity": "" }));
    let one = contender(&leases, start, 1, ONE);
    let error = one.claim.take().await.unwrap_err();
    assert!(error.to_string().contains("is not a claim of firstlight's by that name"), "{error}");
    assert_eq!(*leases.writes.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn all_or_none() {
    let (leases, start) = (Leases::new(), Instant::now());
    let two = contender(&leases, start, 2, Setup { names: &["b"], ..ONE });
    two.claim.take().await.unwrap();
    let one = contender(&leases, start, 1, Setup { names: &["c", "b", "a", "b"], ..ONE });
    assert!(holder(one.claim.take().await).starts_with("ada@desk pid 2"));
    assert_eq!(leases.lease("a").unwrap()["spec"]["holderIdentity"], "");
    assert!(leases.lease("c").is_none());
    two.claim.release().await;
    assert_eq!(one.claim.take().await.unwrap(), ["a".into(), "b".into(), "c".into()]);
    // Taken again, it is the same claim.
    one.claim.take().await.unwrap();
    one.claim.confirm().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_first_is_renewed_while_the_rest_is_waited_for() {
    let (leases, start) = (Leases::new(), Instant::now());
    let dead = contender(&leases, start, 3, Setup { names: &["b"], ..ONE });
    dead.claim.take().await.unwrap();
    drop(dead);
    leases.edit("b", |lease| lease["spec"]["leaseDurationSeconds"] = 100.into());
    tokio::time::sleep(Duration::from_secs(101)).await;
    let one = contender(&leases, start, 1, Setup { names: &["a", "b"], ..ONE });
    let two = contender(&leases, start, 2, Setup { names: &["a"], ..ONE });
    let (taken, tried) = tokio::join!(one.claim.take(), async {
        tokio::time::sleep(Duration::from_secs(80)).await;
        two.claim.take().await
    });
    taken.unwrap();
    assert!(holder(tried).starts_with("ada@desk pid 1"));
}

/// Contenders that take, hold, crash and come back, under requests that are slow, lost or answered into the void.
/// While one believes that it holds the claim, by `confirm`, no other may.
async fn contend(contenders: u8, seed: u64, fates: Vec<(Fate, u64)>) -> usize {
    let (leases, start) = (Leases::new(), Instant::now());
    leases.fates.lock().unwrap().extend(fates);
    let inside: Arc<Mutex<Option<u8>>> = Arc::default();
    let entered: Arc<Mutex<usize>> = Arc::default();
    let mut tasks = Vec::new();
    for number in 1..=contenders {
        let (leases, inside, entered) = (Arc::clone(&leases), Arc::clone(&inside), Arc::clone(&entered));
        let mut random = seed.wrapping_mul(31).wrapping_add(u64::from(number)) | 1;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        tasks.push(tokio::spawn(async move {
            for round in 0..4 {
                let skew = i64::try_from(next(120_000)).unwrap() - 60_000;
                let number = number + 50 * round;
                let contender = contender(&leases, start, number, Setup { skew, ..ONE });
                if contender.claim.take().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(next(20_000))).await;
                    continue;
                }
                for _ in 0..next(6) {
                    if contender.claim.confirm().await.is_ok() {
                        // An effect: as long as the confirmation is good for, by the law.
                        assert_eq!(inside.lock().unwrap().replace(number), None, "two at once");
                        *entered.lock().unwrap() += 1;
                        tokio::time::sleep(Duration::from_millis(next(10_000))).await;
                        assert_eq!(inside.lock().unwrap().take(), Some(number));
                    }
                    tokio::time::sleep(Duration::from_millis(next(15_000))).await;
                }
                match next(3) {
                    0 => drop(contender),
                    _ => contender.claim.release().await,
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    Arc::into_inner(entered).unwrap().into_inner().unwrap()
}

fn fate() -> impl Strategy<Value = (Fate, u64)> {
    let fate = prop_oneof![
        6 => Just(Fate::Fine), 1 => Just(Fate::AnswerLost), 1 => Just(Fate::Lost), 1 => Just(Fate::Unsent)
    ];
    (fate, prop_oneof![4 => 0_u64..50, 1 => 0_u64..8_000])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn never_two_at_once(contenders in 2_u8..6, seed in any::<u64>(), fates in prop::collection::vec(fate(), 0..400)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(contend(contenders, seed, fates));
    }
}

#[test]
fn the_contest_is_one() {
    // The property above would hold as well if nobody ever got in.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    assert!(runtime.block_on(contend(5, 7, Vec::new())) > 5);
}
