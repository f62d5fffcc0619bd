// An image that the gateway kept: fetched with the token, and shown only if its first bytes are an image's.

import { blob } from "../../lib/api.js";
import { html, useEffect, useRef, useState } from "../../vendor/vendor.js";

/** What files of the formats that are shown begin with, and where; one character a byte. */
const FORMATS = [
  { magic: "\xff\xd8\xff", at: 0, type: "image/jpeg" },
  { magic: "\x89PNG\r\n\x1a\n", at: 0, type: "image/png" },
  { magic: "WEBP", at: 8, type: "image/webp" },
  { magic: "GIF87a", at: 0, type: "image/gif" },
  { magic: "GIF89a", at: 0, type: "image/gif" },
  { magic: "BM", at: 0, type: "image/bmp" },
];

/** The type that a file's first bytes tell; "" where it is no image that is shown. @param {Blob} file */
export async function imageType(file) {
  const first = String.fromCharCode(...new Uint8Array(await file.slice(0, 16).arrayBuffer()));
  return FORMATS.find(({ magic, at }) => first.startsWith(magic, at))?.type ?? "";
}

/**
 * Fetched once it comes near the screen, or at once where it is `wanted`; what the browser holds of it is given back
 * with it.
 *
 * @param {{path: string, name: string, wanted?: boolean}} props `name` says which image it is
 */
export function Picture({ path, name, wanted = false }) {
  const frame = useRef(/** @type {HTMLElement | null} */ (null));
  const [near, setNear] = useState(wanted);
  const [shown, setShown] = useState({ path: "", url: "", problem: "" });

  useEffect(() => {
    if (!frame.current) return undefined;
    const watcher = new IntersectionObserver(
      (seen) => setNear((was) => was || seen.some((one) => one.isIntersecting)),
      {
        rootMargin: "200px",
      },
    );
    watcher.observe(frame.current);
    return () => watcher.disconnect();
  }, []);

  useEffect(() => {
    if (!near) return undefined;
    const aborter = new AbortController();
    let url = "";
    const fetched = async () => {
      const file = await blob(path, { signal: aborter.signal });
      const type = await imageType(file);
      if (aborter.signal.aborted) return;
      if (type) url = URL.createObjectURL(new Blob([file], { type }));
      setShown({ path, url, problem: type ? "" : "This file is no JPEG, PNG, WebP, BMP or GIF; it is not shown." });
    };
    fetched().catch((error) => {
      if (!aborter.signal.aborted) setShown({ path, url: "", problem: error.message });
    });
    return () => {
      aborter.abort();
      if (url) URL.revokeObjectURL(url);
    };
  }, [path, near]);

  const mine = shown.path === path;
  const broken = () => setShown({ path, url: "", problem: "The browser cannot read this image." });
  return html`
    <span class="picture" ref=${frame} aria-busy=${near && !mine ? "true" : undefined}>
      ${mine && shown.url ? html`<img src=${shown.url} alt=${name} onError=${broken} />` : null}
      ${mine ? html`<span class="note">${shown.problem}</span>` : html`<span class="note">Loading…</span>`}
    </span>`;
}
