// All experiments: what each asks, how it stands, and what it says so far.

import { useResource } from "../lib/api.js";
import { ago, count, share } from "../lib/format.js";
import { href, set } from "../lib/route.js";
import { useSession } from "../lib/session.js";
import { Badge, Facts, Loaded, Page } from "../lib/ui.js";
import { html, useEffect, useState } from "../vendor/vendor.js";
import { Acts } from "./acts.js";
import { reportParts } from "./address.js";
import { difference } from "./design.js";
import { badgeOf, METRICS, word } from "./report/words.js";

/** @typedef {Record<string, any>} Listed an experiment as v1/experiments?verdicts=true gives it */
/** @typedef {import("../lib/ui.js").Tone} Tone */

/** @type {Record<string, {text: string, tone: Tone}>} */
const STATES = {
  draft: { text: "Draft", tone: "open" },
  running: { text: "Running", tone: "good" },
  paused: { text: "Paused", tone: "warn" },
  promoted: { text: "Promoted", tone: "good" },
  rolled_back: { text: "Rolled back", tone: "bad" },
  stopped: { text: "Stopped", tone: "even" },
};
/** @type {Record<string, string>} */
const DONE = {
  create: "created",
  patch: "edited",
  start: "started",
  ramp: "ramped",
  pause: "paused",
  resume: "resumed",
  promote: "promoted",
  rollback: "rolled back",
  stop: "stopped",
};
const EVERY_S = 15;
// While verdicts are still being found.
const SOON_S = 2;
const SHOWN = 50;

/** @param {{query: URLSearchParams}} props `state` in it filters */
export default function List({ query }) {
  const [finding, setFinding] = useState(false);
  const resource = useResource("v1/experiments?verdicts=true", { every: finding ? SOON_S : EVERY_S });
  const found = resource.value?.experiments ?? [];
  const pending = found.some((/** @type {Listed} */ one) => !one.verdict_known);
  useEffect(() => setFinding(pending), [pending]);
  const { can } = useSession();
  return html`
    <${Page} title="Experiments" lead="Which model is better on real traffic, by how much, and how sure that is."
      actions=${html`<a class="button main" href=${href(["experiments", "new"])}>New experiment</a>`}>
      <${Loaded} of=${resource} what="the experiments">${() =>
        found.length
          ? html`<${Experiments} all=${found} state=${query.get("state") ?? ""} reload=${resource.reload} />`
          : html`<${Nothing} may=${can("operate")} />`}<//>
    <//>`;
}

/** @param {{may: boolean}} props */
function Nothing({ may }) {
  return html`
    <div class="card nothing">
      <p>An experiment sends the same traffic to two or more models, and says which is better as soon as that is certain.
        It begins as a draft that serves nobody, and ends with a promotion or a roll-back.</p>
      <p><a href=${href(["experiments", "new"])}>${may ? "Make the first one" : "See what one would look like"}</a></p>
    </div>`;
}

/** @param {{all: Listed[], state: string, reload: () => void}} props */
function Experiments({ all, state, reload }) {
  const [most, setMost] = useState(SHOWN);
  // The one that was acted upon here stays: its dialog, and what became of it, would go with it.
  const [held, setHeld] = useState({ name: "", state });
  const isHeld = (/** @type {Listed} */ { name }) => name === held.name && state === held.state;
  const chosen = all.filter((one) => !state || one.state === state || isHeld(one));
  const newest = chosen.toSorted((one, other) => Date.parse(other.created_at) - Date.parse(one.created_at));
  return html`
    <${Filter} all=${all} state=${state} />
    ${newest.length ? null : html`<p>No experiment is in this state.</p>`}
    <ul class="experiments" aria-label="Experiments, the last changed first">
      ${newest
        .filter((one, at) => at < most || isHeld(one))
        .map(
          (one) => html`
          <${Row} key=${one.name} one=${one} reload=${reload} onAsk=${() => setHeld({ name: one.name, state })} />`,
        )}
    </ul>
    ${
      newest.length > most
        ? html`<p class="actions"><button type="button" onClick=${() => setMost(most + SHOWN)}>Show more</button>
          <span class="note">${count(most)} of ${count(newest.length)}</span></p>`
        : null
    }`;
}

/** @param {{all: Listed[], state: string}} props */
function Filter({ all, state }) {
  const many = (/** @type {string} */ one) => all.filter((experiment) => experiment.state === one).length;
  const options = Object.entries(STATES).filter(([one]) => many(one) || one === state);
  return html`
    <fieldset class="filter">
      <legend class="unseen">Which are shown</legend>
      <${Choice} value="" state=${state}>All <span class="many">${all.length}</span><//>
      ${options.map(
        ([one, { text }]) => html`
        <${Choice} key=${one} value=${one} state=${state}>${text} <span class="many">${many(one)}</span><//>`,
      )}
    </fieldset>`;
}

/** @param {{value: string, state: string, children?: import("../vendor/vendor.js").ComponentChildren}} props */
function Choice({ value, state, children }) {
  return html`
    <label><input type="radio" name="state" checked=${value === state} onChange=${() => set({ state: value || null })} />
      <span>${children}</span></label>`;
}

/** @param {{one: Listed, reload: () => void, onAsk: () => void}} props */
function Row({ one, reload, onAsk }) {
  const { text, tone } = word(STATES, one.state, { text: String(one.state), tone: /** @type {Tone} */ ("open") });
  return html`
    <li class="card">
      <div class="head">
        <h2><a href=${href(reportParts(one.name))}><bdi>${one.name}</bdi></a></h2>
        <${Badge} tone=${tone}>${text}<//>
        <${Verdict} one=${one} />
        <${Acts} experiment=${one} onDone=${reload} onAsk=${onAsk} compact />
      </div>
      ${one.description ? html`<p class="asks"><bdi>${one.description}</bdi></p>` : null}
      ${one.sentence ? html`<p class="sentence">${one.sentence}</p>` : null}
      <${Facts} items=${facts(one)} />
    </li>`;
}

/** @param {{one: Listed}} props */
function Verdict({ one }) {
  if (one.state === "draft") return null;
  if (!one.verdict_known) return html`<span class="note">The verdict is being found…</span>`;
  const { text, tone } = badgeOf(one.verdict);
  return html`<${Badge} tone=${tone}>${text}<//>`;
}

/** @param {Listed} one @returns {[string, unknown][]} */
function facts(one) {
  const arms = one.arms.map(
    (/** @type {any} */ { name, model, version }, /** @type {number} */ at) =>
      html`${at ? " against " : ""}<bdi title=${`${model} version ${version}`}>${name}</bdi>`,
  );
  const metric = one.primary_metric;
  return [
    ["Arms", arms],
    ["Mode", one.mode],
    ["Decides", `${word(METRICS, metric, metric)}, ±${difference(one.margin, metric)}`],
    ["Ramp", share(one.ramp / 10_000, one.ramp % 100 ? 2 : 0)],
    ["Alias", one.alias ? html`<bdi>${one.alias}</bdi>` : null],
    ["Winner", one.winner ? html`<bdi>${one.winner}</bdi>` : null],
    ["Last change", html`<span title=${one.created_at}>${word(DONE, one.act, one.act)} ${ago(one.created_at)}</span>`],
  ];
}
