//! Two drawings: how outages are distributed, and how they grow with the number of addresses.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use plotters::chart::SeriesAnno;
use plotters::prelude::*;

use crate::report::Measured;

const SIZE: (u32, u32) = (900, 480);
/// The axes of outages, in milliseconds: a probe's interval to the longest that is waited for.
const OUTAGES: std::ops::Range<f64> = 0.5..25_000.0;
const DIES: &str = "owner's host dies";

/// Outages of one system by its name, in the order in which systems first appear.
type Series<'a> = Vec<(&'a str, Vec<(usize, f64)>)>;

/// Draws what there are figures for; returns the files.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn draw(results: &[Measured], to: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let series = series(results);
    let mut files = Vec::new();
    let one = series.iter().any(|(_, runs)| runs.iter().any(|(addresses, _)| *addresses == 1));
    if one {
        let file = to.join("outage.svg");
        distribution(&series, &file)?;
        files.push(file);
    }
    let mut numbers: Vec<_> = series.iter().flat_map(|(_, runs)| runs).map(|run| run.0).collect();
    numbers.sort_unstable();
    if let (Some(least), Some(most)) = (numbers.first(), numbers.last())
        && least < most
    {
        let file = to.join("addresses.svg");
        growth(&series, (*least, *most), &file)?;
        files.push(file);
    }
    Ok(files)
}

fn series(results: &[Measured]) -> Series<'_> {
    let mut series: Series<'_> = Vec::new();
    for measured in results.iter().filter(|measured| measured.case.starts_with(DIES)) {
        let Some(outage) = measured.figures.outage_ms else { continue };
        let at = series.iter().position(|(system, _)| *system == measured.system);
        let at = at.unwrap_or_else(|| {
            series.push((&measured.system, Vec::new()));
            series.len() - 1
        });
        series[at].1.push((measured.addresses, outage.max(OUTAGES.start)));
    }
    series
}

fn colour(index: usize) -> RGBColor {
    // Okabe and Ito, "Color Universal Design": told apart by colour-blind readers.
    const COLOURS: [RGBColor; 7] = [
        RGBColor(0, 114, 178),
        RGBColor(86, 180, 233),
        RGBColor(213, 94, 0),
        RGBColor(230, 159, 0),
        RGBColor(204, 121, 167),
        RGBColor(0, 158, 115),
        RGBColor(110, 110, 110),
    ];
    COLOURS[index % COLOURS.len()]
}

/// Which part of the runs with one address was over after how long.
fn distribution(series: &Series<'_>, file: &Path) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Owner's host dies: part of the runs that was over after", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(48)
        .build_cartesian_2d(OUTAGES.log_scale(), 0.0..1.0)?;
    chart.configure_mesh().x_desc("outage, ms").y_desc("part of the runs").draw()?;
    for (index, (system, runs)) in series.iter().enumerate() {
        let mut outages: Vec<f64> =
            runs.iter().filter(|run| run.0 == 1).map(|(_, outage)| *outage).collect();
        outages.sort_unstable_by(f64::total_cmp);
        let share = 1.0 / f64::from(u32::try_from(outages.len())?.max(1));
        let mut steps = Vec::new();
        let mut height = 0.0;
        for outage in outages {
            steps.extend([(outage, height), (outage, height + share)]);
            height += share;
        }
        let line = LineSeries::new(steps, colour(index).stroke_width(2));
        label(chart.draw_series(line)?, system, index);
    }
    let labels = &mut chart.configure_series_labels();
    // All outages are longer: there is room below and to the left of them.
    let labels = labels.position(SeriesLabelPosition::LowerLeft);
    labels.background_style(WHITE).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}

/// The median of the slowest address's outage over the number of addresses.
fn growth(
    series: &Series<'_>,
    (least, most): (usize, usize),
    file: &Path,
) -> Result<(), Box<dyn Error>> {
    let number = |value: usize| u32::try_from(value).map(f64::from);
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Owner's host dies: outage of the slowest address, median", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d((number(least)?..number(most)?).log_scale(), OUTAGES.log_scale())?;
    chart.configure_mesh().x_desc("addresses").y_desc("outage, ms").draw()?;
    for (index, (system, runs)) in series.iter().enumerate() {
        let mut by_number: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (addresses, outage) in runs {
            by_number.entry(*addresses).or_default().push(*outage);
        }
        let mut points = Vec::new();
        for (addresses, mut outages) in by_number {
            outages.sort_unstable_by(f64::total_cmp);
            points.push((number(addresses)?, outages[outages.len() / 2]));
        }
        let line = LineSeries::new(points, colour(index).stroke_width(2)).point_size(3);
        label(chart.draw_series(line)?, system, index);
    }
    let labels = &mut chart.configure_series_labels();
    // All outages are longer: there is room below and to the left of them.
    let labels = labels.position(SeriesLabelPosition::LowerLeft);
    labels.background_style(WHITE).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}

fn label<DB: DrawingBackend>(series: &mut SeriesAnno<'_, DB>, system: &str, index: usize) {
    let colour = colour(index);
    series
        .label(system)
        .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2)));
}
