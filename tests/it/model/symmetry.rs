//! States that differ only in the slots of processes or messages behave alike: one of them stands for all.

use super::protocol::Protocol;
use super::state::{BYGONE, InHand, MESSAGES, NOBODY, Process, SLOTS, State, name_of};

/// A number for what a process has of a message, without names.
fn hand_key(process: &Process, m: usize) -> u64 {
    let InHand {
        stage,
        attempt,
        expired,
        ..
    } = process.hand[m];
    let table = process.page[m].code() | process.read[m].code() << 4;
    (stage as u64) << 16
        | u64::from(attempt) << 14
        | u64::from(expired) << 13
        | u64::from(table) << 4
        | process.late_page[m].map_or(0, |entry| 1 + u64::from(entry.code()))
}

/// A number for a message, without names and independent of the order of processes.
fn message_key(s: &State, m: usize) -> u64 {
    let (queued, item, late, audit) = (&s.queue[m], &s.items[m], &s.late[m], &s.audit[m]);
    let known = u64::from(audit.accepted) << 4
        | (queued.place as u64) << 2
        | u64::from(queued.received) << 1
        | u64::from(item.sent);
    let table = u64::from(item.doubts) << 12
        | u64::from(item.resent) << 8
        | u64::from(late.sends) << 4
        | u64::from(late.doubts);
    // A sum of mixed keys does not depend on their order.
    let hands = s.processes.iter().map(|process| {
        let key = hand_key(process, m) + 1;
        key.wrapping_mul(key).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    (known << 16 | table) ^ hands.fold(0, u64::wrapping_add)
}

/// A number for a process, without names.
fn process_key(process: &Process) -> u128 {
    let mut bytes = [0; 16];
    bytes[..15].copy_from_slice(&process.pack());
    // Owners and heartbeats seen name other processes.
    bytes[4] &= 0xf0;
    bytes[5] = 0;
    bytes[10] &= 0xf0;
    bytes[11] = 0;
    u128::from_be_bytes(bytes)
}

impl Protocol {
    /// The state that stands for a state and all that are like it.
    pub(super) fn representative(&self, s: &State) -> State {
        let mut out = *s;
        let alike = self.scope.messages == 2 && !self.scope.fifo && self.scope.lanes == 1;
        if alike && message_key(s, 0) > message_key(s, 1) {
            out.queue.swap(0, 1);
            out.items.swap(0, 1);
            out.late.swap(0, 1);
            out.audit.swap(0, 1);
            for process in &mut out.processes {
                swap_messages(process);
            }
        }
        let mut keys = [0; SLOTS];
        for (key, process) in keys.iter_mut().zip(&out.processes) {
            *key = process_key(process);
        }
        if keys[0] < keys[1] || keys[1] < keys[2] || keys[2] < keys[3] {
            let mut order = [0, 1, 2, 3];
            order.sort_by(|a, b| keys[*b].cmp(&keys[*a]));
            rename(&mut out, order);
        }
        out
    }
}

fn swap_messages(process: &mut Process) {
    process.hand.swap(0, 1);
    process.remembers.swap(0, 1);
    process.seen.swap(0, 1);
    process.page.swap(0, 1);
    process.read.swap(0, 1);
    process.late_page.swap(0, 1);
    process.released_early.swap(0, 1);
}

/// Puts the process of slot `order[i]` into slot `i`.
fn rename(s: &mut State, order: [usize; SLOTS]) {
    let mut names = [NOBODY; 8];
    names[usize::from(BYGONE)] = BYGONE;
    for (new, old) in order.into_iter().enumerate() {
        names[usize::from(name_of(old))] = name_of(new);
    }
    let give = |name: &mut u8| *name = names[usize::from(*name)];
    s.processes = order.map(|old| s.processes[old]);
    for process in &mut s.processes {
        for m in 0..MESSAGES {
            give(&mut process.hand[m].rival);
            let seen = process.seen[m];
            process.seen[m] = order.map(|old| seen[old]);
        }
    }
    for m in 0..MESSAGES {
        give(&mut s.queue[m].holder);
        give(&mut s.items[m].resent_by);
        give(&mut s.items[m].claim);
        give(&mut s.late[m].take.1);
        give(&mut s.late[m].take.2);
        give(&mut s.late[m].claim);
    }
}
