//! One page of a list: every list of the console has a bound, and a link to the rest.

use super::pager::Pager;

/// Number of rows of a page.
pub(super) const PAGE: usize = 50;

/// Some rows of a list, and the numbers of the pages around them.
#[derive(Debug)]
pub(super) struct ListPage<R> {
    pub(super) rows: Vec<R>,
    /// Number of rows of all pages.
    pub(super) total: usize,
    /// Number of the rows before this page.
    skipped: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

impl<R> ListPage<R> {
    /// Returns a page of a list. The first page is 0. A number beyond the end stands for the last page.
    pub(super) fn of<T>(
        items: impl ExactSizeIterator<Item = T>,
        page: usize,
        row: impl FnMut(T) -> R,
    ) -> ListPage<R> {
        let total = items.len();
        let page = page.min(total.saturating_sub(1) / PAGE);
        let skipped = page * PAGE;
        ListPage {
            rows: items.skip(skipped).take(PAGE).map(row).collect(),
            total,
            skipped,
            previous: page.checked_sub(1),
            next: (skipped + PAGE < total).then_some(page + 1),
        }
    }

    /// Returns the number of this page. The first page is 0.
    pub(super) fn number(&self) -> usize {
        self.skipped / PAGE
    }

    /// Returns the numbers of the pages before and after this one.
    pub(super) fn around(&self) -> [Option<usize>; 2] {
        [self.previous, self.next]
    }

    /// Returns the links to the pages around this one. `path` is that of a page.
    pub(super) fn pager(&self, words: [&'static str; 2], path: impl Fn(usize) -> String) -> Pager {
        Pager::around((self.previous.map(&path), self.next.map(&path)), words)
    }

    /// Says which rows of the list these are.
    pub(super) fn extent(&self) -> String {
        match self.rows.len() {
            shown if shown == self.total => format!("{shown} in all"),
            shown => format!("{} to {} of {}", self.skipped + 1, self.skipped + shown, self.total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_bound_and_leads_to_the_rest() {
        let page = |total: usize, number| ListPage::of(0..total, number, |row| row);
        let around = |page: &ListPage<usize>| (page.rows.first().copied(), page.previous, page.next);
        assert_eq!(around(&page(0, 0)), (None, None, None));
        assert_eq!(around(&page(0, 7)), (None, None, None));
        assert_eq!(around(&page(50, 0)), (Some(0), None, None));
        assert_eq!(around(&page(51, 0)), (Some(0), None, Some(1)));
        assert_eq!(around(&page(120, 1)), (Some(50), Some(0), Some(2)));
        assert_eq!(around(&page(120, 2)), (Some(100), Some(1), None));
        assert_eq!(around(&page(120, usize::MAX)), (Some(100), Some(1), None));
        assert_eq!((page(0, 0).number(), page(120, 1).number(), page(120, 9).number()), (0, 1, 2));
        assert_eq!(page(120, 2).extent(), "101 to 120 of 120");
        assert_eq!(page(3, 0).extent(), "3 in all");
        assert_eq!(page(120, 1).rows, (50..100).collect::<Vec<_>>());
    }
}
