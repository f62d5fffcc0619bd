// How the answers moved: where the arm's answers differ from the control's, by true class.

import { set } from "../../lib/route.js";
import { Section, Table } from "../../lib/ui.js";
import { html, useMemo, useState } from "../../vendor/vendor.js";
import { images } from "./figures.js";
import { Choice, list, Nothing } from "./parts.js";

/** @typedef {import("./figures.js").Json} Json */
/** @typedef {{truth: string, answer: string, change: number}} Change */

const MOST_CLASSES = 20;
const MOST_CHANGES = 12;
/** In images; a smaller change is rounded to none. */
const SMALLEST_SHOWN = 0.5;
/** Shades of each colour in the stylesheet. */
const SHADES = 5;
const NOTE =
  "Of the labelled images of each true class: how many more (+) or fewer (−) the arm gives each answer than the " +
  "control would, of as many images. On the diagonal a plus is a gain; elsewhere it is a mistake made more often.";

/** @param {{report: Json, query: URLSearchParams}} props */
export function Confusions({ report, query }) {
  const all = list(report, "confusion_changes").filter(({ change }) => change.flat().some(shows));
  const chosen = all.find(({ arm }) => arm === query.get("arm")) ?? all[0];
  return html`
    <${Section} title="How the answers moved" note=${chosen ? NOTE : undefined}>
      ${
        chosen
          ? html`
        ${
          all.length > 1
            ? html`<div class="choices"><${Choice} label="Arm" value=${chosen.arm}
            choose=${(/** @type {string} */ arm) => set({ arm })} options=${all.map(({ arm }) => [arm, arm])} /></div>`
            : null
        }
        <${One} key=${chosen.arm} found=${chosen} />`
          : html`<${Nothing}>Answers are compared by class once labels have arrived.<//>`
      }
    <//>`;
}

/** @param {unknown} change */
function shows(change) {
  return typeof change === "number" && Math.abs(change) >= SMALLEST_SHOWN;
}

/** @param {{found: Json}} props */
function One({ found }) {
  const [whole, setWhole] = useState(false);
  const { labels, arm } = found;
  const places = useMemo(() => (whole ? [...labels.keys()] : mostChanged(found)), [found, whole]);
  const columns = [
    { title: "True class", head: true, cell: (/** @type {Change} */ { truth }) => html`<bdi>${truth}</bdi>` },
    { title: "Answer", cell: (/** @type {Change} */ { answer }) => html`<bdi>${answer}</bdi>` },
    { title: "Change", number: true, cell: (/** @type {Change} */ { change }) => images(change) },
    { title: "That is", cell: gain },
  ];
  const key = (/** @type {Change} */ { truth, answer }) => `${truth}\n${answer}`;
  return html`
    <${Heat} found=${found} places=${places} />
    ${
      labels.length > MOST_CLASSES
        ? html`<div class="more"><span role="status">${places.length} of ${labels.length} classes are shown${
            whole ? "" : ", those that changed most"
          }.</span>
      <button type="button" onClick=${() => setWhole(!whole)}>${whole ? "Show fewer" : "Show all"}</button></div>`
        : null
    }
    <${Table} caption=${`Largest changes of ${arm} against the control, in images`} columns=${columns}
      rows=${largest(found)} rowKey=${key} />`;
}

/** @param {Change} change */
function gain({ truth, answer, change }) {
  const good = (truth === answer) === change > 0;
  return html`<span class=${`state ${good ? "good" : "bad"}`}>${good ? "a gain" : "a loss"}</span>`;
}

/** The classes with the largest changes in their rows and columns, in the report's order. @param {Json} found */
export function mostChanged({ labels, change }) {
  const weight = labels.map((/** @type {string} */ _, /** @type {number} */ at) =>
    labels.reduce(
      (/** @type {number} */ sum, /** @type {string} */ __, /** @type {number} */ other) =>
        sum + Math.abs(change[at]?.[other] ?? 0) + Math.abs(change[other]?.[at] ?? 0),
      0,
    ),
  );
  return [...labels.keys()]
    .sort((one, other) => weight[other] - weight[one])
    .slice(0, MOST_CLASSES)
    .sort((one, other) => one - other);
}

/** @param {Json} found @returns {Change[]} */
function largest({ labels, change }) {
  /** @type {Change[]} */
  const all = change.flatMap((/** @type {number[]} */ row, /** @type {number} */ at) =>
    row.map((value, answer) => ({ truth: labels[at], answer: labels[answer], change: value })),
  );
  return all
    .filter((one) => shows(one.change))
    .sort((one, other) => Math.abs(other.change) - Math.abs(one.change))
    .slice(0, MOST_CHANGES);
}

/** @param {{found: Json, places: number[]}} props */
function Heat({ found: { labels, change, arm }, places }) {
  const most = Math.max(...change.flat().map((/** @type {number | null} */ value) => Math.abs(value ?? 0)));
  const caption = `Change of the confusion matrix: ${arm} minus control, in images`;
  const cell = (/** @type {number} */ at, /** @type {number} */ answer) => {
    const value = change[at]?.[answer] ?? 0;
    const shade = Math.ceil((SHADES * Math.abs(value)) / most);
    const colour = shows(value) ? `${value > 0 ? "more" : "fewer"}-${shade}` : "";
    return html`<td class=${at === answer ? `${colour} same` : colour}>${shows(value) ? images(value) : ""}</td>`;
  };
  return html`
    <div class="scroll" role="region" aria-label=${caption} tabindex="0">
      <table class="heat">
        <caption>${caption}; rows are true classes, columns answers. Empty: less than half an image.</caption>
        <thead><tr><td></td>${places.map(
          (place) => html`<th scope="col" key=${place} title=${labels[place]}><bdi>${labels[place]}</bdi></th>`,
        )}</tr></thead>
        <tbody>${places.map(
          (at) =>
            html`<tr key=${at}><th scope="row" title=${labels[at]}><bdi>${labels[at]}</bdi></th>${places.map((answer) =>
              cell(at, answer),
            )}</tr>`,
        )}</tbody>
      </table>
    </div>`;
}
