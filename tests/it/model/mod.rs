//! An exhaustive check of the lane protocol as a small explicit-state model.

mod lane;
mod network;
mod protocol;
mod rules;
mod state;
mod step;
mod watch;

mod holds;
