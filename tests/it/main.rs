mod jobdef;
mod plan;
mod window;
