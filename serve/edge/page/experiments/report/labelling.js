// Telling what an image shows, one after the other: with a click, with keys, or by name.

import { Field } from "../../lib/dialog.js";
import { share, time } from "../../lib/format.js";
import { html, useId, useRef, useState } from "../../vendor/vendor.js";
import { Picture } from "./picture.js";

/** @typedef {import("./figures.js").Json} Json */

/** The answers to an image, each once, with who gave it. @param {Json} row @returns {{label: string, by: string}[]} */
export function answersOf(row) {
  /** @type {Map<string, string[]>} */
  const found = new Map();
  for (const [arm, said] of Object.entries(row.answers)) {
    if (!said.label) continue;
    found.set(said.label, [...(found.get(said.label) ?? []), `${arm} ${share(said.confidence)}`]);
  }
  return [...found].map(([label, by]) => ({ label, by: by.join(", ") }));
}

/**
 * @param {{row: Json, image: string, labels: string[], busy: boolean, onLabel: (label: string) => void,
 *   onSkip: () => void}} props `image` is the path of its bytes, "" where these are not kept; `labels` are all classes
 *   of the control, none where they are not known
 */
export function Workbench({ row, image, labels, busy, onLabel, onSkip }) {
  const answers = answersOf(row);
  const bench = useRef(/** @type {HTMLElement | null} */ (null));
  const hint = useId();
  const done = (/** @type {() => void} */ act) => {
    bench.current?.focus();
    if (!busy) act();
  };
  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target instanceof HTMLInputElement) return;
    if (event.repeat) return; // a key that is held down must not answer for the images that follow
    const answer = answers[Number(event.key) - 1];
    if (event.key === "s") done(onSkip);
    else if (answer) done(() => onLabel(answer.label));
    else return;
    event.preventDefault();
  };
  return html`
    <div class="workbench" role="group" tabindex="0" ref=${bench} aria-label="What does this image show?"
      aria-describedby=${hint} onKeyDown=${pressed}>
      ${
        image
          ? html`<${Picture} wanted path=${image} name="The image that the arms answered differently" />`
          : html`<p class="note picture">The image was not kept.</p>`
      }
      <div>
        <p class="note">${time(row.at)}</p>
        <div class="answers">
          ${answers.map(
            ({ label, by }, place) => html`
            <button type="button" key=${label} onClick=${() => done(() => onLabel(label))}>
              ${place < 9 ? html`<kbd>${place + 1}</kbd>` : null} <b><bdi>${label}</bdi></b>${" "}
              <span class="quiet"><bdi>${by}</bdi></span></button>`,
          )}
          <button type="button" onClick=${() => done(onSkip)}><kbd>s</kbd> Skip</button>
        </div>
        <${Other} key=${`${row.prediction}/${row.item}`} labels=${labels}
          onLabel=${(/** @type {string} */ label) => done(() => onLabel(label))} />
        <p class="note" id=${hint}>Keys, while the focus is in this box: ${
          answers.length > 1 ? `1 to ${Math.min(9, answers.length)} choose` : "1 chooses"
        } an arm's answer, s skips the image.</p>
      </div>
    </div>`;
}

/** A class that no arm answered. @param {{labels: string[], onLabel: (label: string) => void}} props */
function Other({ labels, onLabel }) {
  const [typed, setTyped] = useState("");
  const [error, setError] = useState("");
  const options = useId();
  /** @param {Event} event */
  const submitted = (event) => {
    event.preventDefault();
    if (labels.length && !labels.includes(typed)) {
      setError(`“${typed}” is none of the ${labels.length} classes of the control; choose one of the list.`);
      return;
    }
    onLabel(typed);
  };
  return html`
    <form class="other" onSubmit=${submitted}>
      <${Field} label="Something else" error=${error}>${(/** @type {Record<string, unknown>} */ attributes) => html`
        <input ...${attributes} required list=${options} value=${typed} autocomplete="off"
          onInput=${(/** @type {any} */ event) => setTyped(event.target.value)} />`}<//>
      <datalist id=${options}>${labels.map((label) => html`<option key=${label} value=${label}></option>`)}</datalist>
      <button>Label it so</button>
    </form>`;
}
