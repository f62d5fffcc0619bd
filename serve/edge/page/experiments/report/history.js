// Who did what, when and why: the enrolled share over time, and every version.

import { LineChart } from "../../lib/chart.js";
import { time } from "../../lib/format.js";
import { Section, Table } from "../../lib/ui.js";
import { html, useMemo } from "../../vendor/vendor.js";
import { count, enrolled, setting } from "./figures.js";
import { list, Nothing, useBeginning } from "./parts.js";
import { AUTHORS, STATES, word } from "./words.js";

/** @typedef {import("./figures.js").Json} Json */

const MOST_VERSIONS = 200;
const MOST_EVENTS = 60;
const MOST_NAMED = 12;

/** @param {{report: Json}} props */
export function History({ report }) {
  const versions = list(report, "history");
  const chart = useMemo(() => drawn(versions, report.at), [report]);
  const { shown, more } = useBeginning([...versions].reverse(), MOST_VERSIONS, "versions");
  if (versions.length === 0) {
    return html`<${Section} title="Who did what, when and why"><${Nothing}>The history begins when the experiment is
      written down.<//><//>`;
  }
  return html`
    <${Section} title="Who did what, when and why">
      ${chart ? html`<${LineChart} ...${chart} />` : null}
    <//>
    <${Section} title="Versions">
      <${Table} columns=${columns(report)} rows=${[...shown].reverse()}
        rowKey=${(/** @type {Json} */ row) => String(row.number)}
        caption="Every version of the experiment, oldest first. Nothing is ever changed in this list, only added." />
      ${more}
    <//>`;
}

/** @param {Json} report @returns {import("../../lib/ui.js").Column[]} */
function columns(report) {
  const arms = list(report, "arms").map(({ name }) => name);
  return [
    { title: "Version", head: true, cell: ({ number }) => count(number) },
    { title: "In force from", cell: ({ effective_at: at }) => time(at) },
    { title: "Act", cell: ({ act }) => act },
    { title: "State after it", cell: ({ state }) => word(STATES, state, state) },
    { title: "Enrolled", number: true, cell: ({ ramp }) => enrolled(ramp) },
    { title: `Weights (${arms.join(" / ")})`, number: true, cell: ({ weights }) => weights.map(enrolled).join(" / ") },
    { title: "Author", cell: ({ author }) => html`<bdi>${word(AUTHORS, author, author)}</bdi>` },
    { title: "Reason", cell: ({ reason }) => html`<bdi>${reason}</bdi>` },
  ];
}

/**
 * The enrolled share, with a corner wherever a version changed it; a line of its own while paused.
 *
 * @param {Json[]} versions @param {number} until Unix seconds
 */
export function drawn(versions, until) {
  const events = [...versions].sort((one, other) => one.effective_at - other.effective_at).slice(-MOST_EVENTS);
  /** @type {Json[]} */
  const spans = events.map((event, place) => ({
    ...event,
    end: events[place + 1]?.effective_at ?? Math.max(until, event.effective_at),
  }));
  const [x, running, paused] = [/** @type {number[]} */ ([]), values(), values()];
  for (const { effective_at: at, end, state, ramp } of spans) {
    x.push(at, end);
    for (const [name, into] of /** @type {const} */ ([
      ["running", running],
      ["paused", paused],
    ])) {
      into.push(...(state === name ? [ramp / 100, ramp / 100] : [null, null]));
    }
  }
  if (![...running, ...paused].some((value) => value !== null)) return null;
  const named = events.length <= MOST_NAMED;
  return {
    title: "Enrolled share of the units over time",
    xLabel: "time",
    yLabel: "enrolled units (%)",
    x,
    xTime: true,
    yFormat: (/** @type {number} */ value) => `${setting(value)} %`,
    yTick: setting,
    yRange: /** @type {[number, number]} */ ([0, 140]),
    marks: events.map(({ effective_at: at, number, act }) => ({
      at,
      name: named ? `${number} ${act}` : String(number),
    })),
    series: [
      { name: "running", values: running },
      { name: "paused: the control answers everybody", values: paused, dashed: true },
    ],
    height: 220,
  };
}

function values() {
  return /** @type {(number | null)[]} */ ([]);
}
