#[cfg(feature = "local")]
mod contract;
mod house;
#[cfg(feature = "local")]
mod local;
mod plan;
mod window;
mod world;
