// Where the heads of a layer look: every head small, one of them large, and the links of one token.
import { paintShare, redrawn, sharePixel } from './colour.js';
import { h, roving, svg } from './dom.js';
import { visible } from './format.js';
import { heat, pixels } from './heat.js';
import { setQuery } from './paths.js';
import { tokenRow } from './tokens.js';
import { naturalOf, queryOf, textTool } from './tool.js';
import { tokenTexts, trace, traceCall } from './trace.js';

const LISTED = 10;
const FAINTEST_LINK = 0.02;
const LABELLED = 48; // tokens; beyond, a label would be higher than its row

const percent = (share) => `${(100 * share).toFixed(1)}%`;

/** Small pictures of all heads, as a row of tabs. */
function headPicker({ onPick }) {
  const element = h('div', { class: 'heads', role: 'radiogroup', 'aria-label': 'Head' });
  const { current } = roving(element, 'button', { next: ['ArrowRight', 'ArrowDown'], previous: ['ArrowLeft', 'ArrowUp'] });
  function show({ heads, size, data }, chosen) {
    element.replaceChildren(...Array.from({ length: heads }, (_, head) => {
      const canvas = h('canvas', { 'aria-hidden': 'true' });
      const part = data.subarray(head * size * size, (head + 1) * size * size);
      const draw = () => pixels(canvas, { rows: size, columns: size, data: part, colour: () => sharePixel });
      draw();
      redrawn(canvas, draw);
      return h('button', { type: 'button', role: 'radio', 'data-head': head, tabindex: -1, onclick: () => onPick(head) }, canvas, h('span', {}, `Head ${head}`));
    }));
    choose(chosen);
  }
  function choose(head) {
    for (const button of element.children) button.setAttribute('aria-checked', String(Number(button.dataset.head) === head));
    current(element.children[head]);
  }
  return { element, show, choose };
}

/** Arcs over the tokens from one to those it is linked with, as thick as the weight. */
function arcs(row) {
  const drawing = svg('svg', { class: 'arcs', 'aria-hidden': 'true' });
  const element = h('div', { class: 'linked' }, drawing, row);
  function show(from, weights) {
    const box = element.getBoundingClientRect();
    drawing.setAttribute('viewBox', `0 0 ${box.width} ${box.height}`);
    const cells = [...row.querySelectorAll('.token')];
    const top = (cell) => {
      const rect = cell.getBoundingClientRect();
      return [rect.left + rect.width / 2 - box.left, rect.top - box.top + 3];
    };
    if (from === null || !cells[from]) return drawing.replaceChildren();
    const [x, y] = top(cells[from]);
    drawing.replaceChildren(...[...weights].filter(([to, weight]) => to !== from && weight >= FAINTEST_LINK && cells[to]).map(([to, weight]) => {
      const [a, b] = top(cells[to]);
      const lift = Math.min(y, b) - Math.min(34, 8 + Math.abs(a - x) / 6);
      return svg('path', { d: `M${x} ${y} C${x} ${lift} ${a} ${lift} ${a} ${b}`, 'stroke-width': (0.6 + 3.4 * weight).toFixed(2), 'stroke-opacity': (0.25 + 0.75 * weight).toFixed(2) });
    }));
  }
  return { element, show };
}

/** The weights of one token, largest first. */
function weightList(weights, tokens, other) {
  const rows = [...weights].sort((a, b) => b[1] - a[1]).slice(0, LISTED).filter(([, weight]) => weight > 0);
  return rows.map(([position, weight]) => h('li', { 'data-position': position, 'data-value': weight },
    h('span', { class: 'chip' }, visible(tokens[position])), h('span', { class: 'muted' }, position === other ? 'itself' : String(position)),
    svg('svg', { class: 'share', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, svg('rect', { width: 100 * weight, height: 4 })),
    h('span', { class: 'value' }, percent(weight))));
}

export function openAttention(main, frame) {
  const layer = h('select', { id: 'layer', onchange: () => change({ layer: Number(layer.value) }) });
  const by = [['from', 'Looks at'], ['to', 'Is looked at by']].map(([name, words]) => h('button', { type: 'button', 'data-by': name, onclick: () => change({ by: name }) }, words));
  const state = { layer: naturalOf('layer') ?? 0, head: naturalOf('head') ?? 0, token: naturalOf('token'), by: queryOf('by') === 'to' ? 'to' : 'from' };
  let tokens = [];
  let pattern = { heads: 0, size: 0, data: new Float32Array() };
  const row = tokenRow({ onInspect: (position) => look(position), onMark: (position) => change({ token: position }), paintCell: (cell, value) => paintShare(cell, value) });
  const links = arcs(row.element);
  const picker = headPicker({ onPick: (head) => change({ head }) });
  const map = heat({
    label: 'The pattern: a row a token that looks, a column a token looked at',
    onPoint(i, chosen) {
      if (i === null) return say(null);
      say(i);
      const position = state.by === 'from' ? Math.floor(i / pattern.size) : i % pattern.size;
      if (chosen) change({ token: position });
    },
  });
  const names = { rows: h('div', { class: 'rownames', 'aria-hidden': 'true' }), columns: h('div', { class: 'colnames', 'aria-hidden': 'true' }) };
  const said = h('p', { class: 'said', id: 'said', role: 'status' });
  const list = h('ol', { class: 'weights', id: 'weights' });
  const listTitle = h('h2', {});
  const tool = textTool(main, frame, {
    title: 'Attention', lead: 'What each head of a layer reads: the weights with which a token gathers from those before it.',
    working: 'Computing the pattern…', keys: [['← →', 'walk the tokens, and the heads']],
    controls: [h('span', { class: 'field' }, h('label', { for: 'layer' }, 'Layer'), layer)],
    known(data) {
      layer.replaceChildren(...Array.from({ length: data.num_layers }, (_, i) => h('option', { value: i }, String(i))));
      state.layer = Math.min(state.layer, data.num_layers - 1);
      layer.value = String(state.layer);
    },
    compute,
  });
  tool.results.append(
    h('section', { 'aria-label': 'Heads' }, picker.element),
    h('section', { 'aria-label': 'Tokens' },
      h('div', { class: 'head' }, h('h2', {}, 'Tokens'), h('p', { class: 'muted' }, 'point at one, or walk them, to see its links'),
        h('div', { class: 'switch', role: 'group', 'aria-label': 'Direction' }, by)), links.element),
    h('div', { class: 'twopanes' },
      h('section', { class: 'patternpane', 'aria-label': 'Pattern' }, h('div', { class: 'head' }, h('h2', { id: 'patterntitle' }, 'Pattern'), said),
        h('div', { class: 'mapped' }, names.rows, map.element, names.columns)),
      h('section', { 'aria-label': 'Weights of the token' }, h('div', { class: 'head' }, listTitle), list)));

  const weight = (query, key) => pattern.data[(state.head * pattern.size + query) * pattern.size + key];
  /** Position -> weight of everything a token is linked with. */
  function linksOf(position) {
    const all = Array.from({ length: pattern.size }, (_, other) => other);
    return new Map(state.by === 'from' ? all.slice(0, position + 1).map((key) => [key, weight(position, key)])
      : all.slice(position).map((query) => [query, weight(query, position)]));
  }
  function say(i) {
    if (i === null) return void (said.textContent = '');
    const [query, key] = [Math.floor(i / pattern.size), i % pattern.size];
    said.textContent = key > query ? `${visible(tokens[query])} cannot see ${visible(tokens[key])}, which comes later`
      : `${visible(tokens[query])} (${query}) → ${visible(tokens[key])} (${key}): ${weight(query, key).toFixed(4)}`;
  }
  /** Shows the links of a token; null: of the one chosen. */
  function look(position) {
    const at = position ?? state.token;
    if (at === null || at >= tokens.length) return;
    const weights = linksOf(at);
    row.inspect(at);
    row.colour(tokens, weights, () => (state.by === 'from' ? 'weight' : 'its weight'));
    links.show(at, weights);
    listTitle.replaceChildren(h('span', { class: 'chip' }, visible(tokens[at])), h('span', { class: 'muted' }, state.by === 'from' ? ' looks at' : ' is looked at by'));
    list.replaceChildren(...weightList(weights, tokens, at));
  }
  function draw() {
    const { size, data } = pattern;
    state.head = Math.min(state.head, pattern.heads - 1);
    picker.choose(state.head);
    map.show({ rows: size, columns: size, data: data.subarray(state.head * size * size, (state.head + 1) * size * size), colour: () => sharePixel });
    main.querySelector('#patterntitle').textContent = `Layer ${state.layer}, head ${state.head}`;
    for (const button of by) button.setAttribute('aria-pressed', String(button.dataset.by === state.by));
    tool.curl.show([
      { path: '/v1/activation/attention', title: 'The largest weights of this head', body: { prompt: tool.text(), layer: state.layer, head: state.head } },
      traceCall('All weights of all heads of the layer', { prompt: tool.text(), read: [`pattern.${state.layer}`] })]);
    look(null);
  }
  function change(what) {
    const again = what.layer !== undefined && what.layer !== state.layer;
    Object.assign(state, what);
    setQuery({ layer: state.layer || null, head: state.head || null, token: state.token, by: state.by === 'from' ? null : state.by });
    if (again) tool.run();
    else draw();
  }
  async function compute(text, { ask, signal }) {
    const [tensors, words] = await Promise.all([trace(ask, { prompt: text, read: [`pattern.${state.layer}`] }, signal), tokenTexts(ask, text, signal)]);
    const { shape: [heads, , size], data } = tensors.get(`pattern.${state.layer}`);
    tokens = words;
    pattern = { heads, size, data };
    if (state.token === null || state.token >= size) state.token = size - 1;
    tool.results.hidden = false; // the links are measured
    row.show(tokens, false);
    picker.show(pattern, Math.min(state.head, heads - 1));
    const labels = size <= LABELLED ? tokens.map((token) => h('span', {}, visible(token.trim() || token))) : [];
    names.rows.replaceChildren(...labels);
    names.columns.replaceChildren(...labels.map((one) => one.cloneNode(true)));
    draw();
  }
  new ResizeObserver(() => { if (tokens.length) look(null); }).observe(row.element);
  tool.start();
}
