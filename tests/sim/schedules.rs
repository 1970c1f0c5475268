//! Random schedules of everything that can go wrong, each made from its seed alone.
//!
//! A schedule has two acts. In the first the cluster is delivered while steps fail, the tool is
//! killed and the world loses things; then all is healed and a plain `up` must make it whole. In
//! the second the world strikes the delivered cluster, and once more a plain `up` must make it
//! whole.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::fault::Fault;
use model::image::ServerVersion;
use testkit::{Blow, Dice, Fate, How, Ledger, Mishap, Owed, World, simulate};
use tokio::time::{sleep, timeout};

use crate::stage::{Size, Stage, redis_6, redis_7, valkey_9, workload};

/// How many schedules the test runs unless it is told otherwise; `make soak` runs more.
const SCHEDULES: u64 = 2000;

/// How long after the beginning the blows of an act fall, at most.
const ACT: Duration = Duration::from_secs(4);

/// How long two nodes may not reach each other, at most.
const CUT_MAX_MS: u64 = 6000;

/// Everything that is decided about a schedule.
#[derive(Debug)]
struct Schedule {
    version: ServerVersion,
    size: Size,
    /// What goes wrong with the steps of the first act.
    steps: Vec<Mishap>,
    /// When the tool is killed in each try of the first act, if its steps have not killed it.
    tries: Vec<Option<Duration>>,
    /// What strikes the world in the first and in the second act.
    blows: [Vec<(Duration, Blow)>; 2],
    /// How long the second act lasts before somebody runs `up`.
    absence: Duration,
}

impl Schedule {
    fn new(dice: &mut Dice) -> Self {
        let version = *dice.pick(&[redis_7(), valkey_9(), redis_6()]).unwrap();
        let sizes = [
            (3, 1),
            (3, 1),
            (3, 1),
            (3, 1),
            (3, 2),
            (3, 0),
            (1, 0),
            (1, 1),
            (2, 1),
            (4, 1),
        ];
        let (shards, replicas) = *dice.pick(&sizes).unwrap();
        let size = Size { shards, replicas };
        let steps = (0..dice.between(0, 2)).map(|_| step(dice)).collect();
        let tries = (0..dice.between(1, 3))
            .map(|_| dice.percent(40).then(|| dice.millis(0, 3000)))
            .collect();
        // Of each schedule at most one copy is destroyed, so that there is one left to be found,
        // and only where a majority is left to elect it (`losses` has what happens otherwise).
        let mut may_destroy = replicas > 0 && shards >= 3;
        let mut act = |dice: &mut Dice| {
            (0..dice.between(0, 3))
                .map(|_| (dice.millis(0, 4000), blow(dice, size, &mut may_destroy)))
                .collect()
        };
        Self {
            version,
            size,
            steps,
            tries,
            blows: [act(dice), act(dice)],
            absence: dice.millis(0, 9000),
        }
    }

    /// What the client is owed: a write that only one node had may be gone with it.
    fn owed(&self) -> Owed {
        let endangers = |blow: &Blow| match blow {
            Blow::DataLost(_) | Blow::DiskLost(_) | Blow::LinkCut { .. } => true,
            Blow::ProcessDies(_)
            | Blow::PowerLost
            | Blow::SupervisorDies
            | Blow::HandedOver(_)
            | Blow::SlotOpened { .. }
            | Blow::SlowStart { .. }
            | Blow::HandshakeLost(_) => false,
        };
        let mut blows = self.blows.iter().flatten();
        if blows.any(|(_, blow)| endangers(blow)) {
            Owed::Copied
        } else {
            Owed::Acknowledged
        }
    }
}

fn step(dice: &mut Dice) -> Mishap {
    let ways = [
        How::FailsBefore,
        How::FailsAfter,
        How::ToolDiesBefore,
        How::ToolDiesAfter,
        How::DoesNothing,
        How::TakesLonger(dice.millis(1, 3000)),
    ];
    let how = *dice.pick(&ways).unwrap();
    let number = u32::try_from(dice.between(1, 40)).unwrap();
    if dice.percent(50) {
        Mishap::Call { number, how }
    } else {
        Mishap::Command { number, how }
    }
}

fn blow(dice: &mut Dice, size: Size, may_destroy: &mut bool) -> Blow {
    let count = u64::from(size.shards) * (u64::from(size.replicas) + 1);
    let node = |dice: &mut Dice| workload(u16::try_from(dice.between(1, count)).unwrap());
    match dice.between(0, 99) {
        0..=39 => Blow::ProcessDies(node(dice)),
        40..=54 => Blow::LinkCut {
            between: (node(dice), node(dice)),
            lasting: dice.millis(100, CUT_MAX_MS),
        },
        55..=69 => Blow::SlowStart {
            workload: node(dice),
            by: dice.millis(50, 2500),
        },
        70..=79 => Blow::HandshakeLost(node(dice)),
        80..=82 => Blow::PowerLost,
        83..=85 => Blow::SupervisorDies,
        86..=92 if std::mem::take(may_destroy) => Blow::DataLost(node(dice)),
        93.. if std::mem::take(may_destroy) => Blow::DiskLost(node(dice)),
        _ => Blow::ProcessDies(node(dice)),
    }
}

/// What came of a schedule.
#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    /// How many of its mishaps happened.
    struck: usize,
    ledger: Ledger,
    /// How long it took, on its own clock.
    took: Duration,
}

/// Plays a schedule; an error says what is wrong.
fn play(seed: u64) -> Result<Outcome, String> {
    let mut dice = Dice::new(seed);
    let schedule = Schedule::new(&mut dice);
    let world_seed = dice.next();
    if number("SHARDYARD_SIM_SEED").is_some() {
        eprintln!("{schedule:#?}");
    }
    simulate(async {
        let size = schedule.size;
        let stage = Stage::designed(world_seed, schedule.version, size);
        let world = &stage.world;
        let _guard = stage.guard();
        world.write_all_the_time(Duration::from_millis(11), 16, usize::from(size.replicas));
        let mut story = String::new();
        let [first, second] = &schedule.blows;
        for mishap in &schedule.steps {
            world.plan(mishap.clone());
        }
        strike(world, first);
        for killed_after in &schedule.tries {
            let up = world.until_killed(stage.up());
            let outcome = match killed_after {
                Some(after) => timeout(*after, up).await.unwrap_or(None),
                None => up.await,
            };
            let _ = writeln!(story, "  up: {outcome:?}");
        }
        heal(first).await;
        let mut outcome = up(&stage).await;
        let _ = writeln!(story, "  healed, up: {outcome:?}");
        if outcome.is_ok() {
            strike(world, second);
            sleep(schedule.absence).await;
            // Whoever comes back may come back while things still go wrong.
            let early = up(&stage).await;
            let _ = writeln!(story, "  struck again, up: {early:?}");
            heal(second).await;
            outcome = up(&stage).await;
            let _ = writeln!(story, "  healed, up: {outcome:?}");
        }
        let mut wrong = stage.complaints(schedule.owed()).await;
        wrong.extend(outcome.err().map(|fault| format!("up fails: {fault}")));
        let fates = world.fates();
        let struck = fates
            .iter()
            .filter(|(_, fate)| *fate == Fate::Struck)
            .count();
        if !wrong.is_empty() {
            let servers = world.offsets().join("");
            return Err(format!(
                "{wrong:#?}\n{schedule:?}\n{story}{servers}\n{fates:?}"
            ));
        }
        Ok(Outcome {
            struck,
            ledger: world.ledger(),
            took: stage.now(),
        })
    })
}

/// Runs `up`, and again where a step that was planned to go wrong comes only now.
async fn up(stage: &Stage) -> Result<bool, Fault> {
    loop {
        let before = steps_struck(&stage.world);
        let outcome = stage.world.until_killed(stage.up()).await;
        match outcome {
            Some(outcome) if outcome.is_ok() || steps_struck(&stage.world) == before => {
                return outcome;
            }
            Some(_) | None => {}
        }
    }
}

fn steps_struck(world: &World) -> usize {
    let fates = world.fates();
    let steps = fates.iter().filter(|(mishap, fate)| match mishap {
        Mishap::Call { .. } | Mishap::Command { .. } => *fate == Fate::Struck,
        Mishap::Blow { .. } => false,
    });
    steps.count()
}

fn strike(world: &World, blows: &[(Duration, Blow)]) {
    let now = model::port::Clock::now(&world.clock());
    for (after, what) in blows {
        world.plan(Mishap::Blow {
            at: now + *after,
            what: what.clone(),
        });
    }
}

/// Waits until no blow is to fall and no link is cut any more.
async fn heal(blows: &[(Duration, Blow)]) {
    if !blows.is_empty() {
        sleep(ACT + Duration::from_millis(CUT_MAX_MS)).await;
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}

#[test]
fn random_schedules_end_in_a_whole_cluster_without_a_lost_write() {
    let (first, count) = match number("SHARDYARD_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("SHARDYARD_SIM_SCHEDULES").unwrap_or(SCHEDULES)),
    };
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let struck = AtomicU64::new(0);
    let acknowledged = AtomicU64::new(0);
    let run = || {
        let mut failures = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return failures;
            }
            match play(seed) {
                Ok(outcome) => {
                    struck.fetch_add(outcome.struck as u64, Ordering::Relaxed);
                    let writes = outcome.ledger.tried - outcome.ledger.refused;
                    acknowledged.fetch_add(writes, Ordering::Relaxed);
                }
                Err(wrong) => failures.push((seed, wrong)),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut failures: Vec<(u64, String)> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        runs.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    failures.sort();
    let took = began.elapsed();
    eprintln!(
        "{count} schedules in {:.1} s ({:.0} a second), {} mishaps struck, {} writes acknowledged",
        took.as_secs_f64(),
        count as f64 / took.as_secs_f64(),
        struck.into_inner(),
        acknowledged.into_inner()
    );
    if let Some((seed, wrong)) = failures.first() {
        let seeds: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
        panic!(
            "{} of {count} fail: {seeds:?}\nSHARDYARD_SIM_SEED={seed}\n{wrong}",
            failures.len()
        );
    }
}

#[test]
fn a_schedule_is_the_same_each_time() {
    for seed in [3, 14, 15] {
        assert_eq!(play(seed), play(seed), "seed {seed}");
    }
}
