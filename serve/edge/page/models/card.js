// A model on a card: the facts of the version that stands for it, and all its versions.

import { count, share } from "../lib/format.js";
import { Badge, Facts, Notice } from "../lib/ui.js";
import { html, useId } from "../vendor/vendor.js";
import { Acts } from "./acts.js";
import * as facts from "./facts.js";
import { Range, scaleInWords } from "./range.js";
import { Speed } from "./speed.js";

/** @typedef {import("./facts.js").Model} Model */

/**
 * @param {{name: string, versions: Model[], scale: import("./range.js").Scale | null, all: Model[],
 *   aliases: ReturnType<typeof import("./aliases.js").useAliases>, done: (what: string) => void}} props
 */
export function Card({ name, versions, scale, all, aliases, done }) {
  const id = useId();
  const shown = facts.standing(versions);
  return html`
    <article class="card model" aria-labelledby=${id}>
      <h2 id=${id}><a href=${facts.details(shown)}><bdi>${name}</bdi></a></h2>
      <${Versions} versions=${versions} />
      <${Untrained} model=${shown} />
      <div class="figures">
        <${Accuracy} model=${shown} scale=${scale} />
        <${Speed} usage=${shown.usage} />
      </div>
      <${Facts} items=${items(shown)} />
      ${versions.length > 1 && shown.version ? html`<p class="note">These are the figures of version ${shown.version}.</p>` : null}
      <${Acts} name=${name} versions=${versions} target=${name} all=${all} aliases=${aliases} done=${done} />
    </article>`;
}

/** A warning where the weights were never trained. @param {{model: Model}} props */
export function Untrained({ model }) {
  if (model.trained !== false) return null;
  return html`<${Notice} tone="warn"><p><span class="sign" aria-hidden="true">!</span>${" "}
    <b>Random weights</b>: it was never trained, and what it says of an image means nothing.</p><//>`;
}

/** @param {{model: Model, scale: import("./range.js").Scale | null}} props */
function Accuracy({ model, scale }) {
  const found = facts.accuracy(model);
  if (!found) return html`<div class="measured"><p>Accuracy: not measured</p></div>`;
  return html`
    <div class="measured">
      <p><b class="value">${share(found.value)}</b> accuracy ${found.of}</p>
      <${Range} model=${model} scale=${scale} />
      <p class="note">${facts.interval(found)}${scale ? html`<br />picture: ${scaleInWords(scale)}` : ""}</p>
    </div>`;
}

/** @param {Model} model @returns {[string, import("../lib/ui.js").Children][]} */
function items(model) {
  return [
    ["Architecture", both(model.architecture, model.family)],
    ["Attention", model.attention && facts.attentionName(model.attention)],
    ["Parameters", model.card?.parameters != null ? count(model.card.parameters) : null],
    ["Work for an image", facts.macs(model.card?.macs)],
    ["Input", facts.input(model)],
    ["Weights", facts.weights(model)],
    ["Parity", facts.parity(model)],
    ["Recipe", facts.recipe(model)],
    ["Decoder", model.decoder],
    ["Aliases", model.aliases.join(", ")],
  ];
}

/** @param {string | null} architecture @param {string | null} family @returns {string} */
function both(architecture, family) {
  return [architecture, family && `family ${family}`].filter(Boolean).join(", ");
}

/** @param {{versions: Model[], chosen?: string}} props `chosen` is being looked at */
export function Versions({ versions, chosen }) {
  return html`
    <ul class="versions" aria-label="Versions">
      ${versions.map(
        (model) => html`
        <li key=${model.version}>
          ${model.version ? html`<a href=${facts.details(model)} aria-current=${model.version === chosen ? "page" : undefined}>Version ${model.version}</a>` : "No version"}
          <${State} model=${model} />
          ${model.default ? html`<b>default</b>` : null}
          ${model.reason ? html`<span class="note">${model.reason}</span>` : null}
        </li>`,
      )}
    </ul>`;
}

/** @param {{model: Model}} props */
function State({ model: { state } }) {
  const { title, tone } = facts.STATES[state] ?? { title: state, tone: "open" };
  return html`<${Badge} tone=${tone}>${title}<//>`;
}
