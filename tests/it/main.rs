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
mod plan;
mod sim;
mod window;
mod world;
