//! The sections of the page, one function each. `html!` escapes all that comes from the data.

mod making;
mod results;
mod words;

pub(super) use self::{
    making::{data, folds, training, trials},
    results::{calibration, confusion, contest, curves, importance},
};

/// Rows of each table; of more, the first.
const LINES_SHOWN_MAX: usize = 255;

/// A longer name is cut.
const NAME_SHOWN_CHARS_MAX: usize = 40;

/// And shorter in a chart, or at the head of a column.
const NAME_CHARTED_CHARS_MAX: usize = 20;
