//! Reads the names of members, compares them where duplicates matter, and adds their prefixes to the shape cache.

use std::sync::Arc;

use super::frames::Mode;
use super::{Walk, WalkContext, WalkResult};
use crate::scrub::form_policy::FormPolicy;
use crate::scrub::lex::{self, Scan};
use crate::scrub::shape_cache::NewPrefix;
use crate::scrub::state::DEAD;
use crate::scrub::unreadable::BodyFault;

impl Walk {
    /// Reads the name at `start`. Returns its end, or `None` if the name is not whole.
    #[inline(never)]
    pub(super) fn read_name<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        start: usize,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<Option<usize>> {
        let mut escaped = self.escaped;
        let end = match lex::string(bytes, self.scanned.max(start + 1), &mut escaped) {
            Scan::Whole(end) => end,
            Scan::Partial(scanned) => {
                (self.scanned, self.escaped) = (scanned, escaped);
                let is_long = bytes.len() - start > context.limits.name;
                return if is_long { self.fail(start, BodyFault::NameTooLong) } else { Ok(None) };
            }
            // The bound is reported first, so that the fault does not depend on the chunks.
            Scan::Wrong(at) if at - start > context.limits.name => {
                return self.fail(start, BodyFault::NameTooLong);
            }
            Scan::Wrong(at) => return self.fail(at, BodyFault::Malformed),
        };
        (self.scanned, self.escaped) = (0, false);
        if end - start > context.limits.name {
            return self.fail(start, BodyFault::NameTooLong);
        }
        let mut name = bytes.get(start + 1..end - 1).unwrap_or_default();
        if escaped {
            self.unescaped.clear();
            if !lex::unescape(name, &mut self.unescaped) {
                return self.fail(start, BodyFault::LoneSurrogate);
            }
            name = &self.unescaped;
        }
        let hash = lex::hash(name);
        self.name_start = start;
        let top = self.frames.top();
        self.member_state = match top.mode {
            Mode::Validated => DEAD,
            Mode::PerMember | Mode::Indexed => context.route.plan.automaton.member(top.state, name, hash),
        };
        if top.shape_path.cached && !self.shapes.contains_name(&top.shape_path, hash) {
            self.new_name = Some(hash);
            return Ok(Some(end));
        }
        self.leave_cache();
        if self.compares_names() {
            self.duplicate = self.names.insert(&mut self.frames.top_mut().names, hash);
            if self.duplicate && self.refuses_duplicates {
                return self.fail(start, BodyFault::DuplicateName);
            }
            if self.names.count(&self.frames.top().names) > context.limits.members {
                return self.fail(start, BodyFault::TooManyMembers);
            }
        }
        Ok(Some(end))
    }

    /// True if the names of the innermost container are compared.
    fn compares_names(&self) -> bool {
        self.refuses_duplicates || self.frames.top().mode == Mode::Indexed
    }

    /// Adds the prefix of the member whose value begins at `at` to the shape cache, provided that all of the prefix
    /// is in these bytes.
    #[inline(never)]
    pub(super) fn cache_prefix(&mut self, bytes: &[u8], prefix_start: usize, at: usize) {
        let Some(hash) = self.new_name.take() else { return };
        let prefix = bytes.get(prefix_start..at).filter(|_| at < bytes.len());
        let is_cached = prefix.is_some_and(|text| {
            let (container, state) = (self.frames.top().state, self.member_state);
            let new = NewPrefix { text, name: self.name_start - prefix_start, hash, container, state };
            Arc::make_mut(&mut self.shapes).insert(&mut self.frames.top_mut().shape_path, new)
        });
        if !is_cached {
            self.leave_cache();
            if self.compares_names() {
                self.names.insert(&mut self.frames.top_mut().names, hash);
            }
        }
    }

    /// Stops following the innermost container in the shape cache. Its further names are compared one by one.
    fn leave_cache(&mut self) {
        let was_cached = std::mem::replace(&mut self.frames.top_mut().shape_path.cached, false);
        if !was_cached || !self.compares_names() {
            return;
        }
        let top = self.frames.top_mut();
        for earlier in self.shapes.name_hashes(&top.shape_path) {
            self.names.insert(&mut top.names, earlier);
        }
    }
}
