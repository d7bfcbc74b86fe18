//! One link unit for all tests: linking the AWS SDK takes longer than compiling them.
#![allow(
    clippy::disallowed_methods,
    reason = "tests start real programs and read variables of their own; the time they hand to the worker is injected"
)]

#[cfg(feature = "local")]
mod binary;
#[cfg(feature = "local")]
mod contract;
mod crash;
mod house;
mod jobdef;
#[cfg(feature = "local")]
mod local;
mod model;
#[cfg(feature = "local")]
mod ops;
mod pace;
mod plan;
mod sim;
mod window;
#[allow(
    dead_code,
    clippy::collapsible_if,
    clippy::enum_variant_names,
    clippy::ptr_arg,
    clippy::type_complexity,
    reason = "a world has more in it than each scenario looks at"
)]
mod world;
