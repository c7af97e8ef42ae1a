//! Standing orders, as they are asked of the daemon.

use super::inquiry::{ANSWER_WAIT, Inquirer, Inquiry};
use super::response::{Done, Rejected, SCHEMA};
use super::standing_orders;
use super::terms::{HOLD_DEFAULT, Terms};
use crate::protocol::{Lasting, STANDING_ORDERS_MAX, StandingChange};

impl Inquirer {
    pub(super) async fn hold(&self, terms: &Terms, by: &str) -> Result<Done, Rejected> {
        let lasts = Some(terms.lasts.unwrap_or(HOLD_DEFAULT));
        self.stand(Terms { lasts, ..terms.clone() }.standing(Lasting::Hold, by)).await?;
        Ok(self.done_here("hold"))
    }

    pub(super) async fn release(&self) -> Result<Done, Rejected> {
        self.stand(StandingChange::End(Lasting::Hold)).await?;
        Ok(self.done_here("release"))
    }

    /// Writes the record of an upgrade, in place of one that stands only if `again`.
    pub(super) async fn upgrade(
        &self,
        terms: &Terms,
        again: bool,
        by: &str,
    ) -> Result<Done, Rejected> {
        let seen = self.ask(ANSWER_WAIT, |reply| Inquiry::Status { reply }).await?;
        let stands = seen.orders.iter().find(|order| order.what == Lasting::Upgrade);
        if let Some(order) = stands.filter(|_| !again) {
            let reason = format!(
                "{}; go on with 'buoy upgrade --resume' or end it with 'buoy upgrade --abort'",
                standing_orders::sentence(order, &self.names.current())
            );
            return Err(Rejected::new("upgrade_runs", reason));
        }
        self.stand(terms.standing(Lasting::Upgrade, by)).await?;
        Ok(self.done_here("upgrade"))
    }

    pub(super) async fn upgraded(&self) -> Result<Done, Rejected> {
        self.stand(StandingChange::End(Lasting::Upgrade)).await?;
        Ok(self.done_here("upgrade"))
    }

    fn done_here(&self, word: &str) -> Done {
        let names = self.names.current();
        let (done, node) = (word.to_owned(), names.node(names.me()));
        Done { schema: SCHEMA, done, node, pool: None, group: None }
    }

    pub(super) async fn stand(&self, change: StandingChange) -> Result<(), Rejected> {
        let answer = self.ask(ANSWER_WAIT, |reply| Inquiry::Standing { change, reply }).await?;
        self.forget_status().await;
        answer.map_err(|_| {
            let reason = format!(
                "{STANDING_ORDERS_MAX} orders stand already, see 'buoy status'; end one of them first"
            );
            Rejected::new("too_many_orders", reason)
        })
    }
}
