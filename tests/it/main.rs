mod plan;
mod window;
