//! Each rule of the protocol is needed, in the code as in the model (`model::mutants`): the drain without it is run under
//! seeds of some bad weather until the audit reports the promise that it breaks. The whole protocol keeps every promise
//! in the same weather.
//!
//! A climate describes what is frequent, never a schedule.

use sqs_drain::rules::Rule;

use crate::world::schedule::{Climate, Schedule, Spell, Stroke};
use crate::world::worker::Setup;
use crate::world::{Chance, Fault, Op, Target};

/// By this seed a broken rule has shown: several times what it takes (`SQS_DRAIN_MUTANTS` counts the seeds that show each).
const SEEDS: u64 = 600;

/// So many seeds of each climate are run with every rule kept.
const KEPT: u64 = 20;

const DOUBLED: &str = "twice and not listed";
const SENT_ALTHOUGH_MARKED: &str = "which was marked as sent";
const DOUBT_OF_DELETED: &str = "is in doubt for ever";
const NOT_LISTED: &str = "is not listed any more";
const NOT_HELD: &str = "does not hold it any more";
const OUT_OF_ORDER: &str = " after m";
const TOO_FAST: &str = "messages in one second";
const RELEASED_PREPARED: &str = "which its page still has as about to be sent";

fn run(climate: &Climate, without: &'static [Rule], seed: u64) -> Vec<String> {
    let mut schedule = Schedule::of(climate, seed);
    schedule.setup.without = without;
    let world = schedule.run(false);
    world.audit.borrow().violations().to_vec()
}

/// The drain `without` some rules breaks `promise` in this climate; with all of them it breaks none.
fn caught(without: &'static [Rule], climate: &Climate, promise: &str) {
    if !cfg!(debug_assertions) {
        // Only a debug build breaks a rule.
        return;
    }
    let breaks = |seed: &u64| {
        let broken = run(climate, without, *seed);
        broken.iter().any(|what| what.contains(promise))
    };
    if let Some(seeds) = counted() {
        let shown = (1..=seeds).filter(breaks).count();
        println!("without {without:?}: {shown} of {seeds} seeds break a promise ({promise})");
    }
    let found = (1..=SEEDS).find(breaks);
    let Some(found) = found else {
        panic!("{SEEDS} seeds do not show that {without:?} is needed");
    };
    println!("without {without:?}: seed {found} breaks a promise ({promise})");
    for seed in (1..=KEPT).chain([found]) {
        let broken = run(climate, &[], seed);
        assert!(broken.is_empty(), "seed {seed}: {}", broken.join("\n"));
    }
}

/// How many seeds are counted, where that is asked for.
fn counted() -> Option<u64> {
    std::env::var("SQS_DRAIN_MUTANTS").ok()?.parse().ok()
}

/// A route that takes its time, so that there is something in hand whenever trouble comes.
fn flowing(rate: f64) -> Setup {
    Setup {
        rate: Some(rate),
        ..Climate::default().setup
    }
}

/// Processes die.
fn deaths() -> Climate {
    Climate {
        setup: flowing(4.0),
        messages: 10..=25,
        faults: vec![
            Chance::of(Fault::KillBefore, 200),
            Chance::of(Fault::KillAfter, 200),
        ],
        kills: 6,
        storm_ms: 30_000,
        ..Climate::default()
    }
}

fn deletes_fail(ms: std::ops::RangeInclusive<u64>) -> Spell {
    Spell {
        target: Target::Queue(0),
        only: None,
        ops: &[Op::Delete],
        fault: Fault::RequestLost,
        ms,
    }
}

/// Writes of these keys are refused for a while; reads are not.
fn writes_throttled(only: &'static str, ms: std::ops::RangeInclusive<u64>) -> Spell {
    Spell {
        target: Target::Table,
        only: Some(only),
        ops: &[Op::Write],
        fault: Fault::Throttled,
        ms,
    }
}

/// Answers of the destination are lost, and the source takes no deletes for a while.
fn lost_answers() -> Climate {
    Climate {
        setup: flowing(4.0),
        messages: 10..=20,
        faults: vec![
            Chance::on(&[Op::Send], Fault::AnswerLost, 2_000),
            Chance::of(Fault::InternalAfter, 100),
        ],
        spells: vec![deletes_fail(20_000..=60_000)],
        ..Climate::default()
    }
}

/// Hosts stand still with a request in the socket; others start meanwhile.
fn stalls() -> Climate {
    Climate {
        faults: vec![Chance::on(&[Op::Delete], Fault::HeldBack(40_000), 5_000)],
        apart_ms: 35_000,
        ..Climate::default()
    }
}

/// The table takes no records for a while, when they are needed.
fn no_records() -> Climate {
    Climate {
        setup: flowing(2.0),
        messages: 15..=40,
        faults: vec![Chance::on(&[Op::Send], Fault::AnswerLost, 1_000)],
        spells: vec![
            deletes_fail(15_000..=40_000),
            writes_throttled("id#", 10_000..=40_000),
            writes_throttled("id#", 10_000..=40_000),
        ],
        storm_ms: 20_000,
        ..Climate::default()
    }
}

/// And heartbeats are lost for a while, or late.
fn no_records_and_late_beats() -> Climate {
    let beats = |fault| Spell {
        only: Some("beat"),
        fault,
        ..writes_throttled("", 3_000..=6_000)
    };
    let mut spells = vec![deletes_fail(30_000..=60_000); 3];
    // As long as it takes from a deadline to the next process's answer; longer, and the owner is swept.
    spells.extend(vec![writes_throttled("id#", 9_000..=16_000); 6]);
    spells.extend(vec![beats(Fault::RequestLost); 8]);
    let late = (2_000..=5_000).step_by(500);
    spells.extend(late.map(|ms| beats(Fault::Late(ms))));
    Climate {
        setup: flowing(3.0),
        messages: 150..=250,
        faults: vec![Chance::on(&[Op::Send], Fault::AnswerLost, 1_000)],
        spells,
        storm_ms: 120_000,
        ..Climate::default()
    }
}

/// And heartbeats are slow, so that one is often on its way when a visibility runs out.
fn no_records_and_slow_beats() -> Climate {
    let slow = Spell {
        only: Some("beat"),
        fault: Fault::Slow(1_800),
        ..writes_throttled("", 60_000..=100_000)
    };
    let mut spells = vec![deletes_fail(30_000..=60_000); 3];
    spells.extend(vec![writes_throttled("id#", 10_000..=22_000); 6]);
    spells.extend(vec![slow; 4]);
    Climate {
        setup: flowing(3.0),
        messages: 150..=250,
        // With more of them every other process would wait for its own records, and not beat.
        shards: 2..=2,
        faults: vec![Chance::on(&[Op::Send], Fault::AnswerLost, 400)],
        spells,
        storm_ms: 120_000,
        ..Climate::default()
    }
}

/// A slow table, and processes that stand still for a little longer than a lease.
fn slow_sweeps() -> Climate {
    Climate {
        setup: flowing(3.0),
        messages: 60..=120,
        faults: vec![
            Chance::on(&[Op::Write, Op::Get, Op::Query], Fault::Slow(1_800), 6_000),
            Chance::on(&[Op::Write], Fault::HeldBack(15_000), 200),
        ],
        strokes: (10_500..=15_000).step_by(500).map(Stroke::Freeze).collect(),
        struck: 10,
        storm_ms: 50_000,
        ..Climate::default()
    }
}

/// A slow table, and processes that stand still, for as long as it takes to be swept, with the write of a page in the socket.
fn held_writes() -> Climate {
    let setup = Setup {
        lanes: 3,
        page: 3,
        // Whoever stood still for a lease still has the time to delete.
        visibility_s: 60,
        ..flowing(3.0)
    };
    let held = |ms| Spell {
        target: Target::Table,
        only: Some("page#"),
        ops: &[Op::Write],
        fault: Fault::HeldBack(ms),
        ms: 100..=600,
    };
    Climate {
        setup,
        messages: 60..=120,
        shards: 3..=3,
        faults: vec![Chance::on(
            &[Op::Write, Op::Get, Op::Query],
            Fault::Slow(1_800),
            7_000,
        )],
        spells: (11_000..=15_000).step_by(500).map(held).collect(),
        strokes: Vec::new(),
        struck: 0,
        storm_ms: 40_000,
        ..slow_sweeps()
    }
}

/// And the source takes few deletes.
fn held_writes_and_few_deletes() -> Climate {
    let mut climate = held_writes();
    // Of what the table's faults leave of the chances.
    let lost = Chance::on(&[Op::Delete], Fault::RequestLost, 3_000);
    climate.faults.push(lost);
    climate
}

/// A destination that takes nothing for a while, and a source that copies.
fn copies() -> Climate {
    let closed = |fault| Spell {
        target: Target::Queue(1),
        ops: &[Op::Send],
        fault,
        ..deletes_fail(20_000..=60_000)
    };
    Climate {
        setup: flowing(4.0),
        faults: vec![
            Chance::on(&[Op::Receive], Fault::Copy(1), 3_000),
            Chance::on(&[Op::Receive], Fault::Copy(2), 3_000),
        ],
        spells: vec![closed(Fault::Throttled), closed(Fault::Refused)],
        ..Climate::default()
    }
}

/// Doubts go to a hold queue, and the table refuses to say under which id for a while.
fn holds_not_noted() -> Climate {
    let setup = Setup {
        at_most_once: true,
        ..Climate::default().setup
    };
    Climate {
        setup,
        faults: vec![Chance::on(&[Op::Send], Fault::AnswerLost, 3_000)],
        spells: vec![writes_throttled("held#", 20_000..=60_000); 2],
        ..Climate::default()
    }
}

/// Processes are told to stop.
fn stops() -> Climate {
    Climate {
        setup: flowing(4.0),
        messages: 15..=30,
        strokes: vec![Stroke::Term, Stroke::Term, Stroke::Kill],
        struck: 6,
        storm_ms: 8_000,
        ..Climate::default()
    }
}

/// Long groups come back, and answers of the destination are lost again.
fn groups_that_come_back() -> Climate {
    let setup = Setup {
        fifo: true,
        groups: 12,
        lanes: 3,
        page: 5,
        visibility_s: 40,
        ..flowing(21.0)
    };
    Climate {
        setup,
        messages: 100..=200,
        faults: vec![Chance::on(&[Op::Send], Fault::AnswerLost, 2_000)],
        strokes: vec![Stroke::Kill],
        struck: 4,
        storm_ms: 90_000,
        ..Climate::default()
    }
}

/// Processes come and go while a rate is kept, so that shares change hands all the time.
fn comings_and_goings() -> Climate {
    let setup = Setup {
        page: 50,
        burst: Some(6),
        ..flowing(100.0)
    };
    Climate {
        setup,
        messages: 4_000..=5_000,
        apart_ms: 2_000,
        // Whoever wakes after it was swept starts again, when the others have just been raised.
        strokes: (11_000..=16_000).step_by(500).map(Stroke::Freeze).collect(),
        struck: 8,
        storm_ms: 35_000,
        ..Climate::default()
    }
}

macro_rules! mutant {
    ($($name:ident: without $($rule:ident),+ in $climate:ident => $promise:expr;)+) => {$(
        #[test]
        fn $name() {
            caught(&[$(Rule::$rule),+], &$climate(), $promise);
        }
    )+};
}

mutant! {
    delete_before_mark: without MarkBeforeDelete in deaths => DOUBT_OF_DELETED;
    no_prepare: without Prepare in deaths => DOUBLED;
    no_hand_over_before_the_deadline: without HandOver in lost_answers => DOUBLED;
    a_late_delete_taken_as_settled: without LateDeleteSettlesNothing in stalls => DOUBLED;
    heartbeat_although_a_lane_is_past_its_deadline: without BeatsWithheld in no_records => DOUBLED;
    one_beat_instead_of_two: without TwoBeats in no_records_and_slow_beats => DOUBLED;
    unnumbered_beats: without NumberedBeats in no_records_and_late_beats => DOUBLED;
    sweep_without_fence_and_sequence: without Fence, PagesSealed in slow_sweeps => DOUBLED;
    sweep_without_sequence: without PagesSealed in held_writes_and_few_deletes => SENT_ALTHOUGH_MARKED;
    sweep_of_what_changes: without PagesSealed in held_writes => DOUBT_OF_DELETED;
    records_overwritten: without RecordsAccumulate in lost_answers => NOT_LISTED;
    in_hand_deadline_refreshed: without FirstDeadlineKept in copies => NOT_HELD;
    visibility_0_before_the_page_is_rewritten: without PageBeforeVisibility in stops => RELEASED_PREPARED;
    a_group_in_two_pages: without GroupsWhole in groups_that_come_back => OUT_OF_ORDER;
    raised_before_the_others_let_go: without SharesAcknowledged in comings_and_goings => TOO_FAST;
    held_not_noted_before_the_delete: without HeldNotedBeforeDelete in holds_not_noted => DOUBT_OF_DELETED;
}
