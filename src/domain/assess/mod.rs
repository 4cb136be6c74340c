//! What follows from observations: the proven recovery point, lag, growth and rates.

pub mod positions;
pub mod proof;
pub mod rates;
