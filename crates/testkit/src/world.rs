//! The simulated world as a test sees it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::ids::{InstanceName, ShardIndex, WorkloadName};
use model::instance::Instance;
use model::slots::SlotSet;
use model::view::Ending;
use model::workload::Workload;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::hands::{SimClock, SimEngine, SimNodes};
use crate::judge::{self, Complaint};
use crate::keeper::{Keeper, Verdict};
use crate::ledger::Ledger;
use crate::mishap::{Fate, Mishap};
use crate::realm::{Realm, Traffic, UnitName};
use crate::server::keys::slots_with_keys;
use crate::site::Site;

/// How often the supervisor looks for processes that ended, where nobody rings. The real one hears
/// of it within a millisecond, and so does this one while anybody looks at the world.
const SUPERVISOR_PAUSE: Duration = Duration::from_millis(50);

/// How long a keeper may think about a workload; the real guardian has as long.
const KEEPER_LIMIT: Duration = Duration::from_secs(60);

/// Runs a test on a clock of its own: a sleep costs nothing, and nothing happens in between.
///
/// # Panics
/// Where the runtime cannot be built, and where the test panics.
pub fn simulate<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(test),
        Err(error) => panic!("no runtime: {error}"),
    }
}

/// A simulated world: workloads, servers, what is between them, and a client. Copies are of the
/// same world.
#[derive(Clone, Debug)]
pub struct World {
    realm: Arc<Mutex<Realm>>,
    began: Instant,
}

impl World {
    /// A world in which nothing is made yet. It must be made within `simulate`.
    #[must_use]
    pub fn new(seed: u64, site: Site) -> Self {
        Self {
            realm: Arc::new(Mutex::new(Realm::new(seed, site))),
            began: Instant::now(),
        }
    }

    /// Its platform.
    #[must_use]
    pub fn engine(&self) -> SimEngine {
        SimEngine::new(self.clone())
    }

    /// The servers in it.
    #[must_use]
    pub fn nodes(&self) -> SimNodes {
        SimNodes::new(self.clone())
    }

    /// Its time.
    #[must_use]
    pub fn clock(&self) -> SimClock {
        SimClock::new(self.clone())
    }

    /// Plans something to go wrong.
    pub fn plan(&self, mishap: Mishap) {
        self.look(|realm| realm.plan_mishap(mishap));
    }

    /// Everything that was planned to go wrong, and what became of it.
    #[must_use]
    pub fn fates(&self) -> Vec<(Mishap, Fate)> {
        self.look(|realm| realm.mishaps.fates().to_vec())
    }

    /// Nothing that is planned to go wrong with what the tool does, and has not yet, will.
    pub fn spare(&self) {
        self.look(|realm| realm.mishaps.spare());
    }

    /// How many calls of `apply`, and how many commands that change something, there were so far.
    #[must_use]
    pub fn counted(&self) -> (u32, u32) {
        self.look(|realm| realm.mishaps.counted())
    }

    /// A client begins to write: to one of so many keys with each turn. A write counts as copied
    /// once so many replicas have it.
    pub fn write_all_the_time(&self, every: Duration, keys: u32, copies: usize) {
        self.look(|realm| {
            realm.traffic = Some(Traffic::new(every, keys, copies));
            realm.plan(every, crate::realm::Event::Turn);
        });
    }

    /// The client stops writing, or goes on.
    pub fn pause_writes(&self, is_paused: bool) {
        self.look(|realm| {
            if let Some(traffic) = &mut realm.traffic {
                traffic.is_paused = is_paused;
            }
        });
    }

    /// What the client knows of its writes; nothing where there is no client.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let ledger = |realm: &mut Realm| realm.traffic.as_ref().map(|it| it.ledger.clone());
        self.look(ledger).unwrap_or(Ledger::new())
    }

    /// Stops a workload's process without anybody's doing, and keeps it so.
    pub fn stop(&self, workload: &WorkloadName) {
        self.look(|realm| {
            if let Some(name) = realm.find(workload) {
                realm.stop(&name);
            }
        });
    }

    /// What is wrong with the cluster, and what the client misses. Nothing where all is well.
    #[must_use]
    pub fn complaints(&self, owed: Owed) -> Vec<Complaint> {
        self.look(|realm| judge::complaints(realm, owed))
    }

    /// Begins with a cluster that was delivered long ago, of which these shards own these slots.
    pub fn form(
        &self,
        instance: &Instance,
        workloads: &BTreeMap<WorkloadName, Workload>,
        owners: &BTreeMap<ShardIndex, SlotSet>,
    ) {
        self.look(|realm| realm.form(instance, workloads, owners));
    }

    /// The slots that have keys where a client writes to so many.
    #[must_use]
    pub fn slots_with_keys() -> &'static SlotSet {
        slots_with_keys()
    }

    /// The servers whose settings are not those of their configuration files.
    #[must_use]
    pub fn changed_settings(&self) -> Vec<Complaint> {
        self.look(|realm| judge::changed_settings(realm))
    }

    /// How far each server is, and whom it copies.
    #[must_use]
    pub fn offsets(&self) -> Vec<String> {
        self.look(|realm| {
            let servers = realm.servers();
            servers
                .map(|it| {
                    format!(
                        "\n{} {:?} {} migrates {:?} {}",
                        it.address,
                        it.role,
                        it.offset,
                        it.migrating,
                        it.told_of_claims()
                    )
                })
                .collect()
        })
    }

    /// The slots that are open anywhere.
    #[must_use]
    pub fn open_slots(&self) -> Vec<Complaint> {
        self.look(|realm| judge::open_slots(realm))
    }

    /// Where two servers do not say the same of who owns what, or of who there is.
    #[must_use]
    pub fn disagreements(&self) -> Vec<Complaint> {
        self.look(|realm| judge::disagreements(realm))
    }

    /// Does something with the tool until it is done, or until the tool is killed: then `None`.
    pub async fn until_killed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let axe = self.look(|realm| {
            // What was left over from an earlier run strikes nobody.
            realm.axe = Arc::default();
            Arc::clone(&realm.axe)
        });
        tokio::select! {
            biased;
            () = axe.notified() => None,
            done = work => Some(done),
        }
    }

    /// Starts servers that ended again as this keeper decides, until it is dropped.
    pub async fn supervise(&self, keeper: Arc<dyn Keeper>) {
        let bell = self.look(|realm| {
            realm.has_keeper = true;
            Arc::clone(&realm.bell)
        });
        let mut decisions = JoinSet::new();
        loop {
            for (name, ending) in self.look(Realm::questions) {
                let (world, keeper) = (self.clone(), Arc::clone(&keeper));
                decisions.spawn(async move { world.settle(&*keeper, name, ending).await });
            }
            tokio::select! {
                () = bell.notified() => {}
                () = sleep(SUPERVISOR_PAUSE) => {}
                Some(_) = decisions.join_next(), if !decisions.is_empty() => {}
            }
        }
    }

    /// Asks the keeper about one workload.
    async fn settle(&self, keeper: &dyn Keeper, name: UnitName, ending: Ending) {
        let (instance, workload): &(InstanceName, WorkloadName) = &name;
        let verdict = timeout(KEEPER_LIMIT, keeper.ended(instance, workload, ending)).await;
        let verdict = verdict.unwrap_or_else(|_| Verdict::Hold {
            reason: "it has not been decided in time".to_owned(),
            ask_again_after: SUPERVISOR_PAUSE,
        });
        self.look(|realm| realm.decided(&name, &verdict));
        if let Verdict::Hold {
            ask_again_after, ..
        } = verdict
        {
            sleep(ask_again_after).await;
            self.look(|realm| realm.ask_again_if_held(&name));
        }
    }

    /// Looks at the world as it is now.
    pub(crate) fn look<T>(&self, see: impl FnOnce(&mut Realm) -> T) -> T {
        let mut realm = self.lock();
        realm.advance(self.began.elapsed());
        see(&mut realm)
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Realm> {
        // A test that panicked has failed anyway; what it left is of no more use.
        self.realm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client is owed in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owed {
    /// Every acknowledged write.
    Acknowledged,
    /// Every acknowledged write that all replicas had.
    Copied,
    /// Nothing: the mishaps took every copy.
    Nothing,
}
