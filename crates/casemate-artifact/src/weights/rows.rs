//! Rows of a weight matrix that do not fit their layer.
//!
//! A row is what leads to one output: one neuron, one filter, one class. A backdoor written straight into the weights, and
//! one trained in without care, leaves the row of its target longer than its neighbours. We take the logarithms of the
//! rows' norms, since norms scale, and ask how many robust deviations (1.4826 median absolute deviations) each lies from
//! the median.
//!
//! The thresholds were chosen on 81 small networks, `examples/digits` and 80 of one to three hidden layers trained on its
//! held-out digits (Adam and SGD, with and without weight decay, three ways to begin): 203 matrices, 13,066 rows, of which
//! none fires; the farthest lay 4.3 deviations off, the longest had 2.05 times the median. One row of the last layer made 8
//! or 4 times as long fires in 80 of 80, twice as long in 25; three root mean squares added to each of its weights, as a
//! row that leans to one class, in 80 of 80, one in none. In the first layer, whose rows differ more: 66, 55, 26, 56 and 0
//! of 80. The networks that set the thresholds are those that were counted, none is large, and in language models rows
//! stand out without anybody's doing: hence a place to look at, at severity info.

/// A row that does not fit the others.
#[derive(Clone, Debug, PartialEq)]
pub struct RowOutlier {
    /// Which row, from 0.
    pub row: u64,
    /// Its norm.
    pub norm: f64,
    /// How many robust deviations its logarithm lies from the median.
    pub deviations: f64,
}

/// The rows of a tensor that do not fit, and what they were held against.
#[derive(Clone, Debug, PartialEq)]
pub struct RowOutliers {
    /// The farthest off, at most [`LISTED_MAX`].
    pub rows: Vec<RowOutlier>,
    /// How many there are.
    pub count: u64,
    /// Rows compared.
    pub compared: u64,
    /// Median norm.
    pub norm_median: f64,
}

/// Rows and the elements of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) len: u64,
}

/// Fewer rows have no distribution to speak of.
const ROWS_MIN: u64 = 8;
/// A vocabulary has 262,144; the norms of a million rows take 8 MiB.
const ROWS_MAX: u64 = 1 << 20;
/// Rows of fewer elements vary too much by chance.
const ROW_LEN_MIN: u64 = 8;
/// Deviations from which a row does not fit.
const DEVIATIONS_MIN: f64 = 5.0;
/// And its norm is at least this many times the median: a layer of nearly equal rows has deviations of nothing.
const RATIO_MIN: f64 = 2.0;
/// Rows named of one tensor.
pub const LISTED_MAX: usize = 5;

/// How a tensor divides into rows; `None` where that means nothing.
///
/// Outputs come first in torch, safetensors, TensorFlow Lite and the convolutions of ONNX, and last in the shapes of GGUF,
/// which are written the other way round. Where they come last in fact (Dense of Keras, MatMul of ONNX) a row is an input,
/// and the test is of inputs.
pub(super) fn layout(format: &str, shape: &[u64], is_float: bool) -> Option<Layout> {
    let rows = if format == "gguf" { shape.last() } else { shape.first() };
    let rows = rows.copied().filter(|rows| (ROWS_MIN..=ROWS_MAX).contains(rows) && shape.len() >= 2 && is_float)?;
    let elements = shape.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim))?;
    let len = elements.checked_div(rows)?;
    (len >= ROW_LEN_MIN).then_some(Layout { len })
}

/// The rows whose norms do not fit, if any. Rows of nothing but zeros are pruned or padding and stand aside.
pub(super) fn outliers(norms: &[f64]) -> Option<RowOutliers> {
    let present: Vec<(usize, f64)> =
        norms.iter().copied().enumerate().filter(|(_, norm)| *norm > 0.0 && norm.is_finite()).collect();
    if (present.len() as u64) < ROWS_MIN {
        return None;
    }
    let logs: Vec<f64> = present.iter().map(|(_, norm)| norm.ln()).collect();
    let centre = median(logs.clone());
    let spread = 1.4826 * median(logs.iter().map(|log| (log - centre).abs()).collect());
    // Rows equal to the last digit, but for one, would divide by nothing; a thousandth is less than training leaves.
    let spread = spread.max(1e-3);
    let far = |log: &f64| (log - centre) / spread >= DEVIATIONS_MIN && log - centre >= RATIO_MIN.ln();
    let mut rows: Vec<RowOutlier> = present
        .iter()
        .zip(&logs)
        .filter(|(_, log)| far(log))
        .map(|((row, norm), log)| RowOutlier { row: *row as u64, norm: *norm, deviations: (log - centre) / spread })
        .collect();
    rows.sort_by(|a, b| b.norm.total_cmp(&a.norm).then(a.row.cmp(&b.row)));
    let count = rows.len() as u64;
    rows.truncate(LISTED_MAX);
    (count > 0).then_some(RowOutliers { rows, count, compared: present.len() as u64, norm_median: centre.exp() })
}

/// The middle one; of an even number the greater of the two.
fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    match values.is_empty() {
        true => 0.0,
        false => *values.select_nth_unstable_by(middle, f64::total_cmp).1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_row_is_found_and_ordinary_rows_are_not() {
        let mut norms: Vec<f64> = (0..64u32).map(|i| 1.0 + 0.2 * f64::from(i).sin()).collect();
        assert_eq!(outliers(&norms), None);
        norms[17] *= 8.0;
        let found = outliers(&norms).unwrap();
        assert_eq!((found.count, found.rows[0].row, found.compared), (1, 17, 64));
        norms[3] = 0.0;
        assert_eq!(outliers(&norms).unwrap().compared, 63);
        assert_eq!(outliers(&norms[..7]), None);
    }

    #[test]
    fn equal_rows_with_one_half_as_long_again_pass_for_a_layer() {
        let mut norms = vec![1.0; 20];
        norms[0] = 1.5;
        assert_eq!(outliers(&norms), None);
        norms[0] = 4.0;
        assert_eq!(outliers(&norms).unwrap().rows[0].row, 0);
    }

    #[test]
    fn outputs_come_first_but_in_gguf() {
        assert_eq!(layout("safetensors", &[10, 64], true), Some(Layout { len: 64 }));
        assert_eq!(layout("gguf", &[64, 10], true), Some(Layout { len: 64 }));
        assert_eq!(layout("onnx", &[32, 3, 3, 3], true), Some(Layout { len: 27 }));
        for (shape, is_float) in [(&[64][..], true), (&[7, 64], true), (&[64, 7], true), (&[10, 64], false)] {
            assert_eq!(layout("safetensors", shape, is_float), None, "{shape:?}");
        }
    }
}
