// The gates of all who have some, block by block.

import { share } from "../lib/format.js";
import { set } from "../lib/route.js";
import { save } from "../lib/save.js";
import { Notice, Section, Table } from "../lib/ui.js";
import { html, useMemo } from "../vendor/vendor.js";
import { figures, OPEN, SHUT } from "./gates.js";
import { BRANCHES, STEPS, Strip } from "./strip.js";

/** @typedef {{target: import("./choices.js").Target, answer: import("./asking.js").Answer}} Asked */

/**
 * @param {{asked: Asked[], sorted: boolean}} props
 */
export function Gates({ asked, sorted }) {
  const gated = asked.filter(({ answer }) => answer.blocks);
  const failed = asked.filter(({ answer }) => answer.gatesProblem);
  const without = asked.filter(({ answer }) => !answer.blocks && !answer.gatesProblem);
  if (gated.length + failed.length === 0) return null;
  return html`
    <${Section} title="Channel gates" class="pg-gates"
      note="What each attention block does with this image: a bar is a channel, its height how far the gate is open.">
      ${failed.map(
        ({ target: { key }, answer }) => html`
        <${Notice} key=${key} tone="warn"><p><bdi>${key}</bdi>: its gates cannot be shown. ${answer.gatesProblem}</p><//>`,
      )}
      ${gated.length ? html`<${Drawn} gated=${gated} sorted=${sorted} />` : null}
      ${without.map(
        ({ target: { key, card } }) => html`
        <p class="note" key=${key}><bdi>${key}</bdi>${card ? " has no channel gates." : ": gates are not asked for where the name alone does not tell whether there are any."}</p>`,
      )}
    <//>`;
}

/** @param {{gated: Asked[], sorted: boolean}} props */
function Drawn({ gated, sorted }) {
  const most = Math.max(...gated.map(({ answer }) => answer.blocks?.length ?? 0));
  const branched = Math.max(...gated.map(({ answer }) => Math.max(...(answer.blocks ?? []).map(branches))));
  const scaled = gated.some(({ answer }) => answer.blocks?.some((block) => branches(block) === 1));
  const columns = [
    { title: "Block", head: true, cell: (/** @type {number} */ place) => place + 1 },
    ...gated.map(({ target, answer }) => ({
      title: target.key,
      cell: (/** @type {number} */ place) => {
        const block = answer.blocks?.[place];
        return block ? html`<${Cell} block=${block} sorted=${sorted} />` : null;
      },
    })),
  ];
  return html`
    <div class="pg-how">
      <label><input type="checkbox" checked=${sorted}
        onChange=${(/** @type {any} */ event) => set({ sorted: event.target.checked ? "1" : null })} />
        Sort the channels by their gate</label>
      ${scaled ? html`<${Scale} />` : null}
      ${branched > 1 ? html`<${Branches} count=${branched} />` : null}
    </div>
    <${Table} caption="Gates by block and model" hidden columns=${columns} rows=${[...Array(most).keys()]} />
    <p class="note">Entropy: 1 undecided, 0 decided. Saturated: share of the channels whose gate is below ${SHUT} or
      above ${OPEN}; of branches, whose largest weight is above ${OPEN}. Channels of two nets are not the same features:
      compare the shape, sorted, rather than channel by channel.</p>
    <p><button type="button" onClick=${() => saveGates(gated)}>Save the gates as JSON</button></p>`;
}

/** @param {import("./gates.js").Block} block */
function branches({ gates }) {
  return gates.length;
}

/** @param {{block: import("./gates.js").Block, sorted: boolean}} props */
function Cell({ block, sorted }) {
  const found = useMemo(() => {
    try {
      return figures(block.gates);
    } catch (error) {
      return /** @type {Error} */ (error).message;
    }
  }, [block]);
  if (typeof found === "string") return html`<p class="note"><bdi>${block.block}</bdi>: ${found}</p>`;
  const means = found.branchMeans.length ? found.branchMeans : [found.mean];
  return html`
    <${Strip} block=${block} figures=${found} sorted=${sorted} />
    <dl class="pg-figures">
      <div><dt>mean</dt><dd>${means.map((mean) => mean.toFixed(2)).join(" / ")}</dd></div>
      <div><dt>entropy</dt><dd>${found.entropy.toFixed(3)}</dd></div>
      <div><dt>saturated</dt><dd>${share(found.saturation)}</dd></div>
    </dl>`;
}

function Scale() {
  return html`
    <p class="pg-legend"><span>0, shut</span>
      <svg viewBox=${`0 0 ${STEPS} 1`} preserveAspectRatio="none" aria-hidden="true">
        ${[...Array(STEPS).keys()].map(
          (place) => html`<rect key=${place} class=${`pg-gate-${place}`} x=${place} y="0" width="1" height="1" />`,
        )}
      </svg>
      <span>1, open</span></p>`;
}

/** @param {{count: number}} props */
function Branches({ count }) {
  return html`
    <p class="pg-legend"><span>Weight of each branch (SK), from below:</span>
      ${[...Array(count).keys()].map(
        (place) => html`
        <span key=${place}><svg class="pg-swatch" viewBox="0 0 1 1" aria-hidden="true">
          <rect class=${`pg-branch-${place % BRANCHES}`} width="1" height="1" /></svg> branch ${place + 1}</span>`,
      )}</p>`;
}

/** @param {Asked[]} gated */
function saveGates(gated) {
  const models = gated.map(({ answer: { model, version, blocks } }) => ({ model, version, blocks }));
  save(new Blob([JSON.stringify({ models })], { type: "application/json" }), "gates.json");
}
