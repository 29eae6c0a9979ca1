//! RDAP answers (RFC 9083) that list what was redacted in them (RFC 9537).
//!
//! A route asks for this with `redaction = "rfc9537"`. [`super::held_value`] calls this module twice for each answer,
//! which is held whole: [`RdapAnswer::repair`] after every node has its action, and [`RdapAnswer::list_redactions`]
//! after the concealing of echoes and identifiers. Nothing here runs for other routes.
//!
//! The module does not decide what may leave. Invariant: it never discloses a withheld value. The only withheld texts
//! that it keeps are words of the lists in [`words`]. The paths and filters that it writes hold only such words, and
//! member names that the route's mapping contains.

mod entry;
mod filters;
mod jcard;
mod positions;
mod redacted;
mod tree;
mod words;

pub(super) use words::is_word;

use self::jcard::Contacts;
use self::tree::AnswerTree;
use super::actions::Actions;
use super::node_table::HeldJson;
use super::plan::Plan;

/// One answer whose contacts are valid jCards, before its redactions are listed.
#[derive(Debug)]
pub(super) struct RdapAnswer<'a> {
    tree: AnswerTree<'a>,
    /// The contacts; `None` if the answer is no object or does not leave.
    contacts: Option<Contacts>,
}

impl<'a> RdapAnswer<'a> {
    /// Changes actions so that contacts remain valid jCards.
    ///
    /// Runs before concealing, which then searches the nodes that this keeps as well.
    pub(super) fn repair(plan: &'a Plan, held: HeldJson<'a>, actions: &mut Actions) -> RdapAnswer<'a> {
        let tree = AnswerTree { plan, held };
        let leaves = actions.keeps(0) && held.bytes.first() == Some(&b'{');
        RdapAnswer { tree, contacts: leaves.then(|| tree.repair_contacts(actions)) }
    }

    /// Adds the entries of `redacted`, and the element of `rdapConformance` that announces them.
    ///
    /// Runs when no action changes any more: the paths in the entries depend on all of them.
    pub(super) fn list_redactions(&self, actions: &mut Actions) {
        // Concealing may have replaced the answer.
        if let Some(contacts) = self.contacts.as_ref().filter(|_| actions.keeps(0)) {
            self.tree.list_redactions(contacts, actions);
        }
    }
}
