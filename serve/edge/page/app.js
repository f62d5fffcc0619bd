// The page: who is there, which view is shown. Views are fetched when they are first opened.

import { ApiError, get, keepToken, token, unauthorized } from "./lib/api.js";
import { href, useRoute } from "./lib/route.js";
import { SessionContext } from "./lib/session.js";
import { Dialog, Field, Loading, Page, Problem } from "./lib/ui.js";
import { html, render, useCallback, useEffect, useRef, useState } from "./vendor/vendor.js";

/** @typedef {import("./lib/session.js").Me} Me */

/** @type {{id: string, title: string, load: () => Promise<{default: any}>}[]} */
const VIEWS = [
  { id: "playground", title: "Playground", load: () => import("./playground/view.js") },
  { id: "models", title: "Models", load: () => import("./models/view.js") },
  { id: "experiments", title: "Experiments", load: () => import("./experiments/view.js") },
  { id: "live", title: "Live", load: () => import("./live/view.js") },
];

function App() {
  const { parts, query } = useRoute();
  const session = useMe();
  const view = VIEWS.find(({ id }) => id === (parts[0] ?? VIEWS[0].id));
  const main = useRef(/** @type {HTMLElement | null} */ (null));
  /** @param {Event} event */
  const skip = (event) => {
    event.preventDefault(); // the fragment is the route
    main.current?.focus();
  };
  return html`
    <${SessionContext.Provider} value=${session.me}>
      <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
      <${Header} chosen=${view?.id} session=${session} />
      <main id="main" tabindex="-1" ref=${main}>
        ${session.error && !session.me ? html`<${Problem} error=${session.error} retry=${session.reload} />` : null}
        ${
          view && session.me
            ? html`<${View} key=${view.id} view=${view} parts=${parts.slice(1)} query=${query} />`
            : view
              ? null
              : html`<${Page} title="No such view"><${Problem} error="There is no such view. Choose one above." /><//>`
        }
      </main>
      <footer>
        <a href="docs">REST API</a>
        <a href="openapi.json">openapi.json</a>
        <a href="v2/health/ready">Readiness</a>
        <span>attnserve ${session.me?.version}</span>
      </footer>
      ${session.asked === null ? null : html`<${TokenDialog} said=${session.asked} session=${session} />`}
    <//>`;
}

/** Who the gateway says that we are; asked again with every new token. */
function useMe() {
  const [me, setMe] = useState(/** @type {Me | null} */ (null));
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  const [asked, setAsked] = useState(/** @type {string | null} */ (null));
  const reload = useCallback(async () => {
    try {
      setMe(await get("v1/me"));
      setError(null);
      setAsked(null);
    } catch (refused) {
      setError(/** @type {Error} */ (refused));
      if (!(refused instanceof ApiError && refused.status === 401)) return;
      setMe(null);
    }
  }, []);
  useEffect(() => {
    const want = (/** @type {Event} */ event) => setAsked(/** @type {CustomEvent<string>} */ (event).detail);
    unauthorized.addEventListener("asked", want);
    reload();
    return () => unauthorized.removeEventListener("asked", want);
  }, [reload]);
  const use = (/** @type {string} */ secret) => {
    keepToken(secret);
    setMe(null);
    return reload();
  };
  return { me, error, asked, reload, use, close: () => setAsked(null) };
}

/** @param {{chosen: string | undefined, session: ReturnType<typeof useMe>}} props */
function Header({ chosen, session: { me, use } }) {
  return html`
    <header class="top">
      <a class="brand" href=${href([])}><img src="page/icon.svg" alt="" width="24" height="24" />attnserve</a>
      <nav aria-label="Views">
        ${VIEWS.map(
          ({ id, title }) => html`
          <a key=${id} href=${href([id])} aria-current=${id === chosen ? "page" : undefined}>${title}</a>`,
        )}
      </nav>
      ${
        me
          ? html`
        <p class="who">
          <span>${me.access === "open" ? "open access" : html`<bdi>${me.name}</bdi>, ${me.role}`}</span>
          ${token() ? html`<button type="button" onClick=${() => use("")}>Forget token</button>` : null}
        </p>`
          : null
      }
    </header>`;
}

/** @param {{view: typeof VIEWS[number], parts: string[], query: URLSearchParams}} props */
function View({ view, parts, query }) {
  const [loaded, setLoaded] = useState(/** @type {any} */ (null));
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  useEffect(() => {
    view.load().then(
      (module) => setLoaded(() => module.default),
      () => setError(new Error("This part of the page could not be fetched. Reload the page.")),
    );
  }, [view]);
  // A change of the view is told by the focus; not the first one, which the browser tells by the page's title.
  const opened = useRef(document.activeElement !== document.body);
  useEffect(() => {
    if (loaded && opened.current) document.getElementById("title")?.focus();
  }, [loaded]);
  if (error) return html`<${Problem} error=${error} />`;
  return loaded
    ? html`<${loaded} parts=${parts} query=${query} />`
    : html`<${Loading} what=${view.title.toLowerCase()} />`;
}

/** @param {{said: string, session: ReturnType<typeof useMe>}} props */
function TokenDialog({ said, session: { me, use, close } }) {
  const [secret, setSecret] = useState("");
  const [busy, setBusy] = useState(false);
  /** @param {Event} event */
  const submitted = async (event) => {
    event.preventDefault();
    setBusy(true);
    await use(secret.trim());
    setBusy(false);
  };
  return html`
    <${Dialog} title="This gateway asks for a token" onClose=${me ? close : () => {}}>
      <form onSubmit=${submitted}>
        <p>Kept in this tab until it is closed, and sent to this gateway only.</p>
        <${Field} label="Token" error=${token() ? said : ""}>${(
          /** @type {Record<string, unknown>} */ attributes,
        ) => html`
          <input ...${attributes} type="password" autocomplete="off" required value=${secret}
            onInput=${(/** @type {any} */ event) => setSecret(event.target.value)} />`}<//>
        <div class="actions"><button class="main" disabled=${busy}>Use it</button></div>
      </form>
    <//>`;
}

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.replaceChildren();
render(html`<${App} />`, root);
