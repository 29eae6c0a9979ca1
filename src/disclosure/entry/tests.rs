//! Tests of entries.
