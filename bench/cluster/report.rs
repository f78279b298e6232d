//! Makes the figures of docs/benchmarks.md from bench/results, and the plots beside it.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use plotters::prelude::*;

use crate::figures::{Run, percentile, results_folder};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md");
const PLOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks");
const BEGIN: &str = "<!-- figures: written by `cargo bench --bench cluster -- report` -->\n";
const END: &str = "<!-- end of figures -->";

/// A number that the design promises.
struct Target {
    what: &'static str,
    scenario: &'static str,
    figure: &'static str,
    at_most: f64,
    unit: &'static str,
    /// With how many tasks it is promised.
    tasks: f64,
}

const TARGETS: [Target; 35] = [
    Target {
        what: "hand-over, operator's share, p50",
        scenario: "chains",
        figure: "hand-over, operator's share p50 at most, ms",
        at_most: 50.0,
        unit: "ms",
        tasks: 0.0,
    },
    Target {
        what: "hand-over, operator's share, p99",
        scenario: "chains",
        figure: "hand-over, operator's share p99 at most, ms",
        at_most: 250.0,
        unit: "ms",
        tasks: 0.0,
    },
    Target {
        what: "API writes of the operator per segment, events aside",
        scenario: "chains",
        figure: "operator writes per segment, events aside",
        at_most: 6.0,
        unit: "",
        tasks: 0.0,
    },
    Target {
        what: "resident memory at 10,000 live tasks with pods",
        scenario: "live",
        figure: "memory, MiB",
        at_most: 200.0,
        unit: "MiB",
        tasks: 10_000.0,
    },
    Target {
        what: "10,000 waiting tasks: writes in a minute",
        scenario: "waiting",
        figure: "idle writes in a minute",
        at_most: 0.0,
        unit: "",
        tasks: 10_000.0,
    },
    Target {
        what: "10,000 waiting tasks: share of a core",
        scenario: "waiting",
        figure: "idle cpu, % of a core",
        at_most: 1.0,
        unit: "%",
        tasks: 10_000.0,
    },
    Target {
        what: "create of a task to that of its pod, p99",
        scenario: "start",
        figure: "create of the task to its pod p99, ms",
        at_most: 250.0,
        unit: "ms",
        tasks: 0.0,
    },
    Target {
        what: "10,000 programs that report: status writes per second",
        scenario: "reports",
        figure: "with news: status writes per second",
        at_most: 50.0,
        unit: "",
        tasks: 10_000.0,
    },
    Target {
        what: "the same, after 30 s without an operator",
        scenario: "reports",
        figure: "after a restart: status writes per second",
        at_most: 50.0,
        unit: "",
        tasks: 10_000.0,
    },
    Target {
        what: "the same, with nothing new: writes in a minute",
        scenario: "reports",
        figure: "without news: writes in a minute",
        at_most: 0.0,
        unit: "",
        tasks: 10_000.0,
    },
    Target {
        what: "the same: resident memory",
        scenario: "reports",
        figure: "memory, MiB",
        at_most: 200.0,
        unit: "MiB",
        tasks: 10_000.0,
    },
    Target {
        what: "the same: cores for a post of each in 30 s",
        scenario: "reports",
        figure: "every 30 s whatever is answered: cpu, cores",
        at_most: 0.4,
        unit: "",
        tasks: 10_000.0,
    },
    Target {
        what: "create of a task that names a template to that of its pod, p99",
        scenario: "start-thin",
        figure: "create of the task to its pod p99, ms",
        at_most: 300.0,
        unit: "ms",
        tasks: 0.0,
    },
    Target {
        what: "a set of 500 members, the operator killed every 5 s: members that ran twice",
        scenario: "sets-killed",
        figure: "members that ran more than once",
        at_most: 0.0,
        unit: "",
        tasks: 500.0,
    },
    Target {
        what: "the same: members that never ran",
        scenario: "sets-killed",
        figure: "members that never ran",
        at_most: 0.0,
        unit: "",
        tasks: 500.0,
    },
    Target {
        what: "a set of 10,000 members of 1 s, 500 at a time",
        scenario: "sets",
        figure: "seconds",
        at_most: 480.0,
        unit: "s",
        tasks: 10_000.0,
    },
    Target {
        what: "the same: API writes of the operator per member, events aside",
        scenario: "sets",
        figure: "operator writes per member, events aside",
        at_most: 8.5,
        unit: "",
        tasks: 10_000.0,
    },
    Target {
        what: "the same: writes of the set's status per second",
        scenario: "sets",
        figure: "status of the set: writes per second",
        at_most: 10.0,
        unit: "",
        tasks: 10_000.0,
    },
    Target {
        what: "the same: bytes of them per second",
        scenario: "sets",
        figure: "status of the set: kB per second",
        at_most: 330.0,
        unit: "kB",
        tasks: 10_000.0,
    },
    Target {
        what: "the same: memory above idle",
        scenario: "sets",
        figure: "controller memory above idle, MiB",
        at_most: 64.0,
        unit: "MiB",
        tasks: 10_000.0,
    },
    Target {
        what: "the same: tasks at a time, as a share of 500 + kept + those of 30 s",
        scenario: "sets",
        figure: "tasks there at a time, as a share of what may be",
        at_most: 1.0,
        unit: "",
        tasks: 10_000.0,
    },
    Target {
        what: "create of a task in a queue that has places to that of its pod, p99",
        scenario: "start-queued",
        figure: "create of the task to its pod p99, ms",
        at_most: 400.0,
        unit: "ms",
        tasks: 0.0,
    },
    Target {
        what: "a place of a queue of 50 changes hands, p50",
        scenario: "places",
        figure: "a place changes hands p50, ms",
        at_most: 150.0,
        unit: "ms",
        tasks: 0.0,
    },
    Target {
        what: "the same, p99",
        scenario: "places",
        figure: "a place changes hands p99, ms",
        at_most: 600.0,
        unit: "ms",
        tasks: 0.0,
    },
    Target {
        what: "from a recorded failure to the open breaker, p99",
        scenario: "breaker",
        figure: "failure recorded to open p99, ms",
        at_most: 250.0,
        unit: "ms",
        tasks: 0.0,
    },
    Target {
        what: "calls after that",
        scenario: "breaker",
        figure: "calls after it was open",
        at_most: 0.0,
        unit: "",
        tasks: 0.0,
    },
    Target {
        what: "5,000 tasks that wait in a full queue: writes in a minute",
        scenario: "queue-waiting",
        figure: "idle writes in a minute",
        at_most: 0.0,
        unit: "",
        tasks: 5_000.0,
    },
    Target {
        what: "the same: share of a core",
        scenario: "queue-waiting",
        figure: "idle cpu, % of a core",
        at_most: 1.0,
        unit: "%",
        tasks: 5_000.0,
    },
    Target {
        what: "a set of 1,000 members that run: writes in a minute",
        scenario: "members",
        figure: "idle writes in a minute",
        at_most: 0.0,
        unit: "",
        tasks: 1_000.0,
    },
    Target {
        what: "the same: share of a core",
        scenario: "members",
        figure: "idle cpu, % of a core",
        at_most: 1.0,
        unit: "%",
        tasks: 1_000.0,
    },
    Target {
        what: "from a reported line to the status, interval of 5 s, 100 programs, p99",
        scenario: "lag",
        figure: "line to status p99, s",
        at_most: 7.0,
        unit: "s",
        tasks: 100.0,
    },
    Target {
        what: "work lost with a node at any moment of it, p99",
        scenario: "lag",
        figure: "work lost with the node p99, s",
        at_most: 10.0,
        unit: "s",
        tasks: 100.0,
    },
    Target {
        what: "memory of an agent",
        scenario: "lag",
        figure: "agent memory, most, MiB",
        at_most: 12.0,
        unit: "MiB",
        tasks: 100.0,
    },
    Target {
        what: "what the agent adds to the operator's image",
        scenario: "lag",
        figure: "size of the agent's program, MiB",
        at_most: 8.0,
        unit: "MiB",
        tasks: 0.0,
    },
    Target {
        what: "what an agent adds to the start of a pod, median",
        scenario: "pod-start",
        figure: "an agent adds p50, s",
        at_most: 0.5,
        unit: "s",
        tasks: 50.0,
    },
];

/// One figure, side by side.
struct Comparison {
    title: &'static str,
    scenario: &'static str,
    /// The side that is ours.
    ours: &'static str,
    figure: &'static str,
    /// The name of its plot, if it has one.
    plot: Option<&'static str>,
}

impl Comparison {
    /// Seconds of the agent for a tree of files, beside those of other programs.
    const fn of_store(title: &'static str, figure: &'static str) -> Self {
        Self { title, scenario: "store", ours: "longtask-agent", figure, plot: None }
    }
}

const COMPARISONS: [Comparison; 12] = [
    Comparison {
        title: "Queued before the controller starts: objects done per second",
        scenario: "queued",
        ours: "LongTask",
        figure: "objects per second",
        plot: Some("queued"),
    },
    Comparison {
        title: "From the end of a pod to the next one, as a watch sees it: median, ms",
        scenario: "chains",
        ours: "LongTask",
        figure: "hand-over as a watch sees it p50, ms",
        plot: Some("hand-over"),
    },
    Comparison {
        title: "Processor time of API server and etcd per segment of a chain, ms",
        scenario: "chains",
        ours: "LongTask",
        figure: "API server and etcd cpu per segment, ms",
        plot: Some("segment-cpu"),
    },
    Comparison {
        title: "10,000 members, 500 at a time: seconds until all are done",
        scenario: "sets",
        ours: "LongTask",
        figure: "seconds",
        plot: Some("sets"),
    },
    Comparison {
        title: "The same: processor time of API server and etcd, s",
        scenario: "sets",
        ours: "LongTask",
        figure: "API server and etcd cpu, s",
        plot: None,
    },
    Comparison {
        title: "Two minutes of work, evicted four times: seconds until it is done",
        scenario: "evicted",
        ours: "LongTask",
        figure: "from create to done, s",
        plot: Some("evicted"),
    },
    Comparison::of_store("A checkpoint of 1 x 4 GiB is saved: seconds", "1 x 4 GiB: save, s"),
    Comparison::of_store("The same is restored: seconds", "1 x 4 GiB: restore, s"),
    Comparison::of_store("A checkpoint of 64 x 64 MiB is saved: seconds", "64 x 64 MiB: save, s"),
    Comparison::of_store("The same is restored: seconds", "64 x 64 MiB: restore, s"),
    Comparison::of_store("A checkpoint of 10,000 x 64 KiB is saved: seconds", "10,000 x 64 KiB: save, s"),
    Comparison::of_store("The same is restored: seconds", "10,000 x 64 KiB: restore, s"),
];

/// All runs, by scenario and side.
type Results = BTreeMap<(String, String), Vec<Run>>;

pub(crate) fn report() -> Result<()> {
    let results = read()?;
    fs::create_dir_all(PLOTS)?;
    let page = fs::read_to_string(PAGE)?;
    let (before, rest) = page.split_once(BEGIN).context("docs/benchmarks.md has a place for the figures")?;
    let (_, after) = rest.split_once(END).context("docs/benchmarks.md has an end of the figures")?;
    let figures = [targets(&results), comparisons(&results)?, all(&results)].concat();
    fs::write(PAGE, [before, BEGIN, &figures, END, after].concat())?;
    println!("{PAGE}");
    Ok(())
}

fn read() -> Result<Results> {
    let mut results = Results::new();
    for file in fs::read_dir(results_folder())? {
        let file = file?.path();
        for line in fs::read_to_string(&file)?.lines() {
            let run: Run = serde_json::from_str(line).with_context(|| file.display().to_string())?;
            results.entry((run.scenario.clone(), run.side.clone())).or_default().push(run);
        }
    }
    Ok(results)
}

/// The values of a figure over the runs, sorted.
fn values(runs: &[Run], figure: &str) -> Vec<f64> {
    let mut values: Vec<f64> = runs.iter().filter_map(|run| run.figures.get(figure).copied()).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// How many digits are shown behind the point.
fn digits(values: &[f64]) -> usize {
    if percentile(values, 0.5) < 10.0 { 2 } else { 0 }
}

fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.digits$}").parse().expect("a number")
}

/// Median, and the spread behind it.
fn spread(values: &[f64]) -> String {
    let digits = digits(values);
    let (median, least, most) = (percentile(values, 0.5), percentile(values, 0.0), percentile(values, 1.0));
    format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
}

fn targets(results: &Results) -> String {
    let mut text =
        String::from("\n| target | at most | seen: median (least to most) | runs | met |\n|---|---|---|---|---|\n");
    for target in &TARGETS {
        let runs = results.get(&(target.scenario.into(), "LongTask".into())).map(Vec::as_slice).unwrap_or_default();
        let values = values(runs, target.figure);
        let (seen, met) = match values.last() {
            None => ("not measured".into(), "?"),
            Some(_) if self::values(runs, "tasks").first().copied().unwrap_or(0.0) < target.tasks => {
                (format!("{} with fewer tasks", spread(&values)), "?")
            }
            // As it is shown.
            Some(most) if rounded(*most, digits(&values)) <= target.at_most => (spread(&values), "yes"),
            Some(_) => (spread(&values), "no"),
        };
        let Target { what, at_most, unit, .. } = target;
        add(&mut text, format_args!("| {what} | {at_most} {unit} | {seen} | {} | {met} |\n", values.len()));
    }
    text
}

fn comparisons(results: &Results) -> Result<String> {
    let mut text = String::new();
    for Comparison { title, scenario, ours: our_side, figure, plot: name } in &COMPARISONS {
        let mut sides: Vec<(&str, Vec<f64>)> = results
            .iter()
            .filter(|((of, _), _)| of == scenario)
            .map(|((_, side), runs)| (side.as_str(), values(runs, figure)))
            .filter(|(_, values)| !values.is_empty())
            .collect();
        sides.sort_by_key(|(side, _)| (side != our_side, *side));
        let Some(((first, ours), peers)) = sides.split_first().filter(|((first, _), _)| first == our_side) else {
            continue;
        };
        let ours_median = percentile(ours, 0.5);
        add(
            &mut text,
            format_args!(
                "\n{title}:\n\n| side | median (least to most) | runs | {first} beside it |\n|---|---|---|---|\n"
            ),
        );
        add(&mut text, format_args!("| {first} | {} | {} | |\n", spread(ours), ours.len()));
        for (side, theirs) in peers {
            let share = ours_median / percentile(theirs, 0.5);
            add(&mut text, format_args!("| {side} | {} | {} | x {share:.2} |\n", spread(theirs), theirs.len()));
        }
        if let Some(name) = name {
            plot(name, title, &sides)?;
            add(&mut text, format_args!("\n![{title}](benchmarks/{name}.svg)\n"));
        }
    }
    Ok(text)
}

fn all(results: &Results) -> String {
    let mut text = String::new();
    for ((scenario, side), runs) in results {
        add(
            &mut text,
            format_args!(
                "\n### {scenario}, {side}: {} runs\n\n| figure | median (least to most) |\n|---|---|\n",
                runs.len()
            ),
        );
        let names: std::collections::BTreeSet<_> = runs.iter().flat_map(|run| run.figures.keys()).collect();
        for name in names {
            add(&mut text, format_args!("| {name} | {} |\n", spread(&values(runs, name))));
        }
    }
    text + "\n"
}

fn add(text: &mut String, line: fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a string takes everything");
}

/// A bar for each side, from nothing to the median, with every run as a point.
fn plot(name: &str, title: &str, sides: &[(&str, Vec<f64>)]) -> Result<()> {
    let file = Path::new(PLOTS).join(name).with_extension("svg");
    let most = sides.iter().flat_map(|(_, values)| values.iter().copied()).fold(0.0, f64::max) * 1.15;
    let area = SVGBackend::new(&file, (640, 60 + 60 * u32::try_from(sides.len())?)).into_drawing_area();
    area.fill(&WHITE)?;
    let rows = sides.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(8)
        .y_label_area_size(200)
        .x_label_area_size(24)
        .build_cartesian_2d(0.0..most, 0.0..rows)?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().draw()?;
    for (row, (side, values)) in sides.iter().enumerate() {
        let top = rows - row as f64;
        let bar = [(0.0, top - 0.8), (percentile(values, 0.5), top - 0.2)];
        chart.draw_series([Rectangle::new(bar, RGBColor(90, 130, 200).mix(0.6).filled())])?;
        chart.draw_series(values.iter().map(|value| Circle::new((*value, top - 0.5), 3, BLACK.filled())))?;
        let (left, y) = chart.backend_coord(&(0.0, top - 0.5));
        area.draw_text(side, &("sans-serif", 14).into_text_style(&area), (left - 195, y - 7))?;
    }
    area.present()?;
    Ok(())
}
