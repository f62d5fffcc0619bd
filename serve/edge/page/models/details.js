// All that is known of one version.

import { segment, useResource } from "../lib/api.js";
import { count, ms, NOTHING, share } from "../lib/format.js";
import { href } from "../lib/route.js";
import { Facts, Loaded, Notice, Page, Section, Table, Tile } from "../lib/ui.js";
import { html, useState } from "../vendor/vendor.js";
import { Acts } from "./acts.js";
import { useAliases } from "./aliases.js";
import { Untrained, Versions } from "./card.js";
import { Confusion } from "./confusion.js";
import * as facts from "./facts.js";
import { Labels } from "./labels.js";
import { Lacking } from "./list.js";
import { Speed } from "./speed.js";

/**
 * @typedef {Model & {labels: string[] | null, confusion: number[][] | null,
 *   attention_layout: {block: string, channels: number, branches: number}[] | null,
 *   input: Record<string, any> | null, input_names: string[] | null}} Whole
 */

// Of a card: what has a place of its own here.
const PLACED = ["accuracy", "accuracy_interval_95", "parameters", "macs", "source", "confusion"];

/** @typedef {import("./facts.js").Model} Model */

/**
 * @param {{name: string, version: string, versions: Model[], all: Model[], query: URLSearchParams,
 *   reload: () => void}} props `versions` of that name among `all`, once they are known; `reload` asks for them again
 */
export function Details({ name, version, versions, all, query, reload }) {
  const model = useResource(`v1/models/${segment(name)}/versions/${segment(version)}`);
  const aliases = useAliases();
  const [said, setSaid] = useState("");
  const done = (/** @type {string} */ what) => {
    setSaid(what);
    for (const resource of [model, aliases]) resource.reload();
    reload();
  };
  const lead = html`Version ${version}. <a href=${href(["models"])}>All models</a>`;
  return html`
    <${Page} title=${name} lead=${lead}>
      <${Lacking} />
      <div role="status">${said ? html`<${Notice} tone="good"><p>✓ ${said}</p><//>` : null}</div>
      <div class="versions-bar">
        <${Versions} versions=${versions} chosen=${version} />
        <${Acts} name=${name} versions=${versions} target=${`${name}:${version}`} all=${all} aliases=${aliases}
          done=${done} />
      </div>
      <${Loaded} of=${model} what="the model">${(/** @type {Whole} */ found) => html`
        <${Untrained} model=${found} />
        <${Figures} model=${found} />
        <${Section} title="Speed"><${Speed} usage=${found.usage} /><//>
        <${Known} model=${found} />
        <${Attention} model=${found} />
        <${Errors} model=${found} />
        <${Labels} labels=${found.labels} classes=${found.classes} sought=${query.get("label") ?? ""} />`}<//>
    <//>`;
}

/** @param {{model: Whole}} props */
function Figures({ model }) {
  const found = facts.accuracy(model);
  const { usage, card } = model;
  const asked = usage.requests ? `mean of ${count(usage.requests)} requests to this gateway` : "not asked yet";
  return html`
    <div class="tiles">
      <${Tile} name="Accuracy" value=${found ? share(found.value) : NOTHING}
        note=${found ? `${facts.interval(found)}${found.of ? `, ${found.of}` : ""}` : "not measured"} />
      <${Tile} name="Parameters" value=${count(card?.parameters)} />
      <${Tile} name="Work for an image" value=${count(card?.macs)} note="multiply-accumulates (MACs)" />
      <${Tile} name="Mean request" value=${ms(usage.mean_ms)} note=${asked} />
    </div>`;
}

/** @param {{model: Whole}} props */
function Known({ model }) {
  if (!model.card) return html`<${Notice} tone="open"><p>More is known once it has been ready.</p><//>`;
  const { weights, ...card } = model.card;
  const { source: _shown, ...more } = weights && typeof weights === "object" ? weights : {};
  const others = Object.entries({ ...card, weights: more }).filter(([key]) => !PLACED.includes(key));
  return html`
    <${Section} title="Facts">
      <${Facts} items=${[
        ["Architecture", model.architecture],
        ["Family", model.family],
        ["Attention", facts.attentionName(model.attention)],
        ["Weights", facts.weights(model)],
        ["Data", facts.words(model.card.source)],
        ["Parity", facts.parity(model)],
        ["Recipe in force", facts.recipe(model)],
        ["Decoder", model.decoder],
        ["Aliases", model.aliases.join(", ")],
        ["Contents, SHA-256", html`<code>${model.contents_sha256}</code>`],
      ]} />
      <h3>Input</h3>
      <${Facts} items=${[
        ["Size", facts.input(model)],
        ["Resized", facts.resized(model.input?.resize, model)],
        ["Mean", facts.words(model.input?.mean)],
        ["Standard deviation", facts.words(model.input?.std)],
        ["Called", model.input_names?.join(", ")],
      ]} />
      ${
        others.length
          ? html`<h3>Also on its card</h3>
        <${Facts} items=${others.map(([key, value]) => [facts.spaced(key), facts.words(value)])} />`
          : null
      }
    <//>`;
}

/** @param {{model: Whole}} props */
function Attention({ model: { attention_layout: layout, card } }) {
  if (!card) return null;
  /** @typedef {{block: string, channels: number, branches: number}} Block */
  const columns = [
    { title: "Block", cell: (/** @type {Block} */ { block }) => html`<code>${block}</code>`, head: true },
    { title: "Channels", cell: (/** @type {Block} */ { channels }) => count(channels), number: true },
    { title: "Branches", cell: (/** @type {Block} */ { branches }) => count(branches), number: true },
    {
      title: "Gates",
      cell: (/** @type {Block} */ { channels, branches }) => count(channels * branches),
      number: true,
    },
  ];
  return html`
    <${Section} title="Attention" note="What the output “attention” holds, block after block.">
      <${Table} caption="Blocks with gates" hidden columns=${columns} rows=${layout ?? []}
        rowKey=${(/** @type {Block} */ { block }) => block} empty="It has no gates to show." />
    <//>`;
}

/** @param {{model: Whole}} props */
function Errors({ model: { confusion, labels } }) {
  if (!confusion || !labels) return null;
  return html`
    <${Section} title="What it confuses" note="On the held-out images, when the archive was built.">
      <${Confusion} labels=${labels} rows=${confusion} />
    <//>`;
}
