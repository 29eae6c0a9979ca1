//! The verbs of the command line. Standard output is data, standard error is words.

pub mod policy;
