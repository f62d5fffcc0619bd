// All models: compared in a table, each on a card of its own, and the aliases that point at them.

import { Field } from "../lib/dialog.js";
import { href, set } from "../lib/route.js";
import { useSession } from "../lib/session.js";
import { Loaded, Notice, Page } from "../lib/ui.js";
import { html, useState } from "../vendor/vendor.js";
import { Aliases, useAliases } from "./aliases.js";
import { Card } from "./card.js";
import { Compare } from "./compare.js";
import { attentionName, byName } from "./facts.js";
import { scaleOf } from "./range.js";

/** @typedef {import("./facts.js").Model} Model */

/** @param {{models: import("../lib/api.js").Resource<{models: Model[]}>, query: URLSearchParams}} props */
export function List({ models, query }) {
  const aliases = useAliases();
  const [said, setSaid] = useState("");
  /** @param {string} what */
  const done = (what) => {
    setSaid(what);
    models.reload();
    aliases.reload();
  };
  return html`
    <${Page} title="Models" lead="What is served, what is known of it, and how it does.">
      <${Lacking} />
      <div role="status">${said ? html`<${Notice} tone="good"><p>✓ ${said}</p><//>` : null}</div>
      <${Loaded} of=${models} what="models">${(/** @type {{models: Model[]}} */ { models: all }) =>
        all.length
          ? html`<${Shown} all=${all} aliases=${aliases} query=${query} done=${done} />`
          : html`<${Notice}><p>The model store is empty: <code>attnserve build --demo</code> fills it.</p><//>`}<//>
    <//>`;
}

/** Why the buttons that change something are off; they refer to it. */
export function Lacking() {
  const lacks = useSession().lacks("operate");
  return lacks
    ? html`<${Notice} tone="open"><p id="lacks">Nothing can be loaded, unloaded or pointed elsewhere: ${lacks}</p><//>`
    : null;
}

/**
 * @param {{all: Model[], aliases: ReturnType<typeof useAliases>, query: URLSearchParams,
 *   done: (what: string) => void}} props
 */
function Shown({ all, aliases, query, done }) {
  const attention = query.get("attention") ?? "";
  const mine = attention ? all.filter((model) => model.attention === attention) : all;
  const scale = scaleOf(all);
  return html`
    <${Filter} all=${all} chosen=${attention} />
    ${
      mine.length
        ? html`
      <${Compare} models=${mine} scale=${scale} sort=${query.get("sort") ?? ""} />
      <div class="models">
        ${byName(mine).map(
          ([name, versions]) => html`
          <${Card} key=${name} name=${name} versions=${versions} scale=${scale} all=${all} aliases=${aliases}
            done=${done} />`,
        )}
      </div>`
        : html`<${Notice} tone="open"><p>No model has this attention. <a href=${href(["models"])}>Show all</a></p><//>`
    }
    <${Aliases} all=${all} aliases=${aliases} done=${done} />`;
}

/** @param {{all: Model[], chosen: string}} props */
function Filter({ all, chosen }) {
  const kinds = [...new Set(all.map((model) => model.attention).filter((kind) => kind !== null))].sort();
  return html`
    <${Field} label="Attention">${(/** @type {Record<string, unknown>} */ attributes) => html`
      <select ...${attributes} value=${chosen} onChange=${(/** @type {any} */ event) => set({ attention: event.target.value })}>
        <option value="">All</option>
        ${kinds.map((kind) => html`<option key=${kind} value=${kind}>${attentionName(kind)}</option>`)}
      </select>`}<//>`;
}
