//! What reading and storing all replicas costs in money.

use std::sync::Arc;

use crate::domain::assessment::{Billed, CostReport, DatabaseReport, StoreReport};
use crate::domain::price::{MONTH_SECONDS, Prices};

/// Requests say what a month costs when they were counted for so long.
const COUNTED_SECONDS: f64 = 3600.0;

/// The cost of everything, and the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs {
    /// Of the agent's own requests; `None`: those of [`Prices::S3`].
    pub prices: Option<Prices>,
    /// Dollars a month for all replicas.
    pub budget: Option<f64>,
}

impl Costs {
    /// Says in `stores` what their requests cost, which were counted for so many seconds, and sums everything up.
    pub fn report(&self, stores: &mut [StoreReport], databases: &[Arc<DatabaseReport>], seconds: f64) -> CostReport {
        let prices = self.prices.unwrap_or(Prices::S3);
        for store in &mut *stores {
            let Billed { reads, lists, bytes } = store.billed;
            let dollars = prices.dollars(reads, lists, bytes);
            store.request_dollars_per_month = (seconds >= COUNTED_SECONDS).then(|| dollars / seconds * MONTH_SECONDS);
        }
        let requests: Option<f64> = stores.iter().map(|store| store.request_dollars_per_month).sum();
        let replicas = databases.iter().flat_map(|database| &database.replicas);
        let storage: Option<f64> = replicas.map(|replica| replica.keeping.storage_dollars_per_month).sum();
        let counted = seconds >= COUNTED_SECONDS;
        CostReport {
            dollars_per_month: requests.zip(storage).filter(|_| counted).map(|(requests, storage)| requests + storage),
            budget_dollars_per_month: self.budget,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_projected_from_an_hour_on() {
        let store = |billed| StoreReport { billed, ..StoreReport::default() };
        let costs = Costs { prices: None, budget: Some(2.0) };
        let mut stores = vec![store(Billed { reads: 1000, lists: 360, bytes: 0 }), store(Billed::default())];
        assert_eq!(costs.report(&mut stores, &[], 3599.0).dollars_per_month, None);
        assert_eq!(stores[0].request_dollars_per_month, None);
        let report = costs.report(&mut stores, &[], 3600.0);
        let (dollars, month) = (360.0 * 0.000_005 + 0.0004, 730.56);
        assert!((report.dollars_per_month.unwrap() - dollars * month).abs() < 1e-9, "{report:?}");
        assert_eq!((stores[1].request_dollars_per_month, report.budget_dollars_per_month), (Some(0.0), Some(2.0)));
    }
}
