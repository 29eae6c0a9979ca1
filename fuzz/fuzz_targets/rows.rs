#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| purposegate::scrub::fuzzing::rows(input));
