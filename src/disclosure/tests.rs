//! The log as a whole: what it promises, what happens when a disk fails or a process dies, and
//! what somebody who changes it leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
