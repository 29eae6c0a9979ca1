//! Chance and time of a simulation: both follow from the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nanoseconds of the true time, which no part of the simulated system can read.
pub(super) type Nanos = u64;

pub(super) const MILLISECOND: Nanos = 1_000_000;

/// A generator of numbers (splitmix64).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66_D1CE_4E5B)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    /// Returns a number from `least` to `most`.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True in so many cases of a thousand.
    pub(super) fn chance(&mut self, per_thousand: u64) -> bool {
        self.below(1000) < per_thousand
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Everything that is going to happen, ordered by time.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    sequence: u64,
    /// Times, the order of what was added for one time, and the places of what happens.
    times: BinaryHeap<Reverse<(Nanos, u64, usize)>>,
    happenings: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Agenda<T> {
    pub(super) fn new() -> Agenda<T> {
        Agenda { sequence: 0, times: BinaryHeap::new(), happenings: Vec::new(), free: Vec::new() }
    }

    pub(super) fn add(&mut self, at: Nanos, happening: T) {
        self.sequence += 1;
        let place = self.free.pop().unwrap_or(self.happenings.len());
        if place == self.happenings.len() {
            self.happenings.push(None);
        }
        self.happenings[place] = Some(happening);
        self.times.push(Reverse((at, self.sequence, place)));
    }

    pub(super) fn next(&mut self) -> Option<(Nanos, T)> {
        let Reverse((at, _, place)) = self.times.pop()?;
        self.free.push(place);
        self.happenings[place].take().map(|happening| (at, happening))
    }
}
