// Lines over a number or over time, drawn by uPlot; beside the picture the same figures stand in a table.

import { UPlot } from "../vendor/uplot.js";
import { html, useEffect, useMemo, useRef, useState } from "../vendor/vendor.js";
import { edgesOf, Figures, keys, TONES } from "./chart_figures.js";
import { drawLines } from "./chart_lines.js";
import { isRound, timeTicks } from "./chart_ticks.js";
import { NOTHING, number } from "./format.js";

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {(number | null)[]} values one for each x; null leaves a gap
 * @property {boolean} [dashed]
 * @property {number} [tone] of the chart's colours, from 0; by default its place in the list
 * @property {boolean} [steps] the value holds until the next
 */

/**
 * @typedef {object} Band the area between two series
 * @property {string} upper name of a series
 * @property {string} lower
 * @property {string} [name] what the two are together: the legend has it in their place, and they are drawn thin
 * @property {boolean} [empty] not filled
 */

/**
 * @typedef {object} ChartProps
 * @property {string} title says what is seen, for those who do not see it
 * @property {string} xLabel
 * @property {string} yLabel with its unit
 * @property {number[]} x ascending; Unix seconds where `xTime`
 * @property {Series[]} series
 * @property {Band[]} [bands]
 * @property {boolean} [xTime]
 * @property {boolean} [xLog]
 * @property {(value: number) => string} [yFormat]
 * @property {(value: number) => string} [yTick] along the axis, where its label has the unit already
 * @property {(value: number) => string} [xFormat]
 * @property {[number, number]} [yRange]
 * @property {number} [zero] a value at which a line is drawn across
 * @property {import("./chart_lines.js").Line[]} [across] more such lines, dotted, with their names
 * @property {import("./chart_lines.js").Line[]} [marks] what happened at a value of x: upright lines, dotted
 * @property {number} [height] in pixels
 */

const DASH = [6, 5];

/** A colour of the stylesheet. @param {string} name @returns {string} */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Whether the reader's system is dark now, as a hook: a canvas does not follow the stylesheet by itself. */
function useDark() {
  const query = useMemo(() => matchMedia("(prefers-color-scheme: dark)"), []);
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const changed = () => setDark(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, [query]);
  return dark;
}

/** @param {ChartProps} props @param {number} width @returns {import("uplot").Options} */
function options(props, width) {
  const { xLabel, yLabel, series, bands = [], xTime = false, xLog = false, yFormat, xFormat, height = 260 } = props;
  const [ink, grid] = [colour("--quiet"), colour("--line")];
  const axis = {
    stroke: ink,
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1 },
    font: "12px system-ui",
    labelFont: "12px system-ui",
    labelSize: 20,
  };
  const place = (/** @type {string} */ name) => 1 + series.findIndex((one) => one.name === name);
  const edges = edgesOf(bands);
  return {
    width,
    height,
    cursor: { drag: { x: false, y: false } },
    legend: { show: false },
    scales: {
      x: { time: xTime, distr: xLog ? 3 : 1, ...(xLog ? { range: (_, low, high) => [low, high] } : {}) },
      y: props.yRange ? { range: () => /** @type {[number, number]} */ (props.yRange) } : {},
    },
    axes: [
      {
        ...axis,
        label: xLabel,
        ...(xTime ? { values: timeTicks } : {}),
        ...(xLog ? { filter: (_, all) => all.map((value) => (isRound(value) ? value : null)) } : {}),
        ...(xFormat ? { values: (_, all) => all.map((value) => (value === null ? "" : xFormat(value))) } : {}),
      },
      {
        ...axis,
        label: yLabel,
        size: 62,
        values: (_, all) => all.map((value) => (props.yTick ?? yFormat ?? number)(value)),
      },
    ],
    series: [
      {},
      ...series.map((one, index) => ({
        label: one.name,
        stroke: colour(`--series-${(one.tone ?? index) % TONES}`),
        width: one.dashed ? 1.25 : edges.has(one.name) ? 0.75 : 2,
        dash: one.dashed ? DASH : undefined,
        points: { show: one.values.length < 2 },
        spanGaps: false,
        paths: one.steps ? UPlot.paths.stepped?.({ align: 1 }) : undefined,
      })),
    ],
    bands: bands
      .filter(({ empty }) => !empty)
      .map(({ upper, lower }) => ({
        series: /** @type {[number, number]} */ ([place(upper), place(lower)]),
        fill: faint(colour(`--series-${(series[place(upper) - 1]?.tone ?? place(upper) - 1) % TONES}`)),
      })),
    hooks: { draw: [(plot) => drawLines(plot, props, ink)] },
  };
}

/** @param {string} hex as #rrggbb @returns {string} */
function faint(hex) {
  return `${hex}2e`;
}

/**
 * A line chart. With the arrow keys a reader goes from value to value, and the line below says what is there.
 *
 * @param {ChartProps} props
 */
export function LineChart(props) {
  const { title, x, series, xTime = false, yFormat = number } = props;
  const frame = useRef(/** @type {HTMLDivElement | null} */ (null));
  const plot = useRef(/** @type {import("uplot") | null} */ (null));
  const [at, setAt] = useState(/** @type {number | null} */ (null));
  const dark = useDark();
  const xText = props.xFormat ?? (xTime ? clock : number);
  // What changes the drawing itself; new figures alone are put into the one that is there.
  const shape = JSON.stringify([
    series.map(({ name, dashed, tone }) => [name, dashed, tone]),
    props.bands,
    props.xLabel,
    props.yLabel,
    props.xLog,
    props.yRange,
    props.zero,
    props.across,
    props.marks,
    props.height,
    dark,
  ]);

  // `shape` stands for all that the options are made of
  useEffect(() => {
    const box = frame.current;
    if (!box) return undefined;
    const drawn = new UPlot(options(props, Math.max(240, box.clientWidth)), data(props), box);
    plot.current = drawn;
    drawn.over.addEventListener("mousemove", () => setAt(drawn.cursor.idx ?? null));
    drawn.over.addEventListener("mouseleave", () => setAt(null));
    const watcher = new ResizeObserver(() => {
      if (box.clientWidth && box.clientWidth !== drawn.width) {
        drawn.setSize({ width: Math.max(240, box.clientWidth), height: drawn.height });
      }
    });
    watcher.observe(box);
    return () => {
      watcher.disconnect();
      drawn.destroy();
      plot.current = null;
    };
  }, [shape]);

  // these two are all that the data is made of
  useEffect(() => plot.current?.setData(data(props)), [x, series]);

  /** @param {KeyboardEvent} event */
  const moved = (event) => {
    const steps = /** @type {Record<string, number>} */ ({
      ArrowRight: 1,
      ArrowLeft: -1,
      Home: -x.length,
      End: x.length,
    });
    const step = steps[event.key];
    if (step === undefined || x.length === 0) return;
    event.preventDefault();
    const next = Math.min(x.length - 1, Math.max(0, (at ?? (step > 0 ? -1 : x.length)) + step));
    setAt(next);
    plot.current?.setCursor({ left: plot.current.valToPos(x[next], "x"), top: 0 });
  };

  const left = () => {
    setAt(null);
    plot.current?.setCursor({ left: -10, top: -10 });
  };

  const shown = Math.min(at ?? x.length, x.length - 1); // there may be fewer than there were
  return html`
    <figure class="chart">
      <div class="plot" ref=${frame} role="img" aria-label=${title} tabindex="0" onKeyDown=${moved}
        onBlur=${left}></div>
      <figcaption>
        <span class="at">${x.length ? `${props.xLabel}: ${xText(x[shown])}` : NOTHING}</span>
        <ul class="legend">${keys(props, shown).map(
          ({ name, swatch, value }) => html`
          <li key=${name}><span class=${`swatch ${swatch}`}></span> <bdi>${name}</bdi> <b>${value}</b></li>`,
        )}</ul>
      </figcaption>
      <${Figures} ...${props} xText=${xText} yText=${yFormat} />
    </figure>`;
}

/** @param {ChartProps} props @returns {import("uplot").AlignedData} */
function data({ x, series }) {
  return [x, ...series.map(({ values }) => values)];
}

/** @param {number} seconds Unix time @returns {string} */
function clock(seconds) {
  return new Date(1000 * seconds).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}
