// What an experiment would need, beside the form: as the gateway plans it, asked again while one types.

import { send, useResource } from "../lib/api.js";
import { Field } from "../lib/dialog.js";
import { count, NOTHING, number, significant } from "../lib/format.js";
import { Loading, Notice, Section, Table, Tile } from "../lib/ui.js";
import { html, useEffect, useState } from "../vendor/vendor.js";
import { difference } from "./design.js";

/** @typedef {import("./design.js").Design} Design */
/** @typedef {{value: any, error: Error | null, loading: boolean}} PlanState */
/** @typedef {{perDay: number | null, sentence: string}} Traffic */

const DEBOUNCE_MS = 400;
const DAY_S = 86_400;
// Less says nothing of days.
const LEAST_S = 60;

/** @type {[string, "effect" | "detectable", "units" | "units_fixed" | "planned_units", string][]} */
const NEEDS = [
  ["looking at any time", "effect", "units", "days"],
  ["with a single look at the end", "effect", "units_fixed", "days_fixed"],
  ["with the planned units", "detectable", "planned_units", "planned_days"],
];

/**
 * What the gateway says that a design needs.
 *
 * @param {Design | null} design null: it is not asked
 * @param {number | null} unitsPerDay
 * @returns {PlanState} the last plan stays while a newer one is asked for
 */
export function usePlan(design, unitsPerDay) {
  const [state, setState] = useState(/** @type {PlanState} */ ({ value: null, error: null, loading: false }));
  const asked = design && JSON.stringify({ design, unitsPerDay });
  useEffect(() => {
    if (asked === null) return undefined;
    const aborter = new AbortController();
    const wanted = JSON.parse(asked);
    const path = `v1/experiments:plan${wanted.unitsPerDay ? `?units_per_day=${wanted.unitsPerDay}` : ""}`;
    setState((last) => ({ ...last, loading: true }));
    const timer = setTimeout(() => {
      send("POST", path, wanted.design, { signal: aborter.signal }).then(
        ({ body }) => setState({ value: body, error: null, loading: false }),
        (error) => {
          if (!aborter.signal.aborted) setState({ value: null, error, loading: false });
        },
      );
    }, DEBOUNCE_MS);
    return () => {
      clearTimeout(timer);
      aborter.abort();
    };
  }, [asked]);
  return state;
}

/** The traffic of models now, as a day's. @param {string[]} models @returns {Traffic} */
export function useTraffic(models) {
  const { value, error } = useResource("v1/live");
  if (error) return { perDay: null, sentence: `The traffic cannot be told: ${error.message}` };
  return value ? traffic(value, models) : { perDay: null, sentence: "" };
}

/** @param {any} live what v1/live answers @param {string[]} models @returns {Traffic} */
export function traffic(live, models) {
  const seen = live.points.length * live.every_s;
  const named = [...new Set(models)];
  const requests = live.points.reduce(
    (/** @type {number} */ sum, /** @type {any} */ point) =>
      sum + named.reduce((more, name) => more + live.every_s * (point.models[name]?.requests_s ?? 0), 0),
    0,
  );
  const to = named.join(" and ") || "the models";
  if (!requests) return { perDay: null, sentence: `No traffic to ${to} has been seen yet.` };
  if (seen < LEAST_S) return { perDay: null, sentence: "The gateway has seen too little yet to speak of days." };
  const { of } = live.process;
  const others = of > 1 ? `, which is one of ${of} processes alike` : "";
  return {
    perDay: Number((((requests * of) / seen) * DAY_S).toPrecision(3)),
    sentence:
      `Extrapolated from ${count(requests)} requests to ${to} that this gateway${others} had in the last ` +
      `${number(seen / 60, 1)} minutes, each taken for a unit of its own.`,
  };
}

/**
 * @param {{plan: PlanState, refused: string, units: string, setUnits: (text: string) => void, seen: Traffic}} props
 *   `refused` says why none is asked for; `units` is what was typed
 */
export function Plan({ plan, refused, units, setUnits, seen }) {
  return html`
    <${Section} title="The plan" class="plan">
      <${Field} label="Units a day" hint=${unitsHint(units, seen)}>${(
        /** @type {Record<string, unknown>} */ attributes,
      ) => html`
        <input ...${attributes} type="number" inputmode="decimal" min="0" step="any" autocomplete="off"
          value=${units || (seen.perDay ?? "")} onInput=${(/** @type {any} */ event) => setUnits(event.target.value)} />`}<//>
      ${units && seen.perDay ? html`<p><button type="button" onClick=${() => setUnits("")}>Take the present traffic</button></p>` : null}
      ${refused ? html`<${Notice} tone="warn"><p>${refused}</p><//>` : html`<${Planned} plan=${plan} />`}
    <//>`;
}

/** @param {string} units @param {Traffic} seen */
function unitsHint(units, seen) {
  if (units) return `Given by you; enrolled or not. ${seen.perDay ? "" : seen.sentence}`;
  return `${seen.sentence}${seen.perDay ? "" : " Give a number to see the days."}`;
}

/** @param {{plan: PlanState}} props */
function Planned({ plan: { value, error, loading } }) {
  if (error) return html`<div role="status"><${Notice} tone="warn"><p>No plan: ${error.message}</p><//></div>`;
  if (!value) return html`<${Loading} what="the plan" />`;
  const { metric } = value;
  return html`
    <div aria-busy=${loading} class=${loading ? "stale" : ""}>
      <div class="tiles">
        <${Tile} name="Needed sample" value=${units(value.units)} note="of all arms together, looking at any time" />
        <${Tile} name="Time" value=${days(value.days)} note=${timeNote(value)} />
        <${Tile} name="Detectable" value=${difference(value.detectable, metric)}
          note=${`by the planned ${count(value.planned_units)} units, ${number(100 * value.power, 0)} % sure`} />
      </div>
      <${Table} caption="What it takes to find a difference" rows=${NEEDS} rowKey=${(/** @type {string[]} */ row) => row[0]}
        columns=${[
          { title: "Case", head: true, cell: (/** @type {string[]} */ row) => row[0] },
          {
            title: "Difference",
            number: true,
            cell: (/** @type {string[]} */ row) => difference(value[row[1]], metric),
          },
          { title: "Units", number: true, cell: (/** @type {string[]} */ row) => count(value[row[2]]) },
          { title: "Time", number: true, cell: (/** @type {string[]} */ row) => days(value[row[3]]) },
        ]} />
      <ul class="granted">${value.sentences.map((/** @type {string} */ text) => html`<li key=${text}>${text}</li>`)}</ul>
    </div>`;
}

/** @param {any} value */
function timeNote(value) {
  return value.enrolled_per_day === null
    ? "give the units a day"
    : `at ${significant(value.enrolled_per_day)} enrolled units a day`;
}

/** @param {unknown} value */
function units(value) {
  return value === null ? NOTHING : `${count(value)} units`;
}

/** Days, or hours where it is less than one. @param {unknown} value */
export function days(value) {
  if (typeof value !== "number") return NOTHING;
  return value >= 1 ? `${number(value, 1)} days` : `${number(24 * value, 1)} hours`;
}
