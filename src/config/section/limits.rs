//! `[limits]`: bounds of the whole process.

use crate::config::Part;
use crate::config::memory::ProcessMemory;
use crate::exchange::memory::memory_per_recipient;

/// `[limits]`: bounds of the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsSection {
    /// Maximum bytes of bodies that the gateway holds.
    pub memory: usize,
    /// Maximum bytes of bodies that it holds for one recipient.
    pub memory_per_recipient: usize,
}

/// Reads `[limits]`. The defaults follow from the memory that there is.
pub(in crate::config) fn limits(part: &mut Part<'_>) -> LimitsSection {
    let (mut memory, mut each) = (None, None);
    if let Some(mut fields) = part.fields.fields("limits", "`[limits]`") {
        memory = fields.size("memory");
        each = fields.size("memory-per-recipient");
        fields.end();
    }
    let memory = memory.unwrap_or_else(|| ProcessMemory::of_system().for_bodies());
    LimitsSection { memory, memory_per_recipient: each.unwrap_or(memory_per_recipient(memory)) }
}
