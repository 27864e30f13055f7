//! Drawings for the page, as SVG that the page's own style colours.
//!
//! The colours drawn here are what the style sheet looks for, so that a chart is light on a dark page too. Words are
//! escaped by the library.

use std::{error::Error, ops::Range};

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::model::ModelError;

type Drawn = Result<(), Box<dyn Error>>;

/// Drawn at twice the size it is shown at, since the library rounds to whole units.
const SIZE: (u32, u32) = (1_120, 760);
const TEXT: f64 = 34.0;

/// A chart of bars is shown wider than one with axes, so its words are smaller.
const BAR_TEXT: f64 = 29.0;
const BAR_HEIGHT: u32 = 50;
const NAME_WIDTH: i32 = 330;
const VALUE_WIDTH: i32 = 250;

const GRID: RGBColor = RGBColor(0xE3, 0xE5, 0xE8);
const MUTED: RGBColor = RGBColor(0x5F, 0x66, 0x70);
const INK: RGBColor = RGBColor(0x1C, 0x1E, 0x21);
/// Of Okabe and Ito's palette, which the colour-blind can tell apart. The second is dashed by the style sheet.
const FIRST: RGBColor = RGBColor(0x00, 0x72, 0xB2);
const SECOND: RGBColor = RGBColor(0xD5, 0x5E, 0x00);

pub(super) struct Axis<'a> {
    pub name: &'a str,
    pub range: Range<f64>,
    pub told: fn(&f64) -> String,
}

impl Axis<'_> {
    /// From nought to certainty.
    pub(super) fn share(name: &str) -> Axis<'_> {
        Axis { name, range: 0.0..1.0, told: |share| format!("{:.0} %", share * 100.0) }
    }

    /// The library can't divide an axis of no length.
    fn range(&self) -> Range<f64> {
        let Range { start, end } = self.range;
        if end > start { start..end } else { start..start + 1.0 }
    }
}

/// One or two lines over two axes.
pub(super) struct Plot<'a> {
    /// What it shows, for those who can't see it.
    pub title: &'a str,
    pub x: Axis<'a>,
    pub y: Axis<'a>,
    /// The second is told from the first by its colour, and by dashes.
    pub lines: [Vec<(f64, f64)>; 2],
    /// What a guess, or perfection, would look like.
    pub guide: Option<[(f64, f64); 2]>,
    /// A vertical line, where something was chosen.
    pub mark: Option<f64>,
    pub dots: bool,
}

impl Plot<'_> {
    pub(super) fn svg(&self) -> Result<String, ModelError> {
        svg(self.title, SIZE, |area| self.draw(area))
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(48)
            .margin_top(24)
            .x_label_area_size(96)
            .y_label_area_size(142)
            .build_cartesian_2d(self.x.range(), self.y.range())?;
        let text = ("sans-serif", TEXT).into_font().color(&MUTED);
        chart
            .configure_mesh()
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&self.x.told)
            .y_label_formatter(&self.y.told)
            .x_desc(self.x.name)
            .y_desc(self.y.name)
            .bold_line_style(GRID.stroke_width(2))
            .light_line_style(TRANSPARENT)
            .axis_style(GRID.stroke_width(2))
            .label_style(text.clone())
            .axis_desc_style(text)
            .draw()?;
        let mark = self.mark.map(|x| vec![(x, self.y.range().start), (x, self.y.range().end)]);
        for guide in self.guide.map(|ends| ends.to_vec()).into_iter().chain(mark) {
            chart.draw_series(LineSeries::new(guide, MUTED.stroke_width(2)))?;
        }
        for (line, colour) in self.lines.iter().zip([FIRST, SECOND]) {
            chart.draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(5)))?;
            let dots = line.iter().filter(|_| self.dots);
            chart.draw_series(dots.map(|&point| Circle::new(point, 9, colour.filled())))?;
        }
        Ok(())
    }
}

/// A named bar, its value, and how far the value may be off.
pub(super) struct Bar {
    pub name: String,
    pub value: f64,
    pub spread: f64,
    pub told: String,
}

/// Bars below each other, as long as their values; one below nought has no length.
pub(super) fn bars(title: &str, bars: &[Bar]) -> Result<String, ModelError> {
    let height = BAR_HEIGHT * u32::try_from(bars.len()).unwrap_or(u32::MAX / BAR_HEIGHT);
    let longest = bars.iter().map(|bar| bar.value + bar.spread).fold(f64::MIN_POSITIVE, f64::max);
    svg(title, (SIZE.0, height.max(BAR_HEIGHT)), |area| {
        for (top, bar) in (0_i32..).step_by(BAR_HEIGHT as usize).zip(bars) {
            draw_bar(area, top, bar, longest)?;
        }
        Ok(())
    })
}

fn draw_bar(area: &Area<'_>, top: i32, bar: &Bar, longest: f64) -> Drawn {
    let height = i32::try_from(BAR_HEIGHT)?;
    let middle = top + height / 2;
    let room = i32::try_from(SIZE.0)? - NAME_WIDTH - VALUE_WIDTH;
    let place = |value: f64| NAME_WIDTH + pixels(value / longest, room);
    let text = |colour| ("sans-serif", BAR_TEXT).into_font().color(colour);
    let name = text(&INK).pos(Pos::new(HPos::Right, VPos::Center));
    area.draw(&Text::new(bar.name.clone(), (NAME_WIDTH - 20, middle), name))?;
    area.draw(&Rectangle::new([(NAME_WIDTH, top + 10), (place(bar.value) + 2, top + height - 10)], FIRST.filled()))?;
    let whisker = [place(bar.value - bar.spread), place(bar.value + bar.spread)].map(|x| (x, middle));
    area.draw(&PathElement::new(whisker, INK.stroke_width(3)))?;
    let value = text(&MUTED).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(bar.told.clone(), (place(bar.value + bar.spread) + 18, middle), value))?;
    Ok(())
}

#[allow(clippy::cast_possible_truncation, reason = "a share of a few hundred")]
fn pixels(share: f64, room: i32) -> i32 {
    (share.clamp(0.0, 1.0) * f64::from(room)).round() as i32
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn svg(title: &str, size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, ModelError> {
    let mut drawing = String::new();
    {
        let area = SVGBackend::with_string(&mut drawing, size).into_drawing_area();
        let drawn = draw(&area).and_then(|()| Ok(area.present()?));
        drawn.map_err(|error| ModelError::Report(error.to_string()))?;
    }
    Ok(opened(&drawing, title, size))
}

/// With an opening tag of our own: it grows and shrinks with the page, and says what it shows.
fn opened(drawing: &str, title: &str, (width, height): (u32, u32)) -> String {
    let inside = drawing.split_once('>').map_or("", |(_, inside)| inside);
    let title = maud::html! { (title) }.into_string();
    format!(r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}"><title>{title}</title>{inside}"#)
}
