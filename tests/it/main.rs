//! One link unit for all tests: linking the AWS SDK takes longer than compiling them.
#![allow(
    clippy::disallowed_methods,
    reason = "tests start real programs and read variables of their own; the time they hand to the worker is injected"
)]

#[cfg(feature = "local")]
mod binary;
mod by_hand;
#[cfg(feature = "local")]
mod contract;
mod crash;
mod house;
mod jobdef;
mod leftovers;
#[cfg(feature = "local")]
mod local;
mod model;
mod mutants;
#[cfg(feature = "local")]
mod ops;
mod pace;
mod plan;
#[cfg(feature = "local")]
mod record;
mod scale;
mod sim;
mod steer;
mod window;
mod world;
