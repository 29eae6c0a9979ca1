//! The demonstration: a sample internal API, recipients, subjects and scenes, all invented.

pub mod expectation;
pub mod people;
pub mod scenes;
pub mod setting;
pub mod show;
pub mod subjects;
pub mod template;
pub mod upstream;
