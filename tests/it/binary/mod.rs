//! The built binary as a child process, over HTTP against embedded endpoints that the test holds: killed, stopped, refused,
//! lied to. Where a hook needs it, the same drain with the same AWS adapters inside the test (`inside`).

mod copy;
mod cutoff;
mod drained;
mod entries;
mod fleet;
mod freeze;
pub mod harness;
mod inside;
mod kill;
mod once;
mod outage;
mod rate;
mod refusals;
mod stop;
mod window;
pub mod world;
