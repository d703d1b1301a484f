// All features of a source in one picture: how often each fires against how strongly at most, both
// logarithmic. Points are counted into pixels, so a million of them draw as fast as a thousand.
import { h } from './dom.js';
import { brief, percent } from './format.js';

const MARGIN = { left: 44, right: 12, top: 12, bottom: 26 };
const NEAR = 14;

const mantissas = (span) => (span < 1.2 ? [1, 2, 3, 5, 7] : [1, 2, 5]);

/** Round numbers between two logarithms. */
function ticks(low, high, wanted) {
  const found = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const m of high - low > 2.5 ? [1] : mantissas(high - low)) {
      const at = power + Math.log10(m);
      if (at >= low && at <= high) found.push(at);
    }
  }
  const every = Math.max(1, Math.ceil(found.length / wanted));
  return found.filter((_, i) => i % every === 0);
}

/** @returns {{n: number, counts: Uint32Array, maxima: Float32Array}} of GET .../summary */
export function readSummary(buffer) {
  const view = new DataView(buffer);
  const n = view.getUint32(0, true);
  if (buffer.byteLength !== 4 + 8 * n) throw new Error(`The summary is cut off: ${buffer.byteLength} bytes for ${n} features.`);
  // Every machine that runs a browser today is little endian, as the reply is.
  return { n, counts: new Uint32Array(buffer, 4, n), maxima: new Float32Array(buffer, 4 + 4 * n, n) };
}

/**
 * @param tokens the denominator of the densities
 * @param onPoint(index | null, {x, y}) what is under the pointer; onOpen(index) it was clicked
 */
export function cloud({ n, counts, maxima }, { tokens, onPoint, onOpen }) {
  const canvas = h('canvas', {
    role: 'img', 'aria-label': `Density and maximum of ${n} features; the table below has the same numbers`,
  });
  const button = (text, words, onclick) => h('button', { type: 'button', class: 'plain', 'aria-label': words, title: words, onclick }, text);
  const element = h('div', { class: 'cloud' }, canvas, h('div', { class: 'zoom' },
    button('+', 'Zoom in', () => zoom(0.6)), button('−', 'Zoom out', () => zoom(1 / 0.6)), button('⤢', 'Show all', reset)));
  const context = canvas.getContext('2d');

  // Features that fired, in logarithms.
  let alive = 0;
  for (let i = 0; i < n; i++) alive += counts[i] > 0 && maxima[i] > 0;
  const index = new Uint32Array(alive);
  const xs = new Float32Array(alive);
  const ys = new Float32Array(alive);
  const whole = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
  for (let i = 0, k = 0; i < n; i++) {
    if (!(counts[i] > 0 && maxima[i] > 0)) continue;
    index[k] = i;
    xs[k] = Math.log10(counts[i] / tokens);
    ys[k] = Math.log10(maxima[i]);
    whole.left = Math.min(whole.left, xs[k]);
    whole.right = Math.max(whole.right, xs[k]);
    whole.bottom = Math.min(whole.bottom, ys[k]);
    whole.top = Math.max(whole.top, ys[k]);
    k++;
  }
  const pad = (low, high) => Math.max(0.05, (high - low) * 0.04);
  if (alive) {
    const [across, up] = [pad(whole.left, whole.right), pad(whole.bottom, whole.top)];
    Object.assign(whole, { left: whole.left - across, right: whole.right + across, bottom: whole.bottom - up, top: whole.top + up });
  } else {
    Object.assign(whole, { left: -5, right: 0, bottom: 0, top: 2 });
  }
  let view = { ...whole };
  let room = { width: 0, height: 0, ratio: 1 };
  let pointed = -1; // a place in index, not a feature
  let ringed = null; // a feature pointed at from outside
  let queued = false;

  const inner = () => ({ width: room.width - MARGIN.left - MARGIN.right, height: room.height - MARGIN.top - MARGIN.bottom });
  const toX = (x) => MARGIN.left + ((x - view.left) / (view.right - view.left)) * inner().width;
  const toY = (y) => MARGIN.top + ((view.top - y) / (view.top - view.bottom)) * inner().height;
  const fromX = (px) => view.left + ((px - MARGIN.left) / inner().width) * (view.right - view.left);
  const fromY = (py) => view.top - ((py - MARGIN.top) / inner().height) * (view.top - view.bottom);

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  function rgb(name) {
    const hex = color(name);
    return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  }

  /** Points into a picture of device pixels: the more on a pixel, the denser. */
  function plot() {
    const { ratio } = room;
    const width = Math.max(1, Math.round(inner().width * ratio));
    const height = Math.max(1, Math.round(inner().height * ratio));
    const hits = new Uint16Array(width * height);
    const scaleX = width / (view.right - view.left);
    const scaleY = height / (view.top - view.bottom);
    let inside = 0;
    for (let k = 0; k < alive; k++) inside += xs[k] >= view.left && xs[k] <= view.right && ys[k] >= view.bottom && ys[k] <= view.top;
    let radius = 0.5;
    if (inside < 500) radius = 3;
    else if (inside < 6000) radius = 2;
    else if (inside < 60000) radius = 1.2;
    radius *= ratio;
    const stamp = [];
    const reach = Math.floor(radius);
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        if (dx * dx + dy * dy <= radius * radius + radius / 2) stamp.push([dx, dy]);
      }
    }
    for (let k = 0; k < alive; k++) {
      const px = Math.floor((xs[k] - view.left) * scaleX);
      const py = Math.floor((view.top - ys[k]) * scaleY);
      for (const [dx, dy] of stamp) {
        const x = px + dx;
        const y = py + dy;
        if (x >= 0 && x < width && y >= 0 && y < height && hits[y * width + x] < 65535) hits[y * width + x]++;
      }
    }
    const picture = context.createImageData(width, height);
    const [r, g, b] = rgb('--bar');
    const base = inside < 6000 ? 0.5 : 0.3;
    for (let i = 0; i < hits.length; i++) {
      if (!hits[i]) continue;
      picture.data[4 * i] = r;
      picture.data[4 * i + 1] = g;
      picture.data[4 * i + 2] = b;
      picture.data[4 * i + 3] = 255 * (1 - (1 - base) ** hits[i]);
    }
    context.putImageData(picture, Math.round(MARGIN.left * ratio), Math.round(MARGIN.top * ratio));
  }

  function axes() {
    const { width, height } = inner();
    context.font = `11px ${color('--mono')}`;
    context.lineWidth = 1;
    context.strokeStyle = color('--line');
    context.fillStyle = color('--muted');
    context.beginPath();
    context.textAlign = 'center';
    context.textBaseline = 'top';
    for (const at of ticks(view.left, view.right, width / 80)) {
      const x = Math.round(toX(at)) + 0.5;
      context.moveTo(x, MARGIN.top);
      context.lineTo(x, MARGIN.top + height);
      const share = 100 * 10 ** at;
      context.fillText(`${brief(share)}%`, x, MARGIN.top + height + 7);
    }
    context.textAlign = 'right';
    context.textBaseline = 'middle';
    for (const at of ticks(view.bottom, view.top, height / 40)) {
      const y = Math.round(toY(at)) + 0.5;
      context.moveTo(MARGIN.left, y);
      context.lineTo(MARGIN.left + width, y);
      context.fillText(brief(10 ** at), MARGIN.left - 7, y);
    }
    context.stroke();
    context.textAlign = 'left';
    context.textBaseline = 'top';
    context.fillText('maximum', MARGIN.left + 6, MARGIN.top + 4);
    context.textAlign = 'right';
    context.textBaseline = 'bottom';
    context.fillText('density', MARGIN.left + width - 6, MARGIN.top + height - 4);
  }

  function ring(k) {
    const x = toX(xs[k]);
    const y = toY(ys[k]);
    if (x < MARGIN.left || y < MARGIN.top || x > room.width - MARGIN.right || y > room.height - MARGIN.bottom) return;
    context.strokeStyle = color('--ink');
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, 6, 0, 2 * Math.PI);
    context.stroke();
  }

  function draw() {
    queued = false;
    const ratio = devicePixelRatio || 1;
    room = { width: canvas.clientWidth, height: canvas.clientHeight, ratio };
    if (!room.width) return;
    canvas.width = Math.round(room.width * ratio);
    canvas.height = Math.round(room.height * ratio);
    plot(); // first: it replaces pixels, the rest is drawn onto them
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.globalCompositeOperation = 'destination-over';
    axes();
    context.globalCompositeOperation = 'source-over';
    if (pointed >= 0) ring(pointed);
    const outside = ringed === null ? -1 : index.indexOf(ringed);
    if (outside >= 0) ring(outside);
    canvas.dataset.drawn = alive;
  }
  function redraw() {
    if (!queued) requestAnimationFrame(draw);
    queued = true;
  }

  function nearest(px, py) {
    const x = fromX(px);
    const y = fromY(py);
    const scaleX = inner().width / (view.right - view.left);
    const scaleY = inner().height / (view.top - view.bottom);
    let best = -1;
    let least = NEAR * NEAR;
    for (let k = 0; k < alive; k++) {
      const dx = (xs[k] - x) * scaleX;
      const dy = (ys[k] - y) * scaleY;
      const distance = dx * dx + dy * dy;
      if (distance < least) {
        least = distance;
        best = k;
      }
    }
    return best;
  }
  const describe = (k) => ({ index: index[k], density: counts[index[k]] / tokens, maximum: maxima[index[k]], words: percent(counts[index[k]] / tokens) });

  function point(px, py, clientX, clientY) {
    const k = nearest(px, py);
    if (k !== pointed) {
      pointed = k;
      redraw();
    }
    onPoint(k < 0 ? null : describe(k), { x: clientX, y: clientY });
  }

  /** Zooms by a factor around a place, by default the middle. */
  function zoom(factor, px = MARGIN.left + inner().width / 2, py = MARGIN.top + inner().height / 2) {
    const x = fromX(px);
    const y = fromY(py);
    if (factor < 1 && view.right - view.left < 1e-3) return;
    if (factor > 1 && (view.right - view.left) * factor > 2 * (whole.right - whole.left)) return reset();
    view = { left: x + (view.left - x) * factor, right: x + (view.right - x) * factor, bottom: y + (view.bottom - y) * factor, top: y + (view.top - y) * factor };
    redraw();
  }
  function reset() {
    view = { ...whole };
    redraw();
  }

  let held = null;
  canvas.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    held = { x: event.offsetX, y: event.offsetY, view, moved: false };
    if (event.pointerType !== 'touch') canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!held) return point(event.offsetX, event.offsetY, event.clientX, event.clientY);
    const dx = event.offsetX - held.x;
    const dy = event.offsetY - held.y;
    if (!held.moved && Math.hypot(dx, dy) < 4) return;
    held.moved = true;
    element.classList.add('dragging');
    onPoint(null);
    const acrossPixel = (held.view.right - held.view.left) / inner().width;
    const upPixel = (held.view.top - held.view.bottom) / inner().height;
    view = { left: held.view.left - dx * acrossPixel, right: held.view.right - dx * acrossPixel, bottom: held.view.bottom + dy * upPixel, top: held.view.top + dy * upPixel };
    redraw();
  });
  const release = () => {
    held = null;
    element.classList.remove('dragging');
  };
  canvas.addEventListener('pointerup', (event) => {
    const click = held && !held.moved;
    release();
    if (!click) return;
    point(event.offsetX, event.offsetY, event.clientX, event.clientY);
    // A finger covers what it points at: the first touch says what it is, and a link opens it.
    if (pointed >= 0 && event.pointerType !== 'touch') onOpen(index[pointed], event);
  });
  canvas.addEventListener('pointercancel', release);
  canvas.addEventListener('pointerleave', (event) => {
    if (held || event.pointerType === 'touch') return;
    pointed = -1;
    onPoint(null);
    redraw();
  });
  canvas.addEventListener('dblclick', reset);
  canvas.addEventListener('wheel', (event) => {
    // Plain scrolling stays the page's; Ctrl, or a pinch on a touchpad, zooms.
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(1.0025 ** event.deltaY, event.offsetX, event.offsetY);
  }, { passive: false });

  new ResizeObserver(redraw).observe(canvas);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ['data-theme'] });
  redraw();
  return {
    element,
    ring(feature) {
      ringed = feature;
      redraw();
    },
    /** Where a feature is drawn, in pixels of the canvas. */
    where(feature) {
      const k = index.indexOf(feature);
      return k < 0 ? null : { x: toX(xs[k]), y: toY(ys[k]) };
    },
  };
}
