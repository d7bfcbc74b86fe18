mod house;
mod jobdef;
#[cfg(feature = "local")]
mod local;
mod plan;
mod window;
