//! An exhaustive check of the lane protocol as a small explicit-state model: every interleaving of two processes, the source
//! queue, the table, the network and time, with faults. `docs/model.md` says what it abstracts from and why that is sound.
//!
//! | file | what |
//! |---|---|
//! | `rules` | each rule of the protocol as a boolean; the scope of a check |
//! | `state` | queue, table, processes, requests on their way |
//! | `step` | what can happen |
//! | `receive` | how a message comes into hand, and what is decided about it |
//! | `lane` | what a process does with it |
//! | `watch` | heartbeats, fences, sweeps, starts and ends |
//! | `network` | time, lost and late answers |
//! | `symmetry` | states that are alike |
//! | `protocol` | the whole, and the promises |
//! | `holds`, `settles`, `mutants` | the tests |

mod check;
mod lane;
mod network;
mod protocol;
mod receive;
mod rules;
mod state;
mod step;
mod symmetry;
mod watch;

mod holds;
mod mutants;
mod settles;
