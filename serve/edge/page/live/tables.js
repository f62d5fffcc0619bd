// The newest figures by model and by arm, and how the engines stand.

import { count, ms, number, rate } from "../lib/format.js";
import { href } from "../lib/route.js";
import { Badge, Table } from "../lib/ui.js";
import { html } from "../vendor/vendor.js";

/** @typedef {import("./history.js").Point} Point */
/** @typedef {import("./history.js").Engine} Engine */
/** @typedef {import("../lib/ui.js").Column} Column */

/** What the metrics call whatever named no model that is there. */
export const UNKNOWN = "unknown";

/** @type {Record<string, string>} */
const BREAKERS = { open: "gets no batches", half_open: "is being tried again" };

/** A model's name, or words. @param {string} name @returns {string} */
export function nameOf(name) {
  return name === UNKNOWN ? "(no such model)" : name;
}

/** @type {Column[]} */
const TIMES = [
  { title: "p50", number: true, cell: ({ p50_ms }) => ms(p50_ms) },
  { title: "p95", number: true, cell: ({ p95_ms }) => ms(p95_ms) },
  { title: "p99", number: true, cell: ({ p99_ms }) => ms(p99_ms) },
];

/** @type {Column} */
const ERRORS = {
  title: "errors",
  number: true,
  cell: ({ errors_s }) => (errors_s ? html`<span class="live-bad bad">! ${rate(errors_s)}</span>` : rate(errors_s)),
};

/** @type {Column[]} */
const OF_MODELS = [
  {
    title: "model",
    head: true,
    cell: ({ name }) => html`<a href=${href(["live"], { model: name })}><bdi>${nameOf(name)}</bdi></a>`,
  },
  { title: "requests", number: true, cell: ({ requests_s }) => rate(requests_s) },
  { title: "images", number: true, cell: ({ images_s }) => rate(images_s) },
  ERRORS,
  ...TIMES,
  { title: "images in a batch", number: true, cell: ({ batch_images }) => number(batch_images, 2) },
  { title: "images waiting", number: true, cell: ({ queue_images }) => count(queue_images) },
  { title: "requests in flight", number: true, cell: ({ inflight }) => count(inflight) },
];

/** @type {Column[]} */
const OF_ARMS = [
  {
    title: "experiment",
    head: true,
    cell: ({ experiment }) => html`<a href=${href(["experiments", experiment])}><bdi>${experiment}</bdi></a>`,
  },
  { title: "arm", cell: ({ name }) => html`<bdi>${name}</bdi>` },
  { title: "requests", number: true, cell: ({ requests_s }) => rate(requests_s) },
  ERRORS,
  ...TIMES,
];

/** @type {Column[]} */
const OF_ENGINES = [
  { title: "engine", head: true, cell: ({ name }) => html`<bdi>${name}</bdi>` },
  {
    title: "state",
    cell: ({ ejected }) =>
      ejected
        ? html`<${Badge} tone="bad">ejected: it gets no batches<//>`
        : html`<${Badge} tone="good">takes batches<//>`,
  },
  { title: "its models", cell: ({ models }) => html`<${Breakers} models=${models} />` },
  { title: "restarts", number: true, cell: ({ restarts }) => count(restarts) },
  { title: "batches sent again", number: true, cell: ({ retries }) => count(retries) },
];

/** @param {{point: Point | undefined, chosen: string}} props */
export function ModelTable({ point, chosen }) {
  const rows = Object.entries(point?.models ?? {})
    .filter(([name]) => !chosen || name === chosen)
    .map(([name, figures]) => ({ name, ...figures }));
  const empty = chosen ? `${nameOf(chosen)} is not ready, and nobody has asked for it lately.` : "No model is ready.";
  return html`
    <${Table} caption="Models now" hidden columns=${OF_MODELS} rows=${rows} rowKey=${(/** @type {any} */ row) => row.name} empty=${empty} />
    ${chosen ? html`<p class="live-back"><a href=${href(["live"])}>All models</a></p>` : null}`;
}

/** @param {{point: Point | undefined}} props */
export function ArmTable({ point }) {
  const rows = Object.entries(point?.arms ?? {}).flatMap(([experiment, arms]) =>
    Object.entries(arms).map(([name, figures]) => ({ experiment, name, ...figures })),
  );
  return html`<${Table} caption="Arms now" hidden columns=${OF_ARMS} rows=${rows}
    rowKey=${(/** @type {any} */ row) => JSON.stringify([row.experiment, row.name])} empty="No experiment is running." />`;
}

/** @param {{engines: Engine[]}} props */
export function EngineTable({ engines }) {
  return html`<${Table} caption="Engines now" hidden columns=${OF_ENGINES} rows=${engines}
    rowKey=${(/** @type {Engine} */ engine) => engine.name} empty="There is no engine." />`;
}

/** The circuit breakers of an engine, in words. @param {{models: Record<string, string>}} props */
function Breakers({ models }) {
  const all = Object.entries(models);
  const troubled = all.filter(([, state]) => state !== "closed");
  if (all.length === 0) return html`<span class="note">holds none</span>`;
  if (troubled.length === 0) return html`all ${count(all.length)} get batches`;
  return html`<ul class="live-breakers">${troubled.map(
    ([name, state]) => html`
      <li key=${name}><${Badge} tone="warn"><bdi>${name}</bdi> ${BREAKERS[state] ?? state}<//></li>`,
  )}</ul>`;
}
