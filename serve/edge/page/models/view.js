// The models: all of them, or one version.

import { useResource } from "../lib/api.js";
import { Loaded, Page } from "../lib/ui.js";
import { html } from "../vendor/vendor.js";
import { Details } from "./details.js";
import { byName, standing } from "./facts.js";
import { List } from "./list.js";

/** Seconds after which states and figures are asked for again. */
const EVERY = 10;

/** @param {{parts: string[], query: URLSearchParams}} props `parts`: nothing, or a name and perhaps a version */
export default function View({ parts: [name, version], query }) {
  const models = useResource("v1/models", { every: EVERY });
  if (name === undefined) return html`<${List} models=${models} query=${query} />`;
  /** @type {import("./facts.js").Model[]} */
  const all = models.value?.models ?? [];
  const versions = new Map(byName(all)).get(name) ?? [];
  const shown = version ?? (versions.length ? standing(versions).version : "");
  if (!shown) {
    const reason = versions[0]?.reason || "no model has this name";
    return html`
      <${Page} title=${name}>
        <${Loaded} of=${models} what="the model">${() => html`<p>There is no version of it: ${reason}.</p>`}<//>
      <//>`;
  }
  return html`
    <${Details} key=${`${name}:${shown}`} name=${name} version=${shown} versions=${versions} all=${all}
      query=${query} reload=${models.reload} />`;
}
