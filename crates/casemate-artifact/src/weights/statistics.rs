//! One pass over the numbers of a tensor: range, mean, norm, and the norm of each row.
//!
//! Sums run in eight lanes of double precision, added up in one fixed order; where a chunk ends is fixed too, so the same
//! bytes give the same digits whatever reads them and on however many threads.

use serde::{Deserialize, Serialize};

use super::element::{Element, Kind, e4m3, e5m2, half};

/// What the numbers of one tensor come to. Numbers that are not finite are counted and left out of the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Numbers.
    pub count: u64,
    /// The least, where there is one.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
    /// The Euclidean norm; `None` where it is beyond double precision.
    pub l2_norm: Option<f64>,
    /// Numbers that are none (NaN).
    pub nan: u64,
    /// Infinite numbers.
    pub infinite: u64,
    /// Share of zeros.
    pub zero_fraction: f64,
}

const LANES: usize = 8;

/// Sums over everything so far.
pub(super) struct Accumulator {
    element: Element,
    eight_bit: Option<Box<[f32; 256]>>,
    row_len: u64,
    /// Elements of the row begun.
    in_row: u64,
    row_squares: f64,
    squares: f64,
    norms: Option<Vec<f64>>,
    count: u64,
    lanes: Lanes,
}

/// What is kept per lane; lane `n` holds every eighth number of each stretch.
#[derive(Clone, Copy)]
struct Lanes {
    sum: [f64; LANES],
    min: [f64; LANES],
    max: [f64; LANES],
    zeros: [u64; LANES],
    nan: [u64; LANES],
    infinite: [u64; LANES],
}

impl Accumulator {
    /// Starts a tensor whose rows have `row_len` elements; with `keep_rows`, the norm of each is kept.
    pub(super) fn new(element: Element, row_len: u64, keep_rows: bool) -> Self {
        let table = |read: fn(u8) -> f32| Box::new(std::array::from_fn(|bits| read(u8::try_from(bits).unwrap_or(0))));
        Self {
            element,
            eight_bit: match element.kind {
                Kind::E4m3 => Some(table(e4m3)),
                Kind::E5m2 => Some(table(e5m2)),
                _ => None,
            },
            row_len: row_len.max(1),
            in_row: 0,
            row_squares: 0.0,
            squares: 0.0,
            norms: keep_rows.then(Vec::new),
            count: 0,
            lanes: Lanes {
                sum: [0.0; LANES],
                min: [f64::INFINITY; LANES],
                max: [f64::NEG_INFINITY; LANES],
                zeros: [0; LANES],
                nan: [0; LANES],
                infinite: [0; LANES],
            },
        }
    }

    /// Takes the next bytes, a whole number of elements.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        let width = self.element.bytes();
        while bytes.len() >= width {
            let wanted = usize::try_from(self.row_len - self.in_row).unwrap_or(usize::MAX);
            let elements = wanted.min(bytes.len() / width);
            let (stretch, rest) = bytes.split_at(elements * width);
            self.row_squares += self.stretch(stretch);
            self.count += elements as u64;
            self.in_row += elements as u64;
            if self.in_row == self.row_len {
                self.end_row();
            }
            bytes = rest;
        }
    }

    fn end_row(&mut self) {
        self.squares += self.row_squares;
        if let Some(norms) = &mut self.norms {
            norms.push(self.row_squares.sqrt());
        }
        (self.in_row, self.row_squares) = (0, 0.0);
    }

    /// Adds a stretch of one row; returns its sum of squares.
    fn stretch(&mut self, bytes: &[u8]) -> f64 {
        let lanes = &mut self.lanes;
        let table = self.eight_bit.as_deref();
        macro_rules! read {
            ($type:ty, $number:ty, $value:expr) => {{
                #[inline(always)]
                fn value(x: $type) -> $number {
                    ($value)(x)
                }
                match self.element.big_endian {
                    false => add(lanes, bytes, |raw| value(<$type>::from_le_bytes(raw))),
                    true => add(lanes, bytes, |raw| value(<$type>::from_be_bytes(raw))),
                }
            }};
        }
        match self.element.kind {
            Kind::F64 => read!(f64, f64, |x| x),
            Kind::F32 => read!(f32, f32, |x| x),
            Kind::F16 => read!(u16, f32, half),
            Kind::Bf16 => read!(u16, f32, |bits| f32::from_bits(u32::from(bits) << 16)),
            Kind::E4m3 | Kind::E5m2 => add(lanes, bytes, |[bits]: [u8; 1]| {
                table.and_then(|table| table.get(usize::from(bits))).copied().unwrap_or(f32::NAN)
            }),
            #[expect(clippy::cast_precision_loss, reason = "53 of 64 bits are enough for a mean")]
            Kind::I64 => read!(i64, f64, |n| n as f64),
            #[expect(clippy::cast_precision_loss, reason = "53 of 64 bits are enough for a mean")]
            Kind::U64 => read!(u64, f64, |n| n as f64),
            Kind::I32 => read!(i32, f64, f64::from),
            Kind::U32 => read!(u32, f64, f64::from),
            Kind::I16 => read!(i16, f32, f32::from),
            Kind::U16 => read!(u16, f32, f32::from),
            Kind::I8 => read!(i8, f32, f32::from),
            Kind::U8 => read!(u8, f32, f32::from),
        }
    }

    /// The statistics, and the norms of the rows where they were kept.
    pub(super) fn finish(mut self) -> (Statistics, Vec<f64>) {
        if self.in_row > 0 {
            self.end_row();
        }
        let lanes = &self.lanes;
        let total = |counts: &[u64; LANES]| counts.iter().sum::<u64>();
        let (nan, infinite) = (total(&lanes.nan), total(&lanes.infinite));
        let finite = self.count - nan - infinite;
        #[expect(clippy::cast_precision_loss, reason = "a share and a mean")]
        let share = |part: f64, whole: u64| if whole == 0 { 0.0 } else { part / whole as f64 };
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let zero_fraction = share(total(&lanes.zeros) as f64, self.count);
        let is_number = |x: f64| (finite > 0 && x.is_finite()).then_some(x);
        let statistics = Statistics {
            count: self.count,
            min: is_number(lanes.min.iter().copied().fold(f64::INFINITY, f64::min)),
            max: is_number(lanes.max.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            mean: is_number(share(fold(lanes.sum), finite)),
            l2_norm: is_number(self.squares.sqrt()),
            nan,
            infinite,
            zero_fraction,
        };
        (statistics, self.norms.unwrap_or_default())
    }
}

/// What is compared in its own width: twice as many single numbers as double ones fit a vector. Sums are double always.
trait Number: Copy + PartialOrd + Into<f64> {
    const ZERO: Self;
    const INFINITY: Self;
    const NEG_INFINITY: Self;
    fn abs(self) -> Self;
}

impl Number for f32 {
    const ZERO: Self = 0.0;
    const INFINITY: Self = Self::INFINITY;
    const NEG_INFINITY: Self = Self::NEG_INFINITY;
    fn abs(self) -> Self {
        self.abs()
    }
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    const INFINITY: Self = Self::INFINITY;
    const NEG_INFINITY: Self = Self::NEG_INFINITY;
    fn abs(self) -> Self {
        self.abs()
    }
}

/// Adds the numbers in `bytes`, at most a chunk, to the lanes and returns the sum of their squares. Selects instead of
/// branches: the compiler makes vectors of it.
#[inline]
#[expect(clippy::indexing_slicing, reason = "a lane is below LANES, the length of every array here")]
fn add<const WIDTH: usize, N: Number>(lanes: &mut Lanes, bytes: &[u8], value: impl Fn([u8; WIDTH]) -> N) -> f64 {
    let (elements, _) = bytes.as_chunks::<WIDTH>();
    let (blocks, rest) = elements.as_chunks::<LANES>();
    // Local arrays stay in registers.
    let mut squares = [0.0; LANES];
    let (mut sum, mut min, mut max) = (lanes.sum, [N::INFINITY; LANES], [N::NEG_INFINITY; LANES]);
    let (mut zeros, mut unusual) = ([0u32; LANES], [0u32; LANES]);
    let mut one = |lane: usize, x: N| {
        let is_finite = x.abs() < N::INFINITY;
        let low = if is_finite { x } else { N::INFINITY };
        let high = if is_finite { x } else { N::NEG_INFINITY };
        let y: f64 = if is_finite { x } else { N::ZERO }.into();
        sum[lane] += y;
        squares[lane] += y * y;
        min[lane] = if low < min[lane] { low } else { min[lane] };
        max[lane] = if high > max[lane] { high } else { max[lane] };
        zeros[lane] += u32::from(x == N::ZERO);
        unusual[lane] += u32::from(!is_finite);
    };
    for block in blocks {
        (0..LANES).for_each(|lane| one(lane, value(block[lane])));
    }
    rest.iter().enumerate().for_each(|(lane, raw)| one(lane, value(*raw)));
    lanes.sum = sum;
    for lane in 0..LANES {
        lanes.min[lane] = lanes.min[lane].min(min[lane].into());
        lanes.max[lane] = lanes.max[lane].max(max[lane].into());
        lanes.zeros[lane] += u64::from(zeros[lane]);
    }
    if unusual.iter().any(|n| *n > 0) {
        for (n, raw) in elements.iter().enumerate() {
            let x: f64 = value(*raw).into();
            lanes.nan[n % LANES] += u64::from(x.is_nan());
            lanes.infinite[n % LANES] += u64::from(x.is_infinite());
        }
    }
    fold(squares)
}

/// The lanes added up in one order.
fn fold(lanes: [f64; LANES]) -> f64 {
    lanes.iter().fold(0.0, |sum, lane| sum + lane)
}
