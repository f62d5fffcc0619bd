// The figures over time.

import { LineChart } from "../lib/chart.js";
import { ms, number, rate } from "../lib/format.js";
import { Section } from "../lib/ui.js";
import { html, useMemo } from "../vendor/vendor.js";
import { armsOf, busiest, total } from "./history.js";
import { nameOf, UNKNOWN } from "./tables.js";

/** @typedef {import("./history.js").Point} Point */
/** @typedef {{x: number[], points: (Point | null)[]}} Shown */
/** @typedef {import("../lib/chart.js").Series} Series */

const MOST_LINES = 6;
const HEIGHT = 220;
const ROUND = [1, 1.5, 2, 3, 4, 5, 6, 8];

/** What is said of each percentile. */
export const QUANTILES = /** @type {const} */ ({
  p50: "half of the requests were faster",
  p95: "95 % of the requests were faster",
  p99: "99 % of the requests were faster",
});

/** @typedef {keyof typeof QUANTILES} Quantile */

/**
 * What is chosen: "" for all models; `arms` is the experiment whose arms are compared, or "".
 *
 * @typedef {{model: string, arms: string, quantile: Quantile, minutes: number}} Chosen
 */

/** @param {{shown: Shown, models: string[], chosen: Chosen}} props */
export function Charts({ shown, models, chosen }) {
  const { model } = chosen;
  const known = models.filter((name) => name !== UNKNOWN);
  const lines = model ? [model] : busiest(known, shown.points, MOST_LINES);
  const few = lines.length < known.length && !model ? `The ${MOST_LINES} busiest of ${known.length} models.` : "";
  const by = useByModel(shown, lines);
  return html`
    <div class="live-charts">
      <${Section} title="Requests and images a second" note=${model ? nameOf(model) : "All models together."}>
        <${Throughput} shown=${shown} model=${model} />
      <//>
      <${Latency} shown=${shown} lines=${lines} few=${few} chosen=${chosen} />
      <${Section} title="Batch size" note=${`Mean of the last ten seconds. ${few}`}>
        <${Line} title="Images in a batch by model" yLabel="images" x=${shown.x} series=${by.batches} yFormat=${fine} />
      <//>
      <${Section} title="Queue" note=${`Images that wait in the gateway. ${few}`}>
        <${Line} title="Images waiting by model" yLabel="images" x=${shown.x} series=${by.queue} yFormat=${fine} />
      <//>
    </div>`;
}

/** @param {number} value */
const fine = (value) => number(value, 2);

/** @param {Pick<import("../lib/chart.js").ChartProps, "title" | "yLabel" | "x" | "series" | "yFormat">} props */
function Line(props) {
  const range = [0, ceiling(props.series)];
  return html`<${LineChart} ...${props} xLabel="time" xTime yRange=${range} height=${HEIGHT} />`;
}

/** A round figure above all values, so that the axis holds still while they move. @param {Series[]} series */
function ceiling(series) {
  const most = Math.max(0, ...series.flatMap(({ values }) => values.map((value) => value ?? 0)));
  if (most === 0) return 1;
  const scale = 10 ** Math.floor(Math.log10(most));
  return scale * (ROUND.find((one) => one * scale >= most) ?? 10);
}

/** @param {{shown: Shown, model: string}} props */
function Throughput({ shown, model }) {
  const series = useMemo(() => {
    const of = (/** @type {Parameters<typeof total>[2]} */ key) =>
      shown.points.map((point) => total(point, model, key));
    return [
      { name: "requests", values: of("requests_s") },
      { name: "images", values: of("images_s") },
      { name: "errors", values: of("errors_s"), dashed: true, tone: 5 },
    ];
  }, [shown, model]);
  const title = `Requests, images and errors a second, ${model ? nameOf(model) : "all models"}`;
  return html`<${Line} title=${title} yLabel="a second" x=${shown.x} series=${series} yFormat=${rate} />`;
}

/** @param {{shown: Shown, lines: string[], few: string, chosen: Chosen}} props */
function Latency({ shown, lines, few, chosen: { model, arms, quantile } }) {
  const named = lines.join("\n");
  const series = useMemo(() => {
    if (arms) return armSeries(shown.points, arms, quantile);
    return model ? quantileSeries(shown.points, model) : latencySeries(shown.points, lines, quantile);
  }, [shown, named, model, arms, quantile]);
  const one = model && !arms;
  const what = arms ? `the arms of ${arms}` : model ? nameOf(model) : "each model";
  const note = one ? `Percentiles of ${what}.` : `${quantile} of ${what}: ${QUANTILES[quantile]}. ${arms ? "" : few}`;
  return html`
    <${Section} title="Latency" note=${note}>
      <${Line} title=${`Latency over time, ${note}`} yLabel="milliseconds" x=${shown.x} series=${series} yFormat=${ms} />
    <//>`;
}

/** @param {Shown["points"]} points @param {string} experiment @param {Quantile} quantile @returns {Series[]} */
function armSeries(points, experiment, quantile) {
  return armsOf(points, experiment).map((arm) => ({
    name: arm,
    values: points.map((point) => point?.arms[experiment]?.[arm]?.[`${quantile}_ms`] ?? null),
  }));
}

/** @param {Shown["points"]} points @param {string} model @returns {Series[]} */
function quantileSeries(points, model) {
  return /** @type {Quantile[]} */ (Object.keys(QUANTILES)).map((quantile) => ({
    name: quantile,
    values: points.map((point) => point?.models[model]?.[`${quantile}_ms`] ?? null),
  }));
}

/** @param {Shown["points"]} points @param {string[]} models @param {Quantile} quantile @returns {Series[]} */
function latencySeries(points, models, quantile) {
  return models.map((model) => ({
    name: model,
    values: points.map((point) => point?.models[model]?.[`${quantile}_ms`] ?? null),
  }));
}

/** @param {Shown} shown @param {string[]} models */
function useByModel(shown, models) {
  const named = models.join("\n");
  return useMemo(() => {
    const of = (/** @type {"batch_images" | "queue_images"} */ key) =>
      models.map((model) => ({
        name: nameOf(model),
        values: shown.points.map((point) => point?.models[model]?.[key] ?? null),
      }));
    return { batches: of("batch_images"), queue: of("queue_images") };
  }, [shown, named]);
}
