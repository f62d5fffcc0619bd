// The difference from the control over time, as those who looked were shown it.

import { LineChart } from "../../lib/chart.js";
import { signed } from "../../lib/format.js";
import { set } from "../../lib/route.js";
import { Section } from "../../lib/ui.js";
import { html, useMemo } from "../../vendor/vendor.js";
import { count, enrolled, known, measure, setting } from "./figures.js";
import { Choice, list, Nothing } from "./parts.js";
import { MARKED, word } from "./words.js";

/** @typedef {import("./figures.js").Json} Json */

const MOST_MARKS = 12;
const AXES = /** @type {Record<string, (row: Json) => string>} */ ({
  difference: ({ arm, against }) => `${arm} minus ${against}`,
  ratio: ({ arm, against }) => `${arm} ÷ ${against} − 1`,
});
const NOTE =
  "Each point is what somebody who looked at that moment was told. The filled band may be read at any time and as " +
  "often as one likes; the dashed interval, given for comparison, would be right for a single look at a size fixed " +
  "beforehand.";
const BANDS = [
  { upper: "upper end", lower: "lower end", name: "holds at every look" },
  { upper: "upper end, one look", lower: "lower end, one look", name: "holds at one look only", empty: true },
];

/** What was seen of an arm at each look, and now. @param {Json} report @param {Json} comparison @returns {Json[]} */
export function pointsOf(report, comparison) {
  const told = list(report, "looks").flatMap((look) =>
    list(look, "arms")
      .filter(({ arm }) => arm === comparison.arm)
      .map((seen) => ({ ...seen, at: look.at })),
  );
  const now = { ...comparison.row, at: report.at, units: comparison.units };
  const all = [...told, now].filter(({ estimate, low, high }) => [estimate, low, high].every(known));
  all.sort((one, other) => one.at - other.at);
  return all.at(-2)?.at === all.at(-1)?.at ? all.slice(0, -1) : all;
}

/** @param {{report: Json, query: URLSearchParams}} props */
export function Lift({ report, query }) {
  const comparisons = list(report, "comparisons");
  const chosen = comparisons.find(({ arm }) => arm === query.get("arm")) ?? comparisons[0];
  const byUnits = query.get("x") === "units";
  const chart = useMemo(() => (chosen ? drawn(report, chosen, byUnits) : null), [report, chosen, byUnits]);
  return html`
    <${Section} title="The difference over time" note=${chart ? NOTE : undefined}>
      ${
        chart
          ? html`
        <div class="choices">
          ${
            comparisons.length > 1
              ? html`<${Choice} label="Arm" value=${chosen.arm} choose=${(/** @type {string} */ arm) => set({ arm })}
                  options=${comparisons.map(({ arm }) => [arm, arm])} />`
              : null
          }
          <${Choice} label="Along" value=${byUnits ? "units" : "time"}
            choose=${(/** @type {string} */ x) => set({ x: x === "time" ? null : x })}
            options=${[["time", "time"], ["units", "units that took part"]]} />
        </div>
        <${LineChart} ...${chart} />`
          : html`<${Nothing}>The first interval is drawn once enough units and events have been seen.<//>`
      }
    <//>`;
}

/** What the chart is made of. @param {Json} report @param {Json} comparison @param {boolean} byUnits */
function drawn(report, comparison, byUnits) {
  const points = pointsOf(report, comparison);
  if (points.length === 0) return null;
  const { row, arm } = comparison;
  const { scale, unit, one } = measure(row);
  const happened = byUnits ? [] : marks(report, points[points.length - 1].at);
  // From the first act on: the time before the first interval is a part of the story.
  const before = happened.filter(({ at }) => at < points[0].at).slice(0, 1);
  const tone = list(report, "arms").findIndex(({ name }) => name === arm);
  const values = (/** @type {string} */ key) =>
    [...before, ...points].map((/** @type {Json} */ point) => (known(point[key]) ? scale * point[key] : null));
  const margin = known(report.margin) ? scale * report.margin : null;
  return {
    title: `${row.title}: ${arm} against ${row.against} over ${byUnits ? "units" : "time"}`,
    xLabel: byUnits ? "units that took part" : "time",
    yLabel: `${word(AXES, row.kind, () => row.title)(row)} (${unit})`,
    x: [...before, ...points].map((/** @type {Json} */ point) => (byUnits ? point.units : point.at)),
    xTime: !byUnits,
    xFormat: byUnits ? count : undefined,
    yFormat: (/** @type {number} */ value) => one(value / scale),
    yTick: (/** @type {number} */ value) =>
      row.kind === "share" || value === 0 ? setting(value) : signed(value, digits(value)),
    yRange: limits(points, scale, margin),
    zero: 0,
    across: margin === null ? [] : [{ at: margin, name: `margin (±${setting(margin)} ${unit})` }, { at: -margin }],
    marks: happened,
    series: [
      { name: "estimate", values: values("estimate"), tone },
      { name: "upper end", values: values("high"), tone },
      { name: "lower end", values: values("low"), tone },
      { name: "upper end, one look", values: values("fixed_high"), tone, dashed: true },
      { name: "lower end, one look", values: values("fixed_low"), tone, dashed: true },
    ],
    bands: BANDS,
    height: 320,
  };
}

/** @param {number} value */
function digits(value) {
  return Number.isInteger(value) ? 0 : 1;
}

/** So that the later looks fill the height: the first intervals are wider than any page. */
function limits(/** @type {Json[]} */ points, /** @type {number} */ scale, /** @type {number | null} */ margin) {
  const later = points.slice(Math.floor(points.length / 5));
  const ends = later.flatMap(({ low, high, estimate }) => [scale * low, scale * high, scale * estimate]);
  const all = [...ends, ...(margin === null ? [0] : [-1.3 * margin, 1.3 * margin])];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const room = 0.1 * (high - low) || 1;
  return /** @type {[number, number]} */ ([low - room, high + room]);
}

/** What happened when: afterwards other units take part. @param {Json} report @param {number} until */
function marks(report, until) {
  return list(report, "history")
    .filter(({ act, effective_at: at }) => Object.hasOwn(MARKED, act) && at <= until)
    .map(({ act, ramp, effective_at: at }) => ({
      at,
      name: MARKED[act].replace("{ramp} %", enrolled(ramp)),
    }))
    .slice(-MOST_MARKS);
}
