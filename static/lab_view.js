// What the prompt lab looks like: the parts of the page, drawn from what lab.js hands over.
import { valueChart } from './chart.js';
import { curlPanel } from './curl.js';
import { darkStrip } from './dark_strip.js';
import { h } from './dom.js';
import { toolPath } from './paths.js';
import { featureList } from './features.js';
import { milliseconds, short, visible } from './format.js';
import { notice, progressLine } from './progress.js';
import { promptForm } from './prompt.js';
import { tokenRow } from './tokens.js';

// Shares of the indexed tokens; 0 is no limit.
const DENSITIES = [[0, 'any density'], [0.1, 'at most 10%'], [0.01, 'at most 1%'], [0.001, 'at most 0.1%']];

/** The chosen feature: its number, to be typed or cleared, and its address. */
function featureChooser({ onType, onClear }) {
  const index = h('input', {
    id: 'feature', inputmode: 'numeric', autocomplete: 'off', placeholder: 'number',
  });
  const clear = h('button', { type: 'button', class: 'plain', id: 'clear', title: 'Esc', onclick: onClear }, 'Clear');
  const link = h('a', { id: 'link', title: 'The address of this feature on this text' }, 'Link');
  const element = h('form', {
    class: 'chooser', 'aria-label': 'Choose a feature',
    onsubmit: (event) => {
      event.preventDefault();
      onType(index.value.trim());
    },
  }, h('label', { for: 'feature' }, 'Go to feature'), index, clear, link);

  /** url: null if the text is too long for an address. */
  function show(feature, url) {
    index.value = feature ?? '';
    clear.hidden = feature === null;
    link.hidden = feature === null || url === null;
    link.href = url ?? '';
  }
  return { element, show };
}

/** @param on {run, halt, choose(feature), type(text), mark(position), unmark, setDensity(share|null), setDark(yes), pathOf(feature),
 *  nameOf(feature), list(features): they are looked at} */
export function labView(main, on) {
  const form = promptForm({ onRun: on.run, onStop: on.halt });
  const progress = progressLine();
  const problem = notice();
  const featureProblem = notice();
  const row = tokenRow({ onInspect: inspect, onMark: on.mark });
  const dark = darkStrip(row.element, { onToggle: on.setDark });
  const chart = valueChart({ onPoint: inspect });
  const here = featureList({ label: 'Strongest features of the token', onChoose: on.choose, pathOf: on.pathOf, nameOf: on.nameOf });
  const all = featureList({ label: 'Strongest features of the text', onChoose: on.choose, pathOf: on.pathOf, nameOf: on.nameOf });
  const chooser = featureChooser({ onType: on.type, onClear: () => on.choose(null) });
  const curl = curlPanel();
  const meta = h('p', { class: 'meta', id: 'meta' });
  const coloured = h('p', { class: 'muted', id: 'coloured', role: 'status' });
  const most = h('span', { class: 'most' });
  const scale = h('span', { class: 'colourscale', 'aria-hidden': 'true', title: 'The colour of an activation, logarithmic' }, '0', h('i'), most);
  const title = h('h2', {});
  const name = h('p', { class: 'muted', id: 'name' });
  const hereTitle = h('h2', {});
  const ranked = h('p', { class: 'muted', id: 'ranked' });
  const unmark = h('button', { type: 'button', class: 'plain', id: 'unmark', onclick: on.unmark }, 'By maximum');
  const density = h('select', { id: 'density', 'aria-label': 'Density of the features', onchange: () => on.setDensity(Number(density.value) || null) },
    DENSITIES.map(([value, words]) => h('option', { value }, words)));
  const features = h('div', { class: 'panels' },
    h('section', { class: 'panel chosen', 'aria-label': 'Values along the text' },
      h('div', { class: 'head' }, title, chooser.element), name, featureProblem.element, chart.element),
    h('section', { class: 'panel', 'aria-label': 'The token’s strongest features' },
      h('div', { class: 'head' }, hereTitle), here.element),
    h('section', { class: 'panel', 'aria-label': 'The text’s strongest features' },
      h('div', { class: 'head' }, h('h2', {}, 'Strongest in the text'), density), h('div', { class: 'rankline' }, ranked, unmark), all.element));
  const results = h('div', { class: 'results', hidden: true },
    h('section', { 'aria-label': 'Tokens' },
      h('div', { class: 'head' }, h('h2', {}, 'Tokens'), coloured, scale, dark.button, meta), row.element, dark.element),
    features, curl.element);
  main.replaceChildren(h('div', { class: 'toolhead' }, h('h1', {}, 'Prompt lab'),
    h('p', { class: 'muted' }, 'Which features of a sparse autoencoder fire on each token of a text. New here? ', h('a', { href: toolPath('tour', {}) }, 'Take the tour'), '.')),
    form.element, progress.element, problem.element, results);

  let tokens = [];
  let top = null; // position -> [{feature, value}], strongest first; null: tokens without features
  let chosen = null;
  let walked = null; // the token whose features are listed while none is pointed at

  /** Lists the features of the token pointed at; null: of the one walked to last. */
  function inspect(position, byFocus = false) {
    if (!top) return;
    if (byFocus && position !== null) walked = position;
    const at = position ?? walked;
    row.inspect(at);
    dark.inspect(at);
    chart.inspect(position);
    hereTitle.replaceChildren('Strongest on ', h('span', { class: 'chip' }, visible(tokens[at] ?? '')),
      h('span', { class: 'muted' }, ` ${at ?? ''}`));
    const rows = top.get(at) ?? [];
    here.show(rows, chosen);
    on.list(rows.map(({ feature }) => feature));
  }

  function timing(cache, ms) {
    meta.textContent = [cache && `cache ${cache}`, milliseconds(ms)].filter(Boolean).join(' · ');
    meta.dataset.cache = cache ?? '';
  }

  function showTokens(list, hasBos, { cache, ms }) {
    tokens = list;
    top = null;
    dark.clear();
    row.show(tokens, hasBos);
    timing(cache, ms);
    coloured.textContent = `${tokens.length} tokens`;
    scale.hidden = true;
    features.hidden = true;
    results.hidden = false;
  }

  function showTop(list, map, { cache, ms }) {
    tokens = list;
    top = map;
    dark.clear();
    row.show(tokens, !top.has(0));
    timing(cache, ms);
    if (!top.has(walked)) walked = top.size ? Math.max(...top.keys()) : null;
    features.hidden = false;
    results.hidden = false;
    showStrongest();
    inspect(null);
  }

  function draw(name, values, featureAt, label) {
    row.colour(tokens, values, (position) => `feature ${featureAt(position)}`);
    const maximum = Math.max(0, ...values.values());
    scale.hidden = !(maximum > 0);
    most.textContent = short(maximum);
    title.replaceChildren(name);
    chart.show(tokens, values, {
      label, what: (position) => ` · feature ${featureAt(position)}`,
    });
    featureProblem.clear();
  }

  /** Colours every token by its own strongest feature. */
  function showStrongest() {
    const values = new Map([...top].map(([position, list]) => [position, list[0]?.value ?? 0]));
    coloured.textContent = 'coloured by each token’s strongest feature';
    draw('Strongest of each token', values, (position) => top.get(position)[0]?.feature,
      'The strongest activation of each token; the numbers are in the table below');
  }

  /** Colours all tokens by one feature. The reply leaves out the BOS: its values are the last ones. */
  function showFeature(feature, activation) {
    const first = tokens.length - activation.values.length;
    const values = new Map(activation.values.map((value, i) => [first + i, value]));
    coloured.textContent = `coloured by feature ${feature}`;
    draw(h('a', { id: 'page', href: on.pathOf(feature) }, `Feature ${feature}`), values, () => feature,
      `Feature ${feature} along the text; the numbers are in the table below`);
    if (!(activation.max_value > 0)) featureProblem.say('Silent on this text: 0 on every token.');
  }

  /** What a choice changes at once, before its values are there. */
  function showChoice(feature, url, commands) {
    chosen = feature;
    name.textContent = '';
    if (feature !== null) on.list([feature]);
    chooser.show(feature, url);
    here.choose(feature);
    all.choose(feature);
    curl.show(commands);
    featureProblem.clear();
  }

  function showMarks(marked, limit) {
    row.mark(marked);
    density.value = String(limit ?? 0);
    if (density.selectedIndex < 0) density.append(h('option', { value: limit, selected: true }, `at most ${100 * limit}%`));
    unmark.hidden = marked.length === 0;
    const sum = `ranked by the sum over ${marked.length} marked ${marked.length === 1 ? 'token' : 'tokens'}`;
    ranked.textContent = marked.length ? sum : 'ranked by maximum; click tokens to rank by them';
  }

  /** rows: of /v1/activation/all; the marked tokens are shaded in their strips. */
  function showWholeText(rows, marked) {
    const first = Math.min(...top.keys());
    const value = (one) => (marked.length ? one.sum_values : one.max_value);
    all.show(rows.filter((one) => value(one) > 0).map((one) => ({
      feature: one.index, value: value(one), token: tokens[one.max_value_index], values: one.values.slice(first), density: one.density,
    })), chosen, marked.map((position) => position - first));
    on.list(rows.map((one) => one.index));
  }

  /** Names have come in. */
  function rename() {
    here.rename();
    all.rename();
    name.textContent = chosen === null ? '' : on.nameOf(chosen);
  }

  /** keep: the rows stay, the message is about them. */
  function failWholeText(message, keep = false) {
    if (!keep) all.show([], chosen);
    ranked.textContent = message;
  }

  return {
    form, progress, problem, featureProblem,
    enableDark: dark.enabled,
    showDark: (reply) => dark.show(reply, walked),
    failDark: dark.fail,
    showTokens, showTop, showStrongest, showFeature, showChoice, showMarks, showWholeText, failWholeText, rename,
    stale: (yes) => results.classList.toggle('stale', yes),
    hide: () => { results.hidden = true; },
    /** Another text: the last token is the one looked at first. */
    forget: () => { walked = null; },
  };
}
