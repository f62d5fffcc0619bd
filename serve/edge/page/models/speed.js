// How long a request takes, and in which stages, as this gateway has measured it since its start.

import { ms, number, time } from "../lib/format.js";
import { useSession } from "../lib/session.js";
import { html } from "../vendor/vendor.js";

/** @typedef {import("./facts.js").Usage} Usage */

const [WIDTH, HEIGHT] = [200, 8];

/** @param {{usage: Usage}} props */
export function Speed({ usage }) {
  const { processes } = useSession().me;
  const whose = processes > 1 ? `, by one of this gateway’s ${processes} processes` : "";
  if (!usage.requests) {
    return html`
      <div class="measured">
        <p>Speed: not asked yet</p>
        <p class="note">since ${time(usage.since)}${whose}</p>
      </div>`;
  }
  const stages = stagesOf(usage);
  const failed = usage.failed ? `, ${number(usage.failed, 0)} failed` : "";
  return html`
    <div class="measured">
      <p><b class="value">${ms(usage.mean_ms)}</b> mean request</p>
      <${Bar} stages=${stages} />
      <ul class="stages">
        ${stages.map(({ id, title, value }) => html`<li key=${id}><span class=${`key stage-${id}`} aria-hidden="true" /> ${title} ${brief(value)}</li>`)}
      </ul>
      <p class="note">${number(usage.requests, 0)} answered${failed} since ${time(usage.since)}${whose}</p>
    </div>`;
}

/** @typedef {{id: string, title: string, value: number}} Stage in milliseconds */

/** @param {Usage} usage @returns {Stage[]} */
function stagesOf({ mean_ms, queue_ms, decode_ms, infer_ms }) {
  const known = [
    { id: "queue", title: "queue", value: queue_ms },
    { id: "decode", title: "decoding", value: decode_ms },
    { id: "net", title: "net", value: infer_ms },
  ].flatMap(({ value, ...stage }) => (value == null ? [] : [{ ...stage, value }]));
  const rest = Math.max(0, (mean_ms ?? 0) - known.reduce((sum, { value }) => sum + value, 0));
  return [...known, { id: "rest", title: "transport and the rest", value: rest }];
}

/** @param {{stages: Stage[]}} props */
function Bar({ stages }) {
  const all = stages.reduce((sum, { value }) => sum + value, 0) || 1;
  let done = 0;
  const parts = stages.map(({ id, value }) => {
    const part = { id, x: (WIDTH * done) / all, width: (WIDTH * value) / all };
    done += value;
    return part;
  });
  return html`
    <svg class="bar" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true" focusable="false">
      ${parts.map(({ id, x, width }) => html`<rect key=${id} class=${`stage-${id}`} x=${x} y="0" width=${width} height=${HEIGHT} />`)}
    </svg>`;
}

/** @param {number} value milliseconds @returns {string} */
function brief(value) {
  return value < 0.01 ? "under 0.01 ms" : value < 1 ? `${number(value, 2)} ms` : ms(value);
}
