//! The built binary as a child process, over HTTP against embedded endpoints that the test holds: killed, stopped, refused,
//! lied to. Where a hook needs it, the same drain with the same AWS adapters inside the test (`inside`).

mod drained;
pub mod harness;
mod copy;
mod entries;
mod outage;
mod rate;
mod refusals;
mod window;
mod inside;
mod kill;
mod stop;
pub mod world;
