// What a chart shows, in words: the legend at the cursor, and the figures as a table.

import { html, useState } from "../vendor/vendor.js";
import { NOTHING, number } from "./format.js";
import { Table } from "./ui.js";

/**
 * @typedef {import("./chart.js").Band} Band
 * @typedef {import("./chart.js").ChartProps} ChartProps
 * @typedef {import("./chart.js").Series} Series
 */

/** Colours of the stylesheet for lines. */
export const TONES = 6;

/** The series that the legend does not have by themselves. @param {Band[]} bands */
export function edgesOf(bands) {
  return new Set(bands.filter(({ name }) => name).flatMap(({ upper, lower }) => [upper, lower]));
}

/** What the legend says of the value under the cursor. @param {ChartProps} props @param {number} shown its place */
export function keys({ series, bands = [], yFormat = number }, shown) {
  const edges = edgesOf(bands);
  const look = (/** @type {Series} */ one) =>
    `series-${(one.tone ?? series.indexOf(one)) % TONES}${one.dashed ? " dashed" : ""}`;
  const lines = series
    .filter(({ name }) => !edges.has(name))
    .map((one) => ({ name: one.name, swatch: look(one), value: text(one.values[shown], yFormat) }));
  const areas = bands.flatMap(({ upper, lower, name, empty }) => {
    const [high, low] = [upper, lower].map((edge) => series.find((one) => one.name === edge));
    if (!name || !high || !low) return [];
    const value = `${text(low.values[shown], yFormat)} to ${text(high.values[shown], yFormat)}`;
    return { name, swatch: `${look(high)}${empty ? "" : " area"}`, value };
  });
  return [...lines, ...areas];
}

/** The figures as a table, made only when it is opened: there may be thousands. */
export function Figures(
  /** @type {ChartProps & {xText: (value: number) => string, yText: (value: number) => string}} */ props,
) {
  const [open, setOpen] = useState(false);
  const { x, series } = props;
  const every = Math.max(1, Math.ceil(x.length / 200));
  const rows = open ? x.map((value, index) => ({ value, index })).filter(({ index }) => index % every === 0) : [];
  const columns = [
    { title: props.xLabel, head: true, cell: (/** @type {any} */ row) => props.xText(row.value) },
    ...series.map((one) => ({
      title: one.name,
      number: true,
      cell: (/** @type {any} */ row) => text(one.values[row.index], props.yText),
    })),
  ];
  return html`
    <details onToggle=${(/** @type {any} */ event) => setOpen(event.target.open)}>
      <summary>The figures as a table</summary>
      ${
        open
          ? html`<${Table} caption=${`${props.title} (${props.yLabel})${every > 1 ? `, every ${every}th value` : ""}`}
        columns=${columns} rows=${rows} rowKey=${(/** @type {any} */ row) => String(row.index)} />`
          : null
      }
    </details>`;
}

/** @param {number | null | undefined} value @param {(value: number) => string} format */
function text(value, format) {
  return value === null || value === undefined ? NOTHING : format(value);
}
