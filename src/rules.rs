//! The rules of the lane protocol that a test can switch off, one by one, to show that each of them is needed.
//!
//! A rule that can be deleted without any test noticing is either not needed or not tested. So each of these is one named
//! condition at the place where it lives, and `tests/it/mutants.rs` runs the drain without it until the audit of the simulated
//! world reports a broken promise. The same rules, and more, are switches of the exhaustive model (`docs/model.md`).
//!
//! Only a build with debug assertions can break a rule: elsewhere [`Rules::keeps`] is the constant `true`, and no flag,
//! variable or file setting leads here.

/// One rule. Each says what it demands, why, and the shortest way in which its absence does harm; A and B are processes, m is
/// a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An id stands in a page, answered, before its send starts: else nobody knows of a send that its process did not survive.
    ///
    /// A sends m and dies; B receives m, finds nothing about it, sends it: a silent double.
    Prepare,
    /// A page says what was accepted, answered, before the first of it is deleted: else a death leaves doubts about messages
    /// that are gone, and nobody can ever settle them.
    ///
    /// A sends m, deletes it, dies before the mark; the sweep lists m in doubt for ever.
    MarkBeforeDelete,
    /// An id that is not settled by its deadline gets a record of its own before its place in the page is free: the page is read
    /// by sweepers only, the record by whoever receives the message next.
    ///
    /// The answer to A's send of m is lost, A lets go of m; B receives m, finds nothing, sends it: a silent double.
    HandOver,
    /// A delete that is answered after the deadline settles nothing: it may have met a newer receive, and SQS answers an old
    /// handle with success whether it deleted or not.
    ///
    /// A freezes with the delete of m in its socket; B receives m; A thaws, the delete has no effect and succeeds, A forgets m, B
    /// finds nothing about it and sends it: a silent double.
    LateDeleteSettlesNothing,
    /// No heartbeat starts while something in a page is past its visibility and not handed over: two beats after a
    /// receive must mean that what was in hand before it has a record.
    ///
    /// A has sent m and cannot write its record; B receives m, sees A beat twice, finds nothing, sends m: a silent double.
    BeatsWithheld,
    /// Whoever asks about an id waits for two beats of every other process, not one: the first may have been checked before a
    /// freeze, or before an outage, and be written after it.
    ///
    /// A checks that nothing is overdue and its beat is delayed; m, sent by A, becomes visible; B receives m, A's beat arrives, B
    /// finds nothing, sends m: a silent double.
    TwoBeats,
    /// A heartbeat's retry repeats its number; the number grows only after an answer: else two attempts of one check, both
    /// delayed, look like two beats.
    ///
    /// As for [`Rule::TwoBeats`], with both attempts on their way.
    NumberedBeats,
    /// A sweep begins with a write after which every heartbeat of its victim fails: a process that wakes while it is being swept
    /// must not go on sending.
    ///
    /// With [`Rule::PagesSealed`] one of two lines of defence: without both, A wakes while B sweeps it, beats,
    /// prepares and sends m; B deletes the page it read before that; m has no record and is sent again: a silent double.
    Fence,
    /// A sweep seals a page, on the sequence that it read, before it believes it, and otherwise reads it again (a page without ids it deletes on
    /// that sequence): what was written in between must get its records too, and what was settled in between none.
    ///
    /// Alone: A's mark of m as sent arrives between B's read and B's delete of the page; m's record says only *in doubt*,
    /// and m is sent although it was marked. Or A settles m in between, and m, which is gone, is in doubt for ever.
    PagesSealed,
    /// Facts are added to a record, never put in the place of others: a doubt stays listed when the id is sent, and sent
    /// stays sent when a sweep adds a doubt.
    ///
    /// m was in doubt and sent again; the delete fails, *sent* replaces the doubt: a double that nobody lists.
    RecordsAccumulate,
    /// A message that is received again while it is in hand keeps its first deadline: the new receive hides what it handed out,
    /// and says nothing about what the first one hid.
    ///
    /// SQS delivers a copy of m to A, which has m in hand; m's own visibility runs out, B receives it; A sends m on the
    /// copy's time.
    FirstDeadlineKept,
    /// A message that goes back is out of the page before it is visible again: else a death between the two makes a doubt
    /// of what was surely not sent.
    ///
    /// A, told to stop, releases m; B receives, sends and deletes it; A dies with m still prepared in its page, and the sweep lists m
    /// in doubt for ever.
    PageBeforeVisibility,
    /// The record of a held message says so, and under which id the hold queue has it, before any page does, and so before the original
    /// is deleted.
    ///
    /// m is in doubt and put into the hold queue, the table refuses the note once, m is deleted: its record says *in doubt* for
    /// ever, and nobody finds the way from the copy to it.
    HeldNotedBeforeDelete,
    /// Of a FIFO source everything that was received of a group and came back stands in one page: one that was not sent stops what
    /// follows it there, and pages know nothing of each other.
    ///
    /// m, n and o of a group come back, o in the next page; the answer to m's send is lost, n waits for it, o is sent.
    GroupsWhole,
    /// A share of the rate is raised only by what the others have acknowledged that they let go: what a process is granted it knows with
    /// its next heartbeat, and until it says so it may be sending at what it had.
    ///
    /// C joins, A is lowered and C raised at once; C hears of it first: together faster than told.
    SharesAcknowledged,
}

/// Which rules are kept: all of them, but for tests that show what happens otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    broken: &'static [Rule],
}

impl Rules {
    /// The protocol.
    pub const ALL: Self = Self { broken: &[] };

    /// The protocol without some of its rules, for tests. Has no effect in a build without debug assertions.
    pub const fn without(broken: &'static [Rule]) -> Self {
        Self { broken }
    }

    /// Whether a rule is kept. The constant `true` in a build without debug assertions.
    pub fn keeps(self, rule: Rule) -> bool {
        !cfg!(debug_assertions) || !self.broken.contains(&rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_debug_build_breaks_a_rule() {
        let broken = Rules::without(&[Rule::Fence]);
        assert_eq!(broken.keeps(Rule::Fence), !cfg!(debug_assertions));
        assert!(broken.keeps(Rule::Prepare) && Rules::ALL.keeps(Rule::Fence));
    }
}
