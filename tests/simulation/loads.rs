//! How busy hosts are: what they do besides, what each group costs them, and noise.

use buoy::protocol::Measure;

use crate::cluster::{Cluster, Happening};
use crate::draw::SECOND;
use crate::host::Inbound;

/// A wave of this length runs through every host, a third of it apart from the next.
const WAVE: u64 = 300 * SECOND;

/// How busy hosts are. All in per mille of what a host can bear.
#[derive(Clone, Debug)]
pub(crate) struct Loads {
    /// What each group costs its owner.
    pub(crate) each: u32,
    /// What each host does besides.
    pub(crate) besides: Vec<u32>,
    /// A slow wave up and down by this part of the load, per mille.
    pub(crate) wave: u32,
    /// Each measure is wrong by up to this part of the load, per mille.
    pub(crate) noise: u32,
}

impl Cluster {
    /// A daemon begins to measure its host, each second, if that is of any interest.
    pub(crate) fn begin_measuring(&mut self, host: usize) {
        if self.options.loads.is_some() {
            let life = self.hosts[host].life;
            self.schedule(self.now + SECOND, Happening::Measure { host, life });
        }
    }

    /// The daemon measures.
    pub(crate) fn measure(&mut self, host: usize) {
        let Some(loads) = &self.options.loads else { return };
        let groups = u32::try_from(self.groups_of(host).len()).expect("at most 1000");
        let load = loads.besides[host] + groups * loads.each;
        let (wave, noise) = (loads.wave, u64::from(load * loads.noise / 1000));
        let third = u64::try_from(host).expect("few hosts") * WAVE / 3;
        let place = (self.now + third) % WAVE;
        let height = place.abs_diff(WAVE / 2) * 4000 / WAVE;
        let waved = load * (1000 - wave) / 1000
            + load * wave / 1000 * u32::try_from(height).expect("at most 2000") / 1000;
        let wrong = u32::try_from(self.draw.between(0, 2 * noise)).expect("small");
        let shown = (waved + wrong).saturating_sub(u32::try_from(noise).expect("small"));
        let busy = u16::try_from(shown.min(1000)).expect("at most 1000");
        self.hand_over(host, Inbound::Measured(Measure { busy, ..Measure::default() }));
        self.begin_measuring(host);
    }

    /// What a host does besides is something else from now on.
    pub(crate) fn keep_busy(&mut self, host: usize, besides: u32) {
        if let Some(loads) = &mut self.options.loads {
            loads.besides[host] = besides;
        }
    }
}
