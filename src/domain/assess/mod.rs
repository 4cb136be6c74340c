//! What follows from observations: lag, growth and rates.
