// Aliases: names that stay while what answers them changes.

import { useResource } from "../lib/api.js";
import { time } from "../lib/format.js";
import { href } from "../lib/route.js";
import { useSession } from "../lib/session.js";
import { Loaded, Notice, Section, Table } from "../lib/ui.js";
import { html, useState } from "../vendor/vendor.js";
import { address, details } from "./facts.js";
import { PointDialog } from "./point.js";

/** @typedef {import("./facts.js").Model} Model */

/**
 * @typedef {object} Alias in its newest version
 * @property {string} name
 * @property {string} target a model, "model:version", or an experiment
 * @property {number} version
 * @property {string} effective_at
 * @property {string} author
 * @property {string} reason
 */

/** The aliases as a hook, where this gateway has any. */
export function useAliases() {
  const { me } = useSession();
  return useResource(me.experiments ? "v1/aliases" : null, { every: 10 });
}

/** @param {{all: Model[], aliases: ReturnType<typeof useAliases>, done: (what: string) => void}} props */
export function Aliases({ all, aliases, done }) {
  const session = useSession();
  const [chosen, setChosen] = useState(/** @type {Alias | null | undefined} */ (undefined));
  const off = !session.can("operate");
  const why = off ? "lacks" : undefined;
  if (!session.me.experiments) {
    return html`
      <${Section} title="Aliases">
        <${Notice} tone="open"><p>Aliases belong to the experiments, which are off on this gateway
          (<code>experiments.enabled</code>).</p><//>
      <//>`;
  }
  const columns = [
    { title: "Alias", cell: (/** @type {Alias} */ { name }) => html`<bdi>${name}</bdi>`, head: true },
    { title: "Points to", cell: (/** @type {Alias} */ { target }) => html`<${Target} target=${target} all=${all} />` },
    { title: "Since", cell: (/** @type {Alias} */ { effective_at }) => time(effective_at) },
    { title: "By", cell: (/** @type {Alias} */ { author }) => html`<bdi>${author}</bdi>` },
    { title: "Reason", cell: (/** @type {Alias} */ { reason }) => reason },
    { title: "Moved", cell: moves, number: true },
    {
      title: "Change",
      cell: (/** @type {Alias} */ alias) => html`
        <button type="button" aria-label=${`Move ${alias.name}`} disabled=${off} aria-describedby=${why}
          onClick=${() => setChosen(alias)}>Move…</button>`,
    },
  ];
  return html`
    <${Section} title="Aliases" note="Names that callers keep while what answers them changes.">
      <${Loaded} of=${aliases} what="aliases">${(/** @type {{aliases: Alias[]}} */ { aliases: rows }) => html`
        <div class="aliases"><${Table} caption="Aliases, and where they point" hidden columns=${columns} rows=${rows}
          rowKey=${(/** @type {Alias} */ alias) => alias.name} empty="There are none yet." /></div>`}<//>
      <div class="actions">
        <button type="button" disabled=${off} aria-describedby=${why} onClick=${() => setChosen(null)}>Make an alias…</button>
      </div>
      ${
        chosen === undefined
          ? null
          : html`<${PointDialog} name=${chosen?.name} target=${chosen?.target} all=${all} aliases=${aliases}
            onClose=${() => setChosen(undefined)} done=${done} />`
      }
    <//>`;
}

/** @param {Alias} alias @returns {string} */
function moves({ version }) {
  return version === 1 ? "never" : `${version - 1} ${version === 2 ? "time" : "times"}`;
}

/** @param {{target: string, all: Model[]}} props */
function Target({ target, all }) {
  const model = all.find((one) => one.name === target || address(one) === target);
  if (model && address(model) === target) return html`<a href=${details(model)}><bdi>${target}</bdi></a>`;
  const to = model ? href(["models", target]) : href(["experiments", target]);
  return html`<a href=${to}><bdi>${target}</bdi></a>`;
}
