//! Metrics: what one is, and how a table of them is written for a monitor.
//!
//! A name is written once, in `table`: there it has its type, its help, its labels and where its
//! values are read. From the same table come the answer to a scrape, the alert rules and the
//! dashboard of the package, and the list in the documentation. Text is written by the official
//! crate, in OpenMetrics or, for those who do not ask for that, in the older text format.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
    prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::table;
use crate::control::measures::{BOUNDS_US, Histogram};
use crate::control::response::Status;

/// What a metric's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A value that comes and goes.
    Gauge,
    /// A number that only grows; its samples are named `..._total`.
    Counter,
    /// Lengths of time by size.
    Histogram,
    /// Text in labels, with the value 1; its sample is named `..._info`.
    Info,
}

/// How values are read.
#[derive(Clone, Copy)]
pub(super) enum Read {
    /// Also of a daemon that does not answer; then there is no status.
    Always(fn(Option<&Known<'_>>, &mut Emit<'_, '_>)),
    /// Of a daemon that answers.
    Daemon(fn(&Known<'_>, &mut Emit<'_, '_>)),
    /// A counter of the status, by its name there.
    Counter(&'static str),
    /// As `Daemon`, one series for each group.
    Groups(fn(&Known<'_>, &mut Emit<'_, '_>)),
}

/// One metric.
#[derive(Clone, Copy)]
pub(super) struct Metric {
    /// Its name, unit included, without the ending that its type brings.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    /// Names of its labels, in the order in which values are given.
    pub(super) labels: &'static [&'static str],
    pub(super) read: Read,
}

/// What is known of a daemon that answers.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) status: &'a Status,
    /// When the status was taken, seconds since 1970.
    pub(super) taken: f64,
}

impl Metric {
    /// The name that queries use; of a histogram it has further endings.
    pub(super) fn sample_name(&self) -> String {
        match self.kind {
            Kind::Gauge | Kind::Histogram => self.name.to_owned(),
            Kind::Counter => format!("{}_total", self.name),
            Kind::Info => format!("{}_info", self.name),
        }
    }

    /// The name without its unit, and the unit.
    fn split(&self) -> (&'static str, Option<Unit>) {
        let of = |ending| self.name.strip_suffix(ending);
        match (of("_seconds"), of("_bytes")) {
            (Some(name), _) => (name, Some(Unit::Seconds)),
            (None, Some(name)) => (name, Some(Unit::Bytes)),
            (None, None) => (self.name, None),
        }
    }

    fn encode(
        &self,
        known: Option<&Known<'_>>,
        groups: bool,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> fmt::Result {
        match (self.read, known) {
            (Read::Always(read), known) => self.emit(encoder, |emit| read(known, emit)),
            (Read::Daemon(read), Some(known)) => self.emit(encoder, |emit| read(known, emit)),
            (Read::Groups(read), Some(known)) if groups => {
                self.emit(encoder, |emit| read(known, emit))
            }
            (Read::Counter(name), Some(known)) => self.emit(encoder, |emit| {
                let count = known.status.counters.get(name).copied();
                match (count, self.kind) {
                    (Some(count), Kind::Counter) => emit.counter(&[], count),
                    (Some(count), Kind::Gauge | Kind::Histogram | Kind::Info) => {
                        emit.number(&[], count);
                    }
                    (None, _) => {}
                }
            }),
            (Read::Daemon(_) | Read::Counter(_) | Read::Groups(_), _) => Ok(()),
        }
    }

    fn emit(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        read: impl FnOnce(&mut Emit<'_, '_>),
    ) -> fmt::Result {
        let (name, unit) = self.split();
        let kind = match self.kind {
            Kind::Gauge => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        };
        let encoder = encoder.encode_descriptor(name, self.help, unit.as_ref(), kind)?;
        let mut emit = Emit { labels: self.labels, encoder, written: Ok(()) };
        read(&mut emit);
        emit.written
    }
}

/// Takes the samples of one metric.
pub(super) struct Emit<'m, 'e> {
    labels: &'m [&'static str],
    encoder: MetricEncoder<'e>,
    /// The first failure; what comes after it is left out.
    written: fmt::Result,
}

impl Emit<'_, '_> {
    /// A value of a gauge, with the values of its labels.
    pub(super) fn gauge(&mut self, values: &[&str], value: f64) {
        self.sample(values, |encoder| encoder.encode_gauge(&value));
    }

    /// A gauge of 0 or 1.
    pub(super) fn flag(&mut self, values: &[&str], on: bool) {
        self.gauge(values, f64::from(u8::from(on)));
    }

    /// A gauge that counts.
    pub(super) fn number(&mut self, values: &[&str], value: u64) {
        self.sample(values, |encoder| encoder.encode_gauge(&value));
    }

    /// A value of a counter.
    pub(super) fn counter(&mut self, values: &[&str], value: u64) {
        let exemplar: Option<&Exemplar<NoLabelSet, f64>> = None;
        self.sample(values, |encoder| encoder.encode_counter(&value, exemplar));
    }

    /// A value of a counter that is not whole.
    pub(super) fn seconds_counted(&mut self, values: &[&str], value: f64) {
        let exemplar: Option<&Exemplar<NoLabelSet, f64>> = None;
        self.sample(values, |encoder| encoder.encode_counter(&value, exemplar));
    }

    /// The text of an info.
    pub(super) fn info(&mut self, values: &[&str]) {
        let labels = Labels { names: self.labels, values };
        if self.written.is_ok() {
            self.written = self.encoder.encode_info(&labels);
        }
    }

    /// A histogram.
    pub(super) fn histogram(&mut self, values: &[&str], histogram: &Histogram) {
        let bounds = BOUNDS_US.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(histogram.counts).collect();
        let (sum, count) = (seconds(histogram.sum_us), histogram.counts.iter().sum());
        self.sample(values, |encoder| {
            encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        });
    }

    fn sample(
        &mut self,
        values: &[&str],
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) {
        let labels = Labels { names: self.labels, values };
        if self.written.is_ok() {
            self.written = self.encoder.encode_family(&labels).and_then(|mut one| write(&mut one));
        }
    }
}

/// Microseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "285 years are exact to the microsecond")]
pub(super) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

struct Labels<'a> {
    names: &'a [&'static str],
    values: &'a [&'a str],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        debug_assert_eq!(self.names.len(), self.values.len(), "{:?}", self.names);
        for pair in self.names.iter().zip(self.values) {
            (*pair.0, *pair.1).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// How a scrape is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4.
    Text,
}

impl Format {
    /// What the client prefers by its header `Accept`.
    pub(super) fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// The type of the answer.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// Writes all metrics of a status, or those of a daemon that does not answer; those with a series
/// for each group only if wanted.
pub(super) fn write(known: Option<(&Arc<Status>, f64)>, groups: bool, format: Format) -> String {
    let known = known.map(|(status, taken)| (Arc::clone(status), taken));
    let collected = Collected { known, groups };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collected));
    let mut out = String::new();
    let written = match format {
        Format::OpenMetrics => text::encode(&mut out, &registry),
        Format::Text => prometheus_text::encode(&mut out, &registry),
    };
    written.expect("writing to a string does not fail");
    out
}

#[derive(Debug)]
struct Collected {
    known: Option<(Arc<Status>, f64)>,
    groups: bool,
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let known = self.known.as_ref().map(|(status, taken)| Known { status, taken: *taken });
        table::all().try_for_each(|metric| metric.encode(known.as_ref(), self.groups, &mut encoder))
    }
}
