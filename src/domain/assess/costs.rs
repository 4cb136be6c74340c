//! What reading and storing all replicas costs in money.

use crate::domain::assessment::{Billed, CostReport, StoreReport};
use crate::domain::moment::Moment;
use crate::domain::price::{ConfiguredPrices, MONTH_SECONDS, Prices};

/// Requests say what a month costs when they were counted for so long.
const COUNTED_SECONDS: f64 = 3600.0;

/// Nothing to spend is as good as a cent.
const BUDGET_MIN: f64 = 0.01;

/// The cost of everything, and the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs {
    /// Of the agent's own requests.
    pub prices: ConfiguredPrices,
    /// Dollars a month for all replicas.
    pub budget: Option<f64>,
    /// Dollars a month for the agent's own requests alone.
    pub request_budget: Option<f64>,
}

impl Costs {
    /// Says in `stores` what their requests cost, which were counted for so many seconds, and sums everything up with what
    /// is stored.
    pub fn report(&self, stores: &mut [StoreReport], storage: Option<f64>, seconds: f64) -> CostReport {
        for store in &mut *stores {
            let dollars = self.spent(store);
            store.request_dollars_per_month = match self.is_free(store) {
                true => Some(0.0),
                false => (seconds >= COUNTED_SECONDS).then(|| dollars / seconds * MONTH_SECONDS),
            };
        }
        let requests: Option<f64> = stores.iter().map(|store| store.request_dollars_per_month).sum();
        let known = seconds >= COUNTED_SECONDS || !stores.is_empty();
        CostReport {
            dollars_per_month: requests.zip(storage).filter(|_| known).map(|(requests, storage)| requests + storage),
            budget_dollars_per_month: self.budget,
            request_budget_dollars_per_month: self.request_budget,
            look_spacing: None,
        }
    }

    /// No request to a store costs anything, as to a directory, however many there are.
    fn is_free(&self, store: &StoreReport) -> bool {
        let free = |host: Option<&str>| self.prices.at(store.store, host) == Prices::FREE;
        free(None) && store.billed.iter().all(|billed| free(billed.host.as_deref()))
    }

    /// What the requests to a store have cost so far.
    pub fn spent(&self, store: &StoreReport) -> f64 {
        let bill = |Billed { host, reads, lists, others, bytes }: &Billed| {
            let prices = self.prices.at(store.store, host.as_deref());
            prices.dollars(*reads, *lists, *bytes) + *others as f64 * prices.upload_dollars()
        };
        store.billed.iter().map(bill).sum()
    }
}

/// How many times rarer than configured looks at buckets are, so that their requests stay within a budget.
#[derive(Clone, Copy, Debug)]
pub struct Spacing {
    ratio: f64,
    /// When the ratio was decided, and what had been spent by then.
    decided: Option<(Moment, f64)>,
}

impl Default for Spacing {
    fn default() -> Self {
        Self { ratio: 1.0, decided: None }
    }
}

impl Spacing {
    /// From 1, which is as configured.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// There is something to decide: with a budget once an hour.
    pub fn is_due(&self, budget: Option<f64>, now: Moment) -> bool {
        match self.decided {
            Some((at, _)) => budget.is_none() || now.since(at).as_secs_f64() >= COUNTED_SECONDS,
            None => budget.is_some() || self.ratio > 1.0,
        }
    }

    /// Decides anew once an hour, in which as much may be `spent` as is a month's `budget` by its hours: what looks cost is in
    /// inverse proportion to how rare they are, and they may be `most` times rarer.
    pub fn decide(&mut self, spent: f64, budget: Option<f64>, most: f64, now: Moment) {
        if !self.is_due(budget, now) {
            return;
        }
        let Some(budget) = budget else { return *self = Self::default() };
        if let Some((at, by_then)) = self.decided {
            let month = (spent - by_then) / now.since(at).as_secs_f64() * MONTH_SECONDS;
            self.ratio = (self.ratio * month / budget.max(BUDGET_MIN)).min(most).max(1.0);
        }
        self.decided = Some((now, spent));
    }

    /// What was spent by then is not comparable with what will be.
    pub fn count_anew(&mut self) {
        self.decided = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::domain::store_kind::StoreKind;

    #[test]
    fn looks_are_as_rare_as_the_budget_asks_for_and_no_rarer() {
        let start = Moment::new(Timestamp::UNIX_EPOCH, SignedDuration::ZERO);
        let hour = Duration::from_secs(3600);
        let (mut spacing, mut spent, mut now, mut seen) = (Spacing::default(), 0.0, start, Vec::new());
        let hours_of_month = MONTH_SECONDS / 3600.0;
        // Dollars a month as configured, and how many are budgeted.
        for (configured, budget) in [
            (8.0, Some(2.0)),
            (8.0, Some(2.0)),
            (16.0, Some(2.0)),
            (1.0, Some(2.0)),
            (8.0, Some(0.0)),
            (8.0, Some(4.0)),
            (8.0, None),
        ] {
            spacing.decide(spent, budget, 10.0, now);
            spent += configured / spacing.ratio() / hours_of_month;
            let before = spacing.ratio();
            spacing.decide(spent, budget, 10.0, now.after(hour / 2));
            assert_eq!(spacing.ratio(), before, "once an hour");
            now = now.after(hour);
            spacing.decide(spent, budget, 10.0, now);
            seen.push((spacing.ratio() * 100.0).round() / 100.0);
        }
        assert_eq!(seen, [4.0, 4.0, 8.0, 1.0, 10.0, 2.0, 1.0]);
        // With other prices, another sum was spent.
        spacing.decide(spent, Some(2.0), 10.0, now);
        spacing.count_anew();
        spacing.decide(2.0 * spent, Some(2.0), 10.0, now.after(hour));
        assert_eq!(spacing.ratio(), 1.0);
        // Prices and the budget may go together.
        spacing.decide(2.0 * spent + 8.0 / hours_of_month, Some(2.0), 10.0, now.after(2 * hour));
        assert_eq!(spacing.ratio().round(), 4.0);
        spacing.count_anew();
        spacing.decide(0.0, None, 10.0, now.after(2 * hour));
        assert_eq!(spacing.ratio(), 1.0);
    }

    #[test]
    fn requests_are_projected_from_an_hour_on() {
        let store = |billed| StoreReport { store: StoreKind::S3, billed, ..StoreReport::default() };
        let costs = Costs { prices: ConfiguredPrices::default(), budget: Some(2.0), request_budget: None };
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

    #[test]
    fn directories_are_known_to_be_free_at_once() {
        let counted = vec![Billed { reads: 1000, lists: 360, ..Billed::default() }];
        let mut stores = vec![StoreReport { store: StoreKind::File, billed: counted, ..StoreReport::default() }];
        let costs = Costs::default();
        assert_eq!(costs.report(&mut stores, Some(0.0), 1.0).dollars_per_month, Some(0.0));
        assert_eq!(costs.report(&mut stores, None, 1.0).dollars_per_month, None, "what is stored is not known yet");
        stores.push(StoreReport { store: StoreKind::S3, ..StoreReport::default() });
        assert_eq!(costs.report(&mut stores, Some(0.0), 1.0).dollars_per_month, None);
        assert_eq!(costs.report(&mut [], Some(0.0), 1.0).dollars_per_month, None, "nothing was asked yet");
    }
}
