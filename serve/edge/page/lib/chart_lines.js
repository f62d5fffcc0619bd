// Straight lines across a chart: zero, a margin, and upright ones for what happened when.

/**
 * @typedef {object} Line
 * @property {number} at
 * @property {string} [name] written beside it
 */

const ROWS = 3;
const DOTS = [2, 3];

/**
 * @param {import("uplot")} plot
 * @param {{zero?: number, across?: Line[], marks?: Line[]}} lines
 * @param {string} ink
 */
export function drawLines(plot, { zero, across = [], marks = [] }, ink) {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = ctx.fillStyle = ink;
  ctx.lineWidth = scale;
  ctx.font = `${11 * scale}px system-ui`;
  if (zero !== undefined) level(plot, { at: zero }, []);
  for (const line of across) level(plot, line, DOTS);
  for (const [place, line] of marks.entries()) upright(plot, line, place);
  ctx.restore();
}

/** @param {import("uplot")} plot @param {Line} line @param {number[]} dots */
function level(plot, { at, name }, dots) {
  const { ctx, bbox } = plot;
  const y = Math.round(plot.valToPos(at, "y", true));
  stroke(ctx, [bbox.left, y], [bbox.left + bbox.width, y], dots);
  if (!name) return;
  ctx.textAlign = "right";
  const high = y < bbox.top + 15 * devicePixelRatio; // no room above it
  ctx.textBaseline = high ? "top" : "bottom";
  ctx.fillText(name, bbox.left + bbox.width - 4 * devicePixelRatio, y + (high ? 3 : -2) * devicePixelRatio);
}

/** @param {import("uplot")} plot @param {Line} line @param {number} place its name's height, so that few meet */
function upright(plot, { at, name }, place) {
  const { ctx, bbox } = plot;
  const x = Math.round(plot.valToPos(at, "x", true));
  stroke(ctx, [x, bbox.top], [x, bbox.top + bbox.height], DOTS);
  if (!name) return;
  const late = x > bbox.left + 0.85 * bbox.width;
  ctx.textAlign = late ? "right" : "left";
  ctx.textBaseline = "top";
  const away = 4 * devicePixelRatio;
  ctx.fillText(name, late ? x - away : x + away, bbox.top + (2 + 13 * (place % ROWS)) * devicePixelRatio);
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {[number, number]} from @param {[number, number]} to @param {number[]} dots
 */
function stroke(ctx, from, to, dots) {
  ctx.setLineDash(dots.map((one) => one * devicePixelRatio));
  ctx.beginPath();
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
}
