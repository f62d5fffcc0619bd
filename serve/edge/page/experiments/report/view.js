// The report of an experiment: what is decided, whether it can be trusted, and then every figure behind it.

import { ApiError, segment, useResource } from "../../lib/api.js";
import { duration, time } from "../../lib/format.js";
import { href, set } from "../../lib/route.js";
import { useSession } from "../../lib/session.js";
import { Loading, Notice, Page, Problem, Tabs } from "../../lib/ui.js";
import { html, useCallback, useEffect, useRef, useState } from "../../vendor/vendor.js";
import { Acts } from "../acts.js";
import { Classes } from "./classes.js";
import { Disagreements } from "./disagreements.js";
import { Guardrails } from "./guardrails.js";
import { HealthChecks } from "./health.js";
import { History } from "./history.js";
import { Latency } from "./latency.js";
import { Lift } from "./lift.js";
import { Metrics } from "./metrics.js";
import { Pairs } from "./pairs.js";
import { Downloads, list, startOf } from "./parts.js";
import { Reading } from "./reading.js";
import { Verdict } from "./top.js";
import { MODES, STATES, word } from "./words.js";

/** @typedef {import("./figures.js").Json} Json */
/**
 * @typedef {{report: Json, name: string, query: URLSearchParams, labels: string[], onLabelled: () => void}} TabProps
 */

const EVERY_S = 10;
/** After a label the report waits for more of them, in milliseconds. */
const SETTLE_MS = 1500;
const LIVE = ["running", "paused"];
const TABS = [
  { id: "overview", title: "Overview" },
  { id: "latency", title: "Latency" },
  { id: "pairs", title: "Pairs" },
  { id: "classes", title: "Classes" },
  { id: "disagreements", title: "Disagreements" },
  { id: "guardrails", title: "Guardrails" },
  { id: "history", title: "History" },
  { id: "reading", title: "How to read this" },
];

/** What these show means nothing while the comparison is broken. */
const COMPARING = ["overview", "latency", "pairs", "classes"];

/** @type {Record<string, (props: TabProps) => unknown>} */
const PANELS = {
  overview: ({ report, query }) => html`
    <${Lift} report=${report} query=${query} /><${Metrics} report=${report} query=${query} />`,
  latency: ({ report, query }) => html`<${Latency} report=${report} query=${query} />`,
  pairs: ({ report, name }) => html`<${Pairs} report=${report} name=${name} />`,
  classes: ({ report, query }) => html`<${Classes} report=${report} query=${query} />`,
  disagreements: (props) => html`<${Disagreements} ...${props} />`,
  guardrails: ({ report }) => html`<${Guardrails} report=${report} />`,
  history: ({ report }) => html`<${History} report=${report} />`,
  reading: ({ report }) => html`<${Reading} report=${report} />`,
};

/** @param {{name: string, query: URLSearchParams}} props */
export default function Report({ name, query }) {
  const path = `v1/experiments/${segment(name)}`;
  const [every, setEvery] = useState(EVERY_S);
  const found = useResource(`${path}/report`, { every });
  const experiment = useResource(path);
  const { value: report, error } = found;
  const reloadBoth = useCallback(() => {
    found.reload();
    experiment.reload();
  }, [found.reload, experiment.reload]);

  const over = report ? !LIVE.includes(report.state) : error instanceof ApiError && error.status === 404;
  useEffect(() => setEvery(over ? 0 : EVERY_S), [over]);
  // Somebody else may have changed it: acts need its newest version.
  const stale = report && experiment.value && report.version > experiment.value.version;
  useEffect(() => {
    if (stale) experiment.reload();
  }, [stale, experiment.reload]);

  const chosen = word(PANELS, query.get("tab"), null) ? String(query.get("tab")) : TABS[0].id;
  const known = experiment.value && { ...experiment.value, verdict: report?.verdict };
  const distrusted = report?.verdict === "broken" && COMPARING.includes(chosen);
  const props = { report, name, query, labels: experiment.value?.labels ?? [], onLabelled: useLater(found.reload) };
  return html`
    <${Page} title=${name} lead=${report?.description ? html`<bdi>${report.description}</bdi>` : null}
      actions=${known ? html`<${Acts} experiment=${known} onDone=${reloadBoth} />` : null}>
      <div class="report">
      <div class="actions ways">
        <a href=${href(["experiments"])}>All experiments</a>
        ${report ? html`<${Files} name=${name} />` : null}
      </div>
      ${error ? html`<${Problem} error=${error} retry=${reloadBoth} />` : null}
      ${report === null && error === null ? html`<${Loading} what="the report" />` : null}
      ${
        report
          ? html`
        <${About} report=${report} />
        <${Verdict} report=${report} />
        <${HealthChecks} report=${report} />
        <${Tabs} label="Parts of the report" tabs=${TABS} chosen=${chosen}
          choose=${(/** @type {string} */ tab) => set({ tab: tab === TABS[0].id ? null : tab })}>
          ${distrusted ? html`<${Broken} />` : null}
          <div class=${distrusted ? "distrusted" : ""}>
            ${PANELS[chosen](props)}
          </div>
        <//>`
          : null
      }
      </div>
    <//>`;
}

function Broken() {
  return html`<${Notice} tone="warn"><p><span class="sign" aria-hidden="true">!</span> The comparison is broken: no
    difference below means anything until the cause is found. See the checks above.</p><//>`;
}

/** The report without this page. @param {{name: string}} props */
function Files({ name }) {
  const { me } = useSession();
  const path = `v1/experiments/${segment(name)}/report`;
  const page = { path: `${path}?format=html`, name: `${name}-report.html`, title: "Save as a page" };
  const link = html`<a href=${page.path} target="_blank" rel="noreferrer">Static report</a>`;
  return html`
    ${me.access === "token" ? null : link /* which could not carry the token */}
    <${Downloads} files=${[page, { path, name: `${name}-report.json`, title: "Save as JSON" }]} />`;
}

/** What is compared, where it stands, and how new this is. @param {{report: Json}} props */
function About({ report }) {
  const started = startOf(report);
  return html`
    <ul class="meta">
      ${list(report, "arms").map(
        (arm, place) => html`
        <li key=${arm.name}>${place ? "Arm" : "Control"} <b><bdi>${arm.name}</bdi></b>${" "}
          (<bdi>${arm.model}</bdi>, version <bdi>${arm.version}</bdi>)</li>`,
      )}
      <li>State <b>${word(STATES, report.state, report.state)}</b>${
        started === null ? "" : html`, started ${time(started)}`
      }</li>
      <li>Mode <b>${report.mode}</b>: ${word(MODES, report.mode, "")}</li>
      <li>Data up to <b>${time(report.at)}</b></li>
      <li><${Updated} of=${report} /></li>
    </ul>`;
}

/** How long ago these figures came. @param {{of: Json}} props */
function Updated({ of }) {
  const came = useRef({ of, at: Date.now() });
  if (came.current.of !== of) came.current = { of, at: Date.now() };
  const [, setNow] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return html`Updated ${duration(Math.max(1, Math.round((Date.now() - came.current.at) / 1000)))} ago`;
}

/** The same, but a while after the last call of several. @param {() => void} act */
function useLater(act) {
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  return useCallback(() => {
    clearTimeout(timer.current);
    timer.current = window.setTimeout(act, SETTLE_MS);
  }, [act]);
}
