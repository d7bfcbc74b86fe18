//! The contract on the simulated ports, under many schedules: what the drain is tried on must behave as what it runs on.

use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use sqs_drain::port::Clock;

use super::{Bench, Difference, Spec, suite};
use crate::world::ports::{SimSink, SimSource};
use crate::world::store::SimStore;
use crate::world::{Core, ProcessPorts, QueueSpec, World};

/// How many schedules each clause is tried under.
const SEEDS: u64 = 25;

/// Virtual time after which a clause counts as hanging.
const LIMIT_MS: u64 = 24 * 3_600_000;

/// One process's way to a world of its own, in which nothing goes wrong.
#[derive(Clone)]
struct Simulated {
    core: Rc<Core>,
    ports: ProcessPorts,
}

impl Bench for Simulated {
    type Queue = usize;
    type Source = SimSource;
    type Sink = SimSink;
    type Store = SimStore;

    async fn queue(&self, spec: Spec<usize>) -> usize {
        self.core.queue(QueueSpec {
            fifo: spec.fifo,
            delay_ms: u64::from(spec.delay_s) * 1_000,
            redrive: spec.dead_letters,
            ..QueueSpec::default()
        })
    }

    async fn refusing(&self) -> Option<(usize, String)> {
        let queue = self.core.queue(QueueSpec {
            refuses: BTreeSet::from([1]),
            ..QueueSpec::default()
        });
        Some((queue, "m1 refused".to_owned()))
    }

    fn missing(&self) -> Option<usize> {
        // A queue is named by its index, so there is none that does not exist.
        None
    }

    fn source(&self, queue: &usize) -> SimSource {
        self.ports.source(*queue)
    }

    fn sink(&self, queue: &usize) -> SimSink {
        self.ports.sink(*queue)
    }

    fn store(&self) -> SimStore {
        self.ports.store()
    }

    fn partition(&self) -> String {
        format!("{:016x}", self.ports.clock().random())
    }

    async fn pass(&self, by: Duration) {
        self.ports.clock().sleep(by).await;
    }

    fn exact(&self) -> bool {
        // Calls take time too.
        false
    }

    fn differs(&self, _: Difference) -> bool {
        false
    }
}

/// Runs a clause as the only process of a world, under each seed.
fn in_world<F: Future<Output = ()> + 'static>(clause: impl Fn(Simulated) -> F) {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        let core = Rc::clone(&world);
        let handle = world.spawn("clause", |ports| clause(Simulated { core, ports }));
        assert!(world.run_to_end(LIMIT_MS), "seed {seed}: the clause hangs");
        assert!(
            handle.result.borrow().is_some(),
            "seed {seed}: the clause fails, see above"
        );
    }
}

macro_rules! in_world {
    ($module:ident $clause:ident) => {
        #[test]
        fn $clause() {
            in_world(crate::contract::$module::$clause);
        }
    };
}
suite!(in_world);
