//! What reading and storing all replicas costs in money.

use crate::domain::assessment::{Billed, CostReport, StoreReport};
use crate::domain::price::{ConfiguredPrices, MONTH_SECONDS};

/// Requests say what a month costs when they were counted for so long.
const COUNTED_SECONDS: f64 = 3600.0;

/// The cost of everything, and the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs {
    /// Of the agent's own requests.
    pub prices: ConfiguredPrices,
    /// Dollars a month for all replicas.
    pub budget: Option<f64>,
}

impl Costs {
    /// Says in `stores` what their requests cost, which were counted for so many seconds, and sums everything up with what
    /// is stored.
    pub fn report(&self, stores: &mut [StoreReport], storage: Option<f64>, seconds: f64) -> CostReport {
        for store in &mut *stores {
            let bill = |Billed { host, reads, lists, others, bytes }: &Billed| {
                let prices = self.prices.at(&store.store, host.as_deref());
                prices.dollars(*reads, *lists, *bytes) + *others as f64 * prices.upload_dollars()
            };
            let dollars: f64 = store.billed.iter().map(bill).sum();
            store.request_dollars_per_month = (seconds >= COUNTED_SECONDS).then(|| dollars / seconds * MONTH_SECONDS);
        }
        let requests: Option<f64> = stores.iter().map(|store| store.request_dollars_per_month).sum();
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
        let store = |billed| StoreReport { store: "s3".into(), billed, ..StoreReport::default() };
        let costs = Costs { prices: ConfiguredPrices::default(), budget: Some(2.0) };
        let here = Billed { reads: 1000, lists: 360, ..Billed::default() };
        // Another endpoint of the same kind is billed by its own prices before both are summed up.
        let own = Billed { host: Some("minio:9000".into()), reads: 1000, lists: 1000, ..Billed::default() };
        let mut stores = vec![store(vec![here, own]), store(Vec::new())];
        assert_eq!(costs.report(&mut stores, Some(0.0), 3599.0).dollars_per_month, None);
        assert_eq!(stores[0].request_dollars_per_month, None);
        let report = costs.report(&mut stores, Some(0.0), 3600.0);
        let (dollars, month) = (360.0 * 0.000_005 + 0.0004, 730.56);
        assert!((report.dollars_per_month.unwrap() - dollars * month).abs() < 1e-9, "{report:?}");
        assert_eq!((stores[1].request_dollars_per_month, report.budget_dollars_per_month), (Some(0.0), Some(2.0)));
    }
}
