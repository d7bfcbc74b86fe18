#[cfg(feature = "local")]
mod binary;
#[cfg(feature = "local")]
mod contract;
mod house;
mod jobdef;
#[cfg(feature = "local")]
mod local;
#[cfg(feature = "local")]
mod ops;
mod plan;
mod window;
mod world;
