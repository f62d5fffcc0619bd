// What the page uses of others' code, packed by `make page`: no bundler stands between a reader and our own
// modules, and the browser asks for one file where the packages have dozens.
import { h } from "preact";
import htm from "htm";

export { createContext, Fragment, render } from "preact";
export {
  useCallback,
  useContext,
  useEffect,
  useErrorBoundary,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "preact/hooks";
export const html = htm.bind(h);
