//! One exchange over HTTP: the gate as a tower layer around whatever answers.

pub mod answer;
pub mod encoding;
pub mod identity;
pub mod path;
pub mod purpose;
mod refusal;
pub mod request;

pub use refusal::{Problem, Refusal};
