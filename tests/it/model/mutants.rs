//! Every rule is needed: without it a promise is broken, and the check finds how. `cargo test model::mutants -- --nocapture`
//! prints the ways.

use super::check::{bears, caught, explore};
use super::protocol::Protocol;
use super::rules::{Faults, Rules, Scope};
use super::state::Broken::{
    self, CountedTwice, DoubledAtMostOnce, DoubledSilently, DoubtOfDeleted, Lost, OutOfOrder,
    SentAlthoughMarked,
};

const ALL: Rules = Rules::ALL;
const ONE: Scope = Scope {
    lingering: false,
    ..Scope::one_message(1)
};
const REGISTERS_FIRST: Scope = Scope {
    registers_first: true,
    ..ONE
};

macro_rules! mutant {
    ($($(#[$doc:meta])* $name:ident: without $($rule:ident),+ in $scope:expr => $promise:expr;)+) => {$(
        $(#[$doc])*
        #[test]
        fn $name() {
            let promise: Broken = $promise;
            caught(Rules { $($rule: false,)+ ..ALL }, $scope, promise);
        }
    )+};
}

mutant! {
    /// A kill between the delete and the mark leaves a doubt about a message that is gone: nobody can ever settle it.
    delete_before_mark: without mark_before_delete in ONE => DoubtOfDeleted;
    no_prepare: without prepare in ONE => DoubledSilently;
    no_hand_over_before_the_deadline: without hand_over in ONE => DoubledSilently;
    a_late_delete_taken_as_settled: without late_delete_settles_nothing in ONE => DoubledSilently;
    heartbeat_although_a_lane_is_past_its_deadline: without beat_withheld in ONE => DoubledSilently;
    one_beat_instead_of_two: without two_beats in ONE => DoubledSilently;
    unnumbered_beats: without numbered_beats in ONE => DoubledSilently;
    send_after_the_deadline: without deadline_to_send in ONE => DoubledSilently;
    redelivered_but_not_looked_up: without ask in ONE => DoubledSilently;
    looked_up_but_not_waited: without wait_for_others in ONE => DoubledSilently;
    received_at_the_answer: without received_at_start in ONE => DoubledSilently;
    in_hand_deadline_refreshed: without first_deadline_kept in ONE => DoubledSilently;
    items_overwritten: without items_accumulate in ONE => DoubledSilently;
    page_gone_before_the_items: without items_before_page_goes in ONE => DoubledSilently;
    resend_not_written_first: without resend_taken_first in ONE => DoubledSilently;
    release_of_an_unanswered_send: without unanswered_not_released in ONE => DoubledSilently;
    /// A lane's late write of an older state hides what it has prepared since.
    page_written_whatever_its_sequence: without page_sequence_grows
        in Scope { faults: 2, kinds: Faults { crash: true, unanswered: true, ..Faults::NONE }, slow_start: false, ..ONE }
        => DoubledSilently;
    /// The message goes on while the page still has it prepared: after a kill the same delivery counts as released and as
    /// in doubt.
    visibility_0_before_the_page_is_rewritten: without page_before_visibility
        in Scope { faults: 2, kinds: Faults { crash: true, terminate: true, ..Faults::NONE }, ..ONE } => CountedTwice;
    totals_folded_before_the_page_goes: without totals_folded_once in ONE => CountedTwice;
    /// What the page said at the end (sent) is lost; the message is sent again, as a doubt.
    page_deleted_whatever_its_sequence: without page_deleted_as_read in ONE => SentAlthoughMarked;
    /// A swept process creates its page again and believes that its mark counts.
    page_created_by_an_update: without page_must_exist in ONE => SentAlthoughMarked;
    /// A process that is swept before it has created its pages goes on unseen.
    sweep_without_fence: without fence in REGISTERS_FIRST => DoubledSilently;
    send_without_a_fresh_heartbeat: without fresh_beat_to_send in REGISTERS_FIRST => DoubledSilently;
    group_sent_past_a_refused_entry: without group_waits
        in Scope { fifo: true, slots: 2, ..Scope::two_messages(0) } => OutOfOrder;
    /// The earlier message comes again while it is being handed over in doubt; what came with it goes on without it.
    group_sent_past_a_message_in_hand: without group_waits_in_hand
        in Scope { fifo: true, slots: 2, kinds: Faults { unanswered: true, ..Faults::NONE }, ..Scope::two_messages(1) }
        => OutOfOrder;
    an_earlier_claim_taken_for_ones_own: without claim_per_delivery
        in Scope { at_most_once: true, faults: 2, kinds: Faults { copy: true, ..Faults::ALL }, ..ONE }
        => DoubledAtMostOnce;
    held_before_the_hold_queue_has_it: without held_after_accepted
        in Scope { at_most_once: true, faults: 2, kinds: Faults { copy: true, ..Faults::ALL }, ..ONE } => Lost;
    a_copy_of_what_was_sent: without sent_remembered
        in Scope { alive: 1, slots: 1, kinds: Faults { copy: true, ..Faults::NONE }, ..Scope::one_message(2) }
        => DoubledSilently;
}

/// Against silent doubles of a process that was swept while it lives there are two lines of defence, where pages are created
/// before the registration: the fence with fresh heartbeats, and the conditions on pages. Each bears alone.
#[test]
fn fence_and_page_conditions_are_two_lines_of_defence() {
    bears(
        Rules {
            fence: false,
            ..ALL
        },
        ONE,
        DoubledSilently,
    );
    bears(
        Rules {
            fresh_beat_to_send: false,
            ..ALL
        },
        ONE,
        DoubledSilently,
    );
    bears(
        Rules {
            fence: false,
            fresh_beat_to_send: false,
            ..ALL
        },
        ONE,
        DoubledSilently,
    );
    bears(
        Rules {
            page_must_exist: false,
            page_deleted_as_read: false,
            ..ALL
        },
        ONE,
        DoubledSilently,
    );
    for (fence, fresh_beat_to_send) in [(false, true), (true, false)] {
        let one_line = Rules {
            fence,
            fresh_beat_to_send,
            ..ALL
        };
        caught(
            Rules {
                page_must_exist: false,
                ..one_line
            },
            ONE,
            DoubledSilently,
        );
        caught(
            Rules {
                page_deleted_as_read: false,
                ..one_line
            },
            ONE,
            DoubledSilently,
        );
    }
}

/// The owner named in the taking of a doubt is not what keeps processes apart (the waiting is): it is there for people who
/// settle doubts by hand meanwhile.
#[test]
fn waiting_keeps_resends_apart() {
    let scope = Scope {
        kinds: Faults {
            crash: true,
            unanswered: true,
            ..Faults::NONE
        },
        faults: 2,
        slow_start: false,
        ..ONE
    };
    bears(
        Rules {
            one_owner: false,
            ..ALL
        },
        scope,
        DoubledSilently,
    );
}

/// A known limit: a process that is given up while it lives may settle a message after the sweep has read its page and before
/// the sweep writes what it read. The id is then listed in doubt although it was delivered and deleted, and stays so.
#[test]
fn a_sweep_of_the_living_may_leave_a_doubt_that_is_none() {
    let found = explore(Protocol {
        only: Some(DoubtOfDeleted),
        ..Protocol::new(Scope {
            strict_doubts: true,
            ..ONE
        })
    });
    assert!(
        found.broken.is_some(),
        "the limit is gone: say so in docs/model.md"
    );
}

/// An assumption about SQS that the protocol rests on: a visibility change with a receipt handle that is not the newest has
/// no effect. If it had, a release that arrives very late would break the first holder's hiding of the message.
#[test]
fn a_late_release_with_an_old_handle_would_double() {
    let kinds = Faults {
        terminate: true,
        unanswered: true,
        ..Faults::NONE
    };
    let scope = Scope {
        old_handles_release: true,
        faults: 2,
        kinds,
        ..ONE
    };
    let found = explore(Protocol {
        only: Some(DoubledSilently),
        ..Protocol::new(scope)
    });
    assert!(found.broken.is_some());
}
