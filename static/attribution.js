// Direct logit attribution: which parts of the model a token's logit is the sum of.
import { votePixel } from './colour.js';
import { h, svg } from './dom.js';
import { exact, short, visible } from './format.js';
import { heat } from './heat.js';
import { knownMeaning, learn } from './meanings.js';
import { featurePath, setQuery } from './paths.js';
import { options } from './sources.js';
import { tokenRow } from './tokens.js';
import { naturalOf, queryOf, textTool } from './tool.js';
import { idTexts, tokenTexts, trace } from './trace.js';

const CANDIDATES = 10;
const LISTED = 10;
const ROUNDING = 1e-3; // a rest that is smaller is not worth a row

const signed = (value) => `${value < 0 ? '−' : '+'}${short(Math.abs(value))}`;

/** Bars around one axis: [{name, value, words?, href?, strong?}]. */
export function voteBars(rows, { label, running = null }) {
  const most = Math.max(1e-9, ...rows.map(({ value }) => Math.abs(value)));
  let sum = 0;
  return h('ol', { class: running === null ? 'votes' : 'votes summed', 'aria-label': label }, rows.map(({ name, value, words, isLabel, href, part }) => {
    const length = (50 * Math.abs(value)) / most;
    sum += value;
    return h('li', { 'data-part': part ?? name, 'data-value': exact(value) },
      h('span', { class: 'name' }, href ? h('a', { href }, name) : name, words ? h('span', { class: isLabel ? 'words label' : 'words' }, words) : ''),
      svg('svg', { class: 'swing', viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        svg('rect', { class: value < 0 ? 'against' : 'for', x: value < 0 ? 50 - length : 50, width: length, height: 6 }), svg('line', { x1: 50, x2: 50, y1: 0, y2: 6 })),
      h('span', { class: 'value' }, signed(value)),
      running === null ? '' : h('span', { class: 'sum' }, short(sum)));
  }));
}

/** Layers x heads as an image. */
function headsPane() {
  const said = h('p', { class: 'said', role: 'status', id: 'headsaid' });
  let grid = null;
  const image = heat({ label: 'Heads: a row a layer, a column a head', onPoint(i) {
    if (i === null) return void (said.textContent = '');
    said.textContent = `layer ${Math.floor(i / grid.columns)}, head ${i % grid.columns}: ${signed(grid.data[i])}`;
  } });
  const element = h('section', { 'aria-label': 'Heads' }, h('div', { class: 'head' }, h('h2', {}, 'Heads'), h('p', { class: 'muted' }, 'a row a layer, a column a head'), said), image.element);
  function show(heads) {
    const data = Float32Array.from(heads.flat());
    grid = { rows: heads.length, columns: heads[0].length, data };
    const limit = Math.max(...data.map(Math.abs));
    image.element.style.maxWidth = `${Math.min(420, 34 * grid.columns)}px`;
    image.show({ ...grid, colour: () => votePixel(limit) });
  }
  return { element, show };
}

/** The parts in the order of the forward pass, for one target or for one less another. */
function parts(reply, of) {
  const rows = [{ name: 'Embedding', part: 'embed', value: of(reply.embed) }];
  reply.attn.forEach((values, layer) => {
    rows.push({ name: `Attention ${layer}`, part: `attn.${layer}`, value: of(values) }, { name: `MLP ${layer}`, part: `mlp.${layer}`, value: of(reply.mlp[layer]) });
  });
  const rest = of(reply.rest);
  if (Math.abs(rest) > ROUNDING) rows.push({ name: 'The rest', part: 'rest', value: rest });
  return rows;
}

export function openAttribution(main, frame) {
  const state = { token: naturalOf('token'), target: naturalOf('target'), against: naturalOf('against'), source: queryOf('source'), neurons: naturalOf('neurons') };
  let model = '';
  let tokens = [];
  let candidates = []; // [{id, token, probability}], likeliest first
  let reply = null;
  const row = tokenRow({ onInspect: () => {}, onMark: (position) => go({ token: position, target: null, against: null }) });
  const source = h('select', { id: 'source-of-features', onchange: () => go({ source: source.value }) });
  const neurons = h('select', { id: 'neurons', onchange: () => go({ neurons: neurons.value === '' ? null : Number(neurons.value) }) });
  const sourceField = h('span', { class: 'field' }, h('label', { for: 'source-of-features' }, 'Features'), source);
  const target = h('select', { id: 'target', onchange: () => go({ target: Number(target.value) }) });
  const against = h('select', { id: 'against', onchange: () => go({ against: against.value === '' ? null : Number(against.value) }) });
  const sum = h('p', { class: 'readout', id: 'sum', role: 'status' });
  const bars = h('div', {});
  const heads = headsPane();
  const neuronPane = h('section', { 'aria-label': 'Neurons' });
  const featurePane = h('section', { 'aria-label': 'Features' });
  const tool = textTool(main, frame, {
    title: 'Attribution', lead: 'Which parts of the model a token’s logit is the sum of: embedding, heads, MLPs, features.', working: 'Adding up the logit…',
    keys: [['← →', 'walk the tokens']], controls: [sourceField, h('span', { class: 'field' }, h('label', { for: 'neurons' }, 'Neurons of layer'), neurons)], compute,
    known(data) {
      ({ model } = data);
      const usual = data.catalogue.filter(({ site }) => site === 'residual stream').at(-1) ?? data.catalogue.at(-1);
      if (!data.catalogue.some(({ name }) => name === state.source)) state.source = state.source === 'none' ? '' : usual?.name ?? '';
      source.append(h('option', { value: '' }, 'none'), ...options(data.catalogue));
      source.value = state.source;
      sourceField.hidden = data.catalogue.length === 0;
      neurons.append(h('option', { value: '' }, 'none'), ...Array.from({ length: data.num_layers }, (_, i) => h('option', { value: i }, String(i))));
      neurons.value = state.neurons ?? '';
    },
  });
  tool.results.append(
    h('section', { 'aria-label': 'Tokens' }, h('div', { class: 'head' }, h('h2', {}, 'Tokens'), h('p', { class: 'muted' }, 'the logits after the marked one are explained; click another')), row.element),
    h('div', { class: 'asked' }, h('span', { class: 'field' }, h('label', { for: 'target' }, 'Logit of'), target), h('span', { class: 'field' }, h('label', { for: 'against' }, 'minus that of'), against), sum),
    h('div', { class: 'twopanes attributed' },
      h('section', { 'aria-label': 'Parts' }, h('div', { class: 'head' }, h('h2', {}, 'In the order of the forward pass'), h('p', { class: 'muted' }, 'vote, and the sum so far')), bars),
      h('div', { class: 'details' }, heads.element, featurePane, neuronPane)));

  function write() {
    setQuery({ token: state.token, target: state.target, against: state.against, source: state.source || 'none', neurons: state.neurons });
  }
  function go(what) {
    Object.assign(state, what);
    write();
    tool.run();
  }
  /** Of a list with one value a target: the value that is shown. */
  const of = (values) => (values.length > 1 ? values[0] - values[1] : values[0]);

  /** A part's list per target, joined: with two targets the difference, where both have it. */
  function joined(lists) {
    if (lists.length === 1) return lists[0];
    const other = new Map(lists[1].map((one) => [one.index, one.value]));
    return lists[0].filter(({ index }) => other.has(index)).map((one) => ({ ...one, value: one.value - other.get(one.index) })).sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  }
  function drawFeatures() {
    const name = state.source;
    featurePane.hidden = !name;
    if (!name) return;
    const list = joined(reply.features[name]).slice(0, LISTED);
    const shown = list.reduce((total, { value }) => total + value, 0);
    const rows = list.map(({ index, value, activation }) => {
      const known = knownMeaning(name, index);
      return { name: String(index), part: `feature ${index}`, value, words: known?.text ?? `active at ${short(activation)}`, isLabel: known?.isLabel, href: featurePath(model, name, index) };
    });
    rows.push({ name: 'Other features', part: 'others', value: of(reply.features_sum[name]) - shown },
      { name: 'Decoder bias', part: 'sae_bias', value: of(reply.sae_bias[name]) }, { name: 'Error: what the SAE leaves unexplained', part: 'sae_error', value: of(reply.sae_error[name]) });
    featurePane.replaceChildren(h('div', { class: 'head' }, h('h2', {}, 'Features'), h('p', { class: 'muted' }, name)), voteBars(rows, { label: 'Votes of features' }));
  }
  function drawNeurons() {
    neuronPane.hidden = reply.neurons_top === null;
    if (neuronPane.hidden) return;
    const list = joined(reply.neurons_top).slice(0, LISTED);
    const rows = list.map(({ index, value, activation }) => ({ name: String(index), part: `neuron ${index}`, value, words: `active at ${short(activation)}` }));
    rows.push({ name: 'Other neurons', part: 'others', value: of(reply.neurons_sum) - list.reduce((total, { value }) => total + value, 0) });
    neuronPane.replaceChildren(h('div', { class: 'head' }, h('h2', {}, `Neurons of MLP ${reply.neuron_layer}`)), voteBars(rows, { label: 'Votes of neurons' }));
  }
  function draw() {
    const rows = parts(reply, of);
    bars.replaceChildren(voteBars(rows, { label: 'Votes in the order of the forward pass', running: 0 }));
    const total = rows.reduce((all, { value }) => all + value, 0);
    const difference = reply.targets.length > 1;
    sum.replaceChildren(h('span', { class: 'value', 'data-value': exact(of(reply.precap)), 'data-sum': exact(total) }, of(reply.precap).toFixed(4)),
      h('span', { class: 'muted' }, difference ? 'difference of the two logits before the softcap' : `before the softcap; ${reply.logit[0].toFixed(4)} after it`));
    heads.show(reply.heads.map((layer) => layer.map(of)));
    drawFeatures();
    drawNeurons();
  }
  function fillTargets() {
    const option = ({ id, token, probability }) => h('option', { value: id }, `${visible(token)}  ${probability === null ? '' : `${(100 * probability).toFixed(2)}%`}`);
    const all = [...candidates];
    for (const one of reply.targets) if (!all.some(({ id }) => id === one.id)) all.push({ ...one, probability: null });
    target.replaceChildren(...all.map(option));
    target.value = String(reply.targets[0].id);
    against.replaceChildren(h('option', { value: '' }, 'nothing'), ...all.filter(({ id }) => id !== reply.targets[0].id).map(option));
    against.value = reply.targets[1] ? String(reply.targets[1].id) : '';
  }
  async function compute(text, { ask, signal }) {
    tokens = await tokenTexts(ask, text, signal);
    if (state.token === null || state.token >= tokens.length) state.token = tokens.length - 1;
    const best = (await trace(ask, { prompt: text, read: ['logits'], positions: [state.token], top: CANDIDATES }, signal));
    const ids = [...best.get('top_ids').data];
    if (state.target === null) [state.target] = ids;
    if (state.against === state.target) state.against = null;
    const body = {
      prompt: text, position: state.token, targets: [state.target, state.against].filter((id) => id !== null), top: state.against === null ? LISTED : 1000,
      ...(state.source ? { sources: [state.source] } : {}), ...(state.neurons === null ? {} : { neuron_layer: state.neurons }),
    };
    const call = { path: '/v1/attribution', title: 'The parts of the logit', body };
    const [{ data }, texts] = await Promise.all([ask(call, signal), idTexts(ask, ids, signal)]);
    reply = data;
    candidates = ids.map((id, i) => ({ id, token: texts[i], probability: best.get('top_probs').data[i] }));
    tool.results.hidden = false;
    row.show(tokens, false);
    row.mark([state.token]);
    fillTargets();
    draw();
    tool.curl.show([call]);
    if (state.source) learn(model, joined(reply.features[state.source]).slice(0, LISTED).map(({ index }) => ({ source: state.source, index })), signal).then(drawFeatures, () => {});
  }
  tool.start();
}
