//! Numbers that stand for names, rulings and lists of factors: the offsets of the entries that define them.
//!
//! The dictionary is forgotten when a day, a process or a resumption begins. It first compares pointers, because the terms
//! of the configuration and of the policy are shared and hardly ever change. Each shared term is kept alive as long as its
//! address is a key. A term that was forgotten is defined again, which wastes an entry and changes no meaning.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use smallvec::SmallVec;

use super::schema::NameTable;
use crate::decision::Reason;
use crate::disclosure::record::{CategoryDisclosure, Verdict, WouldRelease};
use crate::vocabulary::{Basis, Form};

/// Maximum number of addresses that are remembered.
const MAX_ADDRESSES: usize = 1 << 12;

/// Maximum number of terms that are remembered. Terms come from the configuration and the policy, which have far fewer.
const MAX_TERMS: usize = 1 << 16;

/// The factors of a decision with their verdicts.
pub(super) type FactorList = SmallVec<[(&'static str, Verdict); 12]>;

/// A ruling: everything about a disclosed category but the number of fields.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Ruling {
    pub(super) category: Option<Arc<str>>,
    pub(super) form: Form,
    pub(super) basis: Option<Basis>,
    pub(super) reason: Option<Reason>,
    pub(super) rules: Arc<[Arc<str>]>,
    pub(super) clauses: Arc<[Arc<str>]>,
    pub(super) would: Option<WouldRelease>,
}

/// The form, the basis and the reason of a release.
type ReleaseTerms = (Form, Option<Basis>, Option<Reason>);

/// The addresses of the shared parts of a ruling, and its other parts. The rules and clauses are those that decided: of an
/// observed ruling, those of enforcing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct RulingAddress {
    category: usize,
    rules: usize,
    clauses: usize,
    terms: ReleaseTerms,
    would: Option<ReleaseTerms>,
}

/// The addresses and lengths of a list's factors, with the verdicts. Names of factors are never freed.
type FactorAddresses = SmallVec<[(usize, usize, Verdict); 12]>;

/// Mixes words. Addresses and small numbers are not chosen by anybody who sends a request.
#[derive(Clone, Copy, Default)]
struct WordHasher(u64);

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
}

type ByAddress<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;

/// The terms that are defined since the last start.
#[derive(Default)]
pub(super) struct Dictionary {
    names: HashMap<(NameTable, Arc<str>), u64>,
    rulings: HashMap<Ruling, u64>,
    factors: HashMap<FactorList, u64>,
    codes: HashMap<&'static str, u64>,
    name_addresses: ByAddress<(NameTable, usize), (u64, Arc<str>)>,
    ruling_addresses: ByAddress<RulingAddress, (u64, Ruling)>,
    factor_addresses: ByAddress<FactorAddresses, u64>,
}

fn address(text: &Arc<str>) -> usize {
    Arc::as_ptr(text).cast::<u8>().addr()
}

fn address_of_list(list: &Arc<[Arc<str>]>) -> usize {
    Arc::as_ptr(list).cast::<u8>().addr()
}

impl Dictionary {
    /// Forgets every term.
    pub(super) fn clear(&mut self) {
        let Dictionary { names, rulings, factors, codes, name_addresses, ruling_addresses, factor_addresses } =
            self;
        names.clear();
        rulings.clear();
        factors.clear();
        codes.clear();
        name_addresses.clear();
        ruling_addresses.clear();
        factor_addresses.clear();
    }

    /// Forgets terms if there are too many.
    pub(super) fn limit(&mut self) {
        if self.names.len() + self.rulings.len() + self.factors.len() > MAX_TERMS {
            self.clear();
        }
        if self.name_addresses.len() + self.ruling_addresses.len() + self.factor_addresses.len()
            > MAX_ADDRESSES
        {
            self.name_addresses.clear();
            self.ruling_addresses.clear();
            self.factor_addresses.clear();
        }
    }

    /// Returns the number of a name. If it has none, `define` writes the entry and returns its offset.
    pub(super) fn name(
        &mut self,
        table: NameTable,
        text: &Arc<str>,
        define: impl FnOnce(NameTable, &str) -> u64,
    ) -> u64 {
        let key = (table, address(text));
        if let Some((number, _)) = self.name_addresses.get(&key) {
            return *number;
        }
        let number = *self.names.entry((table, Arc::clone(text))).or_insert_with(|| define(table, text));
        self.name_addresses.insert(key, (number, Arc::clone(text)));
        number
    }

    /// Returns the number of a problem code.
    pub(super) fn code(&mut self, code: &'static str, define: impl FnOnce(NameTable, &str) -> u64) -> u64 {
        *self.codes.entry(code).or_insert_with(|| define(NameTable::Code, code))
    }

    /// Returns the number of a ruling.
    pub(super) fn ruling(
        &mut self,
        disclosed: &CategoryDisclosure,
        define: impl FnOnce(&Ruling) -> u64,
    ) -> u64 {
        let CategoryDisclosure { category, form, basis, reason, rules, clauses, fields: _, would } =
            disclosed;
        let decided = would.as_ref().map_or((rules, clauses), |would| (&would.rules, &would.clauses));
        let key = RulingAddress {
            category: category.as_ref().map_or(0, address),
            rules: address_of_list(decided.0),
            clauses: address_of_list(decided.1),
            terms: (*form, *basis, *reason),
            would: would.as_ref().map(|would| (would.form, would.basis, would.reason)),
        };
        if let Some((number, _)) = self.ruling_addresses.get(&key) {
            return *number;
        }
        let ruling = Ruling {
            category: category.clone(),
            form: *form,
            basis: *basis,
            reason: *reason,
            rules: Arc::clone(rules),
            clauses: Arc::clone(clauses),
            would: would.clone(),
        };
        let number = *self.rulings.entry(ruling.clone()).or_insert_with_key(define);
        self.ruling_addresses.insert(key, (number, ruling));
        number
    }

    /// Returns the number of a list of factors.
    pub(super) fn factors(&mut self, list: &FactorList, define: impl FnOnce(&FactorList) -> u64) -> u64 {
        let key: FactorAddresses =
            list.iter().map(|(name, verdict)| (name.as_ptr().addr(), name.len(), *verdict)).collect();
        if let Some(number) = self.factor_addresses.get(&key) {
            return *number;
        }
        let number = *self.factors.entry(list.clone()).or_insert_with_key(define);
        self.factor_addresses.insert(key, number);
        number
    }
}
