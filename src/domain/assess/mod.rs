//! Conclusions from observations: the proven recovery point, lag, growth and rates.

pub mod churn;
pub mod costs;
pub mod growth;
pub mod lineage;
pub mod permissions;
pub mod positions;
pub mod proof;
pub mod rates;
pub mod requests;
mod samples;
pub mod sizing;
pub mod trend;
