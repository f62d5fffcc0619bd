// What happens now: how much, how fast, and how the engines stand.

import { ms, number, rate, time } from "../lib/format.js";
import { set } from "../lib/route.js";
import { useSession } from "../lib/session.js";
import { Loading, Notice, Page, Problem, Section, Tile } from "../lib/ui.js";
import { html, useId, useMemo } from "../vendor/vendor.js";
import { Charts, QUANTILES } from "./charts.js";
import { isFinal, useFeed } from "./feed.js";
import { experimentsOf, modelsOf, slowest, total, windowed } from "./history.js";
import { ArmTable, EngineTable, ModelTable, nameOf } from "./tables.js";

/** @typedef {import("./history.js").Answer} Answer */
/** @typedef {import("./charts.js").Chosen} Chosen */

const WINDOWS = [5, 15, 30];
const POINTS_A_MINUTE = 30;
const MOST_POINTS = 900;
const AGAIN = " The page asks again every two seconds, and goes on by itself.";

/** @param {{query: URLSearchParams}} props */
export default function View({ query }) {
  const chosen = chosenIn(query);
  const paused = query.get("paused") === "1";
  // One more: the window may begin a moment before its first point.
  const feed = useFeed({ limit: Math.min(MOST_POINTS, chosen.minutes * POINTS_A_MINUTE + 1), paused });
  const pause = () => set({ paused: paused ? null : 1 });
  const actions = html`
    <${Grafana} />
    <button type="button" onClick=${pause}>${paused ? "Go on" : "Pause"}</button>`;
  return html`
    <${Page} title="Live" lead="What this gateway does now, measured by itself." actions=${actions}>
      <${State} feed=${feed} paused=${paused} />
      ${
        feed.answer?.points.length
          ? html`<${Figures} answer=${feed.answer} chosen=${chosen} />`
          : feed.error
            ? null
            : html`<${Loading} what="the figures of the last minutes" />`
      }
    <//>`;
}

/** @param {URLSearchParams} query @returns {Chosen} */
function chosenIn(query) {
  const quantile = query.get("q") ?? "";
  return {
    model: query.get("model") ?? "",
    arms: query.get("arms") ?? "",
    quantile: Object.hasOwn(QUANTILES, quantile) ? /** @type {Chosen["quantile"]} */ (quantile) : "p99",
    minutes: WINDOWS.find((one) => String(one) === query.get("window")) ?? WINDOWS[0],
  };
}

/**
 * Whether figures come; only a change of that is read out.
 *
 * @param {{feed: import("./feed.js").Feed, paused: boolean}} props
 */
function State({ feed: { answer, error }, paused }) {
  const newest = answer?.points.at(-1);
  const words = paused ? "Paused." : answer && !error ? "New figures every two seconds." : "";
  const dot = html`<span class=${`live-dot ${paused ? "open" : "good"}`} aria-hidden="true"></span>`;
  return html`
    <p class="live-state" role="status">${words ? html`${dot}${words}` : null}</p>
    ${error && !paused ? html`<${Problem} error=${`${error.message}${isFinal(error) ? "" : AGAIN}`} />` : null}
    ${newest && (paused || error) ? html`<p class="note">What you see is of ${time(newest.at)}.</p>` : null}
    ${
      answer && answer.process.of > 1
        ? html`<${Notice}>Process ${answer.process.index} of ${answer.process.of} answers this page, and shows what
          it does itself. Prometheus has the sum of all.<//>`
        : null
    }`;
}

/** A link to the dashboards, where the gateway has been told of any. */
function Grafana() {
  const { grafana_url: address } = useSession().me;
  if (!/^https?:\/\//.test(address)) return null;
  return html`<a href=${address} target="_blank" rel="noopener noreferrer">Dashboards in Grafana (new tab)</a>`;
}

/** @param {{answer: Answer, chosen: Chosen}} props */
function Figures({ answer, chosen }) {
  const shown = useMemo(() => windowed(answer, 60 * chosen.minutes), [answer, chosen.minutes]);
  const models = modelsOf(shown.points);
  const newest = answer.points.at(-1);
  return html`
    <${Choices} models=${models} experiments=${experimentsOf(shown.points)} chosen=${chosen} />
    <${Tiles} point=${newest} model=${chosen.model} />
    <${Charts} shown=${shown} models=${models} chosen=${chosen} />
    <${Section} title="Models" note="Rates of the last two seconds; percentiles and batches of the last ten.">
      <${ModelTable} point=${newest} chosen=${chosen.model} />
    <//>
    <${Section} title="Arms of experiments" note="Those of running experiments, mirrored calls included.">
      <${ArmTable} point=${newest} />
    <//>
    <${Section} title="Engines" note="They run the batches.">
      <${EngineTable} engines=${answer.engines} />
    <//>`;
}

/** @param {{models: string[], experiments: string[], chosen: Chosen}} props */
function Choices({ models, experiments, chosen: { model, arms, quantile, minutes } }) {
  const named = (/** @type {string[]} */ names, /** @type {string} */ chosen) =>
    chosen && !names.includes(chosen) ? [chosen, ...names] : names;
  const windows = WINDOWS.map((one) => /** @type {[string, string]} */ ([String(one), `${one} minutes`]));
  const quantiles = Object.keys(QUANTILES).map((one) => /** @type {[string, string]} */ ([one, one]));
  return html`
    <div class="live-choices">
      <${Choice} label="Window" name="window" value=${String(minutes)} options=${windows} />
      <${Choice} label="Model" name="model" value=${model}
        options=${[["", "all"], ...named(models, model).map((name) => [name, nameOf(name)])]} />
      <${Choice} label="Latency of" name="arms" value=${arms}
        options=${[["", "models"], ...named(experiments, arms).map((name) => [name, `arms of ${name}`])]} />
      ${model && !arms ? null : html`<${Choice} label="Percentile" name="q" value=${quantile} options=${quantiles} />`}
    </div>`;
}

/** @param {{label: string, name: string, value: string, options: [string, string][]}} props */
function Choice({ label, name, value, options }) {
  const id = useId();
  return html`
    <div class="live-choice">
      <label for=${id}>${label}</label>
      <select id=${id} value=${value} onChange=${(/** @type {any} */ event) => set({ [name]: event.target.value })}>
        ${options.map(
          ([one, text]) => html`<option key=${one} value=${one} selected=${one === value}>${text}</option>`,
        )}
      </select>
    </div>`;
}

/** @param {{point: import("./history.js").Point | undefined, model: string}} props */
function Tiles({ point, model }) {
  const of = (/** @type {Parameters<typeof total>[2]} */ key) => total(point, model, key);
  const worst = slowest(point, model);
  const whose = worst ? html`of <bdi>${nameOf(worst.name)}</bdi>${model ? "" : ", the slowest"}` : "nothing answered";
  return html`
    <div class="tiles" aria-live="off">
      <${Tile} name="Requests" value=${rate(of("requests_s"))} note="however they ended" />
      <${Tile} name="Images" value=${rate(of("images_s"))} note="answered" />
      <${Tile} name="Errors" value=${rate(of("errors_s"))} note="not the callers’ own" />
      <${Tile} name="In flight" value=${number(of("inflight"), 0)} note="requests" />
      <${Tile} name="p99" value=${ms(worst?.p99)} note=${whose} />
    </div>`;
}
