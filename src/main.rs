//! The `purposegate` command.

fn main() {}
