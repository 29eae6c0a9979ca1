//! The containers that are open at the current byte.

use crate::scrub::member_names::ObjectNames;
use crate::scrub::shape_cache::ShapePath;
use crate::scrub::state::{DEAD, StateId};

/// The way in which the content of an open container is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Each member or element is decided by itself.
    PerMember,
    /// The container is part of a held value: its nodes are added to the table.
    Indexed,
    /// The content is only validated. It is kept or removed together with its container.
    Validated,
}

/// An open container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// True for an array, false for an object.
    pub(super) array: bool,
    pub(super) mode: Mode,
    pub(super) state: StateId,
    /// The container's node in the table, if it has one.
    pub(super) node: Option<u32>,
    /// The position of the next element.
    pub(super) index: u64,
    /// The members so far, as a path in the shape cache.
    pub(super) shape_path: ShapePath,
    /// The names so far, if the object is no longer followed in the shape cache.
    pub(super) names: ObjectNames,
}

impl Frame {
    /// Returns the frame around a document, an array with one element.
    fn document() -> Frame {
        Frame {
            array: true,
            mode: Mode::PerMember,
            state: DEAD,
            node: None,
            index: 0,
            shape_path: ShapePath::document(),
            names: ObjectNames::default(),
        }
    }
}

/// The open containers.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    /// The frame around the document.
    document: Frame,
    /// The innermost container is last.
    open: Vec<Frame>,
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames { document: Frame::document(), open: Vec::new() }
    }

    /// Returns the number of open containers.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// True if no container is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Returns the innermost frame, or the frame around the document.
    #[inline(always)]
    pub(super) fn top(&self) -> &Frame {
        self.open.last().unwrap_or(&self.document)
    }

    /// Returns the innermost frame, or the frame around the document.
    #[inline(always)]
    pub(super) fn top_mut(&mut self) -> &mut Frame {
        self.open.last_mut().unwrap_or(&mut self.document)
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.open.push(frame);
    }

    pub(super) fn pop(&mut self) -> Option<Frame> {
        self.open.pop()
    }
}
