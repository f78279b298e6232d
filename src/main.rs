//! The `longtask` program.

fn main() {}
