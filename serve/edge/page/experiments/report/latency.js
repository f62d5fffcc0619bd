// How long the arms' calls took.

import { LineChart } from "../../lib/chart.js";
import { TONES } from "../../lib/chart_figures.js";
import { ms } from "../../lib/format.js";
import { set } from "../../lib/route.js";
import { Section, Table } from "../../lib/ui.js";
import { html, useMemo } from "../../vendor/vendor.js";
import { count, known, measure } from "./figures.js";
import { Choice, list, Nothing } from "./parts.js";

/** @typedef {import("./figures.js").Json} Json */

const QUANTILES = ["latency_p50", "latency_p90", "latency_p99"];
/** With more arms than this, bands hide each other: they are drawn for a chosen arm and the control. */
const MOST_BANDS = 3;
const NOTE =
  "For each time, the share of the arm's answered calls that took no longer: the further left, the faster. The " +
  "shaded bands hold at every look.";

/** @param {{report: Json, query: URLSearchParams}} props */
export function Latency({ report, query }) {
  const curves = useMemo(() => curvesOf(report), [report]);
  const chosen = query.get("arm") ?? "";
  const chart = useMemo(() => (curves.length ? drawn(curves, chosen) : null), [curves, chosen]);
  if (chart === null) {
    return html`<${Section} title="Latency">
      <${Nothing}>The distributions are drawn once calls have been answered.<//><//>`;
  }
  const others = curves.slice(1).map(({ arm }) => arm);
  return html`
    <${Section} title="Latency" note=${NOTE}>
      ${
        others.length > 1
          ? html`<div class="choices"><${Choice} label="Arms" value=${others.includes(chosen) ? chosen : ""}
          choose=${(/** @type {string} */ arm) => set({ arm })}
          options=${[["", "all"], ...others.map((arm) => [arm, `${curves[0].arm} and ${arm}`])]} /></div>`
          : null
      }
      <${LineChart} ...${chart} />
    <//>
    <${Quantiles} report=${report} curves=${curves} />`;
}

/** @param {Json} report @returns {{arm: string, calls: number, tone: number, points: Json[]}[]} */
function curvesOf(report) {
  const names = list(report, "arms").map(({ name }) => name);
  return list(report, "latency_curves").flatMap(({ arm, calls, points }) => {
    const seen = points.filter((/** @type {Json} */ point) => point.ms > 0 && known(point.share));
    return seen.length ? [{ arm, calls, tone: names.indexOf(arm), points: seen }] : [];
  });
}

/** @param {ReturnType<typeof curvesOf>} curves @param {string} chosen */
function drawn(curves, chosen) {
  const one = curves.some(({ arm }, place) => place > 0 && arm === chosen);
  const shown = one ? curves.filter(({ arm }, place) => place === 0 || arm === chosen) : curves;
  const x = [...new Set(shown.flatMap(({ points }) => points.map((point) => point.ms)))].sort((a, b) => a - b);
  const banded = shown.length <= MOST_BANDS ? shown : [];
  return {
    title: `Latency of the calls of ${shown.map(({ arm }) => arm).join(", ")}: share that took no longer`,
    xLabel: "latency of a call (logarithmic)",
    yLabel: "calls that took no longer (%)",
    x,
    xLog: true,
    xFormat: ms,
    yFormat: (/** @type {number} */ value) => `${(100 * value).toFixed(1)} %`,
    yTick: (/** @type {number} */ value) => String(Math.round(100 * value)),
    yRange: /** @type {[number, number]} */ ([0, 1.1]),
    across: [0.5, 0.9, 0.99].map((at) => ({ at, name: `p${100 * at}` })),
    series: [
      ...shown.map(({ arm, tone, points }) => ({
        name: arm,
        tone,
        dashed: tone >= TONES, // the colours are used again
        values: along(points, x, "share"),
      })),
      ...banded.flatMap(({ arm, tone, points }) => [
        { name: `${arm}, upper end`, tone, values: along(points, x, "high") },
        { name: `${arm}, lower end`, tone, values: along(points, x, "low") },
      ]),
    ],
    bands: banded.map(({ arm }) => ({
      upper: `${arm}, upper end`,
      lower: `${arm}, lower end`,
      name: `${arm}, band`,
    })),
    height: 340,
  };
}

/**
 * A curve at all places of the axis, straight between its points as it is drawn; null before them, and as
 * at the last of them afterwards.
 *
 * @param {Json[]} points @param {number[]} x @param {string} key @returns {(number | null)[]}
 */
export function along(points, x, key) {
  let next = 0;
  return x.map((at) => {
    while (next < points.length && points[next].ms < at) next += 1;
    const [before, after] = [points[next - 1], points[next]];
    if (after?.ms === at) return after[key];
    if (!after) return before?.[key] ?? null;
    if (!before) return null;
    const part = Math.log(at / before.ms) / Math.log(after.ms / before.ms);
    return before[key] + part * (after[key] - before[key]);
  });
}

/** @param {{report: Json, curves: ReturnType<typeof curvesOf>}} props */
function Quantiles({ report, curves }) {
  const rows = list(report, "rows").filter(({ metric }) => QUANTILES.includes(metric));
  const titles = [...new Map(rows.map(({ metric, title }) => [metric, title])).entries()];
  const cell =
    (/** @type {string} */ kind, /** @type {string} */ metric) =>
    (/** @type {{arm: string}} */ { arm }) => {
      const row = rows.find((one) => one.kind === kind && one.metric === metric && one.arm === arm);
      const written = row && measure(row);
      return written ? html`${written.one(row.estimate)}<br /><small>${written.span(row.low, row.high)}</small>` : "";
    };
  const columns = (/** @type {string} */ kind) => [
    { title: "Arm", head: true, cell: (/** @type {{arm: string}} */ { arm }) => html`<bdi>${arm}</bdi>` },
    ...titles.map(([metric, title]) => ({ title, number: true, cell: cell(kind, metric) })),
  ];
  const calls = {
    title: "Answered calls",
    number: true,
    cell: (/** @type {{calls: number}} */ found) => count(found.calls),
  };
  const key = (/** @type {{arm: string}} */ { arm }) => arm;
  return html`
    <${Section} title="Quantiles" note="Below each figure the interval that holds at every look.">
      <${Table} caption="Latency of each arm's calls, in milliseconds" columns=${[...columns("level"), calls]}
        rows=${curves} rowKey=${key} />
      ${
        curves.length > 1
          ? html`<${Table} caption=${`Change against ${curves[0].arm}, in per cent of its latency: less is faster`}
        columns=${columns("ratio")} rows=${curves.slice(1)} rowKey=${key} />`
          : null
      }
    <//>`;
}
