//! The circumstances of the records of one window, counted while it is judged: without a lock, and in a few comparisons a
//! record.

use smallvec::SmallVec;

use crate::decision::circumstance::{ClassSet, RecordPeople};

/// Maximum number of different people, and of different combinations with classes, that are told apart in one window.
const MAX_TOLD_APART: usize = 256;

/// The number of some people in a [`WindowCircumstances`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeopleNumber(u16);

impl PeopleNumber {
    /// People beyond [`MAX_TOLD_APART`].
    const OTHER: PeopleNumber = PeopleNumber(u16::MAX);
}

/// Counts the records of one window by their circumstances.
#[derive(Clone, Debug, Default)]
pub struct WindowCircumstances {
    people: SmallVec<[RecordPeople; 1]>,
    counted: SmallVec<[(PeopleNumber, ClassSet, u64); 1]>,
    /// The people of the records that have begun and not ended. Records are nested.
    open: SmallVec<[PeopleNumber; 2]>,
}

impl WindowCircumstances {
    /// Returns the number of these people. Sorts them, and counts each once. Records about no people at all are not told apart.
    pub fn number(&mut self, mut people: RecordPeople) -> PeopleNumber {
        if people.is_empty() {
            return PeopleNumber::OTHER;
        }
        people.sort();
        people.dedup();
        if let Some(known) = self.people.iter().position(|known| *known == people) {
            return PeopleNumber(u16::try_from(known).unwrap_or(u16::MAX));
        }
        if self.people.len() == MAX_TOLD_APART {
            return PeopleNumber::OTHER;
        }
        self.people.push(people);
        PeopleNumber(u16::try_from(self.people.len() - 1).unwrap_or(u16::MAX))
    }

    /// Begins a record about some people, within the records that have begun.
    pub fn begin(&mut self, people: PeopleNumber) {
        self.open.push(people);
    }

    /// Ends the record that began last. `fields` holds the number of its fields by class.
    pub fn end(&mut self, fields: &[u32]) {
        let people = self.open.pop().unwrap_or(PeopleNumber::OTHER);
        let is_countable = people != PeopleNumber::OTHER && fields.len() <= ClassSet::MAX_CLASSES;
        let (people, classes) = match is_countable {
            true => (people, ClassSet::of(fields)),
            false => (PeopleNumber::OTHER, ClassSet::default()),
        };
        self.add(people, classes, 1);
    }

    /// Adds the records of another part of the window.
    pub fn merge(&mut self, other: WindowCircumstances) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let WindowCircumstances { people, counted, open: _ } = other;
        let numbers: SmallVec<[PeopleNumber; 4]> =
            people.into_iter().map(|people| self.number(people)).collect();
        for (people, classes, records) in counted {
            let people = numbers.get(usize::from(people.0)).copied().unwrap_or(PeopleNumber::OTHER);
            self.add(people, classes, records);
        }
    }

    /// True if no record was counted.
    pub fn is_empty(&self) -> bool {
        self.counted.is_empty()
    }

    /// Returns the records by their circumstances; `None` for those that are not told apart.
    pub fn iter(&self) -> impl Iterator<Item = (Option<(&RecordPeople, ClassSet)>, u64)> {
        self.counted.iter().map(|(people, classes, records)| {
            (self.people.get(usize::from(people.0)).map(|people| (people, *classes)), *records)
        })
    }

    #[inline]
    fn add(&mut self, people: PeopleNumber, classes: ClassSet, records: u64) {
        let classes = if people == PeopleNumber::OTHER { ClassSet::default() } else { classes };
        let is_same = |(of, with, _): &&mut (PeopleNumber, ClassSet, u64)| *of == people && *with == classes;
        if let Some((_, _, counted)) = self.counted.iter_mut().find(is_same) {
            *counted += records;
        } else if self.counted.len() < MAX_TOLD_APART || people == PeopleNumber::OTHER {
            self.counted.push((people, classes, records));
        } else {
            self.add(PeopleNumber::OTHER, ClassSet::default(), records);
        }
    }
}
