// Where an image comes in, and what it looks like.

import { useResource } from "../lib/api.js";
import { bytes, count } from "../lib/format.js";
import { Facts, Loading, Problem, Section } from "../lib/ui.js";
import { html, useRef, useState } from "../vendor/vendor.js";
import { useDropAndPaste, useObjectUrl } from "./picture.js";
import { Samples } from "./samples.js";

/** Up to so many pixels a side, each is drawn as a square. */
const SMALL = 128;

/**
 * @param {{intake: ReturnType<typeof import("./picture.js").usePicture>, sample: string, samples: any[] | null}} props
 *   `samples` null where the gateway offers none
 */
export function Intake({ intake: { picture, problem, loading, take, again }, sample, samples }) {
  const over = useDropAndPaste(take);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  /** @param {any} event */
  const picked = (event) => {
    if (event.target.files.length) take([...event.target.files]);
    event.target.value = ""; // the same file may be chosen again, changed
  };
  return html`
    <${Section} title="Image" class="pg-intake">
      <div class=${`pg-drop${over ? " over" : ""}`}>
        ${
          picture
            ? html`<${Preview} key=${picture.blob} picture=${picture} />`
            : loading
              ? html`<${Loading} what="the sample" />`
              : html`<p><b>Drop an image here</b>, or paste one.</p>`
        }
        <button type="button" class=${picture ? "" : "main"} onClick=${() => input.current?.click()}>
          ${picture ? "Choose another…" : "Choose a file…"}</button>
        <input ref=${input} class="unseen" type="file" accept="image/*" aria-label="Image file" tabindex="-1"
          onChange=${picked} />
      </div>
      ${problem ? html`<${Problem} error=${problem} retry=${again} />` : null}
      ${samples ? html`<${Samples} samples=${samples} chosen=${sample} />` : null}
    <//>`;
}

/** The samples of the gateway, or null. @param {boolean} offered */
export function useSamples(offered) {
  const { value } = useResource(offered ? "v1/samples" : null);
  return /** @type {{name: string, label: string, bytes: number}[] | null} */ (value?.samples ?? null);
}

/** @param {{picture: import("./picture.js").Picture}} props */
function Preview({ picture }) {
  const url = useObjectUrl(picture.blob);
  const [size, setSize] = useState(/** @type {[number, number] | null} */ (null));
  const [unknown, setUnknown] = useState(false);
  const seen = (/** @type {any} */ event) => setSize([event.target.naturalWidth, event.target.naturalHeight]);
  const small = size !== null && Math.max(...size) <= SMALL;
  return html`
    ${
      url && !unknown
        ? html`<img class=${`pg-preview${small ? " small" : ""}`} src=${url} alt="The image that is asked about"
            onLoad=${seen} onError=${() => setUnknown(true)} />`
        : null
    }
    ${unknown ? html`<p class="note">This browser cannot show it. The models may read it all the same.</p>` : null}
    <${Facts} items=${[
      ["File", html`<bdi>${picture.name}</bdi>`],
      ["Size", `${size ? `${count(size[0])} × ${count(size[1])} pixels, ` : ""}${bytes(picture.blob.size)}`],
    ]} />`;
}
