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
mod plan;
mod window;
mod world;
