// The gateway's samples as thumbnails.

import { blob, segment } from "../lib/api.js";
import { set } from "../lib/route.js";
import { html, useEffect, useState } from "../vendor/vendor.js";
import { useObjectUrl } from "./picture.js";

const AT_FIRST = 20;

/** One after the other, so that they are not in the way of the questions, whose time is taken. @type {Promise<void>} */
let queue = Promise.resolve();

/** @param {{samples: {name: string, label: string, bytes: number}[], chosen: string}} props */
export function Samples({ samples, chosen }) {
  const [all, setAll] = useState(false);
  if (samples.length === 0) return null;
  const shown = all ? samples : spread(samples, AT_FIRST);
  return html`
    <h3 id="pg-samples">Or take a sample</h3>
    <ul class="pg-samples" aria-labelledby="pg-samples">
      ${shown.map(
        (sample) => html`
        <li key=${sample.name}><${Sample} sample=${sample} pressed=${sample.name === chosen} /></li>`,
      )}
    </ul>
    ${
      samples.length > AT_FIRST
        ? html`<button type="button" onClick=${() => setAll(!all)}>
            ${all ? "Show fewer" : `Show all ${samples.length}`}</button>`
        : null
    }`;
}

/** Some of a list, evenly over it: samples are ordered by their names, and so often by their labels.
 * @template T @param {T[]} list @param {number} most @returns {T[]} */
function spread(list, most) {
  if (list.length <= most) return list;
  return Array.from({ length: most }, (_, place) => list[Math.floor((place * list.length) / most)]);
}

/** @param {{sample: {name: string, label: string}, pressed: boolean}} props */
function Sample({ sample: { name, label }, pressed }) {
  const [content, setContent] = useState(/** @type {Blob | null} */ (null));
  const url = useObjectUrl(content);
  // An <img> would not send the token.
  useEffect(() => {
    const aborter = new AbortController();
    const { signal } = aborter;
    queue = queue
      .then(() => (signal.aborted ? null : blob(`v1/samples/${segment(name)}`, { signal })))
      .then(setContent, () => {});
    return () => aborter.abort();
  }, [name]);
  return html`
    <button type="button" aria-pressed=${pressed} title=${name} onClick=${() => set({ sample: name }, { replace: false })}>
      <span class="pg-thumb">${url ? html`<img src=${url} alt="" />` : null}</span>
      <span><span class="unseen">Sample ${name}, label </span><bdi>${label || "no label"}</bdi></span>
    </button>`;
}
