// One token's rows as images: the residual stream at every depth, and what attention and MLP add to it.
import { magnitude, redrawn, signedPixel } from './colour.js';
import { h, roving, svg } from './dom.js';
import { exact, short, visible } from './format.js';
import { heat, pixels } from './heat.js';
import { setQuery } from './paths.js';
import { tokenRow } from './tokens.js';
import { naturalOf, queryOf, textTool } from './tool.js';
import { tokenTexts, trace, traceCall } from './trace.js';

const SITES = [['resid_post', 'Residual stream'], ['attn_out', 'Attention output'], ['mlp_out', 'MLP output']];
const LISTED = 12;

/** Rows x columns that hold so many numbers, as near to a square as whole numbers allow. */
export function rectangle(width) {
  let rows = Math.floor(Math.sqrt(width));
  while (width % rows !== 0) rows--;
  return { rows, columns: width / rows };
}

const rms = (data) => Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length);

/** The dims of largest magnitude: [[dim, value]]. */
export const largest = (data, count = LISTED) => Array.from(data, (value, dim) => [dim, value])
  .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]) || a[0] - b[0]).slice(0, count);

/** A list of dims with their values, bars to the left for what is below 0. */
export function dimList({ onPoint = () => {}, onChoose = () => {} } = {}) {
  const element = h('ol', { class: 'dims', 'aria-label': 'Largest dims' });
  const { current } = roving(element, 'button', { next: ['ArrowDown'], previous: ['ArrowUp'] });
  const dimOf = (event) => event.target.closest('[data-dim]')?.dataset.dim;
  element.addEventListener('pointerover', (event) => dimOf(event) && onPoint(Number(dimOf(event))));
  element.addEventListener('focusin', (event) => dimOf(event) && onPoint(Number(dimOf(event))));
  element.addEventListener('pointerleave', () => onPoint(null));
  function show(rows) {
    const most = Math.max(...rows.map(([, value]) => Math.abs(value)));
    element.replaceChildren(...rows.map(([dim, value]) => {
      const length = most > 0 ? (50 * Math.abs(value)) / most : 0;
      return h('li', {}, h('button', { type: 'button', tabindex: -1, 'data-dim': dim, 'data-value': exact(value), onclick: () => onChoose(dim) },
        h('span', { class: 'dim' }, String(dim)),
        svg('svg', { class: 'swing', viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
          svg('rect', { class: value < 0 ? 'below' : 'above', x: value < 0 ? 50 - length : 50, width: length, height: 6 }),
          svg('line', { x1: 50, x2: 50, y1: 0, y2: 6 })),
        h('span', { class: 'value' }, short(value))));
    }));
    const first = element.querySelector('button');
    if (first) current(first);
  }
  return { element, show };
}

/** All layers of a site, small: which one is looked at is picked here. */
function film({ onPick }) {
  const element = h('div', { class: 'film', role: 'radiogroup', 'aria-label': 'Point' });
  const { current } = roving(element, 'button', { next: ['ArrowRight', 'ArrowDown'], previous: ['ArrowLeft', 'ArrowUp'] });
  function show(frames, shape) {
    element.replaceChildren(...frames.map(({ name, words, data, limit }, i) => {
      const canvas = h('canvas', { 'aria-hidden': 'true' });
      const draw = () => pixels(canvas, { ...shape, data, colour: () => signedPixel(limit) });
      draw();
      redrawn(canvas, draw);
      return h('button', { type: 'button', role: 'radio', tabindex: -1, 'data-point': name, 'aria-label': name, onclick: () => onPick(i) }, canvas, h('span', {}, words));
    }));
  }
  function choose(i, { focus = false } = {}) {
    [...element.children].forEach((button, at) => button.setAttribute('aria-checked', String(at === i)));
    const chosen = element.children[i];
    current(chosen);
    element.scrollLeft = chosen.offsetLeft - element.clientWidth / 2 + chosen.offsetWidth / 2;
    if (focus) chosen.focus();
  }
  // Walking with the arrows is choosing, as in every group of radio buttons.
  element.addEventListener('focusin', (event) => {
    const i = [...element.children].indexOf(event.target.closest('button'));
    if (i >= 0 && event.target.getAttribute('aria-checked') !== 'true') onPick(i);
  });
  return { element, show, choose };
}

export function openResidual(main, frame) {
  const state = { site: SITES.some(([name]) => name === queryOf('site')) ? queryOf('site') : 'resid_post', layer: naturalOf('layer'), token: naturalOf('token'), dim: naturalOf('dim') };
  let tokens = [];
  let layers = 0;
  let tensors = new Map();
  let frames = [];
  const row = tokenRow({ onInspect: () => {}, onMark: (position) => go({ token: position }) });
  const sites = SITES.map(([name, words]) => h('button', { type: 'button', 'data-site': name, onclick: () => go({ site: name }) }, words));
  const slider = h('input', { type: 'range', id: 'depth', min: 0, step: 1, 'aria-label': 'Layer', oninput: () => pick(Number(slider.value)) });
  const strip = film({ onPick: pick });
  const said = h('p', { class: 'readout', id: 'said', role: 'status' });
  const facts = h('p', { class: 'muted', id: 'facts' });
  const image = heat({ label: 'The row as an image', onPoint: (i, chosen) => (chosen ? choose(i) : say(i)) });
  const dims = dimList({ onPoint: (dim) => { image.mark(dim ?? state.dim); say(dim); }, onChoose: choose });
  const through = h('div', { class: 'through' });
  const title = h('h2', { id: 'point' });
  const tool = textTool(main, frame, {
    title: 'Residual stream', lead: 'A token’s row of numbers as an image, from its embedding through every layer.',
    working: 'Computing the rows…', keys: [['← →', 'step through the layers, and over the image']], compute, known: (data) => { layers = data.num_layers; },
  });
  tool.results.append(
    h('section', { 'aria-label': 'Tokens' }, h('div', { class: 'head' }, h('h2', {}, 'Tokens'), h('p', { class: 'muted' }, 'click one, or press Enter on it, to see its rows')), row.element),
    h('section', { 'aria-label': 'Layers' },
      h('div', { class: 'head filmhead' }, h('h2', {}, 'Depth'), slider, h('div', { class: 'switch', role: 'group', 'aria-label': 'Point of the model' }, sites)), strip.element),
    h('div', { class: 'twopanes imagepanes' },
      h('section', { 'aria-label': 'Image' }, h('div', { class: 'head' }, title, facts), image.element, said),
      h('section', { 'aria-label': 'Largest dims' }, h('div', { class: 'head' }, h('h2', {}, 'Largest dims'), h('p', { class: 'muted' }, 'choose one to follow it through the layers')), dims.element, through)));

  const at = () => (state.layer === null ? 0 : Math.min(state.layer + (state.site === 'resid_post' ? 1 : 0), frames.length - 1));

  function say(dim) {
    const i = dim ?? state.dim;
    const { data } = frames[at()] ?? {};
    if (i === null || i === undefined || !data) return said.replaceChildren(h('span', { class: 'muted' }, 'Point at a square to read it.'));
    said.replaceChildren(h('span', { class: 'value', 'data-value': exact(data[i]) }, exact(data[i])), h('span', { class: 'muted' }, `dim ${i}`));
  }
  /** The chosen dim's value at every depth, as bars around 0. */
  function follow() {
    if (state.dim === null || !frames.length || state.dim >= frames[0].data.length) return through.replaceChildren();
    const values = frames.map(({ data }) => data[state.dim]);
    const most = Math.max(...values.map(Math.abs)) || 1;
    const n = values.length;
    through.replaceChildren(h('h3', {}, `Dim ${state.dim} through the layers`),
      svg('svg', { viewBox: `0 0 ${n} 100`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `Dim ${state.dim}: ${values.map((value, i) => `${frames[i].words} ${short(value)}`).join(', ')}` },
        ...values.map((value, i) => {
          const height = (48 * Math.abs(value)) / most;
          return svg('g', { class: i === at() ? 'now' : null }, svg('title', {}, `${frames[i].name}: ${exact(value)}`),
            svg('rect', { class: 'slot', x: i, width: 1, y: 0, height: 100 }),
            svg('rect', { class: value < 0 ? 'below' : 'above', x: i + 0.12, width: 0.76, y: value < 0 ? 50 : 50 - height, height }));
        }), svg('line', { class: 'zero', x1: 0, x2: n, y1: 50, y2: 50 })),
      h('div', { class: 'ends' }, h('span', {}, frames[0].words), h('span', {}, `±${short(most)}`), h('span', {}, frames[n - 1].words)));
  }
  function draw() {
    const { name, data, limit } = frames[at()];
    const shape = rectangle(data.length);
    title.replaceChildren(h('span', { class: 'chip' }, visible(tokens[state.token])), ` ${name}`);
    facts.textContent = `${shape.rows} × ${shape.columns} · rms ${short(rms(data))} · full colour at ±${short(limit)}`;
    image.show({ ...shape, data, colour: () => signedPixel(limit) });
    image.mark(state.dim);
    strip.choose(at());
    slider.max = String(frames.length - 1);
    slider.value = String(at());
    slider.setAttribute('aria-valuetext', name);
    dims.show(largest(data));
    for (const button of sites) button.setAttribute('aria-pressed', String(button.dataset.site === state.site));
    say(null);
    follow();
    tool.curl.show([traceCall('This row', { prompt: tool.text(), read: [name], positions: [state.token] })]);
  }
  function collect() {
    const named = (name, words) => {
      const { data } = tensors.get(name);
      return { name, words, data, limit: magnitude(data) };
    };
    frames = Array.from({ length: layers }, (_, i) => named(`${state.site}.${i}`, `L${i}`));
    if (state.site === 'resid_post') frames.unshift(named('embed', 'embed'));
    strip.show(frames, rectangle(frames[0].data.length));
    draw();
  }
  function write() {
    setQuery({ site: state.site === 'resid_post' ? null : state.site, layer: state.layer, token: state.token, dim: state.dim });
  }
  function go(what) {
    Object.assign(state, what);
    write();
    if ('token' in what) tool.run();
    else collect();
  }
  function pick(i) {
    const layer = state.site === 'resid_post' ? i - 1 : i;
    state.layer = layer < 0 ? null : layer;
    write();
    draw();
  }
  function choose(dim) {
    state.dim = dim;
    write();
    image.mark(dim);
    say(null);
    follow();
  }
  async function compute(text, { ask, signal }) {
    const words = await tokenTexts(ask, text, signal);
    if (state.token === null || state.token >= words.length) state.token = words.length - 1;
    tensors = await trace(ask, { prompt: text, read: ['embed', ...SITES.map(([name]) => `${name}.*`)], positions: [state.token] }, signal);
    tokens = words;
    tool.results.hidden = false;
    row.show(tokens, false);
    row.mark([state.token]);
    collect();
  }
  tool.start();
}
